//! The server's messages.

use super::{Features, RESUME_TEXT_WITHIN_MS, Wire};
use crate::{
    audio::Rate,
    call::{Notice, Outcome, Status, TurnMetrics},
};
use serde_json::{Value, json};

/// How long a dropped call waits for its client; the call's own limit ([`crate::call::Config::reconnect`]).
const RESUME_WITHIN_MS: u64 = 30_000;

fn wire(message: &Value) -> Wire {
    Wire::Text(message.to_string())
}

/// The first message of a connection.
#[must_use]
pub fn welcome() -> Wire {
    wire(&json!({ "type": "welcome", "protocol_version": 1, "features": Features::OFFERED }))
}

/// Who has the floor.
#[must_use]
pub fn status(status: Status) -> Wire {
    wire(&json!({ "type": "status", "status": status }))
}

/// What the binary frames of a call will be.
#[must_use]
pub fn audio_config(rate: Rate) -> Wire {
    wire(&json!({ "type": "audio_config", "format": "pcm16", "sampleRate": rate.hz() }))
}

/// A call began, and goes on after a drop with this token.
#[must_use]
pub fn call_started(token: &str) -> Wire {
    wire(
        &json!({ "type": "call_started", "resume_token": token, "resume_within_ms": RESUME_WITHIN_MS }),
    )
}

/// A dropped call goes on; the next drop needs this token.
#[must_use]
pub fn call_resumed(token: &str) -> Wire {
    wire(
        &json!({ "type": "call_resumed", "resume_token": token, "resume_within_ms": RESUME_WITHIN_MS }),
    )
}

/// A dropped call cannot go on.
#[must_use]
pub fn call_resume_failed(reason: &str) -> Wire {
    wire(&json!({ "type": "call_resume_failed", "reason": reason }))
}

/// Text outside of calls goes on after a drop with this token.
#[must_use]
pub fn text_started(token: &str) -> Wire {
    wire(
        &json!({ "type": "text_started", "resume_token": token, "resume_within_ms": RESUME_TEXT_WITHIN_MS }),
    )
}

/// It goes on: what the client lacks follows.
#[must_use]
pub fn text_resumed() -> Wire {
    wire(&json!({ "type": "text_resumed" }))
}

/// It cannot go on.
#[must_use]
pub fn text_resume_failed(reason: &str) -> Wire {
    wire(&json!({ "type": "text_resume_failed", "reason": reason }))
}

/// A message of text outside of calls with its number.
#[must_use]
pub fn numbered(at: u64, message: &str) -> Wire {
    // Every message is an object with at least its type.
    Wire::Text(format!("{{\"at\":{at},{}", &message[1..]))
}

/// Types of messages that are the protocol's, in either direction, and the older client's internal ones.
const OURS: [&str; 38] = [
    "welcome",
    "status",
    "audio_config",
    "call_started",
    "call_resumed",
    "call_resume_failed",
    "pong",
    "error",
    "notice",
    "transcript",
    "transcript_start",
    "transcript_delta",
    "transcript_end",
    "transcript_interim",
    "transcript_heard",
    "audio_start",
    "audio_end",
    "playback_pause",
    "playback_resume",
    "playback_interrupt",
    "metrics",
    "turn_metrics",
    "hello",
    "start_call",
    "end_call",
    "interrupt",
    "text_message",
    "playback",
    "barge_in_hint",
    "resume_call",
    "ping",
    "text_started",
    "text_resumed",
    "text_resume_failed",
    "resume_text",
    "pace",
    "start_of_speech",
    "end_of_speech",
];

/// A message of the application's own; nothing where it is no JSON object, or could be taken for one of the
/// protocol's.
#[must_use]
pub fn custom(message: &Value) -> Option<Wire> {
    let fields = message.as_object()?;
    let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
    (!OURS.contains(&kind)).then(|| wire(message))
}

/// The answer to a ping.
#[must_use]
pub fn pong(id: u64) -> Wire {
    wire(&json!({ "type": "pong", "id": id }))
}

/// Something went wrong, in words for the caller.
#[must_use]
pub fn error(message: &str) -> Wire {
    wire(&json!({ "type": "error", "message": message }))
}

/// Something to show until it is done.
#[must_use]
pub fn notice(id: &str, warning: bool, text: &str, progress: Option<f64>, done: bool) -> Wire {
    let mut message = json!({
        "type": "notice", "id": id, "level": if warning { "warning" } else { "info" }, "text": text,
        "done": done,
    });
    if let Some(progress) = progress {
        message["progress"] = json!(progress);
    }
    wire(&message)
}

