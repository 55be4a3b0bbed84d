//! Dialogues that a mail admin can read, in `tests/receive/dialogues/`; `harness.rs` says how.

#![allow(clippy::unwrap_used)]

#[path = "receive/harness.rs"]
mod harness;

use std::fs;
use std::path::Path;

use harness::Script;
use proptest::prelude::*;

fn scripts() -> Vec<(String, Script)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/receive/dialogues");
    let mut scripts: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, Script::parse(&fs::read_to_string(path).unwrap()))
        })
        .collect();
    scripts.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(scripts.len() >= 30, "only {} scripts found", scripts.len());
    scripts
}

#[test]
fn every_dialogue_goes_as_its_script_says() {
    for (name, script) in scripts() {
        script.play(&name, |_| false);
    }
}

#[test]
fn dialogues_do_not_depend_on_where_the_input_is_cut() {
    for (name, script) in scripts() {
        if script.in_one_piece() {
            continue;
        }
        script.play(&name, |_| true);
        for at in 1..script.octets() {
            script.play(&name, |octet| octet == at);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]
    #[test]
    fn dialogues_do_not_depend_on_how_often_the_input_is_cut(cuts in prop::collection::vec(any::<bool>(), 257)) {
        for (name, script) in scripts() {
            if !script.in_one_piece() {
                script.play(&name, |octet| cuts[octet % cuts.len()]);
            }
        }
    }
}
