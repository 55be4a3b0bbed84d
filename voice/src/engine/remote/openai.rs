//! `openai:MODEL` to listen and `openai:MODEL/VOICE` to speak, at OpenAI or any server with the same two
//! endpoints: `POST {base}/audio/transcriptions` (multipart) and `POST {base}/audio/speech` (JSON, answered
//! by a stream of bytes).

use super::{CONNECT, install_crypto, refused, unavailable};
use crate::audio::wav;
use crate::engine::{
    Chunk, EngineName, Error, LISTEN_RATE, MAX_UTTERANCE_SECS, Say, Secret, Session,
    SessionOptions, Speech, Synthesiser, Transcriber,
    batch::{Decoded, Decoder, Limits, Listener, Work, drive},
    synthesiser::chunk_len,
    transcriber::session,
};
use futures_util::StreamExt as _;
use reqwest::{Client, RequestBuilder, Response, multipart, redirect};
use serde::Deserialize;
use std::{fmt, future::Future, sync::Arc, time::Duration};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{sleep, timeout},
};

/// How long a transcription may take in all. Who waited longer than this has hung up.
const HEAR: Duration = Duration::from_secs(15);

/// How long the first sound may take, and how long there may be none after it.
const FIRST_SOUND: Duration = Duration::from_secs(10);
const NEXT_SOUND: Duration = Duration::from_secs(5);

/// Before a request that failed for a passing reason is tried once more.
const AGAIN: Duration = Duration::from_millis(250);

/// Requests at once, of all calls; the smallest paid limits are some hundred a minute.
const AT_ONCE: usize = 16;

/// Largest answer of a transcription that is read, and largest error.
const ANSWER: usize = 256 * 1024;

/// The rate of `pcm` in OpenAI's API.
const PCM_RATE: u32 = 24_000;

/// Where a server is.
#[derive(Clone)]
pub struct Server {
    name: EngineName,
    base: String,
    key: Option<Secret>,
    client: Client,
    slots: Arc<Semaphore>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.base)
    }
}

impl Server {
    fn new(name: EngineName, base: &str, key: Option<Secret>) -> Result<Self, Error> {
        if !base.starts_with("http://") && !base.starts_with("https://") {
            return Err(Error::Invalid(format!("{name}: the address of its server is not HTTP")));
        }
        install_crypto();
        let client = Client::builder()
            .connect_timeout(CONNECT)
            // The key must not follow a redirect.
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| Error::Failed { engine: name.clone(), what: error.to_string() })?;
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        Ok(Self { name, base: base.trim_end_matches('/').to_owned(), key, client, slots })
    }

    fn post(&self, path: &str) -> RequestBuilder {
        let request = self.client.post(format!("{}{path}", self.base));
        match &self.key {
            Some(key) => request.bearer_auth(key.reveal()),
            None => request,
        }
    }

    /// Sends a request and has its answer, unless that is an error.
    async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        let response = request.send().await.map_err(|error| self.broken(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = self.read(response, ANSWER).await.unwrap_or_default();
        Err(refused(&self.name, status.as_u16(), &body))
    }

    async fn read(&self, response: Response, most: usize) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        let mut stream = response.bytes_stream();
        while let Some(bytes) = stream.next().await {
            body.extend_from_slice(&bytes.map_err(|error| self.broken(&error))?);
            if body.len() > most {
                return Err(unavailable(&self.name, "its answer is too long"));
            }
        }
        Ok(body)
    }

    /// Without the address, which an operator may have put a key into.
    fn broken(&self, error: &reqwest::Error) -> Error {
        let what = if error.is_connect() {
            "it cannot be reached"
        } else if error.is_timeout() {
            "it did not answer in time"
        } else {
            "the connection broke off"
        };
        unavailable(&self.name, what)
    }
}

