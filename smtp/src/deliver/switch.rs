//! The switch that holds all sending at once.

use tokio::sync::watch;

/// Whether mail may leave. Clones are the same switch; it is open at first.
///
/// While it is held nothing is claimed, what is under way stops before its final dot and waits again,
/// and nothing new passes the mark. What has sent its dot is finished, because the peer may have it.
#[derive(Debug, Clone)]
pub struct Switch {
    held: watch::Sender<bool>,
}

impl Default for Switch {
    fn default() -> Self {
        Self { held: watch::Sender::new(false) }
    }
}

impl Switch {
    /// Holds all sending.
    pub fn hold(&self) {
        self.held.send_replace(true);
    }

    /// Lets mail leave again.
    pub fn release(&self) {
        self.held.send_replace(false);
    }

    /// Whether sending is held.
    #[must_use]
    pub fn is_held(&self) -> bool {
        *self.held.borrow()
    }

    /// Completes as soon as sending is held (`true`) or not (`false`). Safe to drop.
    pub(super) async fn until(&self, held: bool) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.held.subscribe().wait_for(|now| *now == held).await;
    }
}
