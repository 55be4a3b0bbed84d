//! Tools: what a model can do.
//!
//! A [`Tool`] is a function with a schema derived from its argument type (or, for tools that come from
//! elsewhere, given). It says what kind of effect it has, how far its correspondent must be trusted, how long
//! it may take, and whether what it returns was written by strangers. Whether a call is made at once is not
//! for the tool to say: the gate decides.
//!
//! A tool that changes the database does so by returning effects, which are committed together with
//! its result. A tool that acts outside gets an idempotency key.

pub mod builtin;
mod schema;
mod source;

use crate::{
    ConversationId, InstanceId, MessageId, Store, TaskId, Trust,
    agent::{Effect, HandlerError},
    gate::Approval,
    model,
    schedule::When,
    turn::step::{CallEnd, CallId, CallResult, Foreign, ForeignKind},
};
use futures_util::future::join_all;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

pub use crate::runtime::tasks::CallEffect;
pub use schema::of as schema_of;
pub use source::{Readying, ToolSource};

/// The tool that answers the mail a turn is about.
pub const REPLY: &str = "reply";
/// The tool that ends a turn with a person's work.
pub const HAND_TO_PERSON: &str = "hand_to_person";

/// How long a tool may take unless it says otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// The longest name every provider takes.
const NAME_MAX: usize = 64;

/// What a tool says of itself.
#[derive(Debug, Clone)]
pub struct ToolSpec {
    pub name: String,
    pub description: String,
    /// JSON Schema of the arguments, an object.
    pub schema: Value,
    pub effect: CallEffect,
    /// Below this a person must approve.
    pub least_trust: Trust,
    /// Which calls a person approves whatever else holds. `None`: what the effect suggests.
    pub approval: Option<Approval>,
    pub timeout: Duration,
    /// What it returns may be written by strangers.
    pub foreign: bool,
    /// All it does is in the effects it returns, so it needs no intent.
    pub local: bool,
    /// It hands mail to the gate itself, which holds what must be held as a draft.
    pub mails: bool,
    /// It runs as a task of its own; the turn goes on at once.
    pub background: bool,
}

impl ToolSpec {
    /// The defaults of an effect.
    pub fn new(
        name: impl Into<String>,
        description: impl Into<String>,
        effect: CallEffect,
        schema: Value,
    ) -> Self {
        Self {
            name: name.into(),
            description: description.into(),
            schema,
            effect,
            least_trust: match effect {
                CallEffect::Read | CallEffect::Reversible => Trust::Unproven,
                CallEffect::Final => Trust::Known,
            },
            approval: None,
            timeout: TIMEOUT,
            foreign: false,
            local: false,
            mails: false,
            background: false,
        }
    }

    /// Which calls a person approves.
    pub fn approval(&self) -> Approval {
        self.approval.unwrap_or(match self.effect {
            CallEffect::Read | CallEffect::Reversible => Approval::None,
            CallEffect::Final => Approval::All,
        })
    }
}

/// What a tool returns.
#[derive(Clone, Default)]
pub struct ToolOutput {
    /// For the model.
    pub text: String,
    /// What it does to the database, committed with the result.
    pub effects: Vec<Effect>,
    /// Foreign text in `text`.
    pub foreign: Vec<Foreign>,
    /// Files that the model is shown beside `text`.
    pub files: Vec<builtin::FileRef>,
    /// It failed, `text` says why, and nothing was done.
    pub failed: bool,
    /// The text is ours, though what the tool returns otherwise is foreign.
    pub(crate) ours: bool,
    /// Somebody answers until this time; `text` is not used.
    pub(crate) awaited_until: Option<Timestamp>,
}

/// Texts do not reach logs.
impl fmt::Debug for ToolOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ToolOutput({} bytes, {} effects)", self.text.len(), self.effects.len())
    }
}

impl ToolOutput {
    /// Text without effects.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// A failure of which it is clear that nothing was done. An error of a tool whose effect is final leaves
    /// that open, and a person has to look.
    pub fn failed(why: impl Into<String>) -> Self {
        Self { text: why.into(), failed: true, ..Self::default() }
    }

