//! The walk over parts: mail-parser's loop (`parsers/message.rs`) without the tree.

use mail_parser::{HeaderValue, Message, PartType, parsers::MessageStream};
use memchr::memmem;

use super::{
    BOUNDARY, DEPTH, ENCODED_MESSAGE_DEPTH, FRUITLESS_SEARCHES, PARTS, Refusal, Structure,
    fields::{self, Block, Totals},
};

/// What mail-parser calls the MIME type of a level.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Message,
    Digest,
    Other,
}

/// A level that is open: a multipart, or a message and the boundary that ends it.
struct Level {
    kind: Kind,
    boundary: Option<Vec<u8>>,
    /// Whether the level below belongs to a message of its own.
    holds_message: bool,
}

struct Scan {
    totals: Totals,
    fruitless: usize,
    tangled: bool,
}

pub(super) fn scan(raw: &[u8]) -> Result<Structure, Refusal> {
    Ok(scan_whole(raw)?.0)
}

/// Scans, and says too whether a multipart was closed while a message inside it was open. There
/// mail-parser gives up with the parts it has; built with debug assertions it panics.
pub(super) fn scan_whole(raw: &[u8]) -> Result<(Structure, bool), Refusal> {
    let mut scan = Scan { totals: Totals::default(), fruitless: 0, tangled: false };
    scan.message(raw, 0, ENCODED_MESSAGE_DEPTH, true)?;
    Ok((scan.totals.structure, scan.tangled))
}

impl Scan {
    /// Scans one message. Calls itself for messages in base64 or quoted-printable only, at most
    /// `encoded` deep.
    fn message(
        &mut self,
        data: &[u8],
        depth: usize,
        encoded: usize,
        mut outermost: bool,
    ) -> Result<(), Refusal> {
        let mut stack: Vec<Level> = Vec::new();
        let mut level = Level { kind: Kind::Message, boundary: None, holds_message: false };
        let mut pos = 0;
        let mut first = true;
        loop {
            let (block, body) = fields::block(data, pos, outermost, &mut self.totals)?;
            outermost = false;
            let Some(block) = block else {
                // A message that ends inside its first header is one empty part.
                return if first { self.part() } else { Ok(()) };
            };
            first = false;
            pos = body;
            self.part()?;
            let part = Part::of(&block, data, level.kind)?;

            if let Some(boundary) = part.boundary {
                let marker = marker(&boundary);
                if let Some(at) = memmem::find(&data[pos..], &marker) {
                    pos = skip_line(data, pos + at + marker.len());
                    let inner =
                        Level { kind: part.kind, boundary: Some(boundary), holds_message: false };
                    stack.push(std::mem::replace(&mut level, inner));
                    self.deeper(depth + stack.len())?;
                    continue;
                }
                self.fruitless += 1;
                self.totals.structure.searched_twice += data.len() - pos;
                if self.fruitless > FRUITLESS_SEARCHES {
                    return Err(Refusal::MissingBoundaries);
                }
            }
            let is_message = part.kind == Kind::Message;
            if is_message && part.encoding == Encoding::Plain {
                self.totals.structure.messages += 1;
                let inner = Level {
                    kind: Kind::Message,
                    boundary: level.boundary.take(),
                    holds_message: false,
                };
                stack.push(std::mem::replace(&mut level, inner));
                if let Some(outer) = stack.last_mut() {
                    outer.holds_message = true;
                }
                self.deeper(depth + stack.len())?;
                continue;
            }

            // The part is a leaf: it ends at the next boundary, or with the message.
            let end = level.boundary.as_deref().map(|boundary| {
                let marker = marker(boundary);
                memmem::find(&data[pos..], &marker).map(|at| pos + at + marker.len())
            });
            if is_message {
                self.totals.structure.messages += 1;
                self.deeper(depth + stack.len() + 1)?;
                if encoded > 0 {
                    let input = &data[pos..end.flatten().unwrap_or(data.len())];
                    let boundary = level.boundary.as_deref().unwrap_or_default();
                    if let Some(decoded) = part.encoding.decode(input, boundary) {
                        self.message(&decoded, depth + stack.len() + 1, encoded - 1, false)?;
                    }
                }
            }
            let Some(Some(end)) = end else { return Ok(()) };
            pos = end;

            loop {
                if level.kind == Kind::Message {
                    match stack.pop() {
                        Some(outer) if outer.holds_message => {
                            let boundary = level.boundary.take();
                            level = Level { boundary, holds_message: false, ..outer };
                        }
                        _ => {
                            self.tangled = true;
                            return Ok(());
                        }
                    }
                }
                let (last, next) = after_boundary(data, pos);
                pos = next;
                if !last {
                    break;
                }
                self.tangled |= level.kind == Kind::Message;
                // The multipart is closed; the one around it goes on at its next boundary.
                let Some(outer) = stack.pop() else { return Ok(()) };
                level = Level { holds_message: false, ..outer };
                let Some(boundary) = level.boundary.as_deref() else { return Ok(()) };
                let marker = marker(boundary);
                let Some(at) = memmem::find(&data[pos..], &marker) else { return Ok(()) };
                pos += at + marker.len();
            }
        }
    }

