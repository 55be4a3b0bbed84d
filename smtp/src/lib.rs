//! Mail on the wire.
//!
//! The folders follow a message through the system:
//!
//! - [`address`] and [`reply`]: the words of RFC 5321 as types;
//! - [`receive`]: framing, commands, the session state machine, and the tokio shell around them;
//! - [`guard`]: the linear scan that no message passes into a parser without;
//! - [`auth`]: iprev, SPF, DKIM, DMARC and ARC, and the verdict that follows from them;
//! - [`read`]: what a person meant to say (new text apart from quotes), attachments, threading headers;
//! - [`render`] and [`sign`]: an answer as bytes, and our DKIM signature over them;
//! - [`deliver`]: how rendered mail leaves;
//! - [`bounce`]: what comes back about it.
//!
//! What always holds: this crate knows neither agents nor SQL. Durability, recipients and DNS are
//! passed in through narrow traits declared beside their use.

pub mod address;
pub mod auth;
pub mod bounce;
pub mod deliver;
pub mod guard;
pub mod read;
pub mod receive;
pub mod render;
pub mod reply;
pub mod sign;
#[cfg(feature = "testing")]
pub mod testing;
