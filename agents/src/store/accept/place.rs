//! Where a message belongs: what its address and headers point at, and the conversation and instance
//! that a newcomer gets.

use super::{
    super::{AgentRules, Result, Rules, Store, StoreError, Tx},
    MessageStatus,
    people::{Sender, add_participant, proof_of, prove},
};
use crate::{
    AgentId, ContactId, ConversationId, InstanceId, Reference,
    admission::{InstancePolicy, Pointer, Pointers},
    mail::{AddressRoute, Arrival, ArrivalRecipient, Trust},
};

/// References followed per message. Longer chains belong to threads whose newest entries suffice.
const REFERENCES: usize = 20;

impl Store {
    /// Texts we sent in the conversation a message points at, newest first, for recognising quotes.
    pub async fn sent_texts(
        &self,
        references: Vec<Reference>,
        limit: usize,
    ) -> Result<Vec<String>> {
        if references.is_empty() {
            return Ok(Vec::new());
        }
        self.read_async(move |conn| {
            let mut texts = Vec::new();
            for reference in references.iter().take(REFERENCES) {
                let mut query = conn.prepare_cached(
                    "SELECT m.text FROM outbox o
                     JOIN messages m ON m.conversation_id = o.conversation_id AND m.role = 'agent'
                     WHERE o.reference = ?1 ORDER BY m.id DESC LIMIT ?2",
                )?;
                let found = query
                    .query_map((reference, limit), |row| row.get(0))?
                    .collect::<rusqlite::Result<Vec<String>>>()?;
                if !found.is_empty() {
                    texts = found;
                    break;
                }
            }
            Ok(texts)
        })
        .await
    }
}

pub(super) fn look_up_pointers(
    tx: &Tx<'_>,
    arrival: &Arrival,
    recipient: &ArrivalRecipient,
    sender: &Sender,
) -> Result<Pointers> {
    let pointer = |conversation: ConversationId| -> Result<Pointer> {
        let sender_is_member = sender.verified
            && tx
                .find(
                    "SELECT 1 FROM participants
                     WHERE conversation_id = ?1 AND address = ?2 AND member = 1",
                    (conversation, &arrival.from),
                    |_| Ok(()),
                )?
                .is_some();
        Ok(Pointer { conversation, sender_is_member })
    };
    let token = match &recipient.route {
        AddressRoute::Reply(r) | AddressRoute::ExpiredReply(r) | AddressRoute::Bounce(r) => {
            by_reference(tx, recipient.agent, *r)?.map(pointer).transpose()?
        }
        AddressRoute::Plain
        | AddressRoute::Tag(_)
        | AddressRoute::Decide(_)
        | AddressRoute::Role => None,
    };
    // References admit only members, so for anyone else there is nothing to look up.
    let mut reference = None;
    if token.is_none() && sender.verified {
        let ours = recipient.own_references.iter().take(REFERENCES);
        for conversation in ours.map(|r| by_reference(tx, recipient.agent, *r)) {
            if let Some(found) = conversation?.map(pointer).transpose()?
                && found.sender_is_member
            {
                reference = Some(found);
                break;
            }
        }
        if reference.is_none() {
            for id in arrival.references.iter().take(REFERENCES) {
                let conversation = by_message_id(tx, recipient.agent, id)?;
                if let Some(found) = conversation.map(pointer).transpose()?
                    && found.sender_is_member
                {
                    reference = Some(found);
                    break;
                }
            }
        }
    }
    Ok(Pointers { token, reference })
}

fn by_reference(
    tx: &Tx<'_>,
    agent: AgentId,
    reference: Reference,
) -> Result<Option<ConversationId>> {
    tx.find(
        "SELECT conversation_id FROM outbox WHERE reference = ?1 AND agent_id = ?2",
        (reference, agent),
        |row| row.get(0),
    )
}

fn by_message_id(tx: &Tx<'_>, agent: AgentId, id: &str) -> Result<Option<ConversationId>> {
    // The first entry of References in all we send is the conversation's own name, and some clients keep
    // only that one.
    if let Some((name, _)) = id.split_once('@')
        && let Some(conversation) = tx.threads.conversation(name)
    {
        let named = tx.find(
            "SELECT id FROM conversations WHERE id = ?1 AND agent_id = ?2",
            (conversation, agent),
            |row| row.get(0),
        )?;
        if named.is_some() {
            return Ok(named);
        }
    }
    tx.find(
        "SELECT c.id FROM mails l
         JOIN messages m ON m.id = l.message_id
         JOIN conversations c ON c.id = m.conversation_id
         WHERE l.rfc_message_id = ?1 AND c.agent_id = ?2 AND m.status = 'admitted'
         ORDER BY m.id DESC LIMIT 1",
        (id, agent),
        |row| row.get(0),
    )
}

pub(in crate::store) fn instance_of(
    tx: &Tx<'_>,
    conversation: ConversationId,
) -> Result<InstanceId> {
    tx.row("SELECT instance_id FROM conversations WHERE id = ?1", (conversation,), |row| row.get(0))
}

