//! Text on a page whose connection drops in the middle of an answer.

#![allow(clippy::unwrap_used)]

mod support;

use frontdesk_agents::testing::model_server::{Asked, Hold, ModelServer, Script};
use serde_json::json;
use support::{Caller, Desk, Setup, until};

/// Two visitors, by their cookies.
const ANN: &str = "AAAAAAAAAAAAAAAAAAAAAA";
const EVE: &str = "BBBBBBBBBBBBBBBBBBBBBA";

/// An assistant whose first answer waits in the middle, at `hold`.
async fn served(hold: &Hold) -> (Desk, ModelServer) {
    let hold = hold.clone();
    let model = ModelServer::start(move |asked: &Asked| {
        if asked.last_user().contains("And on Sunday?") {
            return Script::say("On Sunday we are closed.");
        }
        Script::new().text("We open ").hold(&hold).text("at ").text("nine.")
    })
    .await;
    let setup = Setup {
        config: format!(
            "[models.custom]\nbase_url = \"{}\"\n[[agent]]\nname = \"hello\"\nkind = \"assistant\"\n\
             model = \"custom:m\"\napproval = \"none\"\ntalk = \"public\"\n",
            model.base_url()
        ),
        ..Setup::default()
    };
    (Desk::serve(setup, |desk| desk).await, model)
}

async fn visitor(desk: &Desk, cookie: &str) -> Caller {
    let cookie = ("cookie", format!("fd_visitor={cookie}"));
    Caller::connect_with(desk.http(), "hello", "", &[cookie], true).await
}

/// Asks, reads the beginning of the answer and loses the connection. Answers the token and the last number.
async fn cut_off(desk: &Desk, hold: &Hold) -> (String, u64) {
    let mut page = visitor(desk, ANN).await;
    page.send(json!({ "type": "text_message", "text": "When do you open?" })).await;
    page.until("the answer begins", |c| c.of("transcript_delta").next().is_some()).await;
    hold.reached().await;
    assert_eq!(read(&page), "We open ");
    let started = page.of("text_started").next().unwrap();
    let token = started["resume_token"].as_str().unwrap().to_owned();
    (token, last(&page))
}

/// What a page has of the answer.
fn read(page: &Caller) -> String {
    page.of("transcript_delta").map(|m| m["text"].as_str().unwrap()).collect()
}

fn last(page: &Caller) -> u64 {
    page.messages.iter().filter_map(|(_, message)| message["at"].as_u64()).max().unwrap()
}

async fn said(desk: &Desk) -> Vec<String> {
    let conversation = desk.only_conversation().await;
    let timeline = conversation["timeline"].as_array().unwrap();
    timeline.iter().map(|entry| entry["text"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_rest_of_an_answer_comes_after_the_connection_and_the_model_is_asked_once() {
    let hold = Hold::new();
    let (desk, model) = served(&hold).await;
    let (token, at) = cut_off(&desk, &hold).await;

    // Back before the model has gone on: what follows comes as it is said.
    let mut page = visitor(&desk, ANN).await;
    page.send(json!({ "type": "resume_text", "token": token, "at": at })).await;
    page.until("it goes on", |c| c.of("text_resumed").next().is_some()).await;
    assert_eq!(read(&page), "");
    hold.release();
    page.until("the answer ends", |c| c.transcript("assistant").len() == 1).await;
    assert_eq!(read(&page), "at nine.");
    assert_eq!(page.transcript("assistant"), ["We open at nine."]);
    page.until("it is idle", |c| c.status() == "idle" && last(c) > at).await;

    // The same conversation goes on, over the new connection.
    page.send(json!({ "type": "text_message", "text": "And on Sunday?" })).await;
    page.until("it answers", |c| c.transcript("assistant").len() == 2).await;
    assert!(page.of("text_started").next().is_none(), "it is the one from before");
    until("all of it is kept", async || (said(&desk).await.len() == 4).then_some(())).await;
    assert_eq!(
        said(&desk).await,
        ["When do you open?", "We open at nine.", "And on Sunday?", "On Sunday we are closed."]
    );
    assert_eq!(model.asked().len(), 2);

    // A long timeline is read in pages, the newest first.
    let id = desk.only_conversation().await["id"].clone();
    let texts = |page: &serde_json::Value| -> Vec<String> {
        let timeline = page["timeline"].as_array().unwrap();
        timeline.iter().map(|entry| entry["text"].as_str().unwrap().to_owned()).collect()
    };
    let page_of = |query: String| format!("/conversations/{id}?limit=3{query}");
    let newest = desk.api.get(&page_of(String::new())).await;
    assert_eq!(texts(&newest), said(&desk).await[1..]);
    let cursor = newest["earlier"].as_str().unwrap();
    let first = desk.api.get(&page_of(format!("&cursor={cursor}"))).await;
    assert_eq!(
        (texts(&first), &first["earlier"]),
        (vec!["When do you open?".to_owned()], &json!(null))
    );

    // Numbers are given once.
    let mut numbers: Vec<_> = page.messages.iter().filter_map(|(_, m)| m["at"].as_u64()).collect();
    let all = numbers.len();
    numbers.dedup();
    assert!(numbers.is_sorted() && numbers.len() == all && numbers[0] == at + 1, "{numbers:?}");
    desk.stop().await;
}

#[tokio::test]
async fn an_answer_ends_though_nobody_is_there_and_is_read_later() {
    let hold = Hold::new();
    let (desk, model) = served(&hold).await;
    let (token, at) = cut_off(&desk, &hold).await;
    hold.release();
    until("the answer is in the history", async || (said(&desk).await.len() == 2).then_some(()))
        .await;

    // It is nobody else's to read, and what was never shown cannot be gone on from.
    let mut eve = visitor(&desk, EVE).await;
    eve.send(json!({ "type": "resume_text", "token": token, "at": 0 })).await;
    eve.until("it is refused", |c| c.of("text_resume_failed").next().is_some()).await;
    assert_eq!(eve.of("text_resume_failed").next().unwrap()["reason"], "unknown");
    let mut page = visitor(&desk, ANN).await;
    page.send(json!({ "type": "resume_text", "token": token, "at": 1_000 })).await;
    page.until("it is refused", |c| c.of("text_resume_failed").next().is_some()).await;
    assert_eq!(page.of("text_resume_failed").next().unwrap()["reason"], "gone");

    page.send(json!({ "type": "resume_text", "token": token, "at": at })).await;
    page.until("the rest is there", |c| c.transcript("assistant").len() == 1).await;
    assert_eq!(read(&page), "at nine.");
    page.send(json!({ "type": "resume_text", "token": token, "at": at })).await;
    page.until("it is refused", |c| c.of("text_resume_failed").count() == 2).await;
    assert_eq!(page.of("text_resume_failed").next_back().unwrap()["reason"], "busy");
    assert_eq!(said(&desk).await, ["When do you open?", "We open at nine."]);
    assert_eq!(model.asked().len(), 1);
    desk.stop().await;
}
