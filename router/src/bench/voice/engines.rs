//! Engines that cost nothing: a recogniser that hears what it likes, and a voice whose sound is made
//! beforehand. They speak the same traits as the real ones and note when they were asked and answered.

use frontdesk_voice::engine::{
    Chunk, EngineName, Error, Heard, Say, Session, SessionOptions, Speech, Synthesiser,
    Transcriber, Transcript,
    own::{Command, Ear, session},
};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// From the end of an utterance, 0.2 s into the pause, to its text. The 0.5 s of quiet that end a turn are over
/// by then, so that the turn ends with the text and waits for nothing else.
pub(super) const THINKING: Duration = Duration::from_millis(450);

/// The voice's rate, which is flite's.
const VOICE_RATE: u32 = 16_000;

/// What was noted of one utterance.
#[derive(Debug, Clone, Copy)]
pub(super) struct Utterance {
    /// The session, which stands for the call.
    pub session: usize,
    /// When the recogniser was told that it is over.
    pub ended: Instant,
    /// When it gave the text.
    pub answered: Instant,
}

/// The recogniser.
#[derive(Debug)]
pub(super) struct Scripted {
    name: EngineName,
    sessions: AtomicUsize,
    heard: Arc<Mutex<Vec<Utterance>>>,
}

/// What a caller says, by who and how often: the agent reads it back from its turn.
pub(super) fn words(session: usize, number: usize) -> String {
    format!("This is line {session} with request {number}.")
}

/// Which session said this.
pub(super) fn session_of(words: &str) -> Option<usize> {
    words.strip_prefix("This is line ")?.split(' ').next()?.parse().ok()
}

impl Scripted {
    pub(super) fn new(name: EngineName) -> Self {
        Self { name, sessions: AtomicUsize::new(0), heard: Arc::default() }
    }

    /// Everything noted since it was last asked for, in order.
    pub(super) fn take_heard(&self) -> Vec<Utterance> {
        std::mem::take(&mut *lock(&self.heard))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Transcriber for Scripted {
    fn name(&self) -> &EngineName {
        &self.name
    }

    fn open(&self, _options: SessionOptions) -> Result<Session, Error> {
        let (call, ear) = session();
        let number = self.sessions.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(listen(number, ear, self.heard.clone()));
        Ok(call)
    }
}

/// One call's recogniser: takes every frame, and answers each end.
async fn listen(session: usize, mut ear: Ear, heard: Arc<Mutex<Vec<Utterance>>>) {
    let (mut current, mut count) = (None, 0);
    while let Some(command) = ear.commands.recv().await {
        match command {
            Command::Begin(utterance) => current = Some(utterance),
            Command::End { .. } => {
                let Some(utterance) = current.take() else { continue };
                let ended = Instant::now();
                count += 1;
                let text = words(session, count).into();
                let transcript = Transcript { text, confidence: Some(1.0), ..Default::default() };
                let (mouth, heard) = (ear.mouth.clone(), heard.clone());
                // As a real one, it goes on listening meanwhile.
                tokio::spawn(async move {
                    tokio::time::sleep(THINKING).await;
                    let answered = Instant::now();
                    lock(&heard).push(Utterance { session, ended, answered });
                    mouth.say(Heard::Final { utterance, transcript });
                });
            }
            Command::Abandon => current = None,
            Command::Audio(_) | Command::Pause | Command::Resume | Command::Expect(_) => {}
        }
    }
}

/// The voice: as many milliseconds of a tone as it is told for each word.
#[derive(Debug)]
pub(super) struct Tone {
    name: EngineName,
    per_word: Duration,
}

impl Tone {
    pub(super) fn new(name: EngineName, per_word: Duration) -> Self {
        Self { name, per_word }
    }
}

impl Synthesiser for Tone {
    fn name(&self) -> &EngineName {
        &self.name
    }

    fn say(&self, request: Say) -> Result<Speech, Error> {
        let words = request.text.split_whitespace().count() as u32;
        let samples = (self.per_word * words).as_millis() as usize * VOICE_RATE as usize / 1_000;
        // 500 Hz at a tenth of full scale.
        let tone = |n: usize| if n % 32 < 16 { 3_276 } else { -3_276 };
        let (made, speech) = Speech::whole();
        // Nobody waits for it where the call is over.
        let _ =
            made.send(Ok(Chunk { rate: VOICE_RATE, samples: (0..samples).map(tone).collect() }));
        Ok(speech)
    }
}
