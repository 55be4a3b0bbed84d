//! Calls in the one history: whose they are, what of them is kept, and how they end.

use crate::desk::{Change, Desk, Memory, Script};
use frontdesk_agents::{
    Agent, AgentId, CallEnded, CallId, ContactId, Context, ConversationId, HandlerError, Mail,
    Trust,
    admission::InstancePolicy,
    agent::Said,
    live::{EndReason, Hearing, Origin, Outcome, Speaker, Via},
    store::{CallOutcome, OpenCall, OpenedCall, Recording, Spoken, TurnTimes, Who},
};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Notes what it finds in its history, and counts calls that end.
#[derive(Clone, Default)]
pub struct Historian {
    pub saw: Arc<Mutex<Vec<Vec<Said>>>>,
    pub broken: Arc<Mutex<bool>>,
}

impl Agent for Historian {
    type State = Memory;

    fn on_email(&self, cx: &mut Context<'_, Memory>, _: &Mail) -> Result<(), HandlerError> {
        self.saw.lock().unwrap().push(cx.history(50));
        cx.state.n += 1;
        cx.reply("Noted.");
        Ok(())
    }

    fn on_call_end(
        &self,
        cx: &mut Context<'_, Memory>,
        end: &CallEnded,
    ) -> Result<(), HandlerError> {
        if *self.broken.lock().unwrap() {
            return Err("a bug".into());
        }
        self.saw.lock().unwrap().push(cx.history(50));
        let said: Vec<_> = end
            .transcript
            .iter()
            .map(|line| match line.is_cut_off() {
                true => format!("{} -- {}", line.text, line.unheard.trim()),
                false => line.text.clone(),
            })
            .collect();
        cx.state.seen.push(format!("{} {} {said:?}", end.call.id, end.reason.as_str()));
        Ok(())
    }
}

pub fn visitor(session: &str) -> Who {
    Who::Visitor { session: session.into() }
}

pub async fn contact(desk: &Desk, address: &str) -> ContactId {
    desk.store.contact_by_handle("email", address).await.unwrap().expect("a contact")
}

pub async fn open(desk: &Desk, agent: AgentId, who: Who) -> OpenedCall {
    desk.store.open_call(OpenCall::new(agent, who, "192.0.2.0/24")).await.unwrap()
}

pub async fn caller_says(desk: &Desk, call: CallId, turn: u32, text: &str) {
    let spoken = Spoken::caller(turn, Via::Speech, i64::from(turn) * 1_000, text);
    desk.store.commit_spoken(call, spoken).await.unwrap();
}

pub async fn hang_up(desk: &Desk, call: CallId) -> bool {
    let outcome =
        CallOutcome { reason: EndReason::CallerHungUp, duration_ms: 65_000, recording: None };
    desk.store.end_call(call, outcome).await.unwrap()
}

fn words(said: &[Said]) -> Vec<(&str, &str)> {
    said.iter().map(|said| (said.channel.as_str(), said.text.as_str())).collect()
}

