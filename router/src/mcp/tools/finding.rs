//! Which agents and conversations there are, and which messages have certain words.

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
use serde_json::{Value, json};

pub fn tools() -> Vec<Tool> {
    let reads = |name, title, what| About {
        name,
        title,
        what,
        does: Does::Reads,
        need: Need::Scope(Scope::Read),
    };
    vec![
        Tool::new(
            reads(
                "list_agents",
                "List agents",
                "Lists the agents you see, with their addresses and how much waits in each. Begin here: other \
                 tools take an agent's name.",
            ),
            agents,
        ),
        Tool::new(
            reads(
                "list_conversations",
                "List conversations",
                "Lists conversations (mail, chats and calls), those that moved last first. queue \
                 \"needs_review\" has what waits for a person. Read one with get_conversation.",
            ),
            conversations,
        ),
        Tool::new(
            reads(
                "search_messages",
                "Search messages",
                "Finds messages that contain all the words, newest first, in every conversation you see. Read \
                 one with read_message, or what it belongs to with get_conversation.",
            ),
            search,
        ),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Agents {
    /// Items at most: 20 unless given, 100 at most.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

async fn agents(caller: Caller, asked: Agents) -> Outcome {
    let query = [("limit", limit(asked.limit)), ("cursor", asked.cursor)];
    let found = caller.get("/agents", &query).await?;
    let text = listed(&found, "You see no agents.", |into, agent| {
        let addresses = words(&agent["addresses"]).join(", ");
        line(
            into,
            &[
                &format!("agent {}", word(agent, "name")),
                word(agent, "kind"),
                &addresses,
                &format!("{} conversations", agent["conversations"]),
                &format!("{} to review", agent["needs_review"]),
                &format!("approval {}", word(agent, "approval")),
            ],
        );
    });
    // Nothing in it was written by others.
    Ok(Output::new(text, json!({ "items": found["items"], "next": found["next"] })))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Conversations {
    /// Only those of this agent.
    agent: Option<String>,
    /// Only one queue: needs_review, open, waiting, snoozed, scheduled, sent, drafts, quarantine, failed,
    /// starred, archive, trash or calls.
    queue: Option<String>,
    /// Only those with this label.
    label: Option<String>,
    /// Only what was not read yet (true), or what was (false).
    unread: Option<bool>,
    /// Items at most: 20 unless given, 100 at most.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

async fn conversations(caller: Caller, asked: Conversations) -> Outcome {
    let query = [
        ("agent", asked.agent),
        ("queue", asked.queue),
        ("label", asked.label),
        ("unread", asked.unread.map(|unread| unread.to_string())),
        ("limit", limit(asked.limit)),
        ("cursor", asked.cursor),
    ];
    let found = caller.get("/conversations", &query).await?;
    let text = listed(&found, "No conversations.", conversation_words);
    Ok(Output::new(text, page(&found, conversation)))
}

/// A conversation without its messages, as data.
pub fn conversation(listed: &Value) -> Value {
    let mut data = json!({
        "conversation": listed["id"],
        "untrusted": {
            "from": visible(word(listed, "from")),
            "subject": visible(word(listed, "subject")),
            "snippet": visible(word(listed, "snippet")),
            "why": visible(word(listed, "why")),
            "participants": words(&listed["participants"]),
        },
    });
    for key in [
        "agent",
        "queue",
        "channel",
        "verdict",
        "messages",
        "unread",
        "starred",
        "labels",
        "assignee",
        "updated_at",
        "snoozed_until",
        "archived_at",
        "trashed_at",
    ] {
        let value = &listed[key];
        if !value.is_null() && value != "" && value != &json!([]) {
            data[key] = value.clone();
        }
    }
    data
}

/// The same in words.
pub fn conversation_words(into: &mut String, listed: &Value) {
    let mut queue = word(listed, "queue").to_owned();
    if !word(listed, "why").is_empty() {
        queue.push_str(&format!(": {}", inline(word(listed, "why"))));
    }
    let verdict = match word(listed, "verdict") {
        "" => "no mail yet".to_owned(),
        verdict => format!("sender {verdict}"),
    };
    let mut head = vec![
        format!("conversation {}", listed["id"]),
        format!("agent {}", word(listed, "agent")),
        word(listed, "channel").to_owned(),
        queue,
        verdict,
        format!("{} messages", listed["messages"]),
        word(listed, "updated_at").to_owned(),
    ];
    if listed["unread"] == true {
        head.push("unread".into());
    }
    let labels = words(&listed["labels"]);
    if !labels.is_empty() {
        head.push(format!("labels {}", inline(&labels.join(", "))));
    }
    line(into, &head.iter().map(String::as_str).collect::<Vec<_>>());
    let (from, subject) = (word(listed, "from"), word(listed, "subject"));
    quote(into, &format!("{from}: {subject}\n{}", word(listed, "snippet")));
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Search {
    /// Words that must all occur. "A phrase" in quotes and a beginning* work.
    words: String,
    /// Items at most: 20 unless given, 100 at most.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

async fn search(caller: Caller, asked: Search) -> Outcome {
    let query = [("q", Some(asked.words)), ("limit", limit(asked.limit)), ("cursor", asked.cursor)];
    let found = caller.get("/search", &query).await?;
    let text = listed(&found, "Nothing was found.", |into, hit| {
        line(
            into,
            &[
                &format!("message {}", hit["message"]),
                &format!("conversation {}", hit["id"]),
                &format!("agent {}", word(hit, "agent")),
                word(hit, "updated_at"),
                &format!("from {}", inline(word(hit, "from"))),
            ],
        );
        quote(into, &format!("{}\n{}", word(hit, "subject"), word(hit, "snippet")));
    });
    let data = page(&found, |hit| {
        json!({
            "message": hit["message"],
            "conversation": hit["id"],
            "agent": hit["agent"],
            "at": hit["updated_at"],
            "untrusted": {
                "from": visible(word(hit, "from")),
                "subject": visible(word(hit, "subject")),
                "snippet": visible(word(hit, "snippet")),
            },
        })
    });
    Ok(Output::new(text, data))
}
