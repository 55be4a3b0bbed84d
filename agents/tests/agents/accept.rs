//! Who reaches which conversation, and which memory.

use crate::desk::{Change, Desk, Script};
use frontdesk_agents::{
    Reference, StoreError, Verdict,
    admission::InstancePolicy,
    mail::{AddressRoute, ArrivalAttachment, ArrivalRecipient},
    store::{Accepted, MessageStatus},
};
use std::sync::{Arc, Mutex};

#[tokio::test]
async fn a_verified_stranger_becomes_a_contact_with_an_instance_of_their_own() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::remembers()).await;
    let (_, first, status) = desk.deliver(desk.mail(support, "ann@a.test", "one")).await;
    assert_eq!(status, MessageStatus::Admitted);
    let (_, second, _) = desk.deliver(desk.mail(support, "ann@a.test", "two")).await;
    let (_, other, _) = desk.deliver(desk.mail(support, "bob@b.test", "three")).await;
    assert_ne!(first, second, "mail without a reference opens a conversation");
    let (anns, key) = desk.instance_of(first).await;
    assert!(key.starts_with("contact:"), "{key}");
    assert_eq!(desk.instance_of(second).await.0, anns, "one memory per correspondent");
    assert_ne!(desk.instance_of(other).await.0, anns);
    assert_eq!(desk.count("SELECT count(*) FROM handles WHERE proof = 'dmarc'"), 2);
}

#[tokio::test]
async fn each_policy_picks_its_instance() {
    let mut desk = Desk::new();
    let policies = [
        ("one", InstancePolicy::Shared, AddressRoute::Plain, "shared"),
        ("two", InstancePolicy::Contact, AddressRoute::Tag("vip".into()), "contact:"),
        ("three", InstancePolicy::Conversation, AddressRoute::Plain, "conversation:"),
        ("four", InstancePolicy::Tag, AddressRoute::Tag("vip".into()), "tag:vip"),
        ("five", InstancePolicy::Tag, AddressRoute::Plain, "tag:"),
    ];
    for (name, policy, route, expected) in policies {
        let agent =
            desk.agent_with(name, Script::remembers(), |rules| rules.instance = policy).await;
        let arrival = desk.mail(agent, "ann@a.test", "hello").routed(route);
        let (_, conversation, _) = desk.deliver(arrival).await;
        let (_, key) = desk.instance_of(conversation).await;
        assert!(key.starts_with(expected), "{name}: {key}");
    }
}

#[tokio::test]
async fn an_unproven_stranger_is_kept_apart_and_waits_for_review() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::remembers()).await;
    let arrival = desk.mail(support, "ann@a.test", "trust me").verdict(Verdict::Unverified);
    let (message, conversation, status) = desk.deliver(arrival).await;
    assert_eq!(status, MessageStatus::Unproven);
    let (_, key) = desk.instance_of(conversation).await;
    assert!(key.starts_with("unproven:"), "{key}");
    let reviews = desk.store.pending_reviews(None, 10).await.unwrap();
    assert_eq!((reviews.len(), reviews[0].message), (1, message));
    assert!(reviews[0].why.contains("ann@a.test"), "{}", reviews[0].why);
    assert_eq!(desk.count("SELECT count(*) FROM contacts"), 0, "nobody was proven");
}

#[tokio::test]
async fn caps_on_newcomers_refuse_and_store_nothing() {
    for per_network in [true, false] {
        let mut desk = Desk::new();
        let support = desk.agent("support", Script::remembers()).await;
        let limits = &mut desk.rules.limits;
        *(if per_network {
            &mut limits.unproven_per_network
        } else {
            &mut limits.unproven_per_agent
        }) = 2;
        desk.store.set_rules(desk.rules.clone());
        let unproven = |n: u32| {
            desk.mail(support, &format!("x{n}@a.test"), "hello").verdict(Verdict::Unverified)
        };
        desk.deliver(unproven(1)).await;
        desk.deliver(unproven(2)).await;
        // Two recipients, of whom the first would be fine: nothing of it is stored.
        let both = unproven(3).with(|arrival| {
            let verified = arrival.recipients[0].clone();
            arrival.recipients.insert(0, verified);
        });
        let refused = desk.store.accept(both).await;
        assert!(matches!(refused, Err(StoreError::TooMany(_))), "{refused:?}");
        assert_eq!(desk.count("SELECT count(*) FROM messages"), 2);
        assert_eq!(desk.count("SELECT count(*) FROM instances"), 2);
        assert_eq!(desk.count("SELECT count(*) FROM events"), 2);
        // Verified mail and mail to people are not newcomers without a name.
        desk.deliver(desk.mail(support, "ann@a.test", "hi")).await;
        desk.deliver(desk.mail(support, "eve@a.test", "hi").routed(AddressRoute::Role)).await;
        // A new day, a new count.
        desk.advance(86_400);
        desk.deliver(unproven(4)).await;
    }
}

