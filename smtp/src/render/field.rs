//! Header fields: folding (RFC 5322 section 2.2.3), encoded words (RFC 2047) and parameters
//! (RFC 2231).
//!
//! The first token of a field always stands on the field's own line, and nothing is folded inside
//! a token: identifiers, addresses and encoded words stay whole.

use super::types::{HeaderText, LinkUrl, Mailbox, MessageId, is_atext};

/// Lines are folded so that none is longer, where tokens allow. RFC 5322 section 2.1.1 asks for 78;
/// RFC 2047 section 2 for 76 on lines with encoded words.
const LINE: usize = 76;
/// The longest encoded word (RFC 2047 section 2).
const ENCODED_WORD: usize = 75;
/// `=?utf-8?q?` and `?=`.
const ENCODED_WORD_FRAME: usize = 12;

/// Appends fields to a header block.
pub(super) struct Fields<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// A value of our own that is short and known to be clean.
    pub(super) fn raw(&mut self, name: &str, value: &str) {
        self.field(name, [value.to_owned()]);
    }

    /// Unstructured text.
    pub(super) fn text(&mut self, name: &str, value: &HeaderText) {
        let tokens = if is_plain(value.as_str(), name.len() + 2) {
            value.as_str().split(' ').map(str::to_owned).collect()
        } else {
            encoded_words(value.as_str(), name.len() + 2)
        };
        self.field(name, tokens);
    }

    /// A list of mailboxes; an empty list writes no field.
    pub(super) fn mailboxes(&mut self, name: &str, list: &[Mailbox]) {
        if list.is_empty() {
            return;
        }
        let mut tokens: Vec<String> = Vec::new();
        for (index, mailbox) in list.iter().enumerate() {
            let column = if index == 0 { name.len() + 2 } else { 1 };
            let mut own = phrase(mailbox.name.as_str(), column);
            let address = mailbox.address.to_string();
            // Parsers take a quoted string at the start for a display name, so it goes in brackets.
            own.push(if own.is_empty() && !address.starts_with('"') {
                address
            } else {
                format!("<{address}>")
            });
            if index + 1 < list.len()
                && let Some(last) = own.last_mut()
            {
                last.push(',');
            }
            tokens.append(&mut own);
        }
        self.field(name, tokens);
    }

    /// Message identifiers.
    pub(super) fn ids<'i>(&mut self, name: &str, ids: impl IntoIterator<Item = &'i MessageId>) {
        self.field(name, ids.into_iter().map(MessageId::to_string));
    }

    /// Addresses in angle brackets, separated by commas (RFC 2369); none writes no field.
    pub(super) fn links<'i>(&mut self, name: &str, links: impl IntoIterator<Item = &'i LinkUrl>) {
        let mut tokens: Vec<String> =
            links.into_iter().map(|link| format!("<{}>,", link.as_str())).collect();
        let Some(last) = tokens.last_mut() else { return };
        last.pop();
        self.field(name, tokens);
    }

    /// Content-Type of a multipart. Boundaries are our own and need no escaping.
    pub(super) fn multipart(&mut self, media_type: &str, boundary: &str) {
        self.field("Content-Type", [format!("{media_type};"), format!("boundary=\"{boundary}\"")]);
    }

    /// A field whose value has a `filename` or `name` parameter.
    pub(super) fn with_file_name(&mut self, name: &str, value: &str, key: &str, file: &str) {
        let mut tokens = vec![format!("{value};")];
        let mut parameters = parameter(key, file);
        let last = parameters.len() - 1;
        for (index, parameter) in parameters.iter_mut().enumerate() {
            if index < last {
                parameter.push(';');
            }
        }
        tokens.append(&mut parameters);
        self.field(name, tokens);
    }

    fn field(&mut self, name: &str, tokens: impl IntoIterator<Item = String>) {
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b':');
        let mut column = name.len() + 1;
        for (index, token) in tokens.into_iter().enumerate() {
            if index > 0 && column + 1 + token.len() > LINE {
                self.out.extend_from_slice(b"\r\n");
                column = 0;
            }
            self.out.push(b' ');
            self.out.extend_from_slice(token.as_bytes());
            column += 1 + token.len();
        }
        self.out.extend_from_slice(b"\r\n");
    }
}

