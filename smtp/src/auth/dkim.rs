//! DKIM (RFC 6376, 8301, 8463): which domains signed this message as it is.
//!
//! mail-auth parses, canonicalises and does the arithmetic; keys are looked up here, so that they are
//! recorded and so that the library never touches the network or the clock. What always holds: at
//! most [`MAX_SIGNATURES`] are looked at; a signature counts only if it covers From and the whole
//! body, has not expired, and uses SHA-256 with Ed25519 or RSA of at least 1024 bits. Left out:
//! third-party signatures (RFC 6541) and failure reports (RFC 6651), both of which would let a sender
//! choose names for us to look up.

use std::{borrow::Borrow, hash::Hash, time::Instant};

use futures_util::future::join_all;
use jiff::Timestamp;
use mail_auth::{
    AuthenticatedMessage, DkimResult as Output, DnsError, Error as AuthError, MessageAuthenticator,
    Parameters, ResolverCache, Txt,
    common::{
        crypto::{Algorithm, HashAlgorithm},
        parse::TxtRecordParser,
        resolver::ToFqdn,
        verify::{DomainKey, VerifySignature},
    },
    dkim::{Canonicalization, DkimError, Signature},
    hickory_resolver::proto::op::ResponseCode,
};
use serde::{Deserialize, Serialize};

use super::dns::{Answer, DnsAnswer, Lookup, RecordKind};

/// Signatures looked at; RFC 6376 section 6.1 lets a verifier limit them.
pub const MAX_SIGNATURES: usize = 8;
/// Names in `h=`. Finding each field costs time in proportion to the fields of the message and to the
/// names before it; real signatures, oversigning included, name fewer than 100.
pub(super) const MAX_SIGNED_NAMES: usize = 200;
/// Least RSA key (RFC 8301 section 3.2).
const MIN_RSA_BITS: usize = 1024;
/// A body hash under this length tag is that of the body without trailing blank lines; see
/// [`trim_blank_lines`]. No signature with a length tag gets this far.
const TRIMMED: u64 = u64::MAX;

/// Results of RFC 8601 section 2.7.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DkimResult {
    /// The signature is good and meets our conditions.
    Pass,
    /// The message is not what was signed.
    Fail,
    /// Not acceptable here, whatever the arithmetic says.
    Policy,
    /// Expired, or not in a form that can be checked.
    Neutral,
    /// The key could not be fetched now.
    TempError,
    /// The key does not exist or cannot be used.
    PermError,
}

impl DkimResult {
    /// The word of RFC 8601.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Policy => "policy",
            Self::Neutral => "neutral",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

/// One signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dkim {
    /// The result.
    pub result: DkimResult,
    /// `d=`, lower case; empty if the signature could not be read.
    pub domain: String,
    /// `s=`.
    pub selector: String,
    /// `a=`.
    pub algorithm: String,
    /// First eight characters of `b=` in base64, which tell signatures apart (RFC 6008).
    pub signature_start: String,
    /// Why it does not pass.
    pub reason: Option<String>,
    /// Whether the domain speaks for the author's domain.
    pub aligned: bool,
}

/// Public keys by name, fetched before mail-auth asks for them. Answers every question, so that the
/// library has none left to ask the network.
#[derive(Default)]
pub(super) struct Keys(Vec<(Box<str>, Txt)>);

