//! What the server is to do with one request.

use super::{Asked, Protocol, anthropic, http, openai};
use serde_json::Value;
use std::{io, time::Duration};
use tokio::{io::AsyncReadExt as _, net::TcpStream, sync::watch};

/// An answer, built step by step, or a failure.
///
/// Nothing waits by itself: an answer stops only at a [`Hold`].
#[derive(Clone)]
pub struct Script {
    status: u16,
    headers: Vec<(String, String)>,
    /// Of a failure; by protocol, where they differ.
    body: Option<[String; 2]>,
    steps: Vec<Step>,
    end: End,
    stop: Option<String>,
    usage: Option<Tokens>,
}

#[derive(Clone)]
pub(super) enum Step {
    Text(String),
    Think(String),
    /// Name, and the pieces of its arguments.
    Call {
        id: Option<String>,
        name: String,
        pieces: Vec<String>,
    },
    Ping,
    /// An error event.
    Error {
        kind: String,
        message: String,
    },
    /// Bytes of the stream as they are.
    Raw(String),
    Hold(Hold),
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Proper,
    /// The body ends as HTTP wants it, but the answer does not.
    Body,
    /// The connection ends.
    Cut,
}

/// What an answer says it used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tokens {
    pub input: u64,
    pub cached: u64,
    pub output: u64,
}

/// Where an answer waits until it is let go on.
#[derive(Clone)]
pub struct Hold {
    reached: watch::Sender<usize>,
    released: watch::Sender<bool>,
}

impl Default for Hold {
    fn default() -> Self {
        Self::new()
    }
}

impl Hold {
    /// A new one, which holds.
    pub fn new() -> Self {
        Self { reached: watch::Sender::new(0), released: watch::Sender::new(false) }
    }

    /// Lets every answer that waits here, or comes here, go on.
    pub fn release(&self) {
        self.released.send_replace(true);
    }

    /// Waits until an answer has come here.
    pub async fn reached(&self) {
        let mut reached = self.reached.subscribe();
        let reached = reached.wait_for(|reached| *reached > 0).await;
        reached.expect("the sender lives in self");
    }

    async fn wait(&self) {
        self.reached.send_modify(|reached| *reached += 1);
        let mut released = self.released.subscribe();
        let released = released.wait_for(|released| *released).await;
        released.expect("the sender lives in self");
    }
}

