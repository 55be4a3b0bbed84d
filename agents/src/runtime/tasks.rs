//! Tasks: work that waits for the outside and survives the process.
//!
//! A task is claimed from its row, run on the async runtime within a bound, and ended by a
//! transaction that also tells its instance. Outside calls go through [`TaskContext::call`], which
//! commits an intent before and the result after, so a task that runs again after a crash finds what
//! it already did.

use super::{Registry, RuntimeConfig, dispatch, timers};
use crate::{
    TaskId,
    agent::{HandlerError, TaskEnd},
    store::{IntentState, Result, Store, StoreError, TaskRun},
};
use jiff::Timestamp;
use serde_json::Value;
use std::{collections::HashMap, future::Future, panic::AssertUnwindSafe, sync::Arc};
use tokio::{sync::watch, task::JoinSet};

/// What an outside call does, which decides what happens when nobody knows whether it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEffect {
    /// It changes nothing: made again.
    Read,
    /// It can be undone or repeated, and the service honours idempotency keys: made again with the same key.
    Reversible,
    /// It cannot be taken back: the task ends as uncertain and a person looks.
    Final,
}

impl CallEffect {
    fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Reversible => "reversible",
            Self::Final => "final",
        }
    }
}

/// What a task works with.
pub struct TaskContext {
    store: Store,
    task: TaskId,
    cancelled: watch::Receiver<bool>,
}

/// Ends a task whose call's outcome nobody knows.
#[derive(Debug, thiserror::Error)]
#[error("nobody knows whether the call {0:?} took effect")]
struct UncertainCall(String);

impl TaskContext {
    /// For tools that run as tasks.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Keeps what is known so far. If the task runs again it finds it in [`crate::Task::checkpoint`].
    pub async fn checkpoint(&self, value: Value) -> Result<(), HandlerError> {
        Ok(self.store.checkpoint_task(self.task, value).await?)
    }

    /// Makes an outside call that is remembered. `name` is unique within the task. The call is given its
    /// idempotency key; a result that was recorded before is returned without calling again.
    ///
    /// A call that fails is forgotten if it is `Read` or `Reversible`, so a retry of the task makes it again. A
    /// `Final` call that fails leaves its intent, because nobody knows how far it came: let it return its
    /// failure as a value where the service said clearly that nothing happened.
    pub async fn call<F>(
        &self,
        name: &str,
        effect: CallEffect,
        call: impl FnOnce(String) -> F,
    ) -> Result<Value, HandlerError>
    where
        F: Future<Output = Result<Value, HandlerError>>,
    {
        let begun =
            self.store.begin_call(self.task, name.to_owned(), effect.as_str().to_owned()).await?;
        match begun {
            IntentState::Settled(result) => return Ok(result),
            IntentState::Pending if effect == CallEffect::Final => {
                return Err(UncertainCall(name.to_owned()).into());
            }
            IntentState::Pending | IntentState::Fresh => {}
        }
        match call(format!("{}.{name}", self.task)).await {
            Ok(result) => {
                self.store.settle_call(self.task, name.to_owned(), result.clone()).await?;
                Ok(result)
            }
            Err(error) => {
                if effect != CallEffect::Final {
                    self.store.abandon_call(self.task, name.to_owned()).await?;
                }
                Err(error)
            }
        }
    }

    /// Completes when the task is to stop. A task that ignores it is dropped at its next await.
    pub async fn cancelled(&self) {
        let mut cancelled = self.cancelled.clone();
        if cancelled.wait_for(|cancelled| *cancelled).await.is_err() {
            std::future::pending().await
        }
    }
}

