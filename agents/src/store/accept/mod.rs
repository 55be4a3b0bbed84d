//! Mail comes in.
//!
//! One transaction stores a DATA for all its recipients: raw bytes, message, conversation, verdict,
//! and the event that wakes the agent. What the addresses and headers point at is looked up (`place`) and
//! decided by `admission::decide`; nothing here trusts a header. `people` says who wrote, as far as that is
//! proven, and `words` whether a person wrote something new.

mod people;
mod place;
mod words;

pub(super) use people::{add_participant, prove};
pub(super) use place::{find_or_create_instance, instance_for, instance_of, next_conversation};

use super::{
    AgentRules, Lane, Result, Rules, Store, StoreError, Tx, asking, blobs, handle, housekeeping,
    review,
};
use crate::{
    ApprovalId, BlobId, ConversationId, MessageId,
    admission::{self, Outcome},
    agent::Event,
    mail::{AddressRoute, Arrival, ArrivalRecipient, Trust, Verdict},
};
use people::{Sender, find_handle, proof_of};
use place::{look_up_pointers, open_conversation};
use std::sync::Arc;
use words::note_human_words;

/// The same sender, recipient, Message-ID and body within this many milliseconds (5 days, the queue life of
/// ordinary mail servers) is one message.
const DEDUPE_WINDOW: i64 = 5 * 86_400_000;

/// What became of a message for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    Stored {
        message: MessageId,
        conversation: ConversationId,
        status: MessageStatus,
    },
    /// It was here already.
    Duplicate {
        of: MessageId,
    },
}

/// Where a stored message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageStatus {
    /// Part of the conversation; in agents' histories.
    Admitted,
    /// From nobody proven, in a conversation and instance of its own. In nobody's history.
    Unproven,
    /// Waits for a person. No agent has seen it.
    Held,
    /// Kept for the record only.
    SetAside,
    /// A person said no.
    Rejected,
}

impl MessageStatus {
    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Unproven => "unproven",
            Self::Held => "held",
            Self::SetAside => "set_aside",
            Self::Rejected => "rejected",
        }
    }
}

impl Store {
    /// Stores a message for all its recipients, in order, and answers once it is on the disk.
    ///
    /// Fails with [`StoreError::TooMany`] when a cap on newcomers is reached; nothing is stored then.
    pub async fn accept(&self, arrival: Arrival) -> Result<Vec<Accepted>> {
        let rules = self.rules();
        self.write(Lane::Accept, move |tx| accept(tx, &rules, &arrival)).await
    }
}

fn accept(tx: &mut Tx<'_>, rules: &Arc<Rules>, arrival: &Arrival) -> Result<Vec<Accepted>> {
    let mut raw = Raw(None);
    let sender = Sender::look_up(tx, arrival)?;
    arrival
        .recipients
        .iter()
        .map(|recipient| {
            let agent = rules.agents.get(&recipient.agent).ok_or_else(|| {
                StoreError::NotFound(format!("no agent with id {}", recipient.agent))
            })?;
            match duplicate_of(tx, arrival, recipient)? {
                Some(first) => upgrade(tx, rules, arrival, recipient, &sender, &mut raw, &first),
                None => store(tx, rules, arrival, recipient, agent, &sender, &mut raw),
            }
        })
        .collect()
}

/// The row of the raw message, made for the first recipient who needs it: a copy of what is here already
/// leaves nothing behind.
pub(super) struct Raw(Option<BlobId>);

impl Raw {
    fn id(&mut self, tx: &Tx<'_>, arrival: &Arrival) -> Result<BlobId> {
        if let Some(id) = self.0 {
            return Ok(id);
        }
        let id = blobs::insert(tx, &arrival.raw)?;
        self.0 = Some(id);
        Ok(id)
    }
}

/// A stored message that an arrival may be a copy of.
struct First {
    message: MessageId,
    conversation: ConversationId,
    verdict: Verdict,
    /// It waits for a person or for proof, and was not decided on.
    waits: bool,
}

