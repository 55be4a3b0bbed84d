//! What people are asked about the calls of a turn, and what they answer.

use super::steps::{Owner, add_outside};
use crate::{
    ApprovalId, ConversationId, MessageId, TaskId,
    store::{Result, Rules, StoreError, Tx, asking, effects, review},
    turn::{
        log::Hold,
        step::{CallId, Decided, Step},
    },
};

/// Puts a call before a person.
pub(super) fn ask(
    tx: &mut Tx<'_>,
    rules: &Rules,
    turn: TaskId,
    of: &Owner,
    hold: Hold,
) -> Result<Step> {
    let name = &effects::rules_of(rules, of.agent)?.name;
    let text = format!("{name} wants to call {} with {}", hold.tool, hold.arguments);
    let message = effects::note(tx, of.conversation, of.instance, name, &text)?;
    tx.run(
        "UPDATE messages SET status = 'held', status_why = ?2 WHERE id = ?1",
        (message, &hold.why),
    )?;
    let approval = ApprovalId(tx.insert(
        "INSERT INTO approvals (kind, conversation_id, message_id, why, turn_id, call, tool, arguments,
                                effect, foreign_text, expires_at, created_at)
         VALUES ('tool', ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        (
            of.conversation,
            message,
            &hold.why,
            turn,
            hold.call.to_string(),
            &hold.tool,
            &hold.arguments,
            hold.effect.as_str(),
            serde_json::to_string(&hold.foreign)?,
            hold.expires_at.as_millisecond(),
            tx.now,
        ),
    )?);
    tx.run(
        "UPDATE conversations SET queue = 'needs_review', review_why = ?2 WHERE id = ?1",
        (of.conversation, format!("{}: {}", hold.tool, hold.why)),
    )?;
    asking::ask(tx, rules, approval)?;
    Ok(Step::ApprovalAsked {
        call: hold.call,
        approval,
        why: hold.why,
        expires_at: hold.expires_at,
    })
}

pub(super) fn expire(
    tx: &Tx<'_>,
    turn: TaskId,
    call: CallId,
    conversation: ConversationId,
) -> Result<()> {
    let message: Option<MessageId> = tx.find(
        "UPDATE approvals SET state = 'expired', decided_at = ?3
         WHERE turn_id = ?1 AND call = ?2 AND state = 'pending' RETURNING message_id",
        (turn, call.to_string(), tx.now),
        |row| row.get(0),
    )?;
    if let Some(message) = message {
        tx.run(
            "UPDATE messages SET status = 'rejected', status_why = 'nobody decided in time' WHERE id = ?1",
            (message,),
        )?;
        tx.audit("frontdesk", "review.expire", &turn.to_string(), &call.to_string())?;
    }
    review::reopen(tx, conversation)
}

/// What a person decided about a call, told to its turn.
pub(in crate::store) fn decided(
    tx: &mut Tx<'_>,
    approval: ApprovalId,
    by: &str,
    decision: Verdict,
) -> Result<()> {
    let (turn, call): (TaskId, String) =
        tx.row("SELECT turn_id, call FROM approvals WHERE id = ?1", (approval,), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let call = CallId::parse(&call)
        .ok_or_else(|| StoreError::Corrupt(format!("approval {approval} names no call")))?;
    let by = by.to_owned();
    let decision = match decision {
        Verdict::Approved { arguments: None } => Decided::Approved { by, arguments: None },
        Verdict::Approved { arguments: Some(text) } => {
            let arguments: serde_json::Value = serde_json::from_str(&text).map_err(|error| {
                StoreError::Conflict(format!("the edited arguments are not JSON: {error}"))
            })?;
            if !arguments.is_object() {
                return Err(StoreError::Conflict(
                    "the edited arguments must be a JSON object".into(),
                ));
            }
            tx.run(
                "UPDATE approvals SET arguments = ?2 WHERE id = ?1",
                (approval, arguments.to_string()),
            )?;
            Decided::Approved { by, arguments: Some(arguments) }
        }
        Verdict::Rejected { reason } => Decided::Rejected { by, reason },
    };
    add_outside(tx, turn, Step::ApprovalDecided { call, decision })
}

/// What a person said of a call.
pub(in crate::store) enum Verdict {
    Approved { arguments: Option<String> },
    Rejected { reason: String },
}
