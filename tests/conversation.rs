//! The main job: a mail comes in, an agent answers, and the answer to that finds its way back — for
//! those who may, and for nobody else.

#![allow(clippy::unwrap_used)]

mod support;

use frontdesk_agents::{Agent, Clock, Context, HandlerError, Mail, Trust, Verdict};
use frontdesk_smtp::testing::{
    dns::Zone,
    sign::{DkimOptions, TestKey, dkim_sign},
};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use support::{Captured, Client, Desk, Letter, Setup, desk_of, zone};

/// An agent that remembers everything it hears and says so, and notes beside it what it was shown.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Seen>>>);

#[derive(Clone, Debug)]
struct Seen {
    key: String,
    text: String,
    verdict: Verdict,
    trust: Trust,
    /// What the instance remembered before.
    remembered: Vec<String>,
    /// Earlier messages it could look up.
    history: Vec<String>,
    knows_contact: bool,
}

#[derive(Default, Serialize, Deserialize)]
struct Notes {
    heard: Vec<String>,
}

impl Agent for Recorder {
    type State = Notes;

    fn on_email(&self, cx: &mut Context<'_, Notes>, mail: &Mail) -> Result<(), HandlerError> {
        self.0.lock().unwrap().push(Seen {
            key: cx.key().to_owned(),
            text: mail.text.clone(),
            verdict: mail.verdict,
            trust: mail.trust,
            remembered: cx.state.heard.clone(),
            history: cx.history(50).into_iter().map(|said| said.text).collect(),
            knows_contact: cx.contact().is_some(),
        });
        cx.state.heard.push(mail.text.trim().to_owned());
        let all = cx.state.heard.join(" / ");
        cx.reply(format!("You told me: {all}"));
        Ok(())
    }
}

impl Recorder {
    fn seen(&self) -> Vec<Seen> {
        self.0.lock().unwrap().clone()
    }

    fn last(&self) -> Seen {
        self.seen().pop().expect("the agent heard something")
    }
}

const SUPPORT: &str = "[[agent]]\nname = \"support\"\nkind = \"recorder\"\napproval = \"none\"\n";
const SALES: &str = "[[agent]]\nname = \"sales\"\nkind = \"recorder\"\napproval = \"none\"\n";

const ANN: &str = "ann@example.org";
const BOB: &str = "bob@other.example";
const MALLORY: &str = "mallory@evil.example";

/// A desk with a recorder at support@desk.test.
async fn recorded(agents: &str) -> (Desk, Recorder) {
    let recorder = Recorder::default();
    let desk = desk_of(agents, |desk| desk.kind("recorder", recorder.clone())).await;
    (desk, recorder)
}

/// Ann's first mail and its answer.
async fn begun() -> (Desk, Recorder, Captured) {
    let (desk, recorder) = recorded(SUPPORT).await;
    desk.take(&Letter::new(ANN, "support@desk.test", "My secret is xyzzy.")).await;
    let answer = desk.answer();
    (desk, recorder, answer)
}

fn last(conversation: &Value) -> &Value {
    conversation["timeline"].as_array().unwrap().last().unwrap()
}

/// The messages of one role, in order.
fn of_role<'a>(conversation: &'a Value, role: &str) -> Vec<&'a Value> {
    let timeline = conversation["timeline"].as_array().unwrap();
    timeline.iter().filter(|message| message["role"] == role).collect()
}

#[tokio::test]
async fn a_first_mail_to_the_defaults_is_stored_and_answered_with_a_signed_reply_to() {
    let desk = Desk::local().await;
    let letter = Letter::new("you@localhost", "hello@localhost", "Hello!");
    desk.take(&letter).await;

    let conversation = desk.only_conversation().await;
    assert_eq!(conversation["agent"], "hello");
    assert_eq!(conversation["queue"], "needs_review");
    let received = &conversation["timeline"][0];
    assert_eq!(received["verdict"], "local");
    assert_eq!(received["text"].as_str().unwrap().trim(), "Hello!");

    let answer = desk.answer();
    assert_eq!(answer.delivered_to, "you@localhost");
    let reply_to = answer.reply_to();
    let token = reply_to.strip_prefix("hello+r").unwrap().strip_suffix("@localhost").unwrap();
    assert_eq!(token.len(), 33);
    assert!(reply_to.split('@').next().unwrap().len() <= 64);
    assert!(answer.reverse_path.starts_with("hello+b"), "{}", answer.reverse_path);
    assert_ne!(answer.reverse_path[7..], reply_to[7..]);
    assert_eq!(answer.header("In-Reply-To").unwrap(), format!("<{}>", letter.message_id));
    let references = answer.header("References").unwrap();
    assert!(references.ends_with(&format!("<{}>", letter.message_id)), "{references}");
    assert!(!references.contains(&answer.id()));
    assert_eq!(answer.header("Auto-Submitted").unwrap(), "auto-replied");
    assert_eq!(answer.header("Subject").unwrap(), "Re: Where is my order?");
    assert!(answer.header("DKIM-Signature").is_some());
    assert!(answer.text().contains("FD-1"), "{}", answer.text());

    // The message is kept byte for byte.
    let raw = format!("/messages/{}/raw", received["id"]);
    let (status, bytes) = desk.api.bytes("GET", &raw, None).await;
    assert_eq!((status, bytes), (200, letter.bytes()));
    desk.stop().await;
}

