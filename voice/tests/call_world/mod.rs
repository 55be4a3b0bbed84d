//! A world around one call, in virtual time: a client that plays in real time, a synthesiser, a caller
//! whose loud sound is speech. Every step checks what always holds of a call.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "a test helper fails as a test does")]

use frontdesk_voice::audio::{Pcm, Rate, SpeechScore, VAD_WINDOW};
use frontdesk_voice::call::{
    Call, Config, Input, Message, Ms, Outcome, Output, PlainSplitter, Recorded, Speaker, Status,
    Wake, replay,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Loud is speech.
pub struct Loudness;

impl SpeechScore for Loudness {
    fn score(&mut self, window: &[i16; VAD_WINDOW]) -> f32 {
        let sum: u32 = window.iter().map(|s| u32::from(s.unsigned_abs())).sum();
        if sum / VAD_WINDOW as u32 > 1_000 { 0.95 } else { 0.05 }
    }

    fn reset(&mut self) {}
}

pub const RATE: Rate = Rate::Hz16000;

/// Samples that must never be played.
pub const STALE: i16 = -7_000;

/// How the synthesiser behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Works,
    Fails,
    Stalls,
}

pub struct World {
    pub call: Call,
    pub config: Config,
    pub now: Ms,
    pub inputs: Vec<(Ms, Input)>,
    pub outputs: Vec<(Ms, Output)>,
    answers: Vec<Vec<Output>>,

    /// Whether the microphone sends, and until when its sound is loud.
    pub microphone: bool,
    pub loud_until: Ms,
    next_mic: Ms,

    /// How the synthesiser treats the next sentence, and how long it takes a sentence to begin.
    pub engine: Engine,
    pub engine_delay: Ms,
    /// How long the synthesiser makes a byte of text.
    pub ms_per_byte: Ms,
    due: BTreeMap<(Ms, u64), Input>,
    serial: u64,

    /// What the client holds: generation and sample.
    client: VecDeque<(u32, i16)>,
    played_until: Ms,
    stretch: u32,
    played: u64,
    /// How often the client reports; 0 never.
    pub report_every: Ms,
    next_report: Ms,

    /// Samples of each generation's bytes that the caller heard.
    heard: BTreeMap<u32, BTreeMap<i16, u32>>,
    replies: BTreeMap<u32, String>,
    searched: BTreeMap<u32, usize>,
    committed: BTreeSet<u32>,
    /// Whether reports are true; only then is what was heard compared with what was played.
    pub honest: bool,
    pub lost: bool,
    /// Since when playout stands still for the caller.
    held: Option<Ms>,
    /// When the client last played anything.
    pub last_sound: Ms,
    pub most_buffered: usize,
}

impl World {
    pub fn new(config: Config) -> Self {
        Self {
            call: Call::new(config.clone(), Box::new(Loudness), Box::new(PlainSplitter::default())),
            config,
            now: 0,
            inputs: Vec::new(),
            outputs: Vec::new(),
            answers: Vec::new(),
            microphone: true,
            loud_until: 0,
            next_mic: 0,
            engine: Engine::Works,
            engine_delay: 40,
            ms_per_byte: 60,
            due: BTreeMap::new(),
            serial: 0,
            client: VecDeque::new(),
            played_until: 0,
            stretch: 0,
            played: 0,
            report_every: 20,
            next_report: 0,
            heard: BTreeMap::new(),
            replies: BTreeMap::new(),
            searched: BTreeMap::new(),
            committed: BTreeSet::new(),
            honest: true,
            lost: false,
            held: None,
            last_sound: 0,
            most_buffered: 0,
        }
    }

    /// An answered call a second after it began, with defaults and no greeting.
    pub fn answered() -> Self {
        Self::answered_with(Config::default())
    }

    pub fn answered_with(config: Config) -> Self {
        let mut world = Self::new(config);
        world.feed(Input::Answered);
        world.run_for(1_000);
        world
    }

    // What tests do.

    /// The caller makes sound for so long; time does not pass.
    pub fn speak(&mut self, ms: Ms) {
        self.loud_until = self.now + ms;
    }

    /// The caller says something and the transcriber understands it 300 ms later.
    pub fn say(&mut self, ms: Ms, text: &str) {
        self.speak(ms);
        self.run_for(ms + 300);
        self.hear(text);
    }

