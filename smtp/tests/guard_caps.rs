//! Hostile sizes: each is refused with its reason or survives, in little memory, measured.

use std::time::{Duration, Instant};

use frontdesk_smtp::{
    guard::{self, Refusal, Structure},
    read::read,
};

/// Resident set size and its peak since the last reset, in KiB; `None` away from Linux.
fn memory() -> Option<(u64, u64)> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    Some((field("VmRSS:")?, field("VmHWM:")?))
}

/// Runs `work` and gives the growth of the peak over what was resident before, in KiB.
fn peak<T>(work: impl FnOnce() -> T) -> (T, u64) {
    // "5" resets the peak (proc(5), clear_refs).
    let reset = std::fs::write("/proc/self/clear_refs", "5").is_ok();
    let before = memory().filter(|_| reset).map_or(0, |(rss, _)| rss);
    let result = work();
    let after = memory().filter(|_| reset).map_or(0, |(_, peak)| peak);
    (result, after.saturating_sub(before))
}

/// Checks `raw` and holds it to 1 MiB of growth and 2 s, generous for an unoptimised build.
fn measure(what: &str, raw: &[u8]) -> Result<Structure, Refusal> {
    let start = Instant::now();
    let (result, grown) = peak(|| guard::check(raw));
    let took = start.elapsed();
    println!(
        "{what}: {:.1} MB, {took:?}, {grown} KiB more memory, {}",
        raw.len() as f64 / 1e6,
        result.map_or_else(Refusal::reply, |passed| format!("passed {passed:?}")),
    );
    assert!(grown <= 1024, "{what} took {grown} KiB");
    assert!(took < Duration::from_secs(2), "{what} took {took:?}");
    result
}

/// Reads `raw`, which passed, and holds the growth to 60 MB, the budget for a 25 MB message.
fn measure_reading(what: &str, raw: &[u8]) {
    let start = Instant::now();
    let (mail, grown) = peak(|| read(raw));
    let took = start.elapsed();
    println!("{what} read: {took:?}, {grown} KiB more memory, {} octets of text", mail.text.len());
    assert!(grown <= 60_000, "{what} took {grown} KiB");
}

fn nested_multiparts(levels: usize) -> Vec<u8> {
    let mut raw = String::new();
    for level in 0..levels {
        raw += &format!("Content-Type: multipart/mixed; boundary=b{level}x\r\n\r\n--b{level}x\r\n");
    }
    raw.into_bytes()
}

