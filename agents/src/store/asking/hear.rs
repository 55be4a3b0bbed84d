//! Whether an answer to a question counts: a pure decision.

use crate::gate::ByReply;
use std::fmt;

/// The longest reason that is taken, in octets: it is told to a model.
const REASON_MAX: usize = 2_000;

/// What is known of a question when an answer to it comes.
#[derive(Debug, Clone)]
pub struct Open<'a> {
    /// Where it was sent.
    pub address: &'a str,
    pub may_decide: bool,
    pub used: bool,
    pub expires_at: i64,
    /// Whether what would happen now is what was shown.
    pub unchanged: bool,
    /// Why an answer cannot approve it, whatever the operator allows; empty where it can.
    pub only_here: &'a str,
    /// It is a call that cannot be taken back.
    pub is_final: bool,
    pub by_reply: ByReply,
}

/// What is known of the answer.
#[derive(Debug, Clone)]
pub struct Said<'a> {
    /// The sender is proven.
    pub verified: bool,
    /// In From, lower case.
    pub from: &'a str,
    /// It is not from a person's hand.
    pub automatic: bool,
    /// Policy puts mail like this before a person.
    pub quarantined: bool,
    /// What was typed now.
    pub words: &'a str,
    pub now: i64,
}

/// What the person decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    Approve,
    Reject(String),
}

/// Why an answer changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    NotThem,
    Unverified,
    Automatic,
    NoRights,
    Used,
    Expired,
    NotTheWord,
    ReasonTooLong,
    SwitchedOff,
    OnlyHere(String),
    Final,
    Changed,
    /// Somebody else was first, or it cannot happen; in words.
    Conflict(String),
}

impl Refusal {
    /// Whether the person the question went to said it themselves, so that they may be told.
    pub fn is_theirs(&self) -> bool {
        !matches!(self, Self::NotThem | Self::Unverified | Self::Automatic)
    }

    /// Whether another answer could still count.
    pub fn leaves_open(&self) -> bool {
        matches!(self, Self::NotTheWord | Self::ReasonTooLong)
    }
}

/// As the end of "this changed nothing: ".
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotThem => write!(f, "it does not come from the address that was asked"),
            Self::Unverified => write!(f, "its sender is not verified"),
            Self::Automatic => write!(f, "it was sent automatically"),
            Self::NoRights => write!(f, "you may no longer decide about this agent"),
            Self::Used => write!(f, "you have answered this before, and an answer counts once"),
            Self::Expired => write!(f, "the 24 hours in which an answer counts are over"),
            Self::NotTheWord => {
                write!(f, "it says something else than the word approve, or reject and a reason")
            }
            Self::ReasonTooLong => {
                write!(f, "its reason is longer than {REASON_MAX} characters")
            }
            Self::SwitchedOff => write!(f, "deciding by mail is switched off here"),
            Self::OnlyHere(why) => write!(f, "{why}, so it can only be approved in the inbox"),
            Self::Final => write!(
                f,
                "what would happen cannot be taken back, so it can only be approved in the inbox"
            ),
            Self::Changed => {
                write!(f, "what would happen is no longer what you were shown")
            }
            Self::Conflict(why) => write!(f, "{why}"),
        }
    }
}

/// Decides whether an answer counts.
pub fn hear(open: &Open<'_>, said: &Said<'_>) -> Result<Decided, Refusal> {
    if said.from != open.address {
        return Err(Refusal::NotThem);
    }
    if !said.verified || said.quarantined {
        return Err(Refusal::Unverified);
    }
    if said.automatic {
        return Err(Refusal::Automatic);
    }
    if !open.may_decide {
        return Err(Refusal::NoRights);
    }
    if open.used {
        return Err(Refusal::Used);
    }
    if said.now >= open.expires_at {
        return Err(Refusal::Expired);
    }
    if open.by_reply == ByReply::Nothing {
        return Err(Refusal::SwitchedOff);
    }
    let decided = word(said.words).ok_or(Refusal::NotTheWord)?;
    if let Decided::Reject(reason) = &decided
        && reason.len() > REASON_MAX
    {
        return Err(Refusal::ReasonTooLong);
    }
    if !open.unchanged {
        return Err(Refusal::Changed);
    }
    // Whatever waits may be turned down by whoever may decide: nothing happens by it.
    if decided == Decided::Approve {
        if !open.only_here.is_empty() {
            return Err(Refusal::OnlyHere(open.only_here.to_owned()));
        }
        if open.is_final && open.by_reply != ByReply::Everything {
            return Err(Refusal::Final);
        }
    }
    Ok(decided)
}

