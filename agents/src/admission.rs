//! Whose message is this, and which memory may it reach?
//!
//! A pure function of what the address and headers point at ([`Pointer`]) and of what was proven
//! about the sender. A valid token routes; it gives no trust.

use crate::{ConversationId, mail::AddressRoute};

/// How a newcomer's instance is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstancePolicy {
    /// One instance for everybody.
    Shared,
    /// One per proven correspondent, so each has a private memory.
    #[default]
    Contact,
    /// One per conversation.
    Conversation,
    /// One per sub-address.
    Tag,
}

impl InstancePolicy {
    /// The word used in configuration.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "shared" => Self::Shared,
            "contact" => Self::Contact,
            "conversation" => Self::Conversation,
            "tag" => Self::Tag,
            _ => return None,
        })
    }

    /// The inverse of [`InstancePolicy::parse`].
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Contact => "contact",
            Self::Conversation => "conversation",
            Self::Tag => "tag",
        }
    }
}

/// A conversation of the addressed agent that a message points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pointer {
    pub conversation: ConversationId,
    /// Whether the sender is verified and their address is among the members of that conversation.
    pub sender_is_member: bool,
}

/// Everything the message points at, looked up by the store.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pointers {
    /// By the token in the address.
    pub token: Option<Pointer>,
    /// By an own Message-ID, or that of a stored message, in In-Reply-To or References.
    pub reference: Option<Pointer>,
}

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A verified member: into the conversation, and the agent hears of it.
    Member(ConversationId),
    /// A valid token in other hands, or in the right hands unproven: attached, marked, reviewed.
    Participant(ConversationId),
    /// A new conversation, perhaps linked to the one an expired token named.
    Stranger { linked_to: Option<ConversationId> },
    /// A report about a delivery: a note that reaches no agent.
    Report(ConversationId),
}

/// Decides where a message goes.
///
/// A header alone never attaches a message: references count only from a verified member, and a
/// subject never counts at all.
pub fn decide(route: &AddressRoute, pointers: Pointers) -> Outcome {
    let by_reference = || match pointers.reference {
        Some(p) if p.sender_is_member => Outcome::Member(p.conversation),
        _ => Outcome::Stranger { linked_to: None },
    };
    match (route, pointers.token) {
        (AddressRoute::Reply(_), Some(p)) if p.sender_is_member => Outcome::Member(p.conversation),
        (AddressRoute::Reply(_), Some(p)) => Outcome::Participant(p.conversation),
        (AddressRoute::ExpiredReply(_), Some(p)) => {
            Outcome::Stranger { linked_to: Some(p.conversation) }
        }
        (AddressRoute::Bounce(_), Some(p)) => Outcome::Report(p.conversation),
        // A token whose mail is no longer in the database is an ordinary address.
        _ => by_reference(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reference;

    const OURS: ConversationId = ConversationId(7);

    fn pointing(member: bool) -> Option<Pointer> {
        Some(Pointer { conversation: OURS, sender_is_member: member })
    }

    #[test]
    fn a_token_from_a_member_continues_the_conversation() {
        let route = AddressRoute::Reply(Reference(1));
        let pointers = Pointers { token: pointing(true), reference: None };
        assert_eq!(decide(&route, pointers), Outcome::Member(OURS));
    }

    #[test]
    fn a_token_from_anyone_else_only_attaches() {
        let route = AddressRoute::Reply(Reference(1));
        // Even a reference that would admit the sender elsewhere does not lift the token.
        let pointers = Pointers { token: pointing(false), reference: pointing(true) };
        assert_eq!(decide(&route, pointers), Outcome::Participant(OURS));
    }

    #[test]
    fn an_expired_token_opens_a_linked_conversation() {
        let route = AddressRoute::ExpiredReply(Reference(1));
        let pointers = Pointers { token: pointing(true), reference: pointing(true) };
        assert_eq!(decide(&route, pointers), Outcome::Stranger { linked_to: Some(OURS) });
    }

    #[test]
    fn references_count_only_from_a_member() {
        for route in [AddressRoute::Plain, AddressRoute::Tag("t".into())] {
            let member = Pointers { token: None, reference: pointing(true) };
            assert_eq!(decide(&route, member), Outcome::Member(OURS));
            let other = Pointers { token: None, reference: pointing(false) };
            assert_eq!(decide(&route, other), Outcome::Stranger { linked_to: None });
        }
    }

    #[test]
    fn a_bounce_token_never_reaches_an_agent() {
        let route = AddressRoute::Bounce(Reference(1));
        let pointers = Pointers { token: pointing(true), reference: pointing(true) };
        assert_eq!(decide(&route, pointers), Outcome::Report(OURS));
    }
}
