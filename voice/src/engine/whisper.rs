//! `whisper:base.en`: Whisper in this process, by whisper.cpp.
//!
//! One model for the process, and a fixed number of slots that decode: threads, each with a state of its
//! own (the model's working memory, some hundred megabytes), made when the engine is opened. Sessions cost
//! only the sound of their current utterance. Work waits in a bounded queue by deadline: who waits in
//! silence goes before who has paused, and interim text is shed first.
//!
//! Whisper's encoder works on a window of fixed length, 30 seconds unless told otherwise, and takes nearly
//! all of the time; telling it the length of the utterance is what makes calls possible (base: 2.2 s for
//! 30 s of window, 0.4 s for 7.7 s).

pub mod random;

use super::{
    EngineName, Error, LISTEN_RATE, Session, SessionOptions, Transcriber,
    batch::{Decoded, Decoder, Limits, Listener, Queue, Ticket, Work, drive},
    ffi::abort,
    transcriber::session,
};
use std::{
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};
use whisper_rs::{
    FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters, WhisperState,
};

/// Samples in one position of the encoder's context: 20 ms.
const POSITION: usize = LISTEN_RATE as usize / 50;

/// Fewest positions. Shorter contexts make real models loop (whisper.cpp issues 1117 and 1951).
const LEAST_CONTEXT: usize = 384;

/// Positions come in multiples of this, which the matrix kernels like.
const CONTEXT_STEP: usize = 64;

/// The whole window: 30 seconds.
const WHOLE_CONTEXT: usize = 1_500;

/// Longest sound decoded at once: the window, less what the context adds.
const WINDOW: usize = (WHOLE_CONTEXT - 2 * CONTEXT_STEP) * POSITION;

/// Whisper decodes nothing below 100 ms, and was trained on sound followed by silence.
const LEAST_SAMPLES: usize = LISTEN_RATE as usize;

/// Pieces of work waiting, for each slot: at half a second each the last of them waits four seconds, and
/// nobody waits longer for an answer.
const WAITING: usize = 8;

/// How far decodes stand behind everything else of this process, as nice(2) counts: a frame of a call takes
/// tens of microseconds and is due every 20 ms, while a decode takes a core for as long as half a second.
const BEHIND: i32 = 5;

/// How many sessions may be open: two megabytes of sound each at the most.
const SESSIONS: usize = 256;

/// How much of the machine Whisper takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// How many decodes run at once.
    pub slots: usize,
    /// Threads of each.
    pub threads: usize,
}

impl Effort {
    /// All cores but one, which stays with the sound; one slot for every four threads, because a decode
    /// hardly gains from more and somebody waits for it.
    #[must_use]
    pub fn of_cores(cores: usize) -> Self {
        let all = cores.saturating_sub(1).max(1);
        let slots = (all / 4).max(1);
        Self { slots, threads: all / slots }
    }
}

/// Whisper with one model.
#[derive(Debug)]
pub struct Whisper {
    name: EngineName,
    language: Option<String>,
    shared: Arc<Shared>,
    sessions: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug)]
struct State {
    queue: Queue<Work>,
    closed: bool,
}

impl Whisper {
    /// Loads a model file and starts its slots. **Blocks** for a tenth of a second to some seconds.
    ///
    /// `language` is what is spoken where a session does not say; models of one language ignore it, others
    /// detect it, which takes as long as decoding.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] where the file is not there, [`Error::Failed`] where it is no model.
    pub fn open(
        name: EngineName,
        file: &Path,
        language: Option<String>,
        effort: Effort,
    ) -> Result<Self, Error> {
        // Otherwise every load and decode writes to stderr.
        whisper_rs::install_logging_hooks();
        if !file.is_file() {
            return Err(Error::Missing {
                what: format!("the model file {} is not there", file.display()),
                fix: format!("frontdesk models pull {name}"),
            });
        }
        let failed = |what: String| Error::Failed { engine: name.clone(), what };
        let context = WhisperContext::new_with_params(file, WhisperContextParameters::default())
            .map_err(|_| {
                failed(format!("{} is not a whisper.cpp model it can load", file.display()))
            })?;
        if !can_decode(&context) {
            return Err(failed(format!("{} lacks the words that decoding needs", file.display())));
        }
        let english_only = !context.is_multilingual();
        let language = if english_only { Some("en".to_owned()) } else { language };
        if let Some(language) = &language {
            known_language(language)?;
        }
        let shared = Arc::new(Shared {
            queue: Mutex::new(State { queue: Queue::new(WAITING * effort.slots), closed: false }),
            wake: Condvar::new(),
        });
        let engine = Self { name: name.clone(), language, shared, sessions: Arc::default() };
        for number in 0..effort.slots {
            let state = context.create_state().map_err(|error| failed(error.to_string()))?;
            let slot = Slot {
                name: name.clone(),
                state,
                threads: i32::try_from(effort.threads).unwrap_or(1),
                english_only,
            };
            let shared = Arc::clone(&engine.shared);
            // Where this fails, dropping `engine` stops the slots before it.
            thread::Builder::new()
                .name(format!("whisper {number}"))
                .spawn(move || slot.work(&shared))
                .map_err(|error| failed(error.to_string()))?;
        }
        Ok(engine)
    }
}

