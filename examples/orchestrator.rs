//! A sales desk that asks two other agents before it answers: the store room and the workshop. What they say to
//! each other are Rust types.
//!
//! ```sh
//! cargo run --example orchestrator
//! swaks --server 127.0.0.1:2525 --to sales@localhost --from ann@localhost --body 'Ten lamps, please.'
//! cat data/outgoing/*.eml
//! ```
//!
//! With a key in the environment a language model answers; without, the script at the end of this file does.

use frontdesk::testing::{Asked, Script};
use frontdesk::{Agent, Assistant, Context, HandlerError, Program, Question};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const INSTRUCTIONS: &str = "You sell lamps. Before you answer, ask the store room how many there \
are, and the workshop how long it takes to make those that are missing. Tell the customer both.";

/// Asked of the store room.
#[derive(Serialize, Deserialize, JsonSchema)]
struct InStock {
    /// What the customer wants, in the singular.
    item: String,
}

#[derive(Serialize, Deserialize, Default)]
struct Stock {
    pieces: u32,
}

/// Asked of the workshop.
#[derive(Serialize, Deserialize, JsonSchema)]
struct HowLong {
    pieces: u32,
}

#[derive(Serialize, Deserialize, Default)]
struct Days {
    days: u32,
}

struct StoreRoom;

impl Agent for StoreRoom {
    type State = ();

    fn on_question(&self, _: &mut Context<'_, ()>, q: &Question) -> Result<Value, HandlerError> {
        let InStock { item } = q.read()?;
        let pieces = if item == "lamp" { 4 } else { 0 };
        Ok(serde_json::to_value(Stock { pieces })?)
    }
}

struct Workshop;

impl Agent for Workshop {
    type State = ();

    fn on_question(&self, _: &mut Context<'_, ()>, q: &Question) -> Result<Value, HandlerError> {
        let HowLong { pieces } = q.read()?;
        Ok(serde_json::to_value(Days { days: pieces.div_ceil(2) })?)
    }
}

fn main() -> std::process::ExitCode {
    let sales = Assistant::new(INSTRUCTIONS)
        .asks::<InStock>("ask_store_room", "How many pieces there are.", "store-room")
        .asks::<HowLong>("ask_workshop", "How many days making some takes.", "workshop")
        .without_review();
    Program::new()
        .agent("store-room", StoreRoom)
        .agent("workshop", Workshop)
        .assistant("sales", sales)
        .rehearse(script)
        .run()
}

/// Asks the store room about ten lamps, then the workshop about the missing ones.
fn script(asked: &Asked) -> Script {
    let told = asked.all_results();
    let Stock { pieces } = told.first().map(|told| read(told)).unwrap_or_default();
    match told.get(1).map(|told| read(told)) {
        None if told.is_empty() => Script::new().call("ask_store_room", &json!({ "item": "lamp" })),
        None => Script::new().call("ask_workshop", &json!({ "pieces": 10 - pieces })),
        Some(Days { days }) => {
            Script::say(&format!("We have {pieces} lamps here. The others take {days} days."))
        }
    }
}

fn read<T: for<'a> Deserialize<'a> + Default>(told: &str) -> T {
    serde_json::from_str(told).unwrap_or_default()
}
