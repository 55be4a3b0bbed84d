//! What of the history goes into a context, and what that makes of it.
//!
//! [`compose`] is a pure function of the [`Material`], so the same turn composes the same context when it goes
//! on after a crash; the fingerprint says whether it did. It also says whose words are in it: the least
//! trusted person, and every text nobody vouches for, which the gate later asks about.
//!
//! Long conversations keep their beginning and as much of their end as fits; what is between is stood for by
//! a summary, which the model writes and which deletes nothing.

use super::{
    Cause, TurnRequest,
    fold::{CallState, Turn},
    material::{LayerKind, Material, Piece},
    media::{self, Shown},
    prompt::{RULES, inline, line, quote, shown, smuggles, standing},
    step::{Fingerprint, Foreign, ForeignKind},
};
use crate::{
    MessageId,
    mail::Trust,
    model::{Capabilities, Message, Part, Role, ToolResult, tokens},
    store::MEMORY_MAX,
    tool::builtin::{FileRef, NO_TEXT},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How much of a history is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Messages kept from the beginning.
    pub head: usize,
    /// Tokens kept from the end.
    pub tail_tokens: u64,
    /// Messages kept from the end, however long they are.
    pub tail_least: usize,
    /// Tokens between the two from which they are summarised. Below, they are shown.
    pub summarise_over: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self { head: 3, tail_tokens: 12_000, tail_least: 2, summarise_over: 4_000 }
    }
}

/// Files of a mail that are shown from the beginning.
const FILES_AT_FIRST: usize = 4;

/// A context, composed.
#[derive(Clone)]
pub struct Composed {
    pub system: Vec<String>,
    pub opening: Message,
    /// Files that belong to the opening.
    pub files: Vec<FileRef>,
    pub fingerprint: Fingerprint,
    /// Messages that should be summarised before the model is asked.
    pub too_long: Option<(MessageId, MessageId)>,
}

/// What a context is composed for.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    pub agent: &'a str,
    pub instructions: &'a str,
    pub request: &'a TurnRequest,
    pub window: Window,
    /// When the turn started: the only clock the model sees.
    pub started_at: Timestamp,
    /// What the model takes, if files of the mail the turn is about are shown from the beginning.
    pub shows: Option<Capabilities>,
}

/// What is found on the way.
struct Found {
    trust: Trust,
    foreign: Vec<Foreign>,
}

impl Found {
    fn foreign(&mut self, kind: ForeignKind, from: String, text: &str) {
        let foreign = Foreign::new(kind, from, text);
        if !self.foreign.contains(&foreign) {
            self.foreign.push(foreign);
        }
    }
}

/// Composes the context of a turn.
pub fn compose(material: &Material, frame: Frame<'_>) -> Composed {
    let mut found = Found { trust: Trust::Staff, foreign: Vec::new() };
    let mut text = String::new();
    line(&mut text, &[&format!("you are {}", inline(frame.agent)), &time(frame.started_at)]);
    memory(&mut text, material, &mut found);
    if !material.elsewhere.is_empty() {
        line(&mut text, &["lately, in other conversations with the same people"]);
        for piece in &material.elsewhere {
            message(&mut text, piece, Detail::Brief, &mut found);
        }
    }
    let members: Vec<_> = material.members.iter().map(|member| inline(member)).collect();
    let with = if members.is_empty() { "nobody proven".to_owned() } else { members.join(", ") };
    line(
        &mut text,
        &[
            &format!("conversation {}", material.conversation),
            channel(&material.channel),
            &format!("subject {}", inline(&material.subject)),
            &format!("with {with}"),
        ],
    );
    let too_long = history(&mut text, material, frame, &mut found);
    task(&mut text, frame.request, &mut found);
    let files = files(material, frame, &mut found);

    let system = vec![frame.instructions.to_owned(), RULES.to_owned()];
    let mut hash = Sha256::new();
    let numbers: String =
        files.iter().map(|file| format!("{} {}\n", file.message, file.part)).collect();
    for part in system.iter().chain([&text]).chain((!files.is_empty()).then_some(&numbers)) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let hash = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Composed {
        system,
        opening: Message::user(text),
        files,
        fingerprint: Fingerprint { hash, trust: found.trust, foreign: found.foreign },
        too_long,
    }
}

