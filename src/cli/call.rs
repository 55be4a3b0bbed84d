//! `frontdesk call`

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use clap::Args;
use frontdesk_router::voice::client::{self, Plan, Shown, Sound};
use serde_json::json;

use super::output::{Output, line};
use super::{Desk, Failure};

/// Talk to an agent of the running server
#[derive(Debug, Args)]
pub struct Call {
    /// The agent
    agent: String,
    /// Say what is in this file, and hang up after the answer
    #[arg(long, value_name = "FILE", conflicts_with = "microphone")]
    wav: Option<PathBuf>,
    /// Talk with the microphone and loudspeaker of this machine, by way of arecord and aplay
    #[arg(long)]
    microphone: bool,
    /// Write this at the beginning; can be given several times
    #[arg(long, value_name = "WORDS")]
    text: Vec<String>,
    /// Keep what the agent says in this file
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// How long to wait for an answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    wait: u64,
}

impl Call {
    pub(super) async fn run(self, desk: &Desk, output: &mut Output) -> Result<(), Failure> {
        if self.wav.is_none() && !self.microphone && self.text.is_empty() {
            return Err(Failure::Usage(
                "say what to say: --wav FILE, --microphone, or --text WORDS".into(),
            ));
        }
        let failed = |error: client::CallError| Failure::Other(error.to_string());
        let mut programs = Vec::new();
        let sound = if self.microphone {
            let mut child =
                program("arecord", &["-q", "-t", "raw", "-f", "S16_LE", "-c", "1", "-r", "16000"])?;
            let microphone = child.stdout.take();
            programs.push(child);
            let none = || Failure::Other("arecord gives no sound".into());
            Sound::Microphone(Box::new(microphone.ok_or_else(none)?))
        } else {
            let samples = self.wav.as_deref().map(client::read_wav).transpose().map_err(failed)?;
            Sound::File(samples.unwrap_or_default())
        };
        let mut speaker = None;
        if self.microphone {
            let mut child =
                program("aplay", &["-q", "-t", "raw", "-f", "S16_LE", "-c", "1", "-r", "16000"])?;
            speaker = child.stdin.take().map(|stdin| Box::new(stdin) as Box<_>);
            programs.push(child);
        }
        let plan = Plan {
            agent: self.agent,
            sound,
            texts: self.text,
            wait: Duration::from_secs(self.wait.max(1)),
            speaker,
        };
        let quiet = output.is_json();
        let show = |shown: Shown| {
            if !quiet {
                match shown {
                    Shown::Caller(text) => println!("you    {}", line(&text)),
                    Shown::Agent(text) => println!("agent  {}", line(&text)),
                    Shown::Problem(text) => eprintln!("{}", line(&text)),
                    Shown::Answered(_) => {}
                }
            }
        };
        let control = desk.config.server.control_socket();
        let over = client::call(&control, plan, show).await;
        for mut child in programs {
            // It may have ended by itself.
            let _ = child.kill().await;
        }
        let over = over.map_err(failed)?;
        if let Some(file) = &self.save {
            client::write_wav(file, &over.heard, over.rate).map_err(failed)?;
        }
        if quiet {
            let transcript: Vec<_> = over
                .transcript
                .iter()
                .map(|(who, text)| json!({ "who": who, "text": text }))
                .collect();
            let seconds = over.heard.len() as f64 / f64::from(over.rate);
            output.value(&json!({
                "transcript": transcript, "turns": over.turns, "heard_seconds": seconds, "saved": self.save,
            }))?;
        }
        Ok(())
    }
}

fn program(name: &str, arguments: &[&str]) -> Result<tokio::process::Child, Failure> {
    let mut command = tokio::process::Command::new(name);
    command.args(arguments).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command.spawn().map_err(|error| {
        Failure::Other(format!(
            "{name} cannot be started: {error}. `apt install alsa-utils` has it"
        ))
    })
}
