//! An assistant that reminds people of things, by mail and in time.
//!
//! ```sh
//! cargo run --example reminder
//! swaks --server 127.0.0.1:2525 --to reminder@localhost --from ann@localhost \
//!     --body 'In 5 seconds, remind me of the kettle.'
//! cat data/outgoing/*.eml
//! ```
//!
//! With a key in the environment a language model answers; without, the script at the end of this file does, which
//! understands sentences like this one.

use frontdesk::testing::{Asked, Script};
use frontdesk::{Assistant, CallEffect, HandlerError, Program, SignedDuration};
use frontdesk::{ToolContext, ToolOutput, Tools, When};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

const INSTRUCTIONS: &str = "You remind people of things. When somebody asks for it, use remind and say when you will \
write. When you follow up, write the reminder in one sentence.";

/// The longest that anybody is reminded ahead.
const FARTHEST: i64 = 366 * 24 * 3600;

#[derive(Deserialize, JsonSchema)]
struct Remind {
    /// Seconds from now.
    seconds: i64,
    /// Of what, in a few words.
    of: String,
}

/// Schedules a follow-up. It is there once the result is, and survives a restart as that does.
async fn remind(remind: Remind, cx: ToolContext) -> Result<ToolOutput, HandlerError> {
    if !(0..=FARTHEST).contains(&remind.seconds) {
        return Err("that is not within a year from now".into());
    }
    let after = When::after_delay(SignedDuration::from_secs(remind.seconds));
    let text = format!("A reminder of {} comes in {} s.", remind.of, remind.seconds);
    Ok(ToolOutput::text(text).with(cx.follow_up(&remind.of, after, &remind.of)))
}

fn main() -> std::process::ExitCode {
    let tools = Tools::new().add_as(
        "remind",
        "Reminds the writer of something later.",
        CallEffect::Reversible,
        // All it does is to schedule.
        |spec| spec.local = true,
        remind,
    );
    let reminder = Assistant::new(INSTRUCTIONS).tools(tools).without_review();
    Program::new().assistant("reminder", reminder).rehearse(script).run()
}

/// Understands "in 5 seconds, remind me of …", and says at that time what it was.
fn script(asked: &Asked) -> Script {
    let told = asked.last_user();
    if let Some((_, note)) = told.split_once("follow up, as you noted to yourself") {
        let of = note.lines().find_map(|line| line.strip_prefix("| ")).unwrap_or("nothing");
        return Script::say(&format!("This is your reminder of {of}."));
    }
    if let Some((_, done)) = asked.results().first() {
        return Script::say(done);
    }
    let mail = told.lines().filter_map(|line| line.strip_prefix("| ")).next_back().unwrap_or("");
    let seconds = mail.split_whitespace().find_map(|word| word.parse::<u64>().ok());
    match (seconds, mail.split_once(" of ")) {
        (Some(seconds), Some((_, of))) => Script::new()
            .call("remind", &json!({ "seconds": seconds, "of": of.trim_end_matches('.') })),
        _ => Script::say("Write to me: in 5 seconds, remind me of the kettle."),
    }
}