/// The conversation, its instance, where the message stands and why, and that it is new.
pub(super) type Opened = (ConversationId, InstanceId, MessageStatus, String, bool);

/// A conversation for a newcomer. The proven reach their own instance; the unproven get one that is
/// empty, theirs alone, and counted.
pub(super) fn open_conversation(
    tx: &mut Tx<'_>,
    rules: &Rules,
    arrival: &Arrival,
    recipient: &ArrivalRecipient,
    agent: &AgentRules,
    sender: &Sender,
    linked_to: Option<ConversationId>,
) -> Result<Opened> {
    let conversation = next_conversation(tx)?;
    let (status, why) = match (&recipient.route, &arrival.quarantine) {
        (AddressRoute::Role, _) => {
            (MessageStatus::Held, format!("mail to {} is read by people", recipient.address))
        }
        (_, Some(why)) => (MessageStatus::Held, why.clone()),
        _ if !sender.verified => (
            MessageStatus::Unproven,
            format!("the mail says it is from {}, which is not proven", arrival.from),
        ),
        _ => (MessageStatus::Admitted, String::new()),
    };
    let admitted = status == MessageStatus::Admitted;
    let (instance, handle) = if admitted {
        let (handle, contact) = match sender.handle {
            Some((handle, contact, _)) => (handle, contact),
            None => {
                let name = arrival.from_name.as_deref();
                prove(tx, &arrival.from, name, proof_of(arrival.verdict), Trust::Proven)?
            }
        };
        let tag = match &recipient.route {
            AddressRoute::Tag(tag) => Some(tag.as_str()),
            _ => None,
        };
        let instance =
            instance_for(tx, recipient.agent, agent.instance, contact, tag, conversation)?;
        (instance, Some(handle))
    } else {
        // Held mail of the verified is not a newcomer without a name, and postmaster must be reachable
        // (RFC 5321 section 4.5.1).
        let counted = !sender.verified;
        if counted
            && tx.count("unproven_network", &arrival.network)? > rules.limits.unproven_per_network
        {
            return Err(StoreError::TooMany(
                "too many new senders without authentication from your network today".into(),
            ));
        }
        if counted
            && tx.count("unproven_agent", &recipient.agent.0.to_string())?
                > rules.limits.unproven_per_agent
        {
            return Err(StoreError::TooMany(
                "too many new senders without authentication today".into(),
            ));
        }
        let key = format!("unproven:{conversation}");
        (create_instance(tx, recipient.agent, &key, None, false)?, None)
    };
    tx.insert(
        "INSERT INTO conversations (id, agent_id, instance_id, channel, subject, linked_to,
                                    last_message_at, created_at)
         VALUES (?1, ?2, ?3, 'mail', ?4, ?5, ?6, ?6)",
        (conversation, recipient.agent, instance, &arrival.subject, linked_to, tx.now),
    )?;
    add_participant(tx, conversation, &arrival.from, admitted, handle)?;
    Ok((conversation, instance, status, why, true))
}

/// The id of the conversation that is inserted next, for the key of its instance, which comes first.
pub(in crate::store) fn next_conversation(tx: &Tx<'_>) -> Result<ConversationId> {
    let last =
        tx.find("SELECT seq FROM sqlite_sequence WHERE name = 'conversations'", (), |row| {
            row.get::<_, i64>(0)
        })?;
    Ok(ConversationId(last.unwrap_or(0) + 1))
}

/// The instance a proven correspondent reaches.
pub(in crate::store) fn instance_for(
    tx: &Tx<'_>,
    agent: AgentId,
    policy: InstancePolicy,
    contact: ContactId,
    tag: Option<&str>,
    conversation: ConversationId,
) -> Result<InstanceId> {
    let (key, contact) = match policy {
        InstancePolicy::Shared => ("shared".to_owned(), None),
        InstancePolicy::Contact => (format!("contact:{contact}"), Some(contact)),
        InstancePolicy::Conversation => (format!("conversation:{conversation}"), Some(contact)),
        InstancePolicy::Tag => (format!("tag:{}", tag.unwrap_or_default()), None),
    };
    find_or_create_instance(tx, agent, &key, contact)
}

pub(in crate::store) fn find_or_create_instance(
    tx: &Tx<'_>,
    agent: AgentId,
    key: &str,
    contact: Option<ContactId>,
) -> Result<InstanceId> {
    let found = tx.find(
        "SELECT id FROM instances WHERE agent_id = ?1 AND key = ?2",
        (agent, key),
        |row| row.get(0),
    )?;
    match found {
        Some(instance) => Ok(instance),
        None => create_instance(tx, agent, key, contact, true),
    }
}

fn create_instance(
    tx: &Tx<'_>,
    agent: AgentId,
    key: &str,
    contact: Option<ContactId>,
    proven: bool,
) -> Result<InstanceId> {
    Ok(InstanceId(tx.insert(
        "INSERT INTO instances (agent_id, key, contact_id, proven, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        (agent, key, contact, proven, tx.now),
    )?))
}
