//! Bodies of the fuzz targets. They assert, so the targets only have to feed them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use memchr::memmem;

use super::backend::{Peer, TlsInfo};
use super::budget::{MemoryBudget, MessageBuffer};
use super::framer::{BareLf, DataFramer, DataRules, DataViolation, LineFramer, LineViolation};
use super::limits::Penalty;
use super::session::{Input, Output, Session, SessionConfig};
use crate::reply;

/// What a message framer made of an input: octets taken, content, and violation.
pub type Framed = (Option<usize>, Vec<u8>, Option<DataViolation>);

/// Runs the message framer over `input`, cut after every octet for which `cut` says so.
pub fn frame(input: &[u8], rules: DataRules, mut cut: impl FnMut(usize) -> bool) -> Framed {
    let budget = MemoryBudget::new(1 << 30);
    let mut buffer = MessageBuffer::new(&budget, 1 << 30);
    let mut framer = DataFramer::new(rules);
    let mut from = 0;
    for to in 1..=input.len() {
        if to < input.len() && !cut(to) {
            continue;
        }
        let (taken, ended) = framer.feed(&input[from..to], &mut buffer);
        if ended {
            return (Some(from + taken), buffer.into_parts().0, framer.violation());
        }
        assert_eq!(taken, to - from, "an unfinished message leaves nothing unread");
        from = to;
    }
    (None, buffer.into_parts().0, framer.violation())
}

/// The definition that [`DataFramer`] must agree with, written for clarity: the end is the first
/// CR LF `.` CR LF, with the CR LF before the first line taken as read.
fn frame_by_definition(input: &[u8]) -> Framed {
    let whole = [b"\r\n", input].concat();
    let Some(end) = memmem::find(&whole, b"\r\n.\r\n") else { return (None, Vec::new(), None) };
    let taken = Some(end + 3);
    let content = &input[..end];
    let mut violation = None;
    let mut lines = Vec::new();
    for line in split_crlf(content) {
        if line.contains(&b'\r') || line.contains(&b'\n') || line.contains(&0) {
            violation = Some(DataViolation::BareLf);
        }
        let line = line.strip_prefix(b".").unwrap_or(line);
        if line.len() > DataRules::default().line_max && violation.is_none() {
            violation = Some(DataViolation::LongLine);
        }
        lines.extend_from_slice(line);
        lines.extend_from_slice(b"\r\n");
    }
    (taken, if violation.is_some() { Vec::new() } else { lines }, violation)
}

/// The lines of a content that is empty or ends with CR LF.
fn split_crlf(mut content: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    while let Some(at) = memmem::find(content, b"\r\n") {
        lines.push(&content[..at]);
        content = &content[at + 2..];
    }
    lines
}

/// The message framer agrees with its definition, at several splits; the line framer does not
/// depend on splits.
pub fn framer(data: &[u8]) {
    let Some((&seed, input)) = data.split_first() else { return };
    let rules = DataRules::default();
    let defined = frame_by_definition(input);
    let every = frame(input, rules, |_| true);
    for framed in [&every, &frame(input, rules, |_| false), &frame(input, rules, cuts(seed))] {
        assert_eq!(framed.0, defined.0, "the end of {input:?}");
        if defined.0.is_some() {
            let forgiving = |v: Option<DataViolation>| match v {
                // The definition does not tell the forms apart.
                Some(DataViolation::BareCr | DataViolation::Nul) => Some(DataViolation::BareLf),
                other => other,
            };
            assert_eq!(forgiving(framed.2), defined.2, "the violation in {input:?}");
            assert_eq!(framed.1, defined.1, "the content of {input:?}");
        }
    }
    let normalise = DataRules { bare_lf: BareLf::Normalise, ..rules };
    let normalised = frame(input, normalise, |_| true);
    assert_eq!(normalised, frame(input, normalise, cuts(seed)));
    assert_eq!(normalised.0, defined.0, "normalising moves no end");
    if normalised.0.is_some() && normalised.2.is_none() {
        let lone = |at: usize, b: u8| b == b'\n' && (at == 0 || normalised.1[at - 1] != b'\r');
        assert!(!normalised.1.iter().enumerate().any(|(at, &b)| lone(at, b)));
    }
    assert_eq!(lines(input, |_| true), lines(input, cuts(seed)));
}

fn cuts(seed: u8) -> impl FnMut(usize) -> bool {
    move |at| (at * 31 + usize::from(seed)) % 5 == 0
}

