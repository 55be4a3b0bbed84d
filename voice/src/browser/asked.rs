//! What a client may ask, read from its text frames.

use super::Features;
use serde_json::Value;
use std::fmt;

/// A client's message.
#[derive(Clone, PartialEq)]
pub enum Asked {
    /// The first message of a client: what it can do beyond version 1.
    Hello {
        /// Additions it named.
        features: Features,
    },
    /// Start a call.
    Start(StartCall),
    /// End it.
    End,
    /// Be quiet; with the position where the client follows playback.
    Interrupt(Option<Position>),
    /// Words that were typed.
    Text(String),
    /// How far a reply was played.
    Played(Position),
    /// Go on with a call after the connection dropped.
    Resume {
        /// What [`super::reply::call_started`] gave.
        token: String,
        /// The last that was heard.
        heard: Position,
        /// The last that arrived.
        received: Position,
    },
    /// Go on with text outside of calls after the connection dropped.
    ResumeText {
        /// What [`super::reply::text_started`] gave.
        token: String,
        /// The number of the last message that arrived; 0 for none.
        at: u64,
    },
    /// Answer this.
    Ping(u64),
    /// Speak at so many times the normal speed.
    Pace(f32),
    /// A notice's button was pressed.
    NoticeAction(String),
    /// The client's own detection, which decides nothing here.
    SpeechHint,
    /// A message of the application, for the agent.
    Custom(Value),
    /// A message of the protocol that lacks something it needs.
    Malformed(&'static str),
}

/// What a call's start may choose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StartCall {
    /// A BCP 47 tag.
    pub language: Option<String>,
    /// A transcriber by name.
    pub stt: Option<String>,
    /// A synthesiser by name.
    pub tts: Option<String>,
}

/// So many samples of a reply, at the rate of `audio_config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// The reply; 0 for none.
    pub generation: u32,
    /// Samples from its first.
    pub samples: u64,
}

impl Asked {
    /// Reads a text frame; nothing where it is not a JSON object.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let fields = value.as_object()?;
        let word = |key: &str| fields.get(key).and_then(Value::as_str);
        Some(match word("type") {
            Some("hello") => {
                let names = fields.get("features").and_then(Value::as_array);
                let names = names.into_iter().flatten().filter_map(Value::as_str);
                Self::Hello { features: Features::named(names) }
            }
            Some("start_call") => {
                let choice = |key| word(key).filter(|w| !w.is_empty()).map(str::to_owned);
                Self::Start(StartCall {
                    language: choice("language"),
                    stt: choice("stt"),
                    tts: choice("tts"),
                })
            }
            Some("end_call") => Self::End,
            Some("interrupt") => Self::Interrupt(position(&value)),
            Some("text_message") => match word("text") {
                Some(text) => Self::Text(text.to_owned()),
                None => Self::Malformed("text_message needs a text"),
            },
            Some("playback" | "barge_in_hint") => match position(&value) {
                Some(position) => Self::Played(position),
                None => Self::Malformed("playback needs generation and samples"),
            },
            Some("resume_call") => match word("token") {
                Some(token) => Self::Resume {
                    token: token.to_owned(),
                    heard: fields.get("heard").and_then(position).unwrap_or_default(),
                    received: fields.get("received").and_then(position).unwrap_or_default(),
                },
                None => Self::Malformed("resume_call needs a token"),
            },
            Some("resume_text") => match word("token") {
                Some(token) => Self::ResumeText {
                    token: token.to_owned(),
                    at: fields.get("at").and_then(Value::as_u64).unwrap_or(0),
                },
                None => Self::Malformed("resume_text needs a token"),
            },
            Some("ping") => Self::Ping(fields.get("id").and_then(Value::as_u64).unwrap_or(0)),
            Some("pace") => match fields.get("rate").and_then(Value::as_f64) {
                Some(rate) => Self::Pace(rate as f32),
                None => Self::Malformed("pace needs a rate"),
            },
            Some("notice_action") => match word("id") {
                Some(id) => Self::NoticeAction(id.to_owned()),
                None => Self::Malformed("notice_action needs an id"),
            },
            Some("start_of_speech" | "end_of_speech") => Self::SpeechHint,
            _ => Self::Custom(value),
        })
    }
}

