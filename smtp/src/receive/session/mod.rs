//! The dialogue of RFC 5321 as a pure state machine.
//!
//! The caller loops: feed one [`Input`] to [`Session::handle`], drain [`Session::poll`] until it
//! returns nothing, then wait for whichever comes first of input (only while
//! [`Session::wants_input`]), the answer that was asked for, and [`Session::deadline`].
//!
//! What always holds:
//! - at most one question is open, and nothing is read past it, so replies leave in the order of
//!   the commands however they were pipelined;
//! - no octet that arrived before a TLS handshake, or before the reply to a command that must be
//!   the last of its group (RFC 2920), is ever read as a command;
//! - a transaction reaches [`Output::Message`] with a recipient, within the size limit and without
//!   a violation of the framing, or not at all;
//! - every command gets one reply, except after the session has ended.
//!
//! Left out: who may connect and how fast ([`limits`](super::limits)), and what a recipient is.

mod config;
mod data;
mod verbs;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::address::{ForwardPath, ReversePath};
use crate::reply::{self, Reply};

use super::backend::{Envelope, Helo, Peer, TlsInfo};
use super::budget::{MemoryBudget, Reservation};
use super::command;
use super::framer::LineFramer;
use super::limits::Penalty;

pub use config::{SessionConfig, Timeouts};
use data::Data;
use verbs::Transaction;

/// Octets that may wait while a question is open. The caller stops reading then, so more than one
/// read is a mistake of the caller.
const WAITING_MAX: usize = 1 << 20;

/// Something that happened.
pub enum Input<'a> {
    Bytes(&'a [u8]),
    /// The peer will send no more.
    Eof,
    /// The deadline may have passed.
    Timeout,
    /// Answer to [`Output::AskMail`]: go on after this delay, or the refusal.
    Mail(Result<Duration, Reply>),
    /// Answer to [`Output::AskRecipient`].
    Recipient(Result<(), Reply>, Penalty),
    /// Answer to [`Output::Message`].
    Message(Reply),
    /// Answer to [`Output::StartTls`].
    TlsStarted(TlsInfo),
    /// The server stops: finish the message in flight, then say 421.
    Shutdown,
}

impl fmt::Debug for Input<'_> {
    /// Octets of a peer are counted, not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({} octets)", bytes.len()),
            Self::Eof => f.write_str("Eof"),
            Self::Timeout => f.write_str("Timeout"),
            Self::Mail(answer) => f.debug_tuple("Mail").field(answer).finish(),
            Self::Recipient(answer, penalty) => {
                f.debug_tuple("Recipient").field(answer).field(penalty).finish()
            }
            Self::Message(reply) => f.debug_tuple("Message").field(reply).finish(),
            Self::TlsStarted(info) => f.debug_tuple("TlsStarted").field(info).finish(),
            Self::Shutdown => f.write_str("Shutdown"),
        }
    }
}

/// Something to do. Questions are answered with the [`Input`] of the same name.
#[derive(Debug)]
#[must_use = "an output that is dropped stalls the dialogue"]
pub enum Output {
    Write(Vec<u8>),
    /// May a transaction start now?
    AskMail,
    AskRecipient {
        from: ReversePath,
        to: ForwardPath,
    },
    /// Store this. The answer may be positive only after the durable write.
    Message(Message),
    /// Begin the handshake on the bare connection; nothing was read past the command.
    StartTls,
    /// Everything is written; close.
    Close(CloseReason),
}

