//! `bench smtp`: the whole server on loopback, from the first octet to the captured answer.

use super::{
    Budget, Report,
    client::{self, Plan, Sent},
    dns::NameServer,
    grow, machine,
    mails::{Ready, SenderDomain},
    mb,
    stats::Samples,
};
use crate::{
    Frontdesk, Running,
    config::{AgentConfig, Config, RECEPTIONIST},
};
use anyhow::{Context as _, ensure};
use frontdesk_agents::{
    Agent, Context, HandlerError, Mail, admission::InstancePolicy, gate::Approval,
};
use std::{
    collections::HashMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What to measure, and how hard.
#[derive(Debug, Clone)]
pub struct SmtpOptions {
    /// How long each load lasts.
    pub seconds: u64,
    pub connections: usize,
    /// Messages a second of the load with a fixed rate.
    pub rate: f64,
    /// Octets of a message.
    pub size: usize,
    /// Messages signed beforehand for the load at full speed. It ends when they are used up.
    pub messages: usize,
    /// People who write, in turn.
    pub correspondents: usize,
    /// Mails to be answered.
    pub answers: usize,
    /// Octets of the large message.
    pub large: usize,
    /// A folder on the disk to measure; the system's folder for temporary files without.
    pub dir: Option<PathBuf>,
}

impl Default for SmtpOptions {
    fn default() -> Self {
        Self {
            seconds: 10,
            connections: 32,
            rate: 1000.0,
            size: 10 * 1024,
            messages: 40_000,
            correspondents: 1000,
            answers: 6_000,
            large: 25_000_000,
            dir: None,
        }
    }
}

/// Messages sent before a clock runs: they fill the DNS cache and the page caches.
const WARM_UP: usize = 200;

/// How long work that was accepted may take to be finished before the run counts as failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// The kind of agent that does nothing.
const NO_OP: &str = "bench";

impl SmtpOptions {
    /// Measures. `progress` is told what comes next.
    pub async fn run(self, progress: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Report> {
        let place = super::place(self.dir.as_deref())?;
        let mut report = Report::new("smtp");
        machine::describe(&mut report, place.path())?;
        let sender = tokio::task::spawn_blocking(SenderDomain::new).await??;
        let bench = Bench {
            dns: NameServer::start(sender.zone()?).await?,
            dir: place.path().to_owned(),
            options: self,
        };
        let options = &bench.options;
        report.condition(
            "messages",
            format!(
                "{} octets, RSA-2048 DKIM, SPF and DMARC pass, {} authors, warm DNS",
                options.size, options.correspondents
            ),
        );
        report.condition(
            "load",
            format!("{} connections, a thread of its own, same cores", options.connections),
        );

        progress("starting, and one large message");
        bench.memory(&sender, &mut report).await?;
        let fixed = (options.rate * options.seconds as f64) as usize;
        let pool = WARM_UP + options.messages.max(fixed).max(options.answers);
        progress(&format!("signing {pool} messages"));
        let (size, correspondents) = (options.size, options.correspondents);
        let mails = tokio::task::spawn_blocking(move || sender.mails(pool, size, correspondents));
        let mails = Arc::new(mails.await??);
        progress("full speed");
        bench.full_speed(&mails, &mut report).await?;
        progress(&format!("{} messages a second", options.rate));
        bench.fixed_rate(&mails, fixed, &mut report).await?;
        progress("answers");
        bench.answers(&mails, &mut report).await?;
        report.condition("load after", machine::load());
        Ok(report)
    }
}

struct Bench {
    options: SmtpOptions,
    dns: NameServer,
    dir: PathBuf,
}

impl Bench {
    async fn memory(&self, sender: &SenderDomain, report: &mut Report) -> anyhow::Result<()> {
        let started = Instant::now();
        let (running, _) = self.serve("memory", NO_OP).await?;
        report.line("start with an empty folder", started.elapsed().as_secs_f64() * 1e3, "ms");
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (idle, _) = machine::memory();
        report.judged("memory, idle", mb(idle), "MB", Budget::AtMost(60.0));

        let warm = Arc::new(sender.mails(32, self.options.size, 32)?);
        let plan = Plan { connections: 4, rate: None, limit: PATIENCE };
        client::send(running.smtp[0], warm, 0..32, plan).await?;
        let large = Arc::new(vec![sender.large(self.options.large)?]);
        machine::forget_peak().context("reset the peak of memory")?;
        let (before, _) = machine::memory();
        let plan = Plan { connections: 1, rate: None, limit: PATIENCE };
        client::send(running.smtp[0], large, 0..1, plan).await?;
        let (_, peak) = machine::memory();
        report.judged(
            format!("a message of {:.0} MB adds", mb(self.options.large as u64)),
            mb(peak.saturating_sub(before)),
            "MB",
            Budget::AtMost(60.0),
        );
        running.stop().await;
        Ok(())
    }

    async fn full_speed(&self, mails: &Arc<Vec<Ready>>, report: &mut Report) -> anyhow::Result<()> {
        let (running, heard) = self.serve("full", NO_OP).await?;
        let server = running.smtp[0];
        let database = self.dir.join("full/frontdesk.db");
        let plan = self.plan(None);
        self.warm_up(server, mails).await?;

        let log = Arc::new(LogWatch::start(&database));
        let range = WARM_UP..WARM_UP + self.options.messages;
        let processor = machine::process_time();
        let sent = client::send(server, mails.clone(), range, plan).await?;
        let processor = machine::process_time().saturating_sub(processor);
        let count = sent.accepted.len();
        let rate = count as f64 / sent.elapsed.as_secs_f64();
        report.judged(
            format!("durable accepts at full speed ({count} messages)"),
            rate,
            "msg/s",
            Budget::AtLeast(3000.0),
        );
        let micros = |time: Duration| time.as_secs_f64() * 1e6 / count.max(1) as f64;
        let server_time = processor.saturating_sub(sent.processor);
        report.line("processor time of the server", micros(server_time), "us/msg");
        report.line("processor time of the load generator", micros(sent.processor), "us/msg");
        let [p50, p99] = sent.dot_to_250.millis([50.0, 99.0]);
        report.line("final dot to 250 at full speed, p50", p50, "ms");
        report.line("final dot to 250 at full speed, p99", p99, "ms");
        let ended = Instant::now();
        heard.wait_for(WARM_UP + count).await?;
        report.line(
            "last 250 to last on_email at full speed",
            ended.elapsed().as_secs_f64() * 1e3,
            "ms",
        );
        running.desk.store.settle().await?;
        report.line("last 250 to search index complete", ended.elapsed().as_secs_f64() * 1e3, "ms");
        report.line("largest write-ahead log", mb(log.largest()), "MB");
        let stored = grow::verified_mails(&database)?;
        ensure!(
            stored == WARM_UP + count,
            "{stored} verified mails are stored of {count} accepted"
        );
        report.condition("database", grow::settings(&database)?);
        running.stop().await;

        let size = database.metadata()?.len();
        let started = Instant::now();
        let (running, _) = self.serve("full", NO_OP).await?;
        report.judged(
            format!("start with {:.0} MB of mail", mb(size)),
            started.elapsed().as_secs_f64() * 1e3,
            "ms",
            Budget::AtMost(1000.0),
        );
        running.stop().await;
        Ok(())
    }

    async fn fixed_rate(
        &self,
        mails: &Arc<Vec<Ready>>,
        count: usize,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let (running, heard) = self.serve("rate", NO_OP).await?;
        let server = running.smtp[0];
        self.warm_up(server, mails).await?;
        heard.wait_for(WARM_UP).await?;

        let lag = grow::LagWatch::start(&self.dir.join("rate/frontdesk.db"))?;
        let mut plan = self.plan(Some(self.options.rate));
        plan.limit += PATIENCE;
        let range = WARM_UP..WARM_UP + count;
        let Sent { dot_to_250, due_to_250, accepted, elapsed, .. } =
            client::send(server, mails.clone(), range, plan).await?;
        heard.wait_for(WARM_UP + count).await?;
        let lag = lag.stop()?;

        let rate = self.options.rate;
        report.line("rate reached", accepted.len() as f64 / elapsed.as_secs_f64(), "msg/s");
        let [p50, p99, p999, worst] = due_to_250.millis([50.0, 99.0, 99.9, 100.0]);
        let name = |what: &str, p: &str| format!("{what} at {rate:.0}/s, {p}");
        report.line(name("due to 250", "p50"), p50, "ms");
        report.judged(name("due to 250", "p99"), p99, "ms", Budget::AtMost(25.0));
        report.line(name("due to 250", "p99.9"), p999, "ms");
        report.line(name("due to 250", "worst"), worst, "ms");
        let [p50, p99, p999] = dot_to_250.millis([50.0, 99.0, 99.9]);
        report.line(name("final dot to 250", "p50"), p50, "ms");
        report.judged(name("final dot to 250", "p99"), p99, "ms", Budget::AtMost(25.0));
        report.line(name("final dot to 250", "p99.9"), p999, "ms");

        let when = heard.times();
        let mut wake = Samples::default();
        for (id, answered) in accepted {
            let handled = when.get(&id).context("a mail reached no handler")?;
            // Sometimes the handler runs before the sender has read its 250.
            wake.add(handled.saturating_duration_since(answered));
        }
        let [p50, p99] = wake.millis([50.0, 99.0]);
        report.judged(name("250 to on_email", "p50"), p50, "ms", Budget::AtMost(2.0));
        report.judged(name("250 to on_email", "p99"), p99, "ms", Budget::AtMost(20.0));
        let [p50, p99] = lag.millis([50.0, 99.0]);
        report.line(name("search index behind", "p50"), p50, "ms");
        report.line(name("search index behind", "p99"), p99, "ms");
        running.stop().await;
        Ok(())
    }

    async fn answers(&self, mails: &Arc<Vec<Ready>>, report: &mut Report) -> anyhow::Result<()> {
        let (running, _) = self.serve("answers", RECEPTIONIST).await?;
        let server = running.smtp[0];
        let database = self.dir.join("answers/frontdesk.db");
        // The warm-up also makes the keys that answers are signed with.
        self.warm_up(server, mails).await?;
        captured(&database, WARM_UP).await?;

        let count = self.options.answers;
        let processor = machine::process_time();
        let started = Instant::now();
        let mut plan = self.plan(None);
        plan.limit = PATIENCE;
        let sent = client::send(server, mails.clone(), WARM_UP..WARM_UP + count, plan).await?;
        captured(&database, WARM_UP + count).await?;
        let elapsed = started.elapsed();
        let processor = machine::process_time().saturating_sub(processor + sent.processor);
        report.judged(
            format!("mail in to signed answer captured ({count} mails)"),
            count as f64 / elapsed.as_secs_f64(),
            "answers/s",
            Budget::AtLeast(500.0),
        );
        report.line(
            "processor time of the server",
            processor.as_secs_f64() * 1e6 / count.max(1) as f64,
            "us/answer",
        );
        let files = running
            .desk
            .config
            .server
            .outgoing()
            .read_dir()?
            .filter(|file| {
                file.as_ref()
                    .is_ok_and(|file| file.path().extension().is_some_and(|is| is == "eml"))
            })
            .count();
        ensure!(files == WARM_UP + count, "{files} answers are in the folder");
        running.stop().await;
        Ok(())
    }

    async fn warm_up(&self, server: SocketAddr, mails: &Arc<Vec<Ready>>) -> anyhow::Result<()> {
        let plan = Plan { limit: PATIENCE, ..self.plan(None) };
        client::send(server, mails.clone(), 0..WARM_UP, plan).await?;
        Ok(())
    }

    fn plan(&self, rate: Option<f64>) -> Plan {
        let limit = Duration::from_secs(self.options.seconds);
        Plan { connections: self.options.connections, rate, limit }
    }

    async fn serve(&self, name: &str, kind: &str) -> anyhow::Result<(Running, Heard)> {
        let heard = Heard::default();
        let config = config(&self.dir.join(name), self.dns.addr, kind, self.options.connections);
        let running = Frontdesk::new(config).kind(NO_OP, NoOp(heard.clone())).serve().await?;
        Ok((running, heard))
    }
}

/// A server for `desk.test` on free ports, whose brakes on automatic mail are off.
fn config(data: &Path, dns: SocketAddr, kind: &str, connections: usize) -> Config {
    let mut config = Config::default();
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    config.server.data = data.to_owned();
    config.server.hostname = "mx.desk.test".into();
    config.smtp.listen = vec![anywhere];
    config.smtp.max_connections = (connections as u32 * 2).max(1000);
    config.http.listen = vec![anywhere];
    config.dns.servers = vec![dns];
    config.mail.domains = vec!["desk.test".into()];
    config.limits.replies_per_conversation = u32::MAX;
    config.limits.replies_per_correspondent_per_day = u32::MAX;
    config.limits.replies_per_agent_per_day = u32::MAX;
    config.agents = vec![AgentConfig {
        display_name: "Bench".into(),
        addresses: vec![super::mails::RECIPIENT.into()],
        kind: kind.into(),
        instance: InstancePolicy::Contact,
        approval: Some(Approval::None),
        ..AgentConfig::receptionist("bench")
    }];
    config
}

/// When each mail reached its handler.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<(i64, Instant)>>>);

impl Heard {
    fn times(&self) -> HashMap<i64, Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    async fn wait_for(&self, count: usize) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner).len();
            if heard >= count {
                return Ok(());
            }
            ensure!(Instant::now() < until, "{heard} of {count} mails reached their handler");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// An agent that only notes the time.
struct NoOp(Heard);

impl Agent for NoOp {
    type State = ();

    fn on_email(&self, _cx: &mut Context<'_, ()>, mail: &Mail) -> Result<(), HandlerError> {
        let now = Instant::now();
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).push((mail.id.0, now));
        Ok(())
    }
}

/// Waits until so many answers are captured, settled in the database included.
async fn captured(database: &Path, count: usize) -> anyhow::Result<()> {
    let until = Instant::now() + PATIENCE;
    let reader = grow::Reader::open(database)?;
    loop {
        let sent = reader.sent_deliveries()?;
        if sent >= count {
            return Ok(());
        }
        ensure!(Instant::now() < until, "{sent} of {count} answers were captured");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Watches how large the write-ahead log grows.
struct LogWatch {
    path: PathBuf,
    largest: Arc<Mutex<u64>>,
    task: tokio::task::JoinHandle<()>,
}

impl LogWatch {
    fn start(database: &Path) -> Self {
        let path = database.with_extension("db-wal");
        let largest = Arc::new(Mutex::new(0));
        let (watched, seen) = (path.clone(), largest.clone());
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                note(&watched, &seen);
            }
        });
        Self { path, largest, task }
    }

    fn largest(&self) -> u64 {
        note(&self.path, &self.largest);
        *self.largest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LogWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn note(path: &Path, largest: &Mutex<u64>) {
    let size = path.metadata().map_or(0, |metadata| metadata.len());
    let mut largest = largest.lock().unwrap_or_else(PoisonError::into_inner);
    *largest = size.max(*largest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_short_run_measures_everything_that_has_a_budget() {
        let options = SmtpOptions {
            seconds: 1,
            connections: 4,
            rate: 30.0,
            size: 3000,
            messages: 60,
            correspondents: 20,
            answers: 20,
            large: 400_000,
            dir: None,
        };
        let report = options.run(&|_| {}).await.unwrap();
        let judged = report.lines.iter().filter(|line| line.met.is_some()).count();
        assert_eq!(judged, 9, "{report:#?}");
        assert!(report.lines.iter().all(|line| line.value.is_finite()), "{report:#?}");
    }
}