fn time(at: Timestamp) -> String {
    at.strftime("%A %Y-%m-%d %H:%M UTC").to_string()
}

fn channel(word: &str) -> &'static str {
    match word {
        "mail" => "mail",
        "phone" => "phone call",
        "browser" | "voice" => "voice call in the browser",
        "chat" | "text" => "text chat",
        "agent" => "between agents",
        _ => "another channel",
    }
}

fn memory(text: &mut String, material: &Material, found: &mut Found) {
    let size: usize = material.facts.iter().map(|fact| fact.name.len() + fact.text.len()).sum();
    line(text, &["what you remember", &format!("{size} of {MEMORY_MAX} octets used")]);
    for fact in &material.facts {
        found.trust = found.trust.min(fact.trust);
        quote(text, &format!("{}: {}", fact.name, fact.text.replace('\n', " ")));
    }
}

/// How much of a message is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// The sender's own words only.
    Brief,
    /// What the sender passes on as well.
    Full,
}

fn history(
    text: &mut String,
    material: &Material,
    frame: Frame<'_>,
    found: &mut Found,
) -> Option<(MessageId, MessageId)> {
    let window = frame.window;
    let pieces: Vec<&Piece> = material.pieces.iter().filter(|piece| piece.role != "note").collect();
    let weights: Vec<u64> =
        pieces.iter().map(|piece| tokens::estimate_text(&piece.text) + 30).collect();
    let head = window.head.min(pieces.len());
    let mut tail = pieces.len();
    let mut weight = 0;
    while tail > head {
        weight += weights[tail - 1];
        if weight > window.tail_tokens && pieces.len() - tail >= window.tail_least {
            break;
        }
        tail -= 1;
    }
    let summarised = |piece: &Piece| {
        material.summaries.iter().any(|summary| summary.from <= piece.id && piece.id <= summary.to)
    };
    let open: Vec<usize> = (head..tail).filter(|at| !summarised(pieces[*at])).collect();
    let open_weight: u64 = open.iter().map(|at| weights[*at]).sum();
    let too_long = (open_weight > window.summarise_over)
        .then(|| Some((pieces[*open.first()?].id, pieces[*open.last()?].id)))
        .flatten();

    for piece in &pieces[..head] {
        message(text, piece, detail(piece, frame.request), found);
    }
    for summary in &material.summaries {
        found.trust = found.trust.min(summary.trust);
        for foreign in &summary.foreign {
            if !found.foreign.contains(foreign) {
                found.foreign.push(foreign.clone());
            }
        }
        let what = format!("messages {} to {}, summarised by you", summary.from, summary.to);
        line(text, &[&what, "read_message shows one of them"]);
        quote(text, &summary.text);
    }
    if too_long.is_some() {
        line(
            text,
            &[&format!("{} messages are left out", open.len()), "search_history finds them"],
        );
    } else {
        for at in open {
            message(text, pieces[at], detail(pieces[at], frame.request), found);
        }
    }
    for piece in &pieces[tail..] {
        message(text, piece, detail(piece, frame.request), found);
    }
    too_long
}

/// What the turn is about is shown with all its layers, older mail with its sender's words.
fn detail(piece: &Piece, request: &TurnRequest) -> Detail {
    if request.message() == Some(piece.id) { Detail::Full } else { Detail::Brief }
}

