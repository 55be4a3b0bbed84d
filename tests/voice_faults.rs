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
    live::{Reply, ReplyPart, Turn},
};
use serde_json::json;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};
use support::{Caller, Desk, Setup, until};

/// What the stand-in answers next.
#[derive(Clone, Default)]
struct Service {
    /// Texts that were heard, or a status to fail with.
    hears: Arc<Mutex<VecDeque<Result<&'static str, u16>>>>,
    /// Statuses to fail with when asked to speak; 200 speaks.
    speaks: Arc<Mutex<VecDeque<u16>>>,
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
        self.spoken.lock().unwrap().push(text);
        match self.speaks.lock().unwrap().pop_front().unwrap_or(200) {
            200 => {
                let samples =
                    (0..words * 2_400).map(|n| if n % 48 < 24 { 6_000i16 } else { -6_000 });
                samples.flat_map(i16::to_le_bytes).collect::<Vec<u8>>().into_response()
            }
            status => StatusCode::from_u16(status).unwrap().into_response(),
        }
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
}

async fn desk(service: &Service) -> Desk {
    let base = service.start().await;
    let setup = Setup {
        config: format!(
            "[voice]\nstt = \"openai:ear\"\ntts = \"openai:mouth/voice\"\nstt_fallback = \"none\"\n\
             [voice.openai]\nbase_url = \"{base}\"\n\
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
    service.speaks.lock().unwrap().extend([200, 503, 503]);
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
