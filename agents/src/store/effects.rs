//! A handler's effects, applied in the transaction that marks its event done.
//!
//! Whatever would leave passes `gate::decide` here. An effect that names something outside the
//! instance is an error of the agent: the whole run is undone and the event retried, so that no
//! half of a handler's intent ever takes effect.

use super::{
    AgentRules, Result, Rules, StoreError, Tx, Wake, accept, asking, blobs, budgets, calls, handle,
    memory, notice, outbox, turns,
};
use crate::{
    AgentId, ConversationId, InstanceId, MessageId, Reference, TaskId,
    agent::{AgentMessage, Effect, Event, TaskEnd, TaskReport, TellTarget},
    gate::{self, Actor, Answered, Decision, Recipient, SendRules, Why},
    live::Wanted,
    mail::{Draft, Trust, Verdict},
    turn::{Cause, Foreign, TurnRequest},
};

/// Messages between agents that led to one another; beyond this they are taken for a loop.
const HOPS_MAX: u32 = 16;

/// Instances an agent's `tell` may create by key in a day.
const TOLD_INSTANCES_PER_DAY: u32 = 1_000;

/// On what terms something leaves.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub actor: Actor,
    /// A person must read it whatever the gate says; mail to members alone only if the agent asked for it.
    pub hold: Option<Why>,
    /// To whom outside of the conversation it may go.
    pub send: SendRules,
    /// The least trusted person behind it, where that is not the author of the mail answered.
    pub trust: Option<Trust>,
    /// The foreign text that was before the model that wrote it.
    pub foreign: Vec<Foreign>,
}

impl Terms {
    /// Those of an actor with no further rules.
    pub fn of(actor: Actor) -> Self {
        Self { actor, hold: None, send: SendRules::default(), trust: None, foreign: Vec::new() }
    }
}

pub(super) fn apply(
    tx: &mut Tx<'_>,
    rules: &Rules,
    agent: AgentId,
    instance: InstanceId,
    effects: &[Effect],
) -> Result<()> {
    let agent_rules = rules_of(rules, agent)?;
    let terms = Terms::of(Actor::Agent { approval: agent_rules.approval });
    for effect in effects {
        apply_one(tx, rules, &terms, agent, instance, effect)?;
    }
    Ok(())
}

pub(super) fn rules_of(rules: &Rules, agent: AgentId) -> Result<&AgentRules> {
    rules
        .agents
        .get(&agent)
        .ok_or_else(|| StoreError::NotFound(format!("agent {agent} is no longer configured")))
}

