//! Writing an agent.
//!
//! An [`Agent`] has a handler per thing that can happen, all with defaults. A handler is short: it
//! runs on a snapshot of its instance, does no outside I/O and asks for effects through its
//! [`Context`]; one transaction commits the new state and all effects together with "this event is
//! done". If something else changed the instance meanwhile, the handler runs again on the newer
//! snapshot, so a handler must have no effect except through its context.
//!
//! Whatever waits (a service, a person, time) is a task, a schedule or a message to another agent,
//! each a durable row that comes back as an event.
//!
//! The handlers of calls and live text are as short and run on a snapshot like the others, but what
//! they answer is said at once and does not wait for the commit. If the commit finds a newer snapshot,
//! they run again for their effects, and what they say then is dropped.

use crate::{
    Attachment, CallId, ConversationId, Draft, InstanceId, Mail, MessageId, Question, ScheduleId,
    TaskId, Trust, Verdict,
    live::{
        Call, CallEnded, CallerCard, ClientMessage, Interrupted, LiveEvent, LiveSnapshot, Reply,
        Transcript, Turn,
    },
    schedule::When,
    turn::{AgentAnswer, AgentQuestion, Mind, TurnRequest},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{future::Future, pin::Pin, sync::Arc};

pub use crate::runtime::tasks::TaskContext;

/// The key of the instance that an agent's notices to its owner are kept in. What the owner answers comes
/// there, and not into the memory of whoever the notice is about.
pub const OWNER_KEY: &str = "owner";

/// Whatever a handler fails with. The event is tried again, then put among the dead letters.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// What [`Agent::run_task`] returns.
pub type TaskFuture<'a> = Pin<Box<dyn Future<Output = Result<Value, HandlerError>> + Send + 'a>>;

/// A software agent. One value serves all its instances; what differs between them is in `State`.
pub trait Agent: Send + Sync + 'static {
    /// The memory of one instance, stored as JSON.
    type State: Serialize + DeserializeOwned + Default + Send;

    /// The shape of `State`. Raise it when stored states no longer read as they are.
    const STATE_VERSION: u32 = 1;

    /// Reads a state stored by an earlier (or later) version. The default refuses, so that no memory
    /// is overwritten by mistake: the event is retried and then shown as a dead letter.
    fn migrate(from: u32, _stored: Value) -> Result<Self::State, HandlerError> {
        Err(format!(
            "this state was stored by version {from} and the agent is at version {}: implement Agent::migrate",
            Self::STATE_VERSION
        )
        .into())
    }

    /// Whether [`Agent::accept`] is to be asked. It runs inside the mail session, so it is opt-in.
    fn screens(&self) -> bool {
        false
    }

    /// Refuses mail before it is accepted. Pure, at most 200 ms; afterwards it counts as accepted. Asked
    /// without a verdict at RCPT TO and with one at the end of DATA.
    fn accept(&self, _envelope: &Envelope<'_>) -> Admission {
        Admission::Accept
    }

    /// A mail was admitted to a conversation of this instance.
    fn on_email(
        &self,
        _cx: &mut Context<'_, Self::State>,
        _mail: &Mail,
    ) -> Result<(), HandlerError> {
        Ok(())
    }

    /// A schedule of this instance is due.
    fn on_schedule(
        &self,
        _cx: &mut Context<'_, Self::State>,
        _due: &Due,
    ) -> Result<(), HandlerError> {
        Ok(())
    }

    /// Another agent (or another instance of this one) said something. The default hands questions to
    /// [`Agent::on_question`] and answers them.
    fn on_message(
        &self,
        cx: &mut Context<'_, Self::State>,
        message: &AgentMessage,
    ) -> Result<(), HandlerError> {
        if let Some(question) = Question::of(message) {
            let answer = self.on_question(cx, &question);
            cx.answer(message, question.answered(answer));
        }
        Ok(())
    }

    /// Another agent asks and waits: an assistant through a tool of [`crate::tool::Tools::asks`], or by name. It is
    /// told the value, or the error.
    fn on_question(
        &self,
        _cx: &mut Context<'_, Self::State>,
        _question: &Question,
    ) -> Result<Value, HandlerError> {
        Err("this agent answers no questions".into())
    }

    /// A task of this instance ended, one way or another.
    fn on_task(
        &self,
        _cx: &mut Context<'_, Self::State>,
        _report: &TaskReport,
    ) -> Result<(), HandlerError> {
        Ok(())
    }

    /// A person approved or rejected something this instance wanted to send.
    fn on_approval(
        &self,
        _cx: &mut Context<'_, Self::State>,
        _decision: &ReviewDecision,
    ) -> Result<(), HandlerError> {
        Ok(())
    }

    /// A call was answered. What this says is the greeting; silence lets the operator's configured one be said.
    fn on_call_start(
        &self,
        _cx: &mut Context<'_, Self::State>,
        _call: &Call,
    ) -> Result<Reply, HandlerError> {
        Ok(Reply::silent())
    }

    /// The caller said, typed or pressed something and it is the agent's turn.
    fn on_turn(
        &self,
        _cx: &mut Context<'_, Self::State>,
        _turn: &Turn,
    ) -> Result<Reply, HandlerError> {
        Ok(Reply::silent())
    }

    /// A person wrote outside of a call.
    fn on_text(
        &self,
        cx: &mut Context<'_, Self::State>,
        text: &Turn,
    ) -> Result<Reply, HandlerError> {
        self.on_turn(cx, text)
    }

    /// The caller pressed keys.
    fn on_dtmf(
        &self,
        cx: &mut Context<'_, Self::State>,
        keys: &Turn,
    ) -> Result<Reply, HandlerError> {
        self.on_turn(cx, keys)
    }

    /// The caller cut off what was being said. What they say instead comes as a turn of its own.
    fn on_interrupt(
        &self,
        _cx: &mut Context<'_, Self::State>,
        _interrupted: &Interrupted,
    ) -> Result<(), HandlerError> {
        Ok(())
    }

    /// Something was understood, perhaps still to change.
    fn on_transcript(
        &self,
        _cx: &mut Context<'_, Self::State>,
        _transcript: &Transcript,
    ) -> Result<(), HandlerError> {
        Ok(())
    }

    /// The client of a call sent a message of the application's own. What it claims is the caller's word.
    fn on_client_message(
        &self,
        _cx: &mut Context<'_, Self::State>,
        _message: &ClientMessage,
    ) -> Result<(), HandlerError> {
        Ok(())
    }

    /// A call is over. Unlike the handlers above, this one is told durably: the event is committed with the
    /// end of the call, survives a crash and is retried.
    fn on_call_end(
        &self,
        _cx: &mut Context<'_, Self::State>,
        _ended: &CallEnded,
    ) -> Result<(), HandlerError> {
        Ok(())
    }

    /// Whether this agent only writes down what is said: its calls have no turns and no voice, and every final
    /// transcript is stored as a message of the caller's.
    fn listens_only(&self) -> bool {
        false
    }

    /// Changes what was understood before anybody sees it, or drops it. Pure and quick, as are the next two.
    fn after_transcription(&self, text: String) -> Option<String> {
        Some(text)
    }

    /// Changes a sentence before it is spoken, or drops it. The history keeps what was said before the change.
    fn before_synthesis(&self, text: String) -> Option<String> {
        Some(text)
    }

    /// Changes the sound of a sentence (mono, `rate` samples a second) before it is played. Emptied, it is
    /// not played.
    fn after_synthesis(&self, _sound: &mut Vec<i16>, _rate: u32) {}

    /// The model, tools and instructions with which turns of this agent are taken, if it takes any: see
    /// [`Context::start_turn`].
    fn mind(&self) -> Option<Arc<Mind>> {
        None
    }

    /// Does the work of a task. May wait and do I/O. It is started again after a crash: look at
    /// [`Task::checkpoint`], and make outside calls through [`TaskContext::call`].
    fn run_task<'a>(&'a self, task: &'a Task, _cx: &'a TaskContext) -> TaskFuture<'a> {
        Box::pin(async move { Err(format!("this agent has no task named {:?}", task.name).into()) })
    }
}

