//! Sound in: one rate for the transcriber, windows for the voice detector.

use super::Ms;
use crate::audio::{
    Activity, Frame, Framer, LevelMeter, Pcm, Rate, Resampler, SpeechScore, VAD_WINDOW, Vad,
    VadConfig,
};

/// What the ear passes on, in the order of the sound.
pub(super) enum Heard {
    /// 20 ms for the transcriber.
    Frame(Frame),
    /// Speech began or paused.
    Change(Activity),
}

/// The rate of transcribers and of the voice detector.
const RATE: Rate = Rate::Hz16000;

/// Listens to one caller. Holds less than a frame between calls.
pub(super) struct Ear {
    resampler: Resampler,
    frames: Framer,
    windows: Framer,
    scorer: Box<dyn SpeechScore>,
    vad: Vad,
    level: LevelMeter,
    /// Work space, kept to be allocated once.
    wide: Vec<i16>,
    /// When sound last came.
    last_sound: Ms,
}

impl Ear {
    pub fn new(config: VadConfig, scorer: Box<dyn SpeechScore>) -> Self {
        Self {
            resampler: Resampler::new(RATE, RATE),
            frames: Framer::new(RATE.frame_len()),
            windows: Framer::new(VAD_WINDOW),
            scorer,
            vad: Vad::new(config),
            level: LevelMeter::new(),
            wide: Vec::new(),
            last_sound: 0,
        }
    }

    /// Takes up to a second of sound. `playing` says whether the agent can be heard meanwhile.
    pub fn push(&mut self, now: Ms, sound: &Pcm, playing: bool, mut each: impl FnMut(Heard)) {
        if sound.rate != self.resampler.from() {
            self.resampler = Resampler::new(sound.rate, RATE);
        }
        self.last_sound = now;
        let most = sound.samples.len().min(sound.rate.hz() as usize);
        self.wide.clear();
        self.resampler.push(&sound.samples[..most], &mut self.wide);

        let Self { frames, windows, scorer, vad, level, wide, .. } = self;
        frames.push(wide, |frame| {
            level.push(frame);
            if let Ok(frame) = Frame::new(RATE, frame.to_vec()) {
                each(Heard::Frame(frame));
            }
            windows.push(frame, |window| {
                let Ok(window) = window.try_into() else { return };
                if let Some(change) = vad.push(scorer.score(window), playing) {
                    each(Heard::Change(change));
                }
            });
        });
    }

    /// Whether speech is being heard.
    pub fn speaking(&self) -> bool {
        self.vad.speaking()
    }

    /// When speech counts as over because no more sound comes.
    pub fn muted_deadline(&self, after: Ms) -> Option<Ms> {
        self.speaking().then(|| self.last_sound + after)
    }

    /// No more sound comes.
    pub fn stop(&mut self) -> Option<Activity> {
        self.vad.stop()
    }

    /// The caller's level in decibels below full scale.
    pub fn dbfs(&self) -> f64 {
        self.level.dbfs()
    }
}
