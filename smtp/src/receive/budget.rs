//! Memory that all messages in flight share.
//!
//! What always holds: the sum of all reservations stays within the limit, and a [`MessageBuffer`]
//! never has more capacity than it has reserved. Buffers double only while they are small and then
//! grow by 1 MiB, so a message of 25 MB costs about 25 MB and not twice that.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// First allocation of a message in octets; the median mail fits.
const STEP_MIN: usize = 16 * 1024;
/// Largest growth in octets. Allocators move blocks of this size by remapping, not copying.
const STEP_MAX: usize = 1024 * 1024;

/// A number of octets that reservations are taken from.
#[derive(Debug)]
pub struct MemoryBudget {
    limit: usize,
    used: AtomicUsize,
}

impl MemoryBudget {
    /// A budget of `limit` octets.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0) })
    }

    /// Octets reserved now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Octets that could be reserved now.
    pub fn free(&self) -> usize {
        self.limit.saturating_sub(self.used())
    }

    fn take(&self, octets: usize) -> bool {
        // Relaxed: the counter guards no other memory.
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(octets).filter(|&sum| sum <= self.limit)
            })
            .is_ok()
    }
}

/// A share of a [`MemoryBudget`], given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<MemoryBudget>,
    octets: usize,
}

impl Reservation {
    fn none(budget: Arc<MemoryBudget>) -> Self {
        Self { budget, octets: 0 }
    }

    fn grow(&mut self, octets: usize) -> bool {
        let granted = self.budget.take(octets);
        if granted {
            self.octets += octets;
        }
        granted
    }

    fn release(&mut self) {
        self.budget.used.fetch_sub(self.octets, Ordering::Relaxed);
        self.octets = 0;
    }

    /// Octets held.
    pub fn octets(&self) -> usize {
        self.octets
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.release();
    }
}

/// Why a buffer stopped keeping what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// More than the largest message allowed.
    TooBig,
    /// The shared budget is used up.
    NoMemory,
}

/// A message as it arrives. `Debug` shows its size only.
pub struct MessageBuffer {
    bytes: Vec<u8>,
    reservation: Reservation,
    max: usize,
    overflow: Option<Overflow>,
    discarding: bool,
}

impl MessageBuffer {
    /// An empty buffer that keeps at most `max` octets.
    pub fn new(budget: &Arc<MemoryBudget>, max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            reservation: Reservation::none(Arc::clone(budget)),
            max,
            overflow: None,
            discarding: false,
        }
    }

    /// Adds octets, or notes that they do not fit and forgets everything so far.
    pub fn extend(&mut self, octets: &[u8]) {
        if self.discarding || octets.is_empty() {
            return;
        }
        let needed = self.bytes.len() + octets.len();
        if needed > self.max {
            self.overflow(Overflow::TooBig);
        } else if needed > self.bytes.capacity() && !self.grow(needed) {
            self.overflow(Overflow::NoMemory);
        } else {
            self.bytes.extend_from_slice(octets);
        }
    }

    /// Forgets everything so far and keeps nothing that follows.
    pub fn discard(&mut self) {
        self.discarding = true;
        self.bytes = Vec::new();
        self.reservation.release();
    }

    pub fn overflowed(&self) -> Option<Overflow> {
        self.overflow
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The octets, and the reservation that must live as long as they do.
    pub fn into_parts(self) -> (Vec<u8>, Reservation) {
        (self.bytes, self.reservation)
    }

    fn overflow(&mut self, why: Overflow) {
        self.overflow = Some(why);
        self.discard();
    }

    fn grow(&mut self, needed: usize) -> bool {
        let have = self.bytes.capacity();
        let wanted = needed.max((have + have.clamp(STEP_MIN, STEP_MAX)).min(self.max));
        // Reserved before it is allocated, so that the sum never exceeds the limit. What is left of
        // the budget may still hold this message without room to grow.
        [wanted, needed].into_iter().any(|capacity| {
            self.reservation.grow(capacity - have) && {
                self.bytes.try_reserve_exact(capacity - self.bytes.len()).is_ok()
            }
        })
    }
}

impl fmt::Debug for MessageBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageBuffer")
            .field("octets", &self.bytes.len())
            .field("overflow", &self.overflow)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: usize = 1024 * 1024;

    #[test]
    fn a_message_of_25_mb_reserves_about_25_mb() {
        let budget = MemoryBudget::new(256 * MB);
        let mut buffer = MessageBuffer::new(&budget, 35 * MB);
        let chunk = vec![b'x'; 10_000];
        while buffer.bytes().len() < 25 * MB {
            buffer.extend(&chunk);
        }
        assert!(budget.used() <= 27 * MB, "{}", budget.used());
        assert!(buffer.bytes.capacity() <= budget.used());
        let (bytes, reservation) = buffer.into_parts();
        assert!(bytes.len() >= 25 * MB);
        assert_eq!(budget.used(), reservation.octets());
        drop(reservation);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_message_over_the_cap_gives_its_memory_back_at_once() {
        let budget = MemoryBudget::new(MB);
        let mut buffer = MessageBuffer::new(&budget, 1000);
        buffer.extend(&[b'x'; 1000]);
        assert_eq!(buffer.overflowed(), None);
        buffer.extend(b"x");
        assert_eq!(buffer.overflowed(), Some(Overflow::TooBig));
        assert_eq!(budget.used(), 0);
        buffer.extend(b"x");
        assert!(buffer.bytes().is_empty());
    }

    #[test]
    fn messages_share_one_budget() {
        let budget = MemoryBudget::new(100 * 1024);
        let mut first = MessageBuffer::new(&budget, MB);
        let mut second = MessageBuffer::new(&budget, MB);
        first.extend(&[b'x'; 80 * 1024]);
        second.extend(&[b'x'; 80 * 1024]);
        assert_eq!(first.overflowed(), None);
        assert_eq!(second.overflowed(), Some(Overflow::NoMemory));
        drop(first);
        assert_eq!(budget.used(), 0);
    }
}