// One test, so that nothing else in the process disturbs the figures.
#[test]
fn hostile_sizes_are_refused_or_survive_in_bounded_memory() {
    assert_eq!(measure("60,000 nested parts", &nested_multiparts(60_000)), Err(Refusal::Depth));

    let nested = b"Content-Type: message/rfc822\r\n\r\n".repeat(60_000);
    assert_eq!(measure("60,000 nested message/rfc822", &nested), Err(Refusal::Depth));

    let digest = [
        b"Content-Type: multipart/digest; boundary=b\r\n\r\n".to_vec(),
        b"--b\r\n\r\nContent-Type: multipart/digest; boundary=b\r\n\r\n".repeat(60_000),
    ]
    .concat();
    assert_eq!(measure("60,000 nested digests", &digest), Err(Refusal::Depth));

    let empty = [
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_vec(),
        b"--b\r\n\r\n\r\n".repeat(2_000_000),
    ]
    .concat();
    assert_eq!(measure("2,000,000 empty parts", &empty), Err(Refusal::Parts));

    let headers = b"X-A: b\r\nX-C: d\r\n".repeat(500_000);
    assert_eq!(measure("1,000,000 headers", &headers), Err(Refusal::Headers));

    let one_block = b"X: y\n".repeat(guard::HEADERS + 1);
    assert_eq!(measure("one header too many", &one_block), Err(Refusal::Headers));

    let addresses = format!("To: {}\r\n\r\nHello\r\n", "a@b.example, ".repeat(400_000));
    assert!(measure("400,000 addresses", addresses.as_bytes()).is_err());
    let fewer = format!("To: {}\r\n\r\nHello\r\n", "a@b.example, ".repeat(1_001));
    assert_eq!(measure("1,001 addresses", fewer.as_bytes()), Err(Refusal::Addresses));
    let hidden = format!("To: \"{}\r\n\r\nHello\r\n", "a@b.example, ".repeat(5_000));
    assert_eq!(measure("5,000 in an open quote", hidden.as_bytes()), Err(Refusal::Addresses));
    let groups = format!("To: {}\r\n\r\nHello\r\n", "a:".repeat(60_000));
    assert_eq!(measure("60,000 groups", groups.as_bytes()), Err(Refusal::Addresses));

    let line = [b"Subject: x\r\n\r\n".to_vec(), vec![b'a'; 30_000_000], b"\r\n".to_vec()].concat();
    assert_eq!(measure("30 MB line in the body", &line).unwrap().parts, 1);
    measure_reading("30 MB line in the body", &line);
    let html = [
        b"Content-Type: text/html\r\n\r\n".to_vec(),
        b"<div><blockquote><table><td>x".repeat(500_000),
    ]
    .concat();
    assert_eq!(measure("2,000,000 nested elements", &html).unwrap().parts, 1);
    measure_reading("2,000,000 nested elements", &html);
    let encoded = (data_encoding::BASE64.encode(&[0x5a; 57]) + "\r\n").repeat(25_000_000 / 78);
    let attached = format!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n\
         Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n{encoded}--b--\r\n"
    );
    assert_eq!(measure("25 MB attachment", attached.as_bytes()).unwrap().parts, 3);
    measure_reading("25 MB attachment", attached.as_bytes());
    let line = [b"Subject: ".to_vec(), vec![b'a'; 30_000_000], b"\r\n\r\n".to_vec()].concat();
    assert_eq!(measure("30 MB line in the header", &line), Err(Refusal::HeaderBlock));
    let blanks = vec![b' '; 30_000_000];
    assert_eq!(measure("30 MB of blanks", &blanks), Err(Refusal::HeaderBlock));
    let no_colon = b"no colon here\r\n".repeat(1_000_000);
    assert_eq!(measure("a million lines without a colon", &no_colon), Err(Refusal::HeaderBlock));

    let blocks = [
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_vec(),
        [b"--b\r\nX: ".to_vec(), vec![b'a'; 100_000], b"\r\n\r\n".to_vec()].concat().repeat(100),
    ]
    .concat();
    assert_eq!(measure("100 blocks of 100 kB", &blocks), Err(Refusal::HeaderTotal));

    let parameters =
        format!("Content-Type: text/plain; {}\r\n\r\n", "a=b; ".repeat(guard::PARAMETERS + 1));
    assert_eq!(measure("101 parameters", parameters.as_bytes()), Err(Refusal::Parameters));
    let continued = (0..500)
        .fold("Content-Type: text/plain".to_string(), |s, i| format!("{s}\r\n\tx*{i}=y"))
        + "\r\n\r\n";
    assert_eq!(measure("500 continuations", continued.as_bytes()), Err(Refusal::Parameters));

    let comments = format!("To: {}\r\n\r\n", "(".repeat(65));
    assert_eq!(measure("65 nested comments", comments.as_bytes()), Err(Refusal::CommentDepth));

    let boundary = format!("Content-Type: multipart/mixed; boundary={}\r\n\r\n", "b".repeat(201));
    assert_eq!(measure("a boundary of 201", boundary.as_bytes()), Err(Refusal::Boundary));

    let words = format!("Subject: {}\r\n\r\n", "=?utf-8?q?a?= ".repeat(10_001));
    assert_eq!(measure("10,001 encoded words", words.as_bytes()), Err(Refusal::EncodedWords));
    let open = format!("Subject: {}\r\n\r\n", "=?aa?q?x".repeat(9_000));
    assert_eq!(measure("9,000 open encoded words", open.as_bytes()), Err(Refusal::EncodedWords));

    let missing = [
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_vec(),
        b"--b\r\nContent-Type: multipart/mixed; boundary=zz\r\n\r\n".repeat(900),
        vec![b'a'; 30_000_000],
    ]
    .concat();
    assert_eq!(
        measure("900 multiparts without their boundary", &missing),
        Err(Refusal::MissingBoundaries)
    );
}

