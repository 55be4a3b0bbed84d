//! What leaves, and that its states are true.

use crate::desk::{Desk, Script};
use frontdesk_agents::{
    AgentId, Clock, DeliveryId, Draft, OutboxId, StoreError,
    gate::Actor,
    store::{Compose, DeliveryOutcome, OutboxItem, Wake},
};
use jiff::SignedDuration;

async fn desk_with_a_mail_to(to: &[&str]) -> (Desk, AgentId) {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::default()).await;
    let draft = Draft::text("Hello.").subject("Hi").attach("a.txt", "text/plain", b"file".to_vec());
    let compose = Compose {
        agent: support,
        conversation: None,
        answers: None,
        to: to.iter().map(|&address| address.to_owned()).collect(),
        draft,
    };
    desk.store.compose(Actor::Person { name: "eve".into() }, compose).await.unwrap();
    (desk, support)
}

async fn only(desk: &Desk) -> OutboxItem {
    let mut items = desk.store.outbox(None, 10, None).await.unwrap();
    assert_eq!(items.len(), 1);
    items.remove(0)
}

async fn states(desk: &Desk) -> Vec<String> {
    only(desk).await.deliveries.into_iter().map(|delivery| delivery.state).collect()
}

async fn settle(desk: &Desk, delivery: DeliveryId, outcome: DeliveryOutcome) {
    desk.store.settle_delivery(delivery, outcome).await.unwrap();
}

fn words() -> String {
    "the peer's words".into()
}

#[tokio::test]
async fn each_recipient_is_claimed_once_and_settled_truthfully() {
    let (desk, _) = desk_with_a_mail_to(&["a@a.test", "b@b.test", "c@c.test", "a@a.test"]).await;
    assert_eq!(states(&desk).await, ["queued", "queued", "queued"], "a repeated recipient is one");
    let claimed = desk.store.claim_deliveries(10).await.unwrap();
    assert_eq!(claimed.len(), 3);
    assert!(desk.store.claim_deliveries(10).await.unwrap().is_empty(), "nothing is claimed twice");
    assert_eq!(states(&desk).await, ["sending", "sending", "sending"]);
    let mail = &claimed[0].mail;
    assert_eq!((mail.from.as_str(), mail.subject.as_str()), ("support@example.com", "Hi"));
    assert_eq!(mail.attachments[0].name, "a.txt");
    assert_eq!(desk.store.blob(mail.attachments[0].content).unwrap().unwrap(), b"file");

    let rendered = desk.store.stage(b"the bytes").unwrap();
    desk.store.keep_rendered(vec![(mail.outbox, rendered)]).await.unwrap();
    let other = desk.store.stage(b"other bytes").unwrap();
    desk.store.keep_rendered(vec![(mail.outbox, other)]).await.unwrap();
    desk.store.start_data(claimed[0].delivery).await.unwrap();
    settle(&desk, claimed[0].delivery, DeliveryOutcome::Sent { response: words() }).await;
    settle(&desk, claimed[1].delivery, DeliveryOutcome::Bounced { response: words() }).await;
    let next_at = desk.clock.now() + SignedDuration::from_secs(300);
    let deferred = DeliveryOutcome::Deferred { response: words(), next_at };
    settle(&desk, claimed[2].delivery, deferred).await;
    assert_eq!(states(&desk).await, ["sent", "bounced", "deferred"]);
    let again = DeliveryOutcome::Sent { response: words() };
    let twice = desk.store.settle_delivery(claimed[0].delivery, again).await;
    assert!(matches!(twice, Err(StoreError::Conflict(_))), "{twice:?}");

    assert_eq!(desk.store.next_delivery().await.unwrap(), Some(next_at));
    assert!(desk.store.claim_deliveries(10).await.unwrap().is_empty(), "not before its time");
    desk.advance(300);
    let claimed = desk.store.claim_deliveries(10).await.unwrap();
    assert_eq!((claimed.len(), claimed[0].attempt), (1, 2));
    let bytes = desk.store.blob(claimed[0].mail.rendered.unwrap()).unwrap().unwrap();
    assert_eq!(bytes, b"the bytes", "rendered once, sent again as it was");
    settle(&desk, claimed[0].delivery, DeliveryOutcome::Failed { response: words() }).await;
    assert_eq!(only(&desk).await.state, "bounced, failed, sent");
    assert_eq!(only(&desk).await.deliveries[2].response, words());
}

