//! Feedback reports (RFC 5965): a recipient pressed "this is spam".

use serde::{Deserialize, Serialize};

use super::{Original, fields};
use crate::deliver::attempt::words;

/// What a mailbox provider reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complaint {
    /// What about.
    pub kind: Kind,
    /// Who complained, where the provider says so; many leave it out.
    pub recipient: Option<String>,
    /// The sender of the envelope, which names the delivery if it is ours.
    pub reverse_path: Option<String>,
    /// Which program reports.
    pub reporter: Option<String>,
    /// The message it is about.
    pub original: Original,
}

/// What a report is about (RFC 5965 section 7.3, RFC 6650, RFC 6591).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Unwanted mail.
    Abuse,
    /// A fraud, as the recipient sees it.
    Fraud,
    /// A virus was found.
    Virus,
    /// Wanted after all.
    NotSpam,
    /// A failure of authentication, sent to the domain named: about somebody's mail, perhaps not ours.
    AuthFailure,
    /// The recipient asks for no more mail.
    OptOut,
    /// Anything else.
    Other,
}

impl Complaint {
    /// Whether the recipient wants no more of it.
    #[must_use]
    pub fn suppresses(&self) -> bool {
        matches!(self.kind, Kind::Abuse | Kind::Fraud | Kind::OptOut)
    }
}

pub(super) fn read(part: &[u8], original: Original) -> Complaint {
    let groups = fields::groups(part, 1);
    let get = |name: &str| groups.first().and_then(|group| group.get(name));
    let kind = match get("feedback-type").unwrap_or_default().to_ascii_lowercase().as_str() {
        "abuse" => Kind::Abuse,
        "fraud" => Kind::Fraud,
        "virus" => Kind::Virus,
        "not-spam" => Kind::NotSpam,
        "auth-failure" => Kind::AuthFailure,
        "opt-out" | "opt-out-list" => Kind::OptOut,
        _ => Kind::Other,
    };
    Complaint {
        kind,
        recipient: get("original-rcpt-to").and_then(fields::address),
        reverse_path: get("original-mail-from")
            .and_then(fields::address)
            .or_else(|| original.reverse_path.clone()),
        reporter: get("user-agent").map(words),
        original,
    }
}
