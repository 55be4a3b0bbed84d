//! Writing mail. All of it goes through the gate, which may hold it as a draft for a person.

use super::{mails, message, refused, viewpoint};
use crate::{
    agent::{Effect, HandlerError},
    mail::Draft,
    tool::{CallEffect, REPLY, ToolContext, ToolOutput, Tools},
    turn::engine::attached,
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::fmt::Write;

#[derive(Deserialize, JsonSchema)]
struct Reply {
    /// Plain text.
    text: String,
    /// Other addresses that get a copy.
    #[serde(default)]
    cc: Vec<String>,
}

#[derive(Deserialize, JsonSchema)]
struct Send {
    /// Addresses.
    to: Vec<String>,
    subject: String,
    /// Plain text.
    text: String,
}

#[derive(Deserialize, JsonSchema)]
struct Forward {
    /// The number of the message to pass on.
    message: i64,
    /// Addresses.
    to: Vec<String>,
    /// What to say before it.
    #[serde(default)]
    text: String,
}

#[derive(Deserialize, JsonSchema)]
struct WriteDraft {
    /// Addresses; none for a reply to the mail at hand.
    #[serde(default)]
    to: Vec<String>,
    /// Empty for a reply.
    #[serde(default)]
    subject: String,
    /// Plain text.
    text: String,
}

pub(super) fn add(tools: Tools) -> Tools {
    tools
        .add_as(
            REPLY,
            "Answers the mail at hand now, while you go on: to say that you are at it, or to add copies. \
             Without it, your last words are the answer.",
            CallEffect::Final,
            mails,
            reply,
        )
        .add_as(
            "send",
            "Writes a mail that answers nothing. To people outside of this conversation a person usually lets \
             it leave first.",
            CallEffect::Final,
            mails,
            send,
        )
        .add_as(
            "forward",
            "Passes a message on to somebody. A person usually lets it leave first.",
            CallEffect::Final,
            mails,
            forward,
        )
        .add_as(
            "draft",
            "Writes a mail that a person reads, changes and sends.",
            CallEffect::Reversible,
            mails,
            draft,
        )
}

async fn letter(text: String, subject: String, cx: &ToolContext) -> Result<Draft, HandlerError> {
    if text.trim().is_empty() {
        return refused("the text is empty");
    }
    let attachments =
        attached(&cx.inner.store, cx.inner.files.as_deref(), &cx.inner.so_far).await?;
    Ok(Draft { text, subject, attachments, ..Draft::default() })
}

async fn reply(args: Reply, cx: ToolContext) -> Result<ToolOutput, HandlerError> {
    let Some(answers) = cx.message else {
        return refused("there is no mail to reply to here");
    };
    let mut draft = letter(args.text, String::new(), &cx).await?;
    draft.cc = addresses(&args.cc)?;
    Ok(ToolOutput::text("The reply was written.").with(Effect::Reply { answers, draft }))
}

async fn send(args: Send, cx: ToolContext) -> Result<ToolOutput, HandlerError> {
    let to = addresses(&args.to)?;
    let draft = letter(args.text, args.subject, &cx).await?;
    let conversation = place(&to, &cx).await?;
    Ok(ToolOutput::text("The mail was written.").with(Effect::Send { conversation, to, draft }))
}

/// Mail to the members belongs here; what others answer is no business of theirs.
async fn place(
    to: &[String],
    cx: &ToolContext,
) -> Result<Option<crate::ConversationId>, HandlerError> {
    let members = cx.inner.store.members(cx.conversation).await?;
    Ok(to.iter().all(|address| members.contains(address)).then_some(cx.conversation))
}

async fn forward(args: Forward, cx: ToolContext) -> Result<ToolOutput, HandlerError> {
    let piece = cx.inner.store.read_visible(viewpoint(&cx), message(args.message)).await?;
    let to = addresses(&args.to)?;
    let mut text = args.text;
    let at = piece.at.strftime("%a, %d %b %Y %H:%M UTC");
    let _ = write!(
        text,
        "\n\n---------- Forwarded message ----------\nFrom: {}\nDate: {at}\nSubject: {}\n\n{}\n",
        piece.author, piece.subject, piece.text
    );
    let subject = format!("Fwd: {}", piece.subject);
    let draft = letter(text.trim_start().to_owned(), subject, &cx).await?;
    let conversation = place(&to, &cx).await?;
    Ok(ToolOutput::text("The mail was written.").with(Effect::Send { conversation, to, draft }))
}

async fn draft(args: WriteDraft, cx: ToolContext) -> Result<ToolOutput, HandlerError> {
    let to = if args.to.is_empty() { Vec::new() } else { addresses(&args.to)? };
    let answers = cx.message.filter(|_| to.is_empty());
    if answers.is_none() && to.is_empty() {
        return refused("there is no mail to reply to here: say to whom it goes");
    }
    let draft = letter(args.text, args.subject, &cx).await?;
    Ok(ToolOutput::text("The draft was written.").with(Effect::Draft { answers, to, draft }))
}

/// Addresses as they are compared. The mail side checks their form when it renders.
fn addresses(given: &[String]) -> Result<Vec<String>, HandlerError> {
    given
        .iter()
        .map(|address| {
            let address = address.trim().to_lowercase();
            let fits = address.split_once('@').is_some_and(|(local, domain)| {
                !local.is_empty() && !domain.is_empty() && !domain.contains('@')
            }) && !address
                .chars()
                .any(|c| c.is_whitespace() || c.is_control() || "<>,;\"".contains(c));
            if fits { Ok(address) } else { refused(format!("{address:?} is no mail address")) }
        })
        .collect()
}
