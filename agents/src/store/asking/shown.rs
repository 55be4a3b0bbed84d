//! What will happen, as a person is shown it.
//!
//! Every line of what comes from elsewhere stands behind a bar, so that no text of a draft can pass for ours.

use crate::{
    ApprovalId, MessageId,
    gate::ByReply,
    store::{Result, Rules, Tx},
    turn::Foreign,
};
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// The longest text that is sent to be decided on, in octets. What is longer is read in the inbox.
const TEXT_MAX: usize = 64 * 1024;

/// Files that go along with the question, in octets together.
const FILES_MAX: u64 = 10 * 1024 * 1024;

/// What waits, in words.
pub(super) struct Shown {
    pub subject: String,
    /// One sentence: what approving does.
    what: String,
    why: String,
    /// What will happen, line by line behind a bar.
    body: String,
    /// Not part of what will happen: the foreign text that was before the model.
    aside: String,
    /// Names and contents of files, for the digest.
    files: Vec<(String, [u8; 32])>,
    /// The message whose files go along.
    pub files_of: Option<MessageId>,
    /// Why this cannot be approved by an answer, if it cannot.
    pub only_here: String,
    pub is_final: bool,
}

impl Shown {
    /// SHA-256 of all that will happen.
    pub fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        let mut add = |part: &[u8]| {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        };
        add(self.body.as_bytes());
        add(self.only_here.as_bytes());
        for (name, hash) in &self.files {
            add(name.as_bytes());
            add(hash);
        }
        digest.finalize().into()
    }

    /// The text of the mail.
    pub fn letter(
        &self,
        approval: ApprovalId,
        address: &str,
        expires_at: Timestamp,
        by_reply: ByReply,
        last_of_day: Option<u32>,
    ) -> String {
        let mut text =
            format!("{}\n\nWhy it waits: {}\n\n{}{}\n", self.what, self.why, self.body, self.aside);
        let until = expires_at.strftime("%Y-%m-%d %H:%M UTC");
        let only_here = match by_reply {
            _ if !self.only_here.is_empty() => self.only_here.as_str(),
            ByReply::Usual if self.is_final => "what cannot be taken back is not approved by mail",
            _ => "",
        };
        if by_reply == ByReply::Nothing {
            let _ = writeln!(text, "This is review {approval}; decide about it in the inbox.");
        } else {
            if only_here.is_empty() {
                text.push_str(
                    "To approve, answer this mail with the single word\n\n    approve\n\n",
                );
            } else {
                let _ = write!(
                    text,
                    "To approve, open review {approval} in the inbox: {only_here}.\n\n"
                );
            }
            let _ = write!(
                text,
                "To reject, answer with the word reject and, behind it, the reason the agent is to \
                 hear:\n\n    reject …\n\nOne answer counts, from {address} only, until {until}. Anything \
                 else that you write changes nothing.\nThis is review {approval}; it is in the inbox as \
                 well.\n"
            );
        }
        if let Some(most) = last_of_day {
            let _ = write!(
                text,
                "\nThis is mail {most} of this kind today, and the last: whatever else waits today is in the \
                 inbox only.\n"
            );
        }
        text
    }
}

