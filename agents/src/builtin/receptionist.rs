//! The receptionist: an agent without a model.
//!
//! It acknowledges mail from verified (or local) senders with a reference and files it for a person;
//! mail from anyone else it files without an answer. Its fixed text needs no approval.

use crate::{Agent, Context, Draft, HandlerError, Mail};
use serde::{Deserialize, Serialize};

/// How the receptionist behaves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReceptionistOptions {
    /// The answer, with `{reference}`, `{name}` and `{subject}` filled in; empty for the built-in text.
    pub answer: String,
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

/// What the receptionist remembers of a correspondent.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Memory {
    /// Mails acknowledged so far.
    pub acknowledged: u32,
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
        // One pass, so that a name like "{reference}" stays what it is.
        let mut text = String::with_capacity(template.len() + 64);
        let mut rest = template;
        while let Some(open) = rest.find('{') {
            text.push_str(&rest[..open]);
            rest = &rest[open..];
            let filled =
                [("{reference}", reference), ("{name}", name), ("{subject}", &mail.subject)]
                    .into_iter()
                    .find(|(slot, _)| rest.starts_with(slot));
            match filled {
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
}

impl Agent for Receptionist {
    type State = Memory;

    fn on_email(&self, cx: &mut Context<'_, Memory>, mail: &Mail) -> Result<(), HandlerError> {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConversationId, MessageId, Trust, Verdict};

    #[test]
    fn what_a_sender_calls_itself_is_not_a_template() {
        let receptionist = Receptionist::new(ReceptionistOptions {
            answer: "Dear {name}, {reference} {unknown} { {subject}".into(),
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
