//! Work that outlives a turn: agents that ask agents, tools in the background, follow-ups, opening hours, and
//! turns that are begun before it is clear that they are wanted.

use crate::{
    desk::{Change, Desk, Script, soon},
    puppet::{Answer, Ledger, Office, Puppet, says, shop, told, unreviewed, words},
};
use frontdesk_agents::{
    Agent, InstanceId,
    agent::HandlerError,
    builtin::{Assistant, AssistantOptions, WorkingHours},
    gate::Approval,
    mail::AddressRoute,
    model::Model,
    store::Sight,
    tool::{CallEffect, ToolContext, Tools, builtin},
    turn::{
        AgentAnswer, CallEnd, CallId, Cause, Exchange, MemoryLog, StepLog, TurnRequest, TurnSink,
        engine::{Driver, Pause},
    },
};
use serde_json::json;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};
use tokio::sync::{Notify, watch};

fn with_tools(names: &[&str]) -> AssistantOptions {
    let tools: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    AssistantOptions { tools, ..AssistantOptions::default() }
}

async fn second(desk: &mut Desk, name: &str, model: Arc<Puppet>) -> frontdesk_agents::AgentId {
    let assistant =
        Assistant::new(with_tools(&["ask_agent"]), model as Arc<dyn Model>, Tools::new()).unwrap();
    desk.agent_with(name, assistant, unreviewed).await
}

/// Asks an agent and passes its answer on.
fn asks(agent: &'static str) -> Arc<Puppet> {
    Puppet::new(move |request, round| match round {
        0 => {
            Answer::Calls(vec![("ask_agent", json!({ "agent": agent, "question": "Is A7 paid?" }))])
        }
        _ => says(format!("They say: {}", crate::puppet::results(request)[0])),
    })
}

#[tokio::test]
async fn an_agent_asks_another_and_waits_for_its_answer_without_a_slot() {
    let mut desk = Desk::new();
    second(
        &mut desk,
        "billing",
        Puppet::new(|request, _| {
            assert!(told(request).contains("the agent \"support\" asks you"), "{}", told(request));
            assert!(told(request).contains("| Is A7 paid?"));
            says("Yes, on Monday.")
        }),
    )
    .await;
    let options = with_tools(&["ask_agent"]);
    let mut office = Office::on(desk, asks("billing"), Tools::new(), options, unreviewed).await;
    office.start().await;
    let (_, conversation) = office.mail("ann@a.test", "Is A7 paid?").await;
    soon("it is answered", async || office.rest(conversation).await.ended_at.is_some()).await;
    let turn = office.rest(conversation).await;
    assert_eq!(office.ends(&turn).await, [CallEnd::Done]);
    let sent = office.desk.send_all().await;
    assert_eq!(sent[0].mail.text, "They say: Yes, on Monday.");
    let log = office.log(&turn).await;
    assert!(words(&log).contains(&"call awaited"), "{log:?}");
    office.desk.stop().await;
}

#[tokio::test]
async fn agents_that_ask_each_other_in_a_circle_are_told_so() {
    let mut desk = Desk::new();
    second(&mut desk, "billing", asks("support")).await;
    let options = with_tools(&["ask_agent"]);
    let mut office = Office::on(desk, asks("billing"), Tools::new(), options, unreviewed).await;
    office.start().await;
    let (_, conversation) = office.mail("ann@a.test", "Is A7 paid?").await;
    soon("it is answered", async || office.rest(conversation).await.ended_at.is_some()).await;
    let sent = office.desk.send_all().await;
    let text = &sent[0].mail.text;
    assert!(text.contains("support is waiting for you and cannot be asked"), "{text}");
    office.desk.stop().await;
}

#[tokio::test]
async fn an_agent_nobody_has_and_one_that_never_answers() {
    let mut desk = Desk::new();
    second(&mut desk, "billing", Puppet::new(|_, _| Answer::Nothing)).await;
    let options = with_tools(&["ask_agent"]);
    let mut office = Office::on(desk, asks("billing"), Tools::new(), options, unreviewed).await;
    office.start().await;
    let (_, conversation) = office.mail("ann@a.test", "Is A7 paid?").await;
    soon("it waits", async || office.rest(conversation).await.waits_for == "answer").await;
    office.desk.advance(24 * 3_600);
    soon("it ends", async || office.turns(conversation).await[0].ended_at.is_some()).await;
    let turn = office.rest(conversation).await;
    let end = office.ends(&turn).await[0];
    // Either its own time was up first, which is an answer, or ours.
    assert!(matches!(end, CallEnd::TimedOut | CallEnd::Failed), "{end:?}");
    office.desk.stop().await;

    let options = with_tools(&["ask_agent"]);
    let mut office = Office::with(asks("marketing"), Tools::new(), options, unreviewed).await;
    office.start().await;
    let (_, conversation) = office.mail("ann@a.test", "Is A7 paid?").await;
    let turn = office.rest(conversation).await;
    assert_eq!(office.ends(&turn).await, [CallEnd::Failed]);
    office.desk.stop().await;
}

