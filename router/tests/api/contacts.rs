//! The people we talk to: trust, merging and splitting, blocking.

use crate::support::{Installation, installation};
use frontdesk_router::agents::store::Scope;
use rusqlite::Connection;
use serde_json::json;

/// Contacts as accepted mail makes them, each with an instance of `sales` and a conversation in it.
async fn two_people(inst: &Installation) {
    inst.conversation("sales", "ann@x.example", "one").await;
    inst.conversation("sales", "ann@y.example", "two").await;
    let db = Connection::open(inst.folder.path().join("data/frontdesk.db")).unwrap();
    db.execute_batch(
        "INSERT INTO contacts (id, name, trust, created_at) VALUES (1, 'Ann', 'proven', 0), (2, 'A.', 'proven', 0);
         INSERT INTO handles (id, contact_id, channel, value, proof, proven_at)
         VALUES (1, 1, 'email', 'ann@x.example', 'dmarc', 0), (2, 2, 'email', 'ann@y.example', 'dmarc', 0);
         UPDATE instances SET key = 'contact:1', contact_id = 1 WHERE id = 1;
         UPDATE instances SET key = 'contact:2', contact_id = 2 WHERE id = 2;",
    )
    .unwrap();
}

#[tokio::test]
async fn contacts_are_found_admitted_and_renamed() {
    let inst = installation().await;
    two_people(&inst).await;
    let ann = inst.user("ann", "reviewer", None).await;
    assert_eq!(ann.ids("/contacts").await, [1, 2]);
    assert_eq!(ann.ids("/contacts?q=y.example").await, [2]);
    assert_eq!(ann.ids("/contacts?q=%25").await, [0i64; 0]);
    assert_eq!(ann.post("/contacts/1/admit", json!({})).await.good()["trust"], "known");
    assert_eq!(ann.delete("/contacts/1/admit").await.good()["trust"], "proven");
    let renamed = ann.patch("/contacts/1", json!({ "name": "Ann Smith" })).await.good();
    assert_eq!(renamed["name"], "Ann Smith");
    assert_eq!(renamed["handles"][0]["proof"], "dmarc");
    assert_eq!(ann.ids("/conversations?contact=2").await, [2]);
    assert_eq!(ann.get("/contacts/3").await.status, 404);
}

#[tokio::test]
async fn a_merge_moves_everything_and_a_split_moves_it_back() {
    let inst = installation().await;
    two_people(&inst).await;
    let me = inst.operator();
    let merged = me.post("/contacts/1/merge", json!({ "contact": 2 })).await.good();
    assert_eq!(merged["handles"].as_array().unwrap().len(), 2);
    assert_eq!(merged["merged"], json!([2]));
    assert_eq!(me.ids("/contacts").await, [1]);
    let instances = |id: i64| {
        let me = me.clone();
        async move { me.get(&format!("/conversations/{id}")).await.good()["instance"].clone() }
    };
    assert_eq!([instances(1).await, instances(2).await], ["contact:1", "contact:1"]);
    assert_eq!(me.ids("/conversations?contact=1").await, [2, 1]);
    assert_eq!(me.post("/contacts/1/merge", json!({ "contact": 2 })).await.status, 409);
    assert_eq!(me.post("/contacts/1/merge", json!({ "contact": 1 })).await.status, 409);

    let split = me.post("/contacts/1/split", json!({ "contact": 2 })).await.good();
    assert_eq!(split["handles"][0]["value"], "ann@y.example");
    assert_eq!([instances(1).await, instances(2).await], ["contact:1", "contact:2"]);
    assert_eq!(me.post("/contacts/1/split", json!({ "contact": 2 })).await.status, 409);
    let trail = me.get("/audit?subject=1").await.good();
    let actions: Vec<_> =
        trail["items"].as_array().unwrap().iter().map(|e| e["action"].as_str().unwrap()).collect();
    assert!(
        actions.contains(&"contact.merge") && actions.contains(&"contact.split"),
        "{actions:?}"
    );
}

#[tokio::test]
async fn whoever_sees_one_agent_sees_its_people_only() {
    let inst = installation().await;
    two_people(&inst).await;
    inst.conversation("help", "bob@x.example", "three").await;
    let sales = inst.program(&[Scope::Read, Scope::Approve], Some(&["sales"])).await;
    let help = inst.program(&[Scope::Read, Scope::Approve], Some(&["help"])).await;
    assert_eq!(sales.ids("/contacts").await, [1, 2]);
    assert_eq!(help.ids("/contacts").await, [0i64; 0]);
    assert_eq!(help.get("/contacts/1").await.status, 404);
    assert_eq!(help.post("/contacts/1/admit", json!({})).await.status, 404);
    // Contacts are shared: whoever sees only a part does not join them.
    assert_eq!(sales.post("/contacts/1/merge", json!({ "contact": 2 })).await.status, 403);
    assert_eq!(sales.post("/blocked", json!({ "address": "x@x.example" })).await.status, 403);
}

#[tokio::test]
async fn blocked_addresses_are_listed_and_ours_cannot_be() {
    let inst = installation().await;
    let me = inst.operator();
    me.post("/blocked", json!({ "address": "Spam@X.example" })).await.good();
    assert!(inst.desk.store.is_blocked("spam@x.example"));
    let listed = me.get("/blocked").await.good();
    assert_eq!(listed["items"][0]["address"], "spam@x.example");
    assert_eq!(me.post("/blocked", json!({ "address": "sales@localhost" })).await.status, 422);
    assert_eq!(me.post("/blocked", json!({ "address": "nonsense" })).await.status, 422);
    assert_eq!(me.delete("/blocked/spam@x.example").await.status, 204);
    assert!(!inst.desk.store.is_blocked("spam@x.example"));
}