#[tokio::test]
async fn a_mail_a_call_and_a_mail_of_one_person_are_one_history() {
    let historian = Historian::default();
    let mut desk = Desk::new();
    let support = desk.agent_with("support", historian.clone(), |_| ()).await;
    desk.start().await;
    let (conversation, token) = desk.exchange(support, "ann@a.test").await;

    let ann = contact(&desk, "ann@a.test").await;
    let opened = open(&desk, support, Who::Contact(ann)).await;
    let call = opened.call.id;
    assert_eq!(opened.call.conversation, conversation, "the one that was active lately");
    assert!(!opened.is_new);
    assert_eq!(opened.call.caller.trust, Trust::Proven);
    assert_eq!(opened.call.caller.name.as_deref(), Some("Ann Example"));
    caller_says(&desk, call, 1, "The parcel has number forty-two.").await;
    let cut =
        Spoken::agent(Origin::Reply, Some(1), 1_500, "It left on Monday. It comes on Friday.").cut(
            30,
            18,
            Outcome::Interrupted,
        );
    desk.store.commit_spoken(call, cut).await.unwrap();
    caller_says(&desk, call, 2, "Thanks!").await;
    assert!(hang_up(&desk, call).await);
    desk.quiet().await;
    desk.deliver(desk.reply(support, "ann@a.test", "and where is it now?", token)).await;
    desk.quiet().await;

    let last = historian.saw.lock().unwrap().last().unwrap().clone();
    assert_eq!(
        words(&last),
        [
            ("mail", "a question"),
            ("mail", "Noted."),
            ("call", "The parcel has number forty-two."),
            ("call", "It left on Monday."),
            ("call", "Thanks!"),
            ("call", "Call of 1 min 5 s: the caller hung up."),
            ("mail", "and where is it now?"),
        ]
    );
    let interrupted: Vec<_> = last.iter().map(|said| said.interrupted).collect();
    assert_eq!(interrupted, [false, false, false, true, false, false, false]);

    // Its agent learns what was not heard at the end of the call, and may send it.
    let ends = desk.memory_of(conversation).await.seen;
    assert_eq!(ends.len(), 1);
    assert!(ends[0].contains(r#""It left on Monday. -- It comes on Friday.""#), "{ends:?}");

    // People see the whole of it, and what was heard.
    let timeline = desk.timeline(conversation).await;
    let reply = timeline.iter().find(|entry| entry.text.starts_with("It left")).unwrap();
    assert_eq!(reply.text, "It left on Monday. It comes on Friday.");
    let spoken = reply.spoken.as_ref().unwrap();
    assert_eq!((spoken.call, spoken.speaker, spoken.turn), (call, Speaker::Agent, Some(1)));
    assert_eq!((spoken.sent, spoken.heard, spoken.outcome), (30, 18, Outcome::Interrupted));
    assert_eq!((reply.role.as_str(), reply.author.as_str()), ("agent", "support"));
    let end = timeline.iter().find_map(|entry| entry.call.as_ref()).expect("the end of the call");
    assert_eq!((end.call.id, end.duration_ms), (call, Some(65_000)));
    assert_eq!(end.reason, Some(EndReason::CallerHungUp));
    assert_eq!(timeline.iter().filter(|entry| entry.call.is_some()).count(), 1);
}

#[tokio::test]
async fn an_unproven_caller_of_the_same_name_hears_nothing_of_it() {
    let historian = Historian::default();
    let mut desk = Desk::new();
    let support = desk.agent_with("support", historian.clone(), |_| ()).await;
    desk.start().await;
    let (conversation, _) = desk.exchange(support, "ann@a.test").await;
    let before = desk.timeline(conversation).await.len();

    let mut calling = OpenCall::new(support, visitor("s1"), "192.0.2.0/24");
    calling.name = Some("Ann Example".into());
    calling.handle = Some("ann@a.test".into());
    let opened = desk.store.open_call(calling).await.unwrap();
    assert_ne!(opened.call.conversation, conversation);
    assert_eq!(opened.call.caller.trust, Trust::Unproven);
    caller_says(&desk, opened.call.id, 1, "It's Ann. What did I write?").await;
    hang_up(&desk, opened.call.id).await;
    desk.quiet().await;
    let saw = historian.saw.lock().unwrap().last().unwrap().clone();
    assert_eq!(
        words(&saw),
        [
            ("call", "It's Ann. What did I write?"),
            ("call", "Call of 1 min 5 s: the caller hung up.")
        ]
    );
    let (instance, key) = desk.instance_of(opened.call.conversation).await;
    assert_eq!((instance, key.as_str()), (opened.instance, "visitor:s1"));
    assert_eq!(desk.timeline(conversation).await.len(), before);
    // No mail can be made to leave for the claimed address.
    let people = desk.store.conversation(opened.call.conversation).await.unwrap().0.people;
    assert!(people.is_empty(), "{people:?}");
}

#[tokio::test]
async fn a_call_joins_a_conversation_only_where_there_is_no_doubt_which() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::answers("Hello.")).await;
    let sales = desk.agent("sales", Script::answers("Hello.")).await;
    desk.start().await;
    let (first, _) = desk.exchange(support, "ann@a.test").await;
    let ann = Who::Contact(contact(&desk, "ann@a.test").await);
    let opened = open(&desk, support, ann.clone()).await;
    assert_eq!(opened.call.conversation, first);
    hang_up(&desk, opened.call.id).await;

    let with_sales = open(&desk, sales, ann.clone()).await;
    assert_ne!(with_sales.call.conversation, first, "another agent, another conversation");

    // Two were active lately: which one is meant, nobody can tell.
    desk.deliver(desk.mail(support, "ann@a.test", "something else")).await;
    desk.quiet().await;
    let third = open(&desk, support, ann.clone()).await;
    assert!(third.is_new);
    assert_eq!(third.instance, opened.instance, "the same memory");
    let subject = desk.store.conversation(third.call.conversation).await.unwrap().0.subject;
    assert_eq!(subject, "Call from Ann Example");

    // A week later none is active, and then the one of that call is.
    desk.advance(7 * 86_400 + 60);
    let late = open(&desk, support, ann.clone()).await;
    assert!(late.is_new);
    let again = open(&desk, support, ann).await;
    assert_eq!(again.call.conversation, late.call.conversation);
}

