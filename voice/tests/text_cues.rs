//! What transcripts say about the end of a turn, as tables.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use frontdesk_voice::text::Locale;
use frontdesk_voice::text::cues::{Cue, digits_at_end, end_of_turn, is_backchannel};
use proptest::prelude::*;

fn cue(name: &str) -> Cue {
    match name {
        "empty" => Cue::Empty,
        "complete" => Cue::Complete,
        "question" => Cue::Question,
        "open" => Cue::Open,
        "trailing" => Cue::Trailing,
        "half-number" => Cue::HalfNumber,
        "half-address" => Cue::HalfAddress,
        _ => panic!("no cue is called {name}"),
    }
}

#[test]
fn every_transcript_of_the_table_gives_its_cue() {
    let mut count = 0;
    let mut wrong = Vec::new();
    for line in include_str!("text/cues.txt").lines() {
        if line.is_empty() || line.starts_with("//") {
            continue;
        }
        let (head, transcript) = line.split_once('|').unwrap();
        let (tag, name) = head.trim().split_once(' ').unwrap();
        let found = end_of_turn(Locale::from_tag(tag), transcript);
        if found != cue(name) {
            wrong.push(format!("{line}: {found:?}"));
        }
        count += 1;
    }
    assert!(count >= 100, "{count}");
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn signs_of_listening_are_told_from_words() {
    for (tag, transcript, expected) in [
        ("en", "mhm", true),
        ("en", "Mm-hmm.", true),
        ("en", "ok", true),
        ("en", "Yeah, yeah.", true),
        ("en", "I see.", true),
        ("en", "got it", true),
        ("en", "okay right sure", true),
        ("en", "yeah yeah yeah yeah", false),
        ("en", "stop", false),
        ("en", "no", false),
        ("en", "yeah but", false),
        ("en", "wait", false),
        ("en", "", false),
        ("en", "genau", false),
        ("de", "genau", true),
        ("de", "Ja, genau.", true),
        ("de", "ach so", true),
        ("de", "Alles klar!", true),
        ("de", "nein", false),
        ("de", "Moment", false),
        ("fr", "oui", true),
        ("fr", "D’accord.", true),
        ("fr", "ah bon", true),
        ("fr", "attendez", false),
        ("es", "vale vale", true),
        ("es", "claro", true),
        ("es", "espera", false),
        ("ja", "mm", true),
        ("ja", "はい", false),
    ] {
        assert_eq!(
            is_backchannel(Locale::from_tag(tag), transcript),
            expected,
            "{tag}: {transcript}"
        );
    }
}

#[test]
fn dictated_digits_are_counted_from_the_end() {
    for (tag, transcript, expected) in [
        ("en", "my code is four eight two one", 4),
        ("en", "my code is 4821", 4),
        ("en", "555-1234", 7),
        ("en", "five five double two", 4),
        ("en", "I have two cats", 0),
        ("de", "null eins sieben eins", 4),
        ("fr", "zéro six douze", 4),
        ("es", "seis uno dos", 3),
        ("ja", "123", 0),
    ] {
        assert_eq!(
            digits_at_end(Locale::from_tag(tag), transcript),
            expected,
            "{tag}: {transcript}"
        );
    }
}

#[test]
fn finished_and_unfinished_are_opposites() {
    for cue in [
        Cue::Empty,
        Cue::Complete,
        Cue::Question,
        Cue::Open,
        Cue::Trailing,
        Cue::HalfNumber,
        Cue::HalfAddress,
    ] {
        assert!(!(cue.is_finished() && cue.wants_more()), "{cue:?}");
    }
    assert!(Cue::Question.is_finished());
    assert!(Cue::HalfNumber.wants_more());
    assert!(!Cue::Open.is_finished() && !Cue::Open.wants_more());
}

proptest! {
    #[test]
    fn no_transcript_panics_and_only_silence_is_empty(text in any::<String>(), tag in prop::sample::select(vec!["en", "de", "fr", "es", "xx"])) {
        let locale = Locale::from_tag(tag);
        let found = end_of_turn(locale, &text);
        is_backchannel(locale, &text);
        digits_at_end(locale, &text);
        prop_assert!(found == Cue::Empty || text.chars().any(|c| c.is_alphanumeric() || c == '@' || c == '+'));
    }
}
