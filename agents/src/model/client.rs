//! A model of a provider: asks, tries again until the first token has come, and reads the answer.
//!
//! Where time matters, it is tokio's, so tests stop it; sockets are behind [`Post`].

use super::{
    Capabilities, Error, ErrorKind, Event, EventStream, Model, Price, Request, Secret,
    gate::{Gate, Pass},
    http::{Post, Reply},
    limits::Limits,
    settings::{Retry, Timeouts},
    sse::{SseEvent, SseParser},
    wire::{Decoder, Stage, Wire, classify},
};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, timeout_at};

/// Largest answer. 128,000 tokens, the most a model writes, are about 30 MB of OpenAI's chunks.
const ANSWER_MAX: usize = 64 * 1024 * 1024;

/// Most of an error that is read.
const ERROR_MAX: usize = 64 * 1024;

/// After a complete answer, how long its cost may take to come, and the end of the connection.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// After the last mark of an answer, how long the end of its body may take. It comes with it, if at all.
const DRAIN: Duration = Duration::from_millis(50);

/// A model of a provider.
#[derive(Clone)]
pub(super) struct Client(Arc<Inner>);

pub(super) struct Inner {
    /// As in `openai:gpt-5-mini`.
    pub name: String,
    /// What the provider calls it.
    pub model: String,
    pub wire: Wire,
    /// To keep it out of errors: a server may send back whatever it got.
    pub key: Option<Secret>,
    pub post: Arc<dyn Post>,
    pub gate: Arc<Gate>,
    pub timeouts: Timeouts,
    pub retry: Retry,
    pub capabilities: Capabilities,
    pub price: Option<Price>,
}

impl Client {
    pub fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }
}

impl Model for Client {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.0.capabilities
    }

    fn stream(&self, request: Request) -> EventStream {
        let answer = Answer {
            client: Arc::clone(&self.0),
            request: Some(request),
            open: None,
            queue: VecDeque::new(),
        };
        stream::unfold(answer, |mut answer| async move {
            let item = answer.next().await?;
            Some((item, answer))
        })
        .boxed()
    }
}

/// One answer, from before it is asked for to its end.
struct Answer {
    client: Arc<Inner>,
    /// Taken when it is asked.
    request: Option<Request>,
    open: Option<Open>,
    queue: VecDeque<Result<Event, Error>>,
}

/// An answer that has begun.
struct Open {
    body: BoxStream<'static, Result<Bytes, ErrorKind>>,
    parser: SseParser,
    decoder: Decoder,
    /// Bytes read.
    size: usize,
    /// Given back when the answer ends.
    _pass: Pass,
}

impl Answer {
    async fn next(&mut self) -> Option<Result<Event, Error>> {
        loop {
            if let Some(item) = self.queue.pop_front() {
                return Some(item);
            }
            let mut events = Vec::new();
            let begun = self.open.is_some();
            let result = if let Some(request) = self.request.take() {
                let name = self.client.name.clone();
                events.push(Event::Started { model: name, failed: Vec::new() });
                self.client.begin(&request, &mut events).await.map(|open| self.open = Some(open))
            } else if let Some(open) = &mut self.open {
                if open.decoder.stage() == Stage::Done {
                    // A connection whose body was read to its end can be used again.
                    let _ = timeout_at(Instant::now() + DRAIN, open.body.next()).await;
                    self.open = None;
                    return None;
                }
                open.more(&self.client.timeouts, &mut events).await
            } else {
                return None;
            };
            let mut error = None;
            if let Err(kind) = result {
                let known = self.open.take().and_then(|open| open.decoder.usage());
                match begun {
                    true => events.extend(known.map(Event::Usage)),
                    // Nothing was given out, so nothing was said.
                    false => events.clear(),
                }
                error = Some(Err(Error::new(&self.client.name, self.client.clean(kind))));
            }
            self.queue.extend(events.into_iter().map(|event| Ok(self.client.priced(event))));
            self.queue.extend(error);
        }
    }
}

impl Inner {
    /// Asks until a first token has come, which is in `events` then.
    async fn begin(&self, request: &Request, events: &mut Vec<Event>) -> Result<Open, ErrorKind> {
        let body = self.wire.body(&self.model, request, &self.capabilities);
        let body = Bytes::from(body.to_string());
        let before = events.len();
        let mut failed = 0;
        loop {
            let pass = self.gate.pass(self.retry.patience).await?;
            events.truncate(before);
            let kind = match self.attempt(body.clone(), pass, events).await {
                Ok(open) => return Ok(open),
                Err(kind) => kind,
            };
            if let ErrorKind::RateLimited { retry_after } | ErrorKind::Overloaded { retry_after } =
                kind
            {
                self.gate.refused(retry_after);
            }
            failed += 1;
            let wait = self.retry.wait(failed, &kind, random());
            metrics::counter!("model_failures_total", "model" => self.name.clone()).increment(1);
            tracing::warn!(model = self.name, error = %kind, again = wait.is_some(), "a model failed");
            match wait {
                Some(wait) => sleep(wait).await,
                None => return Err(kind),
            }
        }
    }

