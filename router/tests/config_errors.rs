//! Broken configs, each beside the text an operator sees: `bad_configs/NAME.toml` and `NAME.txt`.
//!
//! After a deliberate change of wording, `BLESS=1 cargo test -p frontdesk-router --test
//! config_errors` writes the texts anew; read the diff.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use frontdesk_router::config::{Config, ConfigErrors, Place};
use proptest::prelude::*;

const EXAMPLE: &str = include_str!("../../frontdesk.example.toml");

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    Config::parse(text, Path::new("frontdesk.toml"), Path::new(""), &[], &|_| None)
}

fn bad_configs() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad_configs");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_bad_config_says_what_is_wrong_and_how_to_fix_it() {
    let files = bad_configs();
    assert!(files.len() >= 16, "only {} bad configs were found", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let expected_file = file.with_extension("txt");
        let found = match parse(&std::fs::read_to_string(&file).unwrap()) {
            Ok(_) => "taken without a complaint\n".to_owned(),
            Err(errors) => format!("{errors}\n"),
        };
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&expected_file, &found).unwrap();
        }
        let expected = std::fs::read_to_string(&expected_file).unwrap_or_default();
        if found != expected {
            wrong.push(format!("{}\nexpected:\n{expected}found:\n{found}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_bad_config_is_expected_to_be_taken() {
    for file in bad_configs() {
        let text = std::fs::read_to_string(file.with_extension("txt")).unwrap();
        assert!(text.starts_with("frontdesk.toml"), "{}: {text}", file.display());
    }
}

#[test]
fn problems_come_in_the_order_of_the_file_with_lines_and_columns_counted_from_one() {
    let errors = parse("[dns]\ntimeout = 1\n[http]\n  lisen = []\n[smtp]\n\n\npublic = 3\n");
    let places: Vec<_> = errors.unwrap_err().problems.iter().map(|p| p.place.unwrap()).collect();
    let at = |line, column| Place { line, column };
    assert_eq!(places, [at(2, 11), at(4, 3), at(8, 10)]);
}

#[test]
fn columns_count_characters_not_bytes() {
    let errors = parse("[server]\nhostname = \"ééé\"; data = 1\n").unwrap_err();
    assert_eq!(errors.problems[0].place, Some(Place { line: 2, column: 17 }));
}

#[test]
fn a_secret_never_shows_in_an_error() {
    let env = |name: &str| {
        (name == "FRONTDESK_METRICS_TOKEN").then(|| "tell no one ever about this".to_owned())
    };
    let text = "[http]\nmetrics_token = \"hush-hush-hush-hush\"\n";
    let errors =
        Config::parse(text, Path::new("f"), Path::new(""), &[], &env).unwrap_err().to_string();
    assert!(errors.contains("FRONTDESK_METRICS_TOKEN has white space inside"), "{errors}");
    assert!(!errors.contains("hush") && !errors.contains("tell no one"), "{errors}");
}

proptest! {
    #[test]
    fn a_damaged_file_is_answered_with_places_that_are_in_it(
        cut in 0..EXAMPLE.len(),
        length in 0_usize..40,
        put in "[\\PC\n\"\\[\\]={}#]{0,12}",
    ) {
        let ascii_only = EXAMPLE.is_ascii();
        prop_assert!(ascii_only, "cutting at any byte needs an ASCII example");
        let end = (cut + length).min(EXAMPLE.len());
        let text = format!("{}{put}{}", &EXAMPLE[..cut], &EXAMPLE[end..]);
        if let Err(errors) = parse(&text) {
            prop_assert!(!errors.problems.is_empty());
            let lines = text.split('\n').count();
            for place in errors.problems.iter().filter_map(|problem| problem.place) {
                prop_assert!((1..=lines).contains(&place.line) && place.column >= 1, "{errors}");
            }
        }
    }
}
