//! `bench voice`: whole calls in Twilio's format, from the caller's socket to the agent and back.
//!
//! - [`callers`]: the other end, on a thread of its own;
//! - [`line`]: Twilio's messages on the server's side;
//! - [`engines`]: a recogniser and a voice that cost nothing;
//! - [`script`]: what the callers say;
//! - [`decode`]: a decode of Whisper that never ends, to compete with.
//!
//! Inside what is measured: sockets, WebSocket, JSON, base64, mu-law, resampling, voice detection, pre-roll,
//! turn-taking, the agent's handler on its snapshot, the chunker and the normaliser, pacing, marks, and all
//! commits of the history. Outside: the wait for the pause, which is not work, the model and the engines,
//! which cost nothing here; TLS, and Twilio's signature.

mod callers;
#[cfg(feature = "whisper")]
mod decode;
mod engines;
mod line;
mod script;

use super::{Budget, Report, machine, stats::Samples};
use crate::{
    Frontdesk, Running,
    config::{AgentConfig, Config, Talk},
};
use anyhow::{Context as _, ensure};
use callers::{Load, Seen};
use engines::{Scripted, Tone, Utterance, session_of};
use frontdesk_agents::{
    Agent, CallId, Context, HandlerError,
    admission::InstancePolicy,
    live::{Reply, ReplyPart, Turn},
};
use frontdesk_voice::engine::EngineName;
use line::Exchange;
use script::{FRAMES_PER_SECOND, PERIOD_FRAMES, Script};
use std::{
    collections::HashMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What to measure, and how hard.
#[derive(Debug, Clone)]
pub struct VoiceOptions {
    /// How long each caller talks.
    pub seconds: u64,
    /// Calls at once, one load after another.
    pub calls: Vec<usize>,
    /// Calls while a decode is always running.
    pub beside_decode: usize,
    /// Idle calls whose memory is looked at.
    pub idle: usize,
    /// Calls in which the agent is interrupted.
    pub interrupted: usize,
    /// A folder on the disk to measure; the system's folder for temporary files without.
    pub dir: Option<PathBuf>,
}

impl Default for VoiceOptions {
    fn default() -> Self {
        Self {
            seconds: 20,
            calls: vec![1, 50, 100, 200, 500],
            beside_decode: 20,
            idle: 200,
            interrupted: 20,
            dir: None,
        }
    }
}

const AGENT: &str = "bench";

/// Words a second of the voice, times one word: twenty are a second.
const PER_WORD: Duration = Duration::from_millis(50);

/// What is said in about a second: two sentences with something to normalise.
const ANSWER: [&str; 3] =
    ["That is on Tuesday at 10:30. ", "It costs $12.50 ", "and takes two hours."];

/// How long every sentence of an answer that is interrupted is.
const LONG_SENTENCES: usize = 12;

/// Calls begin one after another within so long: 50 a second, and at least over one turn.
fn within(calls: usize) -> Duration {
    Duration::from_millis(20 * PERIOD_FRAMES as u64).max(Duration::from_millis(20 * calls as u64))
}

impl VoiceOptions {
    /// Measures. `progress` is told what comes next.
    pub async fn run(self, progress: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Report> {
        let place = super::place(self.dir.as_deref())?;
        let mut report = Report::new("voice");
        machine::describe(&mut report, place.path())?;
        report.condition(
            "calls",
            "Twilio's JSON with base64 mu-law over WebSocket on loopback, 20 ms frames, without TLS",
        );
        report.condition(
            "load",
            "a thread of its own on the same cores, in real time; frames of one millisecond go together",
        );
        report.condition("engines", "scripted, at no cost; the agent answers at once");
        report.condition("turn", format!("every {} ms of each call", PERIOD_FRAMES * 20));

        let bench = Bench::start(&place.path().join("data"), &self).await?;
        progress("warming up");
        bench.load(1, Arc::new(Script::talking(1)?)).await?;
        bench.noted();
        if self.idle > 0 {
            progress(&format!("{} idle calls", self.idle));
            bench.idle(self.idle, &mut report).await?;
        }
        if self.interrupted > 0 {
            progress("interruptions");
            bench.interruptions(self.interrupted, self.turns(), &mut report).await?;
        }
        let script = Arc::new(Script::talking(self.turns())?);
        for calls in &self.calls {
            progress(&format!("{calls} calls"));
            let budget = match calls {
                200 => Some(2.0),
                500 => Some(5.0),
                _ => None,
            };
            let name = format!("{calls} calls");
            bench.turns(*calls, &script, &name, budget, &mut report).await?;
        }
        if self.beside_decode > 0 {
            self.beside_decode(&bench, place.path(), &script, progress, &mut report).await?;
        }
        bench.running.stop().await;
        report.condition("load after", machine::load());
        Ok(report)
    }

    /// The turns of each caller.
    fn turns(&self) -> usize {
        (self.seconds as usize * FRAMES_PER_SECOND).div_ceil(PERIOD_FRAMES).max(1)
    }

    #[cfg(feature = "whisper")]
    async fn beside_decode(
        &self,
        bench: &Bench,
        dir: &Path,
        script: &Arc<Script>,
        progress: &(dyn Fn(&str) + Sync),
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let calls = self.beside_decode;
        progress(&format!("{calls} calls beside a decode that is always running"));
        let decoding = decode::Decoding::start(dir).await?;
        let name = format!("{calls} calls, whisper always decoding");
        bench.turns(calls, script, &name, Some(10.0), report).await?;
        let (decodes, each) = decoding.stop().await?;
        report.condition(
            "decode",
            format!(
                "tiny.en's size with random weights, 5 s of sound: {decodes} decodes of {:.0} ms",
                each.as_secs_f64() * 1e3
            ),
        );
        Ok(())
    }

    #[cfg(not(feature = "whisper"))]
    async fn beside_decode(
        &self,
        _bench: &Bench,
        _dir: &Path,
        _script: &Arc<Script>,
        _progress: &(dyn Fn(&str) + Sync),
        report: &mut Report,
    ) -> anyhow::Result<()> {
        report.condition("decode", "left out: Whisper is not in this build");
        Ok(())
    }
}

/// A server with one agent, and the telephone in front of it.
struct Bench {
    running: Running,
    exchange: Exchange,
    ear: Arc<Scripted>,
    asked: Arc<Asked>,
}

/// Everything that was noted of a load.
struct Noted {
    /// The recogniser's, by caller, in order.
    heard: HashMap<usize, Vec<Utterance>>,
    /// When the agent was asked, by caller, in order.
    asked: HashMap<usize, Vec<Instant>>,
}

impl Bench {
    async fn start(dir: &Path, options: &VoiceOptions) -> anyhow::Result<Self> {
        let (ear, mouth): (EngineName, EngineName) = ("bench:ear".parse()?, "bench:mouth".parse()?);
        let mut config = Config::default();
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        config.server.data = dir.to_owned();
        config.smtp.listen = vec![anywhere];
        config.http.listen = vec![anywhere];
        let most = options.calls.iter().copied().max().unwrap_or(1).max(options.idle) + 64;
        config.voice.max_calls = u32::try_from(most)?;
        (config.voice.stt, config.voice.tts) = (ear.clone(), mouth.clone());
        config.voice.stt_fallback = None;
        config.limits.new_instances_per_network_per_day = u32::MAX;
        config.limits.new_instances_per_agent_per_day = u32::MAX;
        config.agents = vec![AgentConfig {
            instance: InstancePolicy::Contact,
            talk: Talk::Public,
            greeting: Some("Hello, this is the bench. How can I help?".into()),
            ..AgentConfig::of_kind(AGENT, &config.mail.domains)
        }];

        let asked = Arc::new(Asked::default());
        let desk = Frontdesk::new(config).kind(AGENT, Answering(asked.clone())).open().await?;
        let ear = Arc::new(Scripted::new(ear));
        desk.engines.add_transcriber(ear.clone());
        desk.engines.add_synthesiser(Arc::new(Tone::new(mouth, PER_WORD)));
        let running = desk.serve().await?;
        let exchange = Exchange::open(running.desk.clone(), AGENT).await?;
        Ok(Self { running, exchange, ear, asked })
    }

    /// So many callers play a script.
    async fn load(&self, callers: usize, script: Arc<Script>) -> anyhow::Result<Vec<Seen>> {
        self.load_and(callers, script, || {}).await
    }

    async fn load_and(
        &self,
        callers: usize,
        script: Arc<Script>,
        began: impl FnOnce() + Send + 'static,
    ) -> anyhow::Result<Vec<Seen>> {
        let load =
            Load { exchange: self.exchange.address, callers, within: within(callers), script };
        let (done, seen) = tokio::sync::oneshot::channel();
        std::thread::Builder::new().name("callers".into()).spawn(move || {
            // Whoever waits went away with the whole run.
            let _ = done.send(callers::run(&load, began));
        })?;
        seen.await.context("the callers' thread panicked")?
    }

    /// What was noted since the last time, by caller.
    fn noted(&self) -> Noted {
        let callers: HashMap<CallId, usize> =
            self.exchange.take_calls().into_iter().map(|(caller, call)| (call, caller)).collect();
        let mut of_session = HashMap::new();
        let mut asked: HashMap<usize, Vec<Instant>> = HashMap::new();
        for (call, session, at) in self.asked.take() {
            if let Some(caller) = callers.get(&call) {
                of_session.insert(session, *caller);
                asked.entry(*caller).or_default().push(at);
            }
        }
        let mut heard: HashMap<usize, Vec<Utterance>> = HashMap::new();
        for utterance in self.ear.take_heard() {
            if let Some(caller) = of_session.get(&utterance.session) {
                heard.entry(*caller).or_default().push(utterance);
            }
        }
        Noted { heard, asked }
    }

    /// Our part of each turn in so many calls at once.
    async fn turns(
        &self,
        calls: usize,
        script: &Arc<Script>,
        name: &str,
        budget: Option<f64>,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let (processor, began) = (machine::process_time(), Instant::now());
        let seen = self.load(calls, script.clone()).await?;
        let (processor, lasted) = (machine::process_time() - processor, began.elapsed());
        let noted = self.noted();
        let (mut whole, mut inward, mut asking, mut outward, mut greeting) =
            <(Samples, Samples, Samples, Samples, Samples)>::default();
        let (mut gaps, mut frames, mut late) = (0, 0, Duration::ZERO);
        for (caller, seen) in seen.iter().enumerate() {
            let nothing = || format!("{name}: caller {caller} was not heard");
            let heard = noted.heard.get(&caller).with_context(nothing)?;
            let asked = noted.asked.get(&caller).with_context(nothing)?;
            let expected = script.pauses.len();
            ensure!(
                [seen.pauses.len(), heard.len(), asked.len()] == [expected; 3],
                "{name}: caller {caller} said {expected} things, of which {} were heard and {} answered",
                heard.len(),
                asked.len()
            );
            for ((pause, answer), (heard, asked)) in seen.pauses.iter().zip(heard.iter().zip(asked))
            {
                let answer = answer.with_context(|| format!("{name}: an answer was not spoken"))?;
                let told = heard.ended.saturating_duration_since(*pause);
                let thought = asked.saturating_duration_since(heard.answered);
                let spoke = answer.saturating_duration_since(*asked);
                inward.add(told);
                asking.add(thought);
                outward.add(spoke);
                whole.add(told + thought + spoke);
            }
            greeting.add(seen.greeting.with_context(|| format!("{name}: no greeting came"))?);
            gaps += seen.gaps;
            frames += seen.frames;
            late = late.max(seen.late);
        }
        let count = whole.len();
        let [p50, p99, worst] = whole.millis([50.0, 99.0, 100.0]);
        report.line(format!("{name}: our part of a turn ({count}), p50"), p50, "ms");
        let of = format!("{name}: our part of a turn, p99");
        match budget {
            Some(most) => report.judged(of, p99, "ms", Budget::AtMost(most)),
            None => report.line(of, p99, "ms"),
        }
        report.line(format!("{name}: our part of a turn, worst"), worst, "ms");
        for (part, samples) in [
            ("frame in to the recogniser", inward),
            ("text to the agent's handler", asking),
            ("handler to the caller's socket", outward),
        ] {
            let [p50, p99] = samples.millis([50.0, 99.0]);
            report.line(format!("{name}: {part}, p50"), p50, "ms");
            report.line(format!("{name}: {part}, p99"), p99, "ms");
        }
        let [p99] = greeting.millis([99.0]);
        report.judged(format!("{name}: greeting, p99"), p99, "ms", Budget::AtMost(300.0));
        report.line(format!("{name}: gaps in {frames} frames of speech"), f64::from(gaps), "gaps");
        report.line(
            format!("{name}: the callers sent late, at worst"),
            late.as_secs_f64() * 1e3,
            "ms",
        );
        let share = processor.as_secs_f64() / lasted.as_secs_f64();
        report.line(format!("{name}: processor, callers included"), share, "cores");
        Ok(())
    }

    /// From the first sample of speech to the order to be quiet.
    async fn interruptions(
        &self,
        calls: usize,
        turns: usize,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        self.asked.answer_at_length(true);
        let seen = self.load(calls, Arc::new(Script::talking(turns.max(2))?)).await;
        self.asked.answer_at_length(false);
        self.noted();
        let mut times = Samples::default();
        for (caller, seen) in seen?.iter().enumerate() {
            // The first thing said interrupts nobody.
            for (onset, cleared) in seen.onsets.iter().zip(&seen.cleared).skip(1) {
                let cleared = cleared
                    .with_context(|| format!("the agent was not silenced by caller {caller}"))?;
                times.add(cleared.saturating_duration_since(*onset));
            }
        }
        let count = times.len();
        let [p50, p99, worst] = times.millis([50.0, 99.0, 100.0]);
        report.line(format!("first speech to clear, {calls} calls ({count}), p50"), p50, "ms");
        report.line(format!("first speech to clear, {calls} calls, p99"), p99, "ms");
        let name = format!("first speech to clear, {calls} calls, worst");
        report.judged(name, worst, "ms", Budget::AtMost(150.0));
        Ok(())
    }

    /// What a call costs while nobody says anything.
    async fn idle(&self, calls: usize, report: &mut Report) -> anyhow::Result<()> {
        let (before, _) = machine::memory();
        let lasts = within(calls) + Duration::from_secs(4);
        let script = Script::silent((lasts.as_millis() / 20) as usize);
        let (told, all_began) = tokio::sync::oneshot::channel();
        let load = self.load_and(calls, Arc::new(script), move || {
            // The run may be over.
            let _ = told.send(());
        });
        let measured = async {
            all_began.await.context("the calls did not begin")?;
            // Greetings are over by then.
            tokio::time::sleep(Duration::from_secs(2)).await;
            anyhow::Ok(machine::memory().0)
        };
        let (seen, with) = tokio::join!(load, measured);
        ensure!(seen?.iter().all(|seen| seen.greeting.is_some()), "an idle call was not answered");
        self.noted();
        let each = with?.saturating_sub(before) as f64 / calls as f64 / 1e3;
        let name = format!("an idle call holds (of {calls}, the callers' own included)");
        report.judged(name, each, "KB", Budget::AtMost(100.0));
        Ok(())
    }
}

/// When the agent was asked, in which call, by which session.
#[derive(Default)]
struct Asked {
    turns: Mutex<Vec<(CallId, usize, Instant)>>,
    at_length: std::sync::atomic::AtomicBool,
}

impl Asked {
    fn take(&self) -> Vec<(CallId, usize, Instant)> {
        std::mem::take(&mut *self.turns.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn answer_at_length(&self, at_length: bool) {
        self.at_length.store(at_length, std::sync::atomic::Ordering::Release);
    }
}

/// Answers at once, in pieces, as a model that costs nothing would.
struct Answering(Arc<Asked>);

impl Agent for Answering {
    type State = ();

    fn on_turn(&self, _: &mut Context<'_, ()>, turn: &Turn) -> Result<Reply, HandlerError> {
        let now = Instant::now();
        if let (Some(call), Some(session)) = (turn.call, session_of(&turn.text)) {
            let mut turns = self.0.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.push((call, session, now));
        }
        let repeat = if self.0.at_length.load(std::sync::atomic::Ordering::Acquire) {
            LONG_SENTENCES
        } else {
            1
        };
        let parts = std::iter::repeat_n(ANSWER, repeat).flatten();
        let parts = parts.map(|part| Ok(ReplyPart::Text(part.to_owned())));
        Ok(Reply::stream(futures_util::stream::iter(parts)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_short_run_measures_everything_that_has_a_budget() {
        let options = VoiceOptions {
            seconds: 3,
            calls: vec![1, 3],
            beside_decode: 0,
            idle: 4,
            interrupted: 2,
            dir: None,
        };
        let report = options.run(&|_| {}).await.unwrap();
        let judged = report.lines.iter().filter(|line| line.met.is_some()).count();
        assert_eq!(judged, 4, "{report:#?}");
        assert!(report.lines.iter().all(|line| line.value.is_finite()), "{report:#?}");
        let turns = report.lines.iter().filter(|line| line.name.contains("our part of a turn"));
        assert!(turns.clone().count() == 6 && turns.clone().all(|line| line.value > 0.0));
    }
}