    /// A failure that keeps a call from being made at all, in words of ours: they are not foreign, even where
    /// what the tool returns is.
    pub fn not_made(why: impl Into<String>) -> Self {
        Self { ours: true, ..Self::failed(why) }
    }

    /// The same with an effect.
    #[must_use]
    pub fn with(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }
}

impl From<&str> for ToolOutput {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for ToolOutput {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<Value> for ToolOutput {
    fn from(value: Value) -> Self {
        match value {
            Value::String(text) => Self::text(text),
            other => Self::text(other.to_string()),
        }
    }
}

/// What a tool works with.
#[derive(Clone)]
pub struct ToolContext {
    /// The same however often the call is made: for services that honour such keys.
    pub idempotency_key: String,
    pub turn: TaskId,
    pub call: CallId,
    pub agent: String,
    pub instance: InstanceId,
    pub conversation: ConversationId,
    /// The message the turn is about, if it is about one.
    pub message: Option<MessageId>,
    /// The least trusted person whose words the model was shown.
    pub trust: Trust,
    pub now: Timestamp,
    pub(crate) inner: Arc<Inner>,
}

impl ToolContext {
    /// Lets the assistant come back to this conversation: what a tool returns with it is scheduled when its result is
    /// recorded. A follow-up of the same name in this conversation is moved. The note is for the assistant, which
    /// then says something or does not.
    pub fn follow_up(&self, name: &str, when: When, note: &str) -> Effect {
        Effect::Schedule {
            name: format!("follow-up:{}:{name}", self.conversation),
            when,
            payload: serde_json::json!({ "follow_up": {
                "conversation": self.conversation, "note": note, "answers": self.message,
            } }),
        }
    }
}

/// What only built-in tools use.
pub(crate) struct Inner {
    pub store: Store,
    pub files: Option<Arc<dyn Attachments>>,
    /// The last message the turn may see.
    pub through: MessageId,
    /// Agents that led to this turn by asking each other.
    pub asked_by: Vec<String>,
    /// What the model takes beside text.
    pub takes: model::Capabilities,
    /// The turn so far.
    pub so_far: Arc<crate::turn::Turn>,
}

/// Arguments and texts do not reach logs.
impl fmt::Debug for ToolContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolContext")
            .field("idempotency_key", &self.idempotency_key)
            .finish_non_exhaustive()
    }
}

/// The bytes of attachments, which the mail side finds inside raw messages.
pub trait Attachments: Send + Sync + 'static {
    /// The decoded bytes of a part of a raw message.
    fn read(&self, raw: &[u8], part: u32) -> Result<Vec<u8>, HandlerError>;
}

/// What [`Tool::run`] returns.
pub type Running<'a> = Pin<Box<dyn Future<Output = Result<ToolOutput, HandlerError>> + Send + 'a>>;

/// Something a model can call.
pub trait Tool: Send + Sync + 'static {
    fn spec(&self) -> &ToolSpec;
    /// Whether it would take these arguments; the error is for the model.
    fn check(&self, arguments: &Value) -> Result<(), String>;
    /// Makes the call. The error is for the model.
    fn run<'a>(&'a self, arguments: Value, cx: ToolContext) -> Running<'a>;
}

/// The tools of an agent, by name, and where more come from.
#[derive(Clone, Default)]
pub struct Tools {
    tools: BTreeMap<String, Arc<dyn Tool>>,
    sources: Vec<Arc<dyn ToolSource>>,
}

impl fmt::Debug for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.tools.keys()).finish()
    }
}

/// A tool that cannot be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    #[error("a tool cannot be named {0:?}: 1 to 64 letters, digits, _ and -")]
    Name(String),
    #[error("there are two tools named {0:?}: give one of them another name")]
    Twice(String),
    #[error("the schema of tool {0:?} does not describe an object")]
    Schema(String),
    #[error("there is no tool named {0:?}; there are: {1}")]
    Unknown(String, String),
}

