//! `flite:slt` and its sisters: the synthesiser that needs nothing but a system library.
//!
//! One thread does the library's work, one sentence after the other, because the library is used under
//! one lock anyway. A sentence is made whole and handed over in one piece, so a caller who is slow to take
//! it holds up nobody; its length is bounded by [`super::MAX_TEXT`]. Cancelling throws away what is made,
//! and skips what is still waiting.
//!
//! English only. `kal16` gives the same samples for the same text at every run; `slt` sounds better and
//! does not.

use super::{
    Chunk, EngineName, Error, Say, Speech, Synthesiser,
    ffi::flite::{VOICES, Voice},
};
use std::{ffi::CString, path::Path, sync::mpsc, thread};
use tokio::sync::oneshot;

/// How many sentences may wait: a dozen calls' worth of the two or three sentences that a call
/// synthesises ahead. At slt's speed the last of them waits about two seconds; later is too late.
const WAITING: usize = 32;

/// Longest word in bytes. Flite's rules for unknown words take time that grows with the word; the longest
/// words in dictionaries have 45 letters.
const MAX_WORD: usize = 60;

/// A voice of flite.
#[derive(Debug)]
pub struct Flite {
    name: EngineName,
    jobs: mpsc::SyncSender<Job>,
}

struct Job {
    text: CString,
    pace: f32,
    answer: oneshot::Sender<Result<Chunk, Error>>,
}

impl Flite {
    /// Opens the libraries of a voice, in `dir` or wherever the system has them, and starts its thread.
    /// Blocks for a few milliseconds.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] with the package to install; [`Error::Invalid`] for a voice there is not.
    pub fn open(name: EngineName, dir: Option<&Path>) -> Result<Self, Error> {
        let voice = Voice::load(name.model(), dir)?;
        let (jobs, waiting) = mpsc::sync_channel(WAITING);
        let thread_name = name.clone();
        thread::Builder::new()
            .name(format!("flite {}", name.model()))
            .spawn(move || work(&thread_name, voice, &waiting))
            .map_err(|error| Error::Failed { engine: name.clone(), what: error.to_string() })?;
        Ok(Self { name, jobs })
    }

    /// The voices there are, as `check` lists them.
    #[must_use]
    pub fn voices() -> &'static [&'static str] {
        &VOICES
    }
}

impl Synthesiser for Flite {
    fn name(&self) -> &EngineName {
        &self.name
    }

    fn say(&self, request: Say) -> Result<Speech, Error> {
        let Some(text) = request.clean()? else { return Ok(Speech::silent()) };
        let Ok(text) = CString::new(breakable(&text)) else { return Ok(Speech::silent()) };
        let (answer, speech) = Speech::whole();
        let pace = Say::new("").at_pace(request.pace).pace;
        match self.jobs.try_send(Job { text, pace, answer }) {
            Ok(()) => Ok(speech),
            Err(mpsc::TrySendError::Full(_)) => {
                Err(Error::Busy { engine: self.name.clone(), limit: WAITING })
            }
            Err(mpsc::TrySendError::Disconnected(_)) => Err(Error::Closed),
        }
    }
}

/// Runs until the engine is dropped.
fn work(name: &EngineName, voice: Voice, jobs: &mpsc::Receiver<Job>) {
    for job in jobs {
        if job.answer.is_closed() {
            continue;
        }
        let made = match voice.synthesise(&job.text, 1.0 / job.pace) {
            Some(wave) => Ok(Chunk { rate: wave.rate, samples: wave.samples }),
            None => Err(Error::Failed { engine: name.clone(), what: "it made no sound".into() }),
        };
        // Nobody waits for it after a cancel.
        let _ = job.answer.send(made);
    }
}

/// Cuts words that are too long for the rules.
fn breakable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut word = 0;
    for c in text.chars() {
        if c.is_whitespace() {
            word = 0;
        } else if word + c.len_utf8() > MAX_WORD {
            out.push(' ');
            word = 0;
        }
        word += c.len_utf8();
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_longer_than_the_rules_take_are_cut() {
        assert_eq!(breakable("call me back"), "call me back");
        let cut = breakable(&"ä".repeat(100));
        assert_eq!(cut.split(' ').map(str::len).collect::<Vec<_>>(), [60, 60, 60, 20]);
    }
}
