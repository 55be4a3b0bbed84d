//! What can be set about a session, with the source of each default.

use std::time::Duration;

use crate::receive::framer::DataRules;
use crate::receive::hops::HOPS_MAX;

/// How long a peer may take, in ordinary times or near capacity.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// From a reply to the end of the next command line.
    pub command: Duration,
    /// From 354 to the end of the message, however fast it comes.
    pub data: Duration,
    /// Within this time after 354, and after each octet, the minimum rate does not count yet.
    pub data_grace: Duration,
    /// For the TLS handshake.
    pub handshake: Duration,
}

/// Configuration of a [`Session`](super::Session).
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// The name in the banner and the EHLO response.
    pub hostname: String,
    /// How long the peer must keep silent before the banner. Zero still catches those who have
    /// already talked when the connection is accepted.
    pub greet_delay: Duration,
    /// Octets of a message: 35 MiB, which is Gmail's 25 MB in base64.
    pub size_max: usize,
    /// Octets of a command line with CR LF. RFC 5321 asks for 512; SIZE, BODY and SMTPUTF8 add
    /// less than 100; 2048 is what mox and Postfix allow.
    pub command_line_max: usize,
    /// Recipients of one transaction; RFC 5321 section 4.5.3.1.8 asks for at least 100.
    pub recipients_max: usize,
    /// Transactions of one session, or no limit of its own.
    pub messages_max: Option<u32>,
    pub data: DataRules,
    /// Received headers that make a loop.
    pub hops_max: usize,
    /// Protocol errors before 421. Postfix ends at 20 and chasquid at 3.
    pub errors_max: u32,
    /// NOOP, RSET and the like between two messages before they count as errors; Postfix's
    /// `smtpd_junk_command_limit`.
    pub junk_max: u32,
    /// Octets per second a message must keep up; Postfix's `smtpd_min_data_rate`.
    pub rate_min: u64,
    /// How long a session may last in all; it ends between two commands. chasquid's is 20 minutes.
    pub session_max: Duration,
    /// RFC 5321 section 4.5.3.2.7 asks for at least 5 minutes between commands.
    pub timeouts: Timeouts,
    /// Used near capacity; 10 s is Postfix's figure under stress.
    pub stressed_timeouts: Timeouts,
}

impl SessionConfig {
    /// The defaults, for a server of this name.
    pub fn new(hostname: impl Into<String>) -> Self {
        Self {
            hostname: hostname.into(),
            greet_delay: Duration::ZERO,
            size_max: 35 << 20,
            command_line_max: 2048,
            recipients_max: 100,
            messages_max: None,
            data: DataRules::default(),
            hops_max: HOPS_MAX,
            errors_max: 10,
            junk_max: 100,
            rate_min: 500,
            session_max: Duration::from_secs(30 * 60),
            timeouts: Timeouts {
                command: Duration::from_secs(300),
                data: Duration::from_secs(600),
                data_grace: Duration::from_secs(120),
                handshake: Duration::from_secs(30),
            },
            stressed_timeouts: Timeouts {
                command: Duration::from_secs(10),
                data: Duration::from_secs(60),
                data_grace: Duration::from_secs(10),
                handshake: Duration::from_secs(10),
            },
        }
    }
}