/// Applies one effect. Answers the message it wrote, if it wrote one that would leave.
pub(super) fn apply_one(
    tx: &mut Tx<'_>,
    rules: &Rules,
    terms: &Terms,
    agent: AgentId,
    instance: InstanceId,
    effect: &Effect,
) -> Result<Option<MessageId>> {
    let agent_rules = rules_of(rules, agent)?;
    match effect {
        Effect::Reply { answers, draft } => {
            return reply(tx, rules, terms, agent, Some(instance), *answers, draft).map(Some);
        }
        Effect::Send { conversation, to, draft } => {
            let conversation = match conversation {
                Some(conversation) => own(tx, instance, *conversation)?,
                None => open_own(tx, agent, instance, &draft.subject)?,
            };
            return send(tx, rules, terms, agent, conversation, to, draft).map(Some);
        }
        Effect::Draft { answers, to, draft } => {
            let terms = Terms { hold: Some(Why::AskedToHold), ..terms.clone() };
            let written = match answers {
                Some(answers) => reply(tx, rules, &terms, agent, Some(instance), *answers, draft)?,
                None => {
                    let conversation = open_own(tx, agent, instance, &draft.subject)?;
                    send(tx, rules, &terms, agent, conversation, to, draft)?
                }
            };
            return Ok(Some(written));
        }
        Effect::SetAside { message, reason } => set_aside(tx, instance, *message, reason)?,
        Effect::Review { conversation, why } => {
            let conversation = own(tx, instance, *conversation)?;
            show(tx, conversation, why)?;
        }
        Effect::Note { conversation, text } => {
            let conversation = own(tx, instance, *conversation)?;
            note(tx, conversation, instance, &agent_rules.name, text)?;
        }
        Effect::Schedule { name, when, payload } => {
            super::work::set_schedule(tx, instance, name, when, payload)?;
        }
        Effect::CancelSchedule { name } => {
            tx.run("DELETE FROM schedules WHERE instance_id = ?1 AND name = ?2", (instance, name))?;
            tx.wake(Wake::Schedule);
        }
        Effect::StartTask { name, key, payload, deadline } => {
            tx.run(
                "INSERT INTO turns (instance_id, kind, name, key, payload, due_at, deadline, created_at)
                 VALUES (?1, 'task', ?2, ?3, ?4, ?5, ?6, ?5)
                 ON CONFLICT (instance_id, key) DO NOTHING",
                (
                    instance,
                    name,
                    key,
                    payload.to_string(),
                    tx.now,
                    deadline.map(|at| at.as_millisecond()),
                ),
            )?;
            tx.wake(Wake::Task);
        }
        Effect::CancelTask { key } => cancel_task(tx, instance, key)?,
        Effect::Tell { agent: to, target, body, hops } => {
            tell(tx, rules, agent_rules, instance, to, target, body, *hops)?;
        }
        Effect::NotifyOwner { conversation, draft } => {
            let about = conversation.map(|about| own(tx, instance, about)).transpose()?;
            notice::notify_owner(tx, rules, terms, agent, instance, about, draft)?;
        }
        Effect::Speak { call, text } => {
            calls::direct(tx, instance, *call, Wanted::Speak(text.clone()))?;
        }
        Effect::SendJson { call, body } => {
            calls::direct(tx, instance, *call, Wanted::Message(body.clone()))?;
        }
        Effect::HangUp { call, farewell } => {
            calls::direct(
                tx,
                instance,
                Some(*call),
                Wanted::HangUp { farewell: farewell.clone() },
            )?;
        }
        Effect::Transfer { call, to } => {
            calls::direct(tx, instance, Some(*call), Wanted::Transfer { to: to.clone() })?;
        }
        Effect::Dictated { call, text } => {
            calls::dictate(tx, instance, &agent_rules.name, *call, text.clone())?;
        }
        Effect::StartTurn(request) => {
            own(tx, instance, request.conversation)?;
            turns::start(tx, instance, request)?;
        }
        Effect::Remember { name, text, trust } => {
            memory::remember(tx, instance, name, text, *trust)?;
        }
        Effect::Forget { name } => memory::forget(tx, instance, name)?,
        Effect::Label { conversation, label } => {
            let conversation = own(tx, instance, *conversation)?;
            memory::label(tx, conversation, label, &agent_rules.name)?;
        }
        Effect::TakeQuestion(question) => {
            let subject = format!("A question from {}", question.path.last().map_or("", |a| a));
            let conversation = open_own(tx, agent, instance, &subject)?;
            tx.run("UPDATE conversations SET channel = 'agent' WHERE id = ?1", (conversation,))?;
            note(tx, conversation, instance, &subject, &question.question)?;
            let cause = Cause::Asked(question.clone());
            turns::start(tx, instance, &TurnRequest { conversation, cause, not_before: None })?;
        }
        Effect::Answered { instance: of, answer } => {
            if *of != instance {
                return Err(StoreError::Conflict("an answer for another instance".into()));
            }
            turns::resolve(tx, instance, answer.clone())?;
        }
    }
    Ok(None)
}

fn own(tx: &Tx<'_>, instance: InstanceId, conversation: ConversationId) -> Result<ConversationId> {
    if accept::instance_of(tx, conversation)? == instance {
        return Ok(conversation);
    }
    Err(StoreError::Conflict(format!(
        "conversation {conversation} does not belong to instance {instance}"
    )))
}

