//! `frontdesk export`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::backup::whole_path;
use super::client::Call;
use super::output::{Output, show};
use super::{Desk, Failure};

/// Write all mail as mbox and all data as JSON.
#[derive(Debug, Args)]
pub struct Export {
    /// A folder that does not exist yet
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Export {
    pub(super) async fn run(self, desk: &Desk, output: &mut Output) -> Result<(), Failure> {
        let out = whole_path(self.out)?;
        let call = Call::post(&["export"]).body(json!({ "out": out })).patient();
        let answer = desk.ask(call).await?;
        let messages = show(&answer["messages"]);
        let count = if messages.is_empty() { messages } else { format!(": {messages} messages") };
        output.done(&answer, &format!("Exported to {out}{count}."))?;
        Ok(())
    }
}