/// What [`Agent::accept`] decides on.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// Lower-case envelope sender; empty for the null reverse-path.
    pub reverse_path: &'a str,
    /// Lower-case recipient.
    pub recipient: &'a str,
    /// Known at the end of DATA only.
    pub verdict: Option<Verdict>,
    /// The address in From, at the end of DATA only.
    pub from: Option<&'a str>,
}

/// The answer of [`Agent::accept`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    Accept,
    /// Refused in the session with this reason, which the sender will read.
    Refuse(String),
}

/// A schedule that fired.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Due {
    pub schedule: ScheduleId,
    pub name: String,
    pub payload: Value,
    /// When it should have fired. Later than that only if the server was down or busy.
    pub due_at: Timestamp,
}

/// Something an agent says to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentMessage {
    /// The name of the agent that spoke.
    pub from_agent: String,
    /// The instance that spoke; answer with [`Context::answer`].
    pub from_instance: InstanceId,
    pub body: Value,
    /// How many messages led to this one.
    pub hops: u32,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskReport {
    pub task: TaskId,
    pub name: String,
    pub end: TaskEnd,
}

/// The ways a task can end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum TaskEnd {
    Done {
        result: Value,
    },
    Failed {
        error: String,
    },
    Cancelled,
    /// An outside call was under way when the server stopped, and nobody can tell whether it happened.
    Uncertain {
        call: String,
    },
}

