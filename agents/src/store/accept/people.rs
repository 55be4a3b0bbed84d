//! Who wrote, as far as it is proven, and who takes part.

use super::super::{Result, Tx};
use crate::{
    ContactId, ConversationId, HandleId,
    mail::{Arrival, Trust, Verdict},
};

/// Who wrote, as far as it is proven.
pub(super) struct Sender {
    pub verified: bool,
    /// The handle the From address is, if it was proven before.
    pub handle: Option<(HandleId, ContactId, Trust)>,
}

impl Sender {
    pub fn look_up(tx: &Tx<'_>, arrival: &Arrival) -> Result<Self> {
        let verified = arrival.verdict.is_verified();
        let handle = if verified { find_handle(tx, &arrival.from)? } else { None };
        Ok(Self { verified, handle })
    }
}

pub(super) fn find_handle(
    tx: &Tx<'_>,
    address: &str,
) -> Result<Option<(HandleId, ContactId, Trust)>> {
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
pub(in crate::store) fn prove(
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

/// Adds or admits a participant. Membership is never taken away here.
pub(in crate::store) fn add_participant(
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

/// How a verdict proves a handle.
pub(super) fn proof_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Local => "local",
        Verdict::Verified | Verdict::Unverified | Verdict::Failed => "dmarc",
    }
}
