//! `bench agents`: the store and the runtime alone, without SMTP.

use super::{Budget, Report, grow, machine, mails::Random, mb, stats::Samples};
use crate::{
    Frontdesk,
    config::{AgentConfig, Config},
};
use anyhow::{Context as _, ensure};
use frontdesk_agents::{
    Agent, AgentId, Context, HandlerError, Mail, Runtime, RuntimeConfig, Store, SystemClock,
    Verdict,
    admission::InstancePolicy,
    agent::{AgentMessage, Due},
    gate::Approval,
    mail::{AddressRoute, Arrival, ArrivalRecipient},
    runtime::{BoxedAgent, Registry},
    schedule::When,
    store::{Accepted, AgentRules, Rules},
};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::HashMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// What to measure, and how hard.
#[derive(Debug, Clone)]
pub struct AgentsOptions {
    /// How long the load with a fixed rate lasts.
    pub seconds: u64,
    /// Events a second of that load.
    pub rate: f64,
    /// Events of the load at full speed.
    pub events: usize,
    /// Sleeping instances.
    pub instances: usize,
    /// Schedules that fire.
    pub timers: usize,
    /// Octets of the database that a start is timed with.
    pub database: u64,
    /// A folder on the disk to measure; the system's folder for temporary files without.
    pub dir: Option<PathBuf>,
}

impl Default for AgentsOptions {
    fn default() -> Self {
        Self {
            seconds: 10,
            rate: 1000.0,
            events: 50_000,
            instances: 1_000_000,
            timers: 10_000,
            database: 2_000_000_000,
            dir: None,
        }
    }
}

/// Events that one handler's run makes in the load at full speed.
const FAN: usize = 100;

/// Instances that share the schedules.
const TIMER_INSTANCES: usize = 50;

/// Arrivals that wait for their commit at the same time in the load at full speed.
const IN_FLIGHT: usize = 64;

/// How long work that was accepted may take to be finished before the run counts as failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// A crash can leave at most about this much write-ahead log: beyond it the writer restarts the log.
const LARGEST_LOG: u64 = 256_000_000;

