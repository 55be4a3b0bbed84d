//! Answers that fail.

use crate::support::{KEY, OPENAI, WIRES, ask, model, open, request, settings};
use frontdesk_agents::{
    model::{ErrorKind, Event, Models, Retry, Secret, Timeouts, Usage, Wire},
    testing::model_server::{Asked, Hold, ModelServer, Script},
};
use futures_util::StreamExt as _;
use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

#[tokio::test]
async fn failures_of_both_providers_mean_the_same() {
    let cases = [
        (Script::unauthorized(KEY), ErrorKind::Authentication { status: 401 }),
        (Script::no_credit(), ErrorKind::NoCredit),
        (Script::context_too_long(8192), ErrorKind::ContextTooLong { limit: Some(8192) }),
        (
            Script::rate_limited(Duration::from_secs(90)),
            ErrorKind::RateLimited { retry_after: Some(Duration::from_secs(90)) },
        ),
        (
            Script::status(307, "").header("location", "http://127.0.0.1:9/"),
            ErrorKind::Protocol { what: "it answers with a redirect" },
        ),
        (
            Script::say("Hi").header("content-type", "text/html"),
            ErrorKind::Protocol { what: "the answer is not a stream of events" },
        ),
    ];
    for wire in WIRES {
        for (script, kind) in &cases {
            let server = ModelServer::scripted([script.clone()]).await;
            let answer = ask(&model(wire, &server), request("Hello")).await;
            let error = answer.error.expect("it fails");
            assert_eq!(error.kind, *kind, "{wire:?}");
            assert!(answer.started.is_none());
            assert_eq!(server.asked().len(), 1, "{kind:?} is not tried again");
        }
    }
}

