//! Turns of models: claimed from their rows, taken until they end or wait, and parked.
//!
//! A turn that waits for a person, another agent or a later attempt is a row with a time; nothing of it is in
//! memory. Turns of one conversation run one after the other, because those behind the first are not
//! ready (see `store/steps.rs`).

use super::{
    Registry, RuntimeConfig,
    claims::{self, Claims},
    timers,
};
use crate::{
    TaskId,
    store::{Result, Store, TurnRun},
    turn::{
        engine::{Driver, EngineError, Pause},
        log::{StepLog, StoredLog},
    },
};
use futures_util::FutureExt;
use jiff::Timestamp;
use std::{panic::AssertUnwindSafe, sync::Arc};
use tokio::sync::watch;

/// Turns as claimed work.
#[derive(Clone)]
struct Turns {
    store: Store,
    registry: Arc<Registry>,
}

impl Claims for Turns {
    type Run = TurnRun;
    const ONE: &'static str = "turn";

    fn id(run: &TurnRun) -> TaskId {
        run.turn
    }

    async fn claim(&self, max: usize) -> Result<Vec<TurnRun>> {
        self.store.claim_turns(max).await
    }

    fn next(&self) -> Result<Option<Timestamp>> {
        self.store.next_turn()
    }

    fn cancelled(&self) -> Result<Vec<TaskId>> {
        self.store.cancelled_turns()
    }

    async fn run(self, run: TurnRun, stop: watch::Receiver<bool>) {
        take(&self.store, &self.registry, run, stop).await;
    }
}

pub(super) async fn run(
    store: Store,
    registry: Arc<Registry>,
    config: RuntimeConfig,
    wakes: watch::Receiver<()>,
    stopped: watch::Receiver<bool>,
) {
    let turns = Turns { store: store.clone(), registry };
    claims::run(turns, store, config.tasks.get(), wakes, stopped).await;
}

/// Takes a turn until it ends or waits.
async fn take(store: &Store, registry: &Registry, run: TurnRun, mut stop: watch::Receiver<bool>) {
    let TurnRun { agent, agent_name, turn, instance, request, log } = run;
    let mind = registry.get(agent).and_then(|registered| registered.agent.mind());
    let Some(mind) = mind else {
        let why = format!("the agent {agent_name} has no model any more");
        return logged(store.break_turn(turn, why).await, turn);
    };
    let mut log = StoredLog::new(store.clone(), turn, log);
    loop {
        let driver = Driver {
            store,
            mind: &mind,
            agent,
            agent_name: &agent_name,
            turn,
            instance,
            request: &request,
            sink: &(),
        };
        let ran = AssertUnwindSafe(driver.run(&mut log, &mut stop)).catch_unwind().await;
        let seen = log.entries().len();
        match ran {
            Ok(Ok(Pause::Finished(outcome))) => {
                tracing::info!(%turn, agent = agent_name, outcome = outcome.word(), "a turn ended");
                return;
            }
            Ok(Ok(Pause::Parked { until, on })) => {
                match store.park_turn(turn, seen, until, on).await {
                    Ok(None) => return,
                    // Somebody decided in this very moment.
                    Ok(Some(entries)) => log.moved(entries),
                    Err(error) => return logged(Err(error), turn),
                }
            }
            Ok(Ok(Pause::NeedsToBeReal)) => {
                return logged(store.break_turn(turn, "its log is not its own".into()).await, turn);
            }
            Ok(Err(EngineError::Store(error))) if error.is_transient() => {
                tracing::error!(%turn, %error, "a turn cannot go on; trying again in a moment");
                let later = timers::later(store);
                let parked = store.park_turn(turn, seen, later, crate::turn::fold::WaitsFor::Retry);
                match parked.await {
                    Ok(None) => return,
                    Ok(Some(entries)) => log.moved(entries),
                    Err(error) => return logged(Err(error), turn),
                }
            }
            Ok(Err(error)) => {
                return logged(store.break_turn(turn, error.to_string()).await, turn);
            }
            Err(_) => {
                return logged(store.break_turn(turn, "it broke down".into()).await, turn);
            }
        }
    }
}

/// What could not be recorded is found running at the next start and goes on then.
fn logged(recorded: Result<()>, turn: TaskId) {
    if let Err(error) = recorded {
        tracing::error!(%turn, %error, "the end of a turn could not be recorded");
    }
}
