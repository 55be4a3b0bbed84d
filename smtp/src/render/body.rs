//! Bodies in transfer encodings of RFC 2045 that no relay needs to change.

use std::borrow::Cow;

use super::field::Fields;
use super::{Attachment, MediaType};

/// The longest line that goes out as it is. RFC 5322 section 2.1.1 allows 998 and asks for 78.
const VERBATIM_LINE: usize = 78;
/// The longest line of quoted-printable and base64 (RFC 2045 sections 6.7 and 6.8).
const ENCODED_LINE: usize = 76;
/// The longest line that may exist at all, without its CRLF (RFC 5322 section 2.1.1).
const HARD_LINE: usize = 998;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    SevenBit,
    QuotedPrintable,
    Base64,
}

impl Encoding {
    fn name(self) -> &'static str {
        match self {
            Self::SevenBit => "7bit",
            Self::QuotedPrintable => "quoted-printable",
            Self::Base64 => "base64",
        }
    }
}

/// A text body, encoded, without a final line break.
pub(super) struct Prepared {
    pub(super) encoding: Encoding,
    pub(super) encoded: Vec<u8>,
    ascii: bool,
}

impl Prepared {
    pub(super) fn text(text: &str) -> Self {
        let text = canonical(text);
        let ascii = text.is_ascii();
        if text.split("\r\n").all(is_verbatim) {
            return Self { encoding: Encoding::SevenBit, encoded: text.into_bytes(), ascii };
        }
        let quoted = quoted_printable(&text);
        // Mostly non-Latin text is smaller, and no less readable, in base64.
        if quoted.len() > base64_len(text.len()) {
            let encoded = base64(text.as_bytes());
            return Self { encoding: Encoding::Base64, encoded, ascii };
        }
        Self { encoding: Encoding::QuotedPrintable, encoded: quoted, ascii }
    }

    /// Headers, blank line, body and one CRLF.
    pub(super) fn write(&self, subtype: &str, out: &mut Vec<u8>) {
        let charset = if self.ascii { "us-ascii" } else { "utf-8" };
        let mut fields = Fields::new(out);
        fields.raw("Content-Type", &format!("text/{subtype}; charset={charset}"));
        fields.raw("Content-Transfer-Encoding", self.encoding.name());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.encoded);
        out.extend_from_slice(b"\r\n");
    }
}

/// An attached file with the way it will travel decided.
pub(super) struct File<'a> {
    media_type: Cow<'a, MediaType>,
    content: &'a [u8],
    encoding: Encoding,
}

impl<'a> File<'a> {
    pub(super) fn prepare(file: &'a Attachment) -> Self {
        let content: &[u8] = &file.content;
        // RFC 2046 section 5.2.1: message/rfc822 is never encoded. One that cannot travel as it is
        // becomes a plain file, which loses nothing but the preview.
        if file.media_type.is_kind("message") && is_clean_message(content) {
            let media_type = Cow::Borrowed(&file.media_type);
            return Self { media_type, content, encoding: Encoding::SevenBit };
        }
        let composite = file.media_type.is_kind("message") || file.media_type.is_kind("multipart");
        let media_type = if composite {
            Cow::Owned(MediaType::octet_stream())
        } else {
            Cow::Borrowed(&file.media_type)
        };
        Self { media_type, content, encoding: Encoding::Base64 }
    }

    /// The bytes that stand in the mail unencoded, if they do.
    pub(super) fn verbatim(&self) -> Option<&'a [u8]> {
        (self.encoding == Encoding::SevenBit).then_some(self.content)
    }

    pub(super) fn encoded_len(&self) -> usize {
        match self.encoding {
            Encoding::SevenBit => self.content.len(),
            _ => base64_len(self.content.len()),
        }
    }

    /// Headers, blank line, body and one CRLF.
    pub(super) fn write(&self, file: &Attachment, out: &mut Vec<u8>) {
        let mut fields = Fields::new(out);
        let utf8_text =
            self.media_type.is_kind("text") && std::str::from_utf8(self.content).is_ok();
        if utf8_text {
            fields.raw("Content-Type", &format!("{}; charset=utf-8", self.media_type.as_str()));
        } else {
            fields.raw("Content-Type", self.media_type.as_str());
        }
        fields.raw("Content-Transfer-Encoding", self.encoding.name());
        let name = file_name(file.name.as_str());
        fields.with_file_name("Content-Disposition", "attachment", "filename", &name);
        out.extend_from_slice(b"\r\n");
        match self.encoding {
            Encoding::SevenBit => out.extend_from_slice(self.content),
            _ => base64_into(self.content, out),
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// A name that no receiver can take for a path.
fn file_name(name: &str) -> String {
    let name: String = name.chars().map(|c| if "/\\:".contains(c) { '_' } else { c }).collect();
    let name = name.trim().trim_start_matches('.');
    if name.is_empty() { "attachment".to_owned() } else { name.to_owned() }
}

/// CRLF line ends whatever came in, no controls but tab, and no blank line at the end.
pub(super) fn canonical(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 32);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' => {
                chars.next_if_eq(&'\n');
                out.push_str("\r\n");
            }
            '\n' => out.push_str("\r\n"),
            '\t' => out.push('\t'),
            // NUL and its kind have no meaning in text, and relays refuse or change them.
            c if c.is_ascii_control() => {}
            c => out.push(c),
        }
    }
    let end = out.trim_end_matches([' ', '\t', '\r', '\n']).len();
    out.truncate(end);
    out
}

