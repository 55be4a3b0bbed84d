//! Which hosts have not answered lately, so that a dead one is not tried by every mail.
//!
//! A host that cannot be talked to is left alone for a minute, then for twice as long each time, up to
//! half an hour. When the time is over one delivery tries it for all; the others go on waiting until
//! that one knows more.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

const FIRST: SignedDuration = SignedDuration::from_mins(1);
const LONGEST: SignedDuration = SignedDuration::from_mins(30);
/// How long one delivery has to find out: longer than a connection takes to fail.
const PROBE: SignedDuration = SignedDuration::from_mins(2);
/// Hosts that are remembered; beyond that, those whose time is over are forgotten.
const MOST: usize = 10_000;

/// Why a host is not to be tried now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pause {
    /// From when on it may be.
    pub(super) until: Timestamp,
    /// What happened when it was tried last.
    pub(super) why: String,
}

/// Hosts that failed, by address.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    failing: Mutex<HashMap<SocketAddr, Failing>>,
}

#[derive(Debug)]
struct Failing {
    times: u32,
    until: Timestamp,
    /// What happened last.
    why: String,
    /// A delivery is finding out whether it answers again.
    probed: bool,
}

impl Hosts {
    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Failing>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether to try a host.
    pub(super) fn ask(&self, host: SocketAddr, now: Timestamp) -> Result<(), Pause> {
        match self.lock().get_mut(&host) {
            Some(known) if known.until > now => {
                Err(Pause { until: known.until, why: known.why.clone() })
            }
            Some(known) => {
                known.until = now + PROBE;
                known.probed = true;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A host could not be talked to. Tries that ran side by side count once.
    pub(super) fn failed(&self, host: SocketAddr, now: Timestamp, why: &str) {
        let mut failing = self.lock();
        if failing.len() >= MOST {
            failing.retain(|_, known| known.until > now);
        }
        if failing.len() >= MOST {
            return;
        }
        let new = || Failing { times: 0, until: now, why: String::new(), probed: true };
        let known = failing.entry(host).or_insert_with(new);
        why.clone_into(&mut known.why);
        if std::mem::take(&mut known.probed) {
            known.times = known.times.saturating_add(1);
            let pause = FIRST.checked_mul(1 << (known.times - 1).min(10)).unwrap_or(LONGEST);
            known.until = now + pause.min(LONGEST);
        }
    }

    /// A host greeted.
    pub(super) fn answered(&self, host: SocketAddr) {
        self.lock().remove(&host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> SocketAddr {
        "192.0.2.1:25".parse().unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_dead_host_is_left_alone_for_longer_and_longer() {
        let hosts = Hosts::default();
        let (mut now, mut pauses) = (at(0), Vec::new());
        for _ in 0..8 {
            assert_eq!(hosts.ask(host(), now), Ok(()));
            hosts.failed(host(), now, "refused");
            let Pause { until, why } = hosts.ask(host(), now).unwrap_err();
            assert_eq!(why, "refused");
            pauses.push(until.duration_since(now).as_mins());
            now = until;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
        hosts.answered(host());
        assert_eq!(hosts.ask(host(), now), Ok(()));
    }

    #[test]
    fn tries_side_by_side_count_once() {
        let hosts = Hosts::default();
        for second in 0..20 {
            hosts.failed(host(), at(second), "refused");
        }
        assert_eq!(hosts.ask(host(), at(20)).unwrap_err().until, at(60));
    }

    #[test]
    fn one_delivery_finds_out_for_all() {
        let hosts = Hosts::default();
        hosts.failed(host(), at(0), "refused");
        assert_eq!(hosts.ask(host(), at(60)), Ok(()));
        assert_eq!(hosts.ask(host(), at(60)).unwrap_err().until, at(180));
        assert_eq!(hosts.ask("192.0.2.2:25".parse().unwrap(), at(60)), Ok(()));
        // If it never comes back to tell, the next one goes.
        assert_eq!(hosts.ask(host(), at(180)), Ok(()));
    }
}
