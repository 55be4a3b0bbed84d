//! What each command does, in the order of a transaction.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::address::{ForwardPath, ReversePath};
use crate::receive::backend::{Envelope, Helo};
use crate::receive::command::{self, Command, MailParameters, Refused};
use crate::receive::framer::LineViolation;
use crate::receive::limits::Penalty;
use crate::reply::{self, Reply};

use super::{CloseReason, Data, Output, Phase, Refusal, Session};

/// A mail transaction between MAIL and the end of DATA.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) envelope: Envelope,
    /// Compare keys of the recipients taken so far.
    keys: HashSet<String>,
}

impl Transaction {
    fn new(reverse_path: ReversePath, parameters: MailParameters) -> Self {
        let envelope = Envelope {
            reverse_path,
            recipients: Vec::new(),
            smtputf8: parameters.smtputf8,
            body: parameters.body,
            declared_size: parameters.size,
        };
        Self { envelope, keys: HashSet::new() }
    }
}

impl Session {
    /// A command line is complete. `more` says whether octets follow it already.
    pub(super) fn line_arrived(
        &mut self,
        outcome: Result<(), LineViolation>,
        more: bool,
        now: Instant,
    ) {
        self.summary.commands += 1;
        self.since = now;
        match outcome {
            Ok(()) => {}
            // Where the line ends is now a matter of opinion, and so is every reply after this one.
            Err(LineViolation::BareLf | LineViolation::BareCr) => {
                return self.hang_up(reply::bad_line_end(), CloseReason::BareLineEnd);
            }
            Err(LineViolation::Endless) => {
                return self.hang_up(reply::line_too_long(), CloseReason::EndlessLine);
            }
            Err(LineViolation::TooLong) => return self.mistake(reply::line_too_long()),
        }
        match command::parse(self.lines.line()) {
            Ok(command) => {
                // RFC 2920 section 3.1, and nobody may pipeline who was not offered it.
                if more && (must_be_last(&command) || !self.peer.helo.is_esmtp()) {
                    self.hang_up(reply::talked_too_early(), CloseReason::TalkedTooEarly);
                } else {
                    self.execute(command, now);
                }
            }
            Err(Refused::With(reply)) => self.mistake(reply),
            Err(Refused::HangUp(reply)) => {
                let bdat = reply.code() == 502;
                let reason = if bdat { CloseReason::Bdat } else { CloseReason::NotSmtp };
                self.hang_up(reply, reason);
            }
        }
    }

    fn execute(&mut self, command: Command, now: Instant) {
        match command {
            Command::Ehlo(name) => self.ehlo(name),
            Command::Helo(name) => self.helo(name),
            Command::Mail(path, parameters) => self.mail(path, parameters),
            Command::Rcpt(path) => self.rcpt(path),
            Command::Data => self.data(now),
            Command::StartTls => self.starttls(now),
            Command::Rset => {
                self.transaction = None;
                self.idle_talk(reply::ok());
            }
            Command::Noop => self.idle_talk(reply::ok()),
            Command::Vrfy => self.idle_talk(reply::cannot_verify()),
            Command::Help => self.idle_talk(reply::help()),
            Command::Quit => self.hang_up(reply::bye(), CloseReason::Quit),
        }
    }

    fn ehlo(&mut self, name: String) {
        let config = &self.config;
        let mut lines = vec![
            config.hostname.clone(),
            "PIPELINING".to_owned(),
            format!("SIZE {}", config.size_max),
            "8BITMIME".to_owned(),
            "SMTPUTF8".to_owned(),
            "ENHANCEDSTATUSCODES".to_owned(),
        ];
        // RFC 9422.
        let mut limits = format!("LIMITS RCPTMAX={}", config.recipients_max);
        if let Some(messages_max) = config.messages_max {
            limits.push_str(&format!(" MAILMAX={messages_max}"));
        }
        lines.push(limits);
        if self.tls_offered && self.peer.tls.is_none() {
            lines.push("STARTTLS".to_owned());
        }
        self.greeted(Helo::Ehlo(name), Reply::plain(250, lines));
    }

    fn helo(&mut self, name: String) {
        let reply = Reply::plain(250, [self.config.hostname.clone()]);
        self.greeted(Helo::Helo(name), reply);
    }

    /// RFC 5321 section 4.1.4: a second EHLO also resets the transaction.
    fn greeted(&mut self, helo: Helo, reply: Reply) {
        self.peer.helo = helo;
        self.transaction = None;
        self.idle_talk(reply);
    }

    fn starttls(&mut self, now: Instant) {
        if self.peer.tls.is_some() {
            return self.mistake(reply::tls_active());
        }
        if !self.tls_offered {
            return self.mistake(reply::not_implemented());
        }
        self.reply(&reply::start_tls());
        self.question = Some(Output::StartTls);
        self.phase = Phase::Handshake;
        self.since = now;
    }

