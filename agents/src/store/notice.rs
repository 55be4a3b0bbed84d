//! What an agent has to tell its owner.
//!
//! A notice is kept apart from what it is about, in an instance of the agent's that is the owner's: what
//! the owner answers comes there, and nobody's memory becomes theirs by it. A link and a note lead from
//! one to the other.

use super::{
    Result, Rules, Tx, accept,
    effects::{Terms, note, open_own, rules_of, send_notice, show},
};
use crate::{AgentId, ConversationId, InstanceId, agent::OWNER_KEY, mail::Draft};

/// Tells the owner by mail. What cannot be told is noted in the conversation it is about, which is put
/// before a person.
pub(super) fn notify_owner(
    tx: &mut Tx<'_>,
    rules: &Rules,
    terms: &Terms,
    agent: AgentId,
    instance: InstanceId,
    about: Option<ConversationId>,
    draft: &Draft,
) -> Result<()> {
    let agent_rules = rules_of(rules, agent)?;
    let owner = agent_rules.owner.as_deref().map(str::trim).filter(|owner| !owner.is_empty());
    let Some(owner) = owner.map(str::to_lowercase) else {
        let conversation = match about {
            Some(about) => about,
            None => open_own(tx, agent, instance, &draft.subject)?,
        };
        let text = format!("{}\n\n{}", draft.subject, draft.text);
        note(tx, conversation, instance, &agent_rules.name, text.trim())?;
        return show(
            tx,
            conversation,
            "a notice for the owner of this agent, who is not configured",
        );
    };
    let home = accept::find_or_create_instance(tx, agent, OWNER_KEY, None)?;
    let conversation = open_own(tx, agent, home, &draft.subject)?;
    tx.run("UPDATE conversations SET linked_to = ?2 WHERE id = ?1", (conversation, about))?;
    let message = send_notice(tx, rules, terms, agent, conversation, &owner, draft, instance)?;
    let (state, why): (String, String) =
        tx.row("SELECT state, why FROM outbox WHERE message_id = ?1", (message,), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let Some(about) = about else { return Ok(()) };
    if state == "released" {
        let text = format!("The owner was told by mail: {}", draft.subject);
        note(tx, about, instance, &agent_rules.name, text.trim_end_matches([':', ' ']))?;
        return Ok(());
    }
    let text = format!("The owner was not told by mail: {why}");
    note(tx, about, instance, &agent_rules.name, &text)?;
    show(tx, about, &text)
}
