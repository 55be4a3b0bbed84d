//! A support desk that answers from a handbook.
//!
//! Run it, then write to it:
//!
//! ```sh
//! cargo run --example support
//! swaks --server 127.0.0.1:2525 --to support@localhost --from ann@localhost --body 'May I send it back?'
//! cat data/outgoing/*.eml
//! ```
//!
//! With OPENAI_API_KEY or ANTHROPIC_API_KEY in the environment a language model answers; without, the script at the
//! end of this file does.

use frontdesk::testing::{Asked, Script};
use frontdesk::{Assistant, CallEffect, HandlerError, Program, ToolContext};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

const INSTRUCTIONS: &str = "You answer customers of a lamp shop. Look into the handbook before you answer, and say \
only what stands there. Be brief. What is not in the handbook is for a person: use hand_to_person.";

const HANDBOOK: [&str; 4] = [
    "Returns: everything can be sent back within 30 days, unused and in its box.",
    "Delivery: lamps leave on the day they are ordered and arrive within three days.",
    "Repairs: bring the lamp and its bill to the shop, Monday to Friday from 9 to 17.",
    "Payment: by card or by invoice within 14 days.",
];

/// What to look for.
#[derive(Deserialize, JsonSchema)]
struct Search {
    /// What the customer wants to know, in a few words.
    words: String,
}

/// Every entry that shares a word with what is looked for, the closest first.
async fn search(search: Search, _: ToolContext) -> Result<String, HandlerError> {
    let words = search.words.to_lowercase();
    let words: Vec<_> =
        words.split(|c: char| !c.is_alphanumeric()).filter(|w| w.len() > 3).collect();
    let shares = |entry: &str| {
        let entry = entry.to_lowercase();
        words.iter().filter(|word| entry.contains(**word)).count()
    };
    let mut found: Vec<_> = HANDBOOK.iter().filter(|entry| shares(entry) > 0).collect();
    found.sort_by_key(|entry| std::cmp::Reverse(shares(entry)));
    Ok(match found.first() {
        Some(_) => found.into_iter().copied().collect::<Vec<_>>().join("\n"),
        None => "The handbook says nothing about this.".to_owned(),
    })
}

fn main() -> std::process::ExitCode {
    let support = Assistant::new(INSTRUCTIONS)
        .tool("search_handbook", "Looks into the handbook.", CallEffect::Read, search)
        .without_review();
    Program::new().assistant("support", support).rehearse(script).run()
}

/// Looks for the words of the mail, and answers with what stands in the handbook.
fn script(asked: &Asked) -> Script {
    let found = asked.results().into_iter().next().map(|(_, found)| found);
    match found {
        None => {
            let told = asked.last_user();
            let words = told.lines().filter_map(|line| line.strip_prefix("| ")).next_back();
            Script::new().call("search_handbook", &json!({ "words": words }))
        }
        Some(found) if found.contains("says nothing") => {
            Script::new().call("hand_to_person", &json!({ "why": "It is not in the handbook." }))
        }
        Some(found) => Script::say(&format!(
            "Thank you for your question. This is what our handbook says:\n\n{found}"
        )),
    }
}
