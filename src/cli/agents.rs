//! `frontdesk agents`

use clap::Subcommand;

use super::client::Call;
use super::output::{Column, Output, show};
use super::{Desk, Failure};

const COLUMNS: [Column; 5] = [
    ("NAME", "name"),
    ("KIND", "kind"),
    ("ADDRESSES", "addresses"),
    ("INSTANCES", "instances"),
    ("NEEDS REVIEW", "needs_review"),
];

#[derive(Debug, Subcommand)]
pub enum Agents {
    /// List the agents
    List,
    /// Show one agent
    Get {
        /// Its name
        name: String,
    },
}

impl Agents {
    pub(super) async fn run(self, desk: &Desk, output: &mut Output) -> Result<(), Failure> {
        match self {
            Self::List => {
                let page = desk.ask(Call::get(&["agents"])).await?;
                output.list(&page, &COLUMNS, "No agents.", "frontdesk agents list")?;
            }
            Self::Get { name } => {
                let agent = desk.ask(Call::get(&["agents", &name])).await?;
                if output.is_json() {
                    output.value(&agent)?;
                    return Ok(());
                }
                let labels = [
                    ("Name", "name"),
                    ("Shown as", "display_name"),
                    ("Kind", "kind"),
                    ("Addresses", "addresses"),
                    ("Instance", "instance"),
                    ("Approval", "approval"),
                    ("Owner", "owner"),
                    ("Instances", "instances"),
                    ("Conversations", "conversations"),
                    ("Needs review", "needs_review"),
                ];
                output.fields(&labels.map(|(label, key)| (label, show(&agent[key]))))?;
            }
        }
        Ok(())
    }
}
