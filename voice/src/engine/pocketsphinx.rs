//! `pocketsphinx:en-us`: a recogniser that needs only system packages.
//!
//! **Basic.** Within a grammar (digits, yes or no, a menu) it hears synthetic speech word for word; with
//! the general language model it gets every eighth word of clean synthetic speech wrong, and more of
//! people's. It serves for menus, for tests, and as a fallback whose words nobody should rely on.
//!
//! A session is a thread with a decoder of its own: decoding takes up to the whole length of the sound
//! in CPU time, and what a decoder learns about one caller's line is not carried to the next caller. The
//! language model is loaded only when a session first needs it; a session with grammars never does. So is the
//! dictionary, of which grammars and small language models take the words they have.

mod dictionary;

use super::{
    Dropped, EngineName, Error, Expect, Grammar, Heard, LISTEN_RATE, MAX_UTTERANCE_SECS, Session,
    SessionOptions, Transcriber, Transcript, Utterance,
    ffi::pocketsphinx::{Decoder, Library},
    transcriber::{Command, Ear, Mouth, session},
};
use std::{
    collections::HashSet,
    ffi::CString,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// How much new sound there must be before the words so far are asked for again: 200 ms. Asking costs a
/// walk over the search's history.
const INTERIM_SAMPLES: usize = LISTEN_RATE as usize / 5;

/// Less sound than this holds no word: 100 ms.
const SHORTEST_SAMPLES: usize = LISTEN_RATE as usize / 10;

/// How many sessions at once if the settings do not say: each may use a core.
pub(crate) fn default_sessions() -> usize {
    thread::available_parallelism().map_or(2, usize::from).max(2)
}

/// Where the files of a model are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Directory of the acoustic model.
    pub acoustic: PathBuf,
    /// Pronunciation dictionary.
    pub dictionary: PathBuf,
    /// Language model for [`Expect::Anything`]: ARPA or binary. A small one for a known vocabulary is both
    /// faster and better than the general one.
    pub language_model: PathBuf,
}

impl Model {
    /// As the Debian package of this language lays it out below `dir`.
    #[must_use]
    pub fn installed(dir: &Path, language: &str) -> Self {
        let dir = dir.join(language);
        Self {
            acoustic: dir.join(language),
            dictionary: dir.join(format!("cmudict-{language}.dict")),
            language_model: dir.join(format!("{language}.lm.bin")),
        }
    }

    fn check(&self) -> Result<(), Error> {
        let needed =
            [self.acoustic.join("mdef"), self.dictionary.clone(), self.language_model.clone()];
        match needed.iter().find(|path| !path.is_file()) {
            None => Ok(()),
            Some(path) => Err(Error::Missing {
                what: format!("the model file {} is not there", path.display()),
                fix: "apt install pocketsphinx-en-us".into(),
            }),
        }
    }
}

/// PocketSphinx with one model.
#[derive(Debug)]
pub struct PocketSphinx {
    name: EngineName,
    model: Model,
    library: LibraryHandle,
    sessions: Arc<AtomicUsize>,
    limit: usize,
}

impl PocketSphinx {
    /// Opens the library, in `dir` or wherever the system has it, and looks for the model's files. At most
    /// `limit` sessions at once, each a thread.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] with the packages to install.
    pub fn open(
        name: EngineName,
        model: Model,
        limit: usize,
        dir: Option<&Path>,
    ) -> Result<Self, Error> {
        let library = LibraryHandle(Library::load(dir)?);
        model.check()?;
        Ok(Self { name, model, library, sessions: Arc::default(), limit: limit.max(1) })
    }
}

impl Transcriber for PocketSphinx {
    fn name(&self) -> &EngineName {
        &self.name
    }

    fn is_basic(&self) -> bool {
        true
    }

