//! The engines that need only system packages: flite speaks, PocketSphinx hears.
//!
//! Needs `libflite1 libpocketsphinx3 pocketsphinx-en-us espeak-ng` from the system.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use frontdesk_voice::engine::{
    Chunk, EngineName, Error, Expect, Grammar, Heard, Job, LISTEN_RATE, Registry, Say, Session,
    SessionOptions, Settings, State, Synthesiser, Transcript, Utterance,
};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::time::timeout;

/// No engine here takes this long for one sentence, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn name(text: &str) -> EngineName {
    text.parse().unwrap()
}

fn voice(text: &str) -> Arc<dyn Synthesiser> {
    Registry::new(Settings::default()).synthesiser(&name(text)).unwrap()
}

async fn say(voice: &dyn Synthesiser, text: &str) -> Chunk {
    timeout(PATIENCE, voice.say(Say::new(text)).unwrap().collect()).await.unwrap().unwrap()
}

fn listen(grammar: Grammar) -> Session {
    let engine = Registry::new(Settings::default()).transcriber(&name("pocketsphinx:en-us"));
    let options = SessionOptions { expect: Expect::Grammar(grammar), ..Default::default() };
    engine.unwrap().open(options).unwrap()
}

/// Sends an utterance as a call does: 20 ms frames, a quarter of a second of silence on both sides.
fn send(session: &mut Session, sound: &Chunk) -> Utterance {
    assert_eq!(sound.rate, LISTEN_RATE);
    let quiet = vec![0_i16; LISTEN_RATE as usize / 4];
    let utterance = session.begin().unwrap();
    for frame in [&quiet, &sound.samples, &quiet].into_iter().flat_map(|part| part.chunks(320)) {
        session.audio(frame).unwrap();
    }
    session.end().unwrap();
    utterance
}

/// What the session says about an utterance, up to its answer.
async fn answer(session: &mut Session, wanted: Utterance) -> (Vec<Heard>, Transcript) {
    let mut before = Vec::new();
    loop {
        match timeout(PATIENCE, session.next()).await.unwrap().unwrap() {
            Heard::Final { utterance, transcript } => {
                assert_eq!(utterance, wanted);
                return (before, transcript);
            }
            heard @ (Heard::SpeechStart { .. } | Heard::Interim { .. }) => before.push(heard),
            other => panic!("{other:?}"),
        }
    }
}

fn menu() -> Grammar {
    Grammar::phrases([
        "yes",
        "no thank you",
        "please call me back tomorrow",
        "i would like to speak to a person",
        "where is my order",
        "cancel the meeting",
    ])
    .unwrap()
}

#[tokio::test]
async fn what_kal16_says_pocketsphinx_hears_word_for_word() {
    let kal = voice("flite:kal16");
    let mut session = listen(menu());
    for phrase in [
        "please call me back tomorrow",
        "i would like to speak to a person",
        "where is my order",
        "cancel the meeting",
        "no thank you",
    ] {
        let utterance = send(&mut session, &say(&*kal, phrase).await);
        let (before, transcript) = answer(&mut session, utterance).await;
        assert_eq!(&*transcript.text, phrase);
        assert!(!transcript.truncated && transcript.dropped.is_none());
        // The start comes first, and once.
        assert!(matches!(before.first(), Some(Heard::SpeechStart { .. })), "{before:?}");
        let starts = before.iter().filter(|heard| matches!(heard, Heard::SpeechStart { .. }));
        assert_eq!(starts.count(), 1);
        assert!(before.len() > 1, "no interim text");
    }
}

#[tokio::test]
async fn digits_and_yes_or_no_are_heard_and_what_is_expected_can_change_in_a_call() {
    let slt = voice("flite:slt");
    let mut session = listen(Grammar::digits());
    let utterance = send(&mut session, &say(&*slt, "four seven one nine").await);
    assert_eq!(&*answer(&mut session, utterance).await.1.text, "four seven one nine");
    session.expect(Expect::Grammar(Grammar::yes_no())).unwrap();
    let utterance = send(&mut session, &say(&*slt, "yes please").await);
    assert_eq!(&*answer(&mut session, utterance).await.1.text, "yes please");
}

