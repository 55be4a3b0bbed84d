//! A caller without a browser: the command line's side of a call.
//!
//! Speaks the protocol of [`frontdesk_voice::browser`] over the control socket, with sound from a file or
//! a microphone, in real time as a browser would: 20 ms frames up, playback that takes as long as it
//! takes, and reports of it.

use frontdesk_voice::audio::{Rate, Resampler};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::{collections::VecDeque, io, path::Path, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::UnixStream,
    time::{Instant, MissedTickBehavior},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, protocol::CloseFrame},
};

/// A frame of the microphone: 20 ms at 16 kHz.
const FRAME: usize = 320;
const TICK: Duration = Duration::from_millis(20);

/// After a file the caller waits for the answer's end, and then for so much quiet.
const QUIET: Duration = Duration::from_millis(1_500);

/// A WAV that is longer than this is no question: ten minutes.
const LONGEST: usize = 16_000 * 600;

/// Where the caller's sound comes from.
pub enum Sound {
    /// Samples at 16 kHz; then silence, until the answer is over.
    File(Vec<i16>),
    /// 16-bit samples at 16 kHz as they are spoken, until the caller hangs up.
    Microphone(Box<dyn AsyncRead + Send + Unpin>),
}

/// What to do in a call.
pub struct Plan {
    pub agent: String,
    pub sound: Sound,
    /// Typed at the beginning, one message each.
    pub texts: Vec<String>,
    /// How long to wait for an answer after the end of a file.
    pub wait: Duration,
    /// Where the agent's voice goes as it is played, as 16-bit samples at the rate of the call.
    pub speaker: Option<Box<dyn AsyncWrite + Send + Unpin>>,
}

/// Something to show while the call lasts.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    Caller(String),
    Agent(String),
    Problem(String),
    /// The rate of the agent's voice, once the call is answered.
    Answered(u32),
}

/// A call that is over.
#[derive(Debug)]
pub struct Over {
    /// Who said what, in order.
    pub transcript: Vec<(&'static str, String)>,
    /// What the caller heard, and its rate.
    pub heard: Vec<i16>,
    pub rate: u32,
    /// The times of each turn, as the server tells them.
    pub turns: Vec<Value>,
}

/// Why a call could not be made or held.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("no server runs on {0}: start one with `frontdesk serve`")]
    NoServer(String),
    #[error("the call was refused: {0}")]
    Refused(String),
    #[error("the call broke off: {0}")]
    Broken(String),
    #[error("{0}")]
    Sound(String),
}

/// Reads a WAV file of any usual rate, mono or stereo, as 16 kHz mono.
pub fn read_wav(path: &Path) -> Result<Vec<i16>, CallError> {
    let bad = |why: String| CallError::Sound(format!("{}: {why}", path.display()));
    let mut reader = hound::WavReader::open(path).map_err(|error| bad(error.to_string()))?;
    let spec = reader.spec();
    let rate = Rate::try_from(spec.sample_rate).map_err(|error| bad(error.to_string()))?;
    let usual = spec.bits_per_sample == 16 && spec.sample_format == hound::SampleFormat::Int;
    if !usual || spec.channels == 0 {
        return Err(bad(
            "only 16-bit samples are understood; `sox in.wav -b 16 out.wav` makes them".into(),
        ));
    }
    let channels = usize::from(spec.channels);
    let samples: Vec<i16> = reader
        .samples::<i16>()
        .collect::<Result<_, _>>()
        .map_err(|error| bad(error.to_string()))?;
    let mono: Vec<i16> = samples
        .chunks_exact(channels)
        .map(|all| (all.iter().map(|s| i32::from(*s)).sum::<i32>() / channels as i32) as i16)
        .collect();
    let mut resampler = Resampler::new(rate, Rate::Hz16000);
    let mut out = Vec::new();
    resampler.push(&mono, &mut out);
    resampler.finish(&mut out);
    if out.len() > LONGEST {
        return Err(bad("it is longer than ten minutes".into()));
    }
    Ok(out)
}

