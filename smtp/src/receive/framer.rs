//! Cuts the bytes of a connection into command lines and messages.
//!
//! SMTP smuggling works because servers disagree about what ends a message. Here exactly one
//! sequence does, CR LF `.` CR LF (RFC 5321 section 4.1.1.4), and nothing that another server may
//! take for it is let through: a lone CR, a lone LF or a NUL makes the whole message a violation,
//! which is reported after its true end, so that the dialogue stays in step.
//!
//! What always holds: the result is the same however the input is split; memory does not grow with
//! the input beyond what the caller's buffer allows.
//!
//! Left out: BDAT, and repairing what was sent, except for lone LFs where [`BareLf::Normalise`]
//! asks for it.

use std::fmt;

use memchr::{memchr2, memchr3};

use super::budget::MessageBuffer;

/// Why a command line is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineViolation {
    /// LF without CR before it.
    BareLf,
    /// CR without LF after it.
    BareCr,
    /// Longer than the limit; reported at its end.
    TooLong,
    /// No end within [`DRAIN_FACTOR`] times the limit.
    Endless,
}

/// A line that is too long is read to its end, but not further than this many times the limit.
pub const DRAIN_FACTOR: usize = 32;

/// Cuts command lines. After a bare CR or LF the position in the dialogue is a matter of opinion,
/// so the caller is expected to hang up on those two. `Debug` leaves the content out.
pub struct LineFramer {
    line: Vec<u8>,
    /// Octets of this line so far, kept or not.
    seen: usize,
    max: usize,
    complete: bool,
}

impl LineFramer {
    /// Lines of at most `max` octets with their CR LF.
    pub fn new(max: usize) -> Self {
        Self { line: Vec::new(), seen: 0, max: max.max(2), complete: false }
    }

    /// Takes octets up to the end of a line. Returns how many it took, and once a line is complete
    /// whether it may be read with [`line`](Self::line).
    pub fn feed(&mut self, input: &[u8]) -> (usize, Option<Result<(), LineViolation>>) {
        if std::mem::take(&mut self.complete) {
            self.line.clear();
            self.seen = 0;
        }
        let mut at = 0;
        while at < input.len() {
            // Nothing else puts a CR into the line.
            if self.line.last() == Some(&b'\r') {
                at += 1;
                return (at, Some(self.after_cr(input[at - 1])));
            }
            let stop = memchr2(b'\r', b'\n', &input[at..]).map_or(input.len(), |found| at + found);
            self.keep(&input[at..stop]);
            at = stop;
            if self.seen > self.max.saturating_mul(DRAIN_FACTOR) {
                return (at, Some(self.finish(Err(LineViolation::Endless))));
            }
            match input.get(at) {
                None => break,
                Some(b'\n') => return (at + 1, Some(self.finish(Err(LineViolation::BareLf)))),
                Some(_) => {
                    // The CR is kept even when the line is full, as the mark of this state.
                    self.seen += 1;
                    self.line.push(b'\r');
                    at += 1;
                }
            }
        }
        (at, None)
    }

    /// The line that was just completed, without CR LF.
    pub fn line(&self) -> &[u8] {
        self.line.strip_suffix(b"\r").unwrap_or(&self.line)
    }

    /// Whether the start of a line has arrived but not its end.
    pub fn is_partial(&self) -> bool {
        !self.complete && self.seen > 0
    }

    fn after_cr(&mut self, next: u8) -> Result<(), LineViolation> {
        self.seen += 1;
        let outcome = match next {
            b'\n' if self.seen > self.max => Err(LineViolation::TooLong),
            b'\n' => Ok(()),
            _ => Err(LineViolation::BareCr),
        };
        self.finish(outcome)
    }

    fn keep(&mut self, octets: &[u8]) {
        let room = self.max.saturating_sub(self.line.len());
        self.line.extend_from_slice(&octets[..octets.len().min(room)]);
        self.seen += octets.len();
    }

    fn finish(&mut self, outcome: Result<(), LineViolation>) -> Result<(), LineViolation> {
        self.complete = true;
        outcome
    }
}

impl fmt::Debug for LineFramer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineFramer").field("octets", &self.seen).finish_non_exhaustive()
    }
}

/// What to do with a lone LF inside a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BareLf {
    /// Refuse the message.
    #[default]
    Reject,
    /// Turn it into CR LF, except beside a dot at the start of a line, where the meaning of the
    /// message would depend on the reader; there it is refused still.
    Normalise,
}

