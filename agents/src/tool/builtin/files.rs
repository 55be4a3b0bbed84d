//! Attachments: reading them as text, and choosing them for the next mail.

use super::{local, message, refused, viewpoint};
use crate::{
    Store,
    agent::HandlerError,
    mail::DraftAttachment,
    store::FileAt,
    tool::{Attachments, CallEffect, ToolContext, ToolOutput, Tools},
    turn::{
        Foreign, ForeignKind, media,
        prompt::{inline, line, quote},
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Octets of a file that are read as text. The rest is for people.
const READ: usize = 256 * 1024;

/// What stands for a picture or document where its words would.
pub(crate) const NO_TEXT: &str = "(a picture or document: look at the file)";

/// A file of a message.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct FileRef {
    /// The number of the message it came with.
    pub message: i64,
    /// Its part in that message.
    pub part: u32,
}

pub(super) fn add(tools: Tools) -> Tools {
    tools
        .add(
            "read_attachment",
            "Shows a file that came with a message: text, and pictures and PDF if you can look at them.",
            CallEffect::Read,
            read,
        )
        .add_as(
            super::ATTACH,
            "Chooses a file of an earlier message for the next mail you send.",
            CallEffect::Read,
            local,
            attach,
        )
}

/// The bytes of a file with its name and type.
pub(crate) async fn load(
    store: &Store,
    files: Option<&dyn Attachments>,
    file: FileRef,
) -> Result<DraftAttachment, HandlerError> {
    let id = message(file.message);
    let (name, media_type) = store.file_name(id, file.part).await?;
    let content = match store.file_at(id, file.part).await? {
        FileAt::Blob(blob) => store.blob(blob)?.ok_or("the file is gone")?,
        FileAt::Raw => match files {
            Some(files) => {
                let raw = store.raw_mail(id).await?.blob.ok_or("the mail has no bytes")?;
                files.read(&store.blob(raw)?.ok_or("the bytes of the mail are gone")?, file.part)?
            }
            None => return refused("files of received mail cannot be read here"),
        },
    };
    Ok(DraftAttachment { name, media_type, content })
}

/// A file a turn may see.
async fn visible(file: FileRef, cx: &ToolContext) -> Result<DraftAttachment, HandlerError> {
    let piece = cx.inner.store.read_visible(viewpoint(cx), message(file.message)).await?;
    if !piece.attachments.iter().any(|attachment| attachment.part == file.part) {
        return refused(format!("message {} has no part {}", file.message, file.part));
    }
    load(&cx.inner.store, cx.inner.files.as_deref(), file).await
}

async fn read(file: FileRef, cx: ToolContext) -> Result<ToolOutput, HandlerError> {
    let loaded = visible(file, &cx).await?;
    let of = format!("message {} part {}", file.message, file.part);
    let named = format!("file {}", inline(&loaded.name));
    let from = format!("the file {} of message {}", inline(&loaded.name), file.message);
    let mut text = String::new();
    let Some(content) = as_text(&loaded.media_type, &loaded.content) else {
        return Ok(match media::look(&loaded.content, &cx.inner.takes) {
            Ok(_) => {
                line(&mut text, &[&of, &named, "shown below the results", "nobody vouches for it"]);
                let foreign = vec![Foreign::new(ForeignKind::Attachment, from, NO_TEXT)];
                ToolOutput { text, foreign, files: vec![file], ..ToolOutput::default() }
            }
            Err(why) => format!(
                "The file is {} of {} octets, which cannot be read here: {why}. hand_to_person gets it read.",
                inline(&loaded.media_type),
                loaded.content.len()
            )
            .into(),
        });
    };
    line(&mut text, &[&of, &named, "nobody vouches for it"]);
    quote(&mut text, &content);
    let foreign = vec![Foreign::new(ForeignKind::Attachment, from, &content)];
    Ok(ToolOutput { text, foreign, ..ToolOutput::default() })
}

async fn attach(file: FileRef, cx: ToolContext) -> Result<ToolOutput, HandlerError> {
    let loaded = visible(file, &cx).await?;
    Ok(format!("{} will be attached to the next mail.", inline(&loaded.name)).into())
}

/// A file as text, if its type says it is some: its first 256 KiB.
pub fn as_text(media_type: &str, content: &[u8]) -> Option<String> {
    let content = &content[..content.len().min(READ)];
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    let is_text = media_type.starts_with("text/")
        || media_type.ends_with("+json")
        || media_type.ends_with("+xml")
        || matches!(
            media_type,
            "application/json"
                | "application/xml"
                | "application/csv"
                | "application/x-yaml"
                | "application/yaml"
                | "application/toml"
                | "message/rfc822"
                | "application/sql"
        );
    if !is_text || content.contains(&0) {
        return None;
    }
    let text = match std::str::from_utf8(content) {
        Ok(text) => text.to_owned(),
        // A cut in the middle of a letter is no other encoding.
        Err(error) if error.error_len().is_none() => {
            String::from_utf8_lossy(&content[..error.valid_up_to()]).into_owned()
        }
        Err(_) => content.iter().map(|byte| char::from(*byte)).collect(),
    };
    Some(if matches!(media_type, "text/html" | "application/xhtml+xml") {
        words_of(&text)
    } else {
        text
    })
}

/// What an HTML file says, without its tags, scripts and styles. Everything it says: what it hides is foreign
/// text as much as what it shows.
fn words_of(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(open) = rest.find('<') {
        text.push_str(&rest[..open]);
        rest = &rest[open..];
        let lower: String = rest.chars().take(16).collect::<String>().to_ascii_lowercase();
        let end = ["script", "style"].iter().find_map(|name| {
            let close = format!("</{name}");
            lower.strip_prefix('<')?.starts_with(name).then(|| find_ignoring_case(rest, &close))
        });
        let skipped = match end {
            Some(found) => found.unwrap_or(rest.len()),
            None if lower.starts_with("<!--") => rest.find("-->").map_or(rest.len(), |at| at + 3),
            None => rest.find('>').map_or(rest.len(), |at| at + 1),
        };
        let breaks = ["<p", "<br", "<div", "<tr", "<li", "<h", "</p", "</div"];
        if breaks.iter().any(|tag| lower.starts_with(tag)) {
            text.push('\n');
        }
        rest = &rest[skipped.max(1).min(rest.len())..];
    }
    text.push_str(rest);
    for (entity, is) in [
        ("&nbsp;", " "),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ] {
        text = text.replace(entity, is);
    }
    text
}

fn find_ignoring_case(text: &str, what: &str) -> Option<usize> {
    let what = what.as_bytes();
    text.as_bytes().windows(what.len()).position(|window| window.eq_ignore_ascii_case(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_in_its_encoding_and_the_rest_is_not() {
        assert_eq!(as_text("text/plain; charset=utf-8", "grüße".as_bytes()).unwrap(), "grüße");
        assert_eq!(as_text("text/csv", b"gr\xfc\xdfe,1").unwrap(), "grüße,1");
        assert_eq!(as_text("application/json", b"{}").unwrap(), "{}");
        assert_eq!(as_text("application/pdf", b"%PDF"), None);
        assert_eq!(as_text("text/plain", b"a\0b"), None);
        let long = "ü".repeat(READ);
        assert_eq!(as_text("text/plain", long.as_bytes()).unwrap().len(), READ);
    }

    #[test]
    fn html_is_read_without_tags_scripts_and_styles() {
        let html = "<p>Pay&nbsp;<b>now</b><!-- not --><script>evil()</SCRIPT><style>p{}</style><br>1 &lt; 2</p><";
        assert_eq!(words_of(html).trim(), "Pay now\n1 < 2");
    }
}
