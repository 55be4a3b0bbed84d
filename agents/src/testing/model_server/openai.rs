//! OpenAI's chat completion chunks, as its servers wrote them in 2025.

use super::script::{Step, Tokens, quoted};

pub(super) struct Writer {
    model: String,
    tokens: Tokens,
    begun: bool,
    calls: usize,
}

impl Writer {
    pub fn new(model: &str, tokens: Tokens) -> Self {
        Self { model: quoted(model), tokens, begun: false, calls: 0 }
    }

    pub fn step(&mut self, step: Step) -> Vec<String> {
        match step {
            Step::Text(text) => {
                let mut pieces = self.begin(r#""content":"","refusal":null"#);
                pieces.push(self.delta(&format!(r#""content":{}"#, quoted(&text))));
                pieces
            }
            Step::Think(text) => {
                let mut pieces = self.begin(r#""content":null"#);
                pieces.push(self.delta(&format!(r#""reasoning_content":{}"#, quoted(&text))));
                pieces
            }
            Step::Call { id, name, pieces } => self.call(id, &name, &pieces),
            // As OpenRouter does; OpenAI itself sends none.
            Step::Ping => vec![": OPENROUTER PROCESSING\n\n".to_owned()],
            Step::Error { kind, message } => vec![format!(
                "data: {{\"error\":{{\"message\":{},\"type\":{},\"param\":null,\"code\":null}}}}\n\n",
                quoted(&message),
                quoted(&kind)
            )],
            Step::Raw(bytes) => vec![bytes],
            Step::Hold(_) => Vec::new(),
        }
    }

    pub fn end(&mut self, stop: Option<&str>) -> Vec<String> {
        let stop = stop.unwrap_or(if self.calls > 0 { "tool_calls" } else { "stop" });
        let Tokens { input, cached, output } = self.tokens;
        let total = input + output;
        let mut pieces = self.begin(r#""content":"","refusal":null"#);
        pieces.push(self.chunk(&format!(
            r#"[{{"index":0,"delta":{{}},"logprobs":null,"finish_reason":{}}}],"usage":null"#,
            quoted(stop)
        )));
        pieces.push(self.chunk(&format!(
            r#"[],"usage":{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{total},"prompt_tokens_details":{{"cached_tokens":{cached},"audio_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}}"#
        )));
        pieces.push("data: [DONE]\n\n".to_owned());
        pieces
    }

    fn call(&mut self, id: Option<String>, name: &str, arguments: &[String]) -> Vec<String> {
        let index = self.calls;
        self.calls += 1;
        let id = quoted(&id.unwrap_or_else(|| format!("call_DdmO9pD3xa9XTPNJ32zg2hc{index}")));
        let head = format!(
            r#""tool_calls":[{{"index":{index},"id":{id},"type":"function","function":{{"name":{},"arguments":""}}}}]"#,
            quoted(name)
        );
        let mut pieces = if self.begun {
            vec![self.delta(&head)]
        } else {
            self.begin(&format!(r#""content":null,{head},"refusal":null"#))
        };
        pieces.extend(arguments.iter().map(|piece| {
            self.delta(&format!(
                r#""tool_calls":[{{"index":{index},"function":{{"arguments":{}}}}}]"#,
                quoted(piece)
            ))
        }));
        pieces
    }

    fn begin(&mut self, first: &str) -> Vec<String> {
        if std::mem::replace(&mut self.begun, true) {
            return Vec::new();
        }
        vec![self.delta(&format!(r#""role":"assistant",{first}"#))]
    }

    fn delta(&self, delta: &str) -> String {
        self.chunk(&format!(
            r#"[{{"index":0,"delta":{{{delta}}},"logprobs":null,"finish_reason":null}}],"usage":null"#
        ))
    }

    fn chunk(&self, rest: &str) -> String {
        format!(
            "data: {{\"id\":\"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT\",\"object\":\"chat.completion.chunk\",\"created\":1741569952,\"model\":{},\"service_tier\":\"default\",\"system_fingerprint\":null,\"choices\":{rest}}}\n\n",
            self.model
        )
    }
}