impl AgentsOptions {
    /// Measures. `progress` is told what comes next.
    pub async fn run(self, progress: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Report> {
        let place = super::place(self.dir.as_deref())?;
        let mut report = Report::new("agents");
        machine::describe(&mut report, place.path())?;
        report.condition("agent", "does nothing; events are committed with synchronous FULL");
        let dir = place.path();
        progress("events at full speed");
        self.full_speed(&dir.join("full"), &mut report).await?;
        progress("schedules");
        self.timers(&dir.join("timers"), &mut report).await?;
        progress(&format!("{} sleeping instances", self.instances));
        self.sleepers(&dir.join("sleep"), &mut report).await?;
        progress(&format!("growing a database of {:.0} MB", mb(self.database)));
        self.starts(&dir.join("large"), &mut report).await?;
        report.condition("load after", machine::load());
        Ok(report)
    }

    async fn full_speed(&self, dir: &Path, report: &mut Report) -> anyhow::Result<()> {
        let engine = Engine::start(dir).await?;
        // The instances come to be before the clock runs.
        engine.accept(0, "fan").await?;
        engine.heard.wait_for_messages(FAN).await?;

        let rounds = self.events.div_ceil(FAN);
        let processor = machine::process_time();
        let started = Instant::now();
        for number in 1..=rounds {
            engine.accept(number, "fan").await?;
        }
        engine.heard.wait_for_messages(FAN * (rounds + 1)).await?;
        engine.drained().await?;
        let count = FAN * rounds;
        let elapsed = started.elapsed().as_secs_f64();
        let processor = machine::process_time().saturating_sub(processor);
        report.line(
            format!("events told, handled and committed ({count}, {FAN} instances)"),
            count as f64 / elapsed,
            "events/s",
        );
        report.line("processor time", processor.as_secs_f64() * 1e6 / count as f64, "us/event");

        let first = rounds + 1;
        let mails = self.events / 4;
        let engine = Arc::new(engine);
        let next = Arc::new(AtomicUsize::new(first));
        let started = Instant::now();
        let mut senders = tokio::task::JoinSet::new();
        for _ in 0..IN_FLIGHT {
            let (engine, next) = (engine.clone(), next.clone());
            senders.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= first + mails {
                        return anyhow::Ok(());
                    }
                    engine.accept(number, "mail").await?;
                }
            });
        }
        while let Some(sender) = senders.join_next().await {
            sender??;
        }
        engine.heard.wait_for_mails(first + mails).await?;
        engine.drained().await?;
        report.line(
            format!("mails stored and handled, no SMTP ({mails}, {IN_FLIGHT} at a time)"),
            mails as f64 / started.elapsed().as_secs_f64(),
            "mails/s",
        );
        Arc::try_unwrap(engine).map_err(|_| anyhow::anyhow!("a sender is left"))?.stop().await;
        Ok(())
    }

    async fn timers(&self, dir: &Path, report: &mut Report) -> anyhow::Result<()> {
        let engine = Engine::start(dir).await?;
        engine.accept(0, "schedules").await?;
        // The first schedule is due after everything is stored: see `Noting::on_message`.
        let share = self.timers.div_ceil(TIMER_INSTANCES);
        let total = share * TIMER_INSTANCES;
        engine.accept(1, &format!("schedule {share}")).await?;
        engine.heard.wait_for_schedules(total).await?;
        engine.drained().await?;
        let late = std::mem::take(&mut engine.heard.lock().late);
        let [p50, p99, worst] = late.millis([50.0, 99.0, 100.0]);
        report.line(format!("schedules, 1000 due a second ({total}): late, p50"), p50, "ms");
        report.line("schedules, 1000 due a second: late, p99", p99, "ms");
        report.line("schedules, 1000 due a second: late, worst", worst, "ms");
        engine.stop().await;
        Ok(())
    }

    async fn sleepers(&self, dir: &Path, report: &mut Report) -> anyhow::Result<()> {
        let engine = Engine::start(dir).await?;
        engine.accept(0, "mail").await?;
        engine.heard.wait_for_mails(1).await?;
        let agent = engine.agent;
        let (without, _) = machine::memory();
        engine.stop().await;
        let (database, count) = (dir.join("frontdesk.db"), self.instances);
        tokio::task::spawn_blocking(move || grow::sleepers(&database, agent.0, count)).await??;
        let (before, _) = machine::memory();

        let engine = Engine::start(dir).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let (with, _) = machine::memory();
        // What the growing left in this process is not the sleepers'.
        let added = mb(with) - mb(without.max(before));
        report.judged(
            format!("{count} sleeping instances add"),
            added.max(0.0),
            "MB",
            // "None": less than what two page caches may hold by chance.
            Budget::AtMost(8.0),
        );

        let mut random = Random(1);
        let mut sent = tokio::task::JoinSet::new();
        let total = (self.rate * self.seconds as f64) as usize;
        let started = Instant::now();
        let engine = Arc::new(engine);
        for number in 0..total {
            let due = started + Duration::from_secs_f64(number as f64 / self.rate);
            tokio::time::sleep_until(due.into()).await;
            let person = 1 + random.next() % count as u64;
            let engine = engine.clone();
            sent.spawn(async move {
                let from = format!("person{person}@sleep.test");
                let arrival = arrival(&engine.store, engine.agent, number + 1, &from, "mail")?;
                let submitted = Instant::now();
                let message = stored(&engine.store.accept(arrival).await?)?;
                anyhow::Ok((message, submitted, Instant::now()))
            });
        }
        let mut times = Vec::with_capacity(total);
        while let Some(one) = sent.join_next().await {
            times.push(one??);
        }
        engine.heard.wait_for_mails(total).await?;
        let heard: HashMap<i64, Instant> = engine.heard.lock().mails.iter().copied().collect();
        let (mut wake, mut whole) = (Samples::default(), Samples::default());
        for (message, submitted, committed) in times {
            let handled = *heard.get(&message).context("a mail reached no handler")?;
            // Sometimes the handler runs before the one who waits for the commit.
            wake.add(handled.saturating_duration_since(committed));
            whole.add(handled.saturating_duration_since(submitted));
        }
        let rate = self.rate;
        let [p50, p99] = wake.millis([50.0, 99.0]);
        let name = |p: &str| format!("commit to handler, one of {count} asleep, {rate:.0}/s, {p}");
        report.judged(name("p50"), p50, "ms", Budget::AtMost(2.0));
        report.judged(name("p99"), p99, "ms", Budget::AtMost(1.0));
        let [p50, p99] = whole.millis([50.0, 99.0]);
        report.line("the same, commit included, p50", p50, "ms");
        report.line("the same, commit included, p99", p99, "ms");
        Arc::try_unwrap(engine).map_err(|_| anyhow::anyhow!("a sender is left"))?.stop().await;
        Ok(())
    }

    async fn starts(&self, dir: &Path, report: &mut Report) -> anyhow::Result<()> {
        let serve = || Frontdesk::new(quiet_config(dir)).serve();
        let running = serve().await?;
        let agent =
            running.desk.directory.by_name("hello").context("the default agent is there")?.id;
        running.stop().await;
        let database = dir.join("frontdesk.db");
        for part in [10, 1] {
            let (path, octets) = (database.clone(), self.database / part);
            tokio::task::spawn_blocking(move || grow::conversations(&path, agent.0, octets))
                .await??;
            grow::forget_cached(&database)?;
            let started = Instant::now();
            let running = serve().await?;
            report.judged(
                format!("start, {:.0} MB of mail, nothing cached", mb(database.metadata()?.len())),
                started.elapsed().as_secs_f64() * 1e3,
                "ms",
                Budget::AtMost(1000.0),
            );
            running.stop().await;
        }
        let log = LARGEST_LOG.min(self.database / 4);
        let path = database.clone();
        let log = tokio::task::spawn_blocking(move || grow::unfinished_log(&path, agent.0, log))
            .await??;
        grow::forget_cached(&database)?;
        grow::forget_cached(&database.with_extension("db-wal"))?;
        let started = Instant::now();
        let running = serve().await?;
        report.judged(
            format!("start after a crash, {:.0} MB of log to recover", mb(log)),
            started.elapsed().as_secs_f64() * 1e3,
            "ms",
            Budget::AtMost(1000.0),
        );
        running.stop().await;
        Ok(())
    }
}

