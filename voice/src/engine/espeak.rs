//! `espeak:de` and all its languages: espeak-ng as an external program.
//!
//! A program and not a library because espeak-ng is under the GPL, keeps one synthesis in global state, and
//! can be killed. The text goes in by standard input, never through a shell or an argument; sound comes
//! out as a WAV stream while it is still speaking, and is handed on as it comes. Cancelling kills the
//! program. Costs about 60 ms to start for every sentence.

use super::{Chunk, EngineName, Error, Say, Speech, Synthesiser, synthesiser::chunk_len};
use crate::audio::wav;
use std::{path::PathBuf, process::Stdio, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    sync::{Semaphore, mpsc},
    time::timeout,
};

/// The fix where the program is missing.
pub(crate) const FIX: &str = "apt install espeak-ng";

/// How many programs run at once; a sentence takes some 70 ms, nearly all of it starting up.
const AT_ONCE: usize = 4;

/// How many more may wait for one of those.
const WAITING: usize = 28;

/// The voice's own speed, in words a minute (espeak-ng's default).
const WORDS_A_MINUTE: f32 = 175.0;

/// How long the program may be silent. It answers within a tenth of a second.
const SILENT_FOR: Duration = Duration::from_secs(5);

/// A language or voice of espeak-ng.
#[derive(Debug)]
pub struct Espeak {
    name: EngineName,
    program: PathBuf,
    slots: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Espeak {
    /// Finds the program and asks it whether it has the voice. Blocks for about 60 ms.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] where there is no such program, [`Error::Invalid`] where it has no such voice.
    pub fn open(name: EngineName, program: Option<PathBuf>) -> Result<Self, Error> {
        let program = program.unwrap_or_else(|| "espeak-ng".into());
        // With nothing to say it loads the voice and ends.
        let tried = std::process::Command::new(&program)
            .args(["-q", "-v", name.model(), "--stdin"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output();
        match tried {
            Err(error) => Err(Error::Missing {
                what: format!("the program {} cannot be run ({error})", program.display()),
                fix: FIX.to_owned(),
            }),
            Ok(output) if !output.status.success() => Err(Error::Invalid(format!(
                "espeak-ng has no voice {}; `espeak-ng --voices` lists them",
                name.model()
            ))),
            Ok(_) => Ok(Self {
                name,
                program,
                slots: Arc::new(Semaphore::new(AT_ONCE)),
                places: Arc::new(Semaphore::new(AT_ONCE + WAITING)),
            }),
        }
    }
}

impl Synthesiser for Espeak {
    fn name(&self) -> &EngineName {
        &self.name
    }

    fn say(&self, request: Say) -> Result<Speech, Error> {
        let Some(text) = request.clean()? else { return Ok(Speech::silent()) };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Err(Error::Busy { engine: self.name.clone(), limit: AT_ONCE + WAITING });
        };
        let speed = WORDS_A_MINUTE * Say::new("").at_pace(request.pace).pace;
        let mut command = Command::new(&self.program);
        command
            .args(["-v", self.name.model(), "-b", "1", "-s", &format!("{speed:.0}")])
            .args(["--stdin", "--stdout"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        // Its double brackets switch to phoneme codes.
        let text = text.replace("[[", "[ [");
        let (chunks, speech) = Speech::streamed();
        let slots = Arc::clone(&self.slots);
        let name = self.name.clone();
        tokio::spawn(async move {
            let _place = place;
            let said = async {
                // The semaphore is never closed.
                let _slot = slots.acquire().await.map_err(|_| Error::Closed)?;
                let mut child = command.spawn().map_err(|error| failed(&name, &error))?;
                let said = run(&mut child, text, &chunks, &name).await;
                // Reaps it; where it has ended by itself there is nothing to kill.
                let _ = child.kill().await;
                said
            };
            let result = tokio::select! {
                result = said => result,
                // Dropping `said` kills the program.
                () = chunks.closed() => return,
            };
            if let Err(error) = result {
                // Nobody reads it after a cancel.
                let _ = chunks.send(Err(error)).await;
            }
        });
        Ok(speech)
    }
}

/// Feeds the text in and the sound out.
async fn run(
    child: &mut Child,
    text: String,
    chunks: &mpsc::Sender<Result<Chunk, Error>>,
    name: &EngineName,
) -> Result<(), Error> {
    let (Some(mut stdin), Some(mut stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(failed(name, &"its pipes are not there"));
    };
    let feed = async move {
        // A text fits a pipe's buffer, so this does not wait for the program to read.
        let written = stdin.write_all(text.as_bytes()).await;
        drop(stdin);
        written
    };
    let listen = async {
        let mut reader = wav::Reader::default();
        let mut buffer = vec![0; 8 * 1024];
        let mut held = Vec::new();
        loop {
            let read = timeout(SILENT_FOR, stdout.read(&mut buffer))
                .await
                .map_err(|_| failed(name, &"it stopped answering"))?
                .map_err(|error| failed(name, &error))?;
            let end = read == 0;
            reader.push(&buffer[..read], &mut held).map_err(|what| failed(name, &what))?;
            let Some(rate) = reader.rate() else {
                if end {
                    return Err(failed(name, &"it made no sound"));
                }
                continue;
            };
            let whole =
                if end { held.len() } else { held.len() / chunk_len(rate) * chunk_len(rate) };
            if whole > 0 {
                let rest = held.split_off(whole);
                let samples = std::mem::replace(&mut held, rest);
                if chunks.send(Ok(Chunk { rate, samples })).await.is_err() {
                    return Err(Error::Closed);
                }
            }
            if end {
                return Ok(());
            }
        }
    };
    let (fed, listened) = tokio::join!(feed, listen);
    listened?;
    fed.map_err(|error| failed(name, &error))
}

fn failed(name: &EngineName, what: &impl ToString) -> Error {
    Error::Failed { engine: name.clone(), what: what.to_string() }
}
