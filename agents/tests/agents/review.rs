//! What people decide.

use crate::desk::{Change, Desk, Script};
use frontdesk_agents::{
    ApprovalId, Draft, StoreError, Trust, Verdict,
    admission::InstancePolicy,
    agent::ReviewDecision,
    gate::{Actor, Approval},
    mail::AddressRoute,
    schedule::When,
    store::{Compose, MessageStatus},
};
use serde_json::json;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};

/// An agent whose drafts wait for a person, and which remembers what became of them.
async fn reviewed() -> (Desk, frontdesk_agents::AgentId) {
    let mut desk = Desk::new();
    let script = Script {
        approval: Some(Box::new(|cx, decision: &ReviewDecision| {
            cx.state.seen.push(format!("{} {}", decision.approved, decision.reason));
            Ok(())
        })),
        ..Script::answers("A draft.")
    };
    let support = desk.agent_with("support", script, |rules| rules.approval = Approval::All).await;
    desk.start().await;
    (desk, support)
}

async fn pending(desk: &Desk) -> Vec<(ApprovalId, String)> {
    let reviews = desk.store.pending_reviews(None, 50).await.unwrap();
    reviews.into_iter().map(|review| (review.id, review.kind)).collect()
}

#[tokio::test]
async fn an_approved_draft_leaves_with_the_reviewers_words() {
    let (desk, support) = reviewed().await;
    let (_, conversation, _) = desk.deliver(desk.mail(support, "ann@a.test", "hi")).await;
    desk.quiet().await;
    assert!(desk.send_all().await.is_empty());
    assert_eq!(desk.store.outbox(Some("held".into()), 10, None).await.unwrap().len(), 1);
    desk.store.settle().await.unwrap();

    let (review, _) = pending(&desk).await[0];
    let edited = Some("A better zebra.".to_owned());
    let done = desk.store.approve(review, "eve".into(), edited).await.unwrap();
    assert_eq!(
        (done.kind.as_str(), done.approved, done.conversation),
        ("draft", true, conversation)
    );
    desk.quiet().await;
    let sent = desk.send_all().await;
    assert_eq!((sent.len(), sent[0].mail.text.as_str()), (1, "A better zebra."));
    assert!(!sent[0].mail.automatic, "a person has read it");
    assert_eq!(desk.memory_of(conversation).await.seen, ["true "]);
    let (summary, _) = desk.store.conversation(conversation).await.unwrap();
    assert_eq!(summary.queue, "open");
    desk.store.settle().await.unwrap();
    assert_eq!(
        desk.store.search("zebra", 10, None).await.unwrap().len(),
        1,
        "found by what it says"
    );
    assert!(desk.store.search("draft", 10, None).await.unwrap().is_empty());
    assert_eq!(
        desk.count("SELECT count(*) FROM audit WHERE actor = 'eve' AND action = 'review.approve'"),
        1
    );
}

#[tokio::test]
async fn a_rejected_draft_never_leaves_and_its_agent_hears_why() {
    let (desk, support) = reviewed().await;
    let (_, conversation, _) = desk.deliver(desk.mail(support, "ann@a.test", "hi")).await;
    desk.quiet().await;
    let (review, _) = pending(&desk).await[0];
    desk.store.reject(review, "eve".into(), "too curt".into()).await.unwrap();
    desk.quiet().await;
    assert!(desk.send_all().await.is_empty());
    assert_eq!(desk.memory_of(conversation).await.seen, ["false too curt"]);
    let entry = desk.timeline(conversation).await.pop().unwrap();
    assert_eq!((entry.status.as_str(), entry.status_why.as_str()), ("rejected", "too curt"));
    assert_eq!(entry.outgoing.unwrap().state, "cancelled");
    assert_eq!(desk.count("SELECT count(*) FROM audit WHERE action = 'review.reject'"), 1);
}

#[tokio::test]
async fn of_two_people_who_decide_one_wins_and_the_other_is_told() {
    let (desk, support) = reviewed().await;
    desk.deliver(desk.mail(support, "ann@a.test", "hi")).await;
    desk.quiet().await;
    let (review, _) = pending(&desk).await[0];
    let (yes, no) = tokio::join!(
        desk.store.approve(review, "eve".into(), None),
        desk.store.reject(review, "bob".into(), "no".into()),
    );
    assert!(yes.is_ok() != no.is_ok(), "{yes:?} {no:?}");
    let told = yes.err().or(no.err()).unwrap().to_string();
    assert!(told.contains("was already"), "{told}");
    let unknown = desk.store.approve(ApprovalId(99), "eve".into(), None).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(_))));
}

