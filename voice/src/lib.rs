//! Calls.
//!
//! - [`audio`]: frames, sample formats, resampling, G.711, voice activity;
//! - [`text`]: what is said, as sentences to synthesise and as words to speak;
//! - [`call`]: the call as one state machine, whatever the transport;
//! - [`engine`]: recognisers and synthesisers behind two small traits;
//! - [`shell`]: the task that connects a call to its engines, its agent and its client;
//! - [`browser`]: what is said on a browser's WebSocket.
//!
//! What always holds: [`audio`], [`text`] and [`call`] are sans-IO. Time is an argument there, sockets and
//! engines are somebody else's, and the inputs of a call can be stored and replayed bit for bit.

pub mod audio;
pub mod browser;
pub mod call;
pub mod engine;
pub mod shell;
pub mod text;
