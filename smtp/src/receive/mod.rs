//! The incoming SMTP server (RFC 5321 on port 25).
//!
//! The modules follow a connection inwards: [`server`] owns sockets and clocks and nothing else;
//! [`limits`] says who may connect and how fast; [`session`] is the dialogue, sans-IO; [`command`]
//! reads one line; [`framer`] cuts the bytes into lines and messages; [`budget`] holds the memory
//! that all messages in flight share; [`backend`] is what the server asks about recipients and
//! hands messages to.
//!
//! What always holds: no reply acknowledges a message before the backend said it is stored; what
//! ends a line is CR LF and what ends a message is CR LF `.` CR LF, for every reader in here; memory
//! per connection is bounded whatever the peer sends.
//!
//! Left out on purpose: CHUNKING (BDAT is answered with 502 and the connection ends, so that its
//! octets are never read as commands), AUTH and submission, DSN, ETRN.

pub mod backend;
pub mod budget;
pub mod command;
pub mod framer;
#[cfg(any(test, feature = "testing"))]
pub mod fuzz;
mod hops;
pub mod limits;
pub mod server;
pub mod session;

pub use backend::{Backend, Envelope, Helo, InMemoryBackend, Peer, TlsInfo};
pub use command::BodyType;
pub use server::{Config, Server, TlsSource};
