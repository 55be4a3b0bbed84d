//! Signed tokens: how a person's answer, a bounce or a click finds its way back.
//!
//! A token is 33 characters of lower-case RFC 4648 base32 without padding (`a`-`z`, `2`-`7`; it must
//! survive mail clients that fold case, and needs no characters that addresses quote):
//!
//! ```text
//! key id   5 bits   1 character; names the key and so also the version of this layout
//! payload           32 characters, exactly 20 octets:
//!   reference  64 bits   random name of one outgoing mail; everything else is in the database
//!   expiry     16 bits   last day of validity, in days since 1970-01-01
//!   MAC        80 bits   of HMAC-SHA-256 over all fields
//! ```
//!
//! What always holds:
//!
//! - There is one spelling: 33 characters hold exactly 165 bits, so no spare bits exist to vary.
//! - The MAC covers purpose, agent and domain, each with its length in front, so a token for one
//!   cannot be used for another, and no two field lists read the same.
//! - Comparison takes constant time, and unknown keys cost the same as known ones.
//! - A token says only "someone saw our mail about this". It routes; it gives no trust.
//!
//! Left out: replay counters and revocation, which are the database's.

pub use frontdesk_agents::Reference;
use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq as _};

/// The length of every token, in characters.
pub const TOKEN_LEN: usize = 33;

/// How long an address to decide by works at least, in days. The exact time is kept with the question.
pub const APPROVE_LIFETIME_DAYS: u16 = 1;

/// How long a reply or bounce address works, unless the operator says otherwise.
pub const DEFAULT_LIFETIME_DAYS: u16 = 60;

/// 80 bits: at 10,000 guesses a second, half a chance takes a million years (DESIGN section 3).
const MAC_LEN: usize = 10;
/// Octets of the payload.
const PAYLOAD_LEN: usize = 8 + 2 + MAC_LEN;
/// Starts every MAC input, so that the keys may serve other uses.
const LABEL: &[u8] = b"frontdesk token 1";

/// What a token is good for. Each purpose is a MAC domain of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// The local part of Reply-To: `agent+r<token>`.
    Reply,
    /// The local part of MAIL FROM: `agent+b<token>`. It may only change delivery state.
    Bounce,
    /// The left side of a Message-ID. Archives show these, so they must not be addresses.
    MessageId,
    /// The local part of Reply-To in a mail that asks one of our own people to decide: `agent+a<token>`. Their
    /// answer decides.
    Approve,
    /// One-click unsubscription.
    Unsubscribe,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 5] =
        [Self::Reply, Self::Bounce, Self::MessageId, Self::Approve, Self::Unsubscribe];

    fn label(self) -> &'static [u8] {
        match self {
            Self::Reply => b"reply",
            Self::Bounce => b"bounce",
            Self::MessageId => b"message-id",
            Self::Approve => b"approve",
            Self::Unsubscribe => b"unsubscribe",
        }
    }
}

/// A day, counted from 1970-01-01 in UTC. Reaches to the year 2149.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day(pub u16);

impl Day {
    /// For tokens that live as long as their key, such as Message-IDs.
    pub const NEVER: Self = Self(u16::MAX);

    /// The day of an instant; instants outside the range give its nearest end.
    #[must_use]
    pub fn of(now: jiff::Timestamp) -> Self {
        let days = now.as_second().div_euclid(86_400);
        Self(u16::try_from(days.max(0)).unwrap_or(u16::MAX))
    }

    /// This many days later, at most [`Day::NEVER`].
    #[must_use]
    pub fn plus(self, days: u16) -> Self {
        Self(self.0.saturating_add(days))
    }
}

/// Names a key. Five bits, so that it takes one character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(u8);

impl KeyId {
    /// How many there are. Ids are reused when a key has been dropped.
    pub const COUNT: u8 = 32;

    /// `None` from [`Self::COUNT`] on.
    #[must_use]
    pub fn new(id: u8) -> Option<Self> {
        (id < Self::COUNT).then_some(Self(id))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }

    fn symbol(self) -> char {
        char::from(ALPHABET[usize::from(self.0)])
    }

    fn from_symbol(symbol: u8) -> Option<Self> {
        let at = ALPHABET.iter().position(|&known| known == symbol)?;
        Self::new(u8::try_from(at).ok()?)
    }
}

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A key for tokens. Not shown by `Debug`.
#[derive(Clone)]
pub struct TokenKey {
    id: KeyId,
    secret: [u8; 32],
}

