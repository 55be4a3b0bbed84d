//! Turns of models: claimed from their rows, taken until they end or wait, and parked.
//!
//! A turn that waits for a person, another agent or a later attempt is a row with a time; nothing of it is in
//! memory. Turns of one conversation run one after the other, because those behind the first are not
//! ready (see `store/steps.rs`).

use super::{Registry, RuntimeConfig, timers};
use crate::{
    TaskId,
    store::{Result, Store, StoreError, TurnRun},
    turn::{
        engine::{Driver, EngineError, Pause},
        log::{StepLog, StoredLog},
    },
};
use futures_util::FutureExt;
use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc};
use tokio::{sync::watch, task::JoinSet};

pub(super) async fn run(
    store: Store,
    registry: Arc<Registry>,
    config: RuntimeConfig,
    mut wakes: watch::Receiver<()>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut running: JoinSet<()> = JoinSet::new();
    let mut stops: HashMap<TaskId, watch::Sender<bool>> = HashMap::new();
    loop {
        let room = config.tasks.get().saturating_sub(running.len());
        let claimed = if room > 0 { store.claim_turns(room).await } else { Ok(Vec::new()) };
        let mut retry_at = None;
        match claimed {
            Ok(runs) => {
                for run in runs {
                    let id = run.turn;
                    let (stop, stop_seen) = watch::channel(false);
                    stops.insert(id, stop);
                    let (store, registry) = (store.clone(), registry.clone());
                    running.spawn(async move {
                        take(&store, &registry, run, stop_seen).await;
                    });
                }
            }
            Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::error!(%error, "cannot claim turns");
                retry_at = Some(timers::later(&store));
            }
        }
        let next = if running.len() < config.tasks.get() {
            retry_at.or_else(|| {
                store.next_turn().unwrap_or_else(|error| {
                    tracing::error!(%error, "cannot read the turns");
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
                    tracing::error!(%error, "a turn's runner panicked");
                }
                // By whether somebody listens, not by the turn: one that parked may be running again already.
                stops.retain(|_, stop| !stop.is_closed());
            }
            () = timers::changed(&mut wakes) => {
                match store.cancelled_turns() {
                    Ok(ids) => {
                        for stop in ids.iter().filter_map(|id| stops.get(id)) {
                            let _ = stop.send(true);
                        }
                    }
                    Err(error) => tracing::error!(%error, "cannot read cancelled turns"),
                }
            }
            () = due => {}
        }
    }
    // Left where their logs are; the next start goes on with them.
    running.shutdown().await;
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
