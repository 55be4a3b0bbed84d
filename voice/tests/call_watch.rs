//! Silence has an owner, failures are explained, calls end.

mod call_world;

use call_world::{Engine, World};
use frontdesk_voice::call::{
    Config, EndReason, Input, Line, Notice, Outcome, Output, Phrases, Status, Wake,
};

fn ended(world: &World) -> Option<(u64, EndReason)> {
    world.outputs.iter().find_map(|(at, output)| match output {
        Output::HangUp { reason } => Some((*at, *reason)),
        _ => None,
    })
}

fn thinking() -> World {
    let mut world = World::answered();
    world.say(800, "How long is the river?");
    world.run_for(500);
    assert_eq!(world.call.status(), Status::Thinking);
    world
}

#[test]
fn a_silent_caller_is_asked_after_ten_seconds_and_left_after_twenty() {
    let mut world = World::new(Config::default());
    world.feed(Input::Answered);
    world.run_to_the_end();
    let said = world.spoken();
    assert_eq!(
        said,
        ["Are you still there?", "I can't hear anyone, so I'll hang up now.", "Goodbye."]
    );
    let asked = world.when(0, |o| matches!(o, Output::Synthesise { .. }));
    assert_eq!(asked, Some(10_000));
    let left = world.when(10_001, |o| matches!(o, Output::Synthesise { .. }));
    assert_eq!(left, Some(20_000));
    let (at, reason) = ended(&world).unwrap();
    assert_eq!(reason, EndReason::Idle);
    assert!(at >= world.last_sound && world.last_sound > 22_000, "the farewell was heard");
}

#[test]
fn a_caller_who_answers_the_prompt_stays() {
    let mut world = World::new(Config::default());
    world.feed(Input::Answered);
    world.run_for(13_000);
    world.say(500, "Yes, I am.");
    world.run_for(600);
    world.agent("Good.");
    world.run_for(9_000);
    assert_eq!(world.spoken(), ["Are you still there?", "Good."]);
    world.run_for(3_000);
    assert_eq!(world.spoken().len(), 3, "the silence began anew");
}

#[test]
fn nobody_is_asked_while_a_tool_runs_or_a_turn_is_open() {
    let mut world = World::answered();
    world.feed(Input::ToolStarted { tool: 1 });
    world.run_for(60_000);
    assert!(world.spoken().is_empty());
    world.feed(Input::ToolEnded { tool: 1 });
    world.speak(25_000);
    world.run_for(25_000);
    assert!(world.spoken().is_empty());
}

#[test]
fn a_tool_that_never_ends_is_not_waited_for_for_ever() {
    let mut world = World::answered();
    world.feed(Input::ToolStarted { tool: 1 });
    world.run_to_the_end();
    assert_eq!(ended(&world).unwrap().1, EndReason::Idle);
}

#[test]
fn a_thinking_agent_is_covered_by_fillers_and_they_are_no_part_of_the_reply() {
    let mut world = thinking();
    let asked = world.when(0, |o| matches!(o, Output::StartTurn { .. })).unwrap();
    world.run_for(9_000);
    assert_eq!(world.spoken(), ["One moment, please.", "I'm still on it."]);
    let first = world.when(0, |o| matches!(o, Output::Synthesise { .. })).unwrap();
    assert_eq!(first - asked, 1_500);
    world.agent("About two thousand miles.");
    world.run_for(4_000);
    assert_eq!(world.heard(), [("About two thousand miles.".into(), Outcome::Complete)]);
    world.check_replay();
}

#[test]
fn silence_is_never_longer_than_a_few_seconds_while_the_agent_thinks() {
    let mut world = thinking();
    let (mut longest, start) = (0, world.now);
    while world.now < start + 18_000 {
        world.run_for(20);
        longest = longest.max(world.now - world.last_sound.max(start));
    }
    assert!(longest <= 5_200, "{longest} ms");
}

#[test]
fn an_agent_that_never_answers_is_given_up_with_an_explanation() {
    let mut world = thinking();
    let generation = world.generation();
    world.run_for(60_000);
    assert!(world.has(&Output::AbortTurn { generation }));
    assert!(world.has(&Output::Notice { notice: Notice::AgentSlow }));
    assert!(world.spoken().iter().any(|text| text.starts_with("Sorry, I couldn't")));
    assert!(world.call.is_over() || world.call.status() != Status::Thinking);
}

#[test]
fn a_slow_tool_gives_the_agent_more_time() {
    let mut world = thinking();
    world.feed(Input::ToolStarted { tool: 9 });
    world.run_for(60_000);
    world.feed(Input::ToolEnded { tool: 9 });
    world.run_for(5_000);
    world.agent("Done.");
    world.run_for(5_000);
    assert_eq!(world.heard(), [("Done.".into(), Outcome::Complete)]);
}