/// A message and its envelope. `Debug` leaves the content out.
pub struct Message {
    pub envelope: Envelope,
    pub bytes: Vec<u8>,
    /// Keep it until the octets are gone.
    pub reservation: Reservation,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("envelope", &self.envelope)
            .field("octets", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    Quit,
    PeerClosed,
    Idle,
    TooLong,
    TooSlow,
    Shutdown,
    TalkedTooEarly,
    NotSmtp,
    BareLineEnd,
    EndlessLine,
    EndlessMessage,
    TooManyErrors,
    TooManyMessages,
    Probing,
    Bdat,
    /// The backend answered 421.
    Backend,
}

impl CloseReason {
    /// The label in logs and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Quit => "quit",
            Self::PeerClosed => "peer_closed",
            Self::Idle => "idle",
            Self::TooLong => "too_long",
            Self::TooSlow => "too_slow",
            Self::Shutdown => "shutdown",
            Self::TalkedTooEarly => "talked_too_early",
            Self::NotSmtp => "not_smtp",
            Self::BareLineEnd => "bare_line_end",
            Self::EndlessLine => "endless_line",
            Self::EndlessMessage => "endless_message",
            Self::TooManyErrors => "too_many_errors",
            Self::TooManyMessages => "too_many_messages",
            Self::Probing => "probing",
            Self::Bdat => "bdat",
            Self::Backend => "backend",
        }
    }

    /// Whether we ended the session because of what the peer did.
    pub fn is_refusal(self) -> bool {
        !matches!(self, Self::Quit | Self::PeerClosed | Self::Shutdown | Self::Backend)
    }
}

/// What a session did, for its log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    pub commands: u32,
    pub errors: u32,
    pub recipients_accepted: u32,
    pub recipients_refused: u32,
    pub messages_accepted: u32,
    pub messages_refused: u32,
    /// Octets of message content on the wire.
    pub octets: u64,
}

/// What the session is doing.
#[derive(Debug)]
enum Phase {
    /// Waiting for the moment of the banner.
    Greeting,
    /// Between a reply and the end of the next command line.
    Command,
    /// Between 354 and the end of the message.
    Data(Data),
    AskingMail(Transaction),
    AskingRecipient(ForwardPath),
    Storing,
    Handshake,
    /// Nothing is read any more.
    Ended,
}

/// Why a transaction, or a part of it, was refused without asking anybody. The session goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Too big by its own declaration, or once it was here.
    MessageSize,
    /// The memory for messages in flight is used up.
    MemoryBudget,
    /// A lone CR, a lone LF or a NUL in the message.
    MessageLineEnd,
    MessageLineLength,
    MailLoop,
    TooManyRecipients,
}

impl Refusal {
    /// The label in logs and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::MessageSize => "message_size",
            Self::MemoryBudget => "memory_budget",
            Self::MessageLineEnd => "message_line_end",
            Self::MessageLineLength => "message_line_length",
            Self::MailLoop => "mail_loop",
            Self::TooManyRecipients => "too_many_recipients",
        }
    }

    fn reply(self) -> Reply {
        match self {
            Self::MessageSize => reply::too_big(),
            Self::MemoryBudget => reply::no_memory(),
            Self::MessageLineEnd => reply::bad_message_line_end(),
            Self::MessageLineLength => reply::message_line_too_long(),
            Self::MailLoop => reply::loop_detected(),
            Self::TooManyRecipients => reply::too_many_recipients(),
        }
    }
}

/// One connection's dialogue. `Debug` leaves what the peer said out.
pub struct Session {
    config: Arc<SessionConfig>,
    budget: Arc<MemoryBudget>,
    peer: Peer,
    tls_offered: bool,
    phase: Phase,
    /// When the peer connected.
    opened: Instant,
    /// When the phase began, or for [`Phase::Command`] when the last command was done.
    since: Instant,
    /// Replies are held back and nothing is read until then.
    paused_until: Option<Instant>,
    stressed: bool,
    stopping: bool,
    lines: LineFramer,
    transaction: Option<Transaction>,
    /// Input that arrived while it could not be read.
    waiting: Vec<u8>,
    replies: Vec<u8>,
    question: Option<Output>,
    closing: Option<CloseReason>,
    junk: u32,
    summary: Summary,
    refusals: Vec<Refusal>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("peer", &self.peer)
            .field("phase", &self.phase)
            .field("summary", &self.summary)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// A session that has just been accepted. `tls_offered` says whether STARTTLS can be done.
    pub fn new(
        config: Arc<SessionConfig>,
        budget: Arc<MemoryBudget>,
        peer: Peer,
        tls_offered: bool,
        now: Instant,
    ) -> Self {
        let lines = LineFramer::new(config.command_line_max);
        Self {
            config,
            budget,
            peer,
            tls_offered,
            phase: Phase::Greeting,
            opened: now,
            since: now,
            paused_until: None,
            stressed: false,
            stopping: false,
            lines,
            transaction: None,
            waiting: Vec::new(),
            replies: Vec::new(),
            question: None,
            closing: None,
            junk: 0,
            summary: Summary::default(),
            refusals: Vec::new(),
        }
    }

    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    pub fn summary(&self) -> Summary {
        self.summary
    }

