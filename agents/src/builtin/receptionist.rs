//! The receptionist: an agent without a model.
//!
//! It acknowledges mail from verified (or local) senders with a reference and files it for a person;
//! mail from anyone else it files without an answer. In calls it greets, takes a message without
//! talking into it, and mails its owner what was said, with the recording if there is one. Its fixed
//! text needs no approval.

mod message;

use crate::{
    Agent, Call, CallEnded, Context, Draft, HandlerError, Mail, Reply, Trust, Turn,
    agent::OWNER_KEY,
    live::{Hearing, Via},
};
use message::Remark;
use serde::{Deserialize, Serialize};

/// How the receptionist behaves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReceptionistOptions {
    /// The answer to a mail, with `{reference}`, `{name}` and `{subject}` filled in; empty for the built-in text.
    pub answer: String,
    /// The first words of a call, with `{name}` filled in for the receptionist's own; none for the built-in
    /// text, and empty for a call that begins in silence.
    pub greeting: Option<String>,
    /// What it calls itself; empty for the name of the agent.
    pub name: String,
}

/// The built-in agent of kind `receptionist`.
#[derive(Debug, Clone, Default)]
pub struct Receptionist {
    options: ReceptionistOptions,
}

const ANSWER: &str = "Hello {name},

thank you for your message. It has arrived and a person will read it.

Your reference is {reference}. If you want to add something, just answer this mail.
";

const GREETING: &str =
    "Hello, this is {name}. Please leave your message now, and hang up when you are done.";

const LISTENING: &str = "Yes, I am listening. Please go on, and hang up when you are done.";

const FAREWELL: &str = "Thank you. Your message will be passed on. Goodbye.";

const AFTER_CALL: &str =
    "thank you for your call. Your message has arrived and a person will attend to it.";

/// What the receptionist remembers of a correspondent.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Memory {
    /// Mails acknowledged so far.
    pub acknowledged: u32,
    /// Messages taken in calls so far.
    #[serde(default)]
    pub taken: u32,
}

impl Receptionist {
    /// A receptionist with options.
    pub fn new(options: ReceptionistOptions) -> Self {
        Self { options }
    }

    fn answer(&self, mail: &Mail, reference: &str) -> String {
        let template =
            if self.options.answer.is_empty() { ANSWER } else { self.options.answer.as_str() };
        let name = mail.from_name.as_deref().unwrap_or("there");
        fill(
            template,
            &[("{reference}", reference), ("{name}", name), ("{subject}", &mail.subject)],
        )
    }

    fn name<'a>(&'a self, agent: &'a str) -> &'a str {
        if self.options.name.is_empty() { agent } else { &self.options.name }
    }
}

/// Fills the slots of a template in one pass, so that a name like "{reference}" stays what it is.
fn fill(template: &str, slots: &[(&str, &str)]) -> String {
    let mut text = String::with_capacity(template.len() + 64);
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        text.push_str(&rest[..open]);
        rest = &rest[open..];
        match slots.iter().find(|(slot, _)| rest.starts_with(slot)) {
            Some((slot, value)) => {
                text.push_str(value);
                rest = &rest[slot.len()..];
            }
            None => {
                text.push('{');
                rest = &rest[1..];
            }
        }
    }
    text.push_str(rest);
    text
}

impl Agent for Receptionist {
    type State = Memory;

    fn on_email(&self, cx: &mut Context<'_, Memory>, mail: &Mail) -> Result<(), HandlerError> {
        if cx.key() == OWNER_KEY {
            cx.file_for_review("the owner answered a notice");
            return Ok(());
        }
        if let Some(why) = &mail.automatic {
            cx.note(format!("Not answered, because it is automatic: {why}."));
            return Ok(());
        }
        if !mail.verdict.is_verified() {
            cx.file_for_review("the sender is not verified, so it was not answered");
            return Ok(());
        }
        // The conversation is the reference: it is short, and the same in every answer.
        let reference = format!("FD-{}", mail.conversation);
        cx.state.acknowledged += 1;
        let text = self.answer(mail, &reference);
        cx.reply(Draft::text(text));
        cx.file_for_review("a new message for a person to read");
        Ok(())
    }

