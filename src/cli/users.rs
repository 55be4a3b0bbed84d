//! `frontdesk users`

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::client::Call;
use super::output::{Column, Output, show};
use super::{Desk, Failure};

const COLUMNS: [Column; 8] = [
    ("ID", "id"),
    ("NAME", "name"),
    ("ROLE", "role"),
    ("AGENTS", "agents"),
    ("EMAIL", "email"),
    ("REVIEW MAIL", "review_mail"),
    ("PASSWORD", "has_password"),
    ("BROWSERS", "sessions"),
];

#[derive(Debug, Subcommand)]
pub enum Users {
    /// List users
    List {
        /// At most this many
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=200))]
        limit: Option<u32>,
        /// Where the page before ended
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Add a user, and print the link that signs them in once
    Create {
        /// What they sign in with
        name: String,
        /// What they may do
        #[arg(long, value_enum, default_value = "reviewer")]
        role: Role,
        /// Only these agents' conversations [default: everybody's]
        #[arg(long, value_name = "NAME", value_delimiter = ',')]
        agents: Option<Vec<String>>,
        /// Their address
        #[arg(long)]
        email: Option<String>,
    },
    /// Change a user's address, or whether they are told by mail of what waits for them
    Update {
        /// By name or id
        name: String,
        /// Their address
        #[arg(long)]
        email: Option<String>,
        /// Whether they are told by mail of what waits for them, and may decide by answering
        #[arg(long, value_name = "true|false")]
        review_mail: Option<bool>,
    },
    /// Remove users and sign them out
    Delete {
        /// By name or id
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Print a new sign-in link, for a first sign-in or a forgotten password
    Link {
        /// By name or id [default: the first owner]
        name: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Role {
    /// Everything
    Owner,
    /// Read, write, send and decide
    Reviewer,
    /// Read
    Viewer,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Reviewer => "reviewer",
            Self::Viewer => "viewer",
        }
    }
}

impl Users {
    pub(super) async fn run(self, desk: &Desk, output: &mut Output) -> Result<(), Failure> {
        match self {
            Self::List { limit, cursor } => {
                let call = Call::get(&["users"]).query("limit", limit).query("cursor", cursor);
                let page = desk.ask(call).await?;
                output.list(&page, &COLUMNS, "No users yet.", "frontdesk users list")?;
            }
            Self::Create { name, role, agents, email } => {
                let body =
                    json!({ "name": name, "role": role.word(), "agents": agents, "email": email });
                let answer = desk.ask(Call::post(&["users"]).body(body)).await?;
                invite(&answer, output)?;
            }
            Self::Update { name, email, review_mail } => {
                let id = show(&find(desk, Some(&name)).await?["id"]);
                let mut body = json!({});
                if let Some(email) = email {
                    body["email"] = json!(email);
                }
                if let Some(review_mail) = review_mail {
                    body["review_mail"] = json!(review_mail);
                }
                let user = desk.ask(Call::patch(&["users", &id]).body(body)).await?;
                output.done(&user, &format!("Changed {}.", show(&user["name"])))?;
            }
            Self::Delete { names } => {
                for name in names {
                    let user = find(desk, Some(&name)).await?;
                    let id = show(&user["id"]);
                    desk.ask(Call::delete(&["users", &id])).await?;
                    output.done(&user, &format!("Removed {}.", show(&user["name"])))?;
                }
            }
            Self::Link { name } => {
                let id = show(&find(desk, name.as_deref()).await?["id"]);
                let answer = desk.ask(Call::post(&["users", &id, "link"])).await?;
                invite(&answer, output)?;
            }
        }
        Ok(())
    }
}

fn invite(answer: &Value, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        output.value(answer)?;
        return Ok(());
    }
    let name = show(&answer["name"]);
    output.say(&format!("This signs {name} in, once, within 24 hours:"))?;
    output.say(&format!("  {}", show(&answer["link"])))?;
    Ok(())
}

/// A user by name or id; without either, the first owner.
async fn find(desk: &Desk, name: Option<&str>) -> Result<Value, Failure> {
    let mut cursor: Option<String> = None;
    loop {
        let page = desk.ask(Call::get(&["users"]).query("cursor", cursor)).await?;
        let users = page["items"].as_array().map_or(&[][..], Vec::as_slice);
        let found = users.iter().find(|user| match name {
            Some(name) => show(&user["name"]) == name.to_lowercase() || show(&user["id"]) == name,
            None => user["role"] == "owner",
        });
        if let Some(user) = found {
            return Ok(user.clone());
        }
        cursor = page["next"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return Err(Failure::Other(match name {
                Some(name) => format!("there is no user {name:?}: see frontdesk users list"),
                None => "there is no user yet: the first start of frontdesk serve makes one".into(),
            }));
        }
    }
}
