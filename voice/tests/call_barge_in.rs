//! The caller makes sound while the agent speaks.

mod call_world;

use call_world::World;
use frontdesk_voice::audio::g711::Law;
use frontdesk_voice::audio::{Earshot, Pcm, Rate};
use frontdesk_voice::call::{
    Call, Config, Input, Line, Outcome, Output, Phrases, PlainSplitter, Status,
};

const LONG: &str = "First we look at the weather. Then we look at the roads. \
                    After that we choose a train. At last we buy the tickets.";

fn cleared(world: &World, from: u64) -> Option<u64> {
    world.when(from, |output| matches!(output, Output::Clear { .. }))
}

#[test]
fn playout_stops_within_100_ms_of_the_first_sound() {
    let mut world = World::replying(LONG, 1_500);
    let onset = world.now;
    world.speak(500);
    world.run_for(500);
    let stop = cleared(&world, onset).unwrap() - onset;
    assert!(stop <= 100, "{stop} ms");
    assert_eq!((world.client_holds(), world.call.status()), (0, Status::Listening));
}

#[test]
fn without_words_the_reply_resumes_two_seconds_later_where_it_was_heard() {
    let mut world = World::replying(LONG, 1_500);
    let end = world.now + 400;
    world.speak(400);
    world.run_for(600);
    let after = world.now;
    world.run_for(2_500);
    let resumed = world.when(after, |o| matches!(o, Output::Audio { .. })).unwrap();
    assert!((1_960..=2_050).contains(&(resumed - end)), "{}", resumed - end);
    world.run_for(10_000);
    // `World` compares what was heard with what was played, byte by byte.
    assert_eq!(world.heard(), [(LONG.to_owned(), Outcome::Complete)]);
    assert_eq!(world.turns().len(), 1);
}

#[test]
fn what_is_given_again_has_the_positions_it_had_before_and_the_end_is_told() {
    let mut world = World::replying(LONG, 1_500);
    world.speak(400);
    world.run_for(20_000);
    let generation = world.generation();
    let (mut next, mut furthest, mut again, mut ends) = (0, 0, 0, Vec::new());
    for (at, output) in &world.outputs {
        match output {
            Output::Audio { generation: of, position, frame, .. } if *of == generation => {
                assert!(*position == next || *position < furthest, "a gap at {at} ms");
                again += usize::from(*position < furthest);
                next = position + frame.samples().len() as u64;
                furthest = furthest.max(next);
            }
            Output::AudioEnd { generation: of } if *of == generation => ends.push(next),
            _ => {}
        }
    }
    // What the client held when it was cleared: at most its lead.
    assert!((1..=13).contains(&again), "{again} frames");
    assert_eq!(ends, [furthest]);
}

#[test]
fn a_transcriber_that_finds_no_words_resumes_the_reply_at_once() {
    let mut world = World::replying(LONG, 1_500);
    world.speak(300);
    world.run_for(700);
    let settled = world.now;
    world.hear("");
    world.run_for(100);
    assert_eq!(world.when(settled, |o| matches!(o, Output::Audio { .. })), Some(settled));
}

#[test]
fn words_end_the_reply_where_it_was_heard() {
    let mut world = World::replying(LONG, 3_000);
    world.say(700, "Wait, not by train.");
    let (heard, outcome) = world.heard().pop().unwrap();
    assert_eq!(
        (heard.as_str(), outcome),
        ("First we look at the weather. Then we look at the", Outcome::Interrupted)
    );
    let generation = world.generation();
    world.run_for(600);
    assert_eq!(world.turns()[1], (generation + 1, "Wait, not by train.".into(), Some(generation)));
}

#[test]
fn an_interim_text_interrupts_before_the_final_one() {
    let mut world = World::replying(LONG, 1_500);
    world.speak(2_000);
    world.run_for(500);
    world.feed(Input::Interim { text: "no".into(), settled: false });
    assert_eq!(world.heard().len(), 1);
}

#[test]
fn words_without_detected_sound_interrupt_too() {
    let mut world = World::replying(LONG, 1_500);
    world.hear("Stop.");
    assert_eq!((world.heard().len(), world.client_holds()), (1, 0));
}

#[test]
fn listening_sounds_in_several_languages_do_not_interrupt() {
    for text in
        ["Mhm.", "ok", "Yeah, okay.", "uh-huh", "Genau.", "d'accord", "ya veo", "はい", "ага"]
    {
        let mut world = World::replying(LONG, 1_500);
        let began = world.now;
        world.say(300, text);
        world.run_for(100);
        assert!(world.heard().is_empty(), "{text}");
        let resumed = world.when(began + 500, |o| matches!(o, Output::Audio { .. }));
        assert!(resumed.is_some_and(|at| at <= began + 700), "{text} resumes at once");
        world.run_for(12_000);
        assert_eq!((world.heard()[0].1, world.turns().len()), (Outcome::Complete, 1), "{text}");
    }
}

#[test]
fn listening_sounds_are_a_turn_when_the_agent_is_silent() {
    let mut world = World::replying("Shall I book it?", 3_000);
    world.say(300, "Yeah.");
    world.run_for(600);
    assert_eq!(world.turns()[1].1, "Yeah.");
}

#[test]
fn yes_in_the_last_second_of_a_question_answers_it() {
    let mut world = World::replying("The table is free at eight, shall I book it?", 2_000);
    world.feed(Input::Interim { text: "yes".into(), settled: false });
    assert_eq!(world.heard().len(), 1);
}

