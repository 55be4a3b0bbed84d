//! The secrets that people and programs show: 256 random bits as text, kept as SHA-256.

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};

/// How a program's token begins, so that people and scanners see what it is.
pub const TOKEN_PREFIX: &str = "fd_";

/// A new secret, as it is shown once.
pub fn new(prefix: &str) -> std::io::Result<String> {
    Ok(format!("{prefix}{}", random::<32>()?))
}

/// So many random bytes as text.
pub fn random<const BYTES: usize>() -> std::io::Result<String> {
    let mut bytes = [0u8; BYTES];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(BASE64URL_NOPAD.encode(&bytes))
}

/// What is kept of it. The secret is random, so a plain hash cannot be searched.
pub fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// What a page must say beside the cookie. It follows from the cookie's secret, which pages cannot read.
pub fn csrf(session: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(b"frontdesk csrf\0");
    hasher.update(session.as_bytes());
    BASE64URL_NOPAD.encode(&hasher.finalize())
}