/// Puts a conversation before a person.
pub(super) fn show(tx: &Tx<'_>, conversation: ConversationId, why: &str) -> Result<()> {
    tx.run(
        "UPDATE conversations SET queue = 'needs_review', review_why = ?2 WHERE id = ?1",
        (conversation, why),
    )?;
    Ok(())
}

pub(super) fn open_own(
    tx: &Tx<'_>,
    agent: AgentId,
    instance: InstanceId,
    subject: &str,
) -> Result<ConversationId> {
    Ok(ConversationId(tx.insert(
        "INSERT INTO conversations (agent_id, instance_id, channel, subject, last_message_at,
                                    created_at)
         VALUES (?1, ?2, 'mail', ?3, ?4, ?4)",
        (agent, instance, subject, tx.now),
    )?))
}

/// The mail that is answered, as stored.
struct Original {
    conversation: ConversationId,
    answered: Answered,
    reply_to: Option<String>,
    answer_from: String,
    subject: String,
    rfc_message_id: Option<String>,
    references: Vec<String>,
    trust: Trust,
}

fn load_original(tx: &Tx<'_>, message: MessageId) -> Result<Original> {
    let original = tx.find(
        "SELECT m.conversation_id, l.verdict, l.envelope_proven, l.from_address, l.reverse_path,
                l.automatic, l.reply_to, l.answer_from, l.subject, l.rfc_message_id, l.refs,
                m.status, c.trust
         FROM messages m JOIN mails l ON l.message_id = m.id
         LEFT JOIN handles h ON h.id = m.handle_id
         LEFT JOIN contacts c ON c.id = h.contact_id
         WHERE m.id = ?1",
        (message,),
        |row| {
            let (verdict, reverse_path, status): (String, String, String) =
                (row.get(1)?, row.get(4)?, row.get(11)?);
            let (refs, trust): (String, Option<String>) = (row.get(10)?, row.get(12)?);
            Ok(Original {
                conversation: row.get(0)?,
                answered: Answered {
                    verdict: Verdict::parse(&verdict).unwrap_or(Verdict::Failed),
                    envelope_proven: row.get(2)?,
                    from: row.get(3)?,
                    null_sender: reverse_path.is_empty(),
                    automatic: row.get(5)?,
                },
                reply_to: row.get(6)?,
                answer_from: row.get(7)?,
                subject: row.get(8)?,
                rfc_message_id: row.get(9)?,
                references: serde_json::from_str(&refs).unwrap_or_default(),
                trust: match (status.as_str(), trust) {
                    ("admitted", Some(trust)) => Trust::parse(&trust).unwrap_or(Trust::Unproven),
                    _ => Trust::Unproven,
                },
            })
        },
    )?;
    original
        .ok_or_else(|| StoreError::NotFound(format!("message {message} is not a received mail")))
}

/// Answers a stored mail. With `instance`, the mail must belong to it.
pub(super) fn reply(
    tx: &mut Tx<'_>,
    rules: &Rules,
    terms: &Terms,
    agent: AgentId,
    instance: Option<InstanceId>,
    answers: MessageId,
    draft: &Draft,
) -> Result<MessageId> {
    let original = load_original(tx, answers)?;
    if let Some(instance) = instance {
        own(tx, instance, original.conversation)?;
    }
    // Reply-To is believed only in verified mail.
    let target = match &original.reply_to {
        Some(reply_to) if original.answered.verdict.is_verified() => reply_to.clone(),
        _ => original.answered.from.clone(),
    };
    let subject = if draft.subject.is_empty() { &original.subject } else { &draft.subject };
    let mut references = original.references.clone();
    references.reverse();
    references.extend(original.rfc_message_id.clone());
    let letter = Letter {
        agent,
        conversation: original.conversation,
        answers: Some(answers),
        from: original.answer_from.clone(),
        to: vec![target],
        cc: lower(&draft.cc),
        subject: subject.clone(),
        in_reply_to: original.rfc_message_id.clone(),
        references,
        draft,
        recordings_of: None,
    };
    let effect = gate::Effect::Reply { to: &original.answered };
    post(tx, rules, terms, effect, original.trust, &letter)
}

