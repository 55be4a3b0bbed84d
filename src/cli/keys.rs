//! `frontdesk keys`

use clap::Subcommand;

use super::client::Call;
use super::output::{Output, show};
use super::{Desk, Failure};

#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Sign with a new key from now on; answers to older mail still find their conversation
    Rotate,
}

impl Keys {
    pub(super) async fn run(self, desk: &Desk, output: &mut Output) -> Result<(), Failure> {
        let Self::Rotate = self;
        let answer = desk.ask(Call::post(&["keys", "rotate"])).await?;
        let sentence = match show(&answer["key_id"]).as_str() {
            "" => "New reply addresses are signed with a new key.".to_owned(),
            key => format!("New reply addresses are signed with key {key}."),
        };
        output.done(&answer, &sentence)?;
        Ok(())
    }
}
