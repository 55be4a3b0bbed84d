//! Brakes on guessing passwords, per account and per network. Pure: time comes in, a wait goes out.
//!
//! An attempt counts as failed from the moment it begins, so that a hundred at once are a hundred; a
//! right password forgets the account's failures, but not the network's. In memory: a restart forgets.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

/// Failures of an account before it must wait, and how long: 2 s, then twice as long each time. The
/// longest wait is short enough that nobody locks the owner out for good by guessing badly.
const ACCOUNT_FREE: u32 = 5;
const ACCOUNT_FIRST: Duration = Duration::from_secs(2);
const ACCOUNT_LONGEST: Duration = Duration::from_secs(5 * 60);

/// The same for a network (IPv4 /24, IPv6 /64), where many people may sit.
const NETWORK_FREE: u32 = 30;
const NETWORK_FIRST: Duration = Duration::from_secs(10);
const NETWORK_LONGEST: Duration = Duration::from_secs(15 * 60);

/// Failures are forgotten after this long without another.
const FORGET: Duration = Duration::from_secs(60 * 60);

/// Accounts and networks remembered. Beyond it those that have waited longest are forgotten first.
const REMEMBERED: usize = 10_000;

/// Failures by account and by network.
#[derive(Debug, Default)]
pub struct Throttle {
    failures: HashMap<Key, Failures>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Account(String),
    Network([u8; 8]),
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Key {
    fn wait_after(&self, count: u32) -> Duration {
        let (free, first, longest) = match self {
            Self::Account(_) => (ACCOUNT_FREE, ACCOUNT_FIRST, ACCOUNT_LONGEST),
            Self::Network(_) => (NETWORK_FREE, NETWORK_FIRST, NETWORK_LONGEST),
        };
        match count.checked_sub(free) {
            None => Duration::ZERO,
            Some(over) => first.saturating_mul(1 << over.min(16)).min(longest),
        }
    }
}

fn network(address: IpAddr) -> Key {
    Key::Network(match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            [0, 0, 0, 0, 4, a, b, c]
        }
        IpAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, h, ..] = v6.octets();
            [a, b, c, d, e, f, g, h]
        }
    })
}

impl Throttle {
    /// An attempt begins: it may go on, or must wait this long first. Without an address (the control
    /// socket) only the account counts.
    pub fn begin(
        &mut self,
        account: &str,
        address: Option<IpAddr>,
        now: Instant,
    ) -> Result<(), Duration> {
        self.make_room(now);
        let keys: Vec<Key> = std::iter::once(Key::Account(account.to_lowercase()))
            .chain(address.map(network))
            .collect();
        let wait = keys.iter().filter_map(|key| self.wait(key, now)).max();
        if let Some(wait) = wait {
            return Err(wait);
        }
        for key in keys {
            let failures = self.failures.entry(key).or_insert(Failures { count: 0, last: now });
            failures.count = failures.count.saturating_add(1);
            failures.last = now;
        }
        Ok(())
    }

    /// The password was right.
    pub fn succeeded(&mut self, account: &str, address: Option<IpAddr>) {
        self.failures.remove(&Key::Account(account.to_lowercase()));
        if let Some(failures) = address.and_then(|a| self.failures.get_mut(&network(a))) {
            failures.count = failures.count.saturating_sub(1);
        }
    }

    fn wait(&self, key: &Key, now: Instant) -> Option<Duration> {
        let failures = self.failures.get(key)?;
        let since = now.saturating_duration_since(failures.last);
        let wait = key.wait_after(failures.count).checked_sub(since)?;
        (!wait.is_zero()).then_some(wait)
    }

    fn make_room(&mut self, now: Instant) {
        let fresh = |f: &Failures| now.saturating_duration_since(f.last) < FORGET;
        if self.failures.len() >= REMEMBERED {
            self.failures.retain(|_, failures| fresh(failures));
        }
        while self.failures.len() >= REMEMBERED {
            let oldest =
                self.failures.iter().min_by_key(|(_, f)| f.last).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { break };
            self.failures.remove(&oldest);
        }
        if let Some(key) = self.failures.iter().find(|(_, f)| !fresh(f)).map(|(key, _)| key.clone())
        {
            self.failures.remove(&key);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn an_account_waits_longer_each_time_and_a_right_password_forgets() {
        let mut throttle = Throttle::default();
        let mut now = Instant::now();
        for _ in 0..ACCOUNT_FREE {
            assert_eq!(throttle.begin("Ann", address("192.0.2.1"), now), Ok(()));
        }
        // From anywhere, in any spelling.
        assert_eq!(throttle.begin("ann", address("198.51.100.1"), now), Err(ACCOUNT_FIRST));
        now += ACCOUNT_FIRST;
        assert_eq!(throttle.begin("ann", None, now), Ok(()));
        assert_eq!(throttle.begin("ann", None, now), Err(ACCOUNT_FIRST * 2));
        throttle.succeeded("ann", None);
        assert_eq!(throttle.begin("ann", None, now), Ok(()));
        for _ in 0..40 {
            now += ACCOUNT_LONGEST;
            assert_eq!(throttle.begin("ann", None, now), Ok(()), "the longest wait is the longest");
        }
    }

    #[test]
    fn a_network_is_braked_over_all_accounts_and_others_are_not() {
        let mut throttle = Throttle::default();
        let now = Instant::now();
        for n in 0..NETWORK_FREE {
            assert_eq!(throttle.begin(&format!("user{n}"), address("192.0.2.7"), now), Ok(()));
        }
        assert_eq!(throttle.begin("other", address("192.0.2.200"), now), Err(NETWORK_FIRST));
        assert_eq!(throttle.begin("other", address("192.0.3.1"), now), Ok(()));
        assert_eq!(throttle.begin("another", address("2001:db8::1"), now), Ok(()));
    }

    #[test]
    fn it_remembers_a_bounded_number() {
        let mut throttle = Throttle::default();
        let now = Instant::now();
        for n in 0..u32::try_from(REMEMBERED).unwrap() + 100 {
            let _ =
                throttle.begin(&format!("user{n}"), None, now + Duration::from_millis(n.into()));
        }
        assert!(throttle.failures.len() <= REMEMBERED);
    }
}
