//! The linear scan that no message passes into a parser without.
//!
//! mail-parser 0.11.9 builds a tree without limits: about 50,000 nested `message/rfc822` headers
//! overflow the stack when that tree is dropped and abort the process; 2,000,000 empty parts take
//! hundreds of megabytes; thousands of multiparts whose boundary never appears each cost a search
//! to the end of the message. [`check`] follows the same structure with a short stack of
//! boundaries and counters, and refuses before anything is built.
//!
//! What always holds:
//! - time is linear in the message (a fixed number of fruitless boundary searches apart) and the
//!   call stack is constant; memory is the boundary stack plus, for a `message/rfc822` part in
//!   base64 or quoted-printable, its decoded bytes (at most [`ENCODED_MESSAGE_DEPTH`] at a time);
//! - the structure counted here is the one mail-parser 0.11.9 sees, quirk for quirk: boundaries
//!   match anywhere in a line, blanks inside header names are ignored, the last of several
//!   Content-Type fields wins, a part of a digest without a type is a message. Content-Type values
//!   are read by mail-parser's own field parser, so that no disagreement about quotes, comments,
//!   continuations or encoded words can hide a boundary. `tests/guard_parser.rs` compares the two.
//!
//! Left out: judging content, line lengths (the SMTP framer's business), and mail loops (the session's).

mod fields;
mod scan;

use std::fmt;

/// Levels of multiparts and messages inside each other. Real mail stays below 10; mail-parser 1.0
/// stops at 64, mail clients much earlier.
pub const DEPTH: usize = 20;
/// MIME parts of a message, containers included. Haraka's default.
pub const PARTS: usize = 1_000;
/// Octets of one header block. Sendmail and Haraka stop at 32 KiB to 1 MiB.
pub const HEADER_BLOCK: usize = 256 * 1024;
/// Octets of all header blocks together: [`PARTS`] blocks of 2 KiB.
pub const HEADER_TOTAL: usize = 2 * 1024 * 1024;
/// Fields of one header block. Haraka's default.
pub const HEADERS: usize = 1_000;
/// Fields of all header blocks together: [`PARTS`] blocks of ten fields.
pub const HEADERS_TOTAL: usize = 10_000;
/// Parameters of one Content-Type or Content-Disposition field.
pub const PARAMETERS: usize = 100;
/// Addresses in all address fields together, as many as an SMTP transaction may have recipients at
/// the most generous of the servers compared.
pub const ADDRESSES: usize = 1_000;
/// Separators of addresses counted without regard to quotes, so that an unbalanced quote that a
/// parser reads differently cannot hide a list: "Last, First" names on [`ADDRESSES`] addresses,
/// twice over.
pub const ADDRESS_SEPARATORS: usize = 4_000;
/// Encoded words (RFC 2047) in all header blocks together.
pub const ENCODED_WORDS: usize = 10_000;
/// Octets a parser reads again because encoded words are never closed: the sum, over all words,
/// of the distance to where each could end.
pub const ENCODED_WORD_WORK: usize = 32 * 1024 * 1024;
/// Longest accepted boundary. RFC 2046 section 5.1.1 allows 70; some mailers go a little over.
pub const BOUNDARY: usize = 200;
/// Levels of comments inside comments in a structured field (RFC 5322 section 3.2.2).
pub const COMMENT_DEPTH: usize = 64;
/// Levels of base64 or quoted-printable messages inside each other that mail-parser decodes
/// (`MAX_NESTED_ENCODED`). Deeper ones stay opaque attachments there, and here.
pub const ENCODED_MESSAGE_DEPTH: usize = 3;
/// Multiparts whose boundary never appears. Each makes a parser search to the end of the message;
/// truncated originals inside bounces have one or two.
pub const FRUITLESS_SEARCHES: usize = 8;

/// What the scan counted, for a message within all caps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Structure {
    /// MIME parts, containers and nested messages included.
    pub parts: usize,
    /// Deepest nesting of multiparts and messages; 0 for a message of one part.
    pub depth: usize,
    /// Messages inside the message.
    pub messages: usize,
    /// Header fields in all blocks.
    pub headers: usize,
    /// Octets in all header blocks.
    pub header_octets: usize,
    /// Addresses in all address fields.
    pub addresses: usize,
    /// Encoded words in all fields.
    pub encoded_words: usize,
    /// `From` fields of the outermost header; RFC 5322 section 3.6 asks for exactly one.
    pub from_headers: usize,
    /// Addresses in the `From` fields of the outermost header.
    pub from_addresses: usize,
    /// Octets read again in fruitless boundary searches.
    pub searched_twice: usize,
}

