//! The receptionist by voice, and dictation.

use crate::{
    calls::{caller_says, contact, hang_up, open, visitor},
    desk::{Desk, Script},
};
use frontdesk_agents::{
    Agent, AgentId, Call, Context, HandlerError, Turn,
    builtin::{Dictation, Receptionist, ReceptionistOptions},
    live::{Directive, EndReason, Hearing, Origin, Outcome, Speaker, Transcript, Via, Wanted},
    runtime::Live,
    store::{CallOutcome, OpenCall, Recording, Spoken, Who},
};

async fn front_desk(desk: &mut Desk) -> (AgentId, Live) {
    let options = ReceptionistOptions { name: "Acme".into(), ..ReceptionistOptions::default() };
    let receptionist = Receptionist::new(options);
    let hello = desk
        .agent_with("hello", receptionist, |rules| rules.owner = Some("owner@c.test".into()))
        .await;
    desk.start().await;
    (hello, desk.live())
}

async fn says(live: &Live, call: &Call, number: u32, text: &str, via: Via) -> String {
    let turn = Turn::in_call(call, number, text, via, call.started_at);
    let reply = match via {
        Via::Keypad => live.dtmf(turn).await,
        Via::Speech | Via::Text => live.turn(turn).await,
    };
    reply.unwrap().collect_text().await.unwrap()
}

#[tokio::test]
async fn an_empty_greeting_is_silence_and_another_one_is_said_instead() {
    for (greeting, said) in [("", ""), ("{name} here.", "Acme here.")] {
        let options = ReceptionistOptions {
            greeting: Some(greeting.into()),
            name: "Acme".into(),
            ..Default::default()
        };
        let mut desk = Desk::new();
        let hello = desk.agent_with("hello", Receptionist::new(options), |_| {}).await;
        desk.start().await;
        let call = open(&desk, hello, visitor("v")).await.call;
        assert_eq!(desk.live().start(call.id).await.unwrap().collect_text().await.unwrap(), said);
    }
}

#[tokio::test]
async fn the_receptionist_takes_a_message_and_mails_its_owner_transcript_and_recording() {
    let mut desk = Desk::new();
    let (hello, live) = front_desk(&mut desk).await;
    desk.exchange(hello, "ann@a.test").await;
    let mut calling = OpenCall::new(hello, Who::Contact(contact(&desk, "ann@a.test").await), "n");
    calling.proof = "a link sent by mail".into();
    let call = desk.store.open_call(calling).await.unwrap().call;
    let mut directives = desk.store.directives();

    let greeting = live.start(call.id).await.unwrap().collect_text().await.unwrap();
    assert_eq!(
        greeting,
        "Hello, this is Acme. Please leave your message now, and hang up when you are done."
    );
    let said =
        Spoken::agent(Origin::Greeting, None, 100, greeting).cut(82, 19, Outcome::Interrupted);
    desk.store.commit_spoken(call.id, said).await.unwrap();
    let message = "This is Ann about order forty-two. It has not arrived.";
    assert_eq!(says(&live, &call, 1, message, Via::Speech).await, "", "it does not talk into it");
    caller_says(&desk, call.id, 1, message).await;
    let there = says(&live, &call, 2, "Hello? Are you there?", Via::Speech).await;
    assert!(there.starts_with("Yes, I am listening."), "{there}");
    assert_eq!(says(&live, &call, 3, "Thanks, bye!", Via::Speech).await, "");
    let farewell = Some("Thank you. Your message will be passed on. Goodbye.".to_owned());
    let wanted = Wanted::HangUp { farewell };
    let told: Directive = (*directives.recv().await.unwrap()).clone();
    assert!(told.call == Some(call.id) && told.what == wanted);

    let sound = b"RIFF and the sound of it".to_vec();
    let recording =
        Recording { content: desk.store.stage(&sound).unwrap(), media_type: "audio/wav".into() };
    let outcome = CallOutcome {
        reason: EndReason::AgentEnded,
        duration_ms: 21_000,
        recording: Some(recording),
    };
    assert!(desk.store.end_call(call.id, outcome).await.unwrap());
    desk.quiet().await;

    let mut sent = desk.send_all().await;
    sent.sort_by(|a, b| a.recipient.cmp(&b.recipient));
    let [to_caller, to_owner] = sent.as_slice() else { panic!("{} mails left", sent.len()) };
    assert_eq!(to_owner.recipient, "owner@c.test");
    let mail = &to_owner.mail;
    assert_eq!(mail.subject, "Call from Ann Example (ann@a.test)");
    for line in [
        "Who it is: proven, by a link sent by mail\n",
        "Length:    00:21; the agent ended the call\n",
        "Recording: attached\n",
        "00:00  Acme: Hello, this is Acme [cut off]\n",
        &format!("00:01  Caller: {message}\n"),
    ] {
        assert!(mail.text.contains(line), "{line:?} in\n{}", mail.text);
    }
    assert_eq!(mail.attachments.len(), 1);
    assert_eq!(mail.attachments[0].name, format!("call-{}.wav", call.id));
    assert_eq!(desk.store.blob(mail.attachments[0].content).unwrap().unwrap(), sound);

    assert_eq!(to_caller.recipient, "ann@a.test");
    assert_eq!(to_caller.mail.conversation, call.conversation);
    assert!(to_caller.mail.text.contains(&format!("FD-{}", call.conversation)));
    assert!(to_caller.mail.attachments.is_empty());
    assert!(!to_caller.mail.text.contains("forty-two"), "what was understood is not read back");
    let (summary, _) = desk.store.conversation(call.conversation).await.unwrap();
    assert_eq!(summary.queue, "needs_review");
}