pub(super) async fn run(
    store: Store,
    registry: Arc<Registry>,
    config: RuntimeConfig,
    mut wakes: watch::Receiver<()>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut running: JoinSet<()> = JoinSet::new();
    let mut cancels: HashMap<TaskId, watch::Sender<bool>> = HashMap::new();
    loop {
        let room = config.tasks.get().saturating_sub(running.len());
        let claimed = if room > 0 { store.claim_tasks(room).await } else { Ok(Vec::new()) };
        let mut retry_at = None;
        match claimed {
            Ok(runs) => {
                for claimed in runs {
                    let (cancel, cancelled) = watch::channel(false);
                    cancels.insert(claimed.task.id, cancel);
                    let (store, registry, config) =
                        (store.clone(), registry.clone(), config.clone());
                    running.spawn(async move {
                        run_one(&store, &registry, &config, claimed, cancelled).await;
                    });
                }
            }
            Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::error!(%error, "cannot claim tasks");
                retry_at = Some(timers::later(&store));
            }
        }
        let next = if running.len() < config.tasks.get() {
            retry_at.or_else(|| {
                store.next_task().unwrap_or_else(|error| {
                    tracing::error!(%error, "cannot read the tasks");
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
                    tracing::error!(%error, "a task's runner panicked");
                }
                // By whether somebody listens, not by the task: one that failed may be running again already.
                cancels.retain(|_, cancel| !cancel.is_closed());
            }
            () = timers::changed(&mut wakes) => {
                match store.cancelled_tasks() {
                    Ok(ids) => {
                        for cancel in ids.iter().filter_map(|id| cancels.get(id)) {
                            let _ = cancel.send(true);
                        }
                    }
                    Err(error) => tracing::error!(%error, "cannot read cancelled tasks"),
                }
            }
            () = due => {}
        }
    }
    // Left at their last checkpoint; the next start finds them running and starts them again.
    running.shutdown().await;
}

async fn run_one(
    store: &Store,
    registry: &Registry,
    config: &RuntimeConfig,
    run: TaskRun,
    cancelled: watch::Receiver<bool>,
) {
    let TaskRun { agent, task, deadline } = run;
    let cx = TaskContext { store: store.clone(), task: task.id, cancelled };
    let result = match registry.get(agent) {
        None => Err("this agent is no longer configured".into()),
        Some(registered) => {
            let work = registered.agent.run_task(&task, &cx);
            let work = futures_util::FutureExt::catch_unwind(AssertUnwindSafe(work));
            tokio::select! {
                // What is over before it starts is not started.
                biased;
                () = cx.cancelled() => return end(store, task.id, TaskEnd::Cancelled).await,
                () = sleep_until(store, deadline) => {
                    let error = "its deadline passed".to_owned();
                    return end(store, task.id, TaskEnd::Failed { error }).await;
                }
                done = work => done.unwrap_or_else(|_| Err("the task panicked".into())),
            }
        }
    };
    match result {
        Ok(result) => end(store, task.id, TaskEnd::Done { result }).await,
        Err(error) => match error.downcast::<UncertainCall>() {
            Ok(uncertain) => end(store, task.id, TaskEnd::Uncertain { call: uncertain.0 }).await,
            Err(error) => {
                let now = store.clock().now();
                match config.task_retries.next(task.attempt, now, dispatch::random()) {
                    Some(at) => {
                        tracing::warn!(task = %task.id, name = task.name, %error, %at, "a task failed; trying again");
                        log(store.retry_task(task.id, error.to_string(), at).await, task.id);
                    }
                    None => {
                        let error = error.to_string();
                        end(store, task.id, TaskEnd::Failed { error }).await;
                    }
                }
            }
        },
    }
}

async fn sleep_until(store: &Store, deadline: Option<Timestamp>) {
    match deadline {
        Some(at) => store.clock().sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn end(store: &Store, task: TaskId, end: TaskEnd) {
    log(store.end_task(task, end).await, task);
}

/// What could not be recorded is found running at the next start and runs again.
fn log(recorded: Result<()>, task: TaskId) {
    if let Err(error) = recorded {
        tracing::error!(%task, %error, "the end of a task could not be recorded");
    }
}
