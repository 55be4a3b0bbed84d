//! Requests of OpenAI's chat completions.

use super::media::{Medium, medium};
use crate::model::{Capabilities, Message, Part, Request, Role, ToolChoice};
use data_encoding::BASE64;
use serde_json::{Map, Value, json};

pub(super) fn body(
    model: &str,
    request: &Request,
    takes: &Capabilities,
    max_completion_tokens: bool,
) -> Value {
    let mut body = Map::new();
    body.insert("model".to_owned(), model.into());
    body.insert("messages".to_owned(), messages(request, takes));
    body.insert("stream".to_owned(), true.into());
    body.insert("stream_options".to_owned(), json!({ "include_usage": true }));
    if !request.tools.is_empty() {
        let tools = request.tools.iter().map(|tool| {
            json!({ "type": "function", "function": {
                "name": tool.name, "description": tool.description, "parameters": tool.schema,
            }})
        });
        body.insert("tools".to_owned(), tools.collect());
        let choice = match request.tool_choice {
            ToolChoice::Auto => None,
            ToolChoice::None => Some("none"),
            ToolChoice::Required => Some("required"),
        };
        if let Some(choice) = choice {
            body.insert("tool_choice".to_owned(), choice.into());
        }
    }
    if let Some(most) = request.max_tokens {
        let name = if max_completion_tokens { "max_completion_tokens" } else { "max_tokens" };
        body.insert(name.to_owned(), most.into());
    }
    if let Some(temperature) = request.temperature {
        body.insert("temperature".to_owned(), number(temperature));
    }
    if !request.stop.is_empty() {
        body.insert("stop".to_owned(), json!(request.stop));
    }
    Value::Object(body)
}

/// The nearest short decimal: 0.7 as f32 is 0.699999988 as f64.
pub(super) fn number(value: f32) -> Value {
    json!((f64::from(value) * 1000.0).round() / 1000.0)
}

fn messages(request: &Request, takes: &Capabilities) -> Value {
    let mut messages = Vec::new();
    if !request.system.is_empty() {
        messages.push(json!({ "role": "system", "content": request.system.join("\n\n") }));
    }
    for message in &request.messages {
        match message.role {
            Role::User => user(message, takes, &mut messages),
            Role::Assistant => messages.extend(assistant(message)),
        }
    }
    Value::Array(messages)
}

/// Results of tools are messages of their own and stand before whatever else the user's side says, because
/// nothing may come between them and their calls.
fn user(message: &Message, takes: &Capabilities, messages: &mut Vec<Value>) {
    let mut content = Vec::new();
    for part in &message.parts {
        match part {
            Part::ToolResult(result) => {
                let prefix = if result.is_error { "Error: " } else { "" };
                messages.push(json!({
                    "role": "tool",
                    "tool_call_id": result.id,
                    "content": format!("{prefix}{}", result.content),
                }));
            }
            Part::Text(text) => content.push(json!({ "type": "text", "text": text })),
            Part::Image { .. } | Part::Document { .. } => {
                content.extend(medium(part, takes).map(shown));
            }
            // Of the assistant only.
            Part::ToolCall(_) => {}
        }
    }
    match content.as_slice() {
        [] => {}
        // A string is understood everywhere; lists are not.
        [only] if only["type"] == "text" => {
            messages.push(json!({ "role": "user", "content": only["text"] }));
        }
        _ => messages.push(json!({ "role": "user", "content": content })),
    }
}

fn shown(medium: Medium<'_>) -> Value {
    match medium {
        Medium::Image { media_type, bytes } => {
            let url = format!("data:{media_type};base64,{}", BASE64.encode(bytes));
            json!({ "type": "image_url", "image_url": { "url": url } })
        }
        Medium::Pdf { name, bytes } => {
            let data = format!("data:application/pdf;base64,{}", BASE64.encode(bytes));
            json!({ "type": "file", "file": { "filename": name, "file_data": data } })
        }
        Medium::Text(text) => json!({ "type": "text", "text": text }),
    }
}

