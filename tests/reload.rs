//! A changed configuration taken over by the running server: nobody's connection is cut off, a broken file changes
//! nothing, and what cannot be changed is named.

#![allow(clippy::unwrap_used)]

mod support;

use frontdesk_agents::testing::model_server::{Asked, ModelServer, Script};
use serde_json::{Value, json};
use std::{path::Path, process::Stdio};
use support::{Caller, Client, Letter, Server, captured, until};
use tokio::process::Command;

/// Answers with the instructions it was given.
async fn parrot() -> ModelServer {
    ModelServer::start(|asked: &Asked| {
        let told = ["gone fishing", "open at nine", "open at ten", "closed for good"];
        let all = asked.system();
        let said = told.into_iter().filter(|text| all.contains(text)).collect::<Vec<_>>();
        Script::say(&said.join(" and "))
    })
    .await
}

fn config(model: &ModelServer, agent: &str) -> String {
    format!(
        "[models.custom]\nbase_url = \"{}\"\n[[agent]]\nname = \"hello\"\nkind = \"assistant\"\n\
         model = \"custom:m\"\napproval = \"none\"\ntalk = \"public\"\n{agent}\n",
        model.base_url()
    )
}

/// Writes the config file of a server that [`Server::start`] made, listeners included.
fn write(folder: &Path, config: &str) {
    let text =
        format!("[http]\nlisten = [\"127.0.0.1:0\"]\n[smtp]\nlisten = [\"127.0.0.1:0\"]\n{config}");
    // As editors do it: another file takes the place of the old one.
    std::fs::write(folder.join("new.toml"), text).unwrap();
    std::fs::rename(folder.join("new.toml"), folder.join("frontdesk.toml")).unwrap();
}

async fn frontdesk(folder: &Path, arguments: &[&str]) -> (bool, Value, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_frontdesk"))
        .args(arguments)
        .args(["--json", "--config"])
        .arg(folder.join("frontdesk.toml"))
        .arg("--data")
        .arg(folder.join("data"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.success(), said, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Sends a mail over an open connection, and answers what the agent answered.
async fn ask(client: &mut Client, server: &Server) -> String {
    let before = captured(&server.data).len();
    let letter = Letter::new("ann@localhost", "hello@localhost", "When do you open?");
    let reply = client.send(&letter.from, &[&letter.to], &letter.bytes()).await.unwrap();
    assert!(reply.is(250), "{reply:?}");
    let answer =
        until("it is answered", async || captured(&server.data).get(before).cloned()).await;
    answer.text().trim().to_owned()
}

/// Writes over an open socket, and answers what the agent answered.
async fn talk(visitor: &mut Caller) -> String {
    let before = visitor.transcript("assistant").len();
    visitor.send(json!({ "type": "text_message", "text": "When do you open?" })).await;
    visitor.until("it answers", |c| c.transcript("assistant").len() > before).await;
    visitor.transcript("assistant").pop().unwrap()
}

#[tokio::test]
async fn new_instructions_are_followed_without_anybody_being_cut_off() {
    let model = parrot().await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let log = || std::fs::read_to_string(folder.join("log")).unwrap();
    let server =
        Server::start(folder, &config(&model, "instructions = \"Say: open at nine.\"")).await;
    let mut client = Client::connect(server.smtp).await.unwrap();
    let mut visitor = Caller::connect(server.http, "hello", "").await;
    assert_eq!(ask(&mut client, &server).await, "open at nine");
    assert_eq!(talk(&mut visitor).await, "open at nine");

    // A broken file: everything that is wrong with it is told, and the old one stays.
    write(
        folder,
        &config(&model, "instructions = \"Say: open at ten.\"\ntolls = []\ngreeting = 7"),
    );
    server.process.hang_up();
    until("it is refused", async || log().contains("not taken over").then_some(())).await;
    assert!(log().contains("tolls") && log().contains("`greeting`"), "{}", log());
    let (status, problem) = server.api.ask("POST", "/reload", None).await;
    assert_eq!(status, 422, "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("Did you mean `tools`?") && detail.contains("`greeting`"), "{detail}");
    let (done, _, errors) = frontdesk(folder, &["reload"]).await;
    assert!(!done && errors.contains("tools"), "{errors}");
    assert_eq!(ask(&mut client, &server).await, "open at nine");
    assert_eq!(talk(&mut visitor).await, "open at nine");

    // A good one, asked for by a signal. Both connections are the ones from before.
    write(folder, &config(&model, "instructions = \"Say: open at ten.\""));
    server.process.hang_up();
    let taken = "agent hello: instructions";
    until("it is taken over", async || log().contains(taken).then_some(())).await;
    assert_eq!(ask(&mut client, &server).await, "open at ten");
    assert_eq!(talk(&mut visitor).await, "open at ten");

    // What cannot be changed is named, and the rest of the same file counts.
    let more = "instructions = \"Say: gone fishing.\"\n[dns]\ntimeout = \"4s\"\n";
    write(folder, &config(&model, more));
    let (done, answer, errors) = frontdesk(folder, &["reload"]).await;
    assert!(done, "{errors}");
    // The file may have been noticed before the command was.
    let changed = answer["changed"].as_array().unwrap();
    assert!(changed.is_empty() || *changed == [json!(taken)], "{answer}");
    assert_eq!(answer["needs_restart"], json!(["[dns] timeout"]));
    assert_eq!(ask(&mut client, &server).await, "gone fishing");
    assert!(log().contains("needs a restart"), "{}", log());
    assert_eq!(talk(&mut visitor).await, "gone fishing");

    // An agent that is new has an address at once.
    let more = "instructions = \"Say: closed for good.\"\n[[agent]]\nname = \"sales\"\n";
    write(folder, &config(&model, more));
    frontdesk(folder, &["reload"]).await;
    let letter = Letter::new("ann@localhost", "sales@localhost", "How much?");
    let before = captured(&server.data).len();
    assert!(client.send(&letter.from, &[&letter.to], &letter.bytes()).await.unwrap().is(250));
    until("it is answered", async || captured(&server.data).get(before).cloned()).await;
}

#[tokio::test]
async fn a_changed_file_is_noticed_and_so_are_the_instructions_it_names() {
    let model = parrot().await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("hello.md"), "Say: open at nine.").unwrap();
    let named = config(&model, "instructions_file = \"hello.md\"");
    let server = Server::start(folder, &named).await;
    let mut client = Client::connect(server.smtp).await.unwrap();
    assert_eq!(ask(&mut client, &server).await, "open at nine");
    let log = || std::fs::read_to_string(folder.join("log")).unwrap();
    let times = |what: &str| log().matches(what).count();

    // In place, as `echo` does it.
    std::fs::write(folder.join("hello.md"), "Say: open at ten.").unwrap();
    until("it is noticed", async || (times("its files changed") == 1).then_some(())).await;
    assert_eq!(ask(&mut client, &server).await, "open at ten");

    write(folder, &config(&model, "instructions = \"Say: gone fishing.\""));
    until("it is noticed", async || (times("its files changed") == 2).then_some(())).await;
    assert_eq!(ask(&mut client, &server).await, "gone fishing");
}
