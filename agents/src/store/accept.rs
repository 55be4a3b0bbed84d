//! Mail comes in.
//!
//! One transaction stores a DATA for all its recipients: raw bytes, message, conversation, verdict,
//! and the event that wakes the agent. What the addresses and headers point at is looked up here and
//! decided by `admission::decide`; nothing in this file trusts a header.

use super::{
    AgentRules, BlobHash, Lane, Result, Rules, Store, StoreError, Tx, blobs, handle, housekeeping,
    review,
};
use crate::{
    AgentId, ContactId, ConversationId, HandleId, InstanceId, MessageId, Reference,
    admission::{self, InstancePolicy, Outcome, Pointer, Pointers},
    agent::Event,
    mail::{AddressRoute, Arrival, ArrivalRecipient, Trust, Verdict},
};
use std::sync::Arc;

/// The same sender, recipient, Message-ID and body within this many milliseconds (5 days, the queue life of
/// ordinary mail servers) is one message.
const DEDUPE_WINDOW: i64 = 5 * 86_400_000;

/// An answer to our last mail within this many milliseconds is not taken for a person's (DESIGN 3).
const TOO_QUICK_FOR_A_PERSON: i64 = 60_000;

/// How many earlier human messages a new one is compared with for being a copy.
const COMPARED: usize = 10;

/// References followed per message. Longer chains belong to threads whose newest entries suffice.
const REFERENCES: usize = 20;

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

fn accept(tx: &mut Tx<'_>, rules: &Arc<Rules>, arrival: &Arrival) -> Result<Vec<Accepted>> {
    let raw = blobs::insert(tx, &arrival.raw)?;
    let sender = Sender::look_up(tx, arrival)?;
    arrival
        .recipients
        .iter()
        .map(|recipient| {
            let agent = rules.agents.get(&recipient.agent).ok_or_else(|| {
                StoreError::NotFound(format!("no agent with id {}", recipient.agent))
            })?;
            match duplicate_of(tx, arrival, recipient)? {
                Some(first) => upgrade(tx, rules, arrival, recipient, &sender, raw, &first),
                None => store(tx, rules, arrival, recipient, agent, &sender, raw),
            }
        })
        .collect()
}

/// Who wrote, as far as it is proven.
struct Sender {
    verified: bool,
    /// The handle the From address is, if it was proven before.
    handle: Option<(HandleId, ContactId, Trust)>,
}

impl Sender {
    fn look_up(tx: &Tx<'_>, arrival: &Arrival) -> Result<Self> {
        let verified = arrival.verdict.is_verified();
        let handle = if verified { find_handle(tx, &arrival.from)? } else { None };
        Ok(Self { verified, handle })
    }
}

fn find_handle(tx: &Tx<'_>, address: &str) -> Result<Option<(HandleId, ContactId, Trust)>> {
    tx.find(
        "SELECT h.id, c.id, c.trust FROM handles h JOIN contacts c ON c.id = h.contact_id
         WHERE h.channel = 'email' AND h.value = ?1",
        (address,),
        |row| {
            let trust: String = row.get(2)?;
            Ok((row.get(0)?, row.get(1)?, Trust::parse(&trust).unwrap_or(Trust::Unproven)))
        },
    )
}

/// Records that an address was proven to belong to its writer, and makes them a contact.
pub(super) fn prove(
    tx: &Tx<'_>,
    address: &str,
    name: Option<&str>,
    proof: &str,
    trust: Trust,
) -> Result<(HandleId, ContactId)> {
    if let Some((handle, contact, known)) = find_handle(tx, address)? {
        if trust > known {
            tx.run("UPDATE contacts SET trust = ?2 WHERE id = ?1", (contact, trust.as_str()))?;
        }
        return Ok((handle, contact));
    }
    let contact = ContactId(tx.insert(
        "INSERT INTO contacts (name, trust, created_at) VALUES (?1, ?2, ?3)",
        (name.unwrap_or_default(), trust.as_str(), tx.now),
    )?);
    let handle = HandleId(tx.insert(
        "INSERT INTO handles (contact_id, channel, value, proof, proven_at)
         VALUES (?1, 'email', ?2, ?3, ?4)",
        (contact, address, proof, tx.now),
    )?);
    Ok((handle, contact))
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
    raw: BlobHash,
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
    raw: BlobHash,
) -> Result<Accepted> {
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
        ask_for_review(tx, conversation, message, "message", &why)?;
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

fn look_up_pointers(
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
        AddressRoute::Plain | AddressRoute::Tag(_) | AddressRoute::Role => None,
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
    if let Some((thread, _)) = id.split_once('@')
        && thread.len() == 32
    {
        let named = tx.find(
            "SELECT id FROM conversations WHERE thread = ?1 AND agent_id = ?2",
            (thread, agent),
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

pub(super) fn instance_of(tx: &Tx<'_>, conversation: ConversationId) -> Result<InstanceId> {
    tx.row("SELECT instance_id FROM conversations WHERE id = ?1", (conversation,), |row| row.get(0))
}

type Opened = (ConversationId, InstanceId, MessageStatus, String, bool);

/// A conversation for a newcomer. The proven reach their own instance; the unproven get one that is
/// empty, theirs alone, and counted.
fn open_conversation(
    tx: &mut Tx<'_>,
    rules: &Rules,
    arrival: &Arrival,
    recipient: &ArrivalRecipient,
    agent: &AgentRules,
    sender: &Sender,
    linked_to: Option<ConversationId>,
) -> Result<Opened> {
    let thread = random_name()?;
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
        let instance = instance_for(tx, recipient.agent, agent.instance, contact, tag, &thread)?;
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
        let key = format!("unproven:{thread}");
        (create_instance(tx, recipient.agent, &key, None, false)?, None)
    };
    let conversation = ConversationId(tx.insert(
        "INSERT INTO conversations (agent_id, instance_id, thread, channel, subject, linked_to,
                                    last_message_at, created_at)
         VALUES (?1, ?2, ?3, 'mail', ?4, ?5, ?6, ?6)",
        (recipient.agent, instance, &thread, &arrival.subject, linked_to, tx.now),
    )?);
    add_participant(tx, conversation, &arrival.from, admitted, handle)?;
    Ok((conversation, instance, status, why, true))
}

/// How a verdict proves a handle.
fn proof_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Local => "local",
        Verdict::Verified | Verdict::Unverified | Verdict::Failed => "dmarc",
    }
}