impl Tools {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a function. Its schema is derived from its argument type, whose doc comments the model reads.
    ///
    /// A name that is not allowed or taken is a mistake in the program and panics; tools that come from
    /// elsewhere are added by [`Tools::insert`].
    #[must_use]
    pub fn add<A, F, R, O>(self, name: &str, what: &str, effect: CallEffect, run: F) -> Self
    where
        A: DeserializeOwned + JsonSchema + Send + 'static,
        F: Fn(A, ToolContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, HandlerError>> + Send + 'static,
        O: Into<ToolOutput> + 'static,
    {
        self.add_as(name, what, effect, |_| (), run)
    }

    /// The same with other settings than the defaults of its effect.
    #[must_use]
    pub fn add_as<A, F, R, O>(
        mut self,
        name: &str,
        what: &str,
        effect: CallEffect,
        settings: impl FnOnce(&mut ToolSpec),
        run: F,
    ) -> Self
    where
        A: DeserializeOwned + JsonSchema + Send + 'static,
        F: Fn(A, ToolContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, HandlerError>> + Send + 'static,
        O: Into<ToolOutput> + 'static,
    {
        let mut spec = ToolSpec::new(name, what, effect, schema::of::<A>());
        settings(&mut spec);
        let tool = Function { spec, run, of: std::marker::PhantomData::<fn(A) -> O> };
        if let Err(error) = self.insert(Arc::new(tool)) {
            panic!("{error}");
        }
        self
    }

    /// Adds a tool that asks an agent and waits for its answer. What the model gives is the question: the other
    /// agent reads it as the same type with [`crate::Question::read`], and whatever value it answers with is what
    /// the model is told.
    #[must_use]
    pub fn asks<Q>(self, name: &str, what: &str, agent: &'static str) -> Self
    where
        Q: DeserializeOwned + Serialize + JsonSchema + Send + 'static,
    {
        self.add_as(
            name,
            what,
            CallEffect::Reversible,
            builtin::asking,
            move |question: Q, cx| async move {
                builtin::ask(agent, serde_json::to_string(&question)?, &cx)
            },
        )
    }

    /// Adds a tool.
    pub fn insert(&mut self, tool: Arc<dyn Tool>) -> Result<(), ToolError> {
        let spec = tool.spec();
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if spec.name.is_empty() || spec.name.len() > NAME_MAX || !spec.name.chars().all(fits) {
            return Err(ToolError::Name(spec.name.clone()));
        }
        if spec.schema.get("type").and_then(Value::as_str) != Some("object") {
            return Err(ToolError::Schema(spec.name.clone()));
        }
        let name = spec.name.clone();
        if self.tools.contains_key(&name) {
            return Err(ToolError::Twice(name));
        }
        self.tools.insert(name, tool);
        Ok(())
    }

    /// Adds a source of tools, all of whose tools may be used.
    #[must_use]
    pub fn from_source(mut self, source: Arc<dyn ToolSource>) -> Self {
        self.sources.push(source);
        self
    }

    /// All of these and those.
    pub fn merge(&mut self, other: Self) -> Result<(), ToolError> {
        self.sources.extend(other.sources);
        other.tools.into_values().try_for_each(|tool| self.insert(tool))
    }

    /// Only those named, and the sources. A name nobody has is an error, for it is a misspelt one.
    pub fn only(mut self, names: &BTreeSet<String>) -> Result<Self, ToolError> {
        if let Some(unknown) = names.iter().find(|name| !self.tools.contains_key(*name)) {
            let known = self.tools.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(ToolError::Unknown(unknown.clone(), known));
        }
        self.tools.retain(|name, _| names.contains(name));
        Ok(self)
    }

    /// Has the sources find out what they offer, each for so long at most.
    pub(crate) async fn ready(&self, patience: Duration) {
        join_all(self.sources.iter().map(|source| source.ready(patience))).await;
    }

    /// Whether there are tools that come and go.
    pub fn has_sources(&self) -> bool {
        !self.sources.is_empty()
    }

    /// A tool by its name: of those that were added, else of what a source offers now.
    pub fn get(&self, name: &str) -> Option<Arc<dyn Tool>> {
        let fixed = self.tools.get(name).cloned();
        fixed.or_else(|| self.sources.iter().find_map(|source| source.tool(name)))
    }

    /// Those that were added, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Tool>> {
        self.tools.values()
    }

    /// As the model is told of them, with what the sources offer now. What an added tool is named, no source can
    /// offer.
    pub fn for_model(&self, offered: impl Fn(&ToolSpec) -> bool) -> Vec<model::ToolSpec> {
        let mut all = self.tools.clone();
        for tool in self.sources.iter().flat_map(|source| source.tools()) {
            let name = tool.spec().name.clone();
            all.entry(name).or_insert(tool);
        }
        all.values()
            .map(|tool| tool.spec())
            .filter(|spec| offered(spec))
            .map(|spec| model::ToolSpec {
                name: spec.name.clone(),
                description: spec.description.clone(),
                schema: spec.schema.clone(),
            })
            .collect()
    }
}

/// A Rust function as a tool.
struct Function<A, F, O> {
    spec: ToolSpec,
    run: F,
    of: std::marker::PhantomData<fn(A) -> O>,
}

impl<A, F, R, O> Tool for Function<A, F, O>
where
    A: DeserializeOwned + JsonSchema + Send + 'static,
    F: Fn(A, ToolContext) -> R + Send + Sync + 'static,
    R: Future<Output = Result<O, HandlerError>> + Send + 'static,
    O: Into<ToolOutput> + 'static,
{
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn check(&self, arguments: &Value) -> Result<(), String> {
        A::deserialize(arguments).map(|_| ()).map_err(|error| error.to_string())
    }

    fn run<'a>(&'a self, arguments: Value, cx: ToolContext) -> Running<'a> {
        Box::pin(async move {
            let arguments = serde_json::from_value(arguments)?;
            Ok((self.run)(arguments, cx).await?.into())
        })
    }
}