/// Sends a mail that answers nothing.
pub(super) fn send(
    tx: &mut Tx<'_>,
    rules: &Rules,
    terms: &Terms,
    agent: AgentId,
    conversation: ConversationId,
    to: &[String],
    draft: &Draft,
) -> Result<MessageId> {
    let letter = Letter {
        agent,
        conversation,
        answers: None,
        from: rules_of(rules, agent)?.address.clone(),
        to: lower(to),
        cc: lower(&draft.cc),
        subject: draft.subject.clone(),
        in_reply_to: None,
        references: Vec::new(),
        draft,
        recordings_of: None,
    };
    post(tx, rules, terms, gate::Effect::Send, Trust::Proven, &letter)
}

/// Tells an agent's owner, in a conversation that is theirs. Recordings of the calls of `about` may go along.
#[expect(clippy::too_many_arguments, reason = "one caller; a struct would be used once")]
pub(super) fn send_notice(
    tx: &mut Tx<'_>,
    rules: &Rules,
    terms: &Terms,
    agent: AgentId,
    conversation: ConversationId,
    owner: &str,
    draft: &Draft,
    about: InstanceId,
) -> Result<MessageId> {
    let letter = Letter {
        agent,
        conversation,
        answers: None,
        from: rules_of(rules, agent)?.address.clone(),
        to: vec![owner.to_owned()],
        cc: lower(&draft.cc),
        subject: draft.subject.clone(),
        in_reply_to: None,
        references: Vec::new(),
        draft,
        recordings_of: Some(about),
    };
    post(tx, rules, terms, gate::Effect::Notify { owner }, Trust::Staff, &letter)
}

fn lower(addresses: &[String]) -> Vec<String> {
    addresses.iter().map(|address| address.to_lowercase()).collect()
}

/// Everything that stands on an envelope and its letter.
struct Letter<'a> {
    agent: AgentId,
    conversation: ConversationId,
    answers: Option<MessageId>,
    from: String,
    to: Vec<String>,
    cc: Vec<String>,
    subject: String,
    in_reply_to: Option<String>,
    references: Vec<String>,
    draft: &'a Draft,
    /// Whose calls' recordings may go along, where that is not the conversation's instance.
    recordings_of: Option<InstanceId>,
}

