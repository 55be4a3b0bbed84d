//! What the built-in tools do.

use crate::{
    desk::Change,
    puppet::{Answer, Office, Puppet, result_of, reviewed, says, told, unreviewed},
};
use frontdesk_agents::{
    agent::HandlerError,
    builtin::{Assistant, AssistantOptions},
    gate::{Rule, SendRules},
    mail::ArrivalAttachment,
    store::AgentRules,
    tool::{Attachments, Tools, builtin},
    turn::{CallEnd, ForeignKind},
};
use serde_json::{Value, json};
use std::sync::Arc;

struct Files;

impl Attachments for Files {
    fn read(&self, _: &[u8], part: u32) -> Result<Vec<u8>, HandlerError> {
        Ok(format!("the content of part {part}").into_bytes())
    }
}

/// An office whose assistant has every tool and makes these calls, one after the other.
async fn office(
    calls: Vec<(&'static str, Value)>,
    send: SendRules,
    rules: impl FnOnce(&mut AgentRules),
) -> Office {
    let model = Puppet::new(move |_, round| match calls.get(round) {
        Some((name, arguments)) => Answer::Calls(vec![(name, arguments.clone())]),
        None => says("My last words."),
    });
    let tools = builtin::all().iter().map(|tool| tool.spec().name.clone()).collect();
    let options = AssistantOptions { tools, send, ..AssistantOptions::default() };
    let assistant =
        Assistant::new(options, model.clone(), Tools::new()).unwrap().with_files(Arc::new(Files));
    let mut desk = crate::desk::Desk::new();
    let support = desk.agent_with("support", assistant, rules).await;
    let mut office = Office { desk, support, model };
    office.start().await;
    office
}

/// A mail with a text file and a picture.
async fn with_files(office: &Office) -> frontdesk_agents::ConversationId {
    let mail = office.desk.mail(office.support, "ann@a.test", "Here.").with(|arrival| {
        let file = |part, name: &str, media_type: &str| ArrivalAttachment {
            part,
            name: name.into(),
            media_type: media_type.into(),
            size: 21,
            inline: false,
        };
        arrival.attachments = vec![file(1, "a.txt", "text/plain"), file(2, "b.png", "image/png")];
    });
    let (_, conversation, _) = office.desk.deliver(mail).await;
    office.desk.quiet().await;
    office.rest(conversation).await;
    conversation
}

#[tokio::test]
async fn a_reply_by_tool_is_the_only_one_and_strangers_in_copy_hold_it() {
    let calls = vec![("reply", json!({ "text": "At once.", "cc": ["boss@b.test"] }))];
    let mut office = office(calls, SendRules::default(), unreviewed).await;
    let (_, conversation) = office.mail("ann@a.test", "Hello").await;
    let turn = office.rest(conversation).await;
    assert_eq!(turn.outcome, "silent", "what was said by the tool is not said again");
    let result = result_of(&office.log(&turn).await, "0.0");
    assert!(
        result.contains("waits for a person's approval: the answer would go to boss@b.test"),
        "{result}"
    );
    let outbox = office.desk.store.outbox(None, 10, None).await.unwrap();
    assert_eq!((outbox.len(), outbox[0].state.as_str()), (1, "held"));
    office.desk.stop().await;
}

#[tokio::test]
async fn mail_outside_of_the_conversation_follows_the_rules_for_it() {
    let send = || SendRules {
        allowed_domains: vec!["supplier.test".into()],
        new_contacts: Rule::Allow,
        ..SendRules::default()
    };
    let mail =
        |to: &str| vec![("send", json!({ "to": [to], "subject": "Order", "text": "Ten lamps." }))];
    for (to, rules, state) in [
        ("orders@supplier.test", send(), "queued"),
        ("Orders@Supplier.TEST", send(), "queued"),
        ("orders@other.test", send(), "held"),
        ("orders@supplier.test", SendRules::default(), "held"),
        ("orders@supplier.test", SendRules { new_contacts: Rule::Hold, ..send() }, "held"),
    ] {
        let mut office = office(mail(to), rules, unreviewed).await;
        let (_, conversation) = office.mail("ann@a.test", "Order ten.").await;
        office.rest(conversation).await;
        let outbox = office.desk.store.outbox(None, 10, None).await.unwrap();
        let order = outbox.iter().find(|mail| mail.subject == "Order").unwrap();
        assert_eq!(order.state, state, "{to}: {}", order.why);
        assert_ne!(
            order.conversation, conversation,
            "what others answer is none of Ann's business"
        );
        office.desk.stop().await;
    }
    // Whatever the rules: what must not be said at all is a result the model hears.
    let mut office = office(mail("no address"), send(), unreviewed).await;
    let (_, conversation) = office.mail("ann@a.test", "Order ten.").await;
    let turn = office.rest(conversation).await;
    assert!(result_of(&office.log(&turn).await, "0.0").contains("is no mail address"));
    office.desk.stop().await;
}

#[tokio::test]
async fn a_forward_shows_whose_words_they_are() {
    let calls = vec![(
        "forward",
        json!({ "message": 1, "to": ["boss@supplier.test"], "text": "Please see." }),
    )];
    let send = SendRules {
        allowed_domains: vec!["supplier.test".into()],
        new_contacts: Rule::Allow,
        ..SendRules::default()
    };
    let mut office = office(calls, send, unreviewed).await;
    let (_, conversation) = office.mail("ann@a.test", "I want to complain.").await;
    office.rest(conversation).await;
    let sent = office.desk.send_all().await;
    let forward = sent.iter().find(|mail| mail.recipient == "boss@supplier.test").unwrap();
    assert_eq!(forward.mail.subject, "Fwd: A question");
    assert_eq!(
        forward.mail.text,
        "Please see.\n\n---------- Forwarded message ----------\nFrom: ann@a.test\n\
         Date: Mon, 02 Mar 2026 09:00 UTC\nSubject: A question\n\nI want to complain.\n"
    );
    office.desk.stop().await;
}

#[tokio::test]
async fn a_draft_waits_even_where_nothing_is_reviewed() {
    let calls = vec![("draft", json!({ "text": "Shall I say this?" }))];
    let mut office = office(calls, SendRules::default(), unreviewed).await;
    let (_, conversation) = office.mail("ann@a.test", "Hello").await;
    office.rest(conversation).await;
    let pending = office.desk.store.pending_reviews(Some(conversation), 5).await.unwrap();
    assert_eq!((pending.len(), pending[0].kind.as_str()), (1, "draft"));
    assert_eq!(
        (pending[0].text.as_str(), pending[0].why.as_str()),
        ("Shall I say this?", "the agent wrote this as a draft")
    );
    office.desk.stop().await;
}

#[tokio::test]
async fn a_conversation_handed_over_is_before_a_person_and_not_answered() {
    let calls = vec![
        ("label", json!({ "label": "Complaint" })),
        ("hand_to_person", json!({ "why": "she is angry" })),
    ];
    let mut office = office(calls, SendRules::default(), unreviewed).await;
    let (_, conversation) = office.mail("ann@a.test", "I am angry!").await;
    let turn = office.rest(conversation).await;
    assert_eq!((turn.outcome.as_str(), turn.error.as_str()), ("handed_over", "she is angry"));
    let summary = office.desk.store.conversation(conversation).await.unwrap().0;
    assert_eq!(summary.queue, "needs_review");
    assert_eq!(summary.review_why, "the agent hands over to a person: she is angry");
    assert_eq!(office.desk.store.labels_of(conversation).await.unwrap(), ["complaint"]);
    assert!(office.desk.store.outbox(None, 5, None).await.unwrap().is_empty());
    office.desk.stop().await;
}

#[tokio::test]
async fn files_are_read_as_text_or_named_and_leave_with_the_answer() {
    let calls = vec![
        ("read_attachment", json!({ "message": 1, "part": 1 })),
        ("read_attachment", json!({ "message": 1, "part": 2 })),
        ("read_attachment", json!({ "message": 1, "part": 3 })),
        ("attach", json!({ "message": 1, "part": 2 })),
    ];
    let mut office = office(calls, SendRules::default(), reviewed).await;
    let conversation = with_files(&office).await;
    let turn = office.rest(conversation).await;
    use CallEnd::{Done, Failed};
    assert_eq!(office.ends(&turn).await, [Done, Done, Failed, Done]);
    let log = office.log(&turn).await;
    assert!(result_of(&log, "0.0").contains("nobody vouches for it]\n| the content of part 1"));
    assert!(
        result_of(&log, "1.0")
            .contains("\"image/png\" of 21 octets, which cannot be read here: it is neither")
    );
    assert!(result_of(&log, "2.0").contains("has no part 3"));
    // A person sees what was read when they look at the answer.
    let pending = office.desk.store.pending_reviews(Some(conversation), 5).await.unwrap();
    assert_eq!(pending[0].foreign.len(), 1);
    assert_eq!(pending[0].foreign[0].kind, ForeignKind::Attachment);
    assert_eq!(pending[0].foreign[0].excerpt, "the content of part 1");
    office.desk.store.approve(pending[0].id, "eve".into(), None).await.unwrap();
    let sent = office.desk.send_all().await;
    let files = &sent[0].mail.attachments;
    assert_eq!(
        (files.len(), files[0].name.as_str(), files[0].media_type.as_str()),
        (1, "b.png", "image/png")
    );
    let content = office.desk.store.blob(files[0].content).unwrap().unwrap();
    assert_eq!(content, b"the content of part 2");
    office.desk.stop().await;
}

#[tokio::test]
async fn a_held_call_shows_the_foreign_text_that_may_have_asked_for_it() {
    let calls = vec![
        ("read_attachment", json!({ "message": 1, "part": 1 })),
        ("remember", json!({ "name": "x", "text": "y" })),
    ];
    let mut office = office(calls, SendRules::default(), unreviewed).await;
    let conversation = with_files(&office).await;
    let pending = office.desk.store.pending_reviews(Some(conversation), 5).await.unwrap();
    let review = &pending[0];
    let call = review.call.as_ref().unwrap();
    assert_eq!(
        (call.tool.as_str(), call.arguments.as_str()),
        ("remember", r#"{"name":"x","text":"y"}"#)
    );
    assert!(review.why.contains("text from an attachment"), "{}", review.why);
    assert_eq!(review.foreign[0].excerpt, "the content of part 1");
    office.desk.store.approve(review.id, "eve".into(), None).await.unwrap();
    let turn = office.rest(conversation).await;
    assert_eq!(office.ends(&turn).await, [CallEnd::Done, CallEnd::Done]);
    let (instance, _) = office.desk.instance_of(conversation).await;
    assert_eq!(office.desk.store.facts(instance).await.unwrap().len(), 1);
    // The answer itself goes to a member: it left.
    assert_eq!(office.desk.send_all().await.len(), 1);
    assert!(told(&office.model.asked.lock().unwrap()[0]).contains("part 1 · file \"a.txt\""));
    office.desk.stop().await;
}

#[tokio::test]
async fn a_turn_whose_answer_was_spoken_over_ends_with_what_was_heard() {
    let model = Puppet::new(|_, _| Answer::Nothing);
    let mut office =
        Office::with(model, Tools::new(), AssistantOptions::default(), unreviewed).await;
    office.start().await;
    let (_, conversation) = office.mail("ann@a.test", "Tell me everything.").await;
    crate::desk::soon("it is asked", async || office.model.times_asked() == 1).await;
    let turn = office.turns(conversation).await.remove(0);
    office.desk.store.interrupt_turn(turn.id, "Well, ".into()).await.unwrap();
    crate::desk::soon("it ends", async || office.turns(conversation).await[0].ended_at.is_some())
        .await;
    let turn = office.rest(conversation).await;
    assert_eq!((turn.state.as_str(), turn.outcome.as_str()), ("done", "interrupted"));
    assert!(office.desk.store.outbox(None, 5, None).await.unwrap().is_empty());
    office.desk.stop().await;
}