/// Whether a line survives every relay unchanged: short printable ASCII that does not end in white
/// space, and begins with nothing that mbox files or broken dot-stuffing would alter.
fn is_verbatim(line: &str) -> bool {
    line.len() <= VERBATIM_LINE
        && line.bytes().all(|b| b == b'\t' || b == b' ' || b.is_ascii_graphic())
        && !line.ends_with([' ', '\t'])
        && !line.starts_with("From ")
        && !line.starts_with('.')
}

fn is_clean_message(content: &[u8]) -> bool {
    let Some(body) = content.strip_suffix(b"\r\n") else { return false };
    let Ok(text) = std::str::from_utf8(body) else { return false };
    text.split("\r\n").all(|line| {
        line.len() <= HARD_LINE
            && line.bytes().all(|b| b == b'\t' || b == b' ' || b.is_ascii_graphic())
    })
}

/// RFC 2045 section 6.7, of canonical text. Characters are not split over lines.
fn quoted_printable(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() * 5 / 4);
    for (number, line) in text.split("\r\n").enumerate() {
        if number > 0 {
            out.extend_from_slice(b"\r\n");
        }
        let mut column = 0;
        for (at, c) in line.char_indices() {
            let last = at + c.len_utf8() == line.len();
            let escape = match c {
                ' ' | '\t' => last,
                '=' => true,
                c => !c.is_ascii_graphic(),
            };
            let width = if escape { 3 * c.len_utf8() } else { 1 };
            // The last character of a line needs no room for the `=` of a soft break.
            let limit = if last { ENCODED_LINE } else { ENCODED_LINE - 1 };
            if column + width > limit {
                out.extend_from_slice(b"=\r\n");
                column = 0;
            }
            // What may not begin a line may not follow a soft break either.
            let escape = escape || (column == 0 && (c == '.' || line[at..].starts_with("From ")));
            let mut utf8 = [0; 4];
            for &b in c.encode_utf8(&mut utf8).as_bytes() {
                if escape {
                    out.push(b'=');
                    out.extend_from_slice(data_encoding::HEXUPPER.encode(&[b]).as_bytes());
                    column += 3;
                } else {
                    out.push(b);
                    column += 1;
                }
            }
        }
    }
    out
}

fn base64_len(octets: usize) -> usize {
    let encoded = octets.div_ceil(3) * 4;
    encoded + 2 * (encoded / ENCODED_LINE)
}

fn base64(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(base64_len(content.len()));
    base64_into(content, &mut out);
    out
}

fn base64_into(content: &[u8], out: &mut Vec<u8>) {
    const OCTETS: usize = ENCODED_LINE / 4 * 3;
    let mut line = [0; ENCODED_LINE];
    for (number, chunk) in content.chunks(OCTETS).enumerate() {
        if number > 0 {
            out.extend_from_slice(b"\r\n");
        }
        let width = data_encoding::BASE64.encode_len(chunk.len());
        data_encoding::BASE64.encode_mut(chunk, &mut line[..width]);
        out.extend_from_slice(&line[..width]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_begin_a_line_does_not_follow_a_soft_break() {
        for before in 0..2 * ENCODED_LINE {
            for what in ["From here", ".here"] {
                let text = format!("\u{e9}{}{what} on", "x".repeat(before));
                let quoted = String::from_utf8(quoted_printable(&text)).unwrap();
                for line in quoted.split("\r\n") {
                    assert!(!line.starts_with("From ") && !line.starts_with('.'), "{quoted}");
                    assert!(line.len() <= ENCODED_LINE, "{quoted}");
                }
            }
        }
    }
}
