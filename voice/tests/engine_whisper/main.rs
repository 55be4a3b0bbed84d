//! Whisper from the file to the transcript, with a model of random weights: loading, decoding, cancelling
//! and limits are the real ones; only the words are not.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]
#![cfg(feature = "whisper")]

use frontdesk_voice::engine::{
    Chunk, EngineName, Error, Heard, Job, LISTEN_RATE, Registry, Say, Session, SessionOptions,
    Settings, State, Transcriber, Utterance, random_model,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::time::timeout;

/// A busy machine and a model that talks on for as long as it may.
const PATIENCE: Duration = Duration::from_secs(300);

fn name(text: &str) -> EngineName {
    text.parse().unwrap()
}

fn settings(dir: &Path) -> Settings {
    let mut settings = Settings::default();
    settings.whisper.models_dir = Some(dir.to_owned());
    // The threads of one decode wait for each other in a spin, which on a busy machine takes for ever.
    settings.whisper.threads = Some(1);
    settings
}

fn model() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ggml-tiny.en.bin");
    random_model::write(&file).unwrap();
    (dir, file)
}

fn whisper() -> (TempDir, Arc<dyn Transcriber>) {
    let (dir, _) = model();
    let engine = Registry::new(settings(dir.path())).transcriber(&name("whisper:tiny.en")).unwrap();
    (dir, engine)
}

async fn speech() -> Chunk {
    let voice = Registry::default().synthesiser(&name("flite:kal16")).unwrap();
    voice.say(Say::new("yes please")).unwrap().collect().await.unwrap()
}

fn quiet() -> SessionOptions {
    SessionOptions { interims: false, ..Default::default() }
}

fn send(session: &mut Session, samples: &[i16]) -> Utterance {
    let utterance = session.begin().unwrap();
    for frame in samples.chunks(320) {
        // The session's task runs between the calls of a real one.
        session.audio(frame).unwrap();
    }
    utterance
}

async fn next(session: &mut Session) -> Heard {
    timeout(PATIENCE, session.next()).await.unwrap().expect("the session is open")
}