#[test]
fn a_nested_message_in_base64_is_looked_into_as_deep_as_the_parser_does() {
    let mut inner = nested_multiparts(guard::DEPTH + 5);
    for _ in 0..guard::ENCODED_MESSAGE_DEPTH {
        let encoded = data_encoding::BASE64.encode(&inner);
        inner = format!(
            "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n{encoded}"
        )
        .into_bytes();
        assert_eq!(guard::check(&inner), Err(Refusal::Depth));
    }
    // One level more stays an opaque attachment in the parser, and here.
    let encoded = data_encoding::BASE64.encode(&inner);
    let opaque = format!(
        "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n{encoded}"
    );
    assert!(guard::check(opaque.as_bytes()).is_ok());
}

#[test]
fn the_first_pass_counts_received_and_from_of_the_outermost_header_only() {
    let raw = format!(
        "{}From: a@x.example, b@x.example\r\nfrom : c@x.example\r\n\
         Content-Type: message/rfc822\r\n\r\nReceived: by x\r\nFrom: d@x.example\r\n\r\nhello\r\n",
        "Received: by x\r\n".repeat(101)
    );
    let structure = guard::check(raw.as_bytes()).unwrap();
    assert_eq!(structure.received, 101);
    assert!(structure.is_looping());
    assert_eq!((structure.from_headers, structure.from_addresses), (2, 3));
    assert_eq!((structure.messages, structure.depth, structure.parts), (1, 1, 2));
}

#[test]
fn a_refusal_is_one_printable_reply_line_that_names_its_cap() {
    let reply = Refusal::Parts.reply();
    assert_eq!(reply, "554 5.6.0 Message refused: More than 1000 MIME parts");
    assert_eq!(Refusal::HeaderBlock.reply().split(' ').next(), Some("552"));
}

/// `cargo nextest run --release -p frontdesk-smtp --run-ignored only throughput`
#[test]
#[ignore = "a figure for an optimised build"]
fn throughput_on_ordinary_mail() {
    let mut raw =
        String::from("Received: from a by b; Thu, 1 Jan 2026 00:00:00 +0000\r\n").repeat(4);
    raw += "DKIM-Signature: v=1; a=rsa-sha256; d=x.example; s=s; h=from:to; bh=abc;\r\n\tb=";
    raw += &"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo0NTY3ODkw".repeat(8);
    raw += "\r\nFrom: =?utf-8?q?J=C3=B6rg?= <j@x.example>\r\nTo: a@x.example\r\nSubject: Hello\r\n\
            Content-Type: multipart/alternative; boundary=\"0000000000001\"\r\n\r\n\
            --0000000000001\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n";
    raw += &"An ordinary line of text, of ordinary length - with a dash or two.\r\n".repeat(40);
    raw += "\r\n--0000000000001\r\nContent-Type: text/html; charset=utf-8\r\n\r\n";
    raw += &"<p>An ordinary line of text, of ordinary length -- with a dash.</p>\r\n".repeat(80);
    raw += "\r\n--0000000000001--\r\n";
    for (what, raw) in [
        ("10 KB mail", raw.clone().into_bytes()),
        ("25 MB attachment", {
            let body = (data_encoding::BASE64.encode(&[0x5a; 57]) + "\r\n").repeat(25_000_000 / 78);
            format!(
                "{raw}Content-Type: multipart/mixed; boundary=zzz\r\n\r\n--zzz\r\n\
                 Content-Transfer-Encoding: base64\r\n\r\n{body}--zzz--\r\n"
            )
            .into_bytes()
        }),
    ] {
        let rounds = 400_000_000 / raw.len();
        let start = Instant::now();
        for _ in 0..rounds {
            std::hint::black_box(guard::check(std::hint::black_box(&raw)).unwrap());
        }
        let rate = (rounds * raw.len()) as f64 / start.elapsed().as_secs_f64() / 1e6;
        println!("{what}: {} bytes, {rate:.0} MB/s", raw.len());
        assert!(rate > 500.0, "{what}: {rate:.0} MB/s");
    }
}