    async fn attempt(
        &self,
        body: Bytes,
        mut pass: Pass,
        events: &mut Vec<Event>,
    ) -> Result<Open, ErrorKind> {
        let began = Instant::now();
        let after = self.timeouts.first_token;
        let deadline = began + after;
        let slow = |_| ErrorKind::FirstTokenTimeout { after };
        let reply = timeout_at(deadline, self.post.post(body)).await.map_err(slow)??;
        let limits = Limits::read(&reply.headers, Timestamp::now());
        if reply.status != 200 {
            let (status, body) = (reply.status, whole(reply));
            let body = timeout_at(deadline, body).await.map_err(slow)?;
            let kind = self.clean(classify(status, limits.retry_after, &body));
            if !kind.may_retry() {
                // It is not the rate or the load, so others need not wait.
                self.gate.answered(&mut pass, limits.exhausted);
            }
            return Err(kind);
        }
        self.gate.answered(&mut pass, limits.exhausted);
        let streams = reply.headers.get(CONTENT_TYPE).is_none_or(|kind| {
            kind.to_str().is_ok_and(|kind| kind.starts_with("text/event-stream"))
        });
        if !streams {
            let body = timeout_at(deadline, whole(reply)).await.map_err(slow)?;
            return Err(self.clean(not_a_stream(&body)));
        }
        let mut open = Open {
            body: reply.body,
            parser: SseParser::default(),
            decoder: self.wire.decoder(format!("{:08x}", random() >> 32)),
            size: 0,
            _pass: pass,
        };
        match open.until_alive(deadline, events).await {
            Ok(true) => {}
            Ok(false) => return Err(ErrorKind::FirstTokenTimeout { after }),
            Err(kind) => return Err(self.clean(kind)),
        }
        metrics::histogram!("model_first_token_seconds", "model" => self.name.clone())
            .record(began.elapsed().as_secs_f64());
        Ok(open)
    }

    /// `kind` without what looks like the key.
    fn clean(&self, mut kind: ErrorKind) -> ErrorKind {
        if let ErrorKind::BadRequest { detail, .. } | ErrorKind::Server { detail, .. } = &mut kind
            && let Some(key) = &self.key
            && detail.to_lowercase().contains(&key.reveal().to_lowercase())
        {
            detail.clear();
        }
        kind
    }

    fn priced(&self, event: Event) -> Event {
        match event {
            Event::Usage(mut usage) => {
                usage.cost = self.price.map(|price| price.cost(&usage));
                Event::Usage(usage)
            }
            event => event,
        }
    }
}

impl Open {
    /// Reads on until something is given out or the answer is done.
    async fn more(&mut self, timeouts: &Timeouts, out: &mut Vec<Event>) -> Result<(), ErrorKind> {
        while out.is_empty() && self.decoder.stage() != Stage::Done {
            // Counted from here, so that whoever reads slowly does not make the model look stalled.
            let complete = self.decoder.stage() == Stage::Complete;
            let after = if complete { LAST_WORDS } else { timeouts.stall };
            match self.until_alive(Instant::now() + after, out).await {
                Ok(true) => {}
                Ok(false) if !complete => return Err(ErrorKind::Stalled { after }),
                Err(kind) if !complete => return Err(kind),
                // Everything has been said: whatever goes wrong now does not make it less true.
                Ok(false) | Err(_) => self.decoder.end(out)?,
            }
        }
        Ok(())
    }

    /// Reads on until the model has done something; `false` if it did not until `deadline`.
    async fn until_alive(
        &mut self,
        deadline: Instant,
        out: &mut Vec<Event>,
    ) -> Result<bool, ErrorKind> {
        loop {
            let Ok(bytes) = timeout_at(deadline, self.body.next()).await else { return Ok(false) };
            let mut events = Vec::new();
            match bytes {
                Some(bytes) => {
                    let bytes = bytes?;
                    self.size += bytes.len();
                    if self.size > ANSWER_MAX {
                        return Err(ErrorKind::Protocol { what: "the answer is too long" });
                    }
                    self.parser.push(&bytes, &mut events)?;
                }
                None => {
                    self.decoder.end(out)?;
                    return Ok(true);
                }
            }
            if self.read(&events, out)? {
                return Ok(true);
            }
        }
    }

    fn read(&mut self, events: &[SseEvent], out: &mut Vec<Event>) -> Result<bool, ErrorKind> {
        let mut alive = false;
        for event in events {
            let before = self.decoder.stage();
            match self.decoder.read(event, out) {
                Ok(lives) => alive |= lives,
                Err(kind) if before == Stage::Open => return Err(kind),
                Err(_) => self.decoder.end(out)?,
            }
            if self.decoder.stage() == Stage::Done {
                return Ok(true);
            }
        }
        Ok(alive)
    }
}

/// What can be read of a body that is not streamed. It is only looked at for what went wrong, so one that
/// breaks off is as good.
async fn whole(mut reply: Reply) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(Ok(bytes)) = reply.body.next().await {
        body.extend_from_slice(&bytes);
        if body.len() >= ERROR_MAX {
            break;
        }
    }
    body.truncate(ERROR_MAX);
    body
}

/// llama.cpp and some proxies answer a failure with status 200 and the error as JSON.
fn not_a_stream(body: &[u8]) -> ErrorKind {
    match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(json) if json.get("error").is_some_and(|error| !error.is_null()) => {
            super::wire::in_stream(body)
        }
        _ => ErrorKind::Protocol { what: "the answer is not a stream of events" },
    }
}

fn random() -> u64 {
    // Only for jitter and ids: where the system has no randomness, none is better than no answer.
    getrandom::u64().unwrap_or_default()
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
