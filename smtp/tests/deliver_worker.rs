//! The worker between a spool and a transport, with virtual time.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use frontdesk_smtp::deliver::{
    Capture, Claimed, Claims, DataMark, DeliveryId, Error, MemorySpool, Options, Outcome, Priority,
    Room, Spool, State, Switch, Transport, VirtualClock, run,
};
use frontdesk_smtp::render::AddrSpec;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, Semaphore, oneshot};

const ONE: Room = Room { any: 1, bulk: 1 };
const TEN: Room = Room { any: 10, bulk: 10 };

fn start() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn after(seconds: i64) -> Timestamp {
    start() + SignedDuration::from_secs(seconds)
}

fn addr(text: &str) -> AddrSpec {
    AddrSpec::parse(text).unwrap()
}

fn push(spool: &MemorySpool, text: &str) -> DeliveryId {
    let bytes = Bytes::from(format!("Subject: {text}\r\n\r\n{text}\r\n"));
    spool.push(addr("ann@there.example"), Some(addr("support+bx@desk.example")), bytes, start())
}

fn sent() -> Outcome {
    Outcome::Sent { response: "250 ok".to_owned() }
}

/// Counts what the spool is asked, can fail, and tells when something was settled.
struct Watched {
    inner: MemorySpool,
    claims: AtomicUsize,
    failing_claims: AtomicUsize,
    failing_settles: AtomicUsize,
    settled: Semaphore,
}

impl Watched {
    fn new() -> Self {
        Self {
            inner: MemorySpool::new(),
            claims: AtomicUsize::new(0),
            failing_claims: AtomicUsize::new(0),
            failing_settles: AtomicUsize::new(0),
            settled: Semaphore::new(0),
        }
    }

    async fn wait_settled(&self, count: u32) {
        self.settled.acquire_many(count).await.unwrap().forget();
    }
}

fn take(counter: &AtomicUsize) -> bool {
    counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
}

impl Spool for Watched {
    async fn claim(&self, now: Timestamp, room: Room) -> Result<Claims, Error> {
        self.claims.fetch_add(1, Ordering::SeqCst);
        if take(&self.failing_claims) {
            return Err(Error::Spool("down".into()));
        }
        self.inner.claim(now, room).await
    }

    async fn starting_data(&self, id: &DeliveryId) -> Result<(), Error> {
        self.inner.starting_data(id).await
    }

    async fn settle(&self, id: &DeliveryId, outcome: Outcome) -> Result<(), Error> {
        if take(&self.failing_settles) {
            return Err(Error::Spool("down".into()));
        }
        self.inner.settle(id, outcome).await?;
        self.settled.add_permits(1);
        Ok(())
    }

    async fn changed(&self) {
        self.inner.changed().await;
    }
}

/// Answers as scripted, in order; with nothing left it sends.
#[derive(Default)]
struct Scripted {
    answers: Mutex<HashMap<DeliveryId, Vec<Outcome>>>,
    tries: Mutex<Vec<(DeliveryId, u32, Timestamp)>>,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
    gate: Option<Arc<Semaphore>>,
    entered: Notify,
    panics: bool,
}

impl Transport for Scripted {
    async fn deliver<S: Spool>(
        &self,
        delivery: &Claimed,
        now: Timestamp,
        mark: &DataMark<'_, S>,
    ) -> Outcome {
        let running = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_under_way.fetch_max(running, Ordering::SeqCst);
        self.tries.lock().unwrap().push((delivery.id.clone(), delivery.attempts, now));
        self.entered.notify_one();
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        mark.starting_data().await.unwrap();
        assert!(!self.panics, "as told");
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        match answers.get_mut(&delivery.id) {
            Some(script) if !script.is_empty() => script.remove(0),
            _ => sent(),
        }
    }
}

struct Running {
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn begin<S: Spool, T: Transport>(
        spool: &Arc<S>,
        transport: &Arc<T>,
        clock: &Arc<VirtualClock>,
        concurrency: usize,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let options = Options { concurrency, ..Options::default() };
        let task = tokio::spawn(run(
            spool.clone(),
            transport.clone(),
            clock.clone(),
            options,
            async move {
                let _ = stopped.await;
            },
        ));
        Self { stop, task }
    }