    /// Refusals since the last call, to be counted.
    pub fn take_refusals(&mut self) -> Vec<Refusal> {
        std::mem::take(&mut self.refusals)
    }

    /// Whether the server is near capacity; it shortens the deadline.
    pub fn set_stressed(&mut self, stressed: bool) {
        self.stressed = stressed;
    }

    /// Whether [`Input::Bytes`] would be read now rather than kept.
    pub fn wants_input(&self) -> bool {
        self.paused_until.is_none()
            && matches!(self.phase, Phase::Greeting | Phase::Command | Phase::Data(_))
    }

    /// When to send [`Input::Timeout`]; nothing while the other side of a question owns the time.
    pub fn deadline(&self) -> Option<Instant> {
        if self.paused_until.is_some() {
            return self.paused_until;
        }
        let timeouts = self.timeouts();
        match &self.phase {
            Phase::Greeting => Some(self.since + self.config.greet_delay),
            Phase::Command => Some((self.since + timeouts.command).min(self.last_command())),
            Phase::Handshake => Some(self.since + timeouts.handshake),
            Phase::Data(data) => Some(data.deadline(timeouts, self.config.rate_min)),
            Phase::AskingMail(_) | Phase::AskingRecipient(_) | Phase::Storing | Phase::Ended => {
                None
            }
        }
    }

    /// When the session must be over; a message under way is finished first.
    fn last_command(&self) -> Instant {
        self.opened + self.config.session_max
    }

    /// Takes one input. Drain [`poll`](Self::poll) afterwards.
    pub fn handle(&mut self, input: Input<'_>, now: Instant) {
        match input {
            Input::Bytes(bytes) => return self.receive(bytes, now),
            Input::Eof => self.end(CloseReason::PeerClosed),
            Input::Timeout => self.timeout(now),
            Input::Mail(answer) => self.mail_answered(answer, now),
            Input::Recipient(answer, penalty) => self.recipient_answered(answer, penalty, now),
            Input::Message(reply) => self.message_answered(reply, now),
            Input::TlsStarted(info) => self.tls_started(info, now),
            Input::Shutdown => {
                self.stopping = true;
                self.paused_until = None;
            }
        }
        self.receive(&[], now);
    }

    /// The next thing to do, until there is none. Questions come before replies, so that the
    /// replies to a pipelined group leave together.
    pub fn poll(&mut self) -> Option<Output> {
        if self.paused_until.is_some() {
            return None;
        }
        if let Some(question) = self.question.take_if(|q| !matches!(q, Output::StartTls)) {
            return Some(question);
        }
        if !self.replies.is_empty() {
            return Some(Output::Write(std::mem::take(&mut self.replies)));
        }
        self.question.take().or_else(|| self.closing.take().map(Output::Close))
    }

    fn timeouts(&self) -> &Timeouts {
        if self.stressed { &self.config.stressed_timeouts } else { &self.config.timeouts }
    }

    fn receive(&mut self, bytes: &[u8], now: Instant) {
        if self.waiting.is_empty() {
            let rest = self.advance(bytes, now);
            self.waiting.extend_from_slice(rest);
        } else {
            let mut waiting = std::mem::take(&mut self.waiting);
            waiting.extend_from_slice(bytes);
            let left = self.advance(&waiting, now).len();
            waiting.drain(..waiting.len() - left);
            self.waiting = waiting;
        }
        if self.waiting.len() > WAITING_MAX {
            self.end(CloseReason::TalkedTooEarly);
        }
        if matches!(self.phase, Phase::Ended) {
            self.waiting = Vec::new();
        }
    }

