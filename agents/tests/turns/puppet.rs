//! A model that says what a test wants, and an office with an assistant that uses it.

use crate::desk::{Desk, config, soon};
use frontdesk_agents::{
    AgentId, ConversationId, MessageId,
    agent::HandlerError,
    builtin::{Assistant, AssistantOptions},
    gate::Approval,
    model::{
        Arguments, Capabilities, Error, ErrorKind, Event, EventStream, Model, Part, Request, Role,
        StopReason, ToolCall, Usage,
    },
    store::{AgentRules, TurnRow},
    tool::{CallEffect, ToolContext, ToolOutput, Tools},
    turn::{CallEnd, Entry, Step},
};
use futures_util::{StreamExt, stream};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use std::sync::{Arc, Mutex};

/// What the puppet answers.
pub enum Answer {
    Says(String),
    Calls(Vec<(&'static str, Value)>),
    /// Words before the calls.
    SaysAndCalls(String, Vec<(String, Value)>),
    /// A call with arguments as written.
    Raw(&'static str, String),
    Fails(ErrorKind),
    /// Never.
    Nothing,
}

pub fn says(text: impl Into<String>) -> Answer {
    Answer::Says(text.into())
}

type Script = Box<dyn Fn(&Request, usize) -> Answer + Send + Sync>;

/// A model made of a function of the request and the number of answers in it.
pub struct Puppet {
    script: Script,
    pub asked: Mutex<Vec<Request>>,
    usage: Usage,
}

impl Puppet {
    pub fn new(script: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static) -> Arc<Self> {
        Self::costing(Usage { input: 100, output: 10, cost: Some(500), ..Usage::default() }, script)
    }

    pub fn costing(
        usage: Usage,
        script: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { script: Box::new(script), asked: Mutex::default(), usage })
    }

    pub fn times_asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// Everything it was told in its last question.
    pub fn last_told(&self) -> String {
        told(self.asked.lock().unwrap().last().unwrap())
    }
}

/// All texts of a request.
pub fn told(request: &Request) -> String {
    let mut all = request.system.join("\n");
    for part in request.messages.iter().flat_map(|message| &message.parts) {
        all.push('\n');
        match part {
            Part::Text(text) => all.push_str(text),
            Part::ToolResult(result) => all.push_str(&result.content),
            _ => {}
        }
    }
    all
}

/// The results of the last round.
pub fn results(request: &Request) -> Vec<String> {
    let last = request.messages.last().unwrap();
    let results = last.parts.iter().filter_map(|part| match part {
        Part::ToolResult(result) => Some(result.content.clone()),
        _ => None,
    });
    results.collect()
}

impl Model for Puppet {
    fn name(&self) -> &str {
        "puppet"
    }

    fn capabilities(&self) -> &Capabilities {
        &Capabilities { context: 100_000, images: false, documents: false }
    }

    fn stream(&self, request: Request) -> EventStream {
        let round = request.messages.iter().filter(|m| m.role == Role::Assistant).count();
        let answer = (self.script)(&request, round);
        self.asked.lock().unwrap().push(request);
        let started = Event::Started { model: "puppet".into(), failed: Vec::new() };
        let (text, calls) = match answer {
            Answer::Nothing => return stream::pending().boxed(),
            Answer::Fails(kind) => {
                return stream::iter([Err(Error::new("puppet", kind))]).boxed();
            }
            Answer::Says(text) => (text, Vec::new()),
            Answer::Calls(calls) => (
                String::new(),
                calls.into_iter().map(|(name, of)| (name.to_owned(), of.to_string())).collect(),
            ),
            Answer::SaysAndCalls(text, calls) => {
                (text, calls.into_iter().map(|(name, of)| (name, of.to_string())).collect())
            }
            Answer::Raw(name, raw) => (String::new(), vec![(name.to_owned(), raw)]),
        };
        let stop = if calls.is_empty() { StopReason::EndTurn } else { StopReason::ToolUse };
        let mut events = vec![started];
        events.extend(text.split_inclusive(' ').map(|word| Event::TextDelta(word.to_owned())));
        for (index, (name, raw)) in calls.into_iter().enumerate() {
            let id = format!("call-{index}");
            events.push(Event::ToolCallStart { index, id: id.clone(), name: name.clone() });
            let call = ToolCall { id, name, arguments: Arguments::parse(&raw) };
            events.push(Event::ToolCall { index, call });
        }
        events.push(Event::Usage(self.usage));
        events.push(Event::Stop(stop));
        stream::iter(events.into_iter().map(Ok)).boxed()
    }
}

#[derive(Deserialize, JsonSchema)]
struct Order {
    /// The number of the order.
    order: String,
}

#[derive(Deserialize, JsonSchema)]
struct Refund {
    order: String,
    /// In cents.
    amount: u64,
}

/// What was done outside, by idempotency key.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<Vec<(String, String)>>>);

impl Ledger {
    pub fn entries(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|(_, what)| what.clone()).collect()
    }

    pub fn keys(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|(key, _)| key.clone()).collect()
    }

