use frontdesk_smtp::{
    auth::{
        Disposition, Verdict, VerifiedBy, disposition, iprev::IprevResult, spf::SpfResult, verdict,
    },
    testing::dns::{Fault, Zone},
};

use crate::{BAD, GOOD, MESSAGE, World, check, with_dmarc, zone};

#[tokio::test]
async fn every_spf_result_is_reported_and_none_refuses_by_itself() {
    let cases = [
        ("v=spf1 ip4:198.51.100.9 -all", SpfResult::Pass),
        ("v=spf1 -all", SpfResult::Fail),
        ("v=spf1 ~all", SpfResult::SoftFail),
        ("v=spf1 ?all", SpfResult::Neutral),
        ("v=spf1 ip4:1.2.3.4", SpfResult::Neutral),
        ("v=spf1 ip4:1.2.3.4/33 +all", SpfResult::PermError),
        ("v=spf1 include:nowhere.example +all", SpfResult::PermError),
        ("v=spf1 include:broken.example -all", SpfResult::TempError),
        ("something else", SpfResult::None),
    ];
    for (record, expected) in cases {
        let zone =
            Zone::new().txt("author.example", record).fault("broken.example", Fault::ServFail);
        let a = check(zone, BAD, MESSAGE).await;
        assert_eq!(a.spf_mail_from.result, expected, "{record}");
        assert_eq!(disposition(&a, &[]), Disposition::Accept(Verdict::Unverified), "{record}");
    }
}

#[tokio::test]
async fn the_deciding_term_and_the_explanation_are_kept() {
    let zone = Zone::new()
        .txt("author.example", "v=spf1 ip4:192.0.2.1 -all exp=why.author.example")
        .txt("why.author.example", "%{i} may not send for %{d}, says %{r}");
    let a = check(zone, BAD, MESSAGE).await;
    assert_eq!(a.spf_mail_from.mechanism.as_deref(), Some("-all"));
    assert_eq!(
        a.spf_mail_from.explanation.as_deref(),
        Some("198.51.100.9 may not send for author.example, says mx.desk.example")
    );
}

#[tokio::test]
async fn a_null_reverse_path_is_checked_as_the_helo_name() {
    let world = World::new(with_dmarc("v=DMARC1; p=reject; aspf=r")).await;
    let a = world.check_from(GOOD, None, MESSAGE).await;
    assert_eq!(a.spf_mail_from.domain, "mail.author.example");
    assert_eq!(a.spf_mail_from.result, SpfResult::Pass);
    let by = VerifiedBy::DmarcSpf("mail.author.example".into());
    assert_eq!(verdict(&a), Verdict::Verified { by });
}

#[tokio::test]
async fn address_literals_and_nonsense_as_helo_have_no_spf() {
    let world = World::new(zone()).await;
    for helo in ["[192.0.2.10]", "localhost", "", "a b", "x..y", "\u{1}"] {
        let a = world
            .authenticator
            .authenticate(
                GOOD.parse().unwrap(),
                helo,
                None,
                MESSAGE.as_bytes(),
                jiff::Timestamp::now(),
            )
            .await;
        assert_eq!(a.spf_helo.result, SpfResult::None, "{helo:?}");
    }
}

#[tokio::test]
async fn iprev_passes_only_if_the_name_leads_back() {
    let a = check(zone(), GOOD, MESSAGE).await;
    assert_eq!(a.iprev.result, IprevResult::Pass);
    assert_eq!(a.iprev.name.as_deref(), Some("mail.author.example"));

    let liar = zone().ptr(BAD.parse().unwrap(), "mail.author.example");
    let a = check(liar, BAD, MESSAGE).await;
    assert_eq!(a.iprev.result, IprevResult::Fail);

    let a = check(zone(), BAD, MESSAGE).await;
    assert_eq!(a.iprev.result, IprevResult::PermError);

    let broken = zone().fault("9.100.51.198.in-addr.arpa", Fault::ServFail);
    let a = check(broken, BAD, MESSAGE).await;
    assert_eq!(a.iprev.result, IprevResult::TempError);

    let six = zone()
        .ptr("2001:db8::7".parse().unwrap(), "six.author.example")
        .aaaa("six.author.example", "2001:db8::7".parse().unwrap());
    let a = check(six, "2001:db8::7", MESSAGE).await;
    assert_eq!(a.iprev.result, IprevResult::Pass);
}
