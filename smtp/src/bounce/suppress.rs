//! What a failure means for mail to the same recipient in future: pure decisions.
//!
//! An address that does not exist is written to no more, at once. Other failures for good may have a
//! cause that passes (a full mailbox, a policy), so three of them are needed.

use super::{Action, Status};

/// Failures for good, other than of the address, after which a recipient is suppressed.
pub const OTHERS: u32 = 3;

/// How much one report or refusal weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Nothing: it was delivered, is still tried, or is not about the recipient.
    Nothing,
    /// One of [`OTHERS`].
    Counts,
    /// The address does not exist.
    NoSuchAddress,
}

/// Weighs what became of a mail for one recipient: a report, or a refusal in the session as
/// [`Action::Failed`].
#[must_use]
pub fn weigh(action: Action, status: Option<Status>) -> Weight {
    if action != Action::Failed {
        return Weight::Nothing;
    }
    match status {
        // RFC 3463 section 3.2: 7 and 8 are about the sender's address.
        Some(Status { class: 5, subject: 1, detail: 7 | 8 }) => Weight::Nothing,
        Some(Status { class: 5, subject: 1, .. }) => Weight::NoSuchAddress,
        // Given up after delays: says nothing of tomorrow.
        Some(Status { class: 2 | 4, .. }) => Weight::Nothing,
        Some(_) | None => Weight::Counts,
    }
}

/// Whether the recipient is suppressed now, after `earlier` failures that counted since mail last
/// reached it.
#[must_use]
pub fn suppresses(weight: Weight, earlier: u32) -> bool {
    match weight {
        Weight::Nothing => false,
        Weight::Counts => earlier.saturating_add(1) >= OTHERS,
        Weight::NoSuchAddress => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(action: Action, status: &str, expected: Weight) {
        assert_eq!(weigh(action, Status::parse(status)), expected, "{action:?} {status}");
    }

    #[test]
    fn an_address_that_does_not_exist_is_suppressed_at_once() {
        for status in ["5.1.1", "5.1.0", "5.1.2", "5.1.3", "5.1.10"] {
            check(Action::Failed, status, Weight::NoSuchAddress);
        }
        assert!(suppresses(Weight::NoSuchAddress, 0));
    }

    #[test]
    fn other_failures_need_three() {
        for status in ["5.2.2", "5.7.1", "5.0.0", ""] {
            check(Action::Failed, status, Weight::Counts);
        }
        let after = |earlier| suppresses(Weight::Counts, earlier);
        assert_eq!([after(0), after(1), after(2), after(u32::MAX)], [false, false, true, true]);
    }

    #[test]
    fn what_is_no_failure_of_the_recipient_weighs_nothing() {
        check(Action::Failed, "5.1.7", Weight::Nothing);
        check(Action::Failed, "5.1.8", Weight::Nothing);
        check(Action::Failed, "4.4.7", Weight::Nothing);
        check(Action::Delayed, "4.1.1", Weight::Nothing);
        check(Action::Delivered, "2.1.5", Weight::Nothing);
        check(Action::Relayed, "5.1.1", Weight::Nothing);
        assert!(!suppresses(Weight::Nothing, 100));
    }
}
