//! The one place where the commands meet the library.

use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use frontdesk_router::Frontdesk;
use frontdesk_router::config::Config;

/// Opens the database of an installation that no server is running on, and answers the API on it.
/// Holds the lock on the data while the returned router lives.
pub type Open = fn(Config) -> Pin<Box<dyn Future<Output = anyhow::Result<Router>> + Send>>;

/// What opens a database in process.
pub const OPEN: Option<Open> = Some(open);

fn open(config: Config) -> Pin<Box<dyn Future<Output = anyhow::Result<Router>> + Send>> {
    Box::pin(async move { Ok(Arc::new(Frontdesk::new(config).open().await?).api()) })
}
