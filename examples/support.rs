//! A support agent that keeps a ticket for each correspondent.
//!
//! Run it, then write to it twice:
//!
//! ```sh
//! cargo run --example support
//! swaks --server 127.0.0.1:2525 --to support@localhost --from ann@localhost --body 'It is broken.'
//! cat data/outgoing/*.eml
//! ```

use frontdesk::{Agent, Context, Draft, HandlerError, Mail, Program};
use serde::{Deserialize, Serialize};

struct Support;

/// One of these for every person who writes, because `instance = "contact"` is the default.
#[derive(Default, Serialize, Deserialize)]
struct Ticket {
    mails: u32,
    closed: bool,
}

impl Agent for Support {
    type State = Ticket;

    fn on_email(&self, cx: &mut Context<'_, Ticket>, mail: &Mail) -> Result<(), HandlerError> {
        cx.state.mails += 1;
        cx.state.closed = mail.text.to_lowercase().contains("solved");
        let answer = match &cx.state {
            Ticket { closed: true, mails } => {
                format!("Good to hear. The ticket is closed after {mails} mails.")
            }
            Ticket { mails: 1, .. } => {
                format!("We opened a ticket for “{}” and look into it.", mail.subject)
            }
            Ticket { mails, .. } => format!("Thank you, that is mail {mails} on your ticket."),
        };
        cx.reply(Draft::text(answer));
        Ok(())
    }
}

fn main() -> std::process::ExitCode {
    Program::new().agent("support", Support).run()
}
