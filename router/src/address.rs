//! The address grammar: which agent an address is, and what its `+` part says.
//!
//! ```text
//! support@domain            the agent
//! support+tag@domain        the agent with a tag of at most 20 characters
//! support+r<token>@domain   an answer to a mail of ours (token: exactly 33 characters)
//! support+b<token>@domain   a bounce of a mail of ours
//! support+a<token>@domain   an answer to a mail of ours that asked somebody here to decide
//! ```
//!
//! What always holds: names compare without case; `postmaster` and `abuse` exist at every one of our
//! domains and are never agents; whatever follows a `+` never makes a known address unknown, so an
//! outsider cannot tell a good token from a bad one by the answer to RCPT.
//!
//! Left out: trust. An address says where mail goes, never who sent it.

use frontdesk_agents::admission::InstancePolicy;
use std::collections::HashMap;
use std::fmt;

use crate::token::{self, Day, KeyRing, Purpose, Reference, Rejected};

/// Why a name or table entry is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not an agent name.
    #[error(
        "`{0}` cannot be an agent's name: use 1 to 28 of a-z, 0-9, `-`, `.` and `_`, \
         beginning and ending with a letter or digit"
    )]
    Name(String),
    /// A name that RFC 2142 or mail software gives another meaning.
    #[error("`{0}` is reserved and cannot be an agent's name")]
    Reserved(String),
    /// Not a domain.
    #[error("`{0}` is not a domain")]
    Domain(String),
    /// Two agents claim one address.
    #[error("{address} already belongs to the agent {agent}")]
    Taken {
        /// The address.
        address: String,
        /// Its agent.
        agent: AgentName,
    },
    /// An alias or catch-all names an agent that has no address at the domain.
    #[error("the agent {agent} has no address at {domain}")]
    NoSuchAgent {
        /// The agent.
        agent: AgentName,
        /// The domain.
        domain: String,
    },
}

/// An agent's name, which is also its local part: lower-case and at most 28 octets, so that with a
/// token it stays within the 64 octets of RFC 5321 section 4.5.3.1.1.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentName(String);

impl AgentName {
    /// The longest name, in octets.
    pub const MAX: usize = 28;
    /// Names no agent may have.
    pub const RESERVED: [&str; 3] = ["postmaster", "abuse", "mailer-daemon"];

    /// Checks a name. Upper case is refused, not folded: a config says what it means.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] or [`Error::Reserved`].
    pub fn new(name: &str) -> Result<Self, Error> {
        let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let octets = name.as_bytes();
        let shaped = octets.len() <= Self::MAX
            && edge(octets.first())
            && edge(octets.last())
            && octets
                .iter()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(b))
            && !name.contains("..");
        if !shaped {
            return Err(Error::Name(shown(name)));
        }
        if Self::RESERVED.contains(&name) {
            return Err(Error::Reserved(name.to_owned()));
        }
        Ok(Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A tag: 1 to 20 of `a-z`, `0-9`, `-`, `.`, `_`, folded to lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tag(String);

impl Tag {
    /// The longest tag, in characters.
    pub const MAX: usize = 20;

    fn new(lower: &str) -> Option<Self> {
        let shaped = (1..=Self::MAX).contains(&lower.len())
            && lower
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b));
        shaped.then(|| Self(lower.to_owned()))
    }

    /// The tag.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What follows the agent in a local part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Suffix {
    /// Nothing, or something that is neither tag nor token.
    None,
    /// A tag.
    Tag(Tag),
    /// Something of the form of a reply token, not yet verified.
    Reply(String),
    /// Something of the form of a bounce token, not yet verified.
    Bounce(String),
    /// Something of the form of a token to decide by, not yet verified.
    Approve(String),
}

/// What a suffix proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// An ordinary address. Bad tokens end here too.
    Plain,
    /// A tag.
    Tag(Tag),
    /// An answer to the mail named.
    Reply(Reference),
    /// An answer to the mail named, too late to join its conversation.
    ExpiredReply(Reference),
    /// A bounce of the mail named.
    Bounce(Reference),
    /// An answer to the question named. Whether it comes in time is kept with the question, so that whoever is
    /// late can be told.
    Approve(Reference),
}