    pub fn hear(&mut self, text: &str) {
        self.feed(Input::Final { text: text.into() });
    }

    pub fn agent(&mut self, text: &str) {
        let generation = self.generation();
        self.feed(Input::AgentDelta { generation, text: text.into() });
        self.feed(Input::AgentEnd { generation });
    }

    /// A call in which the agent is saying `reply`, for `ms` so far.
    pub fn replying(reply: &str, ms: Ms) -> Self {
        let mut world = Self::answered();
        world.say(800, "Tell me something.");
        world.run_for(1_000);
        world.agent(reply);
        world.run_for(ms);
        world
    }

    /// The generation of the latest turn.
    pub fn generation(&self) -> u32 {
        self.turns().last().map_or(0, |turn| turn.0)
    }

    /// Runs until the call is over, and fails if that takes more than an hour.
    pub fn run_to_the_end(&mut self) {
        while !self.call.is_over() {
            assert!(self.now < 3_600_000, "the call does not end");
            self.run_for(1_000);
        }
    }

    // What tests look at.

    /// Every turn given to the agent: generation, text, interrupted generation.
    pub fn turns(&self) -> Vec<(u32, String, Option<u32>)> {
        self.outputs
            .iter()
            .filter_map(|(_, output)| match output {
                Output::StartTurn { generation, text, interrupted, .. } => {
                    Some((*generation, text.clone(), *interrupted))
                }
                _ => None,
            })
            .collect()
    }

    pub fn messages(&self) -> Vec<Message> {
        self.outputs
            .iter()
            .filter_map(|(_, output)| match output {
                Output::Commit { message } => Some(message.clone()),
                _ => None,
            })
            .collect()
    }

    /// The agent's messages as far as they were heard, with their outcome.
    pub fn heard(&self) -> Vec<(String, Outcome)> {
        self.messages()
            .into_iter()
            .filter(|message| message.speaker == Speaker::Agent)
            .map(|message| (message.text[..message.heard].to_owned(), message.outcome))
            .collect()
    }

    /// When something was given first at or after `from`.
    pub fn when(&self, from: Ms, is: impl Fn(&Output) -> bool) -> Option<Ms> {
        self.outputs.iter().find(|(at, output)| *at >= from && is(output)).map(|(at, _)| *at)
    }

    pub fn count(&self, is: impl Fn(&Output) -> bool) -> usize {
        self.outputs.iter().filter(|(_, output)| is(output)).count()
    }

    pub fn has(&self, wanted: &Output) -> bool {
        self.outputs.iter().any(|(_, output)| output == wanted)
    }

    pub fn statuses(&self) -> Vec<Status> {
        self.outputs
            .iter()
            .filter_map(|(_, output)| match output {
                Output::Status { status } => Some(*status),
                _ => None,
            })
            .collect()
    }

    /// What synthesis was asked for, in order.
    pub fn spoken(&self) -> Vec<String> {
        self.outputs
            .iter()
            .filter_map(|(_, output)| match output {
                Output::Synthesise { text, .. } => Some(text.clone()),
                _ => None,
            })
            .collect()
    }

    pub fn wake(&self) -> Option<Wake> {
        self.call.deadline().map(|(_, wake)| wake)
    }

    /// How much the client holds, in milliseconds.
    pub fn client_holds(&self) -> Ms {
        RATE.ms(self.client.len() as u64)
    }

    // Time.

    pub fn run_for(&mut self, ms: Ms) {
        self.run_until(self.now + ms);
    }

    /// Lets the world go on until `end`, event by event.
    pub fn run_until(&mut self, end: Ms) {
        loop {
            let mut next = self.due.keys().next().map_or(end, |(at, _)| *at).min(end);
            if let Some((at, _)) = self.call.deadline() {
                next = next.min(at);
            }
            if self.microphone {
                next = next.min(self.next_mic);
            }
            if self.report_every > 0 {
                next = next.min(self.next_report);
            }
            self.pass(next.max(self.now));
            if self.call.is_over() || next >= end {
                self.pass(end);
                return;
            }
            self.happen();
        }
    }