/// How strict a message is read.
#[derive(Debug, Clone, Copy)]
pub struct DataRules {
    pub bare_lf: BareLf,
    /// Octets of a line without CR LF; RFC 5321 section 4.5.3.1.6 allows 998.
    pub line_max: usize,
}

impl Default for DataRules {
    fn default() -> Self {
        Self { bare_lf: BareLf::Reject, line_max: 998 }
    }
}

/// Why a message is refused for its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataViolation {
    BareCr,
    BareLf,
    Nul,
    LongLine,
}

/// Where in a line the next octet falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// After 354 or after CR LF.
    LineStart,
    /// After a lone LF that was normalised.
    AfterBareLf,
    /// After a dot at the start of a line; it is never kept (RFC 5321 section 4.5.2).
    Dot,
    /// After that dot and a CR, which is kept only if no LF follows.
    DotCr,
    Text,
    /// After a CR that is already kept.
    TextCr,
}

/// Reads one message, from after the 354 to its end.
#[derive(Debug)]
pub struct DataFramer {
    rules: DataRules,
    position: Position,
    line_len: usize,
    violation: Option<DataViolation>,
}

impl DataFramer {
    pub fn new(rules: DataRules) -> Self {
        Self { rules, position: Position::LineStart, line_len: 0, violation: None }
    }

    /// Takes octets up to the end of the message and puts its content, without transparency dots,
    /// into `buffer`. Returns how many it took, and whether the end was among them.
    pub fn feed(&mut self, input: &[u8], buffer: &mut MessageBuffer) -> (usize, bool) {
        // Octets are copied in spans as long as possible: from `keep` up to the next octet that
        // does not belong into the message.
        let mut keep = 0;
        let mut at = 0;
        let mut ended = false;
        while at < input.len() {
            let octet = input[at];
            match self.position {
                Position::LineStart if octet == b'.' => {
                    buffer.extend(&input[keep..at]);
                    at += 1;
                    keep = at;
                    self.position = Position::Dot;
                }
                Position::AfterBareLf if octet == b'.' => {
                    self.violate(DataViolation::BareLf);
                    self.position = Position::Text;
                }
                Position::LineStart | Position::AfterBareLf => self.position = Position::Text,
                Position::Dot if octet == b'\r' => {
                    at += 1;
                    keep = at;
                    self.position = Position::DotCr;
                }
                Position::Dot => {
                    if octet == b'\n' {
                        self.violate(DataViolation::BareLf);
                    }
                    self.position = Position::Text;
                }
                Position::DotCr if octet == b'\n' => {
                    at += 1;
                    keep = at;
                    ended = true;
                    break;
                }
                Position::DotCr => {
                    self.violate(DataViolation::BareCr);
                    self.position = Position::Text;
                }
                Position::TextCr if octet == b'\n' => {
                    at += 1;
                    self.line_len = 0;
                    self.position = Position::LineStart;
                }
                Position::TextCr => {
                    self.violate(DataViolation::BareCr);
                    self.position = Position::Text;
                }
                Position::Text => {
                    let found = memchr3(b'\r', b'\n', 0, &input[at..]);
                    let stop = found.map_or(input.len(), |found| at + found);
                    self.line_len = self.line_len.saturating_add(stop - at);
                    if self.line_len > self.rules.line_max {
                        self.violate(DataViolation::LongLine);
                    }
                    at = stop;
                    match input.get(at) {
                        None => break,
                        // The usual end of a line, in one step.
                        Some(b'\r') if input.get(at + 1) == Some(&b'\n') => {
                            at += 2;
                            self.line_len = 0;
                            self.position = Position::LineStart;
                        }
                        Some(b'\r') => {
                            at += 1;
                            self.position = Position::TextCr;
                        }
                        Some(b'\n') => {
                            buffer.extend(&input[keep..at]);
                            at += 1;
                            keep = at;
                            self.bare_lf(buffer);
                        }
                        Some(_) => {
                            self.violate(DataViolation::Nul);
                            at += 1;
                        }
                    }
                }
            }
        }
        buffer.extend(&input[keep..at]);
        if self.violation.is_some() {
            buffer.discard();
        }
        (at, ended)
    }

    /// The first violation so far; the content is gone if there is one.
    pub fn violation(&self) -> Option<DataViolation> {
        self.violation
    }

