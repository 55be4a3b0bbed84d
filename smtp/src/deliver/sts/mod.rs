//! MTA-STS (RFC 8461): domains that say which hosts take their mail, and that these can prove it.
//!
//! - `policy`: records and policies as values;
//! - [`Policies`]: what is known of each domain, when to ask again, and what counts meanwhile;
//! - [`PolicyFetch`]: how a policy comes here; [`HttpsFetch`] is the real one.
//!
//! What always holds: a policy that was seen counts until its age is over, whatever the DNS or the web
//! server say meanwhile (section 5.1). Only a newer policy replaces it.

mod fetch;
mod policy;

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::auth::dns::{Lookup, RecordKind};

pub use self::fetch::HttpsFetch;
pub use self::policy::{Error, Mode, Policy, record_id};

/// How often a policy is fetched again while it counts, or at half its age if that is shorter: so that
/// it does not end while the web server happens to be down (section 3.3 suggests a day).
const REFRESH: SignedDuration = SignedDuration::from_hours(24);
/// How long a web server that failed is left alone (section 3.3 asks for at least five minutes).
const RETRY: SignedDuration = SignedDuration::from_mins(5);
/// Domains that are remembered; beyond that, those that count for nothing any more are forgotten.
const MOST: usize = 10_000;

/// How the policy of a domain comes here.
pub trait PolicyFetch: Send + Sync + 'static {
    /// The text of `https://mta-sts.<domain>/.well-known/mta-sts.txt`.
    ///
    /// # Errors
    ///
    /// Why there is none, in words.
    fn fetch(&self, domain: &str) -> impl Future<Output = Result<String, String>> + Send;
}

/// What is known of a domain. Kept over a restart, it keeps its protection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The id of the record that it was fetched under.
    pub id: String,
    /// The policy.
    pub policy: Policy,
    /// When it stops to count, unless it is seen again.
    pub until: Timestamp,
    /// From when on it is fetched again.
    pub refresh_at: Timestamp,
}

/// What to do about a domain.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// What is known counts.
    Keep,
    /// A policy is to be fetched, under this id; what is known counts if that fails.
    Fetch(String),
}

#[derive(Debug, Default)]
struct State {
    known: HashMap<String, Known>,
    /// Fetches that failed, and until when they are not repeated.
    failed: HashMap<String, (String, Timestamp)>,
}

/// The policies of all domains that mail was sent to.
#[derive(Debug)]
pub struct Policies<F> {
    fetch: F,
    state: Mutex<State>,
}

impl<F: PolicyFetch> Policies<F> {
    /// Knows nothing yet.
    pub fn new(fetch: F) -> Self {
        Self { fetch, state: Mutex::default() }
    }

    /// The policy that counts for a domain now, fetched if need be.
    pub async fn policy(&self, domain: &str, dns: &impl Lookup, now: Timestamp) -> Option<Policy> {
        let texts = dns.lookup(&format!("_mta-sts.{domain}"), RecordKind::Txt).await;
        let id = record_id(texts.texts());
        let step = self.lock().step(domain, id, now);
        if let Step::Fetch(id) = step {
            let fetched = self.fetch.fetch(domain).await;
            let parsed = fetched.and_then(|text| {
                Policy::parse(&text).map_err(|error| format!("the policy is not valid: {error}"))
            });
            if let Err(why) = &parsed {
                tracing::warn!(domain, why, "an MTA-STS policy is announced and cannot be had");
                metrics::counter!("deliveries_sts_fetch_failed_total").increment(1);
            }
            self.lock().fetched(domain, id, parsed.ok(), now);
        }
        self.lock().current(domain, now)
    }

    /// Everything that counts at `now`, to be kept over a restart.
    pub fn snapshot(&self, now: Timestamp) -> Vec<(String, Known)> {
        let state = self.lock();
        let counts = state.known.iter().filter(|(_, known)| known.until > now);
        counts.map(|(domain, known)| (domain.clone(), known.clone())).collect()
    }

