//! Nothing answers a machine for long: two agents that write to each other stop by themselves, and
//! autoresponders, lists, bounces and unattended addresses are never answered at all.

#![allow(clippy::unwrap_used)]

mod support;

use frontdesk_agents::{Agent, Context, HandlerError, Mail};
use frontdesk_smtp::testing::dns::Zone;
use jiff::SignedDuration;
use support::{Captured, Client, Desk, Letter, Setup, desk_of, zone};

/// An agent that answers whatever it gets, each time with other words, as a model would.
struct Eager;

impl Agent for Eager {
    type State = u32;

    fn on_email(&self, cx: &mut Context<'_, u32>, _mail: &Mail) -> Result<(), HandlerError> {
        cx.state += 1;
        const WORDS: [&str; 8] =
            ["apples", "rivers", "engines", "violins", "harvest", "granite", "lanterns", "tides"];
        let (one, two) = (WORDS[cx.state as usize % 8], WORDS[cx.state as usize / 8 % 8]);
        cx.reply(format!("Thank you! How about {one} and {two} then?"));
        Ok(())
    }
}

const EAGER: &str = "[[agent]]\nname = \"eager\"\nkind = \"eager\"\napproval = \"none\"\n";

/// A desk for one domain, which believes the other by SPF.
async fn desk_for(domain: &str) -> Desk {
    let both = Zone::parse(
        "left.test TXT v=spf1 ip4:127.0.0.1 -all
         _dmarc.left.test TXT v=DMARC1; p=reject
         right.test TXT v=spf1 ip4:127.0.0.1 -all
         _dmarc.right.test TXT v=DMARC1; p=reject",
    );
    let setup = Setup {
        config: format!("[mail]\ndomains = [\"{domain}\"]\n{EAGER}"),
        kinds: vec!["eager"],
        zone: Some(both.unwrap().merge(zone())),
        ..Setup::default()
    };
    Desk::serve(setup, |desk| desk.kind("eager", Eager)).await
}

/// What the other side makes of our fields.
#[derive(Clone, Copy, PartialEq)]
enum Peer {
    /// Mail arrives as it was sent.
    Faithful,
    /// Answers go to From, as some systems have it.
    IgnoresReplyTo,
    /// And what marks mail as automatic is lost.
    LosesMarks,
}

/// Carries a captured mail over to the other desk.
async fn pass_on(mail: &Captured, to: &Desk, peer: Peer) {
    let mut message = String::from_utf8(mail.raw.clone()).unwrap();
    let mut lose = |name: &str| {
        let start = message.find(&format!("\r\n{name}:")).map(|at| at + 2);
        let Some(start) = start else { return };
        // The field ends where a line does not start with white space.
        let mut end = start + message[start..].find("\r\n").unwrap() + 2;
        while message[end..].starts_with([' ', '\t']) {
            end += message[end..].find("\r\n").unwrap() + 2;
        }
        message.replace_range(start..end, "");
    };
    if peer != Peer::Faithful {
        lose("Reply-To");
    }
    if peer == Peer::LosesMarks {
        lose("Auto-Submitted");
        lose("X-Auto-Response-Suppress");
    }
    let mut client = Client::connect(to.smtp).await.unwrap();
    let reply =
        client.send(&mail.reverse_path, &[&mail.delivered_to], message.as_bytes()).await.unwrap();
    assert_eq!(reply.code, 250, "{reply:?}");
    to.api.settle().await;
}

/// How a talk between two agents ended.
#[derive(Debug)]
struct Silence {
    from_left: usize,
    from_right: usize,
    /// Why what they would have said next waits for a person.
    held: Vec<String>,
    /// Why something was not even drafted for review.
    denied: Vec<String>,
}

/// Lets two agents talk until neither has anything more to send.
async fn let_them_talk(peer: Peer, pause: SignedDuration) -> Silence {
    let (left, right) = (desk_for("left.test").await, desk_for("right.test").await);
    // A person has one of them write to the other.
    let email = serde_json::json!({
        "agent": "eager", "to": ["eager@right.test"], "subject": "Hello", "text": "Shall we talk?"
    });
    left.api.post("/emails", email).await;
    left.api.settle().await;
    assert_eq!(left.answer().header("Auto-Submitted"), None, "a person wrote it");

    let (mut from_left, mut from_right) = (0, 0);
    for _ in 0..50 {
        let before = (from_left, from_right);
        for (from, to, passed) in
            [(&left, &right, &mut from_left), (&right, &left, &mut from_right)]
        {
            for mail in &from.captured()[*passed..] {
                from.clock.advance(pause);
                to.clock.advance(pause);
                *passed += 1;
                pass_on(mail, to, peer).await;
            }
        }
        if before == (from_left, from_right) {
            let (mut held, mut denied) = (Vec::new(), Vec::new());
            for desk in [left, right] {
                for mail in desk.api.list("/outbox?limit=100").await {
                    let why = mail["why"].as_str().unwrap().to_owned();
                    match mail["state"].as_str().unwrap() {
                        "held" => held.push(why),
                        "cancelled" => denied.push(why),
                        state => assert_eq!(state, "sent"),
                    }
                }
                desk.stop().await;
            }
            return Silence { from_left, from_right, held, denied };
        }
    }
    panic!("still talking after {from_left} and {from_right} mails");
}

