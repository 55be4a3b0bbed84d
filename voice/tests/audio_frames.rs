//! Framing, metering, the two sides of a recording.

use frontdesk_voice::audio::{
    Channel, Error, Frame, Framer, LevelMeter, Pcm, Rate, StereoMixer, VAD_WINDOW,
};
use proptest::prelude::*;

#[test]
fn a_frame_is_20_ms_at_every_rate() {
    for (rate, samples) in Rate::ALL.into_iter().zip([160, 320, 441, 480, 882, 960]) {
        assert_eq!(rate.frame_len(), samples);
        assert_eq!(Frame::silence(rate).samples().len(), samples);
        assert_eq!(
            Frame::new(rate, vec![0; samples + 1]),
            Err(Error::FrameLength { rate, expected: samples, got: samples + 1 })
        );
    }
}

#[test]
fn other_rates_and_half_samples_are_refused() {
    assert_eq!(Rate::try_from(11_025), Err(Error::UnsupportedRate(11_025)));
    assert_eq!(Pcm::from_le_bytes(Rate::Hz8000, &[1, 2, 3]), Err(Error::OddBytes(3)));
    let stored = r#"{"rate":11025,"samples":""}"#;
    assert!(serde_json::from_str::<Pcm>(stored).is_err());
    let short = serde_json::to_string(&Pcm::new(Rate::Hz8000, vec![0; 159])).unwrap();
    assert!(serde_json::from_str::<Frame>(&short).is_err());
}

#[test]
fn debug_output_holds_no_sound() {
    let frame = Frame::new(Rate::Hz8000, vec![4242; 160]).unwrap();
    assert_eq!(format!("{frame:?}"), "Frame(8000 Hz)");
    assert_eq!(format!("{:?}", Pcm::from(frame)), "Pcm(160 samples at 8000 Hz)");
}

proptest! {
    #[test]
    fn chunks_of_any_size_become_frames_and_windows_in_order(
        sizes in prop::collection::vec(0usize..900, 1..40)
    ) {
        let total: usize = sizes.iter().sum();
        let all: Vec<i16> = (0..total).map(|n| n as i16).collect();
        let (mut frames, mut windows) = (Framer::new(320), Framer::new(VAD_WINDOW));
        let (mut by_frame, mut by_window) = (Vec::new(), Vec::new());
        let mut rest = &all[..];
        for size in sizes {
            frames.push(&rest[..size], |frame| {
                by_frame.extend_from_slice(frame);
                windows.push(frame, |window| {
                    assert_eq!(window.len(), 256);
                    by_window.extend_from_slice(window);
                });
            });
            rest = &rest[size..];
            prop_assert!(frames.held() < 320 && windows.held() < 256);
        }
        prop_assert_eq!(&by_frame[..], &all[..total / 320 * 320]);
        prop_assert_eq!(&by_window[..], &all[..by_frame.len() / 256 * 256]);
    }

    #[test]
    fn sound_comes_back_from_the_log_as_it_was(samples in prop::collection::vec(any::<i16>(), 0..500)) {
        let pcm = Pcm::new(Rate::Hz22050, samples);
        let text = serde_json::to_string(&pcm).unwrap();
        prop_assert_eq!(serde_json::from_str::<Pcm>(&text).unwrap(), pcm);
    }

    #[test]
    fn a_recording_never_holds_more_than_its_window(
        puts in prop::collection::vec((any::<bool>(), 0u64..5_000, 0usize..700), 0..60)
    ) {
        let (mut mixer, mut out) = (StereoMixer::new(1_000), Vec::new());
        for (left, position, count) in puts {
            let channel = if left { Channel::Left } else { Channel::Right };
            mixer.put(channel, position, &vec![1; count], &mut out);
            prop_assert!(mixer.held() <= 1_000);
            prop_assert_eq!(out.len() % 2, 0);
        }
    }
}

#[test]
fn the_caller_is_left_and_the_agent_right_each_at_its_time() {
    let (mut mixer, mut out) = (StereoMixer::new(100), Vec::new());
    mixer.put(Channel::Right, 4, &[7, 7, 7, 7], &mut out);
    mixer.put(Channel::Left, 0, &[1, 2, 3], &mut out);
    mixer.drain(6, &mut out);
    assert_eq!(out, [1, 0, 2, 0, 3, 0, 0, 0, 0, 7, 0, 7]);
}

#[test]
fn what_an_interruption_takes_back_is_not_recorded() {
    let (mut mixer, mut out) = (StereoMixer::new(100), Vec::new());
    mixer.put(Channel::Right, 0, &[7; 6], &mut out);
    mixer.put(Channel::Left, 0, &[1; 6], &mut out);
    mixer.cut(Channel::Right, 3);
    mixer.drain(8, &mut out);
    assert_eq!(out, [1, 7, 1, 7, 1, 7, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0]);
}

#[test]
fn sound_that_comes_after_its_place_was_written_is_counted() {
    let (mut mixer, mut out) = (StereoMixer::new(4), Vec::new());
    mixer.put(Channel::Left, 0, &[1; 10], &mut out);
    assert_eq!(out.len(), 12);
    mixer.put(Channel::Right, 4, &[7; 3], &mut out);
    assert_eq!(mixer.late(), 2);
    mixer.drain(10, &mut out);
    assert_eq!(out[12..], [1, 7, 1, 0, 1, 0, 1, 0]);
}

#[test]
fn the_meter_reads_what_a_sine_and_a_square_measure() {
    let mut meter = LevelMeter::new();
    assert_eq!(meter.dbfs(), -96.0);
    meter.push(&[]);
    meter.push(&[i16::MIN; 320]);
    assert!(meter.dbfs().abs() < 0.001 && (meter.peak() - 1.0).abs() < 1e-9);
    let mut meter = LevelMeter::new();
    let sine: Vec<i16> = (0..320)
        .map(|n| (3_276.8 * (f64::from(n) * std::f64::consts::FRAC_PI_8).sin()).round() as i16)
        .collect();
    meter.push(&sine);
    assert!((meter.dbfs() + 23.01).abs() < 0.05, "{}", meter.dbfs());
}

#[test]
fn the_meter_rises_at_once_and_falls_by_12_db_in_about_half_a_second() {
    let mut meter = LevelMeter::new();
    meter.push(&[8_000; 320]);
    let loud = meter.dbfs();
    for _ in 0..26 {
        meter.push(&[0; 320]);
    }
    let fallen = loud - meter.dbfs();
    assert!((11.0..13.0).contains(&fallen), "{fallen}");
}