#[tokio::test]
async fn two_sessions_at_once_hear_their_own_callers() {
    let kal = voice("flite:kal16");
    let order = say(&*kal, "where is my order").await;
    let cancel = say(&*kal, "cancel the meeting").await;
    let (mut one, mut two) = (listen(menu()), listen(menu()));
    for _ in 0..3 {
        let first = send(&mut one, &order);
        let second = send(&mut two, &cancel);
        let (first, second) = tokio::join!(answer(&mut one, first), answer(&mut two, second));
        assert_eq!(&*first.1.text, "where is my order");
        assert_eq!(&*second.1.text, "cancel the meeting");
    }
}

#[tokio::test]
async fn the_general_model_hears_a_plain_sentence() {
    let kal = voice("flite:kal16");
    let sound = say(&*kal, "please call me back tomorrow morning").await;
    let engine = Registry::new(Settings::default()).transcriber(&name("pocketsphinx:en-us"));
    let mut session = engine.unwrap().open(SessionOptions::default()).unwrap();
    let utterance = send(&mut session, &sound);
    let transcript = answer(&mut session, utterance).await.1;
    assert_eq!(&*transcript.text, "please call me back tomorrow morning");
}

#[tokio::test]
async fn an_abandoned_utterance_is_not_answered_and_the_next_one_is() {
    let kal = voice("flite:kal16");
    let mut session = listen(menu());
    let sound = say(&*kal, "where is my order").await;
    let forgotten = send(&mut session, &sound);
    session.abandon().unwrap();
    let wanted = send(&mut session, &say(&*kal, "cancel the meeting").await);
    assert!(wanted > forgotten);
    // `answer` panics on an event about anything else.
    let (before, transcript) = answer(&mut session, wanted).await;
    assert_eq!(&*transcript.text, "cancel the meeting");
    for heard in before {
        let (Heard::SpeechStart { utterance } | Heard::Interim { utterance, .. }) = heard else {
            unreachable!("answer returns no others")
        };
        assert_eq!(utterance, wanted);
    }
}

#[tokio::test]
async fn silence_has_a_final_without_words() {
    let mut session = listen(menu());
    let silence = Chunk { rate: LISTEN_RATE, samples: vec![0; 16_000] };
    let utterance = send(&mut session, &silence);
    let (before, transcript) = answer(&mut session, utterance).await;
    assert!(before.is_empty() && transcript.text.is_empty());
}

#[tokio::test]
async fn a_flood_of_sound_loses_the_utterance_but_not_the_session() {
    let mut session = listen(menu());
    let utterance = session.begin().unwrap();
    // Two minutes at once, before the decoder has even loaded its model.
    let results: Vec<_> = (0..6_000).map(|_| session.audio(&[0; 320])).collect();
    assert!(results.contains(&Err(Error::Behind)));
    session.end().unwrap();
    let failed = timeout(PATIENCE, session.next()).await.unwrap().unwrap();
    assert_eq!(failed, Heard::Failed { utterance, error: Error::Behind });
    let sound = say(&*voice("flite:kal16"), "where is my order").await;
    let utterance = send(&mut session, &sound);
    assert_eq!(&*answer(&mut session, utterance).await.1.text, "where is my order");
}

#[tokio::test]
async fn a_grammar_with_a_word_nobody_can_pronounce_breaks_the_session_and_names_the_word() {
    let grammar = Grammar::phrases(["call xyzzyq", "yes"]).unwrap();
    let mut session = listen(grammar);
    let broken = timeout(PATIENCE, session.next()).await.unwrap().unwrap();
    let Heard::Broken { error } = broken else { panic!("{broken:?}") };
    assert!(error.to_string().contains("xyzzyq"), "{error}");
    assert_eq!(timeout(PATIENCE, session.next()).await.unwrap(), None);
    assert_eq!(session.begin(), Err(Error::Closed));
}

