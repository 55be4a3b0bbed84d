//! Pacing, sentence order, and what counts as heard.

mod call_world;

use call_world::{RATE, World};
use frontdesk_voice::audio::{Pcm, Rate};
use frontdesk_voice::call::{
    Config, EndReason, Input, Line, Outcome, Output, PlainSplitter, Sentence, Splitter,
};

const LONG: &str = "First we look at the weather. Then we look at the roads. \
                    After that we choose a train. At last we buy the tickets. And then we go. So it is.";

#[test]
fn the_client_never_holds_more_than_its_lead() {
    for (config, lead) in
        [(Config::browser(), 250), (Config { playout_lead: 400, ..Config::browser() }, 400)]
    {
        let mut world = World::answered_with(config);
        world.say(600, "Go on.");
        world.run_for(600);
        world.agent(LONG);
        let mut most = 0;
        for _ in 0..400 {
            world.run_for(10);
            most = most.max(world.client_holds());
        }
        // `World` checks the bound at every step; here it is also used.
        assert!((lead - 20..=lead).contains(&most), "{most}");
    }
}

#[test]
fn sound_flows_without_gaps_while_there_is_any() {
    let mut world = World::replying(LONG, 500);
    let mut gaps = 0;
    while world.heard().is_empty() {
        world.run_for(5);
        gaps += usize::from(world.client_holds() == 0);
    }
    // The last report comes at the end.
    assert!(gaps <= 5, "{gaps}");
}

#[test]
fn at_most_two_sentences_are_synthesised_ahead_and_played_in_order() {
    let mut world = World::answered();
    world.say(600, "Go on.");
    world.run_for(600);
    let generation = world.generation();
    world.engine = call_world::Engine::Stalls;
    world.agent(LONG);
    assert_eq!(world.spoken().len(), 3, "one to play, two ahead");
    // The third is ready first, then the second, then the first.
    for sentence in [2u32, 1, 0] {
        let sound = Pcm::new(RATE, vec![i16::try_from(sentence).unwrap() + 1; 3_200]);
        world.feed(Input::Voice { generation, sentence, sound });
        world.feed(Input::VoiceEnd { generation, sentence });
    }
    world.run_for(1_000);
    let mut order: Vec<i16> = Vec::new();
    for (_, output) in &world.outputs {
        if let Output::Audio { frame, .. } = output {
            order.extend(frame.samples());
        }
    }
    order.dedup();
    assert_eq!(order, [1, 2, 3]);
    assert_eq!(world.spoken().len(), 6);
}

#[test]
fn sound_at_the_engines_rate_is_brought_to_the_clients() {
    let config = Config { playout_rate: Rate::Hz8000, ..Config::default() };
    let mut world = World::new(config);
    world.engine = call_world::Engine::Stalls;
    world.report_every = 0;
    // This sound does not carry the text it stands for.
    world.honest = false;
    world.feed(Input::Answered);
    world.feed(Input::Say { line: Line { text: "Hello.".into(), interruptible: true } });
    let sound = Pcm::new(Rate::Hz22050, vec![1_000; 22_050]);
    world.feed(Input::Voice { generation: 1, sentence: 0, sound });
    world.feed(Input::VoiceEnd { generation: 1, sentence: 0 });
    world.run_for(2_000);
    let frames =
        world.count(|o| matches!(o, Output::Audio { frame, .. } if frame.rate() == Rate::Hz8000));
    assert_eq!(frames, 50);
}

#[test]
fn marks_ask_for_what_was_sent_and_the_last_one_covers_all() {
    let world = World::replying("This is what we will do today.", 4_000);
    let (mut frames, mut marks) = (0, Vec::new());
    for (_, output) in &world.outputs {
        match output {
            Output::Audio { .. } => frames += 1,
            Output::Mark { samples, stretch } => {
                assert_eq!((*samples, *stretch), (frames * 320, 0));
                marks.push(frames);
            }
            _ => {}
        }
    }
    assert!(marks.windows(2).all(|pair| pair[1] - pair[0] <= 10));
    assert_eq!(marks.last(), Some(&frames));
}

