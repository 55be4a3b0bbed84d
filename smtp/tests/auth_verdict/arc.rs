use frontdesk_smtp::{
    auth::{Disposition, Verdict, VerifiedBy, arc::ArcResult, disposition},
    testing::{
        dns::{Fault, Zone},
        sign::{TestKey, arc_seal},
    },
};
use mail_auth::MessageAuthenticator;

use crate::{BAD, MESSAGE, World, with_dmarc};

const SAW_PASS: &str = "mx.forwarder.example;\r\n\tspf=pass smtp.mailfrom=ann@author.example;\r\n\t\
    dmarc=pass (p=reject) header.from=author.example";
const SAW_FAIL: &str = "mx.forwarder.example;\r\n\tdmarc=fail header.from=author.example";

fn forwarded_zone() -> Zone {
    with_dmarc("v=DMARC1; p=reject")
        .txt("arc._domainkey.forwarder.example", &TestKey::rsa().record())
        .txt("arc._domainkey.evil.example", &TestKey::other_rsa().record())
        .txt("arc._domainkey.second.example", &TestKey::ed25519().record())
}

async fn seal(world: &World, message: &[u8], domain: &str, results: &str) -> Vec<u8> {
    let library = MessageAuthenticator(world.authenticator.resolver().tokio_resolver().clone());
    let key = match domain {
        "forwarder.example" => TestKey::rsa(),
        "evil.example" => TestKey::other_rsa(),
        _ => TestKey::ed25519(),
    };
    arc_seal(message, key, domain, "arc", results, &library).await
}

fn trusted(domains: &[&str]) -> Vec<String> {
    domains.iter().map(|domain| (*domain).to_owned()).collect()
}

fn via(domain: &str) -> Disposition {
    let by = VerifiedBy::Forwarder(domain.into());
    Disposition::Accept(Verdict::Verified { by })
}

fn refused(disposition: &Disposition) -> bool {
    matches!(disposition, Disposition::Refuse { .. })
}

#[tokio::test]
async fn a_trusted_forwarder_that_saw_a_pass_verifies_and_an_untrusted_one_does_not() {
    let world = World::new(forwarded_zone()).await;
    let message = seal(&world, MESSAGE.as_bytes(), "forwarder.example", SAW_PASS).await;
    let a = world.check(BAD, &message).await;
    assert_eq!(a.arc.result, ArcResult::Pass, "{:?}", a.arc);
    assert_eq!(a.arc.hops[0].seal_domain, "forwarder.example");
    assert_eq!(a.arc.hops[0].dmarc_pass, ["author.example"]);
    assert_eq!(disposition(&a, &trusted(&["Forwarder.Example"])), via("forwarder.example"));
    assert!(refused(&disposition(&a, &[])));
    assert!(refused(&disposition(&a, &trusted(&["other.example", "example"]))));
}

#[tokio::test]
async fn a_trusted_forwarder_that_saw_no_pass_for_this_author_does_not_verify() {
    let world = World::new(forwarded_zone()).await;
    let other = "mx.forwarder.example;\r\n\tdmarc=pass header.from=stranger.example";
    let helo = "mx.forwarder.example;\r\n\tspf=pass smtp.helo=author.example";
    let comment =
        "mx.forwarder.example; spf=fail (dmarc=pass header.from=author.example) smtp.mailfrom=x";
    for results in [SAW_FAIL, other, helo, comment] {
        let message = seal(&world, MESSAGE.as_bytes(), "forwarder.example", results).await;
        let a = world.check(BAD, &message).await;
        assert_eq!(a.arc.result, ArcResult::Pass);
        assert!(refused(&disposition(&a, &trusted(&["forwarder.example"]))), "{results}");
    }
}

