//! The names of conversations in the References of what we send.
//!
//! A name is made of the conversation's id under a key of the database: sixteen bytes from which only we
//! get the id back, and which tell nobody how many conversations there are. So it needs no column and no
//! index of random text, which cost a page of the log for each conversation. It proves nothing: like any
//! reference it leads a member back to the conversation, and nobody else.

use super::Result;
use crate::ConversationId;
use rusqlite::Connection;
use sha2::{Digest, Sha256};

/// The key, from `meta`.
#[derive(Clone, Copy)]
pub(crate) struct ThreadKey([u8; 32]);

/// What each half of a name is made for, so that they have nothing in common.
const TAG: u8 = 1;
const MASK: u8 = 2;

impl ThreadKey {
    pub fn load(conn: &Connection) -> Result<Self> {
        let key = "SELECT value FROM meta WHERE key = 'thread_key'";
        Ok(Self(conn.query_row(key, (), |row| row.get(0))?))
    }

    /// The name of a conversation: 32 hexadecimal digits.
    pub fn name(&self, conversation: ConversationId) -> String {
        let id = conversation.0.cast_unsigned();
        let tag = self.mix(TAG, id);
        format!("{tag:016x}{:016x}", id ^ self.mix(MASK, tag))
    }

    /// The conversation of a name, if it is one that we made.
    pub fn conversation(&self, name: &str) -> Option<ConversationId> {
        // Digits alone: a sign would parse as well.
        if name.len() != 32 || !name.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let tag = u64::from_str_radix(name.get(..16)?, 16).ok()?;
        let masked = u64::from_str_radix(name.get(16..)?, 16).ok()?;
        let id = masked ^ self.mix(MASK, tag);
        (self.mix(TAG, id) == tag).then_some(ConversationId(id.cast_signed()))
    }

    fn mix(&self, purpose: u8, value: u64) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update([purpose]);
        hash.update(value.to_be_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let (head, _) =
            digest.split_first_chunk::<8>().expect("a digest is longer than eight bytes");
        u64::from_be_bytes(*head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_name_leads_back_to_its_conversation_and_no_other_text_does() {
        let (key, other) = (ThreadKey([7; 32]), ThreadKey([8; 32]));
        let mut names = BTreeSet::new();
        for id in (1..2_000).chain([i64::MAX]) {
            let name = key.name(ConversationId(id));
            assert_eq!((name.len(), name.to_lowercase()), (32, name.clone()));
            assert_eq!(key.conversation(&name), Some(ConversationId(id)));
            assert_eq!(key.conversation(&name.to_uppercase()), Some(ConversationId(id)));
            assert_eq!(other.conversation(&name), None);
            assert!(names.insert(name));
        }
        let name = key.name(ConversationId(5));
        for at in 0..32 {
            let mut changed = name.clone().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(key.conversation(std::str::from_utf8(&changed).unwrap()), None);
        }
        for text in ["", "5", "0000000000000000000000000000000ö", &format!("+{}", &name[1..])] {
            assert_eq!(key.conversation(text), None, "{text}");
        }
    }
}
