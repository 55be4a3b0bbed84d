//! `frontdesk models`
//!
//! Works on the files of this machine, whether or not a server runs: a server that lacks a model looks for
//! it again at the next call.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use clap::Subcommand;
use frontdesk_router::models::{self, Mirror, Presence, Progress, Pull, PullError, Pulled};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::output::{Output, line};
use super::{Desk, Failure};

/// How often progress is shown.
const SHOW: Duration = Duration::from_millis(200);

#[derive(Debug, Subcommand)]
pub enum Models {
    /// The speech models there are, and which of them are here
    List,
    /// Download speech models, each checked against its published checksum
    Pull {
        /// Such as whisper:base.en
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// Where to get them instead of where they are published: an address with http://, https:// or
        /// file://, or a folder
        #[arg(long, value_name = "WHERE")]
        mirror: Option<Mirror>,
    },
}

impl Models {
    pub(super) async fn run(self, desk: &Desk, output: &mut Output) -> Result<(), Failure> {
        match self {
            Self::List => list(desk, output),
            Self::Pull { names, mirror } => {
                let pulls: Result<Vec<_>, _> = names
                    .iter()
                    .map(|name| Ok((name, Pull::new(&desk.config, name, mirror.clone())?)))
                    .collect();
                for (name, pull) in pulls.map_err(failed)? {
                    let pulled = watched(name, &pull, output).await?;
                    let answer = json!({
                        "model": name, "file": pulled.file, "size": pulled.size, "already": pulled.already,
                    });
                    let here = if pulled.already { "is here already" } else { "is here" };
                    output.done(&answer, &format!("{name} {here}: {}", pulled.file.display()))?;
                }
                Ok(())
            }
        }
    }
}

fn failed(error: PullError) -> Failure {
    match error {
        PullError::Unknown { .. } => Failure::Usage(error.to_string()),
        _ => Failure::Other(error.to_string()),
    }
}

fn list(desk: &Desk, output: &mut Output) -> Result<(), Failure> {
    let items = models::list(&desk.config).into_iter().map(|model| {
        let size = match (output.is_json(), model.size) {
            (true, size) => json!(size),
            (false, size) => json!(size.map(megabytes)),
        };
        let state = match (output.is_json(), model.state) {
            (true, state) => json!(state),
            (false, Presence::Here) => json!("here"),
            (false, Presence::Partly) => json!("partly here"),
            (false, Presence::Wrong) => json!("another file is in its place"),
            (false, Presence::Absent) => json!("not here"),
        };
        json!({
            "name": model.name, "size": size, "state": state, "used": model.used, "file": model.file,
        })
    });
    let page = json!({ "items": items.collect::<Vec<Value>>(), "next": null });
    let columns = [
        ("NAME", "name"),
        ("SIZE", "size"),
        ("STATE", "state"),
        ("USED", "used"),
        ("FILE", "file"),
    ];
    output.list(&page, &columns, "There are no models.", "frontdesk models list")?;
    if !output.is_json() {
        output.say("")?;
        output.say("Get one: frontdesk models pull NAME")?;
    }
    Ok(())
}

/// Runs a pull and says how it is getting on: on a terminal in one line that changes, with `--json` in
/// objects, and otherwise only what somebody may have to do something about.
async fn watched(name: &str, pull: &Pull, output: &mut Output) -> Result<Pulled, Failure> {
    let (progress, mut seen) = watch::channel(Progress::Fetching { have: 0, size: pull.size() });
    let mut line = Line::new(output.is_json());
    let mut run = std::pin::pin!(pull.run(&progress));
    let mut shown = None;
    let result = loop {
        tokio::select! {
            result = &mut run => break result,
            () = tokio::time::sleep(SHOW) => {}
        }
        let now = seen.borrow_and_update().clone();
        if shown.as_ref() == Some(&now) {
            continue;
        }
        if output.is_json() {
            output.value(&as_json(name, &now))?;
        } else {
            line.show(&in_words(name, pull, &now), matches!(now, Progress::Fetching { .. }));
        }
        shown = Some(now);
    };
    line.end();
    result.map_err(failed)
}

fn as_json(name: &str, progress: &Progress) -> Value {
    match progress {
        Progress::Waiting => json!({ "model": name, "state": "waiting" }),
        Progress::Fetching { have, size } => {
            json!({ "model": name, "state": "fetching", "have": have, "size": size })
        }
        Progress::Interrupted { why, pause } => json!({
            "model": name, "state": "interrupted", "why": why, "again_in_ms": pause.as_millis() as u64,
        }),
        Progress::Checking => json!({ "model": name, "state": "checking" }),
    }
}

fn in_words(name: &str, pull: &Pull, progress: &Progress) -> String {
    match progress {
        Progress::Waiting => format!("{name}: somebody else is fetching it; waiting for that"),
        Progress::Fetching { have: 0, .. } => format!("{name}: from {}", pull.source()),
        Progress::Fetching { have, size } => {
            let percent = have.saturating_mul(100) / (*size).max(1);
            format!("{name}: {percent} % of {}", megabytes(*size))
        }
        Progress::Interrupted { why, pause } => {
            format!("{name}: {why}; going on in {} s", pause.as_secs())
        }
        Progress::Checking => format!("{name}: comparing its checksum"),
    }
}

fn megabytes(octets: u64) -> String {
    format!("{} MB", octets.div_ceil(1_000_000))
}

/// A line of standard error that is written over on a terminal.
struct Line {
    terminal: bool,
    width: usize,
}

impl Line {
    fn new(json: bool) -> Self {
        Self { terminal: !json && std::io::stderr().is_terminal(), width: 0 }
    }

    /// Shows a text. One of those that come often is left out where lines cannot be written over.
    fn show(&mut self, text: &str, often: bool) {
        let text = line(text);
        if self.terminal {
            let width = text.chars().count();
            let blank = " ".repeat(self.width.saturating_sub(width));
            eprint!("\r{text}{blank}");
            // Nobody reads it if this fails.
            let _ = std::io::stderr().flush();
            self.width = width;
        } else if !often {
            eprintln!("{text}");
        }
    }

    fn end(&mut self) {
        if self.width > 0 {
            eprint!("\r{}\r", " ".repeat(self.width));
            self.width = 0;
        }
    }
}