#[tokio::test]
async fn a_reply_token_continues_for_a_member_and_only_attaches_for_anyone_else() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::answers("Thank you.")).await;
    desk.start().await;
    let (conversation, reference) = desk.exchange(support, "ann@a.test").await;
    let before = desk.memory_of(conversation).await.n;

    let (_, same, status) = desk.deliver(desk.reply(support, "ann@a.test", "yes", reference)).await;
    assert_eq!((same, status), (conversation, MessageStatus::Admitted));
    desk.quiet().await;
    assert_eq!(desk.memory_of(conversation).await.n, before + 1);

    // Another sender, and the right one unverified: attached, marked, held, not handled.
    let other = desk.reply(support, "bob@b.test", "me too", reference);
    let spoofed =
        desk.reply(support, "ann@a.test", "it is me", reference).verdict(Verdict::Unverified);
    for (arrival, says) in [(other, "not a member"), (spoofed, "not proven")] {
        let (message, same, status) = desk.deliver(arrival).await;
        assert_eq!((same, status), (conversation, MessageStatus::Held));
        let entry = desk.timeline(conversation).await.pop().unwrap();
        assert_eq!(entry.id, message);
        assert!(entry.status_why.contains(says), "{}", entry.status_why);
    }
    desk.quiet().await;
    assert_eq!(desk.memory_of(conversation).await.n, before + 1, "the agent heard of neither");
    assert_eq!(desk.store.pending_reviews(Some(conversation), 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_expired_token_opens_a_linked_conversation() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::answers("Thank you.")).await;
    desk.start().await;
    let (old, reference) = desk.exchange(support, "ann@a.test").await;
    let late = desk
        .mail(support, "ann@a.test", "after a year")
        .routed(AddressRoute::ExpiredReply(reference));
    let (_, new, status) = desk.deliver(late).await;
    assert_ne!(new, old);
    assert_eq!(status, MessageStatus::Admitted);
    assert_eq!(desk.store.conversation(new).await.unwrap().0.linked_to, Some(old));
}

#[tokio::test]
async fn a_reference_of_another_agent_leads_nowhere() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::answers("Thank you.")).await;
    let sales = desk.agent("sales", Script::remembers()).await;
    desk.start().await;
    let (theirs, reference) = desk.exchange(support, "ann@a.test").await;
    let (_, ours, _) = desk.deliver(desk.reply(sales, "ann@a.test", "hello", reference)).await;
    assert_ne!(ours, theirs);
    let by_header = desk
        .mail(sales, "ann@a.test", "hello again")
        .with(|arrival| arrival.recipients[0].own_references = vec![reference]);
    assert_ne!(desk.deliver(by_header).await.1, theirs);
    let invented = desk.reply(support, "ann@a.test", "a guess", Reference(4711));
    assert_ne!(desk.deliver(invented).await.1, theirs);
}

#[tokio::test]
async fn references_lead_back_for_a_member_only_and_a_subject_for_nobody() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::answers("Thank you.")).await;
    desk.start().await;
    let first = desk.mail(support, "ann@a.test", "a question").id("first@a.test");
    let (_, conversation, _) = desk.deliver(first).await;
    desk.quiet().await;
    let reference = desk.send_all().await[0].mail.reference;

    let ours = |from: &str, text: &str| {
        desk.mail(support, from, text)
            .with(|arrival| arrival.recipients[0].own_references = vec![Reference(1), reference])
    };
    let theirs = |from: &str, text: &str| {
        desk.mail(support, from, text)
            .with(|arrival| arrival.references = vec!["no@where".into(), "first@a.test".into()])
    };
    assert_eq!(desk.deliver(ours("ann@a.test", "by our id")).await.1, conversation);
    assert_eq!(desk.deliver(theirs("ann@a.test", "by her id")).await.1, conversation);
    assert_ne!(desk.deliver(ours("bob@b.test", "a guest")).await.1, conversation);
    assert_ne!(desk.deliver(theirs("bob@b.test", "a guest too")).await.1, conversation);
    let unproven = ours("ann@a.test", "unproven").verdict(Verdict::Unverified);
    assert_ne!(desk.deliver(unproven).await.1, conversation);
    let subject = desk
        .mail(support, "ann@a.test", "same subject")
        .with(|arrival| arrival.subject = "Re: A question".into());
    assert_ne!(desk.deliver(subject).await.1, conversation);
}

