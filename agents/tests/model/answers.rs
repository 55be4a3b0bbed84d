//! Answers that succeed.

use crate::support::{KEY, OPENAI, WIRES, ask, model, open, request, settings};
use frontdesk_agents::{
    model::{
        Event, Failed, Message, ModelSettings, Models, Part, Price, ProviderSettings, Request,
        Role, StopReason, ToolResult, Usage, Wire,
    },
    testing::model_server::{Asked, Hold, ModelServer, Said, Script},
};
use futures_util::StreamExt as _;
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn text_comes_as_it_is_said_with_what_it_used() {
    for wire in WIRES {
        let script = Script::say("Dear Ada, it is in Ulm – 世界.").usage(19, 4, 10);
        let server = ModelServer::scripted([script]).await;
        let answer = ask(&model(wire, &server), request("Where is it?")).await;
        assert!(answer.error.is_none(), "{:?}", answer.error);
        assert_eq!(answer.text, "Dear Ada, it is in Ulm – 世界.");
        assert!(answer.deltas > 3, "{} deltas", answer.deltas);
        assert_eq!(answer.stop, Some(StopReason::EndTurn));
        let usage = Usage { input: 19, cached: 4, output: 10, ..Usage::default() };
        assert_eq!(answer.usage, Some(usage));
        let started = Event::Started { model: "test:m".to_owned(), failed: Vec::new() };
        assert!(answer.started == Some(started));
    }
}

#[tokio::test]
async fn the_server_is_asked_what_the_request_says() {
    for wire in WIRES {
        let server = ModelServer::scripted([Script::say("Yes.")]).await;
        ask(&model(wire, &server), request("Where is it?")).await;
        let asked = &server.asked()[0];
        assert_eq!(asked.model(), "m");
        assert_eq!(asked.system(), "You answer mail.");
        assert_eq!(asked.tools(), ["track"]);
        assert_eq!(asked.said(), [Said::User("Where is it?".to_owned())]);
        assert_eq!(asked.key(), Some(KEY));
        assert_eq!(asked.body["stream"], true);
        match wire {
            Wire::OpenAi { .. } => assert_eq!(asked.path, "/v1/chat/completions"),
            Wire::Anthropic => {
                assert_eq!(asked.path, "/v1/messages");
                assert_eq!(asked.header("anthropic-version"), Some("2023-06-01"));
            }
        }
    }
}

