//! SMTP replies: a code, an enhanced status code (RFC 3463, sent per RFC 2034), and text.
//!
//! What always holds: a [`Reply`] can be written to a peer as it is. Text given to a constructor
//! is reduced to printable ASCII, so neither a line end nor a second reply can be smuggled in by
//! quoting a peer's own words, and every line stays within 512 octets (RFC 5321 section 4.5.3.1.5).

use std::borrow::Cow;
use std::fmt;

use crate::address;

/// Octets of text per line; with code, enhanced code and CR LF a line stays below 512.
const TEXT_MAX: usize = 480;
/// Lines of one reply. Nobody reads more, and a client may hold them all in memory.
const LINES_MAX: usize = 64;

/// Subject and detail of an enhanced status code; its class is the first digit of the reply code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Enhanced {
    pub subject: u16,
    pub detail: u16,
}

/// One reply of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    enhanced: Option<Enhanced>,
    lines: Vec<Cow<'static, str>>,
}

impl Reply {
    /// A reply with an enhanced status code `class.subject.detail`. A code outside 200 to 599 is a
    /// mistake of the caller and becomes 451, which loses nothing.
    pub fn new(
        code: u16,
        (subject, detail): (u16, u16),
        text: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { enhanced: Some(Enhanced { subject, detail }), ..Self::plain(code, [text.into()]) }
    }

    /// A reply without an enhanced status code: banner, EHLO response and 354 (RFC 2034 section 4).
    pub fn plain<T: Into<Cow<'static, str>>>(
        code: u16,
        lines: impl IntoIterator<Item = T>,
    ) -> Self {
        let code = if (200..600).contains(&code) { code } else { 451 };
        let mut clean = Vec::with_capacity(1);
        for line in lines {
            push_clean(&mut clean, line.into());
        }
        if clean.is_empty() {
            clean.push(Cow::Borrowed(""));
        }
        clean.truncate(LINES_MAX);
        Self { code, enhanced: None, lines: clean }
    }

    pub fn code(&self) -> u16 {
        self.code
    }

    /// Class, subject and detail.
    pub fn enhanced(&self) -> Option<(u16, u16, u16)> {
        self.enhanced.map(|e| (self.code / 100, e.subject, e.detail))
    }

    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(AsRef::as_ref)
    }

    /// 2yz: done.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 4yz: try again later.
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5yz: do not try again.
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// Whether the connection ends with this reply: 221, 421 (RFC 5321) and 521 (RFC 7504).
    pub fn is_closing(&self) -> bool {
        matches!(self.code, 221 | 421 | 521)
    }

    /// Appends the reply in its wire form, `250-first` ... `250 last`, each line with CR LF.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        for (at, line) in self.lines.iter().enumerate() {
            let last = at + 1 == self.lines.len();
            out.extend_from_slice(self.code.to_string().as_bytes());
            out.push(if last { b' ' } else { b'-' });
            if let Some((class, subject, detail)) = self.enhanced() {
                out.extend_from_slice(format!("{class}.{subject}.{detail} ").as_bytes());
            }
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }

    /// The wire form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        self.write_to(&mut out);
        out
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some((class, subject, detail)) = self.enhanced() {
            write!(f, " {class}.{subject}.{detail}")?;
        }
        for line in &self.lines {
            write!(f, " {line}")?;
        }
        Ok(())
    }
}

/// How an address that does not parse is answered, as sender (`subject.detail` 1.7) or recipient (1.3).
fn bad_address(error: address::Error, detail: u16) -> Reply {
    use address::Error as E;
    match error {
        E::Syntax(_) | E::Domain => Reply::new(501, (1, detail), error.to_string()),
        E::LocalTooLong | E::DomainTooLong | E::PathTooLong => {
            Reply::new(501, (1, detail), error.to_string())
        }
        E::QuotedLocal => Reply::new(553, (1, detail), error.to_string()),
        E::Relay => Reply::new(550, (7, 1), error.to_string()),
    }
}

