//! A store in a temporary directory with a clock that stands still, scripted agents and invented mail.

use frontdesk_agents::{
    Agent, AgentId, Context, ConversationId, HandlerError, InstanceId, Mail, ManualClock,
    MessageId, Reference, Runtime, RuntimeConfig, Store, Task, TaskContext, Verdict,
    admission::InstancePolicy,
    agent::{AgentMessage, Due, Envelope, ReviewDecision, TaskFuture, TaskReport},
    gate::Approval,
    mail::{AddressRoute, Arrival, ArrivalRecipient},
    retry::RetryPolicy,
    runtime::{BoxedAgent, Live, Registry},
    store::{
        Accepted, AgentRules, Claimed, ConversationEntry, DeliveryOutcome, MessageStatus, Rules,
    },
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::{future::Future, num::NonZeroUsize, sync::Arc, time::Duration};
use tempfile::TempDir;

pub const START: &str = "2026-03-02T09:00:00Z";

/// What a scripted agent remembers.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    pub n: u64,
    pub seen: Vec<String>,
}

type Handler<E> =
    Box<dyn Fn(&mut Context<'_, Memory>, &E) -> Result<(), HandlerError> + Send + Sync>;
type Runner = Box<dyn for<'a> Fn(&'a Task, &'a TaskContext) -> TaskFuture<'a> + Send + Sync>;

/// An agent made of closures.
#[derive(Default)]
pub struct Script {
    pub email: Option<Handler<Mail>>,
    pub schedule: Option<Handler<Due>>,
    pub message: Option<Handler<AgentMessage>>,
    pub task: Option<Handler<TaskReport>>,
    pub approval: Option<Handler<ReviewDecision>>,
    pub run: Option<Runner>,
    pub refuses: Option<String>,
}

impl Script {
    pub fn on_email(
        handler: impl Fn(&mut Context<'_, Memory>, &Mail) -> Result<(), HandlerError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self { email: Some(Box::new(handler)), ..Self::default() }
    }

    /// Remembers every text it gets.
    pub fn remembers() -> Self {
        Self::on_email(|cx, mail| {
            cx.state.n += 1;
            cx.state.seen.push(mail.text.clone());
            Ok(())
        })
    }

    /// Answers everything with the same words.
    pub fn answers(text: &'static str) -> Self {
        Self::on_email(move |cx, _| {
            cx.state.n += 1;
            cx.reply(text);
            Ok(())
        })
    }
}

fn call<E>(
    handler: &Option<Handler<E>>,
    cx: &mut Context<'_, Memory>,
    event: &E,
) -> Result<(), HandlerError> {
    handler.as_ref().map_or(Ok(()), |handler| handler(cx, event))
}

impl Agent for Script {
    type State = Memory;

    fn screens(&self) -> bool {
        self.refuses.is_some()
    }

    fn accept(&self, _: &Envelope<'_>) -> frontdesk_agents::Admission {
        match &self.refuses {
            Some(reason) => frontdesk_agents::Admission::Refuse(reason.clone()),
            None => frontdesk_agents::Admission::Accept,
        }
    }

    fn on_email(&self, cx: &mut Context<'_, Memory>, mail: &Mail) -> Result<(), HandlerError> {
        call(&self.email, cx, mail)
    }

    fn on_schedule(&self, cx: &mut Context<'_, Memory>, due: &Due) -> Result<(), HandlerError> {
        call(&self.schedule, cx, due)
    }

    fn on_message(
        &self,
        cx: &mut Context<'_, Memory>,
        message: &AgentMessage,
    ) -> Result<(), HandlerError> {
        call(&self.message, cx, message)
    }

    fn on_task(&self, cx: &mut Context<'_, Memory>, end: &TaskReport) -> Result<(), HandlerError> {
        call(&self.task, cx, end)
    }

    fn on_approval(
        &self,
        cx: &mut Context<'_, Memory>,
        decision: &ReviewDecision,
    ) -> Result<(), HandlerError> {
        call(&self.approval, cx, decision)
    }

    fn run_task<'a>(&'a self, task: &'a Task, cx: &'a TaskContext) -> TaskFuture<'a> {
        match &self.run {
            Some(run) => run(task, cx),
            None => Box::pin(async { Err("no task here".into()) }),
        }
    }
}

/// One installation.
pub struct Desk {
    pub dir: Arc<TempDir>,
    pub clock: ManualClock,
    pub store: Store,
    pub rules: Rules,
    registry: Registry,
    runtime: Option<Runtime>,
}

