//! Benchmarks of the running program, as `frontdesk bench` runs them.
//!
//! What always holds: what is measured is the program as it ships ([`crate::Frontdesk`] served on
//! loopback, the store and the runtime with their own threads), every figure is printed with the
//! conditions it was measured under, and a run whose outcome is not what it claims (a message that
//! did not pass DMARC, an answer that was not captured) fails instead of printing a figure. The load
//! comes from a thread of its own on the same cores.
//!
//! Left out: comparing with other servers, and load from another machine.

mod agents;
mod client;
mod dns;
mod grow;
mod machine;
mod mails;
mod smtp;
mod stats;
mod voice;

pub use agents::AgentsOptions;
pub use smtp::SmtpOptions;
pub use voice::VoiceOptions;

use serde::Serialize;

/// What a benchmark found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub bench: &'static str,
    pub conditions: Vec<Condition>,
    pub lines: Vec<Line>,
}

/// Something that the figures depend on.
#[derive(Debug, Clone, Serialize)]
pub struct Condition {
    pub name: &'static str,
    pub value: String,
}

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    pub name: String,
    pub value: f64,
    pub unit: &'static str,
    /// What DESIGN section 10 asks for, if it asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Whether the budget was met.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub met: Option<bool>,
}

/// A bound on a figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Budget {
    AtLeast(f64),
    AtMost(f64),
}

impl Report {
    fn new(bench: &'static str) -> Self {
        Self { bench, conditions: Vec::new(), lines: Vec::new() }
    }

    fn condition(&mut self, name: &'static str, value: impl Into<String>) {
        self.conditions.push(Condition { name, value: value.into() });
    }

    fn line(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.lines.push(Line { name: name.into(), value, unit, budget: None, met: None });
    }

    fn judged(&mut self, name: impl Into<String>, value: f64, unit: &'static str, budget: Budget) {
        let met = match budget {
            Budget::AtLeast(least) => value >= least,
            Budget::AtMost(most) => value <= most,
        };
        let name = name.into();
        self.lines.push(Line { name, value, unit, budget: Some(budget), met: Some(met) });
    }
}

/// Megabytes, as people count memory.
fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// A folder for one run that goes away with it.
fn place(dir: Option<&std::path::Path>) -> anyhow::Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("frontdesk-bench-");
    let place = match dir {
        Some(dir) => std::fs::create_dir_all(dir).and_then(|()| builder.tempdir_in(dir)),
        None => builder.tempdir(),
    };
    place.map_err(|error| anyhow::anyhow!("make a folder for the run: {error}"))
}
