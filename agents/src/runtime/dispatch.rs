//! One event at a time per instance, in order.
//!
//! A task keeps, for every instance with waiting events, their ids in order. The head of an idle
//! instance goes to a worker thread, which loads a snapshot, runs the handler and hands the effects to
//! the writer. The writer's answer comes back here and lets the next event of that instance go. Worker
//! threads never wait for a commit, so a few of them keep the writer's batches full.
//!
//! Memory is bounded: beyond [`KEPT`] ids the rest stays in the table and is read when there is room.

use super::{Registry, RuntimeConfig};
use crate::{
    AgentId, EventId, InstanceId,
    agent::{Handled, HandlerError},
    retry::RetryPolicy,
    store::{Failure, HandleOutcome, PendingEvent, Result, Store, StoreError, Wake},
};
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    panic::AssertUnwindSafe,
    sync::{Arc, Condvar, Mutex},
    thread::JoinHandle as Thread,
    time::Instant,
};
use tokio::{
    sync::{broadcast, mpsc, watch},
    task::JoinHandle,
};

/// Waiting ids kept in memory: 24 bytes each.
const KEPT: usize = 100_000;

/// Events handed to workers and not yet committed. Twice the writer's batch keeps it full while the
/// workers fill the next one.
const IN_FLIGHT: usize = 128;

/// What a worker says of an event.
struct Ended {
    event: PendingEvent,
    next: Next,
}

enum Next {
    /// It is done or dead.
    Done,
    /// Run it again at this time.
    Again(Timestamp),
}

/// The threads that run handlers.
pub struct Workers {
    jobs: Arc<Jobs>,
    threads: Vec<Thread<()>>,
}

#[derive(Default)]
struct Jobs {
    queue: Mutex<(VecDeque<PendingEvent>, bool)>,
    added: Condvar,
}

impl Workers {
    /// Waits for the handlers that run. No new ones are started.
    pub(super) async fn join(self) {
        let Self { jobs, threads } = self;
        jobs.queue.lock().unwrap_or_else(|p| p.into_inner()).1 = true;
        jobs.added.notify_all();
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a handler thread panicked");
                }
            }
        });
        if let Err(error) = joined.await {
            tracing::error!(%error, "cannot wait for the handler threads");
        }
    }
}

pub(super) fn start(
    store: Store,
    registry: Arc<Registry>,
    config: &RuntimeConfig,
    wakes: broadcast::Receiver<Wake>,
    stopped: watch::Receiver<bool>,
) -> Result<(JoinHandle<()>, Workers)> {
    let jobs = Arc::new(Jobs::default());
    // Every event in flight ends once, so this never fills.
    let (ended, ends) = mpsc::channel(IN_FLIGHT * 2);
    let mut threads = Vec::new();
    for number in 0..config.threads.get() {
        let worker = Worker {
            store: store.clone(),
            registry: registry.clone(),
            retries: config.handler_retries,
            jobs: jobs.clone(),
            ended: ended.clone(),
        };
        let thread = std::thread::Builder::new()
            .name(format!("agent-{number}"))
            .spawn(move || worker.run())
            .map_err(StoreError::io("a thread for handlers"))?;
        threads.push(thread);
    }
    let dispatcher = Dispatcher {
        store,
        jobs: jobs.clone(),
        lanes: HashMap::new(),
        timed: BTreeMap::new(),
        runnable: VecDeque::new(),
        kept: 0,
        in_flight: 0,
        read_up_to: EventId(0),
        more_in_table: true,
    };
    let task = tokio::spawn(dispatcher.run(wakes, ends, stopped));
    Ok((task, Workers { jobs, threads }))
}

/// The waiting events of one instance.
#[derive(Default)]
struct Waiting {
    events: VecDeque<PendingEvent>,
    busy: bool,
}

struct Dispatcher {
    store: Store,
    jobs: Arc<Jobs>,
    lanes: HashMap<InstanceId, Waiting>,
    /// Instances whose head is due later, by when.
    timed: BTreeMap<(i64, EventId), InstanceId>,
    runnable: VecDeque<InstanceId>,
    kept: usize,
    in_flight: usize,
    /// The highest id ever taken in.
    read_up_to: EventId,
    /// Whether ids above `read_up_to` may be in the table that no wake will mention again.
    more_in_table: bool,
}