/// What a person decided about a draft or a held message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewDecision {
    /// The outgoing message.
    pub message: MessageId,
    pub conversation: ConversationId,
    pub approved: bool,
    /// What the reviewer said, if anything.
    pub reason: String,
}

/// A durable piece of work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    pub id: TaskId,
    pub instance: InstanceId,
    pub name: String,
    pub payload: Value,
    /// The last value given to [`TaskContext::checkpoint`], or null.
    pub checkpoint: Value,
    /// 1 the first time.
    pub attempt: u32,
}

/// Something said earlier in the conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    pub message: MessageId,
    pub channel: String,
    /// `human`, `agent` or `note`.
    pub role: String,
    pub author: String,
    /// Of what an agent spoke, as much as was heard.
    pub text: String,
    /// Whether it was cut off: there was more, which nobody heard.
    #[serde(default)]
    pub interrupted: bool,
    pub at: Timestamp,
}

/// Who an instance talks to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactCard {
    pub name: String,
    pub trust: Trust,
    /// Proven addresses and numbers.
    pub handles: Vec<String>,
}

/// What a handler may look up. Only admitted messages of its own instance are visible through it.
pub trait History {
    /// The newest `limit` messages of the instance, oldest first.
    fn recent(&self, instance: InstanceId, limit: usize) -> Vec<Said>;
    /// Attachments of a message of the instance.
    fn attachments(&self, instance: InstanceId, message: MessageId) -> Vec<Attachment>;
    /// The proven correspondent of the instance, if it belongs to one.
    fn contact(&self, instance: InstanceId) -> Option<ContactCard>;
}

/// A handler's world: its state, what it may look up, and the effects it asks for.
pub struct Context<'a, S> {
    /// The memory of this instance. Changes are committed with the effects.
    pub state: S,
    pub(crate) meta: Meta<'a>,
    pub(crate) effects: Vec<Effect>,
}

