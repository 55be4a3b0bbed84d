//! Whose call it is, and which conversation it belongs to.

use crate::{
    AgentId, ContactId, ConversationId, HandleId, InstanceId, Trust,
    admission::InstancePolicy,
    agent::OWNER_KEY,
    live::{Call, CallChannel, CallerCard, Chat, Hearing},
    store::{AgentRules, Lane, Result, Rules, Store, StoreError, Tx, accept, timestamp},
};
use rusqlite::OptionalExtension;
use std::collections::BTreeMap;

/// A conversation that was active within this many milliseconds (7 days, DESIGN section 5) is joined.
const JOINED_WITHIN: i64 = 7 * 86_400_000;

/// Merges of contacts followed from the one that is named.
const MERGES: usize = 16;

/// Who calls or writes, as far as it is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// A contact, proven in this call or session.
    Contact(ContactId),
    /// Somebody unproven. The session keeps apart those nobody knows.
    Visitor { session: String },
    /// One of the installation's own people, by the name of their account.
    Staff { name: String },
}

/// A call that is answered, or a chat that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenCall {
    pub agent: AgentId,
    pub who: Who,
    /// What they say they are called. A contact's own name takes its place.
    pub name: Option<String>,
    /// The address or number they come with, such as caller ID.
    pub handle: Option<String>,
    /// How they were proven, in words for people; empty for visitors.
    pub proof: String,
    pub channel: CallChannel,
    /// The number or page that was called.
    pub called: Option<String>,
    pub parameters: BTreeMap<String, String>,
    pub hearing: Hearing,
    /// The peer's network (/24 or /64), or another name for where it came from, under which visitors are
    /// counted.
    pub network: String,
}

impl OpenCall {
    /// A call from a browser by somebody, with nothing else known of it.
    pub fn new(agent: AgentId, who: Who, network: impl Into<String>) -> Self {
        Self {
            agent,
            who,
            name: None,
            handle: None,
            proof: String::new(),
            channel: CallChannel::Browser,
            called: None,
            parameters: BTreeMap::new(),
            hearing: Hearing::Good,
            network: network.into(),
        }
    }
}

/// A call that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedCall {
    pub call: Call,
    /// The instance it reached; directives name it.
    pub instance: InstanceId,
    /// Whether the conversation was opened for it.
    pub is_new: bool,
}

impl Store {
    /// Opens a call. Fails with [`StoreError::TooMany`] when a cap on visitors is reached.
    pub async fn open_call(&self, open: OpenCall) -> Result<OpenedCall> {
        let rules = self.rules();
        self.write(Lane::Accept, move |tx| {
            let place = place(tx, &rules, &open, "call")?;
            let id = tx.insert(
                "INSERT INTO calls (agent_id, conversation_id, channel, contact_id, caller_name,
                                    caller_handle, trust, proof, called, parameters, hearing,
                                    started_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
                rusqlite::params![
                    open.agent,
                    place.conversation,
                    open.channel,
                    place.contact,
                    place.caller.name,
                    place.caller.handle,
                    place.caller.trust.as_str(),
                    place.caller.proof,
                    open.called,
                    serde_json::to_string(&open.parameters)?,
                    open.hearing,
                    tx.now,
                ],
            )?;
            let call = Call {
                id: crate::CallId(id),
                conversation: place.conversation,
                channel: open.channel,
                caller: place.caller,
                called: open.called.clone(),
                parameters: open.parameters.clone(),
                hearing: open.hearing,
                started_at: timestamp(tx.now),
            };
            Ok(OpenedCall { call, instance: place.instance, is_new: place.is_new })
        })
        .await
    }

    /// Finds the place of live text without a call, by the same rules.
    pub async fn open_chat(&self, open: OpenCall) -> Result<Chat> {
        let rules = self.rules();
        self.write(Lane::Accept, move |tx| {
            let place = place(tx, &rules, &open, "chat")?;
            Ok(Chat {
                conversation: place.conversation,
                instance: place.instance,
                caller: place.caller,
                is_new: place.is_new,
            })
        })
        .await
    }

    /// The contact to whom an address (`email`), a number (`phone`) or another handle was proven to belong.
    pub async fn contact_by_handle(&self, channel: &str, value: &str) -> Result<Option<ContactId>> {
        let (channel, value) = (channel.to_owned(), value.to_lowercase());
        self.read_async(move |conn| {
            Ok(conn
                .prepare_cached("SELECT contact_id FROM handles WHERE channel = ?1 AND value = ?2")?
                .query_row((channel, value), |row| row.get(0))
                .optional()?)
        })
        .await
    }
}

