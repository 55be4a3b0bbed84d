//! What an event at a stage of a transaction means for the delivery: a table, without I/O.

use super::peer::{Heard, PeerReply};

/// How far a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The TCP connection.
    Connect,
    /// The greeting.
    Greeting,
    /// EHLO, or HELO.
    Hello,
    /// STARTTLS and the handshake.
    Tls,
    /// AUTH.
    Auth,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA, until its 354.
    Data,
    /// The message, before its final dot.
    Content,
    /// After the final dot left.
    Dot,
}

impl Stage {
    /// In the words of a reason.
    fn at(self) -> &'static str {
        match self {
            Stage::Connect => "when connecting",
            Stage::Greeting => "instead of a greeting",
            Stage::Hello => "to EHLO",
            Stage::Tls => "to STARTTLS",
            Stage::Auth => "to AUTH",
            Stage::Mail => "to MAIL FROM",
            Stage::Rcpt => "to RCPT TO",
            Stage::Data => "to DATA",
            Stage::Content => "during the message",
            Stage::Dot => "after the message",
        }
    }
}

/// What became of a try at one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The peer took it.
    Sent(PeerReply),
    /// The peer refused this mail or recipient for good.
    Refused(PeerReply),
    /// It can never go to this peer, for a reason of the mail's own.
    Impossible(String),
    /// The peer said something of this mail that may pass: try the same hosts later.
    Later(String),
    /// Nothing was said of this mail: try the next host now.
    NextHost(String),
    /// The dot left, and no answer came.
    Uncertain(String),
}

/// Judges what was heard at a stage of talking to `host`. Called for what ends a transaction: a positive
/// reply counts only after the final dot.
#[must_use]
pub fn judge(stage: Stage, heard: &Heard, host: &str) -> Verdict {
    let reply = match heard {
        Heard::Reply(reply) => reply,
        Heard::Lost(why) if stage == Stage::Dot => {
            return Verdict::Uncertain(format!("{host} did not answer the final dot: {why}"));
        }
        Heard::Nothing if stage == Stage::Dot => {
            return Verdict::Uncertain(format!("{host} did not answer the final dot in time"));
        }
        Heard::Lost(why) => return Verdict::NextHost(format!("{host} {}: {why}", stage.at())),
        Heard::Nothing => {
            return Verdict::NextHost(format!("{host} {}: no answer in time", stage.at()));
        }
    };
    let said = || format!("{host} said {}: {reply}", stage.at());
    match (stage, reply.code / 100) {
        (Stage::Dot, 2) => Verdict::Sent(reply.clone()),
        // An intermediate or unknown code says neither yes nor no.
        (Stage::Dot, 3) => Verdict::Uncertain(said()),
        // The mark is set, so this try is over whatever the reason.
        (Stage::Dot, 4) => Verdict::Later(said()),
        // The host, not the mail: 421 (RFC 5321 section 3.8), and enhanced codes of the mail system (RFC 3463 section 3.4).
        (_, 4) if is_of_host(reply) => Verdict::NextHost(said()),
        (Stage::Connect | Stage::Greeting | Stage::Hello | Stage::Tls, _) => {
            Verdict::NextHost(said())
        }
        // A sign-in that fails is ours to mend, and no fault of the recipient's.
        (Stage::Auth, _) => Verdict::Later(said()),
        (_, 5) if wants_sign_in(reply) => Verdict::Later(said()),
        (_, 5) => Verdict::Refused(reply.clone()),
        (_, 4) => Verdict::Later(said()),
        // A positive answer where it makes no sense: 2yz to DATA, 354 to RCPT.
        _ => Verdict::NextHost(said()),
    }
}

fn is_of_host(reply: &PeerReply) -> bool {
    reply.code == 421 || reply.status.is_some_and(|status| status.subject == 3)
}

/// 530 and 535 of RFC 4954 section 6, 530 of RFC 3207 section 4, and 538.
fn wants_sign_in(reply: &PeerReply) -> bool {
    matches!(reply.code, 530 | 534 | 535 | 538)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAGES: [Stage; 10] = [
        Stage::Connect,
        Stage::Greeting,
        Stage::Hello,
        Stage::Tls,
        Stage::Auth,
        Stage::Mail,
        Stage::Rcpt,
        Stage::Data,
        Stage::Content,
        Stage::Dot,
    ];

    fn check(stage: Stage, code: u16, text: &str, expected: &str) {
        let heard = Heard::Reply(PeerReply::new(code, text));
        let verdict = format!("{:?}", judge(stage, &heard, "mx"));
        let name = verdict.split('(').next().unwrap();
        assert_eq!(name, expected, "{stage:?} {code} {text}");
    }

    #[test]
    fn replies_about_the_mail_are_final_and_those_about_the_host_are_not() {
        for stage in [Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Content, Stage::Dot] {
            check(stage, 550, "5.1.1 no such user", "Refused");
            check(stage, 554, "no", "Refused");
            check(stage, 450, "4.7.1 greylisted", "Later");
            check(stage, 452, "4.2.2 mailbox full", "Later");
            let of_host = if stage == Stage::Dot { "Later" } else { "NextHost" };
            check(stage, 421, "going down", of_host);
            check(stage, 451, "4.3.0 queue down", of_host);
            check(stage, 530, "5.7.0 Authentication required", "Later");
        }
        for stage in [Stage::Greeting, Stage::Hello, Stage::Tls] {
            check(stage, 554, "5.7.1 not you", "NextHost");
            check(stage, 450, "later", "NextHost");
        }
        check(Stage::Auth, 535, "5.7.8 wrong", "Later");
        check(Stage::Dot, 250, "2.0.0 queued", "Sent");
        check(Stage::Dot, 354, "more", "Uncertain");
        check(Stage::Data, 250, "ok?", "NextHost");
    }

    #[test]
    fn only_silence_after_the_dot_is_uncertain() {
        for stage in STAGES {
            for heard in [Heard::Nothing, Heard::Lost("reset".to_owned())] {
                let uncertain = matches!(judge(stage, &heard, "mx"), Verdict::Uncertain(_));
                assert_eq!(uncertain, stage == Stage::Dot, "{stage:?} {heard:?}");
            }
        }
    }

    #[test]
    fn nothing_but_a_positive_reply_to_the_dot_is_sent() {
        for stage in STAGES {
            for code in [211, 220, 250, 251, 334, 354, 421, 451, 500, 552, 599] {
                let heard = Heard::Reply(PeerReply::new(code, ""));
                let sent = matches!(judge(stage, &heard, "mx"), Verdict::Sent(_));
                assert_eq!(sent, stage == Stage::Dot && code / 100 == 2, "{stage:?} {code}");
            }
        }
    }
}