/// Loads what would happen now.
pub(super) fn load(tx: &Tx<'_>, rules: &Rules, approval: ApprovalId) -> Result<Shown> {
    let (kind, message, why): (String, MessageId, String) =
        tx.row("SELECT kind, message_id, why FROM approvals WHERE id = ?1", (approval,), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    match kind.as_str() {
        "draft" => draft(tx, message, why),
        "tool" => call(tx, approval, why),
        _ => mail(tx, rules, message, why),
    }
}

/// Lines behind a bar.
fn barred(text: &str) -> String {
    let mut barred = String::with_capacity(text.len() + 64);
    // Whatever a client takes for a new line must not come out from behind the bar.
    let lines = text.split(['\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}']);
    let mut empty = 0;
    for line in lines {
        if line.is_empty() {
            empty += 1;
            continue;
        }
        for _ in 0..std::mem::take(&mut empty) {
            barred.push_str("|\n");
        }
        let _ = writeln!(barred, "| {line}");
    }
    barred
}

fn draft(tx: &Tx<'_>, message: MessageId, why: String) -> Result<Shown> {
    let (from, to, cc, subject, html, text) = tx.row(
        "SELECT o.from_address, o.to_list, o.cc_list, o.subject, o.html IS NOT NULL, m.text
         FROM outbox o JOIN messages m ON m.id = o.message_id WHERE o.message_id = ?1",
        (message,),
        |row| {
            let from: String = row.get(0)?;
            let to: String = row.get(1)?;
            let cc: String = row.get(2)?;
            let subject: String = row.get(3)?;
            let html: bool = row.get(4)?;
            let text: String = row.get(5)?;
            Ok((from, to, cc, subject, html, text))
        },
    )?;
    let (to, cc): (Vec<String>, Vec<String>) =
        (serde_json::from_str(&to)?, serde_json::from_str(&cc)?);
    let mut head = format!("From: {from}\nTo: {}\n", to.join(", "));
    if !cc.is_empty() {
        let _ = writeln!(head, "Cc: {}", cc.join(", "));
    }
    let _ = writeln!(head, "Subject: {subject}");
    let (mut files, mut size) = (Vec::new(), 0);
    let mut query = tx.conn.prepare_cached(
        "SELECT t.name, t.media_type, t.size, b.hash FROM attachments t JOIN blobs b ON b.id = t.blob
         WHERE t.message_id = ?1 ORDER BY t.part",
    )?;
    let mut rows = query.query((message,))?;
    while let Some(row) = rows.next()? {
        let (name, media_type, octets): (String, String, i64) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        let octets = octets.cast_unsigned();
        size += octets;
        let _ = writeln!(head, "File: {name} ({media_type}, {octets} octets)");
        files.push((format!("{name}\n{media_type}"), row.get(3)?));
    }
    let only_here = if html {
        "the mail has a layout of its own, which a mail to you cannot show"
    } else if text.len() > TEXT_MAX {
        "its text is too long for a mail to you"
    } else if size > FILES_MAX {
        "its files are too large for a mail to you"
    } else {
        ""
    };
    let shown = cut(&text);
    Ok(Shown {
        subject: format!("To decide: a mail to {}", to.first().map_or("nobody", |to| to)),
        what: "A mail waits to leave. If you approve, it leaves like this:".into(),
        why,
        body: barred(&format!("{head}\n{shown}")),
        aside: String::new(),
        files_of: (!files.is_empty() && size <= FILES_MAX).then_some(message),
        files,
        only_here: only_here.into(),
        is_final: false,
    })
}

fn mail(tx: &Tx<'_>, rules: &Rules, message: MessageId, why: String) -> Result<Shown> {
    let (from, to, subject, verdict, flags, text, agent) = tx.row(
        "SELECT l.from_address, l.recipient, l.subject, l.verdict, l.flags, m.text, c.agent_id
         FROM messages m JOIN mails l ON l.message_id = m.id
         JOIN conversations c ON c.id = m.conversation_id WHERE m.id = ?1",
        (message,),
        |row| {
            let texts: [String; 6] =
                [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?];
            let [from, to, subject, verdict, flags, text] = texts;
            Ok((from, to, subject, verdict, flags, text, row.get(6)?))
        },
    )?;
    let name = rules.agents.get(&agent).map_or("the agent", |agent| agent.name.as_str());
    let flags: Vec<String> = serde_json::from_str(&flags)?;
    let mut head = format!("From: {from} ({verdict})\nTo: {to}\nSubject: {subject}\n");
    for flag in flags {
        let _ = writeln!(head, "Note: {flag}");
    }
    let only_here =
        if text.len() > TEXT_MAX { "its text is too long for a mail to you" } else { "" };
    let shown = cut(&text);
    Ok(Shown {
        subject: format!("To decide: a mail from {from}"),
        what: format!(
            "A mail waits to be let in. If you approve, {from} counts as known from then on, and {name} gets \
             this:"
        ),
        why,
        body: barred(&format!("{head}\n{shown}")),
        aside: String::new(),
        files: Vec::new(),
        files_of: None,
        only_here: only_here.into(),
        is_final: false,
    })
}

fn call(tx: &Tx<'_>, approval: ApprovalId, why: String) -> Result<Shown> {
    let (tool, arguments, foreign, effect): (String, String, String, String) = tx.row(
        "SELECT tool, arguments, foreign_text, effect FROM approvals WHERE id = ?1",
        (approval,),
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
    )?;
    let arguments: Value = serde_json::from_str(&arguments)?;
    let arguments = serde_json::to_string_pretty(&arguments)?;
    let foreign: Vec<Foreign> = serde_json::from_str(&foreign)?;
    let mut aside = String::new();
    if !foreign.is_empty() {
        aside.push_str("\nThe model had this before it, which nobody here vouches for:\n");
        for foreign in foreign {
            let _ = write!(aside, "\n{foreign}\n{}", barred(&foreign.excerpt));
        }
    }
    let only_here = if arguments.len() > TEXT_MAX {
        "what it is called with is too long for a mail to you"
    } else {
        ""
    };
    // What is not known to be harmless counts as final.
    let is_final = !matches!(effect.as_str(), "read" | "reversible");
    let taken_back = if is_final { "cannot be taken back" } else { "can be taken back" };
    Ok(Shown {
        subject: format!("To decide: a call of {tool}"),
        what: format!(
            "A call of a tool waits, which {taken_back}. If you approve, {tool} is called with exactly this:"
        ),
        why,
        body: barred(cut(&arguments)),
        aside,
        files: Vec::new(),
        files_of: None,
        only_here: only_here.into(),
        is_final,
    })
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_MAX)]
}

/// The files of a draft, once more for the mail that asks about it.
pub(in crate::store) fn copy_files(tx: &Tx<'_>, from: MessageId, to: MessageId) -> Result<()> {
    tx.run(
        "INSERT INTO attachments (message_id, part, name, media_type, size, inline, blob)
         SELECT ?2, part, name, media_type, size, inline, blob FROM attachments WHERE message_id = ?1",
        (from, to),
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_a_draft_comes_out_from_behind_the_bar() {
        let text = "Hello,\n\nto approve, answer\u{2028}this\r\nlater\u{85}on";
        let barred = barred(text);
        assert_eq!(barred, "| Hello,\n|\n| to approve, answer\n| this\n|\n| later\n| on\n");
    }
}
