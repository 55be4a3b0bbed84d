//! The commands. Each group has its file, with its arguments first and what it asks of the API below.
//!
//! What always holds: a command speaks the HTTP API, over the control socket of a running server or
//! in process when none runs, so that it can do nothing that another client could not. With `--json`
//! standard output is the API's answer as it came; without, it is for a person, and text that came
//! by mail cannot steer the terminal. Failures go to standard error. Exit codes: 0 done, 1 not done,
//! 2 wrong usage or configuration.

mod agents;
mod backup;
mod bench;
mod call;
mod check;
mod client;
mod email;
mod export;
mod inbox;
mod keys;
mod mcp;
mod models;
mod outbox;
mod output;
mod reload;
mod serve;
mod tokens;
mod users;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use frontdesk_router::config::{AgentConfig, Config, ConfigErrors, OwnKind};
use frontdesk_router::own;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use client::{ApiError, Call, Client};
use output::Output;

pub use frontdesk_router::own::Kinds;

/// The config file that is read if it is there and no other is named.
const USUAL_CONFIG: &str = "frontdesk.toml";

/// Gives software agents an email address, and keeps what they do in one place.
#[derive(Debug, Parser)]
#[command(name = "frontdesk", version)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    /// A program with agents of its own serves them when it is given no command.
    #[command(subcommand)]
    command: Option<Command>,
}

impl Cli {
    /// Whether this is the server, which lives long.
    pub fn serves(&self, kinds: &Kinds) -> bool {
        match &self.command {
            // What is measured is a server.
            Some(command) => matches!(command, Command::Serve(_) | Command::Bench(_)),
            None => !kinds.is_empty(),
        }
    }
}

#[derive(Debug, Args)]
struct Global {
    /// The config file [default: frontdesk.toml if it is there, else none]
    #[arg(long, global = true, value_name = "FILE", env = "FRONTDESK_CONFIG")]
    config: Option<PathBuf>,
    /// Where the data is [default: data, from the folder of the config file]
    #[arg(long, global = true, value_name = "DIR", env = "FRONTDESK_DATA")]
    data: Option<PathBuf>,
    /// Print JSON, for programs
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::Serve),
    /// Say what works, and how to fix what does not
    Check(check::Check),
    /// Write mail as an agent
    #[command(subcommand)]
    Email(email::Email),
    /// Read conversations, and decide what waits for a person
    #[command(subcommand)]
    Inbox(inbox::Inbox),
    /// See the agents
    #[command(subcommand)]
    Agents(agents::Agents),
    /// Talk to an agent of the running server
    Call(call::Call),
    /// See mail on its way out
    #[command(subcommand)]
    Outbox(outbox::Outbox),
    /// The speech models of calls
    #[command(subcommand)]
    Models(models::Models),
    /// The people who sign in
    #[command(subcommand)]
    Users(users::Users),
    /// What programs show to be let in
    #[command(subcommand)]
    Tokens(tokens::Tokens),
    /// Offer the server to a program that speaks MCP over standard input and output
    Mcp(mcp::Mcp),
    /// The keys that sign reply addresses and mail
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Have the running server read its config file again
    Reload(reload::Reload),
    /// Copy everything, keys included, while the server runs
    Backup(backup::Backup),
    /// Write all mail as mbox and all data as JSON
    Export(export::Export),
    /// Measure this program on this machine, against its budgets
    #[command(subcommand)]
    Bench(bench::Bench),
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("{0}")]
    Other(String),
    /// Whoever read our output has gone away, as `head` does. Nobody is left to tell.
    #[error("nobody reads the output")]
    NobodyReads,
    /// What is wrong has been said already.
    #[error("")]
    Told,
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::NobodyReads,
            _ => Self::Other(error.to_string()),
        }
    }
}

