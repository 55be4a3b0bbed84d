//! Calls from a browser, over its WebSocket, with engines that really hear and speak.

#![allow(clippy::unwrap_used)]

mod support;

use frontdesk_agents::{
    Agent, Context, HandlerError,
    live::{Reply, Turn},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;
use support::{
    Caller, Desk, Setup,
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
            "tell me more" => LONG.to_owned(),
            "goodbye" => {
                cx.hang_up(Some("Goodbye.".into()));
                return Ok(Reply::silent());
            }
            other => format!("You said: {other}."),
        }))
    }
}

const LONG: &str = "First we look at the weather. Then we look at the roads. After that we choose a \
                    train. At last we buy the tickets. And then we go home again.";

const HEARD: [&str; 4] = ["are you open on saturday", "tell me more", "goodbye", "please wait"];

/// A desk whose clerk anybody may talk to, and which hears the sentences of [`HEARD`].
async fn desk_with(config: &str) -> Desk {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("shop.lm");
    std::fs::write(&model, Engines::language_model(&HEARD)).unwrap();
    let setup = Setup {
        config: format!(
            "[voice]\nstt = \"pocketsphinx:en-us\"\ntts = \"flite:kal16\"\n\
             [voice.pocketsphinx]\nlanguage_model = \"{}\"\n{config}",
            model.display()
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
    println!("{conversation:#}");
    desk.stop().await;
}
