//! What starts a turn.

use crate::{ConversationId, InstanceId, MessageId, TaskId, Trust, turn::step::Foreign};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A turn to be taken.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct TurnRequest {
    /// Where it is about, and where its answer goes.
    pub conversation: ConversationId,
    pub cause: Cause,
    /// Not before this time: outside of working hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
}

/// Why a turn is taken.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum Cause {
    /// A mail came, which the answer answers.
    Mail { message: MessageId },
    /// Somebody wrote or spoke where answers are heard at once.
    Said { message: MessageId },
    /// A follow-up is due. The note is what the agent wrote to itself.
    FollowUp { name: String, due_at: Timestamp, note: String, answers: Option<MessageId> },
    /// Work that was begun in an earlier turn has ended.
    TaskEnded {
        task: TaskId,
        tool: String,
        report: String,
        #[serde(default)]
        foreign: Vec<Foreign>,
        answers: Option<MessageId>,
    },
    /// Another agent asks.
    Asked(AgentQuestion),
}

/// What an agent asks another.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentQuestion {
    /// The turn and call that wait for the answer.
    pub turn: TaskId,
    pub call: String,
    /// Who asks, and who asked them, first asker first.
    pub path: Vec<String>,
    pub from_instance: InstanceId,
    pub question: String,
    /// The least trusted person behind the question.
    pub trust: Trust,
    /// Foreign text behind the question.
    #[serde(default)]
    pub foreign: Vec<Foreign>,
}

/// What the other answers.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentAnswer {
    pub turn: TaskId,
    pub call: String,
    pub answer: String,
    /// Whether it is an answer and not the reason why there is none.
    pub ok: bool,
    #[serde(default)]
    pub foreign: Vec<Foreign>,
}

/// Texts do not reach logs.
impl std::fmt::Debug for AgentQuestion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "AgentQuestion(turn {}, call {}, {} bytes)",
            self.turn,
            self.call,
            self.question.len()
        )
    }
}

/// Texts do not reach logs.
impl std::fmt::Debug for AgentAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "AgentAnswer(turn {}, call {}, {} bytes)",
            self.turn,
            self.call,
            self.answer.len()
        )
    }
}

/// What assistants say to each other, as the body of an [`crate::agent::AgentMessage`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exchange {
    Ask(AgentQuestion),
    Answer(AgentAnswer),
}

/// Agents that may stand behind one question. Deeper ones are refused.
pub const ASK_DEPTH: usize = 4;

impl TurnRequest {
    /// The key that makes it the same turn: one per cause.
    pub fn key(&self) -> String {
        match &self.cause {
            Cause::Mail { message } => format!("mail:{message}"),
            Cause::Said { message } => format!("said:{message}"),
            Cause::FollowUp { name, due_at, .. } => {
                format!("follow-up:{name}:{}", due_at.as_millisecond())
            }
            Cause::TaskEnded { task, .. } => format!("task-ended:{task}"),
            Cause::Asked(question) => format!("asked:{}:{}", question.turn, question.call),
        }
    }

    /// A word for logs and lists.
    pub fn word(&self) -> &'static str {
        match &self.cause {
            Cause::Mail { .. } => "mail",
            Cause::Said { .. } => "said",
            Cause::FollowUp { .. } => "follow_up",
            Cause::TaskEnded { .. } => "task_ended",
            Cause::Asked(_) => "asked",
        }
    }

    /// The mail its answer answers.
    pub fn answers(&self) -> Option<MessageId> {
        match &self.cause {
            Cause::Mail { message } => Some(*message),
            Cause::FollowUp { answers, .. } | Cause::TaskEnded { answers, .. } => *answers,
            Cause::Said { .. } | Cause::Asked(_) => None,
        }
    }

    /// The message it is about.
    pub fn message(&self) -> Option<MessageId> {
        match &self.cause {
            Cause::Said { message } => Some(*message),
            _ => self.answers(),
        }
    }

    /// Agents that asked each other to come here.
    pub fn asked_by(&self) -> &[String] {
        match &self.cause {
            Cause::Asked(question) => &question.path,
            _ => &[],
        }
    }
}

/// Texts do not reach logs.
impl std::fmt::Debug for TurnRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TurnRequest({} in conversation {})", self.word(), self.conversation)
    }
}
