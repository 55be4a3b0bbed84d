//! What holds whatever happens in whatever order. `World` checks after every input: there is something to
//! wait for; the client holds no more than its lead and one voice; held playout is resumed or its reply
//! ended; every reply is committed at most once, and as it was heard; sound of a reply that is over is
//! never sent; buffers have bounds.

mod call_world;

use call_world::{Engine, RATE, STALE, World};
use frontdesk_voice::audio::Pcm;
use frontdesk_voice::call::{Config, Input, Line, Ms, Output, Phrases};
use proptest::prelude::*;
use std::collections::BTreeSet;

#[derive(Debug, Clone)]
enum Step {
    Wait(Ms),
    Speak(Ms),
    Microphone(bool),
    Engine(Engine, Ms),
    Reports(Ms),
    /// Something about the latest generation, or one that many before it.
    Agent(u32, Writes),
    Feed(Input),
}

#[derive(Debug, Clone)]
enum Writes {
    Text(&'static str),
    End,
    Fail,
    Voice(u32, usize),
    VoiceFail(u32),
}

fn words() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "",
        "mhm",
        "yes",
        "stop it",
        "I would like a table and",
        "Where are you?",
        "0 1 7 9",
        "ok no",
        "是的。",
    ];
    prop::sample::select(WORDS).prop_map(str::to_owned)
}

fn writes() -> impl Strategy<Value = Writes> {
    const TEXTS: &[&str] = &[
        "Yes. ",
        "We open at nine and close at six. ",
        "Let me see",
        "This is a rather long sentence that takes its time, as sentences sometimes do, to come to an end. ",
        "😀 Über größere Dinge sprechen wir später. ",
        "一つ目です。二つ目です。",
        "",
    ];
    prop_oneof![
        5 => prop::sample::select(TEXTS).prop_map(Writes::Text),
        3 => Just(Writes::End),
        1 => Just(Writes::Fail),
        1 => (0u32..6, 0usize..30_000).prop_map(|(n, count)| Writes::Voice(n, count)),
        1 => (0u32..6).prop_map(Writes::VoiceFail),
    ]
}

fn inputs() -> impl Strategy<Value = Input> {
    prop_oneof![
        4 => words().prop_map(|text| Input::Final { text }),
        4 => (words(), any::<bool>()).prop_map(|(text, settled)| Input::Interim { text, settled }),
        1 => Just(Input::SpeechStart),
        1 => words().prop_map(|text| Input::Text { text }),
        1 => prop::sample::select(&['1', '#', '*', 'x'][..]).prop_map(|key| Input::Key { key }),
        1 => Just(Input::Interrupt),
        1 => (words(), any::<bool>())
            .prop_map(|(text, interruptible)| Input::Say { line: Line { text, interruptible } }),
        1 => (0u64..4).prop_map(|tool| Input::ToolStarted { tool }),
        1 => (0u64..4).prop_map(|tool| Input::ToolEnded { tool }),
        1 => Just(Input::Lost),
        2 => Just(Input::Back),
        1 => any::<bool>().prop_map(|lasting| Input::TranscriberFailed { lasting }),
        1 => Just(Input::Answered),
        1 => Just(Input::Timeout),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0u64..1_500).prop_map(Step::Wait),
        1 => (1_500u64..12_000).prop_map(Step::Wait),
        3 => (50u64..2_500).prop_map(Step::Speak),
        1 => prop_oneof![3 => Just(true), 1 => Just(false)].prop_map(Step::Microphone),
        1 => (prop::sample::select(&[Engine::Works, Engine::Works, Engine::Fails, Engine::Stalls][..]), 1u64..2_000)
            .prop_map(|(engine, delay)| Step::Engine(engine, delay)),
        1 => prop::sample::select(&[0u64, 20, 100][..]).prop_map(Step::Reports),
        6 => (prop_oneof![4 => Just(0u32), 1 => 1u32..4], writes())
            .prop_map(|(before, writes)| Step::Agent(before, writes)),
        6 => inputs().prop_map(Step::Feed),
    ];
    prop::collection::vec(step, 1..80)
}

