//! What holds for every input.

use frontdesk_agents::{
    ConversationId, Reference, Trust, Verdict,
    admission::{self, Outcome, Pointer, Pointers},
    gate::{self, Actor, Allowance, Answered, Approval, Budgets, Decision, Effect, Recipient},
    mail::AddressRoute,
    retry::RetryPolicy,
    schedule::When,
};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

fn pointer() -> impl Strategy<Value = Option<Pointer>> {
    proptest::option::of((1..5i64, any::<bool>()).prop_map(|(conversation, sender_is_member)| {
        Pointer { conversation: ConversationId(conversation), sender_is_member }
    }))
}

fn route() -> impl Strategy<Value = AddressRoute> {
    let reference = any::<u64>().prop_map(Reference);
    prop_oneof![
        Just(AddressRoute::Plain),
        Just(AddressRoute::Role),
        Just(AddressRoute::Tag("t".into())),
        reference.clone().prop_map(AddressRoute::Reply),
        reference.clone().prop_map(AddressRoute::ExpiredReply),
        reference.prop_map(AddressRoute::Bounce),
    ]
}

fn allowance() -> impl Strategy<Value = Allowance> {
    (0..5u32, 0..5u32).prop_map(|(used, cap)| Allowance { used, cap })
}

fn budgets() -> impl Strategy<Value = Budgets> {
    (allowance(), allowance(), allowance(), any::<bool>()).prop_map(
        |(conversation, correspondent, agent, stopped)| Budgets {
            conversation,
            correspondent,
            agent,
            stopped,
        },
    )
}

fn recipients() -> impl Strategy<Value = Vec<Recipient>> {
    let one = ("[ab]@x\\.test", any::<bool>(), any::<bool>()).prop_map(|(address, member, own)| {
        Recipient { address, member, own, ..Recipient::default() }
    });
    proptest::collection::vec(one, 0..4)
}

fn answered() -> impl Strategy<Value = Answered> {
    let verdict = prop_oneof![
        Just(Verdict::Failed),
        Just(Verdict::Unverified),
        Just(Verdict::Verified),
        Just(Verdict::Local)
    ];
    (verdict, any::<bool>(), "[ab]@x\\.test", any::<bool>(), proptest::option::of("list")).prop_map(
        |(verdict, envelope_proven, from, null_sender, automatic)| Answered {
            verdict,
            envelope_proven,
            from,
            null_sender,
            automatic,
        },
    )
}

fn trust() -> impl Strategy<Value = Trust> {
    prop_oneof![Just(Trust::Unproven), Just(Trust::Proven), Just(Trust::Known), Just(Trust::Staff)]
}

proptest! {
    #[test]
    fn nobody_but_a_member_is_ever_admitted_to_a_conversation(
        route in route(), token in pointer(), reference in pointer(),
    ) {
        let pointers = Pointers { token, reference };
        match admission::decide(&route, pointers) {
            Outcome::Member(conversation) => {
                let admitting = Some(Pointer { conversation, sender_is_member: true });
                let by_token = matches!(route, AddressRoute::Reply(_)) && token.is_some();
                prop_assert_eq!(if by_token { token } else { reference }, admitting);
            }
            Outcome::Participant(conversation) => {
                prop_assert_eq!(token, Some(Pointer { conversation, sender_is_member: false }));
            }
            Outcome::Report(conversation) => {
                prop_assert_eq!(token.map(|t| t.conversation), Some(conversation));
                prop_assert!(matches!(route, AddressRoute::Bounce(_)));
            }
            Outcome::Stranger { .. } => {}
        }
    }

    #[test]
    fn what_an_agent_may_send_alone_has_every_condition_fulfilled(
        to in answered(), recipients in recipients(), trust in trust(), budgets in budgets(),
        approval in prop_oneof![Just(Approval::All), Just(Approval::Unknown), Just(Approval::None)],
        kind in 0..3,
    ) {
        let effect = match kind {
            0 => Effect::Reply { to: &to },
            1 => Effect::Send,
            _ => Effect::Forward,
        };
        let actor = Actor::Agent { approval };
        let decision = gate::decide(effect, &actor, &recipients, trust, &budgets);
        if decision == Decision::Allow {
            prop_assert!(!recipients.is_empty() && !recipients.iter().any(|r| r.own));
            prop_assert!(!budgets.stopped);
            for allowance in [budgets.conversation, budgets.correspondent, budgets.agent] {
                prop_assert!(allowance.used < allowance.cap);
            }
            prop_assert!(approval != Approval::All);
            prop_assert!(approval == Approval::None || trust >= Trust::Known);
            let strangers = || recipients.iter().filter(|r| !r.member);
            if kind == 0 {
                prop_assert!(!to.null_sender && to.automatic.is_none());
                prop_assert!(to.verdict.is_verified() || to.envelope_proven);
                prop_assert!(strangers().all(|r| r.address == to.from));
            } else {
                prop_assert_eq!(strangers().count(), 0);
            }
        }
        // A person stands above the budgets and reviews, never above the rules for everyone.
        let person = Actor::Person { name: "eve".into() };
        let theirs = gate::decide(effect, &person, &recipients, trust, &budgets);
        if recipients.is_empty() || recipients.iter().any(|r| r.own) {
            prop_assert!(matches!(theirs, Decision::Deny(_)));
        }
        if decision == Decision::Allow {
            prop_assert_eq!(theirs, Decision::Allow, "what an agent may, a person may");
        }
    }

    #[test]
    fn a_retry_is_never_early_nor_later_than_its_bound(
        failed in 0..40u32, random in any::<u64>(), now in 0..4_000_000_000i64,
        base in 1..100_000i64, cap in 1..1_000_000i64,
    ) {
        let policy = RetryPolicy {
            attempts: 30,
            base: SignedDuration::from_millis(base),
            cap: SignedDuration::from_millis(cap),
        };
        let now = Timestamp::from_second(now).unwrap();
        match policy.next(failed, now, random) {
            None => prop_assert!(failed >= 30),
            Some(at) => {
                prop_assert!(failed < 30);
                let wait = at.duration_since(now).as_millis();
                let doubled = i128::from(base) << failed.saturating_sub(1).min(30);
                prop_assert!((0..=i128::from(cap).min(doubled)).contains(&wait), "{}", wait);
            }
        }
    }

    #[test]
    fn a_schedule_always_moves_forward_and_survives_being_stored(
        now in 0..4_000_000_000i64, late in 0..1_000_000i64, every in 1_000..100_000_000i64,
        minute in 0..60u32, hour in 0..24u32,
        zone in prop_oneof![Just("UTC"), Just("Europe/Berlin"), Just("America/St_Johns"), Just("Pacific/Apia")],
    ) {
        let now = Timestamp::from_second(now).unwrap();
        let late = now + SignedDuration::from_secs(late);
        for when in [When::Every { millis: every }, When::cron(format!("{minute} {hour} * * *"), zone)] {
            let due = when.first(now).unwrap();
            prop_assert!(due > now);
            let fired = due.max(late);
            let next = when.after(due, fired).unwrap().unwrap();
            prop_assert!(next > fired, "{} after {}", next, fired);
            let stored = serde_json::to_string(&when).unwrap();
            prop_assert_eq!(serde_json::from_str::<When>(&stored).unwrap(), when);
        }
    }
}
