//! What a live handler answers with.

use crate::agent::HandlerError;
use futures_util::{Stream, StreamExt, stream};
use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

/// One piece of a reply.
#[derive(Clone, PartialEq, Eq)]
pub enum ReplyPart {
    /// More text. It is spoken sentence by sentence as it comes.
    Text(String),
    /// A tool began to run. While one does, the caller is not asked whether they are still there. The number
    /// is unique within the reply.
    ToolStarted(u64),
    /// That tool has its outcome.
    ToolEnded(u64),
}

impl fmt::Debug for ReplyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::ToolStarted(tool) => write!(f, "ToolStarted({tool})"),
            Self::ToolEnded(tool) => write!(f, "ToolEnded({tool})"),
        }
    }
}

/// What to say, all at once or as it is made. It is spoken at once and waits for no commit.
///
/// Dropping it means: stop generating. So a stream does its work while it is polled and leaves nothing
/// running that its drop does not end.
pub struct Reply(Kind);

enum Kind {
    Silent,
    Text(String),
    Model,
    Stream(Pin<Box<dyn Stream<Item = Result<ReplyPart, HandlerError>> + Send>>),
}

impl Reply {
    /// Says nothing.
    pub fn silent() -> Self {
        Self(Kind::Silent)
    }

    /// Says this.
    pub fn text(text: impl Into<String>) -> Self {
        Self(Kind::Text(text.into()))
    }

    /// Says what comes, as it comes. An error ends it: what was said until then stands.
    pub fn stream(
        parts: impl Stream<Item = Result<ReplyPart, HandlerError>> + Send + 'static,
    ) -> Self {
        Self(Kind::Stream(Box::pin(parts)))
    }

    /// Says what the agent's model answers, in a turn that [`crate::Agent::mind`] is taken with. The turn is a
    /// durable one: it stops if the reply is dropped, and if it has to wait for a person, it goes on without
    /// the caller. An agent without a mind says nothing.
    pub fn by_model() -> Self {
        Self(Kind::Model)
    }

    /// Whether the model is to answer.
    pub(crate) fn is_by_model(&self) -> bool {
        matches!(self.0, Kind::Model)
    }

    /// Whether it is known to say nothing.
    pub fn is_silent(&self) -> bool {
        match &self.0 {
            Kind::Silent => true,
            Kind::Text(text) => text.trim().is_empty(),
            Kind::Model | Kind::Stream(_) => false,
        }
    }

    /// The text, where it is known as a whole.
    pub fn as_text(&self) -> Option<&str> {
        match &self.0 {
            Kind::Text(text) => Some(text),
            Kind::Silent | Kind::Model | Kind::Stream(_) => None,
        }
    }

    /// Waits for the end and puts the text together: for places where nobody listens meanwhile.
    pub async fn collect_text(mut self) -> Result<String, HandlerError> {
        let mut text = String::new();
        while let Some(part) = self.next().await {
            if let ReplyPart::Text(more) = part? {
                text.push_str(&more);
            }
        }
        Ok(text)
    }
}

/// A reply is the stream of its parts, whichever kind it is.
impl Stream for Reply {
    type Item = Result<ReplyPart, HandlerError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.0 {
            // Whoever runs live handlers has put the model's words in the place of `Model`.
            Kind::Silent | Kind::Model => Poll::Ready(None),
            Kind::Text(text) => {
                let text = std::mem::take(text);
                self.0 = Kind::Silent;
                let part = (!text.is_empty()).then_some(Ok(ReplyPart::Text(text)));
                Poll::Ready(part)
            }
            Kind::Stream(parts) => {
                let next = parts.as_mut().poll_next(cx);
                if matches!(next, Poll::Ready(None)) {
                    // What has ended holds on to nothing and is not polled again.
                    self.0 = Kind::Stream(Box::pin(stream::empty()));
                }
                next
            }
        }
    }
}

impl From<&str> for Reply {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Reply {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Silent => f.write_str("Reply(silent)"),
            Kind::Text(text) => write!(f, "Reply({} bytes)", text.len()),
            Kind::Model => f.write_str("Reply(model)"),
            Kind::Stream(_) => f.write_str("Reply(stream)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::ready;

    async fn parts(reply: Reply) -> Vec<String> {
        reply.map(|part| format!("{part:?}")).collect().await
    }

    #[tokio::test]
    async fn every_kind_of_reply_is_a_stream_of_parts() {
        assert_eq!(parts(Reply::silent()).await, Vec::<String>::new());
        assert_eq!(parts(Reply::text("Hello.")).await, ["Ok(Text(6 bytes))"]);
        let streamed = Reply::stream(stream::iter([
            Ok(ReplyPart::ToolStarted(1)),
            Ok(ReplyPart::ToolEnded(1)),
            Ok(ReplyPart::Text("Hi.".into())),
        ]));
        assert_eq!(
            parts(streamed).await,
            ["Ok(ToolStarted(1))", "Ok(ToolEnded(1))", "Ok(Text(3 bytes))"]
        );
    }

    #[tokio::test]
    async fn collecting_joins_the_text_and_passes_an_error_on() {
        let whole =
            Reply::stream(stream::iter(["One ", "two."]).map(|t| Ok(ReplyPart::Text(t.into()))));
        assert_eq!(whole.collect_text().await.unwrap(), "One two.");
        let broken = Reply::stream(stream::once(ready(Err("the model is down".into()))));
        assert_eq!(broken.collect_text().await.unwrap_err().to_string(), "the model is down");
    }

    #[tokio::test]
    async fn a_stream_that_has_ended_lets_go_of_what_it_held() {
        let held = std::sync::Arc::new(());
        let kept = held.clone();
        let mut reply = Reply::stream(stream::iter([()]).map(move |()| {
            let _ = &kept;
            Ok(ReplyPart::Text("x".into()))
        }));
        while reply.next().await.is_some() {}
        assert_eq!(std::sync::Arc::strong_count(&held), 1);
        assert!(reply.next().await.is_none());
    }
}
