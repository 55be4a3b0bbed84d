//! Calls.
//!
//! - [`audio`]: frames, sample formats, resampling, G.711, voice activity;
//! - [`text`]: what is said, as sentences to synthesise and as words to speak;
//! - [`call`]: the call as one state machine, whatever the transport.
//!
//! What always holds: everything here is sans-IO. Time is an argument, sockets and engines are
//! somebody else's, and the inputs of a call can be stored and replayed bit for bit.

pub mod audio;
pub mod call;
pub mod engine;
pub mod text;
