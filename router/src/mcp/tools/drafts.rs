//! Mail that is being written.

use super::{limit, listed, page};
use crate::{
    http::access::Need,
    mcp::{
        api::Caller,
        marked::{word, words},
        tool::{About, Does, Outcome, Output, Tool},
    },
};
use frontdesk_agents::{
    store::Scope,
    turn::prompt::{inline, line, quote, visible},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Octets shown of each draft of a list.
const BRIEF: usize = 8 * 1024;

pub fn tools() -> Vec<Tool> {
    let about = |name, title, what, does, scope| About {
        name,
        title,
        what,
        does,
        need: Need::Scope(scope),
    };
    vec![
        Tool::new(
            about(
                "read_drafts",
                "Read drafts",
                "Shows drafts with the version that update_draft and send_draft ask for: one by its number, or \
                 all, newest first. Drafts have left nowhere yet.",
                Does::Reads,
                Scope::Read,
            ),
            read,
        ),
        Tool::new(
            about(
                "create_draft",
                "Begin a draft",
                "Begins a mail that people can look at before it leaves. To answer a message give `answers`; \
                 recipient and subject then follow from it. send_draft sends it.",
                Does::Changes,
                Scope::Draft,
            ),
            create,
        ),
        Tool::new(
            about(
                "update_draft",
                "Change a draft",
                "Changes what you name of a draft, and leaves the rest. Give the version you changed: if \
                 somebody else changed the draft since, nothing happens and you are told.",
                Does::Changes,
                Scope::Draft,
            ),
            update,
        ),
        Tool::new(
            about(
                "discard_draft",
                "Throw a draft away",
                "Throws a draft away. It cannot be brought back. Mail that is held for a person is no draft any \
                 more: cancel_email stops it.",
                Does::Ends,
                Scope::Draft,
            ),
            discard,
        ),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Read {
    /// Only this draft, whole.
    draft: Option<i64>,
    /// Only those of this conversation.
    conversation: Option<i64>,
    /// Items at most: 20 unless given, 100 at most.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

async fn read(caller: Caller, asked: Read) -> Outcome {
    if let Some(id) = asked.draft {
        let draft = caller.get(&format!("/drafts/{id}"), &[]).await?;
        let mut text = String::new();
        said(&mut text, &draft, usize::MAX);
        return Ok(Output::new(text, data(&draft, usize::MAX)));
    }
    let query = [
        ("conversation", asked.conversation.map(|id| id.to_string())),
        ("limit", limit(asked.limit)),
        ("cursor", asked.cursor),
    ];
    let found = caller.get("/drafts", &query).await?;
    let text = listed(&found, "No drafts.", |into, draft| said(into, draft, BRIEF));
    Ok(Output::new(text, page(&found, |draft| data(draft, BRIEF))))
}

fn cut(text: &str, octets: usize) -> (&str, bool) {
    let end = text.floor_char_boundary(octets.min(text.len()));
    (&text[..end], end < text.len())
}

/// A draft as data. Its subject may be a correspondent's.
fn data(draft: &Value, octets: usize) -> Value {
    let (text, is_cut) = cut(word(draft, "text"), octets);
    json!({
        "draft": draft["id"], "version": draft["version"], "agent": draft["agent"],
        "conversation": draft["conversation"], "answers": draft["answers"],
        "author": draft["author"], "to": draft["to"], "cc": draft["cc"],
        "has_html": draft["html"].is_string(), "attachments": draft["attachments"],
        "updated_at": draft["updated_at"], "cut": is_cut,
        "untrusted": { "subject": visible(word(draft, "subject")), "text": visible(text) },
    })
}

fn said(into: &mut String, draft: &Value, octets: usize) {
    let mut head = vec![
        format!("draft {}", draft["id"]),
        format!("version {}", draft["version"]),
        format!("agent {}", word(draft, "agent")),
        format!("by {}", inline(word(draft, "author"))),
        format!("to {}", inline(&[words(&draft["to"]), words(&draft["cc"])].concat().join(", "))),
        format!("subject {}", inline(word(draft, "subject"))),
    ];
    for (key, word) in [("conversation", "conversation"), ("answers", "answers message")] {
        if !draft[key].is_null() {
            head.push(format!("{word} {}", draft[key]));
        }
    }
    if draft["html"].is_string() {
        head.push("with HTML of its own".into());
    }
    line(into, &head.iter().map(String::as_str).collect::<Vec<_>>());
    let (text, is_cut) = cut(word(draft, "text"), octets);
    quote(into, text);
    if is_cut {
        line(
            into,
            &[&format!("draft {}", draft["id"]), "there is more of it", "name it to read it"],
        );
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Create {
    /// The agent it is from.
    agent: String,
    /// The message it answers. Recipient, subject and conversation follow from it.
    answers: Option<i64>,
    /// The conversation it goes on with, if it answers no message of it.
    conversation: Option<i64>,
    /// Addresses, such as ann@example.org. May be left out with `answers`.
    #[serde(default)]
    to: Vec<String>,
    /// Addresses that get a copy.
    #[serde(default)]
    cc: Vec<String>,
    /// The subject. May be left out with `answers`.
    #[serde(default)]
    subject: String,
    /// The mail, in plain text.
    #[serde(default)]
    text: String,
}

async fn create(caller: Caller, new: Create) -> Outcome {
    let mut body = json!({
        "agent": new.agent, "to": new.to, "cc": new.cc, "subject": new.subject, "text": new.text,
    });
    for (key, id) in [("answers", new.answers), ("conversation", new.conversation)] {
        if let Some(id) = id {
            body[key] = id.into();
        }
    }
    saved(&caller.post("/drafts", body).await?, "Begun")
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Update {
    /// The draft's number.
    draft: i64,
    /// The version you changed, as read_drafts, create_draft or update_draft said.
    version: i64,
    /// Addresses, instead of those there are.
    to: Option<Vec<String>>,
    /// Addresses that get a copy, instead of those there are.
    cc: Option<Vec<String>>,
    /// The subject, instead of what it was.
    subject: Option<String>,
    /// The mail in plain text, instead of what it was. HTML that somebody gave the draft is dropped with it.
    text: Option<String>,
}

async fn update(caller: Caller, asked: Update) -> Outcome {
    let mut body = Map::new();
    body.insert("version".into(), asked.version.into());
    let lists = [("to", asked.to), ("cc", asked.cc)];
    let texts = [("subject", asked.subject), ("text", asked.text.clone())];
    body.extend(lists.into_iter().filter_map(|(key, is)| Some((key.into(), json!(is?)))));
    body.extend(texts.into_iter().filter_map(|(key, is)| Some((key.into(), json!(is?)))));
    if asked.text.is_some() {
        // What is read must be what was written.
        body.insert("html".into(), Value::Null);
    }
    let draft = caller.patch(&format!("/drafts/{}", asked.draft), body.into()).await?;
    saved(&draft, "Saved")
}

fn saved(draft: &Value, what: &str) -> Outcome {
    let text = format!("{what}: draft {}, version {}.", draft["id"], draft["version"]);
    Ok(Output::new(text, data(draft, BRIEF)))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Discard {
    /// The draft's number.
    draft: i64,
}

async fn discard(caller: Caller, asked: Discard) -> Outcome {
    caller.delete(&format!("/drafts/{}", asked.draft)).await?;
    let text = format!("Draft {} is gone.", asked.draft);
    Ok(Output::new(text, json!({ "draft": asked.draft, "state": "gone" })))
}
