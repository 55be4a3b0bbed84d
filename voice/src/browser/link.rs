//! One connection: what its client offered, and how much it may send.

use super::{Asked, Features, UPLINK};
use crate::{
    audio::Pcm,
    call::{Input, Ms},
};

/// Longest text frame taken, in bytes: a typed message of 16 KiB with escapes, and room.
pub const MAX_TEXT: usize = 64 * 1024;

/// Longest binary frame taken, in bytes: a second of sound.
pub const MAX_SOUND: usize = UPLINK.hz() as usize * 2;

/// Sound that may come ahead of real time, in milliseconds: what a client kept for 2 s while its line was
/// down, a second that the network held back, and a clock that runs 1 % fast for a minute.
const SOUND_AHEAD: Ms = 4_000;

/// Text frames a client may send at once, and then in a second: playback reports come ten a second.
const TEXTS_AT_ONCE: u64 = 100;
const TEXTS_PER_SECOND: u64 = 40;

/// Why a connection is closed: a WebSocket close code that keeps the client from coming back at once, and
/// words for the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// 1008, or 4400 to 4499: final for our client.
    pub code: u16,
    /// At most 123 bytes, the room in a close frame (RFC 6455 section 5.5.1).
    pub reason: &'static str,
}

/// One connection.
#[derive(Debug)]
pub struct Link {
    features: Features,
    /// Sound received, less what real time has used up, in milliseconds.
    sound_ahead: f64,
    texts: f64,
    at: Ms,
}

impl Link {
    /// A connection opened at `now`.
    #[must_use]
    pub fn new(now: Ms) -> Self {
        Self { features: Features::default(), sound_ahead: 0.0, texts: 0.0, at: now }
    }

    /// Additions both sides named.
    #[must_use]
    pub fn features(&self) -> Features {
        self.features
    }

    /// Reads a text frame.
    ///
    /// # Errors
    ///
    /// Where the client sends too much, or no JSON.
    pub fn text(&mut self, now: Ms, text: &str) -> Result<Asked, Refused> {
        self.advance(now);
        self.texts += 1.0;
        if self.texts > TEXTS_AT_ONCE as f64 {
            return Err(Refused { code: 1008, reason: "Too many messages at once." });
        }
        let asked = Asked::read(text)
            .ok_or(Refused { code: 4400, reason: "A message was not a JSON object." })?;
        if let Asked::Hello { features } = &asked {
            self.features = *features;
        }
        Ok(asked)
    }

    /// Reads a frame of sound, for a call.
    ///
    /// # Errors
    ///
    /// Where it is faster than time, or half a sample is left over.
    pub fn sound(&mut self, now: Ms, bytes: &[u8]) -> Result<Input, Refused> {
        self.advance(now);
        self.sound_ahead += bytes.len() as f64 / 2.0 / f64::from(UPLINK.hz()) * 1_000.0;
        if self.sound_ahead > SOUND_AHEAD as f64 {
            return Err(Refused { code: 1008, reason: "Sound came faster than time passes." });
        }
        let sound = Pcm::from_le_bytes(UPLINK, bytes)
            .map_err(|_| Refused { code: 4400, reason: "Sound must be 16-bit samples." })?;
        Ok(Input::Audio { sound })
    }

    fn advance(&mut self, now: Ms) {
        let passed = now.saturating_sub(self.at) as f64;
        self.at = self.at.max(now);
        self.sound_ahead = (self.sound_ahead - passed).max(0.0);
        self.texts = (self.texts - passed * TEXTS_PER_SECOND as f64 / 1_000.0).max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_time_is_taken_for_ever_and_twice_as_fast_is_not() {
        let frame = vec![0; 640];
        let mut link = Link::new(0);
        for n in 0..10_000 {
            link.sound(n * 20, &frame).unwrap();
        }
        let mut fast = Link::new(0);
        let refused = (0..1_000).find_map(|n| fast.sound(n * 10, &frame).err().map(|e| (n, e)));
        let (frames, refused) = refused.unwrap();
        assert_eq!(refused.code, 1008);
        let ahead = frames * 10;
        assert!((SOUND_AHEAD - 20..=SOUND_AHEAD).contains(&ahead), "{ahead} ms were taken ahead");
    }

    #[test]
    fn reports_ten_times_a_second_are_welcome_and_a_flood_is_not() {
        let report = r#"{"type":"playback","generation":1,"samples":1}"#;
        let mut link = Link::new(0);
        for n in 0..1_000 {
            link.text(n * 100, report).unwrap();
        }
        let mut flood = Link::new(0);
        let taken = (0..1_000).take_while(|_| flood.text(0, report).is_ok()).count();
        assert_eq!(taken as u64, TEXTS_AT_ONCE);
    }

    #[test]
    fn broken_frames_close_the_connection_with_a_reason() {
        let mut link = Link::new(0);
        assert_eq!(link.text(0, "nonsense").unwrap_err().code, 4400);
        assert_eq!(link.sound(0, &[1, 2, 3]).unwrap_err().code, 4400);
    }
}
