//! The spoken-text normaliser against its tables, and its promises against arbitrary text.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::time::{Duration, Instant};

use frontdesk_voice::text::spoken::{EXPANSION, SLACK};
use frontdesk_voice::text::{ChunkKind, Locale, Normaliser, Settings, Spoken};
use proptest::prelude::*;

const TABLES: [(&str, &str); 5] = [
    ("en", include_str!("text/spoken_en.txt")),
    ("de", include_str!("text/spoken_de.txt")),
    ("fr", include_str!("text/spoken_fr.txt")),
    ("es", include_str!("text/spoken_es.txt")),
    ("xx", include_str!("text/spoken_other.txt")),
];

struct Case {
    place: String,
    settings: Settings,
    kind: ChunkKind,
    shown: String,
    spoken: String,
}

fn settings(tag: &str) -> Settings {
    Settings { locale: Locale::from_tag(tag), ..Settings::default() }
}

/// Reads `shown => spoken`; `⏎` is a line feed. `@ en-GB`, `@ name_emoji`, `@ announce_code`,
/// `@ table`, `@ code` and `@ plain` change the settings for the lines after.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (tag, table) in TABLES {
        let mut current = settings(tag);
        let mut kind = ChunkKind::Prose;
        for (number, line) in table.lines().enumerate() {
            if line.is_empty() || line.starts_with("// ") {
                continue;
            }
            match line.strip_prefix("@ ") {
                Some("plain") => (current, kind) = (settings(tag), ChunkKind::Prose),
                Some("name_emoji") => current.name_emoji = true,
                Some("announce_code") => current.announce_code = true,
                Some("table") => kind = ChunkKind::Table,
                Some("code") => kind = ChunkKind::Code,
                Some(locale) => current.locale = Locale::from_tag(locale),
                None => {
                    let (shown, spoken) = line
                        .split_once(" =>")
                        .unwrap_or_else(|| panic!("{tag} line {}: no arrow", number + 1));
                    cases.push(Case {
                        place: format!("{tag}:{}", number + 1),
                        settings: current,
                        kind,
                        shown: shown.replace('⏎', "\n"),
                        spoken: spoken.trim().to_owned(),
                    });
                }
            }
        }
    }
    cases
}

fn check_map(shown: &str, spoken: &Spoken) {
    let (mut at, mut said) = (0, 0);
    for span in spoken.map.spans() {
        assert_eq!((span.shown.start, span.spoken.start), (at, said), "{shown:?}");
        if span.verbatim {
            assert_eq!(&shown[span.shown.clone()], &spoken.text[span.spoken.clone()]);
        }
        (at, said) = (span.shown.end, span.spoken.end);
    }
    assert_eq!((at, said), (shown.len(), spoken.text.len()), "{shown:?}");
    let mut last = 0;
    for position in 0..=spoken.text.len() {
        let found = spoken.map.shown_at(position);
        assert!(found >= last && found <= shown.len(), "{shown:?} at {position}");
        if spoken.text.is_char_boundary(position) {
            assert!(shown.is_char_boundary(found), "{shown:?} at {position}");
        }
        last = found;
    }
    if !spoken.text.is_empty() {
        assert_eq!(spoken.map.shown_at(0), 0);
    }
    assert_eq!(spoken.map.shown_at(spoken.text.len()), shown.len());
    let mut last = 0;
    for position in 0..=shown.len() {
        let found = spoken.map.spoken_at(position);
        assert!(found >= last && found <= spoken.text.len(), "{shown:?} at {position}");
        last = found;
    }
    assert_eq!(spoken.map.spoken_at(shown.len()), spoken.text.len());
}

fn check_text(shown: &str, spoken: &Spoken) {
    let text = &spoken.text;
    assert!(!text.contains(char::is_control), "{shown:?} -> {text:?}");
    assert!(!text.contains(['<', '>', '&']), "{shown:?} -> {text:?}");
    assert!(!text.contains("  ") && text.trim() == text, "{shown:?} -> {text:?}");
    assert!(text.len() <= shown.len() * EXPANSION + SLACK, "{} from {shown:?}", text.len());
}

