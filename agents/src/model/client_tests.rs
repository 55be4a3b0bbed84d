//! What is waited for and tried again, in time that tests move.

use super::*;
use crate::model::StopReason;
use futures_util::{FutureExt as _, future::BoxFuture};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use std::sync::Mutex;

const OPENAI: Wire = Wire::OpenAi { max_completion_tokens: false };

/// What a server does at one attempt.
#[derive(Clone)]
enum Does {
    /// Not even a connection.
    Refuses,
    /// The head never comes.
    Nothing,
    /// The same, a second later.
    Later(Box<Does>),
    Answers {
        status: u16,
        headers: Vec<(&'static str, &'static str)>,
        body: Vec<Body>,
    },
}

#[derive(Clone)]
enum Body {
    After(u64, &'static str),
    /// The connection breaks.
    Cut,
    /// Nothing comes any more.
    Silence,
}

/// A provider without sockets, which does one thing after the other.
struct Provider {
    does: Mutex<VecDeque<Does>>,
    asked: Mutex<Vec<Instant>>,
}

impl Post for Provider {
    fn post(&self, _body: Bytes) -> BoxFuture<'static, Result<Reply, ErrorKind>> {
        self.asked.lock().unwrap().push(Instant::now());
        let mut does = self.does.lock().unwrap().pop_front().expect("no attempt too many");
        async move {
            if let Does::Later(later) = does {
                sleep(Duration::from_secs(1)).await;
                does = *later;
            }
            match does {
                Does::Later(_) => unreachable!("one second is enough"),
                Does::Refuses => Err(ErrorKind::Connect { what: "nothing listens there" }),
                Does::Nothing => std::future::pending().await,
                Does::Answers { status, headers, body } => {
                    let headers: HeaderMap = headers
                        .into_iter()
                        .map(|(name, value)| {
                            (HeaderName::from_static(name), HeaderValue::from_static(value))
                        })
                        .collect();
                    let body = stream::iter(body).then(|body| async move {
                        match body {
                            Body::After(secs, text) => {
                                sleep(Duration::from_secs(secs)).await;
                                Ok(Bytes::from(text))
                            }
                            Body::Cut => Err(ErrorKind::HalfClosed),
                            Body::Silence => std::future::pending().await,
                        }
                    });
                    Ok(Reply { status, headers, body: body.boxed() })
                }
            }
        }
        .boxed()
    }
}

const SSE: (&str, &str) = ("content-type", "text/event-stream");
const HI: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";
const THINKS: &str = "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n";
const STOP: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1}}\n\ndata: [DONE]\n\n";

fn answers(body: &[Body]) -> Does {
    Does::Answers { status: 200, headers: vec![SSE], body: body.to_vec() }
}

fn fails(status: u16, headers: &[(&'static str, &'static str)]) -> Does {
    Does::Answers { status, headers: headers.to_vec(), body: Vec::new() }
}

fn well() -> Does {
    answers(&[Body::After(1, HI), Body::After(1, STOP), Body::After(0, DONE)])
}

struct Run {
    events: Vec<Event>,
    error: Option<ErrorKind>,
    /// Seconds from the first attempt to each.
    asked: Vec<u64>,
    took: Duration,
}

impl Run {
    #[track_caller]
    fn is_well(&self) {
        assert_eq!(self.error, None);
        let [Event::Started { .. }, Event::TextDelta(text), Event::Usage(usage), Event::Stop(stop)] =
            self.events.as_slice()
        else {
            panic!("{:?}", self.events);
        };
        assert_eq!((text.as_str(), stop), ("Hi", &StopReason::EndTurn));
        assert_eq!(usage.cost, Some(9 * 2 + 8));
    }
}

fn client(does: impl IntoIterator<Item = Does>) -> (Client, Arc<Provider>) {
    let provider = Arc::new(Provider {
        does: Mutex::new(does.into_iter().collect()),
        asked: Mutex::default(),
    });
    let client = Client::new(Inner {
        name: "test:m".to_owned(),
        model: "m".to_owned(),
        wire: OPENAI,
        key: Some(Secret::from("sk-secret".to_owned())),
        post: Arc::clone(&provider) as _,
        gate: Arc::new(Gate::new(8)),
        timeouts: Timeouts::default(),
        // Jitter is random: none of it is a second.
        retry: Retry { base: Duration::from_millis(100), ..Retry::default() },
        capabilities: Capabilities { context: 8_192, images: false, documents: false },
        price: Some(Price {
            input: 2_000_000,
            output: 8_000_000,
            cached: None,
            cache_written: None,
        }),
    });
    (client, provider)
}