#[tokio::test]
async fn a_visitors_message_reaches_the_owner_and_nobody_is_written_to_on_their_word() {
    let mut desk = Desk::new();
    let (hello, live) = front_desk(&mut desk).await;
    let mut calling = OpenCall::new(hello, visitor("s"), "n");
    calling.name = Some("Ann Example".into());
    calling.handle = Some("ann@a.test".into());
    let call = desk.store.open_call(calling).await.unwrap().call;
    live.start(call.id).await.unwrap();
    assert_eq!(says(&live, &call, 1, "Please call me back.", Via::Text).await, "Noted.");
    caller_says(&desk, call.id, 1, "Please call me back.").await;
    hang_up(&desk, call.id).await;
    desk.quiet().await;
    let sent = desk.send_all().await;
    assert_eq!(
        sent.iter().map(|claim| claim.recipient.as_str()).collect::<Vec<_>>(),
        ["owner@c.test"]
    );
    let text = &sent[0].mail.text;
    assert!(text.contains("Who it is: not proven: anybody can say so\n"), "{text}");
    assert!(text.contains("Recording: none\n"), "{text}");
}

#[tokio::test]
async fn a_call_without_words_or_recording_is_a_note_and_no_mail() {
    let mut desk = Desk::new();
    let (hello, live) = front_desk(&mut desk).await;
    let call = open(&desk, hello, visitor("s")).await.call;
    live.start(call.id).await.unwrap();
    hang_up(&desk, call.id).await;
    desk.quiet().await;
    assert!(desk.send_all().await.is_empty());
    let (summary, timeline) = desk.store.conversation(call.conversation).await.unwrap();
    assert_eq!(summary.queue, "open");
    assert_eq!(timeline.last().unwrap().text, "The caller left no message.");
}

#[tokio::test]
async fn what_a_basic_transcriber_understood_ends_no_call() {
    let mut desk = Desk::new();
    let (hello, live) = front_desk(&mut desk).await;
    let mut calling = OpenCall::new(hello, visitor("s"), "n");
    calling.hearing = Hearing::Basic;
    let call = desk.store.open_call(calling).await.unwrap().call;
    let mut directives = desk.store.directives();
    assert_eq!(says(&live, &call, 1, "goodbye", Via::Speech).await, "");
    assert_eq!(says(&live, &call, 2, "hello?", Via::Speech).await, "");
    // The key that ends a message is beyond doubt.
    assert_eq!(says(&live, &call, 3, "12#", Via::Keypad).await, "");
    assert!(matches!(directives.recv().await.unwrap().what, Wanted::HangUp { .. }));
    assert!(directives.try_recv().is_err(), "once");
}

#[tokio::test]
async fn the_owners_answer_to_a_notice_is_not_acknowledged() {
    let mut desk = Desk::new();
    let (hello, _) = front_desk(&mut desk).await;
    let call = open(&desk, hello, visitor("s")).await.call;
    caller_says(&desk, call.id, 1, "Please call me back.").await;
    hang_up(&desk, call.id).await;
    desk.quiet().await;
    let sent = desk.send_all().await;
    desk.advance(300);
    let answer = desk.reply(hello, "owner@c.test", "I will.", sent[0].mail.reference);
    let (_, notice, _) = desk.deliver(answer).await;
    desk.quiet().await;
    assert!(desk.send_all().await.is_empty());
    assert_eq!(desk.store.conversation(notice).await.unwrap().0.queue, "needs_review");
}

