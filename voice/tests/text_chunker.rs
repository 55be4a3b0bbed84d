//! The sentence chunker against its corpus, and its promises against arbitrary text.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::time::{Duration, Instant};

use frontdesk_voice::text::{Chunk, ChunkKind, Chunker, ChunkerOptions, Locale};
use proptest::prelude::*;

/// One line of the corpus: options, and the text with its cuts.
struct Case {
    line: usize,
    options: ChunkerOptions,
    text: String,
    expected: Vec<String>,
}

/// Reads `lang key=value ... | text¦text`; `⏎` is a line feed, `¦` a cut.
fn corpus() -> Vec<Case> {
    let mut cases = Vec::new();
    for (number, line) in include_str!("text/chunks.txt").lines().enumerate() {
        if line.is_empty() || line.starts_with("//") {
            continue;
        }
        let (head, body) = line.split_once(" | ").unwrap_or_else(|| panic!("line {}", number + 1));
        let mut words = head.split_whitespace();
        let lang = Locale::from_tag(words.next().unwrap()).lang;
        let mut options = ChunkerOptions { lang, first_min_chars: 0, ..ChunkerOptions::default() };
        for setting in words {
            let (key, value) = setting.split_once('=').unwrap();
            let value = value.parse().unwrap();
            match key {
                "max" => options.max_chars = value,
                "min" => options.min_chars = value,
                "first" => options.first_min_chars = value,
                "long" => options.first_long_chars = value,
                "unspaced" => options.unspaced_chars = value,
                _ => panic!("line {}: {key}", number + 1),
            }
        }
        let body = body.replace('⏎', "\n");
        cases.push(Case {
            line: number + 1,
            options,
            text: body.replace('¦', ""),
            expected: body.split('¦').map(str::to_owned).collect(),
        });
    }
    cases
}

fn chunks(
    options: &ChunkerOptions,
    pieces: impl IntoIterator<Item = impl AsRef<str>>,
) -> Vec<Chunk> {
    let mut chunker = Chunker::new(options.clone());
    let mut chunks = Vec::new();
    for piece in pieces {
        chunks.extend(chunker.push(piece.as_ref()));
    }
    chunks.extend(chunker.finish());
    chunks
}

fn characters(text: &str) -> impl Iterator<Item = String> {
    text.chars().map(String::from)
}