impl Keys {
    /// Fetches the keys of all `signatures`, each name once, at the same time.
    pub(super) async fn fetch<'s, S: VerifySignature + 's>(
        dns: &impl Lookup,
        signatures: impl Iterator<Item = &'s S>,
    ) -> Self {
        let mut names: Vec<String> = Vec::new();
        for signature in signatures {
            let name = signature.domain_key().to_fqdn().into_owned();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let lookups = names.iter().map(|name| dns.lookup(name, RecordKind::Txt));
        let answers = join_all(lookups).await;
        Self(
            names
                .iter()
                .zip(answers)
                .map(|(name, answer)| (name.as_str().into(), key(&answer)))
                .collect(),
        )
    }

    fn bits(&self, signature: &impl VerifySignature) -> Option<usize> {
        let name = signature.domain_key();
        let name = name.to_fqdn();
        self.0.iter().find(|(known, _)| **known == *name).and_then(|(_, txt)| match txt {
            Txt::DomainKey(key) => Some(key.p.public_key_bits()),
            _ => None,
        })
    }
}

impl ResolverCache<Box<str>, Txt> for Keys {
    fn get<Q>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let known = self.0.iter().find(|(known, _)| known.borrow() == name);
        Some(known.map_or_else(missing, |(_, txt)| txt.clone()))
    }

    fn remove<Q>(&self, _: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        None
    }

    fn insert(&self, _: Box<str>, _: Txt, _: Instant) {}
}

fn missing() -> Txt {
    Txt::Error(AuthError::Dns(DnsError::RecordNotFound(ResponseCode::NXDomain)))
}

/// The first record that is a key; RFC 6376 section 3.6.2.2 leaves several undefined.
fn key(answer: &DnsAnswer) -> Txt {
    match &answer.answer {
        Answer::TempError(reason) => {
            return Txt::Error(AuthError::Dns(DnsError::Resolver(reason.clone())));
        }
        Answer::NoData | Answer::NxDomain => return missing(),
        Answer::Records { .. } => {}
    }
    let mut error = AuthError::Dns(DnsError::InvalidRecordType);
    for text in answer.texts() {
        let octets: Vec<u8> = text.chars().map(|c| c as u8).collect();
        match DomainKey::parse(&octets) {
            Ok(key) => return key.into(),
            Err(problem) => error = problem,
        }
    }
    Txt::Error(error)
}

/// Signatures sorted into those already decided and those to verify.
pub(super) struct Prepared {
    /// One row for each signature looked at, those to verify without a final result.
    rows: Vec<Dkim>,
    /// Rows that wait for the signature at the same position in the message.
    waiting: Vec<usize>,
    /// Signatures beyond [`MAX_SIGNATURES`].
    pub ignored: usize,
}

/// Decides what needs no key, and leaves in `message` only the signatures to verify.
pub(super) fn prepare(message: &mut AuthenticatedMessage<'_>, now: Timestamp) -> Prepared {
    let mut prepared = Prepared { rows: Vec::new(), waiting: Vec::new(), ignored: 0 };
    for problem in &message.errors {
        if !problem.name.trim_ascii().eq_ignore_ascii_case(b"DKIM-Signature") {
            continue;
        }
        if prepared.rows.len() == MAX_SIGNATURES {
            prepared.ignored += 1;
            continue;
        }
        prepared.rows.push(refused_row(problem.value, &problem.header));
    }
    let now = u64::try_from(now.as_second()).unwrap_or(0);
    let trimmed = TrimmedBody::of(message);
    let mut kept = Vec::with_capacity(message.dkim_headers.len().min(MAX_SIGNATURES));
    for mut header in std::mem::take(&mut message.dkim_headers) {
        if prepared.rows.len() == MAX_SIGNATURES {
            prepared.ignored += 1;
            continue;
        }
        let signature = &mut header.header;
        let (result, reason) = match objection(signature, now) {
            Some((result, reason)) => (result, Some(reason.to_owned())),
            None => (DkimResult::Pass, None),
        };
        let verify = reason.is_none();
        prepared.rows.push(row(signature, result, reason));
        if verify {
            // Checked above against the caller's clock; mail-auth would use the system's.
            signature.x = 0;
            if trimmed.is_what_was_signed(message, signature.cb, signature.a, &signature.bh) {
                signature.l = TRIMMED;
            }
            prepared.waiting.push(prepared.rows.len() - 1);
            kept.push(header);
        }
    }
    message.dkim_headers = kept;
    trimmed.add_to(message);
    prepared
}

