//! `frontdesk tokens`

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::Call;
use super::output::{Column, Output, show};
use super::{Desk, Failure};

const COLUMNS: [Column; 7] = [
    ("ID", "id"),
    ("NAME", "name"),
    ("MAY", "scopes"),
    ("AGENTS", "agents"),
    ("LAST USED", "last_used_at"),
    ("EXPIRES", "expires_at"),
    ("REVOKED", "revoked_at"),
];

#[derive(Debug, Subcommand)]
pub enum Tokens {
    /// List tokens, the newest first
    List {
        /// At most this many
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=200))]
        limit: Option<u32>,
        /// Where the page before ended
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Make a token for a program, and print it once
    Create {
        /// What it is for
        name: String,
        /// What it may do: read, draft, send, approve, admin, instances
        #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',', default_value = "read")]
        scopes: Vec<String>,
        /// Only these agents' conversations [default: everybody's]
        #[arg(long, value_name = "NAME", value_delimiter = ',')]
        agents: Option<Vec<String>>,
        /// When it stops working, such as 2027-01-31T00:00:00Z [default: never]
        #[arg(long, value_name = "TIME")]
        expires_at: Option<String>,
    },
    /// Revoke tokens: they stop working at once
    Delete {
        /// The tokens
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

impl Tokens {
    pub(super) async fn run(self, desk: &Desk, output: &mut Output) -> Result<(), Failure> {
        match self {
            Self::List { limit, cursor } => {
                let call = Call::get(&["tokens"]).query("limit", limit).query("cursor", cursor);
                let page = desk.ask(call).await?;
                output.list(&page, &COLUMNS, "No tokens.", "frontdesk tokens list")?;
            }
            Self::Create { name, scopes, agents, expires_at } => {
                let body = json!({
                    "name": name, "scopes": scopes, "agents": agents, "expires_at": expires_at,
                });
                let answer = desk.ask(Call::post(&["tokens"]).body(body)).await?;
                if output.is_json() {
                    output.value(&answer)?;
                } else {
                    output.say("This is shown once. Send it as `Authorization: Bearer …`:")?;
                    output.say(&format!("  {}", show(&answer["secret"])))?;
                }
            }
            Self::Delete { ids } => {
                let sentence = |id: &str, _: &Value| format!("Token {id} no longer works.");
                desk.ask_each(&ids, output, |id| Call::delete(&["tokens", id]), sentence).await?;
            }
        }
        Ok(())
    }
}
