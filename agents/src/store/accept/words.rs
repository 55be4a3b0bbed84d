//! Whether a person wrote something new.

use super::super::{Result, Tx};
use crate::{
    ConversationId, MessageId,
    mail::{Arrival, ArrivalRecipient},
};

/// An answer to our last mail within this many milliseconds is not taken for a person's (DESIGN 3).
const TOO_QUICK_FOR_A_PERSON: i64 = 60_000;

/// How many earlier human messages a new one is compared with for being a copy.
const COMPARED: usize = 10;

/// Resets the first circuit breaker if a person wrote something new: some text, no automatic marks,
/// not within a minute of our last mail, and not a near copy of what was written before.
pub(super) fn note_human_words(
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
