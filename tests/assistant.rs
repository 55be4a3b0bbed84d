//! Assistants in the real server: a language model that does as it is told, over both protocols, a mail, a
//! person who decides, and a process that is killed in between.

#![allow(clippy::unwrap_used)]

mod support;

use frontdesk_agents::testing::model_server::{Asked, ModelServer, Said, Script};
use serde_json::{Value, json};
use std::{path::Path, process::Stdio};
use support::{Caller, Desk, Letter, Server, Setup, captured, desk::database, until};
use tokio::process::Command;

const ANSWER: &str = "I have noted that you like mornings.";

/// A model that labels the conversation and remembers what it was told, both at once, and then answers.
fn obedient(asked: &Asked) -> Script {
    if asked.said().iter().any(|said| matches!(said, Said::Result(..))) {
        return Script::say(ANSWER);
    }
    Script::new().text("One moment. ").call("label", &json!({ "label": "delivery" })).call(
        "remember",
        &json!({ "name": "when", "text": "Ann likes deliveries in the morning." }),
    )
}

fn config(model: &ModelServer, wire: &str) -> String {
    format!(
        "[models.custom]\nbase_url = \"{}\"\nwire = \"{wire}\"\n\
         [[agent]]\nname = \"hello\"\nkind = \"assistant\"\nmodel = \"custom:obedient\"\n\
         approval = \"none\"\ntools = [\"label\", \"remember\"]\n\
         tool_approval = {{ remember = \"all\" }}\n",
        model.base_url()
    )
}

async fn start(folder: &Path, config: &str) -> Server {
    Server::start_with(folder, config, &[("CUSTOM_API_KEY", Path::new("key-of-the-test"))]).await
}

/// The command line, beside the running server.
async fn frontdesk(folder: &Path, arguments: &[&str]) -> Value {
    let command = Command::new(env!("CARGO_BIN_EXE_frontdesk"))
        .args(arguments)
        .args(["--json", "--config"])
        .arg(folder.join("frontdesk.toml"))
        .arg("--data")
        .arg(folder.join("data"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = command.await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn a_turn_waits_is_killed_and_ends_once(wire: &str) {
    let model = ModelServer::start(obedient).await;
    let folder = tempfile::tempdir().unwrap();
    let config = config(&model, wire);
    let mut server = start(folder.path(), &config).await;

    let letter = Letter::new("ann@localhost", "hello@localhost", "Please come in the morning.");
    let mut client = support::Client::connect(server.smtp).await.unwrap();
    let reply = client.send(&letter.from, &[&letter.to], &letter.bytes()).await.unwrap();
    assert!(reply.is(250), "{reply:?}");

    let review = until("the call waits for a person", async || {
        server.api.list("/api/v1/reviews").await.into_iter().next()
    })
    .await;
    assert_eq!((&review["kind"], &review["call"]["tool"]), (&json!("tool"), &json!("remember")));
    assert_eq!(
        review["call"]["arguments"],
        json!({ "name": "when", "text": "Ann likes deliveries in the morning." })
    );
    assert_eq!(review["foreign"], json!([]));
    let asked = model.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].key(), asked[0].model()), (Some("key-of-the-test"), "obedient"));
    assert!(asked[0].last_user().contains("Please come in the morning."));

    server.process.kill().await;
    let server = start(folder.path(), &config).await;
    assert!(captured(&server.data).is_empty());
    let waiting = server.api.list("/api/v1/reviews").await;
    assert_eq!(waiting.len(), 1, "{waiting:#?}");

    let id = review["id"].to_string();
    let decided = frontdesk(folder.path(), &["inbox", "approve", &id]).await;
    assert_eq!(decided["state"], "approved");
    let sent = until("the answer leaves", async || captured(&server.data).pop()).await;
    assert!(sent.text().contains(ANSWER), "{}", sent.text());
    // The model was told what became of both calls, and asked no more than that.
    let asked = model.asked();
    assert_eq!(asked.len(), 2);
    let results = asked[1].said().into_iter().filter(|said| matches!(said, Said::Result(..)));
    assert_eq!(results.count(), 2);

    // Another start finds nothing left to do.
    let mut server = server;
    server.process.kill().await;
    let server = start(folder.path(), &config).await;
    server.api.settle().await;
    assert_eq!(captured(&server.data).len(), 1);
    assert_eq!(model.asked().len(), 2);
    let database = database(&server.data);
    let count = |sql: &str| database.query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM outbox"), 1);
    assert_eq!(count("SELECT count(*) FROM memory WHERE name = 'when'"), 1);
    assert_eq!(count("SELECT count(*) FROM conversation_labels WHERE label = 'delivery'"), 1);
    assert_eq!(count("SELECT count(*) FROM turns WHERE kind = 'model' AND state = 'done'"), 1);
    let conversation = server.api.conversation(&review["conversation"]).await;
    assert_eq!(conversation["queue"], "open");
}

