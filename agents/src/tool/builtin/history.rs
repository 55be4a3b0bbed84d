//! Reading what was said.

use super::{message, refused, viewpoint};
use crate::{
    tool::{CallEffect, ToolContext, ToolOutput, Tools},
    turn::{
        CallId, Foreign, ForeignKind,
        context::whole,
        fold::CallState,
        prompt::{SHOWN, inline, line, quote},
    },
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Hits of a search.
const HITS: usize = 10;

#[derive(Deserialize, JsonSchema)]
struct Search {
    /// Words that must all occur. "A phrase" in quotes and a beginning* work.
    words: String,
}

#[derive(Deserialize, JsonSchema)]
struct Read {
    /// The number of the message.
    message: i64,
}

#[derive(Deserialize, JsonSchema)]
struct ReadResult {
    /// The call whose result is long, as it was named there.
    call: String,
    /// The octet to go on from.
    #[serde(default)]
    from: usize,
}

pub(super) fn add(tools: Tools) -> Tools {
    tools
        .add(
            "search_history",
            "Finds earlier messages with the people of this conversation, newest first, in mail, chats and calls.",
            CallEffect::Read,
            search,
        )
        .add(
            "read_message",
            "Shows an earlier message whole, with what it quotes and which files it has.",
            CallEffect::Read,
            read,
        )
        .add(
            super::READ_RESULT,
            "Shows more of a long result of an earlier call of yours.",
            CallEffect::Read,
            read_result,
        )
}

async fn search(args: Search, cx: ToolContext) -> Result<ToolOutput, crate::agent::HandlerError> {
    let hits = cx.inner.store.search_visible(viewpoint(&cx), &args.words, HITS).await?;
    if hits.is_empty() {
        return Ok("Nothing was found.".into());
    }
    let mut text = String::new();
    for (conversation, said) in &hits {
        let at = said.at.strftime("%Y-%m-%d %H:%M UTC").to_string();
        let number = format!("message {}", said.message);
        let from = if said.role == "agent" {
            "you wrote".to_owned()
        } else {
            format!("from {}", inline(&said.author))
        };
        let place = format!("conversation {conversation}");
        line(&mut text, &[&number, &place, &said.channel, &at, &from, "its beginning"]);
        quote(&mut text, &said.text);
    }
    Ok(text.into())
}

async fn read(args: Read, cx: ToolContext) -> Result<ToolOutput, crate::agent::HandlerError> {
    let piece = cx.inner.store.read_visible(viewpoint(&cx), message(args.message)).await?;
    let (text, foreign) = whole(&piece);
    Ok(ToolOutput { text, foreign, ..ToolOutput::default() })
}

async fn read_result(
    args: ReadResult,
    cx: ToolContext,
) -> Result<ToolOutput, crate::agent::HandlerError> {
    let call = CallId::parse(&args.call).and_then(|id| cx.inner.so_far.call(id));
    let Some(CallState::Ended(result)) = call.map(|call| &call.state) else {
        return refused(format!("there is no result of a call {:?}", args.call));
    };
    let from = result.text.floor_char_boundary(args.from);
    if from >= result.text.len() {
        return Ok("That is all of it.".into());
    }
    // Room for the line that says how to go on.
    let to = result.text.floor_char_boundary(from + SHOWN - 512);
    // Whatever it was a stretch of, it is data here.
    let mut text = String::new();
    line(&mut text, &[&format!("octets {from} to {to} of {}", result.text.len())]);
    quote(&mut text, &result.text[from..to]);
    let foreign = result
        .foreign
        .iter()
        .cloned()
        .chain((from > 0 && !result.foreign.is_empty()).then(|| {
            Foreign::new(
                ForeignKind::Service,
                format!("result {}", args.call),
                &result.text[from..to],
            )
        }))
        .collect();
    Ok(ToolOutput { text, foreign, ..ToolOutput::default() })
}
