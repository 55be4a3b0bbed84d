//! Arithmetic, and stopping.

use super::*;
use std::sync::atomic::AtomicBool;

#[test]
fn a_decode_stops_when_it_is_told_to() {
    whisper_rs::install_logging_hooks();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("model.bin");
    random::write(&file).unwrap();
    let context =
        WhisperContext::new_with_params(&file, WhisperContextParameters::default()).unwrap();
    let state = context.create_state().unwrap();
    let name: EngineName = "whisper:test".parse().unwrap();
    let mut slot = Slot { name, state, threads: 1, english_only: true };
    let mut params = slot.params(None);
    params.set_audio_ctx(384);
    params.set_max_tokens(2);
    let sound = vec![0.1; 16_000];
    let mut run = |stop: &AtomicBool| abort::run(&mut slot.state, params.clone(), &sound, stop);
    assert!(run(&AtomicBool::new(true)).is_err());
    assert!(run(&AtomicBool::new(false)).is_ok());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let running = scope.spawn(|| run(&stop));
        stop.store(true, Ordering::Relaxed);
        assert!(running.join().unwrap().is_err());
    });
}

#[test]
fn the_context_fits_the_utterance_and_is_never_too_short() {
    let of_ms = |ms: usize| context(ms * 16);
    assert_eq!(of_ms(1_000), LEAST_CONTEXT);
    assert_eq!(of_ms(6_400), LEAST_CONTEXT);
    assert_eq!(of_ms(6_420), 448);
    assert_eq!(of_ms(10_000), 576);
    // The longest window still has a step of room.
    assert_eq!(context(WINDOW), 1_472);
    assert_eq!(of_ms(60_000), WHOLE_CONTEXT);
}

#[test]
fn tokens_are_capped_by_the_length_of_the_sound() {
    assert_eq!(most_tokens(16_000), 26);
    assert_eq!(most_tokens(WINDOW), 16 + 274);
}

#[test]
fn one_core_is_left_for_the_sound() {
    for (cores, slots, threads) in [(1, 1, 1), (2, 1, 1), (4, 1, 3), (9, 2, 4), (32, 7, 4)] {
        assert_eq!(Effort::of_cores(cores), Effort { slots, threads });
    }
}

#[test]
fn languages_are_known_by_the_first_part_of_their_tag() {
    assert!(known_language("de-CH").is_ok() && known_language("en").is_ok());
    for unknown in ["", "xx", "English\0", "../en"] {
        assert!(known_language(unknown).is_err(), "{unknown}");
    }
}