fn duplicate_of(
    tx: &Tx<'_>,
    arrival: &Arrival,
    recipient: &ArrivalRecipient,
) -> Result<Option<First>> {
    // Without a Message-ID two equal mails may be two messages.
    let Some(id) = &arrival.message_id else { return Ok(None) };
    let first = tx.find(
        "SELECT l.message_id, m.conversation_id, l.verdict, m.status
         FROM mails l JOIN messages m ON m.id = l.message_id
         WHERE l.rfc_message_id = ?1 AND l.direction = 'in' AND l.recipient = ?2
           AND l.from_address = ?3 AND l.body_hash = ?4 AND m.created_at >= ?5
         ORDER BY l.message_id DESC LIMIT 1",
        (id, &recipient.address, &arrival.from, arrival.body_hash, tx.now - DEDUPE_WINDOW),
        |row| {
            let (verdict, status): (String, String) = (row.get(2)?, row.get(3)?);
            Ok(First {
                message: row.get(0)?,
                conversation: row.get(1)?,
                verdict: Verdict::parse(&verdict).unwrap_or(Verdict::Failed),
                waits: status == MessageStatus::Unproven.as_str()
                    || status == MessageStatus::Held.as_str(),
            })
        },
    )?;
    // Whoever knows a Message-ID and a body can send a copy ahead of the real message. It must not swallow
    // that: a copy has the same From, and what is verified is no copy of what was put away while it was
    // unproven.
    Ok(first.filter(|first| {
        let better = arrival.verdict.is_verified() && !first.verdict.is_verified();
        !better || first.waits
    }))
}

/// A copy that arrived over a better path proves what the first could not. It takes the first one's
/// place as a whole, because only the body was compared: what else the first one says, its Reply-To
/// among it, is not what was proven.
fn upgrade(
    tx: &mut Tx<'_>,
    rules: &Rules,
    arrival: &Arrival,
    recipient: &ArrivalRecipient,
    sender: &Sender,
    raw: &mut Raw,
    first: &First,
) -> Result<Accepted> {
    let duplicate = Accepted::Duplicate { of: first.message };
    if !sender.verified || first.verdict.is_verified() {
        return Ok(duplicate);
    }
    let message = first.message;
    tx.run("DELETE FROM attachments WHERE message_id = ?1", (message,))?;
    tx.run("DELETE FROM mails WHERE message_id = ?1", (message,))?;
    insert_mail(tx, arrival, recipient, message, raw)?;
    tx.run("UPDATE messages SET text = ?2 WHERE id = ?1", (message, &recipient.new_text))?;
    housekeeping::index_again(tx, message)?;
    if arrival.quarantine.is_none() && recipient.route != AddressRoute::Role {
        let pointers = look_up_pointers(tx, arrival, recipient, sender)?;
        if let Outcome::Member(_) | Outcome::Stranger { .. } =
            admission::decide(&recipient.route, pointers)
        {
            review::admit(
                tx,
                rules,
                message,
                "a verified copy",
                proof_of(arrival.verdict),
                Trust::Proven,
            )?;
            review::reopen(tx, first.conversation)?;
        }
    }
    Ok(duplicate)
}

fn store(
    tx: &mut Tx<'_>,
    rules: &Rules,
    arrival: &Arrival,
    recipient: &ArrivalRecipient,
    agent: &AgentRules,
    sender: &Sender,
    raw: &mut Raw,
) -> Result<Accepted> {
    if let AddressRoute::Decide(reference) = recipient.route
        && let Some(heard) = asking::answer(tx, rules, arrival, recipient, reference, raw)?
    {
        return Ok(heard);
    }
    let pointers = look_up_pointers(tx, arrival, recipient, sender)?;
    let outcome = admission::decide(&recipient.route, pointers);

    let (conversation, instance, status, why, is_new) = match outcome {
        Outcome::Member(conversation) => {
            let (status, why) = admitted_or_quarantined(arrival);
            let instance = if status == MessageStatus::Admitted {
                prove(
                    tx,
                    &arrival.from,
                    arrival.from_name.as_deref(),
                    proof_of(arrival.verdict),
                    Trust::Proven,
                )?;
                review::bring_home(tx, rules, conversation, &arrival.from)?
            } else {
                instance_of(tx, conversation)?
            };
            (conversation, instance, status, why, false)
        }
        Outcome::Participant(conversation) => {
            let instance = instance_of(tx, conversation)?;
            let why = if sender.verified {
                format!(
                    "{} has the reply address but is not a member of this conversation",
                    arrival.from
                )
            } else {
                format!("the mail says it is from {}, which is not proven", arrival.from)
            };
            (conversation, instance, MessageStatus::Held, why, false)
        }
        Outcome::Report(conversation) => {
            let instance = instance_of(tx, conversation)?;
            let why = "an automatic note to a delivery's bounce address".to_owned();
            (conversation, instance, MessageStatus::SetAside, why, false)
        }
        Outcome::Stranger { linked_to } => {
            open_conversation(tx, rules, arrival, recipient, agent, sender, linked_to)?
        }
    };

    let role = if matches!(outcome, Outcome::Report(_)) { "note" } else { "human" };
    let handle = match &sender.handle {
        Some((handle, _, _)) => Some(*handle),
        None if sender.verified => find_handle(tx, &arrival.from)?.map(|(handle, _, _)| handle),
        None => None,
    };
    let message = MessageId(tx.insert(
        "INSERT INTO messages (conversation_id, instance_id, handle_id, parent_id, channel, role,
                               author, text, status, status_why, created_at)
         VALUES (?1, ?2, ?3, (SELECT max(id) FROM messages WHERE conversation_id = ?1), 'mail', ?4,
                 ?5, ?6, ?7, ?8, ?9)",
        rusqlite::params![
            conversation,
            instance,
            handle,
            role,
            arrival.from,
            recipient.new_text,
            status.as_str(),
            why,
            tx.now
        ],
    )?);
    insert_mail(tx, arrival, recipient, message, raw)?;

    if status == MessageStatus::Admitted && !is_new {
        note_human_words(tx, arrival, recipient, conversation, message)?;
    }
    if matches!(status, MessageStatus::Held | MessageStatus::Unproven) {
        ask_for_review(tx, rules, conversation, message, "message", &why)?;
    }
    if !is_new {
        tx.run(
            "UPDATE conversations SET last_message_at = ?2 WHERE id = ?1",
            (conversation, tx.now),
        )?;
    }
    let heard = matches!(status, MessageStatus::Admitted | MessageStatus::Unproven) && agent.runs;
    if heard {
        handle::enqueue(tx, instance, &Event::Email { message }, tx.now)?;
    }
    Ok(Accepted::Stored { message, conversation, status })
}