    fn open(&self, options: SessionOptions) -> Result<Session, Error> {
        let place = Place::take(&self.sessions, self.limit)
            .ok_or_else(|| Error::Busy { engine: self.name.clone(), limit: self.limit })?;
        let (session, ear) = session();
        let (name, model, library) = (self.name.clone(), self.model.clone(), self.library.0);
        thread::Builder::new()
            .name("pocketsphinx".into())
            .spawn(move || {
                let _place = place;
                let mouth = ear.mouth.clone();
                let broken = match Listener::new(&name, library, model, ear.mouth.clone()) {
                    Ok(listener) => listener.run(ear, options.expect).err(),
                    Err(error) => Some(error),
                };
                if let Some(error) = broken {
                    mouth.say(Heard::Broken { error });
                }
            })
            .map_err(|error| Error::Failed {
                engine: self.name.clone(),
                what: error.to_string(),
            })?;
        Ok(session)
    }
}

/// The library's functions, which have nothing to show.
#[derive(Clone, Copy)]
struct LibraryHandle(Library);

impl std::fmt::Debug for LibraryHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("libpocketsphinx")
    }
}

/// One of the limited sessions; given back when dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(taken: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        taken
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < limit).then_some(n + 1))
            .ok()
            .map(|_| Self(Arc::clone(taken)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The session's thread.
struct Listener<'a> {
    name: &'a EngineName,
    model: Model,
    decoder: Decoder,
    mouth: Mouth,
    /// Grammars that have a search already, by the number in the search's name.
    grammars: Vec<Grammar>,
    has_language_model: bool,
    current: Option<Current>,
}

/// The utterance being listened to.
struct Current {
    utterance: Utterance,
    samples: usize,
    asked_at: usize,
    last: String,
    started: bool,
    truncated: bool,
}

impl<'a> Listener<'a> {
    fn new(
        name: &'a EngineName,
        library: Library,
        model: Model,
        mouth: Mouth,
    ) -> Result<Self, Error> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let options = [("-hmm", text(&model.acoustic)), ("-samprate", LISTEN_RATE.to_string())];
        let options: Vec<_> = options.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let decoder = Decoder::new(library, &options).ok_or_else(|| Error::Failed {
            engine: name.clone(),
            what: "it does not take its model".into(),
        })?;
        Ok(Self {
            name,
            model,
            decoder,
            mouth,
            grammars: Vec::new(),
            has_language_model: false,
            current: None,
        })
    }

    /// Until the session is closed.
    fn run(mut self, mut ear: Ear, expect: Expect) -> Result<(), Error> {
        self.expect(expect)?;
        while let Some(command) = ear.commands.blocking_recv() {
            if self.mouth.is_closed() {
                break;
            }
            match command {
                Command::Begin(utterance) => self.begin(utterance)?,
                Command::Audio(samples) => self.audio(&samples),
                Command::Pause => self.interim(),
                Command::Resume => {}
                Command::End { lost } => self.end(lost),
                Command::Abandon => self.stop(),
                // An utterance keeps the search it began with.
                Command::Expect(expect) => {
                    self.stop();
                    self.expect(expect)?;
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, utterance: Utterance) -> Result<(), Error> {
        self.stop();
        if self.mouth.is_stale(utterance) {
            return Ok(());
        }
        if !self.decoder.start() {
            return Err(self.failed("it does not start listening"));
        }
        self.current = Some(Current {
            utterance,
            samples: 0,
            asked_at: 0,
            last: String::new(),
            started: false,
            truncated: false,
        });
        Ok(())
    }

    fn audio(&mut self, samples: &[i16]) {
        let Some(current) = &mut self.current else { return };
        if self.mouth.is_stale(current.utterance) {
            self.stop();
            return;
        }
        if current.samples + samples.len() > (LISTEN_RATE * MAX_UTTERANCE_SECS) as usize {
            current.truncated = true;
            return;
        }
        current.samples += samples.len();
        if !self.decoder.process(samples) {
            let utterance = current.utterance;
            self.stop();
            let error = self.failed("it stopped listening");
            self.mouth.say(Heard::Failed { utterance, error });
            return;
        }
        if current.samples - current.asked_at >= INTERIM_SAMPLES {
            self.interim();
        }
    }

    fn interim(&mut self) {
        let Some(current) = &mut self.current else { return };
        current.asked_at = current.samples;
        let text = self.decoder.hypothesis().unwrap_or_default();
        if text == current.last || text.is_empty() {
            return;
        }
        let utterance = current.utterance;
        if !std::mem::replace(&mut current.started, true) {
            self.mouth.say(Heard::SpeechStart { utterance });
        }
        current.last.clone_from(&text);
        // The last passes at the end may still choose other words.
        self.mouth.say(Heard::Interim { utterance, text: text.into(), settled: false });
    }

    fn end(&mut self, lost: bool) {
        let Some(current) = self.current.take() else { return };
        let ended = self.decoder.end();
        let utterance = current.utterance;
        if lost || !ended {
            let error = if lost { Error::Behind } else { self.failed("it did not finish") };
            self.mouth.say(Heard::Failed { utterance, error });
            return;
        }
        let mut transcript = Transcript { truncated: current.truncated, ..Transcript::default() };
        let text = self.decoder.hypothesis().unwrap_or_default();
        if current.samples >= SHORTEST_SAMPLES {
            transcript.text = text.into();
        } else if !text.is_empty() {
            transcript.dropped = Some(Dropped::TooShort);
        }
        self.mouth.say(Heard::Final { utterance, transcript });
    }

    /// Forgets the current utterance.
    fn stop(&mut self) {
        if self.current.take().is_some() {
            self.decoder.end();
        }
    }

    /// Chooses the search for what is expected, and builds it the first time. A grammar that cannot be
    /// used breaks the session: going on with another search would hear something else in silence.
    fn expect(&mut self, expect: Expect) -> Result<(), Error> {
        let name = match expect {
            Expect::Anything => {
                let name = c"anything".to_owned();
                if !self.has_language_model {
                    match dictionary::words_of_model(&self.model.language_model) {
                        Some(words) => self.learn(&words)?,
                        None => self.learn_everything()?,
                    }
                    let file = self.path(&self.model.language_model)?;
                    if !self.decoder.add_language_model(&name, &file) {
                        return Err(self.failed("it does not take its language model"));
                    }
                    self.has_language_model = true;
                }
                name
            }
            Expect::Grammar(grammar) => {
                let known = self.grammars.iter().position(|have| *have == grammar);
                let number = known.unwrap_or(self.grammars.len());
                let name = CString::new(format!("grammar{number}")).unwrap_or_default();
                if known.is_none() {
                    self.add(&grammar, &name)?;
                    self.grammars.push(grammar);
                }
                name
            }
        };
        if self.decoder.use_search(&name) { Ok(()) } else { Err(self.failed("its search is gone")) }
    }

    fn add(&mut self, grammar: &Grammar, name: &CString) -> Result<(), Error> {
        let words = grammar.words();
        self.learn(&words.iter().filter(|word| !self.decoder.knows(word)).cloned().collect())?;
        let unknown: Vec<_> = words.into_iter().filter(|word| !self.decoder.knows(word)).collect();
        if !unknown.is_empty() {
            let words = unknown.join(", ");
            return Err(Error::Invalid(format!("{} has no pronunciation for {words}", self.name)));
        }
        let jsgf = CString::new(grammar.as_jsgf()).unwrap_or_default();
        if self.decoder.add_jsgf(name, &jsgf) {
            Ok(())
        } else {
            Err(Error::Invalid(format!("{} cannot read the grammar", self.name)))
        }
    }

    /// Adds those of these words to the decoder that the dictionary has.
    fn learn(&mut self, words: &HashSet<String>) -> Result<(), Error> {
        if words.is_empty() {
            return Ok(());
        }
        let found = dictionary::pronunciations(&self.model.dictionary, words)
            .map_err(|_| self.failed("its dictionary cannot be read"))?;
        for (word, phones) in found {
            // One that the model has no phones for stays unknown, and whoever needs it is told.
            self.decoder.add_word(&word, &phones);
        }
        Ok(())
    }

    fn learn_everything(&mut self) -> Result<(), Error> {
        let file = self.path(&self.model.dictionary)?;
        if self.decoder.load_dictionary(&file) {
            Ok(())
        } else {
            Err(self.failed("it does not take its dictionary"))
        }
    }

    fn path(&self, path: &Path) -> Result<CString, Error> {
        CString::new(path.to_string_lossy().as_bytes())
            .map_err(|_| self.failed("a file of its model has an odd path"))
    }

    fn failed(&self, what: &str) -> Error {
        Error::Failed { engine: self.name.clone(), what: what.to_owned() }
    }
}