#[test]
fn a_reply_ends_with_the_clients_last_report_or_half_a_second_late() {
    for (report_every, most) in [(100, 110), (0, 505)] {
        let mut world = World::answered();
        world.report_every = report_every;
        world.say(600, "Go on.");
        world.run_for(600);
        world.agent("Yes, of course.");
        world.run_for(4_000);
        let end = world.when(0, |o| matches!(o, Output::Metrics { .. })).unwrap();
        assert!(end - world.last_sound <= most, "{} ms late", end - world.last_sound);
        assert_eq!(world.heard()[0].1, Outcome::Complete);
    }
}

#[test]
fn stale_reports_and_reports_of_more_than_was_sent_change_nothing() {
    let mut world = World::replying(LONG, 2_150);
    world.report_every = 0;
    world.feed(Input::Played { stretch: 0, samples: u64::MAX });
    world.feed(Input::Played { stretch: 7, samples: 0 });
    world.speak(400);
    world.run_for(600);
    // The stretch was cleared: a mark that comes back now says nothing.
    world.feed(Input::Played { stretch: 0, samples: 320_000 });
    world.hear("Stop it.");
    let (heard, _) = world.heard().pop().unwrap();
    assert_eq!(heard, "First we look at the weather. Then");
}

#[test]
fn a_caller_who_hangs_up_has_heard_what_was_played() {
    let mut world = World::replying(LONG, 3_000);
    world.feed(Input::HungUp);
    assert!(world.has(&Output::HangUp { reason: EndReason::CallerHungUp }));
    assert_eq!(
        world.heard(),
        [("First we look at the weather. Then we look at the".into(), Outcome::HungUp)]
    );
    world.check_replay();
}

#[test]
fn a_splitters_anchors_map_spoken_words_back_to_the_text() {
    struct Prices;
    impl Splitter for Prices {
        fn push(&mut self, _: &str, _: &mut Vec<Sentence>) {}
        fn finish(&mut self, out: &mut Vec<Sentence>) {
            // "It is $5." is spoken as "It is five dollars."
            out.push(Sentence {
                span: 0..9,
                spoken: "It is five dollars.".into(),
                anchors: vec![(0, 0), (2, 2), (5, 5), (18, 8), (19, 9)],
            });
        }
        fn reset(&mut self) {}
    }
    let config = Config::default();
    let mut call =
        frontdesk_voice::call::Call::new(config, Box::new(call_world::Loudness), Box::new(Prices));
    let mut out = Vec::new();
    let line = Line { text: "It is $5.".into(), interruptible: true };
    for input in [
        Input::Answered,
        Input::Say { line },
        // A second of sound: the price begins at 0.31 s and ends at 0.95 s.
        Input::Voice { generation: 1, sentence: 0, sound: Pcm::new(RATE, vec![1; 16_000]) },
        Input::VoiceEnd { generation: 1, sentence: 0 },
    ] {
        call.handle(0, input, &mut out);
    }
    for now in (0..=800).step_by(20) {
        call.handle(now, Input::Timeout, &mut out);
    }
    call.handle(800, Input::Interrupt, &mut out);
    let heard = out.iter().find_map(|output| match output {
        Output::Commit { message } => Some((message.heard, message.text.as_str())),
        _ => None,
    });
    assert_eq!(heard, Some((5, "It is $5.")), "half a price was not heard");
}

#[test]
fn the_plain_splitter_gives_the_same_sentences_however_text_is_cut() {
    let text = "One. Two!  Three?\nFour, 3.5 and so on… 五つ。六つ! Rest";
    let cut = |size: usize| {
        let (mut splitter, mut out) = (PlainSplitter::default(), Vec::new());
        let chars: Vec<char> = text.chars().collect();
        for piece in chars.chunks(size) {
            splitter.push(&piece.iter().collect::<String>(), &mut out);
        }
        splitter.finish(&mut out);
        out
    };
    let whole = cut(1_000);
    assert_eq!(whole.len(), 7);
    assert_eq!(whole.iter().map(|s| &text[s.span.clone()]).collect::<String>(), text);
    for size in 1..20 {
        assert_eq!(cut(size), whole);
    }
}
