//! `frontdesk agents`

use clap::Subcommand;
use serde_json::json;

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
    /// Make a link to talk to an agent in the browser
    Link {
        /// Its name
        name: String,
        /// The contact it is for. Whoever holds it is then taken for them: send it to that address only
        #[arg(long, value_name = "ADDRESS")]
        contact: Option<String>,
        /// How long it is good
        #[arg(long, default_value_t = 24)]
        hours: u32,
    },
}

impl Agents {
    pub(super) async fn run(self, desk: &Desk, output: &mut Output) -> Result<(), Failure> {
        match self {
            Self::List => {
                let page = desk.ask(Call::get(&["agents"])).await?;
                output.list(&page, &COLUMNS, "No agents.", "frontdesk agents list")?;
            }
            Self::Link { name, contact, hours } => {
                let body = json!({ "contact": contact, "hours": hours });
                let link = desk.ask(Call::post(&["agents", &name, "links"]).body(body)).await?;
                let sentence =
                    format!("{} (until {})", show(&link["url"]), show(&link["expires_at"]));
                output.done(&link, &sentence)?;
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
