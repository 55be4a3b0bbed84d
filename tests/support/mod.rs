//! What the scenario tests share: a mail client, letters, a desk in this process or in one of its
//! own, and ways to wait for it.
//!
//! Nothing here sleeps for luck: [`until`] asks again until it is so, and fails loudly at its deadline.

// Every test binary compiles this and uses a part of it.
#![allow(dead_code, unused_imports, clippy::unwrap_used)]

pub mod api;
pub mod caller;
pub mod client;
pub mod deepgram;
pub mod desk;
pub mod letter;
pub mod process;

pub use api::Api;
pub use caller::Caller;
pub use client::{Client, Reply};
pub use desk::{Desk, Setup, desk_of, zone};
pub use letter::{Captured, Letter, captured};
pub use process::{Process, Server};

use std::{
    future::Future,
    time::{Duration, Instant},
};

/// How long anything that should happen at once may take on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again until there is an answer. The pause only keeps the asking cheap.
///
/// # Panics
///
/// After [`PATIENCE`], naming what did not happen.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "did not happen within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
