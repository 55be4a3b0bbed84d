//! One try: one message to one recipient over one connection, and what became of it.
//!
//! - [`timeouts`]: how long a peer may take for each step;
//! - `peer`: what a peer says, as code, enhanced code and words;
//! - `needs`: what a message asks of a peer (SIZE, 8BITMIME, SMTPUTF8), and its form on the wire;
//! - `judge`: what an event at a stage means, as a pure function;
//! - this file: the dialogue from MAIL FROM to the answer to the final dot.
//!
//! What always holds: one recipient per transaction; the mark is committed after the whole message was
//! sent and before its final dot; only a positive answer to the dot is "sent"; whatever happens between
//! the two that is no answer is uncertain.

mod judge;
mod needs;
mod peer;
pub mod timeouts;

use super::connection::Connection;
use super::{Claimed, DataMark, Spool};
use crate::render::AddrSpec;

pub use self::judge::{Stage, Verdict, judge};
pub use self::needs::{Needs, Offers};
pub use self::peer::{Heard, PeerReply, Status};
pub use self::timeouts::Timeouts;
pub(crate) use self::{needs::transparent, peer::words};

/// Octets that are sent before looking at the time again.
const BLOCK: usize = 64 * 1024;

/// A dialogue that ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Where.
    pub stage: Stage,
    /// What was heard.
    pub heard: Heard,
}

/// How a transaction ended.
pub(crate) enum Ended {
    /// With this verdict.
    Judged(Verdict),
    /// The connection had died while it was idle: nothing was said of the mail, and a new connection
    /// may be tried at once.
    Stale,
    /// The mark could not be committed; the dot was not sent.
    Unmarked(String),
}

/// Sends one delivery over a connection.
pub(crate) async fn transact<S: Spool>(
    connection: &mut Connection,
    delivery: &Claimed,
    reverse_path: Option<&AddrSpec>,
    mark: &DataMark<'_, S>,
) -> Ended {
    let reused = connection.begin_transaction();
    let needs = Needs::of(delivery, reverse_path);
    let parameters = match needs.parameters(connection.offers()) {
        Ok(parameters) => parameters,
        Err(reason) => {
            let host = connection.host();
            return Ended::Judged(Verdict::Impossible(format!("{host}: {reason}")));
        }
    };
    let from = reverse_path.map(ToString::to_string).unwrap_or_default();
    let Timeouts { mail, rcpt, data, block, dot, .. } = connection.timeouts();
    let from = format!("MAIL FROM:<{from}>{parameters}");
    let to = format!("RCPT TO:<{}>", delivery.recipient);
    let commands = [
        (Stage::Mail, from.as_str(), mail),
        (Stage::Rcpt, to.as_str(), rcpt),
        (Stage::Data, "DATA", data),
    ];
    for (stage, command, time) in commands {
        let heard = connection.command(command, time).await;
        let expected = if stage == Stage::Data { 3 } else { 2 };
        if matches!(&heard, Heard::Reply(reply) if reply.code / 100 == expected) {
            continue;
        }
        if reused && stage == Stage::Mail && is_stale(&heard) {
            return Ended::Stale;
        }
        return Ended::Judged(connection.end(stage, &heard));
    }
    let wire = transparent(&delivery.bytes);
    for part in wire.chunks(BLOCK) {
        if let Err(heard) = connection.send(part, block).await {
            return Ended::Judged(connection.end(Stage::Content, &heard));
        }
    }
    drop(wire);
    // A peer that has gone, or refuses without waiting for the end, has not taken the message: seeing it
    // now spares a delivery that nobody could be certain of.
    if let Some(heard) = connection.glance().await {
        return Ended::Judged(connection.end(Stage::Content, &heard));
    }
    if let Err(error) = mark.starting_data().await {
        connection.give_up();
        return Ended::Unmarked(error.to_string());
    }
    let heard = connection.command(".", dot).await;
    Ended::Judged(connection.end(Stage::Dot, &heard))
}

fn is_stale(heard: &Heard) -> bool {
    match heard {
        Heard::Lost(_) => true,
        Heard::Reply(reply) => reply.code == 421,
        Heard::Nothing => false,
    }
}