fn lines(
    input: &[u8],
    mut cut: impl FnMut(usize) -> bool,
) -> Vec<(Vec<u8>, Result<(), LineViolation>)> {
    let mut framer = LineFramer::new(32);
    let mut seen = Vec::new();
    let mut from = 0;
    for to in 1..=input.len() {
        if to < input.len() && !cut(to) {
            continue;
        }
        while from < to {
            let (taken, outcome) = framer.feed(&input[from..to]);
            from += taken;
            match outcome {
                Some(Ok(())) => seen.push((framer.line().to_vec(), Ok(()))),
                Some(Err(LineViolation::TooLong)) => {
                    seen.push((Vec::new(), Err(LineViolation::TooLong)));
                }
                Some(fatal) => {
                    seen.push((Vec::new(), fatal));
                    return seen;
                }
                None => {}
            }
        }
    }
    seen
}

/// A session survives any bytes, times and answers, answers nothing but well-formed replies, and
/// never hands over a message without a recipient.
pub fn session(data: &[u8]) {
    let Some((&seed, input)) = data.split_first() else { return };
    let start = Instant::now();
    let mut now = start;
    let addr = std::net::SocketAddr::from(([192, 0, 2, 1], 25));
    let peer = Peer { addr, local: addr, helo: Default::default(), tls: None };
    let config = SessionConfig { size_max: 4096, ..SessionConfig::new("mx.example.org") };
    let budget = MemoryBudget::new(64 * 1024);
    let mut session = Session::new(Arc::new(config), Arc::clone(&budget), peer, seed & 1 == 0, now);
    session.handle(Input::Timeout, now);
    let mut written = Vec::new();
    if !drain(&mut session, now, seed, &mut written) {
        return;
    }
    // A client that waits for each reply gets further than one that does not.
    let patient = seed & 4 == 0;
    let pieces: Vec<&[u8]> = if patient {
        input.split_inclusive(|&b| b == b'\n').collect()
    } else {
        input.chunks(usize::from(seed >> 1).max(1)).collect()
    };
    for (at, piece) in pieces.into_iter().enumerate() {
        now += Duration::from_millis(10);
        session.handle(Input::Bytes(piece), now);
        if at % 7 == 6 {
            now = session
                .deadline()
                .map_or(now, |deadline| now.max(deadline.min(now + Duration::from_secs(1))));
            session.handle(Input::Timeout, now);
        }
        if !drain(&mut session, now, seed, &mut written) {
            break;
        }
    }
    session.handle(Input::Shutdown, now);
    drain(&mut session, now, seed, &mut written);
    drop(session);
    assert_eq!(budget.used(), 0);
    check_replies(&written);
}

/// Answers every question until there is none; false once the session has ended.
fn drain(session: &mut Session, now: Instant, seed: u8, written: &mut Vec<u8>) -> bool {
    while let Some(output) = session.poll() {
        match output {
            Output::Write(bytes) => written.extend_from_slice(&bytes),
            Output::AskMail => session.handle(Input::Mail(Ok(Duration::ZERO)), now),
            Output::AskRecipient { to, .. } => {
                let answer = match to.key().len() % 3 {
                    0 => Err(reply::unknown_recipient()),
                    _ => Ok(()),
                };
                session.handle(Input::Recipient(answer, Penalty::None), now);
            }
            Output::Message(message) => {
                assert!(!message.envelope.recipients.is_empty());
                assert!(message.bytes.len() <= 4096);
                assert!(message.bytes.is_empty() || message.bytes.ends_with(b"\r\n"));
                let answer = if seed & 2 == 0 { reply::accepted() } else { reply::local_error() };
                session.handle(Input::Message(answer), now);
            }
            Output::StartTls => {
                let tls =
                    TlsInfo { version: "TLSv1_3".into(), cipher: "none".into(), server_name: None };
                session.handle(Input::TlsStarted(tls), now);
            }
            Output::Close(_) => return false,
        }
    }
    true
}

fn check_replies(written: &[u8]) {
    let mut rest = written;
    while !rest.is_empty() {
        let end = memmem::find(rest, b"\r\n").expect("every reply line ends with CR LF");
        let line = &rest[..end];
        assert!(line.len() >= 4 && line[..3].iter().all(u8::is_ascii_digit));
        assert!(matches!(line[3], b' ' | b'-'));
        assert!(line.iter().all(|b| (b' '..=b'~').contains(b)));
        rest = &rest[end + 2..];
    }
}
