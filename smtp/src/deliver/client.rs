//! One delivery along a list of hosts: what relay and direct delivery share.
//!
//! Hosts are tried in their order until one says something of the mail itself. A host that cannot be
//! talked to is remembered (`hosts`), and connections are kept for the next mail (`pool`).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::attempt::{Ended, Stage, Timeouts, Trouble, Verdict, judge, transact};
use super::connection::{Connection, Hop, Tls};
use super::hosts::{Hosts, Pause};
use super::places::Places;
use super::pool::{Place, Pool};
use super::schedule::{Schedule, seed};
use super::{Claimed, DataMark, Outcome, Spool};
use crate::render::AddrSpec;

/// Hosts tried for one delivery at a time. Postfix's `smtp_mx_address_limit`.
const HOSTS: usize = 5;
/// The shortest wait of a delivery whose destination is full, and how far such waits are spread.
const FULL_WAIT: SignedDuration = SignedDuration::from_secs(5);
const FULL_SPREAD_SECONDS: u64 = 10;
/// How long a spool that cannot commit the mark is left alone.
const UNMARKED_WAIT: SignedDuration = SignedDuration::from_secs(60);

/// How hard a destination is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Deliveries to one destination at a time. Postfix allows 20, large providers ask for less.
    pub concurrency: usize,
    /// Messages over one connection before a new one is made.
    pub messages_per_connection: u32,
    /// How long a connection is kept for the next message. Postfix's
    /// `smtp_connection_cache_time_limit` is two seconds.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { concurrency: 5, messages_per_connection: 20, idle: Duration::from_secs(2) }
    }
}

/// What is said of us, and how long everything may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manners {
    /// Our name in EHLO: one that resolves to this machine's address.
    pub hello: String,
    /// When to try again.
    pub schedule: Schedule,
    /// How hard to try.
    pub limits: Limits,
    /// How long to wait.
    pub timeouts: Timeouts,
}

impl Manners {
    /// The defaults under a name.
    pub fn new(hello: impl Into<String>) -> Self {
        Self {
            hello: hello.into(),
            schedule: Schedule::default(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
        }
    }
}

pub(super) struct Client {
    pub(super) tls: Tls,
    pub(super) manners: Manners,
    pub(super) places: Places,
    pool: Pool,
    hosts: Hosts,
}

/// One delivery under way.
pub(super) struct Job<'a, S> {
    pub(super) delivery: &'a Claimed,
    pub(super) reverse_path: Option<&'a AddrSpec>,
    pub(super) now: Timestamp,
    pub(super) mark: &'a DataMark<'a, S>,
}

impl Client {
    pub(super) fn new(tls: Tls, manners: Manners) -> Self {
        let places = Places::new(manners.limits.concurrency);
        Self { tls, manners, places, pool: Pool::default(), hosts: Hosts::default() }
    }

    /// Tries the hosts in order.
    pub(super) async fn deliver<S: Spool>(&self, hops: &[Hop], job: &Job<'_, S>) -> Outcome {
        let mut reasons: Vec<String> = Vec::new();
        let mut pauses: Vec<Pause> = Vec::new();
        let mut tried = 0;
        for hop in hops {
            if tried == HOSTS {
                break;
            }
            if let Err(pause) = self.hosts.ask(hop.address, job.now) {
                pauses.push(pause);
                continue;
            }
            tried += 1;
            let verdict = match self.through(hop, job).await {
                Ended::Judged(verdict) => verdict,
                Ended::Stale => Verdict::NextHost(format!("{} closed the connection", hop.host)),
                Ended::Unmarked(why) => {
                    let until = job.now + UNMARKED_WAIT;
                    return Outcome::Deferred { until, reason: format!("not sent: {why}") };
                }
            };
            match verdict {
                Verdict::Sent(reply) => return Outcome::Sent { response: reply.to_string() },
                Verdict::Refused(reply) => {
                    let status = reply.status.map(|status| status.to_string());
                    return Outcome::Bounced { status, response: reply.to_string() };
                }
                Verdict::Impossible(reason) => return Outcome::Failed { reason },
                Verdict::Uncertain(reason) => return Outcome::Uncertain { reason },
                Verdict::Later(reason) => return self.later(job, None, reason),
                Verdict::NextHost(reason) => reasons.push(reason),
            }
        }
        let not_before = match tried {
            0 => pauses.iter().map(|pause| pause.until).min(),
            _ => None,
        };
        reasons.extend(
            pauses
                .into_iter()
                .take(HOSTS)
                .map(|Pause { why, .. }| format!("not tried, because a short time ago {why}")),
        );
        self.later(job, not_before, reasons.join("; "))
    }

    /// The outcome of a try that is to be repeated on schedule.
    pub(super) fn later<S>(
        &self,
        job: &Job<'_, S>,
        not_before: Option<Timestamp>,
        reason: String,
    ) -> Outcome {
        self.manners.schedule.later(job.delivery, job.now, not_before, reason)
    }

    /// The outcome of a delivery that found no place at its destination.
    pub(super) fn full<S>(&self, job: &Job<'_, S>) -> Outcome {
        let spread = seed(&job.delivery.id, u64::from(job.delivery.attempts)) % FULL_SPREAD_SECONDS;
        let spread = SignedDuration::from_secs(i64::try_from(spread).unwrap_or(0));
        let reason = "other mails to this destination go first".to_owned();
        Outcome::Deferred { until: job.now + FULL_WAIT + spread, reason }
    }

    /// Tries one host, over a kept connection if there is one.
    async fn through<S: Spool>(&self, hop: &Hop, job: &Job<'_, S>) -> Ended {
        let place = Place::from(hop);
        while let Some(connection) = self.pool.take(&place) {
            match self.over(connection, &place, job).await {
                Ended::Stale => {}
                ended => return ended,
            }
        }
        let Manners { hello, timeouts, .. } = &self.manners;
        match Connection::open(hop, &self.tls, hello, *timeouts).await {
            Ok(connection) => {
                self.hosts.answered(hop.address);
                let kind = if connection.is_encrypted() { "tls" } else { "clear" };
                metrics::counter!("deliveries_connections_total", "kind" => kind).increment(1);
                self.over(connection, &place, job).await
            }
            Err(Trouble { stage, heard }) => {
                tracing::info!(host = hop.host, ?stage, ?heard, "a host cannot be used");
                let label = format!("{}[{}]", hop.host, hop.address.ip());
                let verdict = match judge(stage, &heard, &label) {
                    // A refused sign-in is of the host too: every mail would be refused alike.
                    Verdict::Later(reason) if stage == Stage::Auth => Verdict::NextHost(reason),
                    verdict => verdict,
                };
                if let Verdict::NextHost(why) = &verdict {
                    self.hosts.failed(hop.address, job.now, why);
                }
                Ended::Judged(verdict)
            }
        }
    }

    async fn over<S: Spool>(
        &self,
        mut connection: Connection,
        place: &Place,
        job: &Job<'_, S>,
    ) -> Ended {
        let ended = transact(&mut connection, job.delivery, job.reverse_path, job.mark).await;
        let Limits { messages_per_connection, idle, .. } = self.manners.limits;
        // The outcome does not wait for what becomes of the connection.
        if !connection.is_usable(messages_per_connection) {
            tokio::spawn(connection.quit());
        } else if connection.is_dirty() {
            let (pool, place) = (self.pool.clone(), place.clone());
            tokio::spawn(async move {
                if connection.reset().await {
                    pool.park(place, connection, idle);
                }
            });
        } else {
            self.pool.park(place.clone(), connection, idle);
        }
        ended
    }
}
