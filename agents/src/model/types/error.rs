//! Why a model did not answer.

use std::{fmt, time::Duration};

/// A model did not answer, or not to the end.
///
/// What always holds: the text names the model, the cause and what to do, and contains neither a key nor
/// anything of what was asked or answered. Of a provider's own error only words of its vocabulary are
/// repeated (types, codes, names of parameters): its sentences may quote the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The name the model was opened by.
    pub model: String,
    pub kind: ErrorKind,
    /// Who else was asked in vain, in order; empty but for lists of models.
    pub also: Vec<Failed>,
}

/// A model that was asked in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    pub model: String,
    pub kind: ErrorKind,
}

/// The cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no connection. `what` is one of a few fixed phrases.
    #[error("cannot connect: {what}; check that the server runs and that base_url is right")]
    Connect { what: &'static str },
    /// The request was sent and nothing came.
    #[error(
        "no first token within {after:?}; the server is busy or loading the model: try later, or raise first_token_timeout"
    )]
    FirstTokenTimeout { after: Duration },
    /// The answer began and then nothing came.
    #[error("the answer stalled for {after:?}; try again, or raise stall_timeout")]
    Stalled { after: Duration },
    /// Too many requests or tokens per time.
    #[error("the provider limits the rate{}", again(.retry_after))]
    RateLimited { retry_after: Option<Duration> },
    /// The provider is there and has no capacity.
    #[error("the provider is overloaded{}", again(.retry_after))]
    Overloaded { retry_after: Option<Duration> },
    /// As many answers as `at_once` allows are running, and none ended in time.
    #[error("all places of this provider are taken; try again later, or raise at_once")]
    Busy,
    /// The account may not spend more. Waiting does not help.
    #[error(
        "the account has no credit or its spending limit is reached; add credit or raise the limit at the provider"
    )]
    NoCredit,
    /// The provider does not understand or allow the request.
    #[error("the provider rejects the request (status {status}{}); check the settings of this model", words(.detail))]
    BadRequest { status: u16, detail: String },
    /// There is no such model at the provider.
    #[error(
        "the provider has no such model, or this key may not use it; check its name (for Ollama: `ollama pull NAME`)"
    )]
    UnknownModel,
    /// The key is missing, wrong or not allowed.
    #[error(
        "the provider refuses the key (status {status}); check that the right key is set and still valid"
    )]
    Authentication { status: u16 },
    /// The request is longer than the model takes. `limit` is the number of tokens it takes, where said.
    #[error("the request is longer than the model's context{}; shorten the history, or set a larger context at the server", tokens(.limit))]
    ContextTooLong { limit: Option<u64> },
    /// The provider's filter stopped the request or the answer.
    #[error("the provider's content filter refused; a person has to look at this conversation")]
    Refused,
    /// A fault at the provider.
    #[error("the provider failed (status {status}{}); try again later", words(.detail))]
    Server { status: u16, detail: String },
    /// The connection broke off before the answer was complete.
    #[error("the connection ended in the middle of the answer; try again")]
    HalfClosed,
    /// The server does not speak the expected protocol. `what` is one of a few fixed phrases.
    #[error(
        "the server does not speak this protocol: {what}; check base_url and the kind of the provider"
    )]
    Protocol { what: &'static str },
    /// It was not asked, for its settings are not complete.
    #[error("it cannot be asked: {why}")]
    Unusable { why: String },
    /// The answer was ended from this side.
    #[error("the answer was cancelled")]
    Cancelled,
}

impl ErrorKind {
    /// Whether the same request may succeed later without anybody changing anything.
    pub fn may_retry(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::FirstTokenTimeout { .. }
            | Self::Stalled { .. }
            | Self::RateLimited { .. }
            | Self::Overloaded { .. }
            | Self::Busy
            | Self::Server { .. }
            | Self::HalfClosed => true,
            Self::NoCredit
            | Self::BadRequest { .. }
            | Self::UnknownModel
            | Self::Authentication { .. }
            | Self::ContextTooLong { .. }
            | Self::Refused
            | Self::Unusable { .. }
            | Self::Protocol { .. }
            | Self::Cancelled => false,
        }
    }

    /// How long the provider asks to wait, if it does.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } | Self::Overloaded { retry_after } => *retry_after,
            _ => None,
        }
    }
}

impl Error {
    /// An error of one model.
    pub fn new(model: impl Into<String>, kind: ErrorKind) -> Self {
        Self { model: model.into(), kind, also: Vec::new() }
    }

    /// Whether the same request may succeed later without anybody changing anything.
    pub fn may_retry(&self) -> bool {
        self.kind.may_retry()
    }

    /// How long the provider asks to wait, if it does.
    pub fn retry_after(&self) -> Option<Duration> {
        self.kind.retry_after()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.model, self.kind)?;
        self.also.iter().try_for_each(|failed| write!(f, "; also {failed}"))
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.model, self.kind)
    }
}

impl std::error::Error for Error {}

fn again(retry_after: &Option<Duration>) -> String {
    match retry_after {
        Some(after) => format!("; try again in {} s", after.as_millis().div_ceil(1000)),
        None => "; try again later".to_owned(),
    }
}

fn words(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(", {detail}") }
}

fn tokens(limit: &Option<u64>) -> String {
    limit.map(|limit| format!(" of {limit} tokens")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_model_the_cause_and_what_to_do() {
        let mut error = Error::new(
            "openai:gpt-5-mini",
            ErrorKind::RateLimited { retry_after: Some(Duration::from_millis(1_200)) },
        );
        assert_eq!(
            error.to_string(),
            "openai:gpt-5-mini: the provider limits the rate; try again in 2 s"
        );
        error.also =
            vec![Failed { model: "ollama:qwen3".to_owned(), kind: ErrorKind::UnknownModel }];
        assert!(error.to_string().ends_with(
            "try again in 2 s; also ollama:qwen3: the provider has no such model, or this key may not \
             use it; check its name (for Ollama: `ollama pull NAME`)"
        ));
    }

    #[test]
    fn what_a_person_must_change_is_not_retried() {
        assert!(ErrorKind::Overloaded { retry_after: None }.may_retry());
        assert!(!ErrorKind::NoCredit.may_retry());
        assert!(!ErrorKind::ContextTooLong { limit: Some(4096) }.may_retry());
    }
}
