//! Transitions of the listener.

use super::*;
use proptest::prelude::*;

/// Something a gate takes for a voice.
fn voice(ms: usize) -> Vec<i16> {
    (0..ms * 16).map(|n| ((n as f32 * 0.3).sin() * 6_000.0) as i16).collect()
}

fn silence(ms: usize) -> Vec<i16> {
    vec![0; ms * 16]
}

/// A listener and what it said, with its decodes by number.
struct Session {
    listener: Listener,
    said: Vec<Heard>,
    decodes: Vec<(Asked, Purpose, usize)>,
    cancelled: Vec<Asked>,
    hurried: Vec<Asked>,
}

impl Session {
    fn new(window_ms: usize, interims: bool) -> Self {
        let limits = Limits { window: window_ms * 16, interims };
        Self {
            listener: Listener::new(limits),
            said: Vec::new(),
            decodes: Vec::new(),
            cancelled: Vec::new(),
            hurried: Vec::new(),
        }
    }

    fn input(&mut self, input: Input) -> &mut Self {
        for output in self.listener.handle(input) {
            match output {
                Output::Decode { asked, purpose, samples } => {
                    self.decodes.push((asked, purpose, samples.len() / 16));
                }
                Output::Cancel(asked) => self.cancelled.push(asked),
                Output::Hurry(asked) => self.hurried.push(asked),
                Output::Say(heard) => self.said.push(heard),
            }
        }
        self
    }

    fn command(&mut self, command: Command) -> &mut Self {
        self.input(Input::Command(command))
    }

    fn begin(&mut self, number: u64) -> &mut Self {
        self.command(Command::Begin(Utterance(number)))
    }

    fn hear(&mut self, samples: &[i16]) -> &mut Self {
        for frame in samples.chunks(320) {
            self.command(Command::Audio(frame.to_vec()));
        }
        self
    }

    fn end(&mut self) -> &mut Self {
        self.command(Command::End { lost: false })
    }

    /// Answers the decode of this index.
    fn decode(&mut self, index: usize, text: &str) -> &mut Self {
        let decoded = Decoded { text: text.into(), no_speech: Some(0.01), confidence: Some(0.9) };
        self.input(Input::Decoded(self.decodes[index].0, Ok(decoded)))
    }

    fn purposes(&self) -> Vec<Purpose> {
        self.decodes.iter().map(|(_, purpose, _)| *purpose).collect()
    }