    /// Does one thing that is due now.
    fn happen(&mut self) {
        let now = self.now;
        if let Some(((at, serial), _)) = self.due.first_key_value().map(|(k, v)| (*k, v))
            && at <= now
        {
            let input = self.due.remove(&(at, serial)).unwrap();
            self.feed(input);
        } else if self.microphone && self.next_mic <= now {
            self.next_mic = now + 20;
            let level = if now < self.loud_until { 8_000 } else { 0 };
            let samples = (0..320).map(|n| if n % 2 == 0 { level } else { -level }).collect();
            self.feed(Input::Audio { sound: Pcm::new(RATE, samples) });
        } else if self.report_every > 0 && self.next_report <= now {
            self.next_report = now + self.report_every;
            self.feed(Input::Played { stretch: self.stretch, samples: self.played });
        } else {
            self.feed(Input::Timeout);
        }
    }

    /// The client plays until `now`.
    fn pass(&mut self, now: Ms) {
        let count = ((now - self.played_until) * 16) as usize;
        let count = count.min(self.client.len());
        let mut run = (0, 0, 0);
        for (generation, sample) in self.client.drain(..count) {
            if (run.0, run.1) != (generation, sample) {
                *self.heard.entry(run.0).or_default().entry(run.1).or_default() += run.2;
                run = (generation, sample, 0);
            }
            run.2 += 1;
        }
        *self.heard.entry(run.0).or_default().entry(run.1).or_default() += run.2;
        if count > 0 {
            self.last_sound = self.played_until + count as Ms / 16;
        }
        self.played += count as u64;
        (self.played_until, self.now) = (now, now);
    }

    /// Hands the call an input now, and the world its outputs.
    pub fn feed(&mut self, input: Input) {
        let mut out = Vec::new();
        let back = matches!(input, Input::Back);
        self.inputs.push((self.now, input.clone()));
        let lost = matches!(input, Input::Lost);
        self.lost &= !back;
        self.call.handle(self.now, input, &mut out);
        self.answers.push(out.clone());
        for output in out {
            self.react(&output);
            self.outputs.push((self.now, output));
        }
        if lost {
            (self.lost, self.held) = (true, None);
        }
        if back {
            // The stretch is new, but nothing stands still for the caller.
            self.held = None;
        }
        self.check();
    }

    fn later(&mut self, after: Ms, input: Input) {
        self.serial += 1;
        self.due.insert((self.now + after, self.serial), input);
    }

    fn react(&mut self, output: &Output) {
        match output {
            Output::Audio { generation, frame, play_at, .. } => {
                assert!(!self.lost, "sound for a client that is gone");
                self.held = None;
                assert!(!self.committed.contains(generation), "sound of a reply that is over");
                // A client that says it has played what it has not brings that on itself.
                assert!(
                    !self.honest || self.client.back().is_none_or(|(other, _)| other == generation),
                    "two voices at once"
                );
                assert!(*play_at >= self.now);
                assert!(!frame.samples().contains(&STALE), "sound that nobody asked for");
                self.client.extend(frame.samples().iter().map(|s| (*generation, *s)));
            }
            Output::Clear { stretch } => {
                self.client.clear();
                (self.stretch, self.played) = (*stretch, 0);
                self.held = (!self.lost).then_some(self.now);
            }
            Output::Reply { generation, text } => {
                self.replies.entry(*generation).or_default().push_str(text);
            }
            Output::Synthesise { generation, sentence, text } => {
                self.synthesise(*generation, *sentence, text);
            }
            Output::AbortVoice { generation } => {
                let of = *generation;
                self.due.retain(|_, input| {
                    !matches!(input, Input::Voice { generation, .. } | Input::VoiceEnd { generation, .. }
                        if *generation == of)
                });
            }
            Output::Metrics { .. } => self.held = None,
            Output::Commit { message } => {
                if message.speaker == Speaker::Agent {
                    self.held = None;
                }
                self.check_message(message);
            }
            _ => {}
        }
    }

