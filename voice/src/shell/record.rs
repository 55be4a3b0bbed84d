//! A call as a file: the caller left, the agent right, 16-bit WAV at the playout rate.
//!
//! A thread of its own writes, behind a channel that never makes the call wait: a disk that cannot keep
//! up costs the recording, which then ends there and says so, and never the call.

use crate::{
    audio::{Channel, Frame, Pcm, Rate, Resampler, StereoMixer, wav},
    call::Ms,
};
use std::{
    fs::File,
    io::{self, BufWriter, Seek as _, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
};

/// How much stays open for corrections: an interruption takes back what the client had not played, at
/// most its lead.
const OPEN: Ms = 2_000;

/// How often what is final goes to the file.
const DRAIN_EVERY: Ms = 1_000;

/// Pieces that may wait for the disk: a minute.
const PIECES: usize = 60;

/// A finished recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// The file, which is whoever gets this to keep or remove.
    pub path: PathBuf,
    /// Samples in a second, per side.
    pub rate: u32,
    /// How long it lasts, in milliseconds.
    pub duration: Ms,
}

pub(super) struct Recorder {
    path: PathBuf,
    rate: Rate,
    mixer: StereoMixer,
    from_caller: Resampler,
    /// The time of the call at which the recording begins.
    began: Option<Ms>,
    /// Where the caller's next sound goes; sound follows sound unless time says otherwise.
    caller_at: u64,
    drained: Ms,
    pieces: Option<SyncSender<Vec<i16>>>,
    writer: Option<tokio::task::JoinHandle<io::Result<u64>>>,
    samples: Vec<i16>,
}

/// How far the caller's sound may be from where its arrival says before it is placed anew: jitter is less.
const DRIFT: Ms = 200;

impl Recorder {
    pub fn start(path: PathBuf, rate: Rate) -> Self {
        let (pieces, from) = sync_channel(PIECES);
        let file = path.clone();
        Self {
            mixer: StereoMixer::new(rate.samples(OPEN + DRAIN_EVERY) as usize),
            from_caller: Resampler::new(rate, rate),
            began: None,
            caller_at: 0,
            drained: 0,
            pieces: Some(pieces),
            writer: Some(tokio::task::spawn_blocking(move || write(&file, rate, &from))),
            samples: Vec::new(),
            path,
            rate,
        }
    }

    /// The call is answered: time 0 of the recording.
    pub fn begin(&mut self, now: Ms) {
        self.began.get_or_insert(now);
        self.drained = now;
    }

    fn position(&self, at: Ms) -> Option<u64> {
        self.began.map(|began| self.rate.samples(at.saturating_sub(began)))
    }

    /// Sound of the caller that has just come.
    pub fn caller(&mut self, now: Ms, sound: &Pcm) {
        let Some(arrival) = self.position(now) else { return };
        if self.from_caller.from() != sound.rate {
            self.from_caller = Resampler::new(sound.rate, self.rate);
        }
        let mut wide = std::mem::take(&mut self.samples);
        wide.clear();
        self.from_caller.push(&sound.samples, &mut wide);
        let start = arrival.saturating_sub(wide.len() as u64);
        if self.caller_at.abs_diff(start) > self.rate.samples(DRIFT) {
            self.caller_at = start;
        }
        let mut out = Vec::new();
        self.mixer.put(Channel::Left, self.caller_at, &wide, &mut out);
        self.caller_at += wide.len() as u64;
        self.samples = wide;
        self.give(out);
        self.drain(now);
    }

    /// Sound of the agent that will be heard at `play_at`.
    pub fn agent(&mut self, play_at: Ms, frame: &Frame) {
        let Some(position) = self.position(play_at) else { return };
        let mut out = Vec::new();
        self.mixer.put(Channel::Right, position, frame.samples(), &mut out);
        self.give(out);
    }

    /// What the agent would have said from now on is not heard.
    pub fn cut(&mut self, now: Ms) {
        if let Some(position) = self.position(now) {
            self.mixer.cut(Channel::Right, position);
        }
    }

    fn drain(&mut self, now: Ms) {
        if now < self.drained + DRAIN_EVERY + OPEN {
            return;
        }
        self.drained = now - OPEN;
        if let Some(position) = self.position(self.drained) {
            let mut out = Vec::new();
            self.mixer.drain(position, &mut out);
            self.give(out);
        }
    }

