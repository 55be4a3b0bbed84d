//! Work that waits as rows: claimed, run within a bound, told to stop, and left to the next start.
//!
//! Tasks and turns of models differ in what a row is and how it is run ([`Claims`]); what keeps them
//! going is this one loop. Nothing that runs here is lost when it is dropped: its row is found again.

use super::timers;
use crate::{
    TaskId,
    store::{Result, Store, StoreError},
};
use jiff::Timestamp;
use std::{collections::HashMap, future::Future};
use tokio::{sync::watch, task::JoinSet};

/// A kind of work that waits as rows.
pub(super) trait Claims: Clone + Send + 'static {
    /// A row that was claimed.
    type Run: Send + 'static;
    /// One of it, for logs; with an s for more.
    const ONE: &'static str;

    fn id(run: &Self::Run) -> TaskId;
    /// Claims what is due, up to so many.
    fn claim(&self, max: usize) -> impl Future<Output = Result<Vec<Self::Run>>> + Send;
    /// When there is something to claim next.
    fn next(&self) -> Result<Option<Timestamp>>;
    /// What runs and was cancelled meanwhile.
    fn cancelled(&self) -> Result<Vec<TaskId>>;
    /// Runs until it ends or waits. `stop` turns true when it is cancelled.
    fn run(
        self,
        run: Self::Run,
        stop: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send + 'static;
}

/// Keeps at most `limit` of them running until the runtime stops.
pub(super) async fn run<C: Claims>(
    claims: C,
    store: Store,
    limit: usize,
    mut wakes: watch::Receiver<()>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut running: JoinSet<()> = JoinSet::new();
    let mut stops: HashMap<TaskId, watch::Sender<bool>> = HashMap::new();
    loop {
        let room = limit.saturating_sub(running.len());
        let claimed = if room > 0 { claims.claim(room).await } else { Ok(Vec::new()) };
        let mut retry_at = None;
        match claimed {
            Ok(runs) => {
                for run in runs {
                    let (stop, stop_seen) = watch::channel(false);
                    stops.insert(C::id(&run), stop);
                    running.spawn(claims.clone().run(run, stop_seen));
                }
            }
            Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::error!(%error, "cannot claim {}s", C::ONE);
                retry_at = Some(timers::later(&store));
            }
        }
        let next = if running.len() < limit {
            retry_at.or_else(|| {
                claims.next().unwrap_or_else(|error| {
                    tracing::error!(%error, "cannot read the {}s", C::ONE);
                    Some(timers::later(&store))
                })
            })
        } else {
            None
        };
        let due = async {
            match next {
                Some(at) => store.clock().sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = super::stopped(&mut stopped) => break,
            Some(ended) = running.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a {}'s runner panicked", C::ONE);
                }
                // By whether somebody listens, not by its id: what failed or parked may be running again already.
                stops.retain(|_, stop| !stop.is_closed());
            }
            () = timers::changed(&mut wakes) => {
                match claims.cancelled() {
                    Ok(ids) => {
                        for stop in ids.iter().filter_map(|id| stops.get(id)) {
                            let _ = stop.send(true);
                        }
                    }
                    Err(error) => tracing::error!(%error, "cannot read cancelled {}s", C::ONE),
                }
            }
            () = due => {}
        }
    }
    // Left as their rows say; the next start finds them running and goes on with them.
    running.shutdown().await;
}