#[tokio::test]
async fn nothing_is_approved_while_sending_is_stopped_or_to_what_became_our_own_address() {
    let (mut desk, support) = reviewed().await;
    desk.deliver(desk.mail(support, "ann@a.test", "hi")).await;
    desk.quiet().await;
    let (review, _) = pending(&desk).await[0];
    desk.rules.stopped = true;
    desk.store.set_rules(desk.rules.clone());
    let refused = desk.store.approve(review, "eve".into(), None).await.unwrap_err();
    assert!(refused.to_string().contains("stopped"), "{refused}");
    desk.rules.stopped = false;
    desk.rules.is_own = Arc::new(|address| address == "ann@a.test");
    desk.store.set_rules(desk.rules.clone());
    let refused = desk.store.approve(review, "eve".into(), None).await.unwrap_err();
    assert!(refused.to_string().contains("our own"), "{refused}");
    assert_eq!(pending(&desk).await.len(), 1, "it still waits");
}

#[tokio::test]
async fn an_admitted_message_moves_home_and_is_handled_there_with_memory() {
    let runs = Arc::new(AtomicU32::new(0));
    let counted = runs.clone();
    let trusts = Arc::new(Mutex::new(Vec::new()));
    let trusted = trusts.clone();
    let script = Script {
        schedule: Some(Box::new(|_, _| panic!("what the unproven planned never happens"))),
        ..Script::on_email(move |cx, mail| {
            counted.fetch_add(1, Ordering::SeqCst);
            trusted.lock().unwrap().push(mail.trust);
            cx.state.seen.push(mail.text.clone());
            cx.reply(format!("You said: {}", cx.state.seen.join(", ")));
            let later = When::after_delay(jiff::SignedDuration::from_secs(30));
            if mail.trust == Trust::Unproven {
                cx.schedule("follow up", later, json!(null));
            }
            Ok(())
        })
    };
    let mut desk = Desk::new();
    let support = desk.agent("support", script).await;
    desk.start().await;
    let (_, earlier, _) = desk.deliver(desk.mail(support, "ann@a.test", "one")).await;
    desk.quiet().await;
    desk.send_all().await;
    let spoof = desk.mail(support, "ann@a.test", "two").verdict(Verdict::Unverified);
    let (message, conversation, _) = desk.deliver(spoof).await;
    desk.quiet().await;
    let (apart, _) = desk.instance_of(conversation).await;
    assert_eq!(desk.memory(apart).await.seen, ["two"], "it was handled without memory");
    let reviews = pending(&desk).await;
    assert_eq!(
        reviews.iter().map(|(_, kind)| kind.as_str()).collect::<Vec<_>>(),
        ["message", "draft"]
    );

    desk.store.approve(reviews[0].0, "eve".into(), None).await.unwrap();
    desk.quiet().await;
    assert_eq!(desk.instance_of(conversation).await, desk.instance_of(earlier).await);
    assert_eq!(desk.memory_of(conversation).await.seen, ["one", "two"]);
    assert_eq!(runs.load(Ordering::SeqCst), 3, "once apart, once at home");
    assert_eq!(*trusts.lock().unwrap(), [Trust::Proven, Trust::Unproven, Trust::Known]);
    // The draft from before is withdrawn, and the new one held: admitted is not verified.
    let timeline = desk.timeline(conversation).await;
    assert_eq!(timeline[0].id, message);
    let statuses: Vec<_> = timeline.iter().map(|entry| entry.status.as_str()).collect();
    assert_eq!(statuses, ["admitted", "rejected", "held"]);
    assert_eq!(timeline[2].text, "You said: one, two");
    assert!(desk.send_all().await.is_empty());
    assert_eq!(pending(&desk).await.len(), 1);
    desk.advance(60);
    desk.quiet().await;
    assert!(desk.store.schedules(10).await.unwrap().is_empty());
    assert!(desk.store.dead_letters(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_handler_under_way_when_its_message_is_admitted_commits_nothing() {
    let (enter, entered) = std::sync::mpsc::channel();
    let (leave, left) = std::sync::mpsc::channel::<()>();
    let left = Mutex::new(left);
    let script = Script::on_email(move |cx, mail| {
        if mail.trust == Trust::Unproven {
            enter.send(()).unwrap();
            left.lock().unwrap().recv()?;
        }
        cx.state.n += 1;
        cx.reply("hello");
        Ok(())
    });
    let mut desk = Desk::new();
    let support = desk.agent("support", script).await;
    desk.start().await;
    let spoof = desk.mail(support, "ann@a.test", "hi").verdict(Verdict::Unverified);
    let (_, conversation, _) = desk.deliver(spoof).await;
    tokio::task::spawn_blocking(move || entered.recv().unwrap()).await.unwrap();
    desk.store.approve(pending(&desk).await[0].0, "eve".into(), None).await.unwrap();
    leave.send(()).unwrap();
    desk.quiet().await;
    assert_eq!(desk.memory_of(conversation).await.n, 1);
    let drafts = desk.store.outbox(None, 10, None).await.unwrap();
    assert_eq!(drafts.len(), 1, "{drafts:?}");
}

#[tokio::test]
async fn a_rejected_message_stays_out_of_every_history() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::remembers()).await;
    desk.start().await;
    let held = desk
        .mail(support, "ann@a.test", "psst")
        .with(|arrival| arrival.quarantine = Some("the domain asks for it".into()));
    let (_, conversation, _) = desk.deliver(held).await;
    desk.store.reject(pending(&desk).await[0].0, "eve".into(), "spam".into()).await.unwrap();
    desk.quiet().await;
    assert_eq!(desk.memory_of(conversation).await.n, 0);
    assert_eq!(desk.timeline(conversation).await[0].status, "rejected");
    assert_eq!(desk.store.conversation(conversation).await.unwrap().0.queue, "open");
}

#[tokio::test]
async fn an_admitted_participant_is_a_member_from_then_on() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::answers("Thanks.")).await;
    desk.start().await;
    let (conversation, reference) = desk.exchange(support, "ann@a.test").await;
    let (home, _) = desk.instance_of(conversation).await;
    desk.deliver(desk.reply(support, "boss@a.test", "me too", reference)).await;
    desk.store.approve(pending(&desk).await[0].0, "eve".into(), None).await.unwrap();
    desk.quiet().await;
    assert_eq!(desk.instance_of(conversation).await.0, home, "the conversation stays where it is");
    assert_eq!(desk.memory_of(conversation).await.n, 2);
    let next = desk.reply(support, "boss@a.test", "and one more thing", reference);
    assert_eq!(desk.deliver(next).await.2, MessageStatus::Admitted);
    // Membership is of that conversation alone.
    let (_, elsewhere, _) = desk.deliver(desk.mail(support, "boss@a.test", "new")).await;
    assert_ne!(elsewhere, conversation);
}

