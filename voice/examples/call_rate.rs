//! What the core of a call costs: per 20 ms frame, and in memory while nobody speaks.
//!
//! ```text
//! cargo run --release -p frontdesk-voice --example call_rate
//! ```
//!
//! Telephone calls: mu-law at 8 kHz in and out, the agent's voice at 16 kHz, the detector in use. No
//! sockets, no engines. It also runs every resampler for ten minutes and counts samples.

use frontdesk_voice::audio::g711::Law;
use frontdesk_voice::audio::{
    Earshot, Framer, Pcm, Rate, Resampler, SpeechScore, VAD_WINDOW, Vad, VadConfig,
};
use frontdesk_voice::call::{Call, Config, Input, Line, Ms, Output, PlainSplitter};
use std::hint::black_box;
use std::time::{Duration, Instant};

const CALLS: usize = 200;
const SPEECH: &[u8] = include_bytes!("../tests/audio/tickets.ulaw");

fn main() {
    println!("cost of one 20 ms frame, single thread:");
    stages();
    println!("\n{CALLS} calls, caller and agent both speaking, frame by frame in turn:");
    let busy = conversation(true);
    report(&busy);
    println!("\n{CALLS} calls, nobody speaking:");
    let idle = conversation(false);
    report(&idle);
    println!("\nmemory of an idle call, after a second of sound:");
    memory();
    println!("\nten minutes through every resampler:");
    drift();
}

/// Times `work` many times and prints the mean of the best batch: other programs only add to it.
fn stage(name: &str, mut work: impl FnMut()) {
    const ROUNDS: u32 = 500;
    let batch = |_| {
        let start = Instant::now();
        (0..ROUNDS).for_each(|_| work());
        start.elapsed()
    };
    let best = (0..100).map(batch).min().unwrap_or_default();
    println!("  {name:<44} {:>7.2} us", best.as_secs_f64() * 1e6 / f64::from(ROUNDS));
}

fn stages() {
    let mut narrow = Vec::new();
    Law::Mu.decode_all(&SPEECH[8_000..8_160], &mut narrow);
    let (mut up, mut wide) = (Resampler::new(Rate::Hz8000, Rate::Hz16000), Vec::new());
    up.push(&narrow, &mut wide);
    wide.resize(320, 0);

    let mut out = Vec::new();
    stage("mu-law to samples", || {
        out.clear();
        Law::Mu.decode_all(black_box(&SPEECH[8_000..8_160]), &mut out);
    });
    stage("samples to mu-law", || {
        let mut codes = Vec::with_capacity(160);
        Law::Mu.encode_all(black_box(&narrow), &mut codes);
        black_box(codes);
    });
    for (from, to) in [
        (Rate::Hz8000, Rate::Hz16000),
        (Rate::Hz16000, Rate::Hz8000),
        (Rate::Hz22050, Rate::Hz8000),
        (Rate::Hz48000, Rate::Hz16000),
        (Rate::Hz24000, Rate::Hz48000),
    ] {
        let input = vec![1_000; from.frame_len()];
        let (mut resampler, mut out) = (Resampler::new(from, to), Vec::with_capacity(2_000));
        stage(&format!("{from} to {to}"), || {
            out.clear();
            resampler.push(black_box(&input), &mut out);
        });
    }
    let (mut scorer, mut vad) = (Earshot::default(), Vad::new(VadConfig::default()));
    let mut windows = Framer::new(VAD_WINDOW);
    stage("voice activity (1.25 windows)", || {
        windows.push(black_box(&wide), |window| {
            if let Ok(window) = window.try_into() {
                black_box(vad.push(scorer.score(window), false));
            }
        });
    });
}

/// A call and its other end.
struct Line8k {
    call: Call,
    out: Vec<Output>,
    generation: u32,
    sentence: u32,
}

fn new_call() -> Line8k {
    let mut config = Config::twilio();
    // Nobody hangs up while we measure.
    (config.idle_prompt, config.idle_hang_up) = (Ms::MAX / 4, Ms::MAX / 4);
    (config.voice_limit, config.endpointing.wordless) = (Ms::MAX / 4, Ms::MAX / 4);
    (config.resume_despite_sound, config.resume_after) = (0, 0);
    let splitter = Box::new(PlainSplitter::default());
    let mut call = Call::new(config, Box::new(Earshot::default()), splitter);
    let mut out = Vec::new();
    call.handle(0, Input::Answered, &mut out);
    Line8k { call, out, generation: 0, sentence: 0 }
}

