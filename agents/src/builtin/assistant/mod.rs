//! The assistant: a model with tools, on whatever channel it is reached.
//!
//! A mail starts a turn; what the turn says last leaves through the gate. In a call or chat a turn is heard
//! while it is taken. Mail of unproven senders is not before
//! the model until a person admits it. What the model cannot do, because it
//! fails, because its budget is used up, or because it says so, goes before a person with the reason.

mod options;

pub use options::{AssistantOptions, WorkingHours};

use crate::{
    Agent, Context, ConversationId, HandlerError, Mail, MessageId, Task, TaskContext, Trust,
    agent::{AgentMessage, Due, Effect, TaskEnd, TaskFuture, TaskReport},
    live::{self, Reply},
    model::Model,
    tool::{Attachments, CallEffect, Inner, ToolContext, ToolError, Tools, builtin, mark},
    turn::{CallId, Cause, Exchange, Foreign, Mind, Turn, TurnRequest},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// The built-in agent of kind `assistant`.
#[derive(Debug, Clone)]
pub struct Assistant {
    mind: Arc<Mind>,
    working_hours: Option<WorkingHours>,
    answers_unproven: bool,
}

/// What an assistant keeps of a task it began.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Memory {}

/// A tool that runs as a task.
#[derive(Serialize, Deserialize)]
struct Background {
    tool: String,
    arguments: Value,
    request: TurnRequest,
    trust: Trust,
    foreign: Vec<Foreign>,
}

/// What it returned.
#[derive(Deserialize)]
struct Report {
    text: String,
    foreign: Vec<Foreign>,
}

/// What a follow-up carries.
#[derive(Deserialize)]
struct FollowUp {
    conversation: ConversationId,
    note: String,
    answers: Option<MessageId>,
}

impl Assistant {
    /// An assistant with a model, the built-in tools, and tools of its own.
    pub fn new(
        options: AssistantOptions,
        model: Arc<dyn Model>,
        own: Tools,
    ) -> Result<Self, ToolError> {
        let mut wanted = options.tools.clone();
        if wanted.is_empty() {
            wanted = builtin::usual();
            wanted.extend(own.iter().map(|tool| tool.spec().name.clone()));
        }
        if own.has_sources() {
            // What other servers return can be long.
            wanted.insert(builtin::READ_RESULT.to_owned());
        }
        let mut tools = builtin::all();
        tools.merge(own)?;
        let mut mind = Mind::new(model, options.instructions, tools.only(&wanted)?);
        mind.approvals = options.approvals;
        mind.send = options.send;
        mind.budget = options.budget;
        mind.limits = options.limits;
        mind.window = options.window;
        mind.shows_files = options.shows_files;
        Ok(Self {
            mind: Arc::new(mind),
            working_hours: options.working_hours,
            answers_unproven: options.answers_unproven,
        })
    }

    /// The same with the bytes of received attachments within reach.
    #[must_use]
    pub fn with_files(mut self, files: Arc<dyn Attachments>) -> Self {
        Arc::make_mut(&mut self.mind).files = Some(files);
        self
    }

    /// While it does not answer: when it does again, and that in words.
    fn closed(&self, now: Timestamp) -> Option<(Timestamp, String)> {
        let hours = self.working_hours.as_ref()?;
        let at = hours.opens_at(now)?;
        Some((at, hours.words(at)))
    }

    fn start(&self, cx: &mut Context<'_, Memory>, conversation: ConversationId, cause: Cause) {
        let closed = self.closed(cx.now());
        if let Some((_, until)) = &closed {
            let text = format!("This waits for the working hours, which begin {until}.");
            cx.effects.push(Effect::Note { conversation, text });
        }
        let not_before = closed.map(|(at, _)| at);
        cx.start_turn(TurnRequest { conversation, cause, not_before });
    }
}

impl Agent for Assistant {
    type State = Memory;

    fn mind(&self) -> Option<Arc<Mind>> {
        Some(self.mind.clone())
    }

    fn on_email(&self, cx: &mut Context<'_, Memory>, mail: &Mail) -> Result<(), HandlerError> {
        if let Some(why) = &mail.automatic {
            cx.note(format!("Not answered, because it is automatic: {why}."));
            return Ok(());
        }
        // Such mail is before a person already, and comes here again if they admit it.
        if mail.trust == Trust::Unproven && !self.answers_unproven {
            return Ok(());
        }
        self.start(cx, mail.conversation, Cause::Mail { message: mail.id });
        Ok(())
    }

    fn on_call_start(
        &self,
        cx: &mut Context<'_, Memory>,
        _call: &live::Call,
    ) -> Result<Reply, HandlerError> {
        Ok(match self.closed(cx.now()) {
            Some((_, until)) => Reply::text(format!(
                "Nobody answers here at the moment. We are back {until}. Say what it is about, and somebody \
                 will look at it."
            )),
            None => Reply::silent(),
        })
    }

    fn on_turn(
        &self,
        cx: &mut Context<'_, Memory>,
        turn: &live::Turn,
    ) -> Result<Reply, HandlerError> {
        let Some((_, until)) = self.closed(cx.now()) else { return Ok(Reply::by_model()) };
        let why = "said outside of the working hours, and not answered".to_owned();
        cx.effects.push(Effect::Review { conversation: turn.conversation, why });
        Ok(Reply::text(format!(
            "Thank you. It is written down, and somebody will look at it. We are back {until}."
        )))
    }

    fn on_schedule(&self, cx: &mut Context<'_, Memory>, due: &Due) -> Result<(), HandlerError> {
        let Some(follow_up) = due.payload.get("follow_up") else { return Ok(()) };
        let FollowUp { conversation, note, answers } = FollowUp::deserialize(follow_up)?;
        let name = due.name.clone();
        self.start(cx, conversation, Cause::FollowUp { name, due_at: due.due_at, note, answers });
        Ok(())
    }

    fn on_message(
        &self,
        cx: &mut Context<'_, Memory>,
        message: &AgentMessage,
    ) -> Result<(), HandlerError> {
        match serde_json::from_value(message.body.clone()) {
            Ok(Exchange::Ask(mut question)) => {
                // Who asks is what the store says, not what the question says.
                question.from_instance = message.from_instance;
                cx.effects.push(Effect::TakeQuestion(question));
            }
            Ok(Exchange::Answer(answer)) => {
                let instance = cx.instance();
                cx.effects.push(Effect::Answered { instance, answer });
            }
            Err(_) => {
                tracing::warn!(
                    from = message.from_agent,
                    "an assistant was told what it does not understand"
                );
            }
        }
        Ok(())
    }

    fn on_task(
        &self,
        cx: &mut Context<'_, Memory>,
        report: &TaskReport,
    ) -> Result<(), HandlerError> {
        let Some(tool) = report.name.strip_prefix("tool:") else { return Ok(()) };
        let (request, report_of) = match &report.end {
            TaskEnd::Done { result } => {
                let request = TurnRequest::deserialize(&result["request"])?;
                let mut report = Report::deserialize(&result["output"])?;
                report.foreign.extend(Vec::<Foreign>::deserialize(&result["foreign"])?);
                (request, report)
            }
            // Nobody knows what happened: a person was told by the end of the task itself.
            TaskEnd::Failed { .. } | TaskEnd::Cancelled | TaskEnd::Uncertain { .. } => {
                return Ok(());
            }
        };
        let cause = Cause::TaskEnded {
            task: report.task,
            tool: tool.to_owned(),
            report: report_of.text,
            foreign: report_of.foreign,
            answers: request.answers(),
        };
        self.start(cx, request.conversation, cause);
        Ok(())
    }

    fn run_task<'a>(&'a self, task: &'a Task, cx: &'a TaskContext) -> TaskFuture<'a> {
        Box::pin(async move {
            let work = Background::deserialize(&task.payload)?;
            let tool =
                self.mind.tools.get(&work.tool).ok_or("there is no tool of this name any more")?;
            let store = cx.store().clone();
            let context = ToolContext {
                idempotency_key: format!("{}", task.id),
                turn: task.id,
                call: CallId { round: 0, index: 0 },
                agent: String::new(),
                instance: task.instance,
                conversation: work.request.conversation,
                message: work.request.message(),
                trust: work.trust,
                now: store.clock().now(),
                inner: Arc::new(Inner {
                    store,
                    files: self.mind.files.clone(),
                    through: MessageId(i64::MAX),
                    asked_by: Vec::new(),
                    takes: *self.mind.model.capabilities(),
                    so_far: Arc::new(Turn::default()),
                }),
            };
            let output = cx
                .call("tool", tool.spec().effect, |key| {
                    let context = ToolContext { idempotency_key: key, ..context };
                    async move {
                        let spec = tool.spec();
                        match tool.run(work.arguments, context).await {
                            Ok(output) => {
                                let output = mark(spec, output);
                                Ok(json!({ "text": output.text, "foreign": output.foreign }))
                            }
                            // Of a final one nobody knows how far it came.
                            Err(error) if spec.effect == CallEffect::Final => Err(error),
                            Err(error) => {
                                Ok(json!({ "text": format!("It failed: {error}"), "foreign": [] }))
                            }
                        }
                    }
                })
                .await?;
            Ok(json!({ "request": work.request, "output": output, "foreign": work.foreign }))
        })
    }
}
