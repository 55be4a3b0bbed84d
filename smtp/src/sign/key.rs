//! DKIM key pairs: generation, PEM, and the DNS records that publish them.

use std::fmt;

use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use ed25519_dalek::pkcs8::{EncodePrivateKey as _, KeypairBytes};
use mail_auth::common::crypto::{Ed25519Key, RsaKey, Sha256};
use rsa::RsaPrivateKey;
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs1::EncodeRsaPrivateKey as _;
use rsa::pkcs8::{EncodePublicKey as _, LineEnding};
use rsa::traits::PublicKeyParts as _;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer};

use super::Error;

/// RSA keys have this size: RFC 8301 section 3.2 wants at least 2048 for signing, and larger keys need
/// several DNS strings and cost more for little.
const RSA_BITS: usize = 2048;
/// The longest string inside one TXT record (RFC 1035 section 3.3).
const TXT_STRING: usize = 255;

/// The two algorithms of DKIM that are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// `rsa-sha256`, RFC 6376.
    Rsa,
    /// `ed25519-sha256`, RFC 8463.
    Ed25519,
}

impl KeyType {
    /// The full selector of this kind under a common base.
    #[must_use]
    pub fn selector(self, base: &str) -> String {
        format!("{base}-{self}")
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsa => "rsa",
            Self::Ed25519 => "ed25519",
        })
    }
}

/// A private key in PEM. Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretPem(String);

impl SecretPem {
    /// The PEM text, for writing to a file that only its owner reads.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretPem(..)")
    }
}

/// One key pair.
#[derive(Clone)]
pub struct DkimKey(Pair);

#[derive(Clone)]
enum Pair {
    Rsa(Box<RsaPrivateKey>),
    Ed25519(Box<ed25519_dalek::SigningKey>),
}

impl fmt::Debug for DkimKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DkimKey({})", self.kind())
    }
}

impl DkimKey {
    /// Makes a key. An RSA key takes up to seconds of computation: call this on a blocking thread.
    ///
    /// # Errors
    ///
    /// [`Error::Generate`].
    pub fn generate(kind: KeyType) -> Result<Self, Error> {
        let mut random = rsa::rand_core::OsRng;
        Ok(Self(match kind {
            KeyType::Rsa => RsaPrivateKey::new(&mut random, RSA_BITS)
                .map(|key| Pair::Rsa(Box::new(key)))
                .map_err(|error| Error::Generate(error.to_string()))?,
            KeyType::Ed25519 => {
                Pair::Ed25519(Box::new(ed25519_dalek::SigningKey::generate(&mut random)))
            }
        }))
    }

    /// Reads a PEM of PKCS#8, or for RSA also PKCS#1.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] or [`Error::RsaSize`].
    pub fn from_pem(kind: KeyType, pem: &str) -> Result<Self, Error> {
        match kind {
            KeyType::Rsa => {
                let key = RsaPrivateKey::from_pkcs8_pem(pem)
                    .ok()
                    .or_else(|| RsaPrivateKey::from_pkcs1_pem(pem).ok())
                    .ok_or(Error::Key(kind))?;
                let bits = key.n().bits();
                // ring, which signs, takes no more than 4096.
                if !(2048..=4096).contains(&bits) {
                    return Err(Error::RsaSize { bits });
                }
                Ok(Self(Pair::Rsa(Box::new(key))))
            }
            KeyType::Ed25519 => ed25519_dalek::SigningKey::from_pkcs8_pem(pem)
                .map(|key| Self(Pair::Ed25519(Box::new(key))))
                .map_err(|_| Error::Key(kind)),
        }
    }

    /// Writes PKCS#8 PEM.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] if the key cannot be encoded.
    pub fn to_pem(&self) -> Result<SecretPem, Error> {
        let pem = match &self.0 {
            Pair::Rsa(key) => key.to_pkcs8_pem(LineEnding::LF).ok(),
            // Without the public key, which PKCS#8 has only since version 2 and OpenSSL refuses.
            Pair::Ed25519(key) => KeypairBytes { secret_key: key.to_bytes(), public_key: None }
                .to_pkcs8_pem(LineEnding::LF)
                .ok(),
        };
        pem.map(|pem| SecretPem(pem.as_str().to_owned())).ok_or(Error::Key(self.kind()))
    }

    /// Which algorithm it is for.
    #[must_use]
    pub fn kind(&self) -> KeyType {
        match &self.0 {
            Pair::Rsa(_) => KeyType::Rsa,
            Pair::Ed25519(_) => KeyType::Ed25519,
        }
    }

