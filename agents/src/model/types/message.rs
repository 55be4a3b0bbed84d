//! What a model is asked.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// One question to a model: everything it is to know. Which model is asked is not part of it: a
/// [`super::super::Model`] has its name.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Instructions, in blocks. A provider that caches prompts does so at the end of the last one, so what
    /// changes from turn to turn belongs into `messages`.
    pub system: Vec<String>,
    /// The conversation, oldest first. The first and the last are of [`Role::User`]; neighbours of the same
    /// role are allowed and are joined where the provider wants turns to alternate.
    pub messages: Vec<Message>,
    pub tools: Vec<ToolSpec>,
    pub tool_choice: ToolChoice,
    /// Most tokens of the answer. `None` is the provider's own limit, or 4096 where it has to be said.
    pub max_tokens: Option<u32>,
    /// From 0.0. `None` leaves it to the provider, which some models insist on.
    pub temperature: Option<f32>,
    /// The answer ends before any of these.
    pub stop: Vec<String>,
}

/// Whether the model may call tools in this answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolChoice {
    /// The model decides.
    #[default]
    Auto,
    /// Text only, as for the last step of a turn that has used up its tool calls.
    None,
    /// At least one call.
    Required,
}

/// A tool as the model sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// 1 to 64 of `a-z A-Z 0-9 _ -`, which is what every provider takes.
    pub name: String,
    pub description: String,
    /// JSON Schema of the arguments, an object.
    pub schema: Value,
}

/// Who speaks. What tools return is said by the user's side, as [`Part::ToolResult`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    User,
    Assistant,
}

/// One side's turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    pub role: Role,
    pub parts: Vec<Part>,
}

impl Message {
    /// Something said to the model.
    pub fn user(text: impl Into<String>) -> Self {
        Self { role: Role::User, parts: vec![Part::Text(text.into())] }
    }

    /// Something the model said.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self { role: Role::Assistant, parts: vec![Part::Text(text.into())] }
    }

    /// What tools returned, for all calls of the message before it.
    pub fn tool_results(results: impl IntoIterator<Item = ToolResult>) -> Self {
        Self { role: Role::User, parts: results.into_iter().map(Part::ToolResult).collect() }
    }
}

/// A piece of a message.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Text(String),
    /// Only of [`Role::Assistant`].
    ToolCall(ToolCall),
    /// Only of [`Role::User`]. Every call of the assistant's message before has exactly one.
    ToolResult(ToolResult),
    /// Only of [`Role::User`]. Becomes a text that says what was there if the model takes no such images.
    Image {
        media_type: String,
        #[serde(with = "base64")]
        bytes: Bytes,
    },
    /// Only of [`Role::User`]. Becomes a text that says what was there if the model takes no such documents.
    Document {
        media_type: String,
        name: String,
        #[serde(with = "base64")]
        bytes: Bytes,
    },
}

/// A call the model asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Unique in the answer, never empty: a provider that gives none gets one from its client.
    pub id: String,
    pub name: String,
    pub arguments: Arguments,
}

/// Arguments as the model wrote them.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arguments {
    /// A JSON object, not yet checked against the tool's schema.
    Object(Map<String, Value>),
    /// Something else: a tool must not run with it. The model is told so in the result of the call.
    Malformed { raw: String, error: String },
}

impl Arguments {
    /// Reads what a model wrote. Nothing at all is an empty object: so some providers send it.
    pub fn parse(raw: &str) -> Self {
        if raw.trim().is_empty() {
            return Self::Object(Map::new());
        }
        let error = match serde_json::from_str(raw) {
            Ok(Value::Object(object)) => return Self::Object(object),
            Ok(_) => "the arguments are not a JSON object".to_owned(),
            Err(error) => format!("the arguments are not JSON: {error}"),
        };
        Self::Malformed { raw: raw.to_owned(), error }
    }

    /// The arguments as an object that every provider takes back in a history, and in which the model
    /// recognises what it wrote.
    pub fn to_object(&self) -> Map<String, Value> {
        match self {
            Self::Object(object) => object.clone(),
            Self::Malformed { raw, .. } => {
                Map::from_iter([("malformed_arguments".to_owned(), Value::String(raw.clone()))])
            }
        }
    }
}

