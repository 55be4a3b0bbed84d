//! The address grammar.

#![allow(clippy::unwrap_used)]

use frontdesk_agents::admission::InstancePolicy;
use frontdesk_router::address::{
    AgentName, Error, Meaning, Resolution, Route, Suffix, Table, resolve,
};
use frontdesk_router::token::{
    Day, KeyId, KeyRing, Reference, TokenKey, approve_address, bounce_address, message_id,
    reply_address,
};
use proptest::prelude::*;

const TODAY: Day = Day(20_778);

fn agent(name: &str) -> AgentName {
    AgentName::new(name).unwrap()
}

fn table() -> Table {
    let mut table = Table::default();
    table.add_agent(agent("support"), "desk.example", InstancePolicy::Contact).unwrap();
    table.add_agent(agent("orders"), "desk.example", InstancePolicy::Tag).unwrap();
    table.add_alias("help", "desk.example", &agent("support")).unwrap();
    table.add_agent(agent("sales"), "bücher.example", InstancePolicy::Shared).unwrap();
    table.set_catch_all("bücher.example", &agent("sales")).unwrap();
    table.add_domain("empty.example").unwrap();
    table
}

fn keys() -> KeyRing {
    KeyRing::new(TokenKey::new(KeyId::new(1).unwrap(), [7; 32]), Vec::new())
}

fn route(local: &str, domain: &str) -> Route {
    match resolve(local, domain, &table()) {
        Resolution::Agent(route) => route,
        other => panic!("{local}@{domain} is {other:?}"),
    }
}

fn meaning(address: &str) -> Meaning {
    let (local, domain) = address.rsplit_once('@').unwrap();
    route(local, domain).meaning(&keys(), TODAY)
}

#[test]
fn names_compare_without_case_and_aliases_lead_to_their_agent() {
    for (local, domain) in [
        ("support", "desk.example"),
        ("SUPPORT", "Desk.Example"),
        ("Support", "desk.example."),
        ("help", "desk.example"),
        ("HELP+x", "desk.example"),
    ] {
        assert_eq!(route(local, domain).agent, agent("support"));
        assert_eq!(route(local, domain).domain, "desk.example");
    }
    assert_eq!(route("sales", "xn--bcher-kva.example").agent, agent("sales"));
    assert_eq!(route("sales", "BÜCHER.example").agent, agent("sales"));
}

#[test]
fn unknown_users_and_foreign_domains_are_told_apart() {
    for local in ["nobody", "", "+tag", "support.x", "sup port", "support@desk.example"] {
        assert_eq!(resolve(local, "desk.example", &table()), Resolution::UnknownUser, "{local}");
    }
    for domain in
        ["other.example", "sub.desk.example", "desk.example.evil", "[192.0.2.1]", "..", "a b"]
    {
        assert_eq!(resolve("support", domain, &table()), Resolution::NotOurs, "{domain}");
    }
    assert_eq!(resolve("support", "empty.example", &table()), Resolution::UnknownUser);
}

#[test]
fn postmaster_and_abuse_exist_everywhere_and_are_never_an_agent() {
    for domain in ["desk.example", "empty.example"] {
        let domain = domain.to_owned();
        for local in ["postmaster", "PostMaster", "postmaster+x"] {
            let expected = Resolution::Postmaster { domain: domain.clone() };
            assert_eq!(resolve(local, &domain, &table()), expected);
        }
        let expected = Resolution::Abuse { domain: domain.clone() };
        assert_eq!(resolve("Abuse", &domain, &table()), expected);
    }
    let catch_all = resolve("postmaster", "bücher.example", &table());
    assert!(matches!(catch_all, Resolution::Postmaster { .. }), "before the catch-all");
    assert_eq!(
        resolve("PostMaster", "", &table()),
        Resolution::Postmaster { domain: String::new() }
    );
    assert_eq!(resolve("support", "", &table()), Resolution::NotOurs);
}

#[test]
fn a_tag_picks_the_instance_only_where_the_agent_allows_it() {
    let tagged = route("orders+A-17", "desk.example");
    assert_eq!(tagged.instance_tag().map(|tag| tag.as_str().to_owned()), Some("a-17".to_owned()));
    assert!(route("support+a-17", "desk.example").instance_tag().is_none());
    let longest = "x".repeat(20);
    assert!(route(&format!("orders+{longest}"), "desk.example").instance_tag().is_some());
    for no_tag in
        ["x".repeat(21), String::new(), "a b".to_owned(), "a+b".to_owned(), "é".to_owned()]
    {
        let route = route(&format!("orders+{no_tag}"), "desk.example");
        assert_eq!(route.suffix, Suffix::None, "{no_tag:?}");
    }
    assert!(
        route("orders+release", "desk.example").instance_tag().is_some(),
        "an r is not a token"
    );
}