/// MAIL FROM has an address that is none.
pub fn bad_sender(error: address::Error) -> Reply {
    bad_address(error, 7)
}

/// RCPT TO has an address that is none.
pub fn bad_recipient(error: address::Error) -> Reply {
    bad_address(error, 3)
}

/// The replies of the incoming server that need no value, named for what they say.
macro_rules! replies {
    ($($(#[$doc:meta])* $name:ident = $code:literal, ($subject:literal, $detail:literal), $text:literal;)*) => {
        $($(#[$doc])* pub fn $name() -> Reply {
            Reply {
                code: $code,
                enhanced: Some(Enhanced { subject: $subject, detail: $detail }),
                lines: vec![Cow::Borrowed($text)],
            }
        })*

        #[cfg(test)]
        const FIXED: &[fn() -> Reply] = &[$($name),*];
    };
}

replies! {
    /// Answer to NOOP and RSET.
    ok = 250, (0, 0), "OK";
    /// The reverse-path is taken.
    sender_ok = 250, (1, 0), "sender OK";
    /// The recipient is taken.
    recipient_ok = 250, (1, 5), "recipient OK";
    /// The message is stored; say it only after the durable write.
    accepted = 250, (0, 0), "message accepted";
    /// Answer to QUIT.
    bye = 221, (0, 0), "bye";
    /// Start the TLS handshake.
    start_tls = 220, (0, 0), "start TLS";
    /// VRFY tells nothing (RFC 5321 section 7.3).
    cannot_verify = 252, (5, 0), "send the mail and find out";
    /// Answer to HELP.
    help = 214, (0, 0), "this server receives mail; see RFC 5321";

    /// The server stops.
    shutting_down = 421, (3, 2), "the server is restarting, try again";
    /// The peer said nothing for too long.
    idle = 421, (4, 2), "waited too long for a command";
    /// The session has lasted as long as one may.
    session_too_long = 421, (4, 2), "this session has lasted too long; connect again";
    /// The message came too slowly.
    too_slow = 421, (4, 2), "the message arrived too slowly";
    /// Too many mistakes in one session.
    too_many_errors = 421, (7, 0), "too many errors";
    /// Too many recipients that do not exist.
    probing = 421, (7, 0), "too many unknown recipients";
    /// Enough messages for one session.
    too_many_messages = 421, (7, 0), "too many messages in one session";
    /// No slot for another connection.
    too_many_connections = 421, (7, 0), "too many connections, try again later";
    /// Connections or messages come too fast.
    too_fast = 450, (7, 0), "too much mail from your network, try again later";

    /// Our own mistake or a dependency that did not answer.
    local_error = 451, (3, 0), "temporary failure, try again later";
    /// The shared memory for messages in flight is used up.
    no_memory = 452, (3, 1), "too many messages in flight, try again later";
    /// Enough recipients for one transaction.
    too_many_recipients = 452, (5, 3), "too many recipients, send the rest in another transaction";
    /// TLS was asked for but is not to be had now.
    tls_unavailable = 454, (7, 0), "TLS is not available";

    /// The command is none.
    unknown_command = 500, (5, 1), "command not recognised";
    /// The command line is longer than agreed.
    line_too_long = 500, (5, 2), "command line too long";
    /// A command line with a lone CR or LF or a NUL.
    bad_line_end = 500, (5, 2), "a command line ends with CR LF and holds no control character";
    /// The argument is not what the command takes.
    bad_argument = 501, (5, 4), "syntax error in arguments";
    /// The command exists, but not here.
    not_implemented = 502, (5, 1), "command not implemented";
    /// The command does not fit here.
    bad_sequence = 503, (5, 1), "bad sequence of commands";
    /// MAIL before EHLO.
    greet_first = 503, (5, 1), "say EHLO first";
    /// TLS is already on.
    tls_active = 503, (5, 1), "TLS is already active";
    /// DATA when every recipient was refused.
    no_recipients = 554, (5, 1), "no valid recipients";
    /// MAIL or RCPT with a parameter that was not offered (RFC 5321 section 4.1.1.11).
    unknown_parameter = 555, (5, 4), "parameter not recognised";

    /// A lone CR or LF or a NUL in the message.
    bad_message_line_end = 550, (5, 2), "the message holds a lone CR, a lone LF or a NUL";
    /// A line of the message is longer than RFC 5321 section 4.5.3.1.6 allows.
    message_line_too_long = 550, (6, 0), "a line of the message is longer than 998 octets";
    /// More Received headers than hops make sense (RFC 5321 section 6.3).
    loop_detected = 550, (4, 6), "too many hops, this looks like a mail loop";
    /// More than SIZE allows (RFC 1870).
    too_big = 552, (3, 4), "message too big";
    /// An address that needs SMTPUTF8 (RFC 6531 section 3.5).
    needs_smtputf8 = 553, (6, 7), "this address needs the SMTPUTF8 parameter";

    /// Bytes before the banner, or after a command that must be the last of its group.
    talked_too_early = 554, (5, 1), "you talked before it was your turn";
    /// Another protocol.
    not_smtp = 554, (5, 1), "this is an SMTP server";

    /// The recipient does not exist.
    unknown_recipient = 550, (1, 1), "no such recipient here";
    /// The domain is not ours, and we relay for nobody.
    relay_denied = 550, (7, 1), "we do not relay";
}

/// Reduces `text` to printable ASCII and splits it into lines that fit.
fn push_clean(lines: &mut Vec<Cow<'static, str>>, text: Cow<'static, str>) {
    let printable = |b: u8| (b' '..=b'~').contains(&b);
    let text = if text.bytes().all(printable) {
        text
    } else {
        Cow::Owned(text.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect())
    };
    if text.len() <= TEXT_MAX {
        lines.push(text);
        return;
    }
    let mut rest = text.as_ref();
    while !rest.is_empty() && lines.len() < LINES_MAX {
        let (line, after) = rest.split_at(rest.len().min(TEXT_MAX));
        lines.push(Cow::Owned(line.to_owned()));
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_multi_line_reply_carries_the_code() {
        let reply = Reply::plain(250, ["mx.example.org", "PIPELINING", "SIZE 10"]);
        assert_eq!(reply.to_bytes(), b"250-mx.example.org\r\n250-PIPELINING\r\n250 SIZE 10\r\n");
        let long = Reply::new(550, (1, 1), "x".repeat(TEXT_MAX + 1));
        let wire = String::from_utf8(long.to_bytes()).unwrap();
        let lines: Vec<_> = wire.split_terminator("\r\n").collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("550-5.1.1 xxx"));
        assert_eq!(lines[1], "550 5.1.1 x");
    }

    #[test]
    fn fixed_replies_are_already_clean() {
        for make in FIXED {
            let reply = make();
            let again = Reply::plain(reply.code(), reply.lines.clone());
            assert_eq!(again.lines, reply.lines);
            assert_eq!(again.code, reply.code);
        }
    }

    #[test]
    fn a_code_that_is_none_becomes_a_temporary_failure() {
        for code in [0, 99, 199, 600, u16::MAX] {
            assert_eq!(Reply::new(code, (0, 0), "x").code(), 451);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_can_add_a_reply_or_a_line_end(text in "\\PC*|[\\x00-\\xff]*|(a\r\n250 ok)*", code in 200u16..600) {
            let wire = Reply::new(code, (1, 1), text).to_bytes();
            let body = wire.strip_suffix(b"\r\n").unwrap();
            for line in String::from_utf8(body.to_vec()).unwrap().split("\r\n") {
                proptest::prop_assert!(line.len() + 2 <= 512);
                proptest::prop_assert!(line.starts_with(&code.to_string()));
                let printable = line.bytes().all(|b| (b' '..=b'~').contains(&b));
                proptest::prop_assert!(printable);
            }
        }
    }
}