impl Desk {
    pub fn new() -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let clock = ManualClock::new(START.parse().unwrap());
        let store = Store::open(dir.path(), Arc::new(clock.clone())).unwrap();
        Self::around(dir, clock, store)
    }

    fn around(dir: Arc<TempDir>, clock: ManualClock, store: Store) -> Self {
        let rules = Rules { is_own: Arc::new(|a| a.ends_with("@example.com")), ..Rules::default() };
        Self { dir, clock, store, rules, registry: Registry::default(), runtime: None }
    }

    /// Registers an agent whose mail needs no approval.
    pub async fn agent(&mut self, name: &str, script: Script) -> AgentId {
        self.agent_with(name, script, |_| ()).await
    }

    pub async fn agent_with(
        &mut self,
        name: &str,
        agent: impl Agent,
        change: impl FnOnce(&mut AgentRules),
    ) -> AgentId {
        let id = self.store.register_agents(vec![(name.into(), "test".into())]).await.unwrap()[0];
        let mut rules = AgentRules {
            name: name.into(),
            instance: InstancePolicy::Contact,
            approval: Approval::None,
            runs: true,
            address: format!("{name}@example.com"),
            owner: None,
        };
        change(&mut rules);
        self.rules.agents.insert(id, rules);
        self.store.set_rules(self.rules.clone());
        self.registry.add(id, name, BoxedAgent::new(agent));
        id
    }

    /// Starts the runtime with three attempts per handler.
    pub async fn start(&mut self) {
        self.start_with(RuntimeConfig { handler_retries: RETRIES, ..config() }).await;
    }

    pub async fn start_with(&mut self, config: RuntimeConfig) {
        let runtime = Runtime::start(self.store.clone(), self.registry.clone(), config);
        self.runtime = Some(runtime.await.unwrap());
    }

    /// The way to live handlers, once the runtime is started.
    pub fn live(&self) -> Live {
        self.runtime.as_ref().expect("the runtime was started").live()
    }

    pub async fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.stop().await;
        }
    }

    /// Drops everything without a word and opens the same directory again, with no agents.
    pub async fn crash(self) -> Self {
        let Self { dir, clock, store, runtime, .. } = self;
        drop(runtime);
        drop(store);
        let store = open_when_free(&dir, clock.clone()).await;
        Self::around(dir, clock, store)
    }

    pub fn advance(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }

    /// Waits until no instance has a due event ahead of its others.
    pub async fn quiet(&self) {
        soon("the queue empties", async || {
            let now = frontdesk_agents::Clock::now(&self.clock).as_millisecond();
            let waiting = self.store.pending_events(frontdesk_agents::EventId(0), 10_000).unwrap();
            let mut heads = std::collections::HashSet::new();
            waiting.iter().all(|event| !heads.insert(event.instance) || event.due_at > now)
        })
        .await;
    }

    pub async fn accept(&self, arrival: Arrival) -> Accepted {
        self.store.accept(arrival).await.unwrap().remove(0)
    }

    /// Stores a mail and says where it went.
    pub async fn deliver(&self, arrival: Arrival) -> (MessageId, ConversationId, MessageStatus) {
        match self.accept(arrival).await {
            Accepted::Stored { message, conversation, status } => (message, conversation, status),
            Accepted::Duplicate { of } => panic!("a duplicate of {of}"),
        }
    }

    pub async fn instance_of(&self, conversation: ConversationId) -> (InstanceId, String) {
        let (summary, _) = self.store.conversation(conversation).await.unwrap();
        (summary.instance, summary.instance_key)
    }

    pub async fn memory(&self, instance: InstanceId) -> Memory {
        let state = self.store.instance_state(instance).await.unwrap();
        if state.is_null() { Memory::default() } else { serde_json::from_value(state).unwrap() }
    }

    pub async fn memory_of(&self, conversation: ConversationId) -> Memory {
        let (instance, _) = self.instance_of(conversation).await;
        self.memory(instance).await
    }

    pub async fn timeline(&self, conversation: ConversationId) -> Vec<ConversationEntry> {
        self.store.conversation(conversation).await.unwrap().1
    }

    /// Everything that may leave now, marked as sent.
    pub async fn send_all(&self) -> Vec<Claimed> {
        let claimed = self.store.claim_deliveries(1_000).await.unwrap();
        for claim in &claimed {
            self.store.start_data(claim.delivery).await.unwrap();
            let response = "250 2.0.0 ok".to_owned();
            self.store
                .settle_delivery(claim.delivery, DeliveryOutcome::Sent { response })
                .await
                .unwrap();
        }
        claimed
    }

    /// Opens a conversation with a verified mail that is answered, and says which reference the answer has.
    pub async fn exchange(&self, agent: AgentId, from: &str) -> (ConversationId, Reference) {
        let (_, conversation, _) = self.deliver(self.mail(agent, from, "a question")).await;
        self.quiet().await;
        let sent = self.send_all().await;
        assert_eq!(sent.len(), 1, "one answer left");
        self.advance(120);
        (conversation, sent[0].mail.reference)
    }

    /// A verified mail to an agent.
    pub fn mail(&self, agent: AgentId, from: &str, text: &str) -> Arrival {
        let address = self.rules.agents[&agent].address.clone();
        let raw = format!("From: {from}\r\nTo: {address}\r\n\r\n{text}\r\n");
        let mut body_hash = [0; 32];
        for (index, byte) in text.bytes().enumerate() {
            body_hash[index % 32] ^= byte.rotate_left((index / 32) as u32 % 8);
        }
        Arrival {
            received_at: frontdesk_agents::Clock::now(&self.clock),
            network: "192.0.2.0/24".into(),
            reverse_path: from.into(),
            from: from.into(),
            from_name: Some("Ann Example".into()),
            reply_to: None,
            to: vec![address.clone()],
            cc: Vec::new(),
            subject: "A question".into(),
            message_id: None,
            references: Vec::new(),
            verdict: Verdict::Verified,
            evidence: "{}".into(),
            envelope_proven: false,
            automatic: None,
            body_hash,
            prelude: "Received: from client by test\r\n".into(),
            raw: self.store.stage(raw.as_bytes()).unwrap(),
            attachments: Vec::new(),
            flags: Vec::new(),
            quarantine: None,
            recipients: vec![ArrivalRecipient {
                answer_from: address.clone(),
                address,
                agent,
                route: AddressRoute::Plain,
                own_references: Vec::new(),
                new_text: text.into(),
                own_words: text.into(),
                layers: None,
            }],
        }
    }

    /// The same, to the reply address of an answer.
    pub fn reply(&self, agent: AgentId, from: &str, text: &str, to: Reference) -> Arrival {
        self.mail(agent, from, text).routed(AddressRoute::Reply(to))
    }

    /// A connection beside the store, for what its API does not show.
    pub fn database(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(self.dir.path().join("frontdesk.db")).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        connection
    }

    pub fn count(&self, sql: &str) -> i64 {
        self.database().query_row(sql, (), |row| row.get(0)).unwrap()
    }
}

