//! A call to an assistant: spoken to, heard, answered by its model in speech, with a tool in between.

#![allow(clippy::unwrap_used)]

mod support;

use frontdesk_agents::testing::model_server::{Asked, ModelServer, Said, Script};
use serde_json::json;
use support::{
    Caller, Desk, Setup,
    caller::{Engines, engines},
    until,
};

const QUESTION: &str = "are you open on saturday";

#[tokio::test(flavor = "multi_thread")]
async fn a_spoken_question_is_answered_in_speech_by_the_model_and_its_tool() {
    let Some(engines) = engines() else { return };
    // It labels the conversation before it answers, and says so.
    let model = ModelServer::start(|asked: &Asked| {
        if asked.said().iter().any(|said| matches!(said, Said::Result(..))) {
            return Script::say("On Saturday we open at nine.");
        }
        Script::new().text("One moment. ").call("label", &json!({ "label": "hours" }))
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let (words, dictionary) = (folder.path().join("shop.lm"), folder.path().join("shop.dict"));
    std::fs::write(&words, Engines::language_model(&[QUESTION, "goodbye"])).unwrap();
    std::fs::write(&dictionary, Engines::dictionary(&[QUESTION, "goodbye"])).unwrap();
    let setup = Setup {
        config: format!(
            "[voice]\nstt = \"pocketsphinx:en-us\"\ntts = \"flite:kal16\"\n\
             [voice.pocketsphinx]\nlanguage_model = \"{}\"\ndictionary = \"{}\"\n\
             [models.custom]\nbase_url = \"{}\"\n\
             [[agent]]\nname = \"hello\"\nkind = \"assistant\"\nmodel = \"custom:m\"\ntalk = \"public\"\n\
             greeting = \"Hello, this is the shop.\"\ntools = [\"label\"]\n",
            words.display(),
            dictionary.display(),
            model.base_url()
        ),
        ..Setup::default()
    };
    let desk = Desk::serve(setup, |desk| desk).await;
    // One of the people here, so that the tool needs nobody's approval.
    let token = json!({ "name": "phone", "scopes": ["read"] });
    let secret = desk.api.post("/tokens", token).await["secret"].as_str().unwrap().to_owned();
    let bearer = ("authorization", format!("Bearer {secret}"));
    let mut caller = Caller::connect_with(desk.http(), "hello", "", &[bearer], true).await;
    caller.call().await;
    caller.until("the greeting was heard", |c| c.status() == "listening").await;
    caller.played.clear();

    caller.say(&engines.speech("Are you open on Saturday?").await);
    caller.until("the question was heard", |c| !c.transcript("user").is_empty()).await;
    caller.until("the answer was spoken", |c| c.transcript("assistant").len() == 2).await;
    caller.until("it was heard", |c| c.status() == "listening").await;
    assert_eq!(caller.transcript("user"), [QUESTION]);
    let answer = "One moment. On Saturday we open at nine.";
    assert_eq!(caller.transcript("assistant")[1], answer);
    let phrases = ["one moment on saturday we open at nine", "no on sunday we are closed"];
    assert_eq!(engines.understand(&caller.played, &phrases).await, phrases[0]);
    caller.hang_up().await;

    // One turn of the model, with the words of the caller before it, and its tool's doing in the store.
    let asked = model.asked();
    assert_eq!(asked.len(), 2);
    assert!(asked[0].last_user().contains(QUESTION), "{}", asked[0].last_user());
    let conversation = until("the call is in the history", async || {
        let first = desk.api.conversations().await.into_iter().next()?;
        let conversation = desk.api.conversation(&first["id"]).await;
        let entries = conversation["timeline"].as_array()?.clone();
        entries.iter().any(|entry| entry["text"] == answer).then_some(conversation)
    })
    .await;
    assert_eq!(conversation["labels"], json!(["hours"]));
    desk.stop().await;
    drop(folder);
}
