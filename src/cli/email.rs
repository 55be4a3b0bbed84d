//! `frontdesk email`

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use data_encoding::BASE64;
use serde_json::{Map, Value, json};

use super::client::Call;
use super::output::{Output, show};
use super::{Desk, Failure};

/// What one mail may carry, before base64: Gmail's 25 MB.
const ATTACHMENTS_MAX: u64 = 25_000_000;

#[derive(Debug, Subcommand)]
pub enum Email {
    /// Send a mail as an agent; the gate decides whether it waits for a person
    Send(Send),
}

#[derive(Debug, Args)]
pub struct Send {
    /// The agent who writes
    #[arg(long)]
    agent: String,
    /// To whom; several times or with commas for several people
    #[arg(long, required = true, value_delimiter = ',')]
    to: Vec<String>,
    /// Who gets a copy
    #[arg(long, value_delimiter = ',')]
    cc: Vec<String>,
    /// What it is about
    #[arg(long)]
    subject: String,
    /// The text [default: standard input]
    #[arg(long, conflicts_with = "text_file")]
    text: Option<String>,
    /// A file with the text; - is standard input
    #[arg(long, value_name = "FILE")]
    text_file: Option<PathBuf>,
    /// A file with the same in HTML
    #[arg(long, value_name = "FILE")]
    html_file: Option<PathBuf>,
    /// A file to attach; several times for several
    #[arg(long, value_name = "FILE")]
    attach: Vec<PathBuf>,
    /// The conversation it belongs to [default: a new one]
    #[arg(long, value_name = "ID")]
    conversation: Option<String>,
}

impl Email {
    pub(super) async fn run(self, desk: &Desk, output: &mut Output) -> Result<(), Failure> {
        let Self::Send(send) = self;
        let answer = desk.ask(Call::post(&["emails"]).body(send.into_body()?)).await?;
        output.done(&answer, &outcome(&answer))?;
        Ok(())
    }
}

/// What became of it, in the words of the outbox: a held mail was not sent.
fn outcome(answer: &Value) -> String {
    let id = show(&answer["id"]);
    let why = match show(&answer["why"]).as_str() {
        "" => String::new(),
        why => format!(" ({why})"),
    };
    match show(&answer["state"]).as_str() {
        "held" => format!("{id} is held for review{why}. It is not sent yet."),
        "" => format!("{id} is in the outbox."),
        state => format!("{id} is {state}{why}."),
    }
}

impl Send {
    fn into_body(self) -> Result<Value, Failure> {
        let text = match (self.text, self.text_file) {
            (Some(text), _) => text,
            (None, Some(path)) if path != Path::new("-") => read_text(&path)?,
            (None, _) => read_standard_input()?,
        };
        let mut body = Map::new();
        body.insert("agent".into(), self.agent.into());
        body.insert("to".into(), self.to.into());
        body.insert("cc".into(), self.cc.into());
        body.insert("subject".into(), self.subject.into());
        body.insert("text".into(), text.into());
        if let Some(path) = self.html_file {
            body.insert("html".into(), read_text(&path)?.into());
        }
        body.insert("attachments".into(), attachments(&self.attach)?.into());
        if let Some(conversation) = self.conversation {
            body.insert("conversation".into(), conversation.into());
        }
        Ok(body.into())
    }
}

fn attachments(paths: &[PathBuf]) -> Result<Vec<Value>, Failure> {
    let mut left = ATTACHMENTS_MAX;
    let mut attachments = Vec::new();
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
            Failure::Usage(format!("{} has no name that can be sent", path.display()))
        })?;
        // One octet more than allowed tells a file that is too large from one that just fits.
        let mut content = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(left + 1).read_to_end(&mut content))
            .map_err(|error| unreadable(path, &error))?;
        left = left.checked_sub(content.len() as u64).ok_or_else(|| {
            Failure::Usage(format!(
                "the attachments are larger than {} MB together; mail will not carry them",
                ATTACHMENTS_MAX / 1_000_000
            ))
        })?;
        attachments.push(json!({ "name": name, "content_base64": BASE64.encode(&content) }));
    }
    Ok(attachments)
}

fn read_text(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))
}

fn read_standard_input() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| Failure::Usage(format!("cannot read standard input: {error}")))?;
    Ok(text)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Usage(format!("cannot read {}: {error}", path.display()))
}
