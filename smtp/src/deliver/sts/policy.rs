//! MTA-STS records and policies as values (RFC 8461 sections 3.1 and 3.2), without I/O.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// Longest time a policy is kept (section 3.2): a year.
const MAX_AGE: u64 = 31_557_600;
/// Host patterns of one policy. Large providers have fewer than ten.
const PATTERNS: usize = 100;

/// What a policy asks of senders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// No mail without a proven host.
    Enforce,
    /// Mail in any case; failures are counted.
    Testing,
    /// Nothing: the way to end a policy.
    None,
}

/// A domain's policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// What it asks.
    pub mode: Mode,
    /// Host names, lower case, without a final dot; `*.` stands for one label.
    pub mx: Vec<String>,
    /// Seconds for which it may be kept.
    pub max_age: u64,
}

/// Why a text is no policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not ASCII, or a line without a colon.
    #[error("it is not made of `key: value` lines")]
    Syntax,
    /// Another version, or none.
    #[error("its version is not STSv1")]
    Version,
    /// Another mode, or none.
    #[error("its mode is none of enforce, testing, none")]
    Mode,
    /// Not a number.
    #[error("its max_age is not a number of seconds")]
    MaxAge,
    /// None, too many, or not host names.
    #[error("its mx lines name no hosts")]
    Mx,
}

impl Policy {
    /// Parses a policy file. Unknown keys are passed over, of repeated ones the first counts.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (mut version, mut mode, mut max_age, mut mx) = (None, None, None, Vec::new());
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (key, value) = line.split_once(':').ok_or(Error::Syntax)?;
            let value = value.trim();
            match key.trim_end() {
                "version" if version.is_none() => version = Some(value),
                "mode" if mode.is_none() => {
                    mode = Some(match value {
                        "enforce" => Mode::Enforce,
                        "testing" => Mode::Testing,
                        "none" => Mode::None,
                        _ => return Err(Error::Mode),
                    });
                }
                "max_age" if max_age.is_none() => {
                    let seconds = value.parse::<u64>().map_err(|_| Error::MaxAge)?;
                    max_age = Some(seconds.min(MAX_AGE));
                }
                "mx" => {
                    if mx.len() == PATTERNS {
                        return Err(Error::Mx);
                    }
                    mx.push(pattern(value).ok_or(Error::Mx)?);
                }
                _ => {}
            }
        }
        if version != Some("STSv1") {
            return Err(Error::Version);
        }
        let mode = mode.ok_or(Error::Mode)?;
        if mx.is_empty() && mode != Mode::None {
            return Err(Error::Mx);
        }
        Ok(Self { mode, mx, max_age: max_age.ok_or(Error::MaxAge)? })
    }

    /// Whether it names a host (section 4.1): `*.` stands for exactly one label.
    #[must_use]
    pub fn names(&self, host: &str) -> bool {
        self.mx.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(parent) => host
                .split_once('.')
                .is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
            None => pattern == host,
        })
    }

    /// How long it may be kept.
    #[must_use]
    pub fn age(&self) -> SignedDuration {
        SignedDuration::from_secs(i64::try_from(self.max_age.min(MAX_AGE)).unwrap_or(0))
    }
}

fn pattern(value: &str) -> Option<String> {
    let host = value.strip_suffix('.').unwrap_or(value).to_ascii_lowercase();
    let name = host.strip_prefix("*.").unwrap_or(&host);
    let shaped = crate::auth::dns::is_domain_name(name)
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    shaped.then_some(host)
}

/// The id in the TXT records of `_mta-sts.<domain>`: there must be exactly one record of the version
/// (section 3.1), and a new id means a new policy.
#[must_use]
pub fn record_id<'t>(texts: impl IntoIterator<Item = &'t str>) -> Option<String> {
    let mut records = texts.into_iter().filter(|text| {
        let version = text.split(';').next().unwrap_or_default();
        version.trim_end() == "v=STSv1"
    });
    let record = records.next()?;
    if records.next().is_some() {
        return None;
    }
    let id = record.split(';').find_map(|field| {
        let (key, value) = field.split_once('=')?;
        (key.trim() == "id").then(|| value.trim())
    })?;
    let shaped = (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
    shaped.then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "version: STSv1\r\nmode: enforce\r\nmx: Mail.example.com\r\n\
                          mx: *.example.net.\r\nmax_age: 604800\r\n";

    #[test]
    fn a_policy_is_read_and_names_its_hosts() {
        let policy = Policy::parse(POLICY).unwrap();
        assert_eq!(policy.mode, Mode::Enforce);
        assert_eq!(policy.max_age, 604_800);
        for host in ["mail.example.com", "a.example.net"] {
            assert!(policy.names(host), "{host}");
        }
        for host in ["example.net", "a.b.example.net", ".example.net", "x.mail.example.com"] {
            assert!(!policy.names(host), "{host}");
        }
    }

    #[test]
    fn every_fault_is_named() {
        let without = |line: &str| {
            let kept = POLICY.lines().filter(|known| !known.starts_with(line));
            Policy::parse(&kept.collect::<Vec<_>>().join("\n")).unwrap_err()
        };
        assert_eq!(without("version"), Error::Version);
        assert_eq!(without("mode"), Error::Mode);
        assert_eq!(without("mx"), Error::Mx);
        assert_eq!(without("max_age"), Error::MaxAge);
        let with = |line: &str| Policy::parse(&format!("{line}\n{POLICY}")).unwrap_err();
        assert_eq!(with("mode: strict"), Error::Mode);
        assert_eq!(with("max_age: -1"), Error::MaxAge);
        assert_eq!(with("mx: a b"), Error::Mx);
        assert_eq!(with("<html>"), Error::Syntax);
        assert_eq!(with("version: STSv2"), Error::Version);
        assert_eq!(with(&"mx: a.example\n".repeat(PATTERNS)), Error::Mx);
    }

    #[test]
    fn a_policy_of_none_needs_no_hosts_and_unknown_keys_are_passed_over() {
        let policy = Policy::parse("version: STSv1\nmode: none\nmax_age: 9\nnew: x\n").unwrap();
        assert_eq!((policy.mode, policy.max_age), (Mode::None, 9));
        let long = Policy::parse("version: STSv1\nmode: none\nmax_age: 99999999999\n").unwrap();
        assert_eq!(long.max_age, MAX_AGE);
    }

    #[test]
    fn exactly_one_record_has_the_id() {
        let id = |texts: &[&str]| record_id(texts.iter().copied());
        assert_eq!(id(&["v=STSv1; id=20160831085700Z;"]), Some("20160831085700Z".into()));
        assert_eq!(id(&["v=spf1 -all", "v=STSv1;id=1"]), Some("1".into()));
        assert_eq!(id(&["v=STSv1; id=1", "v=STSv1; id=1"]), None);
        assert_eq!(id(&["v=STSv1; id="]), None);
        assert_eq!(id(&["v=STSv10; id=1"]), None);
        assert_eq!(id(&["v=STSv1; id=a b"]), None);
    }
}
