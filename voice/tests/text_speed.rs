//! How fast the text path is. Run with
//! `cargo test --release -p frontdesk-voice --test text_speed -- --ignored --nocapture`.

use std::hint::black_box;
use std::time::Instant;

use frontdesk_voice::text::{Chunk, ChunkKind, Chunker, ChunkerOptions, Normaliser, Settings};

const REPLY: &str = "Hello Dr. Smith, thanks for calling about order 48213. It left our warehouse on March 3, \
    2025 at 10:30 a.m. and should arrive within 2-3 days. The total was $1,234.56, i.e. about 15% more than last \
    time.\n\n**What happens next**\n\n1. You get a mail at anna.smith@example.org.\n2. You can follow it at \
    https://www.example.com/track.\n- Nothing else is needed 😀.\n\nIf anything is missing, please call (555) \
    123-4567 or simply answer this message, and somebody from the team will look at it with you. ";

fn report(name: &str, bytes: usize, mut run: impl FnMut()) {
    let began = Instant::now();
    let mut rounds = 0;
    while began.elapsed().as_millis() < 500 {
        run();
        rounds += 1;
    }
    let rate = (bytes * rounds) as f64 / began.elapsed().as_secs_f64() / 1e6;
    println!("{name}: {rate:.1} MB/s over {rounds} rounds of {bytes} bytes");
}

fn chunks(pieces: impl IntoIterator<Item = String>) -> Vec<Chunk> {
    let mut chunker = Chunker::new(ChunkerOptions::default());
    let mut chunks: Vec<Chunk> =
        pieces.into_iter().flat_map(|piece| chunker.push(&piece)).collect();
    chunks.extend(chunker.finish());
    chunks
}

#[test]
#[ignore = "measures; needs a release build"]
fn throughput() {
    let text = REPLY.repeat(200);
    report("chunker, one push", text.len(), || {
        black_box(chunks([text.clone()]));
    });
    report("chunker, by character", text.len(), || {
        black_box(chunks(text.chars().map(String::from)));
    });
    let found = chunks([text.clone()]);
    let normaliser = Normaliser::new(Settings::default());
    report("normaliser, reply", text.len(), || {
        for chunk in &found {
            black_box(normaliser.speak(&chunk.text, chunk.kind));
        }
    });
    for piece in [
        "[", "`", "<", "<a ", "1", "1 ", "1-", "1.", "1,000,", "A.", "a@", "a.", "(1", "$", "*",
        "\\", "#", "I ",
    ] {
        let text = piece.repeat(100_000 / piece.len());
        report(&format!("normaliser, {piece:?}"), text.len(), || {
            black_box(normaliser.speak(&text, ChunkKind::Prose));
        });
    }
}