/// Where an address leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// To an agent.
    Agent(Route),
    /// To the people who run the domain (RFC 5321 section 4.5.1); never unreviewed to a model.
    Postmaster {
        /// Our domain; empty for the bare `<postmaster>`.
        domain: String,
    },
    /// To the people who run the domain (RFC 2142 section 4); never unreviewed to a model.
    Abuse {
        /// Our domain.
        domain: String,
    },
    /// Our domain, but nobody.
    UnknownUser,
    /// Not our domain: accepting would be relaying.
    NotOurs,
}

/// An agent that an address leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The agent.
    pub agent: AgentName,
    /// Our domain, as in the table.
    pub domain: String,
    /// How its instances are keyed.
    pub policy: InstancePolicy,
    /// What follows the `+`.
    pub suffix: Suffix,
    /// Whether only the catch-all led here.
    pub catch_all: bool,
}

impl Route {
    /// Verifies the token, if there is one.
    #[must_use]
    pub fn meaning(&self, keys: &KeyRing, today: Day) -> Meaning {
        let verify = |purpose, token: &str| {
            token::verify(keys, purpose, self.agent.as_str(), &self.domain, token, today)
        };
        match &self.suffix {
            Suffix::None => Meaning::Plain,
            Suffix::Tag(tag) => Meaning::Tag(tag.clone()),
            Suffix::Reply(token) => match verify(Purpose::Reply, token) {
                Ok(reference) => Meaning::Reply(reference),
                Err(Rejected::Expired(reference)) => Meaning::ExpiredReply(reference),
                Err(Rejected::Invalid) => Meaning::Plain,
            },
            Suffix::Bounce(token) => match verify(Purpose::Bounce, token) {
                Ok(reference) => Meaning::Bounce(reference),
                Err(_) => Meaning::Plain,
            },
            Suffix::Approve(token) => match verify(Purpose::Approve, token) {
                Ok(reference) | Err(Rejected::Expired(reference)) => Meaning::Approve(reference),
                Err(Rejected::Invalid) => Meaning::Plain,
            },
        }
    }

    /// The tag that picks the instance: only under [`InstancePolicy::Tag`].
    #[must_use]
    pub fn instance_tag(&self) -> Option<&Tag> {
        match (&self.suffix, self.policy) {
            (Suffix::Tag(tag), InstancePolicy::Tag) => Some(tag),
            _ => None,
        }
    }
}

/// Our domains and who lives there.
#[derive(Debug, Clone, Default)]
pub struct Table {
    domains: HashMap<String, Domain>,
}

#[derive(Debug, Clone, Default)]
struct Domain {
    locals: HashMap<String, AgentName>,
    policies: HashMap<AgentName, InstancePolicy>,
    catch_all: Option<AgentName>,
}

impl Table {
    /// Declares a domain ours, so that `postmaster` and `abuse` exist there.
    ///
    /// # Errors
    ///
    /// [`Error::Domain`].
    pub fn add_domain(&mut self, domain: &str) -> Result<(), Error> {
        self.domains.entry(our_domain(domain)?).or_default();
        Ok(())
    }

    /// Gives an agent the address of its name at a domain, which becomes ours.
    ///
    /// # Errors
    ///
    /// [`Error::Domain`] or [`Error::Taken`].
    pub fn add_agent(
        &mut self,
        agent: AgentName,
        domain: &str,
        policy: InstancePolicy,
    ) -> Result<(), Error> {
        let domain = our_domain(domain)?;
        let entry = self.domains.entry(domain.clone()).or_default();
        claim(entry, &domain, agent.as_str(), &agent)?;
        entry.policies.insert(agent, policy);
        Ok(())
    }

    /// Gives an agent a further local part at a domain where it has an address. Tokens are always
    /// minted for the agent's own name.
    ///
    /// # Errors
    ///
    /// [`Error::Domain`], [`Error::NoSuchAgent`], [`Error::Taken`], or as [`AgentName::new`] for the
    /// local part.
    pub fn add_alias(&mut self, local: &str, domain: &str, agent: &AgentName) -> Result<(), Error> {
        let local = AgentName::new(local)?;
        let (domain, entry) = self.entry_of(domain, agent)?;
        claim(entry, &domain, local.as_str(), agent)
    }