/// A message as blocks of data with their provenance.
fn message(text: &mut String, piece: &Piece, detail: Detail, found: &mut Found) {
    let number = format!("message {}", piece.id);
    let at = time(piece.at);
    if piece.role == "agent" {
        // What was foreign may speak through what we made of it.
        for foreign in &piece.foreign {
            if !found.foreign.contains(foreign) {
                found.foreign.push(foreign.clone());
            }
        }
        let mut head = vec![number.as_str(), channel(&piece.channel), &at, "you wrote"];
        let why;
        match piece.status.as_str() {
            "held" => head.push("a person has not let it leave yet"),
            "rejected" => {
                why = format!("a person did not let it leave: {}", inline(&piece.status_why));
                head.push(&why);
            }
            _ => {}
        }
        if piece.heard.is_some_and(|heard| heard < piece.text.len()) {
            head.push("they heard only the beginning, up to here");
        }
        line(text, &head);
        let heard = piece.heard.unwrap_or(piece.text.len()).min(piece.text.len());
        quote(text, &piece.text[..piece.text.floor_char_boundary(heard)]);
        return;
    }
    found.trust = found.trust.min(piece.trust);
    let mut from = format!("from {}", inline(&piece.author));
    if let Some(name) = piece.author_name.as_deref().filter(|name| !name.is_empty()) {
        from.push_str(&format!(", who calls themselves {}", inline(name)));
    }
    let source = format!("message {} from {}", piece.id, piece.author);
    if piece.trust == Trust::Unproven {
        found.foreign(ForeignKind::Unproven, source.clone(), &piece.text);
    }
    if !piece.hidden.is_empty() || smuggles(&piece.text) {
        found.foreign(ForeignKind::Hidden, source.clone(), &piece.text);
    }
    let head = [number.as_str(), channel(&piece.channel), &at, &from, standing(piece.trust)];
    let subject = format!("subject {}", inline(&piece.subject));
    line(text, &[head.as_slice(), &[&subject, "their words"]].concat());
    if piece.layers.is_empty() {
        quote(text, &piece.text);
    } else {
        layers(text, piece, detail, &source, found);
    }
    if !piece.hidden.is_empty() {
        line(text, &[&number, "it hides text from its reader, which is left out here"]);
    }
    for attachment in &piece.attachments {
        line(
            text,
            &[
                &number,
                &format!("part {}", attachment.part),
                &format!("file {}", inline(&attachment.name)),
                &inline(&attachment.media_type),
                &format!("{} octets", attachment.size),
                "read_attachment reads it",
            ],
        );
    }
}

/// The stretches of a mail, each under its own line.
fn layers(text: &mut String, piece: &Piece, detail: Detail, source: &str, found: &mut Found) {
    let number = format!("message {}", piece.id);
    let has_own = piece
        .layers
        .iter()
        .any(|layer| layer.kind == LayerKind::Own && !layer.text.trim().is_empty());
    let mut left_out = false;
    let mut last = LayerKind::Own;
    for layer in &piece.layers {
        if layer.text.trim().is_empty() {
            continue;
        }
        match layer.kind {
            LayerKind::Dressing => continue,
            LayerKind::Own => {
                if last != LayerKind::Own {
                    line(text, &[&number, "their words"]);
                }
            }
            LayerKind::Ours => line(text, &[&number, "they quote what you wrote"]),
            // Words of others are shown where they are what the mail is about.
            LayerKind::Quoted | LayerKind::Forwarded if detail == Detail::Brief && has_own => {
                left_out = true;
                continue;
            }
            LayerKind::Quoted if has_own => {
                left_out = true;
                continue;
            }
            LayerKind::Quoted => {
                line(text, &[&number, "they quote this; nobody vouches for it"]);
                found.foreign(ForeignKind::Quoted, format!("in {source}"), &layer.text);
            }
            LayerKind::Forwarded => {
                line(text, &[&number, "they pass this on; nobody vouches for it"]);
                found.foreign(ForeignKind::Quoted, format!("in {source}"), &layer.text);
            }
        }
        last = layer.kind;
        quote(text, layer.text.trim_matches('\n'));
    }
    if left_out {
        line(text, &[&number, "quoted text is left out", "read_message shows it"]);
    }
}

/// A message with everything that belongs to it, for tools that read. Foreign texts are returned.
pub(crate) fn whole(piece: &Piece) -> (String, Vec<Foreign>) {
    let mut found = Found { trust: Trust::Staff, foreign: Vec::new() };
    let mut text = String::new();
    message(&mut text, piece, Detail::Full, &mut found);
    let source = format!("message {} from {}", piece.id, piece.author);
    for layer in piece.layers.iter().filter(|layer| layer.kind == LayerKind::Quoted) {
        line(
            &mut text,
            &[&format!("message {}", piece.id), "they quote this; nobody vouches for it"],
        );
        quote(&mut text, &layer.text);
        found.foreign(ForeignKind::Quoted, format!("in {source}"), &layer.text);
    }
    (text, found.foreign)
}