/// The answer to an utterance, and whether text was shown before.
async fn answer(session: &mut Session, wanted: Utterance) -> Heard {
    loop {
        match next(session).await {
            heard @ (Heard::Final { utterance, .. } | Heard::Failed { utterance, .. }) => {
                assert_eq!(utterance, wanted);
                return heard;
            }
            Heard::SpeechStart { .. } | Heard::Interim { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_model_has_the_size_of_the_real_one() {
    let (_dir, file) = model();
    let made = file.metadata().unwrap().len();
    let real = frontdesk_voice::engine::models::Manifest::default().get("tiny.en").unwrap().size;
    // The real one has other words in its list.
    assert!(made.abs_diff(real) < 500_000, "{made} {real}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_utterance_is_decoded_at_its_pause_and_answered_at_its_end() {
    let (_dir, engine) = whisper();
    let sound = speech().await;
    assert_eq!(sound.rate, LISTEN_RATE);
    let mut session = engine.open(quiet()).unwrap();
    let utterance = send(&mut session, &sound.samples);
    let paused = Instant::now();
    session.pause().unwrap();
    // Whether or not the nonsense is believed, the pause is settled.
    loop {
        if let Heard::Interim { settled, .. } = next(&mut session).await {
            assert!(settled);
            break;
        }
    }
    let decoded = paused.elapsed();
    session.audio(&[0; 320]).unwrap();
    let ended = Instant::now();
    session.end().unwrap();
    let heard = next(&mut session).await;
    let answered = ended.elapsed();
    let Heard::Final { utterance: of, transcript } = heard else { panic!("{heard:?}") };
    assert_eq!(of, utterance);
    let confidence = transcript.confidence.unwrap();
    assert!((0.0..=1.0).contains(&confidence), "{confidence}");
    assert!(transcript.text.is_empty() || transcript.dropped.is_none());
    // The end only hands over what the pause decoded.
    assert!(answered < decoded, "{answered:?} after {decoded:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_utterance_abandoned_while_it_is_decoded_is_not_answered_and_the_next_one_is() {
    let (_dir, engine) = whisper();
    let sound = speech().await;
    let long: Vec<i16> = sound.samples.iter().copied().cycle().take(9 * 16_000).collect();
    let mut session = engine.open(quiet()).unwrap();
    let utterance = send(&mut session, &long);
    session.end().unwrap();
    // Long enough for the slot to be at work.
    tokio::time::sleep(Duration::from_millis(20)).await;
    session.abandon().unwrap();
    let wanted = send(&mut session, &sound.samples);
    session.end().unwrap();
    // `answer` panics if it is about the other one.
    assert!(wanted > utterance);
    assert!(matches!(answer(&mut session, wanted).await, Heard::Final { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_work_than_there_are_slots_is_shed_and_everyone_is_answered() {
    let (_dir, engine) = whisper();
    let sound = speech().await;
    let mut sessions: Vec<_> = (0..16).map(|_| engine.open(quiet()).unwrap()).collect();
    let utterances: Vec<_> = sessions
        .iter_mut()
        .map(|session| {
            let utterance = send(session, &sound.samples);
            session.end().unwrap();
            utterance
        })
        .collect();
    let (mut finals, mut shed) = (0, 0);
    for (session, utterance) in sessions.iter_mut().zip(utterances) {
        match answer(session, utterance).await {
            Heard::Final { .. } => finals += 1,
            Heard::Failed { error, .. } => {
                assert_eq!(error, Error::Behind);
                assert!(error.is_transient());
                shed += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    // One slot, and eight that may wait for it.
    assert!(finals >= 9 && shed > 0, "{finals} {shed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sessions_at_once_are_both_answered_and_a_closed_one_stops_its_work() {
    let (_dir, engine) = whisper();
    let sound = speech().await;
    let (mut one, mut two) = (engine.open(quiet()).unwrap(), engine.open(quiet()).unwrap());
    let mut closed = engine.open(quiet()).unwrap();
    send(&mut closed, &sound.samples);
    closed.end().unwrap();
    drop(closed);
    let (first, second) = (send(&mut one, &sound.samples), send(&mut two, &sound.samples));
    one.end().unwrap();
    two.end().unwrap();
    let (first, second) = tokio::join!(answer(&mut one, first), answer(&mut two, second));
    assert!(matches!((&first, &second), (Heard::Final { .. }, Heard::Final { .. })));
}

#[test]
fn a_missing_model_says_how_to_get_it_and_a_damaged_one_that_it_is_damaged() {
    let (dir, file) = model();
    let check = |model: &str| {
        let name = name(&format!("whisper:{model}"));
        match Registry::new(settings(dir.path())).check(&name, Job::Listen).state {
            State::Ready { .. } => None,
            State::Lacking { what, fix } => Some((what, fix)),
        }
    };
    assert_eq!(check("tiny.en"), None);
    let (what, fix) = check("base.en").unwrap();
    assert!(what.contains("ggml-base.en.bin is not there"), "{what}");
    assert_eq!(fix, "frontdesk models pull whisper:base.en");

    let whole = std::fs::read(&file).unwrap();
    for (model, bytes) in [
        ("empty", &whole[..0]),
        ("text", b"this is not a model, but a page that says you must log in".as_slice()),
        ("half", &whole[..whole.len() / 2]),
    ] {
        std::fs::write(dir.path().join(format!("ggml-{model}.bin")), bytes).unwrap();
        let (what, _) = check(model).unwrap();
        assert!(what.contains("is not a whisper.cpp model"), "{what}");
    }
    // One that loads, and would throw in the middle of a decode: its word for a space is another.
    let mut odd = whole;
    let at = odd.windows(5).position(|bytes| bytes == b"\x01\0\0\0 ").unwrap();
    odd[at + 4] = b'x';
    std::fs::write(dir.path().join("ggml-odd.bin"), odd).unwrap();
    assert!(check("odd").unwrap().0.contains("lacks the words"));
}

#[test]
fn a_model_file_of_the_operators_own_can_be_named() {
    let (dir, file) = model();
    let mut settings = settings(&dir.path().join("elsewhere"));
    settings.whisper.files.insert("mine".into(), file);
    let report = Registry::new(settings).check(&name("whisper:mine"), Job::Listen);
    assert!(matches!(report.state, State::Ready { note: "" }), "{report:?}");
}

#[tokio::test]
async fn a_language_whisper_has_not_is_refused_when_a_session_opens() {
    let (_dir, engine) = whisper();
    let options = SessionOptions { language: Some("tlh-Latn".into()), ..quiet() };
    assert!(matches!(engine.open(options), Err(Error::Invalid(_))));
}