#[test]
fn an_agent_that_fails_in_the_middle_is_heard_so_far_and_explained() {
    let mut world = thinking();
    let generation = world.generation();
    world.feed(Input::AgentDelta { generation, text: "It is long. It is about".into() });
    world.feed(Input::AgentFailed { generation });
    world.run_for(8_000);
    assert!(world.has(&Output::Notice { notice: Notice::AgentFailed }));
    assert_eq!(world.heard()[0], ("It is long. ".into(), Outcome::Failed));
    assert_eq!(world.heard()[1].0, "Sorry, I couldn't work out an answer. Please try again.");
    assert_eq!(world.call.status(), Status::Listening);
}

#[test]
fn a_sentence_that_cannot_be_spoken_is_explained_and_the_first_was_heard() {
    let mut world = thinking();
    let generation = world.generation();
    world.feed(Input::AgentDelta { generation, text: "It is long. ".into() });
    world.run_for(100);
    world.engine = Engine::Fails;
    world.agent("It is wide. It is deep.");
    world.run_for(100);
    world.engine = Engine::Works;
    world.run_for(6_000);
    assert!(world.has(&Output::Notice { notice: Notice::VoiceFailed }));
    let heard = world.heard();
    assert_eq!(heard[0], ("It is long. ".into(), Outcome::Failed));
    assert_eq!(heard[1], ("Sorry, I lost my voice for a moment.".into(), Outcome::Complete));
}

#[test]
fn a_synthesiser_that_stalls_is_given_up_after_four_seconds() {
    let mut world = thinking();
    world.engine = Engine::Stalls;
    let asked = world.now;
    world.agent("It is long.");
    world.run_for(3_900);
    world.engine = Engine::Works;
    world.run_for(4_000);
    assert_eq!(world.when(0, |o| matches!(o, Output::Notice { .. })), Some(asked + 4_000));
    assert!(world.heard().iter().any(|(text, _)| text.starts_with("Sorry")));
}

#[test]
fn a_filler_that_cannot_be_spoken_costs_nothing() {
    let mut world = thinking();
    world.engine = Engine::Fails;
    world.run_for(2_000);
    world.engine = Engine::Works;
    world.agent("It is long.");
    world.run_for(3_000);
    assert_eq!(world.heard(), [("It is long.".into(), Outcome::Complete)]);
    assert!(world.count(|o| matches!(o, Output::Notice { .. })) == 0);
}

#[test]
fn a_voice_that_is_gone_ends_a_telephone_call_but_not_one_with_a_screen() {
    for (screen, over) in [(false, true), (true, false)] {
        let mut world = World::answered_with(Config { screen, ..Config::default() });
        world.engine = Engine::Fails;
        world.say(600, "Hello?");
        world.run_for(600);
        world.agent("Hello.");
        world.run_for(3_000);
        assert_eq!(world.call.is_over(), over);
        assert!(world.has(&Output::Notice { notice: Notice::VoiceFailed }));
        if over {
            assert_eq!(ended(&world).unwrap().1, EndReason::EngineFailed);
        }
    }
}

#[test]
fn three_failures_in_a_row_end_the_call_with_a_farewell() {
    let mut world = World::answered();
    for _ in 0..3 {
        world.say(600, "How long is the river?");
        world.run_for(600);
        let generation = world.generation();
        world.feed(Input::AgentFailed { generation });
        world.run_for(5_000);
    }
    assert_eq!(ended(&world).unwrap().1, EndReason::EngineFailed);
    assert!(world.heard().last().unwrap().0.ends_with("Goodbye."));
}

#[test]
fn a_transcriber_that_is_gone_is_explained_and_on_the_telephone_ends_the_call() {
    let mut world = World::answered();
    world.feed(Input::TranscriberFailed { lasting: false });
    assert!(world.has(&Output::Notice { notice: Notice::HearingTrouble }));
    assert!(world.spoken().is_empty());
    for (config, over) in
        [(Config::browser(), false), (Config { screen: false, ..Config::browser() }, true)]
    {
        let mut world = World::answered_with(config);
        world.feed(Input::TranscriberFailed { lasting: true });
        world.run_for(5_000);
        assert!(world.has(&Output::Notice { notice: Notice::HearingFailed }));
        assert_eq!(world.heard()[0].0, "Sorry, I can't hear you any more.");
        assert_eq!(world.call.is_over(), over);
    }
}

