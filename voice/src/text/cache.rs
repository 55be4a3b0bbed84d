//! The name under which the audio of a sentence is kept, so that greetings, fillers and
//! confirmations are synthesised once.
//!
//! What always holds: the key is a function of everything the sound depends on and of nothing else,
//! and two different utterances never share one (SHA-256 over fields with their lengths). It stays the
//! same across machines and releases until [`VERSION`] changes. Left out: the files.

use std::fmt;

use sha2::{Digest, Sha256};

/// Part of every key; raise it when the meaning of a field or the stored format changes, so that old
/// audio is not found.
const VERSION: &[u8] = b"frontdesk speech 1";

/// Everything the sound of a sentence depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Utterance<'a> {
    /// The engine and its model, as configured: `flite`, `openai:tts-1`.
    pub engine: &'a str,
    /// The voice within the engine: `slt`.
    pub voice: &'a str,
    /// The sample rate of the stored audio, in hertz.
    pub rate_hz: u32,
    /// How fast it is spoken, in percent of the voice's own pace.
    pub pace_percent: u16,
    /// The spoken text, as [`Normaliser::speak`](super::Normaliser::speak) returns it.
    pub text: &'a str,
}

impl Utterance<'_> {
    /// The key of this utterance's audio.
    pub fn key(&self) -> CacheKey {
        let mut hash = Sha256::new();
        hash.update(VERSION);
        for field in [self.engine, self.voice, self.text] {
            // The length keeps "ab" + "c" apart from "a" + "bc".
            hash.update((field.len() as u64).to_be_bytes());
            hash.update(field);
        }
        hash.update(self.rate_hz.to_be_bytes());
        hash.update(self.pace_percent.to_be_bytes());
        CacheKey(hash.finalize().into())
    }
}

/// The name of a piece of audio. Displayed as 64 hexadecimal digits, fit for a file name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheKey([u8; 32]);

impl CacheKey {
    /// The bytes of the key.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CacheKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const GREETING: Utterance<'_> = Utterance {
        engine: "flite",
        voice: "slt",
        rate_hz: 16_000,
        pace_percent: 100,
        text: "Hello.",
    };

    #[test]
    fn every_field_changes_the_key() {
        let keys: HashSet<CacheKey> = [
            GREETING,
            Utterance { engine: "espeak", ..GREETING },
            Utterance { voice: "kal16", ..GREETING },
            Utterance { rate_hz: 8000, ..GREETING },
            Utterance { pace_percent: 80, ..GREETING },
            Utterance { text: "Hello!", ..GREETING },
            Utterance { engine: "flites", voice: "lt", ..GREETING },
        ]
        .iter()
        .map(Utterance::key)
        .collect();
        assert_eq!(keys.len(), 7);
    }

    #[test]
    fn a_key_is_stable_and_fit_for_a_file_name() {
        let name = GREETING.key().to_string();
        assert_eq!(name, KNOWN);
        assert!(name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    /// Computed apart from this code, from the layout described above.
    const KNOWN: &str = "6993229a61b58aab3cfb1a49b5ccf66674c392afd572331896a1bb7ff8a603b8";
}
