//! Text to speech: the trait, and the sound that comes back.

use super::{EngineName, Error};
use std::{collections::VecDeque, fmt};
use tokio::sync::{mpsc, oneshot};

/// Longest text taken at once, in bytes. The chunker cuts far below it; it bounds what one request can
/// cost an engine that makes the whole of it at once: about two minutes of speech.
pub const MAX_TEXT: usize = 2_000;

/// How long a chunk is, in milliseconds: what is still handed out after a cancel is at most one of them.
pub const CHUNK_MS: u32 = 40;

/// How many chunks an engine that streams may be ahead: a second, enough to ride out a slow scheduler,
/// and all that is wasted when the caller interrupts.
pub(crate) const CHUNKS_AHEAD: usize = (1_000 / CHUNK_MS) as usize;

/// Turns text into sound.
///
/// What every engine holds to: [`Synthesiser::say`] returns at once and never blocks; the sound comes in
/// order; it ends with the stream's end or with one error, which is the last item; and dropping or
/// cancelling the [`Speech`] stops the work, or, where a library cannot be stopped, throws the rest away.
pub trait Synthesiser: Send + Sync + fmt::Debug {
    /// Which engine this is; with the text, the key of a cache.
    fn name(&self) -> &EngineName;

    /// Starts to say something. Must be called on a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where the text is longer than [`MAX_TEXT`], [`Error::Busy`] where too much is
    /// waiting already. Everything later comes out of the [`Speech`].
    fn say(&self, request: Say) -> Result<Speech, Error>;
}

/// Something to say.
#[derive(Clone, PartialEq)]
pub struct Say {
    /// Plain words, already normalised: no markup.
    pub text: String,
    /// How fast, as a multiple of the voice's own speed: 0.5 to 2. Engines that cannot, ignore it.
    pub pace: f32,
}

impl Say {
    /// At the voice's own speed.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), pace: 1.0 }
    }

    /// At `pace` times the voice's own speed, within 0.5 to 2.
    #[must_use]
    pub fn at_pace(mut self, pace: f32) -> Self {
        self.pace = if pace.is_finite() { pace.clamp(0.5, 2.0) } else { 1.0 };
        self
    }

    /// The text with what no engine should see replaced by spaces, or nothing where that leaves nothing.
    ///
    /// Control characters end arguments and C strings; whitespace alone makes some engines fail.
    pub(crate) fn clean(&self) -> Result<Option<String>, Error> {
        if self.text.len() > MAX_TEXT {
            return Err(Error::Invalid(format!(
                "{} bytes are too long to say at once; the most is {MAX_TEXT}",
                self.text.len()
            )));
        }
        let text: String =
            self.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let text = text.trim();
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }
}

/// What is said is private: only its length is shown.
impl fmt::Debug for Say {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Say({} bytes at {})", self.text.len(), self.pace)
    }
}

/// Some sound: mono, 16 bit, linear.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Chunk {
    /// Samples in a second.
    pub rate: u32,
    /// The samples.
    pub samples: Vec<i16>,
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} samples at {} Hz)", self.samples.len(), self.rate)
    }
}

/// How many samples a chunk of [`CHUNK_MS`] has at `rate`; at least one.
pub(crate) fn chunk_len(rate: u32) -> usize {
    (rate as usize * CHUNK_MS as usize / 1_000).max(1)
}

/// Sound on its way. Dropping it cancels.
pub struct Speech(State);

enum State {
    /// An engine that makes an utterance in one go is making it.
    Waiting(oneshot::Receiver<Result<Chunk, Error>>),
    /// It is made, and is handed out from here.
    Made { rate: u32, samples: Vec<i16>, at: usize },
    /// An engine that streams sends it.
    Streaming { from: mpsc::Receiver<Result<Chunk, Error>>, cut: VecDeque<Chunk> },
    /// There is no more.
    Over,
}

impl Speech {
    /// Of an engine that makes the whole utterance in one go.
    #[must_use]
    pub fn whole() -> (oneshot::Sender<Result<Chunk, Error>>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(State::Waiting(receiver)))
    }

    /// Of an engine that streams; it may be a second of [`CHUNK_MS`] pieces ahead.
    #[must_use]
    pub fn streamed() -> (mpsc::Sender<Result<Chunk, Error>>, Self) {
        let (sender, from) = mpsc::channel(CHUNKS_AHEAD);
        (sender, Self(State::Streaming { from, cut: VecDeque::new() }))
    }

    /// Of nothing to say.
    #[must_use]
    pub fn silent() -> Self {
        Self(State::Over)
    }

    /// The next chunk, of [`CHUNK_MS`] or less; nothing at the end. After an error there is nothing.
    /// Dropping the future loses nothing, so it can stand in a `select!`.
    pub async fn next(&mut self) -> Option<Result<Chunk, Error>> {
        loop {
            match &mut self.0 {
                State::Over => return None,
                State::Made { rate, samples, at } => {
                    let end = (*at + chunk_len(*rate)).min(samples.len());
                    if *at == end {
                        self.0 = State::Over;
                        continue;
                    }
                    let chunk = Chunk { rate: *rate, samples: samples[*at..end].to_vec() };
                    *at = end;
                    return Some(Ok(chunk));
                }
                State::Waiting(receiver) => {
                    self.0 = match receiver.await {
                        Ok(Ok(Chunk { rate, samples })) => State::Made { rate, samples, at: 0 },
                        Ok(Err(error)) => return self.fail(error),
                        Err(_) => return self.fail(Error::Closed),
                    };
                }
                State::Streaming { from, cut } => {
                    if let Some(chunk) = cut.pop_front() {
                        return Some(Ok(chunk));
                    }
                    match from.recv().await {
                        Some(Ok(Chunk { rate, samples })) => cut.extend(
                            samples
                                .chunks(chunk_len(rate))
                                .map(|piece| Chunk { rate, samples: piece.to_vec() }),
                        ),
                        Some(Err(error)) => return self.fail(error),
                        None => self.0 = State::Over,
                    }
                }
            }
        }
    }

    /// Stops it: the engine is told, and nothing more comes out.
    pub fn cancel(&mut self) {
        self.0 = State::Over;
    }

    /// All of it; for what is made ahead and cached.
    ///
    /// # Errors
    ///
    /// What the engine said, or [`Error::Invalid`] if it changed its rate on the way.
    pub async fn collect(mut self) -> Result<Chunk, Error> {
        let mut all = Chunk::default();
        while let Some(chunk) = self.next().await {
            let chunk = chunk?;
            if all.rate != 0 && all.rate != chunk.rate {
                return Err(Error::Invalid("the sample rate changed within a sentence".into()));
            }
            all.rate = chunk.rate;
            all.samples.extend(chunk.samples);
        }
        Ok(all)
    }

    fn fail(&mut self, error: Error) -> Option<Result<Chunk, Error>> {
        self.0 = State::Over;
        Some(Err(error))
    }
}

impl fmt::Debug for Speech {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            State::Waiting(_) => "Speech(being made)",
            State::Made { .. } => "Speech(made)",
            State::Streaming { .. } => "Speech(streaming)",
            State::Over => "Speech(over)",
        })
    }
}
