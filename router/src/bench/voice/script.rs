//! What the callers of the benchmark say, and when.
//!
//! Every caller plays the same mu-law frames from the beginning of its own call, so what voice detection makes
//! of them is known beforehand: in which frame each pause is noticed. That ties what the recogniser was told
//! to the very frame that caused it.

use anyhow::{Context as _, ensure};
use data_encoding::BASE64;
use frontdesk_voice::audio::{
    Activity, Earshot, Framer, Rate, Resampler, SpeechScore as _, VAD_WINDOW, Vad, VadConfig,
    g711::Law,
};

/// "I would like two tickets for tomorrow, please.", made by a synthesiser. Raw mu-law at 8 kHz.
const SPEECH: &[u8] = include_bytes!("../../../../voice/tests/audio/tickets.ulaw");

/// Mu-law bytes of a Twilio frame: 20 ms.
pub(super) const FRAME: usize = 160;

/// Frames in a second.
pub(super) const FRAMES_PER_SECOND: usize = 50;

/// How long a caller listens before speaking first: the greeting is over by then.
const LEAD_FRAMES: usize = 100;

/// From one beginning of speech to the next: 1.2 s of speech, 0.2 s until the pause is noticed, the recogniser's
/// time, an answer of a second, and room for a late one.
pub(super) const PERIOD_FRAMES: usize = 170;

/// So much of the sentence is said; it has no pause in it.
const SPOKEN: usize = 60 * FRAME;

/// A sample as loud as this is speech: 40 dB below full scale.
const LOUD: u16 = 328;

/// Silence in mu-law.
const SILENCE: u8 = 0xff;

/// A caller's part.
#[derive(Debug)]
pub(super) struct Script {
    /// What is in each frame, as Twilio writes it.
    pub frames: Vec<String>,
    /// The frames with the first sample of speech of each utterance.
    pub onsets: Vec<usize>,
    /// The frames in which it is noticed that an utterance paused.
    pub pauses: Vec<usize>,
}

impl Script {
    /// A caller who says something `utterances` times.
    ///
    /// # Errors
    ///
    /// Where voice detection does not hear just that.
    pub(super) fn talking(utterances: usize) -> anyhow::Result<Self> {
        let speech = speech()?;
        let frames = LEAD_FRAMES + utterances * PERIOD_FRAMES;
        let mut sound = vec![SILENCE; frames * FRAME];
        let mut onsets = Vec::new();
        for number in 0..utterances {
            // Speech begins anywhere in a frame, and so anywhere in a window of the detector.
            let at = (LEAD_FRAMES + number * PERIOD_FRAMES) * FRAME + number * 37 % FRAME;
            sound[at..at + speech.len()].copy_from_slice(speech);
            onsets.push(at / FRAME);
        }
        let pauses = pauses(&sound);
        ensure!(
            pauses.len() == utterances,
            "voice detection hears {} pauses in {utterances} utterances",
            pauses.len()
        );
        let frames = sound.chunks(FRAME).map(|frame| BASE64.encode(frame)).collect();
        Ok(Self { frames, onsets, pauses })
    }

    /// A caller who says nothing for so many frames.
    pub(super) fn silent(frames: usize) -> Self {
        let frame = BASE64.encode(&[SILENCE; FRAME]);
        Self { frames: vec![frame; frames], onsets: Vec::new(), pauses: Vec::new() }
    }
}

/// The part of the recording that is said, from its first loud sample on.
fn speech() -> anyhow::Result<&'static [u8]> {
    let onset = SPEECH.iter().position(|code| Law::Mu.decode(*code).unsigned_abs() >= LOUD);
    let onset = onset.context("the recording is silent")?;
    SPEECH.get(onset..onset + SPOKEN).context("the recording is too short")
}

/// The frames in which a call notices that speech paused.
fn pauses(sound: &[u8]) -> Vec<usize> {
    let mut up = Resampler::new(Rate::Hz8000, Rate::Hz16000);
    let mut frames = Framer::new(Rate::Hz16000.frame_len());
    let mut windows = Framer::new(VAD_WINDOW);
    let (mut scorer, mut vad) = (Earshot::default(), Vad::new(VadConfig::default()));
    let (mut narrow, mut wide, mut pauses) = (Vec::new(), Vec::new(), Vec::new());
    for (number, codes) in sound.chunks(FRAME).enumerate() {
        narrow.clear();
        wide.clear();
        Law::Mu.decode_all(codes, &mut narrow);
        up.push(&narrow, &mut wide);
        frames.push(&wide, |frame| {
            windows.push(frame, |window| {
                let Ok(window) = window.try_into() else { return };
                let change = vad.push(scorer.score(window), false);
                if matches!(change, Some(Activity::Ended { .. })) {
                    pauses.push(number);
                }
            });
        });
    }
    pauses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_utterance_is_one_stretch_of_speech_and_its_pause_is_where_it_must_be() {
        let script = Script::talking(6).unwrap();
        assert_eq!(script.frames.len(), LEAD_FRAMES + 6 * PERIOD_FRAMES);
        for (onset, pause) in script.onsets.iter().zip(&script.pauses) {
            // 60 frames of speech, and 200 ms of quiet that scores need up to 140 ms to fall to.
            assert!((65..=80).contains(&(pause - onset)), "{onset} to {pause}");
        }
        assert!(Script::silent(10).frames.iter().all(|frame| *frame == script.frames[0]));
    }
}
