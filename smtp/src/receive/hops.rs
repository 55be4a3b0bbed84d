//! Counts trace lines, to end mail loops (RFC 5321 section 6.3).

use memchr::memchr;

/// Received headers of a message that travels in circles. RFC 5321 asks for at least 100, Postfix
/// and chasquid stop at 50; a loop through us also adds hops at the other server.
pub const HOPS_MAX: usize = 50;

/// How many Received headers a message has. Reads the header section only.
pub fn count_received(message: &[u8]) -> usize {
    const NAME: &[u8] = b"received:";
    let mut rest = message;
    let mut count = 0;
    while let Some(end) = memchr(b'\n', rest) {
        if matches!(rest[..end], [] | [b'\r']) {
            break;
        }
        if rest.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)) {
            count += 1;
        }
        rest = &rest[end + 1..];
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_received_headers_of_the_header_section_count() {
        let mail =
            b"Received: a\r\n\tReceived: folded\r\nRECEIVED:b\r\nX-Received: c\r\nSubject: d\r\n\
            \r\nReceived: in the body\r\n";
        assert_eq!(count_received(mail), 2);
        assert_eq!(count_received(b""), 0);
        assert_eq!(count_received(b"\r\nReceived: x\r\n"), 0);
    }
}
