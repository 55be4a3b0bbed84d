//! What a call returned, as text. Sounds, pictures and other files are named and left out.

use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};

/// Octets of text that are taken. Nobody pages through more.
const TEXT_MAX: usize = 1024 * 1024;

pub(super) fn text(result: &CallToolResult) -> String {
    let mut text = String::new();
    for block in &result.content {
        if text.len() >= TEXT_MAX {
            break;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        match block {
            ContentBlock::Text(block) => text.push_str(&block.text),
            ContentBlock::Image(image) => {
                left_out(&mut text, "image", &image.mime_type, image.data.len());
            }
            ContentBlock::Audio(audio) => {
                left_out(&mut text, "sound", &audio.mime_type, audio.data.len());
            }
            ContentBlock::Resource(embedded) => match &embedded.resource {
                ResourceContents::TextResourceContents { text: content, .. } => {
                    text.push_str(content);
                }
                ResourceContents::BlobResourceContents { uri, mime_type, blob, .. } => {
                    let media_type = mime_type.as_deref().unwrap_or("of no known type");
                    left_out(&mut text, uri, media_type, blob.len());
                }
                _ => text.push_str("(something this version does not know)"),
            },
            ContentBlock::ResourceLink(link) => {
                text.push_str(&format!("{}: {}", link.name, link.uri));
            }
            _ => text.push_str("(something this version does not know)"),
        }
    }
    if text.trim().is_empty() {
        // The protocol has servers repeat it as text; some do not.
        text = match &result.structured_content {
            Some(value) => value.to_string(),
            None => "(nothing)".to_owned(),
        };
    }
    text.truncate(text.floor_char_boundary(TEXT_MAX));
    text
}

/// `base64` is the size in base64.
fn left_out(text: &mut String, what: &str, media_type: &str, base64: usize) {
    let size = (base64 / 4 * 3).div_ceil(1000);
    text.push_str(&format!("({what}, {media_type}, {size} kB, is not shown)"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(value: serde_json::Value) -> String {
        text(&serde_json::from_value(value).unwrap())
    }

    #[test]
    fn text_is_taken_and_other_things_are_named() {
        let mixed = of(json!({ "content": [
            { "type": "text", "text": "Two were found." },
            { "type": "image", "data": "A".repeat(4_000), "mimeType": "image/png" },
            { "type": "resource", "resource": { "uri": "shop://7", "blob": "AAAA" } },
            { "type": "resource", "resource": { "uri": "shop://8", "text": "A lamp." } },
        ] }));
        assert_eq!(
            mixed,
            "Two were found.\n(image, image/png, 3 kB, is not shown)\n\
             (shop://7, of no known type, 1 kB, is not shown)\nA lamp."
        );
        assert_eq!(of(json!({ "content": [] })), "(nothing)");
        let structured = of(json!({ "content": [], "structuredContent": { "found": 2 } }));
        assert_eq!(structured, "{\"found\":2}");
    }

    #[test]
    fn a_huge_result_is_cut_at_a_letter() {
        let huge = of(json!({ "content": [{ "type": "text", "text": "aü".repeat(TEXT_MAX) }] }));
        assert!(huge.len() <= TEXT_MAX && huge.len() > TEXT_MAX - 4);
    }
}
