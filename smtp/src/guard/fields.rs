//! Header blocks: where fields begin and end for mail-parser, and the caps on what is in them.

use memchr::{memchr, memchr_iter, memchr2};

use super::{
    ADDRESS_SEPARATORS, ADDRESSES, COMMENT_DEPTH, ENCODED_WORD_WORK, ENCODED_WORDS, HEADER_BLOCK,
    HEADER_TOTAL, HEADERS, HEADERS_TOTAL, PARAMETERS, Refusal, Structure,
};

/// Counters that live as long as one check, over all blocks.
#[derive(Default)]
pub(super) struct Totals {
    pub structure: Structure,
    separators: usize,
    encoded_work: usize,
}

/// A header block as far as MIME structure depends on it.
#[derive(Default)]
pub(super) struct Block {
    /// Octets after the colon of the last Content-Type field, its line end included.
    pub content_type: Option<(usize, usize)>,
    /// The same of the last Content-Transfer-Encoding field.
    pub transfer_encoding: Option<(usize, usize)>,
}

/// What a field name means here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    ContentType,
    ContentDisposition,
    TransferEncoding,
    From,
    Address,
    Other,
}

/// Longest field name mail-parser recognises.
const NAME: usize = 34;

/// Reads the header block at `start`. Returns the block and the offset of the body, or no block
/// where the input ends inside it, which mail-parser takes as "no part here".
pub(super) fn block(
    data: &[u8],
    start: usize,
    outermost: bool,
    totals: &mut Totals,
) -> Result<(Option<Block>, usize), Refusal> {
    let mut block = Block::default();
    let mut fields = 0;
    let mut pos = start;
    loop {
        // Blank space before a name belongs to no field, a line end there ends the block.
        let end = loop {
            match data.get(pos) {
                None => break Some(false),
                Some(b'\n') => {
                    pos += 1;
                    break Some(true);
                }
                Some(byte) if byte.is_ascii_whitespace() => pos += 1,
                Some(_) => break None,
            }
            if pos - start > HEADER_BLOCK {
                return Err(Refusal::HeaderBlock);
            }
        };
        if let Some(complete) = end {
            totals.structure.header_octets += pos - start;
            within(pos - start, HEADER_BLOCK, Refusal::HeaderBlock)?;
            within(totals.structure.header_octets, HEADER_TOTAL, Refusal::HeaderTotal)?;
            return Ok((complete.then_some(block), pos));
        }
        let Some((kind, value)) = name(data, pos) else {
            // A line without a colon is no field.
            pos = memchr(b'\n', &data[pos..]).map_or(data.len(), |at| pos + at + 1);
            within(pos - start, HEADER_BLOCK, Refusal::HeaderBlock)?;
            continue;
        };
        pos = field_end(data, value);
        within(pos - start, HEADER_BLOCK, Refusal::HeaderBlock)?;
        fields += 1;
        within(fields, HEADERS, Refusal::Headers)?;
        totals.structure.headers += 1;
        within(totals.structure.headers, HEADERS_TOTAL, Refusal::HeadersTotal)?;
        field(&data[value..pos], kind, outermost, totals)?;
        match kind {
            Kind::ContentType => block.content_type = Some((value, pos)),
            Kind::TransferEncoding => block.transfer_encoding = Some((value, pos)),
            _ => (),
        }
    }
}

/// The field name at `pos` and the offset after its colon; `None` where the line has no colon.
/// As in mail-parser, colons before the name and blanks (carriage returns too) inside it are
/// skipped, and at the end of input a name needs no colon.
fn name(data: &[u8], pos: usize) -> Option<(Kind, usize)> {
    let mut buffer = [0u8; NAME];
    let mut len = 0;
    let mut from = pos;
    loop {
        let at = memchr2(b':', b'\n', &data[from..]).map(|at| from + at);
        for byte in &data[from..at.unwrap_or(data.len())] {
            if !byte.is_ascii_whitespace() {
                if let Some(slot) = buffer.get_mut(len) {
                    *slot = byte.to_ascii_lowercase();
                }
                len += 1;
            }
        }
        match at {
            Some(at) if data[at] == b':' && len == 0 => from = at + 1,
            Some(at) if data[at] == b':' => return Some((kind(&buffer, len), at + 1)),
            Some(_) => return None,
            None => return (len > 0).then(|| (kind(&buffer, len), data.len())),
        }
    }
}

fn kind(buffer: &[u8; NAME], len: usize) -> Kind {
    match buffer.get(..len).unwrap_or_default() {
        b"content-type" => Kind::ContentType,
        b"content-disposition" => Kind::ContentDisposition,
        b"content-transfer-encoding" => Kind::TransferEncoding,
        b"from" => Kind::From,
        b"to" | b"cc" | b"bcc" | b"reply-to" | b"sender" | b"resent-to" | b"resent-from"
        | b"resent-bcc" | b"resent-cc" | b"resent-sender" | b"list-archive" | b"list-help"
        | b"list-id" | b"list-owner" | b"list-post" | b"list-subscribe" | b"list-unsubscribe" => {
            Kind::Address
        }
        _ => Kind::Other,
    }
}

/// Offset after the line end that ends the field: one not followed by a blank.
fn field_end(data: &[u8], value: usize) -> usize {
    let mut pos = value;
    while let Some(at) = memchr(b'\n', &data[pos..]) {
        pos += at + 1;
        if !matches!(data.get(pos), Some(b' ' | b'\t')) {
            return pos;
        }
    }
    data.len()
}

