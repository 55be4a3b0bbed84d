//! Deepgram's live transcription.

use super::{
    PATIENCE, answer,
    fake_deepgram::{Act, Saw, start},
    hear, next, voice,
};
use frontdesk_voice::engine::{
    DeepgramSettings, Error, Heard, Registry, Secret, Session, SessionOptions, Settings,
};
use tokio::{
    net::TcpListener,
    sync::mpsc::UnboundedReceiver,
    time::{sleep, timeout},
};

fn listen(base: &str) -> Session {
    let deepgram = DeepgramSettings {
        base: Some(base.to_owned()),
        key: Some(Secret::from("dg-test\n".to_owned())),
    };
    let registry = Registry::new(Settings { deepgram, ..Default::default() });
    let engine = registry.transcriber(&"deepgram:nova-3".parse().unwrap()).unwrap();
    assert!(!format!("{engine:?} {registry:?}").contains("dg-test"));
    let options = SessionOptions { language: Some("en-GB".into()), ..Default::default() };
    engine.open(options).unwrap()
}

async fn saw(seen: &mut UnboundedReceiver<Saw>) -> Saw {
    timeout(PATIENCE, seen.recv()).await.unwrap().unwrap()
}

async fn until_connected(seen: &mut UnboundedReceiver<Saw>) {
    assert!(matches!(saw(seen).await, Saw::Connected { .. }));
}

#[tokio::test]
async fn a_session_connects_streams_and_has_its_final_after_finalize() {
    let (base, mut seen) = start([Act::Serve]).await;
    let mut session = listen(&base);
    let Saw::Connected { query, key } = saw(&mut seen).await else { panic!() };
    assert_eq!(key, "Token dg-test");
    for parameter in [
        "model=nova-3",
        "encoding=linear16",
        "sample_rate=16000",
        "channels=1",
        "interim_results=true",
        "vad_events=true",
        "language=en-GB",
    ] {
        assert!(query.split('&').any(|have| have == parameter), "{parameter} in {query}");
    }
    let utterance = session.begin().unwrap();
    hear(&mut session, &voice(1_000));
    session.end().unwrap();
    let (before, transcript) = answer(&mut session, utterance).await;
    let transcript = transcript.unwrap();
    assert_eq!(&*transcript.text, "0 to 1000");
    assert_eq!(transcript.confidence, Some(0.98));
    assert!(matches!(before[0], Heard::SpeechStart { .. }));
    let starts = before.iter().filter(|heard| matches!(heard, Heard::SpeechStart { .. })).count();
    assert_eq!(starts, 1);
    assert!(before.iter().any(|heard| matches!(heard, Heard::Interim { settled: false, .. })));
    assert_eq!(saw(&mut seen).await, Saw::Control("Finalize".into()));
    drop(session);
    assert_eq!(saw(&mut seen).await, Saw::Control("CloseStream".into()));
    assert_eq!(saw(&mut seen).await, Saw::Ended(1_000));
}

#[tokio::test]
async fn a_connection_that_breaks_is_made_again_and_the_utterance_sent_again() {
    let (base, mut seen) = start([Act::Break(500), Act::Serve]).await;
    let mut session = listen(&base);
    until_connected(&mut seen).await;
    let utterance = session.begin().unwrap();
    hear(&mut session, &voice(600));
    assert_eq!(saw(&mut seen).await, Saw::Ended(500));
    until_connected(&mut seen).await;
    hear(&mut session, &voice(400));
    session.end().unwrap();
    let (before, transcript) = answer(&mut session, utterance).await;
    assert_eq!(&*transcript.unwrap().text, "0 to 1000");
    let trouble = before.iter().find_map(|heard| match heard {
        Heard::Trouble { error } => Some(error),
        _ => None,
    });
    assert!(trouble.is_some_and(Error::is_transient));
}

#[tokio::test]
async fn what_was_said_before_the_connection_is_there_is_not_lost() {
    let (base, mut seen) = start([Act::Serve]).await;
    let mut session = listen(&base);
    // The session's task has not run yet.
    let utterance = session.begin().unwrap();
    hear(&mut session, &voice(700));
    session.end().unwrap();
    assert_eq!(&*answer(&mut session, utterance).await.1.unwrap().text, "0 to 700");
    until_connected(&mut seen).await;
}