/// Does something twice if it fails the first time for a reason that passes.
async fn twice<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    match attempt().await {
        Err(error) if error.is_transient() => {
            tracing::debug!(%error, "trying again");
            sleep(AGAIN).await;
            attempt().await
        }
        result => result,
    }
}

/// Listens. Interim text is not asked for: every one would be a request with the whole utterance in it.
#[derive(Debug)]
pub struct OpenAiEar(Server);

impl OpenAiEar {
    /// With the model that `name` names, at `base` (as in `https://api.openai.com/v1`).
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where the address is not HTTP.
    pub fn new(name: EngineName, base: &str, key: Option<Secret>) -> Result<Self, Error> {
        Server::new(name, base, key).map(Self)
    }
}

impl Transcriber for OpenAiEar {
    fn name(&self) -> &EngineName {
        &self.0.name
    }

    fn settles_at_pause(&self) -> bool {
        true
    }

    fn open(&self, options: SessionOptions) -> Result<Session, Error> {
        let (session, ear) = session();
        let window = (LISTEN_RATE * MAX_UTTERANCE_SECS) as usize;
        let listener = Listener::new(Limits { window, interims: false });
        tokio::spawn(drive(ear, listener, options.language, Requests(self.0.clone())));
        Ok(session)
    }
}

/// One session's requests.
struct Requests(Server);

impl Decoder for Requests {
    fn take(&mut self, work: Work) {
        let server = self.0.clone();
        tokio::spawn(async move {
            let ticket = Arc::clone(&work.ticket);
            let hear = timeout(HEAR, twice(|| server.transcribe(&work)));
            let result = tokio::select! {
                result = hear => result
                    .unwrap_or_else(|_| Err(unavailable(&server.name, "it did not answer in time"))),
                () = ticket.until_cancelled() => Err(Error::Closed),
            };
            work.reply.send(result);
        });
    }
}

/// Both shapes of an answer: `json` has the text only.
#[derive(Deserialize)]
struct Answer {
    text: String,
    #[serde(default)]
    segments: Vec<Segment>,
}

#[derive(Deserialize)]
struct Segment {
    #[serde(default)]
    no_speech_prob: Option<f32>,
    #[serde(default)]
    avg_logprob: Option<f32>,
}

impl Server {
    async fn transcribe(&self, work: &Work) -> Result<Decoded, Error> {
        // The semaphore is never closed.
        let _slot = self.slots.acquire().await.map_err(|_| Error::Closed)?;
        let model = self.name.model();
        // The models that are no Whisper answer in plain JSON only.
        let format = if model.starts_with("gpt-") { "json" } else { "verbose_json" };
        let sound = multipart::Part::bytes(wav::write(LISTEN_RATE, &work.samples))
            .file_name("utterance.wav")
            .mime_str("audio/wav")
            .map_err(|error| self.broken(&error))?;
        let mut form = multipart::Form::new()
            .text("model", model.to_owned())
            .text("response_format", format)
            .text("temperature", "0")
            .part("file", sound);
        if let Some(language) = &work.language {
            // ISO 639-1, not a whole tag.
            let short = language.split(['-', '_']).next().unwrap_or_default().to_owned();
            form = form.text("language", short);
        }
        let response = self.send(self.post("/audio/transcriptions").multipart(form)).await?;
        let body = self.read(response, ANSWER).await?;
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|_| unavailable(&self.name, "its answer is not a transcription"))?;
        let no_speech = answer.segments.iter().filter_map(|segment| segment.no_speech_prob);
        let sure: Vec<f32> =
            answer.segments.iter().filter_map(|segment| segment.avg_logprob).collect();
        let confidence =
            (!sure.is_empty()).then(|| (sure.iter().sum::<f32>() / sure.len() as f32).exp());
        Ok(Decoded {
            text: answer.text.trim().to_owned(),
            no_speech: no_speech.reduce(f32::max),
            confidence,
        })
    }
}

/// Speaks.
#[derive(Debug)]
pub struct OpenAiMouth {
    server: Server,
    model: String,
    voice: String,
    rate: u32,
}

