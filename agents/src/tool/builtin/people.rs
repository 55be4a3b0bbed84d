//! Remembering, sorting, coming back to things, and asking: people and other agents.

use super::{local, refused};
use crate::{
    admission::InstancePolicy,
    agent::{Effect, HandlerError, TellTarget},
    mail::Trust,
    schedule::When,
    tool::{CallEffect, HAND_TO_PERSON, ToolContext, ToolOutput, ToolSpec, Tools},
    turn::request::{ASK_DEPTH, AgentQuestion, Exchange},
};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Deserialize;

/// How long another agent may take to answer.
const ANSWER_WITHIN: SignedDuration = SignedDuration::from_hours(24);
/// Follow-ups lie no further ahead than this.
const FARTHEST_HOURS: f64 = 24.0 * 366.0;

#[derive(Deserialize, JsonSchema)]
struct Remember {
    /// A short name. A fact of the same name is replaced.
    name: String,
    /// One sentence.
    text: String,
}

#[derive(Deserialize, JsonSchema)]
struct Forget {
    /// The name of the fact.
    name: String,
}

#[derive(Deserialize, JsonSchema)]
struct Label {
    /// One or two words, such as `invoice` or `complaint`.
    label: String,
}

#[derive(Deserialize, JsonSchema)]
struct FollowUp {
    /// A short name. A follow-up of the same name is moved.
    name: String,
    /// Hours from now.
    in_hours: f64,
    /// What you want to do then, for yourself.
    note: String,
}

#[derive(Deserialize, JsonSchema)]
struct HandOver {
    /// What the person should know or decide.
    why: String,
}

#[derive(Deserialize, JsonSchema)]
struct Ask {
    /// The name of the agent.
    agent: String,
    question: String,
}

pub(super) fn add(tools: Tools) -> Tools {
    tools
        .add_as(
            "remember",
            "Keeps a fact about these people for all later conversations with them. Its size counts: see your \
             memory above.",
            CallEffect::Reversible,
            |spec| {
                spec.local = true;
                spec.least_trust = Trust::Proven;
            },
            remember,
        )
        .add_as("forget", "Removes a fact from your memory.", CallEffect::Reversible, local, forget)
        .add_as(
            "label",
            "Sorts this conversation under a label, for the people of this inbox.",
            CallEffect::Reversible,
            local,
            label,
        )
        .add_as(
            "schedule_follow_up",
            "Lets you come back to this conversation later.",
            CallEffect::Reversible,
            |spec| {
                spec.local = true;
                spec.least_trust = Trust::Proven;
            },
            follow_up,
        )
        .add_as(
            HAND_TO_PERSON,
            "Puts this conversation before a person and ends your work on it. Use it when you cannot or may not \
             do what is asked.",
            // It takes nothing and gives nothing away, so nothing holds it.
            CallEffect::Read,
            local,
            hand_over,
        )
        .add_as(
            "ask_agent",
            "Asks another agent of this installation and waits for its answer.",
            CallEffect::Reversible,
            asking,
            async |args: Ask, cx| ask(&args.agent, args.question, &cx),
        )
}

/// For a tool that asks another agent.
pub(crate) fn asking(spec: &mut ToolSpec) {
    spec.local = true;
    spec.least_trust = Trust::Proven;
}

async fn remember(args: Remember, cx: ToolContext) -> Result<ToolOutput, HandlerError> {
    // What many people share, one of them must not change for all who is not known.
    let rules = cx.inner.store.rules();
    let shared = rules.agents.values().any(|agent| {
        agent.name == cx.agent
            && matches!(agent.instance, InstancePolicy::Shared | InstancePolicy::Tag)
    });
    if shared && cx.trust < Trust::Known {
        return refused(
            "the memory here is shared by many people, and this one is not known to us",
        );
    }
    let effect = Effect::Remember { name: args.name, text: args.text, trust: cx.trust };
    Ok(ToolOutput::text("It is remembered.").with(effect))
}

async fn forget(args: Forget, _: ToolContext) -> Result<ToolOutput, HandlerError> {
    Ok(ToolOutput::text("It is forgotten.").with(Effect::Forget { name: args.name }))
}

async fn label(args: Label, cx: ToolContext) -> Result<ToolOutput, HandlerError> {
    let effect = Effect::Label { conversation: cx.conversation, label: args.label };
    Ok(ToolOutput::text("It is labelled.").with(effect))
}

async fn follow_up(args: FollowUp, cx: ToolContext) -> Result<ToolOutput, HandlerError> {
    if !(args.in_hours > 0.0 && args.in_hours <= FARTHEST_HOURS) {
        return refused("in_hours must be more than 0 and at most a year");
    }
    let millis = (args.in_hours * 3_600_000.0) as i64;
    let at = cx.now.checked_add(SignedDuration::from_millis(millis))?;
    let effect = cx.follow_up(&args.name, When::At { at }, &args.note);
    let at = at.strftime("%A %Y-%m-%d %H:%M UTC");
    Ok(ToolOutput::text(format!("You will come back to this on {at}.")).with(effect))
}

async fn hand_over(args: HandOver, _: ToolContext) -> Result<ToolOutput, HandlerError> {
    if args.why.trim().is_empty() {
        return refused("say what the person should know or decide");
    }
    Ok("A person will take over. Say nothing more.".into())
}

/// Asks an agent by its name. The call is over when it answers.
pub(crate) fn ask(
    name: &str,
    question: String,
    cx: &ToolContext,
) -> Result<ToolOutput, HandlerError> {
    let mut path = cx.inner.asked_by.to_vec();
    path.push(cx.agent.clone());
    if path.iter().any(|asker| asker == name) {
        return refused(format!("{name} is waiting for you and cannot be asked"));
    }
    if path.len() > ASK_DEPTH {
        return refused(format!("{} agents are waiting for each other already", path.len()));
    }
    let rules = cx.inner.store.rules();
    let Some(other) = rules.agents.values().find(|agent| agent.name == name && agent.runs) else {
        let mut names: Vec<_> = rules
            .agents
            .values()
            .filter(|agent| agent.runs && agent.name != cx.agent)
            .map(|agent| agent.name.as_str())
            .collect();
        names.sort_unstable();
        return refused(format!("there is no agent {name:?}; there are: {}", names.join(", ")));
    };
    // Where an agent keeps people apart, it keeps what others ask apart from them.
    let key = match other.instance {
        InstancePolicy::Shared => "shared".to_owned(),
        _ => format!("tag:asked-by-{}", cx.agent),
    };
    let until: Timestamp = cx.now.checked_add(ANSWER_WITHIN)?;
    let hops = path.len() as u32;
    let question = AgentQuestion {
        turn: cx.turn,
        call: cx.call.to_string(),
        path,
        from_instance: cx.instance,
        question,
        trust: cx.trust,
        foreign: cx.inner.so_far.foreign(),
    };
    let effect = Effect::Tell {
        agent: name.to_owned(),
        target: TellTarget::Key(key),
        body: serde_json::to_value(Exchange::Ask(question))?,
        hops,
    };
    let mut output = ToolOutput::text("It was asked.").with(effect);
    output.awaited_until = Some(until);
    Ok(output)
}
