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

/// Checks `raw` and holds it to 4 MiB of growth (code paged in counts too) and 15 s, generous for
/// an unoptimised build on a busy machine.
fn measure(what: &str, raw: &[u8]) -> Result<Structure, Refusal> {
    let start = Instant::now();
    let (result, grown) = peak(|| guard::check(raw));
    let took = start.elapsed();
    println!(
        "{what}: {:.1} MB, {took:?}, {grown} KiB more memory, {}",
        raw.len() as f64 / 1e6,
        result.map_or_else(Refusal::reply, |passed| format!("passed {passed:?}")),
    );
    assert!(grown <= 4096, "{what} took {grown} KiB");
    assert!(took < Duration::from_secs(15), "{what} took {took:?}");
    result
}

/// Reads `raw`, which passed, and holds the growth to 60 MB, the budget for a 25 MB message.
fn measure_reading(what: &str, raw: &[u8]) {
    let start = Instant::now();
    assert!(guard::check(raw).is_ok());
    let (mail, grown) = peak(|| {
        let mail = read(raw);
        mail.layers(&["a few words that we wrote before"]);
        mail
    });
    let took = start.elapsed();
    println!("{what} read: {took:?}, {grown} KiB more memory, {} octets of text", mail.text.len());
    assert!(grown <= 60_000, "{what} took {grown} KiB");
}

/// A message of pieces, each repeated, in memory that is never given back: freed memory that the
/// allocator hands out again would hide growth.
fn message(pieces: &[(&str, usize)]) -> &'static [u8] {
    let mut raw = Vec::with_capacity(pieces.iter().map(|(piece, times)| piece.len() * times).sum());
    for (piece, times) in pieces {
        for _ in 0..*times {
            raw.extend_from_slice(piece.as_bytes());
        }
    }
    raw.leak()
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
    let refused = |what: &str, pieces: &[(&str, usize)], refusal: Refusal| {
        assert_eq!(measure(what, message(pieces)), Err(refusal), "{what}");
    };
    let multiparts = nested_multiparts(60_000).leak();
    assert_eq!(measure("60,000 nested parts", multiparts), Err(Refusal::Depth));
    refused(
        "60,000 nested message/rfc822",
        &[("Content-Type: message/rfc822\r\n\r\n", 60_000)],
        Refusal::Depth,
    );
    let digest = "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\n";
    refused("60,000 nested digests", &[(digest, 60_000)], Refusal::Depth);

    let mixed = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    refused("2,000,000 empty parts", &[(mixed, 1), ("--b\r\n\r\n\r\n", 2_000_000)], Refusal::Parts);
    refused("1,000,000 headers", &[("X-A: b\r\n", 1_000_000)], Refusal::Headers);
    refused("one header too many", &[("X: y\n", guard::HEADERS + 1)], Refusal::Headers);

    let to = |middle: &str, times| {
        [("To: ", 1), (middle, times), ("\r\n\r\nHello\r\n", 1)]
            .map(|(piece, times): (&str, usize)| (piece.to_string(), times))
    };
    let refused_list = |what: &str, middle: &str, times: usize, refusal: Refusal| {
        let pieces = to(middle, times);
        let pieces: Vec<_> = pieces.iter().map(|(piece, times)| (piece.as_str(), *times)).collect();
        refused(what, &pieces, refusal);
    };
    refused_list("400,000 addresses", "a@b.example, ", 400_000, Refusal::HeaderBlock);
    refused_list("1,001 addresses", "a@b.example, ", 1_001, Refusal::Addresses);
    refused_list("5,000 separators in open quotes", "\"a,", 5_000, Refusal::Addresses);
    refused_list("60,000 groups", "a:", 60_000, Refusal::Addresses);
    refused_list("65 nested comments", "(", 65, Refusal::CommentDepth);

    let line = [("Subject: x\r\n\r\n", 1), ("a", 30_000_000), ("\r\n", 1)];
    assert_eq!(measure("30 MB line in the body", message(&line)).unwrap().parts, 1);
    refused(
        "30 MB line in the header",
        &[("Subject: ", 1), ("a", 30_000_000), ("\r\n\r\n", 1)],
        Refusal::HeaderBlock,
    );
    refused("30 MB of blanks", &[(" ", 30_000_000)], Refusal::HeaderBlock);
    refused(
        "a million lines without a colon",
        &[("no colon here\r\n", 1_000_000)],
        Refusal::HeaderBlock,
    );
    let block = format!("--b\r\nX: {}\r\n\r\n", "a".repeat(100_000));
    refused("100 blocks of 100 kB", &[(mixed, 1), (&block, 100)], Refusal::HeaderTotal);

    refused(
        "101 parameters",
        &[("Content-Type: text/plain; ", 1), ("a=b; ", guard::PARAMETERS + 1), ("\r\n\r\n", 1)],
        Refusal::Parameters,
    );
    refused(
        "500 folded parameters",
        &[("Content-Type: text/plain", 1), ("\r\n\tx*1=y", 500), ("\r\n\r\n", 1)],
        Refusal::Parameters,
    );
    refused(
        "a boundary of 201",
        &[("Content-Type: multipart/mixed; boundary=", 1), ("b", 201), ("\r\n\r\n", 1)],
        Refusal::Boundary,
    );
    refused(
        "10,001 encoded words",
        &[("Subject: ", 1), ("=?utf-8?q?a?= ", 10_001), ("\r\n\r\n", 1)],
        Refusal::EncodedWords,
    );
    refused(
        "9,000 open encoded words",
        &[("Subject: ", 1), ("=?aa?q?x", 9_000), ("\r\n\r\n", 1)],
        Refusal::EncodedWords,
    );
    let missing = "--b\r\nContent-Type: multipart/mixed; boundary=zz\r\n\r\n";
    refused(
        "900 multiparts without their boundary",
        &[(mixed, 1), (missing, 900), ("a", 30_000_000)],
        Refusal::MissingBoundaries,
    );
}

// One test each, for a process each under nextest.
#[test]
fn a_line_of_30_mb_is_read_within_the_memory_budget() {
    measure_reading(
        "30 MB line",
        message(&[("Subject: x\r\n\r\n", 1), ("a", 30_000_000), ("\r\n", 1)]),
    );
}

#[test]
fn an_attachment_of_25_mb_is_read_within_the_memory_budget() {
    let line = data_encoding::BASE64.encode(&[0x5a; 57]) + "\r\n";
    let head = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n\
                Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n";
    measure_reading(
        "25 MB attachment",
        message(&[(head, 1), (&line, 25_000_000 / 78), ("--b--\r\n", 1)]),
    );
}

#[test]
fn two_million_nested_elements_are_read_within_the_memory_budget() {
    measure_reading(
        "2,000,000 nested elements",
        message(&[
            ("Content-Type: text/html\r\n\r\n", 1),
            ("<div><blockquote><table><td>x", 500_000),
        ]),
    );
}

#[test]
fn fifteen_million_words_are_read_within_the_memory_budget() {
    measure_reading("15,000,000 words", message(&[("Subject: x\r\n\r\n", 1), ("a ", 15_000_000)]));
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
fn from_is_counted_in_the_outermost_header_only() {
    let raw = "From: a@x.example, b@x.example\r\nfrom : c@x.example\r\n\
               Content-Type: message/rfc822\r\n\r\nFrom: d@x.example\r\n\r\nhello\r\n";
    let structure = guard::check(raw.as_bytes()).unwrap();
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
                "From: a@x.example\r\nContent-Type: multipart/mixed; boundary=zzz\r\n\r\n--zzz\r\n\
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