#[tokio::test]
async fn admission_honours_the_tag_the_message_came_to() {
    let mut desk = Desk::new();
    let support = desk
        .agent_with("support", Script::remembers(), |rules| rules.instance = InstancePolicy::Tag)
        .await;
    let tagged = |verdict| {
        desk.mail(support, "ann@a.test", "hi")
            .routed(AddressRoute::Tag("vip".into()))
            .verdict(verdict)
    };
    let (_, proven, _) = desk.deliver(tagged(Verdict::Verified)).await;
    let (_, unproven, _) = desk.deliver(tagged(Verdict::Unverified)).await;
    assert_ne!(desk.instance_of(proven).await, desk.instance_of(unproven).await);
    desk.store.approve(pending(&desk).await[0].0, "eve".into(), None).await.unwrap();
    assert_eq!(desk.instance_of(proven).await, desk.instance_of(unproven).await);
}

#[tokio::test]
async fn people_and_programs_write_through_the_same_gate() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::remembers()).await;
    let (message, conversation, _) = desk.deliver(desk.mail(support, "ann@a.test", "hi")).await;
    let person = || Actor::Person { name: "eve".into() };
    let write = |to: &[&str], answers, draft: Draft| Compose {
        agent: support,
        conversation: None,
        answers,
        to: to.iter().map(|&address| address.to_owned()).collect(),
        draft,
    };
    let answer = write(&[], Some(message), Draft::text("Hello Ann."));
    let (_, why) = desk.store.compose(person(), answer).await.unwrap();
    assert_eq!(why, None);
    let fresh = write(&["New@b.test"], None, Draft::text("Hello.").subject("Offer"));
    let (fresh, why) = desk.store.compose(person(), fresh).await.unwrap();
    assert_eq!(why, None);
    let started = desk.store.conversation_of(fresh).await.unwrap();
    assert_ne!(started, conversation);
    let own = write(&["sales@example.com"], None, Draft::text("Hello."));
    let (_, why) = desk.store.compose(person(), own).await.unwrap();
    assert!(why.unwrap().contains("our own"));
    let nobody = write(&[], None, Draft::text("Hello."));
    assert!(desk.store.compose(person(), nobody).await.unwrap().1.is_some());
    let sent = desk.send_all().await;
    let to: Vec<_> = sent.iter().map(|claim| claim.recipient.as_str()).collect();
    assert_eq!(to, ["ann@a.test", "new@b.test"]);
    assert!(sent.iter().all(|claim| !claim.mail.automatic));
    assert!(sent[0].mail.is_reply && !sent[1].mail.is_reply);
    // Whoever we wrote to is a member, and their verified answer comes back here.
    let back = desk.reply(support, "new@b.test", "yes please", sent[1].mail.reference);
    let (_, same, status) = desk.deliver(back).await;
    assert_eq!((same, status), (started, MessageStatus::Admitted));
    assert_eq!(desk.count("SELECT count(*) FROM audit WHERE action = 'email.send'"), 4);
}