/// Writes what was heard as a WAV file.
pub fn write_wav(path: &Path, samples: &[i16], rate: u32) -> Result<(), CallError> {
    let bad = |error: hound::Error| CallError::Sound(format!("{}: {error}", path.display()));
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).map_err(bad)?;
    for sample in samples {
        writer.write_sample(*sample).map_err(bad)?;
    }
    writer.finalize().map_err(bad)
}

/// Makes a call as the local operator. `show` is told what is said as it is said.
///
/// # Errors
///
/// Where no server runs, the call is refused, or it breaks off.
pub async fn call(
    control: &Path,
    plan: Plan,
    mut show: impl FnMut(Shown),
) -> Result<Over, CallError> {
    let stream = UnixStream::connect(control).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            CallError::NoServer(control.display().to_string())
        }
        _ => CallError::Broken(error.to_string()),
    })?;
    let url = format!("ws://localhost/agents/{}/cli", plan.agent);
    let (socket, _) =
        client_async(url, stream).await.map_err(|error| CallError::Refused(error.to_string()))?;
    let mut line = Line::new(socket, plan);
    line.say(
        json!({ "type": "hello", "protocol_version": 1, "features": ["playback", "frames-20ms"] }),
    )
    .await?;
    line.say(json!({ "type": "start_call" })).await?;
    line.hold(&mut show).await?;
    Ok(line.over)
}

/// One call's connection.
struct Line {
    socket: WebSocketStream<UnixStream>,
    plan: Plan,
    over: Over,
    /// Sound that was received and is not played yet.
    waiting: VecDeque<i16>,
    generation: u64,
    played: u64,
    received: u64,
    paused: bool,
    discarding: bool,
    status: String,
    answered: bool,
    /// Since when nothing is said by anybody.
    quiet: Instant,
    /// When the file was over.
    file_over: Option<Instant>,
}

impl Line {
    fn new(socket: WebSocketStream<UnixStream>, plan: Plan) -> Self {
        Self {
            socket,
            plan,
            over: Over {
                transcript: Vec::new(),
                heard: Vec::new(),
                rate: 16_000,
                turns: Vec::new(),
            },
            waiting: VecDeque::new(),
            generation: 0,
            played: 0,
            received: 0,
            paused: false,
            discarding: false,
            status: String::new(),
            answered: false,
            quiet: Instant::now(),
            file_over: None,
        }
    }

    async fn say(&mut self, message: Value) -> Result<(), CallError> {
        let sent = self.socket.send(Message::text(message.to_string())).await;
        sent.map_err(|error| CallError::Broken(error.to_string()))
    }

