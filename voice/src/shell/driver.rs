//! The loop: one input at a time into the call, and its outputs carried out in order.

use super::{
    Answer, Asked, Control, Ended, Event, Host, Interrupted, Setup, listen::Listener,
    record::Recorder, speak::Speaker,
};
use crate::{
    audio::Earshot,
    call::{Call, EndReason, Input, Message, Ms, Outcome, Output, Speaker as Who, Via},
    text::SpeechSplitter,
};
use std::{collections::HashMap, sync::Arc};
use tokio::{
    sync::mpsc,
    task::AbortHandle,
    time::{Instant, sleep_until},
};

/// Words and sounds on their way into the call: a reply's deltas and three sentences of 40 ms chunks.
const INPUTS: usize = 64;

pub(super) async fn run(
    setup: Setup,
    controls: mpsc::Receiver<Control>,
    events: mpsc::Sender<Event>,
) {
    let host = setup.host.clone();
    let started = Instant::now();
    // A panic is the end of its call and of nothing else, and its history is told.
    let driven = tokio::spawn(Driver::new(setup, started, events).run(controls)).await;
    let ended = driven.unwrap_or_else(|error| {
        tracing::error!(%error, "a call broke off");
        let duration = elapsed(started);
        Ended { reason: EndReason::EngineFailed, duration, recording: None }
    });
    host.ended(ended);
}

