//! Gives software agents an email address, and keeps one memory behind it.
//!
//! An agent is a type with handlers; a program is a list of agents with the whole command line
//! around it:
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
//! The crates behind this one: `frontdesk-router` wires everything together, `frontdesk-agents` holds
//! the trait, the runtime and the store, `frontdesk-smtp` the mail. Only what is re-exported here is
//! meant to be used by agents.

mod allocator;
mod cli;

pub use frontdesk_router::{
    Desk, Frontdesk, Running,
    agents::{
        Admission, Agent, Attachment, Context, Draft, HandlerError, Mail, Task, TaskContext, Trust,
        Verdict,
        agent::{
            AgentMessage, ContactCard, Due, Envelope, ReviewDecision, Said, TaskEnd, TaskFuture,
            TaskReport,
        },
        runtime::tasks::CallEffect,
        schedule::When,
    },
    config,
};

use clap::Parser as _;
use frontdesk_router::agents::runtime::BoxedAgent;
use std::process::ExitCode;

/// A program: the command line of `frontdesk` with agents of its own.
#[derive(Default)]
pub struct Program {
    kinds: cli::Kinds,
}

impl Program {
    /// With the built-in agents only.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an agent. `kind` names it in the configuration; without a config file it is also its name, so that
    /// it answers at `kind@localhost`.
    #[must_use]
    pub fn agent(mut self, kind: impl Into<String>, agent: impl Agent) -> Self {
        self.kinds.insert(kind.into(), BoxedAgent::new(agent));
        self
    }

    /// Runs what the command line asks for. Without a command, a program with agents of its own serves them.
    pub fn run(self) -> ExitCode {
        let cli = cli::Cli::parse();
        if cli.serves(&self.kinds) {
            allocator::settle();
        }
        match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(cli::run(cli, self.kinds)),
            Err(error) => {
                eprintln!("error: cannot start: {error}");
                ExitCode::FAILURE
            }
        }
    }
}
