//! What agents have planned.

use super::{limit, listed, page};
use crate::{
    http::access::Need,
    mcp::{
        api::Caller,
        marked::word,
        tool::{About, Does, Outcome, Output, Tool},
    },
};
use frontdesk_agents::{
    store::Scope,
    turn::prompt::{inline, line, quote},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

pub fn tools() -> Vec<Tool> {
    vec![
        Tool::new(
            About {
                name: "list_schedules",
                title: "List what is planned",
                what: "Lists what agents have planned for later, such as follow-ups and reminders, soonest first.",
                does: Does::Reads,
                need: Need::Scope(Scope::Read),
            },
            list,
        ),
        Tool::new(
            About {
                name: "cancel_schedule",
                title: "Strike out something planned",
                what: "Strikes out something an agent has planned. It will not happen, and the agent does not \
                       hear of it.",
                does: Does::Ends,
                need: Need::Scope(Scope::Approve),
            },
            cancel,
        ),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct List {
    /// Items at most: 20 unless given, 100 at most.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

async fn list(caller: Caller, asked: List) -> Outcome {
    let query = [("limit", limit(asked.limit)), ("cursor", asked.cursor)];
    let found = caller.get("/schedules", &query).await?;
    let text = listed(&found, "Nothing is planned.", |into, planned| {
        line(
            into,
            &[
                &format!("schedule {}", planned["id"]),
                &format!("agent {}", word(planned, "agent")),
                &format!("next {}", word(planned, "next_at")),
                &inline(word(planned, "name")),
            ],
        );
        // A model may have noted it, with a stranger's mail before it.
        quote(into, &planned["payload"].to_string());
    });
    let data = page(&found, |planned| {
        json!({
            "schedule": planned["id"], "agent": planned["agent"], "next_at": planned["next_at"],
            "when": planned["when"],
            "untrusted": { "name": planned["name"], "payload": planned["payload"] },
        })
    });
    Ok(Output::new(text, data))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Cancel {
    /// The schedule's number.
    schedule: i64,
}

async fn cancel(caller: Caller, asked: Cancel) -> Outcome {
    caller.delete(&format!("/schedules/{}", asked.schedule)).await?;
    let text = format!("Schedule {} is struck out.", asked.schedule);
    Ok(Output::new(text, json!({ "schedule": asked.schedule, "state": "cancelled" })))
}
