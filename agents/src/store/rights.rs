//! Who may see and do what, as the store keeps it and filters by it.

use super::{Result, Store, StoreError};
use crate::{
    AgentId, ApprovalId, ContactId, ConversationId, DraftId, EventId, MessageId, OutboxId,
    ScheduleId,
};
use rusqlite::{OptionalExtension, ToSql, types::ToSqlOutput};
use serde::{Deserialize, Serialize};

/// What a user is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserRole {
    /// Does everything, for all agents.
    Owner,
    /// Reads, writes, sends and decides.
    Reviewer,
    /// Reads.
    Viewer,
}

impl UserRole {
    /// The inverse of [`UserRole::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Owner, Self::Reviewer, Self::Viewer].into_iter().find(|role| role.as_str() == text)
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Reviewer => "reviewer",
            Self::Viewer => "viewer",
        }
    }

    /// What the role may do.
    pub fn scopes(self) -> &'static [Scope] {
        match self {
            Self::Owner => &Scope::ALL,
            Self::Reviewer => &[Scope::Read, Scope::Draft, Scope::Send, Scope::Approve],
            Self::Viewer => &[Scope::Read],
        }
    }
}

/// One thing somebody may do. Roles and tokens are made of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// See conversations and everything about them.
    Read,
    /// Write drafts and notes, and tidy: archive, snooze, assign, label.
    Draft,
    /// Make mail leave.
    Send,
    /// Decide what waits for a person, and who is known.
    Approve,
    /// Users, tokens, webhooks, keys, the audit trail, backups.
    Admin,
    /// Choose the instance that a call or chat belongs to.
    Instances,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 6] =
        [Self::Read, Self::Draft, Self::Send, Self::Approve, Self::Admin, Self::Instances];

    /// The inverse of [`Scope::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Draft => "draft",
            Self::Send => "send",
            Self::Approve => "approve",
            Self::Admin => "admin",
            Self::Instances => "instances",
        }
    }
}

/// Whose conversations somebody sees. As a parameter of a query it is NULL for all, or a JSON list of
/// agent ids, so that `(?1 IS NULL OR agent_id IN (SELECT value FROM json_each(?1)))` filters by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    All,
    Only(Vec<AgentId>),
}

impl Sight {
    /// Whether this agent is in sight.
    pub fn includes(&self, agent: AgentId) -> bool {
        match self {
            Self::All => true,
            Self::Only(agents) => agents.contains(&agent),
        }
    }
}

impl ToSql for Sight {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::All => rusqlite::types::Null.into(),
            Self::Only(agents) => {
                let ids: Vec<String> = agents.iter().map(ToString::to_string).collect();
                format!("[{}]", ids.join(",")).into()
            }
        })
    }
}

/// Something with an id that belongs to an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thing {
    Conversation(ConversationId),
    Message(MessageId),
    Review(ApprovalId),
    Outgoing(OutboxId),
    DeadLetter(EventId),
    Schedule(ScheduleId),
    Draft(DraftId),
    /// A contact is in sight when one of its conversations is.
    Contact(ContactId),
}

impl Thing {
    fn none(self) -> StoreError {
        StoreError::NotFound(match self {
            Self::Conversation(id) => format!("there is no conversation {id}"),
            Self::Message(id) => format!("there is no message {id}"),
            Self::Review(id) => format!("there is no review {id}"),
            Self::Outgoing(id) => format!("there is no outgoing mail {id}"),
            Self::DeadLetter(id) => format!("event {id} is not a dead letter"),
            Self::Schedule(id) => format!("there is no schedule {id}"),
            Self::Draft(id) => format!("there is no draft {id}"),
            Self::Contact(id) => format!("there is no contact {id}"),
        })
    }
}

/// Contacts that have to do with an agent in sight: as a filter on `contacts c`.
pub(super) const CONTACT_IN_SIGHT: &str = "
    (?1 IS NULL
     OR EXISTS (SELECT 1 FROM instances i WHERE i.contact_id = c.id
                AND i.agent_id IN (SELECT value FROM json_each(?1)))
     OR EXISTS (SELECT 1 FROM handles h JOIN participants p ON p.handle_id = h.id
                JOIN conversations v ON v.id = p.conversation_id
                WHERE h.contact_id = c.id AND v.agent_id IN (SELECT value FROM json_each(?1))))";

impl Store {
    /// Says [`StoreError::NotFound`] of what does not exist and of what is out of sight, in the same words.
    pub async fn in_sight(&self, sight: &Sight, thing: Thing) -> Result<()> {
        let sight = sight.clone();
        self.read_async(move |conn| {
            let of = |table_and_join: &str, id: i64| -> Result<bool> {
                let sql = format!(
                    "SELECT 1 FROM {table_and_join} = ?2
                     AND (?1 IS NULL OR agent_id IN (SELECT value FROM json_each(?1)))"
                );
                let found =
                    conn.prepare_cached(&sql)?.query_row((&sight, id), |_| Ok(())).optional()?;
                Ok(found.is_some())
            };
            let of_conversation = |table: &str, id| {
                of(
                    &format!(
                        "{table} t JOIN conversations c ON c.id = t.conversation_id WHERE t.id"
                    ),
                    id,
                )
            };
            let of_instance = |table: &str, id| {
                of(&format!("{table} t JOIN instances i ON i.id = t.instance_id WHERE t.id"), id)
            };
            let seen = match thing {
                Thing::Conversation(id) => of("conversations WHERE id", id.0)?,
                Thing::Message(id) => of_conversation("messages", id.0)?,
                Thing::Review(id) => of_conversation("approvals", id.0)?,
                Thing::Outgoing(id) => of("outbox WHERE id", id.0)?,
                Thing::DeadLetter(id) => of_instance("events", id.0)?,
                Thing::Schedule(id) => of_instance("schedules", id.0)?,
                Thing::Draft(id) => of("drafts WHERE id", id.0)?,
                Thing::Contact(id) => {
                    let sql =
                        format!("SELECT 1 FROM contacts c WHERE c.id = ?2 AND {CONTACT_IN_SIGHT}");
                    conn.prepare_cached(&sql)?.exists((&sight, id))?
                }
            };
            if seen { Ok(()) } else { Err(thing.none()) }
        })
        .await
    }
}