impl TokenKey {
    /// Wraps a secret of full entropy.
    #[must_use]
    pub fn new(id: KeyId, secret: [u8; 32]) -> Self {
        Self { id, secret }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({})", self.id.0)
    }
}

/// The live keys: one signs, all verify.
#[derive(Debug, Clone)]
pub struct KeyRing {
    signing: TokenKey,
    older: Vec<TokenKey>,
}

impl KeyRing {
    /// A ring that signs with `signing` and verifies with `older` too. Of keys with equal ids the
    /// first counts.
    #[must_use]
    pub fn new(signing: TokenKey, older: Vec<TokenKey>) -> Self {
        Self { signing, older }
    }

    /// The id of the key that signs.
    #[must_use]
    pub fn signing_id(&self) -> KeyId {
        self.signing.id
    }

    /// The ids of every key that verifies, the signing one first.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.keys().map(|key| key.id)
    }

    /// HMAC-SHA-256 of fields, each with its length in front, under the key of this id or, where there is
    /// none, under the signing one: whoever needs to know asks [`Self::ids`].
    pub(crate) fn mac(&self, id: KeyId, fields: &[&[u8]]) -> [u8; 32] {
        let key = self.keys().find(|key| key.id == id).unwrap_or(&self.signing);
        mac_of(key, fields)
    }

    fn keys(&self) -> impl Iterator<Item = &TokenKey> {
        std::iter::once(&self.signing).chain(&self.older)
    }
}

/// Why a token does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Not a token for this purpose, agent and domain, or of no key we have.
    #[error("not a valid token")]
    Invalid,
    /// Authentic, but its last day is over. The reference still tells which mail it was.
    #[error("the token has expired")]
    Expired(Reference),
}

/// Makes a token. Agent and domain compare without case.
#[must_use]
pub fn mint(
    keys: &KeyRing,
    purpose: Purpose,
    agent: &str,
    domain: &str,
    reference: Reference,
    expiry: Day,
) -> String {
    let key = &keys.signing;
    let fields = Fields { purpose, agent, domain, reference, expiry };
    let mut payload = [0; PAYLOAD_LEN];
    payload[..8].copy_from_slice(&reference.0.to_be_bytes());
    payload[8..10].copy_from_slice(&expiry.0.to_be_bytes());
    payload[10..].copy_from_slice(&fields.mac(key));
    let mut token = String::with_capacity(TOKEN_LEN);
    token.push(key.id.symbol());
    token.push_str(&data_encoding::BASE32_NOPAD.encode(&payload).to_ascii_lowercase());
    token
}

/// Checks a token and returns what it refers to. Only lower case counts here; addresses fold case
/// before they ask. A token is good through its whole last day.
///
/// # Errors
///
/// [`Rejected::Expired`] only for tokens that are otherwise valid.
pub fn verify(
    keys: &KeyRing,
    purpose: Purpose,
    agent: &str,
    domain: &str,
    token: &str,
    today: Day,
) -> Result<Reference, Rejected> {
    let (id, payload) = decode(token).ok_or(Rejected::Invalid)?;
    let mut reference = [0; 8];
    reference.copy_from_slice(&payload[..8]);
    let reference = Reference(u64::from_be_bytes(reference));
    let expiry = Day(u16::from_be_bytes([payload[8], payload[9]]));

    let known = keys.keys().find(|key| key.id == id);
    let fields = Fields { purpose, agent, domain, reference, expiry };
    // An unknown key costs the same work, so that timing does not tell which ids are live.
    let mac = fields.mac(known.unwrap_or(&keys.signing));
    let authentic = mac.ct_eq(&payload[10..]) & Choice::from(u8::from(known.is_some()));
    if !bool::from(authentic) {
        return Err(Rejected::Invalid);
    }
    if today > expiry { Err(Rejected::Expired(reference)) } else { Ok(reference) }
}

/// Whether text has the form of a token: the right length and alphabet, in lower case.
#[must_use]
pub fn is_token_shaped(text: &str) -> bool {
    text.len() == TOKEN_LEN && text.bytes().all(|b| ALPHABET.contains(&b))
}

fn decode(token: &str) -> Option<(KeyId, [u8; PAYLOAD_LEN])> {
    if !is_token_shaped(token) {
        return None;
    }
    let id = KeyId::from_symbol(token.as_bytes()[0])?;
    let mut payload = [0; PAYLOAD_LEN];
    let upper = token[1..].to_ascii_uppercase();
    let written = data_encoding::BASE32_NOPAD.decode_mut(upper.as_bytes(), &mut payload).ok()?;
    (written == PAYLOAD_LEN).then_some((id, payload))
}