/// Sixteen random bytes as hexadecimal digits.
pub(super) fn random_name() -> Result<String> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| StoreError::io("the system's random generator")(std::io::Error::other(e)))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// The instance a proven correspondent reaches.
pub(super) fn instance_for(
    tx: &Tx<'_>,
    agent: AgentId,
    policy: InstancePolicy,
    contact: ContactId,
    tag: Option<&str>,
    thread: &str,
) -> Result<InstanceId> {
    let (key, contact) = match policy {
        InstancePolicy::Shared => ("shared".to_owned(), None),
        InstancePolicy::Contact => (format!("contact:{contact}"), Some(contact)),
        InstancePolicy::Conversation => (format!("conversation:{thread}"), Some(contact)),
        InstancePolicy::Tag => (format!("tag:{}", tag.unwrap_or_default()), None),
    };
    find_or_create_instance(tx, agent, &key, contact)
}

pub(super) fn find_or_create_instance(
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

/// Adds or admits a participant. Membership is never taken away here.
pub(super) fn add_participant(
    tx: &Tx<'_>,
    conversation: ConversationId,
    address: &str,
    member: bool,
    handle: Option<HandleId>,
) -> Result<()> {
    tx.run(
        "INSERT INTO participants (conversation_id, address, member, handle_id)
         VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (conversation_id, address) DO UPDATE
         SET member = max(member, excluded.member),
             handle_id = coalesce(handle_id, excluded.handle_id)",
        (conversation, address, member, handle),
    )?;
    Ok(())
}

fn insert_mail(
    tx: &Tx<'_>,
    arrival: &Arrival,
    recipient: &ArrivalRecipient,
    message: MessageId,
    raw: BlobHash,
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
            raw,
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

/// Puts a message or draft before a person.
pub(super) fn ask_for_review(
    tx: &Tx<'_>,
    conversation: ConversationId,
    message: MessageId,
    kind: &str,
    why: &str,
) -> Result<()> {
    tx.run(
        "INSERT INTO approvals (kind, conversation_id, message_id, why, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        (kind, conversation, message, why, tx.now),
    )?;
    tx.run(
        "UPDATE conversations SET queue = 'needs_review', review_why = ?2 WHERE id = ?1",
        (conversation, why),
    )?;
    Ok(())
}

/// Resets the first circuit breaker if a person wrote something new: some text, no automatic marks,
/// not within a minute of our last mail, and not a near copy of what was written before.
fn note_human_words(
    tx: &Tx<'_>,
    arrival: &Arrival,
    recipient: &ArrivalRecipient,
    conversation: ConversationId,
    message: MessageId,
) -> Result<()> {
    if arrival.automatic.is_some() || arrival.reverse_path.is_empty() {
        return Ok(());
    }
    let words = words_of(&recipient.own_words);
    if words.is_empty() {
        return Ok(());
    }
    let last_sent: Option<i64> =
        tx.row("SELECT last_sent_at FROM conversations WHERE id = ?1", (conversation,), |row| {
            row.get(0)
        })?;
    if last_sent.is_some_and(|at| tx.now - at <= TOO_QUICK_FOR_A_PERSON) {
        return Ok(());
    }
    let mut earlier = tx.conn.prepare_cached(
        "SELECT text FROM messages
         WHERE conversation_id = ?1 AND role = 'human' AND id < ?2 ORDER BY id DESC LIMIT ?3",
    )?;
    let mut rows = earlier.query((conversation, message, COMPARED))?;
    while let Some(row) = rows.next()? {
        if is_near_copy(&words, &words_of(row.get_ref(0)?.as_str().unwrap_or_default())) {
            return Ok(());
        }
    }
    drop(rows);
    tx.run("UPDATE conversations SET auto_since_human = 0 WHERE id = ?1", (conversation,))?;
    Ok(())
}

/// The words of a text, lower case, sorted, each once; digits left out, since what a machine varies from
/// copy to copy is a date or a number.
fn words_of(text: &str) -> Vec<String> {
    let mut words: Vec<String> = text
        .split(|c: char| !c.is_alphabetic())
        .filter(|word| !word.is_empty())
        .take(2_000)
        .map(str::to_lowercase)
        .collect();
    words.sort_unstable();
    words.dedup();
    words
}

/// Whether two texts share at least nine tenths of their words.
fn is_near_copy(a: &[String], b: &[String]) -> bool {
    let (mut i, mut j, mut shared) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        match a[i].cmp(&b[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => {
                shared += 1;
                i += 1;
                j += 1;
            }
        }
    }
    let union = a.len() + b.len() - shared;
    union > 0 && shared * 10 >= union * 9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_differs_in_a_date_is_a_copy() {
        let monday =
            words_of("I am out of the office until 3 March. Call Bob on 555-1234 if it burns.");
        let tuesday =
            words_of("I am out of the office until 4 March. Call Bob on 555-1234 if it burns.");
        assert!(is_near_copy(&monday, &tuesday));
        assert!(!is_near_copy(&monday, &words_of("Thanks, the second quote works for us.")));
        assert!(!is_near_copy(&[], &[]));
    }
}
