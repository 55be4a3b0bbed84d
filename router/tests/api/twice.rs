//! The same request twice.

use crate::support::installation;
use frontdesk_router::agents::store::Scope;
use jiff::SignedDuration;
use serde_json::{Value, json};

fn mail(text: &str) -> Value {
    json!({ "agent": "help", "to": ["a@x.example"], "subject": "Hi", "text": text })
}

#[tokio::test]
async fn what_is_asked_for_twice_is_done_once_and_answered_alike() {
    let inst = installation().await;
    let me = inst.program(&[Scope::Read, Scope::Send], None).await.with("idempotency-key", "k1");
    let first = me.post("/emails", mail("one")).await;
    let second = me.post("/emails", mail("one")).await;
    assert_eq!((first.status, second.status), (202, 202));
    assert_eq!(first.bytes, second.bytes);
    assert!(second.headers.contains_key("idempotency-replayed"));
    assert_eq!(me.ids("/outbox").await.len(), 1, "one mail");
    assert_eq!(me.post("/emails", mail("two")).await.status, 422, "another request, the same key");
    let other = inst.program(&[Scope::Read, Scope::Send], None).await.with("idempotency-key", "k1");
    assert_eq!(
        other.post("/emails", mail("two")).await.status,
        202,
        "another's key is another key"
    );
    inst.clock.advance(SignedDuration::from_hours(25));
    assert_eq!(me.post("/emails", mail("two")).await.status, 202, "a day later it is free");
}

#[tokio::test]
async fn a_request_without_effect_frees_its_key() {
    let inst = installation().await;
    let me = inst.program(&[Scope::Read, Scope::Send], None).await.with("idempotency-key", "k");
    let wrong = json!({ "agent": "nobody", "to": ["a@x.example"], "text": "x" });
    assert_eq!(me.post("/emails", wrong).await.status, 404);
    assert_eq!(me.post("/emails", mail("right")).await.status, 202);
    let long = me.with("idempotency-key", &"k".repeat(300));
    assert_eq!(long.post("/emails", mail("x")).await.status, 400);
}

#[tokio::test]
async fn an_answer_with_a_secret_is_given_once() {
    let inst = installation().await;
    let me = inst.program(&[Scope::Admin], None).await.with("idempotency-key", "k");
    let body = json!({ "name": "new", "scopes": ["read"] });
    assert_eq!(me.post("/tokens", body.clone()).await.status, 201);
    assert_eq!(me.post("/tokens", body).await.status, 409);
    assert_eq!(inst.operator().ids("/tokens").await.len(), 2, "it was made once");
}

#[tokio::test]
async fn of_two_at_the_same_time_one_is_done() {
    let inst = installation().await;
    let me = inst.program(&[Scope::Read, Scope::Send], None).await.with("idempotency-key", "k");
    let both = tokio::join!(me.post("/emails", mail("x")), me.post("/emails", mail("x")));
    let mut statuses = [both.0.status, both.1.status];
    statuses.sort_unstable();
    assert!([[202, 202], [202, 409]].contains(&statuses), "{statuses:?}");
    assert_eq!(me.ids("/outbox").await.len(), 1);
}
