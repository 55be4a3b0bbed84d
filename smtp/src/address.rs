//! Addresses and paths of RFC 5321 section 4.1.2, with the extension of RFC 6531 section 3.3.
//!
//! What always holds: a value of these types was parsed, so it respects the length limits, holds
//! no control character (nothing that is displayed can end a line), and its domain has a compare
//! form in ASCII. Text is kept as the peer wrote it; [`Mailbox::key`] is what to compare.
//!
//! Left out: comments and folding white space (those belong to message headers), quoted local
//! parts that need their quotes, general address literals other than IPv4 and IPv6, and relaying
//! by `%`, `!` or source route.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use unicode_normalization::UnicodeNormalization;

/// Octets of a local part, RFC 5321 section 4.5.3.1.1.
pub const LOCAL_MAX: usize = 64;
/// Octets of a domain, RFC 5321 section 4.5.3.1.2.
pub const DOMAIN_MAX: usize = 255;
/// Octets of a path with its angle brackets, RFC 5321 section 4.5.3.1.3.
pub const PATH_MAX: usize = 256;
/// Octets of one label, RFC 1035 section 2.3.4.
const LABEL_MAX: usize = 63;

/// Why a text is not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Syntax(&'static str),
    #[error("the local part is longer than 64 octets")]
    LocalTooLong,
    #[error("the domain is longer than 255 octets")]
    DomainTooLong,
    #[error("the path is longer than 256 octets")]
    PathTooLong,
    /// The quoted form is legal, but means something other than a dot-atom.
    #[error("quoted local parts are not accepted")]
    QuotedLocal,
    /// `user%elsewhere@domain` or `elsewhere!user@domain`.
    #[error("relaying by percent sign or exclamation mark is not offered")]
    Relay,
    #[error("the domain is not valid")]
    Domain,
}

/// A domain or an address literal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Domain {
    text: String,
    ascii: String,
    literal: Option<IpAddr>,
}

impl Domain {
    /// Parses `example.org`, `bücher.example`, `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > DOMAIN_MAX {
            return Err(Error::DomainTooLong);
        }
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(Error::Syntax("unclosed address literal"))?;
            let ip = parse_literal(inner)?;
            return Ok(Self { text: text.to_owned(), ascii: literal_text(ip), literal: Some(ip) });
        }
        Ok(Self { text: text.to_owned(), ascii: ascii_form(text)?, literal: None })
    }

    /// The domain as the peer wrote it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The compare form: A-labels in lower case, or the literal in one spelling.
    pub fn ascii(&self) -> &str {
        &self.ascii
    }

    /// The address, if this is an address literal.
    pub fn literal(&self) -> Option<IpAddr> {
        self.literal
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A local part at a domain.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mailbox {
    local: String,
    domain: Domain,
}

impl Mailbox {
    /// Parses `local@domain` without angle brackets.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > PATH_MAX - 2 {
            return Err(Error::PathTooLong);
        }
        let (mailbox, rest) = take_mailbox(text)?;
        if rest.is_empty() { Ok(mailbox) } else { Err(Error::Syntax("text after the address")) }
    }

    /// The local part as the peer wrote it, without quotes.
    pub fn local(&self) -> &str {
        &self.local
    }

    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Whether the address can be used without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.local.is_ascii() && self.domain.text.is_ascii()
    }

    /// What to compare: lower case, NFC, A-labels. RFC 5321 leaves the case of local parts to the
    /// receiver; clients and forwarders change it, so nothing here depends on it.
    pub fn key(&self) -> String {
        let mut key = if self.local.is_ascii() {
            self.local.to_ascii_lowercase()
        } else {
            self.local.nfc().collect::<String>().to_lowercase()
        };
        key.push('@');
        key.push_str(&self.domain.ascii);
        key
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

impl FromStr for Mailbox {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

/// The argument of MAIL FROM: where failures are reported, or nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `<>`: a bounce or another automatic message that must not be answered.
    Null,
    Mailbox(Mailbox),
}

impl ReversePath {
    /// Parses a path with its angle brackets and nothing after it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        whole(Self::take(text)?)
    }

    /// Parses the path that `text` starts with and returns what follows it.
    pub fn take(text: &str) -> Result<(Self, &str), Error> {
        if let Some(rest) = text.strip_prefix("<>") {
            return Ok((Self::Null, rest));
        }
        let (mailbox, rest) = take_path(text)?;
        Ok((Self::Mailbox(mailbox), rest))
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            Self::Null => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }

    /// Whether the path can be used without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.mailbox().is_none_or(Mailbox::is_ascii)
    }
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<>"),
            Self::Mailbox(mailbox) => write!(f, "<{mailbox}>"),
        }
    }
}

