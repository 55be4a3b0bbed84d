//! `frontdesk bench`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use frontdesk_router::bench::{AgentsOptions, Budget, Line, Report, SmtpOptions, VoiceOptions};
use serde_json::json;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::MakeWriterExt;

use super::Failure;
use super::output::Output;

/// Measure this program on this machine, against its budgets
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Mail: accepts, latency, answers, memory, start
    Smtp(Smtp),
    /// Agents: events, wake-ups, schedules, sleeping instances, start with a large database
    Agents(Agents),
    /// Calls: what we add to a turn at many calls at once, greeting, interruption, memory of an idle call
    Voice(Voice),
}

#[derive(Debug, Args)]
pub struct Smtp {
    /// How long each load lasts
    #[arg(long, value_name = "SECONDS", default_value_t = SmtpOptions::default().seconds)]
    seconds: u64,
    /// Connections of the load
    #[arg(long, value_name = "COUNT", default_value_t = SmtpOptions::default().connections)]
    connections: usize,
    /// Messages a second of the load with a fixed rate
    #[arg(long, value_name = "PER_SECOND", default_value_t = SmtpOptions::default().rate)]
    rate: f64,
    /// Octets of a message
    #[arg(long, value_name = "OCTETS", default_value_t = SmtpOptions::default().size)]
    size: usize,
    /// Messages signed beforehand for the load at full speed, which ends when they are used up
    #[arg(long, value_name = "COUNT", default_value_t = SmtpOptions::default().messages)]
    messages: usize,
    /// People who write
    #[arg(long, value_name = "COUNT", default_value_t = SmtpOptions::default().correspondents)]
    correspondents: usize,
    /// Mails to be answered
    #[arg(long, value_name = "COUNT", default_value_t = SmtpOptions::default().answers)]
    answers: usize,
    /// Octets of the large message
    #[arg(long, value_name = "OCTETS", default_value_t = SmtpOptions::default().large)]
    large: usize,
    /// A folder on the disk to measure [default: the folder for temporary files]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Agents {
    /// How long the load with a fixed rate lasts
    #[arg(long, value_name = "SECONDS", default_value_t = AgentsOptions::default().seconds)]
    seconds: u64,
    /// Events a second of that load
    #[arg(long, value_name = "PER_SECOND", default_value_t = AgentsOptions::default().rate)]
    rate: f64,
    /// Events of the load at full speed
    #[arg(long, value_name = "COUNT", default_value_t = AgentsOptions::default().events)]
    events: usize,
    /// Sleeping instances
    #[arg(long, value_name = "COUNT", default_value_t = AgentsOptions::default().instances)]
    instances: usize,
    /// Schedules that fire
    #[arg(long, value_name = "COUNT", default_value_t = AgentsOptions::default().timers)]
    timers: usize,
    /// Octets of the database that a start is timed with
    #[arg(long, value_name = "OCTETS", default_value_t = AgentsOptions::default().database)]
    database: u64,
    /// A folder on the disk to measure [default: the folder for temporary files]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Voice {
    /// How long each caller talks
    #[arg(long, value_name = "SECONDS", default_value_t = VoiceOptions::default().seconds)]
    seconds: u64,
    /// Calls at once, one load after another
    #[arg(long, value_name = "COUNT", value_delimiter = ',', default_values_t = VoiceOptions::default().calls)]
    calls: Vec<usize>,
    /// Calls while a decode of Whisper is always running; 0 leaves it out
    #[arg(long, value_name = "COUNT", default_value_t = VoiceOptions::default().beside_decode)]
    beside_decode: usize,
    /// Idle calls whose memory is looked at; 0 leaves it out
    #[arg(long, value_name = "COUNT", default_value_t = VoiceOptions::default().idle)]
    idle: usize,
    /// Calls in which the agent is interrupted; 0 leaves it out
    #[arg(long, value_name = "COUNT", default_value_t = VoiceOptions::default().interrupted)]
    interrupted: usize,
    /// A folder on the disk to measure [default: the folder for temporary files]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Bench {
    pub(super) async fn run(self, output: &mut Output) -> Result<(), Failure> {
        log_as_a_server_does();
        let progress = |what: &str| eprintln!("bench: {what}");
        let report = match self {
            Self::Smtp(smtp) => smtp.options().run(&progress).await,
            Self::Agents(agents) => agents.options().run(&progress).await,
            Self::Voice(voice) => voice.options().run(&progress).await,
        };
        show(&report.map_err(|error| Failure::Other(format!("{error:#}")))?, output)
    }
}

impl Smtp {
    fn options(self) -> SmtpOptions {
        SmtpOptions {
            seconds: self.seconds.max(1),
            connections: self.connections.max(1),
            rate: self.rate.max(1.0),
            size: self.size,
            messages: self.messages,
            correspondents: self.correspondents,
            answers: self.answers,
            large: self.large,
            dir: self.data_dir,
        }
    }
}

impl Agents {
    fn options(self) -> AgentsOptions {
        AgentsOptions {
            seconds: self.seconds.max(1),
            rate: self.rate.max(1.0),
            events: self.events,
            instances: self.instances.max(1),
            timers: self.timers,
            database: self.database,
            dir: self.data_dir,
        }
    }
}

impl Voice {
    fn options(self) -> VoiceOptions {
        VoiceOptions {
            seconds: self.seconds.max(1),
            calls: self.calls.into_iter().map(|calls| calls.max(1)).collect(),
            beside_decode: self.beside_decode,
            idle: self.idle,
            interrupted: self.interrupted,
            dir: self.data_dir,
        }
    }
}

/// The lines of a busy server are written out and thrown away; what goes wrong is shown.
fn log_as_a_server_does() {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("info"))
        .with_ansi(false)
        .with_writer(std::io::stderr.with_max_level(tracing::Level::WARN).or_else(std::io::sink))
        .init();
}

fn show(report: &Report, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return Ok(output.value(&json!(report))?);
    }
    let conditions: Vec<(&str, String)> =
        report.conditions.iter().map(|c| (c.name, c.value.clone())).collect();
    output.fields(&conditions)?;
    output.say("")?;
    for line in &report.lines {
        output.say(&sentence(line))?;
    }
    Ok(())
}

fn sentence(line: &Line) -> String {
    let value = number(line.value);
    let judged = match (line.budget, line.met) {
        (Some(budget), Some(met)) => {
            let (bound, most) = match budget {
                Budget::AtLeast(least) => ("at least", least),
                Budget::AtMost(most) => ("at most", most),
            };
            let verdict = if met { "met" } else { "NOT MET" };
            format!("  budget {bound} {}: {verdict}", number(most))
        }
        _ => String::new(),
    };
    format!("{:<60} {value:>9} {:<9}{judged}", line.name, line.unit).trim_end().to_owned()
}

fn number(value: f64) -> String {
    if value >= 100.0 || value == value.trunc() {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}