/// The one way out: asks the gate and writes the outbox row it allows.
fn post(
    tx: &mut Tx<'_>,
    rules: &Rules,
    terms: &Terms,
    effect: gate::Effect<'_>,
    trust: Trust,
    letter: &Letter<'_>,
) -> Result<MessageId> {
    let actor = &terms.actor;
    let trust = terms.trust.map_or(trust, |least| least.min(trust));
    let everyone: Vec<String> = letter.to.iter().chain(&letter.cc).cloned().collect();
    let recipients = recipients(tx, rules, &terms.send, letter.conversation, &everyone)?;
    let (auto_since_human, instance): (u32, InstanceId) = tx.row(
        "SELECT auto_since_human, instance_id FROM conversations WHERE id = ?1",
        (letter.conversation,),
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let budgets = budgets(tx, rules, letter.agent, auto_since_human, &everyone)?;
    let decision = match (gate::decide(effect, actor, &recipients, trust, &budgets), &terms.hold) {
        // Members are answered whatever else is known.
        (Decision::Allow, Some(Why::AskedToHold)) => Decision::Hold(Why::AskedToHold),
        (Decision::Allow, Some(why)) if recipients.iter().any(|r| !r.member) => {
            Decision::Hold(why.clone())
        }
        (decision, _) => decision,
    };

    let (status, state, why) = match &decision {
        Decision::Allow => ("admitted", "held", String::new()),
        Decision::Hold(why) => ("held", "held", why.to_string()),
        Decision::Deny(why) => ("set_aside", "cancelled", format!("not sent: {why}")),
    };
    let author = match actor {
        Actor::Agent { .. } => letter.from.clone(),
        Actor::Person { name } | Actor::Program { name } | Actor::Writer { name, .. } => {
            name.clone()
        }
    };
    let message = MessageId(tx.insert(
        "INSERT INTO messages (conversation_id, instance_id, parent_id, channel, role, author, text,
                               status, status_why, created_at)
         VALUES (?1, ?2, ?3, 'mail', 'agent', ?4, ?5, ?6, ?7, ?8)",
        (
            letter.conversation,
            instance,
            letter.answers,
            author,
            &letter.draft.text,
            status,
            &why,
            tx.now,
        ),
    )?);
    attach(tx, message, letter.draft, letter.recordings_of.unwrap_or(instance))?;
    let reference = Reference::random().map_err(StoreError::io("the system's random generator"))?;
    let automatic = matches!(actor, Actor::Agent { .. });
    tx.run(
        "INSERT INTO outbox (agent_id, conversation_id, message_id, answers, reference, state, why,
                             from_address, to_list, cc_list, subject, html, in_reply_to, refs,
                             automatic, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        rusqlite::params![
            letter.agent,
            letter.conversation,
            message,
            letter.answers,
            reference,
            state,
            why,
            letter.from,
            serde_json::to_string(&letter.to)?,
            serde_json::to_string(&letter.cc)?,
            letter.subject,
            letter.draft.html,
            letter.in_reply_to,
            serde_json::to_string(&letter.references)?,
            automatic,
            tx.now,
        ],
    )?;
    tx.run(
        "UPDATE conversations SET last_message_at = ?2 WHERE id = ?1",
        (letter.conversation, tx.now),
    )?;
    if !terms.foreign.is_empty() {
        turns::taint(tx, message, &terms.foreign)?;
    }
    match decision {
        Decision::Allow => outbox::release(tx, message, automatic)?,
        Decision::Hold(_) => {
            accept::ask_for_review(tx, rules, letter.conversation, message, "draft", &why)?;
        }
        Decision::Deny(_) => {
            metrics::counter!("gate_denied_total").increment(1);
        }
    }
    Ok(message)
}

/// A mail that asks one of the installation's own people to decide, or answers what they said to it.
pub(super) struct Question<'a> {
    pub agent: AgentId,
    pub conversation: ConversationId,
    pub to: &'a str,
    pub draft: &'a Draft,
    /// The question that an answer to this one belongs to; none where this is the question.
    pub decides: Option<Reference>,
    /// The mail it answers, with its Message-ID.
    pub answers: Option<(MessageId, Option<String>)>,
    /// The files of this message go along.
    pub files_of: Option<MessageId>,
}

/// Mails a question. It goes to a person of this installation and to nobody else, on the installation's own
/// account: agents have no say in it, so there is nothing for the gate to decide.
pub(super) fn ask(tx: &mut Tx<'_>, rules: &Rules, question: &Question<'_>) -> Result<Reference> {
    let from = &rules_of(rules, question.agent)?.address;
    let instance = accept::instance_of(tx, question.conversation)?;
    let (answers, in_reply_to) = match &question.answers {
        Some((answers, id)) => (Some(*answers), id.clone()),
        None => (None, None),
    };
    let message = MessageId(tx.insert(
        "INSERT INTO messages (conversation_id, instance_id, parent_id, channel, role, author, text,
                               status, created_at)
         VALUES (?1, ?2, ?3, 'mail', 'note', ?4, ?5, 'admitted', ?6)",
        (question.conversation, instance, answers, from, &question.draft.text, tx.now),
    )?);
    if let Some(files_of) = question.files_of {
        asking::copy_files(tx, files_of, message)?;
    }
    let reference = Reference::random().map_err(StoreError::io("the system's random generator"))?;
    let references: Vec<&String> = in_reply_to.iter().collect();
    tx.run(
        "INSERT INTO outbox (agent_id, conversation_id, message_id, answers, reference, state,
                             from_address, to_list, cc_list, subject, in_reply_to, refs, decides,
                             automatic, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, 'held', ?6, ?7, '[]', ?8, ?9, ?10, ?11, 1, ?12)",
        rusqlite::params![
            question.agent,
            question.conversation,
            message,
            answers,
            reference,
            from,
            serde_json::to_string(&[question.to])?,
            question.draft.subject,
            in_reply_to,
            serde_json::to_string(&references)?,
            question.decides.unwrap_or(reference),
            tx.now,
        ],
    )?;
    tx.run(
        "UPDATE conversations SET last_message_at = ?2 WHERE id = ?1",
        (question.conversation, tx.now),
    )?;
    outbox::release_to_staff(tx, message)?;
    Ok(reference)
}

