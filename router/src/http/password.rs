//! Passwords: argon2id, with as much memory for attackers to pay as we can spare, and only so many at once.

use super::problem::Problem;
use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version,
    password_hash::SaltString,
};
use std::{sync::LazyLock, time::Duration};
use tokio::sync::Semaphore;

/// OWASP's first choice for argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;

/// Hashes at once. Each takes a core and 19 MiB; mail must not notice.
static AT_ONCE: Semaphore = Semaphore::const_new(2);

/// How long a sign-in waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// Short passwords are guessed, and nobody types more than this (NIST SP 800-63B section 5.1.1.2 asks for
/// at least 8 and at most no less than 64).
pub const LENGTH: std::ops::RangeInclusive<usize> = 10..=256;

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).unwrap_or(Params::DEFAULT);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// The hash that is compared with when there is no such user, so that the answer takes as long.
static NOBODY: LazyLock<String> =
    LazyLock::new(|| make("nobody has this password").unwrap_or_default());

fn make(password: &str) -> Result<String, Problem> {
    let mut salt = [0u8; 16];
    getrandom::fill(&mut salt).map_err(Problem::internal)?;
    let salt = SaltString::encode_b64(&salt).map_err(Problem::internal)?;
    let hash = argon2().hash_password(password.as_bytes(), &salt).map_err(Problem::internal)?;
    Ok(hash.to_string())
}

/// Says what is wrong with a new password, or makes its hash.
pub async fn hash(password: String) -> Result<String, Problem> {
    let length = password.chars().count();
    if !LENGTH.contains(&length) {
        return Err(Problem::unprocessable(format!(
            "a password has {} to {} characters; this one has {length}",
            LENGTH.start(),
            LENGTH.end()
        )));
    }
    in_turn(move || make(&password)).await?
}

/// Whether a password is right. Without a hash to compare with it takes as long and says no.
pub async fn verify(password: String, hash: Option<String>) -> Result<bool, Problem> {
    in_turn(move || {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| NOBODY.clone());
        let Ok(hash) = PasswordHash::new(&hash) else { return false };
        // What is too long is compared as well, cut, so that length tells nothing either.
        let password = &password.as_bytes()[..password.len().min(4096)];
        argon2().verify_password(password, &hash).is_ok() && known
    })
    .await
}

async fn in_turn<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let turn = tokio::time::timeout(PATIENCE, AT_ONCE.acquire()).await;
    let _turn = turn
        .map_err(|_| Problem::busy("too many people sign in at once: try again in a moment"))?
        .map_err(Problem::internal)?;
    tokio::task::spawn_blocking(work).await.map_err(Problem::internal)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_again_and_another_is_not() {
        let kept = hash("correct horse battery".into()).await.unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert!(verify("correct horse battery".into(), Some(kept.clone())).await.unwrap());
        assert!(!verify("correct horse".into(), Some(kept)).await.unwrap());
        assert!(!verify("nobody has this password".into(), None).await.unwrap());
        assert!(hash("short".into()).await.is_err());
        assert!(hash("x".repeat(300)).await.is_err());
    }
}