    async fn hold(&mut self, show: &mut impl FnMut(Shown)) -> Result<(), CallError> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut hung_up = false;
        loop {
            tokio::select! {
                message = self.socket.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        let message: Value = serde_json::from_str(&text)
                            .map_err(|error| CallError::Broken(error.to_string()))?;
                        self.told(&message, show).await?;
                        if self.answered && self.status == "idle" {
                            return Ok(());
                        }
                    }
                    Some(Ok(Message::Binary(bytes))) => self.sound(&bytes),
                    Some(Ok(Message::Close(frame))) => return Err(closed(frame)),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(CallError::Broken(error.to_string())),
                    None => return Err(closed(None)),
                },
                _ = ticks.tick(), if self.answered => {
                    self.play().await?;
                    let goes_on = self.speak().await?;
                    if (!goes_on || self.is_done()) && !hung_up {
                        hung_up = true;
                        self.say(json!({ "type": "end_call" })).await?;
                    }
                }
            }
        }
    }

    async fn told(
        &mut self,
        message: &Value,
        show: &mut impl FnMut(Shown),
    ) -> Result<(), CallError> {
        let text = || message["text"].as_str().unwrap_or_default().to_owned();
        match message["type"].as_str().unwrap_or_default() {
            "status" => {
                self.status = message["status"].as_str().unwrap_or_default().to_owned();
                self.quiet = Instant::now();
                if self.status != "idle" && !self.answered {
                    self.answered = true;
                    show(Shown::Answered(self.over.rate));
                    for text in std::mem::take(&mut self.plan.texts) {
                        self.say(json!({ "type": "text_message", "text": text })).await?;
                    }
                }
            }
            "audio_config" => {
                self.over.rate = message["sampleRate"]
                    .as_u64()
                    .and_then(|r| r.try_into().ok())
                    .unwrap_or(16_000);
            }
            "audio_start" => {
                self.generation = message["generation"].as_u64().unwrap_or(0);
                (self.played, self.received, self.discarding) = (0, 0, false);
            }
            "playback_pause" => self.paused = true,
            "playback_resume" => self.paused = false,
            "playback_interrupt" => {
                self.waiting.clear();
                (self.paused, self.discarding) = (false, true);
            }
            "transcript" => {
                self.over.transcript.push(("caller", text()));
                show(Shown::Caller(text()));
            }
            "transcript_end" => {
                self.over.transcript.push(("agent", text()));
                show(Shown::Agent(text()));
            }
            "turn_metrics" => self.over.turns.push(message.clone()),
            "error" => {
                let why = message["message"].as_str().unwrap_or_default().to_owned();
                if !self.answered {
                    return Err(CallError::Refused(why));
                }
                show(Shown::Problem(why));
            }
            _ => {}
        }
        Ok(())
    }

    fn sound(&mut self, bytes: &[u8]) {
        if self.discarding {
            return;
        }
        let samples = bytes.as_chunks::<2>().0;
        self.received += samples.len() as u64;
        self.waiting.extend(samples.iter().map(|pair| i16::from_le_bytes(*pair)));
    }

    /// 20 ms of the agent.
    async fn play(&mut self) -> Result<(), CallError> {
        let frame = (self.over.rate as usize / 50).min(self.waiting.len());
        if self.paused || frame == 0 {
            return Ok(());
        }
        self.quiet = Instant::now();
        let samples: Vec<i16> = self.waiting.drain(..frame).collect();
        if let Some(speaker) = &mut self.plan.speaker {
            let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
            speaker.write_all(&bytes).await.map_err(|error| {
                CallError::Sound(format!("the loudspeaker takes nothing: {error}"))
            })?;
        }
        self.over.heard.extend(samples);
        self.played += frame as u64;
        let (generation, samples, received) = (self.generation, self.played, self.received);
        self.say(json!({
            "type": "playback", "state": if self.waiting.is_empty() { "starved" } else { "playing" },
            "generation": generation, "samples": samples, "received": received,
        }))
        .await
    }

    /// 20 ms of the caller; false where they hang up.
    async fn speak(&mut self) -> Result<bool, CallError> {
        let mut bytes = [0; FRAME * 2];
        match &mut self.plan.sound {
            Sound::File(samples) => {
                let said = FRAME.min(samples.len());
                for (place, sample) in bytes.chunks_exact_mut(2).zip(samples.drain(..said)) {
                    place.copy_from_slice(&sample.to_le_bytes());
                }
                if samples.is_empty() {
                    self.file_over.get_or_insert_with(Instant::now);
                }
            }
            // The microphone keeps the time.
            Sound::Microphone(microphone) => {
                if microphone.read_exact(&mut bytes).await.is_err() {
                    return Ok(false);
                }
            }
        }
        let sent = self.socket.send(Message::binary(bytes.to_vec())).await;
        sent.map_err(|error| CallError::Broken(error.to_string()))?;
        Ok(true)
    }

    /// The file was said, and answered or not in time.
    fn is_done(&self) -> bool {
        let Some(over) = self.file_over else { return false };
        let answered = self.over.transcript.iter().any(|(who, _)| *who == "caller")
            && self.over.transcript.last().is_some_and(|(who, _)| *who == "agent");
        let listening = self.status == "listening" && self.waiting.is_empty();
        (answered && listening && self.quiet.elapsed() > QUIET)
            || (listening && over.elapsed() > self.plan.wait)
            || over.elapsed() > self.plan.wait * 4
    }
}

fn closed(frame: Option<CloseFrame>) -> CallError {
    match frame {
        Some(frame) if !frame.reason.is_empty() => CallError::Refused(frame.reason.to_string()),
        _ => CallError::Broken("the server closed the connection".into()),
    }
}
