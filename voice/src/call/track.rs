//! The heard ledger: a reply's sound, and which part of the text each sample belongs to.
//!
//! Positions count samples of the reply from its beginning, at the playout rate. Sentences fill whole
//! frames (their last one is padded with silence), so positions of sentences are multiples of a frame.
//! Sound stays until it has been heard, because an interruption that was none takes it back.

use super::{Ms, Sentence};
use crate::audio::Rate;
use std::collections::VecDeque;
use std::ops::Range;

/// Heard sound is kept a little longer: a client's report may correct the clock backwards.
const KEEP: Ms = 1_000;

/// How long a byte of text takes to say while the length of its sentence is not known: 15 a second.
const GUESS: Ms = 66;

pub(super) struct Track {
    rate: Rate,
    sound: VecDeque<i16>,
    /// The position of the first sample in `sound`.
    base: u64,
    /// The position of the next sample to send.
    next: u64,
    /// The furthest that was ever sent.
    sent: u64,
    ledger: Vec<Entry>,
}

struct Entry {
    sentence: usize,
    filler: bool,
    start: u64,
    /// Where its sound ends, without padding, once that is known.
    end: Option<u64>,
    span: Range<usize>,
    spoken: usize,
    anchors: Vec<(usize, usize)>,
}

impl Track {
    pub fn new(rate: Rate) -> Self {
        Self { rate, sound: VecDeque::new(), base: 0, next: 0, sent: 0, ledger: Vec::new() }
    }

    /// What is appended from here on belongs to this sentence.
    pub fn begin(&mut self, number: usize, sentence: &Sentence, filler: bool) {
        if self.ledger.last().is_some_and(|entry| entry.sentence == number) {
            return;
        }
        self.ledger.push(Entry {
            sentence: number,
            filler,
            start: self.total(),
            end: None,
            span: sentence.span.clone(),
            spoken: sentence.anchors.last().map_or(0, |anchor| anchor.0),
            anchors: sentence.anchors.clone(),
        });
    }

    pub fn append(&mut self, samples: &[i16]) {
        self.sound.extend(samples);
    }

    /// The sentence is complete.
    pub fn end(&mut self, number: usize) {
        let total = self.total();
        if let Some(entry) = self.ledger.last_mut().filter(|entry| entry.sentence == number) {
            entry.end = Some(total);
        }
        self.pad();
    }

    /// Fills the last frame with silence: nothing follows it for the moment.
    pub fn pad(&mut self) {
        let frame = self.rate.frame_len() as u64;
        let padding = self.total().next_multiple_of(frame) - self.total();
        self.sound.extend(std::iter::repeat_n(0, padding as usize));
    }

    /// The next frame to send with its position, and whether it belongs to the text rather than to a filler.
    pub fn take_frame(&mut self) -> Option<(Vec<i16>, u64, bool)> {
        let start = (self.next - self.base) as usize;
        let end = start + self.rate.frame_len();
        if self.sound.len() < end {
            return None;
        }
        let own = self.entry_at(self.next).is_some_and(|entry| !entry.filler);
        let frame = self.sound.range(start..end).copied().collect();
        let position = self.next;
        self.next += self.rate.frame_len() as u64;
        self.sent = self.sent.max(self.next);
        Some((frame, position, own))
    }

    /// Whether a frame waits to be sent.
    pub fn has_frame(&self) -> bool {
        self.total() - self.next >= self.rate.frame_len() as u64
    }

    /// Whether all sound so far has been sent.
    pub fn all_sent(&self) -> bool {
        self.next == self.total()
    }

    /// Whether there is, or was, any sound.
    pub fn has_sound(&self) -> bool {
        self.total() > 0
    }

    /// How much sound waits to be sent.
    pub fn unsent(&self) -> Ms {
        self.rate.ms(self.total() - self.next)
    }

    /// Goes back to `position`, which was heard, at the start of a frame; what follows will be sent again.
    /// Gives the new position.
    pub fn rewind(&mut self, position: u64) -> u64 {
        let frame = self.rate.frame_len() as u64;
        let start = (position / frame * frame).clamp(self.base, self.next);
        self.next = start;
        start
    }

    /// Everything before `position` was heard; what is not needed any more is dropped.
    pub fn heard(&mut self, position: u64) {
        let frame = self.rate.frame_len() as u64;
        let keep = position.saturating_sub(self.rate.samples(KEEP)) / frame * frame;
        let keep = keep.min(self.next);
        if keep > self.base {
            self.sound.drain(..(keep - self.base) as usize);
            self.base = keep;
        }
    }

    /// How much of `text` had been sent at most.
    pub fn sent_text(&self, text: &str) -> usize {
        self.text_at(self.sent, text)
    }

    /// How much of `text` has been said when `position` is reached, at the end of a word.
    pub fn text_at(&self, position: u64, text: &str) -> usize {
        let Some(entry) = self.ledger.iter().rev().find(|entry| entry.start < position) else {
            return 0;
        };
        if entry.end.is_some_and(|end| end <= position) {
            return entry.span.end;
        }
        let said = position - entry.start;
        let length = entry.end.map_or_else(
            || {
                let guess = self.rate.samples(entry.span.len() as Ms * GUESS);
                guess.max(self.total() - entry.start).max(1)
            },
            |end| end - entry.start,
        );
        let share = |whole: usize| (whole as u64 * said.min(length) / length) as usize;
        let reached = if entry.anchors.is_empty() {
            entry.span.start + share(entry.span.len())
        } else {
            let spoken = share(entry.spoken);
            let passed = entry.anchors.iter().rev().find(|anchor| anchor.0 <= spoken);
            passed.map_or(entry.span.start, |anchor| anchor.1)
        };
        word_end(text, entry.span.clone(), reached.clamp(entry.span.start, entry.span.end))
    }

    /// Samples held.
    pub fn held(&self) -> usize {
        self.sound.len()
    }

    fn total(&self) -> u64 {
        self.base + self.sound.len() as u64
    }

    fn entry_at(&self, position: u64) -> Option<&Entry> {
        self.ledger.iter().rev().find(|entry| entry.start <= position)
    }
}

/// The end of the last whole word of `span` at or before `reached`. Text without spaces has no words to
/// keep whole and is cut between characters.
fn word_end(text: &str, span: Range<usize>, reached: usize) -> usize {
    let (Some(all), reached) = (text.get(span.clone()), text.floor_char_boundary(reached)) else {
        return span.start;
    };
    if reached <= span.start || reached >= span.end {
        return reached.clamp(span.start, span.end);
    }
    if !all.trim().contains(char::is_whitespace) {
        return if all.is_ascii() { span.start } else { reached };
    }
    if text[reached..].starts_with(char::is_whitespace) {
        return reached;
    }
    let before = &text[span.start..reached];
    before
        .rfind(char::is_whitespace)
        .map_or(span.start, |at| span.start + before[..at].trim_end().len())
}
