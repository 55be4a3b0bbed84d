//! What an answer to a question does.

use super::{
    Asked,
    hear::{Decided, Open, Refusal, Said, hear},
    shown,
};
use crate::{
    AgentId, MessageId, Reference,
    mail::{Arrival, ArrivalRecipient, Draft},
    store::{
        Accepted, MessageStatus, Result, Rules, StoreError, Tx,
        accept::{self, Raw},
        effects::{self, Question},
        review,
    },
};

/// Answers that do not count are answered so often for one question, so that two programs do not talk for ever.
const REFUSALS_TOLD: u32 = 3;

/// Takes a mail to the address of a question: it decides, or changes nothing. Nothing where there is no such
/// question.
pub(in crate::store) fn answer(
    tx: &mut Tx<'_>,
    rules: &Rules,
    arrival: &Arrival,
    recipient: &ArrivalRecipient,
    reference: Reference,
    raw: &mut Raw,
) -> Result<Option<Accepted>> {
    let Some(asked) = super::find(tx, recipient.agent, reference)? else { return Ok(None) };
    let verified = arrival.verdict.is_verified();
    let heard = decide(tx, rules, arrival, recipient, &asked)?;
    let (detail, told) = match &heard {
        Ok(Decided::Approve) => ("approved by mail".to_owned(), None),
        Ok(Decided::Reject(_)) => ("rejected by mail".to_owned(), None),
        Err(refusal) => (format!("changed nothing: {refusal}"), Some(refusal)),
    };

    let message = keep(tx, arrival, recipient, &asked, &detail, raw)?;
    // Whoever is not verified is nobody the trail could name.
    let actor = if verified && arrival.from == asked.address { &asked.who } else { "mail" };
    tx.audit(actor, "review.answer", &asked.approval.to_string(), &detail)?;
    let outcome = if heard.is_ok() { "decided" } else { "refused" };
    metrics::counter!("review_answers_total", "outcome" => outcome).increment(1);
    if heard.is_ok() {
        tx.run("UPDATE asked SET used_at = ?2 WHERE reference = ?1", (asked.reference, tx.now))?;
    }
    if let Some(refusal) = told.filter(|refusal| refusal.is_theirs()) {
        tell(tx, rules, arrival, recipient.agent, &asked, message, refusal)?;
    }
    let status = MessageStatus::SetAside;
    Ok(Some(Accepted::Stored { message, conversation: asked.conversation, status }))
}

/// Carries out what was said, if it counts. What cannot happen leaves nothing behind.
fn decide(
    tx: &mut Tx<'_>,
    rules: &Rules,
    arrival: &Arrival,
    recipient: &ArrivalRecipient,
    asked: &Asked,
) -> Result<std::result::Result<Decided, Refusal>> {
    let now = shown::load(tx, rules, asked.approval)?;
    let open = Open {
        address: &asked.address,
        may_decide: asked.may_decide,
        used: asked.used,
        expires_at: asked.expires_at,
        unchanged: now.digest() == asked.shown,
        only_here: &asked.only_here,
        is_final: now.is_final,
        by_reply: rules.by_reply,
    };
    let said = Said {
        verified: arrival.verdict.is_verified(),
        from: &arrival.from,
        automatic: arrival.automatic.is_some() || arrival.reverse_path.is_empty(),
        quarantined: arrival.quarantine.is_some(),
        words: &recipient.own_words,
        now: tx.now,
    };
    let decided = match hear(&open, &said) {
        // That somebody was faster says more than that something is different since.
        Err(Refusal::Changed | Refusal::NotTheWord)
            if review::standing(tx, asked.approval)?.is_some() =>
        {
            let why = review::standing(tx, asked.approval)?.unwrap_or_default();
            return Ok(Err(Refusal::Conflict(why)));
        }
        Err(refusal) => return Ok(Err(refusal)),
        Ok(decided) => decided,
    };
    tx.run("SAVEPOINT answer", ())?;
    let done = match &decided {
        Decided::Approve => {
            review::approve(tx, rules, asked.approval, &asked.who, None, "by mail", None)
        }
        Decided::Reject(reason) => review::reject(tx, rules, asked.approval, &asked.who, reason),
    };
    match done {
        Ok(_) => {
            tx.run("RELEASE answer", ())?;
            Ok(Ok(decided))
        }
        Err(StoreError::Conflict(why) | StoreError::NotFound(why)) => {
            tx.run("ROLLBACK TO answer", ())?;
            tx.run("RELEASE answer", ())?;
            Ok(Err(Refusal::Conflict(why)))
        }
        Err(error) => Err(error),
    }
}

/// Keeps the answer beside the question, for the record only.
fn keep(
    tx: &Tx<'_>,
    arrival: &Arrival,
    recipient: &ArrivalRecipient,
    asked: &Asked,
    detail: &str,
    raw: &mut Raw,
) -> Result<MessageId> {
    let instance = accept::instance_of(tx, asked.conversation)?;
    let message = MessageId(tx.insert(
        "INSERT INTO messages (conversation_id, instance_id, parent_id, channel, role, author, text,
                               status, status_why, created_at)
         VALUES (?1, ?2, ?3, 'mail', 'note', ?4, ?5, ?6, ?7, ?8)",
        (
            asked.conversation,
            instance,
            asked.message,
            &arrival.from,
            &recipient.new_text,
            MessageStatus::SetAside.as_str(),
            detail,
            tx.now,
        ),
    )?);
    accept::insert_mail(tx, arrival, recipient, message, raw)?;
    tx.run(
        "UPDATE conversations SET last_message_at = ?2 WHERE id = ?1",
        (asked.conversation, tx.now),
    )?;
    Ok(message)
}

/// Tells the person why their answer changed nothing.
fn tell(
    tx: &mut Tx<'_>,
    rules: &Rules,
    arrival: &Arrival,
    agent: AgentId,
    asked: &Asked,
    answers: MessageId,
    refusal: &Refusal,
) -> Result<()> {
    if asked.refused >= REFUSALS_TOLD || rules.stopped || arrival.automatic.is_some() {
        return Ok(());
    }
    tx.run("UPDATE asked SET refused = refused + 1 WHERE reference = ?1", (asked.reference,))?;
    let mut text = format!("Your answer changed nothing: {refusal}.\n");
    if refusal.leaves_open() {
        text.push_str(
            "\nTo approve, answer with the single word approve and nothing else, not even a name below it. To \
             reject, answer with the word reject and a reason.\n",
        );
    }
    let question = Question {
        agent,
        conversation: asked.conversation,
        to: &asked.address,
        draft: &Draft::text(text).subject(format!("Re: {}", asked.subject)),
        decides: Some(asked.reference),
        answers: Some((answers, arrival.message_id.clone())),
        files_of: None,
    };
    effects::ask(tx, rules, &question).map(drop)
}
