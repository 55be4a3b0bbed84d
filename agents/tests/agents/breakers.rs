//! The circuit breakers, through real handlers on both sides of the wire.

use crate::desk::{Change, Desk, Script};
use frontdesk_agents::{AgentId, Draft, Reference, store::Claimed};

/// Two installations whose agents answer each other, marks of automatic mail lost on the way, as old
/// autoresponders do. Returns how many mails left `a` before nothing moved any more.
struct Pair {
    a: (Desk, AgentId),
    b: (Desk, AgentId),
}

impl Pair {
    async fn new(script: impl Fn() -> Script) -> Self {
        let mut sides = Vec::new();
        for name in ["a", "b"] {
            let mut desk = Desk::new();
            let own = format!("@{name}.test");
            desk.rules.is_own = std::sync::Arc::new(move |address| address.ends_with(&own));
            let address = format!("bot@{name}.test");
            let agent = desk.agent_with("bot", script(), |rules| rules.address = address).await;
            desk.start().await;
            sides.push((desk, agent));
        }
        let b = sides.pop().unwrap();
        Self { a: sides.pop().unwrap(), b }
    }

    /// `threaded`: whether the answers say what they answer.
    async fn run(&self, seconds_between: i64, threaded: bool) -> (usize, usize) {
        let (mut sent_a, mut sent_b) = (0, 0);
        let (desk, agent) = &self.b;
        desk.deliver(desk.mail(*agent, "bot@a.test", "Who starts is lost.")).await;
        for _ in 0..60 {
            let from_b = carry(&self.b, &self.a, seconds_between, threaded).await;
            let from_a = carry(&self.a, &self.b, seconds_between, threaded).await;
            (sent_a, sent_b) = (sent_a + from_a, sent_b + from_b);
            if from_a + from_b == 0 {
                return (sent_a, sent_b);
            }
        }
        panic!("they never stopped");
    }
}

async fn carry(
    from: &(Desk, AgentId),
    to: &(Desk, AgentId),
    seconds: i64,
    threaded: bool,
) -> usize {
    from.0.quiet().await;
    let sent = from.0.send_all().await;
    for claim in &sent {
        to.0.advance(seconds);
        from.0.advance(seconds);
        to.0.deliver(incoming(to, claim, threaded)).await;
    }
    sent.len()
}

fn incoming(
    (desk, agent): &(Desk, AgentId),
    claim: &Claimed,
    threaded: bool,
) -> frontdesk_agents::mail::Arrival {
    let own: Vec<Reference> = claim
        .mail
        .in_reply_to
        .iter()
        .filter(|_| threaded)
        .filter_map(|id| Some(Reference(id.strip_suffix("@ref")?.parse().ok()?)))
        .collect();
    desk.mail(*agent, &claim.mail.from, &claim.mail.text)
        .id(&format!("{}@ref", claim.mail.reference.0))
        .with(|arrival| arrival.recipients[0].own_references = own)
}

fn canned() -> Script {
    Script::answers("I am out of the office.")
}

/// Never says the same twice.
fn chatty() -> Script {
    Script::on_email(|cx, mail| {
        cx.state.n += 1;
        let n = cx.state.n as usize;
        let word = |i: usize| {
            ["alpha", "bravo", "tango", "sierra", "kilo"][(n / 5usize.pow(i as u32) + i * n) % 5]
        };
        cx.reply(Draft::text(format!("{} {} {} to: {}", word(0), word(1), word(2), mail.subject)));
        Ok(())
    })
}

#[tokio::test]
async fn two_agents_that_answer_at_once_stop_by_themselves() {
    let pair = Pair::new(chatty).await;
    let (a, b) = pair.run(5, true).await;
    assert!(a <= 3 && b <= 3, "{a} and {b}");
    let waiting = pair.b.0.store.pending_reviews(None, 10).await.unwrap();
    let also = pair.a.0.store.pending_reviews(None, 10).await.unwrap();
    let whys: Vec<_> = waiting.iter().chain(&also).map(|review| review.why.as_str()).collect();
    assert!(whys.iter().any(|why| why.contains("since a person wrote")), "{whys:?}");
}

#[tokio::test]
async fn two_agents_that_repeat_themselves_stop_however_slowly_they_do() {
    let pair = Pair::new(canned).await;
    let (a, b) = pair.run(3_600, true).await;
    // The first of each is new to the other; what follows are copies.
    assert!(a <= 4 && b <= 4, "{a} and {b}");
}

#[tokio::test]
async fn two_agents_that_lose_the_thread_stop_at_the_correspondents_budget() {
    let pair = Pair::new(chatty).await;
    let (a, b) = pair.run(120, false).await;
    assert_eq!(a.max(b), 10);
    let (desk, _) = if a <= b { &pair.b } else { &pair.a };
    let held = desk.store.pending_reviews(None, 10).await.unwrap();
    assert!(held.iter().any(|r| r.why.contains("to this correspondent today")), "{held:?}");
}