impl Drop for Whisper {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_all();
    }
}

impl Transcriber for Whisper {
    fn name(&self) -> &EngineName {
        &self.name
    }

    fn settles_at_pause(&self) -> bool {
        true
    }

    fn open(&self, options: SessionOptions) -> Result<Session, Error> {
        let language = options.language.or_else(|| self.language.clone());
        if let Some(language) = &language {
            known_language(language)?;
        }
        if self.sessions.fetch_add(1, Ordering::AcqRel) >= SESSIONS {
            self.sessions.fetch_sub(1, Ordering::AcqRel);
            return Err(Error::Busy { engine: self.name.clone(), limit: SESSIONS });
        }
        let (session, ear) = session();
        let limits = Limits { window: WINDOW, interims: options.interims };
        let slots = Slots(Arc::clone(&self.shared));
        let sessions = Arc::clone(&self.sessions);
        tokio::spawn(async move {
            drive(ear, Listener::new(limits), language, slots).await;
            sessions.fetch_sub(1, Ordering::AcqRel);
        });
        Ok(session)
    }
}

/// Whether the vocabulary has the words that whisper.cpp looks up without asking whether they are there: a
/// C++ exception in the middle of a decode would end the process.
fn can_decode(context: &WhisperContext) -> bool {
    let mut wanted: Vec<&[u8]> = vec![b" ", b" -", b" '"];
    for token in 0..context.n_vocab() {
        if let Ok(word) = context.token_to_bytes(token) {
            wanted.retain(|wanted| *wanted != word);
        }
    }
    wanted.is_empty()
}

/// The first part of a BCP 47 tag, which is what Whisper knows.
fn primary(language: &str) -> &str {
    language.split(['-', '_']).next().unwrap_or(language)
}

fn known_language(language: &str) -> Result<(), Error> {
    let short = primary(language);
    let plain = short.bytes().all(|byte| byte.is_ascii_lowercase());
    match plain.then(|| whisper_rs::get_lang_id(short)).flatten() {
        Some(_) => Ok(()),
        None => Err(Error::Invalid(format!("Whisper has no language {language:?}"))),
    }
}

/// The way of a session to the slots.
struct Slots(Arc<Shared>);

