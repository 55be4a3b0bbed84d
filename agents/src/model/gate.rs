//! The gate before a provider, shared by all its models: what it says about its rate holds for everybody.
//!
//! Open, it lets everyone through. After a refusal it is shut for as long as the provider asked; then it lets
//! one request through at a time until one is answered. So many turns that wait for one provider do not all
//! come back at the same moment.

use super::ErrorKind;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Mutex as AsyncMutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until, timeout_at},
};

/// How long it is shut if the provider names no time.
const UNNAMED: Duration = Duration::from_secs(1);

/// Longest that a limit which is used up, but was not refused yet, shuts it: providers fill up their limits
/// all the time, not only at the moment they name.
const USED_UP: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Gate {
    state: Mutex<State>,
    /// Held by the one that tries whether the provider answers again.
    probe: Arc<AsyncMutex<()>>,
    at_once: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct State {
    shut_until: Option<Instant>,
    refused: bool,
}

/// Leave to ask once. Held until the answer has ended.
#[derive(Debug)]
pub(super) struct Pass {
    probe: Option<OwnedMutexGuard<()>>,
    _permit: OwnedSemaphorePermit,
}

impl Gate {
    /// A gate that lets `at_once` answers run at the same time.
    pub fn new(at_once: usize) -> Self {
        Self {
            state: Mutex::default(),
            probe: Arc::default(),
            at_once: Arc::new(Semaphore::new(at_once.clamp(1, Semaphore::MAX_PERMITS))),
        }
    }

    /// Waits for leave to ask, at most until `patience` is over; the error says how long it would take.
    pub async fn pass(&self, patience: Duration) -> Result<Pass, ErrorKind> {
        let give_up = Instant::now() + patience;
        let too_long = || ErrorKind::RateLimited { retry_after: None };
        let permit = timeout_at(give_up, Arc::clone(&self.at_once).acquire_owned());
        let permit = match permit.await {
            Ok(Ok(permit)) => permit,
            // The semaphore is never closed, so this is the time that has run out.
            Ok(Err(_)) | Err(_) => return Err(ErrorKind::Busy),
        };
        let mut probe = None;
        loop {
            let (shut_until, refused) = {
                let state = self.state();
                (state.shut_until, state.refused)
            };
            let now = Instant::now();
            if let Some(until) = shut_until.filter(|until| *until > now) {
                if until > give_up {
                    return Err(ErrorKind::RateLimited { retry_after: Some(until - now) });
                }
                sleep_until(until).await;
            } else if refused && probe.is_none() {
                let turn = timeout_at(give_up, Arc::clone(&self.probe).lock_owned());
                probe = Some(turn.await.map_err(|_| too_long())?);
            } else {
                // Whoever waited to try finds out here that somebody else has succeeded.
                let probe = probe.filter(|_| refused);
                return Ok(Pass { probe, _permit: permit });
            }
        }
    }

    /// The provider answers; `used_up` is when a limit that has been reached is counted anew.
    pub fn answered(&self, pass: &mut Pass, used_up: Option<Duration>) {
        let mut state = self.state();
        state.refused = false;
        if let Some(time) = used_up {
            state.shut(time.min(USED_UP));
        }
        pass.probe = None;
    }

    /// The provider refused because of its rate or load.
    pub fn refused(&self, retry_after: Option<Duration>) {
        let mut state = self.state();
        state.refused = true;
        state.shut(retry_after.unwrap_or(UNNAMED));
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn shut(&mut self, time: Duration) {
        self.shut_until = self.shut_until.max(Some(Instant::now() + time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_refusal_everybody_waits_and_then_one_tries() {
        let gate = Arc::new(Gate::new(8));
        let began = Instant::now();
        let _first = gate.pass(PATIENCE).await.unwrap();
        gate.refused(Some(secs(7)));
        let mut probe = gate.pass(PATIENCE).await.unwrap();
        assert_eq!(began.elapsed(), secs(7));
        // The others wait until the one that tries is answered.
        let other = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.pass(PATIENCE).await.map(|_| Instant::now()) }
        });
        tokio::time::sleep(secs(2)).await;
        assert!(!other.is_finished());
        gate.answered(&mut probe, None);
        assert_eq!(other.await.unwrap().unwrap() - began, secs(9));
        // Open again, and nobody waits for anybody.
        let (_a, _b) = (gate.pass(PATIENCE).await.unwrap(), gate.pass(PATIENCE).await.unwrap());
        assert_eq!(began.elapsed(), secs(9));
    }

    #[tokio::test(start_paused = true)]
    async fn who_tries_in_vain_leaves_it_to_the_next() {
        let gate = Gate::new(8);
        let began = Instant::now();
        gate.refused(None);
        drop(gate.pass(PATIENCE).await.unwrap());
        gate.refused(Some(secs(3)));
        let _next = gate.pass(PATIENCE).await.unwrap();
        assert_eq!(began.elapsed(), secs(4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_beyond_ones_patience_is_refused_at_once_with_its_length() {
        let gate = Gate::new(8);
        gate.refused(Some(secs(60)));
        let began = Instant::now();
        let refused = gate.pass(PATIENCE).await.unwrap_err();
        assert_eq!(refused, ErrorKind::RateLimited { retry_after: Some(secs(60)) });
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_used_up_limit_is_waited_for_before_it_is_refused() {
        let gate = Gate::new(8);
        let mut pass = gate.pass(PATIENCE).await.unwrap();
        let began = Instant::now();
        gate.answered(&mut pass, Some(secs(2)));
        drop(gate.pass(PATIENCE).await.unwrap());
        assert_eq!(began.elapsed(), secs(2));
        gate.answered(&mut pass, Some(secs(60)));
        drop(gate.pass(PATIENCE).await.unwrap());
        assert_eq!(began.elapsed(), secs(2) + USED_UP);
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_answers_run_at_once() {
        let gate = Gate::new(1);
        let first = gate.pass(PATIENCE).await.unwrap();
        assert_eq!(gate.pass(secs(1)).await.unwrap_err(), ErrorKind::Busy);
        drop(first);
        gate.pass(secs(1)).await.unwrap();
    }
}
