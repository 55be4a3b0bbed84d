//! DMARC (RFC 9989): does the author's domain stand behind this message, and what does it ask for if not?
//!
//! Policies and organisational domains are found by the DNS tree walk; there is no `pct`. Domains
//! without any record have no organisational domain in the DNS; for them a DKIM signature counts as
//! aligned if its domain is the author's or a parent of it within one registrable domain (Public
//! Suffix List): a parent already controls its children's DNS, while a child or a sibling may belong
//! to somebody else. Left out: reports.

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use super::{
    dkim::{Dkim, DkimResult},
    dns::{Answer, Lookup, RecordKind},
    spf::{Spf, SpfResult},
};

/// Names that one tree walk asks for (RFC 9989 section 4.10).
const MAX_WALK: usize = 8;

/// Results of RFC 9989 section 4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DmarcResult {
    /// No policy applies.
    #[default]
    None,
    /// An aligned identifier passed.
    Pass,
    /// None did.
    Fail,
    /// A DNS failure leaves it open.
    TempError,
}

impl DmarcResult {
    /// The word of RFC 8601.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::TempError => "temperror",
        }
    }
}

/// What a domain asks receivers to do with mail that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Nothing.
    None,
    /// Treat with suspicion.
    Quarantine,
    /// Refuse.
    Reject,
}

impl Policy {
    /// The word of the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::None, Self::Quarantine, Self::Reject]
            .into_iter()
            .find(|policy| word.eq_ignore_ascii_case(policy.as_str()))
    }
}

/// The outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dmarc {
    /// The result.
    pub result: DmarcResult,
    /// The author's domain.
    pub domain: String,
    /// Its organisational domain.
    pub org_domain: String,
    /// Where the applied record stands, without `_dmarc.`.
    pub record_domain: Option<String>,
    /// The policy that applies, after `sp`, `np` and `t`; known even on a pass.
    pub policy: Option<Policy>,
    /// Whether SPF passed for an aligned domain.
    pub spf_aligned: bool,
    /// Whether a DNS failure of an aligned identifier may have hidden a pass.
    pub hidden_pass: bool,
    /// Why the result is open.
    pub reason: Option<String>,
}

/// Records found on the way from a domain to its top.
pub(super) struct Walk {
    /// Name and record, longest name first.
    found: Vec<(String, Record)>,
    /// Names that got no answer.
    failed: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    policy: Option<Policy>,
    subdomain_policy: Option<Policy>,
    missing_policy: Option<Policy>,
    strict_dkim: bool,
    strict_spf: bool,
    psd: Option<bool>,
    testing: bool,
    reports: bool,
}

impl Record {
    /// Parses a record; `None` if it is not one (section 4.7: the version must come first). Tags with
    /// wrong values count as absent.
    fn parse(text: &str) -> Option<Self> {
        let mut tags = text.split(';').map(|tag| {
            let (name, value) = tag.split_once('=').unwrap_or((tag, ""));
            (name.trim(), value.trim())
        });
        if tags.next() != Some(("v", "DMARC1")) {
            return None;
        }
        let mut record = Self {
            policy: None,
            subdomain_policy: None,
            missing_policy: None,
            strict_dkim: false,
            strict_spf: false,
            psd: None,
            testing: false,
            reports: false,
        };
        for (name, value) in tags {
            match name.to_ascii_lowercase().as_str() {
                "p" => record.policy = Policy::parse(value),
                "sp" => record.subdomain_policy = Policy::parse(value),
                "np" => record.missing_policy = Policy::parse(value),
                "adkim" => record.strict_dkim = value.eq_ignore_ascii_case("s"),
                "aspf" => record.strict_spf = value.eq_ignore_ascii_case("s"),
                "psd" if value.eq_ignore_ascii_case("y") => record.psd = Some(true),
                "psd" if value.eq_ignore_ascii_case("n") => record.psd = Some(false),
                "t" => record.testing = value.eq_ignore_ascii_case("y"),
                "rua" => record.reports = value.to_ascii_lowercase().contains("mailto:"),
                _ => {}
            }
        }
        Some(record)
    }
}

impl Dmarc {
    /// The outcome when the DNS did not answer in time.
    pub(super) fn timed_out(domain: &str) -> Self {
        Self {
            result: DmarcResult::TempError,
            domain: domain.to_owned(),
            org_domain: domain.to_owned(),
            reason: Some("not finished in time".to_owned()),
            ..Self::default()
        }
    }
}

