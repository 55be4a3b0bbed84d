//! About how many tokens something has, for keeping within a model's context.
//!
//! Tokenizers differ by model and most are not public, so this is a rule of thumb that errs upwards: a quarter
//! of the bytes or 1.3 per word, whichever is more. English has 4 to 5 bytes per token; scripts of two or
//! three bytes per letter come out at 0.5 to 0.75 tokens per letter, which is what current tokenizers need.
//! What was really used is in [`super::Usage`].

use super::{Message, Part, Request};

/// What a provider adds around a message: role and separators.
const PER_MESSAGE: u64 = 4;
/// What a provider adds around a tool.
const PER_TOOL: u64 = 16;
/// JSON has a token every 3 bytes or so: punctuation stands alone.
const JSON_BYTES: u64 = 3;
/// The largest image Anthropic computes with (about 1.15 megapixels / 750); OpenAI's are cheaper.
const PER_IMAGE: u64 = 1_600;
/// Anthropic's upper figure for the text of a page; a page is taken to have 50 kB.
const PER_PAGE: u64 = 3_000;
const PAGE_BYTES: u64 = 50_000;

/// About how many tokens `text` has.
pub fn estimate_text(text: &str) -> u64 {
    let bytes = (text.len() as u64).div_ceil(4);
    let words = (text.split_whitespace().count() as u64 * 13).div_ceil(10);
    bytes.max(words)
}

/// About how many tokens `message` has.
pub fn estimate_message(message: &Message) -> u64 {
    PER_MESSAGE + message.parts.iter().map(part).sum::<u64>()
}

/// About how many tokens `request` has, its answer not included.
pub fn estimate_request(request: &Request) -> u64 {
    let system: u64 = request.system.iter().map(|text| PER_MESSAGE + estimate_text(text)).sum();
    let messages: u64 = request.messages.iter().map(estimate_message).sum();
    let tools: u64 = request
        .tools
        .iter()
        .map(|tool| {
            let schema = tool.schema.to_string().len() as u64;
            PER_TOOL
                + estimate_text(&tool.name)
                + estimate_text(&tool.description)
                + schema.div_ceil(JSON_BYTES)
        })
        .sum();
    system + messages + tools
}

fn part(part: &Part) -> u64 {
    match part {
        Part::Text(text) => estimate_text(text),
        Part::ToolCall(call) => {
            let arguments = serde_json::Value::Object(call.arguments.to_object()).to_string();
            PER_MESSAGE + estimate_text(&call.name) + (arguments.len() as u64).div_ceil(JSON_BYTES)
        }
        // Results are JSON about as often as prose.
        Part::ToolResult(result) => {
            let json = (result.content.len() as u64).div_ceil(JSON_BYTES);
            PER_MESSAGE + json.max(estimate_text(&result.content))
        }
        Part::Image { .. } => PER_IMAGE,
        Part::Document { media_type, bytes, .. } if media_type.starts_with("text/") => {
            PER_MESSAGE + (bytes.len() as u64).div_ceil(JSON_BYTES)
        }
        Part::Document { bytes, .. } => PER_PAGE * (1 + bytes.len() as u64 / PAGE_BYTES),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ToolResult, ToolSpec};

    #[test]
    fn the_larger_of_bytes_and_words_counts() {
        assert_eq!(estimate_text(""), 0);
        assert_eq!(estimate_text("internationalization"), 5);
        assert_eq!(estimate_text("a b c d e"), 7);
        assert_eq!(estimate_text("日本語"), 3);
    }

    #[test]
    fn everything_a_request_holds_counts() {
        let mut request = Request::default();
        let mut last = estimate_request(&request);
        assert_eq!(last, 0);
        let mut grows = |request: &Request| {
            let now = estimate_request(request);
            assert!(now > last, "{now} after {last}");
            last = now;
        };
        request.system.push("You answer mail.".to_owned());
        grows(&request);
        request.messages.push(Message::user("Where is my parcel?"));
        grows(&request);
        let result =
            ToolResult { id: "1".to_owned(), content: "In Ulm.".to_owned(), is_error: false };
        request.messages.push(Message::tool_results([result]));
        grows(&request);
        request.tools.push(ToolSpec {
            name: "track".to_owned(),
            description: "Where a parcel is".to_owned(),
            schema: serde_json::json!({"type": "object"}),
        });
        grows(&request);
        request.messages[0]
            .parts
            .push(Part::Image { media_type: "image/png".to_owned(), bytes: bytes::Bytes::new() });
        grows(&request);
    }
}