/// Where a call or chat goes.
struct Place {
    instance: InstanceId,
    conversation: ConversationId,
    contact: Option<ContactId>,
    caller: CallerCard,
    is_new: bool,
}

fn place(tx: &Tx<'_>, rules: &Rules, open: &OpenCall, kind: &str) -> Result<Place> {
    let agent = rules
        .agents
        .get(&open.agent)
        .ok_or_else(|| StoreError::NotFound(format!("no agent with id {}", open.agent)))?;
    match &open.who {
        Who::Contact(contact) => of_contact(tx, agent, open, *contact, kind),
        Who::Visitor { session } => {
            let caller = CallerCard {
                name: open.name.clone(),
                handle: open.handle.clone(),
                trust: Trust::Unproven,
                proof: String::new(),
            };
            let instance = visitor(tx, rules, open, session)?;
            in_instance(tx, open, instance, caller, kind)
        }
        Who::Staff { name } => {
            let caller = CallerCard {
                name: Some(open.name.clone().unwrap_or_else(|| name.clone())),
                handle: open.handle.clone(),
                trust: Trust::Staff,
                proof: open.proof.clone(),
            };
            let key = match agent.instance {
                InstancePolicy::Shared => "shared".to_owned(),
                InstancePolicy::Tag => "tag:".to_owned(),
                InstancePolicy::Contact | InstancePolicy::Conversation => format!("staff:{name}"),
            };
            if matches!(agent.instance, InstancePolicy::Shared | InstancePolicy::Tag) {
                // Nothing says which of the conversations there is theirs, so each call opens its own.
                let instance = accept::find_or_create_instance(tx, open.agent, &key, None)?;
                let conversation = accept::next_conversation(tx)?;
                new_conversation(tx, open, conversation, instance, &caller, kind)?;
                let contact = None;
                return Ok(Place { instance, conversation, contact, caller, is_new: true });
            }
            let instance = accept::find_or_create_instance(tx, open.agent, &key, None)?;
            in_instance(tx, open, instance, caller, kind)
        }
    }
}

/// A proven contact: the one conversation they were active in lately, or a new one in the instance they
/// would reach by mail.
fn of_contact(
    tx: &Tx<'_>,
    agent: &AgentRules,
    open: &OpenCall,
    contact: ContactId,
    kind: &str,
) -> Result<Place> {
    let (contact, name, trust) = surviving(tx, contact)?;
    let handles = handles_of(tx, contact)?;
    let caller = CallerCard {
        name: if name.is_empty() { open.name.clone() } else { Some(name) },
        handle: open.handle.clone().or_else(|| handles.first().map(|(_, value)| value.clone())),
        // A contact stands for somebody proven, whatever was once stored of them.
        trust: trust.max(Trust::Proven),
        proof: open.proof.clone(),
    };
    let lately = lately_active(tx, open.agent, contact)?;
    let (conversation, instance, is_new) = match lately.as_slice() {
        [(conversation, instance)] => (*conversation, *instance, false),
        _ => {
            let conversation = accept::next_conversation(tx)?;
            let instance =
                accept::instance_for(tx, open.agent, agent.instance, contact, None, conversation)?;
            new_conversation(tx, open, conversation, instance, &caller, kind)?;
            (conversation, instance, true)
        }
    };
    // Proven to be theirs: what is sent to them in this conversation goes to a member.
    for (handle, value) in &handles {
        accept::add_participant(tx, conversation, value, true, Some(*handle))?;
    }
    if !is_new {
        touch(tx, conversation)?;
    }
    Ok(Place { instance, conversation, contact: Some(contact), caller, is_new })
}

/// The contact that a merge left, with name and trust.
fn surviving(tx: &Tx<'_>, mut contact: ContactId) -> Result<(ContactId, String, Trust)> {
    for _ in 0..MERGES {
        let (name, trust, into): (String, String, Option<ContactId>) = tx
            .find(
                "SELECT name, trust, merged_into FROM contacts WHERE id = ?1",
                (contact,),
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )?
            .ok_or_else(|| StoreError::NotFound(format!("there is no contact {contact}")))?;
        match into {
            Some(into) => contact = into,
            None => {
                return Ok((contact, name, Trust::parse(&trust).unwrap_or(Trust::Unproven)));
            }
        }
    }
    Err(StoreError::Corrupt(format!("contact {contact} is merged in a circle")))
}