/// What a handler runs on, apart from the state.
#[derive(Clone, Copy)]
pub struct Meta<'a> {
    pub now: Timestamp,
    pub agent: &'a str,
    pub instance: InstanceId,
    pub key: &'a str,
    /// The mail being handled, if it is one.
    pub mail: Option<&'a Mail>,
    /// The conversation being handled: of the mail, the call or the chat.
    pub conversation: Option<ConversationId>,
    /// The call being handled, if it is one.
    pub call: Option<&'a Call>,
    /// Who is at the other end of the call or chat.
    pub caller: Option<&'a CallerCard>,
    /// Hops of the message being handled.
    pub hops: u32,
    pub history: &'a dyn History,
}

impl<'a, S> Context<'a, S> {
    /// The time of this run.
    pub fn now(&self) -> Timestamp {
        self.meta.now
    }

    /// The name of the agent.
    pub fn agent(&self) -> &str {
        self.meta.agent
    }

    /// The instance this runs for.
    pub fn instance(&self) -> InstanceId {
        self.meta.instance
    }

    /// The key of the instance, such as `contact:12` or `shared`.
    pub fn key(&self) -> &str {
        self.meta.key
    }

    /// The newest `limit` messages of this instance, oldest first.
    pub fn history(&self, limit: usize) -> Vec<Said> {
        self.meta.history.recent(self.meta.instance, limit)
    }

    /// The proven correspondent of this instance, if it belongs to one.
    pub fn contact(&self) -> Option<ContactCard> {
        self.meta.history.contact(self.meta.instance)
    }

    /// Answers the mail being handled. The gate decides whether it leaves at once or waits for a person.
    ///
    /// Outside of [`Agent::on_email`] there is nothing to answer: use [`Context::reply_to`].
    pub fn reply(&mut self, draft: impl Into<Draft>) {
        match self.meta.mail {
            Some(mail) => self.reply_to(mail.id, draft),
            None => self.note_failure("reply() was called where no mail is being handled"),
        }
    }

    /// Answers an earlier mail of this instance.
    pub fn reply_to(&mut self, message: MessageId, draft: impl Into<Draft>) {
        self.effects.push(Effect::Reply { answers: message, draft: draft.into() });
    }

    /// Sends a mail that answers nothing, into the conversation being handled or, where there is none, into
    /// a new one.
    pub fn send(
        &mut self,
        to: impl IntoIterator<Item = impl Into<String>>,
        draft: impl Into<Draft>,
    ) {
        self.effects.push(Effect::Send {
            conversation: self.meta.conversation,
            to: to.into_iter().map(Into::into).collect(),
            draft: draft.into(),
        });
    }

    /// Tells the installation's own people: a note in the conversation, and a place in the review queue.
    pub fn file_for_review(&mut self, why: impl Into<String>) {
        if let Some(conversation) = self.meta.conversation {
            self.effects.push(Effect::Review { conversation, why: why.into() });
        }
    }

    /// Puts the mail being handled aside: it stays visible with this reason and out of every history.
    pub fn set_aside(&mut self, reason: impl Into<String>) {
        if let Some(mail) = self.meta.mail {
            self.effects.push(Effect::SetAside { message: mail.id, reason: reason.into() });
        }
    }

    /// Writes a note into the conversation being handled. Correspondents never see it.
    pub fn note(&mut self, text: impl Into<String>) {
        if let Some(conversation) = self.meta.conversation {
            self.effects.push(Effect::Note { conversation, text: text.into() });
        }
    }

    /// Calls [`Agent::on_schedule`] later. The name is the idempotency key: scheduling the same name again
    /// moves the existing schedule of this instance instead of adding one.
    pub fn schedule(&mut self, name: impl Into<String>, when: When, payload: Value) {
        self.effects.push(Effect::Schedule { name: name.into(), when, payload });
    }

    /// Cancels a schedule of this instance by name; nothing happens if there is none.
    pub fn cancel_schedule(&mut self, name: impl Into<String>) {
        self.effects.push(Effect::CancelSchedule { name: name.into() });
    }