#[test]
fn every_case_of_the_tables_is_spoken_as_written() {
    let cases = cases();
    assert!(cases.len() >= 250, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let found = Normaliser::new(case.settings).speak(&case.shown, case.kind);
        check_map(&case.shown, &found);
        check_text(&case.shown, &found);
        if found.text != case.spoken {
            wrong.push(format!(
                "{}: {:?}\n  spoke {:?}\n  not   {:?}",
                case.place, case.shown, found.text, case.spoken
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn a_heard_position_maps_to_the_shown_text() {
    let shown = "It costs **$3.50** today, or [more](https://x.example/).";
    let spoken = Normaliser::new(settings("en")).speak(shown, ChunkKind::Prose);
    assert_eq!(spoken.text, "It costs three dollars and fifty cents today, or more.");
    let heard = |words: &str| {
        let end = spoken.text.find(words).unwrap() + words.len();
        &shown[..spoken.map.shown_at(end)]
    };
    assert_eq!(heard("It costs"), "It costs");
    // Half an amount has not been heard as the amount.
    assert_eq!(heard("three dollars"), "It costs **");
    assert_eq!(heard("cents today"), "It costs **$3.50** today");
    assert_eq!(heard("more."), shown);
    let money = shown.find("$3").unwrap();
    assert_eq!(&spoken.text[spoken.map.spoken_at(money)..][..5], "three");
    let today = shown.find("today").unwrap();
    assert_eq!(&spoken.text[spoken.map.spoken_at(today)..][..5], "today");
}

#[test]
fn markup_for_engines_is_neither_spoken_nor_left_to_be_obeyed() {
    for shown in [
        "<speak>Hi<break time=\"9s\"/> there</speak>",
        "Hi <prosody rate='x-slow'>there</prosody>",
        "Hi <audio src=\"https://evil.example/a.wav\"/>there",
        "Hi <!-- <break/> --> there",
        "Hi <script>there</script>",
    ] {
        let spoken = Normaliser::new(settings("en")).speak(shown, ChunkKind::Prose);
        assert_eq!(spoken.text, "Hi there", "{shown}");
    }
    let cut = Normaliser::new(settings("en")).speak("Hi <break time=", ChunkKind::Prose);
    assert!(!cut.text.contains("break"), "{}", cut.text);
}

#[test]
fn hostile_repetition_takes_linear_time() {
    let normaliser = Normaliser::new(settings("en"));
    for piece in [
        "[", "`", "<", "<a ", "1", "1 ", "1-", "1.", "1,000,", "A.", "a@", "a.", "(1", "$", "*",
        "\\", "#", "- ", "&", "I ", "😀",
    ] {
        let text = piece.repeat(20_000 / piece.len());
        let began = Instant::now();
        let spoken = normaliser.speak(&text, ChunkKind::Prose);
        let took = began.elapsed();
        check_text(&text, &spoken);
        assert!(took < Duration::from_secs(20), "{piece:?} {took:?}");
    }
}

fn tricky_text() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        4 => prop::sample::select(vec![
            " ", " ", " ", "\n", "\n\n", ".", ",", "-", "–", "/", ":", "'", "\"", "(", ")", "[", "]", "](", "<", ">", "&",
            "`", "*", "_", "#", "@", "+", "=", "~", "%", "$", "€", "£", "°C", "½", "…", "!", "?", "|", "\\", "§", "\u{a0}",
            "😀", "👍🏽", "\u{200d}", "\u{7}", "\u{202e}", "&amp;", "<b>", "</b>", "- ", "# ", "> ", "1. ", "](x)", "×", "^",
        ]).prop_map(String::from),
        4 => prop::sample::select(vec![
            "0", "1", "5", "12", "07", "100", "1999", "2025", "1,000", "1.000", "3.14", "3,5", "10:30", "31", "555", "0123",
            "999999999999999", "00000000000000000000", "km", "MB", "kWh", "h", "s", "m", "x", "st", "th", "er", "º", "am",
            "p.m.", "March", "mars", "Mai", "de", "mayo", "EUR", "USD", "million", "k", "FBI", "NASA", "XIV", "Henry",
            "Louis", "order", "a@b.example", "www.x.org", "https://a.example/b?c", "e.g.", "z. B.", "Dr.", "St.", "No.",
            "v1", "MP3", "Uhr", "é", "ß", "漢", "ก", "ا",
        ]).prop_map(String::from),
        1 => any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

fn some_settings() -> impl Strategy<Value = Settings> {
    let tag = prop::sample::select(vec!["en-US", "en-GB", "de", "fr", "es", "xx"]);
    (tag, any::<bool>(), any::<bool>()).prop_map(|(tag, name_emoji, announce_code)| Settings {
        locale: Locale::from_tag(tag),
        name_emoji,
        announce_code,
    })
}

fn some_kind() -> impl Strategy<Value = ChunkKind> {
    prop::sample::select(vec![ChunkKind::Prose, ChunkKind::Table, ChunkKind::Code])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn tricky_text_is_mapped_and_clean(shown in tricky_text(), settings in some_settings(), kind in some_kind()) {
        let spoken = Normaliser::new(settings).speak(&shown, kind);
        check_map(&shown, &spoken);
        check_text(&shown, &spoken);
    }

    #[test]
    fn arbitrary_unicode_is_mapped_and_clean(shown in any::<String>(), settings in some_settings()) {
        let spoken = Normaliser::new(settings).speak(&shown, ChunkKind::Prose);
        check_map(&shown, &spoken);
        check_text(&shown, &spoken);
    }
}