#[tokio::test]
async fn being_a_member_of_anothers_conversation_opens_nothing_of_theirs() {
    let mut desk = Desk::new();
    let support = desk
        .agent(
            "support",
            Script::on_email(|cx, mail| {
                let mut draft = frontdesk_agents::Draft::text("To both of you.");
                if mail.from == "ann@a.test" {
                    draft.cc.push("bob@b.test".into());
                }
                cx.reply(draft);
                Ok(())
            }),
        )
        .await;
    desk.start().await;
    desk.deliver(desk.mail(support, "bob@b.test", "hello")).await;
    desk.quiet().await;
    // His own is long over, so hers would be the only one.
    desk.advance(8 * 86_400);
    let (_, anns, _) = desk.deliver(desk.mail(support, "ann@a.test", "a secret")).await;
    desk.quiet().await;
    let reviews = desk.store.pending_reviews(Some(anns), 10).await.unwrap();
    desk.store.approve(reviews[0].id, "eve".into(), None).await.unwrap();
    desk.send_all().await;
    let people = desk.store.conversation(anns).await.unwrap().0.people;
    assert_eq!(people, ["ann@a.test", "bob@b.test"], "Bob is a member");
    let bob = contact(&desk, "bob@b.test").await;
    let call = open(&desk, support, Who::Contact(bob)).await;
    assert_ne!(call.call.conversation, anns);
    assert_eq!(desk.instance_of(call.call.conversation).await.1, format!("contact:{bob}"));
}

#[tokio::test]
async fn every_policy_finds_its_instance() {
    let mut desk = Desk::new();
    let plain = desk.agent("plain", Script::answers("Hello.")).await;
    desk.start().await;
    desk.exchange(plain, "ann@a.test").await;
    let ann = contact(&desk, "ann@a.test").await;
    for (policy, contacts, staffs) in [
        (InstancePolicy::Shared, "shared", "shared"),
        (InstancePolicy::Tag, "tag:", "tag:"),
        (InstancePolicy::Contact, "contact:1", "staff:eve"),
        (InstancePolicy::Conversation, "conversation:", "staff:eve"),
    ] {
        let name = policy.as_str();
        let agent = desk.agent_with(name, Script::default(), |rules| rules.instance = policy).await;
        let call = open(&desk, agent, Who::Contact(ann)).await;
        let key = desk.instance_of(call.call.conversation).await.1;
        assert!(key.starts_with(contacts), "{name}: {key}");
        let again = open(&desk, agent, Who::Contact(ann)).await;
        assert_eq!(again.call.conversation, call.call.conversation, "{name}");
        let staff = open(&desk, agent, Who::Staff { name: "eve".into() }).await;
        let key = desk.instance_of(staff.call.conversation).await.1;
        assert_eq!(key, staffs, "{name}");
        assert_ne!(staff.call.conversation, call.call.conversation, "{name}");
        assert_eq!(staff.call.caller.trust, Trust::Staff);
        let visit = open(&desk, agent, visitor("s")).await;
        assert_eq!(desk.instance_of(visit.call.conversation).await.1, "visitor:s", "{name}");
    }
}

#[tokio::test]
async fn a_merged_contact_calls_as_the_one_that_survived() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::answers("Hello.")).await;
    desk.start().await;
    desk.exchange(support, "ann@a.test").await;
    desk.exchange(support, "ann@b.test").await;
    let (one, other) = (contact(&desk, "ann@a.test").await, contact(&desk, "ann@b.test").await);
    let merge = "UPDATE contacts SET merged_into = ?2 WHERE id = ?1";
    desk.database().execute(merge, (one.0, other.0)).unwrap();
    let call = open(&desk, support, Who::Contact(one)).await;
    assert_eq!(desk.instance_of(call.call.conversation).await.1, format!("contact:{other}"));
    desk.database().execute(merge, (other.0, one.0)).unwrap();
    let circle = OpenCall::new(support, Who::Contact(one), "n");
    let error = desk.store.open_call(circle).await.unwrap_err().to_string();
    assert!(error.contains("merged in a circle"), "{error}");
}