impl Dispatcher {
    async fn run(
        mut self,
        mut wakes: broadcast::Receiver<Wake>,
        mut ends: mpsc::Receiver<Ended>,
        mut stopped: watch::Receiver<bool>,
    ) {
        loop {
            self.read_table();
            self.wake_timed();
            self.hand_out();
            let next_due = self.timed.first_key_value().map(|((at, _), _)| *at);
            let clock = self.store.clock().clone();
            let due = async {
                match next_due.and_then(|at| Timestamp::from_millisecond(at).ok()) {
                    Some(at) => clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = super::stopped(&mut stopped) => break,
                Some(end) = ends.recv() => self.ended(end),
                wake = wakes.recv() => match wake {
                    Ok(Wake::Event(event)) => {
                        self.take_in(event);
                        // What is here already comes along in the same round.
                        while let Ok(Wake::Event(event)) = wakes.try_recv() {
                            self.take_in(event);
                        }
                    }
                    Ok(_) => {}
                    Err(broadcast::error::RecvError::Lagged(_)) => self.more_in_table = true,
                    Err(broadcast::error::RecvError::Closed) => break,
                },
                () = due => {}
            }
        }
        // Handlers under way are committed before the runtime counts as stopped.
        {
            let mut queue = self.jobs.queue.lock().unwrap_or_else(|p| p.into_inner());
            self.in_flight -= queue.0.len();
            queue.0.clear();
        }
        while self.in_flight > 0 {
            match ends.recv().await {
                Some(_) => self.in_flight -= 1,
                None => break,
            }
        }
    }

    /// Reads waiting events that no wake told of: at the start, after a lag, and after memory was full.
    fn read_table(&mut self) {
        while self.more_in_table && self.kept < KEPT {
            match self.store.pending_events(self.read_up_to, 1_000) {
                Ok(events) => {
                    self.more_in_table = events.len() == 1_000;
                    for event in events {
                        self.take_in(event);
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "cannot read the waiting events");
                    return;
                }
            }
        }
    }

    fn take_in(&mut self, event: PendingEvent) {
        // A retried dead letter comes with an old id; everything else comes in order, and once.
        let is_new = event.event > self.read_up_to;
        if is_new
            && (self.kept >= KEPT || (self.more_in_table && self.read_up_to.0 + 1 != event.event.0))
        {
            self.more_in_table = true;
            return;
        }
        self.read_up_to = self.read_up_to.max(event.event);
        let waiting = self.lanes.entry(event.instance).or_default();
        if !is_new && waiting.events.iter().any(|known| known.event == event.event) {
            return;
        }
        self.kept += 1;
        let position = waiting.events.partition_point(|known| known.event < event.event);
        // A busy lane keeps its head, which is with a worker.
        let position = if waiting.busy { position.max(1) } else { position };
        waiting.events.insert(position, event);
        if position == 0 && !waiting.busy {
            self.line_up(event.instance);
        }
    }

    /// Puts an idle instance where its head belongs: among the runnable, or under its time.
    fn line_up(&mut self, instance: InstanceId) {
        let Some(waiting) = self.lanes.get_mut(&instance) else { return };
        match waiting.events.front() {
            None => {
                self.lanes.remove(&instance);
            }
            Some(head) if head.due_at <= self.store.clock().now().as_millisecond() => {
                self.runnable.push_back(instance);
            }
            Some(head) => {
                self.timed.insert((head.due_at, head.event), instance);
            }
        }
    }

    fn wake_timed(&mut self) {
        let now = self.store.clock().now().as_millisecond();
        while let Some(entry) = self.timed.first_entry() {
            if entry.key().0 > now {
                break;
            }
            self.runnable.push_back(entry.remove());
        }
    }

    fn hand_out(&mut self) {
        let mut handed = 0;
        while self.in_flight < IN_FLIGHT {
            let Some(instance) = self.runnable.pop_front() else { break };
            let Some(waiting) = self.lanes.get_mut(&instance) else { continue };
            let Some(head) = waiting.events.front().copied() else { continue };
            if waiting.busy {
                continue;
            }
            waiting.busy = true;
            self.in_flight += 1;
            self.jobs.queue.lock().unwrap_or_else(|p| p.into_inner()).0.push_back(head);
            handed += 1;
        }
        match handed {
            0 => {}
            1 => self.jobs.added.notify_one(),
            _ => self.jobs.added.notify_all(),
        }
    }

    fn ended(&mut self, end: Ended) {
        self.in_flight -= 1;
        let instance = end.event.instance;
        let Some(waiting) = self.lanes.get_mut(&instance) else { return };
        waiting.busy = false;
        match end.next {
            Next::Done => {
                waiting.events.pop_front();
                self.kept -= 1;
            }
            Next::Again(at) => {
                if let Some(head) = waiting.events.front_mut() {
                    head.due_at = at.as_millisecond();
                }
            }
        }
        self.line_up(instance);
    }
}

struct Worker {
    store: Store,
    registry: Arc<Registry>,
    retries: RetryPolicy,
    jobs: Arc<Jobs>,
    ended: mpsc::Sender<Ended>,
}

impl Worker {
    fn run(self) {
        loop {
            let event = {
                let mut queue = self.jobs.queue.lock().unwrap_or_else(|p| p.into_inner());
                loop {
                    if let Some(event) = queue.0.pop_front() {
                        break event;
                    }
                    if queue.1 {
                        return;
                    }
                    queue = self.jobs.added.wait(queue).unwrap_or_else(|p| p.into_inner());
                }
            };
            self.handle(event);
        }
    }