/// Whether text can stand as it is: printable ASCII, single inner spaces (folding is ambiguous about
/// others), words that fit a line, and nothing that reads as an encoded word.
fn is_plain(text: &str, column: usize) -> bool {
    let first = text.split(' ').next().map_or(0, str::len);
    text.is_empty()
        || (column + first <= LINE
            && !text.contains("=?")
            && text.split(' ').all(|word| {
                (1..=60).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_graphic())
            }))
}

/// A display name as tokens; empty for an empty name.
fn phrase(name: &str, column: usize) -> Vec<String> {
    let name = name.trim();
    if name.is_empty() {
        return Vec::new();
    }
    let words: Vec<&str> = name.split(' ').collect();
    let atoms =
        words.iter().all(|word| (1..=60).contains(&word.len()) && word.chars().all(is_atext));
    if atoms && !name.contains("=?") {
        return words.into_iter().map(str::to_owned).collect();
    }
    let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
    if escaped.len() <= 60 && is_plain(name, 0) {
        return vec![format!("\"{escaped}\"")];
    }
    encoded_words(name, column)
}

/// The whole text as encoded words, so that no white space between words is ever left to a reader's
/// interpretation. `column` is where the first one begins.
fn encoded_words(text: &str, column: usize) -> Vec<String> {
    let quoted: usize = text.chars().map(q_len).sum();
    let base64 = quoted > text.len().div_ceil(3) * 4;
    let mut words = Vec::new();
    let mut budget = ENCODED_WORD.min(LINE.saturating_sub(column)).max(ENCODED_WORD_FRAME + 16);
    let mut chunk = String::new();
    let mut used = 0;
    for c in text.chars() {
        let size =
            if base64 { (chunk.len() + c.len_utf8()).div_ceil(3) * 4 } else { used + q_len(c) };
        if size + ENCODED_WORD_FRAME > budget {
            words.push(encoded_word(&chunk, base64));
            chunk.clear();
            used = 0;
            budget = ENCODED_WORD;
        }
        chunk.push(c);
        used += q_len(c);
    }
    words.push(encoded_word(&chunk, base64));
    words
}

fn encoded_word(chunk: &str, base64: bool) -> String {
    if base64 {
        return format!("=?utf-8?b?{}?=", data_encoding::BASE64.encode(chunk.as_bytes()));
    }
    let mut word = String::from("=?utf-8?q?");
    for b in chunk.bytes() {
        match b {
            b' ' => word.push('_'),
            b if is_q_safe(b) => word.push(char::from(b)),
            b => {
                word.push('=');
                word.push_str(&data_encoding::HEXUPPER.encode(&[b]));
            }
        }
    }
    word.push_str("?=");
    word
}

fn q_len(c: char) -> usize {
    match u8::try_from(c) {
        Ok(b) if b == b' ' || is_q_safe(b) => 1,
        _ => 3 * c.len_utf8(),
    }
}

/// What RFC 2047 section 5 (3) allows in a phrase, which is safe everywhere.
fn is_q_safe(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!*+-/".contains(&b)
}

/// A parameter as one token or, when it is long or not ASCII, as the extended and continued form of
/// RFC 2231 sections 3 and 4.
fn parameter(key: &str, value: &str) -> Vec<String> {
    let plain = value.len() <= 50 && value.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    if plain && !value.contains("=?") {
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
        return vec![format!("{key}=\"{escaped}\"")];
    }
    let mut pieces = vec![String::from("utf-8''")];
    // Room for the key, the section number, `*=` and `;`.
    let room = LINE - 1 - key.len() - 8;
    for c in value.chars() {
        let mut utf8 = [0; 4];
        let mut encoded = String::new();
        for &b in c.encode_utf8(&mut utf8).as_bytes() {
            if b.is_ascii_alphanumeric() || b"!#$&+-.^_`{|}~".contains(&b) {
                encoded.push(char::from(b));
            } else {
                encoded.push('%');
                encoded.push_str(&data_encoding::HEXUPPER.encode(&[b]));
            }
        }
        match pieces.last_mut() {
            Some(piece) if piece.len() + encoded.len() <= room => piece.push_str(&encoded),
            _ => pieces.push(encoded),
        }
    }
    if let [only] = pieces.as_slice() {
        return vec![format!("{key}*={only}")];
    }
    pieces.iter().enumerate().map(|(n, piece)| format!("{key}*{n}*={piece}")).collect()
}