    /// Speaks: every byte lasts equally long, and its samples carry its offset in the reply.
    fn synthesise(&mut self, generation: u32, sentence: u32, text: &str) {
        match self.engine {
            Engine::Stalls => return,
            Engine::Fails => {
                let delay = self.engine_delay;
                return self.later(delay, Input::VoiceFailed { generation, sentence });
            }
            Engine::Works => {}
        }
        let from = self.searched.get(&generation).copied().unwrap_or(0);
        let reply = self.replies.get(&generation).cloned().unwrap_or_default();
        let offset = reply[from..].find(text).map(|at| from + at);
        if let Some(at) = offset {
            self.searched.insert(generation, at + text.len());
        }
        let each = (self.ms_per_byte * 16) as usize;
        let samples: Vec<i16> = (0..text.len())
            .flat_map(|n| std::iter::repeat_n(offset.map_or(-1, |at| (at + n) as i16 + 1), each))
            .collect();
        for (n, chunk) in samples.chunks(4_321).enumerate() {
            let sound = Pcm::new(RATE, chunk.to_vec());
            let after = self.engine_delay + n as Ms * 5;
            self.later(after, Input::Voice { generation, sentence, sound });
        }
        let after = self.engine_delay + (samples.len() / 4_321) as Ms * 5 + 1;
        self.later(after, Input::VoiceEnd { generation, sentence });
    }

    // What always holds.

    fn check(&mut self) {
        let lead = self.config.playout_lead.max(20);
        let holds = self.client_holds();
        assert!(!self.honest || holds <= lead, "the client holds {holds} ms");
        self.most_buffered = self.most_buffered.max(self.call.buffered());
        assert!(self.call.buffered() <= 16 * 90_000, "{} samples", self.call.buffered());
        if let Some(held) = self.held.filter(|_| !self.call.is_over()) {
            assert!(self.now <= held + 6_100, "held since {held}, now {}", self.now);
        }
        match self.call.deadline() {
            None => assert!(self.call.is_over(), "nothing to wait for"),
            Some((at, wake)) => {
                assert!(!self.call.is_over());
                assert!(at > self.now, "{wake:?} at {at} is due at {}", self.now);
                assert!(at <= self.now + 125_000, "waits for {wake:?} until {at}");
            }
        }
        if self.call.status() == Status::Speaking {
            assert!(!matches!(self.wake(), Some(Wake::Idle)));
        }
    }

    /// A message says what the caller heard, to the word.
    fn check_message(&mut self, message: &Message) {
        let Message { generated, sent, heard, text, .. } = message;
        assert!(heard <= sent && sent <= generated && *generated == text.len(), "{message:?}");
        assert!(text.is_char_boundary(*heard) && text.is_char_boundary(*sent));
        let Some(generation) = message.generation else { return };
        assert!(self.committed.insert(generation), "{message:?} twice");
        if !self.honest {
            return;
        }
        let each = (self.ms_per_byte * 16) as u32;
        let bytes = self.heard.remove(&generation).unwrap_or_default();
        let truth = bytes.iter().filter(|(byte, count)| **byte > 0 && **count * 2 >= each);
        let truth = truth.map(|(byte, _)| *byte as usize).max().unwrap_or(0);
        let longest = text.split_whitespace().map(str::len).max().unwrap_or(0);
        if message.outcome == Outcome::Complete {
            let whole = bytes.iter().filter(|(byte, n)| **byte > 0 && **n * 2 >= each).count();
            let spoken = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).count();
            assert!(whole >= spoken, "heard {whole} bytes of {message:?}");
        } else {
            assert!(*heard <= truth + 2, "heard only {truth}: {message:?}");
            assert!(heard + longest + 3 >= truth, "heard {truth}: {message:?}");
        }
    }

    /// The recorded inputs, stored and read back, give the same outputs.
    pub fn check_replay(&self) {
        let recorded = Recorded { config: self.config.clone(), inputs: self.inputs.clone() };
        let stored = serde_json::to_string(&recorded).unwrap();
        let again: Recorded = serde_json::from_str(&stored).unwrap();
        assert!(again == recorded);
        let stored = serde_json::to_string(&self.answers).unwrap();
        assert!(serde_json::from_str::<Vec<Vec<Output>>>(&stored).unwrap() == self.answers);
        self.check_same_again();
    }

    /// The same inputs give the same outputs.
    pub fn check_same_again(&self) {
        let recorded = Recorded { config: self.config.clone(), inputs: self.inputs.clone() };
        let again = replay(&recorded, Box::new(Loudness), Box::new(PlainSplitter::default()));
        assert!(again == self.answers, "the replay differs");
    }
}
