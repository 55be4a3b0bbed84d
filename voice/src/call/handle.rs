//! The call, and what each input does to it.

use super::backchannel::{count_words, is_backchannel, same_words};
use super::caller::CallerTurn;
use super::ear::{Ear, Heard};
use super::keypad::Keypad;
use super::playout::Playout;
use super::talk::{Floor, Hold, Queued};
use super::{
    Config, EndReason, Input, Line, Ms, Notice, Origin, Output, Splitter, Status, Via, Wake,
};
use crate::audio::{Activity, Pcm, SpeechScore};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// The most tools that are watched at a time; more run unwatched.
const TOOLS: usize = 64;

/// One call. See the [module](super) for how to drive it.
pub struct Call {
    pub(super) config: Config,
    pub(super) phase: Phase,
    pub(super) now: Ms,
    pub(super) out: Vec<Output>,

    pub(super) ear: Ear,
    /// The caller's turn while it is open.
    pub(super) turn: Option<CallerTurn>,
    /// Words of the last turn that were not final when it ended.
    pub(super) guess: Option<String>,
    pub(super) keypad: Keypad,

    /// What the agent is saying or about to say.
    pub(super) floor: Option<Floor>,
    /// Playout stands still because the caller may be speaking.
    pub(super) hold: Option<Hold>,
    pub(super) queue: VecDeque<Queued>,
    pub(super) playout: Playout,
    pub(super) splitter: Box<dyn Splitter>,

    pub(super) generations: u32,
    pub(super) turns: u32,
    /// The last reply that was cut off, until the agent has been told.
    pub(super) interrupted: Option<u32>,
    /// Tools that run, and since when.
    pub(super) tools: BTreeMap<u64, Ms>,
    /// Replies that failed in a row.
    pub(super) failures: u32,
    /// When somebody last said something.
    pub(super) idle_since: Ms,
    pub(super) prompted: bool,
    /// When the socket broke.
    pub(super) lost: Option<Ms>,
    pub(super) status: Status,
}

/// How far the call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not yet answered.
    Ringing,
    /// In conversation.
    Open,
    /// What is being said, and the farewell, are heard to their end.
    Closing(EndReason),
    /// Over.
    Closed,
}

impl Call {
    /// A call that rings, at time 0. It judges speech with `scorer` and cuts replies with `splitter`.
    #[must_use]
    pub fn new(config: Config, scorer: Box<dyn SpeechScore>, splitter: Box<dyn Splitter>) -> Self {
        Self {
            phase: Phase::Ringing,
            now: 0,
            out: Vec::new(),
            ear: Ear::new(config.vad.clone(), scorer),
            turn: None,
            guess: None,
            keypad: Keypad::default(),
            floor: None,
            hold: None,
            queue: VecDeque::new(),
            playout: Playout::new(config.playout_rate, config.playout_lead),
            splitter,
            generations: 0,
            turns: 0,
            interrupted: None,
            tools: BTreeMap::new(),
            failures: 0,
            idle_since: 0,
            prompted: false,
            lost: None,
            status: Status::Idle,
            config,
        }
    }

    /// Takes an input and appends what is to be done to `out`. A clock that goes backwards stands still.
    pub fn handle(&mut self, now: Ms, input: Input, out: &mut Vec<Output>) {
        if self.phase == Phase::Closed {
            return;
        }
        self.now = self.now.max(now);
        std::mem::swap(&mut self.out, out);
        self.playout.advance(self.now);
        // What was due before this input happened before it, had the driver been awake in time.
        self.run();
        self.take(input);
        self.run();
        self.tell_status();
        std::mem::swap(&mut self.out, out);
    }

    /// When to come back with [`Input::Timeout`] if nothing happens before, and why. None when the call is
    /// over, and only then.
    #[must_use]
    pub fn deadline(&self) -> Option<(Ms, Wake)> {
        self.next_timer()
    }

    /// Whether the call is over: [`Output::HangUp`] was given.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Who has the floor.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// The caller's level in decibels below full scale.
    #[must_use]
    pub fn caller_dbfs(&self) -> f64 {
        self.ear.dbfs()
    }

