//! Turns that are heard while they are taken: in calls and chats.

use crate::{
    desk::soon,
    puppet::{Answer, Office, Puppet, says, unreviewed},
};
use frontdesk_agents::{
    ConversationId, Trust,
    builtin::AssistantOptions,
    gate::Approval,
    live::{Call, Reply, ReplyPart, Speaker, Turn, Via},
    store::{OpenCall, Spoken, TurnRow, Who},
    tool::Tools,
};
use futures_util::StreamExt;
use serde_json::json;

/// A call of a proven person, whose turns are said and answered.
struct Caller<'a> {
    office: &'a Office,
    call: Call,
}

impl<'a> Caller<'a> {
    async fn of(office: &'a Office, address: &str) -> Self {
        let store = &office.desk.store;
        let contact = store.contact_by_handle("email", address).await.unwrap().expect("a contact");
        let open = OpenCall::new(office.support, Who::Contact(contact), "192.0.2.0/24");
        let call = store.open_call(open).await.unwrap().call;
        assert!(call.caller.trust >= Trust::Proven);
        Self { office, call }
    }

    /// Says something, which is stored only after the agent was asked, as in a real call.
    async fn says(&self, number: u32, text: &str) -> Reply {
        let desk = &self.office.desk;
        let now = desk.store.clock().now();
        let turn = Turn::in_call(&self.call, number, text, Via::Speech, now);
        let reply = desk.live().turn(turn).await.unwrap();
        let spoken = Spoken::caller(number, Via::Speech, i64::from(number) * 1_000, text);
        desk.store.commit_spoken(self.call.id, spoken).await.unwrap();
        reply
    }

    async fn turn_of(&self, text: &str) -> TurnRow {
        let turns = self.office.turns(self.call.conversation).await;
        turns.into_iter().find(|turn| turn.cause == text).expect("a turn")
    }
}

async fn acquainted(model: std::sync::Arc<Puppet>, approval: Option<Approval>) -> Office {
    let mut options = AssistantOptions::default();
    if let Some(approval) = approval {
        options.approvals.insert("label".into(), approval);
    }
    let mut office = Office::with(model, Tools::new(), options, unreviewed).await;
    office.start().await;
    let (_, conversation) = office.mail("ann@a.test", "Hello").await;
    office.rest(conversation).await;
    office
}

/// Answers a mail, and what is said with a call of a tool before the answer.
fn clerk() -> std::sync::Arc<Puppet> {
    Puppet::new(|request, round| {
        let told = crate::puppet::told(request);
        match round {
            _ if !told.contains("my bike") => says("Hello Ann."),
            0 => Answer::SaysAndCalls(
                "One moment. ".into(),
                vec![("label".into(), json!({ "label": "bike" }))],
            ),
            _ => says("Your bike is ready."),
        }
    })
}

async fn labels(office: &Office, conversation: ConversationId) -> Vec<String> {
    office.desk.store.labels_of(conversation).await.unwrap()
}

#[tokio::test]
async fn a_caller_hears_the_words_and_the_tools_of_a_turn_as_it_is_taken() {
    let office = acquainted(clerk(), None).await;
    let caller = Caller::of(&office, "ann@a.test").await;
    let reply = caller.says(1, "Where is my bike?").await;
    let parts: Vec<ReplyPart> = reply.map(Result::unwrap).collect().await;
    let text: String = parts
        .iter()
        .filter_map(|part| match part {
            ReplyPart::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(text, "One moment. Your bike is ready.");
    let tools: Vec<_> = parts.iter().filter(|part| !matches!(part, ReplyPart::Text(_))).collect();
    assert!(
        matches!(tools[..], [ReplyPart::ToolStarted(a), ReplyPart::ToolEnded(b)] if a == b),
        "{tools:?}"
    );
    let turn = caller.turn_of("said").await;
    assert_eq!((turn.state.as_str(), turn.outcome.as_str()), ("done", "answered"));
    // The tool had its effect, because the caller is proven; the words go where calls keep theirs.
    assert_eq!(labels(&office, caller.call.conversation).await, ["bike"]);
    let said = office.desk.timeline(caller.call.conversation).await;
    assert!(!said.iter().any(|entry| entry.text.contains("is ready")));
    let mut office = office;
    office.desk.stop().await;
}

#[tokio::test]
async fn a_caller_who_talks_over_an_answer_ends_its_turn() {
    let model = Puppet::new(|request, _| match crate::puppet::told(request).contains("my bike") {
        true => Answer::Nothing,
        false => says("Hello Ann."),
    });
    let office = acquainted(model, None).await;
    let caller = Caller::of(&office, "ann@a.test").await;
    let reply = caller.says(1, "Where is my bike?").await;
    soon("the model is asked", async || office.model.times_asked() == 2).await;
    drop(reply);
    soon("the turn ends", async || caller.turn_of("said").await.ended_at.is_some()).await;
    assert_eq!(caller.turn_of("said").await.state, "cancelled");
    let mut office = office;
    office.desk.stop().await;
}

#[tokio::test]
async fn what_a_person_must_decide_goes_on_without_the_caller() {
    let office = acquainted(clerk(), Some(Approval::All)).await;
    let caller = Caller::of(&office, "ann@a.test").await;
    let heard = caller.says(1, "Where is my bike?").await.collect_text().await.unwrap();
    assert_eq!(heard, "One moment. I have to ask somebody about this. They will look at it.");
    let here = caller.call.conversation;
    assert_eq!(labels(&office, here).await, Vec::<String>::new());
    let waiting = office.desk.store.pending_reviews(Some(here), 5).await.unwrap();
    assert_eq!(waiting[0].call.as_ref().unwrap().tool, "label");
    office.desk.store.approve(waiting[0].id, "eve".into(), None).await.unwrap();
    soon("the turn ends", async || caller.turn_of("said").await.ended_at.is_some()).await;
    assert_eq!(labels(&office, here).await, ["bike"]);
    // Nobody heard the answer, so it is written down.
    let said = office.desk.timeline(here).await;
    assert!(said.iter().any(|entry| entry.role == "note" && entry.text == "Your bike is ready."));
    let mut office = office;
    office.desk.stop().await;
}

#[tokio::test]
async fn a_turn_waits_for_a_person_and_the_next_one_is_heard_all_the_same() {
    let office = acquainted(clerk(), Some(Approval::All)).await;
    let caller = Caller::of(&office, "ann@a.test").await;
    caller.says(1, "Where is my bike?").await.collect_text().await.unwrap();
    let heard = caller.says(2, "And when do you close?").await.collect_text().await.unwrap();
    assert!(heard.contains("I have to ask somebody"), "{heard}");
    let turns = office.turns(caller.call.conversation).await;
    assert_eq!(turns.iter().filter(|turn| turn.waits_for == "approval").count(), 2);
    let spoken = office.desk.timeline(caller.call.conversation).await;
    let callers = |entry: &&frontdesk_agents::store::ConversationEntry| {
        entry.spoken.as_ref().is_some_and(|spoken| spoken.speaker == Speaker::Caller)
    };
    assert_eq!(spoken.iter().filter(callers).count(), 2);
    let mut office = office;
    office.desk.stop().await;
}
