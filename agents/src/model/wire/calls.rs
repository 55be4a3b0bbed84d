//! Tool calls that come in pieces.

use crate::model::{Arguments, ErrorKind, Event, ToolCall};

/// Most calls of one answer. Models make a handful; a server that sends more is broken.
const CALLS_MAX: usize = 128;

/// The calls of one answer so far.
#[derive(Debug)]
pub(super) struct Calls {
    salt: String,
    calls: Vec<Call>,
}

#[derive(Debug)]
struct Call {
    id: String,
    /// Empty until it has come.
    name: String,
    raw: String,
    complete: bool,
}

impl Calls {
    pub fn new(salt: String) -> Self {
        Self { salt, calls: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    pub fn len(&self) -> usize {
        self.calls.len()
    }

    pub fn id(&self, index: usize) -> &str {
        &self.calls[index].id
    }

    /// Begins a call and gives its index. An id that is missing or was used before is replaced.
    pub fn begin(&mut self, id: &str) -> Result<usize, ErrorKind> {
        let index = self.calls.len();
        if index == CALLS_MAX {
            return Err(ErrorKind::Protocol { what: "an answer has too many tool calls" });
        }
        let id = if id.is_empty() || self.calls.iter().any(|call| call.id == id) {
            format!("call_{}_{index}", self.salt)
        } else {
            id.to_owned()
        };
        self.calls.push(Call { id, name: String::new(), raw: String::new(), complete: false });
        Ok(index)
    }

    /// The name has come. Only the first one counts: some servers repeat it with every piece.
    pub fn name(&mut self, index: usize, name: &str, out: &mut Vec<Event>) {
        let call = &mut self.calls[index];
        if call.name.is_empty() && !name.is_empty() {
            call.name = name.to_owned();
            out.push(Event::ToolCallStart { index, id: call.id.clone(), name: name.to_owned() });
            if !call.raw.is_empty() {
                out.push(Event::ToolCallDelta { index, json: call.raw.clone() });
            }
        }
    }

    /// More of the arguments has come.
    pub fn more(&mut self, index: usize, json: &str, out: &mut Vec<Event>) {
        let call = &mut self.calls[index];
        if call.complete || json.is_empty() {
            return;
        }
        call.raw.push_str(json);
        if !call.name.is_empty() {
            out.push(Event::ToolCallDelta { index, json: json.to_owned() });
        }
    }

    /// The call is complete. One that never got a name is given out without one: whoever runs tools knows
    /// none of that name.
    pub fn complete(&mut self, index: usize, out: &mut Vec<Event>) {
        let call = &mut self.calls[index];
        if std::mem::replace(&mut call.complete, true) {
            return;
        }
        let (id, name) = (call.id.clone(), call.name.clone());
        if name.is_empty() {
            out.push(Event::ToolCallStart { index, id: id.clone(), name: String::new() });
        }
        let arguments = Arguments::parse(&call.raw);
        out.push(Event::ToolCall { index, call: ToolCall { id, name, arguments } });
    }

    /// The answer is complete, so every call is.
    pub fn complete_all(&mut self, out: &mut Vec<Event>) {
        for index in 0..self.calls.len() {
            self.complete(index, out);
        }
    }
}
