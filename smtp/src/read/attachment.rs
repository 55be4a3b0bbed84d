//! Attachments: what they are called, safely, and where their bytes are.
//!
//! Bytes are not kept: an [`Attachment`] says where they are in the raw message and decodes them
//! when asked.

use std::{borrow::Cow, collections::HashSet, ops::Range};

use mail_parser::{
    ContentType, Encoding, Message, MessagePart, MimeHeaders, PartType,
    decoders::{base64::base64_decode, quoted_printable::quoted_printable_decode},
};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use super::{hidden::Scrubber, is_bidi, text::start};

/// Octets of a safe name. Most file systems allow 255; the rest is for a path or a counter.
pub const NAME_OCTETS: usize = 120;
/// Octets of an extension that is kept when a name is cut.
const EXTENSION: usize = 16;

/// A part that is not the text of the message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Index of the part in the message, as mail-parser counts.
    pub part: usize,
    /// Safe to be a file name (see [`safe_name`]), and unique in the message without regard to
    /// case. Made up where the sender gave none.
    pub name: String,
    /// Type and subtype in lower case, as the sender says.
    pub media_type: String,
    /// Octets once decoded.
    pub size: usize,
    /// Content-ID without brackets, which HTML refers to as `cid:`.
    pub content_id: Option<String>,
    /// Shown within the text rather than listed.
    pub inline: bool,
    /// Where the encoded body is in the raw message.
    range: Range<usize>,
    encoded: Encoded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Encoded {
    No,
    Base64,
    QuotedPrintable,
}

impl Attachment {
    /// The decoded bytes. `raw` is the message this was read from. A body whose encoding is broken
    /// is given as it stands.
    pub fn decode<'r>(&self, raw: &'r [u8]) -> Cow<'r, [u8]> {
        let encoding = match self.encoded {
            Encoded::No => Encoding::None,
            Encoded::Base64 => Encoding::Base64,
            Encoded::QuotedPrintable => Encoding::QuotedPrintable,
        };
        decode(raw.get(self.range.clone()).unwrap_or_default(), encoding)
    }
}

pub(super) fn decode(bytes: &[u8], encoding: Encoding) -> Cow<'_, [u8]> {
    match encoding {
        Encoding::None => None,
        Encoding::Base64 => base64_decode(bytes),
        Encoding::QuotedPrintable => quoted_printable_decode(bytes),
    }
    .map_or(Cow::Borrowed(bytes), Cow::Owned)
}

pub(super) fn list(message: &Message<'_>) -> Vec<Attachment> {
    let mut names = HashSet::new();
    let mut list = Vec::new();
    for &part in &message.attachments {
        let Some(body) = message.parts.get(part as usize) else { continue };
        let range =
            body.offset_body as usize..(body.offset_end as usize).max(body.offset_body as usize);
        let encoded = match body.encoding {
            Encoding::None => Encoded::No,
            Encoding::Base64 => Encoded::Base64,
            Encoding::QuotedPrintable => Encoded::QuotedPrintable,
        };
        let media_type = media_type(body);
        let size = match &body.body {
            PartType::Message(_) if encoded == Encoded::No => range.len(),
            body => body.len(),
        };
        let disposition = body.content_disposition();
        let content_id =
            body.content_id().map(|id| id.chars().filter(|c| !c.is_control()).collect());
        let attached = disposition.is_some_and(ContentType::is_attachment);
        let inline = !attached
            && (disposition.is_some_and(ContentType::is_inline)
                || matches!(body.body, PartType::InlineBinary(_))
                || content_id.is_some());
        list.push(Attachment {
            part: part as usize,
            name: unique(given_name(body, &media_type, list.len() + 1), &mut names),
            media_type,
            size,
            content_id,
            inline,
            range,
            encoded,
        });
    }
    list
}

fn media_type(part: &MessagePart<'_>) -> String {
    match part.content_type() {
        Some(value) => {
            let whole = format!("{}/{}", value.ctype(), value.subtype().unwrap_or("octet-stream"));
            let token = |b: u8| b.is_ascii_alphanumeric() || b"/!#$&^_.+-".contains(&b);
            if whole.len() <= 127 && whole.bytes().all(token) {
                whole.to_ascii_lowercase()
            } else {
                "application/octet-stream".into()
            }
        }
        None if part.is_message() => "message/rfc822".into(),
        None => "text/plain".into(),
    }
}

/// The sender's name made safe, or one made up from what the part is.
fn given_name(part: &MessagePart<'_>, media_type: &str, number: usize) -> String {
    if let Some(name) = part.attachment_name().and_then(safe_name) {
        return name;
    }
    if let Some(subject) = part.message().and_then(|message| message.subject())
        && let Some(name) = safe_name(&format!("{}.eml", subject.replace(['/', '\\'], "_")))
    {
        return name;
    }
    format!("attachment-{number}.{}", extension(media_type))
}

