//! A message left in a call: what a caller means who does not leave one, and how it is told.

use crate::{
    CallEnded, Draft, Trust,
    live::{Hearing, Line, Speaker},
};
use std::fmt::Write;

/// Something that is said to the receptionist and not to whoever the message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remark {
    AnybodyThere,
    Goodbye,
}

/// A turn of more words than this is part of the message, however it ends or begins.
const REMARK_WORDS: usize = 6;

/// What a short turn is, if it is a remark. English only; anything else is part of the message.
pub(super) fn remark(text: &str) -> Option<Remark> {
    let words: Vec<String> = text
        .split(|c: char| !c.is_alphanumeric() && c != '\'' && c != '’')
        .filter(|word| !word.is_empty())
        .map(|word| word.to_lowercase().replace('’', "'"))
        .collect();
    if words.is_empty() || words.len() > REMARK_WORDS {
        return None;
    }
    let said = words.join(" ");
    let asked = [
        "are you there",
        "are you still there",
        "can you hear me",
        "is anybody there",
        "is anyone there",
    ];
    let there = said.split(' ').all(|word| word == "hello")
        || asked.iter().any(|asked| said.ends_with(asked));
    if there {
        return Some(Remark::AnybodyThere);
    }
    let last = words.last().map(String::as_str);
    let bye = matches!(last, Some("bye" | "goodbye"))
        || said == "that's all"
        || said == "that is all"
        || said.starts_with("that's all thank");
    bye.then_some(Remark::Goodbye)
}

/// What the owner is told of a call.
pub(super) fn notice(name: &str, ended: &CallEnded) -> Draft {
    let call = &ended.call;
    let caller = &call.caller;
    let who = match (&caller.name, &caller.handle) {
        (Some(name), Some(handle)) => format!("{name} ({handle})"),
        _ => caller.label().to_owned(),
    };
    let proof = match caller.trust {
        Trust::Unproven => "not proven: anybody can say so".to_owned(),
        _ if caller.proof.is_empty() => caller.trust.as_str().to_owned(),
        _ => format!("{}, by {}", caller.trust.as_str(), caller.proof),
    };
    let mut text = format!("A message for {name} was left in a call.\n\n");
    let mut add = |line: std::fmt::Arguments<'_>| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{line}");
    };
    add(format_args!("Caller:    {}", one_line(&who)));
    add(format_args!("Who it is: {}", one_line(&proof)));
    if let Some(called) = &call.called {
        add(format_args!("Called:    {}", one_line(called)));
    }
    add(format_args!("Began:     {}", call.started_at.strftime("%Y-%m-%d %H:%M:%S UTC")));
    add(format_args!("Length:    {}; {}", clock(ended.duration_ms), ended.reason.in_words()));
    add(format_args!("Reference: FD-{}", call.conversation));
    let recording = match &ended.recording {
        None => "none",
        Some(info) if info.fits_a_mail() => "attached",
        Some(_) => "too large for a mail; it is in the inbox",
    };
    add(format_args!("Recording: {recording}"));
    add(format_args!(""));
    if call.hearing == Hearing::Basic {
        add(format_args!(
            "What follows was understood by a basic transcriber. Only the recording counts.\n"
        ));
    }
    if !ended.has_words() {
        add(format_args!("No words were understood."));
    }
    for line in &ended.transcript {
        add(format_args!("{}", in_transcript(name, line)));
    }
    Draft::text(text).subject(format!("Call from {}", one_line(&who)))
}

fn in_transcript(name: &str, line: &Line) -> String {
    let who = match line.speaker {
        Speaker::Caller => "Caller",
        Speaker::Agent => name,
    };
    let cut = if line.is_cut_off() { " [cut off]" } else { "" };
    format!("{}  {who}: {}{cut}", clock(line.at_ms), one_line(&line.text))
}

/// A time within a call, as minutes and seconds.
fn clock(ms: i64) -> String {
    let seconds = ms.max(0) / 1_000;
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}

/// What callers are called and say stays on its line: it writes no lines of ours.
fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_control() || c.is_whitespace())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Call, CallId, ConversationId,
        live::{CallChannel, CallerCard, EndReason, Origin, RecordingInfo, Via},
    };

    #[test]
    fn remarks_are_told_from_messages() {
        let check = |text: &str, expected: Option<Remark>| {
            assert_eq!(remark(text), expected, "{text:?}");
        };
        check("Hello?", Some(Remark::AnybodyThere));
        check("Hello? Are you there?", Some(Remark::AnybodyThere));
        check("Um, can you hear me?", Some(Remark::AnybodyThere));
        check("Thank you, bye!", Some(Remark::Goodbye));
        check("That’s all, thank you.", Some(Remark::Goodbye));
        check("Hello, this is Ann, please call me back.", None);
        check("And please do say to my wife that I said goodbye", None);
        check("Tell him the order number is four two.", None);
        check("", None);
    }

    fn ended() -> CallEnded {
        let said = |speaker, at_ms, text: &str, unheard: &str| Line {
            speaker,
            origin: Origin::Caller,
            via: Some(Via::Speech),
            at_ms,
            text: text.into(),
            unheard: unheard.into(),
        };
        CallEnded {
            call: Call {
                id: CallId(3),
                conversation: ConversationId(7),
                channel: CallChannel::Phone,
                caller: CallerCard {
                    name: Some("Ann\nBcc: all".into()),
                    handle: Some("+15550100".into()),
                    trust: Trust::Unproven,
                    proof: String::new(),
                },
                called: Some("+15550199".into()),
                parameters: Default::default(),
                hearing: Hearing::Basic,
                started_at: "2026-03-02T09:00:05Z".parse().unwrap(),
            },
            reason: EndReason::CallerHungUp,
            duration_ms: 72_400,
            transcript: vec![
                said(Speaker::Agent, 200, "Hello, this is", " Front Desk."),
                said(Speaker::Caller, 2_000, "my parcel\nnever came", ""),
            ],
            recording: Some(RecordingInfo { media_type: "audio/wav".into(), size: 10 }),
        }
    }

    #[test]
    fn the_owner_is_told_who_called_how_far_that_is_proven_and_what_was_said() {
        let draft = notice("Front Desk", &ended());
        assert_eq!(draft.subject, "Call from Ann Bcc: all (+15550100)");
        assert_eq!(
            draft.text,
            "A message for Front Desk was left in a call.\n\
             \n\
             Caller:    Ann Bcc: all (+15550100)\n\
             Who it is: not proven: anybody can say so\n\
             Called:    +15550199\n\
             Began:     2026-03-02 09:00:05 UTC\n\
             Length:    01:12; the caller hung up\n\
             Reference: FD-7\n\
             Recording: attached\n\
             \n\
             What follows was understood by a basic transcriber. Only the recording counts.\n\
             \n\
             00:00  Front Desk: Hello, this is [cut off]\n\
             00:02  Caller: my parcel never came\n"
        );
    }

    #[test]
    fn a_recording_too_large_for_a_mail_is_said_to_be_in_the_inbox() {
        let mut large = ended();
        large.recording = Some(RecordingInfo { media_type: "audio/wav".into(), size: 1 << 30 });
        large.transcript.clear();
        let text = notice("Front Desk", &large).text;
        assert!(text.contains("Recording: too large for a mail; it is in the inbox"), "{text}");
        assert!(text.ends_with("No words were understood.\n"), "{text}");
    }
}
