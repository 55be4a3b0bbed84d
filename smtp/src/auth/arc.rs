//! ARC (RFC 8617): what forwarders say they saw before they passed the message on.
//!
//! A chain that verifies proves who sealed it, nothing more: what a seal reports is worth what its
//! domain is worth to us. Left out: sealing, and chains of more than [`MAX_SETS`] sets.

use jiff::Timestamp;
use mail_auth::{
    AuthenticatedMessage, DkimResult as Output, Error as AuthError, MessageAuthenticator,
    Parameters,
    common::{crypto::Algorithm, verify::VerifySignature},
};
use serde::{Deserialize, Serialize};

use super::{
    dkim::{Keys, MAX_SIGNED_NAMES, TrimmedBody},
    results,
};

/// Longest chain verified. RFC 8617 section 4.2.1 allows 50; each set costs a key and a signature.
pub const MAX_SETS: usize = 20;

/// Results of RFC 8617 section 5.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArcResult {
    /// No chain.
    #[default]
    None,
    /// Every seal and the last message signature verify.
    Pass,
    /// The chain is broken.
    Fail,
    /// A key could not be fetched now.
    TempError,
}

impl ArcResult {
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

/// The chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arc {
    /// The result.
    pub result: ArcResult,
    /// Why it does not pass.
    pub reason: Option<String>,
    /// Who sealed it, first hop first.
    pub hops: Vec<ArcHop>,
}

/// One set of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArcHop {
    /// `i=`.
    pub instance: u32,
    /// `d=` of the seal.
    pub seal_domain: String,
    /// Domains for which the hop recorded a DMARC pass (`header.from`).
    pub dmarc_pass: Vec<String>,
    /// Domains for which it recorded a DKIM pass (`header.d`, or the domain of `header.i`).
    pub dkim_pass: Vec<String>,
    /// Domains for which it recorded an SPF pass (`smtp.mailfrom`).
    pub spf_pass: Vec<String>,
}

impl ArcHop {
    /// Whether the hop recorded a pass that speaks for `author`, by DMARC or by an identifier of that
    /// very domain.
    pub fn vouches_for(&self, author: &str) -> bool {
        let has = |domains: &[String]| domains.iter().any(|d| d.eq_ignore_ascii_case(author));
        has(&self.dmarc_pass) || has(&self.dkim_pass) || has(&self.spf_pass)
    }
}

impl Arc {
    /// The trusted domain whose word counts for `author`: a sealer that recorded a pass, if it and
    /// every later sealer is trusted. An untrusted set proves nothing by itself, and whoever sealed
    /// after a trusted one may have changed the message since. Says nothing about the chain's result.
    pub fn trusted_word(&self, author: &str, trusted: &[String]) -> Option<&str> {
        self.hops
            .iter()
            .rev()
            .take_while(|hop| trusted.iter().any(|t| t.eq_ignore_ascii_case(&hop.seal_domain)))
            .filter(|hop| hop.vouches_for(author))
            .last()
            .map(|hop| hop.seal_domain.as_str())
    }
}