/// Why a message is refused before any parser sees it. Its text is fit for an SMTP reply: printable
/// ASCII without line ends, and nothing of the message in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("MIME parts nested more than {DEPTH} deep")]
    Depth,
    #[error("More than {PARTS} MIME parts")]
    Parts,
    #[error("A header of more than {HEADER_BLOCK} octets")]
    HeaderBlock,
    #[error("Headers of more than {HEADER_TOTAL} octets in all parts")]
    HeaderTotal,
    #[error("More than {HEADERS} fields in a header")]
    Headers,
    #[error("More than {HEADERS_TOTAL} header fields in all parts")]
    HeadersTotal,
    #[error("More than {PARAMETERS} parameters in a header field")]
    Parameters,
    #[error("More than {ADDRESSES} addresses in the header")]
    Addresses,
    #[error("More than {ENCODED_WORDS} encoded words, or unclosed ones, in the header")]
    EncodedWords,
    #[error("A MIME boundary of more than {BOUNDARY} octets")]
    Boundary,
    #[error("Comments nested more than {COMMENT_DEPTH} deep in a header field")]
    CommentDepth,
    #[error("More than {FRUITLESS_SEARCHES} multiparts without their boundary")]
    MissingBoundaries,
    #[error("More octets than a message can have")]
    Size,
}

impl Refusal {
    /// The reply code: 552 where the message is too much of something that has a size, else 554.
    pub fn code(self) -> u16 {
        match self {
            Refusal::HeaderBlock | Refusal::HeaderTotal | Refusal::Size => 552,
            _ => 554,
        }
    }

    /// The enhanced status code: 5.6.0, "other or undefined media error" (RFC 3463 section 3.7).
    pub fn enhanced(self) -> &'static str {
        "5.6.0"
    }

    /// The cap in one short word, for metrics.
    pub fn label(self) -> &'static str {
        match self {
            Refusal::Depth => "depth",
            Refusal::Parts => "parts",
            Refusal::HeaderBlock => "header_block",
            Refusal::HeaderTotal => "header_total",
            Refusal::Headers => "headers",
            Refusal::HeadersTotal => "headers_total",
            Refusal::Parameters => "parameters",
            Refusal::Addresses => "addresses",
            Refusal::EncodedWords => "encoded_words",
            Refusal::Boundary => "boundary",
            Refusal::CommentDepth => "comment_depth",
            Refusal::MissingBoundaries => "missing_boundaries",
            Refusal::Size => "size",
        }
    }

    /// The whole reply line without its line end, such as
    /// `554 5.6.0 Message refused: More than 1000 MIME parts`.
    pub fn reply(self) -> String {
        Reply(self).to_string()
    }
}

struct Reply(Refusal);

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} Message refused: {}", self.0.code(), self.0.enhanced(), self.0)
    }
}

/// Scans `raw`, a whole message as received, and says whether parsers may see it.
///
/// # Errors
/// A [`Refusal`] naming the first cap the message exceeds.
pub fn check(raw: &[u8]) -> Result<Structure, Refusal> {
    // mail-parser stores offsets in 32 bits.
    if u32::try_from(raw.len()).is_err() {
        return Err(Refusal::Size);
    }
    scan::scan(raw)
}

/// Body of the fuzz target: whatever passes must parse within what was counted. Leaves out damage
/// that trips debug assertions of mail-parser, which fuzzers are built with.
///
/// # Panics
/// When mail-parser sees more structure than [`check`] did.
#[doc(hidden)]
pub fn fuzz(raw: &[u8]) {
    if is_untangled(raw) {
        compare(raw);
    }
}

/// Whether fuzz targets may give `raw` to mail-parser: see [`fuzz`].
pub(crate) fn is_untangled(raw: &[u8]) -> bool {
    scan::scan_whole(raw).is_ok_and(|(_, tangled)| !tangled)
}

/// Holds what was counted against what mail-parser sees; panics as [`fuzz`] does.
#[doc(hidden)]
pub fn compare(raw: &[u8]) {
    let Ok(structure) = check(raw) else { return };
    let Some(message) = mail_parser::MessageParser::default().parse(raw) else { return };
    let (parts, depth) = scan::measure(&message);
    assert!(parts <= structure.parts, "{parts} parts parsed, {} counted", structure.parts);
    assert!(depth <= structure.depth, "depth {depth} parsed, {} counted", structure.depth);
}
