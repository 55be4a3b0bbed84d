//! `frontdesk backup`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::client::Call;
use super::output::{Output, show};
use super::{Desk, Failure};

/// Copy everything, keys included, while the server runs.
#[derive(Debug, Args)]
pub struct Backup {
    /// A folder that does not exist yet. Whoever can read it can read all mail and sign as you.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

impl Backup {
    pub(super) async fn run(self, desk: &Desk, output: &mut Output) -> Result<(), Failure> {
        let to = whole_path(self.to)?;
        let call = Call::post(&["backup"]).body(json!({ "to": to })).patient();
        let answer = desk.ask(call).await?;
        let bytes = show(&answer["bytes"]);
        let size = if bytes.is_empty() { bytes } else { format!(", {bytes} bytes") };
        output.done(&answer, &format!("Backed up to {to}{size}."))?;
        Ok(())
    }
}

/// The path from the root: the server's working folder is another one.
pub(super) fn whole_path(path: PathBuf) -> Result<String, Failure> {
    let whole = std::path::absolute(&path)?;
    match whole.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(Failure::Usage(format!("{} is not UTF-8", path.display()))),
    }
}