#[tokio::test]
async fn a_turn_that_waits_outlives_a_kill_and_answers_once_over_chat_completions() {
    a_turn_waits_is_killed_and_ends_once("openai").await;
}

#[tokio::test]
async fn a_turn_that_waits_outlives_a_kill_and_answers_once_over_messages() {
    a_turn_waits_is_killed_and_ends_once("anthropic").await;
}

#[tokio::test]
async fn a_model_on_the_command_line_makes_hello_an_assistant() {
    let model = ModelServer::scripted([Script::say("We open at nine.")]).await;
    let folder = tempfile::tempdir().unwrap();
    let config = format!("[models.custom]\nbase_url = \"{}\"\n", model.base_url());
    let server = Server::start_as(folder.path(), &config, &["--model", "custom:m"], &[]).await;
    let letter = Letter::new("ann@localhost", "hello@localhost", "When do you open?");
    let mut client = support::Client::connect(server.smtp).await.unwrap();
    assert!(client.send(&letter.from, &[&letter.to], &letter.bytes()).await.unwrap().is(250));
    let review = until("the answer waits for a person", async || {
        server.api.list("/api/v1/reviews").await.into_iter().next()
    })
    .await;
    assert_eq!((&review["kind"], &review["text"]), (&json!("draft"), &json!("We open at nine.")));
    assert_eq!(model.asked()[0].model(), "m");
}

#[tokio::test]
async fn what_an_assistant_writes_is_reviewed_unless_the_config_says_otherwise() {
    let model = ModelServer::scripted([Script::say("We open at nine.")]).await;
    let setup = Setup {
        config: format!(
            "[models]\ndefault = \"custom:m\"\n[models.custom]\nbase_url = \"{}\"\n\
             [[agent]]\nname = \"hello\"\nkind = \"assistant\"\n",
            model.base_url()
        ),
        ..Setup::default()
    };
    let desk = Desk::serve(setup, |desk| desk).await;
    let letter = Letter::new("ann@localhost", "hello@localhost", "When do you open?");
    assert!(desk.send(&letter).await.is(250));
    let review = until("the answer waits for a person", async || {
        desk.api.list("/api/v1/reviews").await.into_iter().next()
    })
    .await;
    assert_eq!((&review["kind"], &review["call"]), (&json!("draft"), &Value::Null));
    assert_eq!(review["text"], "We open at nine.");
    assert!(desk.captured().is_empty());
    desk.stop().await;
}