impl Prepared {
    /// Verifies the rest with the fetched `keys`.
    pub(super) async fn verify(
        mut self,
        authenticator: &MessageAuthenticator,
        message: &AuthenticatedMessage<'_>,
        keys: &Keys,
    ) -> Vec<Dkim> {
        if self.waiting.is_empty() {
            return self.rows;
        }
        let outputs =
            authenticator.verify_dkim(Parameters::new(message).with_txt_cache(keys)).await;
        // Errors of parsing come first in the output and carry no signature.
        let outputs = outputs.iter().filter(|output| output.signature().is_some());
        for (&index, output) in self.waiting.iter().zip(outputs) {
            let row = &mut self.rows[index];
            let (result, reason) = match output.result() {
                Output::Pass => match output.signature().and_then(|s| keys.bits(s)) {
                    Some(bits) if bits >= MIN_RSA_BITS => (DkimResult::Pass, None),
                    _ => (DkimResult::Policy, Some("key too short".to_owned())),
                },
                Output::Neutral(AuthError::Dkim(DkimError::FailedBodyHashMatch)) => {
                    (DkimResult::Fail, Some("body hash does not match".to_owned()))
                }
                Output::Fail(_) => {
                    let short = output
                        .signature()
                        .and_then(|signature| keys.bits(signature))
                        .is_some_and(|bits| bits < MIN_RSA_BITS);
                    if short {
                        (DkimResult::Policy, Some("key too short".to_owned()))
                    } else {
                        (DkimResult::Fail, Some("signature does not match".to_owned()))
                    }
                }
                Output::Neutral(error) => (DkimResult::Neutral, Some(error.to_string())),
                Output::PermError(AuthError::Dns(DnsError::RecordNotFound(_))) => {
                    (DkimResult::PermError, Some("no key".to_owned()))
                }
                Output::PermError(error) => (DkimResult::PermError, Some(error.to_string())),
                Output::TempError(error) => (DkimResult::TempError, Some(error.to_string())),
                Output::None => (DkimResult::Neutral, None),
            };
            row.result = result;
            row.reason = reason;
        }
        self.rows
    }

    /// Marks what waits as failed for now, when the keys did not come in time.
    pub(super) fn time_out(mut self) -> Vec<Dkim> {
        for index in self.waiting {
            self.rows[index].result = DkimResult::TempError;
            self.rows[index].reason = Some("no key in time".to_owned());
        }
        self.rows
    }
}

/// Why a signature cannot count, if that can be said without its key.
fn objection(signature: &Signature, now: u64) -> Option<(DkimResult, &'static str)> {
    if signature.v != 1 {
        Some((DkimResult::PermError, "no version"))
    } else if signature.a == Algorithm::RsaSha1 {
        // RFC 8301 section 3.1.
        Some((DkimResult::Policy, "rsa-sha1 is not accepted"))
    } else if signature.h.len() > MAX_SIGNED_NAMES {
        Some((DkimResult::Policy, "names too many header fields"))
    } else if !signature.h.iter().any(|name| name.eq_ignore_ascii_case("from")) {
        // RFC 6376 section 5.4.
        Some((DkimResult::PermError, "From is not signed"))
    } else if signature.x != 0 && (signature.x <= now || signature.x <= signature.t) {
        Some((DkimResult::Neutral, "signature has expired"))
    } else {
        None
    }
}

fn row(signature: &Signature, result: DkimResult, reason: Option<String>) -> Dkim {
    let start = signature.b.get(..6).unwrap_or(&signature.b);
    Dkim {
        result,
        domain: signature.d.trim_end_matches('.').to_ascii_lowercase(),
        selector: signature.s.clone(),
        algorithm: match signature.a {
            Algorithm::RsaSha1 => "rsa-sha1",
            Algorithm::RsaSha256 => "rsa-sha256",
            Algorithm::Ed25519Sha256 => "ed25519-sha256",
        }
        .to_owned(),
        signature_start: data_encoding::BASE64.encode(start),
        reason,
        aligned: false,
    }
}