/// Asks the gate about a draft that a person releases: they stand above the budgets, not above the rules
/// for everyone.
pub(super) fn check_release(
    tx: &Tx<'_>,
    rules: &Rules,
    message: MessageId,
    by: &str,
) -> Result<()> {
    let (agent, conversation, to, cc): (AgentId, ConversationId, String, String) = tx.row(
        "SELECT agent_id, conversation_id, to_list, cc_list FROM outbox WHERE message_id = ?1",
        (message,),
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
    )?;
    let mut everyone: Vec<String> = serde_json::from_str(&to)?;
    everyone.extend(serde_json::from_str::<Vec<String>>(&cc)?);
    let recipients = recipients(tx, rules, &SendRules::default(), conversation, &everyone)?;
    let budgets = budgets(tx, rules, agent, 0, &everyone)?;
    let actor = Actor::Person { name: by.to_owned() };
    match gate::decide(gate::Effect::Send, &actor, &recipients, Trust::Staff, &budgets) {
        Decision::Allow => Ok(()),
        Decision::Hold(why) | Decision::Deny(why) => {
            Err(StoreError::Conflict(format!("it cannot leave: {why}")))
        }
    }
}

fn recipients(
    tx: &Tx<'_>,
    rules: &Rules,
    send: &SendRules,
    conversation: ConversationId,
    addresses: &[String],
) -> Result<Vec<Recipient>> {
    addresses
        .iter()
        .map(|address| {
            let member = tx
                .find(
                    "SELECT 1 FROM participants
                     WHERE conversation_id = ?1 AND address = ?2 AND member = 1",
                    (conversation, address),
                    |_| Ok(()),
                )?
                .is_some();
            // Only where it makes a difference.
            let known = !member && !send.allowed_domains.is_empty() && is_known(tx, address)?;
            let beyond = send.beyond(address, known);
            Ok(Recipient {
                address: address.clone(),
                member,
                own: (rules.is_own)(address),
                beyond,
                rule: send.of(beyond),
            })
        })
        .collect()
}

/// Whether an address was ever proven to be somebody's.
fn is_known(tx: &Tx<'_>, address: &str) -> Result<bool> {
    Ok(tx
        .find("SELECT 1 FROM handles WHERE channel = 'email' AND value = ?1", (address,), |_| {
            Ok(())
        })?
        .is_some())
}

fn attach(tx: &Tx<'_>, message: MessageId, draft: &Draft, calls_of: InstanceId) -> Result<()> {
    for (part, attachment) in draft.attachments.iter().enumerate() {
        let content = &attachment.content;
        let blob = blobs::pack(content)?;
        let id = blobs::insert(tx, &blob)?;
        tx.run(
            "INSERT INTO attachments (message_id, part, name, media_type, size, inline, blob)
             VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6)",
            (message, part, &attachment.name, &attachment.media_type, content.len(), id),
        )?;
    }
    for (number, call) in draft.recordings.iter().enumerate() {
        let part = draft.attachments.len() + number;
        calls::attach_recording(tx, calls_of, message, part, *call)?;
    }
    Ok(())
}

fn set_aside(tx: &Tx<'_>, instance: InstanceId, message: MessageId, reason: &str) -> Result<()> {
    let changed = tx.run(
        "UPDATE messages SET status = 'set_aside', status_why = ?3
         WHERE id = ?1 AND conversation_id IN (SELECT id FROM conversations WHERE instance_id = ?2)",
        (message, instance, reason),
    )?;
    if changed == 0 {
        return Err(StoreError::Conflict(format!("message {message} is not of this instance")));
    }
    Ok(())
}