fn position(value: &Value) -> Option<Position> {
    let number = |key: &str| {
        let value = value.get(key)?;
        // JavaScript has one kind of number.
        value.as_u64().or_else(|| value.as_f64().filter(|n| *n >= 0.0).map(|n| n as u64))
    };
    Some(Position {
        generation: u32::try_from(number("generation")?).ok()?,
        samples: number("samples")?,
    })
}

/// Shows what was asked, but nothing that anybody wrote.
impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hello { features } => write!(f, "Hello({features:?})"),
            Self::Start(start) => write!(f, "Start({start:?})"),
            Self::End => f.write_str("End"),
            Self::Interrupt(position) => write!(f, "Interrupt({position:?})"),
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Played(position) => write!(f, "Played({position:?})"),
            Self::Resume { heard, received, .. } => write!(f, "Resume({heard:?}, {received:?})"),
            Self::ResumeText { at, .. } => write!(f, "ResumeText({at})"),
            Self::Ping(id) => write!(f, "Ping({id})"),
            Self::Pace(rate) => write!(f, "Pace({rate})"),
            Self::NoticeAction(id) => write!(f, "NoticeAction({id})"),
            Self::SpeechHint => f.write_str("SpeechHint"),
            Self::Custom(_) => f.write_str("Custom"),
            Self::Malformed(what) => write!(f, "Malformed({what})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_message_is_read() {
        let cases = [
            (r#"{"type":"end_call"}"#, Asked::End),
            (r#"{"type":"interrupt"}"#, Asked::Interrupt(None)),
            (
                r#"{"type":"interrupt","generation":2,"samples":10.0,"received":20}"#,
                Asked::Interrupt(Some(Position { generation: 2, samples: 10 })),
            ),
            (r#"{"type":"text_message","text":"hi"}"#, Asked::Text("hi".into())),
            (
                r#"{"type":"playback","state":"playing","generation":4,"samples":22050,"received":27500}"#,
                Asked::Played(Position { generation: 4, samples: 22_050 }),
            ),
            (r#"{"type":"ping","id":7}"#, Asked::Ping(7)),
            (
                r#"{"type":"resume_text","token":"t","at":12}"#,
                Asked::ResumeText { token: "t".into(), at: 12 },
            ),
            (r#"{"type":"pace","rate":0.85}"#, Asked::Pace(0.85)),
            (r#"{"type":"start_of_speech"}"#, Asked::SpeechHint),
            (
                r#"{"type":"start_call","preferred_format":"pcm16","stt":"whisper:base.en"}"#,
                Asked::Start(StartCall {
                    stt: Some("whisper:base.en".into()),
                    ..Default::default()
                }),
            ),
            (
                r#"{"type":"resume_call","token":"t","heard":{"generation":4,"samples":9}}"#,
                Asked::Resume {
                    token: "t".into(),
                    heard: Position { generation: 4, samples: 9 },
                    received: Position::default(),
                },
            ),
        ];
        for (text, asked) in cases {
            assert_eq!(Asked::read(text), Some(asked), "{text}");
        }
        let Some(Asked::Hello { features }) = Asked::read(
            r#"{"type":"hello","protocol_version":1,"features":["playback","telepathy",7]}"#,
        ) else {
            panic!("hello")
        };
        assert_eq!(features, Features { playback: true, ..Features::default() });
    }

    #[test]
    fn what_is_not_ours_is_the_applications_and_what_is_broken_says_so() {
        assert!(matches!(Asked::read(r#"{"type":"cart","n":1}"#), Some(Asked::Custom(_))));
        assert!(matches!(Asked::read(r#"{"n":1}"#), Some(Asked::Custom(_))));
        assert!(matches!(Asked::read(r#"{"type":"text_message"}"#), Some(Asked::Malformed(_))));
        assert!(matches!(
            Asked::read(r#"{"type":"playback","generation":-1,"samples":0}"#),
            Some(Asked::Malformed(_))
        ));
        assert_eq!(Asked::read("[1]"), None);
        assert_eq!(Asked::read("{"), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,200}") {
            let _ = Asked::read(&text);
        }
    }
}
