//! What a message asks of a peer, and whether the peer can give it.

use memchr::memchr_iter;

use crate::deliver::Claimed;

/// What a peer offered in its EHLO response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offers {
    /// RFC 6152.
    pub eight_bit: bool,
    /// RFC 6531.
    pub utf8: bool,
    /// RFC 3207.
    pub starttls: bool,
    /// RFC 1870.
    pub size: bool,
    /// Octets of a message that it takes, if it says so (RFC 1870 section 4; 0 is no limit).
    pub size_limit: Option<u64>,
    /// RFC 4616.
    pub auth_plain: bool,
    /// Of a draft, and wide-spread.
    pub auth_login: bool,
}

impl Offers {
    /// Reads the text lines of an EHLO response. Keywords are compared without regard to case (RFC 5321
    /// section 4.1.1.1).
    pub fn read<'l>(lines: impl IntoIterator<Item = &'l str>) -> Self {
        let mut offers = Self::default();
        for line in lines.into_iter().skip(1) {
            // `AUTH=LOGIN` is how some old servers write it.
            let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
            let Some(keyword) = words.next() else { continue };
            match keyword.to_ascii_uppercase().as_str() {
                "8BITMIME" => offers.eight_bit = true,
                "SMTPUTF8" => offers.utf8 = true,
                "STARTTLS" => offers.starttls = true,
                "SIZE" => {
                    offers.size = true;
                    let limit = words.next().and_then(|limit| limit.parse().ok());
                    offers.size_limit = limit.filter(|limit| *limit > 0);
                }
                "AUTH" => {
                    for mechanism in words {
                        offers.auth_plain |= mechanism.eq_ignore_ascii_case("PLAIN");
                        offers.auth_login |= mechanism.eq_ignore_ascii_case("LOGIN");
                    }
                }
                _ => {}
            }
        }
        offers
    }
}

/// What one delivery needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    eight_bit: bool,
    /// A local part or a header field that is not ASCII; domains never need it, being A-labels.
    utf8: bool,
    size: u64,
    /// A CR or LF that is not part of a line end.
    bare_line_end: bool,
}

impl Needs {
    /// Reads envelope and message.
    #[must_use]
    pub fn of(delivery: &Claimed, reverse_path: Option<&crate::render::AddrSpec>) -> Self {
        let bytes = &delivery.bytes;
        let header_end = memchr::memmem::find(bytes, b"\r\n\r\n").unwrap_or(bytes.len());
        let addresses = delivery.recipient.is_ascii()
            && reverse_path.is_none_or(crate::render::AddrSpec::is_ascii);
        Self {
            eight_bit: !bytes.is_ascii(),
            utf8: !addresses || !bytes[..header_end].is_ascii(),
            size: bytes.len() as u64,
            bare_line_end: has_bare_line_end(bytes),
        }
    }

    /// The parameters of MAIL FROM, each with a space in front.
    ///
    /// # Errors
    ///
    /// Why the message cannot go to a peer with these offers. Nothing is converted: that would break the
    /// signatures.
    pub fn parameters(&self, offers: &Offers) -> Result<String, String> {
        if self.bare_line_end {
            return Err(
                "the message has a CR or LF that ends no line; peers would disagree about \
                        where it ends"
                    .to_owned(),
            );
        }
        if self.utf8 && !offers.utf8 {
            return Err(
                "an address outside ASCII needs a server with SMTPUTF8, which this one does \
                        not offer; use an ASCII address of the recipient"
                    .to_owned(),
            );
        }
        if self.eight_bit && !offers.eight_bit {
            return Err(
                "the message has 8-bit content, which this server does not take (no 8BITMIME)"
                    .to_owned(),
            );
        }
        if let Some(limit) = offers.size_limit.filter(|limit| self.size > *limit) {
            return Err(format!(
                "the message has {} octets, and this server takes at most {limit}",
                self.size
            ));
        }
        let mut parameters = String::new();
        if offers.size {
            parameters.push_str(&format!(" SIZE={}", self.size));
        }
        if self.eight_bit {
            parameters.push_str(" BODY=8BITMIME");
        }
        if self.utf8 {
            parameters.push_str(" SMTPUTF8");
        }
        Ok(parameters)
    }
}

fn has_bare_line_end(bytes: &[u8]) -> bool {
    memchr_iter(b'\n', bytes).any(|at| at == 0 || bytes[at - 1] != b'\r')
        || memchr_iter(b'\r', bytes).any(|at| bytes.get(at + 1) != Some(&b'\n'))
}

