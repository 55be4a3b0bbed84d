//! From evidence to decision, without looking anything up.
//!
//! What always holds: "not failed" is never "verified"; SPF alone refuses nothing; a DNS failure
//! delays a message only if its answer could change what happens to it.

use serde::{Deserialize, Serialize};

use super::{
    Authentication,
    arc::ArcResult,
    author::Malformed,
    dkim::DkimResult,
    dmarc::{DmarcResult, Policy},
};

/// Who stands behind the author's address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The author's domain.
    Verified {
        /// How that is known.
        by: VerifiedBy,
    },
    /// Nobody said.
    Unverified,
    /// The author's domain publishes how to tell, and the message fails it.
    Failed,
    /// The message came from this machine while only `localhost` is served; counts as verified.
    Local,
}

impl Verdict {
    /// Whether decisions may rely on the author's address.
    pub fn is_verified(&self) -> bool {
        matches!(self, Self::Verified { .. } | Self::Local)
    }
}

/// How a domain was verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "method", content = "domain")]
pub enum VerifiedBy {
    /// DMARC, through a signature of this domain.
    DmarcDkim(String),
    /// DMARC, through SPF for this domain.
    DmarcSpf(String),
    /// A signature of this aligned domain, where no DMARC policy is known.
    Dkim(String),
    /// A trusted forwarder of this domain, which verified the message before it passed it on.
    Forwarder(String),
}

/// What to do with a message at the end of DATA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// Take it, with this verdict.
    Accept(Verdict),
    /// Refuse it for good.
    Refuse {
        /// The reply, with code and enhanced code.
        reply: String,
    },
    /// Take it, and let a person look before anything else happens.
    Quarantine {
        /// For that person.
        why: String,
    },
    /// Ask the peer to try again.
    TempFail {
        /// For the log; the reply is [`TEMPFAIL_REPLY`].
        why: String,
    },
}

/// The reply that goes with [`Disposition::TempFail`] (RFC 3463: X.4.3, directory server failure).
pub const TEMPFAIL_REPLY: &str = "451 4.4.3 The sender's DNS does not answer; try again later";

/// Who stands behind the author's address, before any forwarder's word.
pub fn verdict(a: &Authentication) -> Verdict {
    if a.local {
        return Verdict::Local;
    }
    if a.malformed.is_some() {
        return Verdict::Failed;
    }
    let signer = || {
        let mut passed = a.dkim.iter().filter(|d| d.aligned && d.result == DkimResult::Pass);
        passed.next().map(|d| d.domain.clone())
    };
    match a.dmarc.result {
        DmarcResult::Pass => Verdict::Verified {
            by: match signer() {
                Some(domain) => VerifiedBy::DmarcDkim(domain),
                None => VerifiedBy::DmarcSpf(a.spf_mail_from.domain.clone()),
            },
        },
        DmarcResult::Fail => Verdict::Failed,
        // A signature of the very domain passes whatever policy the DNS may hold.
        DmarcResult::None | DmarcResult::TempError => match signer() {
            Some(domain) => Verdict::Verified { by: VerifiedBy::Dkim(domain) },
            None => Verdict::Unverified,
        },
    }
}

/// What to do with the message; `trusted_forwarders` are domains whose ARC seals are believed.
pub fn disposition(a: &Authentication, trusted_forwarders: &[String]) -> Disposition {
    if let Some(problem) = a.malformed {
        return Disposition::Refuse { reply: malformed_reply(problem).to_owned() };
    }
    let verdict = verdict(a);
    if verdict.is_verified() {
        return Disposition::Accept(verdict);
    }
    let Some(author) = &a.from else {
        return Disposition::Quarantine { why: "the message has no readable From".to_owned() };
    };
    match a.arc.result {
        ArcResult::Pass => {
            if let Some(domain) = a.arc.trusted_word(&author.domain, trusted_forwarders) {
                let by = VerifiedBy::Forwarder(domain.to_owned());
                return Disposition::Accept(Verdict::Verified { by });
            }
        }
        ArcResult::TempError => {
            if a.arc.trusted_word(&author.domain, trusted_forwarders).is_some() {
                let why = "a key of a trusted forwarder cannot be fetched".to_owned();
                return Disposition::TempFail { why };
            }
        }
        ArcResult::None | ArcResult::Fail => {}
    }
    let reason = || a.dmarc.reason.clone().unwrap_or_else(|| "DNS failure".to_owned());
    match (a.dmarc.result, a.dmarc.policy) {
        (DmarcResult::Fail, Some(Policy::Reject)) => Disposition::Refuse {
            reply: format!(
                "550 5.7.26 Not accepted: the message is not authenticated as from {}, whose DMARC \
                 policy is reject",
                author.domain
            ),
        },
        (DmarcResult::Fail, Some(Policy::Quarantine)) => Disposition::Quarantine {
            why: format!(
                "the message is not authenticated as from {}, whose DMARC policy is quarantine",
                author.domain
            ),
        },
        (DmarcResult::TempError, _) => Disposition::TempFail { why: reason() },
        (DmarcResult::None, _) if a.dmarc.hidden_pass => Disposition::TempFail {
            why: format!("a DKIM key of {} cannot be fetched", author.domain),
        },
        _ => Disposition::Accept(verdict),
    }
}

fn malformed_reply(problem: Malformed) -> &'static str {
    match problem {
        Malformed::SeveralFromFields => "550 5.6.0 Not accepted: several From fields",
        Malformed::StrangeFromField => "550 5.6.0 Not accepted: malformed From field",
        Malformed::DifferentDomains => "550 5.6.0 Not accepted: From names different domains",
    }
}
