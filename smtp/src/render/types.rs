//! Values that may stand in a header: each is checked once, here, and cannot hold a line break.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::Error;

/// Text of one header value, free of control characters.
///
/// [`HeaderText::new`] refuses bad text, for values a person typed and should correct.
/// [`HeaderText::lossy`] never fails, for text that comes from mail or from a model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderText(String);

impl HeaderText {
    /// The most characters. RFC 5322 has no limit for a folded field; relays refuse header blocks
    /// of tens of kilobytes, and an encoded character takes up to 12 octets.
    pub const MAX_CHARS: usize = 1000;

    /// Takes text that is already clean.
    ///
    /// # Errors
    ///
    /// [`Error::Control`] for line breaks, NUL and other controls (C0, DEL, C1, U+2028, U+2029), and
    /// [`Error::TooLong`] over [`Self::MAX_CHARS`].
    pub fn new(text: impl Into<String>) -> Result<Self, Error> {
        let text = text.into();
        if text.chars().any(breaks_header) {
            return Err(Error::Control);
        }
        if text.chars().nth(Self::MAX_CHARS).is_some() {
            return Err(Error::TooLong { limit: Self::MAX_CHARS });
        }
        Ok(Self(text))
    }

    /// Takes any text: each run of white space and controls becomes one space, the ends are
    /// trimmed, and what is over [`Self::MAX_CHARS`] is cut.
    #[must_use]
    pub fn lossy(text: &str) -> Self {
        let mut clean = String::with_capacity(text.len().min(4 * Self::MAX_CHARS));
        let words = text.split(|c: char| c.is_whitespace() || breaks_header(c));
        for word in words.filter(|word| !word.is_empty()) {
            if !clean.is_empty() {
                clean.push(' ');
            }
            clean.push_str(word);
            if clean.len() > 4 * Self::MAX_CHARS {
                break;
            }
        }
        if let Some((cut, _)) = clean.char_indices().nth(Self::MAX_CHARS) {
            clean.truncate(cut);
        }
        clean.truncate(clean.trim_end().len());
        Self(clean)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HeaderText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn breaks_header(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// A field name for [`super::Outgoing::extra`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderName(String);

/// Fields that rendering, signing or a relay writes; a second one would be ambiguous or forged.
const RESERVED: &[&str] = &[
    "apparently-to",
    "arc-authentication-results",
    "arc-message-signature",
    "arc-seal",
    "authentication-results",
    "auto-submitted",
    "bcc",
    "cc",
    "date",
    "delivered-to",
    "dkim-signature",
    "errors-to",
    "from",
    "in-reply-to",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "message-id",
    "mime-version",
    "received",
    "received-spf",
    "references",
    "reply-to",
    "return-path",
    "sender",
    "subject",
    "to",
    "x-auto-response-suppress",
];

impl HeaderName {
    /// # Errors
    ///
    /// [`Error::HeaderName`] if it is no `ftext` of RFC 5322 section 3.6.8 (printable ASCII without a
    /// colon), is over 40 octets, begins with `Content-` or `Resent-`, or names a field that is
    /// written elsewhere.
    pub fn new(name: &str) -> Result<Self, Error> {
        let lower = name.to_ascii_lowercase();
        let reserved = RESERVED.contains(&lower.as_str())
            || lower.starts_with("content-")
            || lower.starts_with("resent-");
        let shaped = (1..=40).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_graphic() && b != b':');
        if shaped && !reserved {
            Ok(Self(name.to_owned()))
        } else {
            Err(Error::HeaderName(HeaderText::lossy(name).0))
        }
    }

    /// The name as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An address as RFC 5322 section 3.4.1 writes it.
///
/// The local part may hold `atext`, dots and, for RFC 6531, non-ASCII characters. Dots in places
/// where a dot-atom cannot have them (some Japanese carriers) are kept and written in quotes. Other
/// quoted local parts are refused: nobody has them, and relays disagree on what they mean.
/// The domain is lower-case, with A-labels, or a literal of RFC 5321 section 4.1.3.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AddrSpec {
    local: String,
    domain: String,
}

impl AddrSpec {
    /// Longest local part, in octets (RFC 5321 section 4.5.3.1.1).
    pub const MAX_LOCAL: usize = 64;
    /// Longest domain, in octets (RFC 5321 section 4.5.3.1.2).
    pub const MAX_DOMAIN: usize = 255;

    /// Parses `local@domain`, without angle brackets.
    ///
    /// # Errors
    ///
    /// [`Error::Address`].
    pub fn parse(address: &str) -> Result<Self, Error> {
        let (local, domain) = address.rsplit_once('@').ok_or(Error::Address)?;
        let local =
            local.strip_prefix('"').and_then(|quoted| quoted.strip_suffix('"')).unwrap_or(local);
        let local_ok = (1..=Self::MAX_LOCAL).contains(&local.len())
            && local.chars().all(|c| {
                is_atext(c)
                    || c == '.'
                    || (!c.is_ascii() && !breaks_header(c) && !c.is_whitespace())
            });
        if !local_ok {
            return Err(Error::Address);
        }
        Ok(Self { local: local.to_owned(), domain: domain_to_ascii(domain)? })
    }

    /// The part before the `@`, unquoted.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The part after the `@`, lower-case.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Whether it can be used without SMTPUTF8.
    #[must_use]
    pub fn is_ascii(&self) -> bool {
        self.local.is_ascii()
    }
}

impl fmt::Display for AddrSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.local.split('.').any(str::is_empty) {
            write!(f, "\"{}\"@{}", self.local, self.domain)
        } else {
            write!(f, "{}@{}", self.local, self.domain)
        }
    }
}

