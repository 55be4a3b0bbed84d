//! Answers of OpenAI's chat completions.
//!
//! Imitators differ, and all of these are taken: usage in the chunk that ends the answer, in one after it, in
//! every chunk, in the choice (Moonshot) or in `x_groq`; no `[DONE]`; calls without an index, without an id,
//! or all with index 0 (Ollama until 2026); arguments as an object; `stop` where calls were made; errors as
//! an event of a stream that began with status 200.

use super::{Stage, calls::Calls, failure, word};
use crate::model::{ErrorKind, Event, StopReason, Usage, sse::SseEvent};
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug)]
pub(in crate::model) struct Decoder {
    calls: Calls,
    /// The index each call came with.
    indices: Vec<Option<u64>>,
    usage: Option<Usage>,
    stop: Option<StopReason>,
    refused: bool,
    done: bool,
}

#[derive(Deserialize)]
struct Chunk {
    choices: Option<Vec<Choice>>,
    usage: Option<WireUsage>,
    x_groq: Option<Groq>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Groq {
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: u64,
    delta: Option<Delta>,
    finish_reason: Option<String>,
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<Value>,
    refusal: Option<String>,
    tool_calls: Option<Vec<CallDelta>>,
    // What the model thinks is not shown, but shows that it lives: DeepSeek and llama.cpp, then OpenRouter
    // and Ollama.
    reasoning_content: Option<Value>,
    reasoning: Option<Value>,
}

#[derive(Deserialize)]
struct CallDelta {
    index: Option<u64>,
    id: Option<String>,
    function: Option<FunctionDelta>,
}

#[derive(Deserialize)]
struct FunctionDelta {
    name: Option<String>,
    arguments: Option<Value>,
}

#[derive(Deserialize)]
struct WireUsage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<Details>,
    /// Moonshot and DeepSeek.
    cached_tokens: Option<u64>,
    prompt_cache_hit_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Details {
    cached_tokens: Option<u64>,
}

impl Decoder {
    pub fn new(salt: String) -> Self {
        Self {
            calls: Calls::new(salt),
            indices: Vec::new(),
            usage: None,
            stop: None,
            refused: false,
            done: false,
        }
    }

    pub fn stage(&self) -> Stage {
        match (self.done, &self.stop) {
            (true, _) => Stage::Done,
            (false, Some(_)) => Stage::Complete,
            (false, None) => Stage::Open,
        }
    }

    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    pub fn read(&mut self, event: &SseEvent, out: &mut Vec<Event>) -> Result<bool, ErrorKind> {
        let data = event.data.trim();
        if data == "[DONE]" {
            // Some servers have no finish_reason; this is their proper end.
            if self.stop.is_none() {
                self.finish(None, out);
            }
            self.close(out);
            return Ok(true);
        }
        if event.name == "error" {
            return Err(failure::in_stream(data.as_bytes()));
        }
        if data.is_empty() {
            return Ok(false);
        }
        let chunk: Chunk = serde_json::from_str(data)
            .map_err(|_| ErrorKind::Protocol { what: "an event is not a chat completion chunk" })?;
        if chunk.error.is_some_and(|error| !error.is_null()) {
            return Err(failure::in_stream(data.as_bytes()));
        }
        if let Some(usage) = chunk.usage.or(chunk.x_groq.and_then(|groq| groq.usage)) {
            self.usage = Some(usage.into());
        }
        let mut alive = false;
        // Only one answer was asked for.
        for choice in chunk.choices.into_iter().flatten().filter(|choice| choice.index == 0) {
            if let Some(usage) = choice.usage {
                self.usage = Some(usage.into());
            }
            if self.stop.is_some() {
                continue;
            }
            if let Some(delta) = choice.delta {
                alive |= self.delta(delta, out)?;
            }
            if let Some(reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) {
                self.finish(Some(&reason), out);
                alive = true;
            }
        }
        Ok(alive)
    }