fn elapsed(since: Instant) -> Ms {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

struct Driver {
    call: Call,
    started: Instant,
    answered: Option<Ms>,
    host: Arc<dyn Host>,
    events: mpsc::Sender<Event>,
    /// What tasks of this call put in.
    inputs: mpsc::Sender<Input>,
    from_tasks: mpsc::Receiver<Input>,
    listener: Listener,
    speaker: Speaker,
    recorder: Option<Recorder>,
    turns: HashMap<u32, AbortHandle>,
    /// The last reply that was cut off.
    cut_off: Option<(u32, Interrupted)>,
    reason: Option<EndReason>,
}

impl Driver {
    fn new(setup: Setup, started: Instant, events: mpsc::Sender<Event>) -> Self {
        let Setup {
            config,
            transcriber,
            session,
            synthesiser,
            cache,
            known_lines,
            locale,
            record,
            host,
        } = setup;
        let (inputs, from_tasks) = mpsc::channel(INPUTS);
        let splitter = SpeechSplitter::new(locale);
        let rate = config.playout_rate;
        let speaker = Speaker::new(
            synthesiser,
            cache,
            host.clone(),
            inputs.clone(),
            events.clone(),
            super::speak::sentences_of(&config.phrases, &known_lines, locale),
        );
        Self {
            call: Call::new(config, Box::new(Earshot::default()), Box::new(splitter)),
            started,
            answered: None,
            listener: Listener::new(transcriber, session),
            speaker,
            recorder: record.map(|path| Recorder::start(path, rate)),
            host,
            events,
            inputs,
            from_tasks,
            turns: HashMap::new(),
            cut_off: None,
            reason: None,
        }
    }

    async fn run(mut self, mut controls: mpsc::Receiver<Control>) -> Ended {
        while !self.call.is_over() {
            let deadline = self.call.deadline().map(|(at, _)| at);
            let due = async {
                match deadline {
                    Some(at) => {
                        sleep_until(self.started + std::time::Duration::from_millis(at)).await
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                control = controls.recv() => match control {
                    Some(Control::Input(input)) => self.feed(input),
                    Some(Control::Pace(pace)) => self.speaker.pace = pace,
                    Some(Control::Message(message)) => self.tell(Event::Message(message)),
                    None => self.feed(Input::HungUp),
                },
                // Never ends: a sender of it is in this struct.
                Some(input) = self.from_tasks.recv() => self.feed(input),
                heard = self.listener.next() => self.heard(heard),
                () = due => self.feed(Input::Timeout),
            }
        }
        for turn in self.turns.values() {
            turn.abort();
        }
        self.speaker.stop();
        let now = self.now();
        let duration = now.saturating_sub(self.answered.unwrap_or(now));
        let recording = match self.recorder.take() {
            Some(recorder) => recorder.finish(now).await,
            None => None,
        };
        Ended { reason: self.reason.unwrap_or(EndReason::CallerHungUp), duration, recording }
    }

    fn now(&self) -> Ms {
        elapsed(self.started)
    }

    fn heard(&mut self, heard: super::listen::Heard) {
        if let Some(problem) = heard.problem {
            self.tell(Event::Problem(problem));
        }
        for input in heard.inputs {
            let input = match input {
                Input::Interim { text, settled } => match self.host.transcribed(text) {
                    Some(text) => Input::Interim { text, settled },
                    None => continue,
                },
                Input::Final { text } if !text.is_empty() => {
                    Input::Final { text: self.host.transcribed(text).unwrap_or_default() }
                }
                input => input,
            };
            self.feed(input);
        }
    }

    fn feed(&mut self, input: Input) {
        let now = self.now();
        if !matches!(input, Input::Audio { .. } | Input::Voice { .. } | Input::Played { .. }) {
            tracing::trace!(now, ?input, "a call hears");
        }
        match &input {
            Input::Answered => {
                self.answered.get_or_insert(now);
                if let Some(recorder) = &mut self.recorder {
                    recorder.begin(now);
                }
            }
            Input::Audio { sound } => {
                if let Some(recorder) = &mut self.recorder {
                    recorder.caller(now, sound);
                }
            }
            _ => {}
        }
        let mut outputs = Vec::new();
        let answered = matches!(input, Input::Answered);
        self.call.handle(now, input, &mut outputs);
        for output in outputs {
            self.carry_out(output);
        }
        if answered
            && !self.listener.is_open()
            && !self.call.is_over()
            && let Some(problem) = self.listener.open()
        {
            self.tell(Event::Problem(problem));
            self.feed(Input::TranscriberFailed { lasting: true });
        }
    }

    fn carry_out(&mut self, output: Output) {
        if !matches!(output, Output::Audio { .. } | Output::Transcribe { .. }) {
            tracing::trace!(?output, "a call does");
        }
        match output {
            Output::Transcribe { frame } => self.listener.frame(&frame),
            Output::SpeechStarted { .. } => {
                let now = self.now();
                self.listener.speech(now);
            }
            Output::SpeechPaused { .. } => {
                let now = self.now();
                self.listener.pause(now);
            }
            Output::StartTurn { turn, generation, text, via, interrupted } => {
                if via == Via::Speech {
                    self.listener.turn_over();
                }
                let interrupted = interrupted.and_then(|of| {
                    self.cut_off
                        .take()
                        .filter(|(generation, _)| *generation == of)
                        .map(|(_, cut)| cut)
                });
                self.ask(Asked { turn, generation, text, via, interrupted });
            }
            Output::AbortTurn { generation } => {
                if let Some(turn) = self.turns.remove(&generation) {
                    turn.abort();
                }
            }
            Output::Synthesise { generation, sentence, text } => {
                self.speaker.say(generation, sentence, text);
            }
            Output::AbortVoice { generation } => self.speaker.abort(generation),
            Output::Commit { message } => {
                self.note(&message);
                self.host.commit(message.clone());
                self.tell(Event::Call(Output::Commit { message }));
            }
            Output::Metrics { metrics } => {
                self.turns.remove(&metrics.generation);
                self.host.metrics(metrics.clone());
                self.tell(Event::Call(Output::Metrics { metrics }));
            }
            Output::HangUp { reason } => {
                self.reason = Some(reason);
                self.tell(Event::Call(Output::HangUp { reason }));
            }
            Output::Audio { generation, position, play_at, frame } => {
                if let Some(recorder) = &mut self.recorder {
                    recorder.agent(play_at, &frame);
                }
                self.tell(Event::Call(Output::Audio { generation, position, play_at, frame }));
            }
            Output::Clear { stretch } => {
                let now = self.now();
                if let Some(recorder) = &mut self.recorder {
                    recorder.cut(now);
                }
                self.tell(Event::Call(Output::Clear { stretch }));
            }
            other => self.tell(Event::Call(other)),
        }
    }

    fn ask(&mut self, asked: Asked) {
        let generation = asked.generation;
        let answer = Answer { generation, inputs: self.inputs.clone() };
        let (work, inputs) = (self.host.turn(asked, answer), self.inputs.clone());
        let task = tokio::spawn(async move {
            let end = match work.await {
                Ok(()) => Input::AgentEnd { generation },
                Err(error) => {
                    tracing::warn!(generation, error, "the agent failed in a call");
                    Input::AgentFailed { generation }
                }
            };
            // A call that is over needs no end of its reply.
            let _ = inputs.send(end).await;
        });
        self.turns.insert(generation, task.abort_handle());
        // A panic in the agent is its failure.
        let inputs = self.inputs.clone();
        tokio::spawn(async move {
            if task.await.is_err_and(|error| error.is_panic()) {
                let _ = inputs.send(Input::AgentFailed { generation }).await;
            }
        });
    }

    /// Remembers what of a reply was heard, for the turn that interrupted it.
    fn note(&mut self, message: &Message) {
        if message.speaker == Who::Agent && message.outcome == Outcome::Interrupted {
            let (heard, unheard) = message.text.split_at(message.heard);
            let cut = Interrupted { heard: heard.to_owned(), unheard: unheard.to_owned() };
            self.cut_off = message.generation.map(|generation| (generation, cut));
        }
    }

    fn tell(&mut self, event: Event) {
        use mpsc::error::TrySendError;
        match self.events.try_send(event) {
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(_)) => {
                // The transport gives up long before: this is a client that nobody serves any more.
                tracing::warn!("a call's client takes nothing; the line counts as lost");
                let lost = self.inputs.clone();
                tokio::spawn(async move {
                    let _ = lost.send(Input::Lost).await;
                });
            }
        }
    }
}