fn assistant(message: &Message) -> Option<Value> {
    let mut text = String::new();
    let mut calls = Vec::new();
    for part in &message.parts {
        match part {
            Part::Text(more) => text.push_str(more),
            Part::ToolCall(call) => {
                // Always JSON: the templates of local servers parse it.
                let arguments = Value::Object(call.arguments.to_object()).to_string();
                calls.push(json!({
                    "id": call.id,
                    "type": "function",
                    "function": { "name": call.name, "arguments": arguments },
                }));
            }
            // Of the user's side only.
            Part::ToolResult(_) | Part::Image { .. } | Part::Document { .. } => {}
        }
    }
    if text.is_empty() && calls.is_empty() {
        return None;
    }
    let mut said = Map::new();
    said.insert("role".to_owned(), "assistant".into());
    said.insert(
        "content".to_owned(),
        if text.is_empty() { Value::Null } else { Value::String(text) },
    );
    if !calls.is_empty() {
        said.insert("tool_calls".to_owned(), Value::Array(calls));
    }
    Some(Value::Object(said))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Arguments, ToolCall, ToolResult, ToolSpec};

    const TEXT_ONLY: Capabilities =
        Capabilities { context: 8_000, images: false, documents: false };

    fn call(id: &str, arguments: &str) -> Part {
        Part::ToolCall(ToolCall {
            id: id.to_owned(),
            name: "track".to_owned(),
            arguments: Arguments::parse(arguments),
        })
    }

    fn result(id: &str, content: &str, is_error: bool) -> ToolResult {
        ToolResult { id: id.to_owned(), content: content.to_owned(), is_error }
    }

    #[test]
    fn a_turn_with_tools_is_written_as_the_protocol_wants_it() {
        let mut results =
            Message::tool_results([result("a", "In Ulm.", false), result("b", "not JSON", true)]);
        results.parts.push(Part::Text("And hurry.".to_owned()));
        let request = Request {
            system: vec!["You answer mail.".to_owned(), "Be brief.".to_owned()],
            messages: vec![
                Message::user("Where is it?"),
                Message {
                    role: Role::Assistant,
                    parts: vec![
                        Part::Text("Let me see.".to_owned()),
                        call("a", r#"{"n":7}"#),
                        call("b", r#"{"n":"#),
                    ],
                },
                results,
            ],
            tools: vec![ToolSpec {
                name: "track".to_owned(),
                description: "Where a parcel is".to_owned(),
                schema: json!({ "type": "object" }),
            }],
            tool_choice: ToolChoice::None,
            max_tokens: Some(100),
            temperature: Some(0.7),
            stop: vec!["END".to_owned()],
        };
        let expected = json!({
            "model": "m",
            "messages": [
                { "role": "system", "content": "You answer mail.\n\nBe brief." },
                { "role": "user", "content": "Where is it?" },
                { "role": "assistant", "content": "Let me see.", "tool_calls": [
                    { "id": "a", "type": "function",
                      "function": { "name": "track", "arguments": "{\"n\":7}" } },
                    { "id": "b", "type": "function", "function": { "name": "track",
                      "arguments": "{\"malformed_arguments\":\"{\\\"n\\\":\"}" } },
                ]},
                { "role": "tool", "tool_call_id": "a", "content": "In Ulm." },
                { "role": "tool", "tool_call_id": "b", "content": "Error: not JSON" },
                { "role": "user", "content": "And hurry." },
            ],
            "stream": true,
            "stream_options": { "include_usage": true },
            "tools": [{ "type": "function", "function": { "name": "track",
                "description": "Where a parcel is", "parameters": { "type": "object" } } }],
            "tool_choice": "none",
            "max_tokens": 100,
            "temperature": 0.7,
            "stop": ["END"],
        });
        assert_eq!(body("m", &request, &TEXT_ONLY, false), expected);
    }

    #[test]
    fn what_is_not_asked_for_is_not_said() {
        let request = Request { messages: vec![Message::user("Hi")], ..Request::default() };
        let body = body("m", &request, &TEXT_ONLY, true);
        let keys: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["messages", "model", "stream", "stream_options"]);
        let limited = Request { max_tokens: Some(5), ..request };
        assert_eq!(super::body("m", &limited, &TEXT_ONLY, true)["max_completion_tokens"], 5);
    }

    #[test]
    fn images_and_documents_are_data_urls_or_words() {
        let parts = vec![
            Part::Text("See:".to_owned()),
            Part::Image { media_type: "image/png".to_owned(), bytes: vec![1, 2, 3].into() },
            Part::Document {
                media_type: "application/pdf".to_owned(),
                name: "a.pdf".to_owned(),
                bytes: vec![4, 5].into(),
            },
        ];
        let request =
            Request { messages: vec![Message { role: Role::User, parts }], ..Request::default() };
        let all = Capabilities { context: 8_000, images: true, documents: true };
        assert_eq!(
            body("m", &request, &all, false)["messages"][0]["content"],
            json!([
                { "type": "text", "text": "See:" },
                { "type": "image_url", "image_url": { "url": "data:image/png;base64,AQID" } },
                { "type": "file", "file": {
                    "filename": "a.pdf", "file_data": "data:application/pdf;base64,BAU=" } },
            ])
        );
        let words = body("m", &request, &TEXT_ONLY, false)["messages"][0]["content"].to_string();
        assert!(words.contains("takes no images") && words.contains("takes no documents"));
        assert!(!words.contains("base64"), "{words}");
    }
}