    /// Starts a task. The key is its idempotency key: if this instance has a task with it, nothing
    /// happens. With a deadline, the task fails if it has not ended by then.
    pub fn start_task(
        &mut self,
        name: impl Into<String>,
        key: impl Into<String>,
        payload: Value,
        deadline: Option<SignedDuration>,
    ) {
        self.effects.push(Effect::StartTask {
            name: name.into(),
            key: key.into(),
            payload,
            deadline: deadline.and_then(|d| self.meta.now.checked_add(d).ok()),
        });
    }

    /// Cancels a task of this instance by its key. It ends as [`TaskEnd::Cancelled`] once it notices.
    pub fn cancel_task(&mut self, key: impl Into<String>) {
        self.effects.push(Effect::CancelTask { key: key.into() });
    }

    /// Has [`Agent::mind`] take a turn. One with the same cause is taken once.
    pub fn start_turn(&mut self, request: TurnRequest) {
        self.effects.push(Effect::StartTurn(request));
    }

    /// Says something to an agent's instance, which gets it as [`Agent::on_message`]. `key` names the instance
    /// and is created if it does not exist; only `shared` and `tag:…` keys can be named this way, because a
    /// correspondent's memory is reached through a proven handle alone.
    pub fn tell(&mut self, agent: impl Into<String>, key: impl Into<String>, body: Value) {
        self.effects.push(Effect::Tell {
            agent: agent.into(),
            target: TellTarget::Key(key.into()),
            body,
            hops: self.meta.hops + 1,
        });
    }

    /// Answers a message from another agent.
    pub fn answer(&mut self, message: &AgentMessage, body: Value) {
        self.effects.push(Effect::Tell {
            agent: message.from_agent.clone(),
            target: TellTarget::Instance(message.from_instance),
            body,
            hops: message.hops + 1,
        });
    }

    pub(crate) fn note_failure(&mut self, text: &str) {
        tracing::error!(agent = self.meta.agent, instance = %self.meta.instance, "{text}");
    }
}

/// An effect as it waits for its commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    Reply {
        answers: MessageId,
        draft: Draft,
    },
    Send {
        conversation: Option<ConversationId>,
        to: Vec<String>,
        draft: Draft,
    },
    SetAside {
        message: MessageId,
        reason: String,
    },
    Review {
        conversation: ConversationId,
        why: String,
    },
    Note {
        conversation: ConversationId,
        text: String,
    },
    Schedule {
        name: String,
        when: When,
        payload: Value,
    },
    CancelSchedule {
        name: String,
    },
    StartTask {
        name: String,
        key: String,
        payload: Value,
        deadline: Option<Timestamp>,
    },
    CancelTask {
        key: String,
    },
    Tell {
        agent: String,
        target: TellTarget,
        body: Value,
        hops: u32,
    },
    NotifyOwner {
        conversation: Option<ConversationId>,
        draft: Draft,
    },
    Speak {
        call: Option<CallId>,
        text: String,
    },
    SendJson {
        call: Option<CallId>,
        body: Value,
    },
    HangUp {
        call: CallId,
        farewell: Option<String>,
    },
    Transfer {
        call: CallId,
        to: String,
    },
    /// A final transcript of an agent that only listens. Asked for by the runtime.
    Dictated {
        call: CallId,
        text: String,
    },
    /// A reply or mail that a person reads first, whatever the rules.
    Draft {
        answers: Option<MessageId>,
        to: Vec<String>,
        draft: Draft,
    },
    StartTurn(TurnRequest),
    Remember {
        name: String,
        text: String,
        trust: Trust,
    },
    Forget {
        name: String,
    },
    Label {
        conversation: ConversationId,
        label: String,
    },
    /// Takes a turn about what another agent asks, in a conversation of its own.
    TakeQuestion(AgentQuestion),
    /// The result of a call that another agent was asked for.
    Answered {
        instance: InstanceId,
        answer: AgentAnswer,
    },
}