    fn mail(&mut self, path: ReversePath, parameters: MailParameters) {
        if self.peer.helo == Helo::None {
            return self.mistake(reply::greet_first());
        }
        if self.transaction.is_some() {
            return self.mistake(reply::bad_sequence());
        }
        let done = self.summary.messages_accepted + self.summary.messages_refused;
        if self.config.messages_max.is_some_and(|max| done >= max) {
            return self.hang_up(reply::too_many_messages(), CloseReason::TooManyMessages);
        }
        let declared = parameters.size.unwrap_or(0);
        if declared > self.config.size_max as u64 {
            return self.turn_down(Refusal::MessageSize);
        }
        if declared > self.budget.free() as u64 {
            return self.turn_down(Refusal::MemoryBudget);
        }
        self.phase = Phase::AskingMail(Transaction::new(path, parameters));
        self.question = Some(Output::AskMail);
    }

    pub(super) fn mail_answered(&mut self, answer: Result<Duration, Reply>, now: Instant) {
        if !matches!(self.phase, Phase::AskingMail(_)) {
            return;
        }
        let phase = std::mem::replace(&mut self.phase, Phase::Command);
        self.since = now;
        let Phase::AskingMail(transaction) = phase else { return };
        match answer {
            Ok(delay) => {
                self.transaction = Some(transaction);
                self.reply(&reply::sender_ok());
                self.pause(delay, now);
            }
            Err(reply) => self.refuse(reply),
        }
    }

    fn rcpt(&mut self, path: ForwardPath) {
        let Some(transaction) = &self.transaction else {
            return self.mistake(reply::bad_sequence());
        };
        let envelope = &transaction.envelope;
        if !path.is_ascii() && !envelope.smtputf8 {
            return self.reply(&reply::needs_smtputf8());
        }
        if transaction.keys.contains(&path.key()) {
            return self.reply(&reply::recipient_ok());
        }
        // A bounce or other automatic message goes to one address; more of them are a spread.
        let max = if envelope.reverse_path.is_null() { 1 } else { self.config.recipients_max };
        if envelope.recipients.len() >= max {
            return self.turn_down(Refusal::TooManyRecipients);
        }
        let from = envelope.reverse_path.clone();
        self.question = Some(Output::AskRecipient { from, to: path.clone() });
        self.phase = Phase::AskingRecipient(path);
    }

    pub(super) fn recipient_answered(
        &mut self,
        answer: Result<(), Reply>,
        penalty: Penalty,
        now: Instant,
    ) {
        if !matches!(self.phase, Phase::AskingRecipient(_)) {
            return;
        }
        let phase = std::mem::replace(&mut self.phase, Phase::Command);
        self.since = now;
        let Phase::AskingRecipient(path) = phase else { return };
        match answer {
            Ok(()) => {
                self.summary.recipients_accepted += 1;
                if let Some(transaction) = &mut self.transaction {
                    transaction.keys.insert(path.key());
                    transaction.envelope.recipients.push(path);
                }
                self.reply(&reply::recipient_ok());
            }
            Err(reply) => {
                self.summary.recipients_refused += 1;
                match penalty {
                    Penalty::None => self.refuse(reply),
                    Penalty::Delay(delay) => {
                        self.refuse(reply);
                        self.pause(delay, now);
                    }
                    Penalty::HangUp => self.hang_up(reply::probing(), CloseReason::Probing),
                }
            }
        }
    }

    fn data(&mut self, now: Instant) {
        let Some(transaction) = &self.transaction else {
            return self.mistake(reply::bad_sequence());
        };
        if transaction.envelope.recipients.is_empty() {
            return self.reply(&reply::no_recipients());
        }
        self.reply(&Reply::plain(354, ["end with <CR><LF>.<CR><LF>"]));
        self.phase = Phase::Data(Data::new(&self.config, &self.budget, now));
    }

    /// Passes a refusal of the backend on; one that is no refusal is a mistake on our side.
    pub(super) fn refuse(&mut self, reply: Reply) {
        if reply.is_closing() {
            self.hang_up(reply, CloseReason::Backend);
        } else if reply.is_transient() || reply.is_permanent() {
            self.reply(&reply);
        } else {
            self.reply(&reply::local_error());
        }
    }

    /// A reply to a command that moves no mail.
    fn idle_talk(&mut self, reply: Reply) {
        self.junk += 1;
        if self.junk > self.config.junk_max {
            self.mistake(reply);
        } else {
            self.reply(&reply);
        }
    }

    /// The peer broke the protocol.
    fn mistake(&mut self, reply: Reply) {
        self.summary.errors += 1;
        if self.summary.errors > self.config.errors_max {
            self.hang_up(reply::too_many_errors(), CloseReason::TooManyErrors);
        } else {
            self.reply(&reply);
        }
    }

    pub(super) fn message_done(&mut self) {
        self.junk = 0;
        self.transaction = None;
    }
}

/// Commands whose reply the peer must await (RFC 2920 section 3.1, RFC 3207 section 4).
fn must_be_last(command: &Command) -> bool {
    matches!(
        command,
        Command::Ehlo(_)
            | Command::Helo(_)
            | Command::Data
            | Command::StartTls
            | Command::Quit
            | Command::Vrfy
            | Command::Noop
    )
}