    async fn end(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

#[tokio::test]
async fn every_outcome_is_recorded_as_it_was() {
    let spool = Arc::new(Watched::new());
    let clock = Arc::new(VirtualClock::new(start()));
    let outcomes = [
        sent(),
        Outcome::Bounced { status: Some("5.1.1".to_owned()), response: "550 no".to_owned() },
        Outcome::Failed { reason: "no MX".to_owned() },
        Outcome::Uncertain { reason: "lost after the dot".to_owned() },
    ];
    let transport = Scripted::default();
    let ids: Vec<DeliveryId> = outcomes
        .iter()
        .map(|outcome| {
            let id = push(&spool.inner, "x");
            transport.answers.lock().unwrap().insert(id.clone(), vec![outcome.clone()]);
            id
        })
        .collect();
    let worker = Running::begin(&spool, &Arc::new(transport), &clock, 4);
    spool.wait_settled(4).await;
    worker.end().await;
    for (id, outcome) in ids.iter().zip(outcomes) {
        assert_eq!(spool.inner.state(id), Some(State::Settled(outcome)));
    }
}

#[tokio::test]
async fn a_deferred_delivery_is_tried_again_when_due() {
    let spool = Arc::new(Watched::new());
    let clock = Arc::new(VirtualClock::new(start()));
    let transport = Arc::new(Scripted::default());
    let id = push(&spool.inner, "later");
    let deferred = Outcome::Deferred { until: after(300), reason: "451".to_owned() };
    transport.answers.lock().unwrap().insert(id.clone(), vec![deferred]);
    let worker = Running::begin(&spool, &transport, &clock, 4);
    spool.wait_settled(1).await;
    assert_eq!(spool.inner.state(&id), Some(State::Queued { due: after(300) }));
    clock.set(after(299));
    // Another delivery passes through, so the worker has looked at the clock and left this one.
    push(&spool.inner, "other");
    spool.wait_settled(1).await;
    assert_eq!(spool.inner.state(&id), Some(State::Queued { due: after(300) }));
    clock.set(after(300));
    spool.wait_settled(1).await;
    worker.end().await;
    assert_eq!(spool.inner.state(&id), Some(State::Settled(sent())));
    let tries = transport.tries.lock().unwrap();
    let own: Vec<_> = tries.iter().filter(|(tried, ..)| *tried == id).collect();
    assert_eq!(own, [&(id.clone(), 0, start()), &(id.clone(), 1, after(300))]);
}

#[tokio::test]
async fn no_more_than_the_slots_are_under_way() {
    let spool = Arc::new(Watched::new());
    let clock = Arc::new(VirtualClock::new(start()));
    let gate = Arc::new(Semaphore::new(0));
    let transport = Arc::new(Scripted { gate: Some(gate.clone()), ..Scripted::default() });
    for _ in 0..20 {
        push(&spool.inner, "x");
    }
    let worker = Running::begin(&spool, &transport, &clock, 3);
    gate.add_permits(20);
    spool.wait_settled(20).await;
    worker.end().await;
    assert!(transport.most_under_way.load(Ordering::SeqCst) <= 3);
    assert_eq!(transport.tries.lock().unwrap().len(), 20);
}

#[tokio::test]
async fn an_idle_worker_does_not_ask_the_spool() {
    let spool = Arc::new(Watched::new());
    let clock = Arc::new(VirtualClock::new(start()));
    let transport = Arc::new(Scripted::default());
    let worker = Running::begin(&spool, &transport, &clock, 4);
    push(&spool.inner, "one");
    spool.wait_settled(1).await;
    for second in 1..1000 {
        clock.set(after(second));
        tokio::task::yield_now().await;
    }
    worker.end().await;
    // The first, one for the push and one for the settling; notices may merge.
    assert!(spool.claims.load(Ordering::SeqCst) <= 4, "{:?}", spool.claims);
}

#[tokio::test]
async fn stopping_waits_for_what_is_under_way_and_starts_nothing_new() {
    let spool = Arc::new(Watched::new());
    let clock = Arc::new(VirtualClock::new(start()));
    let gate = Arc::new(Semaphore::new(0));
    let transport = Arc::new(Scripted { gate: Some(gate.clone()), ..Scripted::default() });
    let first = push(&spool.inner, "first");
    let second = push(&spool.inner, "second");
    let worker = Running::begin(&spool, &transport, &clock, 1);
    transport.entered.notified().await;
    worker.stop.send(()).unwrap();
    gate.add_permits(2);
    worker.task.await.unwrap();
    assert_eq!(spool.inner.state(&first), Some(State::Settled(sent())));
    assert_eq!(spool.inner.state(&second), Some(State::Queued { due: start() }));
}

#[tokio::test]
async fn a_result_is_offered_again_while_the_spool_is_down() {
    let spool = Arc::new(Watched::new());
    spool.failing_settles.store(3, Ordering::SeqCst);
    spool.failing_claims.store(2, Ordering::SeqCst);
    let clock = Arc::new(VirtualClock::new(start()));
    let id = push(&spool.inner, "x");
    let worker = Running::begin(&spool, &Arc::new(Scripted::default()), &clock, 4);
    let mut seconds = 0;
    while spool.inner.state(&id) != Some(State::Settled(sent())) {
        seconds += 1;
        assert!(seconds < 10_000, "never settled");
        clock.set(after(seconds));
        tokio::task::yield_now().await;
    }
    worker.end().await;
}

#[tokio::test]
async fn a_transport_that_panics_leaves_an_uncertain_delivery_and_a_live_worker() {
    let spool = Arc::new(Watched::new());
    let clock = Arc::new(VirtualClock::new(start()));
    let id = push(&spool.inner, "x");
    let next = push(&spool.inner, "y");
    let transport = Arc::new(Scripted { panics: true, ..Scripted::default() });
    let worker = Running::begin(&spool, &transport, &clock, 1);
    spool.wait_settled(2).await;
    worker.end().await;
    for id in [id, next] {
        let state = spool.inner.state(&id);
        assert!(matches!(state, Some(State::Settled(Outcome::Uncertain { .. }))), "{state:?}");
    }
}

#[tokio::test]
async fn a_restart_requeues_before_the_mark_and_holds_after_it() {
    let spool = MemorySpool::new();
    let before = push(&spool, "before");
    let marked = push(&spool, "after");
    assert_eq!(spool.claim(start(), TEN).await.unwrap().deliveries.len(), 2);
    spool.starting_data(&marked).await.unwrap();
    spool.restart(after(9));
    assert_eq!(spool.state(&before), Some(State::Queued { due: after(9) }));
    let state = spool.state(&marked);
    assert!(matches!(state, Some(State::Settled(Outcome::Uncertain { .. }))), "{state:?}");
    assert!(spool.settle(&before, sent()).await.is_err(), "not held any more");
}

/// The folder inside for files that are not complete yet.
const UNFINISHED: &str = ".unfinished";

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != UNFINISHED)
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn captured_mail_is_what_a_peer_would_receive_with_its_envelope_in_front() {
    let home = tempfile::tempdir().unwrap();
    let capture = Arc::new(Capture::open(home.path().join("outgoing")).unwrap());
    let spool = Arc::new(Watched::new());
    let clock = Arc::new(VirtualClock::new(start()));
    let id = push(&spool.inner, "hello");
    let null =
        spool.inner.push(addr("b@there.example"), None, Bytes::from("A: b\r\n\r\nc\r\n"), start());
    let worker = Running::begin(&spool, &capture, &clock, 4);
    spool.wait_settled(2).await;
    worker.end().await;
    assert_eq!(files(capture.dir()), [format!("{id}.eml"), format!("{null}.eml")]);
    let read =
        |id: &DeliveryId| std::fs::read_to_string(capture.dir().join(format!("{id}.eml"))).unwrap();
    assert_eq!(
        read(&id),
        "Return-Path: <support+bx@desk.example>\r\nDelivered-To: ann@there.example\r\n\
         Subject: hello\r\n\r\nhello\r\n"
    );
    assert!(read(&null).starts_with("Return-Path: <>\r\n"));
}

#[tokio::test]
async fn a_crash_between_writing_and_settling_leaves_one_copy() {
    let home = tempfile::tempdir().unwrap();
    let spool = MemorySpool::new();
    let id = push(&spool, "once");
    for round in 0..3 {
        let capture = Capture::open(home.path()).unwrap();
        let claimed = spool.claim(after(round), ONE).await.unwrap().deliveries.remove(0);
        let mark = &DataMark::new(&spool, &claimed.id);
        let outcome = capture.deliver(&claimed, after(round), mark).await;
        assert!(matches!(outcome, Outcome::Sent { .. }), "{outcome:?}");
        // The process dies here.
        spool.restart(after(round));
    }
    assert_eq!(files(home.path()), [format!("{id}.eml")]);
}

#[tokio::test]
async fn an_unfinished_file_of_a_crash_is_removed_and_foreign_content_is_kept() {
    let home = tempfile::tempdir().unwrap();
    Capture::open(home.path()).unwrap();
    std::fs::write(home.path().join(UNFINISHED).join("1.0"), "half").unwrap();
    let capture = Capture::open(home.path()).unwrap();
    assert!(files(&home.path().join(UNFINISHED)).is_empty());

    let spool = MemorySpool::new();
    let id = push(&spool, "mine");
    std::fs::write(home.path().join(format!("{id}.eml")), "someone else's").unwrap();
    let claimed = spool.claim(start(), ONE).await.unwrap().deliveries.remove(0);
    let outcome = capture.deliver(&claimed, start(), &DataMark::new(&spool, &claimed.id)).await;
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    let kept = std::fs::read_to_string(home.path().join(format!("{id}.eml"))).unwrap();
    assert_eq!(kept, "someone else's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_writers_of_one_delivery_make_one_complete_file() {
    let home = tempfile::tempdir().unwrap();
    let capture = Arc::new(Capture::open(home.path()).unwrap());
    let spool = Arc::new(MemorySpool::new());
    let id = push(&spool, &"x".repeat(100_000));
    let claimed = spool.claim(start(), ONE).await.unwrap().deliveries.remove(0);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (capture, spool, claimed) = (capture.clone(), spool.clone(), claimed.clone());
        tasks.spawn(async move {
            capture.deliver(&claimed, start(), &DataMark::new(&*spool, &claimed.id)).await
        });
    }
    while let Some(outcome) = tasks.join_next().await {
        assert!(matches!(outcome.unwrap(), Outcome::Sent { .. }));
    }
    assert_eq!(files(home.path()), [format!("{id}.eml")]);
    assert!(files(&home.path().join(UNFINISHED)).is_empty());
    let content = std::fs::read(home.path().join(format!("{id}.eml"))).unwrap();
    assert!(content.ends_with(&claimed.bytes));
}

#[tokio::test]
async fn a_folder_that_vanished_defers_and_does_not_lose() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("outgoing");
    let capture = Capture::open(&dir).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    let spool = MemorySpool::new();
    push(&spool, "x");
    let claimed = spool.claim(start(), ONE).await.unwrap().deliveries.remove(0);
    let outcome = capture.deliver(&claimed, start(), &DataMark::new(&spool, &claimed.id)).await;
    assert!(
        matches!(outcome, Outcome::Deferred { until, .. } if until == after(60)),
        "{outcome:?}"
    );
}

