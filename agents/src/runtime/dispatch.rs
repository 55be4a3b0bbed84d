//! One event at a time per instance, in order.
//!
//! A task keeps, for every instance with waiting events, their ids in order. The head of an idle
//! instance goes to a worker thread, which loads a snapshot, runs the handler and hands the effects to
//! the writer. The writer's answer comes back here and lets the next event of that instance go. Worker
//! threads never wait for a commit, so a few of them keep the writer's batches full.
//!
//! Memory is bounded: beyond `LANE_KEPT` ids of one instance and `KEPT` in all, the rest stays in
//! the table and is read when there is room. So a flood for one instance takes no room from others.

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

/// Of those, at most this many of one instance.
const LANE_KEPT: usize = 256;

/// Rows read from the table at a time, a fraction of a millisecond.
const CHUNK: usize = 1_000;

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
    pub(super) async fn join(mut self) {
        self.jobs.stop();
        let threads = std::mem::take(&mut self.threads);
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

impl Drop for Workers {
    /// A runtime that is dropped without being stopped leaves no threads behind that hold the store.
    fn drop(&mut self) {
        self.jobs.stop();
    }
}

impl Jobs {
    fn stop(&self) {
        self.queue.lock().unwrap_or_else(|p| p.into_inner()).1 = true;
        self.added.notify_all();
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
        cursor: EventId(0),
        more_in_table: true,
        read_again_at: None,
    };
    let task = tokio::spawn(dispatcher.run(wakes, ends, stopped));
    Ok((task, Workers { jobs, threads }))
}

/// The waiting events of one instance.
#[derive(Default)]
struct Waiting {
    /// In the order of their ids.
    events: VecDeque<PendingEvent>,
    /// The one that is with a worker.
    running: Option<PendingEvent>,
    /// The table may hold events of this instance that are not kept here.
    more: bool,
    /// Among the runnable.
    runnable: bool,
    /// Under this key among the timed.
    timed: Option<(i64, EventId)>,
}

impl Waiting {
    fn insert(&mut self, event: PendingEvent) -> bool {
        match self.events.binary_search_by_key(&event.event, |known| known.event) {
            Ok(_) => false,
            Err(position) => {
                self.events.insert(position, event);
                true
            }
        }
    }
}

struct Dispatcher {
    store: Store,
    jobs: Arc<Jobs>,
    lanes: HashMap<InstanceId, Waiting>,
    /// Instances whose head is due later, by when.
    timed: BTreeMap<(i64, EventId), InstanceId>,
    runnable: VecDeque<InstanceId>,
    /// Events in all lanes, those with workers included.
    kept: usize,
    in_flight: usize,
    /// Every waiting event up to this id is in a lane, or its lane knows that there are more.
    cursor: EventId,
    /// Whether events above `cursor` may be in the table that no wake will mention again.
    more_in_table: bool,
    /// Not before this time, after a failed read.
    read_again_at: Option<Timestamp>,
}

impl Dispatcher {
    async fn run(
        mut self,
        mut wakes: broadcast::Receiver<Wake>,
        mut ends: mpsc::Receiver<Ended>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let clock = self.store.clock().clone();
        loop {
            self.read_table();
            self.wake_timed();
            self.hand_out();
            let next_due = self.next_due();
            let due = async {
                match next_due {
                    Some(at) => clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = super::stopped(&mut stopped) => break,
                Some(end) = ends.recv() => {
                    self.ended(end);
                    // What is here already comes along in the same round.
                    while let Ok(end) = ends.try_recv() {
                        self.ended(end);
                    }
                }
                wake = wakes.recv() => {
                    let mut wake = wake.map_err(Some);
                    loop {
                        match wake {
                            Ok(Wake::Event(event)) => self.heard_of(event),
                            Ok(_) => {}
                            Err(Some(broadcast::error::RecvError::Lagged(_))) => self.missed_wakes(),
                            Err(Some(broadcast::error::RecvError::Closed)) => return,
                            Err(None) => break,
                        }
                        wake = wakes.try_recv().map_err(|error| match error {
                            broadcast::error::TryRecvError::Empty => None,
                            broadcast::error::TryRecvError::Closed => {
                                Some(broadcast::error::RecvError::Closed)
                            }
                            broadcast::error::TryRecvError::Lagged(n) => {
                                Some(broadcast::error::RecvError::Lagged(n))
                            }
                        });
                    }
                }
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

    /// When the loop must go round although nothing happened.
    fn next_due(&self) -> Option<Timestamp> {
        let timed = self
            .timed
            .first_key_value()
            .map(|((at, _), _)| Timestamp::from_millisecond(*at).unwrap_or(Timestamp::MAX));
        let read = (self.more_in_table && self.kept < KEPT)
            .then(|| self.read_again_at.unwrap_or(Timestamp::UNIX_EPOCH));
        [timed, read].into_iter().flatten().min()
    }

    /// Reads waiting events that no wake told of, a chunk at a time: at the start, after a lag, and after
    /// memory was full.
    fn read_table(&mut self) {
        let too_soon = self.read_again_at.is_some_and(|at| at > self.store.clock().now());
        if !self.more_in_table || self.kept >= KEPT || too_soon {
            return;
        }
        self.read_again_at = None;
        match self.store.pending_events(self.cursor, CHUNK) {
            Ok(events) => {
                self.more_in_table = events.len() == CHUNK;
                for event in events {
                    self.cursor = event.event;
                    self.take_in(event);
                }
            }
            Err(error) => {
                tracing::error!(%error, "cannot read the waiting events; trying again in a moment");
                self.read_again_at = Some(super::timers::later(&self.store));
            }
        }
    }

    /// Wakes were lost, perhaps that of an old event that was given new attempts: look at everything.
    fn missed_wakes(&mut self) {
        self.more_in_table = true;
        self.cursor = EventId(0);
    }

    fn heard_of(&mut self, event: PendingEvent) {
        // A dead letter that was given new attempts comes with an old id; everything else in order.
        if event.event > self.cursor {
            if self.more_in_table || self.kept >= KEPT {
                // The table is read in order, and this one when its turn comes.
                self.more_in_table = true;
                return;
            }
            self.cursor = event.event;
        }
        self.take_in(event);
    }

    fn take_in(&mut self, event: PendingEvent) {
        let waiting = self.lanes.entry(event.instance).or_default();
        if waiting.running.is_some_and(|running| running.event == event.event) {
            // Perhaps told of twice, perhaps dead and alive again since: the table knows.
            waiting.more = true;
            return;
        }
        let is_last = waiting.events.back().is_none_or(|last| last.event < event.event);
        if is_last && (waiting.more || waiting.events.len() >= LANE_KEPT) {
            waiting.more = true;
            return;
        }
        if waiting.insert(event) {
            self.kept += 1;
            self.line_up(event.instance);
        }
    }

    /// Puts an instance where its head belongs: among the runnable, or under its time.
    fn line_up(&mut self, instance: InstanceId) {
        let now = self.store.clock().now();
        let Some(waiting) = self.lanes.get_mut(&instance) else { return };
        if waiting.running.is_some() {
            return;
        }
        if let Some(key) = waiting.timed.take() {
            self.timed.remove(&key);
        }
        let mut head = waiting.events.front().map(|head| (head.due_at, head.event));
        if head.is_none() && waiting.more {
            match self.store.pending_events_of(instance, LANE_KEPT) {
                Ok(events) => {
                    waiting.more = events.len() == LANE_KEPT;
                    self.kept += events.len();
                    waiting.events = events.into();
                    head = waiting.events.front().map(|head| (head.due_at, head.event));
                }
                Err(error) => {
                    tracing::error!(%error, "cannot read an instance's events; trying again in a moment");
                    // Keyed so that two instances never share a key: events have positive ids.
                    let later = super::timers::later(&self.store).as_millisecond();
                    head = Some((later, EventId(-instance.0)));
                }
            }
        }
        match head {
            None => {
                self.lanes.remove(&instance);
            }
            Some((due_at, _)) if due_at <= now.as_millisecond() => {
                if !waiting.runnable {
                    waiting.runnable = true;
                    self.runnable.push_back(instance);
                }
            }
            Some(key) => {
                waiting.timed = Some(key);
                self.timed.insert(key, instance);
            }
        }
    }

    fn wake_timed(&mut self) {
        let now = self.store.clock().now().as_millisecond();
        while let Some(entry) = self.timed.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let instance = entry.remove();
            if let Some(waiting) = self.lanes.get_mut(&instance) {
                waiting.timed = None;
            }
            self.line_up(instance);
        }
    }

    fn hand_out(&mut self) {
        let now = self.store.clock().now().as_millisecond();
        let mut handed = 0;
        while self.in_flight < IN_FLIGHT {
            let Some(instance) = self.runnable.pop_front() else { break };
            let Some(waiting) = self.lanes.get_mut(&instance) else { continue };
            waiting.runnable = false;
            // Its head may have changed since it was lined up.
            let is_due = waiting.events.front().is_some_and(|head| head.due_at <= now);
            if waiting.running.is_some() || !is_due {
                self.line_up(instance);
                continue;
            }
            let Some(head) = waiting.events.pop_front() else { continue };
            waiting.running = Some(head);
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
        waiting.running = None;
        let back = match end.next {
            Next::Done => None,
            Next::Again(at) => Some(PendingEvent { due_at: at.as_millisecond(), ..end.event }),
        };
        if back.is_none_or(|event| !waiting.insert(event)) {
            self.kept -= 1;
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
            // Never full, and not waited for: this runs on the writer's thread as well. The dispatcher is
            // gone only after what was in flight is.
            let _ = ended.try_send(Ended { event, next });
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
            // Not the handler's doing, so it costs no attempt. If the server is stopping, the event is in the
            // table for the next start.
            Err(StoreError::Closed | StoreError::DiskFull | StoreError::Io { .. }) => {
                end(Next::Again(super::timers::later(&store)));
            }
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

pub(super) fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
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