#[tokio::test]
async fn words_go_to_the_utterance_whose_sound_they_are_though_the_next_has_begun() {
    let (base, mut seen) = start([Act::Late(300)]).await;
    let mut session = listen(&base);
    until_connected(&mut seen).await;
    let first = session.begin().unwrap();
    hear(&mut session, &voice(500));
    session.end().unwrap();
    let second = session.begin().unwrap();
    hear(&mut session, &voice(800));
    // Some of the second is in an interim before the first has its final.
    loop {
        match next(&mut session).await.unwrap() {
            Heard::Final { utterance, transcript } => {
                assert_eq!((utterance, &*transcript.text), (first, "0 to 500"));
                break;
            }
            Heard::SpeechStart { .. } | Heard::Interim { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    session.end().unwrap();
    // Sound of a third brings the late answer to the second.
    let third = session.begin().unwrap();
    hear(&mut session, &voice(400));
    let (_, transcript) = answer(&mut session, second).await;
    assert_eq!(&*transcript.unwrap().text, "500 to 1300");
    assert!(third > second);
}

#[tokio::test]
async fn an_unmarked_answer_is_waited_for_and_then_taken() {
    let (base, mut seen) = start([Act::Unmarked]).await;
    let mut session = listen(&base);
    until_connected(&mut seen).await;
    let utterance = session.begin().unwrap();
    hear(&mut session, &voice(500));
    session.end().unwrap();
    assert_eq!(&*answer(&mut session, utterance).await.1.unwrap().text, "0 to 500");
}

#[tokio::test]
async fn lost_sound_and_abandoned_utterances_are_not_taken_for_heard_ones() {
    let (base, mut seen) = start([Act::Serve]).await;
    let mut session = listen(&base);
    until_connected(&mut seen).await;
    let utterance = session.begin().unwrap();
    while session.audio(&[0; 320]).is_ok() {}
    session.end().unwrap();
    let (_, result) = answer(&mut session, utterance).await;
    assert_eq!(result.unwrap_err(), Error::Behind);
    session.begin().unwrap();
    hear(&mut session, &voice(500));
    session.abandon().unwrap();
    let utterance = session.begin().unwrap();
    hear(&mut session, &voice(500));
    session.end().unwrap();
    assert!(answer(&mut session, utterance).await.1.is_ok());
}

#[tokio::test]
async fn a_wrong_key_breaks_the_session_at_once_with_the_servers_words() {
    let (base, _seen) = start([Act::Refuse(401)]).await;
    let mut session = listen(&base);
    let broken = next(&mut session).await.unwrap();
    let Heard::Broken { error } = broken else { panic!("{broken:?}") };
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains("Invalid credentials. (401)"), "{error}");
    assert_eq!(next(&mut session).await, None);
}

#[tokio::test]
async fn an_error_of_the_server_is_passed_on_and_a_new_connection_tried() {
    let (base, mut seen) = start([Act::Error, Act::Serve]).await;
    let mut session = listen(&base);
    until_connected(&mut seen).await;
    let utterance = session.begin().unwrap();
    hear(&mut session, &voice(500));
    session.end().unwrap();
    let (before, transcript) = answer(&mut session, utterance).await;
    assert_eq!(&*transcript.unwrap().text, "0 to 500");
    let told = before.iter().any(|heard| {
        matches!(heard, Heard::Trouble { error } if error.to_string().contains("out of credit"))
    });
    assert!(told, "{before:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stays_away_breaks_the_session_and_fails_what_waits_for_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("ws://{}/v1/listen", listener.local_addr().unwrap());
    drop(listener);
    let mut session = listen(&base);
    let utterance = session.begin().unwrap();
    hear(&mut session, &voice(500));
    session.end().unwrap();
    // The clock jumps over the waits between the attempts.
    let heard = async {
        let mut heard = Vec::new();
        while let Some(next) = session.next().await {
            heard.push(next);
        }
        heard
    };
    let heard = tokio::select! {
        heard = heard => heard,
        () = sleep(PATIENCE) => panic!("still trying"),
    };
    let troubles = heard.iter().filter(|heard| matches!(heard, Heard::Trouble { .. })).count();
    assert_eq!(troubles, 5);
    let [.., Heard::Failed { utterance: failed, error }, Heard::Broken { .. }] = &heard[..] else {
        panic!("{heard:?}")
    };
    assert_eq!(*failed, utterance);
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_quiet_caller_does_not_lose_the_connection() {
    let (base, mut seen) = start([Act::Serve]).await;
    let session = listen(&base);
    until_connected(&mut seen).await;
    // From here on the clock jumps to whatever is waited for.
    tokio::time::pause();
    for _ in 0..3 {
        assert_eq!(seen.recv().await, Some(Saw::Control("KeepAlive".into())));
    }
    drop(session);
}
