//! Answers of Anthropic's messages.

use super::{Stage, calls::Calls, failure, word};
use crate::model::{ErrorKind, Event, StopReason, Usage, sse::SseEvent};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::HashMap;

#[derive(Debug)]
pub(in crate::model) struct Decoder {
    calls: Calls,
    /// Which call a content block is. Blocks of text and thought are not here.
    blocks: HashMap<u64, usize>,
    usage: Counts,
    stop: Option<StopReason>,
    done: bool,
}

/// Events and blocks of kinds not known here are left out: the protocol may add some at any time.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum StreamEvent {
    MessageStart {
        message: Started,
    },
    ContentBlockStart {
        index: u64,
        content_block: Block,
    },
    ContentBlockDelta {
        index: u64,
        delta: Piece,
    },
    ContentBlockStop {
        index: u64,
    },
    MessageDelta {
        delta: Ended,
        usage: Option<Counts>,
    },
    MessageStop,
    Error,
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Started {
    usage: Option<Counts>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        #[serde(default)]
        text: String,
    },
    ToolUse {
        id: String,
        name: String,
        #[serde(default)]
        input: Map<String, Value>,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Piece {
    TextDelta {
        text: String,
    },
    InputJsonDelta {
        partial_json: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Ended {
    stop_reason: Option<String>,
}

/// Cumulative; what a later event leaves out stands as it was.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
struct Counts {
    input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

impl Decoder {
    pub fn new(salt: String) -> Self {
        Self {
            calls: Calls::new(salt),
            blocks: HashMap::new(),
            usage: Counts::default(),
            stop: None,
            done: false,
        }
    }

    pub fn stage(&self) -> Stage {
        if self.done { Stage::Done } else { Stage::Open }
    }

    pub fn read(&mut self, event: &SseEvent, out: &mut Vec<Event>) -> Result<bool, ErrorKind> {
        if self.done || event.data.trim().is_empty() {
            return Ok(false);
        }
        let happened: StreamEvent = serde_json::from_str(&event.data)
            .map_err(|_| ErrorKind::Protocol { what: "an event is not one of a message stream" })?;
        match happened {
            StreamEvent::MessageStart { message } => {
                self.count(message.usage);
                // The request is taken, but no token has come.
                return Ok(false);
            }
            StreamEvent::ContentBlockStart { index, content_block } => {
                self.start(index, content_block, out)?;
            }
            StreamEvent::ContentBlockDelta { index, delta } => match delta {
                Piece::TextDelta { text } if !text.is_empty() => out.push(Event::TextDelta(text)),
                Piece::InputJsonDelta { partial_json } => {
                    if let Some(&call) = self.blocks.get(&index) {
                        self.calls.more(call, &partial_json, out);
                    }
                }
                Piece::TextDelta { .. } | Piece::Other => {}
            },
            StreamEvent::ContentBlockStop { index } => {
                if let Some(&call) = self.blocks.get(&index) {
                    self.calls.complete(call, out);
                }
            }
            StreamEvent::MessageDelta { delta, usage } => {
                self.count(usage);
                if let Some(reason) = delta.stop_reason {
                    self.stop = Some(self.reason(&reason));
                }
            }
            StreamEvent::MessageStop => self.close(out),
            StreamEvent::Error => return Err(failure::in_stream(event.data.as_bytes())),
            StreamEvent::Other => return Ok(false),
        }
        Ok(true)
    }

    fn start(&mut self, index: u64, block: Block, out: &mut Vec<Event>) -> Result<(), ErrorKind> {
        match block {
            Block::Text { text } if !text.is_empty() => out.push(Event::TextDelta(text)),
            Block::Text { .. } | Block::Other => {}
            Block::ToolUse { id, name, input } => {
                let call = self.calls.begin(&id)?;
                self.blocks.insert(index, call);
                self.calls.name(call, &name, out);
                // Empty in a stream; some imitators put everything here.
                if !input.is_empty() {
                    self.calls.more(call, &Value::Object(input).to_string(), out);
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, later: Option<Counts>) {
        let Some(later) = later else { return };
        let usage = &mut self.usage;
        usage.input_tokens = later.input_tokens.or(usage.input_tokens);
        usage.cache_creation_input_tokens =
            later.cache_creation_input_tokens.or(usage.cache_creation_input_tokens);
        usage.cache_read_input_tokens =
            later.cache_read_input_tokens.or(usage.cache_read_input_tokens);
        usage.output_tokens = later.output_tokens.or(usage.output_tokens);
    }

    fn reason(&self, reason: &str) -> StopReason {
        match reason {
            "end_turn" if self.calls.is_empty() => StopReason::EndTurn,
            "end_turn" | "tool_use" => StopReason::ToolUse,
            "max_tokens" | "model_context_window_exceeded" => StopReason::MaxTokens,
            "stop_sequence" => StopReason::StopSequence,
            "refusal" => StopReason::Refused,
            other => StopReason::Other(word(other).unwrap_or("unknown").to_owned()),
        }
    }

    pub fn usage(&self) -> Option<Usage> {
        let Counts {
            input_tokens,
            cache_creation_input_tokens,
            cache_read_input_tokens,
            output_tokens,
        } = self.usage;
        if input_tokens.is_none() && output_tokens.is_none() {
            return None;
        }
        let cached = cache_read_input_tokens.unwrap_or_default();
        let cache_written = cache_creation_input_tokens.unwrap_or_default();
        // Anthropic counts these three apart.
        let input =
            input_tokens.unwrap_or_default().saturating_add(cached).saturating_add(cache_written);
        let output = output_tokens.unwrap_or_default();
        Some(Usage { input, cached, cache_written, output, cost: None })
    }

    fn close(&mut self, out: &mut Vec<Event>) {
        self.calls.complete_all(out);
        out.extend(self.usage().map(Event::Usage));
        let stop = self.stop.take().unwrap_or_else(|| self.reason("end_turn"));
        out.push(Event::Stop(stop));
        self.done = true;
    }

    pub fn end(&self) -> Result<(), ErrorKind> {
        if self.done { Ok(()) } else { Err(ErrorKind::HalfClosed) }
    }
}
