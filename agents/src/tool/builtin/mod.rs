//! The tools every assistant can be given.
//!
//! They see what their turn may see (see `store/view.rs`) and change nothing but by effects, so a call and its
//! result are one transaction.

mod files;
mod history;
mod mail;
mod people;

use super::{ToolContext, ToolSpec, Tools};
use crate::{MessageId, agent::HandlerError, store::Viewpoint};
pub use files::{FileRef, as_text};
pub(crate) use files::{NO_TEXT, load};
pub(crate) use people::{ask, asking};
use std::collections::BTreeSet;

pub(crate) const ATTACH: &str = "attach";
/// Shows more of a long result.
pub(crate) const READ_RESULT: &str = "read_result";
/// Those that send mail, with the files chosen before.
pub(crate) const MAILS: [&str; 4] = [super::REPLY, "send", "forward", "draft"];

/// All built-in tools.
pub fn all() -> Tools {
    let tools = history::add(Tools::new());
    let tools = files::add(tools);
    let tools = mail::add(tools);
    people::add(tools)
}

/// The names of those that are given to an assistant unless its configuration says otherwise: all but those
/// that reach beyond its conversations.
pub fn usual() -> BTreeSet<String> {
    all()
        .iter()
        .map(|tool| tool.spec().name.clone())
        .filter(|name| !["send", "forward", "ask_agent"].contains(&name.as_str()))
        .collect()
}

/// For a tool all of whose doing is in its effects.
fn local(spec: &mut ToolSpec) {
    spec.local = true;
}

/// For a tool that hands mail to the gate.
fn mails(spec: &mut ToolSpec) {
    spec.local = true;
    spec.mails = true;
}

fn viewpoint(cx: &ToolContext) -> Viewpoint {
    Viewpoint { instance: cx.instance, here: cx.conversation, through: cx.inner.through }
}

fn message(number: i64) -> MessageId {
    MessageId(number)
}

fn refused<T>(why: impl Into<String>) -> Result<T, HandlerError> {
    Err(why.into().into())
}
