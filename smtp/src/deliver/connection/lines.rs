//! A peer's octets as reply lines that lettre's parser can read, without I/O.
//!
//! lettre 0.11.23 reads lines without a bound, fails on octets that are not UTF-8, waits for ever after
//! a bare LF, and does not know a code without text (RFC 5321 section 4.2: `250` CR LF is a reply).
//! After a final dot each of these would turn a peer's clear answer into an uncertain one. So lines
//! pass through here first: cut to a length, in printable ASCII, with `NNN ` or `NNN-` in front and
//! CR LF at the end.

use std::collections::VecDeque;

/// Octets of a line that are kept; RFC 5321 section 4.5.3.1.5 allows 512, and lettre reads 1000.
const LINE: usize = 900;
/// Octets of a line that are read before the peer is taken for no mail server.
const LINE_READ: usize = 64 * 1024;
/// Octets of one reply. An EHLO response of thirty extensions takes one kilobyte.
const REPLY: usize = 32 * 1024;

/// Why a peer is not listened to any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Endless {
    #[error("a line without an end")]
    Line,
    #[error("a reply without an end")]
    Reply,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct ReplyLines {
    /// The line that is not complete.
    partial: Vec<u8>,
    /// How long it is, with what was not kept.
    length: usize,
    /// What lettre has not read yet.
    ready: VecDeque<u8>,
    /// Octets of the reply that is coming in.
    reply: usize,
    /// The code of the last complete reply that lettre has not been given in full.
    last: Option<u16>,
}

impl ReplyLines {
    /// Takes what came from the peer.
    pub(super) fn feed(&mut self, octets: &[u8]) -> Result<(), Endless> {
        for &octet in octets {
            if octet == b'\n' {
                self.end_line()?;
                continue;
            }
            self.length += 1;
            if self.length > LINE_READ {
                return Err(Endless::Line);
            }
            if self.partial.len() < LINE && octet != b'\r' {
                let kept = match octet {
                    b' '..=b'~' => octet,
                    b'\t' => b' ',
                    _ => b'?',
                };
                self.partial.push(kept);
            }
        }
        Ok(())
    }

    fn end_line(&mut self) -> Result<(), Endless> {
        let line = std::mem::take(&mut self.partial);
        self.length = 0;
        self.reply += line.len() + 2;
        // Also if nobody reads, because the peer speaks without being asked.
        if self.reply > REPLY || self.ready.len() > 2 * REPLY {
            return Err(Endless::Reply);
        }
        let code = line.get(..3).and_then(|code| std::str::from_utf8(code).ok()?.parse().ok());
        let (head, rest) = line.split_at(line.len().min(3));
        self.ready.extend(head);
        match rest.first() {
            // The next line goes on with this reply.
            Some(b'-') => {}
            Some(b' ') | None => {
                self.reply = 0;
                self.last = code;
            }
            // `250OK`: not allowed and understood by everybody.
            Some(_) => {
                self.reply = 0;
                self.last = code;
                self.ready.push_back(b' ');
            }
        }
        if rest.is_empty() {
            self.ready.push_back(b' ');
        }
        self.ready.extend(rest);
        self.ready.extend(b"\r\n");
        Ok(())
    }

    /// Moves one line out, or as much of it as there is room for. Never more: lettre's buffer would keep
    /// the rest out of sight of [`Self::has_more`].
    pub(super) fn read(&mut self, room: usize) -> Vec<u8> {
        let line = self.ready.iter().position(|octet| *octet == b'\n').map_or(0, |end| end + 1);
        self.ready.drain(..line.min(room)).collect()
    }

    /// Whether there is nothing to read.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Whether the peer has said anything that was not read. After a reply to STARTTLS that is an
    /// injection: octets of the clear connection that would count as said under TLS.
    pub(super) fn has_more(&self) -> bool {
        !self.ready.is_empty() || self.length > 0
    }

    /// The code of a complete reply that waits to be read.
    pub(super) fn waiting_code(&self) -> Option<u16> {
        if self.ready.is_empty() { None } else { self.last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(octets: &[u8]) -> String {
        let mut lines = ReplyLines::default();
        lines.feed(octets).unwrap();
        let read =
            std::iter::from_fn(|| Some(lines.read(usize::MAX)).filter(|line| !line.is_empty()));
        String::from_utf8(read.flatten().collect()).unwrap()
    }

    #[test]
    fn proper_replies_are_unchanged() {
        let text = "250-mx.example\r\n250-SIZE 1000\r\n250 STARTTLS\r\n";
        assert_eq!(normal(text.as_bytes()), text);
    }

    #[test]
    fn what_lettre_cannot_read_is_mended() {
        assert_eq!(normal(b"250\r\n"), "250 \r\n");
        assert_eq!(normal(b"250 ok\n"), "250 ok\r\n");
        assert_eq!(normal(b"250OK\r\n"), "250 OK\r\n");
        assert_eq!(normal(b"550 Empf\xe4nger\tunbekannt\x1b\r\n"), "550 Empf?nger unbekannt?\r\n");
        assert_eq!(normal(&[b"250 ", [b'x'; 5000].as_slice(), b"\r\n"].concat()).len(), LINE + 2);
    }

    #[test]
    fn half_a_line_is_not_read_yet_but_is_seen() {
        let mut lines = ReplyLines::default();
        lines.feed(b"220 go\r\n250 in\r\n250").unwrap();
        assert_eq!(lines.read(usize::MAX), b"220 go\r\n");
        assert!(lines.has_more());
        assert_eq!(lines.read(3), b"250");
        assert_eq!(lines.read(usize::MAX), b" in\r\n");
        assert!(lines.is_empty());
        assert!(lines.has_more());
    }

    #[test]
    fn a_peer_without_end_is_not_kept_in_memory() {
        let mut lines = ReplyLines::default();
        let result = (0..1000).try_for_each(|_| lines.feed(&[b'x'; 1000]));
        assert_eq!(result, Err(Endless::Line));
        let mut lines = ReplyLines::default();
        let result = (0..100_000).try_for_each(|_| lines.feed(b"250-more\r\n"));
        assert_eq!(result, Err(Endless::Reply));
    }
}
