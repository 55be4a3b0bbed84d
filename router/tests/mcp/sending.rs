//! Drafts, sending, and what a person decides.

use crate::support::{ALL, Program, WRITER, desk, until};
use frontdesk_router::agents::store::Scope;
use serde_json::{Value, json};

#[tokio::test]
async fn a_send_without_the_right_waits_for_a_reviewer_and_then_leaves() {
    let desk = desk().await;
    let (writer_id, secret) = desk.token("scribe", WRITER, Some(&["sales"])).await;
    let writer = Program::connect(&desk.url(), &secret).await.unwrap();
    let (reviewer_id, secret) = desk.token("boss", ALL, None).await;
    let reviewer = Program::connect(&desk.url(), &secret).await.unwrap();

    let mail =
        json!({ "agent": "sales", "to": ["ann@x.example"], "subject": "Offer", "text": "42." });
    let held = writer.done("send_email", mail).await;
    assert_eq!(held.data["state"], "held");
    let why = format!("token:{writer_id}:scribe may not send for sales; a person decides");
    assert_eq!(held.data["why"], why.as_str());
    assert!(held.text.contains(&why) && held.text.contains("not sent"), "{}", held.text);
    let (review, outbox) = (held.data["review"].clone(), held.data["outbox"].clone());

    // Whoever may not decide does not.
    let decision = json!({ "review": review, "decision": "approve", "reason": "fine" });
    let refused = writer.refused("decide_review", decision.clone()).await;
    assert!(refused.contains("needs the right to approve"), "{refused}");
    let waiting = reviewer.done("list_reviews", json!({})).await;
    let item = &waiting.data["items"][0];
    assert_eq!((&item["review"], &item["kind"]), (&review, &json!("draft")));
    assert_eq!(item["untrusted"]["recipients"], json!(["ann@x.example"]));
    assert_eq!(item["untrusted"]["text"], "42.");
    assert!(waiting.text.contains(&why), "{}", waiting.text);

    let approved = reviewer.done("decide_review", decision.clone()).await;
    assert_eq!((&approved.data["state"], &approved.data["outbox"]), (&json!("queued"), &outbox));
    let sent = until("it has left", || async {
        let page = writer.done("list_outbox", json!({ "state": "sent" })).await;
        page.data["items"].as_array()?.first().cloned()
    })
    .await;
    assert_eq!(sent["outbox"], outbox);
    assert_eq!(sent["untrusted"]["deliveries"][0]["recipient"], "ann@x.example");
    let twice = reviewer.refused("decide_review", decision).await;
    assert!(twice.contains("already approved by token:"), "{twice}");
    let left = std::fs::read_dir(desk.folder.path().join("data/outgoing")).unwrap();
    let left =
        left.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|e| e == "eml"));
    assert_eq!(left.count(), 1);

    // The trail names both.
    let audit = desk.get("/audit").await;
    let did = |who: String, what: &str| {
        let entries = audit["items"].as_array().unwrap();
        entries.iter().any(|entry| entry["actor"] == who.as_str() && entry["action"] == what)
    };
    assert!(did(format!("token:{writer_id}:scribe"), "email.send"), "{audit}");
    assert!(did(format!("token:{reviewer_id}:boss"), "review.approve"), "{audit}");
    desk.running.stop().await;
}

#[tokio::test]
async fn the_time_a_writer_wished_holds_when_it_is_approved() {
    let desk = desk().await;
    let writer = desk.program(WRITER, None).await;
    let reviewer = desk.program(ALL, None).await;
    let at = "2099-01-31T09:00:00Z";
    let year = "a year ahead";
    let mail =
        |at: &str| json!({ "agent": "help", "to": ["a@x.example"], "text": "x", "send_at": at });
    assert!(writer.refused("send_email", mail(at)).await.contains(year));
    let tomorrow = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
    let held = writer.done("send_email", mail(&tomorrow.to_string())).await;
    let wish = reviewer.done("list_reviews", json!({})).await.data["items"][0]["send_at"].clone();
    let wish: jiff::Timestamp = wish.as_str().unwrap().parse().unwrap();
    assert_eq!(wish.as_millisecond(), tomorrow.as_millisecond());
    let decision = json!({ "review": held.data["review"], "decision": "approve" });
    reviewer.done("decide_review", decision).await;
    let page = reviewer.done("list_outbox", json!({ "state": "queued" })).await;
    let next: jiff::Timestamp =
        page.data["items"][0]["next_try_at"].as_str().unwrap().parse().unwrap();
    assert_eq!(next.as_millisecond(), tomorrow.as_millisecond());
    // Until then it can be stopped.
    let outbox = page.data["items"][0]["outbox"].clone();
    assert_eq!(
        reviewer.done("cancel_email", json!({ "outbox": outbox })).await.data["state"],
        "cancelled"
    );
    desk.running.stop().await;
}

