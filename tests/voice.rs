//! Calls from a browser, over its WebSocket, with engines that really hear and speak.

#![allow(clippy::unwrap_used)]

mod support;

use frontdesk_agents::{
    Agent, Context, Draft, HandlerError, Mail,
    live::{ClientMessage, Reply, Turn},
};
use frontdesk_router::voice::client;
use serde::{Deserialize, Serialize};
use serde_json::json;
use support::{
    Caller, Desk, Letter, Setup,
    caller::{Engines, engines},
    until,
};

/// Answers what it is asked on the phone, and counts what it was asked.
struct Clerk;

#[derive(Default, Serialize, Deserialize)]
struct Asked(u32);

impl Agent for Clerk {
    type State = Asked;

    fn on_turn(&self, cx: &mut Context<'_, Asked>, turn: &Turn) -> Result<Reply, HandlerError> {
        cx.state.0 += 1;
        Ok(Reply::text(match turn.text.trim_end_matches(['.', '?']) {
            "are you open on saturday" => "Yes. On Saturday we open at nine.".to_owned(),
            "tell me more" | "Tell me more" => LONG.to_owned(),
            "goodbye" => {
                cx.hang_up(Some("Goodbye.".into()));
                return Ok(Reply::silent());
            }
            "I am Ann. What did I say" => {
                format!(
                    "There were {} before.",
                    cx.history(50).iter().filter(|s| s.role == "human").count()
                )
            }
            other => format!("You said: {other}."),
        }))
    }

    /// Says what it got, and how much it had been asked before.
    fn on_client_message(
        &self,
        cx: &mut Context<'_, Asked>,
        message: &ClientMessage,
    ) -> Result<(), HandlerError> {
        let (got, asked) = (message.body["item"].clone(), cx.state.0);
        cx.send_json(message.call, json!({ "type": "cart", "got": got, "asked": asked }));
        // A message that a page could take for the protocol's own reaches nobody.
        cx.send_json_all(json!({ "type": "status", "status": "idle" }));
        Ok(())
    }

    fn on_email(&self, cx: &mut Context<'_, Asked>, mail: &Mail) -> Result<(), HandlerError> {
        if mail.text.contains("What did I say") {
            let called =
                cx.history(50).into_iter().filter(|s| s.channel == "call" && s.role == "human");
            let said: Vec<String> = called.map(|said| said.text).collect();
            cx.reply(Draft::text(format!("You said on the phone: {}", said.join("; "))));
        }
        Ok(())
    }
}

const LONG: &str = "First we look at the weather. Then we look at the roads. After that we choose a \
                    train. At last we buy the tickets. And then we go home again.";

const HEARD: [&str; 4] = ["are you open on saturday", "tell me more", "goodbye", "please wait"];

/// A desk whose clerk anybody may talk to, and which hears the sentences of [`HEARD`].
async fn desk_with(config: &str) -> Desk {
    let folder = tempfile::tempdir().unwrap();
    let (model, dictionary) = (folder.path().join("shop.lm"), folder.path().join("shop.dict"));
    std::fs::write(&model, Engines::language_model(&HEARD)).unwrap();
    std::fs::write(&dictionary, Engines::dictionary(&HEARD)).unwrap();
    let setup = Setup {
        config: format!(
            "[voice]\nstt = \"pocketsphinx:en-us\"\ntts = \"flite:kal16\"\n\
             [voice.pocketsphinx]\nlanguage_model = \"{}\"\ndictionary = \"{}\"\n{config}",
            model.display(),
            dictionary.display()
        ),
        kinds: vec!["clerk"],
        ..Setup::default()
    };
    let desk = Desk::serve(setup, |desk| desk.kind("clerk", Clerk)).await;
    // The model is read when the first call listens; the folder must be there until then.
    std::mem::forget(folder);
    desk
}

