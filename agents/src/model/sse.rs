//! Server-sent events, as models stream them (WHATWG HTML section 9.2.6).
//!
//! Bytes go in as they come, split anywhere; events come out when their empty line has come. What is not an
//! event yet is bounded. Left out: `id` and `retry`, because no answer can be resumed.

use super::ErrorKind;

/// Largest event. A call that writes a long document comes in many small ones.
const EVENT_MAX: usize = 4 * 1024 * 1024;

/// An event with data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SseEvent {
    /// Empty where none was given.
    pub name: String,
    pub data: String,
}

/// Splits a stream of bytes into events.
#[derive(Debug, Default)]
pub(crate) struct SseParser {
    line: Vec<u8>,
    /// The last byte was a CR, so an LF that follows belongs to it.
    after_cr: bool,
    /// The stream may begin with a byte order mark.
    begun: bool,
    name: String,
    data: Vec<u8>,
    has_data: bool,
}

impl SseParser {
    /// Takes more bytes, and appends the events they complete to `events`.
    pub fn push(&mut self, bytes: &[u8], events: &mut Vec<SseEvent>) -> Result<(), ErrorKind> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if std::mem::take(&mut self.after_cr)
                && let Some(after) = rest.strip_prefix(b"\n")
            {
                rest = after;
                continue;
            }
            let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            self.line.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
            if self.line.len() + self.data.len() > EVENT_MAX {
                return Err(ErrorKind::Protocol { what: "an event is too long" });
            }
            let Some(end) = end else { break };
            self.after_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
            self.end_line(events);
        }
        Ok(())
    }

    fn end_line(&mut self, events: &mut Vec<SseEvent>) {
        let line = std::mem::take(&mut self.line);
        let mut line = line.as_slice();
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            let data = std::mem::take(&mut self.data);
            if std::mem::take(&mut self.has_data) {
                // Lossy, as the standard says: a broken character must not end an answer.
                let data = String::from_utf8_lossy(&data).into_owned();
                events.push(SseEvent { name, data });
            }
            return;
        }
        let (field, value) = match line.iter().position(|&byte| byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => self.name = String::from_utf8_lossy(value).into_owned(),
            b"data" => self.add(value),
            // Not of the standard: llama.cpp of 2024 and 2025 sends errors as a field of that name.
            b"error" => {
                self.name = "error".to_owned();
                self.add(value);
            }
            _ => {}
        }
    }

    fn add(&mut self, value: &[u8]) {
        if std::mem::replace(&mut self.has_data, true) {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn events(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let mut parser = SseParser::default();
        let mut events = Vec::new();
        for piece in pieces {
            parser.push(piece, &mut events).unwrap();
        }
        events.into_iter().map(|event| (event.name, event.data)).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(name, data)| ((*name).to_owned(), (*data).to_owned())).collect()
    }

    #[test]
    fn names_data_and_comments_are_told_apart() {
        let text = b"\xef\xbb\xbf: waiting\nevent: ping\ndata: {}\n\nid: 7\ndata:one\ndata: two\n\nevent: x\n\ndata\n\n";
        assert_eq!(events(&[text]), pairs(&[("ping", "{}"), ("", "one\ntwo"), ("", "")]));
    }

    #[test]
    fn lines_end_in_any_of_the_three_ways() {
        for end in ["\n", "\r", "\r\n"] {
            let text = format!("data: a{end}{end}data: b{end}{end}");
            assert_eq!(events(&[text.as_bytes()]), pairs(&[("", "a"), ("", "b")]), "{end:?}");
        }
    }

    #[test]
    fn an_event_without_its_empty_line_has_not_come() {
        assert_eq!(events(&[b"data: half\n"]), pairs(&[]));
    }

    #[test]
    fn a_field_named_error_is_an_error() {
        assert_eq!(events(&[b"error: {\"code\":400}\n\n"]), pairs(&[("error", "{\"code\":400}")]));
    }

    #[test]
    fn an_endless_event_is_refused_before_it_fills_the_memory() {
        let mut parser = SseParser::default();
        let mut events = Vec::new();
        let piece = [b'x'; 65_536];
        let refused = (0..1_000).position(|_| parser.push(&piece, &mut events).is_err());
        assert_eq!(refused, Some(EVENT_MAX / piece.len()));
        let mut parser = SseParser::default();
        let line = [b"data: ".as_slice(), &piece, b"\n"].concat();
        assert!((0..1_000).any(|_| parser.push(&line, &mut events).is_err()));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_events(
            text in "(data: ?[a-zü€😀]{0,6}|event: [a-z]{0,3}|: c|\r|\n|\r\n|\n\n|error: e){0,40}",
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&bytes[from..cut]);
                from = cut;
            }
            pieces.push(&bytes[from..]);
            prop_assert_eq!(events(&pieces), events(&[bytes]));
        }
    }
}