#[tokio::test]
async fn drafts_are_changed_by_whoever_knows_what_they_are() {
    let desk = desk().await;
    let message = desk.mail("sales", "Prices", "\r\nHow much?").await;
    let me = desk.program(ALL, None).await;
    let draft = json!({ "agent": "sales", "answers": message, "text": "One moment." });
    let begun = me.done("create_draft", draft).await.data;
    assert_eq!((&begun["version"], &begun["conversation"]), (&json!(1), &json!(1)));
    let id = begun["draft"].clone();

    let change = json!({ "draft": id, "version": 1, "text": "Forty-two.", "cc": [] });
    assert_eq!(me.done("update_draft", change.clone()).await.data["version"], 2);
    let stale = me.refused("update_draft", change).await;
    assert!(stale.contains("changed meanwhile: it is at version 2"), "{stale}");
    let whole = me.done("read_drafts", json!({ "draft": id })).await;
    assert_eq!(whole.data["untrusted"]["text"], "Forty-two.");
    assert!(whole.text.contains("| Forty-two."), "{}", whole.text);

    let stale = me.refused("send_draft", json!({ "draft": id, "version": 1 })).await;
    assert!(stale.contains("version 2"), "{stale}");
    let sent = me.done("send_draft", json!({ "draft": id, "version": 2 })).await;
    assert_eq!(sent.data["state"], "queued");
    assert!(me.refused("read_drafts", json!({ "draft": id })).await.contains("there is no draft"));
    until("it has left", || async {
        let out = me.done("list_outbox", json!({ "state": "sent" })).await;
        let to = &out.data["items"][0]["untrusted"]["to"];
        (*to == json!(["ann@localhost"])).then_some(())
    })
    .await;

    let other = me.done("create_draft", json!({ "agent": "help" })).await.data["draft"].clone();
    me.done("discard_draft", json!({ "draft": other })).await;
    assert!(
        me.refused("discard_draft", json!({ "draft": other })).await.contains("there is no draft")
    );
    desk.running.stop().await;
}

#[tokio::test]
async fn a_send_with_a_key_happens_once_and_what_cannot_leave_is_said_to() {
    let desk = desk().await;
    let me = desk.program(&[Scope::Read, Scope::Send], None).await;
    let mail = json!({
        "agent": "help", "to": ["a@x.example"], "subject": "Hi", "text": "x", "idempotency_key": "hi 1",
    });
    let (first, again) =
        (me.done("send_email", mail.clone()).await, me.done("send_email", mail).await);
    assert_eq!(first.data, again.data);
    assert_eq!(desk.get("/outbox").await["items"].as_array().unwrap().len(), 1);
    let bad = json!({ "agent": "help", "to": ["a@x.example"], "text": "x", "idempotency_key": "grüße\n" });
    assert!(me.refused("send_email", bad).await.contains("1 to 255 characters of ASCII"));

    let own = json!({ "agent": "help", "to": ["sales@localhost"], "text": "x" });
    let denied = me.refused("send_email", own).await;
    assert!(denied.contains("one of our own addresses"), "{denied}");
    let wrong = json!({ "agent": "help", "to": ["nobody"], "text": "x" });
    assert!(me.refused("send_email", wrong).await.contains("is no address"));
    // What a model may get wrong about arguments is told with what would be right.
    let misnamed = me.refused("send_email", json!({ "agent": "help", "body": "x" })).await;
    assert!(misnamed.contains("unknown field `body`") && misnamed.contains("`text`"), "{misnamed}");
    let missing = me.refused("send_email", Value::Null).await;
    assert!(missing.contains("missing field"), "{missing}");
    desk.running.stop().await;
}