/// The argument of RCPT TO.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ForwardPath {
    /// `<postmaster>` without a domain, which every server must accept (RFC 5321 section 4.5.1).
    Postmaster,
    Mailbox(Mailbox),
}

impl ForwardPath {
    /// Parses a path with its angle brackets and nothing after it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        whole(Self::take(text)?)
    }

    /// Parses the path that `text` starts with and returns what follows it.
    pub fn take(text: &str) -> Result<(Self, &str), Error> {
        const POSTMASTER: &str = "<postmaster>";
        if let Some((head, rest)) = text.split_at_checked(POSTMASTER.len())
            && head.eq_ignore_ascii_case(POSTMASTER)
        {
            return Ok((Self::Postmaster, rest));
        }
        let (mailbox, rest) = take_path(text)?;
        // Only recipients: a sender may legally have such a local part, and nothing is relayed to it.
        if mailbox.local.contains(['%', '!']) {
            return Err(Error::Relay);
        }
        Ok((Self::Mailbox(mailbox), rest))
    }

    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            Self::Postmaster => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }

    /// Whether the path can be used without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.mailbox().is_none_or(Mailbox::is_ascii)
    }

    /// What to compare; see [`Mailbox::key`].
    pub fn key(&self) -> String {
        match self {
            Self::Postmaster => "postmaster".to_owned(),
            Self::Mailbox(mailbox) => mailbox.key(),
        }
    }
}

impl fmt::Display for ForwardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postmaster => f.write_str("<postmaster>"),
            Self::Mailbox(mailbox) => write!(f, "<{mailbox}>"),
        }
    }
}

fn whole<T>((value, rest): (T, &str)) -> Result<T, Error> {
    if rest.is_empty() { Ok(value) } else { Err(Error::Syntax("text after the path")) }
}

/// `Path = "<" [ A-d-l ":" ] Mailbox ">"`; the source route A-d-l is checked and dropped.
fn take_path(text: &str) -> Result<(Mailbox, &str), Error> {
    let mut rest = text.strip_prefix('<').ok_or(Error::Syntax("a path starts with <"))?;
    if rest.starts_with('@') {
        let (route, after) =
            rest.split_once(':').ok_or(Error::Syntax("unfinished source route"))?;
        if route.len() > PATH_MAX {
            return Err(Error::PathTooLong);
        }
        for hop in route.split(',') {
            let domain = hop.strip_prefix('@').ok_or(Error::Syntax("broken source route"))?;
            Domain::parse(domain)?;
        }
        rest = after;
    }
    let (mailbox, rest) = take_mailbox(rest)?;
    let rest = rest.strip_prefix('>').ok_or(Error::Syntax("a path ends with >"))?;
    if text.len() - rest.len() > PATH_MAX {
        return Err(Error::PathTooLong);
    }
    Ok((mailbox, rest))
}

/// `Mailbox = Local-part "@" ( Domain / address-literal )`.
fn take_mailbox(text: &str) -> Result<(Mailbox, &str), Error> {
    let (local, rest) =
        if text.starts_with('"') { take_quoted_local(text)? } else { take_dot_string(text)? };
    let rest = rest.strip_prefix('@').ok_or(Error::Syntax("an address needs @ and a domain"))?;
    let end = if rest.starts_with('[') {
        rest.find(']').map(|at| at + 1).ok_or(Error::Syntax("unclosed address literal"))?
    } else {
        rest.find(['>', ' ']).unwrap_or(rest.len())
    };
    let (domain, rest) = rest.split_at(end);
    Ok((Mailbox { local, domain: Domain::parse(domain)? }, rest))
}

fn take_dot_string(text: &str) -> Result<(String, &str), Error> {
    let end = text.find(['@', '>', ' ']).unwrap_or(text.len());
    let (local, rest) = text.split_at(end);
    if local.len() > LOCAL_MAX {
        return Err(Error::LocalTooLong);
    }
    if !is_dot_string(local) {
        return Err(Error::Syntax("the local part is not a dot-separated word"));
    }
    Ok((local.to_owned(), rest))
}

