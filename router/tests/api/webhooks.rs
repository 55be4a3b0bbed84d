//! Addresses that are told what happens.

use crate::support::{Installation, installation, installation_with};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use frontdesk_router::http::{keeper, webhook::Sender};
use hmac::{Hmac, KeyInit, Mac};
use jiff::SignedDuration;
use serde_json::{Value, json};
use sha2::Sha256;
use std::{net::SocketAddr, time::Duration};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};

type Told = (HeaderMap, Bytes);

/// A receiver that answers with these statuses in turn, the last one for ever.
async fn receiver(
    statuses: &'static [u16],
) -> (SocketAddr, mpsc::UnboundedReceiver<Told>, JoinHandle<()>) {
    let (heard, told) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let router = Router::new()
        .fallback(
            move |State((heard, count)): State<(
                mpsc::UnboundedSender<Told>,
                std::sync::Arc<std::sync::atomic::AtomicUsize>,
            )>,
                  headers: HeaderMap,
                  body: Bytes| async move {
                let n = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                heard.send((headers, body)).unwrap();
                StatusCode::from_u16(statuses[n.min(statuses.len() - 1)]).unwrap()
            },
        )
        .with_state((heard, count));
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, told, server)
}

fn keep(inst: &Installation) -> JoinHandle<()> {
    let sender = Sender::new(&inst.desk.config.http.webhook_networks).unwrap();
    tokio::spawn(keeper::run(inst.desk.clone(), sender, std::future::pending()))
}

async fn next(told: &mut mpsc::UnboundedReceiver<Told>) -> Told {
    tokio::time::timeout(Duration::from_secs(60), told.recv()).await.unwrap().unwrap()
}

/// Waits for a delivery in this state.
async fn delivery(inst: &Installation, state: &str) -> Value {
    for _ in 0..600 {
        let page = inst.operator().get("/webhooks/1/deliveries").await.good();
        if let Some(found) = page["items"].as_array().unwrap().iter().find(|d| d["state"] == state)
        {
            return found.clone();
        }
        // The keeper waits for a commit, and this is one.
        let mut commits = inst.desk.store.commits();
        let _ = tokio::time::timeout(Duration::from_millis(100), commits.changed()).await;
    }
    panic!("no delivery is {state}");
}

const LOCAL: &str = "[http]\nwebhook_networks = [\"127.0.0.0/8\"]\n";

#[tokio::test]
async fn a_webhook_is_told_signed_and_again_until_it_takes_it() {
    let inst = installation_with(LOCAL).await;
    let (address, mut told, server) = receiver(&[500, 200]).await;
    let me = inst.operator();
    let body = json!({ "url": format!("http://{address}/x"), "events": ["review.needed"] });
    let hook = me.post("/webhooks", body).await.good();
    let keeper = keep(&inst);
    inst.conversation("sales", "a@x.example", "not of interest").await;
    let (conversation, _, review) = inst.held("sales", "a@x.example", "of interest").await;

    let (headers, body) = next(&mut told).await;
    let event: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(event["type"], "review.needed");
    assert_eq!((&event["conversation"], &event["subject"]), (&json!(conversation), &json!(review)));
    assert!(!event.to_string().contains("interest"), "ids, not words: {event}");
    let signature = headers["frontdesk-signature"].to_str().unwrap();
    let (time, hex) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let mut mac =
        Hmac::<Sha256>::new_from_slice(hook["secret"].as_str().unwrap().as_bytes()).unwrap();
    mac.update(format!("{time}.").as_bytes());
    mac.update(&body);
    let hex = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
    mac.verify_slice(&hex).unwrap();

    let waiting = delivery(&inst, "queued").await;
    assert_eq!(waiting["event"], "review.needed");
    inst.clock.advance(SignedDuration::from_secs(10));
    inst.conversation("sales", "a@x.example", "a commit").await;
    let (again, body_again) = next(&mut told).await;
    assert_eq!(body_again, body);
    assert_eq!(again["frontdesk-delivery"], headers["frontdesk-delivery"]);
    let sent = delivery(&inst, "sent").await;
    assert_eq!((&sent["attempts"], &sent["answer"]), (&json!(2), &json!("200 OK")));

    let replay = format!("/webhooks/1/deliveries/{}/replay", sent["id"]);
    me.post(&replay, json!({})).await.good();
    assert_eq!(next(&mut told).await.1, body);
    keeper.abort();
    server.abort();
}

#[tokio::test]
async fn a_webhook_that_never_answers_is_given_up() {
    let inst = installation_with(LOCAL).await;
    let (address, mut told, server) = receiver(&[302]).await;
    let body = json!({ "url": format!("http://{address}/"), "events": ["review.needed"] });
    inst.operator().post("/webhooks", body).await.good();
    let keeper = keep(&inst);
    inst.held("sales", "a@x.example", "x").await;
    for attempt in 1..=9 {
        next(&mut told).await;
        if attempt < 9 {
            // Settled before the clock moves on.
            while delivery(&inst, "queued").await["attempts"] != attempt {
                tokio::task::yield_now().await;
            }
            inst.clock.advance(SignedDuration::from_hours(18));
            inst.conversation("sales", "a@x.example", "a commit").await;
        }
    }
    let dead = delivery(&inst, "dead").await;
    assert_eq!((&dead["attempts"], &dead["answer"]), (&json!(9), &json!("302 Found")));
    keeper.abort();
    server.abort();
}

#[tokio::test]
async fn addresses_in_our_own_network_are_refused_unless_allowed() {
    let inst = installation().await;
    let me = inst.operator();
    let with = |url: &str| json!({ "url": url, "events": ["mail.received"] });
    for url in [
        "http://127.0.0.1:9/",
        "https://127.0.0.1/",
        "https://169.254.169.254/latest",
        "https://[::1]/",
        "http://hooks.example/",
        "file:///etc/passwd",
        "https://u:p@hooks.example/",
        "x",
    ] {
        assert_eq!(me.post("/webhooks", with(url)).await.status, 422, "{url}");
    }
    me.post("/webhooks", with("https://hooks.example/")).await.good();
    for events in [json!([]), json!(["weather.changed"])] {
        let body = json!({ "url": "https://hooks.example/", "events": events });
        assert_eq!(me.post("/webhooks", body).await.status, 422);
    }
    let inner = me.patch("/webhooks/1", json!({ "url": "https://10.0.0.1/" })).await;
    assert_eq!(inner.status, 422);
    assert_eq!(me.patch("/webhooks/1", json!({ "active": false })).await.good()["active"], false);
    assert_eq!(me.delete("/webhooks/1").await.status, 204);
    assert_eq!(me.get("/webhooks/1").await.status, 404);
}

#[tokio::test]
async fn a_name_that_leads_into_our_own_network_is_not_followed() {
    let inst = installation().await;
    let body = json!({ "url": "https://localhost/", "events": ["review.needed"] });
    inst.operator().post("/webhooks", body).await.good();
    let keeper = keep(&inst);
    inst.held("sales", "a@x.example", "x").await;
    let waiting = loop {
        let waiting = delivery(&inst, "queued").await;
        if waiting["attempts"] == 1 {
            break waiting;
        }
    };
    assert_eq!(waiting["answer"], "cannot be reached: it leads to no public address");
    keeper.abort();
}