    fn part(&mut self) -> Result<(), Refusal> {
        self.totals.structure.parts += 1;
        if self.totals.structure.parts > PARTS { Err(Refusal::Parts) } else { Ok(()) }
    }

    fn deeper(&mut self, depth: usize) -> Result<(), Refusal> {
        let deepest = &mut self.totals.structure.depth;
        *deepest = depth.max(*deepest);
        if depth > DEPTH { Err(Refusal::Depth) } else { Ok(()) }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Plain,
    Base64,
    QuotedPrintable,
}

impl Encoding {
    fn decode(self, input: &[u8], boundary: &[u8]) -> Option<Vec<u8>> {
        let mut stream = MessageStream::new(input);
        let (end, bytes) = match self {
            Encoding::Plain => return None,
            Encoding::Base64 => stream.decode_base64_mime(boundary),
            Encoding::QuotedPrintable => stream.decode_quoted_printable_mime(boundary),
        };
        // The decoders say "damaged" with the largest offset; such a part is text, not a message.
        (end != usize::MAX).then(|| bytes.into_owned())
    }
}

/// A part as its header describes it.
struct Part {
    kind: Kind,
    boundary: Option<Vec<u8>>,
    encoding: Encoding,
}

impl Part {
    fn of(block: &Block, data: &[u8], parent: Kind) -> Result<Part, Refusal> {
        let content_type = block
            .content_type
            .map(|(from, to)| MessageStream::new(&data[from..to]).parse_content_type());
        let (mut kind, mut boundary) = (Kind::Other, None);
        match content_type.as_ref().and_then(HeaderValue::as_content_type) {
            Some(value) if value.ctype() == "multipart" => {
                if value.subtype() == Some("digest") {
                    kind = Kind::Digest;
                }
                if let Some(found) = value.attribute("boundary").filter(|b| !b.is_empty()) {
                    if found.len() > BOUNDARY {
                        return Err(Refusal::Boundary);
                    }
                    boundary = Some(found.as_bytes().to_vec());
                }
            }
            Some(value) if value.ctype() == "message" => {
                if matches!(value.subtype(), Some("rfc822" | "global")) {
                    kind = Kind::Message;
                }
            }
            Some(_) => (),
            None if parent == Kind::Digest => kind = Kind::Message,
            None => (),
        }
        let encoding = block
            .transfer_encoding
            .map(|(from, to)| MessageStream::new(&data[from..to]).parse_unstructured());
        let encoding = match encoding.as_ref().and_then(HeaderValue::as_text) {
            Some(text) if text.eq_ignore_ascii_case("base64") => Encoding::Base64,
            Some(text) if text.eq_ignore_ascii_case("quoted-printable") => {
                Encoding::QuotedPrintable
            }
            _ => Encoding::Plain,
        };
        Ok(Part { kind, boundary, encoding })
    }
}

fn marker(boundary: &[u8]) -> Vec<u8> {
    [b"--", boundary].concat()
}

/// The offset after blanks and one line end.
fn skip_line(data: &[u8], mut pos: usize) -> usize {
    while let Some(byte) = data.get(pos) {
        match byte {
            b'\r' | b' ' | b'\t' => pos += 1,
            b'\n' => return pos + 1,
            _ => break,
        }
    }
    pos
}

/// Whether the boundary before `pos` was the closing one, and where reading goes on.
fn after_boundary(data: &[u8], pos: usize) -> (bool, usize) {
    match (data.get(pos), data.get(pos + 1)) {
        (Some(b'\r'), Some(b'\n')) => (false, pos + 2),
        (Some(b'-'), Some(b'-')) => (true, pos + 2),
        (Some(b'\n'), _) => (false, pos + 1),
        (Some(byte), _) if byte.is_ascii_whitespace() => (false, skip_line(data, pos + 1)),
        _ => (false, pos),
    }
}

/// Parts and nesting of a message already parsed, to compare with what was counted. The depth of a
/// multipart is one more than its container's. Recurses over messages only, which the guard bounds.
pub(super) fn measure(message: &Message<'_>) -> (usize, usize) {
    let mut parts = message.parts.len();
    let mut deepest = 0;
    let mut open = vec![(0usize, 0usize)];
    // Damaged mail can name a part in two containers; each needs one look.
    let mut seen = vec![false; message.parts.len()];
    while let Some((id, depth)) = open.pop() {
        let Some(part) = message.parts.get(id).filter(|_| !std::mem::replace(&mut seen[id], true))
        else {
            continue;
        };
        match &part.body {
            PartType::Multipart(children) if !children.is_empty() => {
                deepest = deepest.max(depth + 1);
                open.extend(children.iter().map(|child| (*child as usize, depth + 1)));
            }
            PartType::Message(inner) => {
                let (inner_parts, inner_depth) = measure(inner);
                parts += inner_parts;
                deepest = deepest.max(depth + 1 + inner_depth);
            }
            _ => (),
        }
    }
    (parts, deepest)
}
