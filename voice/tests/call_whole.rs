//! A whole call, from greeting to farewell, in virtual time.

mod call_world;

use call_world::World;
use frontdesk_voice::call::{
    Config, EndReason, Input, Origin, Outcome, Output, Phrases, Speaker, Status,
};

#[test]
fn a_call_with_a_barge_in_and_a_cough_goes_from_greeting_to_farewell() {
    let phrases =
        Phrases { greeting: "Good morning, this is the desk.".into(), ..Phrases::default() };
    let mut world = World::new(Config { phrases, ..Config::default() });
    world.feed(Input::Answered);
    assert_eq!(world.when(0, |o| matches!(o, Output::Audio { .. })), None);
    world.run_for(3_000);
    // The greeting is heard at once; its engine needed 40 ms.
    assert_eq!(world.when(0, |o| matches!(o, Output::Audio { .. })), Some(40));
    assert_eq!(world.heard(), [("Good morning, this is the desk.".to_owned(), Outcome::Complete)]);

    // A question, a thinking agent, a long answer.
    world.say(1_200, "What are your opening hours?");
    world.run_for(600);
    assert_eq!(world.call.status(), Status::Thinking);
    world.agent(
        "We open at nine in the morning. We close at six in the evening. On Sundays we are closed.",
    );
    world.run_for(2_500);
    assert_eq!(world.call.status(), Status::Speaking);

    // A cough: silence at once, and the answer goes on where it was.
    world.speak(300);
    world.run_for(200);
    assert_eq!((world.client_holds(), world.call.status()), (0, Status::Listening));
    world.run_for(400);
    world.hear("");
    assert_eq!(world.call.status(), Status::Speaking);

    // The caller talks over it.
    world.run_for(1_000);
    world.say(900, "And on Saturdays?");
    let (heard, outcome) = world.heard().pop().unwrap();
    assert_eq!(outcome, Outcome::Interrupted);
    assert!(heard.starts_with("We open at nine in the morning.") && heard.len() < 64, "{heard}");
    world.run_for(600);
    let (generation, text, interrupted) = world.turns().pop().unwrap();
    assert_eq!((text.as_str(), interrupted), ("And on Saturdays?", Some(generation - 1)));
    world.agent("Until noon.");
    world.run_for(2_000);

    // The agent says goodbye, and is heard to the end.
    world.say(700, "Thank you, goodbye.");
    world.run_for(600);
    world.agent("Goodbye.");
    world.feed(Input::End { farewell: Some("Have a nice day.".into()) });
    world.run_to_the_end();
    assert!(world.has(&Output::HangUp { reason: EndReason::AgentEnded }));
    assert_eq!(world.client_holds(), 0);

    let told: Vec<(Speaker, Origin, Outcome)> =
        world.messages().iter().map(|m| (m.speaker, m.origin, m.outcome)).collect();
    let caller = (Speaker::Caller, Origin::Caller, Outcome::Complete);
    let agent = |origin, outcome| (Speaker::Agent, origin, outcome);
    assert_eq!(
        told,
        [
            agent(Origin::Greeting, Outcome::Complete),
            caller,
            agent(Origin::Reply, Outcome::Interrupted),
            caller,
            agent(Origin::Reply, Outcome::Complete),
            caller,
            agent(Origin::Reply, Outcome::Complete),
            agent(Origin::Farewell, Outcome::Complete),
        ]
    );
    world.check_replay();
}