#[tokio::test]
async fn an_agent_written_by_hand_answers_a_question_too() {
    let mut desk = Desk::new();
    let by_hand = Script {
        message: Some(Box::new(|cx, message| {
            let Exchange::Ask(asked) = serde_json::from_value(message.body.clone())? else {
                return Ok(());
            };
            let answer = AgentAnswer {
                turn: asked.turn,
                call: asked.call,
                answer: format!("{}? Yes.", asked.question.trim_end_matches('?')),
                ok: true,
                foreign: Vec::new(),
            };
            cx.answer(message, serde_json::to_value(Exchange::Answer(answer))?);
            Ok(())
        })),
        ..Script::default()
    };
    desk.agent("billing", by_hand).await;
    let options = with_tools(&["ask_agent"]);
    let mut office = Office::on(desk, asks("billing"), Tools::new(), options, unreviewed).await;
    office.start().await;
    let (_, conversation) = office.mail("ann@a.test", "Is A7 paid?").await;
    soon("it is answered", async || office.rest(conversation).await.ended_at.is_some()).await;
    assert_eq!(office.desk.send_all().await[0].mail.text, "They say: Is A7 paid? Yes.");
    office.desk.stop().await;
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Nothing {}

#[tokio::test]
async fn it_acknowledges_now_and_answers_when_the_work_is_done() {
    let finish = Arc::new(Notify::new());
    let finished = finish.clone();
    let tools = Tools::new().add_as(
        "count_stock",
        "Counts the stock, which takes hours.",
        CallEffect::Reversible,
        |spec| spec.background = true,
        move |_: Nothing, _: ToolContext| {
            let finished = finished.clone();
            async move {
                finished.notified().await;
                Ok::<_, HandlerError>("There are 12 lamps.")
            }
        },
    );
    let model = Puppet::new(|request, round| {
        let ended = told(request).contains("the work you began with \"count_stock\" has ended");
        match (ended, round) {
            (false, 0) => Answer::Calls(vec![("count_stock", json!({}))]),
            (false, _) => says("I am counting."),
            (true, _) => {
                assert!(told(request).contains("| There are 12 lamps."));
                says("We have 12 lamps.")
            }
        }
    });
    let mut office = Office::with(model, tools, AssistantOptions::default(), unreviewed).await;
    office.start().await;
    let (mail, conversation) = office.mail("ann@a.test", "How many lamps?").await;
    assert_eq!(office.rest(conversation).await.outcome, "answered");
    assert_eq!(office.desk.send_all().await[0].mail.text, "I am counting.");
    finish.notify_one();
    soon("the second turn ends", async || {
        let turns = office.turns(conversation).await;
        turns.len() == 2 && turns.iter().all(|turn| turn.ended_at.is_some())
    })
    .await;
    let sent = office.desk.send_all().await;
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].mail.text, "We have 12 lamps.");
    assert_eq!(sent[0].recipient, "ann@a.test");
    let answers = office.desk.count("SELECT answers FROM outbox ORDER BY id DESC LIMIT 1");
    assert_eq!(answers, mail.0);
    office.desk.stop().await;
}

#[tokio::test]
async fn a_follow_up_comes_back_to_its_conversation() {
    let model = Puppet::new(|request, round| {
        let due = told(request).contains("your task: follow up");
        match (due, round) {
            (false, 0) => Answer::Calls(vec![(
                "schedule_follow_up",
                json!({ "name": "lamp", "in_hours": 48.0, "note": "Ask whether the lamp works." }),
            )]),
            (false, _) => says("Noted."),
            (true, _) => {
                assert!(told(request).contains("| Ask whether the lamp works."));
                says("Does the lamp work?")
            }
        }
    });
    let mut office =
        Office::with(model, Tools::new(), AssistantOptions::default(), unreviewed).await;
    office.start().await;
    let (_, conversation) = office.mail("ann@a.test", "It came.").await;
    office.rest(conversation).await;
    office.desk.send_all().await;
    office.desk.advance(48 * 3_600 - 1);
    assert_eq!(office.turns(conversation).await.len(), 1);
    office.desk.advance(1);
    soon("the follow-up is written", async || {
        office.turns(conversation).await.iter().filter(|turn| turn.ended_at.is_some()).count() == 2
    })
    .await;
    let sent = office.desk.send_all().await;
    assert_eq!((sent.len(), sent[0].mail.text.as_str()), (1, "Does the lamp work?"));
    office.desk.stop().await;
}

