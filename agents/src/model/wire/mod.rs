//! The two protocols, without sockets or clocks: how a request is written and an answer is read.
//!
//! - `openai`: chat completions, of OpenAI and everybody who imitates them;
//! - `anthropic`: messages;
//! - `failure`: what errors of both mean;
//! - `calls` and `media`: what both have in common.

mod anthropic;
mod anthropic_answer;
mod calls;
mod failure;
mod media;
mod openai;
mod openai_answer;
#[cfg(test)]
mod tests;

use super::{Capabilities, ErrorKind, Event, Request, Secret, Usage, sse::SseEvent};
pub(super) use failure::{classify, in_stream};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

/// The protocol of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// `POST {base}/chat/completions`.
    OpenAi {
        /// Whether the limit of an answer is called `max_completion_tokens`, as OpenAI's reasoning models
        /// insist, or `max_tokens`, which is all that other servers know.
        max_completion_tokens: bool,
    },
    /// `POST {base}/messages`.
    Anthropic,
}

impl Wire {
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::OpenAi { .. } => "/chat/completions",
            Self::Anthropic => "/messages",
        }
    }

    /// The headers that say who asks, or `None` if the key cannot be in a header.
    pub(super) fn headers(self, key: Option<&Secret>) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        if self == Self::Anthropic {
            // The only version there is since 2023.
            let version = HeaderName::from_static("anthropic-version");
            headers.insert(version, HeaderValue::from_static("2023-06-01"));
        }
        if let Some(key) = key {
            let (name, value) = match self {
                Self::OpenAi { .. } => (AUTHORIZATION, format!("Bearer {}", key.reveal())),
                Self::Anthropic => (HeaderName::from_static("x-api-key"), key.reveal().to_owned()),
            };
            let mut value = HeaderValue::from_str(&value).ok()?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Some(headers)
    }

    /// The body of a request to `model`.
    pub(super) fn body(self, model: &str, request: &Request, takes: &Capabilities) -> Value {
        match self {
            Self::OpenAi { max_completion_tokens } => {
                openai::body(model, request, takes, max_completion_tokens)
            }
            Self::Anthropic => anthropic::body(model, request, takes),
        }
    }

    /// A reader of one answer. `salt` goes into the ids of calls that come without one.
    pub(super) fn decoder(self, salt: String) -> Decoder {
        match self {
            Self::OpenAi { .. } => Decoder::OpenAi(openai_answer::Decoder::new(salt)),
            Self::Anthropic => Decoder::Anthropic(anthropic_answer::Decoder::new(salt)),
        }
    }
}

/// How far an answer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// More has to come.
    Open,
    /// The answer is complete, but what it cost may follow.
    Complete,
    /// Nothing that follows matters. `Usage` and `Stop` have been given out.
    Done,
}

/// Reads one answer, event by event.
///
/// What always holds: a decoder gives out what [`Event`] promises but for `Started`.
pub(super) enum Decoder {
    OpenAi(openai_answer::Decoder),
    Anthropic(anthropic_answer::Decoder),
}

impl Decoder {
    /// Takes an event, appends what it means to `out`, and says whether the model did something: thinking
    /// gives nothing out and still is a sign of life, a ping is none.
    pub fn read(&mut self, event: &SseEvent, out: &mut Vec<Event>) -> Result<bool, ErrorKind> {
        match self {
            Self::OpenAi(decoder) => decoder.read(event, out),
            Self::Anthropic(decoder) => decoder.read(event, out),
        }
    }

    pub fn stage(&self) -> Stage {
        match self {
            Self::OpenAi(decoder) => decoder.stage(),
            Self::Anthropic(decoder) => decoder.stage(),
        }
    }

    /// What is known so far of what the answer cost.
    pub fn usage(&self) -> Option<Usage> {
        match self {
            Self::OpenAi(decoder) => decoder.usage(),
            Self::Anthropic(decoder) => decoder.usage(),
        }
    }

    /// The body has ended.
    pub fn end(&mut self, out: &mut Vec<Event>) -> Result<(), ErrorKind> {
        match self {
            Self::OpenAi(decoder) => decoder.end(out),
            Self::Anthropic(decoder) => decoder.end(),
        }
    }
}

/// A word of a provider, fit to be shown: what is not a plain word is not repeated.
fn word(text: &str) -> Option<&str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.[]".contains(&byte);
    (!text.is_empty() && text.len() <= 64 && text.bytes().all(plain)).then_some(text)
}
