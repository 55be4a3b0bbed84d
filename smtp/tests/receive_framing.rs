//! Where lines and messages end, whatever the input is and however it is cut.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use frontdesk_smtp::receive::framer::{BareLf, DataRules, DataViolation};
use frontdesk_smtp::receive::fuzz;
use proptest::prelude::*;

/// Sequences that some server takes, or took, for the end of a message.
const FALSE_ENDS: [(&str, &[u8]); 15] = [
    ("LF.LF", b"\n.\n"),
    ("LF.CR", b"\n.\r"),
    ("CR.LF", b"\r.\n"),
    ("CR.CR", b"\r.\r"),
    ("LF.CRLF", b"\n.\r\n"),
    ("CR.CRLF", b"\r.\r\n"),
    ("CRLF NUL .CRLF", b"\r\n\0.\r\n"),
    ("CRLF. NUL CRLF", b"\r\n.\0\r\n"),
    ("CRLF.CRCRLF", b"\r\n.\r\r\n"),
    ("CRCRLF.CRCRLF", b"\r\r\n.\r\r\n"),
    ("CRLF.LF", b"\r\n.\n"),
    ("CRLF.CR", b"\r\n.\r"),
    ("CR CRLF.LF", b"\r\r\n.\n"),
    ("LFCR.CRLF", b"\n\r.\r\n"),
    ("LFLF.LFLF", b"\n\n.\n\n"),
];

/// All ways to cut `input` in two, and octet by octet.
fn at_every_split(input: &[u8], rules: DataRules) -> fuzz::Framed {
    let whole = fuzz::frame(input, rules, |_| false);
    for split in 1..input.len() {
        assert_eq!(fuzz::frame(input, rules, |at| at == split), whole, "cut after {split}");
    }
    assert_eq!(fuzz::frame(input, rules, |_| true), whole, "octet by octet");
    whole
}

#[test]
fn no_smuggling_sequence_ends_a_message_at_any_split() {
    for bare_lf in [BareLf::Reject, BareLf::Normalise] {
        let rules = DataRules { bare_lf, ..DataRules::default() };
        for (name, sequence) in FALSE_ENDS {
            // At the start of the message, after text, and after an empty line.
            for before in [&b""[..], b"text", b"text\r\n"] {
                let smuggled = b"MAIL FROM:<admin@example.org>\r\n";
                let input = [before, sequence, smuggled, b".\r\n", b"QUIT\r\n"].concat();
                let end = input.len() - b"QUIT\r\n".len();
                let (taken, content, violation) = at_every_split(&input, rules);
                assert_eq!(taken, Some(end), "{name} ended the message after {before:?}");
                assert!(violation.is_some(), "{name} passed after {before:?}");
                assert!(content.is_empty(), "{name}: refused content is kept");
            }
        }
    }
}

#[test]
fn a_true_end_after_a_stray_cr_ends_the_message_and_is_refused() {
    let input = b"text\r\r\n.\r\nQUIT\r\n";
    let (taken, _, violation) = at_every_split(input, DataRules::default());
    assert_eq!((taken, violation), (Some(10), Some(DataViolation::BareCr)));
}

#[test]
fn a_dot_right_after_354_ends_the_message_at_any_split() {
    let framed = at_every_split(b".\r\nQUIT\r\n", DataRules::default());
    assert_eq!(framed, (Some(3), Vec::new(), None));
}

#[test]
fn transparency_dots_are_removed_from_every_line_and_the_first() {
    let (_, content, violation) =
        at_every_split(b"..one\r\n...\r\n.x\r\na.b\r\n\r\n.\r\n", DataRules::default());
    assert_eq!((content.as_slice(), violation), (&b".one\r\n..\r\nx\r\na.b\r\n\r\n"[..], None));
}

#[test]
fn nul_is_refused_anywhere_in_a_message() {
    for input in [&b"\0\r\n.\r\n"[..], b"a\0b\r\n.\r\n", b".\0\r\n.\r\n", b"a\r\n\0\r\n.\r\n"] {
        let (taken, _, violation) = at_every_split(input, DataRules::default());
        assert_eq!((taken, violation), (Some(input.len()), Some(DataViolation::Nul)));
    }
}

#[test]
fn a_smuggling_form_is_reported_even_after_a_long_line() {
    let input = [vec![b'x'; 1000], b"\n\r\n.\r\n".to_vec()].concat();
    let (_, _, violation) = fuzz::frame(&input, DataRules::default(), |_| false);
    assert_eq!(violation, Some(DataViolation::BareLf));
}

/// Every file of the corpus goes through both fuzz bodies with many kinds of split.
#[test]
fn the_fuzz_corpus_passes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/receive/dialogues");
    let mut inputs: Vec<Vec<u8>> = FALSE_ENDS.iter().map(|(_, s)| s.to_vec()).collect();
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let sent: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("c: ")).collect();
        inputs.push((sent.join("\r\n") + "\r\n").into_bytes());
    }
    assert!(inputs.len() > 40);
    for input in inputs {
        for seed in (0..=255).step_by(3) {
            let data = [&[seed], input.as_slice()].concat();
            fuzz::framer(&data);
            fuzz::session(&data);
        }
    }
}

/// Octets that matter to a framer, more often than chance would bring them.
fn near_the_grammar() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(vec![&b"\r"[..], b"\n", b".", b"\0", b"\r\n", b"\r\n.\r\n", b"x"]),
        1 => Just(&[b'x'; 997][..]),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Commands in any order, some of them broken.
fn near_a_dialogue() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        &b"EHLO client.example.net\r\n"[..],
        b"HELO x\r\n",
        b"MAIL FROM:<a@example.net>\r\n",
        b"MAIL FROM:<> SIZE=10\r\n",
        b"RCPT TO:<ab@example.org>\r\n",
        b"RCPT TO:<abc@example.org>\r\n",
        b"RCPT TO:<abcd@example.org>\r\n",
        b"DATA\r\n",
        b"Subject: x\r\n\r\ntext\r\n",
        b".\r\n",
        b"\r\n.\r\n",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"STARTTLS\r\n",
        b"BDAT 3\r\n",
        b"\n",
        b"\r",
        b"\x16",
        b"\xff",
        b"QUIT\r\n",
    ]);
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1024) })]

    #[test]
    fn framing_agrees_with_its_definition(seed: u8, input in near_the_grammar()) {
        fuzz::framer(&[&[seed], input.as_slice()].concat());
    }

    #[test]
    fn a_session_survives_any_dialogue(seed: u8, input in near_a_dialogue()) {
        fuzz::session(&[&[seed], input.as_slice()].concat());
    }

    #[test]
    fn a_session_survives_any_octets(data in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz::session(&data);
        fuzz::framer(&data);
    }

    #[test]
    fn a_stuffed_message_arrives_as_it_was(lines in prop::collection::vec("[.]{0,2}[a-z .]{0,30}", 0..20), seed: u8) {
        let mut wire = Vec::new();
        let mut message = Vec::new();
        for line in &lines {
            if line.starts_with('.') {
                wire.push(b'.');
            }
            for bytes in [&mut wire, &mut message] {
                bytes.extend_from_slice(line.as_bytes());
                bytes.extend_from_slice(b"\r\n");
            }
        }
        wire.extend_from_slice(b".\r\n");
        let framed = fuzz::frame(&wire, DataRules::default(), |at| at % 7 == usize::from(seed) % 7);
        prop_assert_eq!(framed, (Some(wire.len()), message, None));
    }
}