    /// The record that publishes this key under `<selector>-<kind>`.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] if domain or selector is not one.
    pub fn dns_record(&self, selector: &str, domain: &str) -> Result<DnsRecord, Error> {
        let (selector, domain) = (checked_name(selector)?, checked_name(domain)?);
        let public = match &self.0 {
            // SubjectPublicKeyInfo: what every verifier reads, though RFC 6376 section 3.6.1 names
            // only the RSAPublicKey inside.
            Pair::Rsa(key) => key
                .to_public_key()
                .to_public_key_der()
                .map_err(|_| Error::Key(KeyType::Rsa))?
                .into_vec(),
            // The bare 32 octets (RFC 8463 section 4.2).
            Pair::Ed25519(key) => key.verifying_key().to_bytes().to_vec(),
        };
        Ok(DnsRecord {
            name: format!("{}._domainkey.{domain}", self.kind().selector(&selector)),
            value: format!(
                "v=DKIM1; k={}; h=sha256; p={}",
                self.kind(),
                data_encoding::BASE64.encode(&public)
            ),
        })
    }

    pub(super) fn to_rsa(&self) -> Result<RsaKey<Sha256>, Error> {
        let Pair::Rsa(key) = &self.0 else { return Err(Error::Key(KeyType::Rsa)) };
        let der = key.to_pkcs1_der().map_err(|_| Error::Key(KeyType::Rsa))?;
        let der = PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(der.as_bytes()));
        RsaKey::from_key_der(der).map_err(|_| Error::Key(KeyType::Rsa))
    }

    pub(super) fn to_ed25519(&self) -> Result<Ed25519Key, Error> {
        let Pair::Ed25519(key) = &self.0 else { return Err(Error::Key(KeyType::Ed25519)) };
        Ed25519Key::from_seed_and_public_key(&key.to_bytes(), &key.verifying_key().to_bytes())
            .map_err(|_| Error::Key(KeyType::Ed25519))
    }
}

/// A domain's two key pairs.
#[derive(Debug, Clone)]
pub struct DkimKeys {
    pub(super) rsa: DkimKey,
    pub(super) ed25519: DkimKey,
}

impl DkimKeys {
    /// Makes both. Takes up to seconds of computation: call this on a blocking thread.
    ///
    /// # Errors
    ///
    /// [`Error::Generate`].
    pub fn generate() -> Result<Self, Error> {
        Ok(Self {
            rsa: DkimKey::generate(KeyType::Rsa)?,
            ed25519: DkimKey::generate(KeyType::Ed25519)?,
        })
    }

    /// Reads both.
    ///
    /// # Errors
    ///
    /// As [`DkimKey::from_pem`].
    pub fn from_pem(rsa: &str, ed25519: &str) -> Result<Self, Error> {
        Ok(Self {
            rsa: DkimKey::from_pem(KeyType::Rsa, rsa)?,
            ed25519: DkimKey::from_pem(KeyType::Ed25519, ed25519)?,
        })
    }

    /// The RSA key.
    #[must_use]
    pub fn rsa(&self) -> &DkimKey {
        &self.rsa
    }

    /// The Ed25519 key.
    #[must_use]
    pub fn ed25519(&self) -> &DkimKey {
        &self.ed25519
    }

    /// The records that publish both.
    ///
    /// # Errors
    ///
    /// [`Error::Name`].
    pub fn dns_records(&self, selector: &str, domain: &str) -> Result<[DnsRecord; 2], Error> {
        Ok([self.rsa.dns_record(selector, domain)?, self.ed25519.dns_record(selector, domain)?])
    }
}

/// A TXT record. `Display` shows it both ways that registrars ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsRecord {
    /// The owner name, without a final dot.
    pub name: String,
    /// The whole value, for forms with one field.
    pub value: String,
}

impl DnsRecord {
    /// The value in strings of at most 255 octets, for those who must split it (RFC 1035).
    #[must_use]
    pub fn strings(&self) -> Vec<&str> {
        let mut rest = self.value.as_str();
        let mut strings = Vec::new();
        while rest.len() > TXT_STRING {
            // The value is ASCII: no character is cut.
            let (string, tail) = rest.split_at(TXT_STRING);
            strings.push(string);
            rest = tail;
        }
        strings.push(rest);
        strings
    }

    /// A line for a zone file.
    #[must_use]
    pub fn zone_line(&self) -> String {
        let strings: Vec<String> =
            self.strings().iter().map(|string| format!("\"{string}\"")).collect();
        format!("{}. IN TXT ( {} )", self.name, strings.join(" "))
    }
}

impl fmt::Display for DnsRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "name:  {}", self.name)?;
        writeln!(f, "type:  TXT")?;
        writeln!(f, "value: {}", self.value)?;
        write!(f, "zone:  {}", self.zone_line())
    }
}

/// A domain or selector as it may stand in `d=`, `s=` and DNS: lower-case labels.
pub(super) fn checked_name(name: &str) -> Result<String, Error> {
    let lower = name.to_ascii_lowercase();
    let shaped = (1..=253).contains(&lower.len())
        && lower.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        });
    if shaped {
        Ok(lower)
    } else {
        Err(Error::Name(name.chars().filter(|c| !c.is_control()).take(80).collect()))
    }
}
