//! People who decide by answering the mail that asks them to, over real SMTP, with senders that prove who they
//! are and senders that do not.

#![allow(clippy::unwrap_used)]

mod support;

use frontdesk_agents::testing::model_server::{Asked, ModelServer, Script};
use jiff::SignedDuration;
use serde_json::{Value, json};
use support::{Captured, Desk, Letter, Setup, desk::zone, until};

const ANN: &str = "ann@example.org";
const BOB: &str = "bob@example.org";
const ANSWER: &str =
    "We open at nine.\n\nTo approve, answer this mail with the single word\n\napprove";

/// A desk whose assistant writes [`ANSWER`] to every mail, and bob, a reviewer who wants to be told.
struct Office {
    desk: Desk,
    bob: i64,
    _model: ModelServer,
}

async fn office(more: &str) -> Office {
    let model = ModelServer::start(|_: &Asked| Script::say(ANSWER)).await;
    let setup = Setup {
        config: format!(
            "[mail]\ndomains = [\"desk.test\"]\n{more}\n[models.custom]\nbase_url = \"{}\"\n\
             [[agent]]\nname = \"support\"\nkind = \"assistant\"\nmodel = \"custom:m\"\n",
            model.base_url()
        ),
        zone: Some(zone()),
        ..Setup::default()
    };
    let desk = Desk::serve(setup, |desk| desk).await;
    let bob = reviewer(&desk, "bob", BOB).await;
    Office { desk, bob, _model: model }
}

async fn reviewer(desk: &Desk, name: &str, email: &str) -> i64 {
    let user = json!({ "name": name, "email": email, "role": "reviewer" });
    let id = desk.api.post("/users", user).await["id"].as_i64().unwrap();
    let (status, user) =
        desk.api.ask("PATCH", &format!("/users/{id}"), Some(json!({ "review_mail": true }))).await;
    assert_eq!((status, &user["review_mail"]), (200, &json!(true)), "{user}");
    id
}

impl Office {
    /// Mail that went to an address, oldest first.
    fn mail_to(&self, address: &str) -> Vec<Captured> {
        self.desk.captured().into_iter().filter(|mail| mail.delivered_to == address).collect()
    }

    /// Ann asks; answers the mail that asks bob about the answer.
    async fn asked(&self) -> Captured {
        let before = self.mail_to(BOB).len();
        let letter = Letter::new(ANN, "support@desk.test", "When do you open?");
        assert!(self.desk.send(&letter).await.is(250));
        until("bob is asked", async || self.mail_to(BOB).get(before).cloned()).await
    }

    async fn waiting(&self) -> Vec<Value> {
        self.desk.api.list("/reviews").await
    }

    /// What the audit trail says of answers, oldest first, with who gave them.
    async fn trail(&self) -> Vec<(String, String)> {
        let mut entries = self.desk.api.list("/audit?limit=200").await;
        entries.retain(|entry| entry["action"] == "review.answer");
        entries.sort_by_key(|entry| entry["id"].as_i64());
        let text = |entry: &Value, key: &str| entry[key].as_str().unwrap().to_owned();
        entries.iter().map(|entry| (text(entry, "actor"), text(entry, "detail"))).collect()
    }

    /// An answer that must change nothing. Answers what the person was told of it, if they were.
    async fn refused(&self, reverse_path: &str, letter: &Letter) -> Option<String> {
        let before = (self.mail_to(BOB).len(), self.trail().await.len(), self.waiting().await);
        assert!(self.desk.send_as(reverse_path, letter).await.is(250));
        self.desk.api.settle().await;
        assert_eq!(self.waiting().await, before.2);
        assert!(self.mail_to(ANN).is_empty());
        let trail = self.trail().await;
        assert_eq!(trail.len(), before.1 + 1, "{trail:?}");
        assert!(trail.last().unwrap().1.starts_with("changed nothing: "), "{trail:?}");
        let mut told = self.mail_to(BOB).split_off(before.0);
        assert!(told.len() <= 1);
        told.pop().map(|mail| {
            assert_eq!(mail.header("Auto-Submitted").as_deref(), Some("auto-replied"));
            mail.text()
        })
    }
}

