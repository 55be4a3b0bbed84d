//! `frontdesk reload`

use clap::Args;

use super::client::Call;
use super::output::{Output, show};
use super::{Desk, Failure};

/// Have the running server read its config file again
#[derive(Debug, Args)]
pub struct Reload {}

impl Reload {
    pub(super) async fn run(self, desk: &Desk, output: &mut Output) -> Result<(), Failure> {
        let answer = desk.ask(Call::post(&["reload"])).await?;
        if output.is_json() {
            output.value(&answer)?;
            return Ok(());
        }
        let lines = |key: &str| -> Vec<String> {
            let listed = answer[key].as_array().map_or(&[][..], Vec::as_slice);
            listed.iter().map(show).collect::<Vec<String>>()
        };
        let (changed, restart) = (lines("changed"), lines("needs_restart"));
        if changed.is_empty() && restart.is_empty() {
            output.say("Nothing has changed.")?;
        }
        for what in changed {
            output.say(&format!("changed        {what}"))?;
        }
        for what in restart {
            output.say(&format!("needs restart  {what}"))?;
        }
        Ok(())
    }
}
