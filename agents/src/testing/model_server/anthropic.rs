//! Anthropic's message events, as its servers write them, padding included.

use super::script::{Step, Tokens, quoted};

pub(super) struct Writer {
    model: String,
    tokens: Tokens,
    begun: bool,
    block: Option<Block>,
    blocks: usize,
    calls: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Block {
    Text,
    Thinking,
}

impl Writer {
    pub fn new(model: &str, tokens: Tokens) -> Self {
        let model = quoted(model);
        Self { model, tokens, begun: false, block: None, blocks: 0, calls: 0 }
    }

    pub fn step(&mut self, step: Step) -> Vec<String> {
        let mut pieces = Vec::new();
        if !matches!(step, Step::Raw(_) | Step::Hold(_) | Step::Error { .. }) {
            self.begin(&mut pieces);
        }
        match step {
            Step::Text(text) => {
                self.open(Block::Text, r#"{"type":"text","text":""}            "#, &mut pieces);
                self.delta(
                    &format!(r#"{{"type":"text_delta","text":{}}}"#, quoted(&text)),
                    &mut pieces,
                );
            }
            Step::Think(text) => {
                let block = r#"{"type":"thinking","thinking":"","signature":""}"#;
                self.open(Block::Thinking, block, &mut pieces);
                let delta = format!(r#"{{"type":"thinking_delta","thinking":{}}}"#, quoted(&text));
                self.delta(&delta, &mut pieces);
            }
            Step::Call { id, name, pieces: arguments } => {
                self.close(&mut pieces);
                let id = quoted(
                    &id.unwrap_or_else(|| format!("toolu_01T1x1fJ34qAmk2tNTrN7Up{}", self.calls)),
                );
                self.calls += 1;
                self.start(
                    &format!(
                        r#"{{"type":"tool_use","id":{id},"name":{},"input":{{}}}}"#,
                        quoted(&name)
                    ),
                    &mut pieces,
                );
                // The first piece is always empty.
                for json in std::iter::once("").chain(arguments.iter().map(String::as_str)) {
                    let delta =
                        format!(r#"{{"type":"input_json_delta","partial_json":{}}}"#, quoted(json));
                    self.delta(&delta, &mut pieces);
                }
                self.stop(&mut pieces);
            }
            Step::Ping => pieces.push(event("ping", r#"{"type": "ping"}"#)),
            Step::Error { kind, message } => pieces.push(event(
                "error",
                &format!(
                    r#"{{"type":"error","error":{{"details":null,"type":{},"message":{}}}}}"#,
                    quoted(&kind),
                    quoted(&message)
                ),
            )),
            Step::Raw(bytes) => pieces.push(bytes),
            Step::Hold(_) => {}
        }
        pieces
    }

    pub fn end(&mut self, stop: Option<&str>) -> Vec<String> {
        let stop = stop.unwrap_or(if self.calls > 0 { "tool_use" } else { "end_turn" });
        let mut pieces = Vec::new();
        self.begin(&mut pieces);
        self.close(&mut pieces);
        pieces.push(event(
            "message_delta",
            &format!(
                r#"{{"type":"message_delta","delta":{{"stop_reason":{},"stop_sequence":null}},"usage":{{"output_tokens":{}}}        }}"#,
                quoted(stop),
                self.tokens.output
            ),
        ));
        pieces.push(event("message_stop", r#"{"type":"message_stop"       }"#));
        pieces
    }

    fn begin(&mut self, pieces: &mut Vec<String>) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        let Tokens { input, cached, .. } = self.tokens;
        let fresh = input - cached.min(input);
        pieces.push(event(
            "message_start",
            &format!(
                r#"{{"type":"message_start","message":{{"model":{},"id":"msg_01G7mcy1hMvQ8PCmQyFDQvYb","type":"message","role":"assistant","content":[],"stop_reason":null,"stop_sequence":null,"usage":{{"input_tokens":{fresh},"cache_creation_input_tokens":0,"cache_read_input_tokens":{cached},"output_tokens":1,"service_tier":"standard"}}}}    }}"#,
                self.model
            ),
        ));
    }

    /// Opens a block of this kind, unless one is open.
    fn open(&mut self, block: Block, start: &str, pieces: &mut Vec<String>) {
        if self.block == Some(block) {
            return;
        }
        self.close(pieces);
        self.start(start, pieces);
        if self.blocks == 0 {
            pieces.push(event("ping", r#"{"type": "ping"}"#));
        }
        self.block = Some(block);
    }

    fn close(&mut self, pieces: &mut Vec<String>) {
        if self.block.take().is_some() {
            self.stop(pieces);
        }
    }

    fn start(&mut self, block: &str, pieces: &mut Vec<String>) {
        let index = self.blocks;
        let data =
            format!(r#"{{"type":"content_block_start","index":{index},"content_block":{block} }}"#);
        pieces.push(event("content_block_start", &data));
    }

    fn delta(&self, delta: &str, pieces: &mut Vec<String>) {
        let index = self.blocks;
        let data =
            format!(r#"{{"type":"content_block_delta","index":{index},"delta":{delta}   }}"#);
        pieces.push(event("content_block_delta", &data));
    }

    fn stop(&mut self, pieces: &mut Vec<String>) {
        let data = format!(r#"{{"type":"content_block_stop","index":{}      }}"#, self.blocks);
        pieces.push(event("content_block_stop", &data));
        self.blocks += 1;
    }
}

fn event(name: &str, data: &str) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}