/// The message as it goes over the wire, up to the final dot: lines that begin with a dot get another
/// (RFC 5321 section 4.5.2), and the last line is ended.
#[must_use]
pub(crate) fn transparent(bytes: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(bytes.len() + bytes.len() / 64 + 2);
    let mut start = 0;
    for end in memchr_iter(b'\n', bytes).map(|at| at + 1).chain([bytes.len()]) {
        let line = &bytes[start..end];
        if line.first() == Some(&b'.') {
            wire.push(b'.');
        }
        wire.extend_from_slice(line);
        start = end;
    }
    if !wire.is_empty() && !wire.ends_with(b"\r\n") {
        wire.extend_from_slice(b"\r\n");
    }
    wire
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::{DeliveryId, Priority};
    use crate::render::AddrSpec;
    use bytes::Bytes;
    use jiff::Timestamp;

    fn needs(to: &str, message: &str) -> Needs {
        let delivery = Claimed {
            id: DeliveryId::from(1),
            recipient: AddrSpec::parse(to).unwrap(),
            reverse_path: None,
            bytes: Bytes::from(message.to_owned()),
            attempts: 0,
            queued_at: Timestamp::UNIX_EPOCH,
            priority: Priority::Answer,
        };
        Needs::of(&delivery, None)
    }

    #[test]
    fn an_ehlo_response_is_read_whatever_its_case() {
        let lines = ["mx STARTTLS", "size 1000", "8bitMIME", "AUTH=PLAIN login", "x", ""];
        let offers = Offers::read(lines);
        assert!(offers.size && offers.eight_bit && offers.auth_plain && offers.auth_login);
        assert!(!offers.starttls && !offers.utf8, "the first line is a greeting");
        assert_eq!(offers.size_limit, Some(1000));
        assert_eq!(Offers::read(["mx", "SIZE 0"]).size_limit, None);
    }

    #[test]
    fn parameters_say_what_the_message_needs() {
        let all = Offers::read(["mx", "8BITMIME", "SMTPUTF8", "SIZE"]);
        let plain = needs("ann@there.example", "A: b\r\n\r\nc\r\n");
        assert_eq!(plain.parameters(&all).unwrap(), " SIZE=11");
        assert_eq!(plain.parameters(&Offers::default()).unwrap(), "");
        let body = needs("ann@there.example", "A: b\r\n\r\nä\r\n");
        assert_eq!(body.parameters(&all).unwrap(), " SIZE=12 BODY=8BITMIME");
        assert!(body.parameters(&Offers::default()).unwrap_err().contains("8BITMIME"));
        let address = needs("änn@there.example", "A: b\r\n\r\nc\r\n");
        assert_eq!(address.parameters(&all).unwrap(), " SIZE=11 SMTPUTF8");
        let without = address.parameters(&Offers::default()).unwrap_err();
        assert!(without.contains("SMTPUTF8"), "{without}");
        let field = needs("ann@there.example", "A: ä\r\n\r\nc\r\n");
        assert_eq!(field.parameters(&all).unwrap(), " SIZE=12 BODY=8BITMIME SMTPUTF8");
    }

    #[test]
    fn a_domain_outside_ascii_needs_nothing() {
        let needs = needs("ann@bücher.example", "A: b\r\n\r\nc\r\n");
        assert_eq!(needs.parameters(&Offers::default()).unwrap(), "");
    }

    #[test]
    fn limits_and_bare_line_ends_are_refused_before_anything_is_sent() {
        let small = Offers { size: true, size_limit: Some(10), ..Offers::default() };
        let refused = needs("a@b.example", "A: b\r\n\r\nc\r\n").parameters(&small).unwrap_err();
        assert!(refused.contains("11 octets") && refused.contains("at most 10"), "{refused}");
        for message in ["A: b\r\n\r\nc\n.\r\n", "A: b\r\n\r\nc\rd\r\n", "\nA: b\r\n", "A: b\r"] {
            assert!(needs("a@b.example", message).parameters(&Offers::default()).is_err());
        }
    }

    #[test]
    fn dots_are_doubled_and_the_last_line_is_ended() {
        assert_eq!(transparent(b".\r\na\r\n..b\r\n.c"), b"..\r\na\r\n...b\r\n..c\r\n");
        assert_eq!(transparent(b"a.\r\n"), b"a.\r\n");
        assert_eq!(transparent(b""), b"");
    }
}
