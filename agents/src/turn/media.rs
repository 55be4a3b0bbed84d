//! Files before the model: which can be, and how many at once.
//!
//! What a file is is told by its first octets, not by what a mail says of it: a provider refuses a whole question
//! for one picture that is none. A log keeps the numbers of files and not their octets, which are found
//! again in the mail.

use crate::{
    model::{Capabilities, Part},
    tool::builtin::FileRef,
    turn::{
        Turn,
        fold::CallState,
        prompt::{inline, line},
    },
};
use std::collections::HashMap;

/// Files in one question. Later ones displace earlier ones.
pub const FILES_MAX: usize = 8;
/// Octets of all files in one question. With base64 they stay below the 32 MB that Anthropic takes.
const OCTETS_MAX: usize = 20_000_000;
/// Largest picture, as Anthropic has it.
const IMAGE_MAX: usize = 5_000_000;
/// Largest document.
const DOCUMENT_MAX: usize = 16_000_000;
/// Pixels on the longer side of a picture, as Anthropic has it.
const SIDE_MAX: u32 = 8_000;

/// What a model can look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// With its media type.
    Image(&'static str),
    Pdf,
}

impl Kind {
    /// By its first octets.
    pub fn of(content: &[u8]) -> Option<Self> {
        match content {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => {
                Some(Self::Image("image/png"))
            }
            [0xff, 0xd8, 0xff, ..] => Some(Self::Image("image/jpeg")),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Image("image/gif")),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => {
                Some(Self::Image("image/webp"))
            }
            [b'%', b'P', b'D', b'F', b'-', ..] => Some(Self::Pdf),
            _ => None,
        }
    }

    /// By what a mail says of it: whether it is worth a look.
    pub fn declared(media_type: &str) -> bool {
        media_type == "application/pdf" || media_type.starts_with("image/")
    }
}

/// Why a model cannot look at a file, as the end of a sentence, or what it is.
pub fn look(content: &[u8], takes: &Capabilities) -> Result<Kind, &'static str> {
    let kind = Kind::of(content).ok_or("it is neither text nor a picture nor PDF")?;
    match kind {
        Kind::Image(_) if !takes.images => Err("this model takes no pictures"),
        Kind::Image(_) if content.len() > IMAGE_MAX => Err("the picture is too large"),
        Kind::Image(_) if sides(content).is_some_and(|(w, h)| w.max(h) > SIDE_MAX) => {
            Err("the picture has too many pixels")
        }
        Kind::Pdf if !takes.documents => Err("this model takes no PDF"),
        Kind::Pdf if content.len() > DOCUMENT_MAX => Err("the document is too large"),
        Kind::Image(_) | Kind::Pdf => Ok(kind),
    }
}

/// Width and height of a PNG, GIF or JPEG.
fn sides(content: &[u8]) -> Option<(u32, u32)> {
    let big =
        |at: usize| Some(u32::from(u16::from_be_bytes(content.get(at..at + 2)?.try_into().ok()?)));
    match Kind::of(content)? {
        Kind::Image("image/png") => {
            let side =
                |at: usize| Some(u32::from_be_bytes(content.get(at..at + 4)?.try_into().ok()?));
            Some((side(16)?, side(20)?))
        }
        Kind::Image("image/gif") => {
            let side = |at: usize| {
                Some(u32::from(u16::from_le_bytes(content.get(at..at + 2)?.try_into().ok()?)))
            };
            Some((side(6)?, side(8)?))
        }
        Kind::Image("image/jpeg") => {
            // ITU T.81, B.1.1: segments of a marker, a length and data, until a frame says the size.
            let mut at = 2;
            loop {
                let marker = *content.get(at + 1)?;
                let frame =
                    (0xc0..=0xcf).contains(&marker) && ![0xc4, 0xc8, 0xcc].contains(&marker);
                if frame {
                    return Some((big(at + 7)?, big(at + 5)?));
                }
                at += 2 + usize::try_from(big(at + 2)?).ok()?;
            }
        }
        Kind::Image(_) | Kind::Pdf => None,
    }
}

