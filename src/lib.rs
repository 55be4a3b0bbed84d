//! Gives software agents an email address, and keeps one memory behind it.
//!
//! An agent is a type with handlers, or a language model with tools; a program is a list of them with the
//! whole command line around it.
//!
//! # An agent written as code
//!
//! ```no_run
//! use frontdesk::{Agent, Context, HandlerError, Mail, Program};
//!
//! struct Echo;
//!
//! impl Agent for Echo {
//!     type State = u32;
//!
//!     fn on_email(&self, cx: &mut Context<'_, u32>, mail: &Mail) -> Result<(), HandlerError> {
//!         cx.state += 1;
//!         cx.reply(format!("Mail number {} from you. You wrote:\n\n{}", cx.state, mail.text));
//!         Ok(())
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     Program::new().agent("echo", Echo).run()
//! }
//! ```
//!
//! Started without arguments, this answers mail to `echo@localhost` on port 2525. With a
//! `frontdesk.toml`, agents of `kind = "echo"` run it, at whatever addresses the file gives them.
//!
//! # An assistant with tools
//!
//! ```no_run
//! use frontdesk::{Assistant, CallEffect, HandlerError, Program, ToolContext};
//! use schemars::JsonSchema;
//! use serde::Deserialize;
//!
//! #[derive(Deserialize, JsonSchema)]
//! struct Parcel {
//!     /// The number on the label.
//!     number: String,
//! }
//!
//! async fn track(parcel: Parcel, _: ToolContext) -> Result<String, HandlerError> {
//!     Ok(format!("Parcel {} is in Ulm.", parcel.number))
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     let assistant = Assistant::new("You say where parcels are. Be brief.")
//!         .tool("track", "Where a parcel is now.", CallEffect::Read, track);
//!     Program::new().assistant("parcels", assistant).run()
//! }
//! ```
//!
//! Its model is the one that `[models]` or the agent's section names, or that of a key in the environment. What
//! an assistant writes waits for a person unless its author or the configuration says otherwise, and so does every
//! call of a tool whose effect cannot be taken back. The folder `examples` has a support desk, an
//! assistant that asks other agents, and one that keeps appointments, each in less than a hundred lines.
//!
//! # Without a key
//!
//! With the feature `testing`, `Program::rehearse` gives a program a model that does as a script says, over the same
//! protocol as a real one, and the module `testing` has the server of such models for an author's own tests.
//!
//! The crates behind this one: `frontdesk-router` wires everything together, `frontdesk-agents` holds
//! the trait, the runtime and the store, `frontdesk-smtp` the mail. Only what is re-exported here is
//! meant to be used by agents.

mod allocator;
mod cli;

pub use frontdesk_router::{
    Desk, Frontdesk, Running,
    agents::{
        Admission, Agent, Attachment, Context, Draft, HandlerError, Mail, MessageId, Question,
        Reply, Task, TaskContext, Trust, Turn, Verdict,
        agent::{
            AgentMessage, ContactCard, Due, Effect, Envelope, ReviewDecision, Said, TaskEnd,
            TaskFuture, TaskReport,
        },
        gate::Approval,
        runtime::tasks::CallEffect,
        schedule::{SignedDuration, When},
        tool::{ToolContext, ToolOutput, ToolSpec, Tools},
    },
    config,
    own::Assistant,
};

/// A language model for tests, which does as a script says.
#[cfg(feature = "testing")]
pub mod testing {
    pub use frontdesk_router::agents::testing::model_server::{
        Asked, Behaviour, Hold, ModelServer, Said, Script,
    };
}

use clap::Parser as _;
use frontdesk_router::{agents::runtime::BoxedAgent, own::Kind};
use std::process::ExitCode;

/// A program: the command line of `frontdesk` with agents of its own.
#[derive(Default)]
pub struct Program {
    kinds: cli::Kinds,
    #[cfg(feature = "testing")]
    rehearsal: Option<Box<dyn FnOnce() -> Starting>>,
}

/// A model server being started.
#[cfg(feature = "testing")]
type Starting = std::pin::Pin<Box<dyn Future<Output = testing::ModelServer>>>;

impl Program {
    /// With the built-in agents only.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an agent. `kind` names it in the configuration; without a config file it is also its name, so that
    /// it answers at `kind@localhost`.
    #[must_use]
    pub fn agent(mut self, kind: impl Into<String>, agent: impl Agent) -> Self {
        self.kinds.insert(kind.into(), BoxedAgent::new(agent).into());
        self
    }

    /// Adds an assistant, named in the same way.
    #[must_use]
    pub fn assistant(mut self, kind: impl Into<String>, assistant: Assistant) -> Self {
        self.kinds.insert(kind.into(), Kind::Assistant(assistant));
        self
    }

    /// Lets a script answer while no model is configured and no key is in the environment.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn rehearse(mut self, script: impl testing::Behaviour) -> Self {
        self.rehearsal = Some(Box::new(move || Box::pin(testing::ModelServer::start(script))));
        self
    }

    /// Runs what the command line asks for. Without a command, a program with agents of its own serves them.
    pub fn run(self) -> ExitCode {
        let cli = cli::Cli::parse();
        let serves = cli.serves(&self.kinds);
        if serves {
            allocator::settle();
        }
        match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(self.go(cli, serves)),
            Err(error) => {
                eprintln!("error: cannot start: {error}");
                ExitCode::FAILURE
            }
        }
    }

    #[cfg(feature = "testing")]
    async fn go(self, cli: cli::Cli, serves: bool) -> ExitCode {
        let model = match self.rehearsal.filter(|_| serves) {
            Some(start) => Some(start().await),
            None => None,
        };
        cli::run(cli, self.kinds, model.as_ref().map(testing::ModelServer::base_url)).await
    }

    #[cfg(not(feature = "testing"))]
    async fn go(self, cli: cli::Cli, _: bool) -> ExitCode {
        cli::run(cli, self.kinds, None).await
    }
}
