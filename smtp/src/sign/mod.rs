//! DKIM signatures (RFC 6376, RFC 8463) over rendered mail.
//!
//! Each mail gets two: Ed25519, and RSA-2048 for those who do not verify Ed25519 yet. Both are
//! relaxed/relaxed. What always holds:
//!
//! - Every field a reader or a mail client acts on is signed once more than it occurs (see
//!   [`SIGNED_FIELDS`]), so that nobody can add a second one without breaking the signature.
//! - Signing is a pure function of key, message and time. RSA is PKCS#1 v1.5 and Ed25519 is
//!   deterministic, so the same input gives the same bytes.
//! - No `l=`: a signature covers the whole body.
//!
//! Keys, algorithms and the field's text come from `mail-auth`. The body hash does not: the relaxed
//! canonicalisation of its 0.13.3 is wrong for bodies that end in lines of white space only (fixed in
//! its 0.15), and its signer reads the clock.
//!
//! Left out: where keys are kept, which selector is current, and publishing in DNS.

mod canonical;
mod key;

use std::sync::Arc;

use jiff::Timestamp;
use mail_auth::common::crypto::{Algorithm, Ed25519Key, RsaKey, Sha256, SigningKey};
use mail_auth::common::headers::{Writable, Writer};
use mail_auth::dkim::{Canonicalization, Signature};

pub use self::canonical::relaxed_body;
pub use self::key::{DkimKey, DkimKeys, DnsRecord, KeyType, SecretPem};

use self::canonical::{Field, split};

/// The fields that are signed, each once more than it occurs (RFC 6376 section 5.4 and 8.15).
///
/// Trace fields and Auto-Submitted are left out: relays add the former, and lists the latter.
pub const SIGNED_FIELDS: &[&str] = &[
    "From",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Reply-To",
    "MIME-Version",
    "Content-Type",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
];

/// Why a mail could not be signed or a key not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Neither PKCS#1 nor PKCS#8, or not the kind of key expected. Says nothing about its content.
    #[error("not a usable {0} private key in PEM")]
    Key(KeyType),
    /// An RSA key that verifiers refuse (RFC 8301) or that does not fit DNS comfortably.
    #[error("an RSA key for DKIM must have 2048 to 4096 bits, this one has {bits}")]
    RsaSize {
        /// Its size.
        bits: usize,
    },
    /// The system's random source or the key generator failed.
    #[error("could not generate a key: {0}")]
    Generate(String),
    /// Not a domain in A-labels, or not a selector.
    #[error("`{0}` is not a domain or selector name")]
    Name(String),
    /// The message has no header, or no blank line after it.
    #[error("the message has no header")]
    Message,
    /// The cryptographic library failed.
    #[error("signing failed")]
    Crypto,
}

/// Signs mail of one domain with both kinds of key.
#[derive(Clone)]
pub struct Signer {
    inner: Arc<Inner>,
}

struct Inner {
    domain: String,
    selector: String,
    rsa: RsaKey<Sha256>,
    ed25519: Ed25519Key,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer")
            .field("domain", &self.inner.domain)
            .field("selector", &self.inner.selector)
            .finish_non_exhaustive()
    }
}

impl Signer {
    /// Prepares to sign as `domain`. The keys are published as `<selector>-rsa` and
    /// `<selector>-ed25519` (see [`DkimKeys::dns_records`]).
    ///
    /// # Errors
    ///
    /// [`Error::Name`] or [`Error::Key`].
    pub fn new(domain: &str, selector: &str, keys: &DkimKeys) -> Result<Self, Error> {
        Ok(Self {
            inner: Arc::new(Inner {
                domain: key::checked_name(domain)?,
                selector: key::checked_name(selector)?,
                rsa: keys.rsa.to_rsa()?,
                ed25519: keys.ed25519.to_ed25519()?,
            }),
        })
    }

    /// The domain signed for (`d=`).
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.inner.domain
    }

    /// Returns `message` with two DKIM-Signature fields in front. Costs about a millisecond of
    /// computation, nearly all of it RSA.
    ///
    /// # Errors
    ///
    /// [`Error::Message`] if there is no header, [`Error::Crypto`] if the library fails.
    pub fn sign(&self, message: &[u8], now: Timestamp) -> Result<Vec<u8>, Error> {
        Ok([&self.fields(message, now)?, message].concat())
    }

    /// The two DKIM-Signature fields alone, for those who need no second copy of a large message.
    /// They go in front of it.
    ///
    /// # Errors
    ///
    /// As [`Signer::sign`].
    pub fn fields(&self, message: &[u8], now: Timestamp) -> Result<Vec<u8>, Error> {
        let inner = &*self.inner;
        let (fields, body) = split(message).ok_or(Error::Message)?;
        let (names, signed) = select(&fields);
        // Both algorithms hash with SHA-256.
        let body_hash = inner.rsa.hash(Body(body)).as_ref().to_vec();
        let template = Signature {
            v: 1,
            d: inner.domain.clone(),
            h: names,
            t: u64::try_from(now.as_second()).unwrap_or_default(),
            ch: Canonicalization::Relaxed,
            cb: Canonicalization::Relaxed,
            bh: body_hash,
            ..Signature::default()
        };
        let mut out = Vec::with_capacity(2048);
        inner.write_field(&template, KeyType::Ed25519, &inner.ed25519, &signed, &mut out)?;
        inner.write_field(&template, KeyType::Rsa, &inner.rsa, &signed, &mut out)?;
        Ok(out)
    }
}

impl Inner {
    fn write_field(
        &self,
        template: &Signature,
        kind: KeyType,
        key: &impl SigningKey,
        signed: &[Field<'_>],
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let mut signature = template.clone();
        signature.a = match kind {
            KeyType::Rsa => Algorithm::RsaSha256,
            KeyType::Ed25519 => Algorithm::Ed25519Sha256,
        };
        signature.s = kind.selector(&self.selector);
        signature.b = key
            .sign(Signed { fields: signed, signature: &signature })
            .map_err(|_| Error::Crypto)?;
        let mut field = Vec::with_capacity(1024);
        signature.write(&mut field, true);
        // The library leaves selector and domain on one line, however long. Relaxed canonicalisation
        // makes the fold the same space that was signed.
        if let Some(at) = memchr::memmem::find(&field, b"; d=") {
            field.splice(at + 1..at + 2, *b"\r\n\t");
        }
        out.append(&mut field);
        Ok(())
    }
}

/// The names for `h=` and the fields they select. RFC 6376 section 5.4.2: repeated names select
/// fields from the last to the first, and a name beyond the last occurrence selects nothing.
fn select<'m>(fields: &[Field<'m>]) -> (Vec<String>, Vec<Field<'m>>) {
    let mut names = Vec::new();
    let mut signed = Vec::new();
    for name in SIGNED_FIELDS {
        for field in fields.iter().rev().filter(|field| field.is_named(name)) {
            names.push((*name).to_owned());
            signed.push(*field);
        }
        names.push((*name).to_owned());
    }
    (names, signed)
}

struct Body<'a>(&'a [u8]);

impl Writable for Body<'_> {
    fn write(self, writer: &mut impl Writer) {
        relaxed_body(self.0, |bytes| writer.write(bytes));
    }
}

/// What the signature is computed over: the selected fields, then our own without `b=` and CRLF.
struct Signed<'a> {
    fields: &'a [Field<'a>],
    signature: &'a Signature,
}

impl Writable for Signed<'_> {
    fn write(self, writer: &mut impl Writer) {
        for field in self.fields {
            field.write_relaxed(|bytes| writer.write(bytes));
        }
        self.signature.write(writer, false);
    }
}
