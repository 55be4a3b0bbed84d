//! `frontdesk inbox`

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::Call;
use super::output::{Column, Output, show};
use super::{Desk, Failure};

const COLUMNS: [Column; 7] = [
    ("ID", "id"),
    ("AGENT", "agent"),
    ("FROM", "from"),
    ("SUBJECT", "subject"),
    ("SENDER", "verdict"),
    ("QUEUE", "queue"),
    ("UPDATED", "updated_at"),
];

#[derive(Debug, Subcommand)]
pub enum Inbox {
    /// List conversations, the newest first
    List {
        /// Only one queue: needs_review, open, waiting, snoozed, scheduled, sent, drafts, quarantine, failed,
        /// starred, archive, trash or calls
        #[arg(long)]
        queue: Option<String>,
        /// Only one agent's
        #[arg(long)]
        agent: Option<String>,
        /// At most this many
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: Option<u32>,
        /// Where the page before ended
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Show one conversation with its messages
    Get {
        /// The conversation
        id: String,
    },
    /// Find conversations by their words
    Search {
        /// What to look for
        #[arg(required = true, num_args = 1..)]
        words: Vec<String>,
        /// At most this many
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: Option<u32>,
        /// Where the page before ended
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Let what was held go on
    Approve {
        /// The reviews, as `inbox get` shows them
        #[arg(required = true, value_name = "REVIEW")]
        reviews: Vec<String>,
        /// Why, for the record
        #[arg(long)]
        reason: Option<String>,
    },
    /// Stop what was held
    Reject {
        /// The reviews, as `inbox get` shows them
        #[arg(required = true, value_name = "REVIEW")]
        reviews: Vec<String>,
        /// Why, for the record and for the agent
        #[arg(long)]
        reason: Option<String>,
    },
}

impl Inbox {
    pub(super) async fn run(self, desk: &Desk, output: &mut Output) -> Result<(), Failure> {
        match self {
            Self::List { queue, agent, limit, cursor } => {
                let mut more = "frontdesk inbox list".to_owned();
                for (flag, value) in [("queue", &queue), ("agent", &agent)] {
                    if let Some(value) = value {
                        more = format!("{more} --{flag} {value}");
                    }
                }
                let call = Call::get(&["conversations"])
                    .query("queue", queue)
                    .query("agent", agent)
                    .query("limit", limit)
                    .query("cursor", cursor);
                output.list(&desk.ask(call).await?, &COLUMNS, "No conversations.", &more)?;
            }
            Self::Search { words, limit, cursor } => {
                let words = words.join(" ");
                let call = Call::get(&["search"])
                    .query("q", Some(&words))
                    .query("limit", limit)
                    .query("cursor", cursor);
                let more = format!("frontdesk inbox search '{words}'");
                output.list(&desk.ask(call).await?, &COLUMNS, "Nothing found.", &more)?;
            }
            Self::Get { id } => {
                let conversation = desk.ask(Call::get(&["conversations", &id])).await?;
                if output.is_json() {
                    output.value(&conversation)?;
                } else {
                    show_conversation(&conversation, output)?;
                }
            }
            Self::Approve { reviews, reason } => {
                decide(desk, output, &reviews, "approve", reason.as_deref()).await?;
            }
            Self::Reject { reviews, reason } => {
                decide(desk, output, &reviews, "reject", reason.as_deref()).await?;
            }
        }
        Ok(())
    }
}

async fn decide(
    desk: &Desk,
    output: &mut Output,
    reviews: &[String],
    verb: &str,
    reason: Option<&str>,
) -> Result<(), Failure> {
    let call = |id: &str| {
        let body = reason.map_or_else(|| json!({}), |reason| json!({ "reason": reason }));
        Call::post(&["reviews", id, verb]).body(body)
    };
    let sentence = |id: &str, answer: &Value| {
        let done = if verb == "approve" { "Approved" } else { "Rejected" };
        match show(&answer["state"]).as_str() {
            "" => format!("{done} {id}."),
            state => format!("{done} {id}: now {state}."),
        }
    };
    desk.ask_each(reviews, output, call, sentence).await
}

fn show_conversation(conversation: &Value, output: &mut Output) -> std::io::Result<()> {
    let labels = [
        ("Conversation", "id"),
        ("Subject", "subject"),
        ("Agent", "agent"),
        ("Queue", "queue"),
        ("Why", "why"),
        ("People", "participants"),
    ];
    output.fields(&labels.map(|(label, key)| (label, show(&conversation[key]))))?;
    for message in conversation["timeline"].as_array().into_iter().flatten() {
        output.say("")?;
        output.say(&heading(message))?;
        let why = show(&message["why"]);
        if !why.is_empty() {
            output.say(&format!("  {why}"))?;
        }
        let text = message["text"].as_str().unwrap_or_default();
        output.text(text)?;
        let heard =
            message["spoken"]["heard"].as_u64().and_then(|heard| usize::try_from(heard).ok());
        if let Some(unheard) = heard.and_then(|heard| text.get(heard..)).map(str::trim)
            && !unheard.is_empty()
        {
            output.say(&format!("  [not heard: {unheard}]"))?;
        }
        for attachment in message["attachments"].as_array().into_iter().flatten() {
            output.say(&format!(
                "    [{}, {} bytes]",
                show(&attachment["name"]),
                show(&attachment["size"])
            ))?;
        }
        let review = show(&message["review"]);
        if !review.is_empty() {
            output.say(&format!("  Waits for you: frontdesk inbox approve {review}"))?;
        }
    }
    Ok(())
}

/// Who wrote when, and what became of it: `-- 2026-11-21 00:05 UTC  Ann <ann@…>  verified`.
fn heading(message: &Value) -> String {
    let parts = ["at", "from", "verdict", "state"].map(|key| show(&message[key]));
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("-- {}", parts.join("  "))
}