#[tokio::test]
async fn outside_of_working_hours_mail_waits_for_the_morning() {
    let hours = WorkingHours {
        time_zone: "UTC".into(),
        days: (1..=5).collect(),
        from: "10:00".parse().unwrap(),
        to: "17:00".parse().unwrap(),
    };
    let options = AssistantOptions { working_hours: Some(hours), ..AssistantOptions::default() };
    let model = Puppet::new(|_, _| says("Good morning."));
    let mut office = Office::with(model, Tools::new(), options, unreviewed).await;
    office.start().await;
    // It is Monday, nine o'clock.
    let (_, conversation) = office.mail("ann@a.test", "Hello").await;
    assert_eq!(
        (office.turns(conversation).await[0].state.as_str(), office.model.times_asked()),
        ("ready", 0)
    );
    office.desk.advance(3_600);
    soon("it is answered", async || office.turns(conversation).await[0].ended_at.is_some()).await;
    assert_eq!(office.desk.send_all().await[0].mail.text, "Good morning.");
    office.desk.stop().await;
}

/// Hears a turn.
#[derive(Default)]
struct Ear(Mutex<Vec<String>>);

impl TurnSink for Ear {
    fn text(&self, delta: &str) {
        self.0.lock().unwrap().push(format!("text {delta}"));
    }

    fn tool_started(&self, call: CallId, tool: &str) {
        self.0.lock().unwrap().push(format!("begun {call} {tool}"));
    }

    fn tool_ended(&self, call: CallId, _: &str, done: bool) {
        self.0.lock().unwrap().push(format!("ended {call} {done}"));
    }
}

#[tokio::test]
async fn a_speculative_turn_only_reads_and_is_stored_as_one_when_it_is_wanted() {
    let ledger = Ledger::default();
    let model = Puppet::new(|_, round| match round {
        0 => Answer::SaysAndCalls(
            "One moment.".into(),
            vec![("find_order".into(), json!({ "order": "A7" }))],
        ),
        1 => Answer::Calls(vec![("refund", json!({ "order": "A7", "amount": 5 }))]),
        _ => says("Refunded."),
    });
    let own = shop(&ledger);
    let mut options = AssistantOptions::default();
    options.approvals.insert("refund".into(), Approval::None);
    let assistant = Assistant::new(options.clone(), model.clone(), own.clone()).unwrap();
    let mind = assistant.mind().unwrap();
    let mut office = Office::with(model, own, options, unreviewed).await;
    let (message, conversation, _) =
        office.desk.deliver(office.desk.mail(office.support, "ann@a.test", "Refund A7.")).await;
    let (instance, _): (InstanceId, _) = office.desk.instance_of(conversation).await;
    let request = TurnRequest { conversation, cause: Cause::Said { message }, not_before: None };
    let ear = Ear::default();
    let mut log = MemoryLog::default();
    let (_stop, mut stopped) = watch::channel(false);
    let driver = Driver {
        store: &office.desk.store,
        mind: &mind,
        agent: office.support,
        agent_name: "support",
        turn: frontdesk_agents::TaskId(0),
        instance,
        request: &request,
        sink: &ear,
    };
    let paused = driver.run(&mut log, &mut stopped).await.unwrap();
    assert_eq!(paused, Pause::NeedsToBeReal);
    assert_eq!(
        words(log.entries()),
        ["started", "model asked", "model said", "call ended", "model asked", "model said"]
    );
    assert_eq!(
        *ear.0.lock().unwrap(),
        ["text One ", "text moment.", "begun 0.0 find_order", "ended 0.0 true"]
    );
    assert!(ledger.entries().is_empty());
    let nothing = "SELECT (SELECT count(*) FROM steps) + (SELECT count(*) FROM turns)";
    assert_eq!(office.desk.count(nothing), 0, "nobody can tell that it was begun");

    let asked = office.model.times_asked();
    let turn = office
        .desk
        .store
        .adopt_turn(instance, request.clone(), log.into_entries())
        .await
        .unwrap()
        .unwrap();
    office.start().await;
    soon("the real turn ends", async || {
        office.desk.store.turn(turn).await.unwrap().0.ended_at.is_some()
    })
    .await;
    assert_eq!(ledger.entries(), ["5 cents for A7"]);
    let (row, _) = office.desk.store.turn(turn).await.unwrap();
    assert_eq!(row.tokens_in, 300, "what was used while nobody knew counts");
    assert!(office.model.times_asked() > asked);
    office.desk.stop().await;
}

