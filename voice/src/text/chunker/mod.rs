//! Cuts a stream of text into sentences, as early as they can be known.
//!
//! What always holds: the chunks, in order, are the input, byte for byte; where they are cut depends
//! on the text alone and not on how it was split into deltas; work is linear in the text and what is
//! held back is bounded ([`ChunkerOptions::max_chars`] times four, and the look-ahead).
//!
//! A sentence ends at its mark, the quotes and brackets that close after it, and the white space
//! before the next sentence; so a mark at the end of what has arrived waits for the next character
//! that is not white space, or for [`Chunker::finish`]. Line structure is markdown's: headings, list
//! items, table rows and code fences are chunks of their own kind. A long sentence is cut at a
//! clause mark, else at a space, never inside a number, a tag or a link while there is another place;
//! the first chunk of a reply may end at a clause, so that speech can start.
//!
//! Left out: grammar. An abbreviation that is in no table ends a sentence if a capital follows.

mod abbreviations;
mod boundary;
mod line;
mod look;

use std::ops::Range;

use self::boundary::{Boundary, Context, decide};
use self::line::{Head, Line, classify};
use self::look::Look;
use super::lang::Lang;
use super::unicode::{
    clause_mark, is_closer, is_currency, is_extender, is_leading_vowel, is_thai_like, is_unspaced,
    terminator,
};

/// How long chunks may get. All lengths are in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkerOptions {
    /// Whose abbreviations and ordinals apply.
    pub lang: Lang,
    /// A chunk longer than this is cut. Several providers take 250 to 300 characters gladly and
    /// answer later to more.
    pub max_chars: usize,
    /// A sentence shorter than this is joined to the next, except at the end of a paragraph.
    pub min_chars: usize,
    /// The first chunk may end at a clause mark after this many characters; 0 never cuts it.
    pub first_min_chars: usize,
    /// ... if its sentence has grown longer than this.
    pub first_long_chars: usize,
    /// In scripts that put spaces between clauses only (Thai, Lao, Khmer, Burmese), a space after
    /// this many characters ends the chunk.
    pub unspaced_chars: usize,
}

impl Default for ChunkerOptions {
    fn default() -> Self {
        Self {
            lang: Lang::En,
            max_chars: 240,
            min_chars: 0,
            first_min_chars: 30,
            first_long_chars: 60,
            unspaced_chars: 40,
        }
    }
}

/// What a chunk is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkKind {
    /// Words to speak.
    Prose,
    /// A row of a table.
    Table,
    /// A fenced block of code, or a piece of a long one.
    Code,
}

/// A sentence, or what stands in for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Its bytes in the text pushed so far.
    pub range: Range<usize>,
    /// Exactly those bytes.
    pub text: String,
    /// What it is made of.
    pub kind: ChunkKind,
}

/// Cuts text deltas into [`Chunk`]s.
#[derive(Debug, Clone)]
pub struct Chunker {
    options: ChunkerOptions,
    /// Text not yet given out, and a prefix of what has been, until the end of the current push.
    buffer: String,
    /// Where the buffer begins in the whole text.
    base: usize,
    /// The chunk under way: its first byte, the byte next to read, and its length so far.
    start: usize,
    scan: usize,
    chars: usize,
    first: bool,
    line: LineState,
    /// The first byte of the unbroken token under way.
    token: usize,
    previous: Option<char>,
    pending: Option<Pending>,
    guard: Option<Guard>,
    cuts: Cuts,
}

#[derive(Debug, Clone)]
struct LineState {
    kind: Line,
    at_start: bool,
    blank_before: bool,
    chars: usize,
    fence: Option<(char, usize)>,
}

/// A cut that becomes possible at the next character that is not white space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pending {
    Space,
    Clause,
}

/// A stretch in which nothing is cut.
#[derive(Debug, Clone, Copy)]
struct Guard {
    kind: GuardKind,
    left: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GuardKind {
    /// After `<`, before what makes it a tag.
    Less,
    Tag,
    LinkText,
    /// After the `]` of a link's text.
    LinkClosed,
    LinkTarget,
    Code,
}

/// A guard that does not close by then was no tag or link.
const GUARD_CHARS: usize = 300;

/// Lines shorter than this are meant as lines; longer ones may be wrapped text. Mail wraps at 60
/// to 80 columns.
const WRAP_CHARS: usize = 50;

/// Where a long chunk may be cut.
#[derive(Debug, Clone, Copy, Default)]
struct Cuts {
    first_clause: Option<Cut>,
    clause: Option<Cut>,
    space: Option<Cut>,
    /// Between two characters of a script without spaces.
    between: Option<Cut>,
}

#[derive(Debug, Clone, Copy)]
struct Cut {
    at: usize,
    chars: usize,
}

impl Cuts {
    /// The cuts that remain after cutting at `cut`, counted from there.
    fn after(self, cut: Cut) -> Self {
        let keep = |other: Option<Cut>| {
            other
                .filter(|other| other.at > cut.at)
                .map(|other| Cut { at: other.at, chars: other.chars - cut.chars })
        };
        Self {
            first_clause: None,
            clause: keep(self.clause),
            space: keep(self.space),
            between: keep(self.between),
        }
    }

