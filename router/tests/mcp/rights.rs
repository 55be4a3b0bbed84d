//! Who is let in, what they are offered, and what they cannot do all the same.

use crate::support::{ALL, Desk, Program, WRITER, desk, exchange};
use frontdesk_router::agents::store::Scope;
use rmcp::service::ClientInitializeError;
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// An `initialize` with these headers, over a connection of its own.
async fn knock(desk: &Desk, headers: &[(&str, &str)]) -> (u16, String, Value) {
    let at = desk.running.http[0];
    let mut head = "POST /mcp HTTP/1.1\r\nConnection: close\r\n\
                    Accept: application/json, text/event-stream\r\n"
        .to_owned();
    if !headers.iter().any(|(name, _)| *name == "Host") {
        head.push_str(&format!("Host: {at}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let body = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": { "name": "test", "version": "0" },
        },
    });
    let stream = TcpStream::connect(at).await.unwrap();
    let (status, head, bytes) = exchange(stream, &head, &body.to_string()).await;
    (status, head, serde_json::from_slice(&bytes).unwrap_or_default())
}

#[tokio::test]
async fn only_programs_with_a_good_token_are_let_in_and_only_by_our_name() {
    let desk = desk().await;
    let (id, secret) = desk.token("test", &[Scope::Read], None).await;
    let bearer = format!("Bearer {secret}");
    let good = ("Authorization", bearer.as_str());
    let (status, _, answer) = knock(&desk, &[good]).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["result"]["serverInfo"]["name"], "frontdesk");

    let (status, head, problem) = knock(&desk, &[]).await;
    assert_eq!((status, head.contains("www-authenticate: Bearer")), (401, true), "{head}");
    assert!(problem["detail"].as_str().unwrap().contains("frontdesk tokens create"));
    assert_eq!(knock(&desk, &[("Authorization", "Bearer fd_wrong")]).await.0, 401);
    assert_eq!(knock(&desk, &[good, ("Host", "desk.evil.example")]).await.0, 403);
    assert_eq!(knock(&desk, &[good, ("Origin", "https://evil.example")]).await.0, 403);
    assert_eq!(knock(&desk, &[good, ("Origin", &desk.url())]).await.0, 200);

    // A page in a browser has no business here, whoever is signed in.
    let link = desk.running.signin_link.clone().unwrap();
    let redeem = json!({ "token": link.split_once('#').unwrap().1, "password": "a good long one" });
    let at = desk.running.http[0];
    let head = format!("POST /api/v1/session/link HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n");
    let stream = TcpStream::connect(at).await.unwrap();
    let (_, head, body) = exchange(stream, &head, &redeem.to_string()).await;
    let cookie = head.split("set-cookie: ").nth(1).unwrap().split(';').next().unwrap().to_owned();
    let csrf: Value = serde_json::from_slice(&body).unwrap();
    let page = [
        ("Cookie", cookie.as_str()),
        ("Origin", &desk.url()),
        ("X-CSRF-Token", csrf["csrf"].as_str().unwrap()),
    ];
    let (status, _, problem) = knock(&desk, &page).await;
    assert_eq!(status, 403);
    assert!(problem["detail"].as_str().unwrap().contains("for programs"), "{problem}");

    // A token that was revoked ends at once, in the middle of what its program does.
    let program = Program::connect(&desk.url(), &secret).await.unwrap();
    program.done("list_agents", json!({})).await;
    assert_eq!(desk.ask("DELETE", &format!("/tokens/{id}"), Value::Null).await.0, 204);
    let call = rmcp::model::CallToolRequestParams::new("list_agents");
    assert!(program.client.call_tool(call).await.is_err());
    let again = Program::connect(&desk.url(), &secret).await.err().unwrap();
    assert!(ClientInitializeError::is_authorization_required(&again), "{again}");
    desk.running.stop().await;
}

#[tokio::test]
async fn a_program_is_offered_what_its_token_may_and_refused_the_rest() {
    let desk = desk().await;
    let reader = desk.program(&[Scope::Read], None).await;
    let writer = desk.program(WRITER, None).await;
    let reviewer = desk.program(ALL, None).await;
    let (reads, writes, all) = (reader.tools().await, writer.names().await, reviewer.names().await);
    assert!(reads.iter().all(|tool| {
        tool.annotations.as_ref().is_some_and(|hints| hints.read_only_hint == Some(true))
    }));
    assert!(writes.iter().any(|name| name == "send_email"), "a person decides on it");
    assert!(!writes.iter().any(|name| name == "decide_review" || name == "cancel_email"));
    assert_eq!(all.len(), 18, "{all:?}");

    let arguments = |tool: &str| match tool {
        "create_draft" | "send_email" => {
            json!({ "agent": "help", "text": "x", "to": ["a@x.example"] })
        }
        "update_draft" | "send_draft" => json!({ "draft": 1, "version": 1 }),
        "discard_draft" => json!({ "draft": 1 }),
        "cancel_email" => json!({ "outbox": 1 }),
        "decide_review" => json!({ "review": 1, "decision": "approve" }),
        "cancel_schedule" => json!({ "schedule": 1 }),
        other => panic!("{other} should have been offered"),
    };
    let mut refused = 0;
    for tool in reviewer.tools().await {
        let name: &'static str = Box::leak(tool.name.into_owned().into_boxed_str());
        if !reads.iter().any(|offered| offered.name == name) {
            let why = reader.refused(name, arguments(name)).await;
            assert!(why.contains("it needs the right to"), "{name}: {why}");
            refused += 1;
        }
    }
    assert_eq!(refused, 8);
    assert_eq!(desk.get("/outbox").await["items"], json!([]));
    desk.running.stop().await;
}