#[test]
fn delivery_ids_cannot_name_other_files() {
    for bad in ["", ".", "..", "a/b", "../x", "a.b", "a\0", "é", &"x".repeat(65)] {
        assert!(DeliveryId::new(bad).is_err(), "{bad:?}");
    }
    assert_eq!(DeliveryId::new("0192-ab_C").unwrap().as_str(), "0192-ab_C");
}

#[tokio::test]
async fn an_answer_does_not_wait_for_bulk_mail() {
    let spool = Arc::new(Watched::new());
    let clock = Arc::new(VirtualClock::new(start()));
    let gate = Arc::new(Semaphore::new(0));
    let transport = Arc::new(Scripted { gate: Some(gate.clone()), ..Scripted::default() });
    let bulk: Vec<DeliveryId> = (0..20)
        .map(|_| {
            let bytes = Bytes::from("A: b\r\n\r\nc\r\n");
            spool.inner.push_as(Priority::Bulk, addr("b@there.example"), None, bytes, start())
        })
        .collect();
    let (_stop, stopped) = oneshot::channel::<()>();
    let options = Options { concurrency: 3, bulk: 2, ..Options::default() };
    let worker =
        tokio::spawn(run(spool.clone(), transport.clone(), clock.clone(), options, async move {
            let _ = stopped.await;
        }));
    while transport.under_way.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    // All bulk places are taken by mails that do not end; the answer goes through beside them.
    let answer = push(&spool.inner, "answer");
    while transport.under_way.load(Ordering::SeqCst) < 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(spool.inner.state(&answer), Some(State::Sending));
    let waiting =
        bulk.iter().filter(|id| matches!(spool.inner.state(id), Some(State::Queued { .. })));
    assert_eq!(waiting.count(), 18);
    gate.add_permits(21);
    spool.wait_settled(21).await;
    assert!(transport.most_under_way.load(Ordering::SeqCst) <= 3);
    worker.abort();
}