    fn shifted(self, by: usize) -> Self {
        let shift = |cut: Option<Cut>| cut.map(|cut| Cut { at: cut.at - by, chars: cut.chars });
        Self {
            first_clause: shift(self.first_clause),
            clause: shift(self.clause),
            space: shift(self.space),
            between: shift(self.between),
        }
    }
}

impl Chunker {
    /// A chunker at the beginning of a reply.
    pub fn new(options: ChunkerOptions) -> Self {
        Self {
            options,
            buffer: String::new(),
            base: 0,
            start: 0,
            scan: 0,
            chars: 0,
            first: true,
            line: LineState {
                kind: Line::Blank,
                at_start: true,
                blank_before: false,
                chars: 0,
                fence: None,
            },
            token: 0,
            previous: None,
            pending: None,
            guard: None,
            cuts: Cuts::default(),
        }
    }

    /// Takes the next piece of text, of any length, and returns the chunks it completes.
    pub fn push(&mut self, delta: &str) -> Vec<Chunk> {
        self.buffer.push_str(delta);
        let mut chunks = Vec::new();
        self.run(false, &mut chunks);
        self.compact();
        chunks
    }

    /// The text has ended: returns what was held back. A later [`push`](Self::push) goes on with a new
    /// line of the same text.
    pub fn finish(&mut self) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        self.run(true, &mut chunks);
        self.emit(self.buffer.len(), &mut chunks);
        self.line.at_start = true;
        self.line.kind = Line::Blank;
        self.line.fence = None;
        self.guard = None;
        self.compact();
        chunks
    }

    /// What has been pushed and not yet given out.
    pub fn held_back(&self) -> &str {
        &self.buffer[self.start..]
    }

    fn run(&mut self, ended: bool, chunks: &mut Vec<Chunk>) {
        loop {
            if self.line.at_start {
                if self.scan == self.buffer.len() {
                    return;
                }
                let look = Look::new(&self.buffer[self.scan..], ended);
                let Ok(head) = classify(&look) else { return };
                self.begin_line(&head, chunks);
            }
            let Some(c) = self.buffer[self.scan..].chars().next() else { return };
            let advanced = match self.line.kind {
                Line::Fence(..) => self.step_raw(c, ChunkKind::Code, chunks),
                Line::Table => self.step_raw(c, ChunkKind::Table, chunks),
                _ => self.step(c, ended, chunks),
            };
            if !advanced {
                return;
            }
        }
    }

    /// Enters a line: what came before may be complete because of it.
    fn begin_line(&mut self, head: &Head, chunks: &mut Vec<Chunk>) {
        let Head { kind, marker, lower } = *head;
        let was = self.line.kind;
        self.line.at_start = false;
        if let Some((mark, count)) = self.line.fence {
            self.line.kind = Line::Fence(mark, count);
            let closes =
                matches!(kind, Line::Fence(other, found) if other == mark && found >= count);
            if closes {
                self.line.fence = None;
            }
            return;
        }
        if kind == Line::Blank {
            self.line.blank_before = true;
            // The chunk keeps its kind until a line with something on it comes.
            if was == Line::Table || matches!(was, Line::Fence(..)) {
                self.line.kind = Line::Blank;
            }
            return;
        }
        let structural = matches!(kind, Line::Heading | Line::Item | Line::Table | Line::Fence(..));
        let own_line = matches!(was, Line::Heading | Line::Table | Line::Fence(..));
        let short = self.line.chars < WRAP_CHARS || was == Line::Item;
        let differs = (kind == Line::Quote) != (was == Line::Quote) && was != Line::Blank;
        if structural || own_line || self.line.blank_before || differs || (short && !lower) {
            self.emit(self.scan, chunks);
        }
        self.line.kind = kind;
        self.line.blank_before = false;
        self.line.chars = 0;
        match kind {
            Line::Fence(mark, count) => self.line.fence = Some((mark, count)),
            Line::Table => {}
            _ => {
                let end = self.scan + marker;
                self.chars += self.buffer[self.scan..end].chars().count();
                self.scan = end;
                self.token = end;
            }
        }
    }

