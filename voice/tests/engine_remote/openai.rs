//! OpenAI's audio API.

use super::{
    PATIENCE, answer,
    fake_openai::{Act, End, Saw, start},
    hear, next, voice,
};
use frontdesk_voice::engine::{
    Dropped, EngineName, Error, Heard, OpenAiSettings, Registry, Say, Secret, Session,
    SessionOptions, Settings, Speech,
};
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::mpsc::UnboundedReceiver,
    time::{sleep, timeout},
};

fn registry(base: &str, key: &str) -> Registry {
    let openai = OpenAiSettings {
        base: Some(base.to_owned()),
        key: Some(Secret::from(key.to_owned())),
        pcm_rate: None,
    };
    Registry::new(Settings { openai, ..Default::default() })
}

fn listen(base: &str, model: &str) -> Session {
    let name: EngineName = format!("openai:{model}").parse().unwrap();
    let options = SessionOptions { language: Some("en-GB".into()), ..Default::default() };
    registry(base, "sk-test").transcriber(&name).unwrap().open(options).unwrap()
}

fn say(base: &str, request: Say) -> Speech {
    let name = "openai:tts-1/alloy".parse().unwrap();
    registry(base, "sk-test").synthesiser(&name).unwrap().say(request).unwrap()
}

async fn saw(seen: &mut UnboundedReceiver<Saw>) -> Saw {
    timeout(PATIENCE, seen.recv()).await.unwrap().unwrap()
}

#[tokio::test]
async fn an_utterance_is_uploaded_at_its_pause_and_is_the_final_at_its_end() {
    let (base, mut seen) = start([Act::Text(" Where is my order? ")]).await;
    let mut session = listen(&base, "whisper-1");
    let utterance = session.begin().unwrap();
    hear(&mut session, &voice(600));
    session.pause().unwrap();
    let Saw::Transcription { fields, wav } = saw(&mut seen).await else { panic!() };
    let expected = [
        ("language", "en"),
        ("model", "whisper-1"),
        ("response_format", "verbose_json"),
        ("temperature", "0"),
    ];
    assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    // A header of 44 bytes, and every sample.
    assert_eq!(
        (&wav[..4], &wav[8..16], wav.len()),
        (&b"RIFF"[..], &b"WAVEfmt "[..], 44 + 600 * 32)
    );
    assert_eq!(wav[44..48], voice(1)[..2].iter().flat_map(|s| s.to_le_bytes()).collect::<Vec<_>>());
    assert!(matches!(next(&mut session).await, Some(Heard::SpeechStart { .. })));
    assert!(matches!(next(&mut session).await, Some(Heard::Interim { settled: true, .. })));
    hear(&mut session, &[0; 8_000]);
    session.end().unwrap();
    let transcript = answer(&mut session, utterance).await.1.unwrap();
    assert_eq!(&*transcript.text, "Where is my order?");
    assert!((transcript.confidence.unwrap() - 0.9).abs() < 0.01);
}

