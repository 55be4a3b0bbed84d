//! People who decide are asked by mail, and may decide by answering it.
//!
//! What waits for a person is sent to everyone who may decide about it and wants to be told: exactly what will
//! happen, word for word. The address to answer to names one such mail, and so one person and one decision.
//!
//! What always holds: an answer decides once, within [`OPEN_FOR`], only if it is verified to come from that
//! person's own address and says nothing but the word; what was shown is what is decided on; an answer that
//! does not count changes nothing, is kept beside the question with the reason, and is in the audit trail.
//! Nobody becomes a member of a conversation by being asked, and no agent sees these mails.
//!
//! - `shown`: what will happen, in words;
//! - `hear`: whether an answer counts;
//! - `answer`: what it does.

mod answer;
mod hear;
mod shown;

pub(super) use answer::answer;
pub(super) use shown::copy_files;

use super::{
    Result, Rules, Tx, accept,
    effects::{self, Question},
    users,
};
use crate::{
    AgentId, ApprovalId, ConversationId, MessageId, Reference, UserId, agent::OWNER_KEY,
    mail::Draft,
};
use jiff::{SignedDuration, Timestamp};

/// How long an answer decides.
pub const OPEN_FOR: SignedDuration = SignedDuration::from_hours(24);

/// Mails of this kind that one person gets in a day. What waits beyond that is in the inbox as always; whoever
/// can make things wait can otherwise fill a mailbox.
const PER_DAY: u32 = 100;

/// A question that was mailed.
pub(super) struct Asked {
    pub reference: Reference,
    pub approval: ApprovalId,
    /// The mail that asks, and where it is kept.
    pub message: MessageId,
    pub conversation: ConversationId,
    pub subject: String,
    /// As the person is named in the audit trail.
    pub who: String,
    /// Where it was sent.
    pub address: String,
    /// Whether the person still has that address and may still decide about this agent.
    pub may_decide: bool,
    /// SHA-256 of what was shown.
    pub shown: [u8; 32],
    /// Why an answer cannot approve it, if it cannot.
    pub only_here: String,
    pub expires_at: i64,
    pub used: bool,
    /// Answers that did not count and were told so.
    pub refused: u32,
}

/// The question that an address to answer to names.
pub(super) fn find(tx: &Tx<'_>, agent: AgentId, reference: Reference) -> Result<Option<Asked>> {
    tx.find(
        "SELECT k.reference, k.approval_id, o.message_id, o.conversation_id, o.subject, u.name, k.address,
                u.email IS k.address AND u.role IN ('owner', 'reviewer')
                    AND (u.all_agents OR EXISTS (SELECT 1 FROM user_agents s
                                                 WHERE s.user_id = u.id AND s.agent_id = o.agent_id)),
                k.shown, k.only_here, k.expires_at, k.used_at IS NOT NULL, k.refused
         FROM asked k JOIN outbox o ON o.reference = k.reference
         JOIN users u ON u.id = k.user_id
         WHERE k.reference = ?1 AND o.agent_id = ?2",
        (reference, agent),
        |row| {
            let name: String = row.get(5)?;
            Ok(Asked {
                reference: row.get(0)?,
                approval: row.get(1)?,
                message: row.get(2)?,
                conversation: row.get(3)?,
                subject: row.get(4)?,
                who: users::actor(&name),
                address: row.get(6)?,
                may_decide: row.get(7)?,
                shown: row.get(8)?,
                only_here: row.get(9)?,
                expires_at: row.get(10)?,
                used: row.get(11)?,
                refused: row.get(12)?,
            })
        },
    )
}

/// Asks everyone by mail who may decide about this and wants to be told: reviewers and owners who set it, and
/// whoever is the configured owner of the agent.
pub(super) fn ask(tx: &mut Tx<'_>, rules: &Rules, approval: ApprovalId) -> Result<()> {
    let (conversation, agent): (ConversationId, AgentId) = tx.row(
        "SELECT a.conversation_id, c.agent_id FROM approvals a
         JOIN conversations c ON c.id = a.conversation_id WHERE a.id = ?1",
        (approval,),
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    // Role addresses have no agent that could write.
    let Some(agent_rules) = rules.agents.get(&agent).filter(|agent| agent.runs) else {
        return Ok(());
    };
    // While all sending is stopped, nothing leaves.
    if rules.stopped {
        return Ok(());
    }
    let owner = agent_rules.owner.as_deref().map(|owner| owner.trim().to_lowercase());
    let people = people(tx, agent, owner.as_deref())?;
    let people: Vec<_> =
        people.into_iter().filter(|(_, address)| !(rules.is_own)(address)).collect();
    if people.is_empty() {
        return Ok(());
    }
    let shown = shown::load(tx, rules, approval)?;
    let mut home = None;
    for (user, address) in people {
        let today = tx.count("asked", &user.to_string())?;
        if today > PER_DAY {
            metrics::counter!("review_mails_left_out_total").increment(1);
            continue;
        }
        let home = match home {
            Some(home) => home,
            None => *home.insert(open(tx, agent, conversation, &shown.subject)?),
        };
        let expires_at = Timestamp::from_millisecond(tx.now)
            .and_then(|now| now.checked_add(OPEN_FOR))
            .unwrap_or(Timestamp::MAX);
        let last = (today == PER_DAY).then_some(PER_DAY);
        let text = shown.letter(approval, &address, expires_at, rules.by_reply, last);
        let question = Question {
            agent,
            conversation: home,
            to: &address,
            draft: &Draft::text(text).subject(shown.subject.clone()),
            decides: None,
            answers: None,
            files_of: shown.files_of,
        };
        let reference = effects::ask(tx, rules, &question)?;
        tx.run(
            "INSERT INTO asked (reference, approval_id, user_id, address, shown, only_here, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            (
                reference,
                approval,
                user,
                address,
                shown.digest(),
                &shown.only_here,
                expires_at.as_millisecond(),
            ),
        )?;
    }
    Ok(())
}

/// Who may decide about an agent and wants to be told, with their addresses.
fn people(tx: &Tx<'_>, agent: AgentId, owner: Option<&str>) -> Result<Vec<(UserId, String)>> {
    let mut query = tx.conn.prepare_cached(
        "SELECT u.id, u.email FROM users u
         WHERE u.email IS NOT NULL AND (u.review_mail = 1 OR u.email = ?2)
           AND u.role IN ('owner', 'reviewer')
           AND (u.all_agents = 1 OR EXISTS (SELECT 1 FROM user_agents s
                                            WHERE s.user_id = u.id AND s.agent_id = ?1))
         ORDER BY u.id",
    )?;
    let people = query
        .query_map((agent, owner), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(people)
}

/// Where the mails about one decision are kept: apart from what they are about, and in nobody's way.
fn open(
    tx: &mut Tx<'_>,
    agent: AgentId,
    about: ConversationId,
    subject: &str,
) -> Result<ConversationId> {
    let home = accept::find_or_create_instance(tx, agent, OWNER_KEY, None)?;
    let conversation = effects::open_own(tx, agent, home, subject)?;
    tx.run(
        "UPDATE conversations SET linked_to = ?2, archived_at = ?3 WHERE id = ?1",
        (conversation, about, tx.now),
    )?;
    Ok(conversation)
}