#[test]
fn the_longest_call_ends_with_a_farewell_and_keeps_what_was_being_said() {
    let config = Config { longest: 10_000, ..Config::default() };
    let mut world = World::answered_with(config);
    world.say(600, "Tell me a story.");
    world.run_for(600);
    world.agent("Once upon a time there was a king who had three daughters and two sons and a castle by the sea and a horse and a dog and a very long story to tell.");
    world.run_for(15_000);
    assert_eq!(ended(&world).unwrap().1, EndReason::TooLong);
    let heard = world.heard();
    assert_eq!(heard[0].1, Outcome::Interrupted);
    assert_eq!(
        heard[1],
        ("We've reached the longest time for a call. Goodbye.".into(), Outcome::Complete)
    );
}

#[test]
fn a_farewell_is_heard_to_its_end_whatever_the_caller_says() {
    let mut world = World::replying("That is all.", 300);
    world.feed(Input::End { farewell: Some("Thank you for calling. Goodbye.".into()) });
    world.speak(5_000);
    world.run_for(1_000);
    world.hear("But wait, one more thing.");
    world.feed(Input::Interrupt);
    world.run_to_the_end();
    let heard = world.heard();
    assert_eq!(heard[0], ("That is all.".into(), Outcome::Complete));
    assert_eq!(heard[1], ("Thank you for calling. Goodbye.".into(), Outcome::Complete));
    assert_eq!(world.count(|o| matches!(o, Output::Clear { .. })), 0);
}

#[test]
fn a_farewell_that_cannot_be_spoken_does_not_keep_the_call() {
    for engine in [Engine::Fails, Engine::Stalls] {
        let mut world = World::answered();
        world.engine = engine;
        world.feed(Input::End { farewell: Some("Goodbye.".into()) });
        world.run_for(16_000);
        assert_eq!(ended(&world).unwrap().1, EndReason::AgentEnded);
    }
}

#[test]
fn ending_without_a_farewell_hangs_up_at_once() {
    let mut world = World::answered();
    world.feed(Input::End { farewell: None });
    assert_eq!(ended(&world), Some((1_000, EndReason::AgentEnded)));
}

#[test]
fn a_call_that_nobody_answers_ends() {
    let mut world = World::new(Config::default());
    assert_eq!(world.wake(), Some(Wake::Answer));
    world.run_to_the_end();
    assert_eq!(ended(&world), Some((60_000, EndReason::NotAnswered)));
    assert_eq!(world.outputs.len(), 1);
}

#[test]
fn a_lost_connection_that_comes_back_goes_on_where_it_was_heard() {
    let mut world =
        World::replying("First we look at the weather. Then we look at the roads.", 1_000);
    world.feed(Input::Lost);
    world.microphone = false;
    world.run_for(20_000);
    assert!(world.heard().is_empty() && !world.call.is_over());
    world.microphone = true;
    world.feed(Input::Back);
    world.run_for(8_000);
    assert_eq!(world.heard()[0].1, Outcome::Complete);
    world.check_replay();
}

#[test]
fn a_lost_connection_that_stays_away_ends_the_call_and_keeps_what_was_heard() {
    let mut world =
        World::replying("First we look at the weather. Then we look at the roads.", 1_000);
    let lost = world.now;
    world.feed(Input::Lost);
    world.run_for(40_000);
    assert_eq!(ended(&world), Some((lost + 30_000, EndReason::Lost)));
    assert_eq!(world.heard()[0], ("First we look at".into(), Outcome::HungUp));
}

#[test]
fn announcements_wait_for_the_floor_and_come_in_order() {
    let mut world = World::replying("That is all.", 100);
    for text in ["Your train is late.", "It leaves at nine."] {
        world.feed(Input::Say { line: Line { text: text.into(), interruptible: true } });
    }
    world.run_for(6_000);
    let heard: Vec<String> = world.heard().into_iter().map(|(text, _)| text).collect();
    assert_eq!(heard, ["That is all.", "Your train is late.", "It leaves at nine."]);
}

#[test]
fn without_phrases_a_call_still_ends_when_nobody_speaks() {
    let phrases = Phrases {
        fillers: Vec::new(),
        prompt: String::new(),
        idle_farewell: String::new(),
        ..Phrases::default()
    };
    let mut world = World::new(Config { phrases, ..Config::default() });
    world.feed(Input::Answered);
    world.run_to_the_end();
    assert_eq!(ended(&world), Some((20_000, EndReason::Idle)));
}

#[test]
fn debug_output_holds_nothing_that_was_said() {
    let mut world = World::replying("A secret answer. Another.", 500);
    world.say(300, "A secret question.");
    world.feed(Input::Text { text: "A secret message.".into() });
    world.feed(Input::End { farewell: Some("A secret farewell.".into()) });
    let shown = format!("{:?}{:?}", world.inputs, world.outputs);
    assert!(!shown.contains("secret") && shown.contains("StartTurn"));
}