fn quiet_config(dir: &Path) -> Config {
    let mut config = Config::default();
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    config.server.data = dir.to_owned();
    config.smtp.listen = vec![anywhere];
    config.http.listen = vec![anywhere];
    config.agents = vec![AgentConfig::hello(&config.mail.domains)];
    config
}

/// A store and a runtime with one agent.
struct Engine {
    store: Store,
    runtime: Runtime,
    agent: AgentId,
    heard: Arc<Heard>,
}

const AGENT: &str = "noting";

impl Engine {
    async fn start(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.to_owned();
        let store = tokio::task::spawn_blocking(move || Store::open(&path, Arc::new(SystemClock)))
            .await??;
        let names = vec![(AGENT.to_owned(), AGENT.to_owned())];
        let agent = store.register_agents(names).await?[0];
        let rules = AgentRules {
            name: AGENT.into(),
            instance: InstancePolicy::Contact,
            approval: Approval::None,
            runs: true,
            address: format!("{AGENT}@desk.test"),
            owner: None,
        };
        store.set_rules(Rules { agents: HashMap::from([(agent, rules)]), ..Rules::default() });
        let heard = Arc::new(Heard::default());
        let mut registry = Registry::default();
        registry.add(agent, AGENT, BoxedAgent::new(Noting(heard.clone())));
        let runtime = Runtime::start(store.clone(), registry, RuntimeConfig::default()).await?;
        Ok(Self { store, runtime, agent, heard })
    }

    /// Stores a mail whose subject says what the agent does with it.
    async fn accept(&self, number: usize, subject: &str) -> anyhow::Result<i64> {
        let from = format!("person{}@sender.test", number % 1000);
        let arrival = arrival(&self.store, self.agent, number, &from, subject)?;
        stored(&self.store.accept(arrival).await?)
    }

