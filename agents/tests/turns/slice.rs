//! From a mail to a reply: two tools, one of which a person approves.

use crate::puppet::{Answer, Ledger, Office, Puppet, ends, result_of, reviewed, says, shop, words};
use frontdesk_agents::{builtin::AssistantOptions, turn::CallEnd};
use serde_json::json;
use std::sync::Arc;

/// Looks the order up, pays, and says so.
pub fn pays() -> Arc<Puppet> {
    Puppet::new(|_, round| match round {
        0 => Answer::Calls(vec![("find_order", json!({ "order": "A7" }))]),
        1 => Answer::Calls(vec![("refund", json!({ "order": "A7", "amount": 3000 }))]),
        _ => says("Dear Ann, your money is on its way."),
    })
}

#[tokio::test]
async fn a_mail_is_answered_with_two_tools_one_of_them_approved() {
    let ledger = Ledger::default();
    let mut office =
        Office::with(pays(), shop(&ledger), AssistantOptions::default(), reviewed).await;
    office.start().await;
    let (mail, conversation) = office.mail("ann@a.test", "The lamp A7 broke. Money back?").await;
    let turn = office.rest(conversation).await;
    assert_eq!((turn.state.as_str(), turn.waits_for.as_str()), ("ready", "approval"));
    assert!(ledger.entries().is_empty(), "nothing is paid before a person says so");

    // What a person sees is exactly what will happen.
    let store = &office.desk.store;
    let pending = store.pending_reviews(Some(conversation), 10).await.unwrap();
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0].kind, "tool");
    assert_eq!(
        pending[0].text,
        r#"support wants to call refund with {"amount":3000,"order":"A7"}"#
    );
    assert!(pending[0].why.contains("reviewed"), "{}", pending[0].why);

    // The process dies and comes back before anybody looks.
    let Office { desk, model, .. } = office;
    let asked_before = model.times_asked();
    let desk = desk.crash().await;
    let mut office =
        Office::on(desk, model, shop(&ledger), AssistantOptions::default(), reviewed).await;
    office.start().await;
    let store = &office.desk.store;
    store.approve(pending[0].id, "eve".into(), None).await.unwrap();
    let turn = office.rest(conversation).await;
    assert_eq!((turn.state.as_str(), turn.outcome.as_str()), ("done", "answered"));
    assert_eq!(ledger.entries(), ["3000 cents for A7"]);
    assert_eq!(office.model.times_asked(), asked_before + 1, "what was said is not asked again");

    let log = office.log(&turn).await;
    assert_eq!(
        words(&log),
        [
            "started",
            "model asked",
            "model said",
            "call ended",
            "model asked",
            "model said",
            "approval asked",
            "approval decided",
            "call begun",
            "call ended",
            "model asked",
            "model said",
            "finished"
        ]
    );
    assert_eq!(ends(&log), [CallEnd::Done, CallEnd::Done]);
    assert_eq!(result_of(&log, "1.0"), "Refunded.");
    assert_eq!((turn.tokens_in, turn.tokens_out, turn.cost), (300, 30, 1_500));

    // One reply waits in the outbox, because all this agent writes is reviewed.
    let outbox = store.outbox(None, 10, None).await.unwrap();
    assert_eq!(outbox.len(), 1);
    assert_eq!(
        (outbox[0].state.as_str(), outbox[0].to.as_slice()),
        ("held", &["ann@a.test".to_owned()][..])
    );
    let draft = store.pending_reviews(Some(conversation), 10).await.unwrap().remove(0);
    assert_eq!(draft.kind, "draft");
    store.approve(draft.id, "eve".into(), None).await.unwrap();
    let sent = office.desk.send_all().await;
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].mail.text, "Dear Ann, your money is on its way.");
    let answers = office.desk.count(&format!("SELECT answers FROM outbox WHERE answers = {mail}"));
    assert_eq!(answers, mail.0);
    office.desk.stop().await;
}