    /// Reads as much as can be read now and returns the rest.
    fn advance<'a>(&mut self, mut bytes: &'a [u8], now: Instant) -> &'a [u8] {
        loop {
            if self.paused_until.is_some() {
                return bytes;
            }
            match &mut self.phase {
                Phase::Greeting => {
                    if self.stopping {
                        self.hang_up(reply::shutting_down(), CloseReason::Shutdown);
                    } else if bytes.is_empty() {
                        return bytes;
                    } else {
                        self.hang_up(reply::talked_too_early(), CloseReason::TalkedTooEarly);
                    }
                }
                Phase::Command => {
                    if self.stopping {
                        self.hang_up(reply::shutting_down(), CloseReason::Shutdown);
                        continue;
                    }
                    let Some(&first) = bytes.first() else { return bytes };
                    if !self.lines.is_partial() && command::is_tls_handshake(first) {
                        self.hang_up(reply::not_smtp(), CloseReason::NotSmtp);
                        continue;
                    }
                    let (taken, outcome) = self.lines.feed(bytes);
                    bytes = &bytes[taken..];
                    if let Some(outcome) = outcome {
                        self.line_arrived(outcome, !bytes.is_empty(), now);
                    }
                }
                Phase::Data(_) if bytes.is_empty() => return bytes,
                Phase::Data(data) => {
                    let (taken, ended) = data.feed(bytes, now);
                    bytes = &bytes[taken..];
                    self.summary.octets += taken as u64;
                    if ended {
                        self.data_ended(now);
                    } else if data.is_endless(self.config.size_max) {
                        self.hang_up(reply::too_big(), CloseReason::EndlessMessage);
                    }
                }
                Phase::Ended => return &[],
                Phase::AskingMail(_)
                | Phase::AskingRecipient(_)
                | Phase::Storing
                | Phase::Handshake => return bytes,
            }
        }
    }

    fn timeout(&mut self, now: Instant) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        if self.paused_until.take().is_some() {
            self.since = now;
            return;
        }
        match self.phase {
            Phase::Greeting => {
                let banner = format!("{} ESMTP Frontdesk", self.config.hostname);
                self.reply(&Reply::plain(220, [banner]));
                self.expect_command(now);
            }
            Phase::Command if now >= self.last_command() => {
                self.hang_up(reply::session_too_long(), CloseReason::TooLong);
            }
            Phase::Command => self.hang_up(reply::idle(), CloseReason::Idle),
            Phase::Data(_) => self.hang_up(reply::too_slow(), CloseReason::TooSlow),
            // The handshake has begun, so a reply in clear text would be noise.
            Phase::Handshake => self.end(CloseReason::Idle),
            Phase::AskingMail(_) | Phase::AskingRecipient(_) | Phase::Storing | Phase::Ended => {}
        }
    }

    fn tls_started(&mut self, info: TlsInfo, now: Instant) {
        if !matches!(self.phase, Phase::Handshake) {
            return;
        }
        // RFC 3207 section 4.2: everything learnt before the handshake is forgotten.
        self.peer.tls = Some(info);
        self.peer.helo = Helo::None;
        self.transaction = None;
        self.lines = LineFramer::new(self.config.command_line_max);
        self.waiting = Vec::new();
        self.expect_command(now);
    }

    fn expect_command(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Ended) {
            self.phase = Phase::Command;
            self.since = now;
        }
    }

    fn pause(&mut self, delay: Duration, now: Instant) {
        if !delay.is_zero() && !self.stopping {
            self.paused_until = Some(now + delay);
        }
    }

    fn reply(&mut self, reply: &Reply) {
        if !matches!(self.phase, Phase::Ended) {
            reply.write_to(&mut self.replies);
        }
    }

    /// Refuses for a reason of the session's own.
    fn turn_down(&mut self, refusal: Refusal) {
        self.refusals.push(refusal);
        self.reply(&refusal.reply());
    }

    fn hang_up(&mut self, reply: Reply, reason: CloseReason) {
        self.reply(&reply);
        self.end(reason);
    }

    fn end(&mut self, reason: CloseReason) {
        if !matches!(self.phase, Phase::Ended) {
            self.phase = Phase::Ended;
            self.closing = Some(reason);
            self.question = None;
            self.transaction = None;
            self.paused_until = None;
        }
    }
}