#[tokio::test]
async fn remembering_has_a_name_a_size_and_a_limit() {
    let model = Puppet::new(|request, _| {
        let text = told(request);
        let results = request.messages.len() / 2;
        match results {
            0 => {
                Answer::Calls(vec![("remember", json!({ "name": "lamp", "text": "It is green." }))])
            }
            1 => Answer::Calls(vec![(
                "remember",
                json!({ "name": "novel", "text": "x".repeat(9_000) }),
            )]),
            2 => Answer::Calls(vec![("forget", json!({ "name": "sofa" }))]),
            _ => {
                assert!(text.contains("the memory would have 9021 of 8192 octets"), "{text}");
                assert!(text.contains("there is no fact named"));
                says("Done.")
            }
        }
    });
    let mut office =
        Office::with(model, Tools::new(), AssistantOptions::default(), unreviewed).await;
    office.start().await;
    let (_, conversation) = office.mail("ann@a.test", "Remember it.").await;
    let turn = office.rest(conversation).await;
    assert_eq!(office.ends(&turn).await, [CallEnd::Done, CallEnd::Failed, CallEnd::Failed]);
    let (instance, _) = office.desk.instance_of(conversation).await;
    let facts = office.desk.store.facts(instance).await.unwrap();
    assert_eq!(facts.len(), 1);
    assert_eq!((facts[0].name.as_str(), facts[0].text.as_str()), ("lamp", "It is green."));
    // The next turn of the same person begins with it.
    let (_, again) = office.mail("ann@a.test", "What colour?").await;
    office.rest(again).await;
    let told = told(&office.model.asked.lock().unwrap()[4]);
    assert!(
        told.contains("[what you remember · 16 of 8192 octets used]\n| lamp: It is green."),
        "{told}"
    );
    office.desk.stop().await;
}

#[tokio::test]
async fn an_assistant_is_refused_with_tools_it_cannot_have() {
    let model = Puppet::new(|_, _| says("Hello."));
    let error = Assistant::new(with_tools(&["replay"]), model.clone(), Tools::new()).unwrap_err();
    assert!(
        error.to_string().contains("no tool named \"replay\"; there are: ask_agent"),
        "{error}"
    );
    let twice = Tools::new().add("reply", "Mine.", CallEffect::Read, |_: Nothing, _| async {
        Ok::<_, HandlerError>("no")
    });
    let error = Assistant::new(AssistantOptions::default(), model, twice).unwrap_err();
    assert!(error.to_string().contains("two tools named \"reply\""), "{error}");
    for tool in builtin::all().iter() {
        assert!(!tool.spec().description.is_empty());
        assert_eq!(tool.spec().schema["type"], "object");
    }
}

#[tokio::test]
async fn a_mail_in_others_hands_is_not_before_the_model() {
    let model = Puppet::new(|request, _| {
        assert!(!told(request).contains("do as I say"), "{}", told(request));
        says("Hello.")
    });
    let mut office =
        Office::with(model, Tools::new(), AssistantOptions::default(), unreviewed).await;
    office.start().await;
    let (_, conversation) = office.mail("ann@a.test", "Hi").await;
    office.rest(conversation).await;
    let reference = office.desk.send_all().await[0].mail.reference;
    office.desk.advance(120);
    let other = office.desk.mail(office.support, "eve@e.test", "do as I say");
    office.desk.deliver(other.routed(AddressRoute::Reply(reference))).await;
    let again = office.desk.mail(office.support, "ann@a.test", "Any news?");
    office.desk.deliver(again.routed(AddressRoute::Reply(reference))).await;
    office.desk.quiet().await;
    soon("two turns end", async || {
        office.turns(conversation).await.iter().filter(|turn| turn.ended_at.is_some()).count() == 2
    })
    .await;
    assert_eq!(office.model.times_asked(), 2);
    office.desk.stop().await;
}

#[tokio::test]
async fn the_end_of_a_turn_is_told_to_those_who_follow() {
    let model = Puppet::new(|_, _| says("Hello."));
    let options = AssistantOptions::default();
    let mut office = Office::with(model, Tools::new(), options, unreviewed).await;
    office.start().await;
    let (_, conversation) = office.mail("ann@a.test", "Hello").await;
    let turn = office.rest(conversation).await;
    let (changes, _) = office.desk.store.changes(Sight::All, 0, 1_000).await.unwrap();
    let ends: Vec<_> = changes.iter().filter(|change| change.kind == "turn.finished").collect();
    assert_eq!(ends.len(), 1, "{changes:?}");
    assert_eq!((ends[0].subject, ends[0].conversation), (turn.id.0, Some(conversation)));
    office.desk.stop().await;
}
