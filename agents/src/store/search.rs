//! Search over everything said, newest first.
//!
//! FTS5 walks a word's postings in order of rowid, and rowids are message ids, so "newest first" costs
//! no sorting: a page of the commonest word is as quick as one of the rarest.

use super::{Result, Store, timestamp};
use crate::{ConversationId, MessageId};
use jiff::Timestamp;
use serde::Serialize;

/// A message that matched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SearchHit {
    pub message: MessageId,
    pub conversation: ConversationId,
    pub agent: String,
    pub subject: String,
    pub author: String,
    pub role: String,
    /// The beginning of the text.
    pub snippet: String,
    pub at: Timestamp,
}

impl Store {
    /// Messages that contain all the words, newest first. Words match whole, a last word ending in `*` by its
    /// beginning, and text in double quotes as a phrase.
    pub async fn search(
        &self,
        words: &str,
        limit: usize,
        before: Option<MessageId>,
    ) -> Result<Vec<SearchHit>> {
        let expression = expression(words);
        if expression.is_empty() {
            return Ok(Vec::new());
        }
        self.read_async(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT m.id, m.conversation_id, a.name, c.subject, m.author, m.role,
                        substr(m.text, 1, 160), m.created_at
                 FROM message_search s JOIN messages m ON m.id = s.rowid
                 JOIN conversations c ON c.id = m.conversation_id
                 JOIN agents a ON a.id = c.agent_id
                 WHERE message_search MATCH ?1 AND s.rowid < ?2
                 ORDER BY s.rowid DESC LIMIT ?3",
            )?;
            let before = before.map_or(i64::MAX, |id| id.0);
            let rows = query.query_map((expression, before, limit.clamp(1, 200)), |row| {
                Ok(SearchHit {
                    message: row.get(0)?,
                    conversation: row.get(1)?,
                    agent: row.get(2)?,
                    subject: row.get(3)?,
                    author: row.get(4)?,
                    role: row.get(5)?,
                    snippet: row.get(6)?,
                    at: timestamp(row.get(7)?),
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}

/// What people type as an FTS5 expression: every word becomes a quoted string, so nothing they type is
/// an operator and nothing is a syntax error.
pub(super) fn expression(words: &str) -> String {
    let mut parts = Vec::new();
    for (index, piece) in words.split('"').enumerate() {
        if index % 2 == 1 {
            if piece.chars().any(char::is_alphanumeric) {
                parts.push(format!("\"{}\"", piece.trim()));
            }
            continue;
        }
        for word in piece.split_whitespace() {
            let (stem, prefix) = match word.strip_suffix('*') {
                Some(stem) => (stem, "*"),
                None => (word, ""),
            };
            // A word of punctuation alone has no token, and an empty string matches nothing.
            if stem.chars().any(char::is_alphanumeric) {
                parts.push(format!("\"{stem}\"{prefix}"));
            }
        }
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::expression;

    #[test]
    fn nothing_typed_is_an_operator() {
        assert_eq!(expression("refund NOT order"), r#""refund" "NOT" "order""#);
        assert_eq!(expression(r#"say "late parcel" inv*"#), r#""say" "late parcel" "inv"*"#);
        assert_eq!(expression(r#"a) OR (b " -- *"#), r#""a)" "OR" "(b""#);
        assert_eq!(expression("  ,, - "), "");
    }
}
