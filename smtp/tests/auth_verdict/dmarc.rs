use frontdesk_smtp::{
    auth::{
        Authentication, Disposition, Verdict, VerifiedBy, disposition,
        dmarc::{DmarcResult, Policy},
        verdict,
    },
    testing::{
        dns::{Fault, Zone},
        sign::{DkimOptions, TestKey, dkim_sign},
    },
};

use crate::{BAD, GOOD, MESSAGE, World, check, with_dmarc, zone};

fn refused(a: &Authentication) -> bool {
    matches!(disposition(a, &[]), Disposition::Refuse { reply } if reply.starts_with("550 5.7.26 "))
}

fn quarantined(a: &Authentication) -> bool {
    matches!(disposition(a, &[]), Disposition::Quarantine { .. })
}

fn delayed(a: &Authentication) -> bool {
    matches!(disposition(a, &[]), Disposition::TempFail { .. })
}

fn from(domain: &str) -> String {
    MESSAGE.replace("ann@author.example", &format!("ann@{domain}"))
}

fn signed_by(message: &str, domain: &str) -> Vec<u8> {
    dkim_sign(message.as_bytes(), TestKey::rsa(), domain, "rsa", &DkimOptions::default())
}

fn key(domain: &str) -> Zone {
    Zone::new().txt(&format!("rsa._domainkey.{domain}"), &TestKey::rsa().record())
}

#[tokio::test]
async fn a_pass_under_any_policy_is_verified() {
    for policy in ["none", "quarantine", "reject"] {
        let zone = with_dmarc(&format!("v=DMARC1; p={policy}"));
        let a = check(zone.clone(), GOOD, MESSAGE).await;
        assert_eq!(a.dmarc.result, DmarcResult::Pass);
        let by = VerifiedBy::DmarcSpf("author.example".into());
        assert_eq!(disposition(&a, &[]), Disposition::Accept(Verdict::Verified { by }));

        let a = check(zone, BAD, signed_by(MESSAGE, "author.example")).await;
        let by = VerifiedBy::DmarcDkim("author.example".into());
        assert_eq!(disposition(&a, &[]), Disposition::Accept(Verdict::Verified { by }));
    }
}

#[tokio::test]
async fn a_fail_does_what_the_policy_says() {
    let a = check(with_dmarc("v=DMARC1; p=none"), BAD, MESSAGE).await;
    assert_eq!(disposition(&a, &[]), Disposition::Accept(Verdict::Failed));
    let a = check(with_dmarc("v=DMARC1; p=quarantine"), BAD, MESSAGE).await;
    assert!(quarantined(&a), "{a:?}");
    let a = check(with_dmarc("v=DMARC1; p=reject"), BAD, MESSAGE).await;
    assert!(refused(&a), "{a:?}");
    assert_eq!(verdict(&a), Verdict::Failed);
}

#[tokio::test]
async fn without_a_record_spf_alone_never_verifies() {
    let a = check(zone(), GOOD, MESSAGE).await;
    assert_eq!(a.dmarc.result, DmarcResult::None);
    assert_eq!(disposition(&a, &[]), Disposition::Accept(Verdict::Unverified));
}

#[tokio::test]
async fn a_pass_for_another_domain_does_not_help() {
    let zone = with_dmarc("v=DMARC1; p=reject")
        .txt("stranger.example", "v=spf1 +all")
        .merge(key("stranger.example"));
    let world = World::new(zone).await;
    let message = signed_by(MESSAGE, "stranger.example");
    let a = world.check_from(BAD, Some("x@stranger.example"), message).await;
    assert!(refused(&a), "{a:?}");
}

#[tokio::test]
async fn domains_that_only_look_related_are_not_aligned() {
    let zone = with_dmarc("v=DMARC1; p=reject");
    for domain in ["notauthor.example", "author.example.evil.example", "example"] {
        let zone = zone.clone().merge(key(domain));
        let a = check(zone, BAD, signed_by(MESSAGE, domain)).await;
        assert!(refused(&a), "{domain}");
    }
}