impl OpenAiMouth {
    /// With the model and voice that `name` names, as in `openai:gpt-4o-mini-tts/alloy`. `rate` is that of
    /// the server's `pcm`, where it is not OpenAI's 24 kHz.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where the name has no voice, or the address is not HTTP.
    pub fn new(
        name: EngineName,
        base: &str,
        key: Option<Secret>,
        rate: Option<u32>,
    ) -> Result<Self, Error> {
        let Some((model, voice)) = name.model().rsplit_once('/') else {
            let what = format!("{name} names no voice: write openai:MODEL/VOICE");
            return Err(Error::Invalid(what));
        };
        let (model, voice) = (model.to_owned(), voice.to_owned());
        let rate = rate.unwrap_or(PCM_RATE);
        Ok(Self { server: Server::new(name, base, key)?, model, voice, rate })
    }
}

impl Synthesiser for OpenAiMouth {
    fn name(&self) -> &EngineName {
        &self.server.name
    }

    fn say(&self, request: Say) -> Result<Speech, Error> {
        let Some(text) = request.clean()? else { return Ok(Speech::silent()) };
        let mut body = serde_json::json!({
            "model": self.model,
            "voice": self.voice,
            "input": text,
            "response_format": "pcm",
        });
        let pace = Say::new("").at_pace(request.pace).pace;
        if (pace - 1.0).abs() > f32::EPSILON {
            body["speed"] = serde_json::json!(pace);
        }
        let (server, rate, body) = (self.server.clone(), self.rate, body.to_string());
        let (chunks, speech) = Speech::streamed();
        tokio::spawn(async move {
            let result = tokio::select! {
                result = server.speak(body, rate, &chunks) => result,
                // Dropping the request closes its connection.
                () = chunks.closed() => return,
            };
            if let Err(error) = result {
                let _ = chunks.send(Err(error)).await;
            }
        });
        Ok(speech)
    }
}

impl Server {
    async fn speak(
        &self,
        body: String,
        rate: u32,
        chunks: &mpsc::Sender<Result<Chunk, Error>>,
    ) -> Result<(), Error> {
        let _slot = self.slots.acquire().await.map_err(|_| Error::Closed)?;
        let ask = || {
            let request = self
                .post("/audio/speech")
                .header("content-type", "application/json")
                .body(body.clone());
            self.send(request)
        };
        // Twice only before the first sound: a sentence is not begun again.
        let response = timeout(FIRST_SOUND, twice(ask))
            .await
            .map_err(|_| unavailable(&self.name, "it did not answer in time"))??;
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
        if kind.is_some_and(|kind| kind.contains("json") || kind.contains("mpeg")) {
            return Err(unavailable(&self.name, "it answered with something other than PCM"));
        }
        let mut stream = response.bytes_stream();
        let (mut held, mut odd) = (Vec::new(), None);
        let mut wait = FIRST_SOUND;
        loop {
            let bytes = timeout(wait, stream.next())
                .await
                .map_err(|_| unavailable(&self.name, "it stopped sending"))?;
            wait = NEXT_SOUND;
            let Some(bytes) = bytes else { break };
            let bytes = bytes.map_err(|error| self.broken(&error))?;
            for byte in bytes {
                match odd.take() {
                    Some(low) => held.push(i16::from_le_bytes([low, byte])),
                    None => odd = Some(byte),
                }
            }
            let whole = held.len() / chunk_len(rate) * chunk_len(rate);
            if whole > 0 {
                let rest = held.split_off(whole);
                let samples = std::mem::replace(&mut held, rest);
                if chunks.send(Ok(Chunk { rate, samples })).await.is_err() {
                    return Ok(());
                }
            }
        }
        if !held.is_empty() {
            // After a cancel nobody takes it.
            let _ = chunks.send(Ok(Chunk { rate, samples: held })).await;
        }
        Ok(())
    }
}