#[tokio::test]
async fn a_mail_leaves_when_the_reviewer_answers_approve() {
    let office = office("").await;
    let asked = office.asked().await;
    assert!(asked.header("Subject").unwrap().contains("a mail to ann@example.org"));
    assert_eq!(asked.header("Auto-Submitted").as_deref(), Some("auto-generated"));
    let local = asked.reply_to();
    let (local, _) = local.split_once('@').unwrap();
    assert!(local.starts_with("support+a") && local.len() <= 64, "{local}");
    // Exactly what will happen, and no line of it can pass for ours.
    let text = asked.text();
    for line in
        ["| From: support@desk.test", "| To: ann@example.org", "| We open at nine.", "| approve"]
    {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    assert!(office.mail_to(ANN).is_empty());

    // As a telephone writes it, with the question quoted below.
    assert!(office.desk.send(&asked.answer(BOB, "Approve")).await.is(250));
    let sent = until("the mail goes out", async || office.mail_to(ANN).pop()).await;
    assert!(sent.text().starts_with("We open at nine."), "{}", sent.text());
    office.desk.api.settle().await;
    assert_eq!(office.trail().await, [("user:bob".to_owned(), "approved by mail".to_owned())]);
    assert!(office.waiting().await.is_empty());
    // Nobody is told what they know, and the answer is kept where nobody trips over it.
    assert_eq!(office.mail_to(BOB).len(), 1);
    let conversations = office.desk.api.conversations().await;
    assert!(conversations.last().unwrap()["archived_at"].is_string());
    let notice = office.desk.api.conversation(&conversations.last().unwrap()["id"]).await;
    let kept = notice["timeline"].as_array().unwrap().last().unwrap();
    assert_eq!((&kept["state"], &kept["why"]), (&json!("set_aside"), &json!("approved by mail")));

    // It counted once.
    assert!(office.desk.send(&asked.answer(BOB, "reject")).await.is(250));
    let told = until("bob is told", async || office.mail_to(BOB).get(1).cloned()).await;
    assert!(told.text().contains("answered this before"), "{}", told.text());
    assert_eq!(office.mail_to(ANN).len(), 1);
    office.desk.stop().await;
}

#[tokio::test]
async fn the_reason_of_a_rejection_is_heard() {
    let office = office("").await;
    let asked = office.asked().await;
    let answer = asked.answer(BOB, "reject We open at eight\nin summer.");
    assert!(office.desk.send(&answer).await.is(250));
    until("it is decided", async || office.waiting().await.is_empty().then_some(())).await;
    office.desk.api.settle().await;
    assert!(office.mail_to(ANN).is_empty());
    let draft = office.desk.api.list("/outbox?state=cancelled").await.pop().unwrap();
    let why = draft["why"].as_str().unwrap();
    assert_eq!(why, "rejected by user:bob: We open at eight\nin summer.");
    office.desk.stop().await;
}

#[tokio::test]
async fn an_answer_that_does_not_count_changes_nothing() {
    let office = office("").await;
    let asked = office.asked().await;

    // Somebody else, who proves to be somebody else; and somebody who only says that they are bob.
    assert_eq!(office.refused(ANN, &asked.answer(ANN, "approve")).await, None);
    let eve = "eve@other.example";
    assert_eq!(office.refused(eve, &asked.answer(eve, "approve")).await, None);
    let forged = asked.answer(BOB, "approve");
    assert_eq!(office.refused("mallory@evil.example", &forged).await, None);
    // What no hand wrote.
    let vacation = asked.answer(BOB, "approve").header("Auto-Submitted: auto-replied");
    assert_eq!(office.refused(BOB, &vacation).await, None);
    assert_eq!(office.refused("", &asked.answer(BOB, "approve")).await, None);
    let trail = office.trail().await;
    // Only the vacation proves to be from bob's address: without an envelope sender nothing does.
    let actors: Vec<_> = trail.iter().map(|(actor, _)| actor.as_str()).collect();
    assert_eq!(actors, ["mail", "mail", "mail", "user:bob", "mail"]);
    assert!(trail[2].1.contains("not verified"), "{trail:?}");

    // Anything but the word. What is quoted says it, and does not count.
    let told = office.refused(BOB, &asked.answer(BOB, "Fine with me!")).await.unwrap();
    assert!(told.contains("something else than the word"), "{told}");
    let told = office.refused(BOB, &asked.answer(BOB, "")).await.unwrap();
    assert!(told.contains("something else than the word"), "{told}");

    // Bob may no longer decide.
    let role = async |role: &str| {
        let path = format!("/users/{}", office.bob);
        let (status, _) = office.desk.api.ask("PATCH", &path, Some(json!({ "role": role }))).await;
        assert_eq!(status, 200);
    };
    role("viewer").await;
    let told = office.refused(BOB, &asked.answer(BOB, "approve")).await.unwrap();
    assert!(told.contains("no longer decide"), "{told}");
    role("reviewer").await;

    // Enough was said: the next one is kept and not answered.
    assert_eq!(office.refused(BOB, &asked.answer(BOB, "Hello?")).await, None);

    // And after all that, the word still counts.
    assert!(office.desk.send(&asked.answer(BOB, "approve")).await.is(250));
    until("the mail goes out", async || office.mail_to(ANN).pop()).await;
    office.desk.stop().await;
}

#[tokio::test]
async fn an_answer_counts_for_a_day() {
    let office = office("").await;
    let asked = office.asked().await;
    office.desk.clock.advance(SignedDuration::from_hours(24));
    let told = office.refused(BOB, &asked.answer(BOB, "approve")).await.unwrap();
    assert!(told.contains("24 hours"), "{told}");
    // Days later the address is an ordinary one to whoever probes it, and still says the same to bob.
    office.desk.clock.advance(SignedDuration::from_hours(9 * 24));
    let told = office.refused(BOB, &asked.answer(BOB, "approve")).await.unwrap();
    assert!(told.contains("24 hours"), "{told}");
    office.desk.stop().await;
}

#[tokio::test]
async fn of_two_reviewers_the_first_decides_and_the_second_is_told_who() {
    let office = office("").await;
    let carol = "carol@other.example";
    reviewer(&office.desk, "carol", carol).await;
    let asked = office.asked().await;
    let also = until("carol is asked", async || office.mail_to(carol).pop()).await;
    assert_ne!(asked.reply_to(), also.reply_to());

    // What bob was sent is no good in carol's hands, nor the other way round.
    assert_eq!(office.refused(carol, &asked.answer(carol, "approve")).await, None);
    assert!(office.desk.send(&also.answer(carol, "approve")).await.is(250));
    until("the mail goes out", async || office.mail_to(ANN).pop()).await;
    assert!(office.desk.send(&asked.answer(BOB, "reject")).await.is(250));
    let told = until("bob is told", async || office.mail_to(BOB).get(1).cloned()).await;
    assert!(told.text().contains("already approved by user:carol"), "{}", told.text());
    office.desk.api.settle().await;
    assert_eq!(office.mail_to(ANN).len(), 1);
    office.desk.stop().await;
}

#[tokio::test]
async fn only_who_may_decide_and_wants_to_is_asked() {
    let office = office("").await;
    // Not told unless they want it, as viewers not at all, and only about their agents.
    for (name, role, agents, wants) in [
        ("quiet", "reviewer", Value::Null, false),
        ("looker", "viewer", Value::Null, true),
        ("elsewhere", "reviewer", json!([]), true),
    ] {
        let user = json!({ "name": name, "role": role, "agents": agents,
                           "email": format!("{name}@example.org") });
        let id = office.desk.api.post("/users", user).await["id"].clone();
        let wants = json!({ "review_mail": wants });
        assert_eq!(office.desk.api.ask("PATCH", &format!("/users/{id}"), Some(wants)).await.0, 200);
    }
    office.asked().await;
    office.desk.api.settle().await;
    let told: Vec<_> = office.desk.captured().into_iter().map(|mail| mail.delivered_to).collect();
    assert_eq!(told, [BOB]);
    // Without an address there is nothing to tell.
    let nobody = office.desk.api.post("/users", json!({ "name": "x", "role": "reviewer" })).await;
    let path = format!("/users/{}", nobody["id"]);
    let (status, problem) =
        office.desk.api.ask("PATCH", &path, Some(json!({ "review_mail": true }))).await;
    assert_eq!(status, 409, "{problem}");
    office.desk.stop().await;
}

#[tokio::test]
async fn mail_that_waits_to_be_let_in_can_be_let_in_by_mail() {
    let office = office("").await;
    // DMARC says quarantine: it is held.
    let letter = Letter::new("dora@careful.example", "support@desk.test", "Are you there?");
    assert!(office.desk.send(&letter).await.is(250));
    let asked = until("bob is asked", async || office.mail_to(BOB).pop()).await;
    let text = asked.text();
    assert!(text.contains("| From: dora@careful.example (failed)"), "{text}");
    assert!(text.contains("| Are you there?"), "{text}");
    assert!(office.desk.send(&asked.answer(BOB, "approve")).await.is(250));
    // It is before the agent now, whose answer waits in turn.
    let next = until("bob is asked again", async || office.mail_to(BOB).get(1).cloned()).await;
    assert!(next.text().contains("| To: dora@careful.example"), "{}", next.text());
    office.desk.stop().await;
}

#[tokio::test]
async fn deciding_by_mail_can_be_switched_off() {
    let office = office("approve_by_reply = \"nothing\"").await;
    let asked = office.asked().await;
    let told = office.refused(BOB, &asked.answer(BOB, "approve")).await.unwrap();
    assert!(told.contains("switched off"), "{told}");
    office.desk.stop().await;
}
