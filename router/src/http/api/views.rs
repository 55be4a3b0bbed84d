//! What the API shows. These shapes are promises to other programs and change only by addition; the
//! store's own types are free to change under them.

use crate::config::AgentConfig;
use frontdesk_agents::store::{
    AgentSummary, ConversationEntry, ConversationSummary, OutboxItem, PendingReview, SearchHit,
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// A page of a list.
#[derive(Debug, Serialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Pass it as `cursor` to get the next page.
    pub next: Option<String>,
}

/// A line of a list of conversations.
#[derive(Debug, Serialize)]
pub struct ConversationLine {
    pub id: i64,
    pub agent: String,
    pub from: String,
    pub subject: String,
    /// What was proven about the sender of the newest received mail.
    pub verdict: Option<String>,
    pub queue: String,
    pub why: String,
    pub channel: String,
    pub messages: u32,
    pub snippet: String,
    pub participants: Vec<String>,
    pub instance: String,
    pub linked_to: Option<i64>,
    pub updated_at: Timestamp,
}

impl From<ConversationSummary> for ConversationLine {
    fn from(c: ConversationSummary) -> Self {
        Self {
            id: c.id.0,
            agent: c.agent,
            from: c.people.first().cloned().unwrap_or_default(),
            subject: c.subject,
            verdict: c.verdict,
            queue: c.queue,
            why: c.review_why,
            channel: c.channel,
            messages: c.messages,
            snippet: c.snippet,
            participants: c.people,
            instance: c.instance_key,
            linked_to: c.linked_to.map(|id| id.0),
            updated_at: c.last_message_at,
        }
    }
}

/// A conversation with its timeline.
#[derive(Debug, Serialize)]
pub struct ConversationView {
    #[serde(flatten)]
    pub line: ConversationLine,
    pub timeline: Vec<MessageView>,
}

/// One entry of a timeline.
#[derive(Debug, Serialize)]
pub struct MessageView {
    pub id: i64,
    pub parent: Option<i64>,
    pub channel: String,
    pub role: String,
    pub from: String,
    /// `admitted`, `unproven`, `held`, `set_aside`, `rejected`; for ours the state of its delivery.
    pub state: String,
    pub why: String,
    pub at: Timestamp,
    pub text: String,
    pub verdict: Option<String>,
    /// The review that waits for a person, if one does.
    pub review: Option<i64>,
    pub outbox: Option<i64>,
    pub mail: Option<Value>,
    pub outgoing: Option<Value>,
    pub attachments: Vec<Value>,
}

impl MessageView {
    /// `review` is the pending review of a message that wants in; that of a draft is in the entry.
    pub fn new(entry: ConversationEntry, review: Option<i64>) -> Self {
        let state = match &entry.outgoing {
            Some(outgoing) if outgoing.state == "released" => {
                let mut states: Vec<&str> =
                    outgoing.deliveries.iter().map(|d| d.state.as_str()).collect();
                states.sort_unstable();
                states.dedup();
                states.join(", ")
            }
            Some(outgoing) => outgoing.state.clone(),
            None => entry.status.clone(),
        };
        let why = match &entry.outgoing {
            Some(outgoing) if !outgoing.why.is_empty() => outgoing.why.clone(),
            _ => entry.status_why.clone(),
        };
        let from = match entry.mail.as_ref().and_then(|mail| mail.from_name.as_ref()) {
            Some(name) => format!("{name} <{}>", entry.author),
            None => entry.author.clone(),
        };
        Self {
            id: entry.id.0,
            parent: entry.parent.map(|id| id.0),
            channel: entry.channel,
            role: entry.role,
            from,
            state,
            why,
            at: entry.at,
            text: entry.text,
            verdict: entry.mail.as_ref().map(|mail| mail.verdict.clone()),
            review: entry
                .outgoing
                .as_ref()
                .and_then(|outgoing| outgoing.review.map(|id| id.0))
                .or(review),
            outbox: entry.outgoing.as_ref().map(|outgoing| outgoing.outbox.0),
            mail: entry.mail.map(|mail| serde_json::to_value(mail).unwrap_or_default()),
            outgoing: entry
                .outgoing
                .map(|outgoing| serde_json::to_value(outgoing).unwrap_or_default()),
            attachments: entry
                .attachments
                .into_iter()
                .map(|attachment| serde_json::to_value(attachment).unwrap_or_default())
                .collect(),
        }
    }
}