    fn on_call_start(
        &self,
        cx: &mut Context<'_, Memory>,
        _call: &Call,
    ) -> Result<Reply, HandlerError> {
        let greeting = self.options.greeting.as_deref().unwrap_or(GREETING);
        Ok(Reply::text(fill(greeting, &[("{name}", self.name(cx.agent()))])))
    }

    /// A message is not talked into. Only a caller who asks whether anybody is there, or says goodbye, is
    /// answered, and only where what was understood can be relied on.
    fn on_turn(&self, cx: &mut Context<'_, Memory>, turn: &Turn) -> Result<Reply, HandlerError> {
        let is_sure =
            turn.via == Via::Text || cx.call().is_some_and(|call| call.hearing == Hearing::Good);
        match message::remark(&turn.text).filter(|_| is_sure) {
            Some(Remark::AnybodyThere) => Ok(LISTENING.into()),
            Some(Remark::Goodbye) => {
                cx.hang_up(Some(FAREWELL.into()));
                Ok(Reply::silent())
            }
            None if turn.via == Via::Text => Ok("Noted.".into()),
            None => Ok(Reply::silent()),
        }
    }

    /// The hash key ends a message, as it does with answering machines.
    fn on_dtmf(&self, cx: &mut Context<'_, Memory>, keys: &Turn) -> Result<Reply, HandlerError> {
        if keys.text.contains('#') {
            cx.hang_up(Some(FAREWELL.into()));
        }
        Ok(Reply::silent())
    }

    fn on_text(&self, cx: &mut Context<'_, Memory>, text: &Turn) -> Result<Reply, HandlerError> {
        cx.file_for_review("a new text for a person to read");
        let reference = text.conversation;
        Ok(Reply::text(format!(
            "Thank you. A person will read this. Your reference is FD-{reference}."
        )))
    }

    fn on_call_end(
        &self,
        cx: &mut Context<'_, Memory>,
        ended: &CallEnded,
    ) -> Result<(), HandlerError> {
        if !ended.has_words() && ended.recording.is_none() {
            cx.note("The caller left no message.");
            return Ok(());
        }
        cx.state.taken += 1;
        let notice = message::notice(self.name(cx.agent()), ended);
        cx.notify_owner(notice.attach_recording(ended.call.id));
        cx.file_for_review("a message left in a call, for a person to attend to");
        // Whoever is proven by an address gets it in writing, with a way to add something.
        let caller = &ended.call.caller;
        let proven = (Trust::Proven..Trust::Staff).contains(&caller.trust);
        let contact = cx.contact().filter(|_| proven);
        let address =
            contact.and_then(|card| card.handles.into_iter().find(|handle| handle.contains('@')));
        if let Some(address) = address {
            let name = caller.name.as_deref().unwrap_or("there");
            let text = format!(
                "Hello {name},\n\n{AFTER_CALL}\n\nYour reference is FD-{}. If you want to add \
                 something, just answer this mail.\n",
                ended.call.conversation
            );
            cx.send([address], Draft::text(text).subject("Your call"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConversationId, MessageId, Trust, Verdict};

    #[test]
    fn what_a_sender_calls_itself_is_not_a_template() {
        let receptionist = Receptionist::new(ReceptionistOptions {
            answer: "Dear {name}, {reference} {unknown} { {subject}".into(),
            ..ReceptionistOptions::default()
        });
        let mail = Mail {
            id: MessageId(1),
            conversation: ConversationId(7),
            is_first: true,
            from: "ann@example.org".into(),
            from_name: Some("{reference}".into()),
            to: "hello@localhost".into(),
            subject: "{name}".into(),
            text: String::new(),
            attachments: Vec::new(),
            verdict: Verdict::Verified,
            trust: Trust::Proven,
            automatic: None,
            received_at: jiff::Timestamp::UNIX_EPOCH,
        };
        assert_eq!(receptionist.answer(&mail, "FD-7"), "Dear {reference}, FD-7 {unknown} { {name}");
    }
}