#[test]
fn every_case_of_the_corpus_is_cut_as_written() {
    let cases = corpus();
    assert!(cases.len() >= 120, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let found: Vec<String> =
            chunks(&case.options, [&case.text]).into_iter().map(|chunk| chunk.text).collect();
        if found != case.expected {
            wrong.push(format!("{}: {:?}\n  not {:?}", case.line, found, case.expected));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn the_corpus_is_cut_the_same_one_character_at_a_time() {
    for case in corpus() {
        let whole = chunks(&case.options, [&case.text]);
        assert_eq!(chunks(&case.options, characters(&case.text)), whole, "line {}", case.line);
    }
}

#[test]
fn a_sentence_is_given_out_as_soon_as_the_next_one_begins() {
    let mut chunker = Chunker::new(ChunkerOptions::default());
    assert_eq!(chunker.push("Good morning."), []);
    assert_eq!(chunker.held_back(), "Good morning.");
    assert_eq!(chunker.push(" "), []);
    let given = chunker.push("H");
    assert_eq!(given.len(), 1);
    assert_eq!(given[0].text, "Good morning. ");
    assert_eq!(given[0].range, 0..14);
    assert_eq!(chunker.push("ow are you?"), []);
    let rest = chunker.finish();
    assert_eq!(rest[0].range, 14..26);
    assert_eq!(chunker.finish(), []);
}

#[test]
fn code_and_table_rows_are_kinds_of_their_own() {
    let text = "Run this:\n```sh\nmake. run. Now\n```\nThen see:\n| a. B | c |\n|---|---|\nDone.";
    let found: Vec<(ChunkKind, String)> = chunks(&ChunkerOptions::default(), [text])
        .into_iter()
        .map(|chunk| (chunk.kind, chunk.text))
        .collect();
    let expected = [
        (ChunkKind::Prose, "Run this:\n"),
        (ChunkKind::Code, "```sh\nmake. run. Now\n```\n"),
        (ChunkKind::Prose, "Then see:\n"),
        (ChunkKind::Table, "| a. B | c |\n"),
        (ChunkKind::Table, "|---|---|\n"),
        (ChunkKind::Prose, "Done."),
    ];
    assert_eq!(found, expected.map(|(kind, text)| (kind, text.to_owned())));
}

#[test]
fn an_unclosed_fence_is_code_to_the_end_and_bounded() {
    let text = format!("```\n{}", "let x = 1;\n".repeat(1000));
    let found = chunks(&ChunkerOptions::default(), [&text]);
    assert!(found.len() > 5);
    assert!(found.iter().all(|chunk| chunk.kind == ChunkKind::Code && chunk.text.len() < 2000));
}

#[test]
fn what_is_held_back_is_bounded() {
    let options = ChunkerOptions::default();
    for piece in [
        "1", "a", " ", "\n", ".", "<a ", "[x", "`", "|", "> ", "- ", "1. ", "😀", "```\nx", "ก",
        "。",
    ] {
        let mut chunker = Chunker::new(options.clone());
        let mut longest = 0;
        for _ in 0..20_000 {
            chunker.push(piece);
            longest = longest.max(chunker.held_back().chars().count());
        }
        assert!(longest <= options.max_chars * 8 + 400, "{piece:?}: {longest}");
    }
}

#[test]
fn a_megabyte_of_anything_takes_linear_time() {
    let options = ChunkerOptions::default();
    let pieces = [
        ".", "a", "1", " ", "\n", "\n\n", "Dr. ", "z. B. ", "?!", "<", "<a", "[", "[a](", "`",
        "```\n", "|", "|\n", "#", "- ", "1. ", "> ", "\"", ". \"", "... ", "😀", ". 😀", "。", "ก",
        "A. ", "a, ", "e.g. ", ".)", ".[1]",
    ];
    let mixed = pieces.concat();
    for piece in pieces.into_iter().chain([mixed.as_str()]) {
        // The mixture is the megabyte; the rest are shorter to keep the suite quick. Quadratic work
        // on 100 kB is already 10^10 steps.
        let size = if piece == mixed { 1_000_000 } else { 100_000 };
        let text = piece.repeat(size / piece.len());
        let began = Instant::now();
        let found = chunks(&options, [&text]);
        let whole = began.elapsed();
        assert_eq!(found.iter().map(|chunk| chunk.text.len()).sum::<usize>(), text.len());
        let began = Instant::now();
        // One character at a time: retried look-ahead must stay bounded.
        chunks(&options, characters(&text[..text.floor_char_boundary(20_000)]));
        let single = began.elapsed();
        assert!(whole < Duration::from_secs(20), "{piece:?} {whole:?}");
        assert!(single < Duration::from_secs(20), "{piece:?} by character {single:?}");
    }
}

/// Text made of what matters to the chunker, so that random cases meet its rules.
fn tricky_text() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        4 => prop::sample::select(vec![
            ".", "!", "?", "…", "...", "。", "।", "؟", "։", ",", ", ", ";", ":", "\n", "\n\n", " ", "  ", "\"", "'",
            "“", "”", "(", ")", "[", "]", "](", "<", ">", "`", "```", "```\n", "|", "| ", "# ", "- ", "1. ", "2) ",
            "> ", "*", "**", "_", "😀", "👍🏽", "🇩🇪", "é", "e\u{301}", "ก", "ภาษา", "漢字", "かな", "α;", "\r\n", "\t",
        ]).prop_map(String::from),
        3 => prop::sample::select(vec![
            "Dr", "Mr", "e.g", "z. B", "U.S", "p.m", "No", "Fig", "etc", "usw", "The", "Then", "der", "Dann", "iPhone",
            "3", "3.14", "10:30", "1,000", "www.example.org", "a@b.example", "I", "J", "hello", "World", "12",
        ]).prop_map(String::from),
        1 => any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(token, 0..60).prop_map(|tokens| tokens.concat())
}

fn some_options() -> impl Strategy<Value = ChunkerOptions> {
    let lang = prop::sample::select(vec!["en", "de", "fr", "es", "it", "pt", "nl", "xx"]);
    (lang, 1usize..80, 0usize..20, 0usize..20, 0usize..40).prop_map(
        |(lang, max, min, first, long)| ChunkerOptions {
            lang: Locale::from_tag(lang).lang,
            max_chars: max,
            min_chars: min,
            first_min_chars: first,
            first_long_chars: long,
            unspaced_chars: 10,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_chunks_are_the_text(text in tricky_text(), options in some_options()) {
        let found = chunks(&options, [&text]);
        let mut at = 0;
        for chunk in &found {
            prop_assert_eq!(chunk.range.start, at);
            prop_assert_eq!(&text[chunk.range.clone()], chunk.text.as_str());
            prop_assert!(!chunk.text.is_empty());
            at = chunk.range.end;
        }
        prop_assert_eq!(at, text.len());
    }

    #[test]
    fn the_cuts_do_not_depend_on_the_deltas(
        text in tricky_text(),
        options in some_options(),
        sizes in prop::collection::vec(1usize..9, 1..20),
    ) {
        let whole = chunks(&options, [&text]);
        prop_assert_eq!(&chunks(&options, characters(&text)), &whole);
        let letters: Vec<char> = text.chars().collect();
        let mut pieces = Vec::new();
        let (mut at, mut turn) = (0, 0);
        while at < letters.len() {
            let end = (at + sizes[turn % sizes.len()]).min(letters.len());
            pieces.push(letters[at..end].iter().collect::<String>());
            (at, turn) = (end, turn + 1);
        }
        prop_assert_eq!(&chunks(&options, pieces), &whole);
    }

    #[test]
    fn arbitrary_unicode_is_neither_lost_nor_doubled(text in any::<String>()) {
        let found = chunks(&ChunkerOptions::default(), characters(&text));
        let joined: String = found.iter().map(|chunk| chunk.text.as_str()).collect();
        prop_assert_eq!(joined, text);
    }

    #[test]
    fn no_chunk_exceeds_the_bound(text in tricky_text(), options in some_options()) {
        for chunk in chunks(&options, [&text]) {
            prop_assert!(chunk.text.chars().count() <= options.max_chars * 8 + 400);
        }
    }
}
