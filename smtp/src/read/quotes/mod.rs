//! A mail's text in layers: what its author wrote now, and what was there before.
//!
//! What always holds:
//! - nothing is thrown away: the segments, joined in order, are the text, octet for octet;
//! - taking too much for a quote is worse than taking too little. A forwarded mail is kept whole,
//!   a single `wrote:` in a sentence quotes nothing, and where nothing new would be left,
//!   [`Layers::new_text`] is the whole text;
//! - time is linear in the text and in our own texts; only the first [`LINES`] lines and
//!   [`OCTETS`] are taken apart, the rest counts as new.
//!
//! How quotes are found, in this order of trust: by content, against the mails we sent, whatever
//! the client or language and however it was wrapped; by `>` marks; by what the client's HTML
//! says; by attribution lines and header blocks in many languages, and in any language where a
//! line has a date, an address and a colon.

mod lines;
mod markers;
mod ours;

use std::{borrow::Cow, ops::Range};

use serde::{Deserialize, Serialize};

use self::{
    lines::{Line, lines},
    ours::{Coverage, Ours},
};
use super::html::{Mark, MarkKind};

/// Lines taken apart. Mail written by people stays far below.
pub const LINES: usize = 50_000;
/// Octets taken apart; a word of a text compared with ours takes some fifty octets of memory.
pub const OCTETS: usize = 1024 * 1024;
/// Lines of a quote kept with the answer after it; a longer single quote is history above a
/// bottom-posted answer.
pub const ANSWERED_LINES: usize = 6;
/// Lines and octets after `-- ` that can still be a signature.
const SIGNATURE_LINES: usize = 30;
const SIGNATURE_OCTETS: usize = 2_500;

/// What a segment of the text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Written by the sender now.
    New,
    /// Quoted lines that the next segment, an [`Kind::Answer`], answers.
    Answered {
        /// Whether a mail of ours says this.
        of_ours: bool,
        /// Whether words were changed, added or left out within lines of ours.
        tampered: bool,
    },
    /// Written by the sender now, below the quoted lines it answers.
    Answer,
    /// Earlier mail; `of_ours` and `tampered` as for [`Kind::Answered`].
    Quoted { of_ours: bool, tampered: bool },
    /// What introduces a quote: "On … wrote:", or a block of From, Sent, To and Subject.
    Attribution,
    /// A signature, or a line such as "Sent from my iPhone".
    Signature,
    /// Mail of someone else that the sender passes on, with its header.
    Forwarded,
}

impl Kind {
    fn is_quote(self) -> bool {
        matches!(self, Kind::Quoted { .. } | Kind::Answered { .. })
    }
}

/// A part of the text and what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    pub kind: Kind,
    /// Octets of the text.
    pub range: Range<usize>,
}

/// A text in layers. Its segments follow each other without gaps.
#[derive(Clone)]
pub struct Layers<'t> {
    text: &'t str,
    segments: Vec<Segment>,
}

impl<'t> Layers<'t> {
    /// The whole text as new.
    pub fn whole(text: &'t str) -> Layers<'t> {
        let segment = Segment { kind: Kind::New, range: 0..text.len() };
        Layers { text, segments: if text.is_empty() { Vec::new() } else { vec![segment] } }
    }

    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Kinds and texts of the segments, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &'t str)> {
        self.segments.iter().map(|segment| (segment.kind, &self.text[segment.range.clone()]))
    }

    /// What a reader needs of this mail: what was written now, answers below the lines they
    /// answer, and forwarded mail; the whole text where that is nothing.
    pub fn new_text(&self) -> Cow<'t, str> {
        self.of(|kind| {
            matches!(kind, Kind::New | Kind::Answered { .. } | Kind::Answer | Kind::Forwarded)
        })
        .filter(|text| self.has_words() || !text.trim().is_empty() && self.has_forward())
        .unwrap_or_else(|| self.text.trim_matches('\n').into())
    }

    /// Only what the sender wrote now, empty if that is nothing: what counts as a human word for
    /// loop breakers.
    pub fn own_words(&self) -> Cow<'t, str> {
        self.of(|kind| matches!(kind, Kind::New | Kind::Answer)).unwrap_or_default()
    }

    /// Whether a quote of ours was changed.
    pub fn is_tampered(&self) -> bool {
        self.segments.iter().any(|segment| {
            matches!(
                segment.kind,
                Kind::Quoted { tampered: true, .. } | Kind::Answered { tampered: true, .. }
            )
        })
    }

    fn has_words(&self) -> bool {
        self.iter()
            .any(|(kind, text)| matches!(kind, Kind::New | Kind::Answer) && !text.trim().is_empty())
    }

    fn has_forward(&self) -> bool {
        self.segments.iter().any(|segment| segment.kind == Kind::Forwarded)
    }

    fn of(&self, wanted: impl Fn(Kind) -> bool) -> Option<Cow<'t, str>> {
        let mut parts = self.iter().filter(|(kind, _)| wanted(*kind)).map(|(_, text)| text);
        let first = parts.next()?;
        let Some(second) = parts.next() else { return Some(first.trim_matches('\n').into()) };
        let mut joined = String::from(first);
        for part in std::iter::once(second).chain(parts) {
            if !joined.is_empty() && !joined.ends_with('\n') {
                joined.push('\n');
            }
            joined.push_str(part);
        }
        Some(joined.trim_matches('\n').to_string().into())
    }
}