    /// Waits until the queue of events is empty, which is when the last one is committed.
    async fn drained(&self) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        while !self.store.pending_events(frontdesk_agents::EventId(0), 1)?.is_empty() {
            ensure!(Instant::now() < until, "events are left in the queue");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    async fn stop(self) {
        self.runtime.stop().await;
        self.store.close().await;
    }
}

fn stored(accepted: &[Accepted]) -> anyhow::Result<i64> {
    match accepted {
        [Accepted::Stored { message, .. }] => Ok(message.0),
        other => anyhow::bail!("a mail was not stored: {other:?}"),
    }
}

/// A short verified mail.
fn arrival(
    store: &Store,
    agent: AgentId,
    number: usize,
    from: &str,
    subject: &str,
) -> anyhow::Result<Arrival> {
    let text = format!("Request {number}.\r\n");
    let raw = store.stage(format!("From: {from}\r\n\r\n{text}").as_bytes())?;
    let address = format!("{AGENT}@desk.test");
    Ok(Arrival {
        received_at: Timestamp::now(),
        network: "127.0.0.0/24".into(),
        reverse_path: from.into(),
        from: from.into(),
        from_name: None,
        reply_to: None,
        to: vec![address.clone()],
        cc: Vec::new(),
        subject: subject.into(),
        message_id: Some(format!("{number}.bench@sender.test")),
        references: Vec::new(),
        verdict: Verdict::Verified,
        evidence: "{}".into(),
        envelope_proven: true,
        automatic: None,
        body_hash: raw.hash().0,
        prelude: String::new(),
        raw,
        attachments: Vec::new(),
        flags: Vec::new(),
        quarantine: None,
        recipients: vec![ArrivalRecipient {
            address: address.clone(),
            agent,
            answer_from: address,
            route: AddressRoute::Plain,
            own_references: Vec::new(),
            own_words: text.clone(),
            new_text: text,
            layers: None,
        }],
    })
}

/// What the agent noted.
#[derive(Default)]
struct Heard(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    mails: Vec<(i64, Instant)>,
    messages: usize,
    late: Samples,
}

impl Heard {
    fn lock(&self) -> std::sync::MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait_for_mails(&self, count: usize) -> anyhow::Result<()> {
        self.wait_for("mails", count, |noted| noted.mails.len()).await
    }

    async fn wait_for_messages(&self, count: usize) -> anyhow::Result<()> {
        self.wait_for("messages", count, |noted| noted.messages).await
    }

    async fn wait_for_schedules(&self, count: usize) -> anyhow::Result<()> {
        self.wait_for("schedules", count, |noted| noted.late.len()).await
    }

    async fn wait_for(
        &self,
        what: &str,
        count: usize,
        so_far: impl Fn(&Noted) -> usize,
    ) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let seen = so_far(&self.lock());
            if seen >= count {
                return Ok(());
            }
            ensure!(Instant::now() < until, "{seen} of {count} {what} reached their handler");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// An agent that notes the time, and makes events when a subject asks for them.
struct Noting(Arc<Heard>);

impl Agent for Noting {
    type State = ();

    fn on_email(&self, cx: &mut Context<'_, ()>, mail: &Mail) -> Result<(), HandlerError> {
        let now = Instant::now();
        self.0.lock().mails.push((mail.id.0, now));
        if mail.subject == "fan" {
            for number in 0..FAN {
                cx.tell(AGENT, format!("tag:{number}"), serde_json::Value::Null);
            }
        }
        if let Some(share) = mail.subject.strip_prefix("schedule ") {
            let share: usize = share.parse()?;
            // Late enough for all of them to be stored by then.
            let total = share * TIMER_INSTANCES;
            let delay = SignedDuration::from_millis(500 + i64::try_from(total / 5)?);
            let start = cx.now().checked_add(delay)?.as_millisecond();
            for number in 0..TIMER_INSTANCES {
                let body = serde_json::json!({ "start": start + number as i64, "share": share });
                cx.tell(AGENT, format!("tag:{number}"), body);
            }
        }
        Ok(())
    }

    fn on_message(
        &self,
        cx: &mut Context<'_, ()>,
        message: &AgentMessage,
    ) -> Result<(), HandlerError> {
        self.0.lock().messages += 1;
        let (Some(start), Some(share)) =
            (message.body["start"].as_i64(), message.body["share"].as_i64())
        else {
            return Ok(());
        };
        // Together the instances have one due every millisecond.
        for number in 0..share {
            let at = Timestamp::from_millisecond(start + number * TIMER_INSTANCES as i64)?;
            cx.schedule(format!("t{number}"), When::At { at }, serde_json::Value::Null);
        }
        Ok(())
    }

    fn on_schedule(&self, _cx: &mut Context<'_, ()>, due: &Due) -> Result<(), HandlerError> {
        let late = Timestamp::now().duration_since(due.due_at);
        self.0.lock().late.add(Duration::try_from(late).unwrap_or(Duration::ZERO));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_short_run_measures_everything_that_has_a_budget() {
        let options = AgentsOptions {
            seconds: 1,
            rate: 50.0,
            events: 400,
            instances: 500,
            timers: 100,
            database: 3_000_000,
            dir: None,
        };
        let report = options.run(&|_| {}).await.unwrap();
        let judged = report.lines.iter().filter(|line| line.met.is_some()).count();
        assert_eq!(judged, 6, "{report:#?}");
        assert!(report.lines.iter().all(|line| line.value.is_finite()), "{report:#?}");
    }
}