    fn last_text(&self) -> &str {
        match self.said.last() {
            Some(Heard::Final { transcript, .. }) => &transcript.text,
            Some(Heard::Interim { text, .. }) => text,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_was_decoded_at_the_pause_is_the_final_at_once() {
    let mut session = Session::new(28_000, false);
    session.begin(1).hear(&voice(800)).command(Command::Pause).decode(0, "call me back");
    assert!(matches!(session.said[0], Heard::SpeechStart { .. }));
    assert!(
        matches!(&session.said[1], Heard::Interim { settled: true, text, .. } if &**text == "call me back")
    );
    // The silence that ends the turn is not decoded.
    session.hear(&silence(500)).end();
    assert_eq!(session.purposes(), [Purpose::Pause]);
    assert_eq!((session.last_text(), session.said.len()), ("call me back", 3));
}

#[test]
fn an_end_before_the_pause_is_decoded_hurries_it_and_waits() {
    let mut session = Session::new(28_000, false);
    session.begin(1).hear(&voice(800)).command(Command::Pause).end();
    assert_eq!(session.hurried, [session.decodes[0].0]);
    assert!(session.said.is_empty());
    session.decode(0, "yes");
    assert_eq!(session.last_text(), "yes");
    assert_eq!(session.purposes(), [Purpose::Pause]);
}

#[test]
fn speech_after_a_pause_throws_its_decode_away() {
    let mut session = Session::new(28_000, false);
    session.begin(1).hear(&voice(800)).command(Command::Pause).command(Command::Resume);
    assert_eq!(session.cancelled, [session.decodes[0].0]);
    // It comes back all the same.
    session.decode(0, "call me").hear(&voice(800)).end();
    assert!(session.said.is_empty());
    session.decode(1, "call me back");
    assert_eq!(session.decodes[1].1, Purpose::Final);
    assert_eq!(session.decodes[1].2, 1_600);
    assert_eq!(session.last_text(), "call me back");
}

#[test]
fn a_shed_pause_is_decoded_again_at_the_end_and_a_shed_final_fails() {
    let mut session = Session::new(28_000, false);
    session.begin(1).hear(&voice(800)).command(Command::Pause);
    session.input(Input::Decoded(session.decodes[0].0, Err(Error::Behind))).end();
    assert_eq!(session.purposes(), [Purpose::Pause, Purpose::Final]);
    session.input(Input::Decoded(session.decodes[1].0, Err(Error::Behind)));
    assert_eq!(session.said, [Heard::Failed { utterance: Utterance(1), error: Error::Behind }]);
}

#[test]
fn interim_text_comes_while_speaking_one_decode_at_a_time() {
    let mut session = Session::new(28_000, true);
    session.begin(1).hear(&voice(3_000));
    assert_eq!(session.purposes(), [Purpose::Interim]);
    session.decode(0, "where is").hear(&voice(100));
    assert_eq!(session.purposes(), [Purpose::Interim; 2]);
    assert!(matches!(session.said[0], Heard::SpeechStart { .. }));
    assert!(matches!(session.said[1], Heard::Interim { settled: false, .. }));
    // The pause makes the interim pointless.
    session.command(Command::Pause);
    assert_eq!(session.cancelled, [session.decodes[1].0]);
}

#[test]
fn a_long_utterance_is_cut_where_it_is_quiet_and_put_together_again() {
    let mut session = Session::new(10_000, false);
    session.begin(1).hear(&voice(7_000)).hear(&silence(300)).hear(&voice(4_000)).end();
    assert_eq!(session.purposes(), [Purpose::Part, Purpose::Final]);
    let cut = session.decodes[0].2;
    assert!((7_000..7_300).contains(&cut), "{cut}");
    assert_eq!(cut + session.decodes[1].2, 11_300);
    // The later part comes back first.
    session.decode(1, "and on Tuesday.").decode(0, "I called on Monday");
    assert_eq!(session.last_text(), "I called on Monday and on Tuesday.");
}

#[test]
fn an_utterance_beyond_the_longest_is_truncated_and_says_so() {
    let mut session = Session::new(28_000, false);
    session.begin(1).hear(&voice(70_000)).end();
    let total: usize = session.decodes.iter().map(|(_, _, ms)| ms).sum();
    assert_eq!(total, MAX_UTTERANCE_SECS as usize * 1_000);
    for index in 0..session.decodes.len() {
        session.decode(index, "words");
    }
    let Some(Heard::Final { transcript, .. }) = session.said.last() else { panic!() };
    assert!(transcript.truncated);
}

#[test]
fn silence_and_clicks_are_answered_without_asking_the_model() {
    let mut session = Session::new(28_000, false);
    session.begin(1).hear(&silence(2_000)).hear(&voice(60)).command(Command::Pause).end();
    assert!(session.decodes.is_empty());
    assert_eq!(session.last_text(), "");
}

#[test]
fn the_next_utterance_may_begin_while_the_last_is_decoded_and_answers_keep_their_order() {
    let mut session = Session::new(28_000, false);
    session.begin(1).hear(&voice(500)).end().begin(2).hear(&voice(500)).end();
    session.decode(1, "second");
    assert!(session.said.is_empty());
    session.decode(0, "first");
    let finals: Vec<_> = session
        .said
        .iter()
        .map(|heard| match heard {
            Heard::Final { utterance, transcript } => (utterance.0, &*transcript.text),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(finals, [(1, "first"), (2, "second")]);
}

#[test]
fn who_is_five_utterances_behind_loses_the_oldest() {
    let mut session = Session::new(28_000, false);
    for number in 1..=5 {
        session.begin(number).hear(&voice(500)).end();
    }
    assert_eq!(session.said, [Heard::Failed { utterance: Utterance(1), error: Error::Behind }]);
    assert_eq!(session.cancelled, [session.decodes[0].0]);
}

#[test]
fn lost_sound_fails_the_utterance_and_abandoning_answers_nothing() {
    let mut session = Session::new(28_000, false);
    session.begin(1).hear(&voice(500)).command(Command::End { lost: true });
    assert_eq!(session.said, [Heard::Failed { utterance: Utterance(1), error: Error::Behind }]);
    session.begin(2).hear(&voice(500)).end().begin(3).hear(&voice(500));
    session.command(Command::Pause).command(Command::Abandon);
    assert_eq!(session.cancelled.len(), 2);
    session.decode(0, "two").decode(1, "three");
    assert_eq!(session.said.len(), 1);
}

#[test]
fn words_over_nothing_are_dropped_with_the_reason() {
    let mut session = Session::new(28_000, false);
    session.begin(1).hear(&voice(800)).end().decode(0, "Thanks for watching!");
    let Some(Heard::Final { transcript, .. }) = session.said.last() else { panic!() };
    assert_eq!(transcript.dropped, Some(Dropped::StockPhrase));
    assert!(transcript.text.is_empty());
}

/// What a call and a decoder may do, in any order.
#[derive(Debug, Clone)]
enum Step {
    Begin,
    Audio(u16),
    Pause,
    Resume,
    End(bool),
    Abandon,
    Answer(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => Just(Step::Begin),
        4 => (1_u16..3_000).prop_map(Step::Audio),
        2 => Just(Step::Pause),
        1 => Just(Step::Resume),
        2 => prop::bool::weighted(0.1).prop_map(Step::End),
        1 => Just(Step::Abandon),
        4 => any::<bool>().prop_map(Step::Answer),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    /// Every utterance that ended and was not abandoned is answered exactly once, nothing follows its
    /// answer, and no more decodes are outstanding than promised.
    #[test]
    fn every_ended_utterance_is_answered_exactly_once(steps in steps()) {
        let mut session = Session::new(5_000, true);
        let (mut number, mut open) = (0_u64, false);
        let mut wanted = Vec::new();
        let mut answered = 0;
        let mut abandoned_up_to = 0;
        for step in steps {
            match step {
                Step::Begin => {
                    if open {
                        session.command(Command::Abandon);
                        abandoned_up_to = number;
                    }
                    number += 1;
                    open = true;
                    session.begin(number);
                }
                Step::Audio(ms) => { session.hear(&voice(usize::from(ms))); }
                Step::Pause => { session.command(Command::Pause); }
                Step::Resume => { session.command(Command::Resume); }
                Step::End(lost) => {
                    if std::mem::take(&mut open) {
                        wanted.push(number);
                    }
                    session.command(Command::End { lost });
                }
                Step::Abandon => {
                    open = false;
                    abandoned_up_to = number;
                    session.command(Command::Abandon);
                }
                Step::Answer(ok) => {
                    if answered < session.decodes.len() {
                        let asked = session.decodes[answered].0;
                        answered += 1;
                        let words = Decoded { text: "some words".into(), ..Decoded::default() };
                        let result = if ok { Ok(words) } else { Err(Error::Behind) };
                        session.input(Input::Decoded(asked, result));
                    }
                }
            }
            prop_assert!(session.decodes.len() - answered <= Limits::OUTSTANDING);
        }
        while answered < session.decodes.len() {
            session.decode(answered, "some words");
            answered += 1;
        }
        let mut over = Vec::new();
        for heard in &session.said {
            match heard {
                Heard::Final { utterance, .. } | Heard::Failed { utterance, .. } => {
                    prop_assert!(!over.contains(&utterance.0), "answered twice");
                    over.push(utterance.0);
                }
                Heard::SpeechStart { utterance } | Heard::Interim { utterance, .. } => {
                    prop_assert!(!over.contains(&utterance.0), "spoke after the answer");
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
        for ended in wanted {
            prop_assert!(over.contains(&ended) || ended <= abandoned_up_to, "{ended} never answered");
        }
    }
}