    /// Samples of the agent's voice held for sending or resending.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.floor.as_ref().map_or(0, |floor| floor.track.held())
    }

    fn take(&mut self, input: Input) {
        match (self.phase, &input) {
            (Phase::Closed, _) => return,
            (Phase::Ringing, Input::Answered) => return self.answer(),
            (Phase::Ringing, Input::HungUp | Input::Timeout) => {}
            (Phase::Ringing, _) => return,
            (Phase::Open | Phase::Closing(_), _) => {}
        }
        match input {
            Input::Answered | Input::Timeout => {}
            Input::Audio { sound } => self.listen(&sound),
            Input::Played { stretch, samples } => self.playout.report(self.now, stretch, samples),
            Input::Key { key } => self.press(key),
            Input::Text { text } => self.typed(text.trim()),
            Input::Interrupt => {
                if self.interruptible() {
                    self.interrupt();
                    self.active();
                }
            }
            Input::Lost => self.lose(),
            Input::Back => self.come_back(),
            Input::HungUp => self.finish(EndReason::CallerHungUp),

            Input::SpeechStart => {
                if let Some(turn) = &mut self.turn {
                    turn.words_coming(self.now);
                }
            }
            Input::Interim { text, settled } => self.interim(text.trim(), settled),
            Input::Final { text } => self.final_text(text.trim()),
            Input::TranscriberFailed { lasting } => self.cannot_hear(lasting),

            Input::AgentDelta { generation, text } => self.agent_writes(generation, &text),
            Input::AgentEnd { generation } => self.agent_ends(generation),
            Input::AgentFailed { generation } => self.agent_fails(generation, Notice::AgentFailed),
            Input::ToolStarted { tool } => {
                if self.tools.len() < TOOLS {
                    self.tools.entry(tool).or_insert(self.now);
                }
            }
            Input::ToolEnded { tool } => {
                if self.tools.remove(&tool).is_some() {
                    self.active();
                    if let Some(floor) = &mut self.floor {
                        floor.progress = self.now;
                    }
                }
            }
            Input::Say { line } => self.say(line),
            Input::End { farewell } => {
                self.close(EndReason::AgentEnded, farewell.unwrap_or_default())
            }

            Input::Voice { generation, sentence, sound } => {
                let (now, rate) = (self.now, self.config.playout_rate);
                if let Some(floor) = self.floor_of(generation) {
                    floor.utterance.sound(now, sentence, &sound, rate);
                }
            }
            Input::VoiceEnd { generation, sentence } => {
                let now = self.now;
                if let Some(floor) = self.floor_of(generation) {
                    floor.utterance.end(now, sentence);
                }
            }
            Input::VoiceFailed { generation, sentence } => self.voice_fails(generation, sentence),
        }
    }

    /// Somebody did something: the silence begins anew.
    pub(super) fn active(&mut self) {
        (self.idle_since, self.prompted) = (self.now, false);
    }

    fn answer(&mut self) {
        self.phase = Phase::Open;
        self.active();
        let text = self.config.phrases.greeting.clone();
        self.enqueue(Origin::Greeting, text, true);
    }

    fn say(&mut self, Line { text, interruptible }: Line) {
        self.enqueue(Origin::Announcement, text, interruptible);
    }

    // The caller's voice.

    fn listen(&mut self, sound: &Pcm) {
        if self.lost.is_some() {
            return;
        }
        let mut heard = Vec::with_capacity(4);
        let playing = !self.playout.is_empty();
        self.ear.push(self.now, sound, playing, |event| heard.push(event));
        for event in heard {
            match event {
                Heard::Frame(frame) => self.out.push(Output::Transcribe { frame }),
                Heard::Change(change) => self.voice_activity(change),
            }
        }
    }

    pub(super) fn voice_activity(&mut self, change: Activity) {
        let now = self.now;
        match change {
            Activity::Started { ago_ms } => {
                self.out.push(Output::SpeechStarted { at: now.saturating_sub(ago_ms) });
                if matches!(self.phase, Phase::Closing(_)) {
                    return;
                }
                match &mut self.turn {
                    Some(turn) => turn.resume(now),
                    None => self.turn = Some(CallerTurn::by_speech(now)),
                }
                self.hold_playout();
            }
            Activity::Ended { ago_ms } => {
                let at = now.saturating_sub(ago_ms);
                self.out.push(Output::SpeechPaused { at });
                if let Some(turn) = &mut self.turn {
                    turn.pause(at);
                }
                if let Some(hold) = &mut self.hold {
                    hold.quiet = Some(at);
                }
            }
        }
    }

    fn interim(&mut self, text: &str, settled: bool) {
        if !self.words_count(text) {
            return;
        }
        let now = self.now;
        let turn = self.turn.get_or_insert_with(|| CallerTurn::by_words(now, Via::Speech));
        turn.interim(now, text, settled);
        self.out.push(Output::Interim { text: text.to_owned() });
    }

    fn final_text(&mut self, text: &str) {
        let now = self.now;
        // The final text of what was already answered by its interim text.
        let answered = self.guess.take().is_some_and(|guess| same_words(&guess, text));
        if answered || text.is_empty() || !self.words_count(text) {
            // Only a sound, or only listening: it settles what is open, and adds nothing.
            if matches!(self.phase, Phase::Open) {
                if let Some(turn) = &mut self.turn {
                    turn.final_text(now, "");
                }
                if self.hold.as_ref().is_some_and(|hold| hold.quiet.is_some()) {
                    self.resume();
                }
            }
            return;
        }
        let turn = self.turn.get_or_insert_with(|| CallerTurn::by_words(now, Via::Speech));
        turn.final_text(now, text);
        self.out.push(Output::Interim { text: String::new() });
    }

    /// Whether words belong to a turn. If the agent has the floor they must be enough to take it, and do.
    fn words_count(&mut self, text: &str) -> bool {
        if self.phase != Phase::Open || text.is_empty() {
            return false;
        }
        self.active();
        if self.floor.is_some() && is_backchannel(text) && !self.in_answer_zone() {
            return false;
        }
        if self.interruptible() {
            if count_words(text) < self.config.interrupt_words {
                return false;
            }
            self.interrupt();
        }
        true
    }

    fn cannot_hear(&mut self, lasting: bool) {
        if !lasting {
            self.out.push(Output::Notice { notice: Notice::HearingTrouble });
            return;
        }
        self.out.push(Output::Notice { notice: Notice::HearingFailed });
        let text = self.config.phrases.hearing_failed.clone();
        if self.config.screen {
            self.enqueue(Origin::Explanation, text, true);
        } else {
            self.close(EndReason::EngineFailed, text);
        }
    }

    // The caller's fingers.

    fn press(&mut self, key: char) {
        if self.phase != Phase::Open {
            return;
        }
        if self.interruptible() {
            self.interrupt();
        }
        if let Some(keys) = self.keypad.press(key, self.now) {
            self.ask_agent(keys, Via::Keypad);
        }
    }

    fn typed(&mut self, text: &str) {
        if self.phase != Phase::Open || text.is_empty() {
            return;
        }
        self.ask_agent(text.to_owned(), Via::Text);
    }

    /// Words that are complete as they come. They interrupt, or wait for what cannot be interrupted.
    pub(super) fn ask_agent(&mut self, text: String, via: Via) {
        let now = self.now;
        if self.interruptible() {
            self.interrupt();
        }
        let mut turn = CallerTurn::by_words(now, via);
        turn.final_text(now, &text);
        if self.floor.is_some() {
            match &mut self.turn {
                Some(open) => open.final_text(now, &text),
                None => self.turn = Some(turn),
            }
        } else if let Some(said) = turn.said() {
            self.start_turn(said);
        }
    }

    // The socket.

    fn lose(&mut self) {
        if self.lost.is_some() || !matches!(self.phase, Phase::Open | Phase::Closing(_)) {
            return;
        }
        self.take_back_playout();
        if let Some(change) = self.ear.stop() {
            self.voice_activity(change);
        }
        self.hold = None;
        self.lost = Some(self.now);
    }

    fn come_back(&mut self) {
        if self.lost.take().is_none() {
            return;
        }
        // A client that starts anew counts from zero whatever it held.
        let heard = self.heard_position();
        let stretch = self.playout.clear(self.now);
        self.out.push(Output::Clear { stretch });
        self.out.push(Output::Status { status: self.status });
        self.active();
        if let Some(floor) = &mut self.floor {
            floor.progress = self.now;
            floor.anchor = (0, heard);
        }
        if let Some(turn) = &mut self.turn {
            turn.pause(self.now);
        }
    }
}

/// Everything needed to run a call again, apart from the code.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// Its settings.
    pub config: Config,
    /// Its inputs and when they came.
    pub inputs: Vec<(Ms, Input)>,
}

/// Runs a recorded call and gives its outputs, by input.
#[must_use]
pub fn replay(
    recorded: &Recorded,
    scorer: Box<dyn SpeechScore>,
    splitter: Box<dyn Splitter>,
) -> Vec<Vec<Output>> {
    let mut call = Call::new(recorded.config.clone(), scorer, splitter);
    let run = |(now, input): &(Ms, Input)| {
        let mut out = Vec::new();
        call.handle(*now, input.clone(), &mut out);
        out
    };
    recorded.inputs.iter().map(run).collect()
}