impl Decoder for Slots {
    fn take(&mut self, work: Work) {
        let mut state = self.0.lock();
        // What is shed is answered when it is dropped; not under the lock, though.
        let shed = if state.closed { Some(work) } else { state.queue.push(work, Instant::now()) };
        drop(state);
        self.0.wake.notify_one();
        drop(shed);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next piece of work; nothing when the engine is dropped.
    fn next(&self) -> Option<Work> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            let mut shed = Vec::new();
            let next = state.queue.pop(Instant::now(), &mut shed);
            if !shed.is_empty() || next.is_some() {
                drop(state);
                drop(shed);
                if next.is_some() {
                    return next;
                }
                state = self.lock();
                continue;
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl AsRef<Ticket> for Work {
    fn as_ref(&self) -> &Ticket {
        &self.ticket
    }
}

/// One that decodes.
struct Slot {
    name: EngineName,
    state: WhisperState,
    threads: i32,
    english_only: bool,
}

impl Slot {
    fn work(mut self, shared: &Shared) {
        // The sound of all calls goes before the words of one. Where it is not allowed, it is as it was.
        let _ = rustix::process::nice(BEHIND);
        // whisper-rs never frees the name of a language, so each is set once.
        let mut params: Vec<(Option<Arc<str>>, FullParams<'static, 'static>)> = Vec::new();
        while let Some(work) = shared.next() {
            let known = params.iter().position(|(language, _)| *language == work.language);
            let at = known.unwrap_or_else(|| {
                let language =
                    if self.english_only { Some("en") } else { work.language.as_deref() };
                params.push((work.language.clone(), self.params(language)));
                params.len() - 1
            });
            let decoded = self.decode(params[at].1.clone(), &work);
            work.reply.send(decoded);
        }
    }

    fn params(&self, language: Option<&str>) -> FullParams<'static, 'static> {
        let mut params = FullParams::new(SamplingStrategy::Greedy { best_of: 1 });
        params.set_n_threads(self.threads);
        // The name is copied by the setter.
        match language.map(primary).and_then(whisper_rs::get_lang_id) {
            Some(id) => params.set_language(whisper_rs::get_lang_str(id)),
            None => params.set_language(None),
        }
        // What was said before makes models repeat it (whisper.cpp issue 2510).
        params.set_no_context(true);
        params.set_single_segment(true);
        params.set_no_timestamps(true);
        // A window that decodes badly is decoded up to five times otherwise.
        params.set_temperature_inc(0.0);
        params.set_suppress_blank(true);
        params.set_suppress_nst(true);
        params.set_print_special(false);
        params.set_print_progress(false);
        params.set_print_realtime(false);
        params.set_print_timestamps(false);
        params
    }

    fn decode(
        &mut self,
        mut params: FullParams<'static, 'static>,
        work: &Work,
    ) -> Result<Decoded, Error> {
        let mut samples = vec![0.0; work.samples.len().max(LEAST_SAMPLES)];
        for (to, from) in samples.iter_mut().zip(&work.samples) {
            *to = f32::from(*from) / 32_768.0;
        }
        params.set_audio_ctx(i32::try_from(context(samples.len())).unwrap_or(0));
        params.set_max_tokens(i32::try_from(most_tokens(samples.len())).unwrap_or(1));
        let started = Instant::now();
        let result = abort::run(&mut self.state, params, &samples, work.ticket.cancelled());
        let took_ms = started.elapsed().as_millis();
        tracing::debug!(purpose = ?work.ticket.purpose(), samples = samples.len(), took_ms, "decoded");
        if work.ticket.cancelled().load(Ordering::Relaxed) {
            return Err(Error::Closed);
        }
        result.map_err(|error| Error::Failed {
            engine: self.name.clone(),
            what: error.to_string(),
        })?;
        Ok(self.decoded())
    }

    /// What the state holds after a run.
    fn decoded(&self) -> Decoded {
        let mut text = String::new();
        let mut no_speech: Option<f32> = None;
        let (mut log_sum, mut tokens) = (0.0_f32, 0_u16);
        for segment in self.state.as_iter() {
            // A token may end within a character.
            text.push_str(&segment.to_str_lossy().unwrap_or_default());
            let probability = segment.no_speech_probability();
            no_speech = Some(no_speech.map_or(probability, |most| most.max(probability)));
            for token in (0..segment.n_tokens()).filter_map(|index| segment.get_token(index)) {
                log_sum += token.token_probability().max(1e-9).ln();
                tokens = tokens.saturating_add(1);
            }
        }
        let confidence = (tokens > 0).then(|| (log_sum / f32::from(tokens)).exp());
        Decoded { text: text.trim().to_owned(), no_speech, confidence }
    }
}

/// How many positions of the encoder some samples need: their own, and room after them.
fn context(samples: usize) -> usize {
    let positions = samples.div_ceil(POSITION) + CONTEXT_STEP;
    positions.next_multiple_of(CONTEXT_STEP).clamp(LEAST_CONTEXT, WHOLE_CONTEXT)
}

/// Most tokens some samples can hold. Fast speech is five words a second, and a word 1.3 tokens, or more
/// in other languages than English; a model that loops stops here.
fn most_tokens(samples: usize) -> usize {
    16 + 10 * samples / LISTEN_RATE as usize
}

#[cfg(test)]
mod tests;