#[tokio::test]
async fn new_visitors_are_capped_by_network_and_by_agent() {
    let mut desk = Desk::new();
    desk.rules.limits.unproven_per_network = 2;
    desk.rules.limits.unproven_per_agent = 3;
    let support = desk.agent("support", Script::default()).await;
    let visit = async |session: &str, network: &str| {
        let open = OpenCall::new(support, visitor(session), network);
        desk.store.open_chat(open).await.map(|chat| chat.instance).map_err(|e| e.to_string())
    };
    let first = visit("a", "n1").await.unwrap();
    visit("b", "n1").await.unwrap();
    assert!(visit("c", "n1").await.unwrap_err().contains("from your network"));
    assert_eq!(visit("a", "n1").await.unwrap(), first, "who was here is no newcomer");
    visit("c", "n2").await.unwrap();
    assert!(visit("d", "n3").await.unwrap_err().contains("too many new visitors today"));
    // Mail is counted apart.
    let mail =
        desk.mail(support, "bob@b.test", "hi").verdict(frontdesk_agents::Verdict::Unverified);
    desk.deliver(mail).await;
    desk.advance(86_400);
    visit("d", "n1").await.unwrap();
}

#[tokio::test]
async fn calls_that_a_crash_left_open_are_ended_and_told_of_once() {
    let mut desk = Desk::new();
    let historian = Historian::default();
    let support = desk.agent_with("support", historian.clone(), |_| ()).await;
    let done = open(&desk, support, visitor("done")).await.call.id;
    hang_up(&desk, done).await;
    let call = open(&desk, support, visitor("s")).await.call;
    desk.advance(30);
    caller_says(&desk, call.id, 1, "Is anybody there?").await;
    desk.advance(30);

    for _ in 0..3 {
        desk = desk.crash().await;
        desk.agent_with("support", historian.clone(), |_| ()).await;
        desk.start().await;
        desk.quiet().await;
    }
    let record = desk.store.call(call.id).await.unwrap().summary;
    assert_eq!(record.reason, Some(EndReason::ServerRestart));
    assert_eq!(record.duration_ms, Some(30_000), "as far as it is known");
    let memory = desk.memory_of(call.conversation).await;
    assert_eq!(memory.seen, [format!("{} server_restart [\"Is anybody there?\"]", call.id)]);
    let record = desk.store.call(done).await.unwrap().summary;
    assert_eq!(record.reason, Some(EndReason::CallerHungUp), "what had ended stays as it ended");
    assert!(!hang_up(&desk, call.id).await, "and cannot end again");
    desk.quiet().await;
    assert_eq!(desk.memory_of(call.conversation).await.seen.len(), 1);
}

#[tokio::test]
async fn the_end_of_a_call_is_retried_and_then_shown_to_a_person() {
    let mut desk = Desk::new();
    let historian = Historian::default();
    *historian.broken.lock().unwrap() = true;
    let support = desk.agent_with("support", historian.clone(), |_| ()).await;
    desk.start().await;
    let call = open(&desk, support, visitor("s")).await.call;
    hang_up(&desk, call.id).await;
    for _ in 0..3 {
        desk.quiet().await;
        desk.advance(60);
    }
    let letters = desk.store.dead_letters(10).await.unwrap();
    assert_eq!((letters.len(), letters[0].error.as_str()), (1, "a bug"));
    let (summary, _) = desk.store.conversation(call.conversation).await.unwrap();
    assert_eq!(summary.queue, "needs_review");
    *historian.broken.lock().unwrap() = false;
    desk.store.retry_dead_letter(letters[0].event, "eve".into()).await.unwrap();
    desk.quiet().await;
    assert_eq!(desk.memory_of(call.conversation).await.seen.len(), 1);
}

