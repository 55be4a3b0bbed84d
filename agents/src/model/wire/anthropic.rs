//! Requests of Anthropic's messages.

use super::{
    media::{Medium, medium},
    openai::number,
};
use crate::model::{Capabilities, Part, Request, Role, ToolChoice};
use data_encoding::BASE64;
use serde_json::{Map, Value, json};

/// The limit of an answer has to be said; every model takes this much.
const MAX_TOKENS: u32 = 4096;

pub(super) fn body(model: &str, request: &Request, takes: &Capabilities) -> Value {
    let mut body = Map::new();
    body.insert("model".to_owned(), model.into());
    body.insert("max_tokens".to_owned(), request.max_tokens.unwrap_or(MAX_TOKENS).into());
    body.insert("stream".to_owned(), true.into());
    body.insert("messages".to_owned(), messages(request, takes));
    let mut system: Vec<Value> = request
        .system
        .iter()
        .filter(|text| !text.trim().is_empty())
        .map(|text| json!({ "type": "text", "text": text }))
        .collect();
    if let Some(last) = system.last_mut() {
        // Tools and instructions are the same in every request of an agent.
        cache(last);
        body.insert("system".to_owned(), Value::Array(system));
    }
    if !request.tools.is_empty() {
        let tools = request.tools.iter().map(|tool| {
            json!({
                "name": tool.name, "description": tool.description, "input_schema": tool.schema,
            })
        });
        body.insert("tools".to_owned(), tools.collect());
        let choice = match request.tool_choice {
            ToolChoice::Auto => None,
            ToolChoice::None => Some("none"),
            ToolChoice::Required => Some("any"),
        };
        if let Some(choice) = choice {
            body.insert("tool_choice".to_owned(), json!({ "type": choice }));
        }
    }
    if let Some(temperature) = request.temperature {
        body.insert("temperature".to_owned(), number(temperature));
    }
    // White space alone is refused as a stop sequence.
    let stop: Vec<&String> = request.stop.iter().filter(|stop| !stop.trim().is_empty()).collect();
    if !stop.is_empty() {
        body.insert("stop_sequences".to_owned(), json!(stop));
    }
    Value::Object(body)
}

/// Neighbours of one role are joined, what is empty is left out (the protocol refuses it), and the end is
/// marked for the cache: the next step of the same turn repeats everything up to there.
fn messages(request: &Request, takes: &Capabilities) -> Value {
    let mut messages: Vec<(Role, Vec<Value>)> = Vec::new();
    for message in &request.messages {
        let blocks = message.parts.iter().filter_map(|part| block(part, message.role, takes));
        match messages.last_mut() {
            Some((role, before)) if *role == message.role => before.extend(blocks),
            _ => messages.push((message.role, blocks.collect())),
        }
    }
    messages.retain(|(_, blocks)| !blocks.is_empty());
    for (role, blocks) in &mut messages {
        if *role == Role::User {
            // Nothing may stand between calls and their results. The sort is stable.
            blocks.sort_by_key(|block| block["type"] != "tool_result");
        }
    }
    if let Some(last) = messages.last_mut().and_then(|(_, blocks)| blocks.last_mut()) {
        cache(last);
    }
    messages
        .into_iter()
        .map(|(role, content)| {
            let role = match role {
                Role::User => "user",
                Role::Assistant => "assistant",
            };
            json!({ "role": role, "content": content })
        })
        .collect()
}

fn cache(block: &mut Value) {
    block["cache_control"] = json!({ "type": "ephemeral" });
}

fn block(part: &Part, role: Role, takes: &Capabilities) -> Option<Value> {
    match (part, role) {
        (Part::Text(text), _) => {
            (!text.trim().is_empty()).then(|| json!({ "type": "text", "text": text }))
        }
        (Part::ToolCall(call), Role::Assistant) => Some(json!({
            "type": "tool_use",
            "id": call.id,
            "name": call.name,
            "input": call.arguments.to_object(),
        })),
        (Part::ToolResult(result), Role::User) => Some(json!({
            "type": "tool_result",
            "tool_use_id": result.id,
            "content": result.content,
            "is_error": result.is_error,
        })),
        (Part::Image { .. } | Part::Document { .. }, Role::User) => medium(part, takes).map(shown),
        _ => None,
    }
}