#[tokio::test]
async fn live_text_to_the_receptionist_is_filed_with_a_reference() {
    let mut desk = Desk::new();
    let (hello, live) = front_desk(&mut desk).await;
    let chat = desk.store.open_chat(OpenCall::new(hello, visitor("s"), "n")).await.unwrap();
    let stored =
        desk.store.commit_text(&chat, Speaker::Caller, "Are you open?".into()).await.unwrap();
    let now = frontdesk_agents::Clock::now(&desk.clock);
    let reply = live.text(Turn::in_chat(&chat, 1, "Are you open?", stored, now)).await.unwrap();
    let expected =
        format!("Thank you. A person will read this. Your reference is FD-{}.", chat.conversation);
    assert_eq!(reply.as_text(), Some(expected.as_str()));
    crate::desk::soon("it is filed", async || {
        desk.store.conversation(chat.conversation).await.unwrap().0.queue == "needs_review"
    })
    .await;
}

/// Writes down what is said, and breaks on a word.
struct Picky;

impl Agent for Picky {
    type State = Vec<String>;

    fn listens_only(&self) -> bool {
        true
    }

    fn on_transcript(
        &self,
        cx: &mut Context<'_, Vec<String>>,
        transcript: &Transcript,
    ) -> Result<(), HandlerError> {
        if transcript.text.contains("harpsichord") {
            return Err("no such instrument".into());
        }
        cx.state.push(transcript.text.clone());
        Ok(())
    }
}

#[tokio::test]
async fn words_are_kept_though_an_agent_that_listens_fails_on_them() {
    let mut desk = Desk::new();
    let picky = desk.agent_with("picky", Picky, |_| ()).await;
    desk.start().await;
    let live = desk.live();
    let opened = open(&desk, picky, visitor("s")).await;
    for text in ["A flute.", "A harpsichord.", "A drum."] {
        let transcript = Transcript { text: text.into(), is_final: true };
        live.transcript(opened.call.id, transcript).await.unwrap();
    }
    let (summary, timeline) = desk.store.conversation(opened.call.conversation).await.unwrap();
    let texts: Vec<_> = timeline.iter().map(|entry| entry.text.as_str()).collect();
    assert_eq!(texts, ["A flute.", "A harpsichord.", "A drum."]);
    assert!(summary.review_why.contains("no such instrument"), "{}", summary.review_why);
    let state = desk.store.instance_state(opened.instance).await.unwrap();
    assert_eq!(state, serde_json::json!(["A flute.", "A drum."]));
}

#[tokio::test]
async fn dictation_stores_every_final_transcript_and_says_nothing() {
    let mut desk = Desk::new();
    let scribe = desk.agent_with("scribe", Dictation, |_| ()).await;
    let plain = desk.agent("plain", Script::default()).await;
    desk.start().await;
    let live = desk.live();
    assert!(live.listens_only(scribe) && !live.listens_only(plain));
    let call = open(&desk, scribe, visitor("s")).await.call;
    assert!(live.start(call.id).await.unwrap().is_silent());
    for (seconds, text, is_final) in [
        (2, "Dear", false),
        (1, "Dear Sir,", true),
        (1, "  ", true),
        (4, "I have not received my order.", true),
    ] {
        desk.advance(seconds);
        let transcript = Transcript { text: text.into(), is_final };
        live.transcript(call.id, transcript).await.unwrap();
    }
    // Stored when it is acknowledged: nothing is waited for here.
    let timeline = desk.timeline(call.conversation).await;
    let said: Vec<_> = timeline
        .iter()
        .map(|entry| {
            let spoken = entry.spoken.as_ref().unwrap();
            (entry.text.as_str(), entry.role.as_str(), spoken.at_ms, spoken.turn)
        })
        .collect();
    assert_eq!(
        said,
        [
            ("Dear Sir,", "human", 3_000, Some(1)),
            ("I have not received my order.", "human", 8_000, Some(2)),
        ]
    );
    let turn = Turn::in_call(&call, 3, "Are you there?", Via::Speech, call.started_at);
    assert!(live.turn(turn).await.unwrap().is_silent());
}