/// Makes the message ready for mail-auth: expiry against the caller's clock, trimmed body hash.
pub(super) fn prepare(message: &mut AuthenticatedMessage<'_>, now: Timestamp) -> Option<Arc> {
    let fail = |reason: &str| {
        Some(Arc { result: ArcResult::Fail, reason: Some(reason.to_owned()), hops: Vec::new() })
    };
    if message.ams_headers.is_empty()
        && message.as_headers.is_empty()
        && message.aar_headers.is_empty()
        && !message.has_arc_errors
    {
        return Some(Arc::default());
    }
    if message.ams_headers.len().max(message.as_headers.len()) > MAX_SETS {
        return fail("chain too long");
    }
    let weak = |a: Algorithm| a == Algorithm::RsaSha1;
    if message.ams_headers.iter().any(|h| weak(h.header.a))
        || message.as_headers.iter().any(|h| weak(h.header.a))
    {
        return fail("rsa-sha1 is not accepted");
    }
    let now = u64::try_from(now.as_second()).unwrap_or(0);
    let mut trimmed_tag = None;
    if let Some(last) = message.ams_headers.last() {
        let signature = &last.header;
        if signature.h.len() > MAX_SIGNED_NAMES {
            return fail("names too many header fields");
        }
        if !signature.h.iter().any(|name| name.eq_ignore_ascii_case("from")) {
            return fail("From is not signed");
        }
        if signature.x != 0 && (signature.x <= now || signature.x <= signature.t) {
            return fail("signature has expired");
        }
        // DKIM may have added the trimmed hash already; adding it again is harmless.
        let trimmed = TrimmedBody::of(message);
        if trimmed.is_what_was_signed(message, signature.cb, signature.a, &signature.bh) {
            trimmed_tag = Some(trimmed);
        }
    }
    if let Some(last) = message.ams_headers.last_mut() {
        last.header.x = 0;
    }
    if let Some(trimmed) = trimmed_tag {
        trimmed.add_to(message);
        if let Some(last) = message.ams_headers.last_mut() {
            last.header.l = TrimmedBody::TAG;
        }
    }
    None
}

/// Everything whose key the chain needs.
pub(super) enum Signed<'m> {
    Message(&'m mail_auth::arc::Signature),
    Seal(&'m mail_auth::arc::Seal),
}

impl VerifySignature for Signed<'_> {
    fn selector(&self) -> &str {
        match self {
            Self::Message(signature) => signature.selector(),
            Self::Seal(seal) => seal.selector(),
        }
    }

    fn domain(&self) -> &str {
        match self {
            Self::Message(signature) => signature.domain(),
            Self::Seal(seal) => seal.domain(),
        }
    }

    fn signature(&self) -> &[u8] {
        match self {
            Self::Message(signature) => signature.signature(),
            Self::Seal(seal) => seal.signature(),
        }
    }

    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Message(signature) => signature.algorithm(),
            Self::Seal(seal) => seal.algorithm(),
        }
    }
}

/// The last message signature and every seal.
pub(super) fn signatures<'m>(message: &'m AuthenticatedMessage<'_>) -> Vec<Signed<'m>> {
    let last = message.ams_headers.last().map(|header| Signed::Message(&header.header));
    let seals = message.as_headers.iter().map(|header| Signed::Seal(&header.header));
    last.into_iter().chain(seals).collect()
}

/// Verifies the chain with the fetched `keys`.
pub(super) async fn verify(
    authenticator: &MessageAuthenticator,
    message: &AuthenticatedMessage<'_>,
    keys: &Keys,
) -> Arc {
    let output = authenticator.verify_arc(Parameters::new(message).with_txt_cache(keys)).await;
    let (result, reason) = match output.result() {
        Output::Pass => (ArcResult::Pass, None),
        Output::None => (ArcResult::None, None),
        Output::TempError(error) => (ArcResult::TempError, Some(error.to_string())),
        Output::Fail(error) | Output::Neutral(error) | Output::PermError(error) => {
            (ArcResult::Fail, Some(reason(error)))
        }
    };
    let hops = output
        .sets()
        .iter()
        .map(|set| {
            let recorded = results::parse_recorded(set.results.value);
            ArcHop {
                instance: set.seal.header.i,
                seal_domain: set.seal.header.d.trim_end_matches('.').to_ascii_lowercase(),
                dmarc_pass: recorded.dmarc,
                dkim_pass: recorded.dkim,
                spf_pass: recorded.spf,
            }
        })
        .collect();
    Arc { result, reason, hops }
}

fn reason(error: &AuthError) -> String {
    match error {
        AuthError::Dns(mail_auth::DnsError::RecordNotFound(_)) => "no key".to_owned(),
        error => error.to_string(),
    }
}