#[tokio::test]
async fn two_desks_do_not_answer_to_an_address_that_is_not_the_senders() {
    let talk = let_them_talk(Peer::Faithful, SignedDuration::from_secs(1)).await;
    // A reply address is not the From that was proven, and a machine alone does not write to it.
    assert_eq!((talk.from_left, talk.from_right), (1, 0));
    assert!(talk.held[0].contains("neither the sender nor a member"), "{:?}", talk.held);
}

#[tokio::test]
async fn two_agents_that_mark_their_mail_stop_after_one_answer() {
    let talk = let_them_talk(Peer::IgnoresReplyTo, SignedDuration::from_secs(1)).await;
    // The opening was a person's; its answer is marked, and marked mail is not answered.
    assert_eq!((talk.from_left, talk.from_right), (1, 1));
    assert!(talk.denied[0].contains("Auto-Submitted: auto-replied"), "{:?}", talk.denied);
}

#[tokio::test]
async fn two_agents_whose_marks_are_lost_stop_by_the_first_breaker() {
    let talk = let_them_talk(Peer::LosesMarks, SignedDuration::from_secs(1)).await;
    assert!(talk.from_left > 1, "they did talk: {talk:?}");
    assert!(talk.from_left <= 1 + 3 && talk.from_right <= 3, "{talk:?}");
    // It fails closed into review, where a person is told why.
    let why = "3 automatic replies in this conversation since a person wrote something new";
    assert_eq!(talk.held, [why]);
}

#[tokio::test]
async fn two_agents_that_pass_for_people_stop_by_the_daily_breaker() {
    // Unmarked, in new words each time, and slow enough for a person: only the count is left.
    let talk = let_them_talk(Peer::LosesMarks, SignedDuration::from_mins(5)).await;
    assert!(talk.from_left > 4, "the first breaker alone would have stopped them: {talk:?}");
    assert!(talk.from_left <= 1 + 10 && talk.from_right <= 10, "{talk:?}");
    assert_eq!(talk.held, ["10 automatic replies to this correspondent today"]);
}

#[tokio::test]
async fn two_agents_of_one_desk_do_not_mail_each_other() {
    let agents = format!("{EAGER}[[agent]]\nname = \"other\"\nkind = \"eager\"\n");
    let desk = desk_of(&agents, |desk| desk.kind("eager", Eager)).await;
    // Somebody forges a mail from one of our addresses to another, and one that asks for answers there.
    let forged = Letter::new("other@desk.test", "eager@desk.test", "Hello, colleague.");
    let reply = desk.send_as("x@evil.example", &forged).await;
    assert_eq!(reply.code, 250, "{reply:?}");
    let redirected = Letter::new("ann@example.org", "eager@desk.test", "Hello.")
        .header("Reply-To: other@desk.test");
    desk.take(&redirected).await;
    assert!(desk.captured().is_empty());
    let outbox = desk.api.list("/outbox").await;
    assert!(outbox.iter().all(|mail| mail["state"] == "cancelled"), "{outbox:#?}");
    let email = serde_json::json!({
        "agent": "eager", "to": ["other@desk.test"], "subject": "x", "text": "x"
    });
    let sent = desk.api.post("/emails", email).await;
    assert_eq!(sent["state"], "cancelled", "whoever asks: {sent}");
    desk.stop().await;
}

const ANN: &str = "ann@example.org";