/// Walks from `domain` to its top (section 4.10), asking for all names at once.
pub(super) async fn walk(dns: &impl Lookup, domain: &str) -> Walk {
    let names = walk_names(domain);
    let lookups = names
        .iter()
        .map(|name| async move { dns.lookup(&format!("_dmarc.{name}"), RecordKind::Txt).await });
    let answers = join_all(lookups).await;
    let mut walk = Walk { found: Vec::new(), failed: Vec::new() };
    for (name, answer) in names.iter().zip(answers) {
        if let Some(reason) = answer.temp_error() {
            walk.failed.push(((*name).to_owned(), reason.to_owned()));
            continue;
        }
        let mut records = answer.texts().filter_map(Record::parse);
        // Several records at one name are as good as none.
        if let (Some(record), None) = (records.next(), records.next()) {
            let last = record.psd.is_some();
            walk.found.push(((*name).to_owned(), record));
            if last {
                break;
            }
        }
    }
    walk
}

/// The domain, then, if it has eight labels or more, its last seven, then one label less each time.
fn walk_names(domain: &str) -> Vec<&str> {
    let mut names = vec![domain];
    let mut rest = domain;
    while let Some((_, parent)) = rest.split_once('.') {
        rest = parent;
        if parent.split('.').count() < MAX_WALK {
            names.push(parent);
        }
    }
    names
}

impl Walk {
    /// A walk that did not get far enough in time.
    pub(super) fn timed_out(domain: &str) -> Self {
        Self {
            found: Vec::new(),
            failed: vec![(domain.to_owned(), "no answer in time".to_owned())],
        }
    }

    /// The organisational domain of `domain` (section 4.10.2).
    fn org_domain(&self, domain: &str) -> String {
        for (name, record) in &self.found {
            match record.psd {
                Some(false) => return name.clone(),
                Some(true) if name != domain => return one_below(name, domain).to_owned(),
                _ => {}
            }
        }
        self.found.last().map_or(domain, |(name, _)| name).to_owned()
    }
}

/// The name one label longer than `parent` on the way to `domain`.
fn one_below<'d>(parent: &str, domain: &'d str) -> &'d str {
    let Some(above) = domain.strip_suffix(parent).and_then(|d| d.strip_suffix('.')) else {
        return domain;
    };
    &domain[above.rfind('.').map_or(0, |dot| dot + 1)..]
}

/// Judges the author's `domain`, given the walk from it, and marks the aligned signatures.
pub(super) async fn evaluate(
    dns: &impl Lookup,
    domain: &str,
    walk: Walk,
    spf: &Spf,
    dkim: &mut [Dkim],
) -> Dmarc {
    let org_domain = walk.org_domain(domain);
    let mut dmarc = Dmarc { domain: domain.to_owned(), org_domain, ..Dmarc::default() };
    let own_failed = walk.failed.iter().find(|(name, _)| name == domain);
    let applied = walk
        .found
        .iter()
        .find(|(name, _)| name == domain)
        .or_else(|| walk.found.iter().find(|(name, _)| *name == dmarc.org_domain))
        .or_else(|| walk.found.last())
        // Section 4.10.1: without a valid p, a record counts only if it asks for reports.
        .filter(|(_, record)| record.policy.is_some() || record.reports);
    let Some((name, record)) = applied else {
        return without_record(dmarc, &walk, spf, dkim);
    };
    dmarc.record_domain = Some(name.clone());
    dmarc.policy = Some(policy(dns, domain, name, record).await);

    let mut open = None;
    let org = dmarc.org_domain.clone();
    for signature in dkim.iter_mut() {
        signature.aligned = signature.domain == domain;
        if !matches!(signature.result, DkimResult::Pass | DkimResult::TempError) {
            continue;
        }
        match aligned(dns, &signature.domain, domain, &org, record.strict_dkim).await {
            Ok(aligned) => signature.aligned = aligned,
            Err(reason) => open = Some(reason),
        }
    }
    let spf_counts = matches!(spf.result, SpfResult::Pass | SpfResult::TempError);
    let spf_aligned = spf_counts
        && match aligned(dns, &spf.domain, domain, &org, record.strict_spf).await {
            Ok(aligned) => aligned,
            Err(reason) => {
                open = Some(reason);
                false
            }
        };
    dmarc.spf_aligned = spf_aligned && spf.result == SpfResult::Pass;
    dmarc.hidden_pass = (spf_aligned && spf.result == SpfResult::TempError)
        || dkim.iter().any(|d| d.aligned && d.result == DkimResult::TempError);
    let dkim_aligned = dkim.iter().any(|d| d.aligned && d.result == DkimResult::Pass);
    // With a part of the walk missing, more may be aligned than is known, and another policy may
    // apply; what is aligned already stays so.
    let walk_open = walk.failed.first().filter(|_| {
        own_failed.is_some() || dkim.iter().any(|d| d.result == DkimResult::Pass) || spf_counts
    });
    if dmarc.spf_aligned || dkim_aligned {
        dmarc.result = DmarcResult::Pass;
    } else if dmarc.hidden_pass {
        dmarc.result = DmarcResult::TempError;
        dmarc.reason = Some("an aligned identifier could not be checked".to_owned());
    } else if let Some(reason) = open {
        dmarc.result = DmarcResult::TempError;
        dmarc.reason = Some(reason);
    } else if let Some((name, reason)) = walk_open {
        dmarc.result = DmarcResult::TempError;
        dmarc.reason = Some(format!("_dmarc.{name}: {reason}"));
    } else {
        dmarc.result = DmarcResult::Fail;
    }
    dmarc
}

