//! What docs/skill/SKILL.md teaches works: its commands are run, in order, against the real server, and its
//! tools are those there are.

#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use std::{path::Path, process::Stdio};
use support::{Client, Letter, Server};
use tokio::{io::AsyncWriteExt, process::Command};

const SKILL: &str = include_str!("../docs/skill/SKILL.md");

/// The blocks of this language.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    SKILL.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

fn frontdesk() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_frontdesk"))
}

/// Whether a program is there, which tests with FRONTDESK_PEERS=required insist on.
fn is_there(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    let required = std::env::var("FRONTDESK_PEERS").is_ok_and(|peers| peers == "required");
    assert!(found || !required, "{name} is not installed, and FRONTDESK_PEERS=required");
    if !found {
        println!("SKIPPED: {name} is not installed");
    }
    found
}

/// What waits in each conversation after as many letters, oldest first, with its conversation and the letter.
async fn letters(server: &Server, count: usize) -> Vec<(Value, Value, Value, Value)> {
    let mut mail = Client::connect(server.smtp).await.unwrap();
    for number in 0..count {
        let from = format!("ann{number}@localhost");
        let letter = Letter::new(&from, "hello@localhost", "Where is the invoice?");
        let reply = mail.send(&from, &["hello@localhost"], &letter.bytes()).await.unwrap();
        assert!(reply.is(250), "{reply:?}");
    }
    server.api.settle().await;
    let mut waiting = Vec::new();
    for review in server.api.list("/reviews").await {
        let conversation = server.api.conversation(&review["conversation"]).await;
        let timeline = conversation["timeline"].as_array().unwrap();
        waiting.push((
            review["id"].clone(),
            review["conversation"].clone(),
            timeline[0]["id"].clone(),
            timeline[1]["outbox"].clone(),
        ));
    }
    assert_eq!(waiting.len(), count);
    waiting
}

#[tokio::test]
async fn every_command_of_the_skill_does_what_it_says() {
    if !is_there("bash") || !is_there("curl") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let agent = "[[agent]]\nname = \"hello\"\napproval = \"all\"\n";
    let server = Server::start(folder.path(), agent).await;
    let waiting = letters(&server, 3).await;
    let scopes = json!({ "name": "skill", "scopes": ["read", "draft"], "agents": ["hello"] });
    let token = server.api.post("/tokens", scopes).await["secret"].clone();

    let here = folder.path().join("here");
    std::fs::create_dir(&here).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let programs = frontdesk().parent().unwrap().display();
    let mut bash = Command::new("bash")
        .args(["-euo", "pipefail"])
        .current_dir(&here)
        .env("PATH", format!("{programs}:{path}"))
        .env("FRONTDESK_CONFIG", folder.path().join("frontdesk.toml"))
        .env("FRONTDESK_DATA", &server.data)
        .env("DESK", format!("http://{}", server.http))
        .env("TOKEN", token.as_str().unwrap())
        .env("CONVERSATION", waiting[0].1.to_string())
        .env("MESSAGE", waiting[0].2.to_string())
        .env("REVIEW", waiting[0].0.to_string())
        .env("OTHER_REVIEW", waiting[1].0.to_string())
        .env("OUTBOX", waiting[2].3.to_string())
        .env("NO_PROXY", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let script = blocks("sh").join("\n");
    assert!(script.lines().count() > 30, "{script}");
    bash.stdin.take().unwrap().write_all(script.as_bytes()).await.unwrap();
    let ran = tokio::time::timeout(support::PATIENCE, bash.wait_with_output());
    let ran = ran.await.expect("it ends").unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{said}\n{complained}");

    // Two mails of the operator and one that was approved have left; what the token sent waits, as it says.
    server.api.settle().await;
    assert_eq!(server.api.list("/outbox?state=sent").await.len(), 3, "{said}");
    let held = server.api.list("/outbox?state=held").await;
    assert_eq!(held.len(), 2, "{held:#?}");
    for mail in &held {
        let why = mail["why"].as_str().unwrap();
        assert!(why.contains("skill may not send for hello"), "{why}");
    }
    assert_eq!(server.api.list("/outbox?state=cancelled").await.len(), 2);
    assert!(here.join("message.eml").metadata().unwrap().len() > 100);
}

#[tokio::test]
async fn the_skill_names_every_tool_and_its_ways_to_connect_work() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "").await;
    let scopes = json!({ "name": "skill", "scopes": ["read", "draft", "send", "approve"] });
    let token = server.api.post("/tokens", scopes).await["secret"].clone();
    let configs = blocks("json");
    assert_eq!(configs.len(), 2);
    for config in configs {
        let config: Value = serde_json::from_str(config).unwrap();
        let client = &config["mcpServers"]["frontdesk"];
        assert_eq!(client["command"], "frontdesk");
        let mut command = Command::new(frontdesk());
        for argument in client["args"].as_array().unwrap() {
            match argument.as_str().unwrap() {
                "/srv/desk/data" => command.arg(&server.data),
                "https://desk.example.org" => command.arg(format!("http://{}", server.http)),
                other => command.arg(other),
            };
        }
        for (name, value) in client["env"].as_object().into_iter().flatten() {
            assert_eq!(value, "fd_…");
            command.env(name, token.as_str().unwrap());
        }
        let mut bridge = command
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let said = [
            json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
                "protocolVersion": "2025-06-18", "capabilities": {},
                "clientInfo": { "name": "test", "version": "0" } } }),
            json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
            json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" }),
        ];
        let mut input = bridge.stdin.take().unwrap();
        for message in said {
            input.write_all(format!("{message}\n").as_bytes()).await.unwrap();
        }
        let mut answers = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(
            bridge.stdout.take().unwrap(),
        ));
        let listed = loop {
            let line = tokio::time::timeout(support::PATIENCE, answers.next_line());
            let line = line.await.expect("it answers").unwrap().expect("it answers");
            let answer: Value = serde_json::from_str(&line).unwrap();
            if answer["id"] == 2 {
                break answer;
            }
        };
        let tools = listed["result"]["tools"].as_array().unwrap();
        assert!(tools.len() > 10, "{listed}");
        for tool in tools {
            let name = format!("`{}`", tool["name"].as_str().unwrap());
            assert!(SKILL.contains(&name), "the skill does not name {name}");
        }
        // It ends with its input.
        drop(input);
        let ended = tokio::time::timeout(support::PATIENCE, bridge.wait()).await;
        assert!(ended.expect("it ends").unwrap().success());
    }
}
