//! The floor: what the agent says, and how that is held, resumed and interrupted.
//!
//! Barge-in has three steps. Sound from the caller **holds** playout at once: the client is cleared, and
//! the track goes back to what was heard. Words make it an **interruption**: the reply ends where it was
//! heard, its generation is stale, and the caller's turn goes on. Without words it **resumes** from there.
//! Every hold therefore ends here or with its floor, and nowhere else.

use super::caller::Said;
use super::handle::{Call, Phase};
use super::track::Track;
use super::utterance::Utterance;
use super::{EndReason, Ms, Notice, Origin, Outcome, Output, Status};
use crate::audio::FRAME_MS;

/// Lines that wait for the floor; further ones are dropped.
const QUEUE: usize = 8;

/// A mark follows so many frames: 200 ms, the grain at which a telephone tells what was heard.
const MARK_EVERY: u32 = 10;

/// What the agent is saying or about to say: one generation.
pub(super) struct Floor {
    pub generation: u32,
    pub origin: Origin,
    /// The caller's turn it answers, with its times.
    pub turn: Option<TurnTimes>,
    pub interruptible: bool,
    pub began: Ms,
    /// When the agent last wrote, or was asked.
    pub progress: Ms,
    pub utterance: Utterance,
    pub track: Track,
    pub fillers: usize,
    /// When the last filler was put in.
    pub filler_at: Option<Ms>,
    pub failed: bool,
    /// Until when the sound sent so far, without fillers, plays.
    pub plays_until: Ms,
    pub first_text: Option<Ms>,
    pub first_audio: Option<Ms>,
    /// A sample count of the stretch, and the position of the track that is played then.
    pub anchor: (u64, u64),
    unmarked: u32,
    /// [`Output::AudioEnd`] was given since the last rewind.
    told_end: bool,
}

/// When the caller's turn happened.
pub(super) struct TurnTimes {
    pub turn: u32,
    pub speech_end: Option<Ms>,
    pub final_text: Option<Ms>,
}

/// Playout standing still.
pub(super) struct Hold {
    pub since: Ms,
    /// Since when the caller has been quiet again.
    pub quiet: Option<Ms>,
}

/// Something to say when the floor is free.
pub(super) struct Queued {
    origin: Origin,
    text: String,
    interruptible: bool,
}

impl Floor {
    /// Whether everything was written, synthesised and sent.
    pub fn all_sent(&self) -> bool {
        self.utterance.complete() && self.track.all_sent()
    }
}

impl Call {
    pub(super) fn floor_of(&mut self, generation: u32) -> Option<&mut Floor> {
        self.floor.as_mut().filter(|floor| floor.generation == generation)
    }

    /// Whether there is something the caller may interrupt.
    pub(super) fn interruptible(&self) -> bool {
        self.phase == Phase::Open && self.floor.as_ref().is_some_and(|floor| floor.interruptible)
    }

    // Taking the floor.

    pub(super) fn enqueue(&mut self, origin: Origin, text: String, interruptible: bool) {
        if !text.trim().is_empty() && self.queue.len() < QUEUE {
            self.queue.push_back(Queued { origin, text, interruptible });
        }
    }

    /// Says the next line if nobody else speaks.
    pub(super) fn start_line(&mut self) -> bool {
        let closing = matches!(self.phase, Phase::Closing(_));
        let caller = self.turn.is_some() || self.keypad.deadline(0).is_some();
        if self.floor.is_some() || self.lost.is_some() || (caller && !closing) {
            return false;
        }
        let Some(Queued { origin, text, interruptible }) = self.queue.pop_front() else {
            return false;
        };
        let floor = self.take_floor(origin, None, interruptible);
        floor.utterance.text_done = true;
        let taken = floor.utterance.write(&text).to_owned();
        let mut sentences = Vec::new();
        self.splitter.push(&taken, &mut sentences);
        self.splitter.finish(&mut sentences);
        if let Some(floor) = &mut self.floor {
            floor.utterance.add(sentences);
            let generation = floor.generation;
            self.out.push(Output::Reply { generation, text: taken });
        }
        true
    }

    /// The caller's turn is over: commits it and asks the agent.
    pub(super) fn start_turn(&mut self, said: Said) {
        self.turns += 1;
        let turn = self.turns;
        self.commit_caller(&said, Some(turn), Outcome::Complete);
        let times = TurnTimes { turn, speech_end: said.speech_end, final_text: said.final_text };
        let interrupted = self.interrupted.take();
        let generation = self.take_floor(Origin::Reply, Some(times), true).generation;
        let Said { text, via, guess, .. } = said;
        self.guess = guess;
        self.out.push(Output::StartTurn { turn, generation, text, via, interrupted });
        self.active();
    }