#[test]
fn tokens_come_back_through_any_case() {
    let reply = reply_address(&keys(), "support", "desk.example", Reference(5), TODAY);
    assert_eq!(meaning(&reply), Meaning::Reply(Reference(5)));
    assert_eq!(meaning(&reply.to_uppercase()), Meaning::Reply(Reference(5)));
    let bounce = bounce_address(&keys(), "support", "desk.example", Reference(6), TODAY);
    assert_eq!(meaning(&bounce), Meaning::Bounce(Reference(6)));
    let old = reply_address(&keys(), "support", "desk.example", Reference(5), Day(TODAY.0 - 1));
    assert_eq!(meaning(&old), Meaning::ExpiredReply(Reference(5)));
    let approve = approve_address(&keys(), "support", "desk.example", Reference(7), TODAY);
    assert_eq!(meaning(&approve.to_uppercase()), Meaning::Approve(Reference(7)));
    // Whether it is in time is kept with the question, so whoever is late can be told.
    let old = approve_address(&keys(), "support", "desk.example", Reference(7), Day(1));
    assert_eq!(meaning(&old), Meaning::Approve(Reference(7)));
    let longest = "a".repeat(AgentName::MAX);
    let address = approve_address(&keys(), &longest, "desk.example", Reference(7), TODAY);
    assert!(address.split('@').next().unwrap().len() <= 64, "{address}");
}

#[test]
fn a_bad_token_is_an_ordinary_address() {
    let reply = reply_address(&keys(), "support", "desk.example", Reference(5), TODAY);
    let bounce = bounce_address(&keys(), "support", "desk.example", Reference(5), TODAY);
    let others = reply_address(&keys(), "orders", "desk.example", Reference(5), TODAY);
    let approve = approve_address(&keys(), "support", "desk.example", Reference(5), TODAY);
    let id = message_id(&keys(), "support", "desk.example", Reference(5));
    let token = id.trim_matches(['<', '>']).split('@').next().unwrap();
    for bad in [
        reply.replace("+r", "+b"),
        reply.replace("+r", "+a"),
        bounce.replace("+b", "+a"),
        format!("support+a{token}@desk.example"),
        approve.replace("+a", "+r"),
        approve.replace("+a", "+b"),
        bounce.replace("+b", "+r"),
        others.replace("orders", "support"),
        format!("support+r{token}@desk.example"),
        format!("support+b{token}@desk.example"),
        reply.replace("+r", "+ra"),
        reply.replace("@", "a@"),
        format!("support+r{}@desk.example", "a".repeat(33)),
    ] {
        assert_eq!(meaning(&bad), Meaning::Plain, "{bad}");
        assert_eq!(route(bad.split('@').next().unwrap(), "desk.example").agent, agent("support"));
    }
}

#[test]
fn the_catch_all_is_opt_in_and_gives_no_meaning_to_suffixes() {
    let caught = route("anything+tag", "bücher.example");
    assert!(caught.catch_all);
    assert_eq!((caught.agent, caught.suffix), (agent("sales"), Suffix::None));
    assert!(!route("sales", "bücher.example").catch_all);
    assert_eq!(resolve("anything", "desk.example", &table()), Resolution::UnknownUser);
}

#[test]
fn agent_names_are_checked() {
    for good in ["a", "support", "a-b_c.d", "7", &"x".repeat(28)] {
        assert!(AgentName::new(good).is_ok(), "{good}");
    }
    for bad in ["", "A", "-a", "a-", ".a", "a.", "a..b", "a+b", "a b", "é", "a@b", &"x".repeat(29)]
    {
        assert!(matches!(AgentName::new(bad), Err(Error::Name(_))), "{bad}");
    }
    for reserved in AgentName::RESERVED {
        assert_eq!(AgentName::new(reserved), Err(Error::Reserved(reserved.to_owned())));
    }
}

#[test]
fn one_address_has_one_agent() {
    let mut table = table();
    let taken = table.add_alias("help", "desk.example", &agent("orders"));
    assert!(matches!(taken, Err(Error::Taken { .. })), "{taken:?}");
    let nobody = table.add_alias("x", "desk.example", &agent("sales"));
    assert!(matches!(nobody, Err(Error::NoSuchAgent { .. })), "{nobody:?}");
    let nobody = table.set_catch_all("empty.example", &agent("sales"));
    assert!(matches!(nobody, Err(Error::NoSuchAgent { .. })), "{nobody:?}");
    assert!(matches!(table.add_domain("a b"), Err(Error::Domain(_))));
    assert!(table.is_ours("Desk.example") && !table.is_ours("other.example"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    /// No oracle: what follows the plus never changes whether an address exists or whose it is.
    #[test]
    fn a_suffix_never_makes_an_address_known_or_unknown(suffix in "\\PC{0,60}", name in "support|orders|nobody|help") {
        let plain = resolve(&name, "desk.example", &table());
        let with = resolve(&format!("{name}+{suffix}"), "desk.example", &table());
        match (plain, with) {
            (Resolution::Agent(plain), Resolution::Agent(with)) => prop_assert_eq!(plain.agent, with.agent),
            (plain, with) => prop_assert_eq!(plain, with),
        }
    }

    #[test]
    fn no_input_panics(local in ".{0,100}", domain in ".{0,100}") {
        let found = resolve(&local, &domain, &table());
        prop_assert!(!matches!(found, Resolution::Agent(_)) || table().is_ours(&domain));
    }
}
