//! Signers for tests: DKIM and ARC with keys that are committed for this purpose.
//!
//! Left out on purpose: anything that production signing would need to be safe.

use mail_auth::{
    AuthenticatedMessage, AuthenticationResults, Error, MessageAuthenticator,
    arc::ArcSealer,
    common::{
        crypto::{Algorithm, Ed25519Key, Sha256, SigningKey},
        headers::{HeaderWriter, Writable},
    },
    dkim::{Canonicalization, DkimSigner},
};
use rsa::{Pkcs1v15Sign, RsaPrivateKey, pkcs1::DecodeRsaPrivateKey, pkcs8::EncodePublicKey};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use sha2::Digest;

/// DER of `DigestInfo` before a SHA-256 hash (RFC 8017 section 9.2, note 1).
const SHA256_PREFIX: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];

/// A private key of any strength.
pub enum TestKey {
    /// RSA.
    Rsa(Box<RsaPrivateKey>),
    /// Ed25519.
    Ed25519(Ed25519Key),
}

impl TestKey {
    /// RSA of 2048 bits.
    pub fn rsa() -> Self {
        Self::from_rsa_pem(include_str!("../../tests/keys/rsa2048-a.pem"))
    }

    /// Another RSA key of 2048 bits.
    pub fn other_rsa() -> Self {
        Self::from_rsa_pem(include_str!("../../tests/keys/rsa2048-b.pem"))
    }

    /// RSA of 1024 bits, the least that counts.
    pub fn rsa_1024() -> Self {
        Self::from_rsa_pem(include_str!("../../tests/keys/rsa1024.pem"))
    }

    /// RSA of 512 bits, which does not count.
    pub fn rsa_512() -> Self {
        Self::from_rsa_pem(include_str!("../../tests/keys/rsa512.pem"))
    }

    /// Ed25519.
    pub fn ed25519() -> Self {
        let pem = include_str!("../../tests/keys/ed25519.pem");
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).expect("the key is committed");
        let key = Ed25519Key::from_pkcs8_maybe_unchecked_der(der.secret_pkcs8_der());
        Self::Ed25519(key.expect("the key is committed"))
    }

    fn from_rsa_pem(pem: &str) -> Self {
        let key = RsaPrivateKey::from_pkcs1_pem(pem).expect("the key is committed");
        Self::Rsa(Box::new(key))
    }

    /// The TXT record that publishes the public half.
    pub fn record(&self) -> String {
        match self {
            Self::Rsa(key) => {
                let der =
                    key.to_public_key().to_public_key_der().expect("RSA keys have a DER form");
                format!("v=DKIM1; k=rsa; p={}", data_encoding::BASE64.encode(der.as_bytes()))
            }
            Self::Ed25519(key) => {
                format!("v=DKIM1; k=ed25519; p={}", data_encoding::BASE64.encode(&key.public_key()))
            }
        }
    }
}

impl SigningKey for TestKey {
    type Hasher = Sha256;

    fn sign(&self, input: impl Writable) -> mail_auth::Result<Vec<u8>> {
        match self {
            Self::Rsa(key) => {
                let mut data = Vec::new();
                input.write(&mut data);
                let hash = sha2::Sha256::digest(&data);
                let padding = Pkcs1v15Sign {
                    hash_len: Some(hash.len()),
                    prefix: SHA256_PREFIX.to_vec().into_boxed_slice(),
                };
                key.sign(padding, &hash).map_err(|error| Error::Io(error.to_string()))
            }
            Self::Ed25519(key) => key.sign(input),
        }
    }

    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa(_) => Algorithm::RsaSha256,
            Self::Ed25519(_) => Algorithm::Ed25519Sha256,
        }
    }
}

/// How to sign.
#[derive(Clone, Debug)]
pub struct DkimOptions {
    /// Header fields to cover.
    pub headers: Vec<&'static str>,
    /// Seconds until the signature expires; 0 for never.
    pub expires_in: u64,
    /// Whether to add `l=`.
    pub body_length: bool,
    /// Whether to use the simple form instead of the relaxed one.
    pub simple: bool,
}

impl Default for DkimOptions {
    fn default() -> Self {
        Self {
            headers: vec!["From", "To", "Subject", "Date", "Message-ID"],
            expires_in: 0,
            body_length: false,
            simple: false,
        }
    }
}

/// `message` with a DKIM-Signature field before it.
pub fn dkim_sign(
    message: &[u8],
    key: TestKey,
    domain: &str,
    selector: &str,
    options: &DkimOptions,
) -> Vec<u8> {
    let form = if options.simple { Canonicalization::Simple } else { Canonicalization::Relaxed };
    let signature = DkimSigner::from_key(key)
        .domain(domain)
        .selector(selector)
        .headers(options.headers.iter().copied())
        .expiration(options.expires_in)
        .body_length(options.body_length)
        .header_canonicalization(form)
        .body_canonicalization(form)
        .sign(message)
        .expect("the message has header fields");
    let mut signed = signature.to_header().into_bytes();
    signed.extend_from_slice(message);
    signed
}

/// `message` with one more ARC set before it. `results` is what the ARC-Authentication-Results field
/// says after its instance: a server name, `;`, and results. `authenticator` fetches the keys of an
/// earlier chain.
pub async fn arc_seal(
    message: &[u8],
    key: TestKey,
    domain: &str,
    selector: &str,
    results: &str,
    authenticator: &MessageAuthenticator,
) -> Vec<u8> {
    let parsed = AuthenticatedMessage::parse(message).expect("the message has header fields");
    let chain = authenticator.verify_arc(&parsed).await;
    // The server name is written and hashed as it is, so that a test can say anything after it, if
    // only with white space as the relaxed form leaves it.
    let results = results.split_whitespace().collect::<Vec<_>>().join(" ");
    let results = AuthenticationResults::new(&results);
    let set = ArcSealer::from_key(key)
        .domain(domain)
        .selector(selector)
        .headers(["From", "To", "Subject", "Date", "Message-ID", "DKIM-Signature"])
        .header_canonicalization(Canonicalization::Relaxed)
        .body_canonicalization(Canonicalization::Relaxed)
        .seal(&parsed, &results, &chain)
        .expect("the chain can be continued");
    let mut sealed = set.to_header().into_bytes();
    sealed.extend_from_slice(message);
    sealed
}
