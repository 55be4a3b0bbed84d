//! How long a peer may take for each step, as RFC 5321 section 4.5.3.2 gives it.

use std::time::Duration;

/// For the TCP connection. No RFC; Postfix's `smtp_connect_timeout`.
pub const CONNECT: Duration = Duration::from_secs(30);
/// For a TLS handshake. No RFC; Postfix's `smtp_starttls_timeout`.
pub const HANDSHAKE: Duration = Duration::from_mins(5);
/// Section 4.5.3.2.1, for the greeting. Also for EHLO, STARTTLS and AUTH, which have no time of their own.
pub const GREETING: Duration = Duration::from_mins(5);
/// Section 4.5.3.2.2.
pub const MAIL: Duration = Duration::from_mins(5);
/// Section 4.5.3.2.3.
pub const RCPT: Duration = Duration::from_mins(5);
/// Section 4.5.3.2.4, for the answer to DATA.
pub const DATA: Duration = Duration::from_mins(2);
/// Section 4.5.3.2.5, for each block of the message.
pub const BLOCK: Duration = Duration::from_mins(3);
/// Section 4.5.3.2.6, for the answer to the final dot. A shorter time makes duplicates.
pub const DOT: Duration = Duration::from_mins(10);
/// For the answer to QUIT, when nothing depends on it any more.
pub const QUIT: Duration = Duration::from_secs(5);

/// The times in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// See [`CONNECT`].
    pub connect: Duration,
    /// See [`HANDSHAKE`].
    pub handshake: Duration,
    /// See [`GREETING`].
    pub greeting: Duration,
    /// See [`MAIL`].
    pub mail: Duration,
    /// See [`RCPT`].
    pub rcpt: Duration,
    /// See [`DATA`].
    pub data: Duration,
    /// See [`BLOCK`].
    pub block: Duration,
    /// See [`DOT`].
    pub dot: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: CONNECT,
            handshake: HANDSHAKE,
            greeting: GREETING,
            mail: MAIL,
            rcpt: RCPT,
            data: DATA,
            block: BLOCK,
            dot: DOT,
        }
    }
}

impl Timeouts {
    /// The same time for every step.
    #[must_use]
    pub const fn all(time: Duration) -> Self {
        Self {
            connect: time,
            handshake: time,
            greeting: time,
            mail: time,
            rcpt: time,
            data: time,
            block: time,
            dot: time,
        }
    }
}
