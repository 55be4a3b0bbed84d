//! Asking the scripted server.

use frontdesk_agents::{
    model::{
        Arguments, Error, Event, Message, Model, Models, ProviderSettings, Request, Secret,
        StopReason, ToolCall, ToolSpec, Usage, Wire,
    },
    testing::model_server::ModelServer,
};
use futures_util::StreamExt as _;
use std::sync::Arc;

pub const OPENAI: Wire = Wire::OpenAi { max_completion_tokens: true };
pub const WIRES: [Wire; 2] = [OPENAI, Wire::Anthropic];
pub const KEY: &str = "sk-test-5f1e0d9c";

/// Settings for `server`.
pub fn settings(wire: Wire, server: &ModelServer) -> ProviderSettings {
    ProviderSettings {
        key: Some(Secret::from(KEY.to_owned())),
        ..ProviderSettings::custom(wire, server.base_url())
    }
}

/// The model `test:m` of `server`.
pub fn model(wire: Wire, server: &ModelServer) -> Arc<dyn Model> {
    open(settings(wire, server))
}

/// The model `test:m` of a provider.
pub fn open(settings: ProviderSettings) -> Arc<dyn Model> {
    let mut models = Models::new();
    models.set_provider("test", settings).unwrap();
    models.open(&["test:m"]).unwrap()
}

/// A request with a tool.
pub fn request(text: &str) -> Request {
    Request {
        system: vec!["You answer mail.".to_owned()],
        messages: vec![Message::user(text)],
        tools: vec![ToolSpec {
            name: "track".to_owned(),
            description: "Where a parcel is".to_owned(),
            schema: serde_json::json!({ "type": "object" }),
        }],
        ..Request::default()
    }
}

/// An answer, put together.
#[derive(Default)]
pub struct Answer {
    pub text: String,
    pub deltas: usize,
    pub calls: Vec<ToolCall>,
    pub usage: Option<Usage>,
    pub stop: Option<StopReason>,
    pub error: Option<Error>,
    pub started: Option<Event>,
}

impl Answer {
    /// The arguments of a call as JSON, or what is wrong with them.
    pub fn arguments(&self, call: usize) -> String {
        match &self.calls[call].arguments {
            Arguments::Object(object) => serde_json::to_string(object).unwrap(),
            Arguments::Malformed { raw, error } => format!("{error} in {raw}"),
        }
    }
}

/// Asks, and checks the order of events while it puts the answer together.
pub async fn ask(model: &Arc<dyn Model>, request: Request) -> Answer {
    let mut stream = model.stream(request);
    let mut answer = Answer::default();
    let mut shown: Vec<String> = Vec::new();
    while let Some(item) = stream.next().await {
        assert!(answer.stop.is_none() && answer.error.is_none(), "nothing follows the end");
        assert!(answer.started.is_some() || !matches!(item, Ok(Event::TextDelta(_))));
        match item {
            Ok(started @ Event::Started { .. }) => answer.started = Some(started),
            Ok(Event::TextDelta(text)) => {
                answer.text.push_str(&text);
                answer.deltas += 1;
            }
            Ok(Event::ToolCallStart { index, .. }) => {
                assert_eq!(index, shown.len());
                shown.push(String::new());
            }
            Ok(Event::ToolCallDelta { index, json }) => shown[index].push_str(&json),
            Ok(Event::ToolCall { index, call }) => {
                assert_eq!(index, answer.calls.len());
                answer.calls.push(call);
            }
            Ok(Event::Usage(usage)) => answer.usage = Some(usage),
            Ok(Event::Stop(stop)) => answer.stop = Some(stop),
            Err(error) => answer.error = Some(error),
        }
    }
    assert!(answer.stop.is_some() || answer.error.is_some(), "an answer has an end");
    for (shown, call) in shown.iter().zip(&answer.calls) {
        assert!(Arguments::parse(shown) == call.arguments, "what was shown is what is called");
    }
    answer
}
