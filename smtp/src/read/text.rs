//! The readable text of a message, and what it was made from.

use mail_parser::{
    Message, MessagePart, MimeHeaders, PartType, decoders::charsets::map::charset_decoder,
};
use serde::{Deserialize, Serialize};

use super::{
    flowed,
    hidden::{HIDDEN_KEPT, Hidden, Hiding, Scrubber, diverge},
    html::{self, Converted, Mark},
};

/// Octets of text, and of HTML, that are kept. Far above what people write; what is longer stays
/// in the raw message.
pub const TEXT_KEPT: usize = 8 * 1024 * 1024;

/// What a readable text was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Plain,
    Html,
    /// There is no text: attachments only, or nothing.
    None,
}

pub(super) struct Body {
    pub text: String,
    pub source: Source,
    pub html: Option<String>,
    pub hidden: Vec<Hidden>,
    pub marks: Vec<Mark>,
    pub cut: bool,
}

pub(super) fn body(message: &Message<'_>, raw: &[u8]) -> Body {
    let mut body = Body {
        text: String::new(),
        source: Source::None,
        html: None,
        hidden: Vec::new(),
        marks: Vec::new(),
        cut: false,
    };
    for part in message.html_bodies() {
        if let PartType::Html(text) = &part.body {
            let html = body.html.get_or_insert_default();
            let kept = start(text, TEXT_KEPT.saturating_sub(html.len()));
            html.push_str(kept);
            body.cut |= kept.len() < text.len();
        }
    }
    for part in message.text_bodies() {
        let (text, marks) = match &part.body {
            PartType::Text(text) => {
                let kept = start(text, TEXT_KEPT.saturating_sub(body.text.len()));
                body.cut |= kept.len() < text.len();
                (plain(part, kept, raw, &mut body.hidden), Vec::new())
            }
            PartType::Html(html) => {
                let kept = start(html, TEXT_KEPT.saturating_sub(body.text.len()));
                body.cut |= kept.len() < html.len();
                let mut converted = html::to_text(kept);
                body.hidden.append(&mut converted.hidden);
                body.source = Source::Html;
                (converted.text, converted.marks)
            }
            _ => continue,
        };
        if text.trim().is_empty() {
            continue;
        }
        if body.source == Source::None {
            body.source = Source::Plain;
        }
        if !body.text.is_empty() {
            body.text.push('\n');
        }
        let offset = body.text.len();
        body.marks.extend(marks.into_iter().map(|mark| Mark {
            range: mark.range.start + offset..mark.range.end + offset,
            ..mark
        }));
        body.text.push_str(&text);
    }
    let rich = body.html.as_deref().filter(|_| body.source != Source::Html).map(html::to_text);
    if let Some(converted) = rich {
        choose(&mut body, converted);
    }
    body
}

/// The longest start of `text` of at most `octets` that ends between characters.
pub(super) fn start(text: &str, octets: usize) -> &str {
    let mut end = octets.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Between a plain and an HTML version: the plain one, unless it says nothing.
fn choose(body: &mut Body, mut converted: Converted) {
    body.hidden.append(&mut converted.hidden);
    if says_nothing(&body.text) && !converted.text.trim().is_empty() {
        body.text = converted.text;
        body.marks = converted.marks;
        body.source = Source::Html;
    } else if diverge(&body.text, &converted.text) {
        let text = start(&converted.text, HIDDEN_KEPT).to_string();
        body.hidden.push(Hidden { how: Hiding::Divergence, text });
    }
}

/// Whether a plain version only points to the HTML one, as newsletter tools write it.
fn says_nothing(text: &str) -> bool {
    let text = text.trim();
    text.is_empty()
        || text.len() < 200 && {
            let lower = text.to_lowercase();
            lower.contains("html")
                && ["view", "support", "enable", "client", "reader", "anzeigen", "afficher"]
                    .iter()
                    .any(|word| lower.contains(word))
        }
}

fn plain(part: &MessagePart<'_>, text: &str, raw: &[u8], hidden: &mut Vec<Hidden>) -> String {
    let content_type = part.content_type();
    let attribute = |name: &str| content_type.and_then(|value| value.attribute(name));
    let guessed = undeclared(part, text, raw, attribute("charset"));
    let clean = clean(guessed.as_deref().unwrap_or(text), hidden);
    if attribute("format").is_some_and(|format| format.eq_ignore_ascii_case("flowed")) {
        let delsp = attribute("delsp").is_some_and(|delsp| delsp.eq_ignore_ascii_case("yes"));
        return flowed::unflow(&clean, delsp);
    }
    clean
}

/// Text in an undeclared or unknown 8-bit charset that is not UTF-8: read as windows-1252, as
/// browsers do (WHATWG Encoding, "fallback encoding").
fn undeclared(
    part: &MessagePart<'_>,
    text: &str,
    raw: &[u8],
    charset: Option<&str>,
) -> Option<String> {
    let known = charset.is_some_and(|charset| {
        !charset.eq_ignore_ascii_case("us-ascii") && charset_decoder(charset.as_bytes()).is_some()
    });
    if known || !text.contains('\u{fffd}') {
        return None;
    }
    let range = part.offset_body as usize..part.offset_end as usize;
    let bytes = super::attachment::decode(raw.get(range)?, part.encoding);
    std::str::from_utf8(&bytes)
        .is_err()
        .then(|| charset_decoder(b"windows-1252"))?
        .map(|decode| decode(&bytes[..bytes.len().min(TEXT_KEPT)]))
}

/// Plain text with LF line ends and without what readers do not see, which goes to `hidden`.
pub(super) fn clean(text: &str, hidden: &mut Vec<Hidden>) -> String {
    let mut scrubber = Scrubber::default();
    let mut out = String::with_capacity(text.len() + 1);
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    while !rest.is_empty() {
        // Most of most mail is printable ASCII.
        let ascii = rest
            .bytes()
            .position(|b| !matches!(b, b' '..=b'~' | b'\n' | b'\t'))
            .unwrap_or(rest.len());
        if let Some(last) = rest[..ascii].chars().next_back() {
            scrubber.keep(last);
            out.push_str(&rest[..ascii]);
            rest = &rest[ascii..];
        }
        let Some(c) = rest.chars().next() else { break };
        rest = &rest[c.len_utf8()..];
        match c {
            '\r' if rest.starts_with('\n') => (),
            '\r' | '\u{2028}' | '\u{2029}' | '\u{85}' => out.push('\n'),
            '\u{a0}' => out.push(' '),
            c if scrubber.keep(c) => out.push(c),
            _ => (),
        }
    }
    scrubber.finish(hidden);
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    out
}
