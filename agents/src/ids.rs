//! Row identities as types, so that a message is never taken for a conversation.
//!
//! Ids come from `AUTOINCREMENT` columns: they grow, and one that was deleted never comes back.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl rusqlite::ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
                Ok(self.0.into())
            }
        }

        impl rusqlite::types::FromSql for $name {
            fn column_result(value: rusqlite::types::ValueRef<'_>) -> rusqlite::types::FromSqlResult<Self> {
                value.as_i64().map($name)
            }
        }
    )*};
}

ids! {
    /// An agent by name, for as long as the installation lives.
    AgentId,
    /// One (agent, key) with its state and memory.
    InstanceId,
    /// The unit of review and of the reply token.
    ConversationId,
    /// One entry of the shared history.
    MessageId,
    /// A person, known by one or more handles.
    ContactId,
    /// An address or number that was proven to belong to a contact.
    HandleId,
    /// A durable event waiting for an instance.
    EventId,
    /// An outgoing message, whatever its state.
    OutboxId,
    /// One outgoing message to one recipient.
    DeliveryId,
    /// Something a person must decide.
    ApprovalId,
    /// A durable row of work that outlives a handler.
    TaskId,
    /// Something that happens later.
    ScheduleId,
    /// One call, from the moment it is answered.
    CallId,
    /// A person who signs in.
    UserId,
    /// One browser that a user is signed in with.
    SessionId,
    /// What a program shows to be let in.
    TokenId,
    /// A mail that a person has begun to write.
    DraftId,
    /// An address that is told what happens.
    WebhookId,
    /// One event on its way to one webhook.
    WebhookDeliveryId,
    /// A change that can be taken back.
    UndoId,
    /// Stored content.
    BlobId,
}

/// The random reference of one outgoing mail that its tokens carry. Unique, 64 bits, stored as the
/// same bits in a signed column.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Reference(pub u64);

impl fmt::Debug for Reference {
    /// References are half of a token: they do not reach logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reference(..)")
    }
}

impl Reference {
    /// A fresh reference from the operating system's generator.
    pub fn random() -> std::io::Result<Self> {
        let mut bytes = [0u8; 8];
        getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
        Ok(Self(u64::from_le_bytes(bytes)))
    }
}

impl rusqlite::ToSql for Reference {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(self.0.cast_signed().into())
    }
}

impl rusqlite::types::FromSql for Reference {
    fn column_result(value: rusqlite::types::ValueRef<'_>) -> rusqlite::types::FromSqlResult<Self> {
        value.as_i64().map(|bits| Reference(bits.cast_unsigned()))
    }
}