pub(super) fn note(
    tx: &Tx<'_>,
    conversation: ConversationId,
    instance: InstanceId,
    author: &str,
    text: &str,
) -> Result<MessageId> {
    tx.run("UPDATE conversations SET last_message_at = ?2 WHERE id = ?1", (conversation, tx.now))?;
    Ok(MessageId(tx.insert(
        "INSERT INTO messages (conversation_id, instance_id, parent_id, channel, role, author, text,
                               status, created_at)
         VALUES (?1, ?2, (SELECT max(id) FROM messages WHERE conversation_id = ?1), 'note', 'note',
                 ?3, ?4, 'admitted', ?5)",
        (conversation, instance, author, text, tx.now),
    )?))
}

fn cancel_task(tx: &mut Tx<'_>, instance: InstanceId, key: &str) -> Result<()> {
    // One that waits ends here; one that runs is told and ends itself.
    let waiting: Option<(TaskId, String)> = tx.find(
        "UPDATE turns SET state = 'cancelled', cancelled = 1, ended_at = ?3
         WHERE instance_id = ?1 AND key = ?2 AND state = 'ready' RETURNING id, name",
        (instance, key, tx.now),
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    match waiting {
        Some((task, name)) => {
            let report = TaskReport { task, name, end: TaskEnd::Cancelled };
            let now = tx.now;
            handle::enqueue(tx, instance, &Event::Task(report), now)?;
        }
        None => {
            tx.run(
                "UPDATE turns SET cancelled = 1
                 WHERE instance_id = ?1 AND key = ?2 AND state = 'running'",
                (instance, key),
            )?;
            tx.wake(Wake::Task);
        }
    }
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the parts of one effect")]
fn tell(
    tx: &mut Tx<'_>,
    rules: &Rules,
    from: &AgentRules,
    instance: InstanceId,
    to: &str,
    target: &TellTarget,
    body: &serde_json::Value,
    hops: u32,
) -> Result<()> {
    if hops > HOPS_MAX {
        tracing::warn!(
            from = from.name,
            to,
            "two agents talk in a loop; the message was not delivered"
        );
        metrics::counter!("agent_message_loops_total").increment(1);
        return Ok(());
    }
    let id = rules.agents.iter().find(|(_, a)| a.name == to && a.runs).map(|(id, _)| *id);
    let id =
        id.ok_or_else(|| StoreError::NotFound(format!("there is no running agent named {to:?}")))?;
    let target = match target {
        TellTarget::Instance(target) => {
            let of: Option<AgentId> =
                tx.find("SELECT agent_id FROM instances WHERE id = ?1", (*target,), |row| {
                    row.get(0)
                })?;
            if of != Some(id) {
                return Err(StoreError::NotFound(format!("agent {to:?} has no instance {target}")));
            }
            *target
        }
        TellTarget::Key(key) => {
            if key != "shared" && !key.starts_with("tag:") {
                return Err(StoreError::Conflict(format!(
                    "an instance {key:?} cannot be told by key: only \"shared\" and \"tag:…\" can"
                )));
            }
            let known = tx.find(
                "SELECT id FROM instances WHERE agent_id = ?1 AND key = ?2",
                (id, key),
                |row| row.get(0),
            )?;
            match known {
                Some(target) => target,
                None if tx.count("told_instances", &from.name)? > TOLD_INSTANCES_PER_DAY => {
                    return Err(StoreError::TooMany(format!(
                        "agent {:?} created {TOLD_INSTANCES_PER_DAY} instances by key today",
                        from.name
                    )));
                }
                None => accept::find_or_create_instance(tx, id, key, None)?,
            }
        }
    };
    let message = AgentMessage {
        from_agent: from.name.clone(),
        from_instance: instance,
        body: body.clone(),
        hops,
    };
    handle::enqueue_unless_archived(tx, target, &Event::Message(message))
}
