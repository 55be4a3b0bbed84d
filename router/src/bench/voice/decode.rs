//! A decode that is always running, as with a caller who never stops talking: the production engine with a
//! model of random weights, which takes what a real one of its size takes.

use frontdesk_voice::engine::{
    Effort, Heard, LISTEN_RATE, Session, SessionOptions, Transcriber as _, Whisper, random_model,
};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;

/// Sound of one decode: an ordinary turn.
const SECONDS: usize = 5;

/// Decodes until it is told to stop.
pub(super) struct Decoding {
    stop: Arc<AtomicBool>,
    task: JoinHandle<anyhow::Result<(u32, Duration)>>,
}

impl Decoding {
    /// Makes the model in this folder and starts.
    pub(super) async fn start(dir: &Path) -> anyhow::Result<Self> {
        let file = dir.join("ggml-random.bin");
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let engine = tokio::task::spawn_blocking(move || {
            random_model::write(&file)?;
            let effort = Effort::of_cores(cores);
            anyhow::Ok(Whisper::open("whisper:random".parse()?, &file, None, effort)?)
        });
        let engine = engine.await??;
        let options = SessionOptions { interims: false, ..SessionOptions::default() };
        let mut session = engine.open(options)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let (began, mut decodes) = (Instant::now(), 0);
            while !stopped.load(Ordering::Acquire) {
                decode(&mut session).await?;
                decodes += 1;
            }
            drop(engine);
            Ok((decodes, began.elapsed() / decodes.max(1)))
        });
        Ok(Self { stop, task })
    }

    /// Ends after the decode under way; gives how many there were, and how long each took.
    pub(super) async fn stop(self) -> anyhow::Result<(u32, Duration)> {
        self.stop.store(true, Ordering::Release);
        self.task.await?
    }
}

async fn decode(session: &mut Session) -> anyhow::Result<()> {
    session.begin()?;
    // A tone with a beat, loud enough to be listened to.
    let sample = |n: usize| if n % 160 < 80 && n % 8_000 < 6_000 { 4_000 } else { -4_000 };
    let sound: Vec<i16> = (0..LISTEN_RATE as usize).map(sample).collect();
    for _ in 0..SECONDS {
        session.audio(&sound)?;
    }
    session.end()?;
    while let Some(heard) = session.next().await {
        if matches!(heard, Heard::Final { .. } | Heard::Failed { .. }) {
            return Ok(());
        }
    }
    anyhow::bail!("the decoder stopped")
}