    /// Reads one character of a table or of code, which end with their lines.
    fn step_raw(&mut self, c: char, kind: ChunkKind, chunks: &mut Vec<Chunk>) -> bool {
        self.scan += c.len_utf8();
        self.chars += 1;
        self.line.chars += 1;
        self.previous = Some(c);
        self.token = self.scan;
        let limit = match kind {
            ChunkKind::Code => self.options.max_chars.saturating_mul(4),
            _ => self.options.max_chars.saturating_mul(2),
        };
        let line_ended = c == '\n';
        let complete = line_ended && (kind == ChunkKind::Table || self.line.fence.is_none());
        let over = self.chars >= limit
            && (line_ended || c.is_whitespace() || self.chars >= limit.saturating_mul(2));
        if complete || over {
            self.emit_as(kind, self.scan, chunks);
        }
        if line_ended {
            self.line.at_start = true;
            self.line.chars = 0;
        }
        true
    }

    /// Reads one character of prose. False if more text is needed to go on.
    fn step(&mut self, c: char, ended: bool, chunks: &mut Vec<Chunk>) -> bool {
        self.settle_guard(c);
        if self.guard.is_none()
            && let Some(kind) = terminator(c, self.previous)
        {
            let context = Context {
                lang: self.options.lang,
                token: &self.buffer[self.token..self.scan],
                earlier: &self.buffer[self.start..self.token],
                look: Look::new(&self.buffer[self.scan..], ended),
                kind,
            };
            let Ok(boundary) = decide(&context) else { return false };
            match boundary {
                Boundary::Inside(len) => return self.pass(len, chunks),
                Boundary::End { len, line_start } => {
                    let end = self.scan + len;
                    let length = self.chars + self.buffer[self.scan..end].chars().count();
                    if length < self.options.min_chars && !line_start {
                        return self.pass(len, chunks);
                    }
                    self.emit(end, chunks);
                    self.line.at_start = line_start;
                    if line_start {
                        self.line.chars = 0;
                        self.line.blank_before = false;
                    }
                    return true;
                }
            }
        }
        self.open_cuts(c, chunks);
        self.track_guard(c);
        self.scan += c.len_utf8();
        self.chars += 1;
        self.line.chars += 1;
        if c == '\n' {
            self.line.at_start = true;
            self.guard = None;
        }
        if c.is_whitespace() {
            self.token = self.scan;
            self.pending = self.pending.or(Some(Pending::Space));
        }
        match clause_mark(c) {
            Some(true) => self.pending = Some(Pending::Clause),
            Some(false) if self.guard.is_none() => self.mark_clause(),
            _ => {}
        }
        self.previous = Some(c);
        self.cut_if_long(chunks);
        true
    }

    /// Goes past marks that end nothing.
    fn pass(&mut self, len: usize, chunks: &mut Vec<Chunk>) -> bool {
        let end = self.scan + len;
        let passed = &self.buffer[self.scan..end];
        let count = passed.chars().count();
        self.previous = passed.chars().next_back();
        if passed.ends_with(char::is_whitespace) {
            self.token = end;
            self.pending = Some(Pending::Clause);
        } else {
            self.pending = None;
        }
        self.chars += count;
        self.line.chars += count;
        self.scan = end;
        self.cut_if_long(chunks);
        true
    }

    /// Notes that the chunk could be cut before `c`, which is about to be read.
    fn open_cuts(&mut self, c: char, chunks: &mut Vec<Chunk>) {
        if c.is_whitespace() || is_extender(c) {
            return;
        }
        let pending = self.pending.take();
        if self.guard.is_some() {
            return;
        }
        let Some(previous) = self.previous else { return };
        let here = Cut { at: self.scan, chars: self.chars };
        let spaced = self.token == self.scan;
        match pending {
            Some(_) if !spaced => {}
            Some(Pending::Clause) => {
                self.cuts.clause = Some(here);
                if self.chars >= self.options.first_min_chars && self.cuts.first_clause.is_none() {
                    self.cuts.first_clause = Some(here);
                }
            }
            Some(Pending::Space) => {
                let word = self.buffer[self.start..self.scan].trim_end().chars().next_back();
                let numeric = word.is_some_and(|c| c.is_ascii_digit() || is_currency(c));
                if !(numeric || is_currency(c) || is_closer(c) && c != '"') {
                    self.cuts.space = Some(here);
                }
                let clause = word.is_some_and(is_thai_like) && is_thai_like(c);
                if clause && self.chars >= self.options.unspaced_chars {
                    self.emit(self.scan, chunks);
                    return;
                }
            }
            None => {}
        }
        let digits = previous.is_ascii_digit() && c.is_ascii_digit();
        if is_unspaced(previous)
            && !is_leading_vowel(previous)
            && !digits
            && clause_mark(c).is_none()
            && !is_closer(c)
        {
            self.cuts.between = Some(here);
        }
    }

