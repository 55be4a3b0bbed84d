//! Tasks: work that waits for the outside and survives the process.
//!
//! A task is claimed from its row, run on the async runtime within a bound, and ended by a
//! transaction that also tells its instance. Outside calls go through [`TaskContext::call`], which
//! commits an intent before and the result after, so a task that runs again after a crash finds what
//! it already did.

use super::{
    Registry, RuntimeConfig,
    claims::{self, Claims},
    dispatch,
};
use crate::{
    TaskId,
    agent::{HandlerError, TaskEnd},
    store::{IntentState, Result, Store, TaskRun},
};
use jiff::Timestamp;
use serde_json::Value;
use std::{future::Future, panic::AssertUnwindSafe, sync::Arc};
use tokio::sync::watch;

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
    /// The word stored for it.
    pub(crate) fn as_str(self) -> &'static str {
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

/// Tasks as claimed work.
#[derive(Clone)]
struct Tasks {
    store: Store,
    registry: Arc<Registry>,
    config: RuntimeConfig,
}

impl Claims for Tasks {
    type Run = TaskRun;
    const ONE: &'static str = "task";

    fn id(run: &TaskRun) -> TaskId {
        run.task.id
    }

    async fn claim(&self, max: usize) -> Result<Vec<TaskRun>> {
        self.store.claim_tasks(max).await
    }

    fn next(&self) -> Result<Option<Timestamp>> {
        self.store.next_task()
    }

    fn cancelled(&self) -> Result<Vec<TaskId>> {
        self.store.cancelled_tasks()
    }

    async fn run(self, run: TaskRun, stop: watch::Receiver<bool>) {
        run_one(&self.store, &self.registry, &self.config, run, stop).await;
    }
}

pub(super) async fn run(
    store: Store,
    registry: Arc<Registry>,
    config: RuntimeConfig,
    wakes: watch::Receiver<()>,
    stopped: watch::Receiver<bool>,
) {
    let limit = config.tasks.get();
    let tasks = Tasks { store: store.clone(), registry, config };
    claims::run(tasks, store, limit, wakes, stopped).await;
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