#[tokio::test]
async fn subdomains_align_in_relaxed_mode_and_not_in_strict_mode() {
    let message = signed_by(MESSAGE, "news.author.example");
    let keys = key("news.author.example");
    let a = check(with_dmarc("v=DMARC1; p=reject").merge(keys.clone()), BAD, &message).await;
    assert_eq!(a.dmarc.result, DmarcResult::Pass);
    let a = check(with_dmarc("v=DMARC1; p=reject; adkim=s").merge(keys), BAD, &message).await;
    assert!(refused(&a), "{a:?}");

    let bounces = |aspf: &str| {
        with_dmarc(&format!("v=DMARC1; p=reject; aspf={aspf}"))
            .txt("bounces.author.example", "v=spf1 ip4:198.51.100.9 -all")
    };
    let path = Some("b@bounces.author.example");
    let a = World::new(bounces("r")).await.check_from(BAD, path, MESSAGE).await;
    assert_eq!(a.dmarc.result, DmarcResult::Pass);
    let a = World::new(bounces("s")).await.check_from(BAD, path, MESSAGE).await;
    assert!(refused(&a), "{a:?}");
}

#[tokio::test]
async fn subdomains_follow_sp_and_missing_ones_np() {
    let record = "v=DMARC1; p=reject; sp=none; np=quarantine";
    let exists = with_dmarc(record).a("shop.author.example", "192.0.2.77".parse().unwrap());
    let a = check(exists.clone(), BAD, from("shop.author.example")).await;
    assert_eq!(a.dmarc.policy, Some(Policy::None));
    assert_eq!(a.dmarc.record_domain.as_deref(), Some("author.example"));
    let a = check(exists.clone(), BAD, from("ghost.author.example")).await;
    assert_eq!(a.dmarc.policy, Some(Policy::Quarantine));
    let a = check(with_dmarc("v=DMARC1; p=reject"), BAD, from("deep.shop.author.example")).await;
    assert!(refused(&a), "without sp, p counts");
    // A record of its own comes first.
    let own = exists.txt("_dmarc.shop.author.example", "v=DMARC1; p=quarantine");
    let a = check(own, BAD, from("shop.author.example")).await;
    assert_eq!(a.dmarc.policy, Some(Policy::Quarantine));
    assert_eq!(a.dmarc.org_domain, "author.example");
}

#[tokio::test]
async fn the_tree_walk_stops_at_psd_marks() {
    // The registry of example publishes a record; each name below it is an organisation.
    let registry = Zone::new()
        .txt("_dmarc.example", "v=DMARC1; p=reject; psd=y")
        .merge(key("other.example"))
        .merge(key("author.example"));
    let a = check(registry.clone(), BAD, signed_by(MESSAGE, "other.example")).await;
    assert_eq!(a.dmarc.org_domain, "author.example");
    assert!(refused(&a), "siblings under a registry are strangers");
    let sub = signed_by(&from("x.author.example"), "author.example");
    let a = check(registry, BAD, sub).await;
    assert_eq!(a.dmarc.result, DmarcResult::Pass);

    // A department declares itself an organisation of its own.
    let split = with_dmarc("v=DMARC1; p=none")
        .txt("_dmarc.lab.author.example", "v=DMARC1; p=reject; psd=n")
        .merge(key("lab.author.example"));
    let a = check(split.clone(), BAD, signed_by(MESSAGE, "lab.author.example")).await;
    assert_eq!(a.dmarc.result, DmarcResult::Fail);
    let a = check(split, BAD, signed_by(&from("lab.author.example"), "author.example")).await;
    assert!(refused(&a), "{a:?}");
}

#[tokio::test]
async fn long_names_cost_eight_questions_at_most() {
    let deep = "a.b.c.d.e.f.g.h.i.j.author.example";
    let world = World::new(with_dmarc("v=DMARC1; p=reject")).await;
    let a = world.check_from(BAD, Some("x@y.example"), from(deep)).await;
    assert!(refused(&a), "{a:?}");
    let asked: Vec<_> =
        a.dns.iter().filter(|d| d.name.starts_with("_dmarc.")).map(|d| &d.name).collect();
    assert_eq!(asked.len(), 8, "{asked:?}");
    assert!(asked.contains(&&"_dmarc.f.g.h.i.j.author.example".to_owned()));
}

