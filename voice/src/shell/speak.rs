//! The call's sentences on their way through the synthesiser.
//!
//! Each sentence is a task that gives its sound as inputs of the call; the call keeps the order and asks
//! for at most three at once. What is known beforehand (the phrases) comes from the cache.

use super::{Cache, Event, Host};
use crate::{
    audio::{Pcm, Rate},
    call::{Input, Phrases, Splitter as _},
    engine::{Chunk, Say, Synthesiser},
    text::{Locale, SpeechSplitter, cache::Utterance},
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};
use tokio::{sync::mpsc, task::AbortHandle};

/// Says the sentences of one call.
pub(super) struct Speaker {
    engine: Arc<dyn Synthesiser>,
    cache: Option<Cache>,
    host: Arc<dyn Host>,
    inputs: mpsc::Sender<Input>,
    events: mpsc::Sender<Event>,
    /// Sentences worth keeping the sound of.
    known: HashSet<String>,
    tasks: HashMap<u32, Vec<AbortHandle>>,
    /// As a multiple of the voice's own speed.
    pub pace: f32,
}

impl Speaker {
    pub fn new(
        engine: Arc<dyn Synthesiser>,
        cache: Option<Cache>,
        host: Arc<dyn Host>,
        inputs: mpsc::Sender<Input>,
        events: mpsc::Sender<Event>,
        known: HashSet<String>,
    ) -> Self {
        Self { engine, cache, host, inputs, events, known, tasks: HashMap::new(), pace: 1.0 }
    }

    /// Starts to make the sound of a sentence.
    pub fn say(&mut self, generation: u32, sentence: u32, text: String) {
        let cache = self.cache.clone().filter(|_| self.known.contains(&text));
        let say = match self.host.before_speech(text) {
            Some(text) => Say::new(text).at_pace(self.pace),
            None => Say::new(""),
        };
        let work = Sentence {
            engine: self.engine.clone(),
            cache,
            host: self.host.clone(),
            inputs: self.inputs.clone(),
            generation,
            sentence,
        };
        let (inputs, events) = (self.inputs.clone(), self.events.clone());
        let task = tokio::spawn(async move {
            let end = match work.make(say).await {
                Ok(()) => Input::VoiceEnd { generation, sentence },
                Err(problem) => {
                    tracing::warn!(generation, sentence, problem, "a sentence cannot be spoken");
                    // The client may be gone, and then nobody needs to know.
                    let _ = events.try_send(Event::Problem(problem));
                    Input::VoiceFailed { generation, sentence }
                }
            };
            let _ = inputs.send(end).await;
        });
        self.tasks.entry(generation).or_default().push(task.abort_handle());
        // Replies follow one another, so older ones are over.
        self.tasks
            .retain(|of, tasks| *of == generation || tasks.iter().any(|task| !task.is_finished()));
    }

    /// Stops all sentences of a reply.
    pub fn abort(&mut self, generation: u32) {
        for task in self.tasks.remove(&generation).unwrap_or_default() {
            task.abort();
        }
    }

    /// Stops everything.
    pub fn stop(&mut self) {
        for task in self.tasks.drain().flat_map(|(_, tasks)| tasks) {
            task.abort();
        }
    }
}

/// The sentences that the phrases and these lines will be cut into.
pub(super) fn sentences_of(phrases: &Phrases, lines: &[String], locale: Locale) -> HashSet<String> {
    let mut splitter = SpeechSplitter::new(locale);
    let mut sentences = Vec::new();
    for line in phrases.lines().chain(lines.iter().map(String::as_str)) {
        splitter.push(line, &mut sentences);
        splitter.finish(&mut sentences);
    }
    let spoken = sentences.into_iter().map(|sentence| sentence.spoken);
    // A filler is spoken as it is written.
    spoken.chain(phrases.fillers.iter().cloned()).collect()
}

/// One sentence.
struct Sentence {
    engine: Arc<dyn Synthesiser>,
    cache: Option<Cache>,
    host: Arc<dyn Host>,
    inputs: mpsc::Sender<Input>,
    generation: u32,
    sentence: u32,
}

impl Sentence {
    async fn make(&self, say: Say) -> Result<(), String> {
        if say.text.trim().is_empty() {
            return Ok(());
        }
        let Some(cache) = self.cache.clone() else {
            let mut speech = self.engine.say(say).map_err(|error| error.to_string())?;
            while let Some(chunk) = speech.next().await {
                self.give(chunk.map_err(|error| error.to_string())?).await?;
            }
            return Ok(());
        };
        let name = self.engine.name();
        let key = Utterance {
            engine: name.family(),
            voice: name.model(),
            rate_hz: 0,
            pace_percent: (say.pace * 100.0).round() as u16,
            text: &say.text,
        }
        .key();
        let looked = cache.clone();
        let kept = tokio::task::spawn_blocking(move || looked.get(key)).await.ok().flatten();
        if let Some(sound) = kept {
            return self.give(sound).await;
        }
        let speech = self.engine.say(say).map_err(|error| error.to_string())?;
        let sound = speech.collect().await.map_err(|error| error.to_string())?;
        self.give(sound.clone()).await?;
        // Kept after it was said, so that nobody waits for the disk.
        tokio::task::spawn_blocking(move || {
            if let Err(error) = cache.put(key, &sound) {
                tracing::warn!(%error, "speech cannot be kept for the next time");
            }
        });
        Ok(())
    }

    async fn give(&self, Chunk { rate, mut samples }: Chunk) -> Result<(), String> {
        self.host.after_speech(&mut samples, rate);
        let rate = Rate::try_from(rate).map_err(|error| error.to_string())?;
        let (generation, sentence) = (self.generation, self.sentence);
        let sound = Pcm::new(rate, samples);
        // A call that is over wants no more sound.
        let _ = self.inputs.send(Input::Voice { generation, sentence, sound }).await;
        Ok(())
    }
}