    fn take_floor(
        &mut self,
        origin: Origin,
        turn: Option<TurnTimes>,
        interruptible: bool,
    ) -> &mut Floor {
        self.generations += 1;
        self.splitter.reset();
        // The caller waits from now on, and not since the client last played something.
        self.playout.restart_silence(self.now);
        self.floor.insert(Floor {
            generation: self.generations,
            origin,
            turn,
            interruptible,
            began: self.now,
            progress: self.now,
            utterance: Utterance::default(),
            track: Track::new(self.config.playout_rate),
            fillers: 0,
            filler_at: None,
            failed: false,
            plays_until: 0,
            first_text: None,
            first_audio: None,
            anchor: (self.playout.sent(), 0),
            unmarked: 0,
            told_end: false,
        })
    }

    // What the agent and the synthesiser do.

    pub(super) fn agent_writes(&mut self, generation: u32, text: &str) {
        let now = self.now;
        let Some(floor) = self.floor.as_mut().filter(|f| f.generation == generation) else {
            return;
        };
        if floor.utterance.text_done || text.is_empty() {
            return;
        }
        floor.progress = now;
        floor.first_text.get_or_insert(now);
        let taken = floor.utterance.write(text);
        let mut sentences = Vec::new();
        self.splitter.push(taken, &mut sentences);
        floor.utterance.add(sentences);
        self.out.push(Output::Reply { generation, text: taken.to_owned() });
        if taken.len() < text.len() {
            self.out.push(Output::AbortTurn { generation });
            self.agent_ends(generation);
        }
    }

    pub(super) fn agent_ends(&mut self, generation: u32) {
        let Some(floor) = self.floor.as_mut().filter(|f| f.generation == generation) else {
            return;
        };
        if std::mem::replace(&mut floor.utterance.text_done, true) {
            return;
        }
        let mut sentences = Vec::new();
        self.splitter.finish(&mut sentences);
        floor.utterance.add(sentences);
        if floor.utterance.text.trim().is_empty() {
            self.out.push(Output::Notice { notice: Notice::NoReply });
        }
    }

    /// The agent will not go on. Whole sentences it wrote are still said; then comes the explanation.
    pub(super) fn agent_fails(&mut self, generation: u32, notice: Notice) {
        let Some(floor) = self.floor_of(generation) else { return };
        if floor.utterance.text_done {
            return;
        }
        floor.utterance.text_done = true;
        floor.failed = true;
        self.out.push(Output::Notice { notice });
        let text = self.config.phrases.agent_failed.clone();
        self.enqueue(Origin::Explanation, text, true);
    }

    /// A sentence cannot be spoken. What comes before it is still said; then comes the explanation.
    pub(super) fn voice_fails(&mut self, generation: u32, sentence: u32) {
        let now = self.now;
        let Some(floor) = self.floor_of(generation) else { return };
        if !floor.utterance.fail(now, sentence) {
            return;
        }
        let origin = floor.origin;
        let still_writing = !std::mem::replace(&mut floor.utterance.text_done, true);
        let in_synthesis = floor.utterance.in_synthesis();
        floor.failed = true;
        if floor.utterance.complete() {
            // What there is of the failed sentence is still said.
            floor.track.pad();
        }
        if still_writing {
            self.out.push(Output::AbortTurn { generation });
        }
        if !in_synthesis {
            self.out.push(Output::AbortVoice { generation });
        }
        self.out.push(Output::Notice { notice: Notice::VoiceFailed });
        if origin != Origin::Explanation {
            let text = self.config.phrases.voice_failed.clone();
            self.enqueue(Origin::Explanation, text, true);
        } else if !self.config.screen && self.phase == Phase::Open {
            // The explanation cannot be spoken and cannot be read.
            self.close(EndReason::EngineFailed, String::new());
        }
    }

    /// Fills a thinking silence.
    pub(super) fn add_filler(&mut self) {
        let now = self.now;
        if let Some(floor) = &mut self.floor {
            let fillers = &self.config.phrases.fillers;
            if let Some(text) = fillers.get(floor.fillers % fillers.len().max(1)) {
                floor.utterance.add_filler(text.clone());
            }
            floor.fillers += 1;
            floor.filler_at = Some(now);
        }
    }