/// `Quoted-string = DQUOTE *QcontentSMTP DQUOTE`, accepted only where the quotes are not needed.
fn take_quoted_local(text: &str) -> Result<(String, &str), Error> {
    let mut content = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            // The limit counts the part as it is written, quotes included.
            '"' if at + 1 > LOCAL_MAX => return Err(Error::LocalTooLong),
            '"' if is_dot_string(&content) => return Ok((content, &text[at + 1..])),
            '"' => return Err(Error::QuotedLocal),
            '\\' => match chars.next() {
                Some((_, c @ ' '..='~')) => content.push(c),
                _ => return Err(Error::Syntax("broken quoted pair")),
            },
            c if c.is_control() => return Err(Error::Syntax("control character in an address")),
            c => content.push(c),
        }
    }
    Err(Error::Syntax("unclosed quoted local part"))
}

fn is_dot_string(text: &str) -> bool {
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

fn is_atext(c: char) -> bool {
    match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' => true,
        // RFC 6531 section 3.3 adds UTF8-non-ascii; separators and controls among it would spoil
        // logs and headers without naming anybody.
        c if !c.is_ascii() => !c.is_control() && !c.is_whitespace(),
        c => "!#$%&'*+-/=?^_`{|}~".contains(c),
    }
}

fn parse_literal(inner: &str) -> Result<IpAddr, Error> {
    const TAG: &str = "IPv6:";
    let bad = Error::Syntax("only IPv4 and IPv6 address literals are known");
    match inner.split_at_checked(TAG.len()) {
        Some((tag, address)) if tag.eq_ignore_ascii_case(TAG) => {
            address.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(|_| bad)
        }
        _ => inner.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(|_| bad),
    }
}

fn literal_text(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("[{ip}]"),
        IpAddr::V6(ip) => format!("[IPv6:{ip}]").to_ascii_lowercase(),
    }
}

fn ascii_form(text: &str) -> Result<String, Error> {
    let plain = text.is_ascii() && !text.to_ascii_lowercase().contains("xn--");
    let ascii = if plain {
        text.to_ascii_lowercase()
    } else {
        Uts46::new()
            .to_ascii(text.as_bytes(), AsciiDenyList::STD3, Hyphens::Allow, DnsLength::Verify)
            .map_err(|_| Error::Domain)?
            .into_owned()
    };
    if ascii.len() > DOMAIN_MAX {
        return Err(Error::DomainTooLong);
    }
    if ascii.split('.').all(is_label) { Ok(ascii) } else { Err(Error::Domain) }
}