#[tokio::test]
async fn odd_records_are_read_as_the_rfc_says() {
    let result = async |zone: Zone| check(zone, BAD, MESSAGE).await.dmarc;
    let dmarc = result(with_dmarc("v=DMARC1; p=reject; t=y")).await;
    assert_eq!(dmarc.policy, Some(Policy::Quarantine), "test mode takes one step back");
    let dmarc = result(with_dmarc("v=DMARC1; p=reject; pct=0")).await;
    assert_eq!(dmarc.policy, Some(Policy::Reject), "pct is gone");
    let dmarc = result(with_dmarc("v=DMARC1; rua=mailto:r@author.example")).await;
    assert_eq!((dmarc.result, dmarc.policy), (DmarcResult::Fail, Some(Policy::None)));
    let dmarc = result(with_dmarc("v=DMARC1")).await;
    assert_eq!(dmarc.result, DmarcResult::None, "neither policy nor reports");
    let dmarc = result(with_dmarc("p=reject; v=DMARC1")).await;
    assert_eq!(dmarc.result, DmarcResult::None, "the version comes first");
    let two = with_dmarc("v=DMARC1; p=reject").txt("_dmarc.author.example", "v=DMARC1; p=none");
    assert_eq!(result(two).await.result, DmarcResult::None, "two records are none");
    let dmarc = result(with_dmarc(" v = DMARC1 ; P = Reject ;;")).await;
    assert_eq!(dmarc.policy, Some(Policy::Reject));
}

#[tokio::test]
async fn a_dns_failure_delays_only_where_it_could_change_the_outcome() {
    let policy_broken = zone().fault("_dmarc.author.example", Fault::ServFail);
    // The policy might be reject.
    assert!(delayed(&check(policy_broken.clone(), BAD, MESSAGE).await));
    // SPF passes, but whether that verifies depends on there being a policy.
    assert!(delayed(&check(policy_broken.clone(), GOOD, MESSAGE).await));
    // A signature of the very domain verifies whatever the policy is.
    let a = check(policy_broken, BAD, signed_by(MESSAGE, "author.example")).await;
    assert!(disposition(&a, &[]) == Disposition::Accept(verdict(&a)) && verdict(&a).is_verified());

    let spf_broken = |dmarc: &str| {
        Zone::new()
            .fault("author.example", Fault::ServFail)
            .txt("_dmarc.author.example", dmarc)
            .merge(key("author.example"))
    };
    // SPF could pass and verify.
    for policy in ["reject", "quarantine", "none"] {
        let a = check(spf_broken(&format!("v=DMARC1; p={policy}")), GOOD, MESSAGE).await;
        assert!(delayed(&a), "{policy}");
    }
    // DKIM has verified already.
    let message = signed_by(MESSAGE, "author.example");
    let a = check(spf_broken("v=DMARC1; p=reject"), GOOD, &message).await;
    assert!(verdict(&a).is_verified());
    assert!(matches!(disposition(&a, &[]), Disposition::Accept(_)));
    // SPF of a domain that is not aligned cannot help.
    let stranger = with_dmarc("v=DMARC1; p=reject").fault("stranger.example", Fault::ServFail);
    let a = World::new(stranger).await.check_from(BAD, Some("x@stranger.example"), MESSAGE).await;
    assert!(refused(&a), "{a:?}");
    // Without a policy SPF decides nothing.
    let a = check(Zone::new().fault("author.example", Fault::ServFail), GOOD, MESSAGE).await;
    assert_eq!(disposition(&a, &[]), Disposition::Accept(Verdict::Unverified));
    // A missing answer for the key of the author's domain hides a possible pass, with or without
    // a policy; that of a stranger does not.
    let hidden = Fault::ServFail;
    let no_key = Zone::new().fault("rsa._domainkey.author.example", hidden);
    assert!(delayed(&check(no_key.clone(), BAD, &message).await));
    let no_key = no_key.txt("_dmarc.author.example", "v=DMARC1; p=reject");
    assert!(delayed(&check(no_key, BAD, &message).await));
    let no_key = with_dmarc("v=DMARC1; p=reject").fault("rsa._domainkey.stranger.example", hidden);
    assert!(refused(&check(no_key, BAD, signed_by(MESSAGE, "stranger.example")).await));
    // iprev and HELO decide nothing.
    let a = check(
        with_dmarc("v=DMARC1; p=reject")
            .fault("9.100.51.198.in-addr.arpa", Fault::ServFail)
            .fault("mail.author.example", Fault::ServFail),
        BAD,
        MESSAGE,
    )
    .await;
    assert!(refused(&a), "{a:?}");
}
