//! How a reply ends, how the call ends, and what the history is told.

use super::caller::{CallerTurn, Said};
use super::handle::{Call, Phase};
use super::talk::Floor;
use super::{EndReason, Message, Origin, Outcome, Output, Speaker, TurnMetrics, Via};

impl Call {
    /// Frees the floor: stops whoever still works for it, commits the message and the times.
    pub(super) fn end_floor(&mut self, outcome: Outcome) {
        let heard = self.heard_position();
        if outcome != Outcome::Complete && outcome != Outcome::Failed && !self.playout.is_empty() {
            let stretch = self.playout.clear(self.now);
            self.out.push(Output::Clear { stretch });
        }
        let Some(floor) = self.floor.take() else { return };
        self.hold = None;
        let generation = floor.generation;
        if !floor.utterance.text_done {
            self.out.push(Output::AbortTurn { generation });
        }
        if floor.utterance.in_synthesis() {
            self.out.push(Output::AbortVoice { generation });
        }
        if outcome == Outcome::Interrupted && !floor.utterance.text.is_empty() {
            self.interrupted = Some(generation);
        }
        match (outcome, floor.origin) {
            (Outcome::Failed, _) => self.failures += 1,
            (Outcome::Complete, Origin::Reply) => self.failures = 0,
            _ => {}
        }
        if floor.origin != Origin::Prompt {
            self.active();
        }
        self.commit_agent(&floor, heard, outcome);
        if let Some(times) = &floor.turn {
            let metrics = TurnMetrics {
                turn: times.turn,
                generation,
                speech_end: times.speech_end,
                final_text: times.final_text,
                turn_end: floor.began,
                first_text: floor.first_text,
                first_audio: floor.first_audio,
                end: self.now,
                outcome,
            };
            self.out.push(Output::Metrics { metrics });
        }
        if outcome == Outcome::Failed
            && self.failures >= self.config.failures
            && self.phase == Phase::Open
        {
            self.queue.clear();
            let text = self.config.phrases.failed_farewell.clone();
            self.close(EndReason::EngineFailed, text);
        }
    }

    // Ending the call.

    /// Nobody interrupts any more; what is on the floor is heard, then the farewell, then the call ends.
    pub(super) fn close(&mut self, reason: EndReason, farewell: String) {
        if self.phase != Phase::Open {
            return;
        }
        self.phase = Phase::Closing(reason);
        self.resume();
        self.queue.clear();
        self.enqueue(Origin::Farewell, farewell, false);
    }

    /// The call is over.
    pub(super) fn finish(&mut self, reason: EndReason) {
        if self.phase == Phase::Closed {
            return;
        }
        self.end_floor(Outcome::HungUp);
        if let Some(said) = self.turn.take().and_then(CallerTurn::said) {
            self.commit_caller(&said, None, Outcome::HungUp);
        }
        if let Some(text) = self.keypad.take() {
            let said = Said {
                text,
                via: Via::Keypad,
                since: self.now,
                guess: None,
                speech_end: None,
                final_text: None,
            };
            self.commit_caller(&said, None, Outcome::HungUp);
        }
        self.phase = Phase::Closed;
        self.queue.clear();
        self.tell_status();
        self.out.push(Output::HangUp { reason });
    }

    // Telling.

    pub(super) fn commit_caller(&mut self, said: &Said, turn: Option<u32>, outcome: Outcome) {
        let length = said.text.len();
        let message = Message {
            speaker: Speaker::Caller,
            origin: Origin::Caller,
            via: Some(said.via),
            turn,
            generation: None,
            at: said.since,
            text: said.text.clone(),
            generated: length,
            sent: length,
            heard: length,
            outcome,
        };
        self.out.push(Output::Commit { message });
    }

    fn commit_agent(&mut self, floor: &Floor, heard: u64, outcome: Outcome) {
        let text = &floor.utterance.text;
        if text.trim().is_empty() {
            return;
        }
        let generated = text.len();
        let (sent, heard) = if outcome == Outcome::Complete {
            (generated, generated)
        } else {
            (floor.track.sent_text(text), floor.track.text_at(heard, text))
        };
        let message = Message {
            speaker: Speaker::Agent,
            origin: floor.origin,
            via: None,
            turn: floor.turn.as_ref().map(|times| times.turn),
            generation: Some(floor.generation),
            at: floor.began,
            text: text.clone(),
            generated,
            sent: sent.max(heard),
            heard,
            outcome,
        };
        self.out.push(Output::Commit { message });
    }
}