    fn bare_lf(&mut self, buffer: &mut MessageBuffer) {
        self.line_len = 0;
        match self.rules.bare_lf {
            BareLf::Reject => {
                self.violate(DataViolation::BareLf);
                self.position = Position::Text;
            }
            BareLf::Normalise => {
                buffer.extend(b"\r\n");
                self.position = Position::AfterBareLf;
            }
        }
    }

    fn violate(&mut self, violation: DataViolation) {
        // A form that could smuggle outranks a long line, which is merely unwieldy.
        if self.violation.is_none_or(|first| first == DataViolation::LongLine) {
            self.violation = Some(violation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receive::budget::MemoryBudget;

    fn lines(max: usize, chunks: &[&[u8]]) -> Vec<Result<Vec<u8>, LineViolation>> {
        let mut framer = LineFramer::new(max);
        let mut seen = Vec::new();
        for chunk in chunks {
            let mut rest = *chunk;
            while !rest.is_empty() {
                let (taken, outcome) = framer.feed(rest);
                rest = &rest[taken..];
                if let Some(outcome) = outcome {
                    seen.push(outcome.map(|()| framer.line().to_vec()));
                }
            }
        }
        seen
    }

    #[test]
    fn command_lines_end_with_cr_lf_and_nothing_else() {
        assert_eq!(lines(64, &[b"NOOP\r\nQUIT\r\n"]), [Ok(b"NOOP".to_vec()), Ok(b"QUIT".to_vec())]);
        assert_eq!(lines(64, &[b"NOOP\r", b"\n"]), [Ok(b"NOOP".to_vec())]);
        assert_eq!(lines(64, &[b"\r\n"]), [Ok(b"".to_vec())]);
        assert_eq!(lines(64, &[b"NOOP\n"])[0], Err(LineViolation::BareLf));
        assert_eq!(lines(64, &[b"\n"])[0], Err(LineViolation::BareLf));
        assert_eq!(lines(64, &[b"MAIL FROM:<a\rb@c>\r\n"])[0], Err(LineViolation::BareCr));
        assert_eq!(lines(64, &[b"NOOP\r\r\n"])[0], Err(LineViolation::BareCr));
    }

    #[test]
    fn a_long_command_line_is_read_to_its_end_in_bounded_memory() {
        let fits = [vec![b'x'; 62], b"\r\n".to_vec()].concat();
        assert_eq!(lines(64, &[&fits]), [Ok(vec![b'x'; 62])]);
        let long = [vec![b'x'; 63], b"\r\nNOOP\r\n".to_vec()].concat();
        assert_eq!(lines(64, &[&long]), [Err(LineViolation::TooLong), Ok(b"NOOP".to_vec())]);

        let mut framer = LineFramer::new(64);
        let mut outcome = None;
        for _ in 0..64 * DRAIN_FACTOR {
            outcome = outcome.or(framer.feed(b"xx").1);
            assert!(framer.line.capacity() <= 256);
        }
        assert_eq!(outcome, Some(Err(LineViolation::Endless)));
    }

    #[test]
    fn a_message_of_25_mb_in_small_pieces_is_kept_as_sent() {
        let budget = MemoryBudget::new(64 << 20);
        let mut buffer = MessageBuffer::new(&budget, 35 << 20);
        let mut framer = DataFramer::new(DataRules::default());
        let line = b"0123456789012345678901234567890123456789012345678901234567890123456789\r\n";
        let count = (25 << 20) / line.len();
        for _ in 0..count {
            assert_eq!(framer.feed(line, &mut buffer), (line.len(), false));
        }
        assert_eq!(framer.feed(b".\r\nQUIT", &mut buffer), (3, true));
        assert_eq!(framer.violation(), None);
        assert!(buffer.bytes() == line.repeat(count));
        assert!(budget.used() <= 26 << 20);
    }

    #[test]
    fn a_line_of_30_mb_survives_in_bounded_memory_and_is_refused_at_its_end() {
        let budget = MemoryBudget::new(1 << 20);
        let mut buffer = MessageBuffer::new(&budget, 35 << 20);
        let mut framer = DataFramer::new(DataRules::default());
        let chunk = vec![b'x'; 64 << 10];
        for _ in 0..480 {
            assert_eq!(framer.feed(&chunk, &mut buffer), (chunk.len(), false));
            assert_eq!(budget.used(), 0);
        }
        assert_eq!(framer.feed(b"\r\n.\r\n", &mut buffer), (5, true));
        assert_eq!(framer.violation(), Some(DataViolation::LongLine));
    }
}
