//! `frontdesk serve`

use std::io::IsTerminal;

use clap::Args;
use frontdesk_router::config::{Config, LogFormat, Mode, reachable};
use frontdesk_router::{Frontdesk, Source};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{Failure, Kinds, Load};

/// Run the server
#[derive(Debug, Default, Args)]
pub struct Serve {
    /// The model of assistants that name none, such as ollama:qwen3:8b. Without any [[agent]], it makes
    /// hello an assistant
    #[arg(long, value_name = "PROVIDER:MODEL")]
    model: Option<String>,
}

impl Serve {
    pub(super) async fn run(
        self,
        mut config: Config,
        kinds: Kinds,
        load: Load,
    ) -> Result<(), Failure> {
        if let Some(model) = self.model.clone() {
            // Before anything starts: what is wrong with a name or a key has a fix of one line.
            let opened = config.models.open(std::slice::from_ref(&model));
            opened.map_err(|error| Failure::Usage(format!("--model {model}: {error}")))?;
            config.use_model(model);
        }
        start_log(&config)?;
        let failed = |error: anyhow::Error| Failure::Other(format!("{error:#}"));
        // Before mail can come in, so that a stop is in order from the first mail on.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut frontdesk = Frontdesk::new(config).kinds(kinds);
        if let Some(file) = load.file.clone() {
            let model = self.model;
            frontdesk = frontdesk.source(Source::new(file, move || {
                let mut config = load.config()?;
                if let Some(model) = &model {
                    config.use_model(model.clone());
                }
                Ok(config)
            }));
        }
        let running = frontdesk.serve().await.map_err(failed)?;
        greet(&running);
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                // What came of it is in the log.
                _ = hangup.recv() => drop(running.desk.reload("SIGHUP").await),
            }
        }
        tracing::info!("stopping: what is under way is finished first");
        // A second signal means now. What was accepted is on the disk either way.
        tokio::select! {
            () = running.stop() => tracing::info!("stopped"),
            _ = terminate.recv() => tracing::warn!("stopped at once"),
            _ = interrupt.recv() => tracing::warn!("stopped at once"),
        }
        Ok(())
    }
}

fn start_log(config: &Config) -> Result<(), Failure> {
    // rmcp logs what is in requests, and a few lines of its own for each.
    let filter = EnvFilter::try_new(format!("{},rmcp=warn", config.server.log_level))
        .map_err(|error| Failure::Other(format!("server.log_level: {error}")))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match config.server.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

/// What a person needs to know who has just started it.
fn greet(running: &frontdesk_router::Running) {
    let config = &running.desk.config;
    println!("Frontdesk is running.");
    for address in &running.smtp {
        println!("  mail     {}", reachable(*address));
    }
    for address in &running.http {
        println!("  health   http://{}/healthz", reachable(*address));
    }
    if let Some(link) = &running.signin_link {
        println!("  sign in  {link}");
    }
    for agent in &config.agents {
        println!("  agent    {} ({})", agent.addresses.join(", "), agent.kind);
    }
    if config.models.is_rehearsal() {
        println!(
            "  model    none is configured, so a script answers; set OPENAI_API_KEY or [models]"
        );
    }
    println!("  data     {}", config.server.data.display());
    match &config.relay {
        Some(relay) if config.mail.mode == Mode::Relay => {
            println!("  answers  leave through {} port {}", relay.host, relay.port);
        }
        _ => {
            println!(
                "  answers  {} (nothing leaves this machine)",
                config.server.outgoing().display()
            )
        }
    }
    if let (Some(smtp), Some(agent)) = (running.smtp.first(), config.agents.first())
        && let Some(address) = agent.addresses.first()
    {
        println!(
            "\nA first mail:\n  swaks --server {} --to {address} --from you@{} --body 'Hello!'",
            reachable(*smtp),
            config.mail.domains.first().map_or("localhost", String::as_str),
        );
    }
}
