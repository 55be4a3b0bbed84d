//! The author of a message: the one reading of From that is shown and that DMARC judges.
//!
//! What always holds: a message has at most one author domain. Several From fields, a From field
//! written so that programs may disagree about it, and authors of different domains are malformed and
//! refused, because every reader would otherwise choose which of them to believe.

use mail_parser::{Address, HeaderName, HeaderValue, Message};
use serde::{Deserialize, Serialize};
use unicode_security::{RestrictionLevel, RestrictionLevelDetection, skeleton};

/// Longest display name kept, in characters.
const MAX_NAME: usize = 512;

/// Who the message says it is from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// `local@domain`, the domain as lower-case A-labels.
    pub address: String,
    /// The domain part of `address`.
    pub domain: String,
    /// The name beside the address, decoded; untrusted.
    pub display_name: Option<String>,
    /// What to warn about.
    pub flags: Vec<NameFlag>,
}

/// Something about the display name, or the list of authors, that a reader should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameFlag {
    /// Holds control characters.
    ControlCharacters,
    /// Holds characters that change the direction of the text around them.
    BidiOverride,
    /// Holds characters that cannot be seen.
    Invisible,
    /// A word mixes scripts that are not written together, such as Latin and Cyrillic.
    MixedScripts,
    /// Looks like Latin text without being it.
    Confusable,
    /// Contains an address other than the real one.
    OtherAddress,
    /// The message has further authors of the same domain.
    SeveralAuthors,
}

/// Why a message is refused without regard to its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Malformed {
    /// More than one From field (RFC 5322 section 3.6 allows one).
    SeveralFromFields,
    /// The name of the From field holds spaces or other characters.
    StrangeFromField,
    /// Authors of different domains, which DMARC cannot judge (RFC 9989 section 11.5).
    DifferentDomains,
}

/// Reads the author. `None` without a problem means that there is no readable From.
pub(super) fn read(message: &Message<'_>, raw: &[u8]) -> (Option<Author>, Option<Malformed>) {
    let mut fields = message.headers().iter().filter(|header| header.name == HeaderName::From);
    let Some(field) = fields.next() else { return (None, None) };
    if fields.next().is_some() {
        return (None, Some(Malformed::SeveralFromFields));
    }
    let start = field.offset_field as usize;
    let name = raw.get(start..(field.offset_start as usize).saturating_sub(1)).unwrap_or_default();
    if !name.eq_ignore_ascii_case(b"From") {
        return (None, Some(Malformed::StrangeFromField));
    }
    let HeaderValue::Address(addresses) = &field.value else { return (None, None) };
    let list: Vec<_> = match addresses {
        Address::List(list) => list.iter().collect(),
        Address::Group(groups) => groups.iter().flat_map(|group| &group.addresses).collect(),
    };
    let mut authors: Vec<Author> = Vec::new();
    let mut unreadable = false;
    for entry in list {
        match entry.address.as_deref().and_then(split_address) {
            Some((local, domain)) => {
                if authors.first().is_some_and(|first| first.domain != domain) {
                    return (None, Some(Malformed::DifferentDomains));
                }
                let address = format!("{local}@{domain}");
                let display_name =
                    entry.name.as_deref().map(|name| name.chars().take(MAX_NAME).collect());
                authors.push(Author { address, domain, display_name, flags: Vec::new() });
            }
            None => unreadable = true,
        }
    }
    let several = authors.len() > 1;
    if unreadable && !authors.is_empty() {
        // One author that can be read beside one that cannot: readers may show either.
        return (None, Some(Malformed::DifferentDomains));
    }
    let Some(mut author) = authors.into_iter().next() else { return (None, None) };
    author.flags = author
        .display_name
        .as_deref()
        .map(|name| name_flags(name, &author.address))
        .unwrap_or_default();
    if several {
        author.flags.push(NameFlag::SeveralAuthors);
    }
    (Some(author), None)
}

/// Splits an address and brings its domain into the form that the DNS knows.
fn split_address(address: &str) -> Option<(&str, String)> {
    let (local, domain) = address.rsplit_once('@')?;
    // RFC 5321 section 4.5.3.1.1 for the length. Characters that would need quotes serve only to
    // confuse whoever reads the address, program or person.
    let plain = |c: char| !c.is_control() && !c.is_whitespace() && !"()<>[]:;@\\,\"".contains(c);
    let readable = (1..=64).contains(&local.len()) && local.chars().all(plain);
    Some((readable.then_some(local)?, to_a_labels(domain)?))
}

/// `domain` as lower-case A-labels without a final dot, if it is a host name (or an underscore one).
pub(super) fn to_a_labels(domain: &str) -> Option<String> {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    let domain = if domain.is_ascii() {
        domain.to_ascii_lowercase()
    } else {
        idna::domain_to_ascii(domain).ok()?
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    (super::dns::is_domain_name(&domain) && domain.bytes().all(plain)).then_some(domain)
}

/// What to warn about in a display name.
pub fn name_flags(name: &str, address: &str) -> Vec<NameFlag> {
    let mut flags = Vec::new();
    if name.chars().any(char::is_control) {
        flags.push(NameFlag::ControlCharacters);
    }
    if name.chars().any(is_bidi_control) {
        flags.push(NameFlag::BidiOverride);
    }
    if has_invisible(name) {
        flags.push(NameFlag::Invisible);
    }
    if !name.is_ascii() {
        let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_ascii());
        let mut words = words.peekable();
        let any_word = words.peek().is_some();
        let mut mixed = false;
        let mut all_confusable = any_word;
        for word in words {
            // Latin with Han, kana or Hangul is everyday writing; Latin with Cyrillic or Greek is not.
            mixed |= word.detect_restriction_level() > RestrictionLevel::ModeratelyRestrictive;
            all_confusable &= is_lookalike(word);
        }
        if mixed {
            flags.push(NameFlag::MixedScripts);
        }
        if all_confusable {
            flags.push(NameFlag::Confusable);
        }
    }
    if contains_other_address(name, address) {
        flags.push(NameFlag::OtherAddress);
    }
    flags
}

/// Letters beyond Latin that all look like ASCII ones.
fn is_lookalike(word: &str) -> bool {
    !word.is_ascii() && skeleton(word).all(|c| c.is_ascii())
}

fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn has_invisible(name: &str) -> bool {
    let mut before = None;
    name.chars().any(|c| {
        // Joiners belong to the spelling of Persian and Indic names and of emoji, never to ASCII.
        let joins = matches!(c, '\u{200c}' | '\u{200d}')
            && before.is_some_and(|before: char| !before.is_ascii());
        before = Some(c);
        is_invisible(c) && !joins
    })
}

/// Characters without a glyph: zero width, fillers, variation selectors apart from those of emoji, tags.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{00ad}'
            | '\u{034f}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{17b4}'
            | '\u{17b5}'
            | '\u{180b}'..='\u{180e}'
            | '\u{200b}'..='\u{200d}'
            | '\u{2060}'..='\u{2064}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0e}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// `"boss@example.com" <stranger@elsewhere.example>`.
fn contains_other_address(name: &str, address: &str) -> bool {
    let edge = |c: char| !(c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '+' | '@' | '＠'));
    name.split(edge).map(|word| word.trim_matches('.')).any(|word| {
        let word = word.replace('＠', "@");
        word.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && domain.contains('.') && !word.eq_ignore_ascii_case(address)
        })
    })
}
