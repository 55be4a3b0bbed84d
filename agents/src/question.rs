//! Questions that agents ask each other, as an agent written in Rust answers them.

use crate::{
    Trust,
    agent::{AgentMessage, HandlerError},
    turn::{AgentAnswer, AgentQuestion, Exchange},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A question of another agent, which waits for the answer.
#[derive(Debug, Clone)]
pub struct Question {
    asked: AgentQuestion,
}

impl Question {
    /// The question that a message is, if it is one.
    pub fn of(message: &AgentMessage) -> Option<Self> {
        match serde_json::from_value(message.body.clone()) {
            Ok(Exchange::Ask(mut asked)) => {
                // Who asks is what the store says, not what the question says.
                asked.from_instance = message.from_instance;
                Some(Self { asked })
            }
            Ok(Exchange::Answer(_)) | Err(_) => None,
        }
    }

    /// The question, as the type that both sides agreed on: see [`crate::tool::Tools::asks`].
    ///
    /// # Errors
    ///
    /// If it is something else. Returned by the handler, the asker is told.
    pub fn read<Q: DeserializeOwned>(&self) -> Result<Q, HandlerError> {
        Ok(serde_json::from_str(&self.asked.question)?)
    }

    /// The question as it was asked.
    pub fn text(&self) -> &str {
        &self.asked.question
    }

    /// Who asks.
    pub fn from_agent(&self) -> &str {
        self.asked.path.last().map_or("", String::as_str)
    }

    /// The least trusted person behind it.
    pub fn trust(&self) -> Trust {
        self.asked.trust
    }

    /// The message that ends the wait. What was foreign in the question may speak through the answer.
    pub(crate) fn answered(self, answer: Result<Value, HandlerError>) -> Value {
        let (ok, answer) = match answer {
            Ok(Value::String(text)) => (true, text),
            Ok(value) => (true, value.to_string()),
            Err(error) => (false, format!("It could not be answered: {error}.")),
        };
        let AgentQuestion { turn, call, foreign, .. } = self.asked;
        serde_json::json!(Exchange::Answer(AgentAnswer { turn, call, answer, ok, foreign }))
    }
}