/// Whom an [`Effect::Tell`] reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TellTarget {
    Key(String),
    Instance(InstanceId),
}

/// What happened, as stored in the queue of an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    Email { message: MessageId },
    Schedule(Due),
    Message(AgentMessage),
    Task(TaskReport),
    Approval(ReviewDecision),
    CallEnded { call: CallId },
}

impl Event {
    /// A word for logs and lists.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Email { .. } => "email",
            Self::Schedule(_) => "schedule",
            Self::Message(_) => "message",
            Self::Task(_) => "task",
            Self::Approval(_) => "approval",
            Self::CallEnded { .. } => "call_ended",
        }
    }
}

/// An event with what its handler needs, as of one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub instance: InstanceId,
    pub key: String,
    /// Rises with every commit to the instance.
    pub version: i64,
    pub state: String,
    pub state_version: u32,
    pub event: Event,
    /// Loaded for [`Event::Email`].
    pub mail: Option<Mail>,
    /// Loaded for [`Event::CallEnded`].
    pub ended: Option<CallEnded>,
}

/// What a run of a handler asks to be committed.
#[derive(Debug, Clone, PartialEq)]
pub struct Handled {
    /// The new state as JSON with its version, or `None` where it did not change.
    pub state: Option<(String, u32)>,
    pub effects: Vec<Effect>,
}

/// An [`Agent`] without its state type, so that one registry holds them all.
pub(crate) trait AnyAgent: Send + Sync + 'static {
    fn handle(
        &self,
        agent: &str,
        snapshot: &Snapshot,
        history: &dyn History,
        now: Timestamp,
    ) -> Result<Handled, HandlerError>;
    fn handle_live(
        &self,
        agent: &str,
        snapshot: &LiveSnapshot,
        event: &LiveEvent,
        history: &dyn History,
        now: Timestamp,
    ) -> Result<(Reply, Handled), HandlerError>;
    fn listens_only(&self) -> bool;
    fn after_transcription(&self, text: String) -> Option<String>;
    fn before_synthesis(&self, text: String) -> Option<String>;
    fn after_synthesis(&self, sound: &mut Vec<i16>, rate: u32);
    fn screens(&self) -> bool;
    fn accept(&self, envelope: &Envelope<'_>) -> Admission;
    fn run_task<'a>(&'a self, task: &'a Task, cx: &'a TaskContext) -> TaskFuture<'a>;
    fn mind(&self) -> Option<Arc<Mind>>;
}

pub(crate) struct Erased<A>(pub A);

impl<A: Agent> AnyAgent for Erased<A> {
    fn handle(
        &self,
        agent: &str,
        snapshot: &Snapshot,
        history: &dyn History,
        now: Timestamp,
    ) -> Result<Handled, HandlerError> {
        let state = read_state::<A>(&snapshot.state, snapshot.state_version)?;
        let hops = match &snapshot.event {
            Event::Message(message) => message.hops,
            _ => 0,
        };
        let call = snapshot.ended.as_ref().map(|ended| &ended.call);
        let conversation = (snapshot.mail.as_ref().map(|mail| mail.conversation))
            .or(call.map(|call| call.conversation));
        let mut cx = Context {
            state,
            meta: Meta {
                now,
                agent,
                instance: snapshot.instance,
                key: &snapshot.key,
                mail: snapshot.mail.as_ref(),
                conversation,
                call,
                caller: call.map(|call| &call.caller),
                hops,
                history,
            },
            effects: Vec::new(),
        };
        match &snapshot.event {
            Event::Email { .. } => {
                let mail = snapshot.mail.as_ref().ok_or("the mail of this event is gone")?;
                self.0.on_email(&mut cx, mail)?;
            }
            Event::Schedule(due) => self.0.on_schedule(&mut cx, due)?,
            Event::Message(message) => self.0.on_message(&mut cx, message)?,
            Event::Task(report) => self.0.on_task(&mut cx, report)?,
            Event::Approval(decision) => self.0.on_approval(&mut cx, decision)?,
            Event::CallEnded { .. } => {
                let ended = snapshot.ended.as_ref().ok_or("the call of this event is gone")?;
                self.0.on_call_end(&mut cx, ended)?;
            }
        }
        handled::<A>(cx, &snapshot.state, snapshot.state_version)
    }