#[tokio::test]
async fn a_clients_answer_lands_in_the_conversation_with_only_its_new_text() {
    let (desk, recorder, answer) = begun().await;
    desk.take(&answer.answer(ANN, "It has not come yet.\nCan you look?")).await;

    let conversation = desk.only_conversation().await;
    let heard = of_role(&conversation, "human");
    assert_eq!(heard.len(), 2);
    assert_eq!(heard[1]["text"].as_str().unwrap().trim(), "It has not come yet.\nCan you look?");
    assert_eq!(heard[1]["state"], "admitted");
    // Set apart and kept.
    let layers = heard[1]["mail"]["layers"].to_string();
    assert!(layers.contains("You told me: My secret is xyzzy."), "{layers}");

    let seen = recorder.last();
    assert_eq!(seen.text.trim(), "It has not come yet.\nCan you look?");
    assert_eq!(seen.remembered, ["My secret is xyzzy."]);
    assert_eq!((seen.verdict, seen.trust), (Verdict::Verified, Trust::Proven));
    assert!(seen.knows_contact);
    // The answer threads: same synthetic id first, then what went before.
    let second = desk.answer();
    let thread = |mail: &Captured| {
        mail.header("References").unwrap().split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(thread(&second), thread(&answer));
    assert!(second.header("References").unwrap().contains(&answer.id()));
    assert_ne!(second.reply_to(), answer.reply_to());
    desk.stop().await;
}

#[tokio::test]
async fn an_answer_to_the_plain_address_is_known_by_our_message_id() {
    let (desk, recorder, answer) = begun().await;
    let mut letter = answer.answer(ANN, "I lost the long address.");
    letter.to = "support@desk.test".into();
    desk.take(&letter).await;
    desk.only_conversation().await;
    assert_eq!(recorder.last().text.trim(), "I lost the long address.");

    // The subject alone says nothing.
    let letter = Letter::new(ANN, "support@desk.test", "Another matter.")
        .subject(&answer.header("Subject").unwrap());
    desk.take(&letter).await;
    assert_eq!(desk.api.conversations().await.len(), 2);
    desk.stop().await;
}

#[tokio::test]
async fn a_tampered_token_is_an_ordinary_address() {
    let (desk, _, answer) = begun().await;
    let good = answer.reply_to();
    let (token, domain) = good.split_once('@').unwrap();
    let swapped = if token.ends_with('a') { 'b' } else { 'a' };
    let tampered = format!("{}{swapped}@{domain}", &token[..token.len() - 1]);

    // In the session nothing tells it from the good one or from the agent's own address.
    let mut client = Client::connect(desk.smtp).await.unwrap();
    let mut replies = Vec::new();
    for to in [good.as_str(), tampered.as_str(), "support@desk.test"] {
        client.say(&format!("MAIL FROM:<{ANN}>")).await.unwrap();
        replies.push(client.say(&format!("RCPT TO:<{to}>")).await.unwrap());
        client.say("RSET").await.unwrap();
    }
    assert_eq!(replies[0].code, 250);
    assert!(replies.iter().all(|reply| *reply == replies[0]), "{replies:?}");

    desk.take(&Letter::new(ANN, &tampered, "Through a bent address.")).await;
    let newest = desk.newest_conversation().await;
    assert_eq!(desk.api.conversations().await.len(), 2);
    assert_eq!(newest["linked_to"], Value::Null);
    // What the client quotes still counts, as for any ordinary address.
    let mut letter = answer.answer(ANN, "Bent again, but I quote you.");
    letter.to = tampered;
    desk.take(&letter).await;
    assert_eq!(desk.api.conversations().await.len(), 2);
    desk.stop().await;
}

#[tokio::test]
async fn another_agents_token_is_an_ordinary_address() {
    let (desk, recorder) = recorded(&format!("{SUPPORT}{SALES}")).await;
    desk.take(&Letter::new(ANN, "sales@desk.test", "A price, please.")).await;
    let foreign = desk.answer().reply_to().replace("sales+", "support+");
    desk.take(&Letter::new(ANN, &foreign, "Crossed over.")).await;

    let all = desk.api.conversations().await;
    assert_eq!(all.len(), 2);
    assert_eq!((&all[0]["agent"], &all[1]["agent"]), (&json!("sales"), &json!("support")));
    assert_eq!(all[1]["linked_to"], Value::Null);
    let seen = recorder.last();
    assert!(seen.remembered.is_empty(), "memory is not shared across agents");
    assert_eq!(seen.history.len(), 1, "only what it was just sent: {:?}", seen.history);
    desk.stop().await;
}

#[tokio::test]
async fn an_expired_token_opens_a_conversation_linked_to_the_old_one() {
    let (desk, recorder, answer) = begun().await;
    desk.clock.advance(SignedDuration::from_hours(24 * 60));
    desk.take(&answer.answer(ANN, "On the last day.")).await;
    assert_eq!(desk.api.conversations().await.len(), 1, "good through its whole last day");

    desk.clock.advance(SignedDuration::from_hours(24));
    desk.take(&answer.answer(ANN, "A day late.")).await;
    let all = desk.api.conversations().await;
    assert_eq!(all.len(), 2);
    assert_eq!(all[1]["linked_to"], all[0]["id"]);
    // It is still Ann: the memory is hers.
    let seen = recorder.last();
    assert_eq!(seen.text.trim(), "A day late.");
    assert_eq!(seen.remembered, ["My secret is xyzzy.", "On the last day."]);
    desk.stop().await;
}

#[tokio::test]
async fn a_participant_is_attached_and_waits_for_a_person() {
    let (desk, recorder, answer) = begun().await;
    desk.take(&answer.answer(BOB, "Ann forwarded me this.")).await;

    let conversation = desk.only_conversation().await;
    assert_eq!(conversation["queue"], "needs_review");
    let held = last(&conversation);
    assert_eq!(held["state"], "held");
    assert_eq!(held["verdict"], "verified");
    assert!(held["why"].as_str().unwrap().contains("not a member"), "{held}");
    assert_eq!(recorder.seen().len(), 1, "no agent has seen it");
    assert_eq!(desk.captured().len(), 1);

    // Nor does it slip into what the agent may look up later.
    desk.take(&answer.answer(ANN, "Still me.")).await;
    assert!(!format!("{:?}", recorder.last()).contains("forwarded"));

    // Admitted by a person, Bob is a member from now on.
    let review = format!("/reviews/{}/approve", held["review"]);
    desk.api.post(&review, json!({})).await;
    desk.api.settle().await;
    assert_eq!(recorder.last().text.trim(), "Ann forwarded me this.");
    let to_bob = desk.answer();
    assert_eq!(to_bob.delivered_to, BOB);
    desk.take(&to_bob.answer(BOB, "Thank you for letting me in.")).await;
    assert_eq!(last(&desk.only_conversation().await)["role"], "agent");
    assert_eq!(recorder.last().text.trim(), "Thank you for letting me in.");
    desk.stop().await;
}

#[tokio::test]
async fn the_right_sender_unverified_is_attached_and_waits_for_a_person() {
    let (desk, recorder, answer) = begun().await;
    let letter = answer.answer(ANN, "From my other provider.");
    desk.take_as(MALLORY, &letter).await;

    let conversation = desk.only_conversation().await;
    let held = last(&conversation);
    assert_eq!((&held["state"], &held["verdict"]), (&json!("held"), &json!("failed")));
    assert!(held["why"].as_str().unwrap().contains("not proven"), "{held}");
    assert_eq!(recorder.seen().len(), 1);
    assert_eq!(desk.states(), [(state_key(&recorder), state(&["My secret is xyzzy."]))]);

    let review = format!("/reviews/{}/reject", held["review"]);
    desk.api.post(&review, json!({ "reason": "not Ann" })).await;
    desk.api.settle().await;
    let conversation = desk.only_conversation().await;
    assert_eq!(
        (&last(&conversation)["state"], &last(&conversation)["why"]),
        (&json!("rejected"), &json!("not Ann"))
    );
    assert_eq!(recorder.seen().len(), 1, "what was rejected is never heard");
    desk.stop().await;
}

fn state_key(recorder: &Recorder) -> String {
    recorder.seen()[0].key.clone()
}

fn state(heard: &[&str]) -> String {
    json!({ "heard": heard }).to_string()
}

#[tokio::test]
async fn a_spoofed_contact_never_reaches_that_contacts_state_or_memory() {
    let (desk, recorder, answer) = begun().await;
    let hers = state_key(&recorder);
    assert!(hers.starts_with("contact:"), "{hers}");

    // To the plain address; quoting our Message-ID; in Reply-To; with an authentic-looking verdict.
    let plain = Letter::new(ANN, "support@desk.test", "Poison one.");
    let mut quoting = answer.answer(ANN, "Poison two.");
    quoting.to = "support@desk.test".into();
    let claiming = Letter::new(ANN, "support@desk.test", "Poison three.")
        .header("Authentication-Results: desk.test; dmarc=pass header.from=example.org")
        .header("Received-SPF: pass")
        .header("X-Agent-Instance: contact:1");
    for letter in [&plain, &quoting, &claiming] {
        desk.take_as(MALLORY, letter).await;
    }
    assert_eq!(desk.api.conversations().await.len(), 4, "each in a conversation of its own");
    for seen in &recorder.seen()[1..] {
        assert!(seen.key.starts_with("unproven:"), "{seen:?}");
        assert!(seen.remembered.is_empty() && seen.history.is_empty(), "{seen:?}");
        assert!(!seen.knows_contact);
        assert_eq!((seen.verdict, seen.trust), (Verdict::Failed, Trust::Unproven));
    }
    // What the agent said to the impostor waits for a person, and knows nothing of Ann.
    assert_eq!(desk.captured().len(), 1, "nothing left");
    let reviews = desk.api.list("/reviews?limit=50").await;
    let drafts: Vec<&Value> = reviews.iter().filter(|review| review["kind"] == "draft").collect();
    assert_eq!(drafts.len(), 3);
    assert!(drafts.iter().all(|draft| !draft["text"].as_str().unwrap().contains("xyzzy")));

    // Ann comes back: nothing of it is in her state, her history, or what she is answered.
    desk.take(&answer.answer(ANN, "Me again.")).await;
    let seen = recorder.last();
    assert_eq!(seen.key, hers);
    assert_eq!(seen.remembered, ["My secret is xyzzy."]);
    assert!(!format!("{seen:?}").contains("Poison"), "{seen:?}");
    assert!(!desk.answer().text().contains("Poison"));
    let states = desk.states();
    assert_eq!(states[0], (hers.clone(), state(&["My secret is xyzzy.", "Me again."])));
    assert_eq!(states.iter().filter(|(key, _)| *key == hers).count(), 1);
    desk.stop().await;
}

#[tokio::test]
async fn an_unproven_conversation_moves_to_its_contact_when_a_person_admits_it() {
    let (desk, recorder, _) = begun().await;
    let letter = Letter::new(ANN, "support@desk.test", "Really me, from a bad network.");
    desk.take_as(MALLORY, &letter).await;
    let conversation = desk.newest_conversation().await;
    let unproven = of_role(&conversation, "human")[0];
    assert_eq!(unproven["state"], "unproven");
    desk.api.post(&format!("/reviews/{}/approve", unproven["review"]), json!({})).await;
    desk.api.settle().await;

    let seen = recorder.last();
    assert_eq!(seen.key, state_key(&recorder));
    assert_eq!(seen.remembered, ["My secret is xyzzy."]);
    let conversation = desk.newest_conversation().await;
    let drafts = of_role(&conversation, "agent");
    assert_eq!(drafts[0]["state"], "cancelled", "what was drafted without memory is withdrawn");
    desk.stop().await;
}

#[tokio::test]
async fn a_domain_that_refuses_impostors_is_obeyed() {
    let (desk, recorder) = recorded(SUPPORT).await;
    let reply =
        desk.send_as(MALLORY, &Letter::new("a@strict.example", "support@desk.test", "Hi")).await;
    assert_eq!(reply.code, 550);
    assert!(reply.text.starts_with("5.7.26"), "{reply:?}");
    assert!(desk.api.conversations().await.is_empty());

    desk.take_as(MALLORY, &Letter::new("a@careful.example", "support@desk.test", "Hi")).await;
    let conversation = desk.only_conversation().await;
    assert_eq!(last(&conversation)["state"], "held");
    assert_eq!(conversation["queue"], "needs_review");
    assert!(recorder.seen().is_empty());
    desk.stop().await;
}

#[tokio::test]
async fn mail_to_postmaster_and_abuse_is_for_people() {
    let (desk, recorder) = recorded(SUPPORT).await;
    for to in ["postmaster@desk.test", "ABUSE@desk.test", "postmaster"] {
        desk.take(&Letter::new(ANN, to, "Your server is on fire.")).await;
    }
    let all = desk.api.conversations().await;
    assert_eq!(all.len(), 3);
    for conversation in &all {
        assert_eq!(conversation["queue"], "needs_review");
        let conversation = desk.api.conversation(&conversation["id"]).await;
        assert_eq!(last(&conversation)["state"], "held");
    }
    // A person's approval takes it out of the queue and still wakes no agent.
    let review = &desk.api.list("/reviews").await[0];
    desk.api.post(&format!("/reviews/{}/approve", review["id"]), json!({})).await;
    desk.api.settle().await;
    assert!(recorder.seen().is_empty());
    assert!(desk.captured().is_empty());
    desk.stop().await;
}

#[tokio::test]
async fn unknown_users_and_relaying_are_refused_in_the_session() {
    let (desk, _) = recorded(SUPPORT).await;
    let mut client = Client::connect(desk.smtp).await.unwrap();
    client.say(&format!("MAIL FROM:<{ANN}>")).await.unwrap();
    let unknown = client.say("RCPT TO:<nobody@desk.test>").await.unwrap();
    assert_eq!(unknown.code, 550);
    assert!(unknown.text.starts_with("5.1.1"), "{unknown:?}");
    for elsewhere in ["x@gmail.com", "x%desk.test@gmail.com", "support@gmail.com"] {
        let relay = client.say(&format!("RCPT TO:<{elsewhere}>")).await.unwrap();
        assert_eq!(relay.code, 550, "{elsewhere}: {relay:?}");
        assert!(relay.text.starts_with("5.7.1"), "{elsewhere}: {relay:?}");
    }
    // Nor do percent hacks, quotes and source routes open the door.
    for trick in ["x%gmail.com@desk.test", "\"x@desk.test\"@gmail.com", "@desk.test:x@gmail.com"] {
        let reply = client.say(&format!("RCPT TO:<{trick}>")).await.unwrap();
        assert!(matches!(reply.code, 550..=553), "{trick}: {reply:?}");
    }
    desk.stop().await;
}

#[tokio::test]
async fn a_catch_all_takes_what_nobody_else_does() {
    let recorder = Recorder::default();
    let setup = Setup {
        config: format!(
            "[mail]\ndomains = [\"desk.test\"]\ncatch_all = \"support\"\n{SUPPORT}{SALES}"
        ),
        kinds: vec!["recorder"],
        zone: Some(zone()),
        ..Setup::default()
    };
    let desk = Desk::serve(setup, |desk| desk.kind("recorder", recorder.clone())).await;
    for to in ["anything@desk.test", "sales@desk.test", "Support+x@desk.test"] {
        desk.take(&Letter::new(ANN, to, "To whom it may concern.")).await;
    }
    let agents: Vec<Value> =
        desk.api.conversations().await.iter().map(|c| c["agent"].clone()).collect();
    assert_eq!(agents, ["support", "sales", "support"]);
    // An answer from there comes from an address that exists, and the conversation goes on.
    let answer = &desk.captured()[0];
    assert!(answer.reply_to().starts_with("support+r"), "{}", answer.reply_to());
    desk.take(&answer.answer(ANN, "You do exist.")).await;
    assert_eq!(desk.api.conversations().await.len(), 3);
    desk.stop().await;
}

#[tokio::test]
async fn a_tag_picks_the_instance_where_the_agent_allows_it() {
    let tagged = "[[agent]]\nname = \"teams\"\nkind = \"recorder\"\napproval = \"none\"\ninstance = \"tag\"\n";
    let (desk, recorder) = recorded(&format!("{tagged}{SUPPORT}")).await;
    desk.take(&Letter::new(ANN, "teams+red@desk.test", "one")).await;
    let answer = desk.answer();
    assert!(answer.header("From").unwrap().contains("teams+red@desk.test"));
    desk.take(&Letter::new(BOB, "teams+red@desk.test", "two")).await;
    assert_eq!(recorder.last().key, "tag:red");
    assert_eq!(recorder.last().remembered, ["one"], "a tag is shared by design");
    desk.take(&Letter::new(BOB, "teams+blue@desk.test", "three")).await;
    assert_eq!((recorder.last().key.as_str(), recorder.last().remembered.len()), ("tag:blue", 0));
    // The answer to a tagged mail comes back to its conversation and instance.
    desk.take(&answer.answer(ANN, "four")).await;
    assert_eq!(recorder.last().key, "tag:red");
    // Elsewhere a tag is decoration.
    desk.take(&Letter::new(ANN, "support+red@desk.test", "five")).await;
    assert!(recorder.last().key.starts_with("contact:"));
    desk.stop().await;
}

#[tokio::test]
async fn old_mail_stays_answerable_when_keys_rotate() {
    let (desk, recorder, answer) = begun().await;
    let before = answer.reply_to();
    let rotated = desk.api.post("/keys/rotate", json!({})).await;
    assert!(rotated["key_id"].is_number(), "{rotated}");
    desk.take(&answer.answer(ANN, "Does the old address work?")).await;
    let second = desk.answer();
    let key = |address: &str| address.split_once("+r").unwrap().1.chars().next().unwrap();
    assert_ne!(key(&before), key(&second.reply_to()), "new mail is signed with the new key");
    desk.take(&second.answer(ANN, "And the new one?")).await;
    desk.only_conversation().await;
    assert_eq!(recorder.last().text.trim(), "And the new one?");
    desk.stop().await;
}

#[tokio::test]
async fn a_draft_leaves_when_a_person_approves_it_and_not_before() {
    let reviewed = SUPPORT.replace("\"none\"", "\"all\"");
    let (desk, _) = recorded(&reviewed).await;
    for text in ["First.", "Second.", "Third."] {
        desk.take(&Letter::new(ANN, "support@desk.test", text)).await;
    }
    assert!(desk.captured().is_empty());
    let mut reviews = desk.api.list("/reviews").await;
    reviews.sort_by_key(|review| review["id"].as_i64());
    let path = |index: usize, verb: &str| format!("/reviews/{}/{verb}", reviews[index]["id"]);

    desk.api.post(&path(0, "approve"), json!({})).await;
    desk.api.settle().await;
    let sent = desk.answer();
    assert!(sent.text().contains("You told me: First."));
    assert_eq!(sent.header("Auto-Submitted"), None, "a person has read it");

    desk.api.post(&path(1, "approve"), json!({ "text": "In my own words." })).await;
    desk.api.settle().await;
    assert_eq!(desk.answer().text().trim(), "In my own words.");

    desk.api.post(&path(2, "reject"), json!({ "reason": "too chatty" })).await;
    desk.api.settle().await;
    assert_eq!(desk.captured().len(), 2);
    let conversation = desk.newest_conversation().await;
    assert_eq!(last(&conversation)["state"], "cancelled");
    assert!(last(&conversation)["why"].as_str().unwrap().contains("too chatty"));

    // Of two decisions the first counts, and the second is told so.
    let (status, problem) = desk.api.ask("POST", &path(2, "approve"), Some(json!({}))).await;
    assert_eq!(status, 409, "{problem}");
    assert_eq!(desk.captured().len(), 2);
    desk.stop().await;
}

#[tokio::test]
async fn a_message_that_comes_twice_is_one_message() {
    let (desk, recorder) = recorded(SUPPORT).await;
    let letter = Letter::new(ANN, "support@desk.test", "Only once.");
    desk.take(&letter).await;
    desk.take(&letter).await;
    assert_eq!(of_role(&desk.only_conversation().await, "human").len(), 1);
    assert_eq!(recorder.seen().len(), 1);
    // After five days it is another one.
    desk.clock.advance(SignedDuration::from_hours(24 * 5 + 1));
    desk.take(&letter).await;
    assert_eq!(recorder.seen().len(), 2);
    desk.stop().await;
}

#[tokio::test]
async fn a_copy_with_a_better_verdict_proves_the_first() {
    let (desk, recorder) = recorded(SUPPORT).await;
    let letter = Letter::new(ANN, "support@desk.test", "By two paths.");
    desk.take_as(MALLORY, &letter).await;
    assert!(recorder.last().key.starts_with("unproven:"));
    desk.take(&letter).await;
    let conversation = desk.only_conversation().await;
    let received = of_role(&conversation, "human");
    assert_eq!(received.len(), 1);
    assert_eq!(
        (&received[0]["state"], &received[0]["verdict"]),
        (&json!("admitted"), &json!("verified"))
    );
    assert!(recorder.last().key.starts_with("contact:"));
    desk.stop().await;
}

#[tokio::test]
async fn a_copy_sent_ahead_does_not_swallow_the_real_mail() {
    let (desk, recorder, answer) = begun().await;
    // Mallory saw Ann's mail on its way and is faster: under his own name, and under hers.
    let real = answer.answer(ANN, "Please ship it.");
    let mut copy = real.clone();
    copy.from = MALLORY.into();
    desk.take(&copy).await;
    desk.take_as(MALLORY, &real).await;
    assert_eq!(recorder.seen().len(), 1, "both wait for a person");

    desk.take(&real).await;
    let seen = recorder.last();
    assert_eq!(seen.text.trim(), "Please ship it.");
    assert_eq!((seen.key.clone(), seen.verdict), (state_key(&recorder), Verdict::Verified));
    let conversation = desk.only_conversation().await;
    let (mut hers, mut his) = (0, 0);
    for message in of_role(&conversation, "human") {
        match (message["from"].as_str().unwrap(), message["state"].as_str().unwrap()) {
            (ANN, "admitted") => hers += 1,
            (MALLORY, "held") => his += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((hers, his), (2, 1));
    desk.stop().await;
}

#[tokio::test]
async fn one_mail_to_two_agents_is_one_transaction_and_two_conversations() {
    let (desk, recorder) = recorded(&format!("{SUPPORT}{SALES}")).await;
    let letter = Letter::new(ANN, "support@desk.test, sales@desk.test", "To both of you.");
    let mut client = Client::connect(desk.smtp).await.unwrap();
    let both = ["support@desk.test", "sales@desk.test", "SUPPORT@DESK.TEST"];
    let reply = client.send(ANN, &both, &letter.bytes()).await.unwrap();
    assert!(reply.is(250), "{reply:?}");
    desk.api.settle().await;
    assert_eq!(desk.api.conversations().await.len(), 2);
    assert_eq!(recorder.seen().len(), 2);
    assert!(recorder.seen().iter().all(|seen| seen.remembered.is_empty()));
    // An answer of one of them does not reach the other.
    let from_sales = desk.captured().into_iter().find(|a| a.reply_to().starts_with("sales+"));
    desk.take(&from_sales.unwrap().answer(ANN, "Only to sales.")).await;
    assert_eq!(recorder.last().remembered, ["To both of you."]);
    let support = desk.states().into_iter().filter(|(_, state)| state.contains("Only to sales."));
    assert_eq!(support.count(), 1);
    desk.stop().await;
}

#[tokio::test]
async fn a_carbon_copy_makes_nobody_a_member() {
    let (desk, recorder) = recorded(SUPPORT).await;
    let letter =
        Letter::new(ANN, "support@desk.test", "Bob reads along.").header(format!("Cc: {BOB}"));
    desk.take(&letter).await;
    let answer = desk.answer();
    assert_eq!(answer.header("Cc"), None);
    let mut joined = answer.answer(BOB, "May I?");
    joined.extra.push(format!("Cc: {ANN}"));
    desk.take(&joined).await;
    assert_eq!(last(&desk.only_conversation().await)["state"], "held");
    assert_eq!(recorder.seen().len(), 1);
    desk.stop().await;
}

#[tokio::test]
async fn a_signature_proves_the_sender_wherever_the_mail_comes_from() {
    let zone = zone()
        .txt("signed.example", "v=spf1 ip4:192.0.2.1 -all")
        .txt("_dmarc.signed.example", "v=DMARC1; p=reject")
        .txt("key._domainkey.signed.example", &TestKey::ed25519().record());
    let setup = Setup {
        config: format!("[mail]\ndomains = [\"desk.test\"]\n{SUPPORT}"),
        kinds: vec!["recorder"],
        zone: Some(zone),
        ..Setup::default()
    };
    let recorder = Recorder::default();
    let desk = Desk::serve(setup, |desk| desk.kind("recorder", recorder.clone())).await;
    let letter = Letter::new("dora@signed.example", "support@desk.test", "Forwarded to you.");
    let signed = dkim_sign(
        &letter.bytes(),
        TestKey::ed25519(),
        "signed.example",
        "key",
        &DkimOptions::default(),
    );
    let mut client = Client::connect(desk.smtp).await.unwrap();
    let reply = client.send("fwd@evil.example", &["support@desk.test"], &signed).await.unwrap();
    assert!(reply.is(250), "{reply:?}");
    desk.api.settle().await;
    assert_eq!(recorder.last().verdict, Verdict::Verified);

    let tampered = String::from_utf8(signed).unwrap().replace("to you", "to thee");
    let reply =
        client.send("fwd@evil.example", &["support@desk.test"], tampered.as_bytes()).await.unwrap();
    assert!(reply.is(550) && reply.text.starts_with("5.7.26"), "{reply:?}");
    desk.stop().await;
}

#[tokio::test]
async fn our_own_signature_proves_our_mail_to_others() {
    let (ours, _, answer) = begun().await;
    // Everything we say about ourselves in DNS, and an SPF record that does not help.
    let keys = &ours.running().desk.keys;
    let (selector, _) = keys.dkim("desk.test", ours.clock.now()).unwrap();
    let mut zone = Zone::new()
        .txt("desk.test", "v=spf1 -all")
        .txt("_dmarc.desk.test", "v=DMARC1; p=reject; adkim=s");
    for record in keys.dkim_records("desk.test", &selector).unwrap() {
        zone = zone.txt(record.name.trim_end_matches('.'), &record.value);
    }
    let setup = Setup {
        config: format!("[mail]\ndomains = [\"other.test\"]\n{SUPPORT}"),
        kinds: vec!["recorder"],
        zone: Some(zone),
        ..Setup::default()
    };
    let recorder = Recorder::default();
    let theirs = Desk::serve(setup, |desk| desk.kind("recorder", recorder.clone())).await;
    let mut client = Client::connect(theirs.smtp).await.unwrap();
    let to = ["support@other.test"];
    let reply = client.send(&answer.reverse_path, &to, &answer.raw).await.unwrap();
    assert!(reply.is(250), "{reply:?}");
    theirs.api.settle().await;
    assert_eq!(recorder.last().verdict, Verdict::Verified);

    let text = String::from_utf8(answer.raw.clone()).unwrap();
    for (what, was) in [("To: mallory@evil.example", "To: ann@example.org"), ("xyzzz", "xyzzy")] {
        assert!(text.contains(was));
        let bent = text.replacen(was, what, 1);
        let reply = client.send(&answer.reverse_path, &to, bent.as_bytes()).await.unwrap();
        assert!(reply.is(550), "{what}: {reply:?}");
    }
    theirs.stop().await;
    ours.stop().await;
}

#[tokio::test]
async fn mail_comes_in_under_tls_with_the_configured_certificate() {
    let certificate = rcgen::generate_simple_self_signed(["desk.test".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        use std::{io::Write, os::unix::fs::OpenOptionsExt};
        let path = folder.path().join(name);
        let mut file =
            std::fs::File::options().write(true).create_new(true).mode(0o600).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        path.display().to_string()
    };
    let cert = write("tls.crt", certificate.cert.pem());
    let key = write("tls.key", certificate.signing_key.serialize_pem());
    let setup = Setup {
        smtp: format!("tls_cert_file = \"{cert}\"\ntls_key_file = \"{key}\""),
        config: format!("[mail]\ndomains = [\"desk.test\"]\n{SUPPORT}"),
        kinds: vec!["recorder"],
        zone: Some(zone()),
        ..Setup::default()
    };
    let recorder = Recorder::default();
    let desk = Desk::serve(setup, |desk| desk.kind("recorder", recorder.clone())).await;
    let mut client = Client::open(desk.smtp).await.unwrap();
    let offered = client.hello().await.unwrap();
    assert!(offered.text.contains("STARTTLS"), "{offered:?}");
    let root = certificate.cert.der().clone();
    let mut client = client.start_tls("desk.test", root).await.unwrap();
    let offered = client.hello().await.unwrap();
    assert!(!offered.text.contains("STARTTLS"), "{offered:?}");
    let letter = Letter::new(ANN, "support@desk.test", "In private.");
    let reply = client.send(ANN, &["support@desk.test"], &letter.bytes()).await.unwrap();
    assert_eq!(reply.code, 250, "{reply:?}");
    desk.api.settle().await;
    assert_eq!(recorder.last().text.trim(), "In private.");
    // Without a certificate it is not offered.
    let plain = Desk::local().await;
    let offered = Client::open(plain.smtp).await.unwrap().hello().await.unwrap();
    assert!(!offered.text.contains("STARTTLS"), "{offered:?}");
    plain.stop().await;
    desk.stop().await;
}
