//! What happens, as listeners hear it.

use crate::support::{Client, Installation, installation};
use axum::{body::BodyDataStream, http::Method};
use frontdesk_router::agents::store::Scope;
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::time::Duration;

/// One listener.
struct Ears {
    stream: BodyDataStream,
    heard: String,
}

#[derive(Debug)]
struct Heard {
    name: String,
    id: i64,
    data: Value,
}

impl Ears {
    async fn of(client: &Client, path: &str) -> Self {
        let response = client.raw(Method::GET, path, None).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { stream: response.into_body().into_data_stream(), heard: String::new() }
    }

    /// The next event, or nothing if the stream has ended.
    async fn next(&mut self) -> Option<Heard> {
        loop {
            if let Some((one, rest)) = self.heard.split_once("\n\n") {
                let field = |name: &str| {
                    let line = one.lines().find_map(|line| line.strip_prefix(name));
                    line.map(|line| line.trim_start_matches([':', ' ']).to_owned())
                };
                let heard = field("event").map(|name| Heard {
                    name,
                    id: field("id").unwrap().parse().unwrap(),
                    data: serde_json::from_str(&field("data").unwrap()).unwrap(),
                });
                self.heard = rest.to_owned();
                match heard {
                    Some(heard) => return Some(heard),
                    None => continue,
                }
            }
            let piece = tokio::time::timeout(Duration::from_secs(60), self.stream.next());
            let piece = piece.await.expect("something is heard").and_then(Result::ok)?;
            self.heard.push_str(str::from_utf8(&piece).unwrap());
        }
    }

    /// The events up to the first of this name.
    async fn until(&mut self, name: &str) -> Vec<Heard> {
        let mut all = Vec::new();
        loop {
            let heard = self.next().await.expect("the stream goes on");
            let last = heard.name == name;
            all.push(heard);
            if last {
                return all;
            }
        }
    }
}

async fn reader(inst: &Installation, agents: Option<&[&str]>) -> Client {
    inst.program(&[Scope::Read], agents).await
}

#[tokio::test]
async fn a_listener_hears_what_happens_and_misses_nothing_when_it_comes_back() {
    let inst = installation().await;
    let client = reader(&inst, None).await;
    let mut ears = Ears::of(&client, "/events").await;
    assert_eq!(ears.next().await.unwrap().name, "ready");
    let (conversation, message) = inst.conversation("sales", "a@x.example", "one").await;
    let heard = ears.until("outbox.changed").await;
    assert_eq!(heard[0].name, "message.added");
    assert_eq!(
        heard[0].data,
        json!({ "id": heard[0].id, "type": "message.added", "agent": "sales",
                "conversation": conversation, "subject": message })
    );
    let last = heard.last().unwrap().id;
    drop(ears);

    let (.., review) = inst.held("sales", "a@x.example", "two").await;
    let back = client.clone().with("last-event-id", &last.to_string());
    let mut ears = Ears::of(&back, "/events").await;
    let ready = ears.next().await.unwrap();
    assert_eq!((ready.name.as_str(), ready.id), ("ready", last));
    let heard = ears.until("review.needed").await;
    assert_eq!(heard.last().unwrap().data["subject"], review);
    let ids: Vec<i64> = heard.iter().map(|h| h.id).collect();
    assert!(ids.is_sorted() && ids[0] > last, "{ids:?}");
    assert_eq!(client.clone().with("last-event-id", "x").get("/events").await.status, 400);
}

#[tokio::test]
async fn a_delivery_is_heard_at_every_step() {
    let inst = installation().await;
    let mut ears = Ears::of(&reader(&inst, None).await, "/events").await;
    inst.conversation("sales", "a@x.example", "one").await;
    let store = &inst.desk.store;
    let claimed = store.claim_deliveries(1).await.unwrap();
    ears.until("delivery.changed").await;
    let sent = frontdesk_router::agents::store::DeliveryOutcome::Sent { response: "250".into() };
    store.settle_delivery(claimed[0].delivery, sent).await.unwrap();
    ears.until("delivery.sent").await;
}

#[tokio::test]
async fn nobody_hears_of_what_they_do_not_see() {
    let inst = installation().await;
    let mut ears = Ears::of(&reader(&inst, Some(&["help"])).await, "/events").await;
    ears.next().await.unwrap();
    inst.conversation("sales", "a@x.example", "secret").await;
    inst.conversation("help", "a@x.example", "open").await;
    let heard = ears.until("message.added").await;
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert_eq!(heard[0].data["agent"], "help");
}

#[tokio::test]
async fn whoever_was_away_too_long_is_told_to_look_anew() {
    let inst = installation().await;
    inst.conversation("sales", "a@x.example", "one").await;
    let client = reader(&inst, None).await;
    let mut ears = Ears::of(&client, "/events?after=999999").await;
    let reset = ears.next().await.unwrap();
    assert_eq!(reset.name, "reset");
    inst.conversation("sales", "a@x.example", "two").await;
    assert!(ears.next().await.unwrap().id > reset.id);
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_beats_and_ends_when_its_listener_is_signed_out() {
    let inst = installation().await;
    let client = reader(&inst, None).await;
    let mut ears = Ears::of(&client, "/events").await;
    ears.next().await.unwrap();
    let piece = ears.stream.next().await.unwrap().unwrap();
    assert_eq!(&piece[..], b": still here\n\n");
    let id = inst.operator().ids("/tokens").await[0];
    inst.operator().delete(&format!("/tokens/{id}")).await;
    assert!(ears.next().await.is_none());
}

#[tokio::test]
async fn a_stream_ends_with_the_store() {
    let inst = installation().await;
    let mut ears = Ears::of(&reader(&inst, None).await, "/events").await;
    ears.next().await.unwrap();
    inst.desk.store.close().await;
    assert!(ears.next().await.is_none());
}
