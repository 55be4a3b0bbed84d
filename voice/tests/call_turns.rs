//! When the caller's turn is over, and what is answered.

mod call_world;

use call_world::World;
use frontdesk_voice::call::{Config, Cue, Input, Message, Notice, Output, Speaker, Status, Via};

fn asked(world: &World, from: u64) -> Option<u64> {
    world.when(from, |output| matches!(output, Output::StartTurn { .. }))
}

/// How long after the caller's last sound the agent was asked.
fn pause_after(text: &str) -> u64 {
    let mut world = World::answered();
    let end = world.now + 1_000;
    world.say(1_000, text);
    world.run_for(4_000);
    asked(&world, 0).expect("every text here is answered") - end
}

#[test]
fn a_complete_sentence_ends_the_turn_after_half_a_second() {
    assert!(
        (480..=560).contains(&pause_after("What time is it?")),
        "{}",
        pause_after("What time is it?")
    );
    assert!((480..=560).contains(&pause_after("yes")));
}

#[test]
fn words_that_say_neither_wait_a_little_longer() {
    assert!((780..=860).contains(&pause_after("I need a table tonight")));
}

#[test]
fn a_trailing_and_or_um_or_half_a_number_waits_longer() {
    for text in ["I would like a table and", "My name is, um", "ich hätte gern ein", "030 12 34"] {
        assert!((1_980..=2_060).contains(&pause_after(text)), "{text}: {}", pause_after(text));
    }
}

#[test]
fn text_cues_read_the_end_of_a_sentence_in_several_languages() {
    let cases = [
        ("Good.", Cue::Complete),
        ("Ja", Cue::Complete),
        ("何時ですか？", Cue::Complete),
        ("We are five", Cue::Neutral),
        ("page 12", Cue::Neutral),
        ("0 1 7 9 5 5 5 1 2 3 4", Cue::Neutral),
        ("one seven nine", Cue::Open),
        ("It was...", Cue::Open),
        ("Monday,", Cue::Open),
        ("porque", Cue::Open),
        ("c'est pour", Cue::Open),
        ("And.", Cue::Open),
        ("", Cue::Neutral),
        ("- . -", Cue::Neutral),
    ];
    for (text, cue) in cases {
        assert_eq!(Cue::of(text), cue, "{text}");
    }
}

#[test]
fn without_a_final_text_the_interim_text_is_answered_after_three_seconds() {
    let mut world = World::answered();
    let end = world.now + 1_000;
    world.speak(1_000);
    world.run_for(800);
    world.feed(Input::Interim { text: "Do you have".into(), settled: false });
    world.run_for(4_000);
    assert_eq!(world.turns()[0].1, "Do you have");
    assert!((2_980..=3_060).contains(&(asked(&world, 0).unwrap() - end)));
    // The final text that comes too late was answered already.
    world.hear("do you have?");
    assert_eq!(world.turns().len(), 1);
    assert_eq!(world.call.status(), Status::Thinking);
}

#[test]
fn a_settled_interim_text_ends_the_turn_like_a_final_one() {
    let mut world = World::answered();
    let end = world.now + 1_000;
    world.speak(1_000);
    world.run_for(1_300);
    world.feed(Input::Interim { text: "Do you have a table?".into(), settled: true });
    world.run_for(2_000);
    assert_eq!(world.turns()[0].1, "Do you have a table?");
    assert!((480..=560).contains(&(asked(&world, 0).unwrap() - end)));
    // It was no guess, so the same words said again are another turn.
    world.feed(Input::AgentEnd { generation: 1 });
    world.say(1_000, "Do you have a table?");
    world.run_for(2_000);
    assert_eq!(world.turns().len(), 2);
}

#[test]
fn speech_after_a_settled_interim_text_unsettles_it() {
    let mut world = World::answered();
    world.speak(600);
    world.run_for(900);
    world.feed(Input::Interim { text: "I would like a table.".into(), settled: true });
    let end = world.now + 600;
    world.speak(600);
    world.run_for(4_000);
    assert_eq!(world.turns()[0].1, "I would like a table.");
    assert!((2_980..=3_060).contains(&(asked(&world, 0).unwrap() - end)));
}

#[test]
fn a_pause_within_a_turn_does_not_end_it() {
    let mut world = World::answered();
    world.say(600, "I would like to book a table");
    world.run_for(300);
    world.say(600, "for Friday.");
    world.run_for(600);
    assert_eq!(world.turns()[0].1, "I would like to book a table for Friday.");
}

#[test]
fn a_final_text_that_comes_late_is_waited_for_and_ends_the_turn_at_once() {
    let mut world = World::answered();
    world.say(600, "I would like a table.");
    world.speak(600);
    world.run_for(2_100);
    assert!(world.turns().is_empty());
    world.hear("For two.");
    assert_eq!(world.turns()[0].1, "I would like a table. For two.");
}

#[test]
fn a_cough_alone_is_no_turn() {
    let mut world = World::answered();
    world.speak(300);
    world.run_for(5_000);
    assert!(world.turns().is_empty() && world.messages().is_empty());
    assert_eq!(world.call.status(), Status::Listening);
}

#[test]
fn a_turn_with_words_ends_despite_noise_that_goes_on() {
    let mut world = World::answered();
    world.speak(60_000);
    world.run_for(1_000);
    world.hear("Can you hear me?");
    world.run_for(8_100);
    assert_eq!(world.turns().len(), 1);
}

#[test]
fn a_muted_microphone_ends_speech_after_a_second() {
    let mut world = World::answered();
    world.speak(5_000);
    world.run_for(600);
    world.hear("I am in a tunnel.");
    world.microphone = false;
    world.run_for(1_100);
    let paused = world.when(0, |output| matches!(output, Output::SpeechPaused { .. })).unwrap();
    assert!((2_560..=2_600).contains(&paused), "{paused}");
    world.run_for(3_000);
    assert_eq!(world.turns().len(), 1);
}

