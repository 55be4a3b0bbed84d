//! A reply's sentences on their way through synthesis: asked for in order, two ahead of the one being
//! played, and brought back into order whatever order their sound comes in.

use super::track::Track;
use super::{Ms, Sentence};
use crate::audio::{Pcm, Rate, Resampler};

/// Sentences asked for beyond the one being played.
const AHEAD: usize = 2;

/// The longest sound of one sentence; more is dropped. No engine speaks [`super::script`]'s longest
/// sentence so slowly.
const LONGEST_SENTENCE: Ms = 30_000;

/// No further sentence is asked for while so much sound waits to be sent: an interruption would waste it.
const ENOUGH: Ms = 20_000;

/// The longest text of a reply in bytes; the rest is neither said nor stored.
const LONGEST_TEXT: usize = 64 * 1024;

#[derive(Default)]
pub(super) struct Utterance {
    /// Everything the agent wrote.
    pub text: String,
    /// Whether it wrote all.
    pub text_done: bool,
    items: Vec<Item>,
    /// The first sentence that is not wholly in the track.
    current: usize,
    /// The first sentence not yet asked for.
    next: usize,
}

struct Item {
    sentence: Sentence,
    filler: bool,
    done: bool,
    /// When it was asked for or last had sound.
    progress: Ms,
    /// Sound that waits for the sentences before.
    pending: Vec<i16>,
    taken: u64,
    resampler: Option<Resampler>,
}

impl Utterance {
    /// Appends text as far as it fits, and gives what was taken.
    pub fn write<'a>(&mut self, text: &'a str) -> &'a str {
        let room = LONGEST_TEXT.saturating_sub(self.text.len());
        let taken = &text[..text.floor_char_boundary(room)];
        self.text.push_str(taken);
        taken
    }

    /// Appends sentences. Spans are brought into the text and into order, so that a splitter's mistake
    /// costs precision and nothing else.
    pub fn add(&mut self, sentences: Vec<Sentence>) {
        for mut sentence in sentences {
            let least = self.items.last().map_or(0, |item| item.sentence.span.end);
            let end = self.text.floor_char_boundary(sentence.span.end).max(least);
            let start = self.text.floor_char_boundary(sentence.span.start).clamp(least, end);
            sentence.span = start..end;
            self.items.push(Item::new(sentence, false));
        }
    }

    /// Appends something to say that is no part of the text.
    pub fn add_filler(&mut self, spoken: String) {
        let end = self.items.last().map_or(0, |item| item.sentence.span.end);
        let sentence = Sentence { span: end..end, spoken, anchors: Vec::new() };
        self.items.push(Item::new(sentence, true));
    }

    /// The next sentence to ask for, if it is time, with its number.
    pub fn ask(&mut self, now: Ms, unsent: Ms) -> Option<(u32, String)> {
        loop {
            let item = self.items.get_mut(self.next)?;
            if self.next > self.current + AHEAD || unsent > ENOUGH {
                return None;
            }
            let number = self.next as u32;
            self.next += 1;
            item.progress = now;
            if item.sentence.spoken.is_empty() {
                item.done = true;
                continue;
            }
            return Some((number, std::mem::take(&mut item.sentence.spoken)));
        }
    }

    /// Sound of a sentence that was asked for; anything else is ignored.
    pub fn sound(&mut self, now: Ms, number: u32, sound: &Pcm, to: Rate) {
        let Some(item) = self.open(number) else { return };
        item.progress = now;
        if item.resampler.as_ref().is_none_or(|r| r.from() != sound.rate) {
            item.flush();
            item.resampler = Some(Resampler::new(sound.rate, to));
        }
        let room = sound.rate.samples(LONGEST_SENTENCE).saturating_sub(item.taken) as usize;
        let samples = &sound.samples[..sound.samples.len().min(room)];
        item.taken += samples.len() as u64;
        if let Some(resampler) = &mut item.resampler {
            resampler.push(samples, &mut item.pending);
        }
    }

    /// A sentence is complete.
    pub fn end(&mut self, now: Ms, number: u32) {
        if let Some(item) = self.open(number) {
            item.progress = now;
            item.flush();
            item.done = true;
        }
    }

    /// A sentence failed. A filler is left out and nothing is lost; otherwise it and all after it will
    /// not be said, and the answer is true.
    pub fn fail(&mut self, now: Ms, number: u32) -> bool {
        let Some(item) = self.open(number) else { return false };
        if item.filler {
            self.end(now, number);
            return false;
        }
        self.items.truncate(number as usize);
        self.next = self.next.min(self.items.len());
        true
    }

    /// Moves sound that is next in order into the track.
    pub fn feed(&mut self, track: &mut Track) {
        while let Some(item) = self.items.get_mut(self.current) {
            if self.current >= self.next {
                return;
            }
            if !item.pending.is_empty() {
                track.begin(self.current, &item.sentence, item.filler);
                track.append(&item.pending);
                item.pending.clear();
            }
            if !item.done {
                return;
            }
            track.end(self.current);
            item.pending = Vec::new();
            item.sentence.anchors = Vec::new();
            self.current += 1;
        }
    }

    /// Whether nothing more will be said.
    pub fn complete(&self) -> bool {
        self.text_done && self.current == self.items.len()
    }

    /// Whether all that was written has been said, and only the agent can go on.
    pub fn waits_for_text(&self) -> bool {
        !self.text_done && self.current == self.items.len()
    }

    /// Since when the sentence that is next waits for sound.
    pub fn waits_for_sound(&self) -> Option<(u32, Ms)> {
        let item = self.items.get(self.current)?;
        (self.current < self.next).then_some((self.current as u32, item.progress))
    }

    /// Whether the synthesiser still works on any sentence.
    pub fn in_synthesis(&self) -> bool {
        self.items[..self.next].iter().any(|item| !item.done)
    }

    fn open(&mut self, number: u32) -> Option<&mut Item> {
        let asked = (number as usize) < self.next;
        self.items.get_mut(number as usize).filter(|item| asked && !item.done)
    }
}

impl Item {
    fn new(sentence: Sentence, filler: bool) -> Self {
        Self {
            sentence,
            filler,
            done: false,
            progress: 0,
            pending: Vec::new(),
            taken: 0,
            resampler: None,
        }
    }

    fn flush(&mut self) {
        if let Some(mut resampler) = self.resampler.take() {
            resampler.finish(&mut self.pending);
        }
    }
}