impl std::str::FromStr for AddrSpec {
    type Err = Error;

    fn from_str(address: &str) -> Result<Self, Error> {
        Self::parse(address)
    }
}

fn domain_to_ascii(domain: &str) -> Result<String, Error> {
    if let Some(literal) = domain.strip_prefix('[').and_then(|d| d.strip_suffix(']')) {
        let known = match literal.get(..5) {
            Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => {
                literal[5..].parse::<Ipv6Addr>().is_ok()
            }
            _ => literal.parse::<Ipv4Addr>().is_ok(),
        };
        return if known { Ok(domain.to_owned()) } else { Err(Error::Address) };
    }
    let ascii = idna::domain_to_ascii(domain).map_err(|_| Error::Address)?.to_ascii_lowercase();
    let shaped = (1..=AddrSpec::MAX_DOMAIN).contains(&ascii.len())
        && ascii.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        });
    if shaped { Ok(ascii) } else { Err(Error::Address) }
}

/// RFC 5322 section 3.2.3.
pub(super) fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
}

/// A display name and an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// The name shown; empty for none.
    pub name: HeaderText,
    /// The address.
    pub address: AddrSpec,
}

impl Mailbox {
    /// An address without a name.
    #[must_use]
    pub fn bare(address: AddrSpec) -> Self {
        Self { name: HeaderText::default(), address }
    }
}

/// A message identifier, kept without its angle brackets.
///
/// Looser than RFC 5322 section 3.6.4 on purpose: identifiers of other people's mail must go back
/// into References unchanged even when they have no `@` or unusual characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MessageId(String);

impl MessageId {
    /// Longest identifier in octets, so that the unfolded field stays below the 998 of RFC 5322
    /// section 2.1.1.
    pub const MAX: usize = 900;

    /// Takes `<id>` or `id`.
    ///
    /// # Errors
    ///
    /// [`Error::MessageId`] unless it is 1 to [`Self::MAX`] octets of printable ASCII without spaces
    /// or angle brackets.
    pub fn new(id: &str) -> Result<Self, Error> {
        let id = id.trim();
        let inner = id.strip_prefix('<').and_then(|id| id.strip_suffix('>')).unwrap_or(id);
        let shaped = (1..=Self::MAX).contains(&inner.len())
            && inner.bytes().all(|b| b.is_ascii_graphic() && b != b'<' && b != b'>');
        if shaped { Ok(Self(inner.to_owned())) } else { Err(Error::MessageId) }
    }

    /// The identifier without angle brackets.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.0)
    }
}

/// A media type without parameters, lower-case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaType(String);

impl MediaType {
    /// Parses `type/subtype` and drops parameters.
    ///
    /// # Errors
    ///
    /// [`Error::MediaType`] unless both are tokens of RFC 2045 section 5.1 of at most 60 octets.
    pub fn new(text: &str) -> Result<Self, Error> {
        let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let token = |part: &str| {
            (1..=60).contains(&part.len())
                && part.bytes().all(|b| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&b))
        };
        match essence.split_once('/') {
            Some((kind, sub)) if token(kind) && token(sub) => Ok(Self(essence)),
            _ => Err(Error::MediaType),
        }
    }

    /// `application/octet-stream`, which promises nothing.
    #[must_use]
    pub fn octet_stream() -> Self {
        Self("application/octet-stream".to_owned())
    }

    /// `type/subtype`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the top-level type is `kind`.
    #[must_use]
    pub fn is_kind(&self, kind: &str) -> bool {
        self.0.split_once('/').is_some_and(|(own, _)| own == kind)
    }
}

/// An address inside angle brackets in List-Unsubscribe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkUrl(String);

impl LinkUrl {
    /// # Errors
    ///
    /// [`Error::LinkUrl`] unless it begins with `https://` or `mailto:` and is at most 900 octets of
    /// printable ASCII without angle brackets, quotes or commas (RFC 2369 section 2).
    pub fn new(url: &str) -> Result<Self, Error> {
        let known = url.starts_with("https://") || url.starts_with("mailto:");
        let shaped = url.len() <= 900
            && url.bytes().all(|b| b.is_ascii_graphic() && !b"<>\",\\".contains(&b));
        if known && shaped { Ok(Self(url.to_owned())) } else { Err(Error::LinkUrl) }
    }

    /// The address as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
