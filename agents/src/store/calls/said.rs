//! What was said, and how much of it was heard.

use super::load_call;
use crate::{
    AgentId, CallId, ConversationId, InstanceId, MessageId, Trust,
    live::{Call, CallerCard, Chat, Origin, Outcome, Speaker, Via},
    store::{Lane, Result, Store, StoreError, Tx},
};
use std::fmt;

/// Something that was said in a call. Offsets are bytes of `text`, with `heard <= sent`.
#[derive(Clone, PartialEq, Eq)]
pub struct Spoken {
    pub speaker: Speaker,
    pub origin: Origin,
    /// How the caller said it; none for the agent.
    pub via: Option<Via>,
    /// The caller's turn it belongs to.
    pub turn: Option<u32>,
    /// The reply's generation, where it is the agent's.
    pub generation: Option<u32>,
    /// When it began, from the start of the call.
    pub at_ms: i64,
    /// The whole text.
    pub text: String,
    /// How much of it was written before it ended. Whatever is beyond was not, and is not kept.
    pub generated: usize,
    /// How much of it was on its way to the caller.
    pub sent: usize,
    /// How much of it was heard.
    pub heard: usize,
    pub outcome: Outcome,
}

impl Spoken {
    /// Words of the caller.
    pub fn caller(turn: u32, via: Via, at_ms: i64, text: impl Into<String>) -> Self {
        let text = text.into();
        let whole = text.len();
        Self {
            speaker: Speaker::Caller,
            origin: Origin::Caller,
            via: Some(via),
            turn: Some(turn),
            generation: None,
            at_ms,
            text,
            generated: whole,
            sent: whole,
            heard: whole,
            outcome: Outcome::Complete,
        }
    }

    /// Words of the agent that were heard in full.
    pub fn agent(origin: Origin, turn: Option<u32>, at_ms: i64, text: impl Into<String>) -> Self {
        let text = text.into();
        let whole = text.len();
        Self {
            speaker: Speaker::Agent,
            origin,
            via: None,
            turn,
            generation: None,
            at_ms,
            text,
            generated: whole,
            sent: whole,
            heard: whole,
            outcome: Outcome::Complete,
        }
    }

    /// The same, cut off after so many bytes were sent and heard.
    #[must_use]
    pub fn cut(mut self, sent: usize, heard: usize, outcome: Outcome) -> Self {
        (self.sent, self.heard, self.outcome) = (sent, heard, outcome);
        self
    }

    /// With offsets that hold together, and lie between characters, whatever was given.
    fn checked(mut self) -> Self {
        self.generated = self.text.floor_char_boundary(self.generated);
        self.text.truncate(self.generated);
        self.sent = self.text.floor_char_boundary(self.sent);
        self.heard = self.text.floor_char_boundary(self.heard.min(self.sent));
        self
    }
}

impl fmt::Debug for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spoken")
            .field("speaker", &self.speaker)
            .field("origin", &self.origin)
            .field("turn", &self.turn)
            .field("at_ms", &self.at_ms)
            .field("text_bytes", &self.text.len())
            .field("heard", &self.heard)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

/// When the steps of a turn happened, from the start of the call. None: it never came to that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TurnTimes {
    pub turn: u32,
    pub generation: u32,
    /// The caller's last sound; none where they typed.
    pub speech_end_ms: Option<i64>,
    /// The last final text arrived.
    pub final_text_ms: Option<i64>,
    /// The turn was over and the agent was asked.
    pub turn_end_ms: i64,
    /// The agent's first text.
    pub first_text_ms: Option<i64>,
    /// The reply's first sound was sent.
    pub first_audio_ms: Option<i64>,
    /// The reply was over.
    pub end_ms: i64,
    pub outcome: Outcome,
}

impl Store {
    /// Keeps what was said in a call, in its conversation. What comes after the end of the call, as the last
    /// words of a broken one do, is kept as well.
    pub async fn commit_spoken(&self, call: CallId, spoken: Spoken) -> Result<MessageId> {
        let rules = self.rules();
        self.write(Lane::Turn, move |tx| {
            let call = load_call(tx, call)?;
            let agent: AgentId =
                tx.row("SELECT agent_id FROM calls WHERE id = ?1", (call.id,), |row| row.get(0))?;
            let name = rules.agents.get(&agent).map_or("agent", |agent| agent.name.as_str());
            insert_spoken(tx, &call, name, spoken.clone())
        })
        .await
    }

    /// Keeps what was said in a chat.
    pub async fn commit_text(
        &self,
        chat: &Chat,
        speaker: Speaker,
        text: String,
    ) -> Result<MessageId> {
        let (conversation, caller) = (chat.conversation, chat.caller.clone());
        self.write(Lane::Turn, move |tx| {
            let agent: String = tx
                .find(
                    "SELECT a.name FROM conversations c JOIN agents a ON a.id = c.agent_id
                     WHERE c.id = ?1",
                    (conversation,),
                    |row| row.get(0),
                )?
                .ok_or_else(|| {
                    StoreError::NotFound(format!("there is no conversation {conversation}"))
                })?;
            insert_said(tx, conversation, "chat", &caller, &agent, speaker, &text)
        })
        .await
    }