    fn mark_clause(&mut self) {
        let here = Cut { at: self.scan, chars: self.chars };
        self.cuts.clause = Some(here);
        if self.chars >= self.options.first_min_chars && self.cuts.first_clause.is_none() {
            self.cuts.first_clause = Some(here);
        }
    }

    /// Leaves a guard that `c` shows to be none: a `<` before no tag, a link text without a target.
    fn settle_guard(&mut self, c: char) {
        let Some(Guard { kind, .. }) = self.guard else { return };
        let tag = c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?');
        if kind == GuardKind::Less && !tag || kind == GuardKind::LinkClosed && c != '(' {
            self.guard = None;
        }
    }

    /// Enters and leaves the stretches in which nothing is cut.
    fn track_guard(&mut self, c: char) {
        let Some(guard) = &mut self.guard else {
            let kind = match c {
                '<' => GuardKind::Less,
                '[' => GuardKind::LinkText,
                '`' => GuardKind::Code,
                _ => return,
            };
            self.guard = Some(Guard { kind, left: GUARD_CHARS });
            return;
        };
        guard.left -= 1;
        let next = match (guard.kind, c) {
            // What does not go on as a tag or link has left by `settle_guard`.
            (GuardKind::Less, _) => Some(GuardKind::Tag),
            (GuardKind::LinkText, ']') => Some(GuardKind::LinkClosed),
            (GuardKind::LinkClosed, _) => Some(GuardKind::LinkTarget),
            (GuardKind::Tag, '>') | (GuardKind::LinkTarget, ')') | (GuardKind::Code, '`') => None,
            (kind, _) => Some(kind),
        };
        match next {
            Some(kind) if guard.left > 0 => guard.kind = kind,
            _ => self.guard = None,
        }
    }

    fn cut_if_long(&mut self, chunks: &mut Vec<Chunk>) {
        if self.first
            && self.options.first_min_chars > 0
            && self.chars > self.options.first_long_chars
            && let Some(cut) = self.cuts.first_clause
        {
            self.cut(cut, chunks);
        }
        let max = self.options.max_chars.max(1);
        if self.chars <= max {
            return;
        }
        let worthwhile = |cut: &Cut| cut.chars > 0 && cut.chars >= max / 3;
        let Cuts { clause, space, between, .. } = self.cuts;
        let best = clause
            .filter(worthwhile)
            .or(space.filter(worthwhile))
            .or(between.filter(worthwhile))
            .or(clause)
            .or(space)
            .or(between)
            .filter(|cut| cut.chars > 0);
        match best {
            Some(cut) => self.cut(cut, chunks),
            // A number, tag or address without end: cut it before it fills memory.
            None if self.chars >= max.saturating_mul(4) => {
                self.emit(self.scan, chunks);
            }
            None => {}
        }
    }

    fn cut(&mut self, cut: Cut, chunks: &mut Vec<Chunk>) {
        let (chars, cuts, token, scan) = (self.chars, self.cuts, self.token, self.scan);
        let (previous, pending) = (self.previous, self.pending);
        self.emit(cut.at, chunks);
        self.chars = chars - cut.chars;
        self.cuts = cuts.after(cut);
        self.token = token.max(cut.at);
        self.scan = scan;
        self.previous = previous;
        self.pending = pending;
    }

    fn emit(&mut self, end: usize, chunks: &mut Vec<Chunk>) {
        let kind = match self.line.kind {
            Line::Fence(..) => ChunkKind::Code,
            Line::Table => ChunkKind::Table,
            _ => ChunkKind::Prose,
        };
        self.emit_as(kind, end, chunks);
    }

    /// Gives out the chunk that ends at `end` and begins the next there.
    fn emit_as(&mut self, kind: ChunkKind, end: usize, chunks: &mut Vec<Chunk>) {
        if end > self.start {
            let text = self.buffer[self.start..end].to_owned();
            chunks.push(Chunk { range: self.base + self.start..self.base + end, text, kind });
            self.first = false;
        }
        self.start = end;
        self.scan = end;
        self.token = end;
        self.chars = 0;
        self.previous = None;
        self.pending = None;
        self.cuts = Cuts::default();
    }

    /// Forgets what has been given out; done once per push, so that the moves stay linear.
    fn compact(&mut self) {
        let by = self.start;
        if by == 0 {
            return;
        }
        self.buffer.drain(..by);
        self.base += by;
        self.start = 0;
        self.scan -= by;
        self.token = self.token.saturating_sub(by);
        self.cuts = self.cuts.shifted(by);
    }
}
