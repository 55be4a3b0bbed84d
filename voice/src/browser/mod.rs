//! What is said on a browser's WebSocket: version 1 of the `agents/voice` protocol, and the additions of
//! `inbox-ui/client/PROTOCOL.md`.
//!
//! - [`Asked`]: what a client may ask, read from text frames;
//! - [`Link`]: one connection: what it offered, and how much it may send;
//! - [`View`]: one call as its client sees it, which outlives a dropped connection;
//! - [`reply`]: the server's messages.
//!
//! What always holds: no addition is used that both sides did not name; a client that names none is
//! served exactly as version 1 says; nothing a client sends makes this panic, and what it may make us
//! keep is bounded. Sans-IO: time is an argument, and frames go in and out as values.

mod asked;
mod link;
pub mod reply;
mod view;

pub use asked::{Asked, Position, StartCall};
pub use link::{Link, MAX_SOUND, MAX_TEXT, Refused};
pub use view::View;

use crate::audio::Rate;

/// How long text outside of calls waits for its page after a drop.
pub const RESUME_TEXT_WITHIN_MS: u64 = 120_000;

/// Sound from the client: signed 16 bit, little endian, one channel, at this rate.
pub const UPLINK: Rate = Rate::Hz16000;

/// A frame for the client.
#[derive(Debug, Clone, PartialEq)]
pub enum Wire {
    /// JSON.
    Text(String),
    /// Sound.
    Binary(Vec<u8>),
}

/// Additions to version 1, as both sides name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// Reports of what was played; numbered replies.
    pub playback: bool,
    /// A dropped call can go on.
    pub resume: bool,
    /// `ping` is answered.
    pub ping: bool,
    /// The caller may ask for slower speech.
    pub pace: bool,
    /// Things to show, with a button perhaps.
    pub notice: bool,
    /// The microphone in 20 ms frames.
    pub short_frames: bool,
    /// Text outside of calls goes on after a dropped connection.
    pub resume_text: bool,
}

impl Features {
    /// What this server offers.
    pub const OFFERED: [&'static str; 7] =
        ["frames-20ms", "playback", "resume", "ping", "pace", "notice", "resume-text"];

    fn named<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut features = Self::default();
        for name in names {
            match name {
                "playback" => features.playback = true,
                "resume" => features.resume = true,
                "ping" => features.ping = true,
                "pace" => features.pace = true,
                "notice" => features.notice = true,
                "frames-20ms" => features.short_frames = true,
                "resume-text" => features.resume_text = true,
                _ => {}
            }
        }
        features
    }
}
