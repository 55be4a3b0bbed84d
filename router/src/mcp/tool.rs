//! What a tool is: a name, what it is for, its arguments, and a function that asks the API.

use super::api::{Caller, Refusal};
use crate::http::access::{Need, Principal};
use frontdesk_agents::tool::schema_of;
use futures_util::future::BoxFuture;
use rmcp::model::{CallToolResult, ContentBlock, ToolAnnotations};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// What a tool does to the world, for clients that ask a person first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// It changes nothing.
    Reads,
    /// It adds or changes something that can be changed back.
    Changes,
    /// It removes something, or decides it for good.
    Ends,
    /// It makes something leave.
    Sends,
}

/// A tool as it is described.
#[derive(Debug, Clone, Copy)]
pub struct About {
    pub name: &'static str,
    pub title: &'static str,
    /// What it is for, and what comes before and after it.
    pub what: &'static str,
    pub does: Does,
    /// What its caller needs. The API insists on it; it is here so that nobody is offered what they may not do.
    pub need: Need,
}

/// What a tool answers: words and data for a model, and files.
#[derive(Debug, Default)]
pub struct Output {
    pub text: String,
    pub data: Value,
    pub files: Vec<ContentBlock>,
    /// It was done, and not what was hoped for.
    pub failed: bool,
}

impl Output {
    /// Words and the same as data.
    pub fn new(text: impl Into<String>, data: Value) -> Self {
        Self { text: text.into(), data, ..Self::default() }
    }
}

/// What a tool's function answers.
pub type Outcome = Result<Output, Refusal>;

type Run = Box<dyn Fn(Caller, Value) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// A tool.
pub struct Tool {
    pub about: About,
    pub described: rmcp::model::Tool,
    run: Run,
}

impl Tool {
    /// From a function of its arguments.
    pub fn new<A, F, R>(about: About, run: F) -> Self
    where
        A: DeserializeOwned + JsonSchema + Send + 'static,
        F: Fn(Caller, A) -> R + Send + Sync + 'static,
        R: Future<Output = Outcome> + Send + 'static,
    {
        let schema = match schema_of::<A>() {
            Value::Object(schema) => schema,
            _ => serde_json::Map::new(),
        };
        let hints = ToolAnnotations::with_title(about.title)
            .read_only(about.does == Does::Reads)
            .destructive(matches!(about.does, Does::Ends | Does::Sends))
            .idempotent(about.does == Does::Reads)
            .open_world(about.does == Does::Sends);
        let described = rmcp::model::Tool::new(about.name, about.what, schema)
            .with_title(about.title)
            .with_annotations(hints);
        let run: Run = Box::new(move |caller, arguments| match serde_json::from_value(arguments) {
            Ok(arguments) => Box::pin(run(caller, arguments)),
            Err(error) => {
                let why = format!(
                    "the arguments of {} do not fit: {error}; see its input schema",
                    about.name
                );
                Box::pin(async move { Err(Refusal::wrong(why)) })
            }
        });
        Self { about, described, run }
    }

    /// Whether somebody is offered it.
    pub fn is_for(&self, principal: &Principal) -> bool {
        principal.may(self.about.need).is_ok()
    }

    /// Calls it. What goes wrong is part of the answer, for the model to read.
    pub async fn call(&self, caller: Caller, arguments: Value) -> CallToolResult {
        let mut result;
        match (self.run)(caller, arguments).await {
            Ok(output) => {
                let mut content = vec![ContentBlock::text(output.text)];
                content.extend(output.files);
                result = CallToolResult::success(content);
                result.is_error = Some(output.failed);
                result.structured_content = Some(output.data);
            }
            Err(refusal) => {
                let words = refusal.to_string();
                result = CallToolResult::error(vec![ContentBlock::text(words.clone())]);
                let error = json!({ "status": refusal.status, "problem": words });
                result.structured_content = Some(json!({ "error": error }));
            }
        }
        result
    }
}
