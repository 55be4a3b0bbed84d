//! Dictation: an agent that writes down what is said, and nothing else.
//!
//! Every final transcript is a message in the speaker's conversation once it is acknowledged. It has no
//! voice and no turns.

use crate::{Agent, Context, HandlerError, Mail};

/// The built-in agent of kind `dictation`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Dictation;

impl Agent for Dictation {
    type State = ();

    fn listens_only(&self) -> bool {
        true
    }

    /// Mail to it is for people.
    fn on_email(&self, cx: &mut Context<'_, ()>, _mail: &Mail) -> Result<(), HandlerError> {
        cx.file_for_review("a mail to an agent that only takes dictation");
        Ok(())
    }
}
