//! Who may talk to which agent, and as whom.
//!
//! | `talk` | staff | holder of a link | anybody |
//! |---|---|---|---|
//! | `off` | no | no | no |
//! | `staff` | yes | no | no |
//! | `link` | yes | yes | no |
//! | `public` | yes | yes | yes |
//!
//! The label in the address of a WebSocket picks nothing: whoever talks reaches the instance that is
//! theirs. Staff have their own, a link leads to its contact's, a visitor gets one that a cookie names.

use super::link;
use crate::{
    config::Talk,
    desk::Desk,
    directory::Known,
    http::{
        access::{self, Who as Asker},
        problem::Problem,
        secret,
    },
};
use axum::http::{HeaderMap, header, request::Parts};
use data_encoding::BASE64URL_NOPAD;
use frontdesk_agents::store::{Scope, Who};
use std::{fmt, sync::Arc};

/// The cookie that tells visitors apart.
pub const VISITOR_COOKIE: &str = "fd_visitor";

/// Bytes of a visitor's name: it is all that keeps one visitor out of another's conversation.
const VISITOR_BYTES: usize = 16;

/// Somebody who may talk to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who they are to the store.
    pub who: Who,
    /// What they are called, where they say so or it is known.
    pub name: Option<String>,
    /// How they were proven, in words for people.
    pub proof: String,
    /// The same for all their connections: limits count by it, and a dropped call goes back to it.
    pub identity: String,
    /// Whether they may have the server download a model.
    pub may_pull: bool,
}

impl Caller {
    /// Whether they are one of the installation's own people.
    #[must_use]
    pub fn is_staff(&self) -> bool {
        matches!(self.who, Who::Staff { .. })
    }
}

/// Why somebody may not talk to an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such agent, or nobody talks to it.
    NotFound,
    /// They would have to sign in.
    SignIn,
    /// They are signed in, and this agent is not theirs to see.
    NotYours,
    Link(link::Rejected),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("There is nobody here by that name."),
            Self::SignIn => f.write_str("Please sign in first, or use the link you were given."),
            Self::NotYours => f.write_str("Your account may not talk to this agent."),
            Self::Link(rejected) => rejected.fmt(f),
        }
    }
}

impl Refusal {
    /// The WebSocket close code: in 4400 to 4499, so that our client does not come back with the same.
    #[must_use]
    pub fn close_code(self) -> u16 {
        match self {
            Self::NotFound => 4404,
            Self::SignIn => 4401,
            Self::NotYours | Self::Link(_) => 4403,
        }
    }
}

/// The agent of this name, if anybody may talk to it at all.
pub fn agent(desk: &Desk, name: &str) -> Option<Arc<Known>> {
    let listed = desk.directory.listed();
    let known = listed.agents.values().find(|k| k.config.name.eq_ignore_ascii_case(name));
    known.filter(|known| known.config.talk != Talk::Off).cloned()
}

/// Who this is to the agent. `token` is that of a link; `new_visitor` is a name for somebody who brings none.
///
/// # Errors
///
/// A [`Problem`] where the request must not be answered at all (another origin, an unknown bearer token).
pub async fn caller(
    desk: &Desk,
    known: &Known,
    parts: &Parts,
    token: Option<&str>,
    new_visitor: &str,
) -> Result<Result<Caller, Refusal>, Problem> {
    let principal = access::authenticate(desk, parts).await?;
    let name = &known.config.name;
    if let Some(token) = token.filter(|token| !token.is_empty()) {
        if known.config.talk == Talk::Staff {
            // A link from before the agent was for staff only is no way in any more.
            return Ok(Err(Refusal::SignIn));
        }
        let now = desk.store.clock().now();
        let link = match link::open(&desk.directory.keys(), name, token, now) {
            Ok(link) => link,
            Err(rejected) => return Ok(Err(Refusal::Link(rejected))),
        };
        let identity = format!("link:{}:{:016x}", known.id, link.nonce);
        return Ok(Ok(match link.contact {
            Some(contact) => Caller {
                who: Who::Contact(contact),
                name: None,
                proof: "a link that was sent to them".into(),
                identity: format!("contact:{contact}"),
                may_pull: false,
            },
            None => Caller {
                who: Who::Visitor { session: identity.clone() },
                name: None,
                proof: String::new(),
                identity,
                may_pull: false,
            },
        }));
    }
    let staff = match &principal.who {
        Asker::Operator => Some("operator".to_owned()),
        Asker::User { name, .. } => Some(name.clone()),
        Asker::Token { .. } => Some(principal.name()),
        Asker::Nobody => None,
    };
    Ok(match staff {
        Some(_) if !principal.sees(known.id) => Err(Refusal::NotYours),
        Some(name) => Ok(Caller {
            identity: format!("staff:{name}"),
            who: Who::Staff { name: name.clone() },
            name: Some(name),
            proof: "signed in".into(),
            may_pull: principal.may_use(Scope::Approve).is_ok(),
        }),
        None if known.config.talk == Talk::Public => {
            let visitor = visitor(&parts.headers).unwrap_or(new_visitor);
            let identity = format!("visitor:{visitor}");
            Ok(Caller {
                who: Who::Visitor { session: identity.clone() },
                name: None,
                proof: String::new(),
                identity,
                may_pull: false,
            })
        }
        None => Err(Refusal::SignIn),
    })
}

/// A name for a visitor that nobody can guess.
pub fn new_visitor() -> Result<String, Problem> {
    secret::random::<VISITOR_BYTES>().map_err(|error| {
        tracing::error!(%error, "the system gives no random numbers");
        Problem::busy("the server cannot do this now; try again later")
    })
}

/// The name a browser brings, if it has the form of one of ours. It is no secret of anybody else's: whoever
/// makes one up reaches an instance that nobody has.
pub fn visitor(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).into_iter();
    let mut pairs = cookies.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(';'));
    let (_, value) =
        pairs.find_map(|p| p.trim().split_once('=').filter(|(k, _)| *k == VISITOR_COOKIE))?;
    let decoded = BASE64URL_NOPAD.decode(value.as_bytes()).ok()?;
    (decoded.len() == VISITOR_BYTES).then_some(value)
}