#[tokio::test]
async fn an_agents_day_has_an_end_and_a_next_morning() {
    let mut desk = Desk::new();
    let support = desk.agent("support", canned()).await;
    desk.rules.limits.auto_per_agent = 5;
    desk.store.set_rules(desk.rules.clone());
    desk.start().await;
    for n in 0..8 {
        desk.deliver(desk.mail(support, &format!("p{n}@a.test"), "hi")).await;
    }
    desk.quiet().await;
    assert_eq!(desk.send_all().await.len(), 5);
    let held = desk.store.pending_reviews(None, 10).await.unwrap();
    assert_eq!(held.len(), 3);
    assert!(held[0].why.contains("by this agent today"), "{}", held[0].why);
    assert_eq!(
        desk.count("SELECT n FROM tallies WHERE scope = 'auto_agent'"),
        5,
        "what is held does not count"
    );
    // A person may still send them.
    desk.store.approve(held[0].id, "eve".into(), None).await.unwrap();
    assert_eq!(desk.send_all().await.len(), 1);
    assert_eq!(
        desk.count("SELECT n FROM tallies WHERE scope = 'auto_agent'"),
        5,
        "nor what a person sends"
    );
    desk.advance(86_400);
    desk.deliver(desk.mail(support, "late@a.test", "hi")).await;
    desk.quiet().await;
    assert_eq!(desk.send_all().await.len(), 1);
}

/// Three quick exchanges use up the conversation; then one more mail, and whether it is answered.
async fn is_answered_after(seconds: i64, text: &str, automatic: bool) -> bool {
    let mut desk = Desk::new();
    let support = desk.agent("support", canned()).await;
    desk.start().await;
    let (_, _, _) = desk.deliver(desk.mail(support, "ann@a.test", "the first question")).await;
    desk.quiet().await;
    let reference = desk.send_all().await[0].mail.reference;
    for text in ["quick second", "quick third"] {
        desk.deliver(desk.reply(support, "ann@a.test", text, reference)).await;
        desk.quiet().await;
        assert_eq!(desk.send_all().await.len(), 1);
    }
    desk.advance(seconds);
    let arrival = desk
        .reply(support, "ann@a.test", text, reference)
        .with(|arrival| arrival.automatic = automatic.then(|| "a mark".into()));
    desk.deliver(arrival).await;
    desk.quiet().await;
    !desk.send_all().await.is_empty()
}

#[tokio::test]
async fn only_new_words_of_a_person_lift_the_breaker() {
    assert!(is_answered_after(61, "Really? That is not what I meant.", false).await);
    assert!(!is_answered_after(60, "Really? That is not what I meant.", false).await, "too quick");
    assert!(!is_answered_after(61, "The FIRST question 42!", false).await, "a near copy");
    assert!(!is_answered_after(61, "", false).await, "no words");
    assert!(!is_answered_after(61, "1234 -- 5678", false).await, "no words either");
    assert!(!is_answered_after(61, "Really? That is not what I meant.", true).await, "a robot");
}

#[tokio::test]
async fn automatic_mail_null_senders_and_our_own_addresses_are_never_answered() {
    let mut desk = Desk::new();
    let support = desk.agent("support", canned()).await;
    desk.start().await;
    let robot =
        desk.mail(support, "robot@a.test", "away").with(|a| a.automatic = Some("list".into()));
    let null = desk.mail(support, "daemon@a.test", "bounced").with(|a| a.reverse_path.clear());
    let mirror = desk
        .mail(support, "ann@a.test", "hi")
        .with(|a| a.reply_to = Some("sales@example.com".into()));
    for arrival in [robot, null, mirror] {
        let (_, conversation, _) = desk.deliver(arrival).await;
        desk.quiet().await;
        let entry = desk.timeline(conversation).await.pop().unwrap();
        assert_eq!(entry.status, "set_aside", "{}", entry.status_why);
        assert!(entry.status_why.starts_with("not sent: "), "{}", entry.status_why);
    }
    assert!(desk.send_all().await.is_empty());
    assert!(desk.store.pending_reviews(None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_answer_goes_to_the_proven_sender_and_anyone_else_holds_it() {
    let mut desk = Desk::new();
    let script = Script::on_email(|cx, mail| {
        let mut draft = Draft::text("Hello.");
        draft.cc.extend(mail.text.strip_prefix("cc ").map(str::to_owned));
        cx.reply(draft);
        if let Some(to) = mail.text.strip_prefix("send ") {
            cx.send([to], "A word.");
        }
        Ok(())
    });
    let support = desk.agent("support", script).await;
    desk.start().await;
    let elsewhere =
        desk.mail(support, "ann@a.test", "hi").with(|a| a.reply_to = Some("x@c.test".into()));
    desk.deliver(elsewhere).await;
    desk.deliver(desk.mail(support, "ann@a.test", "cc boss@a.test")).await;
    // Bob's instance runs beside Ann's, and reviews are listed in the order they came.
    desk.quiet().await;
    desk.deliver(desk.mail(support, "bob@b.test", "send x@c.test")).await;
    desk.quiet().await;
    let to: Vec<_> = desk.send_all().await.into_iter().map(|c| c.recipient).collect();
    assert_eq!(to, ["bob@b.test"]);
    let whys: Vec<_> =
        desk.store.pending_reviews(None, 10).await.unwrap().into_iter().map(|r| r.why).collect();
    assert_eq!(whys.len(), 3, "{whys:?}");
    assert!(whys[0].contains("x@c.test, who is neither"), "{whys:?}");
    assert!(whys[1].contains("boss@a.test, who is neither"), "{whys:?}");
    assert!(whys[2].contains("x@c.test is not a member"), "{whys:?}");
}
