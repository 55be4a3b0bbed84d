//! What people do to conversations and mail.

use crate::support::installation;
use frontdesk_router::agents::store::Scope;
use jiff::SignedDuration;
use serde_json::{Value, json};

#[tokio::test]
async fn lists_are_paged_filtered_and_counted() {
    let inst = installation().await;
    for n in 0..7 {
        inst.clock.advance(SignedDuration::from_secs(1));
        inst.conversation(
            if n % 2 == 0 { "sales" } else { "help" },
            "a@x.example",
            &format!("n{n}"),
        )
        .await;
    }
    let me = inst.operator();
    assert_eq!(me.ids("/conversations").await, [7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(me.ids("/conversations?agent=help").await, [6, 4, 2]);
    let mut seen = Vec::new();
    let mut path = "/conversations?limit=3".to_owned();
    loop {
        let page = me.get(&path).await.good();
        seen.extend(page["items"].as_array().unwrap().iter().map(|c| c["id"].as_i64().unwrap()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/conversations?limit=3&cursor={next}");
    }
    assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1]);

    me.patch("/conversations/7", json!({ "archived": true, "starred": true })).await.good();
    me.patch("/conversations/6", json!({ "trashed": true })).await.good();
    me.patch("/conversations/5", json!({ "snoozed_until": "2026-11-22T00:00:00Z" })).await.good();
    me.patch("/conversations/4", json!({ "add_labels": ["vip"], "unread": true })).await.good();
    me.patch("/conversations/3", json!({ "queue": "waiting" })).await.good();
    for (query, expected) in [
        ("queue=open", &[4, 2, 1][..]),
        ("queue=archive", &[7]),
        ("queue=starred", &[7]),
        ("queue=trash", &[6]),
        ("queue=snoozed", &[5]),
        ("queue=waiting", &[3]),
        ("queue=sent", &[7, 5, 4, 3, 2, 1]),
        ("queue=review", &[]),
        ("queue=failed", &[]),
        ("label=vip", &[4]),
        ("unread=true", &[4]),
        ("queue=open&agent=sales", &[1]),
        ("channel=mail&limit=1", &[7]),
    ] {
        assert_eq!(me.ids(&format!("/conversations?{query}")).await, expected, "{query}");
    }
    let counts = me.get("/conversations/counts").await.good();
    let count = |name: &str| {
        let queues = counts["queues"].as_array().unwrap();
        let queue = queues.iter().find(|q| q["queue"] == name).unwrap();
        (queue["conversations"].as_i64().unwrap(), queue["unread"].as_i64().unwrap())
    };
    assert_eq!(count("open"), (3, 1));
    assert_eq!((count("archive"), count("trash"), count("snoozed")), ((1, 0), (1, 0), (1, 0)));
    inst.clock.advance(SignedDuration::from_hours(24));
    assert_eq!(me.ids("/conversations?queue=open").await, [5, 4, 2, 1], "the snooze is over");
    for wrong in ["queue=nonsense", "cursor=x", "agent=nobody", "limit=x", "unread=perhaps"] {
        let status = me.get(&format!("/conversations?{wrong}")).await.status;
        assert!((400..=404).contains(&status), "{wrong}: {status}");
    }
}

#[tokio::test]
async fn every_change_can_be_taken_back_once_by_whoever_made_it() {
    let inst = installation().await;
    let ann = inst.user("ann", "reviewer", None).await;
    let bob = inst.user("bob", "reviewer", None).await;
    for text in ["one", "two"] {
        inst.conversation("sales", "a@x.example", text).await;
    }
    ann.patch("/conversations/1", json!({ "add_labels": ["old"] })).await.good();
    let state = |client: &crate::support::Client, id: i64| {
        let client = client.clone();
        async move {
            let mut line = client.get(&format!("/conversations/{id}")).await.good();
            line.as_object_mut().unwrap().remove("timeline");
            line
        }
    };
    let before = [state(&ann, 1).await, state(&ann, 2).await];
    let change = json!({
        "archived": true, "trashed": true, "snoozed_until": "2026-12-01T00:00:00Z", "assignee": "me",
        "starred": true, "unread": true, "queue": "waiting", "add_labels": ["new", "old"],
        "remove_labels": ["other"],
    });
    let bulk = json!({ "ids": [1, 2, 2], "change": change });
    let changed = ann.post("/conversations/bulk", bulk).await.good();
    assert_eq!(changed["conversations"], json!([1, 2]));
    let after = state(&ann, 1).await;
    assert_eq!((&after["assignee"], &after["labels"]), (&json!("ann"), &json!(["new", "old"])));
    let undo = format!("/undo/{}", changed["undo"]);
    assert_eq!(bob.post(&undo, json!({})).await.status, 404, "it was not theirs");
    ann.post(&undo, json!({})).await.good();
    assert_eq!([state(&ann, 1).await, state(&ann, 2).await], before);
    assert_eq!(ann.post(&undo, json!({})).await.status, 404, "once");

    // All or none.
    let bulk = json!({ "ids": [1, 99], "change": { "starred": true } });
    assert_eq!(ann.post("/conversations/bulk", bulk).await.status, 404);
    assert_eq!(state(&ann, 1).await["starred"], false);
    for nothing in [
        json!({}),
        json!({ "queue": "trash" }),
        json!({ "add_labels": [""] }),
        json!({ "snoozed_until": "2020-01-01T00:00:00Z" }),
        json!({ "colour": 1 }),
    ] {
        assert_eq!(ann.patch("/conversations/1", nothing.clone()).await.status, 422, "{nothing}");
    }
}

#[tokio::test]
async fn a_draft_is_saved_attached_to_sent_and_gone() {
    let inst = installation().await;
    let ann = inst.user("ann", "reviewer", None).await;
    let draft = ann.post("/drafts", json!({ "agent": "sales", "to": ["a@"] })).await.good();
    let id = draft["id"].as_i64().unwrap();
    let path = format!("/drafts/{id}");
    let save = |version: i64, text: &str| {
        let (ann, path) = (ann.clone(), path.clone());
        let body = json!({ "version": version, "text": text });
        async move { ann.patch(&path, body).await }
    };
    let two = save(1, "Hello").await.good();
    assert_eq!(two["version"], 2);
    let lost = save(1, "Something else").await;
    assert_eq!(lost.status, 409, "somebody else saved it");
    let file = json!({ "name": "a.txt", "media_type": "text/html", "content_base64": "PGI+" });
    let three = ann.post(&format!("{path}/attachments"), file.clone()).await.good();
    assert_eq!(three["attachments"][0]["size"], 3);
    ann.post(&format!("{path}/attachments"), file).await.good();
    let five = ann.delete(&format!("{path}/attachments/0")).await.good();
    assert_eq!(five["attachments"].as_array().unwrap().len(), 1);
    let send = |version: i64| json!({ "version": version, "undo_seconds": 10 });
    assert_eq!(ann.post(&format!("{path}/send"), send(5)).await.status, 422, "half an address");
    let ready = ann.patch(&path, json!({ "version": 5, "to": ["a@x.example"], "subject": "Hi" }));
    assert_eq!(ready.await.good()["version"], 6);
    assert_eq!(ann.post(&format!("{path}/send"), send(5)).await.status, 409);
    let sent = ann.post(&format!("{path}/send"), send(6)).await.good();
    assert_eq!(
        (&sent["state"], &sent["leaves_at"]),
        (&json!("queued"), &json!("2026-11-21T10:00:10Z"))
    );
    assert_eq!(ann.get(&path).await.status, 404);
    let bytes = ann.get(&format!("/messages/{}/attachments/1", sent["message"])).await;
    let bytes = if bytes.status == 404 {
        ann.get(&format!("/messages/{}/attachments/0", sent["message"])).await
    } else {
        bytes
    };
    assert_eq!(bytes.bytes, b"<b>");
    assert_eq!(bytes.headers["content-type"], "application/octet-stream");
    assert!(bytes.headers["content-disposition"].to_str().unwrap().starts_with("attachment"));
}

#[tokio::test]
async fn a_mail_can_be_taken_back_until_it_leaves() {
    let inst = installation().await;
    let me = inst.program(&[Scope::Read, Scope::Send, Scope::Approve], None).await;
    let mail = json!({ "agent": "help", "to": ["a@x.example"], "subject": "Hi", "text": "Hello",
        "undo_seconds": 10 });
    let sent = me.post("/emails", mail).await.good();
    let id = sent["id"].as_i64().unwrap();
    assert_eq!(me.ids("/conversations?queue=scheduled").await.len(), 1);
    assert!(inst.desk.store.claim_deliveries(10).await.unwrap().is_empty(), "not before its time");
    me.post(&format!("/outbox/{id}/recall"), json!({})).await.good();
    assert_eq!(me.get(&format!("/outbox/{id}")).await.good()["state"], "held");
    let review = me.get("/reviews").await.good()["items"][0].clone();
    assert_eq!(review["message"], sent["message"]);
    let approve = json!({ "text": "Hello again", "send_at": "2026-11-21T12:00:00Z" });
    let path = format!("/reviews/{}/approve", review["id"]);
    let approved = me.post(&path, approve).await.good();
    assert_eq!(approved["outbox"], id);
    assert_eq!(me.post(&path, json!({})).await.status, 409, "decided already");
    assert!(inst.desk.store.claim_deliveries(10).await.unwrap().is_empty());
    inst.clock.advance(SignedDuration::from_hours(2));
    let claimed = inst.desk.store.claim_deliveries(10).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].mail.text, "Hello again");
    assert_eq!(claimed[0].mail.released_at.to_string(), "2026-11-21T12:00:00Z");
    assert_eq!(me.post(&format!("/outbox/{id}/recall"), json!({})).await.status, 409);
    for wrong in [
        json!({ "send_at": "2020-01-01T00:00:00Z" }),
        json!({ "undo_seconds": 61 }),
        json!({ "send_at": "2030-01-01T00:00:00Z" }),
    ] {
        let mut mail = json!({ "agent": "help", "to": ["a@x.example"], "text": "x" });
        mail.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        assert_eq!(me.post("/emails", mail).await.status, 422, "{wrong}");
    }
}

#[tokio::test]
async fn notes_stay_among_colleagues_and_everything_is_in_the_audit_trail() {
    let inst = installation().await;
    let ann = inst.user("ann", "reviewer", None).await;
    let (id, _) = inst.conversation("sales", "a@x.example", "one").await;
    ann.post(&format!("/conversations/{id}/notes"), json!({ "text": "call them" })).await.good();
    let timeline = ann.get(&format!("/conversations/{id}")).await.good()["timeline"].clone();
    assert_eq!((&timeline[1]["role"], &timeline[1]["from"]), (&json!("note"), &json!("user:ann")));
    let before = ann.get(&format!("/conversations/{id}/notes")).await;
    assert_eq!(before.status, 405);
    ann.patch(&format!("/conversations/{id}"), json!({ "archived": true })).await.good();
    let trail = inst.operator().get("/audit?actor=user:ann").await.good();
    let actions: Vec<&Value> =
        trail["items"].as_array().unwrap().iter().map(|e| &e["action"]).collect();
    assert_eq!(actions, ["conversation.update", "note.create", "user.signin"]);
    let of_one = inst.operator().get("/audit?action=note.create&limit=1").await.good();
    assert_eq!(of_one["items"].as_array().unwrap().len(), 1);
}