#[tokio::test]
async fn calls_are_put_together_and_their_results_go_back() {
    for wire in WIRES {
        // An obedient model: two calls, then an answer made of their results.
        let server = ModelServer::start(|asked: &Asked| match asked.results().as_slice() {
            [] => Script::say("Let me see. ")
                .call("track", &json!({ "parcel": "ü-7", "deep": { "list": [1, 2] } }))
                .call("track", &json!({})),
            results => {
                let contents: Vec<&str> =
                    results.iter().map(|(_, content)| content.as_str()).collect();
                Script::say(&contents.join(" and "))
            }
        })
        .await;
        let model = model(wire, &server);
        let mut request = request("Where are they?");
        let first = ask(&model, request.clone()).await;
        assert_eq!(first.stop, Some(StopReason::ToolUse));
        assert_eq!(first.text, "Let me see. ");
        assert_eq!(first.arguments(0), r#"{"deep":{"list":[1,2]},"parcel":"ü-7"}"#);
        assert_eq!(first.arguments(1), "{}");
        assert_ne!(first.calls[0].id, first.calls[1].id);

        let mut parts = vec![Part::Text(first.text)];
        parts.extend(first.calls.iter().cloned().map(Part::ToolCall));
        request.messages.push(Message { role: Role::Assistant, parts });
        let results = first.calls.iter().zip(["Ulm", "Bonn"]).map(|(call, content)| ToolResult {
            id: call.id.clone(),
            content: content.to_owned(),
            is_error: false,
        });
        request.messages.push(Message::tool_results(results));
        let second = ask(&model, request).await;
        assert_eq!(second.text, "Ulm and Bonn");
        let said = server.asked()[1].said();
        assert!(matches!(&said[..], [
            Said::User(_),
            Said::Assistant(_),
            Said::Call(name, _),
            Said::Call(..),
            Said::Result(id, _),
            Said::Result(..),
        ] if name == "track" && *id == first.calls[0].id));
    }
}

#[tokio::test]
async fn malformed_arguments_reach_nobody_as_arguments() {
    for wire in WIRES {
        let script = Script::new().call_in("track", &["{\"parcel\":", " 7"]).stop(match wire {
            Wire::OpenAi { .. } => "length",
            Wire::Anthropic => "max_tokens",
        });
        let server = ModelServer::scripted([script]).await;
        let answer = ask(&model(wire, &server), request("Where is it?")).await;
        assert!(answer.arguments(0).starts_with("the arguments are not JSON"));
        assert!(answer.arguments(0).ends_with("in {\"parcel\": 7"));
        assert_eq!(answer.stop, Some(StopReason::MaxTokens));
    }
}

#[tokio::test]
async fn each_token_is_there_before_the_next_is_made() {
    for wire in WIRES {
        let hold = Hold::new();
        let script = Script::new().text("Dear").hold(&hold).text(" Ada");
        let server = ModelServer::scripted([script]).await;
        let mut answer = model(wire, &server).stream(request("Hello"));
        assert!(matches!(answer.next().await, Some(Ok(Event::Started { .. }))));
        assert!(matches!(answer.next().await, Some(Ok(Event::TextDelta(text))) if text == "Dear"));
        hold.reached().await;
        hold.release();
        assert!(matches!(answer.next().await, Some(Ok(Event::TextDelta(text))) if text == " Ada"));
        let rest: Vec<_> = answer.collect().await;
        assert!(matches!(rest.last(), Some(Ok(Event::Stop(StopReason::EndTurn)))));
    }
}

#[tokio::test]
async fn dropping_an_answer_closes_its_connection() {
    for wire in WIRES {
        let before = Script::new().hold(&Hold::new());
        let amid = Script::new().text("Dear").hold(&Hold::new());
        let server = ModelServer::scripted([before, amid]).await;
        let model = model(wire, &server);
        // Before the first token.
        let asking = tokio::spawn({
            let mut answer = model.stream(request("Hello"));
            async move { answer.next().await.is_some() }
        });
        server.wait_asked(1).await;
        asking.abort();
        server.wait_cancelled(1).await;
        // And amid the answer.
        let mut answer = model.stream(request("Hello"));
        answer.next().await.unwrap().unwrap();
        answer.next().await.unwrap().unwrap();
        drop(answer);
        server.wait_cancelled(2).await;
    }
}

#[tokio::test]
async fn connections_are_used_again() {
    for wire in WIRES {
        let server = ModelServer::start(|_: &Asked| Script::say("Yes.")).await;
        let model = model(wire, &server);
        for _ in 0..5 {
            ask(&model, request("Hello")).await;
        }
        // The runtime may be a moment late to notice that one is free.
        let opened = server.asked().iter().map(|asked| asked.connection + 1).max();
        assert!(opened < Some(5), "{wire:?}: {opened:?} connections");
    }
}

#[tokio::test]
async fn images_go_to_models_that_see() {
    for wire in WIRES {
        let server = ModelServer::start(|_: &Asked| Script::say("A cat.")).await;
        let parts = vec![
            Part::Image { media_type: "image/png".to_owned(), bytes: vec![137, 80].into() },
            Part::Text("What is it?".to_owned()),
        ];
        let request =
            Request { messages: vec![Message { role: Role::User, parts }], ..Request::default() };
        let mut sees = settings(wire, &server);
        sees.capabilities.images = true;
        ask(&open(sees), request.clone()).await;
        ask(&model(wire, &server), request).await;
        let bodies: Vec<String> =
            server.asked().iter().map(|asked| asked.body.to_string()).collect();
        assert!(bodies[0].contains("iVA=") && !bodies[0].contains("takes no images"));
        assert!(!bodies[1].contains("iVA=") && bodies[1].contains("takes no images"));
    }
}

#[tokio::test]
async fn the_next_model_answers_when_the_first_is_down() {
    let down = ModelServer::start(|_: &Asked| Script::server_error()).await;
    let up = ModelServer::scripted([Script::say("Here I am.").usage(1_000, 0, 100)]).await;
    let mut models = Models::new();
    let mut one = settings(Wire::Anthropic, &down);
    one.retry.base = Duration::from_millis(1);
    models.set_provider("one", one).unwrap();
    models.set_provider("two", settings(OPENAI, &up)).unwrap();
    let price = Price { input: 1_000_000, output: 5_000_000, cached: None, cache_written: None };
    let priced = ModelSettings { price: Some(price), ..ModelSettings::default() };
    models.set_model("two:qwen3:8b", priced);
    let model = models.open(&["one:big", "two:qwen3:8b"]).unwrap();
    assert_eq!(model.name(), "one:big");
    let answer = ask(&model, request("Hello")).await;
    assert_eq!(answer.text, "Here I am.");
    let Some(Event::Started { model, failed }) = answer.started else { panic!("it has begun") };
    assert_eq!(model, "two:qwen3:8b");
    let [Failed { model, kind }] = failed.as_slice() else { panic!("{failed:?}") };
    assert_eq!(model, "one:big");
    assert!(kind.may_retry());
    assert_eq!(answer.usage.unwrap().cost, Some(1_500));
    assert_eq!(up.asked()[0].model(), "qwen3:8b");
    assert_eq!(up.asked()[0].key(), Some(KEY));
    assert_eq!(down.asked().len(), 2, "a model with a successor is asked twice, not more");
}

#[tokio::test]
async fn providers_known_by_name_need_only_what_is_missing() {
    let models = Models::new();
    let local = models.open(&["ollama:qwen3:8b"]).unwrap();
    assert_eq!(local.name(), "ollama:qwen3:8b");
    let wrong = |names: &[&str]| match models.open(names) {
        Ok(model) => panic!("{} was opened", model.name()),
        Err(error) => error.to_string(),
    };
    assert_eq!(
        wrong(&["openai:gpt-5-mini"]),
        "provider openai: there is no key: set OPENAI_API_KEY or the provider's key_file"
    );
    assert!(wrong(&["qwen3"]).contains("PROVIDER:MODEL"));
    assert!(wrong(&["nobody:x"]).contains("anthropic, llamacpp, ollama, openai, vllm"));
    assert!(wrong(&[]).contains("at least one"));
    let mut models = Models::new();
    for url in ["ftp://x", "nothing", "http://user:pw@host/v1", "http://host/v1?key=1"] {
        let settings = ProviderSettings::custom(OPENAI, url);
        let error = models.set_provider("x", settings).unwrap_err().to_string();
        assert!(error.contains("base_url") && !error.contains("pw"), "{error}");
    }
}
