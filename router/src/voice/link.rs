//! Signed links to a talk page: they let somebody in without an account, for a while.
//!
//! ```text
//! token = base64url( key id 8 bits | expiry 32 bits | contact 64 bits | nonce 64 bits | MAC 128 bits )
//! ```
//!
//! The expiry counts seconds since 1970, the contact is 0 for a link that says nothing about who holds
//! it. The MAC is HMAC-SHA-256 over the label, the agent and all other fields, each with its length.
//!
//! What always holds: a link is for one agent; it is good until it expires or its key is dropped, and
//! comparing it takes the same time whatever is wrong with it. A link that names a contact is proof of
//! being that contact, so it must only be given to them, for instance by mail.

use crate::token::{KeyId, KeyRing};
use data_encoding::BASE64URL_NOPAD;
use frontdesk_agents::ContactId;
use jiff::{SignedDuration, Timestamp};

/// How long a link is good unless it is said: long enough to read a mail and press it.
pub const LASTS: SignedDuration = SignedDuration::from_hours(24);

/// The longest a link may be good, as long as its key is at least kept.
pub const LASTS_AT_MOST: SignedDuration = SignedDuration::from_hours(30 * 24);

const LABEL: &[u8] = b"frontdesk talk link 1";
const BODY: usize = 1 + 4 + 8 + 8;
const MAC: usize = 16;

/// Who holds a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Whom it was given to, if that is known.
    pub contact: Option<ContactId>,
    /// Different for each link: strangers with different links are different strangers.
    pub nonce: u64,
    /// Not after this.
    pub expires_at: Timestamp,
}

/// Why a link does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    #[error("This link is not valid here. Please ask for another one.")]
    Invalid,
    #[error("This link has expired. Please ask for another one.")]
    Expired,
}

/// Makes a link's token.
pub fn mint(keys: &KeyRing, agent: &str, link: &Link) -> String {
    let id = keys.signing_id();
    let mut body = [0; BODY];
    body[0] = id.get();
    let expires = u32::try_from(link.expires_at.as_second().max(0)).unwrap_or(u32::MAX);
    body[1..5].copy_from_slice(&expires.to_be_bytes());
    let contact = link.contact.map_or(0, |contact| contact.0);
    body[5..13].copy_from_slice(&contact.to_be_bytes());
    body[13..].copy_from_slice(&link.nonce.to_be_bytes());
    let mac = mac(keys, id, agent, &body);
    BASE64URL_NOPAD.encode(&[&body[..], &mac[..MAC]].concat())
}

/// Reads a link's token.
///
/// # Errors
///
/// [`Rejected::Expired`] only for links that are otherwise good.
pub fn open(keys: &KeyRing, agent: &str, token: &str, now: Timestamp) -> Result<Link, Rejected> {
    use subtle::ConstantTimeEq as _;
    let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).map_err(|_| Rejected::Invalid)?;
    let (body, shown) = bytes.split_at_checked(BODY).ok_or(Rejected::Invalid)?;
    let id = KeyId::new(body[0]);
    let known = id.filter(|id| keys.ids().any(|known| known == *id));
    let mac = mac(keys, known.unwrap_or(keys.signing_id()), agent, body);
    let good = mac[..MAC].ct_eq(shown) & subtle::Choice::from(u8::from(known.is_some()));
    if shown.len() != MAC || !bool::from(good) {
        return Err(Rejected::Invalid);
    }
    let mut number = [0; 8];
    number[4..].copy_from_slice(&body[1..5]);
    let expires = i64::from_be_bytes(number);
    number.copy_from_slice(&body[5..13]);
    let contact = i64::from_be_bytes(number);
    number.copy_from_slice(&body[13..]);
    let expires_at = Timestamp::from_second(expires).map_err(|_| Rejected::Invalid)?;
    if now > expires_at {
        return Err(Rejected::Expired);
    }
    let contact = (contact != 0).then_some(ContactId(contact));
    Ok(Link { contact, nonce: u64::from_be_bytes(number), expires_at })
}

fn mac(keys: &KeyRing, id: KeyId, agent: &str, body: &[u8]) -> [u8; 32] {
    keys.mac(id, &[LABEL, agent.to_ascii_lowercase().as_bytes(), body])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::token::TokenKey;

    fn ring(id: u8, secret: u8) -> KeyRing {
        KeyRing::new(TokenKey::new(KeyId::new(id).unwrap(), [secret; 32]), Vec::new())
    }

    fn link() -> Link {
        Link {
            contact: Some(ContactId(7)),
            nonce: 99,
            expires_at: "2026-01-02T00:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_link_is_good_for_its_agent_until_it_expires() {
        let (keys, link) = (ring(1, 5), link());
        let token = mint(&keys, "hello", &link);
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(open(&keys, "Hello", &token, at("2026-01-01T00:00:00Z")), Ok(link));
        assert_eq!(
            open(&keys, "hello", &token, at("2026-01-02T00:00:01Z")),
            Err(Rejected::Expired)
        );
        assert_eq!(
            open(&keys, "sales", &token, at("2026-01-01T00:00:00Z")),
            Err(Rejected::Invalid)
        );
    }

    #[test]
    fn every_changed_character_and_every_other_key_is_refused() {
        let (keys, now) = (ring(1, 5), "2026-01-01T00:00:00Z".parse().unwrap());
        let token = mint(&keys, "hello", &link());
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(open(&keys, "hello", &changed, now), Err(Rejected::Invalid), "{at}");
        }
        for keys in [ring(1, 6), ring(2, 5)] {
            assert_eq!(open(&keys, "hello", &token, now), Err(Rejected::Invalid));
        }
        for text in ["", "A", &token[1..], &format!("{token}AAAA"), "ä"] {
            assert_eq!(open(&keys, "hello", text, now), Err(Rejected::Invalid), "{text}");
        }
    }
}