#[test]
fn the_transcriber_gets_every_frame_and_the_moments_of_speech() {
    let mut world = World::answered();
    let start = world.now;
    world.speak(600);
    world.run_for(1_400);
    let frames = world.count(|output| matches!(output, Output::Transcribe { .. }));
    assert_eq!(frames as u64, world.now / 20 + u64::from(!world.now.is_multiple_of(20)));
    let began = world.outputs.iter().find_map(|(_, o)| match o {
        Output::SpeechStarted { at } => Some(*at),
        _ => None,
    });
    let paused = world.outputs.iter().find_map(|(_, o)| match o {
        Output::SpeechPaused { at } => Some(*at),
        _ => None,
    });
    assert!(began.unwrap().abs_diff(start) <= 36, "{began:?}");
    assert!(paused.unwrap().abs_diff(start + 600) <= 36, "{paused:?}");
}

#[test]
fn words_while_the_agent_thinks_supersede_the_turn() {
    let mut world = World::answered();
    world.say(600, "Book a table.");
    world.run_for(600);
    let first = world.generation();
    world.say(600, "For Friday, I mean.");
    assert!(world.has(&Output::AbortTurn { generation: first }));
    world.run_for(600);
    assert_eq!(world.turns()[1], (first + 1, "For Friday, I mean.".into(), None));
    // What the first turn still writes is stale.
    let before = world.outputs.len();
    world.feed(Input::AgentDelta { generation: first, text: "Which day?".into() });
    world.feed(Input::AgentEnd { generation: first });
    assert_eq!(world.outputs.len(), before);
}

#[test]
fn noise_while_the_agent_thinks_does_not_cancel_the_turn() {
    let mut world = World::answered();
    world.say(600, "Book a table.");
    world.run_for(600);
    world.speak(200);
    world.run_for(500);
    world.agent("For which day?");
    world.run_for(5_000);
    assert_eq!(world.turns().len(), 1);
    assert_eq!(world.heard().len(), 1);
}

#[test]
fn a_reply_that_is_ready_waits_until_the_caller_is_quiet() {
    let mut world = World::answered();
    world.say(600, "Book a table.");
    world.run_for(600);
    world.speak(1_000);
    world.run_for(200);
    world.agent("For which day?");
    world.run_for(800);
    assert_eq!(world.when(0, |o| matches!(o, Output::Audio { .. })), None);
    world.run_for(3_000);
    assert!(world.when(0, |o| matches!(o, Output::Audio { .. })).is_some());
}

#[test]
fn typed_text_is_answered_at_once_and_interrupts() {
    let mut world = World::replying("A long answer that goes on and on for some time.", 1_000);
    world.feed(Input::Text { text: " Stop, only the price ".into() });
    let (_, text, interrupted) = world.turns().pop().unwrap();
    assert_eq!((text.as_str(), interrupted.is_some()), ("Stop, only the price", true));
    let Message { via, .. } = world.messages().pop().unwrap();
    assert_eq!(via, Some(Via::Text));
    assert_eq!(world.client_holds(), 0);
}

#[test]
fn keys_become_a_turn_at_the_hash_or_after_two_seconds() {
    let mut world = World::answered();
    for key in "12x#".chars() {
        world.feed(Input::Key { key });
    }
    assert_eq!(world.turns()[0].1, "12");
    world.agent("Thank you.");
    world.run_for(300);
    world.feed(Input::Key { key: '7' });
    assert_eq!(world.heard().len(), 1, "the first key interrupts");
    world.run_for(1_500);
    world.feed(Input::Key { key: '*' });
    world.run_for(1_990);
    assert_eq!(world.turns().len(), 1);
    world.run_for(20);
    assert_eq!(world.turns()[1].1, "7*");
}

#[test]
fn an_agent_that_stays_silent_leaves_the_floor_to_the_caller() {
    let mut world = World::answered();
    world.say(600, "Just listen.");
    world.run_for(600);
    world.agent("");
    assert!(world.has(&Output::Notice { notice: Notice::NoReply }));
    assert_eq!(world.call.status(), Status::Listening);
    assert!(world.messages().iter().all(|message| message.speaker == Speaker::Caller));
}

#[test]
fn a_turn_goes_through_listening_thinking_and_speaking() {
    let mut world = World::replying("Yes.", 3_000);
    use Status::{Listening, Speaking, Thinking};
    assert_eq!(world.statuses(), [Listening, Thinking, Speaking, Listening]);
    let metrics = world.outputs.iter().find_map(|(_, output)| match output {
        Output::Metrics { metrics } => Some(metrics.clone()),
        _ => None,
    });
    let metrics = metrics.unwrap();
    let (said, text) = (metrics.speech_end.unwrap(), metrics.final_text.unwrap());
    assert!(said.abs_diff(1_800) <= 36 && text == 2_100 && metrics.turn_end == said + 500);
    assert_eq!((metrics.first_text, metrics.first_audio), (Some(3_100), Some(3_140)));
    world.feed(Input::HungUp);
    world.check_replay();
}

#[test]
fn words_of_an_unfinished_turn_are_kept_when_the_caller_hangs_up() {
    let mut world = World::answered_with(Config::browser());
    world.say(600, "My number is 555");
    world.feed(Input::HungUp);
    assert_eq!(world.messages().pop().unwrap().text, "My number is 555");
    assert!(world.call.is_over() && world.call.deadline().is_none());
    let before = world.outputs.len();
    world.hear("12 34");
    assert_eq!(world.outputs.len(), before, "nothing counts after the end");
}
