//! Quotes of our own mail, recognised by their words.
//!
//! Our texts become a set of runs of [`RUN`] words. A run of words in the incoming text that is in
//! the set is ours wherever lines were wrapped and whatever was put before them. Scripts without
//! spaces count each character as a word. Links are left out: clients rewrite them.

use std::{
    collections::HashSet,
    hash::{BuildHasher, BuildHasherDefault, Hasher},
    ops::Range,
};

use super::lines::Line;

/// Words of a run.
const RUN: usize = 3;
/// Words read of all our texts together; the newest should come first.
const WORDS: usize = 200_000;
/// Words that unmarked lines must share with us to be a quote without any other sign.
const UNMARKED: usize = 12;

type Hashes = HashSet<u64, BuildHasherDefault<AsIs>>;

pub(super) struct Ours {
    runs: Hashes,
    lines: Hashes,
    /// Keyed at random: who writes mail must not be able to make words look like ours.
    hasher: std::hash::RandomState,
}

/// Of each word of the incoming text: where it is, and whether it is ours.
#[derive(Default)]
pub(super) struct Coverage {
    words: Vec<Word>,
    /// Words of each line.
    lines: Vec<Range<usize>>,
}

struct Word {
    range: Range<usize>,
    hash: u64,
    ours: bool,
    /// Whether a run of ours goes on to the next word.
    linked: bool,
}

/// What a block of quoted lines is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub of_ours: bool,
    pub tampered: bool,
}

impl Ours {
    pub fn new(texts: &[&str]) -> Ours {
        let mut ours =
            Ours { runs: Hashes::default(), lines: Hashes::default(), hasher: Default::default() };
        let mut left = WORDS;
        for text in texts {
            let mut words = Vec::new();
            for line in text.lines() {
                let from = words.len();
                // Marks of quotes in our own mail are no words.
                read(line, 0, &ours.hasher, |_, hash| {
                    if left > 0 {
                        left -= 1;
                        words.push(hash);
                    }
                });
                if words.len() > from {
                    ours.lines.insert(combine(&words[from..]));
                }
            }
            ours.runs.extend(words.windows(RUN).map(combine));
        }
        ours
    }

    pub fn cover(&self, text: &str, lines: &[Line]) -> Coverage {
        if self.lines.is_empty() {
            return Coverage::default();
        }
        let mut coverage = Coverage { words: Vec::new(), lines: Vec::with_capacity(lines.len()) };
        for line in lines {
            let from = coverage.words.len();
            read(&text[line.content.clone()], line.content.start, &self.hasher, |range, hash| {
                coverage.words.push(Word { range, hash, ours: false, linked: false });
            });
            coverage.lines.push(from..coverage.words.len());
        }
        let words = &mut coverage.words;
        let hashes: Vec<u64> = words.iter().map(|word| word.hash).collect();
        for (at, run) in hashes.windows(RUN).enumerate() {
            if self.runs.contains(&combine(run)) {
                for word in &mut words[at..at + RUN - 1] {
                    word.ours = true;
                    word.linked = true;
                }
                words[at + RUN - 1].ours = true;
            }
        }
        // Lines too short for a run count where they are marked as quoted or next to our text.
        for (at, range) in coverage.lines.iter().enumerate() {
            let near = |line: Option<usize>| {
                line.and_then(|line| coverage.lines.get(line))
                    .is_some_and(|range| coverage.words[range.clone()].iter().any(|word| word.ours))
            };
            if range.is_empty() || coverage.words[range.clone()].iter().all(|word| word.ours) {
                continue;
            }
            let neighbours = lines[at].depth > 0
                || near(at.checked_sub(1))
                || near(at.checked_sub(2))
                || near(Some(at + 1))
                || near(Some(at + 2));
            if neighbours && self.lines.contains(&combine(&hashes[range.clone()])) {
                for word in &mut coverage.words[range.clone()] {
                    word.ours = true;
                    word.linked = true;
                }
            }
        }
        coverage
    }
}

impl Coverage {
    fn words(&self, line: usize) -> &[Word] {
        self.lines.get(line).map(|range| &self.words[range.clone()]).unwrap_or_default()
    }

    /// Whether nearly every word of a line is ours.
    pub fn is_ours(&self, line: usize) -> bool {
        let words = self.words(line);
        let ours = words.iter().filter(|word| word.ours).count();
        !words.is_empty() && ours * 10 >= words.len() * 9
    }