/// Runs ten seconds of all calls and gives the time of each frame: in, through the call, and out.
fn conversation(speaking: bool) -> Vec<Duration> {
    let mut lines: Vec<Line8k> = (0..CALLS).map(|_| new_call()).collect();
    let silence = [0xff; 160];
    let mut times = Vec::with_capacity(CALLS * 500);
    for frame in 0..500u64 {
        for (n, line) in lines.iter_mut().enumerate() {
            let now = frame * 20;
            let start = Instant::now();
            let at = (frame as usize * 160 + n * 480) % (SPEECH.len() - 160);
            let codes = if speaking { &SPEECH[at..at + 160] } else { &silence };
            let mut samples = Vec::with_capacity(160);
            Law::Mu.decode_all(codes, &mut samples);
            let sound = Pcm::new(Rate::Hz8000, samples);
            line.call.handle(now, Input::Audio { sound }, &mut line.out);
            if speaking {
                answer(line, now);
            }
            for output in line.out.drain(..) {
                if let Output::Audio { frame, .. } = &output {
                    let mut codes = Vec::with_capacity(160);
                    Law::Mu.encode_all(frame.samples(), &mut codes);
                    black_box(codes);
                }
            }
            times.push(start.elapsed());
        }
    }
    times
}

/// Keeps the agent talking: 20 ms of synthesised sound for every frame.
fn answer(line: &mut Line8k, now: Ms) {
    if let Some((generation, sentence)) = line.out.iter().find_map(|output| match output {
        Output::Synthesise { generation, sentence, .. } => Some((*generation, *sentence)),
        _ => None,
    }) {
        (line.generation, line.sentence) = (generation, sentence);
    }
    if line.generation == 0 {
        let line_to_say = Line { text: "A sentence without an end".into(), interruptible: true };
        line.call.handle(now, Input::Say { line: line_to_say }, &mut line.out);
    }
    let (generation, sentence) = (line.generation, line.sentence);
    let sound = Pcm::new(Rate::Hz16000, vec![1_000; 320]);
    line.call.handle(now, Input::Voice { generation, sentence, sound }, &mut line.out);
}

fn report(times: &[Duration]) {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    let total: Duration = times.iter().sum();
    let mean = total.as_secs_f64() * 1e6 / times.len() as f64;
    println!(
        "  mean {mean:.1} us, p50 {:.1}, p99 {:.1}, worst {:.1}; {:.1} % of a core; {:.0} calls fill one",
        at(0.5),
        at(0.99),
        at(1.0),
        mean * CALLS as f64 / 20_000.0 * 100.0,
        20_000.0 / mean
    );
}

fn memory() {
    const MANY: usize = 5_000;
    let second = Pcm::new(Rate::Hz8000, vec![0; 160]);
    // The shared filter tables are not part of a call.
    let mut first = new_call();
    first.call.handle(0, Input::Audio { sound: second.clone() }, &mut first.out);
    let before = resident();
    let mut lines: Vec<Line8k> = Vec::with_capacity(MANY);
    for _ in 0..MANY {
        let mut line = new_call();
        for frame in 0..50 {
            let input = Input::Audio { sound: second.clone() };
            line.call.handle(frame * 20, input, &mut line.out);
            line.out.clear();
        }
        lines.push(line);
    }
    let after = resident();
    black_box(&lines);
    println!("  {:.1} KB resident ({MANY} calls)", (after - before) as f64 / MANY as f64 / 1_024.0);
}

/// Resident bytes of this process; 0 where the system does not say.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4_096
}

fn drift() {
    let minutes = 10;
    let mut wrong = 0;
    for from in Rate::ALL {
        for to in Rate::ALL {
            let (mut resampler, mut out, mut given) = (Resampler::new(from, to), Vec::new(), 0u64);
            // Not a whole number of anything.
            let chunk = vec![1_000; 163];
            let total = u64::from(from.hz()) * 60 * minutes;
            let mut left = total;
            while left > 0 {
                let size = left.min(163);
                resampler.push(&chunk[..size as usize], &mut out);
                given += out.len() as u64;
                out.clear();
                left -= size;
            }
            resampler.finish(&mut out);
            given += out.len() as u64;
            wrong += usize::from(given != u64::from(to.hz()) * 60 * minutes);
        }
    }
    println!("  {wrong} of 36 pairs gained or lost a sample");
}
