//! Mail on its way out.

use super::{limit, listed, page};
use crate::{
    http::access::Need,
    mcp::{
        api::Caller,
        marked::{word, words},
        tool::{About, Does, Outcome, Output, Tool},
    },
};
use frontdesk_agents::{
    store::Scope,
    turn::prompt::{inline, line, quote, visible},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

pub fn tools() -> Vec<Tool> {
    let about = |name, title, what, does, need| About { name, title, what, does, need };
    vec![
        Tool::new(
            about(
                "send_draft",
                "Send a draft",
                "Sends a draft, through the gate: it is queued, or held for a person, which the answer says. If \
                 you may not send for the agent, a person decides on it.",
                Does::Sends,
                Need::WRITE,
            ),
            send_draft,
        ),
        Tool::new(
            about(
                "send_email",
                "Write and send a mail",
                "Writes and sends a mail in one step, through the gate, as send_draft does. To answer a message \
                 give `answers`. Where somebody should look at it first, use create_draft.",
                Does::Sends,
                Need::WRITE,
            ),
            send_email,
        ),
        Tool::new(
            about(
                "list_outbox",
                "List outgoing mail",
                "Lists outgoing mail, newest first, with what became of it: held, queued, sent with the peer's \
                 words, bounced and so on.",
                Does::Reads,
                Need::Scope(Scope::Read),
            ),
            outbox,
        ),
        Tool::new(
            about(
                "cancel_email",
                "Stop an outgoing mail",
                "Stops an outgoing mail that is held or has not been sent yet. It will never leave. What has \
                 been sent cannot be stopped.",
                Does::Ends,
                Need::Scope(Scope::Send),
            ),
            cancel,
        ),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SendDraft {
    /// The draft's number.
    draft: i64,
    /// The version you mean to send, as read_drafts, create_draft or update_draft said.
    version: i64,
    /// It leaves then and not before, such as 2027-01-31T09:00:00Z.
    send_at: Option<String>,
}

async fn send_draft(caller: Caller, asked: SendDraft) -> Outcome {
    let mut body = json!({ "version": asked.version });
    if let Some(at) = asked.send_at {
        body["send_at"] = at.into();
    }
    Ok(sent(caller.post(&format!("/drafts/{}/send", asked.draft), body).await?))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SendEmail {
    /// The agent it is from.
    agent: String,
    /// The message it answers. Recipient, subject and conversation follow from it.
    answers: Option<i64>,
    /// The conversation it goes on with, if it answers no message of it.
    conversation: Option<i64>,
    /// Addresses, such as ann@example.org. May be left out with `answers`.
    #[serde(default)]
    to: Vec<String>,
    /// Addresses that get a copy.
    #[serde(default)]
    cc: Vec<String>,
    /// The subject. May be left out with `answers`.
    #[serde(default)]
    subject: String,
    /// The mail, in plain text.
    text: String,
    /// It leaves then and not before, such as 2027-01-31T09:00:00Z.
    send_at: Option<String>,
    /// Some words of your own for this mail. Called again with the same words within a day, it is sent once:
    /// use it if you may have to repeat the call.
    idempotency_key: Option<String>,
}

async fn send_email(caller: Caller, mail: SendEmail) -> Outcome {
    let mut body = json!({
        "agent": mail.agent, "to": mail.to, "cc": mail.cc, "subject": mail.subject, "text": mail.text,
    });
    for (key, id) in [("answers", mail.answers), ("conversation", mail.conversation)] {
        if let Some(id) = id {
            body[key] = id.into();
        }
    }
    if let Some(at) = mail.send_at {
        body["send_at"] = at.into();
    }
    Ok(sent(caller.post_once("/emails", body, mail.idempotency_key.as_deref()).await?))
}

/// What the gate said of a mail.
fn sent(said: Value) -> Output {
    let outbox = &said["id"];
    // It names addresses, which are somebody's words.
    let why = visible(word(&said, "why"));
    let (text, failed) = match word(&said, "state") {
        "queued" => match said["leaves_at"].as_str() {
            None => (format!("Queued as {outbox} in the outbox."), false),
            Some(at) => (format!("Queued as {outbox} in the outbox; it leaves at {at}."), false),
        },
        "held" => {
            let review = &said["review"];
            let held = format!(
                "Held as {outbox} in the outbox, and not sent: {why}. Review {review} waits for a person."
            );
            (held, false)
        }
        _ => (format!("It will not be sent ({outbox} in the outbox): {why}."), true),
    };
    let mut data = json!({
        "outbox": outbox, "message": said["message"], "state": said["state"],
        "leaves_at": said["leaves_at"],
    });
    if !why.is_empty() {
        data["why"] = why.into();
    }
    if !said["review"].is_null() {
        data["review"] = said["review"].clone();
    }
    Output { failed, ..Output::new(text, data) }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Outbox {
    /// Only one state: held, queued, sending, sent, deferred, bounced, failed, uncertain or cancelled.
    state: Option<String>,
    /// Items at most: 20 unless given, 100 at most.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

async fn outbox(caller: Caller, asked: Outbox) -> Outcome {
    let query = [("state", asked.state), ("limit", limit(asked.limit)), ("cursor", asked.cursor)];
    let found = caller.get("/outbox", &query).await?;
    let text = listed(&found, "No outgoing mail.", |into, mail| {
        let mut head = vec![
            format!("outbox {}", mail["id"]),
            format!("agent {}", word(mail, "agent")),
            format!("conversation {}", mail["conversation"]),
            format!("message {}", mail["message"]),
            format!("to {}", inline(&words(&mail["to"]).join(", "))),
            word(mail, "state").to_owned(),
        ];
        if let Some(at) = mail["next_try_at"].as_str() {
            head.push(format!("next try {at}"));
        }
        line(into, &head.iter().map(String::as_str).collect::<Vec<_>>());
        quote(into, &format!("{}\n{}", word(mail, "subject"), word(mail, "why")));
    });
    let data = page(&found, |mail| {
        let deliveries = mail["deliveries"].as_array().into_iter().flatten().map(|delivery| {
            json!({
                "recipient": visible(word(delivery, "recipient")), "state": delivery["state"],
                "attempts": delivery["attempts"], "response": visible(word(delivery, "response")),
            })
        });
        json!({
            "outbox": mail["id"], "agent": mail["agent"], "conversation": mail["conversation"],
            "message": mail["message"], "state": mail["state"],
            "created_at": mail["created_at"], "next_try_at": mail["next_try_at"],
            "untrusted": {
                "to": words(&mail["to"]),
                "subject": visible(word(mail, "subject")),
                "why": visible(word(mail, "why")),
                "deliveries": deliveries.collect::<Vec<_>>(),
            },
        })
    });
    Ok(Output::new(text, data))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Cancel {
    /// Its number in the outbox.
    outbox: i64,
}

async fn cancel(caller: Caller, asked: Cancel) -> Outcome {
    let done = caller.post(&format!("/outbox/{}/cancel", asked.outbox), json!({})).await?;
    let text =
        format!("{} in the outbox is {} and will never leave.", asked.outbox, word(&done, "state"));
    Ok(Output::new(text, json!({ "outbox": asked.outbox, "state": done["state"] })))
}