/// A signature that mail-auth did not take: unreadable, or with a length tag.
fn refused_row(value: &[u8], error: &AuthError) -> Dkim {
    let reason = Some(match error {
        // RFC 6376 section 8.2: what follows the signed length is anyone's.
        AuthError::Dkim(DkimError::SignatureLength) => "covers only a part of the body".to_owned(),
        error => error.to_string(),
    });
    let result = match error {
        AuthError::Dkim(DkimError::SignatureLength) => DkimResult::Policy,
        _ => DkimResult::PermError,
    };
    match Signature::parse(value) {
        Ok(signature) => row(&signature, result, reason),
        Err(_) => Dkim {
            result,
            domain: String::new(),
            selector: String::new(),
            algorithm: String::new(),
            signature_start: String::new(),
            reason,
            aligned: false,
        },
    }
}

/// The body hash that mail-auth gets wrong.
///
/// In relaxed form, lines that hold only white space are empty lines, and empty lines at the end do
/// not count (RFC 6376 section 3.4.4). mail-auth 0.13.3 counts the former (its issue 62). Hashes of
/// the body without them are kept beside its own, and a signature that names one is verified with it.
/// Both say that the same visible text was signed, so signers with the same mistake still pass.
pub(super) struct TrimmedBody {
    hashes: Vec<(HashAlgorithm, Vec<u8>)>,
}

impl TrimmedBody {
    pub(super) fn of(message: &AuthenticatedMessage<'_>) -> Self {
        let body = message.raw_body();
        let trimmed = trim_blank_lines(body);
        if trimmed.len() == body.len() {
            return Self { hashes: Vec::new() };
        }
        let relaxed = Canonicalization::Relaxed;
        let algorithms =
            message.body_hashes.iter().filter(|(form, _, l, _)| *form == relaxed && *l == 0);
        Self {
            hashes: algorithms
                .map(|(_, algorithm, ..)| {
                    let hash = algorithm.hash(relaxed.canonical_body(trimmed, 0));
                    (*algorithm, hash.as_ref().to_vec())
                })
                .collect(),
        }
    }

    pub(super) fn is_what_was_signed(
        &self,
        message: &AuthenticatedMessage<'_>,
        form: Canonicalization,
        algorithm: Algorithm,
        signed: &[u8],
    ) -> bool {
        let algorithm = HashAlgorithm::from(algorithm);
        let same = |(known, hash): &(HashAlgorithm, Vec<u8>)| *known == algorithm && hash == signed;
        form == Canonicalization::Relaxed
            && self.hashes.iter().any(same)
            && !message.body_hashes.iter().any(|(known, with, l, hash)| {
                *known == form && *with == algorithm && *l == 0 && hash == signed
            })
    }

    pub(super) fn add_to(self, message: &mut AuthenticatedMessage<'_>) {
        for (algorithm, hash) in self.hashes {
            message.body_hashes.push((Canonicalization::Relaxed, algorithm, TRIMMED, hash));
        }
    }

    /// The length tag that selects the trimmed hash.
    pub(super) const TAG: u64 = TRIMMED;
}

/// `body` up to the end of its last line that holds more than white space, if lines after that hold
/// any; only then does mail-auth go wrong.
fn trim_blank_lines(body: &[u8]) -> &[u8] {
    let blank = |b: &u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n');
    let text = body.iter().rposition(|b| !blank(b)).map_or(0, |last| last + 1);
    let keep = if text == 0 {
        0
    } else {
        match body[text..].iter().position(|&b| b == b'\n') {
            Some(end) => text + end + 1,
            None => return body,
        }
    };
    let spaces = body[keep..].iter().any(|b| matches!(b, b' ' | b'\t'));
    if spaces { &body[..keep] } else { body }
}