fn task(text: &mut String, request: &TurnRequest, found: &mut Found) {
    match &request.cause {
        Cause::Mail { message } => line(
            text,
            &[
                &format!("your task: answer message {message}"),
                "your last words, without calls, are sent as the reply, in plain text",
            ],
        ),
        Cause::Said { message } => line(
            text,
            &[
                &format!("your task: answer message {message}"),
                "they hear or read your words as you say them",
            ],
        ),
        Cause::FollowUp { note, .. } => {
            line(
                text,
                &[
                    "your task: follow up, as you noted to yourself",
                    "your last words are sent as the reply",
                ],
            );
            quote(text, note);
        }
        Cause::TaskEnded { tool, report, foreign, .. } => {
            found.foreign.extend(foreign.iter().cloned());
            let ended = format!(
                "your task: the work you began with {} has ended, as follows",
                inline(tool)
            );
            line(text, &[&ended, "your last words are sent as the reply"]);
            quote(text, report);
        }
        Cause::Asked(question) => {
            found.trust = found.trust.min(question.trust);
            let path: Vec<_> = question.path.iter().map(|agent| inline(agent)).collect();
            let asked = format!("your task: the agent {} asks you", path.join(", asked by "));
            line(text, &[&asked, standing(question.trust), "your last words are the answer"]);
            quote(text, &question.question);
            for foreign in &question.foreign {
                found.foreign(ForeignKind::Agent, foreign.to_string(), &foreign.excerpt);
            }
        }
    }
}

/// The files that are shown from the beginning: the first few that came with the mail the turn is about and that
/// are no part of its text, such as pictures in a signature.
fn files(material: &Material, frame: Frame<'_>, found: &mut Found) -> Vec<FileRef> {
    if !frame.shows.is_some_and(|takes| takes.images || takes.documents) {
        return Vec::new();
    }
    let about = frame.request.message();
    let pieces = material.pieces.iter().filter(|piece| Some(piece.id) == about);
    let mut files = Vec::new();
    for piece in pieces {
        let shown = piece
            .attachments
            .iter()
            .filter(|file| !file.inline && media::Kind::declared(&file.media_type));
        for attachment in shown.take(FILES_AT_FIRST) {
            let from = format!("the file {} of message {}", inline(&attachment.name), piece.id);
            found.foreign(ForeignKind::Attachment, from, NO_TEXT);
            files.push(FileRef { message: piece.id.0, part: attachment.part });
        }
    }
    files
}

/// The rounds so far as messages, each with the files that were asked for in it.
pub(crate) fn rounds(turn: &Turn, files: &Shown) -> Vec<Message> {
    let mut messages = Vec::with_capacity(turn.rounds.len() * 2);
    for round in &turn.rounds {
        let mut parts = Vec::with_capacity(round.calls.len() + 1);
        if !round.said.text.is_empty() {
            parts.push(Part::Text(round.said.text.clone()));
        }
        parts.extend(round.calls.iter().map(|call| Part::ToolCall(call.asked.clone())));
        messages.push(Message { role: Role::Assistant, parts });
        let results = round.calls.iter().filter_map(|call| match &call.state {
            CallState::Ended(result) => Some(ToolResult {
                id: call.asked.id.clone(),
                content: shown(&call.id.to_string(), &result.text),
                is_error: result.end != super::step::CallEnd::Done,
            }),
            _ => None,
        });
        let mut results = Message::tool_results(results);
        for call in &round.calls {
            if let CallState::Ended(result) = &call.state {
                let parts = result.files.iter().flat_map(|file| files.parts_of(*file));
                results.parts.extend(parts);
            }
        }
        messages.push(results);
    }
    messages
}

/// What the model is asked for when messages are to be summarised.
pub fn summary_request(
    material: &Material,
    from: MessageId,
    to: MessageId,
) -> (String, Fingerprint) {
    let mut found = Found { trust: Trust::Staff, foreign: Vec::new() };
    let mut text = String::new();
    let pieces = material.pieces.iter().filter(|piece| piece.role != "note");
    for piece in pieces.filter(|piece| from <= piece.id && piece.id <= to) {
        message(&mut text, piece, Detail::Brief, &mut found);
    }
    line(
        &mut text,
        &[
            "your task: summarise these messages in at most 300 words for yourself: who wants what, what was \
           agreed, names, numbers and dates, what is open",
        ],
    );
    (text, Fingerprint { hash: String::new(), trust: found.trust, foreign: found.foreign })
}