fn admitted_or_quarantined(arrival: &Arrival) -> (MessageStatus, String) {
    match &arrival.quarantine {
        Some(why) => (MessageStatus::Held, why.clone()),
        None => (MessageStatus::Admitted, String::new()),
    }
}

pub(super) fn insert_mail(
    tx: &Tx<'_>,
    arrival: &Arrival,
    recipient: &ArrivalRecipient,
    message: MessageId,
    raw: &mut Raw,
) -> Result<()> {
    tx.run(
        "INSERT INTO mails (message_id, direction, rfc_message_id, recipient, answer_from,
                            reverse_path, from_address, from_name, reply_to, to_list, cc_list,
                            subject, refs, verdict, envelope_proven, evidence, automatic, flags,
                            prelude, layers, body_hash, raw, size, tag)
         VALUES (?1, 'in', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
                 ?18, ?19, ?20, ?21, ?22, ?23)",
        rusqlite::params![
            message,
            arrival.message_id,
            recipient.address,
            recipient.answer_from,
            arrival.reverse_path,
            arrival.from,
            arrival.from_name,
            arrival.reply_to,
            serde_json::to_string(&arrival.to)?,
            serde_json::to_string(&arrival.cc)?,
            arrival.subject,
            serde_json::to_string(&arrival.references)?,
            arrival.verdict.as_str(),
            arrival.envelope_proven,
            arrival.evidence,
            arrival.automatic,
            serde_json::to_string(&arrival.flags)?,
            arrival.prelude,
            recipient.layers,
            arrival.body_hash,
            raw.id(tx, arrival)?,
            arrival.raw.size().cast_signed(),
            match &recipient.route {
                AddressRoute::Tag(tag) => Some(tag),
                _ => None,
            },
        ],
    )?;
    for attachment in &arrival.attachments {
        tx.run(
            "INSERT INTO attachments (message_id, part, name, media_type, size, inline)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            (
                message,
                attachment.part,
                &attachment.name,
                &attachment.media_type,
                attachment.size.cast_signed(),
                attachment.inline,
            ),
        )?;
    }
    Ok(())
}

/// Puts a message or draft before people, and tells those by mail who want it.
pub(super) fn ask_for_review(
    tx: &mut Tx<'_>,
    rules: &Rules,
    conversation: ConversationId,
    message: MessageId,
    kind: &str,
    why: &str,
) -> Result<()> {
    let approval = put_before_people(tx, conversation, message, kind, why)?;
    asking::ask(tx, rules, approval)
}

/// Puts a message or draft before people.
pub(super) fn put_before_people(
    tx: &Tx<'_>,
    conversation: ConversationId,
    message: MessageId,
    kind: &str,
    why: &str,
) -> Result<ApprovalId> {
    let approval = tx.insert(
        "INSERT INTO approvals (kind, conversation_id, message_id, why, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        (kind, conversation, message, why, tx.now),
    )?;
    tx.run(
        "UPDATE conversations SET queue = 'needs_review', review_why = ?2 WHERE id = ?1",
        (conversation, why),
    )?;
    Ok(ApprovalId(approval))
}