#[tokio::test]
async fn a_visitor_who_writes_on_the_page_reads_the_words_of_the_model() {
    let model = ModelServer::start(|asked: &Asked| match asked.last_user() {
        text if text.contains("And on Sunday?") => Script::say("On Sunday we are closed."),
        _ => Script::say("We open at nine."),
    })
    .await;
    let setup = Setup {
        config: format!("{}talk = \"public\"\n", config(&model, "anthropic")),
        ..Setup::default()
    };
    let desk = Desk::serve(setup, |desk| desk).await;
    let mut visitor = Caller::connect(desk.http(), "hello", "").await;
    let ask = |text: &str| json!({ "type": "text_message", "text": text });
    visitor.send(ask("When do you open?")).await;
    visitor.until("it answered", |c| c.transcript("assistant") == ["We open at nine."]).await;
    visitor.send(ask("And on Sunday?")).await;
    visitor.until("it answered again", |c| c.transcript("assistant").len() == 2).await;
    assert_eq!(visitor.transcript("assistant")[1], "On Sunday we are closed.");
    // What was said before is before the model, and all of it in the history.
    assert!(model.asked()[1].last_user().contains("We open at nine."));
    let conversation = desk.only_conversation().await;
    let texts: Vec<_> = conversation["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["text"].as_str().unwrap())
        .collect();
    assert_eq!(
        texts,
        ["When do you open?", "We open at nine.", "And on Sunday?", "On Sunday we are closed."]
    );
    desk.stop().await;
}

#[tokio::test]
async fn the_arguments_of_a_call_can_be_changed_by_whoever_approves_it() {
    let model = ModelServer::start(obedient).await;
    let setup = Setup { config: config(&model, "openai"), ..Setup::default() };
    let desk = Desk::serve(setup, |desk| desk).await;
    let letter = Letter::new("ann@localhost", "hello@localhost", "Please come in the morning.");
    assert!(desk.send(&letter).await.is(250));
    let review = until("the call waits for a person", async || {
        desk.api.list("/api/v1/reviews").await.into_iter().next()
    })
    .await;
    let path = format!("/api/v1/reviews/{}/approve", review["id"]);
    let instead = json!({ "name": "when", "text": "Ann likes mornings." });
    let decided = desk.api.post(&path, json!({ "arguments": instead })).await;
    assert_eq!(decided["state"], "approved");
    until("the answer leaves", async || desk.captured().pop()).await;
    let database = database(&desk.data);
    let fact: String = database.query_row("SELECT text FROM memory", (), |row| row.get(0)).unwrap();
    assert_eq!(fact, "Ann likes mornings.");
    desk.stop().await;
}

#[tokio::test]
async fn a_model_without_its_key_stops_no_start_and_its_mail_goes_before_a_person() {
    let setup = Setup {
        config: "[[agent]]\nname = \"hello\"\nkind = \"assistant\"\nmodel = \"openai:m\"\n".into(),
        ..Setup::default()
    };
    let desk = Desk::serve(setup, |desk| desk).await;
    let letter = Letter::new("ann@localhost", "hello@localhost", "When do you open?");
    assert!(desk.send(&letter).await.is(250));
    let conversation = until("a person is asked", async || {
        let conversation = desk.api.conversations().await.into_iter().next()?;
        (conversation["queue"] == "needs_review").then_some(conversation)
    })
    .await;
    let why = conversation["why"].as_str().unwrap();
    assert!(why.contains("set OPENAI_API_KEY"), "{why}");
    desk.stop().await;
}

/// A picture of one pixel.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
/// As much of a document as its first line.
const PDF: &str = "JVBERi0xLjcK";

/// A mail with a picture, a document, and something that calls itself a picture.
fn with_files() -> Vec<u8> {
    let part = |name: &str, media_type: &str, base64: &str| {
        format!(
            "--b\r\nContent-Type: {media_type}\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n{base64}\r\n"
        )
    };
    format!(
        "From: ann@localhost\r\nTo: hello@localhost\r\nSubject: My lamp\r\nDate: Fri, 20 Nov 2026 10:00:00 +0000\r\n\
         Message-ID: <files@localhost>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\nWhat is wrong with it?\r\n{}{}{}--b--\r\n",
        part("lamp.png", "image/png", PNG),
        part("bill.pdf", "application/pdf", PDF),
        part("fake.png", "image/png", "TVqQAAM="),
    )
    .into_bytes()
}

/// The number of a file's part, as the context says it.
fn part_of(asked: &Asked, name: &str) -> u32 {
    let told = asked.last_user();
    let line = told.lines().find(|line| line.contains(&format!("file \"{name}\""))).unwrap();
    let number = line.split(" · ").find_map(|part| part.strip_prefix("part ")).unwrap();
    number.parse().unwrap()
}

/// What is shown in a request, as the protocol has it: pictures, then documents.
fn shown(asked: &Asked) -> (usize, usize) {
    let body = asked.body.to_string();
    match asked.protocol {
        Some(frontdesk_agents::testing::model_server::Protocol::Anthropic) => (
            body.matches(&format!("\"data\":\"{PNG}\",\"media_type\":\"image/png\"")).count(),
            body.matches(&format!("\"data\":\"{PDF}\",\"media_type\":\"application/pdf\"")).count(),
        ),
        _ => (
            body.matches(&format!("data:image/png;base64,{PNG}")).count(),
            body.matches(&format!("data:application/pdf;base64,{PDF}")).count(),
        ),
    }
}

/// An assistant whose model takes pictures and documents.
async fn sees_files(
    wire: &str,
    more: &str,
    model: impl Fn(&Asked) -> Script + Send + Sync + 'static,
) -> (ModelServer, Desk) {
    let model = ModelServer::start(model).await;
    let config = format!(
        "[models.custom]\nbase_url = \"{}\"\nwire = \"{wire}\"\nimages = true\n\
         [[agent]]\nname = \"hello\"\nkind = \"assistant\"\nmodel = \"custom:m\"\napproval = \"none\"\n{more}",
        model.base_url()
    );
    let desk = Desk::serve(Setup { config, ..Setup::default() }, |desk| desk).await;
    let mut client = support::Client::connect(desk.smtp).await.unwrap();
    let reply = client.send("ann@localhost", &["hello@localhost"], &with_files()).await.unwrap();
    assert!(reply.is(250), "{reply:?}");
    (model, desk)
}

async fn files_are_shown_when_the_model_asks(wire: &str) {
    let (model, desk) = sees_files(wire, "", |asked: &Asked| {
        let read = |name: &str| json!({ "message": 1, "part": part_of(asked, name) });
        match asked.all_results().len() {
            0 => Script::new()
                .call("read_attachment", &read("lamp.png"))
                .call("read_attachment", &read("bill.pdf"))
                .call("read_attachment", &read("fake.png")),
            3 => Script::new().call("label", &json!({ "label": "broken" })),
            _ => Script::say("Its bulb is broken."),
        }
    })
    .await;
    let review = until("what came with a mail holds the call", async || {
        desk.api.list("/api/v1/reviews").await.into_iter().next()
    })
    .await;
    assert_eq!(review["call"]["tool"], "label");
    assert!(review["foreign"].to_string().contains("lamp.png"), "{review:#}");
    let asked = model.asked();
    assert_eq!((shown(&asked[0]), shown(&asked[1])), ((0, 0), (1, 1)));
    let results = asked[1].all_results();
    assert!(results[0].contains("shown below the results · nobody vouches for it"), "{results:?}");
    assert!(results[2].contains("neither text nor a picture nor PDF"), "{results:?}");
    // They stay before the model for the rest of the turn, each once.
    let path = format!("/api/v1/reviews/{}/approve", review["id"]);
    desk.api.post(&path, json!({})).await;
    until("the answer leaves", async || desk.captured().pop()).await;
    assert_eq!(shown(model.asked().last().unwrap()), (1, 1));
    desk.stop().await;
}

#[tokio::test]
async fn pictures_and_documents_are_shown_when_the_model_asks_over_chat_completions() {
    files_are_shown_when_the_model_asks("openai").await;
}

#[tokio::test]
async fn pictures_and_documents_are_shown_when_the_model_asks_over_messages() {
    files_are_shown_when_the_model_asks("anthropic").await;
}

#[tokio::test]
async fn files_are_before_the_model_from_the_beginning_where_the_config_says_so() {
    for wire in ["openai", "anthropic"] {
        let (model, desk) = sees_files(wire, "show_attachments = true\n", |asked: &Asked| {
            match asked.all_results().len() {
                0 => Script::new().call("label", &json!({ "label": "broken" })),
                _ => Script::say("Its bulb is broken."),
            }
        })
        .await;
        let review = until("what came with a mail holds the call", async || {
            desk.api.list("/api/v1/reviews").await.into_iter().next()
        })
        .await;
        assert_eq!(review["call"]["tool"], "label");
        let asked = model.asked();
        assert_eq!(shown(&asked[0]), (1, 1), "{wire}");
        assert!(!asked[0].body.to_string().contains("TVqQAAM="), "{wire}");
        desk.stop().await;
    }
}
