//! The relaxed canonicalisations of RFC 6376 section 3.4.

/// One header field as it stands in the message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'m> {
    name: &'m [u8],
    value: &'m [u8],
}

impl Field<'_> {
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// Section 3.4.2: lower-case name, unfolded value, runs of white space as one space, none at
    /// the ends.
    pub(super) fn write_relaxed(&self, mut write: impl FnMut(&[u8])) {
        write(&self.name.to_ascii_lowercase());
        write(b":");
        let words = self.value.split(|b| b" \t\r\n".contains(b)).filter(|word| !word.is_empty());
        for (index, word) in words.enumerate() {
            if index > 0 {
                write(b" ");
            }
            write(word);
        }
        write(b"\r\n");
    }
}

/// Splits a message with CRLF line ends into fields and body; `None` if that is impossible.
pub(super) fn split(message: &[u8]) -> Option<(Vec<Field<'_>>, &[u8])> {
    let end = memchr::memmem::find(message, b"\r\n\r\n")?;
    let (header, body) = (&message[..end + 2], &message[end + 4..]);
    let mut fields = Vec::new();
    let mut rest = header;
    while !rest.is_empty() {
        let mut length = 0;
        loop {
            length += memchr::memmem::find(&rest[length..], b"\r\n")? + 2;
            if !matches!(rest.get(length), Some(b' ' | b'\t')) {
                break;
            }
        }
        let (field, tail) = rest.split_at(length);
        let colon = memchr::memchr(b':', field)?;
        fields.push(Field { name: field[..colon].trim_ascii_end(), value: &field[colon + 1..] });
        rest = tail;
    }
    (!fields.is_empty()).then_some((fields, body))
}

/// Section 3.4.4: white space at line ends is dropped, other runs become one space, and empty lines
/// at the end of the body are dropped, where a line of white space only is an empty line. A body
/// with nothing left is empty, without a CRLF.
pub fn relaxed_body(body: &[u8], mut write: impl FnMut(&[u8])) {
    let mut empty_lines = 0usize;
    let mut rest = body;
    while !rest.is_empty() {
        let (line, tail) = match memchr::memmem::find(rest, b"\r\n") {
            Some(end) => (&rest[..end], &rest[end + 2..]),
            None => (rest, &rest[rest.len()..]),
        };
        rest = tail;
        let content = line.iter().rposition(|b| !b" \t".contains(b)).map_or(0, |last| last + 1);
        if content == 0 {
            empty_lines += 1;
            continue;
        }
        for _ in 0..std::mem::take(&mut empty_lines) {
            write(b"\r\n");
        }
        write_line(&line[..content], &mut write);
        write(b"\r\n");
    }
}

fn write_line(line: &[u8], write: &mut impl FnMut(&[u8])) {
    let mut rest = line;
    while let Some(gap) = rest.iter().position(|b| b" \t".contains(b)) {
        write(&rest[..gap]);
        write(b" ");
        let run = rest[gap..].iter().position(|b| !b" \t".contains(b));
        rest = run.map_or(&[], |run| &rest[gap + run..]);
    }
    write(rest);
}