#[tokio::test]
async fn a_passing_fault_is_tried_again_and_a_lasting_one_reaches_the_call() {
    let (base, _seen) = start([
        Act::Status(503, "The server is overloaded"),
        Act::Text("yes"),
        Act::Status(500, "The server had an error"),
        Act::Status(500, "The server had an error"),
        Act::Status(404, "The model does not exist"),
    ])
    .await;
    let mut session = listen(&base, "whisper-1");
    let mut results = Vec::new();
    for _ in 0..3 {
        let utterance = session.begin().unwrap();
        hear(&mut session, &voice(600));
        session.end().unwrap();
        results.push(answer(&mut session, utterance).await.1);
    }
    assert_eq!(&*results[0].as_ref().unwrap().text, "yes");
    let passing = results[1].as_ref().unwrap_err();
    assert!(passing.is_transient() && passing.to_string().contains("had an error (500)"));
    let lasting = results[2].as_ref().unwrap_err();
    assert!(lasting.is_setup() && lasting.to_string().contains("does not exist (404)"));
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_not_shown() {
    let (base, _seen) = start([]).await;
    let registry = registry(&base, "sk-wrong");
    let engine = registry.transcriber(&"openai:whisper-1".parse().unwrap()).unwrap();
    let mut session = engine.open(SessionOptions::default()).unwrap();
    let utterance = session.begin().unwrap();
    hear(&mut session, &voice(600));
    session.end().unwrap();
    let error = answer(&mut session, utterance).await.1.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    for shown in [format!("{error} {error:?}"), format!("{engine:?} {registry:?}")] {
        assert!(!shown.contains("sk-wrong"), "{shown}");
    }
}

#[tokio::test]
async fn abandoning_ends_the_request_and_a_hallucination_is_dropped() {
    let (base, mut seen) = start([Act::Hang, Act::Text("Thanks for watching!")]).await;
    let mut session = listen(&base, "whisper-1");
    session.begin().unwrap();
    hear(&mut session, &voice(600));
    session.end().unwrap();
    assert!(matches!(saw(&mut seen).await, Saw::Transcription { .. }));
    session.abandon().unwrap();
    assert_eq!(saw(&mut seen).await, Saw::Gone);
    let utterance = session.begin().unwrap();
    hear(&mut session, &voice(600));
    session.end().unwrap();
    let transcript = answer(&mut session, utterance).await.1.unwrap();
    assert_eq!(transcript.dropped, Some(Dropped::StockPhrase));
}

#[tokio::test]
async fn silence_is_not_uploaded() {
    let (base, mut seen) = start([]).await;
    let mut session = listen(&base, "whisper-1");
    let utterance = session.begin().unwrap();
    hear(&mut session, &vec![0; 32_000]);
    session.end().unwrap();
    assert!(answer(&mut session, utterance).await.1.unwrap().text.is_empty());
    assert!(seen.try_recv().is_err());
}

#[tokio::test]
async fn speech_streams_as_it_comes_however_it_is_cut() {
    let samples: Vec<i16> = (0..5_000).map(|n| (n * 6) as i16).collect();
    let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    // Odd pieces, so that samples are cut in half.
    let pieces = bytes.chunks(777).map(<[u8]>::to_vec).collect();
    let (base, mut seen) = start([Act::Sound(pieces, End::Well)]).await;
    let said = say(&base, Say::new("Hello.").at_pace(0.5)).collect().await.unwrap();
    assert_eq!((said.rate, said.samples), (24_000, samples));
    let body = json!({"model": "tts-1", "voice": "alloy", "input": "Hello.",
        "response_format": "pcm", "speed": 0.5});
    assert_eq!(saw(&mut seen).await, Saw::Speech(body));
}

#[tokio::test]
async fn speech_is_heard_before_it_is_all_made_and_cancelling_closes_the_connection() {
    let (base, mut seen) = start([Act::Sound(vec![vec![1; 4_000]], End::Never)]).await;
    let mut speech = say(&base, Say::new("A long story."));
    let chunk = timeout(PATIENCE, speech.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(chunk.samples.len(), 960);
    assert!(matches!(saw(&mut seen).await, Saw::Speech(_)));
    speech.cancel();
    assert_eq!(speech.next().await, None);
    assert_eq!(saw(&mut seen).await, Saw::Gone);
}

#[tokio::test]
async fn speech_that_breaks_off_ends_in_an_error_after_what_came() {
    let (base, _seen) = start([Act::Sound(vec![vec![1; 4_000]], End::Broken)]).await;
    let mut speech = say(&base, Say::new("A long story."));
    let mut heard = 0;
    let error = loop {
        match timeout(PATIENCE, speech.next()).await.unwrap().unwrap() {
            Ok(chunk) => heard += chunk.samples.len(),
            Err(error) => break error,
        }
    };
    assert!(heard >= 960 && error.is_transient(), "{heard} {error}");
    assert_eq!(speech.next().await, None);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_to_be_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    drop(listener);
    let error = say(&base, Say::new("Hello.")).collect().await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("cannot be reached"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up() {
    // Takes the connection into its backlog and does nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let said = say(&base, Say::new("Hello.")).collect();
    // The clock jumps to whatever is waited for; this is after every limit.
    let error = tokio::select! {
        said = said => said.unwrap_err(),
        () = sleep(PATIENCE) => panic!("still waiting"),
    };
    assert!(error.is_transient(), "{error}");
}

#[test]
fn what_is_not_set_up_says_what_to_set() {
    let registry = Registry::default();
    let error = registry.transcriber(&"openai:whisper-1".parse().unwrap()).unwrap_err();
    assert!(error.to_string().contains("no key for OpenAI"), "{error}");
    let error = registry.transcriber(&"deepgram:nova-3".parse().unwrap()).unwrap_err();
    assert!(error.to_string().contains("no key for Deepgram"), "{error}");
    let registry = super::openai::registry("file:///etc", "k");
    assert!(registry.transcriber(&"openai:whisper-1".parse().unwrap()).is_err());
    let error = registry.synthesiser(&"openai:tts-1".parse().unwrap()).unwrap_err();
    assert!(error.to_string().contains("openai:MODEL/VOICE"), "{error}");
}