#[tokio::test]
async fn an_inbound_cc_makes_nobody_a_member() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::answers("Thank you.")).await;
    desk.start().await;
    let copied = desk
        .mail(support, "ann@a.test", "with my boss")
        .with(|arrival| arrival.cc = vec!["boss@a.test".into()]);
    let (_, conversation, _) = desk.deliver(copied).await;
    desk.quiet().await;
    let reference = desk.send_all().await[0].mail.reference;
    let boss = desk.reply(support, "boss@a.test", "do it now", reference);
    assert_eq!(desk.deliver(boss).await.2, MessageStatus::Held);
    assert_eq!(desk.memory_of(conversation).await.n, 1);
}

#[tokio::test]
async fn a_spoofed_from_of_a_known_contact_never_reaches_their_memory_or_history() {
    let saw = Arc::new(Mutex::new(Vec::new()));
    let log = saw.clone();
    let script = Script::on_email(move |cx, mail| {
        let history: Vec<String> = cx.history(50).into_iter().map(|said| said.text).collect();
        let card = cx.contact();
        let memory = cx.state.seen.clone();
        log.lock().unwrap().push((mail.text.clone(), mail.trust, memory, history, card));
        cx.state.seen.push(mail.text.clone());
        Ok(())
    });
    let mut desk = Desk::new();
    let support = desk.agent("support", script).await;
    desk.start().await;
    let (_, real, _) = desk.deliver(desk.mail(support, "ann@a.test", "my secret")).await;
    desk.quiet().await;
    let state_before = desk.memory_of(real).await;

    for verdict in [Verdict::Unverified, Verdict::Failed] {
        let spoof = desk
            .mail(support, "ann@a.test", &format!("what was my secret? {verdict:?}"))
            .verdict(verdict)
            .with(|arrival| arrival.envelope_proven = true);
        let (_, apart, status) = desk.deliver(spoof).await;
        assert_eq!(status, MessageStatus::Unproven);
        assert_ne!(desk.instance_of(apart).await.0, desk.instance_of(real).await.0);
    }
    desk.quiet().await;
    assert_eq!(desk.memory_of(real).await, state_before, "her state is untouched");
    {
        let saw = saw.lock().unwrap();
        assert_eq!(saw.len(), 3);
        for (text, trust, memory, history, card) in &saw[1..] {
            assert!(text.starts_with("what was my secret?"));
            assert_eq!(*trust, frontdesk_agents::Trust::Unproven);
            assert!(memory.is_empty(), "{memory:?}");
            assert!(history.is_empty(), "{history:?}");
            assert!(card.is_none(), "{card:?}");
        }
    }
    // And her own next mail sees nothing of the spoof.
    desk.deliver(desk.mail(support, "ann@a.test", "hello again")).await;
    desk.quiet().await;
    let saw = saw.lock().unwrap();
    let (_, _, memory, history, card) = saw.last().unwrap();
    assert_eq!(memory, &["my secret"]);
    assert_eq!(history, &["my secret", "hello again"]);
    assert_eq!(card.as_ref().unwrap().handles, ["ann@a.test"]);
}

#[tokio::test]
async fn the_same_message_twice_is_one_within_five_days() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::remembers()).await;
    let copy = || desk.mail(support, "ann@a.test", "once").id("one@a.test");
    let (message, ..) = desk.deliver(copy()).await;
    assert_eq!(desk.accept(copy()).await, Accepted::Duplicate { of: message });
    // Another body, or no Message-ID, is another message.
    desk.deliver(desk.mail(support, "ann@a.test", "twice").id("one@a.test")).await;
    desk.deliver(desk.mail(support, "ann@a.test", "once")).await;
    desk.deliver(desk.mail(support, "ann@a.test", "once")).await;
    desk.advance(5 * 86_400 + 1);
    desk.deliver(copy()).await;
    assert_eq!(desk.count("SELECT count(*) FROM messages"), 5);
}