#[tokio::test]
async fn sessions_beyond_the_limit_are_refused_until_one_closes() {
    let mut settings = Settings::default();
    settings.pocketsphinx.sessions = Some(1);
    let engine = Registry::new(settings).transcriber(&name("pocketsphinx:en-us")).unwrap();
    let options =
        || SessionOptions { expect: Expect::Grammar(Grammar::yes_no()), ..Default::default() };
    let mut first = engine.open(options()).unwrap();
    assert!(matches!(engine.open(options()), Err(Error::Busy { limit: 1, .. })));
    // An answer shows that the thread is past loading; closing then takes it no time.
    let utterance = send(&mut first, &Chunk { rate: LISTEN_RATE, samples: vec![0; 3_200] });
    answer(&mut first, utterance).await;
    drop(first);
    let reopened = timeout(PATIENCE, async {
        loop {
            match engine.open(options()) {
                Ok(session) => return session,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    assert!(reopened.await.is_ok());
}

#[tokio::test]
async fn kal16_makes_the_same_samples_every_time_and_on_many_threads() {
    let text = "Your order of three items was sent on the fourth of May.";
    let first = say(&*voice("flite:kal16"), text).await;
    assert_eq!(first.rate, 16_000);
    assert!(first.samples.len() > 32_000, "{first:?}");
    let kal = voice("flite:kal16");
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let kal = Arc::clone(&kal);
            tokio::spawn(async move { say(&*kal, text).await })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap() == first);
    }
}

#[tokio::test]
async fn pace_changes_the_length_and_only_for_that_sentence() {
    let kal = voice("flite:kal16");
    let text = "Take your time.";
    let usual = say(&*kal, text).await.samples.len();
    let slow = kal.say(Say::new(text).at_pace(0.5)).unwrap().collect().await.unwrap();
    assert!(slow.samples.len() > usual * 3 / 2, "{} {usual}", slow.samples.len());
    assert_eq!(say(&*kal, text).await.samples.len(), usual);
}

#[tokio::test]
async fn speech_comes_in_chunks_and_nothing_follows_a_cancel() {
    for engine in ["flite:slt", "espeak:en"] {
        let voice = voice(engine);
        let mut speech =
            voice.say(Say::new("This is a sentence that somebody interrupts.")).unwrap();
        let chunk = timeout(PATIENCE, speech.next()).await.unwrap().unwrap().unwrap();
        let longest = chunk.rate as usize * 40 / 1_000;
        assert!(!chunk.samples.is_empty() && chunk.samples.len() <= longest, "{chunk:?}");
        speech.cancel();
        assert_eq!(speech.next().await, None);
        // And the engine goes on with the next sentence.
        assert!(!say(&*voice, "Yes?").await.samples.is_empty());
    }
}

#[tokio::test]
async fn odd_text_neither_hurts_nor_stops_an_engine() {
    let long_word = "a".repeat(1_500);
    let emoji = "👍🏽 naïve — “quoted” … 日本語 [[not phonemes]] <b>no markup</b>";
    for engine in ["flite:kal16", "flite:slt", "espeak:en"] {
        let voice = voice(engine);
        for text in ["", " \n\t ", "\0\u{7}", "...", "?!", emoji, long_word.as_str()] {
            // What has nothing to say may be silent; nothing may hang, fail or crash.
            say(&*voice, text).await;
        }
        let too_long = "a ".repeat(1_500);
        assert!(matches!(voice.say(Say::new(too_long)), Err(Error::Invalid(_))));
        assert!(!say(&*voice, "still here").await.samples.is_empty());
    }
}

#[tokio::test]
async fn espeak_speaks_german_at_its_own_rate() {
    let chunk = say(&*voice("espeak:de"), "Guten Tag, wie kann ich Ihnen helfen?").await;
    assert_eq!(chunk.rate, 22_050);
    assert!(chunk.samples.len() > 22_050, "{chunk:?}");
    assert!(chunk.samples.iter().any(|sample| sample.unsigned_abs() > 3_000));
}

#[test]
fn missing_parts_say_which_package_to_install() {
    let empty = tempfile::tempdir().unwrap();
    let nowhere: PathBuf = empty.path().to_owned();
    let mut settings = Settings { library_dir: Some(nowhere.clone()), ..Default::default() };
    settings.espeak = Some(nowhere.join("espeak-ng"));
    let registry = Registry::new(settings);
    for (engine, job, missing, package) in [
        ("flite:slt", Job::Speak, "libflite.so.1", "apt install libflite1"),
        ("pocketsphinx:en-us", Job::Listen, "libsphinxbase.so.3", "apt install libpocketsphinx3"),
        ("espeak:de", Job::Speak, "espeak-ng", "apt install espeak-ng"),
    ] {
        let State::Lacking { what, fix } = registry.check(&name(engine), job).state else {
            panic!("{engine} works without its library")
        };
        assert!(what.contains(missing), "{what}");
        assert!(fix.contains(package), "{fix}");
    }
    let mut settings = Settings::default();
    settings.pocketsphinx.model_dir = Some(nowhere);
    let report = Registry::new(settings).check(&name("pocketsphinx:en-us"), Job::Listen);
    let State::Lacking { what, fix } = report.state else { panic!("no model, but ready") };
    assert!(what.contains("mdef") && fix == "apt install pocketsphinx-en-us", "{what} {fix}");
}

#[test]
fn a_wrong_name_says_what_there_is() {
    let registry = Registry::default();
    for (engine, job, hint) in [
        ("flite:nobody", Job::Speak, "slt, kal16"),
        ("espeak:nolanguage", Job::Speak, "espeak-ng --voices"),
        ("flite:slt", Job::Listen, "whisper, pocketsphinx"),
        ("whisper:base.en", Job::Speak, "flite, espeak"),
    ] {
        let State::Lacking { what, .. } = registry.check(&name(engine), job).state else {
            panic!("{engine} is ready")
        };
        assert!(what.contains(hint), "{what}");
    }
    let report = registry.check(&name("pocketsphinx:en-us"), Job::Listen);
    assert!(matches!(report.state, State::Ready { note } if note.starts_with("basic")));
}

#[test]
fn an_engine_is_loaded_once_and_kept() {
    let registry = Registry::default();
    let kal = name("flite:kal16");
    let loaded: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| registry.synthesiser(&kal))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect()
    });
    assert!(loaded.iter().all(|engine| Arc::ptr_eq(engine, &loaded[0])));
}

