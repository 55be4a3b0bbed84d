//! Tools that come and go, because another server offers them.

use super::Tool;
use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

/// What [`ToolSource::ready`] returns.
pub type Readying<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Where tools come from that are not known when an agent is made.
///
/// A source is asked in every round of a turn, so its answers come from what it knows; only
/// [`ToolSource::ready`] waits. One that cannot be reached delays nobody for longer than they have patience.
pub trait ToolSource: Send + Sync + 'static {
    /// Finds out what there is, unless that is known. Returns early if it cannot be found out now.
    fn ready(&self, patience: Duration) -> Readying<'_>;

    /// What it offers now. Names are its own affair: they must not be those of others.
    fn tools(&self) -> Vec<Arc<dyn Tool>>;

    /// A tool by its name. While it does not know what there is, a source answers for any name that could be
    /// one of its tools with a tool that fails and says why, so that a call which was approved before ends
    /// with that reason.
    fn tool(&self, name: &str) -> Option<Arc<dyn Tool>>;
}