#[tokio::test]
async fn a_verified_copy_takes_the_place_of_the_unproven_one_and_comes_home() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::answers("Thank you.")).await;
    desk.start().await;
    let (_, earlier, _) = desk.deliver(desk.mail(support, "ann@a.test", "hi")).await;
    let copy = || desk.mail(support, "ann@a.test", "once").id("one@a.test");
    let first = copy().verdict(Verdict::Unverified).with(|arrival| {
        arrival.reply_to = Some("mallory@evil.test".into());
        arrival.subject = "Not hers".into();
    });
    let (message, conversation, status) = desk.deliver(first).await;
    assert_eq!(status, MessageStatus::Unproven);
    desk.quiet().await;
    assert_eq!(desk.accept(copy()).await, Accepted::Duplicate { of: message });
    desk.quiet().await;
    let entry = desk.timeline(conversation).await.remove(0);
    assert_eq!(entry.status, "admitted");
    let mail = entry.mail.unwrap();
    assert_eq!((mail.verdict.as_str(), mail.subject.as_str()), ("verified", "A question"));
    assert_eq!(desk.instance_of(conversation).await, desk.instance_of(earlier).await);
    assert_eq!(desk.memory_of(earlier).await.n, 2);
    assert!(desk.store.pending_reviews(None, 10).await.unwrap().is_empty());
    let to: Vec<_> = desk.send_all().await.into_iter().map(|c| c.recipient).collect();
    assert_eq!(to, ["ann@a.test", "ann@a.test"]);
}

#[tokio::test]
async fn an_unverified_reply_of_a_member_is_admitted_when_its_verified_copy_arrives() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::answers("Thank you.")).await;
    desk.start().await;
    let (conversation, reference) = desk.exchange(support, "ann@a.test").await;
    let copy = || desk.reply(support, "ann@a.test", "yes", reference).id("two@a.test");
    let (message, _, status) = desk.deliver(copy().verdict(Verdict::Failed)).await;
    assert_eq!(status, MessageStatus::Held);
    assert_eq!(desk.accept(copy()).await, Accepted::Duplicate { of: message });
    desk.quiet().await;
    assert_eq!(desk.memory_of(conversation).await.n, 2);
    // Someone else's verified copy of the same body is not hers, and not swallowed.
    let theirs = desk.reply(support, "bob@b.test", "yes", reference).id("two@a.test");
    assert_eq!(desk.deliver(theirs).await.2, MessageStatus::Held);
}

#[tokio::test]
async fn a_forged_copy_sent_ahead_cannot_swallow_the_real_message() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::remembers()).await;
    desk.start().await;
    let copy = |from: &str| desk.mail(support, from, "the body").id("one@a.test");
    // Under another From, and under hers but put away by a person before hers came.
    desk.deliver(copy("mallory@evil.test")).await;
    let (_, conversation, status) = desk.deliver(copy("ann@a.test")).await;
    assert_eq!(status, MessageStatus::Admitted);
    desk.quiet().await;
    assert_eq!(desk.memory_of(conversation).await.seen, ["the body"]);

    let copy = || desk.mail(support, "ann@a.test", "more").id("two@a.test");
    desk.deliver(copy().verdict(Verdict::Unverified)).await;
    let review = desk.store.pending_reviews(None, 10).await.unwrap().pop().unwrap();
    desk.store.reject(review.id, "eve".into(), "spam".into()).await.unwrap();
    assert_eq!(desk.deliver(copy()).await.2, MessageStatus::Admitted);
}

#[tokio::test]
async fn several_recipients_share_one_transaction_and_one_copy_of_the_bytes() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::remembers()).await;
    let sales = desk.agent("sales", Script::remembers()).await;
    let arrival = desk.mail(support, "ann@a.test", "to both").id("one@a.test").with(|arrival| {
        let first = arrival.recipients[0].clone();
        let second = ArrivalRecipient {
            address: "sales@example.com".into(),
            answer_from: "sales@example.com".into(),
            agent: sales,
            ..first.clone()
        };
        arrival.recipients = vec![first.clone(), second, first];
        arrival.attachments = vec![ArrivalAttachment {
            part: 2,
            name: "a.pdf".into(),
            media_type: "application/pdf".into(),
            size: 9,
            inline: false,
        }];
    });
    let accepted = desk.store.accept(arrival).await.unwrap();
    let [Accepted::Stored { message, conversation, .. }, Accepted::Stored { .. }, third] =
        accepted.as_slice()
    else {
        panic!("{accepted:?}");
    };
    assert_eq!(*third, Accepted::Duplicate { of: *message }, "the same recipient twice is one");
    assert_eq!(desk.count("SELECT count(*) FROM blobs"), 1);
    assert_eq!(desk.count("SELECT count(*) FROM contacts"), 1);
    assert_eq!(desk.timeline(*conversation).await[0].attachments[0].name, "a.pdf");
    let raw = desk.store.raw_mail(*message).await.unwrap();
    let bytes = desk.store.blob(raw.blob.unwrap()).unwrap().unwrap();
    assert!(bytes.ends_with(b"to both\r\n"));
    assert!(!raw.prelude.is_empty());

    // An unknown agent among the recipients refuses the whole.
    let broken = desk.mail(support, "ann@a.test", "x").with(|arrival| {
        let mut second = arrival.recipients[0].clone();
        second.agent = frontdesk_agents::AgentId(99);
        arrival.recipients.push(second);
    });
    assert!(matches!(desk.store.accept(broken).await, Err(StoreError::NotFound(_))));
    assert_eq!(desk.count("SELECT count(*) FROM messages"), 2);
}