    /// Moves what is ready one step on: asks for sentences, sends frames, ends a reply that was heard.
    pub(super) fn pump(&mut self) {
        let now = self.now;
        let Some(floor) = &mut self.floor else { return };
        let generation = floor.generation;
        floor.utterance.feed(&mut floor.track);
        while let Some((sentence, text)) = floor.utterance.ask(now, floor.track.unsent()) {
            self.out.push(Output::Synthesise { generation, sentence, text });
        }
        // Sentences with nothing to say are complete at once.
        floor.utterance.feed(&mut floor.track);

        if self.hold.is_none() && self.lost.is_none() {
            while self.playout.has_room() {
                let Some((samples, position, own)) = floor.track.take_frame() else { break };
                let play_at = self.playout.send();
                if own {
                    floor.first_audio.get_or_insert(now);
                    floor.plays_until = play_at + FRAME_MS;
                }
                if let Ok(frame) = crate::audio::Frame::new(self.config.playout_rate, samples) {
                    self.out.push(Output::Audio { generation, position, play_at, frame });
                }
                floor.unmarked += 1;
                let last = floor.all_sent();
                if floor.unmarked == MARK_EVERY || last {
                    floor.unmarked = 0;
                    let (stretch, samples) = (self.playout.stretch(), self.playout.sent());
                    self.out.push(Output::Mark { stretch, samples });
                }
            }
            if floor.all_sent() && floor.track.has_sound() && !floor.told_end {
                floor.told_end = true;
                self.out.push(Output::AudioEnd { generation });
            }
        }
        let heard = self.heard_position();
        if let Some(floor) = &mut self.floor {
            floor.track.heard(heard);
        }
        if self.floor_done_at().is_some_and(|at| at <= now) {
            let failed = self.floor.as_ref().is_some_and(|floor| floor.failed);
            self.end_floor(if failed { Outcome::Failed } else { Outcome::Complete });
        }
    }

    /// When the reply will have been heard in full, once all of it was sent.
    pub(super) fn floor_done_at(&self) -> Option<Ms> {
        let floor = self.floor.as_ref().filter(|floor| floor.all_sent())?;
        let dry = self.playout.dry_at();
        let waits = self.config.playback_reports && !self.playout.confirmed();
        Some(if waits { dry + self.config.report_grace } else { dry }.max(floor.began))
    }

    /// How much of the reply's sound has been heard.
    pub(super) fn heard_position(&self) -> u64 {
        self.floor.as_ref().map_or(0, |floor| {
            let (count, position) = floor.anchor;
            position + self.playout.played().saturating_sub(count)
        })
    }

    /// Whether the reply is all but over, so that "yes" is meant for it.
    pub(super) fn in_answer_zone(&self) -> bool {
        self.floor.as_ref().is_some_and(|floor| {
            let ahead = self.playout.dry_at().saturating_sub(self.now);
            floor.utterance.complete() && floor.track.unsent() + ahead <= self.config.answer_zone
        })
    }

    // Holding, resuming, interrupting.

    pub(super) fn hold_playout(&mut self) {
        if self.hold.is_some() {
            if let Some(hold) = &mut self.hold {
                hold.quiet = None;
            }
        } else if self.interruptible() {
            self.take_back_playout();
            self.hold = Some(Hold { since: self.now, quiet: None });
        }
    }

    /// Playout goes on from the heard position.
    pub(super) fn resume(&mut self) {
        if self.hold.take().is_none() {
            return;
        }
        self.playout.restart_silence(self.now);
        if self.turn.as_ref().is_some_and(|turn| !turn.has_words()) {
            self.turn = None;
        }
    }

    /// The client drops what it holds, and the track goes back to what was heard.
    pub(super) fn take_back_playout(&mut self) {
        if self.playout.is_empty() {
            return;
        }
        let heard = self.heard_position();
        let stretch = self.playout.clear(self.now);
        self.out.push(Output::Clear { stretch });
        if let Some(floor) = &mut self.floor {
            floor.anchor = (0, floor.track.rewind(heard));
            floor.unmarked = 0;
            floor.told_end = false;
        }
    }

    /// The reply on the floor ends where it was heard.
    pub(super) fn interrupt(&mut self) {
        self.end_floor(Outcome::Interrupted);
    }

    pub(super) fn tell_status(&mut self) {
        let status = match (&self.phase, &self.floor) {
            (Phase::Ringing | Phase::Closed, _) => Status::Idle,
            (_, None) => Status::Listening,
            (_, Some(_)) if self.hold.is_some() => Status::Listening,
            (_, Some(floor)) if floor.first_audio.is_some() || !self.playout.is_empty() => {
                Status::Speaking
            }
            (_, Some(_)) => Status::Thinking,
        };
        if std::mem::replace(&mut self.status, status) != status {
            self.out.push(Output::Status { status });
        }
    }
}