/// Changes to a mail, as words.
pub trait Change: Sized {
    fn routed(self, route: AddressRoute) -> Self;
    fn verdict(self, verdict: Verdict) -> Self;
    fn id(self, id: &str) -> Self;
    fn with(self, change: impl FnOnce(&mut Arrival)) -> Arrival;
}

impl Change for Arrival {
    fn routed(mut self, route: AddressRoute) -> Self {
        self.recipients[0].route = route;
        self
    }

    fn verdict(mut self, verdict: Verdict) -> Self {
        self.verdict = verdict;
        self
    }

    fn id(mut self, id: &str) -> Self {
        self.message_id = Some(id.into());
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Arrival)) -> Arrival {
        change(&mut self);
        self
    }
}

/// Three attempts, the second and third at once unless the clock says otherwise.
pub const RETRIES: RetryPolicy = RetryPolicy {
    attempts: 3,
    base: SignedDuration::from_secs(10),
    cap: SignedDuration::from_secs(60),
};

pub fn config() -> RuntimeConfig {
    RuntimeConfig { threads: NonZeroUsize::new(3).unwrap(), ..RuntimeConfig::default() }
}

/// The threads of a store that was dropped need a moment to let go of its lock.
pub async fn open_when_free(dir: &TempDir, clock: ManualClock) -> Store {
    let started = std::time::Instant::now();
    loop {
        match Store::open(dir.path(), Arc::new(clock.clone())) {
            Err(frontdesk_agents::StoreError::Locked(_))
                if started.elapsed() < Duration::from_secs(20) =>
            {
                tokio::task::yield_now().await;
            }
            other => return other.unwrap(),
        }
    }
}

/// Waits for something that other threads bring about; fails the test if it takes absurdly long.
pub async fn soon<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    });
    assert!(waited.await.is_ok(), "it never came about that {what}");
}

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}