#[tokio::test]
async fn the_switch_holds_everything_before_its_mark_and_releases_it() {
    let spool = Arc::new(Watched::new());
    let clock = Arc::new(VirtualClock::new(start()));
    let gate = Arc::new(Semaphore::new(0));
    let transport = Arc::new(Scripted { gate: Some(gate.clone()), ..Scripted::default() });
    let switch = Switch::default();
    let under_way = push(&spool.inner, "under way");
    let (_stop, stopped) = oneshot::channel::<()>();
    let options = Options { switch: switch.clone(), ..Options::default() };
    let worker =
        tokio::spawn(run(spool.clone(), transport.clone(), clock.clone(), options, async move {
            let _ = stopped.await;
        }));
    transport.entered.notified().await;
    switch.hold();
    spool.wait_settled(1).await;
    assert_eq!(spool.inner.state(&under_way), Some(State::Queued { due: start() }));
    let later = push(&spool.inner, "later");
    for second in 1..100 {
        clock.set(after(second));
        tokio::task::yield_now().await;
    }
    assert_eq!(spool.inner.state(&later), Some(State::Queued { due: start() }));
    assert_eq!(transport.tries.lock().unwrap().len(), 1, "nothing was tried while held");
    switch.release();
    gate.add_permits(2);
    spool.wait_settled(2).await;
    assert_eq!(spool.inner.state(&under_way), Some(State::Settled(sent())));
    assert_eq!(spool.inner.state(&later), Some(State::Settled(sent())));
    worker.abort();
}