async fn run(does: impl IntoIterator<Item = Does>) -> Run {
    let (client, provider) = client(does);
    let began = Instant::now();
    let items: Vec<_> = client.stream(Request::default()).collect().await;
    let took = began.elapsed();
    let asked = provider.asked.lock().unwrap().iter().map(|at| (*at - began).as_secs()).collect();
    let mut run = Run { events: Vec::new(), error: None, asked, took };
    for item in items {
        assert!(run.error.is_none(), "nothing follows an error");
        match item {
            Ok(event) => run.events.push(event),
            Err(error) => run.error = Some(error.kind),
        }
    }
    run
}

#[tokio::test(start_paused = true)]
async fn an_answer_begins_with_who_answers_and_ends_with_its_cost() {
    let run = run([well()]).await;
    run.is_well();
    assert_eq!(run.asked, [0]);
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_tried_again_before_the_first_token() {
    for passes in [
        Does::Refuses,
        fails(500, &[]),
        fails(529, &[]),
        answers(&[Body::Cut]),
        answers(&[Body::After(0, ": waiting\n\n"), Body::Cut]),
        answers(&[Body::After(0, "data: {\"error\":{\"type\":\"overloaded_error\"}}\n\n")]),
        answers(&[]),
    ] {
        let run = run([passes.clone(), passes, well()]).await;
        run.is_well();
        assert_eq!(run.asked.len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_last_attempt_the_error_is_reported() {
    let run = run([fails(500, &[]), fails(502, &[]), fails(503, &[])]).await;
    assert_eq!(run.error, Some(ErrorKind::Overloaded { retry_after: None }));
    assert!(run.events.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_person_must_change_is_not_tried_again() {
    for (status, kind) in [
        (401, ErrorKind::Authentication { status: 401 }),
        (402, ErrorKind::NoCredit),
        (422, ErrorKind::BadRequest { status: 422, detail: String::new() }),
        (308, ErrorKind::Protocol { what: "it answers with a redirect" }),
    ] {
        let run = run([fails(status, &[])]).await;
        assert_eq!(run.error, Some(kind));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_tried_again_after_the_first_token() {
    let run = run([answers(&[Body::After(0, HI), Body::Cut]), well()]).await;
    assert_eq!(run.error, Some(ErrorKind::HalfClosed));
    assert_eq!(run.asked, [0]);
    assert!(matches!(run.events.as_slice(), [Event::Started { .. }, Event::TextDelta(_)]));
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_asks_to_wait_is_waited_for() {
    for headers in
        [[("retry-after", "7")], [("retry-after-ms", "7000")], [("x-ratelimit-reset-tokens", "7s")]]
    {
        let run = run([fails(429, &headers), well()]).await;
        run.is_well();
        assert_eq!(run.asked, [0, 7], "{headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_beyond_patience_is_reported_at_once_to_everybody() {
    let (client, provider) = client([fails(429, &[("retry-after", "60")])]);
    let began = Instant::now();
    for _ in 0..2 {
        let items: Vec<_> = client.stream(Request::default()).collect().await;
        let [Err(error)] = items.as_slice() else { panic!("{items:?}") };
        assert_eq!(error.retry_after().map(|after| after.as_secs_f64().ceil()), Some(60.0));
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    // The second one did not bother the provider.
    assert_eq!(provider.asked.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_used_up_is_not_run_into() {
    let body = vec![Body::After(0, HI), Body::After(0, STOP), Body::After(0, DONE)];
    let last = vec![
        SSE,
        ("anthropic-ratelimit-requests-remaining", "0"),
        ("anthropic-ratelimit-requests-reset", "1994-11-06T08:49:40Z"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ];
    let (client, provider) = client([Does::Answers { status: 200, headers: last, body }, well()]);
    let began = Instant::now();
    for _ in 0..2 {
        client.stream(Request::default()).collect::<Vec<_>>().await;
    }
    assert_eq!(provider.asked.lock().unwrap()[1] - began, Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_mistake_of_one_does_not_make_others_wait_after_a_limit() {
    let limited = fails(429, &[("retry-after", "5")]);
    let (client, provider) = client([limited, fails(422, &[]), well(), well()]);
    let began = Instant::now();
    let first: Vec<_> = client.stream(Request::default()).collect().await;
    assert!(matches!(first.as_slice(), [Err(_)]));
    let ask = || client.stream(Request::default()).collect::<Vec<_>>();
    futures_util::future::join(ask(), ask()).await;
    let asked: Vec<u64> =
        provider.asked.lock().unwrap().iter().map(|at| (*at - began).as_secs()).collect();
    assert_eq!(asked, [0, 5, 5, 5]);
}

#[tokio::test(start_paused = true)]
async fn many_at_a_limit_come_back_one_by_one() {
    let later = |does| Does::Later(Box::new(does));
    let limited = later(fails(429, &[("retry-after", "5")]));
    let well = later(answers(&[Body::After(0, HI), Body::After(0, STOP)]));
    // Two are refused at the same time; one that comes later waits with them.
    let does = [limited.clone(), limited, well.clone(), well.clone(), well];
    let (client, provider) = client(does);
    let ask = |after: u64| {
        let client = client.clone();
        async move {
            sleep(Duration::from_secs(after)).await;
            client.stream(Request::default()).collect::<Vec<_>>().await
        }
    };
    let began = Instant::now();
    let all = futures_util::future::join3(ask(0), ask(0), ask(2)).await;
    for items in [all.0, all.1, all.2] {
        assert!(matches!(items.last(), Some(Ok(Event::Stop(_)))), "{items:?}");
    }
    let asked = provider.asked.lock().unwrap();
    let asked: Vec<u64> = asked.iter().map(|at| (*at - began).as_secs()).collect();
    // Refused at 1; the third tries at 6, and the others follow when it is answered.
    assert_eq!(asked, [0, 0, 6, 7, 7]);
}

#[tokio::test(start_paused = true)]
async fn a_first_token_that_does_not_come_is_an_error_whatever_else_comes() {
    let pings = vec![Body::After(25, ": ping\n\n"); 4];
    for does in [Does::Nothing, answers(&[Body::Silence]), answers(&pings)] {
        let run = run([does]).await;
        let after = Duration::from_secs(60);
        assert_eq!(run.error, Some(ErrorKind::FirstTokenTimeout { after }));
        assert_eq!(run.took, after);
    }
}

#[tokio::test(start_paused = true)]
async fn thinking_is_a_first_token() {
    let mut body = vec![Body::After(20, THINKS); 6];
    body.extend([Body::After(20, HI), Body::After(0, STOP), Body::After(0, DONE)]);
    let run = run([answers(&body)]).await;
    run.is_well();
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_stalls_is_an_error_whatever_else_comes() {
    let after = Duration::from_secs(30);
    let mut pings = vec![Body::After(0, HI)];
    pings.extend(vec![Body::After(25, ": ping\n\n"); 2]);
    for does in [answers(&[Body::After(0, HI), Body::Silence]), answers(&pings)] {
        let run = run([does]).await;
        assert_eq!(run.error, Some(ErrorKind::Stalled { after }));
        assert_eq!(run.took, after);
    }
}

#[tokio::test(start_paused = true)]
async fn who_reads_slowly_does_not_make_the_model_look_stalled() {
    let body = [Body::After(0, HI), Body::After(20, STOP), Body::After(0, DONE)];
    let (client, _provider) = client([answers(&body)]);
    let mut answer = client.stream(Request::default());
    let mut last = None;
    while let Some(item) = answer.next().await {
        last = Some(item.unwrap());
        sleep(Duration::from_secs(100)).await;
    }
    assert_eq!(last, Some(Event::Stop(StopReason::EndTurn)));
}

#[tokio::test(start_paused = true)]
async fn a_complete_answer_stays_so_whatever_becomes_of_the_connection() {
    for rest in [Body::Silence, Body::Cut, Body::After(0, "data: {\"error\":{\"code\":500}}\n\n")] {
        let run = run([answers(&[Body::After(0, HI), Body::After(0, STOP), rest])]).await;
        assert_eq!(run.error, None);
        assert_eq!(run.events.last(), Some(&Event::Stop(StopReason::EndTurn)));
        assert!(run.took <= LAST_WORDS + DRAIN);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_without_a_stream_is_understood() {
    let json = |body: &'static str| Does::Answers {
        status: 200,
        headers: vec![("content-type", "application/json")],
        body: vec![Body::After(0, body)],
    };
    let error = r#"{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error","n_ctx":8192}}"#;
    let long = run([json(error)]).await;
    assert_eq!(long.error, Some(ErrorKind::ContextTooLong { limit: Some(8192) }));
    let other = run([json(r#"{"choices":[]}"#)]).await;
    assert!(matches!(other.error, Some(ErrorKind::Protocol { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_the_server_sends_back_goes_no_further() {
    let echo = |status| Does::Answers {
        status,
        headers: Vec::new(),
        body: vec![Body::After(0, r#"{"error":{"type":"SK-Secret","param":"sk-secret"}}"#)],
    };
    let run = run([echo(422)]).await;
    let shown = format!("{} {:?}", run.error.as_ref().unwrap(), run.error);
    assert!(!shown.to_lowercase().contains("sk-secret"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn endless_answers_and_errors_are_cut_off() {
    static LONG: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| format!(": {}\n\n", "x".repeat(1 << 20)));
    let run_on = answers(&vec![Body::After(0, LONG.as_str()); 100]);
    let run = run([run_on]).await;
    assert_eq!(run.error, Some(ErrorKind::Protocol { what: "the answer is too long" }));
    let reply = Reply {
        status: 500,
        headers: HeaderMap::new(),
        body: stream::repeat_with(|| Ok(Bytes::from(LONG.as_str()))).boxed(),
    };
    assert_eq!(whole(reply).await.len(), ERROR_MAX);
}