    fn handle(&self, event: PendingEvent) {
        let started = Instant::now();
        let now = self.store.clock().now();
        let ran = self.store.with_event(event.event, |queued, history| {
            let waited = now.duration_since(queued.created_at);
            metrics::histogram!("event_wait_seconds", "kind" => queued.snapshot.event.kind())
                .record(waited.as_secs_f64().max(0.0));
            let registered = self.registry.get(queued.agent);
            let result: Result<Handled, HandlerError> = match registered {
                None => Err("this agent is no longer configured".into()),
                Some(registered) => {
                    let run = || {
                        registered.agent.handle(&registered.name, &queued.snapshot, history, now)
                    };
                    // A panic is a failed attempt, not the end of the thread.
                    std::panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
                        Err(format!("the handler panicked: {}", words_of(&*panic)).into())
                    })
                }
            };
            (queued.agent, queued.snapshot.version, queued.attempts, result)
        });
        metrics::histogram!("handler_seconds").record(started.elapsed().as_secs_f64());
        let ended = self.ended.clone();
        let end = move |next| {
            // The dispatcher outlives what is in flight; it is gone only when the process is.
            let _ = ended.blocking_send(Ended { event, next });
        };
        match ran {
            Ok(None) => end(Next::Done),
            Err(error) => {
                tracing::error!(event = %event.event, %error, "cannot load an event");
                end(Next::Again(super::timers::later(&self.store)));
            }
            Ok(Some((agent, version, attempts, Ok(handled)))) => {
                self.commit(event, agent, version, attempts, handled, end);
            }
            Ok(Some((agent, _, attempts, Err(error)))) => {
                fail(&self.store, self.retries, event, agent, attempts, error.to_string(), end);
            }
        }
    }

    fn commit(
        &self,
        event: PendingEvent,
        agent: AgentId,
        version: i64,
        attempts: u32,
        handled: Handled,
        end: impl FnOnce(Next) + Send + 'static,
    ) {
        let (store, retries) = (self.store.clone(), self.retries);
        let done = move |outcome: Result<HandleOutcome>| match outcome {
            Ok(HandleOutcome::Committed | HandleOutcome::Gone) => end(Next::Done),
            Ok(HandleOutcome::Stale) => end(Next::Again(store.clock().now())),
            // The server is stopping: the event is in the table for the next start.
            Err(StoreError::Closed) => end(Next::Again(super::timers::later(&store))),
            Err(error) => {
                fail(&store, retries, event, agent, attempts, error.to_string(), end);
            }
        };
        self.store.commit_handled(event.event, agent, event.instance, version, handled, done);
    }
}

fn fail(
    store: &Store,
    retries: RetryPolicy,
    event: PendingEvent,
    agent: AgentId,
    attempts: u32,
    error: String,
    end: impl FnOnce(Next) + Send + 'static,
) {
    let next = retries.next(attempts + 1, store.clock().now(), random());
    let failure = next.map_or(Failure::Dead, Failure::RetryAt);
    match next {
        Some(at) => {
            tracing::warn!(event = %event.event, %agent, error, %at, "a handler failed; trying again")
        }
        None => {
            tracing::error!(event = %event.event, %agent, error, "a handler failed; giving up, see the dead letters")
        }
    }
    metrics::counter!("handler_failures_total").increment(1);
    let later = super::timers::later(store);
    store.fail_event(event.event, error, failure, move |recorded| {
        end(match (recorded, next) {
            (Ok(()), Some(at)) => Next::Again(at),
            (Ok(()), None) => Next::Done,
            (Err(_), _) => Next::Again(later),
        });
    });
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|words| (*words).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}

/// Jitter needs no secrecy, but without a generator a fixed value is still correct.
pub(super) fn random() -> u64 {
    getrandom::u64().unwrap_or(u64::MAX / 2)
}
