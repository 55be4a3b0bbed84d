//! The caller's turn: from the first sound to the text that is answered.
//!
//! A turn is open from speech or words until a pause ends it. Speech that brings no words closes as noise
//! and nobody answers it. Speculation will start where [`CallerTurn::pause`] is told, with the text so far.

use super::{Endpointing, Ms, Via};

/// The longest text of a turn in bytes; the rest is dropped.
const LONGEST: usize = 8 * 1024;

/// What a turn amounts to.
pub(super) struct Said {
    pub text: String,
    pub via: Via,
    /// When it began.
    pub since: Ms,
    /// The end of `text` that was not final yet, and not said to be settled.
    pub guess: Option<String>,
    pub speech_end: Option<Ms>,
    pub final_text: Option<Ms>,
}

/// An open turn.
pub(super) struct CallerTurn {
    since: Ms,
    via: Via,
    finals: String,
    interim: String,
    /// When `interim` was said to be all of it, unless they spoke since.
    settled: Option<Ms>,
    /// The caller's last sound; none while they speak.
    quiet: Option<Ms>,
    /// Whether there was any sound, rather than only words.
    spoke: bool,
    last_final: Option<Ms>,
    /// When speech began, or words last came.
    progress: Ms,
}

impl CallerTurn {
    /// Opened by sound.
    pub fn by_speech(now: Ms) -> Self {
        Self { spoke: true, quiet: None, ..Self::by_words(now, Via::Speech) }
    }

    /// Opened by words that no sound came before.
    pub fn by_words(now: Ms, via: Via) -> Self {
        Self {
            since: now,
            via,
            finals: String::new(),
            interim: String::new(),
            settled: None,
            quiet: Some(now),
            spoke: false,
            last_final: None,
            progress: now,
        }
    }

    /// They speak (again).
    pub fn resume(&mut self, now: Ms) {
        (self.quiet, self.spoke, self.progress, self.settled) = (None, true, now, None);
    }

    /// They paused at `at`.
    pub fn pause(&mut self, at: Ms) {
        self.quiet = Some(at);
    }

    /// Words are on their way.
    pub fn words_coming(&mut self, now: Ms) {
        self.progress = now;
    }

    pub fn interim(&mut self, now: Ms, text: &str, settled: bool) {
        self.settled = settled.then_some(now);
        self.interim.clear();
        append(&mut self.interim, text);
        self.progress = now;
        self.count_from_words(now);
    }

    pub fn final_text(&mut self, now: Ms, text: &str) {
        self.interim.clear();
        self.settled = None;
        append(&mut self.finals, text);
        (self.progress, self.last_final) = (now, Some(now));
        self.count_from_words(now);
    }

    pub fn has_words(&self) -> bool {
        !self.finals.is_empty() || !self.interim.is_empty()
    }

    /// When the turn is over if nothing more happens.
    pub fn deadline(&self, rules: &Endpointing) -> Ms {
        let Some(quiet) = self.quiet else {
            let limit = if self.has_words() { rules.despite_sound } else { rules.wordless };
            return self.progress + limit;
        };
        let known = if self.interim.is_empty() { self.last_final } else { self.settled };
        let settled = known.is_some_and(|at| at >= quiet);
        if settled && self.has_words() {
            let last = if self.interim.is_empty() { &self.finals } else { &self.interim };
            quiet + rules.silence_after(last)
        } else if settled {
            quiet + rules.shortest
        } else {
            quiet + rules.longest
        }
    }

    /// Everything said, unless that is nothing.
    pub fn said(mut self) -> Option<Said> {
        append(&mut self.finals, &self.interim);
        let guess = (!self.interim.is_empty() && self.settled.is_none()).then_some(self.interim);
        (!self.finals.is_empty()).then_some(Said {
            text: self.finals,
            via: self.via,
            since: self.since,
            guess,
            speech_end: self.quiet.filter(|_| self.spoke),
            final_text: self.settled.or(self.last_final),
        })
    }

    /// Where voice detection heard nothing, the words are the sound.
    fn count_from_words(&mut self, now: Ms) {
        if !self.spoke {
            self.quiet = Some(now);
        }
    }
}

fn append(text: &mut String, more: &str) {
    let more = more.trim();
    if more.is_empty() {
        return;
    }
    if !text.is_empty() {
        text.push(' ');
    }
    let room = LONGEST.saturating_sub(text.len());
    text.push_str(&more[..more.floor_char_boundary(room)]);
}