/// A message found by its words.
#[derive(Debug, Serialize)]
pub struct HitView {
    /// The conversation.
    pub id: i64,
    pub message: i64,
    pub agent: String,
    pub from: String,
    pub subject: String,
    pub snippet: String,
    pub updated_at: Timestamp,
}

impl From<SearchHit> for HitView {
    fn from(hit: SearchHit) -> Self {
        Self {
            id: hit.conversation.0,
            message: hit.message.0,
            agent: hit.agent,
            from: hit.author,
            subject: hit.subject,
            snippet: hit.snippet,
            updated_at: hit.at,
        }
    }
}

/// An agent.
#[derive(Debug, Serialize)]
pub struct AgentView {
    pub name: String,
    pub display_name: String,
    pub kind: String,
    pub addresses: Vec<String>,
    pub instance: &'static str,
    pub approval: &'static str,
    pub owner: Option<String>,
    pub instances: u64,
    pub conversations: u64,
    pub needs_review: u64,
    pub waiting_events: u64,
    pub dead_letters: u64,
}

impl AgentView {
    /// From what is configured, what is in force, and what is counted.
    pub fn new(config: &AgentConfig, approval: &'static str, summary: &AgentSummary) -> Self {
        Self {
            name: config.name.clone(),
            display_name: config.display_name.clone(),
            kind: config.kind.clone(),
            addresses: config.addresses.clone(),
            instance: config.instance.as_str(),
            approval,
            owner: config.owner.clone(),
            instances: summary.instances,
            conversations: summary.conversations,
            needs_review: summary.needs_review,
            waiting_events: summary.waiting_events,
            dead_letters: summary.dead_letters,
        }
    }
}

/// An outgoing mail.
#[derive(Debug, Serialize)]
pub struct OutboxView {
    pub id: i64,
    pub agent: String,
    pub conversation: i64,
    pub message: i64,
    pub to: Vec<String>,
    pub subject: String,
    pub state: String,
    pub why: String,
    pub created_at: Timestamp,
    pub next_try_at: Option<Timestamp>,
    pub deliveries: Value,
}

impl From<OutboxItem> for OutboxView {
    fn from(item: OutboxItem) -> Self {
        let last_words = item.deliveries.iter().map(|d| d.response.clone()).find(|w| !w.is_empty());
        Self {
            id: item.id.0,
            agent: item.agent,
            conversation: item.conversation.0,
            message: item.message.0,
            to: item.to,
            subject: item.subject,
            state: item.state,
            why: if item.why.is_empty() { last_words.unwrap_or_default() } else { item.why },
            created_at: item.created_at,
            next_try_at: item.deliveries.iter().filter_map(|d| d.next_at).min(),
            deliveries: serde_json::to_value(&item.deliveries).unwrap_or_default(),
        }
    }
}

/// Something that waits for a person.
#[derive(Debug, Serialize)]
pub struct ReviewView {
    pub id: i64,
    pub kind: String,
    pub agent: String,
    pub conversation: i64,
    pub message: i64,
    pub subject: String,
    pub from: String,
    pub text: String,
    pub why: String,
    pub created_at: Timestamp,
}

impl From<PendingReview> for ReviewView {
    fn from(review: PendingReview) -> Self {
        Self {
            id: review.id.0,
            kind: review.kind,
            agent: review.agent,
            conversation: review.conversation.0,
            message: review.message.0,
            subject: review.subject,
            from: review.author,
            text: review.text,
            why: review.why,
            created_at: review.created_at,
        }
    }
}
