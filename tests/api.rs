//! The API on the wire: who is let in at the listener, and what people's decisions do to mail.

#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use std::net::SocketAddr;
use support::{Desk, Letter};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// One request over a connection of its own: status, head and body.
async fn ask(
    at: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> (u16, String, Value) {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut request = format!("{method} /api/v1{path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        request.push_str(&format!("Host: {at}\r\n"));
    }
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!(
        "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), serde_json::from_str(body).unwrap_or_default())
}

#[tokio::test]
async fn the_listener_lets_in_who_has_signed_in_and_nobody_else() {
    let desk = Desk::local().await;
    let at = desk.http;
    assert_eq!(ask(at, "GET", "/conversations", &[], None).await.0, 401);
    let foreign = [("Host", "desk.evil.example")];
    assert_eq!(ask(at, "GET", "/conversations", &foreign, None).await.0, 403);

    let link = desk.signin_link.clone().unwrap();
    assert!(link.starts_with(&format!("http://{at}/signin#")), "{link}");
    let redeem = json!({ "token": link.split_once('#').unwrap().1, "password": "a good long one" });
    let (status, head, session) = ask(at, "POST", "/session/link", &[], Some(&redeem)).await;
    assert_eq!(status, 200, "{session}");
    let cookie = head.split("set-cookie: ").nth(1).unwrap().split(';').next().unwrap();
    let (status, _, me) = ask(at, "GET", "/session", &[("Cookie", cookie)], None).await;
    assert_eq!((status, &me["role"]), (200, &json!("owner")));
    // The cookie alone writes nothing: any page could have sent it.
    let user = json!({ "name": "ann", "role": "viewer" });
    assert_eq!(ask(at, "POST", "/users", &[("Cookie", cookie)], Some(&user)).await.0, 403);
    let (origin, csrf) = (format!("http://{at}"), session["csrf"].as_str().unwrap());
    let page = [("Cookie", cookie), ("Origin", &origin), ("X-CSRF-Token", csrf)];
    assert_eq!(ask(at, "POST", "/users", &page, Some(&user)).await.0, 201);

    let made = desk.api.post("/tokens", json!({ "name": "ci", "scopes": ["read"] })).await;
    let bearer = format!("Bearer {}", made["secret"].as_str().unwrap());
    let token = [("Authorization", bearer.as_str())];
    assert_eq!(ask(at, "GET", "/conversations", &token, None).await.0, 200);
    let mail = json!({ "agent": "hello", "to": ["a@x.example"], "text": "x" });
    assert_eq!(ask(at, "POST", "/emails", &token, Some(&mail)).await.0, 403);
    desk.stop().await;
}

#[tokio::test]
async fn mail_from_a_blocked_address_is_refused_in_the_session() {
    let desk = Desk::local().await;
    let letter = Letter::new("ann@localhost", "hello@localhost", "Hello");
    desk.take(&letter).await;
    desk.api.post("/blocked", json!({ "address": "ann@example.org" })).await;
    let blocked = Letter::new("ann@example.org", "hello@localhost", "Hello again");
    let reply = desk.send(&blocked).await;
    assert!(reply.is(550), "{reply:?}");
    assert_eq!(desk.send(&Letter::new("bob@localhost", "hello@localhost", "Hi")).await.code, 250);
    desk.stop().await;
}

#[tokio::test]
async fn an_answer_brings_a_conversation_back_from_the_archive() {
    let desk = Desk::local().await;
    desk.take(&Letter::new("ann@localhost", "hello@localhost", "Hello")).await;
    let id = desk.api.conversations().await[0]["id"].clone();
    let before = desk.api.conversation(&id).await;
    assert_eq!(before["unread"], true);
    let (status, _) = desk
        .api
        .ask(
            "PATCH",
            &format!("/conversations/{id}"),
            Some(json!({ "archived": true, "unread": false })),
        )
        .await;
    assert_eq!(status, 200);
    assert_eq!(desk.api.list("/conversations?queue=archive").await.len(), 1);
    desk.take(&desk.answer().answer("ann@localhost", "One more thing")).await;
    let after = desk.api.conversation(&id).await;
    assert_eq!((&after["archived_at"], &after["unread"]), (&Value::Null, &json!(true)));
    desk.stop().await;
}