/// The files that a turn's question shows, newest first and each once: those its calls asked for, then those of
/// its beginning.
pub(crate) fn wanted(turn: &Turn, opening: &[FileRef]) -> Vec<FileRef> {
    let of_calls = turn.rounds.iter().rev().flat_map(|round| round.calls.iter().rev());
    let of_calls = of_calls.filter_map(|call| match &call.state {
        CallState::Ended(result) => Some(result.files.iter().copied()),
        _ => None,
    });
    let mut files: Vec<FileRef> = Vec::new();
    for file in of_calls.flatten().chain(opening.iter().copied()) {
        if !files.contains(&file) && files.len() < FILES_MAX {
            files.push(file);
        }
    }
    files
}

/// Files of one question.
#[derive(Default)]
pub(crate) struct Shown {
    parts: HashMap<FileRef, Part>,
    octets: usize,
}

impl Shown {
    /// Adds a file if there is room and the model takes it.
    pub fn add(&mut self, file: FileRef, name: &str, content: Vec<u8>, takes: &Capabilities) {
        let Ok(kind) = look(&content, takes) else { return };
        if self.octets + content.len() > OCTETS_MAX {
            return;
        }
        self.octets += content.len();
        let bytes = content.into();
        let part = match kind {
            Kind::Image(media_type) => Part::Image { media_type: media_type.to_owned(), bytes },
            Kind::Pdf => Part::Document {
                media_type: "application/pdf".to_owned(),
                name: inline(name).trim_matches('"').to_owned(),
                bytes,
            },
        };
        self.parts.insert(file, part);
    }

    /// A file with the line that says what it is.
    pub fn parts_of(&self, file: FileRef) -> Vec<Part> {
        let mut text = String::new();
        let which = format!("message {} part {}", file.message, file.part);
        match self.parts.get(&file) {
            Some(part) => {
                line(&mut text, &[&which, "this is the file; nobody vouches for what it shows"]);
                vec![Part::Text(text), part.clone()]
            }
            None => {
                line(
                    &mut text,
                    &[&which, "the file is not shown: it cannot be, or others take its room"],
                );
                vec![Part::Text(text)]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Capabilities = Capabilities { context: 8_000, images: true, documents: true };

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        png.extend(width.to_be_bytes());
        png.extend(height.to_be_bytes());
        png
    }

    #[test]
    fn a_file_is_what_its_octets_say() {
        assert_eq!(look(&png(640, 480), &ALL), Ok(Kind::Image("image/png")));
        assert_eq!(look(b"%PDF-1.7\n", &ALL), Ok(Kind::Pdf));
        assert_eq!(look(b"RIFF\0\0\0\0WEBPVP8 ", &ALL), Ok(Kind::Image("image/webp")));
        assert!(look(b"MZ\x90\0", &ALL).is_err());
        let none = Capabilities { images: false, documents: false, ..ALL };
        assert_eq!(look(&png(1, 1), &none), Err("this model takes no pictures"));
        assert_eq!(look(b"%PDF-1.7", &none), Err("this model takes no PDF"));
    }

    #[test]
    fn a_picture_that_a_provider_refuses_is_not_sent() {
        assert!(look(&png(8_001, 10), &ALL).is_err());
        let mut large = png(10, 10);
        large.resize(IMAGE_MAX + 1, 0);
        assert_eq!(look(&large, &ALL), Err("the picture is too large"));
        let gif = b"GIF89a\x41\x1f\x01\0";
        assert_eq!(sides(gif), Some((8_001, 1)));
        let jpeg = b"\xff\xd8\xff\xe0\0\x04ab\xff\xc0\0\x0b\x08\0\x10\x1f\x41\x01";
        assert_eq!(sides(jpeg), Some((8_001, 16)));
        // A file that breaks off, or whose segments lead nowhere.
        assert_eq!(sides(b"\xff\xd8\xff\xe0\0\x04ab"), None);
        assert_eq!(sides(&png(1, 1)[..18]), None);
    }

    #[test]
    fn a_question_has_room_for_so_much() {
        let mut shown = Shown::default();
        let file = |part| FileRef { message: 1, part };
        for part in 0..5 {
            let mut large = png(10, 10);
            large.resize(IMAGE_MAX, 0);
            shown.add(file(part), "a.png", large, &ALL);
        }
        assert_eq!(shown.parts.len(), 4);
        assert_eq!(shown.parts_of(file(0)).len(), 2);
        let Part::Text(said) = &shown.parts_of(file(4))[0] else { panic!("a line of ours") };
        assert!(said.contains("is not shown"), "{said}");
    }
}