fn shown(medium: Medium<'_>) -> Value {
    let source = |media_type: &str, bytes: &[u8]| json!({ "type": "base64", "media_type": media_type, "data": BASE64.encode(bytes) });
    match medium {
        Medium::Image { media_type, bytes } => {
            json!({ "type": "image", "source": source(media_type, bytes) })
        }
        Medium::Pdf { name, bytes } => {
            json!({ "type": "document", "title": name, "source": source("application/pdf", bytes) })
        }
        Medium::Text(text) => json!({ "type": "text", "text": text }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Arguments, Message, ToolCall, ToolResult, ToolSpec};

    const ALL: Capabilities = Capabilities { context: 200_000, images: true, documents: true };

    #[test]
    fn a_turn_with_tools_is_written_as_the_protocol_wants_it() {
        let call = ToolCall {
            id: "a".to_owned(),
            name: "track".to_owned(),
            arguments: Arguments::parse(r#"{"n":7}"#),
        };
        let result =
            ToolResult { id: "a".to_owned(), content: "In Ulm.".to_owned(), is_error: true };
        let request = Request {
            system: vec!["You answer mail.".to_owned(), "Be brief.".to_owned()],
            messages: vec![
                Message::user("Where is it?"),
                Message::user(" "),
                Message { role: Role::Assistant, parts: vec![Part::ToolCall(call)] },
                Message::user("And hurry."),
                Message::tool_results([result]),
            ],
            tools: vec![ToolSpec {
                name: "track".to_owned(),
                description: "Where a parcel is".to_owned(),
                schema: json!({ "type": "object" }),
            }],
            tool_choice: ToolChoice::Required,
            max_tokens: None,
            temperature: Some(0.2),
            stop: vec!["END".to_owned(), "\n".to_owned()],
        };
        let ephemeral = json!({ "type": "ephemeral" });
        let expected = json!({
            "model": "m",
            "max_tokens": 4096,
            "stream": true,
            "messages": [
                { "role": "user", "content": [{ "type": "text", "text": "Where is it?" }] },
                { "role": "assistant", "content": [
                    { "type": "tool_use", "id": "a", "name": "track", "input": { "n": 7 } }] },
                { "role": "user", "content": [
                    { "type": "tool_result", "tool_use_id": "a", "content": "In Ulm.",
                      "is_error": true },
                    { "type": "text", "text": "And hurry.", "cache_control": ephemeral }] },
            ],
            "system": [
                { "type": "text", "text": "You answer mail." },
                { "type": "text", "text": "Be brief.", "cache_control": ephemeral },
            ],
            "tools": [{ "name": "track", "description": "Where a parcel is",
                "input_schema": { "type": "object" } }],
            "tool_choice": { "type": "any" },
            "temperature": 0.2,
            "stop_sequences": ["END"],
        });
        assert_eq!(body("m", &request, &ALL), expected);
    }

    #[test]
    fn images_and_documents_are_blocks() {
        let parts = vec![
            Part::Image { media_type: "image/png".to_owned(), bytes: vec![1, 2, 3].into() },
            Part::Document {
                media_type: "application/pdf".to_owned(),
                name: "a.pdf".to_owned(),
                bytes: vec![4, 5].into(),
            },
            Part::Text("What is this?".to_owned()),
        ];
        let request =
            Request { messages: vec![Message { role: Role::User, parts }], ..Request::default() };
        let content = &body("m", &request, &ALL)["messages"][0]["content"];
        let source = |media_type: &str, data: &str| json!({ "type": "base64", "media_type": media_type, "data": data });
        assert_eq!(content[0], json!({ "type": "image", "source": source("image/png", "AQID") }));
        assert_eq!(
            content[1],
            json!({ "type": "document", "title": "a.pdf",
                "source": source("application/pdf", "BAU=") })
        );
    }
}