    fn handle_live(
        &self,
        agent: &str,
        snapshot: &LiveSnapshot,
        event: &LiveEvent,
        history: &dyn History,
        now: Timestamp,
    ) -> Result<(Reply, Handled), HandlerError> {
        let call = snapshot.call.as_ref();
        let mut cx = Context {
            state: read_state::<A>(&snapshot.state, snapshot.state_version)?,
            meta: Meta {
                now,
                agent,
                instance: snapshot.instance,
                key: &snapshot.key,
                mail: None,
                conversation: Some(snapshot.conversation),
                call,
                caller: call
                    .map(|call| &call.caller)
                    .or_else(|| event.turn().map(|turn| &turn.caller)),
                hops: 0,
                history,
            },
            effects: Vec::new(),
        };
        let reply = match event {
            LiveEvent::Start => {
                let call = call.ok_or("a call is started outside of a call")?;
                self.0.on_call_start(&mut cx, call)?
            }
            LiveEvent::Turn(turn) => self.0.on_turn(&mut cx, turn)?,
            LiveEvent::Text(turn) => self.0.on_text(&mut cx, turn)?,
            LiveEvent::Keys(turn) => self.0.on_dtmf(&mut cx, turn)?,
            LiveEvent::Interrupt(interrupted) => {
                self.0.on_interrupt(&mut cx, interrupted)?;
                Reply::silent()
            }
            LiveEvent::Transcript(transcript) => {
                self.0.on_transcript(&mut cx, transcript)?;
                Reply::silent()
            }
            LiveEvent::Client(message) => {
                self.0.on_client_message(&mut cx, message)?;
                Reply::silent()
            }
        };
        Ok((reply, handled::<A>(cx, &snapshot.state, snapshot.state_version)?))
    }

    fn listens_only(&self) -> bool {
        self.0.listens_only()
    }

    fn after_transcription(&self, text: String) -> Option<String> {
        self.0.after_transcription(text)
    }

    fn before_synthesis(&self, text: String) -> Option<String> {
        self.0.before_synthesis(text)
    }

    fn after_synthesis(&self, sound: &mut Vec<i16>, rate: u32) {
        self.0.after_synthesis(sound, rate);
    }

    fn screens(&self) -> bool {
        self.0.screens()
    }

    fn accept(&self, envelope: &Envelope<'_>) -> Admission {
        self.0.accept(envelope)
    }

    fn run_task<'a>(&'a self, task: &'a Task, cx: &'a TaskContext) -> TaskFuture<'a> {
        self.0.run_task(task, cx)
    }

    fn mind(&self) -> Option<Arc<Mind>> {
        self.0.mind()
    }
}

/// The state as an agent reads it, whichever version stored it.
fn read_state<A: Agent>(stored: &str, version: u32) -> Result<A::State, HandlerError> {
    if version == 0 {
        Ok(A::State::default())
    } else if version == A::STATE_VERSION {
        Ok(serde_json::from_str(stored)
            .map_err(|e| format!("the stored state does not read as this agent's State: {e}"))?)
    } else {
        A::migrate(version, serde_json::from_str(stored)?)
    }
}

/// What a run asks to be committed, given the state it began with.
fn handled<A: Agent>(
    cx: Context<'_, A::State>,
    before: &str,
    version: u32,
) -> Result<Handled, HandlerError> {
    let after = serde_json::to_string(&cx.state)?;
    let unchanged = after == before && version == A::STATE_VERSION;
    Ok(Handled { state: (!unchanged).then_some((after, A::STATE_VERSION)), effects: cx.effects })
}
