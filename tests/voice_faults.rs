//! What a caller is told when something behind a call breaks, and that the call goes on or ends.
//!
//! The engines are a stand-in for OpenAI's audio API that fails when it is told to.

#![allow(clippy::unwrap_used)]

mod support;

use axum::{
    Router,
    body::Bytes,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use frontdesk_agents::{
    Agent, Context, HandlerError,
    live::{ClientMessage, Reply, ReplyPart, Turn},
};
use serde_json::json;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};
use support::{
    Caller, Desk, Setup,
    deepgram::{self, Line},
    until,
};

/// What the stand-in answers next.
#[derive(Clone, Default)]
struct Service {
    /// Texts that were heard, or a status to fail with.
    hears: Arc<Mutex<VecDeque<Result<&'static str, u16>>>>,
    /// Words that it fails on, each once. Sentences are asked for at the same time, in any order.
    refuses: Arc<Mutex<Vec<&'static str>>>,
    spoken: Arc<Mutex<Vec<String>>>,
}

impl Service {
    async fn start(&self) -> String {
        let (ears, mouth) = (self.clone(), self.clone());
        let routes = Router::new()
            .route("/v1/audio/transcriptions", post(move |_: Bytes| async move { ears.hear() }))
            .route("/v1/audio/speech", post(move |body: Bytes| async move { mouth.speak(&body) }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        format!("http://{address}/v1")
    }

    fn hear(&self) -> Response {
        match self.hears.lock().unwrap().pop_front().unwrap_or(Ok("")) {
            Ok(text) => axum::Json(json!({ "text": text })).into_response(),
            Err(status) => StatusCode::from_u16(status).unwrap().into_response(),
        }
    }

    /// A tenth of a second of sound for each word.
    fn speak(&self, body: &[u8]) -> Response {
        let asked: serde_json::Value = serde_json::from_slice(body).unwrap();
        let text = asked["input"].as_str().unwrap().to_owned();
        let words = text.split_whitespace().count();
        let mut refuses = self.refuses.lock().unwrap();
        let refused = refuses.iter().position(|refused| text.contains(refused));
        self.spoken.lock().unwrap().push(text);
        if let Some(at) = refused {
            refuses.remove(at);
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        let samples = (0..words * 2_400).map(|n| if n % 48 < 24 { 6_000i16 } else { -6_000 });
        samples.flat_map(i16::to_le_bytes).collect::<Vec<u8>>().into_response()
    }
}

/// Says two sentences, or begins to answer and never goes on.
struct Speaker;

impl Agent for Speaker {
    type State = ();

    fn on_turn(&self, _: &mut Context<'_, ()>, turn: &Turn) -> Result<Reply, HandlerError> {
        Ok(match turn.text.as_str() {
            "stall" => Reply::stream(futures_util::stream::pending()),
            "break" => Reply::stream(futures_util::stream::iter([
                Ok(ReplyPart::Text("This much is certain. ".into())),
                Err("the source is gone".into()),
            ])),
            _ => Reply::text("This is the first sentence of it. And this is the second one."),
        })
    }

    fn on_client_message(
        &self,
        cx: &mut Context<'_, ()>,
        message: &ClientMessage,
    ) -> Result<(), HandlerError> {
        for _ in 0..FLOOD.0 {
            cx.send_json(message.call, json!({ "type": "flood", "water": "~".repeat(FLOOD.1) }));
        }
        Ok(())
    }
}

/// What a page asks for that wants to be drowned: more than the system keeps for a connection.
const FLOOD: (usize, usize) = (150, 60_000);

async fn desk(service: &Service) -> Desk {
    desk_that_hears(service, "openai:ear", "").await
}

/// A desk with another recogniser, and sections of the config that it needs.
async fn desk_that_hears(service: &Service, stt: &str, more: &str) -> Desk {
    let base = service.start().await;
    let setup = Setup {
        config: format!(
            "[voice]\nstt = \"{stt}\"\ntts = \"openai:mouth/voice\"\nstt_fallback = \"none\"\n\
             [voice.openai]\nbase_url = \"{base}\"\n{more}\
             [[agent]]\nname = \"speaker\"\nkind = \"speaker\"\ntalk = \"public\"\n"
        ),
        kinds: vec!["speaker"],
        ..Setup::default()
    };
    Desk::serve(setup, |desk| desk.kind("speaker", Speaker)).await
}

fn errors(caller: &Caller) -> Vec<String> {
    caller.of("error").map(|m| m["message"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voice_that_fails_at_the_second_sentence_says_so_and_the_call_goes_on() {
    let service = Service::default();
    // A request that fails for a passing reason is made once more.
    service.refuses.lock().unwrap().extend(["second one"; 2]);
    let desk = desk(&service).await;
    let mut caller = Caller::connect(desk.http(), "speaker", "").await;
    caller.call().await;
    caller.send(json!({ "type": "text_message", "text": "go on" })).await;
    caller
        .until("it is explained", |c| errors(c).iter().any(|e| e.contains("cannot be spoken")))
        .await;
    caller
        .until("it was said as well", |c| {
            c.transcript("assistant").iter().any(|text| text.contains("lost my voice"))
        })
        .await;
    caller.until("the call goes on", |c| c.status() == "listening").await;
    caller.send(json!({ "type": "text_message", "text": "again" })).await;
    let said = "This is the first sentence of it. And this is the second one.";
    caller
        .until("it answers", |c| {
            c.transcript("assistant").iter().filter(|t| *t == said).count() == 2
        })
        .await;
    caller.hang_up().await;
    // The first answer was heard up to the end of its first sentence.
    let heard = until("it is in the history", || async {
        let first = desk.api.conversations().await.first()?.clone();
        let conversation = desk.api.conversation(&first["id"]).await;
        let entries = conversation["timeline"].as_array()?.clone();
        let answer = entries.into_iter().find(|entry| entry["spoken"]["outcome"] == "failed")?;
        answer["spoken"]["heard"].as_u64()
    })
    .await;
    let first = "This is the first sentence of it.".len() as u64;
    assert!((first..=first + 1).contains(&heard), "{heard} of {first}");
    desk.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recogniser_that_fails_at_the_pause_is_asked_again_at_the_end() {
    let service = Service::default();
    service.hears.lock().unwrap().extend([
        Err(500),
        Err(500),
        Ok("hello there"),
        Ok("hello there"),
    ]);
    let desk = desk(&service).await;
    let mut caller = Caller::connect(desk.http(), "speaker", "").await;
    caller.call().await;
    let Some(engines) = support::caller::engines() else { return };
    let speech = engines.speech("Hello there.").await;
    caller.say(&speech);
    caller.until("it heard", |c| c.transcript("user") == ["hello there"]).await;
    caller.hang_up().await;
    desk.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_breaks_off_or_stalls_is_explained_and_the_call_goes_on() {
    let service = Service::default();
    let desk = desk(&service).await;
    let mut caller = Caller::connect(desk.http(), "speaker", "").await;
    caller.call().await;
    caller.send(json!({ "type": "text_message", "text": "break" })).await;
    caller
        .until("it is explained", |c| errors(c).iter().any(|e| e.contains("could not answer")))
        .await;
    caller
        .until("what it said was heard", |c| {
            c.transcript("assistant").iter().any(|text| text.contains("This much is certain"))
        })
        .await;
    caller.until("the call goes on", |c| c.status() == "listening").await;
    caller.send(json!({ "type": "text_message", "text": "stall" })).await;
    caller
        .until("a filler is said", |_| {
            service.spoken.lock().unwrap().iter().any(|text| text.contains("moment"))
        })
        .await;
    caller.until("it is explained", |c| errors(c).iter().any(|e| e.contains("too long"))).await;
    caller.until("the call goes on", |c| c.status() == "listening").await;
    caller.hang_up().await;
    desk.stop().await;
}

/// A desk that hears by a live connection, which does this.
async fn desk_on_the_line(service: &Service, lines: impl IntoIterator<Item = Line>) -> Desk {
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&key, "secret").unwrap();
    let base = deepgram::start(lines).await;
    let section = format!(
        "[voice.deepgram]\nbase_url = \"{base}\"\nkey_file = \"{}\"\n",
        key.path().display()
    );
    desk_that_hears(service, "deepgram:nova-3", &section).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recogniser_whose_line_drops_says_so_and_hears_the_utterance_all_the_same() {
    let Some(engines) = support::caller::engines() else { return };
    let speech = engines.speech("I would like two tickets for tomorrow.").await;
    let service = Service::default();
    let lines = [Line::BreaksAfter("The first."), Line::Hears("The second.")];
    let desk = desk_on_the_line(&service, lines).await;
    let mut caller = Caller::connect(desk.http(), "speaker", "").await;
    caller.call().await;
    caller.say(&speech);
    caller.until("it heard", |c| c.transcript("user") == ["The first."]).await;
    caller.until("it answered", |c| c.transcript("assistant").len() == 1).await;
    caller.until("the floor is free", |c| c.status() == "listening").await;
    caller.say(&speech);
    caller
        .until("it is explained", |c| errors(c).iter().any(|e| e.contains("deepgram:nova-3")))
        .await;
    // Its sound so far was sent again over the new connection.
    caller.until("it heard", |c| c.transcript("user").len() == 2).await;
    assert_eq!(caller.transcript("user")[1], "The second.");
    caller.hang_up().await;
    desk.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recogniser_that_is_gone_for_good_is_said_aloud_and_the_caller_can_go_on_in_writing() {
    let Some(engines) = support::caller::engines() else { return };
    let speech = engines.speech("I would like two tickets for tomorrow.").await;
    let service = Service::default();
    let lines = [Line::BreaksAfter("The first."), Line::Refused];
    let desk = desk_on_the_line(&service, lines).await;
    let mut caller = Caller::connect(desk.http(), "speaker", "").await;
    caller.call().await;
    caller.say(&speech);
    caller.until("it answered", |c| c.transcript("assistant").len() == 1).await;
    caller.until("the floor is free", |c| c.status() == "listening").await;
    caller.say(&speech);
    caller
        .until("it is said aloud", |c| {
            c.transcript("assistant").iter().any(|text| text.contains("can't hear you any more"))
        })
        .await;
    let shown = errors(&caller);
    assert!(shown.iter().any(|e| e.contains("deepgram:nova-3 refused")), "{shown:?}");
    assert!(shown.iter().any(|e| e.contains("write")), "{shown:?}");
    caller.until("the call goes on", |c| c.status() == "listening").await;
    caller.send(json!({ "type": "text_message", "text": "in writing" })).await;
    caller
        .until("it answers", |c| {
            c.transcript("assistant").iter().filter(|t| t.contains("first sentence")).count() == 2
        })
        .await;
    caller.hang_up().await;
    desk.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_without_words_holds_the_answer_and_loses_nothing_of_it() {
    let Some(engines) = support::caller::engines() else { return };
    let service = Service::default();
    let desk = desk(&service).await;
    let mut caller = Caller::connect(desk.http(), "speaker", "").await;
    caller.call().await;
    caller.send(json!({ "type": "text_message", "text": "go on" })).await;
    caller.until("it speaks", |c| c.heard_seconds() > 0.3 && c.status() == "speaking").await;
    // It sounds like speech, and the recogniser finds no words in it.
    caller.say(&engines.speech("Hm.").await);
    caller.until("it is quiet", |c| c.of("playback_pause").next().is_some()).await;
    caller.until("it goes on", |c| c.of("playback_resume").next().is_some()).await;
    // A tenth of a second for each of the twelve words, each played once.
    caller.until("all was heard", |c| c.of("turn_metrics").next().is_some()).await;
    assert_eq!(caller.of("transcript_heard").count(), 0, "{}", caller.story());
    let heard = caller.heard_seconds();
    assert!((1.1..1.5).contains(&heard), "{heard} s were heard");
    caller.hang_up().await;
    let entry = until("it is in the history", || async {
        let first = desk.api.conversations().await.first()?.clone();
        let conversation = desk.api.conversation(&first["id"]).await;
        let entries = conversation["timeline"].as_array()?.clone();
        entries
            .into_iter()
            .find(|entry| entry["text"].as_str().is_some_and(|t| t.contains("first")))
    })
    .await;
    let whole = entry["text"].as_str().unwrap().len() as u64;
    assert_eq!(entry["spoken"]["heard"].as_u64(), Some(whole), "{entry:#}");
    assert_eq!(entry["spoken"]["outcome"], "complete", "{entry:#}");
    desk.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_reading_is_let_go_and_its_place_is_free_again() {
    let service = Service::default();
    let desk = desk(&service).await;
    // A client of version 1 with a small window cannot come back to its call.
    let mut caller = Caller::connect_narrow(desk.http(), "speaker").await;
    caller.call().await;
    caller.send(json!({ "type": "text_message", "text": "hello" })).await;
    caller.until("it answered", |c| c.transcript("assistant").len() == 1).await;
    caller.send(json!({ "type": "drown" })).await;
    let stuck = caller;
    let open = until("the call is over", || async {
        let (_, metrics) = desk.api.bytes("GET", "/metrics", None).await;
        let metrics = String::from_utf8(metrics).unwrap();
        let ended = metrics.lines().find(|line| line.starts_with("calls_total"))?;
        assert!(ended.contains("caller_hung_up"), "{ended}");
        metrics.lines().find(|line| line.starts_with("calls_open")).map(str::to_owned)
    })
    .await;
    assert_eq!(open, "calls_open 0");
    // What was said until then is kept.
    until("it is in the history", || async {
        let first = desk.api.conversations().await.first()?.clone();
        let conversation = desk.api.conversation(&first["id"]).await;
        let entries = conversation["timeline"].as_array()?.clone();
        entries.into_iter().find(|entry| {
            entry["role"] == "agent" && entry["text"].as_str().is_some_and(|t| t.contains("first"))
        })
    })
    .await;
    drop(stuck);
    desk.stop().await;
}