fn configs() -> impl Strategy<Value = Config> {
    (any::<bool>(), any::<bool>(), 0u64..600, any::<bool>()).prop_map(
        |(screen, reports, lead, greets)| {
            let greeting = if greets { "Good morning. How can I help you?" } else { "" };
            Config {
                screen,
                playback_reports: reports,
                playout_lead: lead,
                tool_limit: 25_000,
                phrases: Phrases { greeting: greeting.into(), ..Phrases::default() },
                ..Config::default()
            }
        },
    )
}

fn take(world: &mut World, step: Step) {
    match step {
        Step::Wait(ms) => world.run_for(ms),
        Step::Speak(ms) => world.speak(ms),
        Step::Microphone(on) => world.microphone = on,
        Step::Engine(engine, delay) => (world.engine, world.engine_delay) = (engine, delay),
        Step::Reports(every) => world.report_every = every,
        Step::Feed(input) => world.feed(input),
        Step::Agent(before, writes) => {
            let generation = world.generation().saturating_sub(before);
            let sound = |count| Pcm::new(RATE, vec![STALE; count]);
            world.feed(match writes {
                Writes::Text(text) => Input::AgentDelta { generation, text: text.into() },
                Writes::End => Input::AgentEnd { generation },
                Writes::Fail => Input::AgentFailed { generation },
                Writes::Voice(sentence, count) if before > 0 => {
                    Input::Voice { generation, sentence, sound: sound(count) }
                }
                Writes::VoiceFail(sentence) | Writes::Voice(sentence, _) => {
                    Input::VoiceFailed { generation, sentence }
                }
            });
        }
    }
}

/// Every turn that was started came to an end with times, and every message belongs to one.
fn check_books(world: &World) {
    let mut open = BTreeSet::new();
    for (_, output) in &world.outputs {
        match output {
            Output::StartTurn { generation, .. } => assert!(open.insert(*generation)),
            Output::Metrics { metrics } => assert!(open.remove(&metrics.generation)),
            _ => {}
        }
    }
    assert!(open.is_empty(), "turns without an end: {open:?}");
    let last = world.outputs.last();
    assert!(matches!(last, Some((_, Output::HangUp { .. }))), "{last:?}");
    assert_eq!(world.count(|output| matches!(output, Output::HangUp { .. })), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_call_is_never_stuck_never_has_two_voices_and_its_history_is_what_was_heard(
        config in configs(),
        steps in steps(),
    ) {
        let mut world = World::answered_with(config);
        for step in steps {
            take(&mut world, step);
        }
        // Left alone, every call ends by itself.
        world.microphone = false;
        world.run_to_the_end();
        check_books(&world);
        world.check_same_again();
    }

    #[test]
    fn a_client_that_lies_about_playback_breaks_nothing(
        steps in steps(),
        lies in prop::collection::vec((0u32..4, prop_oneof![any::<u64>(), 0u64..200_000]), 1..40),
    ) {
        let mut world = World::answered();
        world.honest = false;
        let mut lies = lies.into_iter().cycle();
        for step in steps {
            take(&mut world, step);
            let (stretch, samples) = lies.next().unwrap();
            world.report_every = 0;
            world.feed(Input::Played { stretch, samples });
        }
        world.microphone = false;
        world.run_to_the_end();
        check_books(&world);
        world.check_same_again();
    }

    #[test]
    fn a_caller_may_hang_up_at_any_moment(steps in steps(), at in 0usize..40) {
        let mut world = World::answered();
        for step in steps.into_iter().take(at) {
            take(&mut world, step);
        }
        world.feed(Input::HungUp);
        prop_assert!(world.call.is_over());
        check_books(&world);
    }
}