#[test]
fn what_was_missing_is_found_once_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("own.lm.bin");
    let mut settings = Settings::default();
    settings.pocketsphinx.language_model = Some(own.clone());
    let registry = Registry::new(settings);
    let report = registry.check(&name("pocketsphinx:en-us"), Job::Listen);
    assert!(matches!(report.state, State::Lacking { .. }));
    std::fs::copy("/usr/share/pocketsphinx/model/en-us/en-us-phone.lm.bin", own).unwrap();
    let report = registry.check(&name("pocketsphinx:en-us"), Job::Listen);
    assert!(matches!(report.state, State::Ready { .. }));
}

#[test]
fn settings_have_defaults_unknown_keys_are_refused_and_keys_are_not_shown() {
    let settings: Settings = serde_json::from_str(
        r#"{"whisper": {"language": "de", "files": {"mine": "/models/mine.bin"}},
            "openai": {"base": "http://127.0.0.1:9/v1", "key": "sk-123"}}"#,
    )
    .unwrap();
    assert_eq!(settings.whisper.language.as_deref(), Some("de"));
    assert!(!format!("{settings:?}").contains("sk-123"));
    for wrong in [r#"{"wisper": {}}"#, r#"{"whisper": {"thread": 2}}"#] {
        assert!(serde_json::from_str::<Settings>(wrong).is_err(), "{wrong}");
    }
}

#[cfg(not(any(feature = "whisper", feature = "remote")))]
#[test]
fn an_engine_that_is_not_in_the_build_says_which_feature_brings_it() {
    for (engine, job, feature) in [
        ("whisper:base.en", Job::Listen, "whisper"),
        ("deepgram:nova-3", Job::Listen, "remote"),
        ("openai:whisper-1", Job::Listen, "remote"),
        ("openai:tts-1/alloy", Job::Speak, "remote"),
    ] {
        let State::Lacking { fix, .. } = Registry::default().check(&name(engine), job).state else {
            panic!("{engine} is ready")
        };
        assert_eq!(fix, format!("cargo build --features {feature}"));
    }
}
