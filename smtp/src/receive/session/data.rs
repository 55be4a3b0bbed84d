//! From 354 to the reply for the message.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::receive::budget::{MemoryBudget, MessageBuffer, Overflow};
use crate::receive::framer::{DataFramer, DataViolation};
use crate::receive::hops;
use crate::reply::Reply;

use super::{Message, Output, Phase, Refusal, Session, SessionConfig, Timeouts};

/// A message that is refused already is read to its end, but not further than this many times the
/// size limit.
const DRAIN_FACTOR: u64 = 4;

/// A message on its way in.
#[derive(Debug)]
pub(super) struct Data {
    framer: DataFramer,
    buffer: MessageBuffer,
    started: Instant,
    last_octet: Instant,
    received: u64,
}

impl Data {
    pub(super) fn new(config: &SessionConfig, budget: &Arc<MemoryBudget>, now: Instant) -> Self {
        Self {
            framer: DataFramer::new(config.data),
            buffer: MessageBuffer::new(budget, config.size_max),
            started: now,
            last_octet: now,
            received: 0,
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8], now: Instant) -> (usize, bool) {
        let (taken, ended) = self.framer.feed(bytes, &mut self.buffer);
        self.received += taken as u64;
        self.last_octet = now;
        (taken, ended)
    }

    pub(super) fn is_endless(&self, size_max: usize) -> bool {
        self.received > (size_max as u64).saturating_mul(DRAIN_FACTOR)
    }

    /// The end of the absolute time, of the time that the octets so far have earned at the minimum
    /// rate, or of a pause between octets, whichever comes first.
    pub(super) fn deadline(&self, timeouts: &Timeouts, rate_min: u64) -> Instant {
        let absolute = self.started + timeouts.data;
        let earned = Duration::from_secs(self.received / rate_min.max(1)).min(timeouts.data);
        let rate = self.started + timeouts.data_grace + earned;
        let silence = self.last_octet + timeouts.data_grace;
        absolute.min(rate).min(silence)
    }
}

impl Session {
    pub(super) fn data_ended(&mut self, now: Instant) {
        self.since = now;
        let phase = std::mem::replace(&mut self.phase, Phase::Command);
        let (Phase::Data(data), Some(transaction)) = (phase, self.transaction.take()) else {
            return;
        };
        if let Some(refusal) = refusal(&data, self.config.hops_max) {
            self.summary.messages_refused += 1;
            self.message_done();
            return self.turn_down(refusal);
        }
        let (bytes, reservation) = data.buffer.into_parts();
        let envelope = transaction.envelope;
        self.phase = Phase::Storing;
        self.question = Some(Output::Message(Message { envelope, bytes, reservation }));
    }

    pub(super) fn message_answered(&mut self, reply: Reply, now: Instant) {
        if !matches!(self.phase, Phase::Storing) {
            return;
        }
        self.expect_command(now);
        self.message_done();
        if reply.is_positive() && !reply.is_closing() {
            self.summary.messages_accepted += 1;
            self.reply(&reply);
        } else {
            self.summary.messages_refused += 1;
            self.refuse(reply);
        }
    }
}

/// What is wrong with a message that has reached its true end.
fn refusal(data: &Data, hops_max: usize) -> Option<Refusal> {
    let form = data.framer.violation().map(|violation| match violation {
        DataViolation::LongLine => Refusal::MessageLineLength,
        DataViolation::BareCr | DataViolation::BareLf | DataViolation::Nul => {
            Refusal::MessageLineEnd
        }
    });
    let size = data.buffer.overflowed().map(|overflow| match overflow {
        Overflow::TooBig => Refusal::MessageSize,
        Overflow::NoMemory => Refusal::MemoryBudget,
    });
    let is_loop = || hops::count_received(data.buffer.bytes()) > hops_max;
    form.or(size).or_else(|| is_loop().then_some(Refusal::MailLoop))
}
