//! What the API shows. These shapes are promises to other programs and change only by addition; the
//! store's own types are free to change under them.

use crate::config::AgentConfig;
use frontdesk_agents::{
    Attachment,
    store::{
        AgentSummary, CallSummary, ConversationEntry, DeliverySummary, EntryDelivery, EntryMail,
        EntrySpoken, Listed, OutboxItem, PendingReview, SearchHit,
    },
    turn::Foreign,
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A line of a list of conversations.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversationLine {
    pub id: i64,
    pub agent: String,
    pub from: String,
    pub subject: String,
    /// What was proven about the sender of the newest received mail.
    pub verdict: Option<String>,
    /// `open`, `needs_review` or `waiting`.
    pub queue: String,
    /// Why it needs review, if it does.
    pub why: String,
    pub channel: String,
    pub messages: u32,
    pub snippet: String,
    pub participants: Vec<String>,
    pub instance: String,
    pub linked_to: Option<i64>,
    pub updated_at: Timestamp,
    pub archived_at: Option<Timestamp>,
    pub trashed_at: Option<Timestamp>,
    pub snoozed_until: Option<Timestamp>,
    /// The user who takes care of it.
    pub assignee: Option<String>,
    pub starred: bool,
    pub unread: bool,
    pub labels: Vec<String>,
}

impl From<Listed> for ConversationLine {
    fn from(Listed { summary: c, handling }: Listed) -> Self {
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
            archived_at: handling.archived_at,
            trashed_at: handling.trashed_at,
            snoozed_until: handling.snoozed_until,
            assignee: handling.assignee,
            starred: handling.starred,
            unread: handling.unread,
            labels: handling.labels,
        }
    }
}

/// A conversation with its timeline.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversationView {
    #[serde(flatten)]
    pub line: ConversationLine,
    /// Oldest first.
    pub timeline: Vec<MessageView>,
    /// The `cursor` for what came before the oldest of these; null where nothing did.
    pub earlier: Option<String>,
}

/// One entry of a timeline.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageView {
    pub id: i64,
    pub parent: Option<i64>,
    pub channel: String,
    /// `human`, `agent` or `note`.
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
    /// Of received mail.
    pub mail: Option<MailView>,
    /// Of mail that is ours.
    pub outgoing: Option<OutgoingView>,
    /// Of what was said in a call.
    pub spoken: Option<SpokenView>,
    /// The call that ended here.
    pub call: Option<VoiceCallView>,
    pub attachments: Vec<AttachmentView>,
}

/// How something was said in a call.
#[derive(Debug, Serialize, ToSchema)]
pub struct SpokenView {
    pub call: i64,
    /// `speech`, `text` or `keypad`; none for the agent.
    pub via: Option<&'static str>,
    /// When it began, in milliseconds from the start of the call.
    pub at_ms: i64,
    /// How many bytes of the text were heard.
    pub heard: u64,
    /// `complete`, `interrupted`, `failed` or `hung_up`.
    pub outcome: &'static str,
}

impl From<EntrySpoken> for SpokenView {
    fn from(spoken: EntrySpoken) -> Self {
        Self {
            call: spoken.call.0,
            via: spoken.via.map(|via| via.as_str()),
            at_ms: spoken.at_ms,
            heard: spoken.heard,
            outcome: spoken.outcome.as_str(),
        }
    }
}

/// A call.
#[derive(Debug, Serialize, ToSchema)]
pub struct VoiceCallView {
    pub id: i64,
    /// `browser` or `phone`.
    pub channel: &'static str,
    pub caller: Option<String>,
    /// How they were proven; empty where they were not.
    pub proof: String,
    pub started_at: Timestamp,
    pub duration_ms: Option<i64>,
    pub reason: Option<&'static str>,
    /// Whether there is a recording.
    pub recorded: bool,
}

impl From<CallSummary> for VoiceCallView {
    fn from(summary: CallSummary) -> Self {
        Self {
            id: summary.call.id.0,
            channel: summary.call.channel.as_str(),
            caller: summary.call.caller.name.or(summary.call.caller.handle),
            proof: summary.call.caller.proof,
            started_at: summary.call.started_at,
            duration_ms: summary.duration_ms,
            reason: summary.reason.map(|reason| reason.as_str()),
            recorded: summary.recording.is_some(),
        }
    }
}

/// What is known of a received mail.
#[derive(Debug, Serialize, ToSchema)]
pub struct MailView {
    pub from: String,
    pub from_name: Option<String>,
    pub to: String,
    pub subject: String,
    pub message_id: Option<String>,
    /// `verified`, `unverified`, `failed` or `local`.
    pub verdict: String,
    /// SPF, DKIM, DMARC, ARC and the DNS answers they were computed from.
    #[schema(value_type = Object, nullable)]
    pub evidence: Value,
    /// Why it is not from a person's hand, if it is not.
    pub automatic: Option<String>,
    pub flags: Vec<String>,
    /// New, quoted, signature and forwarded text, where there is more than new text.
    #[schema(value_type = Option<Object>)]
    pub layers: Option<Value>,
    /// Of the raw message, in bytes.
    pub size: u64,
}

impl From<EntryMail> for MailView {
    fn from(mail: EntryMail) -> Self {
        Self {
            from: mail.from,
            from_name: mail.from_name,
            to: mail.to,
            subject: mail.subject,
            message_id: mail.message_id,
            verdict: mail.verdict,
            evidence: mail.evidence,
            automatic: mail.automatic,
            flags: mail.flags,
            layers: mail.layers,
            size: mail.size,
        }
    }
}