#[tokio::test]
async fn after_a_crash_what_passed_the_final_dot_is_uncertain_and_the_rest_goes_again() {
    for repeatable in [false, true] {
        let (desk, _) = desk_with_a_mail_to(&["a@a.test", "b@b.test"]).await;
        let claimed = desk.store.claim_deliveries(10).await.unwrap();
        desk.store.start_data(claimed[0].delivery).await.unwrap();
        let desk = desk.crash().await;
        desk.store.recover_deliveries(repeatable).await.unwrap();
        let expected = if repeatable { ["queued", "queued"] } else { ["uncertain", "queued"] };
        assert_eq!(states(&desk).await, expected);
        let late = desk.store.start_data(claimed[0].delivery).await;
        assert!(matches!(late, Err(StoreError::Conflict(_))), "an old claim is void: {late:?}");
    }
}

#[tokio::test]
async fn retry_and_cancel_touch_only_what_they_may_and_are_audited() {
    let (desk, _) = desk_with_a_mail_to(&["a@a.test", "b@b.test"]).await;
    let outbox = only(&desk).await.id;
    let refused = desk.store.retry_outbox(outbox, "eve".into()).await.unwrap_err();
    assert!(refused.to_string().contains("queued"), "it says what state: {refused}");
    let claimed = desk.store.claim_deliveries(10).await.unwrap();
    settle(&desk, claimed[0].delivery, DeliveryOutcome::Sent { response: words() }).await;
    settle(&desk, claimed[1].delivery, DeliveryOutcome::Uncertain { response: words() }).await;
    desk.store.retry_outbox(outbox, "eve".into()).await.unwrap();
    assert_eq!(states(&desk).await, ["sent", "queued"], "what was sent is not sent again");
    desk.store.cancel_outbox(outbox, "eve".into()).await.unwrap();
    assert_eq!(states(&desk).await, ["sent", "cancelled"]);
    let refused = desk.store.cancel_outbox(outbox, "eve".into()).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))));
    let unknown = desk.store.cancel_outbox(OutboxId(99), "eve".into()).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(_))));
    assert_eq!(desk.count("SELECT count(*) FROM audit WHERE action LIKE 'outbox.%'"), 2);
}

#[tokio::test]
async fn a_held_draft_that_is_cancelled_leaves_the_review_queue() {
    let mut desk = Desk::new();
    let support = desk
        .agent_with("support", Script::answers("A draft."), |rules| {
            rules.approval = frontdesk_agents::gate::Approval::All;
        })
        .await;
    desk.start().await;
    let (_, conversation, _) = desk.deliver(desk.mail(support, "ann@a.test", "hi")).await;
    desk.quiet().await;
    desk.store.cancel_outbox(only(&desk).await.id, "eve".into()).await.unwrap();
    assert_eq!(only(&desk).await.state, "cancelled");
    assert!(desk.store.pending_reviews(None, 10).await.unwrap().is_empty());
    assert_eq!(desk.store.conversation(conversation).await.unwrap().0.queue, "open");
}

#[tokio::test]
async fn whoever_delivers_is_woken_by_a_release() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::answers("Hi.")).await;
    let mut wakes = desk.store.wakes();
    desk.start().await;
    desk.deliver(desk.mail(support, "ann@a.test", "hi")).await;
    let woken = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        while wakes.recv().await.unwrap() != Wake::Outbox {}
    });
    woken.await.expect("a wake comes");
    assert_eq!(desk.store.claim_deliveries(10).await.unwrap().len(), 1);
}