/// Mail that no person wrote, with the envelope it comes in.
fn machines() -> Vec<(&'static str, String, Letter)> {
    let from = |author: &str| Letter::new(author, "eager@desk.test", "I am away until Monday.");
    let marked = |line: &str| (ANN.to_owned(), from(ANN).header(line));
    let named = |what, (envelope, letter): (String, Letter)| (what, envelope, letter);
    let mut bounce = from("MAILER-DAEMON@example.org");
    bounce
        .extra
        .push("Content-Type: multipart/report; report-type=delivery-status; boundary=\"b\"".into());
    bounce.text =
        "--b\n\nIt could not be delivered.\n--b\nContent-Type: message/delivery-status\n\n\
                   Status: 5.1.1\n--b--\n"
            .into();
    let mut report = bounce.clone();
    report.message_id.push('x');
    vec![
        ("a null sender", String::new(), from(ANN)),
        ("a bounce", String::new(), bounce),
        ("a report from an address", "daemon@example.org".into(), report),
        named("an autoresponder", marked("Auto-Submitted: auto-replied")),
        named("generated mail", marked("auto-submitted: AUTO-GENERATED (nightly)")),
        named("bulk mail", marked("Precedence: bulk")),
        named("junk mail", marked("Precedence: junk")),
        named("an old list", marked("Precedence: list")),
        named("a list", marked("List-Id: Gardeners <gardeners.example.org>")),
        named("a newsletter", marked("List-Unsubscribe: <mailto:leave@example.org>")),
        named("an Outlook reply", marked("X-Auto-Response-Suppress: All")),
        named("a vacation notice", marked("X-Autoreply: yes")),
        named("noreply", ("noreply@example.org".into(), from("noreply@example.org"))),
        named("no-reply", ("x@example.org".into(), from("No-Reply@example.org"))),
        named("the mail system", ("x@example.org".into(), from("postmaster@example.org"))),
    ]
}

#[tokio::test]
async fn autoresponders_lists_bounces_and_noreply_are_never_answered() {
    let desk = desk_of(EAGER, |desk| desk.kind("eager", Eager)).await;
    for (what, envelope, letter) in machines() {
        let before = desk.api.conversations().await.len();
        let reply = desk.send_as(&envelope, &letter).await;
        assert_eq!(reply.code, 250, "{what}: {reply:?}");
        desk.api.settle().await;
        assert_eq!(desk.api.conversations().await.len(), before + 1, "{what} is kept");
        assert!(desk.captured().is_empty(), "{what} was answered");
        // The eager agent did try, and was told no for good: not even a review could let it out.
        let outbox = desk.api.list("/outbox").await;
        assert_eq!(outbox[0]["state"], "cancelled", "{what}: {}", outbox[0]);
    }
    // The word "no" is not a mark.
    let person = Letter::new(ANN, "eager@desk.test", "I am a person.").header("Auto-Submitted: no");
    desk.take(&person).await;
    assert_eq!(desk.captured().len(), 1);
    desk.stop().await;
}

#[tokio::test]
async fn the_receptionist_answers_none_of_them_either() {
    let receptionist = "[[agent]]\nname = \"eager\"\n";
    let desk = desk_of(receptionist, |desk| desk.kind("eager", Eager)).await;
    for (what, envelope, letter) in machines() {
        let reply = desk.send_as(&envelope, &letter).await;
        assert_eq!(reply.code, 250, "{what}: {reply:?}");
        desk.api.settle().await;
        assert!(desk.captured().is_empty(), "{what} was answered");
    }
    // Nor somebody who proves nothing.
    desk.take_as("x@evil.example", &Letter::new(ANN, "eager@desk.test", "Hello.")).await;
    assert!(desk.captured().is_empty());
    desk.take(&Letter::new(ANN, "eager@desk.test", "Hello.")).await;
    assert_eq!(desk.captured().len(), 1);
    desk.stop().await;
}

#[tokio::test]
async fn a_bounce_of_our_mail_is_a_note_that_no_agent_hears() {
    let desk = desk_of(EAGER, |desk| desk.kind("eager", Eager)).await;
    desk.take(&Letter::new(ANN, "eager@desk.test", "Hello.")).await;
    let sent = desk.answer();
    let mut report = Letter::new("MAILER-DAEMON@example.org", &sent.reverse_path, "");
    report
        .extra
        .push("Content-Type: multipart/report; report-type=delivery-status; boundary=\"b\"".into());
    report.text = "--b\n\nNo such user.\n--b--\n".into();
    for envelope in ["", ANN] {
        report.message_id.push('x');
        let reply = desk.send_as(envelope, &report).await;
        assert_eq!(reply.code, 250, "{reply:?}");
    }
    // Nor does a person's mail to that address reach anybody: it names a delivery, not a conversation.
    desk.take(&Letter::new(ANN, &sent.reverse_path, "Hello bounce address.")).await;
    let conversation = desk.only_conversation().await;
    let timeline = conversation["timeline"].as_array().unwrap();
    assert_eq!(timeline.len(), 5);
    assert!(
        timeline[2..].iter().all(|note| note["role"] == "note" && note["state"] == "set_aside")
    );
    assert_eq!(desk.captured().len(), 1);
    assert_eq!(desk.states()[0].1, "1", "the agent heard one mail");
    desk.stop().await;
}