fn extension(media_type: &str) -> &str {
    match media_type {
        "text/plain" => "txt",
        "text/html" => "html",
        "text/calendar" => "ics",
        "text/csv" => "csv",
        "text/rfc822-headers" => "txt",
        "message/rfc822" | "message/global" => "eml",
        "message/delivery-status" | "message/disposition-notification" => "txt",
        "application/pdf" => "pdf",
        "application/zip" => "zip",
        "application/json" => "json",
        "application/pgp-signature" => "asc",
        "application/pkcs7-signature" => "p7s",
        "application/ms-tnef" => "dat",
        "image/jpeg" => "jpg",
        "image/png" => "png",
        "image/gif" => "gif",
        "image/webp" => "webp",
        "image/svg+xml" => "svg",
        "audio/mpeg" => "mp3",
        "audio/wav" | "audio/x-wav" => "wav",
        _ => "bin",
    }
}

/// A name fit for any file system and for display, or `None` where nothing of it is left: the last
/// component of a path, in Unicode NFC, without control, invisible and bidirectional characters
/// and without `< > : " | ? *`; not hidden, not an option, not a device of Windows; at most
/// [`NAME_OCTETS`] octets with its extension kept.
pub fn safe_name(name: &str) -> Option<String> {
    let last = name
        .rsplit(['/', '\\', '\u{2215}', '\u{2044}', '\u{29f8}', '\u{ff0f}', '\u{ff3c}'])
        .find(|part| part.chars().any(|c| !c.is_whitespace() && c != '.'))?;
    let mut scrubber = Scrubber::default();
    let cleaned: String = last
        .chars()
        .take(4 * NAME_OCTETS)
        .filter(|c| !c.is_control() && !is_bidi(*c))
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| scrubber.keep(*c))
        .nfc()
        .map(|c| if matches!(c, '<' | '>' | ':' | '"' | '|' | '?' | '*') { '_' } else { c })
        .collect();
    let cleaned = cleaned.trim().trim_end_matches(['.', ' ']).trim_start_matches(['.', ' ']);
    let mut name = cut(cleaned);
    if name.is_empty() {
        return None;
    }
    if name.starts_with('-') || name.starts_with('~') {
        name.replace_range(..1, "_");
    }
    if is_device(&name) {
        name.insert(0, '_');
    }
    Some(name)
}

fn cut(name: &str) -> String {
    if name.len() <= NAME_OCTETS {
        return name.to_string();
    }
    let extension =
        name.rfind('.').map(|at| &name[at..]).filter(|extension| extension.len() <= EXTENSION);
    let extension = extension.unwrap_or_default();
    format!("{}{extension}", start(name, NAME_OCTETS - extension.len()).trim_end())
}

/// Names that Windows gives to devices, with any extension.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    if matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$") {
        return true;
    }
    ["COM", "LPT"].iter().any(|port| {
        stem.strip_prefix(port).is_some_and(|number| {
            matches!(
                number,
                "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³"
            )
        })
    })
}

/// `name`, or the first of `name (2)`, `name (3)`… that is not taken.
fn unique(name: String, taken: &mut HashSet<String>) -> String {
    if taken.insert(name.to_lowercase()) {
        return name;
    }
    let (stem, extension) = match name.rfind('.') {
        Some(at) if at > 0 => name.split_at(at),
        _ => (name.as_str(), ""),
    };
    let stem = start(stem, NAME_OCTETS - EXTENSION - 8);
    // At most one number more than there are parts, which the guard caps.
    let mut number = 2;
    loop {
        let candidate = format!("{stem} ({number}){extension}");
        if taken.insert(candidate.to_lowercase()) {
            return candidate;
        }
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_on_every_file_system() {
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(safe_name(name).as_deref(), expected, "{name:?}");
        };
        check("report.pdf", Some("report.pdf"));
        check("../../etc/passwd", Some("passwd"));
        check("C:\\Users\\a\\x.doc", Some("x.doc"));
        check("a\u{202e}fdp.exe", Some("afdp.exe"));
        check("a\0b\r\nc.txt", Some("abc.txt"));
        check("CON.txt", Some("_CON.txt"));
        check("lpt1", Some("_lpt1"));
        check("..", None);
        check("/", None);
        check("", None);
        check(".htaccess", Some("htaccess"));
        check("-rf", Some("_rf"));
        check("a:b?.txt", Some("a_b_.txt"));
        check("trailing. . ", Some("trailing"));
        check("e\u{301}.txt", Some("é.txt"));
        check("請求書.pdf", Some("請求書.pdf"));
        let long = safe_name(&format!("{}.pdf", "é".repeat(300))).unwrap();
        assert!(long.len() <= NAME_OCTETS && long.ends_with("é.pdf"), "{long}");
    }

    #[test]
    fn repeated_names_are_numbered_without_regard_to_case() {
        let mut taken = HashSet::new();
        let names: Vec<_> = ["a.png", "A.png", "a.png", "b", "b"]
            .into_iter()
            .map(|name| unique(name.into(), &mut taken))
            .collect();
        assert_eq!(names, ["a.png", "A (2).png", "a (3).png", "b", "b (2)"]);
    }
}