#[tokio::test]
async fn mail_to_a_role_is_held_for_people() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::remembers()).await;
    desk.start().await;
    let arrival = desk.mail(support, "ann@a.test", "abuse!").routed(AddressRoute::Role);
    let (_, conversation, status) = desk.deliver(arrival).await;
    assert_eq!(status, MessageStatus::Held);
    desk.quiet().await;
    assert_eq!(desk.memory_of(conversation).await.n, 0);
    assert_eq!(desk.store.pending_reviews(None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn mail_to_a_bounce_address_becomes_a_note_that_no_agent_hears_of() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::answers("Thank you.")).await;
    desk.start().await;
    let (conversation, reference) = desk.exchange(support, "ann@a.test").await;
    for verdict in [Verdict::Verified, Verdict::Unverified] {
        let report = desk
            .mail(support, "mailer-daemon@a.test", &format!("could not deliver {verdict:?}"))
            .verdict(verdict)
            .routed(AddressRoute::Bounce(reference));
        let (_, same, status) = desk.deliver(report).await;
        assert_eq!((same, status), (conversation, MessageStatus::SetAside));
    }
    desk.quiet().await;
    assert_eq!(desk.memory_of(conversation).await.n, 1);
    assert_eq!(desk.timeline(conversation).await.pop().unwrap().role, "note");
    assert!(desk.store.pending_reviews(None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn quarantined_mail_is_held_wherever_it_goes() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::answers("Thank you.")).await;
    desk.start().await;
    let (conversation, reference) = desk.exchange(support, "ann@a.test").await;
    let why = |arrival: &mut frontdesk_agents::mail::Arrival| {
        arrival.quarantine = Some("the sender's policy is quarantine".into());
    };
    let new = desk.mail(support, "bob@b.test", "new").verdict(Verdict::Failed).with(why);
    let (_, apart, status) = desk.deliver(new).await;
    assert_eq!(status, MessageStatus::Held);
    let member = desk.reply(support, "ann@a.test", "yes", reference).with(why);
    assert_eq!(desk.deliver(member).await.2, MessageStatus::Held);
    desk.quiet().await;
    assert_eq!(desk.memory_of(apart).await.n, 0);
    assert_eq!(desk.memory_of(conversation).await.n, 1);
}

#[tokio::test]
async fn a_verified_answer_from_whom_we_wrote_to_brings_an_unproven_conversation_home() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::answers("Thank you.")).await;
    desk.start().await;
    // SPF proved the envelope: enough to be answered, not to be believed.
    let first = desk
        .mail(support, "ann@a.test", "hello")
        .verdict(Verdict::Unverified)
        .with(|arrival| arrival.envelope_proven = true);
    let (_, conversation, _) = desk.deliver(first).await;
    desk.quiet().await;
    let reference = desk.send_all().await[0].mail.reference;
    assert!(desk.instance_of(conversation).await.1.starts_with("unproven:"));
    let (_, same, status) =
        desk.deliver(desk.reply(support, "ann@a.test", "it is me", reference)).await;
    assert_eq!((same, status), (conversation, MessageStatus::Admitted));
    desk.quiet().await;
    assert!(desk.instance_of(conversation).await.1.starts_with("contact:"));
    assert_eq!(desk.memory_of(conversation).await.n, 1, "with a memory that begins here");
    assert_eq!(desk.timeline(conversation).await[0].status, "unproven");
}