fn handles_of(tx: &Tx<'_>, contact: ContactId) -> Result<Vec<(HandleId, String)>> {
    let mut query = tx
        .conn
        .prepare_cached("SELECT id, value FROM handles WHERE contact_id = ?1 ORDER BY id")?;
    Ok(query
        .query_map((contact,), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?)
}

/// Up to two conversations with this agent that a contact is a member of and that were active lately. Those
/// in another contact's memory are not theirs, even where they are a member, and what is written to an
/// owner is not a conversation to call into.
fn lately_active(
    tx: &Tx<'_>,
    agent: AgentId,
    contact: ContactId,
) -> Result<Vec<(ConversationId, InstanceId)>> {
    let mut query = tx.conn.prepare_cached(
        // In this order, for the planner prefers to look at all that the agent did in the week.
        "SELECT DISTINCT c.id, c.instance_id
         FROM handles h
         CROSS JOIN participants p INDEXED BY participants_by_address
              ON p.address = h.value AND p.member = 1
         CROSS JOIN conversations c ON c.id = p.conversation_id
         CROSS JOIN instances i ON i.id = c.instance_id
         WHERE h.contact_id = ?1 AND c.agent_id = ?2 AND c.last_message_at >= ?3
           AND i.proven = 1 AND i.archived_at IS NULL AND i.key <> ?4
           AND (i.contact_id IS NULL OR i.contact_id = ?1)
         LIMIT 2",
    )?;
    Ok(query
        .query_map((contact, agent, tx.now - JOINED_WITHIN, OWNER_KEY), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<rusqlite::Result<_>>()?)
}

/// The instance of a visitor's session: empty at first, theirs alone, and counted when it is new.
fn visitor(tx: &Tx<'_>, rules: &Rules, open: &OpenCall, session: &str) -> Result<InstanceId> {
    let key = format!("visitor:{session}");
    let found = tx.find(
        "SELECT id FROM instances WHERE agent_id = ?1 AND key = ?2 AND archived_at IS NULL",
        (open.agent, &key),
        |row| row.get(0),
    )?;
    if let Some(instance) = found {
        return Ok(instance);
    }
    // One that was archived, because its owner was proven since, keeps its memory under another name.
    tx.run(
        "UPDATE instances SET key = key || ':' || id WHERE agent_id = ?1 AND key = ?2",
        (open.agent, &key),
    )?;
    // Counted apart from mail, so that a flood by one way does not close the other.
    if tx.count("visitors_network", &open.network)? > rules.limits.unproven_per_network {
        return Err(StoreError::TooMany("too many new visitors from your network today".into()));
    }
    if tx.count("visitors_agent", &open.agent.0.to_string())? > rules.limits.unproven_per_agent {
        return Err(StoreError::TooMany("too many new visitors today".into()));
    }
    Ok(InstanceId(tx.insert(
        "INSERT INTO instances (agent_id, key, proven, created_at) VALUES (?1, ?2, 0, ?3)",
        (open.agent, &key, tx.now),
    )?))
}

/// The one conversation of an instance that belongs to one person, if one was active lately.
fn in_instance(
    tx: &Tx<'_>,
    open: &OpenCall,
    instance: InstanceId,
    caller: CallerCard,
    kind: &str,
) -> Result<Place> {
    let lately = {
        let mut query = tx.conn.prepare_cached(
            "SELECT id FROM conversations WHERE instance_id = ?1 AND last_message_at >= ?2
             ORDER BY last_message_at DESC LIMIT 2",
        )?;
        query
            .query_map((instance, tx.now - JOINED_WITHIN), |row| row.get(0))?
            .collect::<rusqlite::Result<Vec<ConversationId>>>()?
    };
    let (conversation, is_new) = match lately.as_slice() {
        [only] => (*only, false),
        _ => {
            let conversation = accept::next_conversation(tx)?;
            new_conversation(tx, open, conversation, instance, &caller, kind)?;
            (conversation, true)
        }
    };
    if !is_new {
        touch(tx, conversation)?;
    }
    Ok(Place { instance, conversation, contact: None, caller, is_new })
}

fn touch(tx: &Tx<'_>, conversation: ConversationId) -> Result<()> {
    tx.run("UPDATE conversations SET last_message_at = ?2 WHERE id = ?1", (conversation, tx.now))?;
    Ok(())
}

fn new_conversation(
    tx: &Tx<'_>,
    open: &OpenCall,
    conversation: ConversationId,
    instance: InstanceId,
    caller: &CallerCard,
    kind: &str,
) -> Result<()> {
    let subject = match kind {
        "chat" => format!("Chat with {}", caller.label()),
        _ => format!("Call from {}", caller.label()),
    };
    tx.insert(
        "INSERT INTO conversations (id, agent_id, instance_id, channel, subject, last_message_at,
                                    created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
        (conversation, open.agent, instance, kind, subject, tx.now),
    )?;
    Ok(())
}
