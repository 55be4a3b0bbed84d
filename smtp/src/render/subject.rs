//! Subjects of answers.

use super::HeaderText;

/// Reply prefixes that mail clients write, lower-case. `R:` (Italian Outlook) is left out: it is also
/// a word people begin subjects with, and losing text is worse than `Re: R:`.
const REPLY_PREFIXES: &[&str] = &[
    "re",
    "aw",
    "antw",
    "antwort",
    "sv",
    "vs",
    "res",
    "rif",
    "rép",
    "odp",
    "ynt",
    "bls",
    "vá",
    "hiv",
    "απ",
    "отв",
    "ответ",
    "תגובה",
    "رد",
    "回复",
    "回覆",
    "答复",
    "答覆",
    "返信",
    "답장",
    "회신",
];

/// The subject of an answer: one `Re: ` before the subject without the reply prefixes it had, in any
/// of the languages clients write them. An empty subject gives `Re:`. Forward prefixes stay.
#[must_use]
pub fn reply_subject(subject: &str) -> HeaderText {
    let clean = HeaderText::lossy(subject);
    let mut base = clean.as_str();
    while let Some(rest) = strip_reply_prefix(base) {
        base = rest;
    }
    if base.is_empty() {
        HeaderText::lossy("Re:")
    } else {
        HeaderText::lossy(&format!("Re: {base}"))
    }
}

fn strip_reply_prefix(subject: &str) -> Option<&str> {
    let (head, rest) = subject.split_once([':', '：'])?;
    let word = strip_counter(head.trim_end()).to_lowercase();
    REPLY_PREFIXES.contains(&word.as_str()).then(|| rest.trim_start())
}

/// `Re[2]`, `Re(2)`, `Re^2` and `Re2` without the count.
fn strip_counter(head: &str) -> &str {
    let inner = head.strip_suffix([']', ')']).unwrap_or(head);
    let word = inner.trim_end_matches(|c: char| c.is_ascii_digit());
    if word.len() == inner.len() {
        return head;
    }
    word.strip_suffix(['[', '(', '^']).unwrap_or(word).trim_end()
}