const CLERK: &str = "[[agent]]\nname = \"clerk\"\nkind = \"clerk\"\ntalk = \"public\"\n\
                     greeting = \"Hello, this is the shop.\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_spoken_question_is_heard_and_answered_in_speech() {
    let Some(engines) = engines() else { return };
    let desk = desk_with(CLERK).await;
    let mut caller = Caller::connect(desk.http(), "clerk", "").await;
    caller.call().await;
    caller.until("the greeting was heard", |c| c.status() == "listening").await;
    let greeting = std::mem::take(&mut caller.played);
    assert_eq!(
        engines.understand(&greeting, &["hello this is the shop", "goodbye"]).await,
        "hello this is the shop"
    );

    caller.say(&engines.speech("Are you open on Saturday?").await);
    caller.until("the question was heard", |c| !c.transcript("user").is_empty()).await;
    caller.until("the answer was spoken", |c| c.transcript("assistant").len() == 2).await;
    caller.until("it was heard", |c| c.status() == "listening").await;
    assert_eq!(caller.transcript("user"), ["are you open on saturday"]);
    assert_eq!(caller.transcript("assistant")[1], "Yes. On Saturday we open at nine.");
    let phrases = ["yes on saturday we open at nine", "no on sunday we are closed"];
    assert_eq!(engines.understand(&caller.played, &phrases).await, phrases[0]);
    caller.hang_up().await;

    // All of it is in the history, with what was heard.
    let conversation = until("the call is in the history", || async {
        let conversations = desk.api.conversations().await;
        let first = conversations.first()?.clone();
        Some(desk.api.conversation(&first["id"]).await)
    })
    .await;
    let texts: Vec<&str> = conversation["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|e| e["text"].as_str())
        .collect();
    assert_eq!(
        texts[..3],
        [
            "Hello, this is the shop.",
            "are you open on saturday",
            "Yes. On Saturday we open at nine."
        ],
        "{conversation:#}"
    );
    desk.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn talking_over_a_long_answer_stops_it_and_the_history_ends_where_it_was_heard() {
    let Some(engines) = engines() else { return };
    let desk = desk_with(CLERK).await;
    let wait = engines.speech("Please wait.").await;
    let mut caller = Caller::connect(desk.http(), "clerk", "").await;
    caller.call().await;
    caller.until("the greeting was heard", |c| c.status() == "listening").await;
    caller.played.clear();
    caller.send(json!({ "type": "text_message", "text": "Tell me more." })).await;
    caller.until("it speaks", |c| c.heard_seconds() > 2.0 && c.status() == "speaking").await;
    caller.say(&wait);
    caller.until("it is quiet", |c| c.of("playback_pause").next().is_some()).await;
    caller.until("it was interrupted", |c| c.of("transcript_heard").next().is_some()).await;
    let cut = caller.of("transcript_heard").next().unwrap().clone();
    let (heard, unheard) = (cut["heard"].as_str().unwrap(), cut["unheard"].as_str().unwrap());
    assert_eq!(format!("{heard}{unheard}"), LONG);
    assert!(heard.starts_with("First we look") && !unheard.is_empty(), "{heard}|{unheard}");
    // The clerk answers the interruption.
    caller
        .until("it answered", |c| {
            c.transcript("assistant").iter().any(|t| t.contains("please wait"))
        })
        .await;
    caller.hang_up().await;

    let (heard, whole) = (heard.to_owned(), LONG);
    let entry = until("it is in the history", || async {
        let first = desk.api.conversations().await.first()?.clone();
        let conversation = desk.api.conversation(&first["id"]).await;
        let entries = conversation["timeline"].as_array()?.clone();
        entries.into_iter().find(|entry| entry["text"] == whole)
    })
    .await;
    assert_eq!(
        entry["spoken"]["heard"].as_u64().map(|n| n as usize),
        Some(heard.len()),
        "{entry:#}"
    );
    desk.stop().await;
}

/// A third of a second of noise that comes at once and dies away, as a cough does.
fn cough() -> Vec<i16> {
    let mut seed = 0x2545_f491_u32;
    let samples = (0..5_000).map(|n| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = (seed >> 16) as i16 as f32;
        (noise * (-n as f32 / 1_500.0).exp()) as i16
    });
    samples.chain(std::iter::repeat_n(0, 8_000)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cough_during_an_answer_does_not_lose_it() {
    let Some(engines) = engines() else { return };
    let desk = desk_with(CLERK).await;
    let mut caller = Caller::connect(desk.http(), "clerk", "").await;
    caller.call().await;
    caller.until("the greeting was heard", |c| c.status() == "listening").await;
    caller.played.clear();
    caller.send(json!({ "type": "text_message", "text": "Tell me more." })).await;
    for seconds in [1.0, 2.5, 4.0] {
        caller.until("it speaks", |c| c.heard_seconds() > seconds).await;
        caller.say(&cough());
    }
    let spoken = engines.speech(LONG).await.len() as f64 / 16_000.0 - 1.0;
    caller.until("all was heard", |c| c.of("turn_metrics").next().is_some()).await;
    assert_eq!(caller.of("transcript_heard").count(), 0, "{}", caller.story());
    let heard = caller.heard_seconds();
    assert!((heard - spoken).abs() < 0.6, "{heard} s were heard of {spoken} s");
    caller.hang_up().await;
    let entry = until("it is in the history", || async {
        let first = desk.api.conversations().await.first()?.clone();
        let conversation = desk.api.conversation(&first["id"]).await;
        let entries = conversation["timeline"].as_array()?.clone();
        entries.into_iter().find(|entry| entry["text"] == LONG)
    })
    .await;
    assert_eq!(entry["spoken"]["outcome"], "complete", "{entry:#}");
    desk.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_and_its_agent_exchange_messages_of_their_own_during_a_call() {
    let Some(_) = engines() else { return };
    let desk = desk_with(CLERK).await;
    let mut caller = Caller::connect(desk.http(), "clerk", "").await;
    caller.send(json!({ "type": "cart", "item": "tea" })).await;
    caller.until("outside of a call it is refused", |c| c.of("error").next().is_some()).await;
    caller.call().await;
    caller.until("the greeting was heard", |c| c.status() == "listening").await;
    caller.send(json!({ "type": "text_message", "text": "goodness" })).await;
    caller.until("it answered", |c| c.transcript("assistant").len() == 2).await;
    caller.until("it was heard", |c| c.status() == "listening").await;
    caller.send(json!({ "type": "cart", "item": "milk" })).await;
    caller.until("the agent's message came", |c| c.of("cart").next().is_some()).await;
    let cart = caller.of("cart").next().unwrap();
    assert_eq!(*cart, json!({ "type": "cart", "got": "milk", "asked": 1 }));
    caller.send(json!({ "type": "cart", "item": "bread" })).await;
    caller.until("another came", |c| c.of("cart").count() == 2).await;
    assert_eq!(caller.status(), "listening", "{}", caller.story());
    caller.hang_up().await;
    desk.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_download_a_missing_model_from_the_talk_page() {
    let octets = vec![7_u8; 300_000];
    let served = octets.clone();
    let routes = axum::Router::new()
        .route("/ggml-toy.bin", axum::routing::get(move || async move { served }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mirror = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let manifest = tempfile::NamedTempFile::new().unwrap();
    // SHA-256 of those.
    let sum = "08f166476de183f7a1b2874d544d37912aaf8d19b92013e1aafe233ba231024a";
    let model = json!({ "toy": {
        "file": "ggml-toy.bin", "url": "https://models.example/ggml-toy.bin", "size": octets.len(),
        "sha256": sum,
    } });
    std::fs::write(&manifest, model.to_string()).unwrap();
    let setup = Setup {
        config: format!(
            "[voice]\nstt = \"whisper:toy\"\nmodels_mirror = \"http://{mirror}\"\n\
             models_manifest = \"{}\"\n{CLERK}",
            manifest.path().display()
        ),
        kinds: vec!["clerk"],
        ..Setup::default()
    };
    let desk = Desk::serve(setup, |desk| desk.kind("clerk", Clerk)).await;

    let mut visitor = Caller::connect(desk.http(), "clerk", "").await;
    visitor.send(json!({ "type": "notice_action", "id": "pull" })).await;
    visitor.until("it is not for everybody", |c| c.of("error").next().is_some()).await;
    assert!(visitor.of("notice").next().is_none());

    let token =
        desk.api.post("/tokens", json!({ "name": "desk", "scopes": ["read", "approve"] })).await;
    let bearer = format!("Bearer {}", token["secret"].as_str().unwrap());
    let headers = [("authorization", bearer)];
    let mut staff = Caller::connect_with(desk.http(), "clerk", "", &headers, true).await;
    staff.send(json!({ "type": "notice_action", "id": "pull" })).await;
    let text = |message: &serde_json::Value| message["text"].as_str().unwrap().to_owned();
    staff
        .until("it is here", |c| c.of("notice").any(|m| text(m).contains("whisper:toy is here")))
        .await;
    let model = desk.api.get("/models/whisper:toy").await;
    assert_eq!(model["state"], "here", "{model:#}");
    desk.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_line_is_taken_up_where_it_was() {
    let Some(_) = engines() else { return };
    let desk = desk_with(CLERK).await;
    let cookie = ("cookie", "fd_visitor=AAAAAAAAAAAAAAAAAAAAAA".to_owned());
    let headers = [cookie];
    let mut caller = Caller::connect_with(desk.http(), "clerk", "", &headers, true).await;
    caller.call().await;
    caller.until("the greeting was heard", |c| c.status() == "listening").await;
    caller.played.clear();
    caller.send(json!({ "type": "text_message", "text": "Tell me more." })).await;
    caller.until("it speaks", |c| c.heard_seconds() > 2.5 && c.status() == "speaking").await;
    let token =
        caller.of("call_started").next().unwrap()["resume_token"].as_str().unwrap().to_owned();
    let before = caller.played.clone();
    let (heard, received) = caller.drop_line().await;

    // Somebody else does not get it with the token.
    let mut thief = Caller::connect(desk.http(), "clerk", "").await;
    let ask =
        json!({ "type": "resume_call", "token": token, "heard": heard, "received": received });
    thief.send(ask.clone()).await;
    thief.until("it is refused", |c| c.of("call_resume_failed").next().is_some()).await;

    let mut again = Caller::connect_with(desk.http(), "clerk", "", &headers, true).await;
    again.take_up(&heard, &received);
    again.send(ask).await;
    again.until("it goes on", |c| c.of("call_resumed").next().is_some()).await;
    again.until("the rest was heard", |c| c.status() == "listening").await;
    // What was played before and after is the answer once, but for the frames that were on their way.
    let whole = (before.len() + again.played.len()) as f64 / 16_000.0;
    let mouth = engines().unwrap();
    let spoken = mouth.speech(LONG).await.len() as f64 / 16_000.0 - 1.0;
    assert!((whole - spoken).abs() < 0.6, "{whole} s were heard of {spoken} s");
    again.hang_up().await;
    desk.stop().await;
}

#[tokio::test]
async fn who_may_not_talk_is_told_why_and_does_not_come_back() {
    let config = "[[agent]]\nname = \"private\"\nkind = \"clerk\"\n\
                  [[agent]]\nname = \"nobody\"\nkind = \"clerk\"\ntalk = \"off\"\n\
                  [[agent]]\nname = \"linked\"\nkind = \"clerk\"\ntalk = \"link\"\n";
    let desk = desk_with(config).await;
    for (agent, query, code, words) in [
        ("private", "", 4401, "sign in"),
        ("nobody", "", 4404, "nobody here"),
        ("missing", "", 4404, "nobody here"),
        ("linked", "", 4401, "the link you were given"),
        ("linked", "?token=AAAA", 4403, "not valid"),
        ("private", "?token=AAAA", 4401, "sign in"),
    ] {
        let mut caller = Caller::connect(desk.http(), agent, query).await;
        caller.pass_until_closed().await;
        let closed = caller.closed.as_ref().unwrap();
        assert_eq!(u16::from(closed.code), code, "{agent}{query}");
        assert!(closed.reason.contains(words), "{agent}{query}: {}", closed.reason);
    }
    desk.stop().await;
}

#[tokio::test]
async fn a_page_of_another_origin_opens_no_call() {
    let desk = desk_with(CLERK).await;
    let url = format!("ws://{}/agents/clerk/default", desk.http());
    let mut request =
        tokio_tungstenite::tungstenite::client::IntoClientRequest::into_client_request(url)
            .unwrap();
    request.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
    let refused = tokio_tungstenite::connect_async(request).await.unwrap_err();
    assert!(refused.to_string().contains("403"), "{refused}");
    desk.stop().await;
}

/// The link of a contact, as a mail would bring it.
async fn link_for(desk: &Desk, contact: &str) -> String {
    let link = desk.api.post("/agents/clerk/links", json!({ "contact": contact })).await;
    let url = link["url"].as_str().unwrap();
    format!("?{}", url.split_once('?').unwrap().1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_a_call_and_a_mail_of_the_same_person_are_one_history() {
    let Some(engines) = engines() else { return };
    let desk = desk_with(CLERK).await;
    let mail = Letter::new("ann@localhost", "clerk@localhost", "I am Ann.").subject("Hello");
    desk.take(&mail).await;
    until("ann is a contact", || async {
        let contacts = desk.api.list("/contacts").await;
        (!contacts.is_empty()).then_some(())
    })
    .await;
    let query = link_for(&desk, "ann@localhost").await;
    let mut ann = Caller::connect(desk.http(), "clerk", &query).await;
    ann.call().await;
    ann.until("the greeting was heard", |c| c.status() == "listening").await;
    ann.say(&engines.speech("Are you open on Saturday?").await);
    ann.until("it answered", |c| c.transcript("assistant").len() == 2).await;
    ann.until("it was heard", |c| c.status() == "listening").await;
    ann.hang_up().await;

    // A stranger who gives the same name has a history of their own.
    let mut other = Caller::connect(desk.http(), "clerk", "").await;
    other.call().await;
    other.send(json!({ "type": "text_message", "text": "I am Ann. What did I say?" })).await;
    other
        .until("it answered", |c| c.transcript("assistant").iter().any(|t| t.contains("0 before")))
        .await;
    other.hang_up().await;

    desk.take(&Letter::new("ann@localhost", "clerk@localhost", "What did I say?").subject("Again"))
        .await;
    let answer = until("the mail was answered", || async {
        desk.captured()
            .iter()
            .find(|mail| mail.text().contains("on the phone"))
            .map(|mail| mail.text())
    })
    .await;
    assert!(answer.contains("are you open on saturday"), "{answer}");
    desk.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_says_so_and_keeps_what_was_said() {
    let Some(_) = engines() else { return };
    let desk = desk_with(CLERK).await;
    let mut caller = Caller::connect(desk.http(), "clerk", "").await;
    caller.call().await;
    caller.until("the greeting was heard", |c| c.status() == "listening").await;
    let database = desk.data.join("frontdesk.db");
    let folder = desk.keep_folder();
    let stopping = tokio::spawn(desk.stop());
    caller
        .until("it says goodbye", |c| {
            c.transcript("assistant").last().is_some_and(|text| text.contains("restarting"))
        })
        .await;
    caller.pass_until_closed().await;
    assert_eq!(u16::from(caller.closed.as_ref().unwrap().code), 1012);
    stopping.await.unwrap();
    let connection = rusqlite::Connection::open(database).unwrap();
    let (reason, said): (String, i64) = connection
        .query_row("SELECT end_reason, (SELECT count(*) FROM spoken) FROM calls", (), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!((reason.as_str(), said), ("server_stopped", 2));
    drop(folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_talks_from_a_wav_file() {
    let Some(engines) = engines() else { return };
    let desk = desk_with(CLERK).await;
    let (question, answer) = (desk.data.join("question.wav"), desk.data.join("answer.wav"));
    let sound = engines.speech("Are you open on Saturday?").await;
    client::write_wav(&question, &sound, 16_000).unwrap();
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_frontdesk"))
        .args(["call", "clerk", "--json", "--wav"])
        .arg(&question)
        .arg("--save")
        .arg(&answer)
        .arg("--data")
        .arg(&desk.data)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let said = told["transcript"].as_array().unwrap();
    let of = |who: &str| {
        said.iter().filter(|l| l["who"] == who).map(|l| l["text"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(of("caller"), ["are you open on saturday"], "{told:#}");
    assert_eq!(of("agent").last().unwrap(), "Yes. On Saturday we open at nine.", "{told:#}");
    let heard = client::read_wav(&answer).unwrap();
    // Without the greeting before it, and the second of quiet around speech made here.
    let length = engines.speech("Yes. On Saturday we open at nine.").await.len() - 16_000;
    let last = &heard[heard.len().saturating_sub(length + 1_600)..];
    let phrases = ["yes on saturday we open at nine", "no on sunday we are closed"];
    assert_eq!(engines.understand(last, &phrases).await, phrases[0]);
    desk.stop().await;
}
