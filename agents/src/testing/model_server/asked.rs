//! A request as the server got it, and what it says in either protocol.

use serde_json::Value;

/// The protocol of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    OpenAi,
    Anthropic,
}

/// A request.
#[derive(Clone)]
pub struct Asked {
    /// `None` at any other path.
    pub protocol: Option<Protocol>,
    /// As sent, without the host.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Value,
    /// Which connection it came on, counted from 0.
    pub connection: u64,
}

/// A piece of a conversation, whatever the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    User(String),
    Assistant(String),
    /// Name and arguments as JSON.
    Call(String, String),
    /// What a tool returned, to the call of this id.
    Result(String, String),
}

impl Asked {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The key that came with it.
    pub fn key(&self) -> Option<&str> {
        self.header("x-api-key").or_else(|| self.header("authorization")?.strip_prefix("Bearer "))
    }

    /// The model asked.
    pub fn model(&self) -> &str {
        self.body["model"].as_str().unwrap_or_default()
    }

    /// The instructions, joined.
    pub fn system(&self) -> String {
        let from_messages = list(&self.body["messages"])
            .filter(|message| message["role"] == "system")
            .map(|message| text(&message["content"]));
        let mut all: Vec<String> = from_messages.collect();
        all.extend(list(&self.body["system"]).map(|block| text(&block["text"])));
        all.join("\n\n")
    }

    /// Names of the tools offered.
    pub fn tools(&self) -> Vec<&str> {
        list(&self.body["tools"])
            .filter_map(|tool| tool["name"].as_str().or_else(|| tool["function"]["name"].as_str()))
            .collect()
    }

    /// The conversation, oldest first. Images and documents are left out.
    pub fn said(&self) -> Vec<Said> {
        let mut said = Vec::new();
        for message in list(&self.body["messages"]) {
            match message["role"].as_str() {
                Some("user") => user(&message["content"], &mut said),
                Some("assistant") => assistant(message, &mut said),
                Some("tool") => said
                    .push(Said::Result(text(&message["tool_call_id"]), text(&message["content"]))),
                _ => {}
            }
        }
        said
    }

    /// The last thing the user's side said.
    pub fn last_user(&self) -> String {
        let last = self.said().into_iter().rev().find_map(|said| match said {
            Said::User(text) => Some(text),
            _ => None,
        });
        last.unwrap_or_default()
    }

    /// Everything that tools returned, oldest first.
    pub fn all_results(&self) -> Vec<String> {
        let results = self.said().into_iter().filter_map(|said| match said {
            Said::Result(_, content) => Some(content),
            _ => None,
        });
        results.collect()
    }

    /// What tools returned since the model last spoke: the ids of the calls and the contents.
    pub fn results(&self) -> Vec<(String, String)> {
        let mut results = Vec::new();
        for said in self.said() {
            match said {
                Said::Result(id, content) => results.push((id, content)),
                Said::Assistant(_) | Said::Call(..) => results.clear(),
                Said::User(_) => {}
            }
        }
        results
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            blocks.iter().filter_map(|block| block["text"].as_str()).collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

fn user(content: &Value, said: &mut Vec<Said>) {
    if let Value::String(text) = content {
        said.push(Said::User(text.clone()));
    }
    for block in list(content) {
        match block["type"].as_str() {
            Some("text") => said.push(Said::User(text(&block["text"]))),
            Some("tool_result") => {
                said.push(Said::Result(text(&block["tool_use_id"]), text(&block["content"])));
            }
            _ => {}
        }
    }
}

fn assistant(message: &Value, said: &mut Vec<Said>) {
    let spoken = text(&message["content"]);
    if !spoken.is_empty() {
        said.push(Said::Assistant(spoken));
    }
    for call in list(&message["tool_calls"]) {
        let function = &call["function"];
        said.push(Said::Call(text(&function["name"]), text(&function["arguments"])));
    }
    for block in list(&message["content"]).filter(|block| block["type"] == "tool_use") {
        said.push(Said::Call(text(&block["name"]), block["input"].to_string()));
    }
}