#[tokio::test]
async fn nothing_passes_the_mark_while_sending_is_held_and_what_has_passed_is_finished() {
    /// Holds the switch at a moment of the delivery, then goes on as if nothing had happened.
    struct Holding {
        switch: Switch,
        before_the_mark: bool,
    }
    impl Transport for Holding {
        async fn deliver<S: Spool>(
            &self,
            _delivery: &Claimed,
            _now: Timestamp,
            mark: &DataMark<'_, S>,
        ) -> Outcome {
            if self.before_the_mark {
                self.switch.hold();
            }
            if let Err(error) = mark.starting_data().await {
                return Outcome::Deferred { until: after(9), reason: error.to_string() };
            }
            self.switch.hold();
            tokio::task::yield_now().await;
            sent()
        }
    }
    for before_the_mark in [true, false] {
        let spool = Arc::new(Watched::new());
        let clock = Arc::new(VirtualClock::new(start()));
        let switch = Switch::default();
        let id = push(&spool.inner, "x");
        let transport = Arc::new(Holding { switch: switch.clone(), before_the_mark });
        let (_stop, stopped) = oneshot::channel::<()>();
        let options = Options { switch, ..Options::default() };
        let worker = tokio::spawn(run(spool.clone(), transport, clock, options, async move {
            let _ = stopped.await;
        }));
        spool.wait_settled(1).await;
        let expected =
            if before_the_mark { State::Queued { due: after(9) } } else { State::Settled(sent()) };
        assert_eq!(spool.inner.state(&id), Some(expected));
        worker.abort();
    }
}