    fn give(&mut self, samples: Vec<i16>) {
        if samples.is_empty() {
            return;
        }
        if let Some(pieces) = &self.pieces {
            match pieces.try_send(samples) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => {
                    tracing::warn!(path = %self.path.display(), "the disk is too slow for a recording, which ends here");
                    self.pieces = None;
                }
                // The writer says why when it is asked.
                Err(TrySendError::Disconnected(_)) => self.pieces = None,
            }
        }
    }

    /// Writes the rest. Nothing comes back where there is no recording to keep.
    pub async fn finish(mut self, now: Ms) -> Option<Recording> {
        if let Some(position) = self.position(now) {
            let mut out = Vec::new();
            self.mixer.drain(position, &mut out);
            self.give(out);
        }
        self.pieces = None;
        let written = match self.writer.take()?.await {
            Ok(Ok(written)) => written,
            Ok(Err(error)) => {
                tracing::error!(path = %self.path.display(), %error, "a recording could not be written");
                0
            }
            Err(error) => {
                tracing::error!(path = %self.path.display(), %error, "a recording broke off");
                0
            }
        };
        if written == 0 {
            let _ = std::fs::remove_file(&self.path);
            return None;
        }
        let duration = self.rate.ms(written);
        Some(Recording { path: self.path, rate: self.rate.hz(), duration })
    }
}

/// Writes pieces until there are no more; gives the samples per side.
fn write(path: &Path, rate: Rate, pieces: &Receiver<Vec<i16>>) -> io::Result<u64> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = File::options();
    // What somebody said is for the owner of the data alone.
    let file = options.write(true).create_new(true).mode(0o600).open(path)?;
    let mut file = BufWriter::new(file);
    file.write_all(&wav::header_of(rate.hz(), 2, 0))?;
    let mut samples = 0u64;
    while let Ok(piece) = pieces.recv() {
        samples += piece.len() as u64;
        let bytes: Vec<u8> = piece.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        file.write_all(&bytes)?;
    }
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&wav::header_of(rate.hz(), 2, samples))?;
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(samples / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_sides_stand_where_they_were_heard_and_what_was_cut_is_silence() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("call.wav");
        let rate = Rate::Hz8000;
        let mut recorder = Recorder::start(path.clone(), rate);
        recorder.begin(1_000);
        let loud = |value| Frame::new(rate, vec![value; 160]).unwrap();
        // The caller for 100 ms from the beginning, in 20 ms pieces that come when they are over.
        for n in 1..=5 {
            recorder.caller(1_000 + n * 20, &Pcm::new(rate, vec![7; 160]));
        }
        // The agent from 200 to 300 ms, told ahead; cut at 240.
        for n in 0..5 {
            recorder.agent(1_200 + n * 20, &loud(9));
        }
        recorder.cut(1_240);
        let recording = recorder.finish(1_500).await.unwrap();
        assert_eq!(recording, Recording { path: path.clone(), rate: 8_000, duration: 500 });
        let bytes = std::fs::read(path).unwrap();
        assert_eq!(&bytes[..4], b"RIFF");
        assert_eq!(bytes.len(), wav::HEADER + 4_000 * 4);
        let samples: Vec<i16> = bytes[wav::HEADER..]
            .as_chunks::<2>()
            .0
            .iter()
            .map(|pair| i16::from_le_bytes(*pair))
            .collect();
        let side = |side: usize| samples.iter().skip(side).step_by(2).copied().collect::<Vec<_>>();
        assert_eq!(side(0).iter().filter(|s| **s == 7).count(), 800);
        assert!(side(0)[..800].iter().all(|s| *s == 7));
        let right = side(1);
        assert!(right[1_600..1_920].iter().all(|s| *s == 9));
        assert_eq!(right.iter().filter(|s| **s == 9).count(), 320);
    }

    #[tokio::test]
    async fn a_call_that_was_never_answered_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("call.wav");
        let recorder = Recorder::start(path.clone(), Rate::Hz16000);
        assert_eq!(recorder.finish(100).await, None);
        assert!(!path.exists());
    }
}