struct Fields<'a> {
    purpose: Purpose,
    agent: &'a str,
    domain: &'a str,
    reference: Reference,
    expiry: Day,
}

impl Fields<'_> {
    fn mac(&self, key: &TokenKey) -> [u8; MAC_LEN] {
        let agent = self.agent.to_ascii_lowercase();
        let domain = self.domain.to_ascii_lowercase();
        let fields: [&[u8]; 7] = [
            LABEL,
            self.purpose.label(),
            agent.as_bytes(),
            domain.as_bytes(),
            &self.reference.0.to_be_bytes(),
            &self.expiry.0.to_be_bytes(),
            &[key.id.0],
        ];
        let mut truncated = [0; MAC_LEN];
        truncated.copy_from_slice(&mac_of(key, &fields)[..MAC_LEN]);
        truncated
    }
}

fn mac_of(key: &TokenKey, fields: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.secret)
        .expect("HMAC takes keys of any length (RFC 2104 section 2)");
    for field in fields {
        mac.update(&(field.len() as u64).to_be_bytes());
        mac.update(field);
    }
    mac.finalize().into_bytes().into()
}

/// `agent+r<token>@domain`, for Reply-To.
#[must_use]
pub fn reply_address(
    keys: &KeyRing,
    agent: &str,
    domain: &str,
    reference: Reference,
    expiry: Day,
) -> String {
    let token = mint(keys, Purpose::Reply, agent, domain, reference, expiry);
    format!("{agent}+r{token}@{domain}")
}

/// `agent+a<token>@domain`, for Reply-To where an answer decides about something.
#[must_use]
pub fn approve_address(
    keys: &KeyRing,
    agent: &str,
    domain: &str,
    reference: Reference,
    expiry: Day,
) -> String {
    let token = mint(keys, Purpose::Approve, agent, domain, reference, expiry);
    format!("{agent}+a{token}@{domain}")
}

/// `agent+b<token>@domain`, for MAIL FROM: a bounce that comes there names one delivery.
#[must_use]
pub fn bounce_address(
    keys: &KeyRing,
    agent: &str,
    domain: &str,
    reference: Reference,
    expiry: Day,
) -> String {
    let token = mint(keys, Purpose::Bounce, agent, domain, reference, expiry);
    format!("{agent}+b{token}@{domain}")
}

/// `<token@domain>`, for Message-ID. It does not name the agent, and lives as long as its key.
#[must_use]
pub fn message_id(keys: &KeyRing, agent: &str, domain: &str, reference: Reference) -> String {
    format!("<{}@{domain}>", mint(keys, Purpose::MessageId, agent, domain, reference, Day::NEVER))
}

/// The mail of `agent` that a Message-ID in In-Reply-To or References is the name of. Takes `<id>` and
/// `id`, in any case.
#[must_use]
pub fn own_message_id(keys: &KeyRing, agent: &str, domain: &str, id: &str) -> Option<Reference> {
    let id = id.trim();
    let id = id.strip_prefix('<').and_then(|id| id.strip_suffix('>')).unwrap_or(id);
    let (token, right) = id.split_once('@')?;
    if !right.eq_ignore_ascii_case(domain) {
        return None;
    }
    verify(keys, Purpose::MessageId, agent, domain, &token.to_ascii_lowercase(), Day(0)).ok()
}

/// For fuzzing: no input may panic or be accepted, and what decodes must encode to itself.
pub fn fuzz(data: &[u8]) {
    let keys = KeyRing::new(TokenKey::new(KeyId(7), [0x5a; 32]), Vec::new());
    let text = String::from_utf8_lossy(data);
    for purpose in Purpose::ALL {
        let result = verify(&keys, purpose, "support", "desk.example", &text, Day(20_000));
        // The fuzzer cannot forge 80 bits; it can only have been handed the fixed key's output.
        if let Ok(reference) | Err(Rejected::Expired(reference)) = result {
            let (_, payload) = decode(&text).expect("what verifies decodes");
            let expiry = Day(u16::from_be_bytes([payload[8], payload[9]]));
            let again = mint(&keys, purpose, "support", "desk.example", reference, expiry);
            assert_eq!(again, text, "a second spelling was accepted");
        }
    }
    if let Some((id, payload)) = decode(&text) {
        let mut spelled = id.symbol().to_string();
        spelled.push_str(&data_encoding::BASE32_NOPAD.encode(&payload).to_ascii_lowercase());
        assert_eq!(spelled, text, "decoding is not one to one");
    }
    let _ = own_message_id(&keys, "support", "desk.example", &text);
}