#[test]
fn more_than_listening_interrupts() {
    for text in ["ok but not on Friday", "no", "stop", "yes yes yes yes yes"] {
        let mut world = World::replying(LONG, 1_500);
        world.say(500, text);
        assert_eq!(world.heard().len(), 1, "{text}");
    }
}

#[test]
fn so_many_words_as_set_are_needed_to_interrupt() {
    let config = Config { interrupt_words: 3, ..Config::default() };
    let mut world = World::answered_with(config);
    world.say(800, "Tell me something.");
    world.run_for(1_000);
    world.agent(LONG);
    world.run_for(1_500);
    world.say(400, "you there");
    assert!(world.heard().is_empty());
    world.say(400, "you there, stop");
    assert_eq!(world.heard().len(), 1);
}

#[test]
fn playout_goes_on_despite_sound_that_never_becomes_words() {
    let mut world = World::replying(LONG, 1_500);
    let onset = world.now;
    world.speak(120_000);
    world.run_for(5_900);
    assert_eq!(world.call.status(), Status::Listening);
    world.run_for(400);
    assert_eq!(world.call.status(), Status::Speaking);
    world.run_for(15_000);
    assert_eq!(world.heard()[0].1, Outcome::Complete);
    assert!(cleared(&world, onset + 1_000).is_none(), "the same sound does not hold it twice");
}

#[test]
fn a_cough_after_a_cough_never_loses_the_reply() {
    let mut world = World::replying(LONG, 700);
    for pause in [900, 2_100, 3_000, 2_600, 500] {
        world.speak(200);
        world.run_for(pause);
    }
    world.run_for(20_000);
    assert_eq!(world.heard()[0], (LONG.to_owned(), Outcome::Complete));
    world.check_replay();
}

#[test]
fn a_button_interrupts_and_the_call_goes_on() {
    let mut world = World::replying(LONG, 1_500);
    world.feed(Input::Interrupt);
    assert_eq!((world.client_holds(), world.call.status()), (0, Status::Listening));
    assert_eq!(world.heard()[0].1, Outcome::Interrupted);
    world.run_for(10_500);
    assert_eq!(world.spoken().last().unwrap(), "Are you still there?");
}

#[test]
fn an_interrupted_reply_stops_the_agent_and_the_synthesiser() {
    let mut world = World::replying("", 0);
    assert_eq!(world.call.status(), Status::Listening, "an empty reply is none");
    world.say(600, "Again, please.");
    world.run_for(600);
    let generation = world.generation();
    world.engine_delay = 300;
    world.feed(Input::AgentDelta { generation, text: LONG.into() });
    world.run_for(100);
    world.hear("Wait.");
    assert!(world.has(&Output::AbortTurn { generation }));
    assert!(world.has(&Output::AbortVoice { generation }));
    world.run_for(400);
    assert_eq!(world.when(0, |o| matches!(o, Output::Audio { .. })), None);
}

#[test]
fn what_must_be_heard_in_full_is_not_interrupted_and_the_words_are_answered_after_it() {
    let mut world = World::answered();
    let line = Line { text: "This call is recorded.".into(), interruptible: false };
    world.feed(Input::Say { line });
    world.run_for(300);
    world.say(600, "Is it free?");
    world.feed(Input::Interrupt);
    assert!(cleared(&world, 0).is_none());
    world.run_for(3_000);
    assert_eq!(world.heard(), [("This call is recorded.".to_owned(), Outcome::Complete)]);
    assert_eq!(world.turns()[0].1, "Is it free?");
}

#[test]
fn the_greeting_can_be_interrupted() {
    let phrases = Phrases { greeting: LONG.into(), ..Phrases::default() };
    let mut world = World::answered_with(Config { phrases, ..Config::default() });
    world.say(600, "A table for two, please.");
    world.run_for(600);
    assert_eq!(world.heard()[0].1, Outcome::Interrupted);
    assert_eq!(world.turns()[0].2, Some(1));
}

/// Milliseconds from the arrival of the first audible sample of telephone speech to the clear, by the
/// detector in use.
fn clear_after_speech(sound: &[i16]) -> u64 {
    let config = Config { playback_reports: false, ..Config::twilio() };
    let splitter = Box::new(PlainSplitter::default());
    let mut call = Call::new(config, Box::new(Earshot::default()), splitter);
    let mut out = Vec::new();
    call.handle(0, Input::Answered, &mut out);
    let line = Line { text: LONG.into(), interruptible: true };
    call.handle(0, Input::Say { line }, &mut out);
    let voice = Pcm::new(Rate::Hz16000, vec![500; 16_000 * 20]);
    call.handle(0, Input::Voice { generation: 1, sentence: 0, sound: voice }, &mut out);
    let quiet = vec![0; 160 * 100];
    let onset =
        sound.iter().position(|s| s.unsigned_abs() > 600).expect("there is speech") as u64 / 8;
    for (n, samples) in [&quiet[..], sound].concat().chunks_exact(160).enumerate() {
        out.clear();
        // A frame arrives when its last sample has been spoken.
        let now = (n as u64 + 1) * 20;
        let sound = Pcm::new(Rate::Hz8000, samples.to_vec());
        call.handle(now, Input::Audio { sound }, &mut out);
        if out.iter().any(|output| matches!(output, Output::Clear { .. })) {
            return now - (2_000 + onset).next_multiple_of(20);
        }
    }
    u64::MAX
}

#[test]
fn telephone_speech_stops_playout_within_150_ms_with_the_detector_in_use() {
    let mut sound = Vec::new();
    Law::Mu.decode_all(include_bytes!("audio/tickets.ulaw"), &mut sound);
    let stop = clear_after_speech(&sound);
    println!("{stop} ms");
    assert!(stop <= 150, "{stop} ms");
}