/// No record, or none known: only DKIM can speak for the domain.
fn without_record(mut dmarc: Dmarc, walk: &Walk, spf: &Spf, dkim: &mut [Dkim]) -> Dmarc {
    let registrable = psl::domain_str(&dmarc.domain).unwrap_or(&dmarc.domain);
    let known_empty = walk.failed.is_empty();
    for signature in dkim.iter_mut() {
        signature.aligned = signature.domain == dmarc.domain
            || (known_empty
                && is_below(&dmarc.domain, &signature.domain)
                && (signature.domain == registrable || is_below(&signature.domain, registrable)));
    }
    dmarc.hidden_pass = dkim.iter().any(|d| d.aligned && d.result == DkimResult::TempError);
    dmarc.spf_aligned = spf.result == SpfResult::Pass && spf.domain == dmarc.domain;
    if let Some((name, reason)) = walk.failed.first() {
        dmarc.result = DmarcResult::TempError;
        dmarc.reason = Some(format!("_dmarc.{name}: {reason}"));
    } else {
        dmarc.org_domain = registrable.to_owned();
    }
    dmarc
}

/// The policy of `record`, found at `name`, for `domain` (sections 4.7 and 4.10.1).
async fn policy(dns: &impl Lookup, domain: &str, name: &str, record: &Record) -> Policy {
    let own = record.policy.unwrap_or(Policy::None);
    let policy = if name == domain {
        own
    } else {
        let existing = record.subdomain_policy.unwrap_or(own);
        let missing = record.missing_policy.unwrap_or(existing);
        if existing != missing
            && matches!(dns.lookup(domain, RecordKind::A).await.answer, Answer::NxDomain)
        {
            missing
        } else {
            existing
        }
    };
    match (record.testing, policy) {
        (true, Policy::Reject) => Policy::Quarantine,
        (true, _) => Policy::None,
        (false, policy) => policy,
    }
}

/// Whether `identifier` speaks for `author` (section 4.4): the same domain, or in relaxed mode one
/// with the same organisational domain.
async fn aligned(
    dns: &impl Lookup,
    identifier: &str,
    author: &str,
    author_org: &str,
    strict: bool,
) -> Result<bool, String> {
    if identifier == author {
        return Ok(true);
    }
    if strict {
        return Ok(false);
    }
    if identifier == author_org {
        return Ok(true);
    }
    // A domain elsewhere cannot have the same organisational domain, and is not worth a lookup.
    if !is_below(identifier, author_org) {
        return Ok(false);
    }
    let walk = walk(dns, identifier).await;
    if walk.org_domain(identifier) == author_org {
        return Ok(true);
    }
    match walk.failed.first() {
        Some((name, reason)) => Err(format!("_dmarc.{name}: {reason}")),
        None => Ok(false),
    }
}

fn is_below(domain: &str, parent: &str) -> bool {
    domain.strip_suffix(parent).is_some_and(|above| above.ends_with('.'))
}