    /// Sends mail for unknown local parts at a domain to an agent.
    ///
    /// # Errors
    ///
    /// [`Error::Domain`] or [`Error::NoSuchAgent`].
    pub fn set_catch_all(&mut self, domain: &str, agent: &AgentName) -> Result<(), Error> {
        let (_, entry) = self.entry_of(domain, agent)?;
        entry.catch_all = Some(agent.clone());
        Ok(())
    }

    /// Whether a domain is ours.
    #[must_use]
    pub fn is_ours(&self, domain: &str) -> bool {
        our_domain(domain).is_ok_and(|domain| self.domains.contains_key(&domain))
    }

    fn entry_of(
        &mut self,
        domain: &str,
        agent: &AgentName,
    ) -> Result<(String, &mut Domain), Error> {
        let domain = our_domain(domain)?;
        match self.domains.get_mut(&domain) {
            Some(entry) if entry.policies.contains_key(agent) => Ok((domain, entry)),
            _ => Err(Error::NoSuchAgent { agent: agent.clone(), domain }),
        }
    }
}

fn claim(entry: &mut Domain, domain: &str, local: &str, agent: &AgentName) -> Result<(), Error> {
    match entry.locals.get(local) {
        Some(owner) if owner != agent => {
            Err(Error::Taken { address: format!("{local}@{domain}"), agent: owner.clone() })
        }
        _ => {
            entry.locals.insert(local.to_owned(), agent.clone());
            Ok(())
        }
    }
}

/// Finds where an address leads. Pure; tokens are recognised by form and verified by
/// [`Route::meaning`]. An empty domain is the bare `<postmaster>` of RFC 5321 section 4.1.1.3.
#[must_use]
pub fn resolve(local: &str, domain: &str, table: &Table) -> Resolution {
    let local = local.to_ascii_lowercase();
    if domain.is_empty() {
        return if local == "postmaster" {
            Resolution::Postmaster { domain: String::new() }
        } else {
            Resolution::NotOurs
        };
    }
    let Ok(domain) = our_domain(domain) else { return Resolution::NotOurs };
    let Some(entry) = table.domains.get(&domain) else { return Resolution::NotOurs };
    let (name, suffix) = match local.split_once('+') {
        Some((name, suffix)) => (name, parse_suffix(suffix)),
        None => (local.as_str(), Suffix::None),
    };
    match name {
        "postmaster" => return Resolution::Postmaster { domain },
        "abuse" => return Resolution::Abuse { domain },
        _ => {}
    }
    let (agent, catch_all) = match (entry.locals.get(name), &entry.catch_all) {
        (Some(agent), _) => (agent, false),
        (None, Some(agent)) => (agent, true),
        (None, None) => return Resolution::UnknownUser,
    };
    let policy = entry.policies.get(agent).copied().unwrap_or_default();
    // What follows a name that is not the agent's was not meant for the agent.
    let suffix = if catch_all { Suffix::None } else { suffix };
    Resolution::Agent(Route { agent: agent.clone(), domain, policy, suffix, catch_all })
}

fn parse_suffix(suffix: &str) -> Suffix {
    let token = |rest: &str| token::is_token_shaped(rest).then(|| rest.to_owned());
    if let Some(token) = suffix.strip_prefix('r').and_then(token) {
        return Suffix::Reply(token);
    }
    if let Some(token) = suffix.strip_prefix('b').and_then(token) {
        return Suffix::Bounce(token);
    }
    if let Some(token) = suffix.strip_prefix('a').and_then(token) {
        return Suffix::Approve(token);
    }
    Tag::new(suffix).map_or(Suffix::None, Suffix::Tag)
}

/// A domain as the table keys it: lower-case A-labels without a final dot.
fn our_domain(domain: &str) -> Result<String, Error> {
    let bad = || Error::Domain(shown(domain));
    let ascii = idna::domain_to_ascii(domain).map_err(|_| bad())?.to_ascii_lowercase();
    let ascii = ascii.strip_suffix('.').unwrap_or(&ascii);
    let shaped = (1..=255).contains(&ascii.len())
        && ascii.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        });
    if shaped { Ok(ascii.to_owned()) } else { Err(bad()) }
}

/// Input as it may stand in a message.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}