impl Script {
    /// An answer that says nothing yet.
    pub fn new() -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body: None,
            steps: Vec::new(),
            end: End::Proper,
            stop: None,
            usage: None,
        }
    }

    /// An answer of this text, word by word.
    pub fn say(text: &str) -> Self {
        text.split_inclusive(' ').fold(Self::new(), Self::text)
    }

    /// A piece of text.
    pub fn text(mut self, delta: &str) -> Self {
        self.steps.push(Step::Text(delta.to_owned()));
        self
    }

    /// A piece of what the model thinks.
    pub fn think(mut self, delta: &str) -> Self {
        self.steps.push(Step::Think(delta.to_owned()));
        self
    }

    /// A call. Its arguments come in pieces of a few characters.
    pub fn call(self, name: &str, arguments: &Value) -> Self {
        let json: Vec<char> = arguments.to_string().chars().collect();
        let pieces: Vec<String> = json.chunks(5).map(|piece| piece.iter().collect()).collect();
        self.call_in(name, &pieces)
    }

    /// A call whose arguments come in these pieces, which need not be JSON.
    pub fn call_in<S: AsRef<str>>(mut self, name: &str, pieces: &[S]) -> Self {
        self.steps.push(Step::Call {
            id: None,
            name: name.to_owned(),
            pieces: pieces.iter().map(|piece| piece.as_ref().to_owned()).collect(),
        });
        self
    }

    /// Gives the last call this id.
    pub fn with_id(mut self, name: &str) -> Self {
        if let Some(Step::Call { id, .. }) = self.steps.last_mut() {
            *id = Some(name.to_owned());
        }
        self
    }

    /// A sign that the connection lives: a ping, or a comment.
    pub fn ping(mut self) -> Self {
        self.steps.push(Step::Ping);
        self
    }

    /// Waits here.
    pub fn hold(mut self, hold: &Hold) -> Self {
        self.steps.push(Step::Hold(hold.clone()));
        self
    }

    /// Bytes of the stream as they are.
    pub fn raw(mut self, bytes: &str) -> Self {
        self.steps.push(Step::Raw(bytes.to_owned()));
        self
    }

    /// An error event of this type, after which the body ends.
    pub fn error_event(mut self, kind: &str, message: &str) -> Self {
        self.steps.push(Step::Error { kind: kind.to_owned(), message: message.to_owned() });
        self.end = End::Body;
        self
    }

    /// The connection ends here, in the middle of the answer.
    pub fn cut(mut self) -> Self {
        self.end = End::Cut;
        self
    }

    /// The body ends here as HTTP wants it, but the answer has no end.
    pub fn half_closed(mut self) -> Self {
        self.end = End::Body;
        self
    }

    /// Why it ends, in the protocol's word; else as what it did wants it.
    pub fn stop(mut self, reason: &str) -> Self {
        self.stop = Some(reason.to_owned());
        self
    }

    /// What it says it used; else about a token per four bytes. `input` includes `cached`.
    pub fn usage(mut self, input: u64, cached: u64, output: u64) -> Self {
        self.usage = Some(Tokens { input, cached, output });
        self
    }

    /// A header of the answer.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A failure with this body.
    pub fn status(status: u16, body: &str) -> Self {
        Self { status, body: Some([body.to_owned(), body.to_owned()]), ..Self::new() }
    }

    /// A failure as each of the providers words it.
    fn failure(status: u16, openai: &str, anthropic: &str) -> Self {
        let anthropic = format!(
            r#"{{"type":"error","error":{anthropic},"request_id":"req_011CSHoEeqs5C35K2UUqR7Fy"}}"#
        );
        let openai = format!(r#"{{"error":{openai}}}"#);
        Self { status, body: Some([openai, anthropic]), ..Self::new() }
    }

    /// 429, with the time to wait.
    pub fn rate_limited(after: Duration) -> Self {
        let script = Self::failure(
            429,
            r#"{"message":"Rate limit reached for requests","type":"requests","param":null,"code":"rate_limit_exceeded"}"#,
            r#"{"type":"rate_limit_error","message":"This request would exceed your organization's rate limit"}"#,
        );
        script.header("retry-after", &after.as_secs_f64().to_string())
    }

    /// 429, because the account has no credit (OpenAI); 400 of the same meaning (Anthropic's wording).
    pub fn no_credit() -> Self {
        Self::failure(
            429,
            r#"{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}"#,
            r#"{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}"#,
        )
    }

    /// 529, as Anthropic answers under load.
    pub fn overloaded() -> Self {
        Self::failure(
            529,
            r#"{"message":"The engine is currently overloaded, please try again later","type":"server_error","param":null,"code":null}"#,
            r#"{"type":"overloaded_error","message":"Overloaded"}"#,
        )
    }

    /// 401. The key is quoted, as OpenAI does.
    pub fn unauthorized(key: &str) -> Self {
        Self::failure(
            401,
            &format!(
                r#"{{"message":"Incorrect API key provided: {key}.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#
            ),
            r#"{"type":"authentication_error","message":"invalid x-api-key"}"#,
        )
    }

    /// 400, because the request is longer than the context.
    pub fn context_too_long(limit: u64) -> Self {
        let long = limit + 1;
        Self::failure(
            400,
            &format!(
                r#"{{"message":"This model's maximum context length is {limit} tokens. However, your messages resulted in {long} tokens. Please reduce the length of the messages.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#
            ),
            &format!(
                r#"{{"type":"invalid_request_error","message":"prompt is too long: {long} tokens > {limit} maximum"}}"#
            ),
        )
    }

    /// 500.
    pub fn server_error() -> Self {
        Self::failure(
            500,
            r#"{"message":"The server had an error while processing your request. Sorry about that!","type":"server_error","param":null,"code":null}"#,
            r#"{"type":"api_error","message":"Internal server error"}"#,
        )
    }

    /// 404, for any path that is none of a model's.
    pub(super) fn not_here() -> Self {
        Self::status(404, r#"{"detail":"Not Found"}"#)
    }

    /// Answers; says whether the connection can be used again. An error is the client's going away.
    pub(super) async fn play(self, asked: &Asked, stream: &mut TcpStream) -> io::Result<bool> {
        let protocol = asked.protocol.unwrap_or(Protocol::OpenAi);
        let mut headers = self.headers;
        if let Some([openai, anthropic]) = self.body {
            let body = match protocol {
                Protocol::OpenAi => openai,
                Protocol::Anthropic => anthropic,
            };
            if !headers.iter().any(|(name, _)| name == "content-type") {
                headers.push(("content-type".to_owned(), "application/json".to_owned()));
            }
            http::write_head(stream, self.status, &headers, Some(&body)).await?;
            return Ok(true);
        }
        if !headers.iter().any(|(name, _)| name == "content-type") {
            let kind = "text/event-stream; charset=utf-8";
            headers.push(("content-type".to_owned(), kind.to_owned()));
        }
        http::write_head(stream, self.status, &headers, None).await?;
        let tokens = self.usage.unwrap_or_else(|| estimate(asked, &self.steps));
        let mut writer = match protocol {
            Protocol::OpenAi => Writer::OpenAi(openai::Writer::new(asked.model(), tokens)),
            Protocol::Anthropic => Writer::Anthropic(anthropic::Writer::new(asked.model(), tokens)),
        };
        for step in self.steps {
            if let Step::Hold(hold) = step {
                // What was said before has to be on its way: nothing is buffered here.
                tokio::select! {
                    () = hold.wait() => {}
                    gone = gone(stream) => return Err(gone),
                }
                continue;
            }
            for piece in writer.step(step) {
                http::write_chunk(stream, &piece).await?;
            }
        }
        match self.end {
            End::Proper => {
                for piece in writer.end(self.stop.as_deref()) {
                    http::write_chunk(stream, &piece).await?;
                }
                http::write_chunk(stream, "").await?;
                Ok(true)
            }
            End::Body => {
                http::write_chunk(stream, "").await?;
                Ok(true)
            }
            End::Cut => Ok(false),
        }
    }
}

impl Default for Script {
    fn default() -> Self {
        Self::new()
    }
}

/// Waits until the client has gone away.
async fn gone(stream: &mut TcpStream) -> io::Error {
    let mut byte = [0];
    match stream.read(&mut byte).await {
        Ok(_) => io::ErrorKind::ConnectionReset.into(),
        Err(error) => error,
    }
}

enum Writer {
    OpenAi(openai::Writer),
    Anthropic(anthropic::Writer),
}

impl Writer {
    fn step(&mut self, step: Step) -> Vec<String> {
        match self {
            Self::OpenAi(writer) => writer.step(step),
            Self::Anthropic(writer) => writer.step(step),
        }
    }

    fn end(&mut self, stop: Option<&str>) -> Vec<String> {
        match self {
            Self::OpenAi(writer) => writer.end(stop),
            Self::Anthropic(writer) => writer.end(stop),
        }
    }
}

fn estimate(asked: &Asked, steps: &[Step]) -> Tokens {
    let said: usize = steps
        .iter()
        .map(|step| match step {
            Step::Text(text) | Step::Think(text) => text.len(),
            Step::Call { pieces, .. } => pieces.iter().map(String::len).sum(),
            _ => 0,
        })
        .sum();
    let tokens = |bytes: usize| bytes.div_ceil(4) as u64;
    Tokens { input: tokens(asked.body.to_string().len()), cached: 0, output: tokens(said) }
}

/// `text` as a string of JSON.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