#[tokio::test]
async fn a_recording_is_kept_even_if_it_comes_after_the_end() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::default()).await;
    let call = open(&desk, support, visitor("s")).await.call.id;
    assert_eq!(desk.store.recording(call).await.unwrap(), None);
    assert!(hang_up(&desk, call).await);
    // Large enough for a file of its own.
    let sound: Vec<u8> = (0..300_000u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
    // A call's recording comes as a file, and is the same content as if it came as a whole.
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, &sound).unwrap();
    let content = desk.store.stage_file(file.path()).unwrap();
    assert_eq!(content.hash(), desk.store.stage(&sound).unwrap().hash());
    let missing = desk.store.stage_file(Path::new("/nothing")).unwrap_err().to_string();
    assert!(missing.contains("/nothing"), "{missing}");
    let recording = Recording { content, media_type: "audio/wav".into() };
    let late = CallOutcome { reason: EndReason::Lost, duration_ms: 1, recording: Some(recording) };
    assert!(!desk.store.end_call(call, late).await.unwrap());
    let (media_type, content) = desk.store.recording(call).await.unwrap().unwrap();
    assert_eq!(media_type, "audio/wav");
    assert!(content == sound);
    let record = desk.store.call(call).await.unwrap().summary;
    assert_eq!(record.reason, Some(EndReason::CallerHungUp));
    assert_eq!(record.recording.unwrap().size, 300_000);
    let missing = desk.store.recording(CallId(99)).await.unwrap_err().to_string();
    assert!(missing.contains("no call 99"), "{missing}");
}

#[tokio::test]
async fn calls_are_listed_with_the_times_of_their_turns() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::default()).await;
    let sales = desk.agent("sales", Script::default()).await;
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(open(&desk, support, visitor(&format!("s{n}"))).await.call);
    }
    let other = open(&desk, sales, visitor("s0")).await.call;
    hang_up(&desk, ids[0].id).await;
    let list = async |agent: Option<&str>, conversation, open_only, before| {
        let agent = agent.map(str::to_owned);
        let calls = desk.store.calls(agent, conversation, open_only, 2, before).await.unwrap();
        calls.into_iter().map(|call| call.call.id).collect::<Vec<_>>()
    };
    assert_eq!(list(None, None, false, None).await, [other.id, ids[2].id]);
    assert_eq!(list(None, None, false, Some(ids[2].id)).await, [ids[1].id, ids[0].id]);
    assert_eq!(list(Some("support"), None, true, Some(ids[2].id)).await, [ids[1].id]);
    assert_eq!(list(None, Some(ids[0].conversation), false, None).await, [ids[0].id]);
    assert_eq!(list(Some("nobody"), None, false, None).await, []);

    let mut times = TurnTimes {
        turn: 1,
        generation: 2,
        speech_end_ms: Some(900),
        final_text_ms: Some(1_100),
        turn_end_ms: 1_400,
        first_text_ms: None,
        first_audio_ms: None,
        end_ms: 1_500,
        outcome: Outcome::Failed,
    };
    desk.store.record_turn(other.id, times).await.unwrap();
    (times.first_text_ms, times.outcome) = (Some(1_450), Outcome::Complete);
    desk.store.record_turn(other.id, times).await.unwrap();
    assert_eq!(desk.store.call(other.id).await.unwrap().turns, [times]);
}

#[tokio::test]
async fn what_a_call_was_opened_with_is_what_handlers_and_people_see() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::default()).await;
    let mut calling = OpenCall::new(support, visitor("s"), "twilio");
    calling.channel = frontdesk_agents::live::CallChannel::Phone;
    calling.handle = Some("+15550100".into());
    calling.called = Some("+15550199".into());
    calling.parameters.insert("campaign".into(), "spring".into());
    calling.hearing = Hearing::Basic;
    let opened = desk.store.open_call(calling).await.unwrap();
    assert_eq!(opened.call.caller.label(), "+15550100");
    let record = desk.store.call(opened.call.id).await.unwrap().summary;
    assert_eq!(record.call, opened.call);
    assert_eq!((record.agent.as_str(), record.instance), ("support", opened.instance));
    assert_eq!(record.ended_at, None);
}

#[tokio::test]
async fn what_was_said_is_found_by_its_words() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::default()).await;
    let call = open(&desk, support, visitor("s")).await.call;
    caller_says(&desk, call.id, 1, "My harpsichord arrived out of tune.").await;
    desk.store.settle().await.unwrap();
    let hits = desk.store.search("harpsichord", 10, None).await.unwrap();
    assert_eq!(hits.len(), 1);
    assert_eq!(hits[0].conversation, ConversationId(call.conversation.0));
    assert_eq!((hits[0].subject.as_str(), hits[0].role.as_str()), ("Call from caller", "human"));
}