/// What becomes of an outgoing mail.
#[derive(Debug, Serialize, ToSchema)]
pub struct OutgoingView {
    pub outbox: i64,
    pub subject: String,
    /// `held`, `released` or `cancelled`.
    pub state: String,
    pub why: String,
    /// Written without a person.
    pub automatic: bool,
    pub review: Option<i64>,
    pub deliveries: Vec<DeliveryView>,
}

impl From<EntryDelivery> for OutgoingView {
    fn from(outgoing: EntryDelivery) -> Self {
        Self {
            outbox: outgoing.outbox.0,
            subject: outgoing.subject,
            state: outgoing.state,
            why: outgoing.why,
            automatic: outgoing.automatic,
            review: outgoing.review.map(|id| id.0),
            deliveries: outgoing.deliveries.into_iter().map(Into::into).collect(),
        }
    }
}

/// One recipient's delivery.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryView {
    pub id: i64,
    pub recipient: String,
    /// `queued`, `sending`, `sent`, `deferred`, `bounced`, `failed`, `uncertain` or `cancelled`.
    pub state: String,
    pub attempts: u32,
    /// The peer's words, or ours.
    pub response: String,
    pub next_at: Option<Timestamp>,
}

impl From<DeliverySummary> for DeliveryView {
    fn from(delivery: DeliverySummary) -> Self {
        Self {
            id: delivery.id.0,
            recipient: delivery.recipient,
            state: delivery.state,
            attempts: delivery.attempts,
            response: delivery.response,
            next_at: delivery.next_at,
        }
    }
}

/// A file of a message.
#[derive(Debug, Serialize, ToSchema)]
pub struct AttachmentView {
    /// Its number in the message.
    pub part: i64,
    pub name: String,
    pub media_type: String,
    pub size: u64,
    /// Shown within the text.
    pub inline: bool,
}

impl From<Attachment> for AttachmentView {
    fn from(attachment: Attachment) -> Self {
        Self {
            part: attachment.part.into(),
            name: attachment.name,
            media_type: attachment.media_type,
            size: attachment.size,
            inline: attachment.inline,
        }
    }
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
            mail: entry.mail.map(Into::into),
            outgoing: entry.outgoing.map(Into::into),
            spoken: entry.spoken.map(Into::into),
            call: entry.call.map(Into::into),
            attachments: entry.attachments.into_iter().map(Into::into).collect(),
        }
    }
}

/// A message found by its words.
#[derive(Debug, Serialize, ToSchema)]
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
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentView {
    pub name: String,
    pub display_name: String,
    pub kind: String,
    pub addresses: Vec<String>,
    /// `contact`, `conversation`, `tag` or `shared`.
    pub instance: &'static str,
    /// `all`, `unknown` or `none`.
    pub approval: &'static str,
    /// Who may talk to it in the browser: `off`, `staff`, `link` or `public`.
    pub talk: &'static str,
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
            talk: config.talk.as_str(),
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
#[derive(Debug, Serialize, ToSchema)]
pub struct OutboxView {
    pub id: i64,
    pub agent: String,
    pub conversation: i64,
    pub message: i64,
    pub to: Vec<String>,
    pub subject: String,
    /// `held`, `cancelled`, or the states of its deliveries.
    pub state: String,
    pub why: String,
    pub created_at: Timestamp,
    pub next_try_at: Option<Timestamp>,
    pub deliveries: Vec<DeliveryView>,
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
            deliveries: item.deliveries.into_iter().map(Into::into).collect(),
        }
    }
}

/// Something that waits for a person.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReviewView {
    pub id: i64,
    /// `draft` wants to leave; `message` wants in; `tool` wants to be called.
    pub kind: String,
    pub agent: String,
    pub conversation: i64,
    pub message: i64,
    pub subject: String,
    pub from: String,
    pub text: String,
    pub why: String,
    /// Exactly what will happen, where a tool wants to be called.
    pub call: Option<CallView>,
    /// What nobody vouches for and was before the model that wrote or asked this.
    pub foreign: Vec<ForeignView>,
    /// Whom a draft would go to, Cc included.
    pub recipients: Vec<String>,
    /// When a draft would leave, if not as soon as it is approved.
    pub send_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

/// A call of a tool that waits for a person.
#[derive(Debug, Serialize, ToSchema)]
pub struct CallView {
    pub turn: i64,
    pub tool: String,
    /// What it is called with, a JSON object.
    #[schema(value_type = Object)]
    pub arguments: Value,
    /// Without a decision by then it is not made.
    pub expires_at: Timestamp,
}

/// A text that nobody vouches for.
#[derive(Debug, Serialize, ToSchema)]
pub struct ForeignView {
    /// What it is, in words.
    pub kind: &'static str,
    pub from: String,
    /// Its beginning.
    pub excerpt: String,
}

impl From<Foreign> for ForeignView {
    fn from(foreign: Foreign) -> Self {
        Self { kind: foreign.kind.words(), from: foreign.from, excerpt: foreign.excerpt }
    }
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
            call: review.call.map(|call| CallView {
                turn: call.turn.0,
                tool: call.tool,
                // Stored by us; what does not read is shown as it stands.
                arguments: serde_json::from_str(&call.arguments)
                    .unwrap_or(Value::String(call.arguments)),
                expires_at: call.expires_at,
            }),
            foreign: review.foreign.into_iter().map(ForeignView::from).collect(),
            recipients: review.recipients,
            send_at: review.send_at,
            created_at: review.created_at,
        }
    }
}
