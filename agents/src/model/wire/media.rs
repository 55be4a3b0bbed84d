//! Images and documents: sent where the model takes them, else a text that says what was there.

use crate::model::{Capabilities, Part};
use std::borrow::Cow;

/// Images that both protocols take.
const IMAGES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];
/// Largest image and largest document that is sent, before base64: Anthropic's 5 MB per image and 32 MB per
/// request, the latter less a third for base64 and some for the rest.
const IMAGE_MAX: usize = 5_000_000;
const DOCUMENT_MAX: usize = 22_000_000;

/// What becomes of a part.
#[derive(Debug, PartialEq)]
pub(super) enum Medium<'a> {
    Image {
        media_type: &'a str,
        bytes: &'a [u8],
    },
    Pdf {
        name: &'a str,
        bytes: &'a [u8],
    },
    /// What a text document says, or what stands for something that cannot be sent.
    Text(Cow<'a, str>),
}

/// What becomes of `part`, if it is an image or a document.
pub(super) fn medium<'a>(part: &'a Part, takes: &Capabilities) -> Option<Medium<'a>> {
    match part {
        Part::Image { media_type, bytes } => {
            let known = IMAGES.contains(&media_type.as_str());
            Some(if takes.images && known && bytes.len() <= IMAGE_MAX {
                Medium::Image { media_type, bytes }
            } else {
                let why = if !takes.images {
                    "this model takes no images"
                } else if !known {
                    "this model takes no images of this type"
                } else {
                    "it is too large"
                };
                absent("image", media_type, bytes.len(), why)
            })
        }
        Part::Document { media_type, name, bytes } => {
            Some(document(media_type, name, bytes, takes))
        }
        Part::Text(_) | Part::ToolCall(_) | Part::ToolResult(_) => None,
    }
}

fn document<'a>(
    media_type: &'a str,
    name: &'a str,
    bytes: &'a [u8],
    takes: &Capabilities,
) -> Medium<'a> {
    if media_type.starts_with("text/")
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        return Medium::Text(format!("[document {name:?}, {media_type}]\n{text}").into());
    }
    let what = format!("document {name:?}");
    if media_type != "application/pdf" {
        absent(&what, media_type, bytes.len(), "this model takes no documents of this type")
    } else if !takes.documents {
        absent(&what, media_type, bytes.len(), "this model takes no documents")
    } else if bytes.len() > DOCUMENT_MAX {
        absent(&what, media_type, bytes.len(), "it is too large")
    } else {
        Medium::Pdf { name, bytes }
    }
}

fn absent<'a>(what: &str, media_type: &str, size: usize, why: &str) -> Medium<'a> {
    let size = size.div_ceil(1000);
    Medium::Text(format!("[{what}, {media_type}, {size} kB, is not shown: {why}]").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const NOTHING: Capabilities = Capabilities { context: 8_000, images: false, documents: false };
    const ALL: Capabilities = Capabilities { context: 8_000, images: true, documents: true };

    fn image(media_type: &str, size: usize) -> Part {
        Part::Image { media_type: media_type.to_owned(), bytes: vec![0; size].into() }
    }

    fn document(media_type: &str, bytes: &'static [u8]) -> Part {
        Part::Document {
            media_type: media_type.to_owned(),
            name: "a.b".to_owned(),
            bytes: Bytes::from_static(bytes),
        }
    }

    fn text(part: &Part, takes: &Capabilities) -> String {
        match medium(part, takes) {
            Some(Medium::Text(text)) => text.into_owned(),
            other => panic!("{other:?} is not text"),
        }
    }

    #[test]
    fn what_a_model_does_not_take_is_described() {
        assert_eq!(
            text(&image("image/png", 34_000), &NOTHING),
            "[image, image/png, 34 kB, is not shown: this model takes no images]"
        );
        assert!(text(&image("image/tiff", 1), &ALL).ends_with("takes no images of this type]"));
        assert!(text(&image("image/png", IMAGE_MAX + 1), &ALL).ends_with("is too large]"));
        assert_eq!(
            text(&document("application/pdf", b"%PDF"), &NOTHING),
            "[document \"a.b\", application/pdf, 1 kB, is not shown: this model takes no documents]"
        );
        assert!(text(&document("application/zip", b"PK"), &ALL).contains("of this type"));
    }

    #[test]
    fn what_a_model_takes_is_sent_and_text_is_always_text() {
        let png = image("image/png", 3);
        assert!(matches!(medium(&png, &ALL), Some(Medium::Image { .. })));
        let pdf = document("application/pdf", b"%PDF");
        assert!(matches!(medium(&pdf, &ALL), Some(Medium::Pdf { .. })));
        let plain = text(&document("text/plain", b"hello"), &NOTHING);
        assert_eq!(plain, "[document \"a.b\", text/plain]\nhello");
    }
}
