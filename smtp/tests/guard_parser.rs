//! The guard against mail-parser: whatever passes has no more structure than was counted, and
//! parses and drops on a small stack.

use frontdesk_smtp::guard;
use proptest::prelude::*;

/// Pieces that make MIME structure, and pieces that break it. Boundaries are chosen to be prefixes
/// and suffixes of each other.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let boundary = prop_oneof![
        Just("a"),
        Just("ab"),
        Just("-a"),
        Just("a--"),
        Just("b"),
        Just("b c"),
        Just("--"),
        Just("=?utf-8?q?a?="),
    ];
    let name = prop_oneof![
        5 => Just("Content-Type: "),
        1 => Just("content-TYPE :"),
        1 => Just(":Con tent-Type:"),
        1 => Just("Content\r-Type:\r"),
        1 => Just("X-Content-Type: "),
        1 => Just("Content-Type;"),
    ];
    let container = prop_oneof![
        Just("multipart/mixed"),
        Just("multipart/digest"),
        Just("MULTIPART/alternative"),
        Just("multi(x)part/mixed"),
        Just("multipart / related"),
    ];
    let quoting = 0..8usize;
    let multipart = (name.clone(), container, boundary.clone(), quoting).prop_map(
        |(name, container, boundary, quoting)| {
            let parameter = match quoting {
                0 => format!("boundary={boundary}"),
                1 => format!("boundary=\"{boundary}\""),
                2 => format!("\n boundary=\"{boundary}\""),
                3 => format!("boundary*0={boundary}; boundary*1=b"),
                4 => format!("boundary*=utf-8''{boundary}"),
                5 => format!("x=(; boundary=c); boundary=\"{boundary}\" boundary=b"),
                6 => format!("boundary=\"{boundary}"),
                _ => format!("boundary=\"\\{boundary}\"; boundary=a"),
            };
            format!("{name}{container}; {parameter}\r\n").into_bytes()
        },
    );
    let message = (name, prop_oneof![Just("message/rfc822"), Just("Message/Global")])
        .prop_map(|(name, value)| format!("{name}{value}\r\n").into_bytes());
    let line = (boundary, 0..6usize).prop_map(|(boundary, form)| {
        match form {
            0 => format!("\r\n--{boundary}\r\n"),
            1 => format!("\r\n--{boundary}--\r\n"),
            2 => format!("--{boundary}\n"),
            3 => format!("x--{boundary}  \r\n"),
            4 => format!("---{boundary}--"),
            _ => format!("--{boundary}"),
        }
        .into_bytes()
    });
    let other = prop_oneof![
        Just("\r\n"),
        Just("\n"),
        Just("\r"),
        Just("\r\n\r\n"),
        Just(" "),
        Just("\t\x0c"),
        Just("\r\n "),
        Just("Subject: x\r\n"),
        Just("Content-Transfer-Encoding: base64\r\n"),
        Just("Content-Transfer-Encoding: quoted-printable\r\n"),
        Just("Content-Transfer-Encoding: =?utf-8?q?base64?=\r\n"),
        Just("Content-Type: text/plain\r\n"),
        Just("Content-Type: \r\n"),
        Just("Content-Disposition: attachment; filename=x\r\n"),
        Just("no colon here"),
        Just(":"),
        Just("="),
        Just("==\r\n"),
        Just("text"),
        Just("\""),
        Just("("),
    ];
    prop_oneof![
        4 => multipart,
        2 => message,
        6 => line,
        6 => other.prop_map(|s| s.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..12),
    ]
}

fn mail() -> impl Strategy<Value = Vec<u8>> {
    let flat = proptest::collection::vec(piece(), 0..60).prop_map(|pieces| pieces.concat());
    flat.prop_recursive(3, 240, 4, |inner| {
        (inner, proptest::collection::vec(piece(), 0..20), any::<bool>()).prop_map(
            |(inner, around, base64)| {
                let (encoding, inner) = if base64 {
                    ("base64", data_encoding::BASE64.encode(&inner).into_bytes())
                } else {
                    let quoted =
                        inner.iter().map(|byte| format!("={byte:02X}")).collect::<String>();
                    ("quoted-printable", quoted.into_bytes())
                };
                let header = format!(
                    "\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
                );
                [around.concat(), header.into_bytes(), inner, b"\r\n--a--\r\n".to_vec()].concat()
            },
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_guard_passes_parses_within_what_it_counted(raw in mail()) {
        guard::compare(&raw);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_guard_passes_parses_and_drops_on_half_a_mebibyte_of_stack(
        raw in mail(),
        repeat in 1usize..200,
    ) {
        let raw = raw.repeat(repeat);
        if guard::check(&raw).is_ok() {
            std::thread::Builder::new()
                .stack_size(512 * 1024)
                .spawn(move || drop(mail_parser::MessageParser::default().parse(&raw)))
                .unwrap()
                .join()
                .unwrap();
        }
    }
}

#[test]
fn the_deepest_message_that_passes_drops_on_half_a_mebibyte_of_stack() {
    let raw =
        "Content-Type: message/rfc822\r\n\r\n".repeat(guard::DEPTH) + "Subject: x\r\n\r\nend\r\n";
    assert_eq!(guard::check(raw.as_bytes()).unwrap().depth, guard::DEPTH);
    std::thread::Builder::new()
        .stack_size(512 * 1024)
        .spawn(move || drop(mail_parser::MessageParser::default().parse(&raw)))
        .unwrap()
        .join()
        .unwrap();
}

/// Runs the comparison over pieces of this crate's own fixtures, cut at every line.
#[test]
fn fixtures_cut_anywhere_parse_within_what_was_counted() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mails");
    let mut cuts = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "eml") {
            continue;
        }
        let raw = std::fs::read(path).unwrap();
        for (at, _) in raw.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            guard::compare(&raw[..=at]);
            guard::compare(&raw[at..]);
            cuts += 1;
        }
    }
    assert!(cuts > 500, "{cuts}");
}