    /// Keeps the times of a turn. Told again, the later ones count.
    pub async fn record_turn(&self, call: CallId, times: TurnTimes) -> Result<()> {
        self.write(Lane::Turn, move |tx| {
            tx.run(
                "INSERT INTO call_turns (call_id, turn, generation, speech_end_ms, final_text_ms,
                                         turn_end_ms, first_text_ms, first_audio_ms, end_ms, outcome)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                 ON CONFLICT (call_id, turn, generation) DO UPDATE
                 SET speech_end_ms = excluded.speech_end_ms, final_text_ms = excluded.final_text_ms,
                     turn_end_ms = excluded.turn_end_ms, first_text_ms = excluded.first_text_ms,
                     first_audio_ms = excluded.first_audio_ms, end_ms = excluded.end_ms,
                     outcome = excluded.outcome",
                rusqlite::params![
                    call,
                    times.turn,
                    times.generation,
                    times.speech_end_ms,
                    times.final_text_ms,
                    times.turn_end_ms,
                    times.first_text_ms,
                    times.first_audio_ms,
                    times.end_ms,
                    times.outcome,
                ],
            )?;
            Ok(())
        })
        .await
    }
}

/// Of a text, what was heard of it, and what was not. White space at the end is nothing to hear.
pub(in crate::store) fn heard_of(mut text: String, heard: usize) -> (String, String) {
    let heard = text.floor_char_boundary(heard);
    if text[heard..].trim().is_empty() {
        return (text, String::new());
    }
    let unheard = text.split_off(heard);
    (text, unheard)
}

pub(in crate::store) fn insert_spoken(
    tx: &Tx<'_>,
    call: &Call,
    agent: &str,
    spoken: Spoken,
) -> Result<MessageId> {
    let spoken = spoken.checked();
    let message = insert_said(
        tx,
        call.conversation,
        "call",
        &call.caller,
        agent,
        spoken.speaker,
        &spoken.text,
    )?;
    let offset = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
    tx.run(
        "INSERT INTO spoken (message_id, call_id, speaker, origin, via, turn, generation, started_ms,
                             sent, heard, outcome)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        rusqlite::params![
            message,
            call.id,
            spoken.speaker,
            spoken.origin,
            spoken.via,
            spoken.turn,
            spoken.generation,
            spoken.at_ms,
            offset(spoken.sent),
            offset(spoken.heard),
            spoken.outcome,
        ],
    )?;
    Ok(message)
}

fn insert_said(
    tx: &Tx<'_>,
    conversation: ConversationId,
    channel: &str,
    caller: &CallerCard,
    agent: &str,
    speaker: Speaker,
    text: &str,
) -> Result<MessageId> {
    let (role, author) = match speaker {
        Speaker::Caller => ("human", caller.label()),
        Speaker::Agent => ("agent", agent),
    };
    // The conversation may have moved to another instance since: what is said now belongs where it is.
    let instance: InstanceId =
        tx.row("SELECT instance_id FROM conversations WHERE id = ?1", (conversation,), |row| {
            row.get(0)
        })?;
    let message = MessageId(tx.insert(
        "INSERT INTO messages (conversation_id, instance_id, parent_id, channel, role, author, text,
                               status, created_at)
         VALUES (?1, ?2, (SELECT max(id) FROM messages WHERE conversation_id = ?1), ?3, ?4, ?5, ?6,
                 'admitted', ?7)",
        (conversation, instance, channel, role, author, text, tx.now),
    )?);
    // Somebody proven who speaks is a person with something new to say, which mail has to show first.
    let anew =
        speaker == Speaker::Caller && caller.trust >= Trust::Proven && !text.trim().is_empty();
    tx.run(
        "UPDATE conversations
         SET last_message_at = ?2, auto_since_human = CASE WHEN ?3 THEN 0 ELSE auto_since_human END
         WHERE id = ?1",
        (conversation, tx.now, anew),
    )?;
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_hold_together_and_lie_between_characters() {
        let said = Spoken::agent(Origin::Reply, Some(1), 0, "Grüße")
            .cut(99, 3, Outcome::Interrupted)
            .checked();
        assert_eq!((said.generated, said.sent, said.heard), (7, 7, 2), "not within the ü");
        let said = Spoken::agent(Origin::Reply, Some(1), 0, "Hello")
            .cut(2, 4, Outcome::Interrupted)
            .checked();
        assert_eq!((said.sent, said.heard), (2, 2));
    }

    #[test]
    fn a_missing_space_at_the_end_is_no_interruption() {
        let check = |text: &str, heard, parts: (&str, &str)| {
            assert_eq!(heard_of(text.into(), heard), (parts.0.into(), parts.1.into()));
        };
        check("All of it. ", 10, ("All of it. ", ""));
        check("One. Two.", 4, ("One.", " Two."));
        check("Nothing", 0, ("", "Nothing"));
        check("Grüße", 3, ("Gr", "üße"));
        check("Short", 99, ("Short", ""));
    }
}