    pub fn enter(&self, cx: &ToolContext, what: String) {
        self.0.lock().unwrap().push((cx.idempotency_key.clone(), what));
    }
}

/// A shop's tools: one that looks, one that pays.
pub fn shop(ledger: &Ledger) -> Tools {
    let pays = ledger.clone();
    Tools::new()
        .add("find_order", "Finds an order.", CallEffect::Read, |args: Order, _| async move {
            Ok(format!("Order {} of 2026-02-20: 1 lamp, 30.00 EUR, delivered.", args.order))
        })
        .add_as(
            "refund",
            "Pays money back.",
            CallEffect::Final,
            |spec| spec.least_trust = frontdesk_agents::Trust::Proven,
            move |args: Refund, cx: ToolContext| {
                let pays = pays.clone();
                async move {
                    pays.enter(&cx, format!("{} cents for {}", args.amount, args.order));
                    Ok::<_, HandlerError>(ToolOutput::text("Refunded."))
                }
            },
        )
}

/// A desk with one assistant named support.
pub struct Office {
    pub desk: Desk,
    pub support: AgentId,
    pub model: Arc<Puppet>,
}

impl Office {
    pub async fn new(model: Arc<Puppet>, tools: Tools) -> Self {
        Self::with(model, tools, AssistantOptions::default(), |_| ()).await
    }

    pub async fn with(
        model: Arc<Puppet>,
        tools: Tools,
        options: AssistantOptions,
        rules: impl FnOnce(&mut AgentRules),
    ) -> Self {
        Self::on(Desk::new(), model, tools, options, rules).await
    }

    pub async fn on(
        mut desk: Desk,
        model: Arc<Puppet>,
        tools: Tools,
        options: AssistantOptions,
        rules: impl FnOnce(&mut AgentRules),
    ) -> Self {
        let assistant = Assistant::new(options, model.clone(), tools).unwrap();
        let support = desk.agent_with("support", assistant, rules).await;
        Self { desk, support, model }
    }

    pub async fn start(&mut self) {
        self.desk.start_with(config()).await;
    }

    /// A verified mail comes in and is handled; the turn it starts goes on by itself.
    pub async fn mail(&self, from: &str, text: &str) -> (MessageId, ConversationId) {
        let (message, conversation, _) =
            self.desk.deliver(self.desk.mail(self.support, from, text)).await;
        self.desk.quiet().await;
        (message, conversation)
    }

    pub async fn turns(&self, conversation: ConversationId) -> Vec<TurnRow> {
        self.desk.store.turns(Some(conversation), 50).await.unwrap()
    }

    /// Waits until no turn of a conversation has anything to do, and answers the newest.
    pub async fn rest(&self, conversation: ConversationId) -> TurnRow {
        soon("the turns rest", async || {
            let turns = self.turns(conversation).await;
            !turns.is_empty()
                && turns.iter().all(|turn| {
                    turn.ended_at.is_some() || !turn.waits_for.is_empty() || turn.state == "queued"
                })
        })
        .await;
        self.turns(conversation).await.remove(0)
    }

    pub async fn log(&self, turn: &TurnRow) -> Vec<Entry> {
        self.desk.store.turn(turn.id).await.unwrap().1
    }

    /// How the calls of a turn ended, in order.
    pub async fn ends(&self, turn: &TurnRow) -> Vec<CallEnd> {
        ends(&self.log(turn).await)
    }
}

pub fn ends(log: &[Entry]) -> Vec<CallEnd> {
    let turn = frontdesk_agents::turn::Turn::of(log).unwrap();
    turn.calls()
        .map(|call| match &call.state {
            frontdesk_agents::turn::fold::CallState::Ended(result) => result.end,
            other => panic!("call {} did not end: {other:?}", call.id),
        })
        .collect()
}

pub fn words(log: &[Entry]) -> Vec<&'static str> {
    log.iter().map(|entry| entry.step.word()).collect()
}

/// The text of the one result of a call.
pub fn result_of(log: &[Entry], call: &str) -> String {
    let mut found = log.iter().filter_map(|entry| match &entry.step {
        Step::CallEnded { call: id, result } if id.to_string() == call => Some(result.text.clone()),
        _ => None,
    });
    let text = found.next().unwrap();
    assert_eq!(found.next(), None, "a call has one result");
    text
}

pub fn unreviewed(rules: &mut AgentRules) {
    rules.approval = Approval::None;
}

pub fn reviewed(rules: &mut AgentRules) {
    rules.approval = Approval::All;
}
