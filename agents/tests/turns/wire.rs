//! The same over real sockets, in the words of both protocols.

use crate::{
    desk::Desk,
    puppet::{Ledger, Office, Puppet, ends, reviewed, says, shop},
};
use frontdesk_agents::{
    builtin::{Assistant, AssistantOptions},
    model::{Model, Models, ProviderSettings, Secret, Wire},
    testing::model_server::{Asked, ModelServer, Said, Script},
    turn::{CallEnd, Step},
};
use serde_json::json;
use std::sync::Arc;

/// Looks the order up, pays, and says so.
fn pays(asked: &Asked) -> Script {
    let rounds = asked.said().iter().filter(|said| matches!(said, Said::Call(..))).count();
    match rounds {
        0 => Script::new().text("One moment.").call("find_order", &json!({ "order": "A7" })),
        1 => Script::new().call("refund", &json!({ "order": "A7", "amount": 3000 })),
        _ => Script::say("Your money is on its way."),
    }
}

async fn office(desk: Desk, model: Arc<dyn Model>, ledger: &Ledger) -> Office {
    let assistant = Assistant::new(AssistantOptions::default(), model, shop(ledger)).unwrap();
    let mut desk = desk;
    let support = desk.agent_with("support", assistant, reviewed).await;
    let unused = Puppet::new(|_, _| says(""));
    let mut office = Office { desk, support, model: unused };
    office.start().await;
    office
}

fn open(servers: &[(&str, Wire, &ModelServer)]) -> Arc<dyn Model> {
    let mut models = Models::new();
    for (name, wire, server) in servers {
        let settings = ProviderSettings {
            key: Some(Secret::from("sk-test-5f1e0d9c".to_owned())),
            ..ProviderSettings::custom(*wire, server.base_url())
        };
        models.set_provider(name, settings).unwrap();
    }
    let names: Vec<String> = servers.iter().map(|(name, ..)| format!("{name}:m")).collect();
    models.open(&names).unwrap()
}

#[tokio::test]
async fn killed_while_a_person_decides_it_finishes_in_either_protocol() {
    for wire in [Wire::OpenAi { max_completion_tokens: true }, Wire::Anthropic] {
        let server = ModelServer::start(pays).await;
        let ledger = Ledger::default();
        let model = || open(&[("test", wire, &server)]);
        let first = office(Desk::new(), model(), &ledger).await;
        let (_, conversation) = first.mail("ann@a.test", "The lamp A7 broke.").await;
        assert_eq!(first.rest(conversation).await.waits_for, "approval");
        let asked = server.asked().len();

        let desk = first.desk.crash().await;
        let mut office = office(desk, model(), &ledger).await;
        let pending = office.desk.store.pending_reviews(Some(conversation), 5).await.unwrap();
        office.desk.store.approve(pending[0].id, "eve".into(), None).await.unwrap();
        let turn = office.rest(conversation).await;
        assert_eq!(turn.outcome, "answered");
        let log = office.log(&turn).await;
        assert_eq!(ends(&log), [CallEnd::Done, CallEnd::Done]);
        assert_eq!(ledger.entries(), ["3000 cents for A7"]);
        assert_eq!(server.asked().len(), asked + 1);
        assert_eq!(office.desk.store.outbox(None, 5, None).await.unwrap().len(), 1);
        office.desk.stop().await;
    }
}

#[tokio::test]
async fn the_second_model_answers_where_the_first_is_down() {
    let down = ModelServer::start(|_: &Asked| Script::no_credit()).await;
    let up = ModelServer::start(pays).await;
    let model = open(&[
        ("first", Wire::OpenAi { max_completion_tokens: true }, &down),
        ("second", Wire::Anthropic, &up),
    ]);
    let ledger = Ledger::default();
    let mut office = office(Desk::new(), model, &ledger).await;
    let (_, conversation) = office.mail("ann@a.test", "The lamp A7 broke.").await;
    let turn = office.rest(conversation).await;
    assert_eq!(turn.waits_for, "approval");
    let log = office.log(&turn).await;
    let said = log.iter().find_map(|entry| match &entry.step {
        Step::ModelSaid { said, .. } => Some(said.model.clone()),
        _ => None,
    });
    assert_eq!(said.as_deref(), Some("second:m"));
    office.desk.stop().await;
}