#[tokio::test]
async fn what_is_another_agents_is_answered_as_what_does_not_exist() {
    let desk = desk().await;
    let message = desk.mail("sales", "Prices", "\r\nHow much?").await;
    let mine = desk.program(ALL, Some(&["help"])).await;
    let all = desk.program(ALL, None).await;
    let draft =
        all.done("create_draft", json!({ "agent": "sales", "text": "x" })).await.data["draft"]
            .clone();

    for (tool, list) in [
        ("list_conversations", json!({})),
        ("search_messages", json!({ "words": "how" })),
        ("read_drafts", json!({})),
        ("list_reviews", json!({})),
        ("list_outbox", json!({})),
        ("list_schedules", json!({})),
    ] {
        let said = mine.done(tool, list).await;
        assert_eq!(said.data["items"], json!([]), "{tool}: {}", said.text);
    }
    let agents = mine.done("list_agents", json!({})).await;
    assert!(!agents.text.contains("sales") && !agents.data.to_string().contains("sales"));

    // The same words, but for the number or name that was asked for.
    let review = all.done("list_reviews", json!({})).await.data["items"][0]["review"].clone();
    let outbox = all.done("list_outbox", json!({})).await.data["items"][0]["outbox"].clone();
    let mail = json!({ "agent": "help", "to": ["a@x.example"], "text": "x" });
    let with = |key: &str, value: &Value| {
        let mut mail = mail.clone();
        mail[key] = value.clone();
        mail
    };
    let there = json!({ "conversation": 1, "message": message, "review": review, "draft": draft, "outbox": outbox });
    let cases: Vec<(&'static str, &str, Value, Value)> = vec![
        (
            "get_conversation",
            "conversation",
            json!({ "conversation": 1 }),
            json!({ "conversation": 999 }),
        ),
        ("read_message", "message", json!({ "message": message }), json!({ "message": 999 })),
        (
            "read_attachment",
            "message",
            json!({ "message": message, "part": 0 }),
            json!({ "message": 999, "part": 0 }),
        ),
        ("read_drafts", "draft", json!({ "draft": draft }), json!({ "draft": 999 })),
        (
            "update_draft",
            "draft",
            json!({ "draft": draft, "version": 1 }),
            json!({ "draft": 999, "version": 1 }),
        ),
        ("discard_draft", "draft", json!({ "draft": draft }), json!({ "draft": 999 })),
        (
            "send_draft",
            "draft",
            json!({ "draft": draft, "version": 1 }),
            json!({ "draft": 999, "version": 1 }),
        ),
        (
            "decide_review",
            "review",
            json!({ "review": review, "decision": "approve" }),
            json!({ "review": 999, "decision": "approve" }),
        ),
        ("cancel_email", "outbox", json!({ "outbox": outbox }), json!({ "outbox": 999 })),
        ("send_email", "message", with("answers", &json!(message)), with("answers", &json!(999))),
        (
            "send_email",
            "conversation",
            with("conversation", &json!(1)),
            with("conversation", &json!(999)),
        ),
        ("create_draft", "message", with("answers", &json!(message)), with("answers", &json!(999))),
    ];
    for (tool, what, foreign, absent) in cases {
        let foreign = mine.refused(tool, foreign).await;
        let absent = mine.refused(tool, absent).await;
        assert_eq!(foreign, absent.replace("999", &there[what].to_string()), "{tool}");
    }
    let foreign = mine.refused("send_email", with("agent", &json!("sales"))).await;
    let absent = mine.refused("send_email", with("agent", &json!("nobody"))).await;
    assert_eq!(foreign, absent.replace("nobody", "sales"));
    // Nothing of it happened.
    assert_eq!(desk.get("/outbox").await["items"].as_array().unwrap().len(), 1);
    assert_eq!(desk.get("/drafts").await["items"].as_array().unwrap().len(), 1);
    desk.running.stop().await;
}
