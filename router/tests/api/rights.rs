//! Every endpoint with every kind of caller, against a table.
//!
//! What stands in the table is what was decided, not what the code says: a new endpoint fails here until
//! somebody has written down who may use it.

use crate::{
    openapi::{document, operations},
    support::{Client, Installation, installation},
};
use axum::http::Method;
use frontdesk_router::agents::store::Scope;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Who asks, in the order of the columns.
const CALLERS: [&str; 8] = [
    "nobody",
    "viewer",
    "reviewer",
    "owner",
    "stranger",
    "reader token",
    "sender token",
    "writer token",
];

/// Method, path as described, path as asked, body, and a status for each caller. `stranger` is a reviewer of
/// the agent `help`, while everything here belongs to `sales`. 404, 409 and 422 mean that the caller was let
/// in and the thing did not fit. Each caller has an installation of their own and asks from top to bottom.
#[rustfmt::skip]
const TABLE: &[(&str, &str, &str, &str, [u16; 8])] = &[
    // Signing in.
    ("GET", "/session", "/session", "", [401, 200, 200, 200, 200, 200, 200, 200]),
    ("POST", "/session", "/session", r#"{"name":"x","password":"y"}"#, [401, 401, 401, 401, 401, 401, 401, 401]),
    ("POST", "/session/link/look", "/session/link/look", r#"{"token":"x"}"#, [404, 404, 404, 404, 404, 404, 404, 404]),
    ("POST", "/session/link", "/session/link", r#"{"token":"x","password":"y"}"#, [404, 404, 404, 404, 404, 404, 404, 404]),
    ("PUT", "/session/password", "/session/password", r#"{"current":"x","new":"y"}"#, [401, 403, 403, 403, 403, 403, 403, 403]),
    // Reading.
    ("GET", "/conversations", "/conversations", "", [401, 200, 200, 200, 200, 200, 200, 200]),
    ("GET", "/conversations/counts", "/conversations/counts", "", [401, 200, 200, 200, 200, 200, 200, 200]),
    ("GET", "/conversations/{id}", "/conversations/1", "", [401, 200, 200, 200, 404, 200, 200, 200]),
    ("GET", "/messages/{id}", "/messages/1", "", [401, 200, 200, 200, 404, 200, 200, 200]),
    ("GET", "/messages/{id}/raw", "/messages/4/raw", "", [401, 200, 200, 200, 404, 200, 200, 200]),
    ("GET", "/messages/{id}/attachments/{part}", "/messages/1/attachments/0", "", [401, 404, 404, 404, 404, 404, 404, 404]),
    ("GET", "/search", "/search?q=one", "", [401, 200, 200, 200, 200, 200, 200, 200]),
    ("GET", "/assignees", "/assignees", "", [401, 200, 200, 200, 200, 200, 200, 200]),
    ("GET", "/labels", "/labels", "", [401, 200, 200, 200, 200, 200, 200, 200]),
    ("GET", "/reviews", "/reviews", "", [401, 200, 200, 200, 200, 200, 200, 200]),
    ("GET", "/outbox", "/outbox", "", [401, 200, 200, 200, 200, 200, 200, 200]),
    ("GET", "/outbox/{id}", "/outbox/1", "", [401, 200, 200, 200, 404, 200, 200, 200]),
    ("GET", "/drafts", "/drafts", "", [401, 200, 200, 200, 200, 200, 200, 200]),
    ("GET", "/drafts/{id}", "/drafts/1", "", [401, 200, 200, 200, 404, 200, 200, 200]),
    ("GET", "/contacts", "/contacts", "", [401, 200, 200, 200, 200, 200, 200, 200]),
    ("GET", "/contacts/{id}", "/contacts/1", "", [401, 200, 200, 200, 404, 200, 200, 200]),
    ("GET", "/blocked", "/blocked", "", [401, 200, 200, 200, 403, 200, 200, 200]),
    ("GET", "/agents", "/agents", "", [401, 200, 200, 200, 200, 200, 200, 200]),
    ("GET", "/agents/{name}", "/agents/sales", "", [401, 200, 200, 200, 404, 200, 200, 200]),
    ("GET", "/schedules", "/schedules", "", [401, 200, 200, 200, 200, 200, 200, 200]),
    ("GET", "/models", "/models", "", [401, 200, 200, 200, 200, 200, 200, 200]),
    ("GET", "/models/{name}", "/models/base.en", "", [401, 200, 200, 200, 200, 200, 200, 200]),
    ("GET", "/dead-letters", "/dead-letters", "", [401, 200, 200, 200, 200, 200, 200, 200]),
    ("GET", "/events", "/events", "", [401, 200, 200, 200, 200, 200, 200, 200]),
    // Writing and tidying.
    ("PATCH", "/conversations/{id}", "/conversations/1", r#"{"starred":true}"#, [401, 403, 200, 200, 404, 403, 200, 200]),
    ("POST", "/conversations/bulk", "/conversations/bulk", r#"{"ids":[1],"change":{"archived":true}}"#, [401, 403, 200, 200, 404, 403, 200, 200]),
    ("POST", "/undo/{id}", "/undo/999", "{}", [401, 403, 404, 404, 404, 403, 404, 404]),
    ("POST", "/conversations/{id}/notes", "/conversations/1/notes", r#"{"text":"x"}"#, [401, 403, 201, 201, 404, 403, 201, 201]),
    ("POST", "/drafts", "/drafts", r#"{"agent":"sales"}"#, [401, 403, 201, 201, 404, 403, 201, 201]),
    ("PATCH", "/drafts/{id}", "/drafts/1", r#"{"version":1,"text":"x"}"#, [401, 403, 200, 200, 404, 403, 200, 200]),
    ("POST", "/drafts/{id}/attachments", "/drafts/1/attachments", r#"{"name":"x","content_base64":""}"#, [401, 403, 201, 201, 404, 403, 201, 201]),
    ("DELETE", "/drafts/{id}/attachments/{part}", "/drafts/1/attachments/0", "", [401, 403, 200, 200, 404, 403, 200, 200]),
    ("DELETE", "/drafts/{id}", "/drafts/2", "", [401, 403, 204, 204, 404, 403, 204, 204]),
    ("PATCH", "/contacts/{id}", "/contacts/1", r#"{"name":"Ann"}"#, [401, 403, 200, 200, 404, 403, 200, 200]),
    // Sending.
    ("POST", "/drafts/{id}/send", "/drafts/1/send", r#"{"version":4}"#, [401, 403, 202, 202, 404, 403, 202, 202]),
    ("POST", "/emails", "/emails", r#"{"agent":"sales","to":["a@x.example"],"text":"x"}"#, [401, 403, 202, 202, 404, 403, 202, 202]),
    ("POST", "/outbox/{id}/retry", "/outbox/1/retry", "{}", [401, 403, 409, 409, 404, 403, 409, 403]),
    ("POST", "/outbox/{id}/recall", "/outbox/1/recall", "{}", [401, 403, 200, 200, 404, 403, 200, 403]),
    ("POST", "/outbox/{id}/cancel", "/outbox/1/cancel", "{}", [401, 403, 200, 200, 404, 403, 200, 403]),
    // Deciding.
    ("POST", "/reviews/{id}/approve", "/reviews/1/approve", "{}", [401, 403, 200, 200, 404, 403, 403, 403]),
    ("POST", "/reviews/{id}/reject", "/reviews/2/reject", "{}", [401, 403, 200, 200, 404, 403, 403, 403]),
    ("POST", "/agents/{name}/links", "/agents/sales/links", "{}", [401, 403, 409, 409, 404, 403, 403, 403]),
    ("DELETE", "/schedules/{id}", "/schedules/1", "", [401, 403, 204, 204, 404, 403, 403, 403]),
    ("POST", "/models/{name}/pull", "/models/nothing/pull", "{}", [401, 403, 404, 404, 404, 403, 403, 403]),
    ("POST", "/dead-letters/{id}/retry", "/dead-letters/1/retry", "{}", [401, 403, 404, 404, 404, 403, 403, 403]),
    ("POST", "/contacts/{id}/admit", "/contacts/1/admit", "{}", [401, 403, 200, 200, 404, 403, 403, 403]),
    ("DELETE", "/contacts/{id}/admit", "/contacts/1/admit", "", [401, 403, 200, 200, 404, 403, 403, 403]),
    ("POST", "/contacts/{id}/merge", "/contacts/1/merge", r#"{"contact":2}"#, [401, 403, 200, 200, 403, 403, 403, 403]),
    ("POST", "/contacts/{id}/split", "/contacts/1/split", r#"{"contact":2}"#, [401, 403, 200, 200, 403, 403, 403, 403]),
    ("POST", "/blocked", "/blocked", r#"{"address":"a@x.example"}"#, [401, 403, 200, 200, 403, 403, 403, 403]),
    ("DELETE", "/blocked/{address}", "/blocked/a@x.example", "", [401, 403, 204, 204, 403, 403, 403, 403]),
    // Running the installation.
    ("GET", "/users", "/users", "", [401, 403, 403, 200, 403, 403, 403, 403]),
    ("POST", "/users", "/users", r#"{"name":"new","role":"viewer"}"#, [401, 403, 403, 201, 403, 403, 403, 403]),
    ("GET", "/users/{id}", "/users/1", "", [401, 403, 403, 200, 403, 403, 403, 403]),
    ("PATCH", "/users/{id}", "/users/1", r#"{"role":"viewer"}"#, [401, 403, 403, 200, 403, 403, 403, 403]),
    ("POST", "/users/{id}/link", "/users/1/link", "{}", [401, 403, 403, 201, 403, 403, 403, 403]),
    ("DELETE", "/users/{id}/sessions", "/users/1/sessions", "", [401, 403, 403, 204, 403, 403, 403, 403]),
    ("DELETE", "/users/{id}", "/users/1", "", [401, 403, 403, 204, 403, 403, 403, 403]),
    ("GET", "/tokens", "/tokens", "", [401, 403, 403, 200, 403, 403, 403, 403]),
    ("POST", "/tokens", "/tokens", r#"{"name":"x","scopes":["read"]}"#, [401, 403, 403, 201, 403, 403, 403, 403]),
    ("GET", "/tokens/{id}", "/tokens/1", "", [401, 403, 403, 200, 403, 403, 403, 403]),
    ("DELETE", "/tokens/{id}", "/tokens/1", "", [401, 403, 403, 204, 403, 403, 403, 403]),
    ("GET", "/webhooks", "/webhooks", "", [401, 403, 403, 200, 403, 403, 403, 403]),
    ("POST", "/webhooks", "/webhooks", r#"{"url":"https://x.example","events":["mail.received"]}"#, [401, 403, 403, 201, 403, 403, 403, 403]),
    ("GET", "/webhooks/{id}", "/webhooks/1", "", [401, 403, 403, 200, 403, 403, 403, 403]),
    ("PATCH", "/webhooks/{id}", "/webhooks/1", r#"{"active":false}"#, [401, 403, 403, 200, 403, 403, 403, 403]),
    ("GET", "/webhooks/{id}/deliveries", "/webhooks/1/deliveries", "", [401, 403, 403, 200, 403, 403, 403, 403]),
    ("POST", "/webhooks/{id}/deliveries/{delivery}/replay", "/webhooks/1/deliveries/1/replay", "{}", [401, 403, 403, 404, 403, 403, 403, 403]),
    ("DELETE", "/webhooks/{id}", "/webhooks/1", "", [401, 403, 403, 204, 403, 403, 403, 403]),
    ("GET", "/audit", "/audit", "", [401, 403, 403, 200, 403, 403, 403, 403]),
    ("POST", "/keys/rotate", "/keys/rotate", "{}", [401, 403, 403, 200, 403, 403, 403, 403]),
    ("POST", "/reload", "/reload", "{}", [401, 403, 403, 409, 403, 403, 403, 403]),
    ("POST", "/backup", "/backup", r#"{"to":"relative"}"#, [401, 403, 403, 422, 403, 403, 403, 403]),
    ("POST", "/export", "/export", r#"{"out":"relative"}"#, [401, 403, 403, 422, 403, 403, 403, 403]),
    // Signing out, last.
    ("DELETE", "/session", "/session", "", [401, 204, 204, 204, 204, 403, 403, 403]),
    ("DELETE", "/session/all", "/session/all", "", [401, 401, 401, 401, 401, 403, 403, 403]),
];

/// Three conversations of `sales` (one mail that waits to leave, two drafts that wait for a decision, one
/// that has left), two drafts, two contacts, a schedule, a spare user, token and webhook, all with id 1 and up.
async fn furnish(inst: &Installation) {
    inst.conversation("sales", "ann@x.example", "one").await;
    inst.held("sales", "ann@x.example", "two").await;
    inst.held("sales", "ann@y.example", "three").await;
    let (_, message) = inst.conversation("sales", "ann@y.example", "four").await;
    let store = &inst.desk.store;
    let outbox = store.outbox_of(frontdesk_router::agents::MessageId(message)).await.unwrap();
    let bytes = store.stage(b"Subject: four\r\n\r\nfour\r\n").unwrap();
    store.keep_rendered(vec![(outbox, bytes)]).await.unwrap();
    let me = inst.operator();
    for _ in 0..2 {
        let draft = json!({ "agent": "sales", "to": ["ann@x.example"] });
        me.post("/drafts", draft).await.good();
    }
    let db = Connection::open(inst.folder.path().join("data/frontdesk.db")).unwrap();
    db.execute_batch(
        "INSERT INTO contacts (id, name, trust, created_at)
         VALUES (1, 'Ann', 'proven', 0), (2, 'Ann', 'proven', 0);
         UPDATE instances SET contact_id = id WHERE id IN (1, 2);
         INSERT INTO schedules (id, instance_id, name, spec, payload, next_at, created_at)
         VALUES (1, 1, 'nudge', '{\"kind\":\"every\",\"millis\":3600000}', 'null', 4102444800000, 0);",
    )
    .unwrap();
    me.post("/users", json!({ "name": "spare", "role": "viewer" })).await.good();
    me.post("/tokens", json!({ "name": "spare", "scopes": ["read"] })).await.good();
    let hook = json!({ "url": "https://x.example", "events": ["mail.received"] });
    me.post("/webhooks", hook).await.good();
}

async fn caller(inst: &Installation, name: &str) -> Client {
    let all = [Scope::Read, Scope::Draft, Scope::Send];
    match name {
        "nobody" => inst.nobody(),
        "stranger" => inst.user("stranger", "reviewer", Some(&["help"])).await,
        "reader token" => inst.program(&[Scope::Read], None).await,
        "sender token" => inst.program(&all, None).await,
        "writer token" => inst.program(&all[..2], None).await,
        role => inst.user(role, role, None).await,
    }
}

#[tokio::test]
async fn every_endpoint_answers_every_caller_as_decided() {
    let described = operations(&document(&installation().await).await);
    let decided: BTreeSet<(String, String)> =
        TABLE.iter().map(|(method, path, ..)| ((*method).into(), (*path).into())).collect();
    assert_eq!(decided, described);
    let mut wrong = Vec::new();
    for (column, name) in CALLERS.iter().enumerate() {
        let inst = installation().await;
        furnish(&inst).await;
        let client = caller(&inst, name).await;
        for (method, _, path, body, expected) in TABLE {
            let body = (!body.is_empty()).then(|| serde_json::from_str::<Value>(body).unwrap());
            let method = method.parse::<Method>().unwrap();
            let status = client.raw(method.clone(), path, body).await.status().as_u16();
            if status != expected[column] {
                wrong.push(format!("{name}: {method} {path}: {status}, not {}", expected[column]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn lists_counts_search_and_drafts_show_only_what_is_in_sight() {
    let inst = installation().await;
    furnish(&inst).await;
    inst.conversation("help", "bob@x.example", "five").await;
    inst.operator().post("/drafts", json!({ "agent": "help" })).await.good();
    inst.operator().patch("/conversations/1", json!({ "add_labels": ["secret"] })).await.good();
    inst.desk.store.settle().await.unwrap();
    let help = inst.program(&[Scope::Read], Some(&["help"])).await;
    assert_eq!(help.ids("/conversations").await, [5]);
    assert_eq!(help.ids("/conversations?queue=sent").await, [5]);
    assert_eq!(help.ids("/outbox").await.len(), 1);
    assert_eq!(help.ids("/drafts").await, [3]);
    for empty in
        ["/reviews", "/labels", "/contacts", "/search?q=one", "/dead-letters", "/schedules"]
    {
        let page = help.get(empty).await.good();
        assert_eq!(page["items"], json!([]), "{empty}");
    }
    assert_eq!(help.get("/search?q=five").await.good()["items"].as_array().unwrap().len(), 1);
    let counts = help.get("/conversations/counts").await.good();
    for queue in counts["queues"].as_array().unwrap() {
        let expected =
            i32::from(["open", "sent", "drafts"].contains(&queue["queue"].as_str().unwrap()));
        let expected = if queue["queue"] == "drafts" { 0 } else { expected };
        assert!(queue["conversations"].as_i64().unwrap() <= i64::from(expected), "{queue}");
    }
    let agents = help.get("/agents").await.good();
    assert_eq!(agents["items"].as_array().unwrap().len(), 1);
    assert!(!agents.to_string().contains("sales"));
    let none = help.get("/agents/sales").await.json();
    assert!(!none["detail"].as_str().unwrap().contains("there are: help, sales"), "{none}");
    assert_eq!(help.get("/conversations?agent=sales").await.status, 404);
    assert_eq!(help.get("/conversations?label=secret").await.good()["items"], json!([]));
    // What is out of sight and what is not there answer alike.
    let (there, absent) =
        (help.get("/conversations/1").await, help.get("/conversations/999").await);
    let text = |answer: &crate::support::Answer| {
        answer.json()["detail"].as_str().unwrap().replace("999", "1")
    };
    assert_eq!(text(&there), text(&absent));
}

#[tokio::test]
async fn keys_that_are_rotated_too_often_are_a_conflict_and_no_failure() {
    let inst = installation().await;
    let mut statuses = Vec::new();
    for _ in 0..40 {
        statuses.push(inst.operator().post("/keys/rotate", json!({})).await.status);
    }
    assert!(statuses.starts_with(&[200]) && statuses.ends_with(&[409]), "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 409].contains(status)), "{statuses:?}");
}