/// Runs a command and says how it went. `rehearsal` is the address of what answers while no model is configured.
pub async fn run(cli: Cli, kinds: Kinds, rehearsal: Option<String>) -> ExitCode {
    let command = match cli.command {
        Some(command) => command,
        None if !kinds.is_empty() => Command::Serve(serve::Serve::default()),
        None => {
            eprintln!("{}", Cli::command().render_help());
            return ExitCode::from(2);
        }
    };
    let mut output = Output::stdout(cli.global.json);
    let result = dispatch(&cli.global, command, kinds, rehearsal, &mut output).await;
    match result {
        Ok(()) | Err(Failure::NobodyReads) => ExitCode::SUCCESS,
        Err(Failure::Told) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("{}", explain(&failure, None, cli.global.json));
            match failure {
                Failure::Config(_) | Failure::Usage(_) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

async fn dispatch(
    global: &Global,
    command: Command,
    kinds: Kinds,
    rehearsal: Option<String>,
    output: &mut Output,
) -> Result<(), Failure> {
    let file = config_file(global);
    let load =
        Load { file: file.clone(), own: own::known(&kinds), rehearsal, data: global.data.clone() };
    let config = load.config()?;
    let desk = Desk::new(config, kinds);
    match command {
        Command::Serve(serve) => serve.run(desk.config, desk.kinds, load).await,
        Command::Check(check) => check.run(&desk, file.as_deref(), output).await,
        Command::Email(email) => email.run(&desk, output).await,
        Command::Inbox(inbox) => inbox.run(&desk, output).await,
        Command::Agents(agents) => agents.run(&desk, output).await,
        Command::Call(call) => call.run(&desk, output).await,
        Command::Outbox(outbox) => outbox.run(&desk, output).await,
        Command::Models(models) => models.run(&desk, output).await,
        Command::Users(users) => users.run(&desk, output).await,
        Command::Tokens(tokens) => tokens.run(&desk, output).await,
        Command::Mcp(mcp) => mcp.run(&desk).await,
        Command::Keys(keys) => keys.run(&desk, output).await,
        Command::Reload(reload) => reload.run(&desk, output).await,
        Command::Backup(backup) => backup.run(&desk, output).await,
        Command::Export(export) => export.run(&desk, output).await,
        Command::Bench(bench) => bench.run(output).await,
    }
}

/// How the configuration is read, now and whenever it changes.
struct Load {
    file: Option<PathBuf>,
    /// Kinds of agent the program brings along.
    own: Vec<OwnKind>,
    /// The address of what answers while no model is configured.
    rehearsal: Option<String>,
    /// From the command line.
    data: Option<PathBuf>,
}

impl Load {
    fn config(&self) -> Result<Config, ConfigErrors> {
        let mut config = Config::load_own(self.file.as_deref(), &self.own)?;
        if self.file.is_none() && !self.own.is_empty() {
            // A program with agents of its own needs no config file to try them.
            let domains = &config.mail.domains;
            config.agents =
                self.own.iter().map(|kind| AgentConfig::of_own(kind, domains)).collect();
        }
        if let Some(address) = &self.rehearsal
            && config.models.default.is_empty()
        {
            config.models.rehearse(address);
        }
        if let Some(data) = &self.data {
            config.server.data.clone_from(data);
        }
        Ok(config)
    }
}

fn config_file(global: &Global) -> Option<PathBuf> {
    let usual = || Path::new(USUAL_CONFIG).exists().then(|| PathBuf::from(USUAL_CONFIG));
    global.config.clone().or_else(usual)
}

/// The installation that the commands are about. Connects at the first question, so that a command
/// whose arguments are wrong opens no database.
struct Desk {
    config: Config,
    kinds: Kinds,
    client: OnceCell<Client>,
}

impl Desk {
    fn new(config: Config, kinds: Kinds) -> Self {
        Self { config, kinds, client: OnceCell::new() }
    }

    async fn ask(&self, call: Call) -> Result<Value, Failure> {
        let client =
            self.client.get_or_try_init(|| client::connect(&self.config, &self.kinds)).await?;
        Ok(client.ask(call).await?)
    }

    /// The same question about each id. One that fails is told and does not keep the others from
    /// being asked.
    async fn ask_each(
        &self,
        ids: &[String],
        output: &mut Output,
        call: impl Fn(&str) -> Call,
        sentence: impl Fn(&str, &Value) -> String,
    ) -> Result<(), Failure> {
        let mut failed = false;
        for id in ids {
            match self.ask(call(id)).await {
                Ok(answer) => output.done(&answer, &sentence(id, &answer))?,
                Err(failure @ Failure::Api(ApiError::Problem { .. })) if ids.len() > 1 => {
                    eprintln!("{}", explain(&failure, Some(id), output.is_json()));
                    failed = true;
                }
                Err(failure) => return Err(failure),
            }
        }
        if failed { Err(Failure::Told) } else { Ok(()) }
    }
}

/// What standard error says about a failure: a sentence, or a JSON object on one line.
fn explain(failure: &Failure, about: Option<&str>, json: bool) -> String {
    if !json {
        let about = about.map(|id| format!("{}: ", output::line(id))).unwrap_or_default();
        let text = match failure {
            Failure::Config(errors) => {
                let count = errors.problems.len();
                let s = if count == 1 { "" } else { "s" };
                return format!("{errors}\nerror: {count} mistake{s} in the configuration");
            }
            other => other.to_string(),
        };
        return format!("error: {about}{}", output::line(&text));
    }
    let mut object = match failure {
        Failure::Config(errors) => json!({
            "title": "Mistakes in the configuration",
            "file": errors.file,
            "problems": errors.problems.iter().map(|problem| json!({
                "line": problem.place.map(|place| place.line),
                "column": problem.place.map(|place| place.column),
                "message": problem.message,
            })).collect::<Vec<_>>(),
        }),
        Failure::Api(ApiError::Problem { title, detail, status }) => {
            json!({ "title": title, "detail": detail, "status": status })
        }
        other => json!({ "title": other.to_string() }),
    };
    if let Some(id) = about {
        object["id"] = id.into();
    }
    object.to_string()
}