fn field(value: &[u8], kind: Kind, outermost: bool, totals: &mut Totals) -> Result<(), Refusal> {
    let (words, work) = encoded_words(value);
    totals.structure.encoded_words += words;
    totals.encoded_work += work;
    within(totals.structure.encoded_words, ENCODED_WORDS, Refusal::EncodedWords)?;
    within(totals.encoded_work, ENCODED_WORD_WORK, Refusal::EncodedWords)?;
    match kind {
        Kind::From | Kind::Address => {
            let (addresses, separators) = addresses(value)?;
            totals.structure.addresses += addresses;
            totals.separators += separators;
            within(totals.structure.addresses, ADDRESSES, Refusal::Addresses)?;
            within(totals.separators, ADDRESS_SEPARATORS, Refusal::Addresses)?;
            if outermost && kind == Kind::From {
                totals.structure.from_headers += 1;
                totals.structure.from_addresses += addresses;
            }
        }
        Kind::ContentType | Kind::ContentDisposition => parameters(value)?,
        _ => (),
    }
    Ok(())
}

/// Addresses in a field and separators in it, the first honouring quotes and comments.
fn addresses(value: &[u8]) -> Result<(usize, usize), Refusal> {
    let (mut list, mut separators) = (0, 0);
    let mut walk = Walk::default();
    let mut any = false;
    for &byte in value {
        let separator = matches!(byte, b',' | b';' | b':' | b'<');
        separators += usize::from(separator);
        if walk.step(byte)? {
            list += usize::from(matches!(byte, b',' | b';'));
            any |= !byte.is_ascii_whitespace();
        }
    }
    Ok((list + usize::from(any), separators))
}

fn parameters(value: &[u8]) -> Result<(), Refusal> {
    let (mut list, mut raw) = (0, 0);
    let mut walk = Walk::default();
    for &byte in value {
        let outside = walk.step(byte)?;
        list += usize::from(outside && byte == b';');
        raw += usize::from(matches!(byte, b';' | b'=' | b'\n'));
    }
    within(list, PARAMETERS, Refusal::Parameters)?;
    // Folds and quotes end a parameter too in mail-parser, and an open quote hides nothing.
    within(raw, 4 * PARAMETERS, Refusal::Parameters)
}

/// Walks a structured field and knows whether an octet is outside quotes and comments.
#[derive(Default)]
struct Walk {
    quoted: bool,
    escaped: bool,
    comments: usize,
}

impl Walk {
    fn step(&mut self, byte: u8) -> Result<bool, Refusal> {
        let outside = !self.quoted && self.comments == 0;
        if self.escaped {
            self.escaped = false;
            return Ok(outside);
        }
        match byte {
            b'\\' if !outside => self.escaped = true,
            b'"' if self.comments == 0 => self.quoted = !self.quoted,
            b'(' if !self.quoted => {
                self.comments += 1;
                within(self.comments, COMMENT_DEPTH, Refusal::CommentDepth)?;
            }
            b')' if !self.quoted => self.comments = self.comments.saturating_sub(1),
            _ => return Ok(outside),
        }
        Ok(false)
    }
}

/// Openers `=?` in a field, and the octets a parser may read in vain because of them: it reads
/// from each opener to the first `?=` after its encoding, and starts again behind the opener if
/// there is none.
fn encoded_words(value: &[u8]) -> (usize, usize) {
    let (mut words, mut work) = (0, 0);
    // Openers that met fewer than two further question marks (charset and encoding) cannot be
    // closed yet. Position and marks seen; at most two at a time.
    let mut young: [Option<usize>; 2] = [None, None];
    let (mut open, mut open_sum) = (0, 0);
    for at in memchr_iter(b'?', value) {
        let closes = value.get(at + 1) == Some(&b'=');
        if closes && open > 0 {
            work += open * at - open_sum;
            (open, open_sum) = (0, 0);
        }
        if let Some(opener) = young[1].take() {
            open += 1;
            open_sum += opener;
        }
        young[1] = young[0].take();
        if at > 0 && value[at - 1] == b'=' {
            words += 1;
            young[0] = Some(at - 1);
        }
    }
    work += open * value.len() - open_sum;
    (words, work)
}

fn within(count: usize, cap: usize, refusal: Refusal) -> Result<(), Refusal> {
    if count > cap { Err(refusal) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_names_are_read_as_mail_parser_reads_them() {
        let kind = |line: &[u8]| name(line, 0).map(|(kind, _)| kind == Kind::ContentType);
        assert_eq!(kind(b"Content-Type: a"), Some(true));
        assert_eq!(kind(b"::Con tent\r-TYPE : a"), Some(true));
        assert_eq!(kind(b"Content-Type\n: a"), None);
        assert_eq!(kind(b"X-Content-Type: a"), Some(false));
        assert_eq!(kind(b"content-type"), Some(true));
        assert_eq!(kind(b":::\n"), None);
    }

    #[test]
    fn a_closed_encoded_word_costs_its_length_and_an_open_one_the_rest_of_the_field() {
        let (words, work) = encoded_words(b"=?utf-8?q?abc?= =?utf-8?q?abc?=");
        assert_eq!(words, 2);
        assert!(work <= 31, "{work}");
        let open = b"=?aa?q?x".repeat(1000);
        let (words, work) = encoded_words(&open);
        assert_eq!(words, 1000);
        assert!(work > 3_000_000, "{work}");
    }

    #[test]
    fn addresses_are_counted_outside_quotes_and_separators_everywhere() {
        let (list, separators) =
            addresses(b" \"Doe, J\" <j@x.example>, k@x.example (a, b)\r\n").unwrap();
        assert_eq!((list, separators), (2, 4));
        assert_eq!(addresses(b" \r\n").unwrap().0, 0);
    }
}
