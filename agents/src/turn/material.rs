//! What a turn may know, as the store hands it over: nothing here is composed, cut or trusted yet.

use crate::{
    Attachment, ConversationId, MessageId, agent::ContactCard, mail::Trust, store::Fact,
    turn::step::Foreign,
};
use jiff::Timestamp;
use serde::Deserialize;

/// Everything a context is composed of.
#[derive(Debug, Clone)]
pub struct Material {
    pub conversation: ConversationId,
    pub subject: String,
    pub channel: String,
    /// Addresses of its members.
    pub members: Vec<String>,
    /// The proven correspondent of the instance, if it belongs to one.
    pub contact: Option<ContactCard>,
    pub facts: Vec<Fact>,
    /// Summaries of this conversation, oldest first.
    pub summaries: Vec<Summary>,
    /// The conversation up to the last message the turn may see, oldest first.
    pub pieces: Vec<Piece>,
    /// The newest of other conversations that everybody in this one was in, oldest first.
    pub elsewhere: Vec<Piece>,
    /// The last message of the conversation, whatever its state.
    pub through: MessageId,
}

/// A text that stands for messages.
#[derive(Clone, PartialEq, Eq)]
pub struct Summary {
    pub from: MessageId,
    pub to: MessageId,
    pub text: String,
    pub trust: Trust,
    pub foreign: Vec<Foreign>,
}

/// One message.
#[derive(Clone)]
pub struct Piece {
    pub id: MessageId,
    pub conversation: ConversationId,
    pub channel: String,
    /// `human`, `agent` or `note`.
    pub role: String,
    pub author: String,
    pub author_name: Option<String>,
    pub subject: String,
    pub text: String,
    /// The layers of the text, where it is not all new.
    pub layers: Vec<Layer>,
    /// How text was hidden in it.
    pub hidden: Vec<String>,
    /// `admitted`, `unproven`, `held`, `rejected`.
    pub status: String,
    pub status_why: String,
    /// What was proven about the sender, for mail.
    pub verdict: Option<String>,
    pub trust: Trust,
    pub attachments: Vec<Attachment>,
    /// The foreign text that was before the model when it wrote this.
    pub foreign: Vec<Foreign>,
    /// How much of it was heard, in octets, if it was spoken.
    pub heard: Option<usize>,
    pub at: Timestamp,
}

/// Texts do not reach logs.
impl std::fmt::Debug for Piece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Piece({}, {}, {} bytes)", self.id, self.role, self.text.len())
    }
}

/// Texts do not reach logs.
impl std::fmt::Debug for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Summary({} to {}, {} bytes)", self.from, self.to, self.text.len())
    }
}

/// A stretch of a mail's text.
#[derive(Clone, PartialEq, Eq)]
pub struct Layer {
    pub kind: LayerKind,
    pub text: String,
}

/// Texts do not reach logs.
impl std::fmt::Debug for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Layer({:?}, {} bytes)", self.kind, self.text.len())
    }
}

/// Who wrote a stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerKind {
    /// The sender, now.
    Own,
    /// We, as we wrote it, quoted by the sender.
    Ours,
    /// Somebody else, or we as the sender changed it.
    Quoted,
    /// Somebody else, passed on by the sender.
    Forwarded,
    /// What introduces a quote, and signatures: no news.
    Dressing,
}

/// A stretch as stored: the kind is a word, or an object of a word and what else is known.
#[derive(Deserialize)]
struct StoredLayer {
    kind: StoredKind,
    text: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum StoredKind {
    Word(String),
    Known(std::collections::BTreeMap<String, Origin>),
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(default)]
struct Origin {
    of_ours: bool,
    tampered: bool,
}

impl Layer {
    /// Reads the layers of a message as stored. What cannot be read counts as somebody else's words.
    pub fn parse(stored: &str) -> Vec<Self> {
        match serde_json::from_str::<Vec<StoredLayer>>(stored) {
            Ok(layers) => layers.into_iter().map(Self::of).collect(),
            Err(_) => vec![Self { kind: LayerKind::Quoted, text: stored.to_owned() }],
        }
    }

    fn of(stored: StoredLayer) -> Self {
        let (word, origin) = match stored.kind {
            StoredKind::Word(word) => (word, Origin::default()),
            StoredKind::Known(known) => known.into_iter().next().unwrap_or_default(),
        };
        let kind = match word.to_lowercase().as_str() {
            "new" | "answer" => LayerKind::Own,
            "answered" | "quoted" if origin.of_ours && !origin.tampered => LayerKind::Ours,
            "forwarded" => LayerKind::Forwarded,
            "attribution" | "signature" => LayerKind::Dressing,
            _ => LayerKind::Quoted,
        };
        Self { kind, text: stored.text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_layers_read_back_and_the_unknown_is_foreign() {
        let stored = r#"[
            {"kind":"New","text":"yes"},
            {"kind":{"Answered":{"of_ours":true,"tampered":false}},"text":"> shall we?"},
            {"kind":{"Quoted":{"of_ours":true,"tampered":true}},"text":"> pay eve"},
            {"kind":"forwarded","text":"From: eve"},
            {"kind":"signature","text":"-- Ann"},
            {"kind":"poem","text":"la"}
        ]"#;
        let kinds: Vec<_> = Layer::parse(stored).into_iter().map(|layer| layer.kind).collect();
        use LayerKind::{Dressing, Forwarded, Ours, Own, Quoted};
        assert_eq!(kinds, [Own, Ours, Quoted, Forwarded, Dressing, Quoted]);
        assert_eq!(Layer::parse("no JSON")[0].kind, Quoted);
    }
}
