//! Files of messages.

use crate::{
    http::access::Need,
    mcp::{
        api::{Caller, Refusal},
        marked::{NOTICE, word},
        tool::{About, Does, Outcome, Output, Tool},
    },
};
use data_encoding::BASE64;
use frontdesk_agents::{
    store::Scope,
    tool::builtin::as_text,
    turn::prompt::{inline, line, quote, visible},
};
use rmcp::model::{ContentBlock, ResourceContents};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

/// Octets of a text shown at once.
const SHOWN: usize = 40 * 1024;
/// Octets of a file that is no text. What clients take of one result is small.
const FILE_MAX: u64 = 1024 * 1024;
/// Images that models look at.
const IMAGES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

pub fn tools() -> Vec<Tool> {
    vec![Tool::new(
        About {
            name: "read_attachment",
            title: "Read an attachment",
            what: "Shows a file that came with a message: text as text, images as images, and other files up \
                   to 1 MiB as a resource in base64. Nobody vouches for what is in it.",
            does: Does::Reads,
            need: Need::Scope(Scope::Read),
        },
        read,
    )]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Read {
    /// The number of the message it came with.
    message: i64,
    /// Its part in that message, as read_message has it.
    part: i64,
    /// `next` of the answer before, if the text was too long for one.
    cursor: Option<String>,
}

async fn read(caller: Caller, asked: Read) -> Outcome {
    let Read { message, part, cursor } = asked;
    let found = caller.get(&format!("/messages/{message}"), &[]).await?;
    let files = found["attachments"].as_array().map(Vec::as_slice).unwrap_or_default();
    let parts: Vec<String> = files.iter().map(|file| file["part"].to_string()).collect();
    let file = files.iter().find(|file| file["part"] == part).ok_or_else(|| {
        Refusal::wrong(match parts.as_slice() {
            [] => format!("message {message} has no attachments"),
            _ => format!("message {message} has no part {part}; it has {}", parts.join(", ")),
        })
    })?;
    let path = format!("/messages/{message}/attachments/{part}");
    let (name, media_type) = (word(file, "name"), word(file, "media_type"));
    let size = file["size"].as_u64().unwrap_or(0);

    let mut text = format!("{NOTICE}\n");
    let of = format!("message {message} · part {part}");
    let said = format!("file {}", inline(name));
    let octets = format!("{size} octets");
    line(&mut text, &[&of, &said, &inline(media_type), &octets, "nobody vouches for it"]);
    let mut data = json!({
        "notice": NOTICE, "message": message, "part": part, "size": size,
        "untrusted": { "name": visible(name), "media_type": visible(media_type) },
    });
    // Types are names, which have no case (RFC 2045 section 5.1).
    let kind = media_type.to_ascii_lowercase();
    // The API says what it gives its octets as; as text they are read by what the mail says.
    let content =
        if size <= FILE_MAX || is_text(&kind) { Some(caller.bytes(&path).await?) } else { None };
    if let Some(content) = content.as_deref().and_then(|content| as_text(&kind, content)) {
        let content = visible(&content);
        let from = match cursor {
            None => 0,
            Some(cursor) => cursor
                .parse()
                .map_err(|_| Refusal::wrong(format!("{cursor:?} is no cursor of this file")))?,
        };
        let start = content.floor_char_boundary(from);
        let end = content.floor_char_boundary((start + SHOWN).min(content.len()));
        quote(&mut text, &content[start..end]);
        let next = (end < content.len()).then(|| end.to_string());
        if let Some(next) = &next {
            text.push_str(&format!("There is more of it: pass {next:?} as cursor.\n"));
        }
        data["untrusted"]["text"] = content[start..end].into();
        data["next"] = next.into();
        return Ok(Output::new(text, data));
    }
    let Some(content) = content.filter(|content| content.len() as u64 <= FILE_MAX) else {
        return Err(Refusal::wrong(format!(
            "the file has {size} octets and is no text; here there are files up to {FILE_MAX}. \
             GET /api/v1{path} has it whole"
        )));
    };
    let encoded = BASE64.encode(&content);
    let block = if IMAGES.contains(&kind.as_str()) {
        ContentBlock::image(encoded, kind)
    } else {
        let uri = format!("frontdesk:/{path}");
        ContentBlock::resource(
            ResourceContents::blob(encoded, uri).with_mime_type(visible(media_type)),
        )
    };
    Ok(Output { files: vec![block], ..Output::new(text, data) })
}

/// Whether a type says text, so that its beginning is worth fetching however long it is.
fn is_text(kind: &str) -> bool {
    as_text(kind, b"").is_some()
}