    fn delta(&mut self, delta: Delta, out: &mut Vec<Event>) -> Result<bool, ErrorKind> {
        let mut alive = [delta.reasoning_content, delta.reasoning].iter().flatten().any(said);
        let mut text = delta.content.as_ref().map(text_of).unwrap_or_default();
        if let Some(refusal) = delta.refusal.filter(|refusal| !refusal.is_empty()) {
            self.refused = true;
            text.push_str(&refusal);
        }
        if !text.is_empty() {
            alive = true;
            out.push(Event::TextDelta(text));
        }
        for piece in delta.tool_calls.into_iter().flatten() {
            alive = true;
            self.call(piece, out)?;
        }
        Ok(alive)
    }

    fn call(&mut self, piece: CallDelta, out: &mut Vec<Event>) -> Result<(), ErrorKind> {
        let id = piece.id.unwrap_or_default();
        let (name, arguments) = match piece.function {
            Some(function) => (function.name.unwrap_or_default(), function.arguments),
            None => (String::new(), None),
        };
        let known = match piece.index {
            Some(index) => self.indices.iter().rposition(|known| *known == Some(index)),
            None if id.is_empty() => self.calls.len().checked_sub(1),
            None => (0..self.calls.len()).find(|&known| self.calls.id(known) == id),
        };
        // A new id with a new name is a new call, whatever its index says; so is a name without either.
        let another = |known: usize| {
            !name.is_empty()
                && (!id.is_empty() && self.calls.id(known) != id
                    || id.is_empty() && piece.index.is_none())
        };
        let index = match known {
            Some(known) if !another(known) => known,
            _ => {
                self.indices.push(piece.index);
                self.calls.begin(&id)?
            }
        };
        self.calls.name(index, &name, out);
        match arguments {
            None | Some(Value::Null) => {}
            Some(Value::String(json)) => self.calls.more(index, &json, out),
            Some(whole) => self.calls.more(index, &whole.to_string(), out),
        }
        Ok(())
    }

    /// The model has said everything.
    fn finish(&mut self, reason: Option<&str>, out: &mut Vec<Event>) {
        self.calls.complete_all(out);
        let reason = match reason {
            Some("length") => StopReason::MaxTokens,
            Some("content_filter") => StopReason::Refused,
            _ if self.refused => StopReason::Refused,
            _ if !self.calls.is_empty() => StopReason::ToolUse,
            None | Some("stop" | "tool_calls" | "function_call" | "eos" | "end_turn") => {
                StopReason::EndTurn
            }
            Some(other) => StopReason::Other(word(other).unwrap_or("unknown").to_owned()),
        };
        self.stop = Some(reason);
    }

    fn close(&mut self, out: &mut Vec<Event>) {
        if let Some(stop) = self.stop.clone()
            && !std::mem::replace(&mut self.done, true)
        {
            out.extend(self.usage.map(Event::Usage));
            out.push(Event::Stop(stop));
        }
    }

    pub fn end(&mut self, out: &mut Vec<Event>) -> Result<(), ErrorKind> {
        self.close(out);
        if self.done { Ok(()) } else { Err(ErrorKind::HalfClosed) }
    }
}

impl From<WireUsage> for Usage {
    fn from(usage: WireUsage) -> Self {
        let cached = usage
            .prompt_tokens_details
            .and_then(|details| details.cached_tokens)
            .or(usage.cached_tokens)
            .or(usage.prompt_cache_hit_tokens);
        Self {
            input: usage.prompt_tokens.unwrap_or_default(),
            cached: cached.unwrap_or_default(),
            cache_written: 0,
            output: usage.completion_tokens.unwrap_or_default(),
            cost: None,
        }
    }
}

fn said(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        _ => true,
    }
}

/// Text as a string, or as a list of parts of which those of text count (Mistral).
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter(|part| part["type"] == "text")
            .filter_map(|part| part["text"].as_str())
            .collect(),
        _ => String::new(),
    }
}