    /// Whether a line has words and none is ours.
    pub fn is_foreign(&self, line: usize) -> bool {
        let words = self.words(line);
        !words.is_empty() && words.iter().all(|word| !word.ours)
    }

    /// The end of the run of unmarked lines from `from` on that are ours, or `from` if they are too
    /// few words to be sure.
    pub fn run(&self, lines: &[Line], from: usize) -> usize {
        let (mut end, mut words) = (from, 0);
        for (at, line) in lines.iter().enumerate().skip(from) {
            if line.depth > 0 {
                break;
            }
            if line.blank {
                continue;
            }
            if !self.is_ours(at) {
                break;
            }
            words += self.words(at).len();
            end = at + 1;
        }
        if words >= UNMARKED { end } else { from }
    }

    /// Judges a block of quoted lines. Only the least quoted ones count: deeper ones were written
    /// by others before.
    pub fn judge(&self, text: &str, lines: &[Line], block: Range<usize>) -> Verdict {
        let depth = |at: usize| lines[at].depth;
        let least = block.clone().filter(|at| !lines[*at].blank).map(depth).min().unwrap_or(0);
        let counted = || block.clone().filter(move |at| depth(*at) == least);
        let (mut all, mut ours) = (0, 0);
        for line in counted() {
            all += self.words(line).len();
            ours += self.words(line).iter().filter(|word| word.ours).count();
        }
        // Half, because a block may begin with an attribution in a language we do not know.
        if ours == 0 || ours * 2 < all {
            return Verdict { of_ours: false, tampered: false };
        }
        let first = counted().find(|at| self.words(*at).iter().any(|word| word.ours));
        let last = counted().rfind(|at| self.words(*at).iter().any(|word| word.ours));
        let tampered = counted().any(|at| {
            let words = self.words(at);
            let inside = first.is_some_and(|f| at > f) && last.is_some_and(|l| at < l);
            if words.iter().all(|word| !word.ours) {
                let content = &text[lines[at].content.clone()];
                return inside && !words.is_empty() && !is_note(content);
            }
            words.iter().any(|word| !word.ours)
                || words.windows(2).any(|pair| {
                    !pair[0].linked
                        && !text[pair[0].range.end..pair[1].range.start].contains(['.', '…', '['])
                })
        });
        Verdict { of_ours: true, tampered }
    }
}

/// A hash of hashes that are secret already, in order.
fn combine(hashes: &[u64]) -> u64 {
    hashes.iter().fold(hashes.len() as u64, |all, hash| {
        let mixed = (all.rotate_left(23) ^ hash).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    })
}

/// Uses a hash as it is.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Lines that clients put into quotes: attributions of deeper quotes, pictures, marks of cuts.
fn is_note(content: &str) -> bool {
    content.ends_with([':', ']', '：']) || content.starts_with('[') || content.contains('@')
}

/// Calls `word` with the place and hash of each word.
fn read(
    line: &str,
    offset: usize,
    hasher: &impl BuildHasher,
    mut word: impl FnMut(Range<usize>, u64),
) {
    let mut rest = 0;
    let mut lower = String::new();
    while let Some(c) = line[rest..].chars().next() {
        if !c.is_alphanumeric() {
            rest += c.len_utf8();
            continue;
        }
        let start = rest;
        if is_dense(c) {
            rest += c.len_utf8();
            word(offset + start..offset + rest, hasher.hash_one(c));
            continue;
        }
        lower.clear();
        for c in line[start..].chars().take_while(|c| c.is_alphanumeric() && !is_dense(*c)) {
            rest += c.len_utf8();
            if c.is_ascii() {
                lower.push(c.to_ascii_lowercase());
            } else {
                lower.extend(c.to_lowercase());
            }
        }
        let tail = &line[rest..];
        if (lower == "http" || lower == "https" || lower == "mailto") && tail.starts_with(':') {
            let end = tail.find(|c: char| c.is_whitespace() || matches!(c, '>' | ')' | ']' | '"'));
            rest += end.unwrap_or(tail.len());
            continue;
        }
        word(offset + start..offset + rest, hasher.hash_one(lower.as_str()));
    }
}

/// Scripts written without spaces between words.
fn is_dense(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}')
}
