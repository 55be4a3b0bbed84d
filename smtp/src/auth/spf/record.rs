//! The syntax of SPF records (RFC 7208 sections 4.6.1, 5 and 6).
//!
//! A record is parsed whole before any of it is evaluated: a syntax error anywhere is a permanent
//! error, even after a mechanism that would have matched.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::macros::{MacroString, Place};

/// A record without syntax errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub directives: Vec<Directive>,
    pub redirect: Option<MacroString>,
    pub explanation: Option<MacroString>,
}

/// A qualifier, a mechanism, and the text it was written as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directive {
    pub qualifier: Qualifier,
    pub mechanism: Mechanism,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Qualifier {
    Pass,
    Fail,
    SoftFail,
    Neutral,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    All,
    Include(MacroString),
    A { target: Option<MacroString>, prefix: Prefix },
    Mx { target: Option<MacroString>, prefix: Prefix },
    Ptr { target: Option<MacroString> },
    Ip4 { network: Ipv4Addr, length: u8 },
    Ip6 { network: Ipv6Addr, length: u8 },
    Exists(MacroString),
}

/// Prefix lengths for both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    pub v4: u8,
    pub v6: u8,
}

/// Whether a TXT record is an SPF record: `v=spf1`, then a space or the end (section 4.5).
pub(super) fn is_spf(text: &str) -> bool {
    terms(text).is_some()
}

fn terms(text: &str) -> Option<&str> {
    let (version, rest) = text.split_at_checked(6)?;
    let ends = rest.is_empty() || rest.starts_with(' ');
    (version.eq_ignore_ascii_case("v=spf1") && ends).then_some(rest)
}

impl Record {
    /// Parses a record; the error names the term that is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut record = Self { directives: Vec::new(), redirect: None, explanation: None };
        for term in terms(text).ok_or("no version")?.split(' ').filter(|term| !term.is_empty()) {
            record.add(term).ok_or_else(|| format!("syntax error in {:?}", printable(term)))?;
        }
        Ok(record)
    }

    fn add(&mut self, term: &str) -> Option<()> {
        let end = term.find(['=', ':', '/']).unwrap_or(term.len());
        if term[end..].starts_with('=') {
            return self.add_modifier(&term[..end], &term[end + 1..]);
        }
        let (qualifier, mechanism) = match term.chars().next()? {
            '+' => (Qualifier::Pass, &term[1..]),
            '-' => (Qualifier::Fail, &term[1..]),
            '~' => (Qualifier::SoftFail, &term[1..]),
            '?' => (Qualifier::Neutral, &term[1..]),
            _ => (Qualifier::Pass, term),
        };
        let mechanism = Mechanism::parse(mechanism)?;
        self.directives.push(Directive { qualifier, mechanism, text: term.to_owned() });
        Some(())
    }

    fn add_modifier(&mut self, name: &str, value: &str) -> Option<()> {
        let mut bytes = name.bytes();
        if !bytes.next()?.is_ascii_alphabetic()
            || !bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        {
            return None;
        }
        let slot = if name.eq_ignore_ascii_case("redirect") {
            &mut self.redirect
        } else if name.eq_ignore_ascii_case("exp") {
            &mut self.explanation
        } else {
            return MacroString::parse(value, Place::Unknown).map(drop);
        };
        // Section 6: each at most once.
        if slot.is_some() {
            return None;
        }
        *slot = Some(MacroString::parse(value, Place::Domain)?);
        Some(())
    }
}

impl Mechanism {
    fn parse(text: &str) -> Option<Self> {
        let end = text.find([':', '/']).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        match name.to_ascii_lowercase().as_str() {
            "all" => rest.is_empty().then_some(Self::All),
            "include" => Some(Self::Include(required_target(rest)?)),
            "exists" => Some(Self::Exists(required_target(rest)?)),
            "ptr" => Some(Self::Ptr { target: optional_target(rest)? }),
            "a" => {
                let (rest, prefix) = split_prefix(rest)?;
                Some(Self::A { target: optional_target(rest)?, prefix })
            }
            "mx" => {
                let (rest, prefix) = split_prefix(rest)?;
                Some(Self::Mx { target: optional_target(rest)?, prefix })
            }
            "ip4" => {
                let (network, length) = split_network(rest.strip_prefix(':')?, 32)?;
                Some(Self::Ip4 { network: network.parse().ok()?, length })
            }
            "ip6" => {
                let (network, length) = split_network(rest.strip_prefix(':')?, 128)?;
                Some(Self::Ip6 { network: network.parse().ok()?, length })
            }
            _ => None,
        }
    }
}

fn required_target(rest: &str) -> Option<MacroString> {
    MacroString::parse(rest.strip_prefix(':')?, Place::Domain)
}

fn optional_target(rest: &str) -> Option<Option<MacroString>> {
    if rest.is_empty() { Some(None) } else { required_target(rest).map(Some) }
}

/// Takes `["/" ip4-length] ["//" ip6-length]` off the end (section 5.6).
fn split_prefix(text: &str) -> Option<(&str, Prefix)> {
    let mut prefix = Prefix { v4: 32, v6: 128 };
    let mut text = text;
    if let Some((rest, digits)) = text.rsplit_once("//")
        && is_number(digits)
    {
        prefix.v6 = length(digits, 128)?;
        text = rest;
    }
    if let Some((rest, digits)) = text.rsplit_once('/')
        && is_number(digits)
    {
        prefix.v4 = length(digits, 32)?;
        text = rest;
    }
    Some((text, prefix))
}

fn split_network(text: &str, most: u8) -> Option<(&str, u8)> {
    match text.split_once('/') {
        Some((network, digits)) => Some((network, length(digits, most)?)),
        None => Some((text, most)),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// A prefix length without leading zero.
fn length(digits: &str, most: u8) -> Option<u8> {
    if !is_number(digits) || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    digits.parse().ok().filter(|length| *length <= most)
}

/// A term as it may be shown: cut, and without anything that is not printable ASCII.
fn printable(term: &str) -> String {
    term.chars().take(60).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}
