//! `frontdesk outbox`

use clap::Subcommand;
use serde_json::Value;

use super::client::Call;
use super::output::{Column, Output, show};
use super::{Desk, Failure};

const COLUMNS: [Column; 7] = [
    ("ID", "id"),
    ("STATE", "state"),
    ("AGENT", "agent"),
    ("TO", "to"),
    ("SUBJECT", "subject"),
    ("NEXT TRY", "next_try_at"),
    ("WHY", "why"),
];

#[derive(Debug, Subcommand)]
pub enum Outbox {
    /// List mail on its way out, the newest first
    List {
        /// Only one state: held, queued, sending, sent, deferred, bounced, failed, uncertain or
        /// cancelled
        #[arg(long)]
        state: Option<String>,
        /// At most this many
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: Option<u32>,
        /// Where the page before ended
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Try again what failed, was put off, or may not have arrived
    Retry {
        /// The mails
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// Never send what has not been sent yet
    Cancel {
        /// The mails
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

impl Outbox {
    pub(super) async fn run(self, desk: &Desk, output: &mut Output) -> Result<(), Failure> {
        match self {
            Self::List { state, limit, cursor } => {
                let mut more = "frontdesk outbox list".to_owned();
                if let Some(state) = &state {
                    more = format!("{more} --state {state}");
                }
                let call = Call::get(&["outbox"])
                    .query("state", state)
                    .query("limit", limit)
                    .query("cursor", cursor);
                output.list(&desk.ask(call).await?, &COLUMNS, "Nothing in the outbox.", &more)?;
                Ok(())
            }
            Self::Retry { ids } => act(desk, output, &ids, "retry").await,
            Self::Cancel { ids } => act(desk, output, &ids, "cancel").await,
        }
    }
}

async fn act(desk: &Desk, output: &mut Output, ids: &[String], verb: &str) -> Result<(), Failure> {
    let sentence = |id: &str, answer: &Value| match show(&answer["state"]).as_str() {
        "" => format!("{id}: done."),
        state => format!("{id} is now {state}."),
    };
    desk.ask_each(ids, output, |id| Call::post(&["outbox", id, verb]), sentence).await
}