#[tokio::test]
async fn a_lie_below_a_trusted_seal_is_not_believed() {
    let world = World::new(forwarded_zone()).await;
    let message = seal(&world, MESSAGE.as_bytes(), "evil.example", SAW_PASS).await;
    let message = seal(&world, &message, "forwarder.example", SAW_FAIL).await;
    let a = world.check(BAD, &message).await;
    assert_eq!(a.arc.result, ArcResult::Pass, "{:?}", a.arc);
    assert_eq!(a.arc.hops.len(), 2);
    assert!(refused(&disposition(&a, &trusted(&["forwarder.example"]))));
}

#[tokio::test]
async fn a_trusted_seal_below_an_untrusted_one_is_not_believed() {
    let world = World::new(forwarded_zone()).await;
    let message = seal(&world, MESSAGE.as_bytes(), "forwarder.example", SAW_PASS).await;
    let message = seal(&world, &message, "evil.example", SAW_FAIL).await;
    let a = world.check(BAD, &message).await;
    assert_eq!(a.arc.result, ArcResult::Pass, "{:?}", a.arc);
    assert!(refused(&disposition(&a, &trusted(&["forwarder.example"]))));
    let both = trusted(&["forwarder.example", "evil.example"]);
    assert_eq!(disposition(&a, &both), via("forwarder.example"));
}

#[tokio::test]
async fn a_broken_or_tampered_chain_is_not_believed() {
    let world = World::new(forwarded_zone()).await;
    let trusted = trusted(&["forwarder.example"]);
    let message = seal(&world, MESSAGE.as_bytes(), "forwarder.example", SAW_PASS).await;
    let text = String::from_utf8(message).unwrap();
    let tampered = [
        text.replace("It is warm", "Send money"),
        text.replace("<ann@author.example>\r\nTo", "<boss@author.example>\r\nTo"),
        text.replace("dmarc=pass (p=reject)", "dmarc=pass (p=none)"),
        text.replace("cv=none", "cv=pass"),
        text.replacen("ARC-Seal:", "X-Seal:", 1),
        text.replacen("i=1;", "i=2;", 1),
    ];
    for message in tampered {
        assert_ne!(message, text);
        let a = world.check(BAD, &message).await;
        assert_eq!(a.arc.result, ArcResult::Fail, "{message}");
        assert!(refused(&disposition(&a, &trusted)), "{message}");
    }
}

#[tokio::test]
async fn a_body_that_ends_in_blank_lines_keeps_its_chain() {
    let world = World::new(forwarded_zone()).await;
    let mut message = seal(&world, MESSAGE.as_bytes(), "forwarder.example", SAW_PASS).await;
    message.extend_from_slice(b" \r\n\t\r\n");
    let a = world.check(BAD, &message).await;
    assert_eq!(a.arc.result, ArcResult::Pass, "{:?}", a.arc);
}

#[tokio::test]
async fn a_missing_answer_for_a_trusted_forwarders_key_delays() {
    let world = World::new(forwarded_zone()).await;
    let message = seal(&world, MESSAGE.as_bytes(), "forwarder.example", SAW_PASS).await;
    let broken =
        with_dmarc("v=DMARC1; p=reject").fault("arc._domainkey.forwarder.example", Fault::ServFail);
    let a = World::new(broken).await.check(BAD, &message).await;
    assert_eq!(a.arc.result, ArcResult::TempError);
    let delayed = disposition(&a, &trusted(&["forwarder.example"]));
    assert!(matches!(delayed, Disposition::TempFail { .. }), "{delayed:?}");
    assert!(refused(&disposition(&a, &[])), "an untrusted forwarder's key changes nothing");
}

#[tokio::test]
async fn two_trusted_hops_verify_through_the_first_one_that_saw_a_pass() {
    let world = World::new(forwarded_zone()).await;
    let message = seal(&world, MESSAGE.as_bytes(), "forwarder.example", SAW_PASS).await;
    let message = seal(&world, &message, "second.example", SAW_FAIL).await;
    let a = world.check(BAD, &message).await;
    let both = trusted(&["second.example", "forwarder.example"]);
    assert_eq!(disposition(&a, &both), via("forwarder.example"));
    assert!(refused(&disposition(&a, &trusted(&["second.example"]))));
}
