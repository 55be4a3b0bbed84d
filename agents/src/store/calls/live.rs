//! The snapshot a live handler runs on, and the commit of its effects.

use super::find_call;
use crate::{
    AgentId, CallId, ConversationId, InstanceId,
    agent::{Handled, History},
    live::{LiveEvent, LiveSnapshot},
    store::{
        HandleOutcome, Lane, Result, Store, StoreError, effects,
        handle::{BeingSaid, Looking},
    },
};
use rusqlite::{Connection, OptionalExtension};

/// What a live event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Call(CallId),
    Conversation(ConversationId),
}

/// What a live handler's run was made on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub instance: InstanceId,
    pub version: i64,
    pub conversation: ConversationId,
}

impl Seen {
    pub fn of(snapshot: &LiveSnapshot) -> Self {
        Self {
            instance: snapshot.instance,
            version: snapshot.version,
            conversation: snapshot.conversation,
        }
    }
}

impl Store {
    /// A snapshot of the instance a live event is for, and the history its handler may read, from one
    /// consistent view. The words of the turn itself are not in that history, stored already or not.
    pub(crate) fn with_live<T>(
        &self,
        place: Place,
        event: &LiveEvent,
        run: impl FnOnce(AgentId, &LiveSnapshot, &dyn History) -> T,
    ) -> Result<T> {
        self.read(|conn| {
            conn.prepare_cached("BEGIN")?.execute(())?;
            let being_said = event.turn().map(|turn| BeingSaid {
                call: turn.call,
                turn: turn.number,
                message: turn.message,
            });
            let result = snapshot(conn, place)
                .map(|(agent, snapshot)| run(agent, &snapshot, &Looking { conn, being_said }));
            conn.prepare_cached("COMMIT")?.execute(())?;
            result
        })
    }

    /// Commits a live handler's run: state and effects together, unless the instance changed since the snapshot
    /// or the conversation moved away from it.
    pub(crate) async fn commit_live(
        &self,
        agent: AgentId,
        seen: Seen,
        handled: Handled,
    ) -> Result<HandleOutcome> {
        let rules = self.rules();
        let Seen { instance, version, conversation } = seen;
        self.write(Lane::Turn, move |tx| {
            let current: Option<i64> = tx.find(
                "SELECT i.version FROM conversations c JOIN instances i ON i.id = c.instance_id
                 WHERE c.id = ?1 AND i.id = ?2",
                (conversation, instance),
                |row| row.get(0),
            )?;
            if current != Some(version) {
                return Ok(HandleOutcome::Stale);
            }
            if let Some((state, state_version)) = &handled.state {
                tx.run(
                    "UPDATE instances SET state = ?2, state_version = ?3, version = version + 1
                     WHERE id = ?1",
                    (instance, state, state_version),
                )?;
            }
            effects::apply(tx, &rules, agent, instance, &handled.effects)?;
            Ok(HandleOutcome::Committed)
        })
        .await
    }

    /// Puts a conversation before a person because its agent failed in it.
    pub(crate) async fn show_live_failure(
        &self,
        conversation: ConversationId,
        error: String,
    ) -> Result<()> {
        self.write(Lane::Turn, move |tx| {
            tx.run(
                "UPDATE conversations SET queue = 'needs_review', review_why = ?2 WHERE id = ?1",
                (conversation, format!("the agent failed on this: {error}")),
            )?;
            Ok(())
        })
        .await
    }
}

fn snapshot(conn: &Connection, place: Place) -> Result<(AgentId, LiveSnapshot)> {
    let (conversation, call) = match place {
        Place::Conversation(conversation) => (conversation, None),
        Place::Call(call) => {
            let call = find_call(conn, call)?
                .ok_or_else(|| StoreError::NotFound(format!("there is no call {call}")))?;
            (call.conversation, Some(call))
        }
    };
    conn.prepare_cached(
        "SELECT c.agent_id, i.id, i.key, i.version, i.state, i.state_version
         FROM conversations c JOIN instances i ON i.id = c.instance_id WHERE c.id = ?1",
    )?
    .query_row((conversation,), |row| {
        let agent: AgentId = row.get(0)?;
        let instance: InstanceId = row.get(1)?;
        Ok((agent, instance, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
    })
    .optional()?
    .map(|(agent, instance, key, version, state, state_version)| {
        let snapshot =
            LiveSnapshot { instance, key, version, state, state_version, conversation, call };
        (agent, snapshot)
    })
    .ok_or_else(|| StoreError::NotFound(format!("there is no conversation {conversation}")))
}