/// What a call came to.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolResult {
    /// [`ToolCall::id`].
    pub id: String,
    pub content: String,
    /// Whether `content` says why it failed.
    pub is_error: bool,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("system_bytes", &self.system.iter().map(String::len).sum::<usize>())
            .field("messages", &self.messages)
            .field("tools", &self.tools.iter().map(|tool| &tool.name).collect::<Vec<_>>())
            .field("tool_choice", &self.tool_choice)
            .field("max_tokens", &self.max_tokens)
            .field("temperature", &self.temperature)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::ToolCall(call) => call.fmt(f),
            Self::ToolResult(result) => result.fmt(f),
            Self::Image { media_type, bytes } => {
                write!(f, "Image({media_type}, {} bytes)", bytes.len())
            }
            Self::Document { media_type, bytes, .. } => {
                write!(f, "Document({media_type}, {} bytes)", bytes.len())
            }
        }
    }
}

impl fmt::Debug for Arguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(object) => write!(f, "Object({} members)", object.len()),
            Self::Malformed { raw, .. } => write!(f, "Malformed({} bytes)", raw.len()),
        }
    }
}

impl fmt::Debug for ToolResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolResult")
            .field("id", &self.id)
            .field("bytes", &self.content.len())
            .field("is_error", &self.is_error)
            .finish()
    }
}

/// Bytes in JSON.
mod base64 {
    use bytes::Bytes;
    use data_encoding::BASE64;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64.decode(text.as_bytes()).map(Bytes::from).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_an_object_or_kept_as_they_were_with_the_reason() {
        assert_eq!(Arguments::parse(" "), Arguments::Object(Map::new()));
        let Arguments::Object(object) = Arguments::parse(r#"{"city":"Ulm"}"#) else {
            panic!("an object is an object");
        };
        assert_eq!(object["city"], "Ulm");
        for (raw, reason) in [("[1]", "not a JSON object"), (r#"{"city":"#, "not JSON")] {
            let Arguments::Malformed { raw: kept, error } = Arguments::parse(raw) else {
                panic!("{raw} is not an object");
            };
            assert_eq!(kept, raw);
            assert!(error.contains(reason), "{error}");
            assert_eq!(Arguments::parse(raw).to_object()["malformed_arguments"], raw);
        }
    }

    #[test]
    fn debug_shows_no_content() {
        let said = "the-secret-text";
        let request = Request {
            system: vec![said.to_owned()],
            messages: vec![
                Message::user(said),
                Message {
                    role: Role::Assistant,
                    parts: vec![
                        Part::ToolCall(ToolCall {
                            id: "1".to_owned(),
                            name: "search".to_owned(),
                            arguments: Arguments::parse(&format!(r#"{{"q":"{said}"}}"#)),
                        }),
                        Part::ToolCall(ToolCall {
                            id: "2".to_owned(),
                            name: "search".to_owned(),
                            arguments: Arguments::parse(said),
                        }),
                    ],
                },
                Message::tool_results([ToolResult {
                    id: "1".to_owned(),
                    content: said.to_owned(),
                    is_error: false,
                }]),
                Message {
                    role: Role::User,
                    parts: vec![
                        Part::Image {
                            media_type: "image/png".to_owned(),
                            bytes: Bytes::from(said),
                        },
                        Part::Document {
                            media_type: "application/pdf".to_owned(),
                            name: said.to_owned(),
                            bytes: Bytes::from(said),
                        },
                    ],
                },
            ],
            stop: vec![said.to_owned()],
            ..Request::default()
        };
        let shown = format!("{request:?}");
        assert!(!shown.contains(said), "{shown}");
        assert!(shown.contains("search") && shown.contains("image/png"), "{shown}");
    }

    #[test]
    fn a_request_survives_json() {
        let request = Request {
            messages: vec![Message {
                role: Role::User,
                parts: vec![Part::Image {
                    media_type: "image/png".to_owned(),
                    bytes: Bytes::from_static(&[0, 255, 7]),
                }],
            }],
            temperature: Some(0.5),
            ..Request::default()
        };
        let json = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<Request>(&json).unwrap(), request);
    }
}
