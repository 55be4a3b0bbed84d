//! When speech begins and ends.

use frontdesk_voice::audio::g711::Law;
use frontdesk_voice::audio::{
    Activity, Earshot, Framer, Rate, Resampler, SpeechScore, VAD_WINDOW, Vad, VadConfig,
};
use proptest::prelude::*;

/// Feeds scores and notes changes with the number of the window.
fn run(scores: &[f32], playing: bool) -> Vec<(usize, Activity)> {
    let mut vad = Vad::new(VadConfig { ignore_ms: 0, ..VadConfig::default() });
    scores
        .iter()
        .enumerate()
        .filter_map(|(n, score)| vad.push(*score, playing).map(|activity| (n, activity)))
        .collect()
}

fn scores(runs: &[(usize, f32)]) -> Vec<f32> {
    runs.iter().flat_map(|(count, score)| std::iter::repeat_n(*score, *count)).collect()
}

#[test]
fn speech_begins_after_three_windows_and_names_its_onset() {
    let changes = run(&scores(&[(10, 0.1), (20, 0.9)]), false);
    assert_eq!(changes, [(12, Activity::Started { ago_ms: 48 })]);
}

#[test]
fn speech_ends_200_ms_after_the_last_of_it_and_names_that_moment() {
    let changes = run(&scores(&[(10, 0.9), (30, 0.1)]), false);
    assert_eq!(changes[1], (22, Activity::Ended { ago_ms: 208 }));
}

#[test]
fn a_click_is_not_speech() {
    assert!(
        run(&scores(&[(10, 0.1), (2, 0.95), (10, 0.1), (2, 0.95), (10, 0.1)]), false).is_empty()
    );
}

#[test]
fn a_dip_between_syllables_does_not_end_speech() {
    let changes = run(&scores(&[(10, 0.9), (11, 0.1), (10, 0.9)]), false);
    assert_eq!(changes.len(), 1);
}

#[test]
fn scores_between_the_thresholds_keep_what_is() {
    assert!(run(&scores(&[(50, 0.5)]), false).is_empty());
    assert_eq!(run(&scores(&[(10, 0.9), (50, 0.5)]), false).len(), 1);
}

#[test]
fn the_threshold_is_raised_while_the_agent_can_be_heard() {
    let echo = scores(&[(100, 0.57)]);
    assert_eq!(run(&echo, false).len(), 1);
    assert!(run(&echo, true).is_empty());
    let caller = run(&scores(&[(100, 0.9)]), true);
    assert_eq!(caller, [(1, Activity::Started { ago_ms: 32 })]);
}

#[test]
fn the_first_300_ms_are_ignored() {
    let mut vad = Vad::new(VadConfig::default());
    let first = (0..100).find(|_| vad.push(0.9, false).is_some());
    // 19 windows are 304 ms; three more begin speech.
    assert_eq!(first, Some(21));
}

#[test]
fn a_muted_microphone_ends_speech_at_once() {
    let mut vad = Vad::new(VadConfig { ignore_ms: 0, ..VadConfig::default() });
    assert_eq!(vad.stop(), None);
    for _ in 0..5 {
        vad.push(0.9, false);
    }
    assert_eq!(vad.stop(), Some(Activity::Ended { ago_ms: 0 }));
    assert_eq!(vad.stop(), None);
}

proptest! {
    #[test]
    fn starts_and_ends_alternate_whatever_the_scores(
        scores in prop::collection::vec(prop_oneof![Just(f32::NAN), -1.0f32..2.0], 0..400),
        playing in any::<bool>(),
    ) {
        let mut speaking = false;
        for (_, change) in run(&scores, playing) {
            prop_assert_eq!(matches!(change, Activity::Started { .. }), !speaking);
            speaking = !speaking;
        }
    }
}

/// Two seconds of speech from the telephone, as the detector gets it.
fn speech() -> Vec<i16> {
    let (mut narrow, mut wide) = (Vec::new(), Vec::new());
    Law::Mu.decode_all(include_bytes!("audio/tickets.ulaw"), &mut narrow);
    let mut resampler = Resampler::new(Rate::Hz8000, Rate::Hz16000);
    resampler.push(&narrow, &mut wide);
    resampler.finish(&mut wide);
    wide
}

fn noise(seconds: f64, amplitude: i32) -> Vec<i16> {
    let mut seed = 1u32;
    (0..(16_000.0 * seconds) as usize)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((seed >> 16) as i32 % (2 * amplitude + 1) - amplitude) as i16
        })
        .collect()
}

/// Changes in milliseconds of the sound, as the detector in use hears them.
fn hear(sound: &[i16]) -> Vec<(bool, u64)> {
    let (mut scorer, mut vad) = (Earshot::default(), Vad::new(VadConfig::default()));
    let (mut framer, mut count, mut changes) = (Framer::new(VAD_WINDOW), 0u64, Vec::new());
    framer.push(sound, |window| {
        count += 1;
        let score = scorer.score(window.try_into().expect("windows have their length"));
        match vad.push(score, false) {
            Some(Activity::Started { ago_ms }) => changes.push((true, count * 16 - ago_ms)),
            Some(Activity::Ended { ago_ms }) => changes.push((false, count * 16 - ago_ms)),
            None => {}
        }
    });
    changes
}

#[test]
fn the_detector_finds_telephone_speech_between_noise() {
    let sound = [noise(1.5, 150), speech(), noise(1.5, 150)].concat();
    let changes = hear(&sound);
    println!("{changes:?}");
    let (start, end) = (changes.first().unwrap(), changes.last().unwrap());
    assert!(start.0 && (1_650..1_850).contains(&start.1), "{changes:?}");
    assert!(!end.0 && (4_150..4_650).contains(&end.1), "{changes:?}");
}

#[test]
fn the_detector_stays_quiet_on_silence_and_on_noise() {
    assert!(hear(&vec![0; 32_000]).is_empty());
    assert!(hear(&noise(3.0, 1_500)).is_empty());
}