/// `sub-domain = Let-dig [Ldh-str]`.
fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= LABEL_MAX
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(text: &str) -> Mailbox {
        Mailbox::parse(text).unwrap()
    }

    #[test]
    fn local_domain_and_path_limits_are_those_of_rfc_5321() {
        let local = "l".repeat(64);
        assert_eq!(mailbox(&format!("{local}@b.example")).local(), local);
        assert_eq!(Mailbox::parse(&format!("{local}l@b.example")), Err(Error::LocalTooLong));

        let label = "d".repeat(63);
        let domain = format!("{label}.{label}.{label}.{label}");
        assert_eq!(domain.len(), 255);
        assert!(Domain::parse(&domain).is_ok());
        assert_eq!(Domain::parse(&format!("{domain}e")), Err(Error::DomainTooLong));
        assert_eq!(Domain::parse(&"d".repeat(64)), Err(Error::Domain));

        let path = |n: usize| format!("<a@{label}.{label}.{label}.{}>", "d".repeat(n));
        assert_eq!(path(60).len(), 256);
        assert!(ReversePath::parse(&path(60)).is_ok());
        assert_eq!(ReversePath::parse(&path(61)), Err(Error::PathTooLong));
    }

    #[test]
    fn source_routes_are_stripped() {
        let path = ForwardPath::parse("<@one.example,@two.example:joe@three.example>").unwrap();
        assert_eq!(path.to_string(), "<joe@three.example>");
        for broken in
            ["<@one.example>", "<@:a@b.example>", "<@one.example,two.example:a@b.example>"]
        {
            assert!(ForwardPath::parse(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn quoted_local_parts_pass_only_when_the_quotes_change_nothing() {
        assert_eq!(mailbox("\"joe.b\"@b.example"), mailbox("joe.b@b.example"));
        assert_eq!(mailbox("\"j\\oe\"@b.example").local(), "joe");
        for quoted in
            ["\"a b\"@b.example", "\"\"@b.example", "\"a@c\"@b.example", "\".a\"@b.example"]
        {
            assert_eq!(Mailbox::parse(quoted), Err(Error::QuotedLocal), "{quoted}");
        }
        assert!(Mailbox::parse("\"a\\\u{7}\"@b.example").is_err());
        assert!(Mailbox::parse("\"a@b.example").is_err());
    }

    #[test]
    fn percent_and_bang_never_relay_but_may_send() {
        for relay in ["<a%b.example@c.example>", "<b.example!a@c.example>"] {
            assert_eq!(ForwardPath::parse(relay), Err(Error::Relay));
            assert!(ReversePath::parse(relay).is_ok());
        }
    }

    #[test]
    fn postmaster_needs_no_domain_and_is_not_the_null_sender() {
        assert_eq!(ForwardPath::parse("<PostMaster>"), Ok(ForwardPath::Postmaster));
        assert!(matches!(
            ForwardPath::parse("<postmaster@b.example>"),
            Ok(ForwardPath::Mailbox(_))
        ));
        assert!(ForwardPath::parse("<>").is_err());
        assert!(ReversePath::parse("<postmaster>").is_err());
        assert!(ReversePath::parse("<>").unwrap().is_null());
    }

    #[test]
    fn domains_compare_by_their_a_labels_and_without_case() {
        assert_eq!(mailbox("Joe@BÜCHER.example").key(), "joe@xn--bcher-kva.example");
        assert_eq!(mailbox("joe@bücher.example").key(), mailbox("joe@XN--BCHER-KVA.example").key());
        assert_eq!(mailbox("JOE@Example.ORG").key(), "joe@example.org");
        // The same letter, precomposed and combined.
        assert_eq!(mailbox("\u{fc}@a.example").key(), mailbox("u\u{308}@a.example").key());
        assert_eq!(mailbox("Joe@Example.ORG").to_string(), "Joe@Example.ORG");
    }

    #[test]
    fn address_literals_are_read_in_both_families() {
        assert_eq!(mailbox("a@[192.0.2.1]").domain().literal(), "192.0.2.1".parse().ok());
        let six = mailbox("a@[ipv6:2001:DB8:0::1]");
        assert_eq!(six.key(), "a@[ipv6:2001:db8::1]");
        for bad in ["a@[192.0.2]", "a@[IPv6:zz]", "a@[x:y]", "a@[192.0.2.1", "a@[192.0.2.1]x"] {
            assert!(Mailbox::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nothing_that_parses_can_end_a_line() {
        for bad in [
            "a\r\n@b.example",
            "a@b.example\r\n",
            "a\u{0}@b.example",
            "a@b\u{85}.example",
            "\u{2028}@b.example",
            "\"a\r\n\"@b.example",
            "a@b\n.example",
        ] {
            assert!(Mailbox::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn broken_addresses_are_refused() {
        for bad in [
            "",
            "@",
            "a",
            "a@",
            "@b.example",
            "a..b@c.example",
            ".a@c.example",
            "a.@c.example",
            "a b@c.example",
            "a@b@c.example",
            "a@-b.example",
            "a@b_.example",
            "a@b..example",
            "a@.b.example",
            "a@b.example.",
            "a,b@c.example",
            "a:b@c.example",
            "a@xn--\u{80}.example",
            "a@xn--zzzzzzzzz99999.example",
        ] {
            assert!(Mailbox::parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_parses_prints_back_to_itself(text in "[a-z\"\\\\@.\\[\\]<>:,%!é0-9 -]{0,24}@[a-zü.\\[\\]:0-9-]{1,16}") {
            if let Ok(mailbox) = Mailbox::parse(&text) {
                let printed = mailbox.to_string();
                proptest::prop_assert!(!printed.contains(char::is_control));
                proptest::prop_assert_eq!(Mailbox::parse(&printed), Ok(mailbox));
            }
        }
    }
}