#[tokio::test]
async fn what_passes_is_tried_again_over_real_sockets() {
    for wire in WIRES {
        let server = ModelServer::scripted([
            Script::server_error(),
            Script::rate_limited(Duration::ZERO),
            Script::say("At last."),
        ])
        .await;
        let mut settings = settings(wire, &server);
        settings.retry = Retry { base: Duration::from_millis(1), ..Retry::default() };
        let answer = ask(&open(settings), request("Hello")).await;
        assert_eq!(answer.text, "At last.");
        assert_eq!(server.asked().len(), 3);
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error_after_what_was_said() {
    for wire in WIRES {
        for script in [
            Script::new().text("Dear").cut(),
            Script::new().text("Dear").half_closed(),
            Script::new().text("Dear").call_in("track", &["{"]).half_closed(),
        ] {
            let server = ModelServer::scripted([script]).await;
            let answer = ask(&model(wire, &server), request("Hello")).await;
            assert_eq!(answer.text, "Dear");
            assert_eq!(answer.error.map(|error| error.kind), Some(ErrorKind::HalfClosed));
            assert_eq!(server.asked().len(), 1);
        }
    }
}

#[tokio::test]
async fn an_error_in_the_middle_of_an_answer_is_understood() {
    for wire in WIRES {
        let hold = Hold::new();
        let script = Script::new().text("Oh. ").hold(&hold).text("Dear").ping();
        let script = script.error_event("overloaded_error", "Overloaded").usage(9, 0, 3);
        let server = ModelServer::scripted([script]).await;
        let mut answer = model(wire, &server).stream(request("Hello"));
        assert!(matches!(answer.next().await, Some(Ok(Event::Started { .. }))));
        assert!(matches!(answer.next().await, Some(Ok(Event::TextDelta(text))) if text == "Oh. "));
        // Let go on only now: before the first token, the request would be repeated.
        hold.release();
        assert!(matches!(answer.next().await, Some(Ok(Event::TextDelta(text))) if text == "Dear"));
        if wire == Wire::Anthropic {
            // It says at once what the request costs.
            let usage = answer.next().await;
            assert!(matches!(usage, Some(Ok(Event::Usage(Usage { input: 9, .. })))), "{usage:?}");
        }
        let error = answer.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind, ErrorKind::Overloaded { retry_after: None });
        assert!(answer.next().await.is_none());
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    for wire in WIRES {
        let silent = || Script::new().hold(&Hold::new());
        let stalls = || Script::new().text("Dear").hold(&Hold::new());
        let server = ModelServer::scripted([silent(), stalls()]).await;
        let mut settings = settings(wire, &server);
        // Long enough for the request to arrive on a busy machine.
        let after = Duration::from_millis(250);
        settings.timeouts = Timeouts { first_token: after, ..Timeouts::default() };
        let answer = ask(&open(settings.clone()), request("Hello")).await;
        assert_eq!(
            answer.error.map(|error| error.kind),
            Some(ErrorKind::FirstTokenTimeout { after })
        );
        server.wait_cancelled(1).await;
        let after = Duration::from_millis(20);
        settings.timeouts = Timeouts { stall: after, ..Timeouts::default() };
        let answer = ask(&open(settings), request("Hello")).await;
        assert_eq!(answer.error.map(|error| error.kind), Some(ErrorKind::Stalled { after }));
        server.wait_cancelled(2).await;
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_as_that() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let server = ModelServer::scripted([]).await;
    let mut settings = settings(OPENAI, &server);
    settings.base_url = format!("http://{address}/v1");
    settings.retry.attempts = 1;
    let error = ask(&open(settings.clone()), request("Hello")).await.error.unwrap();
    assert_eq!(error.kind, ErrorKind::Connect { what: "nothing listens there" });
    assert!(error.to_string().contains("check that the server runs"), "{error}");
    // TLS where there is none.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let plain = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // What was not read would reset the connection before the answer is seen.
        let mut hello = [0; 4_096];
        assert!(stream.read(&mut hello).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        // Closing with something unread would be a reset, which may overtake the answer.
        while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
    });
    settings.base_url = format!("https://localhost:{port}/v1");
    let error = ask(&open(settings), request("Hello")).await.error.unwrap();
    assert!(error.to_string().contains("TLS failed"), "{error}");
    plain.await.unwrap();
}

#[tokio::test]
async fn a_wrong_address_is_told_from_a_wrong_model() {
    let server = ModelServer::start(|_: &Asked| {
        Script::status(
            404,
            r#"{"error":{"message":"model \"m\" not found, try pulling it first"}}"#,
        )
    })
    .await;
    let mut settings = settings(OPENAI, &server);
    let error = ask(&open(settings.clone()), request("Hello")).await.error.unwrap();
    assert_eq!(error.kind, ErrorKind::UnknownModel);
    settings.base_url = format!("{}/elsewhere", server.base_url());
    settings.wire = Wire::Anthropic;
    let error = ask(&open(settings), request("Hello")).await.error.unwrap();
    assert_eq!(error.kind, ErrorKind::UnknownModel, "any path that ends in messages is served");
}

#[tokio::test]
async fn a_redirect_does_not_carry_the_key_away() {
    let thief = ModelServer::start(|_: &Asked| Script::say("Thanks.")).await;
    let location = format!("{}/chat/completions", thief.base_url());
    let server =
        ModelServer::start(move |_: &Asked| Script::status(308, "").header("location", &location))
            .await;
    let answer = ask(&model(OPENAI, &server), request("Hello")).await;
    assert!(matches!(answer.error.unwrap().kind, ErrorKind::Protocol { .. }));
    assert!(thief.asked().is_empty());
}

/// Everything that is logged while it lives.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn neither_the_key_nor_what_is_said_is_shown_anywhere() {
    const SAID: &str = "my-card-number-is-4711";
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let mut shown = String::new();
    for wire in WIRES {
        let echo = format!(
            r#"{{"error":{{"type":"{KEY}","code":"{KEY}","param":"{SAID} {KEY}","message":"{SAID} {KEY}"}}}}"#
        );
        let server = ModelServer::scripted([
            Script::unauthorized(KEY),
            Script::status(422, &echo),
            Script::status(500, &echo),
            Script::raw(
                Script::new().text("Dear"),
                &format!("data: {{\"error\":{{\"type\":\"{KEY}\"}}}}\n\n"),
            ),
            Script::say(SAID).call("track", &serde_json::json!({ "card": SAID })),
        ])
        .await;
        let mut settings = settings(wire, &server);
        settings.retry.attempts = 1;
        shown += &format!("{settings:?}");
        let mut models = Models::new();
        models.set_provider("test", settings).unwrap();
        shown += &format!("{models:?}");
        let model = models.open(&["test:m"]).unwrap();
        let mut errors = 0;
        for _ in 0..5 {
            let request = request(SAID);
            shown += &format!("{request:?}");
            let answer = ask(&model, request).await;
            shown += &format!("{:?}{:?}", answer.calls, answer.started);
            if let Some(error) = answer.error {
                errors += 1;
                shown += &format!("{error} {error:?}");
            }
        }
        assert_eq!(errors, 4);
        assert_eq!(server.asked().len(), 5);
        assert!(server.asked().iter().all(|asked| asked.key() == Some(KEY)), "the key was used");
    }
    let bad = Secret::from("sk-with\nnew-line".to_owned());
    let mut settings = settings(OPENAI, &ModelServer::scripted([]).await);
    settings.key = Some(bad);
    let error = Models::new().set_provider("x", settings).unwrap_err();
    shown += &format!("{error} {error:?}");
    let logged = String::from_utf8_lossy(&logged.0.lock().unwrap()).into_owned();
    assert!(logged.contains("a model failed"), "there is a log to look at");
    for secret in [KEY, SAID, "sk-with", "4711"] {
        assert!(!shown.contains(secret), "{secret} is shown: {shown}");
        assert!(!logged.contains(secret), "{secret} is logged: {logged}");
    }
}