/// The same with a button.
#[must_use]
pub fn offer(id: &str, text: &str, action: &str, label: &str) -> Wire {
    wire(&json!({
        "type": "notice", "id": id, "level": "warning", "text": text,
        "action": { "id": action, "label": label },
    }))
}

/// A whole message of the transcript.
#[must_use]
pub fn transcript(role: &str, text: &str) -> Wire {
    wire(&json!({ "type": "transcript", "role": role, "text": text }))
}

/// A reply begins to be written.
#[must_use]
pub fn transcript_start(generation: Option<u32>) -> Wire {
    let mut message = json!({ "type": "transcript_start", "role": "assistant" });
    if let Some(generation) = generation {
        message["generation"] = json!(generation);
    }
    wire(&message)
}

/// More of it.
#[must_use]
pub fn transcript_delta(text: &str) -> Wire {
    wire(&json!({ "type": "transcript_delta", "text": text }))
}

/// All of it.
#[must_use]
pub fn transcript_end(text: &str) -> Wire {
    wire(&json!({ "type": "transcript_end", "text": text }))
}

/// How much of an interrupted reply was heard, and what was not.
pub(super) fn transcript_heard(generation: u32, heard: &str, unheard: &str) -> Wire {
    wire(&json!({
        "type": "transcript_heard", "generation": generation, "heard": heard, "unheard": unheard,
    }))
}

/// The sound of a reply begins.
pub(super) fn audio_start(generation: u32) -> Wire {
    wire(&json!({ "type": "audio_start", "generation": generation }))
}

/// All of it was sent.
pub(super) fn audio_end(generation: u32) -> Wire {
    wire(&json!({ "type": "audio_end", "generation": generation }))
}

/// Be quiet, and keep what was not played.
pub(super) fn playback_pause() -> Wire {
    wire(&json!({ "type": "playback_pause" }))
}

/// Go on where it stopped.
pub(super) fn playback_resume() -> Wire {
    wire(&json!({ "type": "playback_resume" }))
}

/// Be quiet, and forget what was not played.
pub(super) fn playback_interrupt() -> Wire {
    wire(&json!({ "type": "playback_interrupt" }))
}

/// What the caller seems to be saying.
#[must_use]
pub fn transcript_interim(text: &str) -> Wire {
    wire(&json!({ "type": "transcript_interim", "text": text }))
}

/// What went wrong, in words; nothing for an agent that stays silent, which it may.
#[must_use]
pub fn explain(notice: Notice) -> Option<&'static str> {
    Some(match notice {
        Notice::AgentFailed => "The agent could not answer. Please try again.",
        Notice::AgentSlow => "The agent took too long to answer. Please try again.",
        Notice::NoReply => return None,
        Notice::VoiceFailed => "The rest of the answer cannot be spoken. You can read it here.",
        Notice::HearingTrouble => "The last words could not be understood. Please say them again.",
        Notice::HearingFailed => "You cannot be understood any more. Please write instead.",
    })
}

/// The times of a turn: version 1's, and the newer message with its outcome. Milliseconds.
pub(super) fn metrics(metrics: &TurnMetrics) -> [Wire; 2] {
    let from = metrics.speech_end.unwrap_or(metrics.turn_end);
    let between = |from: Option<u64>, to: Option<u64>| match (from, to) {
        (Some(from), Some(to)) => to.saturating_sub(from),
        _ => 0,
    };
    let total = metrics.end.saturating_sub(from);
    let outcome = match metrics.outcome {
        Outcome::Complete => "completed",
        Outcome::Interrupted => "interrupted",
        Outcome::Failed => "error",
        Outcome::HungUp => "aborted",
    };
    let mut turn = json!({
        "type": "turn_metrics",
        "turnId": metrics.turn.to_string(),
        "source": if metrics.speech_end.is_some() { "speech" } else { "text" },
        "outcome": outcome,
        "turnTotalMs": total,
    });
    let named = [
        ("endpointingMs", between(metrics.speech_end, Some(metrics.turn_end))),
        ("sttMs", between(metrics.speech_end, metrics.final_text)),
        ("llmFirstTokenMs", between(Some(metrics.turn_end), metrics.first_text)),
        ("ttsFirstAudioMs", between(metrics.first_text, metrics.first_audio)),
        ("firstAudioMs", between(Some(from), metrics.first_audio)),
    ];
    for (name, value) in named {
        turn[name] = json!(value);
    }
    [
        wire(&json!({
            "type": "metrics",
            "llm_ms": between(Some(metrics.turn_end), metrics.first_text),
            "tts_ms": between(metrics.first_text, metrics.first_audio),
            "first_audio_ms": between(Some(from), metrics.first_audio),
            "total_ms": total,
        })),
        wire(&turn),
    ]
}