/// Takes `text` apart. `subject` tells forwards from replies where the text does not; `ours` are
/// the texts of mails we sent in this conversation.
pub fn split<'t>(text: &'t str, subject: &str, ours: &[&str]) -> Layers<'t> {
    split_marked(text, subject, &[], ours)
}

pub(super) fn split_marked<'t>(
    text: &'t str,
    subject: &str,
    marks: &[Mark],
    ours: &[&str],
) -> Layers<'t> {
    let (list, read) = lines(text, LINES, OCTETS);
    let ours = Ours::new(ours);
    let coverage = ours.cover(text, &list);
    let mut splitter = Splitter {
        text,
        labels: vec![Label::New; list.len()],
        lines: list,
        coverage,
        forward: markers::is_forward_subject(subject),
    };
    splitter.label(marks);
    splitter.sign();
    Layers { text, segments: splitter.segments(read) }
}

/// What a line is, before runs of lines are judged together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Label {
    New,
    Quote,
    Attribution,
    Signature,
    Forward,
}

struct Splitter<'t> {
    text: &'t str,
    lines: Vec<Line>,
    labels: Vec<Label>,
    coverage: Coverage,
    /// Whether the subject says that this is a forward.
    forward: bool,
}

impl Splitter<'_> {
    fn content(&self, at: usize) -> &str {
        &self.text[self.lines[at].content.clone()]
    }

    fn label(&mut self, marks: &[Mark]) {
        let mut marks = marks.iter().peekable();
        let mut written = false;
        let mut at = 0;
        while at < self.lines.len() {
            let line = &self.lines[at];
            while marks.next_if(|mark| mark.range.end <= line.start).is_some() {}
            let mark = marks
                .peek()
                .filter(|mark| mark.range.start < line.end)
                .map(|m| (m.kind, m.range.end));
            if line.depth > 0 {
                // Some clients put marks before what they forward.
                if self.forward && markers::is_forward(self.content(at)) {
                    self.fill(at, Label::Forward);
                    return;
                }
                self.labels[at] = Label::Quote;
                at += 1;
                continue;
            }
            if line.blank {
                at += 1;
                continue;
            }
            if markers::is_forward(self.content(at)) {
                self.fill(at, Label::Forward);
                return;
            }
            let marked = mark.is_some_and(|(kind, _)| kind == MarkKind::History);
            if let Some(end) = self.history_header(at, marked) {
                // Without a word above it, a quoted mail is what there is to read.
                if self.forward || !written {
                    self.fill(self.with_separator(at), Label::Forward);
                    return;
                }
                for label in &mut self.labels[at..end] {
                    *label = Label::Attribution;
                }
                let separator = self.with_separator(at);
                self.labels[separator..at].fill(Label::Attribution);
                self.history(end);
                return;
            }
            if let Some((MarkKind::Attribution, mark_end)) = mark
                && let Some(end) = self.marked_attribution(at, mark_end)
            {
                self.labels[at..end].fill(Label::Attribution);
                at = end;
                continue;
            }
            if let Some((end, strong)) = self.attribution(at) {
                let next = self.next_text(end);
                let quoted = next.is_none_or(|next| self.lines[next].depth > 0);
                let ours = next.is_some_and(|next| self.coverage.is_ours(next));
                if self.forward && (quoted || strong) && next.is_some() {
                    self.fill(at, Label::Forward);
                    return;
                }
                if quoted || ours || strong && written {
                    self.labels[at..end].fill(Label::Attribution);
                    if !quoted {
                        self.history(end);
                        return;
                    }
                    at = end;
                    continue;
                }
            }
            let run = self.coverage.run(&self.lines, at);
            if run > at {
                self.labels[at..run].fill(Label::Quote);
                at = run;
                continue;
            }
            written = true;
            at += 1;
        }
    }

    fn fill(&mut self, from: usize, label: Label) {
        self.labels[from..].fill(label);
    }

    /// The first line at or after `at` that has text.
    fn next_text(&self, at: usize) -> Option<usize> {
        (at..self.lines.len()).find(|line| !self.lines[*line].blank)
    }

    /// The end of the header over a quoted mail that starts at `at`: a separator such as
    /// "-----Original Message-----", a block of labelled lines, or both.
    fn history_header(&self, at: usize, marked: bool) -> Option<usize> {
        let separator = markers::is_original(self.content(at));
        let from = if separator { self.next_text(at + 1).unwrap_or(at + 1) } else { at };
        let block = self.header_block(from);
        if let Some(end) = block {
            return Some(end);
        }
        if separator {
            return Some(at + 1);
        }
        // The client says so, in whatever language: its header ends at the first blank line.
        marked.then(|| {
            (at..self.lines.len().min(at + 12)).find(|l| self.lines[*l].blank).unwrap_or(at + 1)
        })
    }

    fn header_block(&self, at: usize) -> Option<usize> {
        let mut seen = markers::Labels::default();
        let mut end = at;
        let mut others = 0;
        for line in at..self.lines.len().min(at + 12) {
            if self.lines[line].blank || self.lines[line].depth > 0 {
                break;
            }
            match markers::label(self.content(line)) {
                Some(label) => {
                    seen.add(label);
                    end = line + 1;
                }
                // Long lists of recipients wrap.
                None if line == at || others == 3 => break,
                None => others += 1,
            }
        }
        seen.is_header().then_some(end)
    }

    /// The start of the ruled line above a header, if there is one.
    fn with_separator(&self, at: usize) -> usize {
        let above = (at.saturating_sub(3)..at).rev().find(|line| !self.lines[*line].blank);
        above
            .filter(|line| self.lines[*line].depth == 0 && markers::is_rule(self.content(*line)))
            .unwrap_or(at)
    }

    /// Lines that the client marked as attribution, if a quote follows.
    fn marked_attribution(&self, at: usize, mark_end: usize) -> Option<usize> {
        let end = (at..self.lines.len()).find(|line| self.lines[*line].start >= mark_end);
        let end = end.unwrap_or(self.lines.len());
        let followed =
            self.next_text(end).is_none_or(|n| self.lines[n].depth > 0 || self.coverage.is_ours(n));
        (end - at <= 6 && followed).then_some(end)
    }

    /// The end of an attribution that starts at `at`, and whether it is so clear that unmarked
    /// text below it is a quote.
    fn attribution(&self, at: usize) -> Option<(usize, bool)> {
        let ends = (at..self.lines.len().min(at + 4))
            .take_while(|line| !self.lines[*line].blank && self.lines[*line].depth == 0)
            .find(|line| markers::can_end(self.content(*line)))?;
        let octets = self.lines[ends].content.end - self.lines[at].content.start;
        if octets > markers::ATTRIBUTION_OCTETS {
            return None;
        }
        let opener = markers::opener(self.content(at));
        if ends > at {
            // The attribution starts further down if another line opens one, or none does and this
            // one holds neither name nor date.
            let least = opener.max(markers::Opener::Maybe);
            let later = (at + 1..=ends).any(|line| markers::opener(self.content(line)) >= least);
            if later
                || opener == markers::Opener::No && !markers::begins_attribution(self.content(at))
            {
                return None;
            }
        }
        let joined = (at..=ends).map(|line| self.content(line)).collect::<Vec<_>>().join(" ");
        markers::attribution(&joined, opener).map(|strong| (ends + 1, strong))
    }

    /// Labels unmarked history from `from` on. Mails within it are judged one by one; in one of
    /// ours, lines that we did not write are answers.
    fn history(&mut self, from: usize) {
        let mut at = from;
        let mut start = from;
        let mut done = 0;
        while at < self.lines.len() {
            let nested = if self.lines[at].blank || self.lines[at].depth > 0 || at < done {
                None
            } else {
                self.history_header(at, false).or_else(|| {
                    self.attribution(at).filter(|(_, strong)| *strong).map(|(end, _)| end)
                })
            };
            self.labels[at] = Label::Quote;
            if let Some(end) = nested {
                self.reclaim(start..at);
                self.labels[at..end].fill(Label::Attribution);
                start = end;
                done = end;
                at = end;
            } else {
                at += 1;
            }
        }
        self.reclaim(start..self.lines.len());
    }

    /// Takes lines that we did not write out of an unmarked quote of ours.
    fn reclaim(&mut self, range: Range<usize>) {
        if !self.coverage.judge(self.text, &self.lines, range.clone()).of_ours {
            return;
        }
        let mut any = false;
        for at in range {
            let line = &self.lines[at];
            if line.depth == 0 && self.coverage.is_foreign(at) {
                self.labels[at] = Label::New;
                any = true;
            } else if line.blank && any {
                self.labels[at] = self.labels[at - 1];
            } else {
                any = false;
            }
        }
    }

    /// Labels signatures within runs of new lines.
    fn sign(&mut self) {
        let mut at = 0;
        while at < self.lines.len() {
            if self.labels[at] != Label::New {
                at += 1;
                continue;
            }
            let end = (at..self.lines.len())
                .find(|line| self.labels[*line] != Label::New)
                .unwrap_or(self.lines.len());
            if let Some(from) = self.signature(at..end) {
                self.labels[from..end].fill(Label::Signature);
            }
            at = end;
        }
    }

    fn signature(&self, run: Range<usize>) -> Option<usize> {
        let last = run.clone().rev().find(|line| !self.lines[*line].blank)?;
        let octets = |from: usize| self.lines[last].end - self.lines[from].start;
        // RFC 3676 section 4.3: "-- " alone on its line. Many clients lose the blank.
        let delimiter = run.clone().rev().take(SIGNATURE_LINES + 2).find(|line| {
            matches!(
                self.text[self.lines[*line].start..self.lines[*line].end].trim_end_matches('\n'),
                "-- " | "--"
            ) || markers::is_footer_rule(self.content(*line))
        });
        if let Some(from) = delimiter
            && octets(from) <= SIGNATURE_OCTETS
            && from < last
        {
            return Some(from);
        }
        // "Sent from my phone" may be followed by one line, a link or an advertisement.
        let phone = run.rev().filter(|line| !self.lines[*line].blank).take(3);
        phone.into_iter().find(|line| markers::is_phone_signature(self.content(*line)))
    }

    /// Runs of lines as segments, quotes judged and paired with their answers.
    fn segments(&self, read: usize) -> Vec<Segment> {
        let runs = self.runs();
        let has_text =
            |run: &(Label, Range<usize>)| run.1.clone().any(|line| !self.lines[line].blank);
        let answered = |at: usize| {
            runs[at].0 == Label::Quote
                && runs.get(at + 1).is_some_and(|next| next.0 == Label::New && has_text(next))
        };
        let answers = (0..runs.len()).filter(|at| answered(*at)).count();
        let mut segments: Vec<Segment> = Vec::new();
        let mut push = |kind: Kind, lines: Range<usize>| {
            if lines.is_empty() {
                return;
            }
            let range = self.lines[lines.start].start..self.lines[lines.end - 1].end;
            match segments.last_mut() {
                Some(last) if last.kind == kind && !kind.is_quote() => last.range.end = range.end,
                _ => segments.push(Segment { kind, range }),
            }
        };
        let mut answering = false;
        for (at, (label, lines)) in runs.iter().enumerate() {
            let kind = match label {
                Label::New if answering => Kind::Answer,
                Label::New => Kind::New,
                Label::Attribution => Kind::Attribution,
                Label::Signature => Kind::Signature,
                Label::Forward => Kind::Forwarded,
                Label::Quote => {
                    let verdict = self.coverage.judge(self.text, &self.lines, lines.clone());
                    let (of_ours, tampered) = (verdict.of_ours, verdict.tampered);
                    let texts = lines.clone().filter(|line| !self.lines[*line].blank).count();
                    answering = answered(at) && (texts <= ANSWERED_LINES || answers > 1);
                    if !answering {
                        push(Kind::Quoted { of_ours, tampered }, lines.clone());
                        continue;
                    }
                    let from = self.last_paragraph(lines.clone());
                    push(Kind::Quoted { of_ours, tampered }, lines.start..from);
                    push(Kind::Answered { of_ours, tampered }, from..lines.end);
                    continue;
                }
            };
            answering = false;
            push(kind, lines.clone());
        }
        if read < self.text.len() {
            match segments.last_mut() {
                Some(last) if last.kind == Kind::New => last.range.end = self.text.len(),
                _ => segments.push(Segment { kind: Kind::New, range: read..self.text.len() }),
            }
        }
        segments
    }

    /// Lines of one label in a row; blank lines go with what is before them.
    fn runs(&self) -> Vec<(Label, Range<usize>)> {
        let mut runs: Vec<(Label, Range<usize>)> = Vec::new();
        for (at, (line, label)) in self.lines.iter().zip(&self.labels).enumerate() {
            match runs.last_mut() {
                Some((last, range)) if line.blank && line.depth == 0 || last == label => {
                    range.end = at + 1;
                }
                _ => runs.push((*label, at..at + 1)),
            }
        }
        runs
    }

    /// Where the part of a quote begins that an answer below it is about: all of a short one, the
    /// last paragraph of a long one.
    fn last_paragraph(&self, lines: Range<usize>) -> usize {
        if lines.clone().filter(|line| !self.lines[*line].blank).count() <= ANSWERED_LINES {
            return lines.start;
        }
        let mut texts = 0;
        let mut from = lines.end;
        for line in lines.rev() {
            if self.lines[line].blank {
                if texts > 0 {
                    break;
                }
                continue;
            }
            if texts == ANSWERED_LINES {
                break;
            }
            texts += 1;
            from = line;
        }
        from
    }
}