/// A tool from elsewhere, with a schema of its own: another server's, under a name such as
/// `server__tool`.
pub struct Dynamic<F> {
    spec: ToolSpec,
    run: F,
}

impl<F, R> Dynamic<F>
where
    F: Fn(Value, ToolContext) -> R + Send + Sync + 'static,
    R: Future<Output = Result<ToolOutput, HandlerError>> + Send + 'static,
{
    /// A tool with a given schema. What it returns counts as foreign until `spec` says otherwise.
    pub fn new(spec: ToolSpec, run: F) -> Self {
        Self { spec, run }
    }
}

impl<F, R> Tool for Dynamic<F>
where
    F: Fn(Value, ToolContext) -> R + Send + Sync + 'static,
    R: Future<Output = Result<ToolOutput, HandlerError>> + Send + 'static,
{
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn check(&self, arguments: &Value) -> Result<(), String> {
        schema::check(&self.spec.schema, arguments)
    }

    fn run<'a>(&'a self, arguments: Value, cx: ToolContext) -> Running<'a> {
        Box::pin((self.run)(arguments, cx))
    }
}

/// The arguments of a call, or the result that says what is wrong with them.
pub(crate) fn arguments_of(
    tool: &dyn Tool,
    asked: &model::ToolCall,
    edited: Option<&Value>,
) -> Result<Value, CallResult> {
    let arguments = match (edited, &asked.arguments) {
        (Some(edited), _) => edited.clone(),
        (None, model::Arguments::Object(object)) => Value::Object(object.clone()),
        (None, model::Arguments::Malformed { error, .. }) => {
            return Err(CallResult::new(
                CallEnd::BadJson,
                format!("The call was not made: {error}. Send one JSON object."),
            ));
        }
    };
    match tool.check(&arguments) {
        Ok(()) => Ok(arguments),
        Err(error) => Err(CallResult::new(
            CallEnd::BadArguments,
            format!("The call was not made: the arguments do not fit the schema: {error}."),
        )),
    }
}

/// What a tool returned, with its foreign texts marked.
pub(crate) fn mark(spec: &ToolSpec, mut output: ToolOutput) -> ToolOutput {
    if spec.foreign && !output.ours && output.foreign.is_empty() {
        output.foreign.push(Foreign::new(
            ForeignKind::Service,
            format!("the tool {}", spec.name),
            &output.text,
        ));
    }
    output
}
