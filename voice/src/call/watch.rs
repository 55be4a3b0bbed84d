//! Everything that happens because time passes.
//!
//! [`Call::timers`] is the complete list of what a call waits for. Silence always has an owner in it: the
//! caller's open turn, held playout, a thinking agent with its fillers and its limit, a sentence with its
//! limit, sound on its way, or the idle timer.

use super::handle::{Call, Phase};
use super::{EndReason, Ms, Notice, Origin, Via, Wake};

/// More steps than any one moment can hold.
const STEPS: usize = 1_000;

impl Call {
    pub(super) fn next_timer(&self) -> Option<(Ms, Wake)> {
        self.timers().into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Does all that is due, and all that follows from it at once.
    pub(super) fn run(&mut self) {
        for _ in 0..STEPS {
            self.pump();
            if self.start_line() {
                continue;
            }
            if let Phase::Closing(reason) = self.phase
                && self.floor.is_none()
            {
                return self.finish(reason);
            }
            match self.next_timer() {
                Some((at, wake)) if at <= self.now => self.fire(wake),
                _ => return,
            }
        }
        debug_assert!(false, "a timer that does nothing: {:?}", self.next_timer());
    }

    fn timers(&self) -> [Option<(Ms, Wake)>; 14] {
        let mut timers = [None; 14];
        match self.phase {
            Phase::Closed => return timers,
            Phase::Ringing => {
                timers[0] = Some((self.config.answer_limit, Wake::Answer));
                return timers;
            }
            Phase::Open | Phase::Closing(_) => {}
        }
        let config = &self.config;
        timers[0] = (self.phase == Phase::Open).then_some((config.longest, Wake::TooLong));
        timers[1] = self.tools.values().min().map(|at| (at + config.tool_limit, Wake::ToolSlow));
        if let Some(lost) = self.lost {
            timers[2] = Some((lost + config.reconnect, Wake::Lost));
            return timers;
        }
        timers[3] = self.ear.muted_deadline(config.muted_after).map(|at| (at, Wake::Muted));
        timers[4] = self.hold_deadline().map(|at| (at, Wake::Resume));
        timers[5] = self.turn_deadline().map(|at| (at, Wake::EndOfTurn));
        // Keys wait for what cannot be interrupted.
        timers[6] = (self.keypad.deadline(config.key_gap))
            .filter(|_| self.floor.is_none() || self.interruptible())
            .map(|at| (at, Wake::Keypad));
        let held = self.hold.is_some();
        if let Some(floor) = &self.floor {
            if floor.track.has_frame() && !held {
                timers[7] = Some((self.playout.room_at(), Wake::Pace));
            }
            timers[8] = self.floor_done_at().map(|at| (at, Wake::Played));
            if floor.utterance.waits_for_text() && !held {
                timers[9] = self.filler_deadline().map(|at| (at, Wake::Filler));
                let limit =
                    if self.tools.is_empty() { config.agent_limit } else { config.tool_limit };
                if !floor.track.has_frame() {
                    let at = floor.progress.max(floor.plays_until) + limit;
                    timers[10] = Some((at, Wake::AgentSlow));
                }
            } else if !floor.utterance.text_done {
                // It is written faster than it is said; but a writer that stops must not be waited for.
                let at = floor.progress.max(self.playout.dry_at()) + config.tool_limit;
                timers[10] = Some((at, Wake::AgentSlow));
            }
            if let Some((_, since)) = floor.utterance.waits_for_sound() {
                timers[11] = Some((since + config.voice_limit, Wake::VoiceSlow));
            }
            if floor.origin == Origin::Farewell {
                timers[12] = Some((floor.began + config.farewell_limit, Wake::Farewell));
            }
        } else if self.turn.is_none()
            && self.tools.is_empty()
            && self.keypad.deadline(0).is_none()
            && self.phase == Phase::Open
        {
            let wait = if self.prompted { config.idle_hang_up } else { config.idle_prompt };
            timers[13] = Some((self.idle_since + wait, Wake::Idle));
        }
        timers
    }

    fn fire(&mut self, wake: Wake) {
        match wake {
            Wake::Answer => self.finish(EndReason::NotAnswered),
            // The next round of `run` sends and ends what is due.
            Wake::Pace | Wake::Played => {}
            Wake::EndOfTurn => self.end_turn(),
            Wake::Keypad => {
                if let Some(keys) = self.keypad.take() {
                    self.ask_agent(keys, Via::Keypad);
                }
            }
            Wake::Resume => self.resume(),
            Wake::Muted => {
                if let Some(change) = self.ear.stop() {
                    self.voice_activity(change);
                }
            }
            Wake::Filler => self.add_filler(),
            Wake::AgentSlow => {
                if let Some(generation) = self.floor.as_ref().map(|floor| floor.generation) {
                    self.out.push(super::Output::AbortTurn { generation });
                    self.agent_fails(generation, Notice::AgentSlow);
                }
            }
            Wake::VoiceSlow => {
                let waiting = self.floor.as_ref().and_then(|floor| {
                    floor.utterance.waits_for_sound().map(|(n, _)| (floor.generation, n))
                });
                if let Some((generation, sentence)) = waiting {
                    self.voice_fails(generation, sentence);
                }
            }
            Wake::ToolSlow => {
                let oldest = self.tools.iter().min_by_key(|(_, at)| **at).map(|(tool, _)| *tool);
                if let Some(tool) = oldest {
                    self.tools.remove(&tool);
                }
                self.active();
            }
            Wake::Idle => self.nobody_speaks(),
            Wake::TooLong => {
                if self.floor.is_some() {
                    self.interrupt();
                }
                self.keep_open_turn();
                self.close(EndReason::TooLong, self.config.phrases.long_farewell.clone());
            }
            Wake::Farewell => {
                if let Phase::Closing(reason) = self.phase {
                    self.finish(reason);
                }
            }
            Wake::Lost => self.finish(EndReason::Lost),
        }
    }

    fn end_turn(&mut self) {
        let said = self.turn.take().and_then(super::caller::CallerTurn::said);
        if let Some(said) = said {
            if self.floor.is_some() {
                self.interrupt();
            }
            self.out.push(super::Output::Interim { text: String::new() });
            self.start_turn(said);
        }
    }

    /// A turn that is open when the call must end stays open, so that its words are committed.
    fn keep_open_turn(&mut self) {
        if self.turn.as_ref().is_some_and(|turn| !turn.has_words()) {
            self.turn = None;
        }
    }

    fn nobody_speaks(&mut self) {
        let phrases = &self.config.phrases;
        if !self.prompted && self.config.idle_prompt < self.config.idle_hang_up {
            self.prompted = true;
            let text = phrases.prompt.clone();
            self.enqueue(Origin::Prompt, text, true);
        } else {
            self.close(EndReason::Idle, phrases.idle_farewell.clone());
        }
    }

    /// The caller's turn ends by its own rules, unless something is said that must be heard in full.
    fn turn_deadline(&self) -> Option<Ms> {
        let turn = self.turn.as_ref()?;
        let free = self.floor.is_none() || self.interruptible();
        // While playout is held for it, a turn without words is the hold's to close.
        let held = self.hold.is_some() && !turn.has_words();
        (free && !held && self.phase == Phase::Open)
            .then(|| turn.deadline(&self.config.endpointing))
    }

    fn hold_deadline(&self) -> Option<Ms> {
        let hold = self.hold.as_ref()?;
        let longest = hold.since + self.config.resume_despite_sound;
        Some(
            hold.quiet.map_or(longest, |quiet| {
                longest.min(quiet.max(hold.since) + self.config.resume_after)
            }),
        )
    }

    /// The next filler is due when the silence has lasted: since the client ran dry, or the agent was asked.
    fn filler_deadline(&self) -> Option<Ms> {
        let floor = self.floor.as_ref()?;
        if self.config.phrases.fillers.is_empty() || !self.playout.is_empty() {
            return None;
        }
        let wait = match floor.filler_at {
            None => self.config.filler_after,
            Some(_) => self.config.filler_every,
        };
        // A filler that failed made no sound, but it was tried.
        let silent_since = self.playout.dry_at().max(floor.began);
        Some(silent_since.max(floor.filler_at.unwrap_or(0)) + wait)
    }
}
