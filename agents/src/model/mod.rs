//! Language models.
//!
//! - [`types`]: what is said to a model and what comes back, in no provider's words;
//! - [`Models`]: the models of an installation by name, each with the ones to fall back on;
//! - [`tokens`]: about how long something is;
//! - `wire` and `sse`: the two protocols, without sockets or clocks;
//! - `client`: asks, waits and tries again; with `gate` and `limits`, what a provider says about its rate;
//! - `http`: the sockets.
//!
//! What always holds: a request is repeated only before its first token; an answer ends properly or with an
//! error; dropping an answer closes its connection; a key leaves in one header to its own provider and is
//! seen nowhere else; what a server sends is bounded before it is kept. Left out: speech, images as answers,
//! what a model thinks, and any memory of earlier requests.
//!
//! The clients are our own because the multi-provider crates that come closest, genai 0.7 and rig 0.42, give
//! rate-limit headers of failed answers only, and [`Models`] needs them of every answer, to wait before it is
//! refused.

mod client;
mod fallback;
mod gate;
mod http;
mod limits;
mod models;
mod secret;
mod settings;
mod sse;
pub mod tokens;
pub mod types;
mod wire;

use futures_util::stream::BoxStream;
pub use models::{ModelSettings, Models, ProviderSettings, SetupError};
pub use secret::Secret;
pub use settings::{Retry, Timeouts};
pub use types::{
    Arguments, Error, ErrorKind, Event, Failed, Message, Part, Price, Request, Role, StopReason,
    ToolCall, ToolChoice, ToolResult, ToolSpec, Usage,
};
pub use wire::Wire;

/// An answer as it comes. Dropping it cancels the answer: the connection is closed.
pub type EventStream = BoxStream<'static, Result<Event, Error>>;

/// Something that answers. Tests of what uses models implement it without sockets.
pub trait Model: Send + Sync + 'static {
    /// The name it was opened by, as in `anthropic:claude-sonnet-5`; of a list of models, the first's.
    fn name(&self) -> &str;

    /// What the model takes.
    fn capabilities(&self) -> &Capabilities;

    /// Asks. Nothing happens until the stream is polled; see [`Event`] for what it holds.
    fn stream(&self, request: Request) -> EventStream;

    /// About how many tokens `request` has, rather too many than too few: for keeping within a context,
    /// never for accounting. See [`tokens`].
    fn estimate_tokens(&self, request: &Request) -> u64 {
        tokens::estimate_request(request)
    }
}

/// What a model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Tokens of a request and its answer together.
    pub context: u64,
    /// Whether [`Part::Image`] is sent (PNG, JPEG, GIF, WebP) or described.
    pub images: bool,
    /// Whether [`Part::Document`] is sent (PDF) or described.
    pub documents: bool,
}