/// The word and nothing else; telephones begin it with a capital. The reason may go over several lines.
fn word(words: &str) -> Option<Decided> {
    let words = words.trim();
    if words.eq_ignore_ascii_case("approve") {
        return Some(Decided::Approve);
    }
    let end = words.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(words.len());
    let (first, rest) = words.split_at(end);
    if !first.eq_ignore_ascii_case("reject") {
        return None;
    }
    let mut rest = rest.chars();
    // "reject: too early", "reject, too early" and "reject too early" are the same; "reject-all" is not.
    match rest.next() {
        None => Some(Decided::Reject(String::new())),
        Some(c) if c.is_whitespace() || matches!(c, ':' | ',' | '.') => {
            Some(Decided::Reject(rest.as_str().trim().to_owned()))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Open<'_> = Open {
        address: "bob@desk.test",
        may_decide: true,
        used: false,
        expires_at: 1_000,
        unchanged: true,
        only_here: "",
        is_final: false,
        by_reply: ByReply::Usual,
    };
    const SAID: Said<'_> = Said {
        verified: true,
        from: "bob@desk.test",
        automatic: false,
        quarantined: false,
        words: "approve",
        now: 999,
    };

    #[test]
    fn the_word_alone_decides() {
        for words in ["approve", " Approve\r\n", "APPROVE\n\n"] {
            assert_eq!(hear(&OPEN, &Said { words, ..SAID }), Ok(Decided::Approve), "{words:?}");
        }
        for (words, reason) in [
            ("reject", ""),
            ("Reject.", ""),
            ("reject too early", "too early"),
            ("reject: too early,\nask on Monday", "too early,\nask on Monday"),
        ] {
            let decided = Ok(Decided::Reject(reason.into()));
            assert_eq!(hear(&OPEN, &Said { words, ..SAID }), decided, "{words:?}");
        }
    }

    #[test]
    fn anything_else_does_not() {
        for words in [
            "",
            "approve!",
            "approve.",
            "approved",
            "I approve",
            "approve\nBob",
            "do not approve",
            "approve\u{200b}",
            "\u{202e}approve",
            "appr\u{043e}ve",
            "rejected",
            "reject-all",
            "no, reject",
            "> approve",
            "ok",
        ] {
            let heard = hear(&OPEN, &Said { words, ..SAID });
            assert_eq!(heard, Err(Refusal::NotTheWord), "{words:?}");
        }
        let long = format!("reject {}", "x".repeat(REASON_MAX + 1));
        assert_eq!(hear(&OPEN, &Said { words: &long, ..SAID }), Err(Refusal::ReasonTooLong));
    }

    #[test]
    fn only_the_person_who_was_asked_is_heard_while_they_may_decide() {
        let refused = |open: Open<'_>, said: Said<'_>, why: Refusal| {
            assert_eq!(hear(&open, &said), Err(why));
        };
        refused(OPEN, Said { from: "eve@desk.test", ..SAID }, Refusal::NotThem);
        refused(OPEN, Said { verified: false, ..SAID }, Refusal::Unverified);
        refused(OPEN, Said { quarantined: true, ..SAID }, Refusal::Unverified);
        refused(OPEN, Said { automatic: true, ..SAID }, Refusal::Automatic);
        refused(Open { may_decide: false, ..OPEN }, SAID, Refusal::NoRights);
        refused(Open { used: true, ..OPEN }, SAID, Refusal::Used);
        refused(OPEN, Said { now: 1_000, ..SAID }, Refusal::Expired);
        refused(Open { unchanged: false, ..OPEN }, SAID, Refusal::Changed);
        refused(Open { by_reply: ByReply::Nothing, ..OPEN }, SAID, Refusal::SwitchedOff);
        // Who was not asked hears nothing of the state the question is in.
        let used = Open { used: true, may_decide: false, ..OPEN };
        refused(used, Said { from: "eve@desk.test", ..SAID }, Refusal::NotThem);
    }

    #[test]
    fn what_cannot_be_taken_back_is_approved_by_mail_only_where_the_operator_says_so() {
        let open = Open { is_final: true, ..OPEN };
        assert_eq!(hear(&open, &SAID), Err(Refusal::Final));
        let said = Said { words: "reject no", ..SAID };
        assert_eq!(hear(&open, &said), Ok(Decided::Reject("no".into())));
        let open = Open { by_reply: ByReply::Everything, ..open };
        assert_eq!(hear(&open, &SAID), Ok(Decided::Approve));
        let open = Open { only_here: "it is too long", ..open };
        assert_eq!(hear(&open, &SAID), Err(Refusal::OnlyHere("it is too long".into())));
    }
}
