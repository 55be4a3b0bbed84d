//! The runtime: it brings durable events to handlers and their effects back to the store.
//!
//! - [`dispatch`] keeps the order: one event at a time per instance, in the order of their ids, on a
//!   small pool of threads;
//! - `timers` turns schedules that are due into events;
//! - `claims` keeps work that waits as rows running, which is tasks and turns;
//! - [`tasks`] runs what waits for the outside;
//! - `live` runs what a caller waits for, and `talk` takes the turns of models that are heard as they are taken;
//! - `turns` takes the turns of models.
//!
//! What always holds: an event that was committed is handled at least until it succeeds or is a dead
//! letter, across any number of restarts, and its effects happen once. A sleeping instance is a row
//! and nothing else.

mod claims;
pub mod dispatch;
mod live;
mod talk;
pub mod tasks;
mod timers;
pub(crate) mod turns;

pub use live::{Hooks, Live, LiveError};

use crate::{
    AgentId,
    agent::{Admission, Agent, AnyAgent, Envelope, Erased},
    retry::RetryPolicy,
    store::{Result, Store},
};
use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{Arc, RwLock},
    time::Duration,
};
use tokio::{sync::watch, task::JoinHandle};

/// How the runtime behaves.
#[derive(Debug, Clone)]
pub struct RuntimeConfig {
    /// Threads that run handlers.
    pub threads: NonZeroUsize,
    /// Tasks that run at the same time, and turns that are taken at the same time.
    pub tasks: NonZeroUsize,
    pub handler_retries: RetryPolicy,
    pub task_retries: RetryPolicy,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self {
            threads: cores.max(NonZeroUsize::MIN.saturating_add(1)),
            tasks: NonZeroUsize::MIN.saturating_add(15),
            handler_retries: RetryPolicy::HANDLER,
            task_retries: RetryPolicy::TASK,
        }
    }
}

/// The agents by id. Clones are the same registry: what replaces its agents replaces them everywhere, and what
/// is under way goes on with those it began with.
#[derive(Clone, Default)]
pub struct Registry(Arc<RwLock<HashMap<AgentId, Registered>>>);

#[derive(Clone)]
pub(crate) struct Registered {
    pub name: Arc<str>,
    pub agent: Arc<dyn AnyAgent>,
}

/// An agent without its type, as configuration hands it around.
#[derive(Clone)]
pub struct BoxedAgent(Arc<dyn AnyAgent>);

impl BoxedAgent {
    /// Boxes an agent.
    pub fn new(agent: impl Agent) -> Self {
        Self(Arc::new(Erased(agent)))
    }
}

impl Registry {
    /// Adds an agent.
    pub fn add(&mut self, id: AgentId, name: &str, agent: BoxedAgent) {
        let mut agents = self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        agents.insert(id, Registered { name: name.into(), agent: agent.0 });
    }

    /// Has the agents of another registry take the place of those here.
    pub fn replace(&self, other: &Registry) {
        let others = other.0.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        *self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = others;
    }

    pub(crate) fn get(&self, id: AgentId) -> Option<Registered> {
        self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner()).get(&id).cloned()
    }

    /// Asks an agent whether it wants a mail. Most do not screen, and then this costs a look-up; one that does
    /// has 200 ms, after which the mail counts as accepted.
    pub async fn accept(&self, id: AgentId, envelope: &Envelope<'_>) -> Admission {
        let Some(registered) = self.get(id).filter(|r| r.agent.screens()) else {
            return Admission::Accept;
        };
        let (agent, name) = (registered.agent.clone(), registered.name.clone());
        let (reverse_path, recipient, verdict, from) = (
            envelope.reverse_path.to_owned(),
            envelope.recipient.to_owned(),
            envelope.verdict,
            envelope.from.map(str::to_owned),
        );
        let asked = tokio::task::spawn_blocking(move || {
            agent.accept(&Envelope {
                reverse_path: &reverse_path,
                recipient: &recipient,
                verdict,
                from: from.as_deref(),
            })
        });
        match tokio::time::timeout(SCREENING, asked).await {
            Ok(Ok(admission)) => admission,
            Ok(Err(_)) => {
                tracing::error!(agent = %name, "accept() panicked; the mail was accepted");
                Admission::Accept
            }
            Err(_) => {
                tracing::warn!(agent = %name, "accept() took longer than 200 ms; the mail was accepted");
                Admission::Accept
            }
        }
    }
}

/// How long an agent may think about an envelope (DESIGN section 3).
const SCREENING: Duration = Duration::from_millis(200);

/// A running runtime.
pub struct Runtime {
    stop: watch::Sender<bool>,
    parts: Vec<JoinHandle<()>>,
    workers: dispatch::Workers,
    live: Live,
}

impl Runtime {
    /// Starts it: what a crash left unfinished goes on first. Call it within a tokio runtime.
    pub async fn start(store: Store, registry: Registry, config: RuntimeConfig) -> Result<Self> {
        let (stop, stopped) = watch::channel(false);
        // Subscribed before the tables are read, so that nothing falls between.
        let (for_dispatch, for_timers) = (store.wakes(), store.schedule_wakes());
        let (for_tasks, for_turns) = (store.task_wakes(), store.task_wakes());
        store.recover_tasks().await?;
        store.recover_calls().await?;
        let registry = Arc::new(registry);
        let (dispatcher, workers) = dispatch::start(
            store.clone(),
            registry.clone(),
            &config,
            for_dispatch,
            stopped.clone(),
        )?;
        let live = Live::new(store.clone(), registry.clone());
        let parts = vec![
            dispatcher,
            tokio::spawn(timers::run(store.clone(), for_timers, stopped.clone())),
            tokio::spawn(tasks::run(
                store.clone(),
                registry.clone(),
                config.clone(),
                for_tasks,
                stopped.clone(),
            )),
            tokio::spawn(turns::run(store, registry, config, for_turns, stopped)),
        ];
        Ok(Self { stop, parts, workers, live })
    }

    /// Brings what happens in calls and chats to the agents.
    pub fn live(&self) -> Live {
        self.live.clone()
    }

    /// Stops it: handlers that run are finished and committed, tasks that run are left at their last checkpoint
    /// and go on at the next start.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        self.live.stop().await;
        for part in self.parts {
            if let Err(error) = part.await {
                tracing::error!(%error, "a part of the runtime panicked");
            }
        }
        self.workers.join().await;
    }
}

/// Completes when the runtime is to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means the runtime is gone, which is as good a reason.
    let _ = stop.wait_for(|stop| *stop).await;
}