    /// Takes up what an earlier process kept.
    pub fn restore(&self, known: impl IntoIterator<Item = (String, Known)>) {
        self.lock().known.extend(known.into_iter().take(MOST));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What to do, given the id in the DNS: none if there is no record, or no answer.
    fn step(&mut self, domain: &str, id: Option<String>, now: Timestamp) -> Step {
        let Some(id) = id else { return Step::Keep };
        if let Some(known) = self.known.get(domain)
            && known.id == id
            && known.refresh_at > now
        {
            return Step::Keep;
        }
        match self.failed.get(domain) {
            Some((failed, until)) if *failed == id && *until > now => Step::Keep,
            _ => Step::Fetch(id),
        }
    }

    /// Records what a fetch gave.
    fn fetched(&mut self, domain: &str, id: String, policy: Option<Policy>, now: Timestamp) {
        if self.known.len() + self.failed.len() >= MOST {
            self.known.retain(|_, known| known.until > now);
            self.failed.retain(|_, (_, until)| *until > now);
        }
        match policy {
            Some(policy) => {
                self.failed.remove(domain);
                if self.known.len() < MOST || self.known.contains_key(domain) {
                    let (until, refresh_at) =
                        (now + policy.age(), now + (policy.age() / 2).min(REFRESH));
                    let known = Known { id, policy, until, refresh_at };
                    self.known.insert(domain.to_owned(), known);
                }
            }
            None if self.failed.len() < MOST => {
                self.failed.insert(domain.to_owned(), (id, now + RETRY));
            }
            None => {}
        }
    }

    fn current(&self, domain: &str, now: Timestamp) -> Option<Policy> {
        let known = self.known.get(domain).filter(|known| known.until > now)?;
        (known.policy.mode != Mode::None).then(|| known.policy.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn policy(mode: Mode) -> Policy {
        Policy { mode, mx: vec!["mx.there.example".to_owned()], max_age: 1000 }
    }

    fn id(id: &str) -> Option<String> {
        Some(id.to_owned())
    }

    #[test]
    fn a_policy_counts_for_its_age_whatever_the_dns_says() {
        let mut state = State::default();
        assert_eq!(state.step("d", None, at(0)), Step::Keep);
        assert_eq!(state.step("d", id("1"), at(0)), Step::Fetch("1".into()));
        state.fetched("d", "1".into(), Some(policy(Mode::Enforce)), at(0));
        assert_eq!(state.step("d", id("1"), at(499)), Step::Keep);
        assert_eq!(state.step("d", None, at(999)), Step::Keep);
        assert_eq!(state.current("d", at(999)).unwrap().mode, Mode::Enforce);
        assert_eq!(state.current("d", at(1000)), None);
        assert_eq!(state.step("d", id("1"), at(1000)), Step::Fetch("1".into()));
    }

    #[test]
    fn a_policy_is_seen_again_before_its_age_is_over() {
        let mut state = State::default();
        state.fetched("d", "1".into(), Some(policy(Mode::Enforce)), at(0));
        assert_eq!(state.step("d", id("1"), at(500)), Step::Fetch("1".into()));
        state.fetched("d", "1".into(), None, at(500));
        assert_eq!(state.step("d", id("1"), at(501)), Step::Keep);
        assert!(state.current("d", at(999)).is_some());
        state.fetched("d", "1".into(), Some(policy(Mode::Enforce)), at(900));
        assert!(state.current("d", at(1899)).is_some());
    }

    #[test]
    fn a_new_id_replaces_it_and_a_failing_fetch_does_not() {
        let mut state = State::default();
        state.fetched("d", "1".into(), Some(policy(Mode::Enforce)), at(0));
        assert_eq!(state.step("d", id("2"), at(10)), Step::Fetch("2".into()));
        state.fetched("d", "2".into(), None, at(10));
        assert_eq!(state.current("d", at(10)).unwrap().mode, Mode::Enforce);
        // Not asked again at once.
        assert_eq!(state.step("d", id("2"), at(309)), Step::Keep);
        assert_eq!(state.step("d", id("2"), at(310)), Step::Fetch("2".into()));
        state.fetched("d", "2".into(), Some(policy(Mode::None)), at(310));
        assert_eq!(state.current("d", at(310)), None);
        assert_eq!(state.step("d", id("2"), at(311)), Step::Keep);
    }
}
