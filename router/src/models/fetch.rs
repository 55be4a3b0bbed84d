//! The octets of a model, from a web server or a file, into its `.part` file.
//!
//! What always holds: the file never grows beyond the model's size; a broken connection goes on where it
//! broke (RFC 9110 section 14); and a server that does not do that is started over with, a bounded number
//! of times.

use super::{Progress, PullError, Source};
use frontdesk_voice::engine::models::Known;
use futures_util::StreamExt as _;
use reqwest::{Client, Response, StatusCode, header};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    fs::{File, OpenOptions},
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter},
    sync::watch,
};

/// How long a server may take to accept a connection, and how long it may send nothing.
const CONNECT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(30);

/// Written to the disk at once.
const BLOCK: usize = 1024 * 1024;

/// Pauses before trying again. They begin anew when more has arrived than ever before, so a bad line gets
/// there and a server that always breaks off does not keep us for ever.
#[derive(Debug, Clone)]
pub struct Patience(Vec<Duration>);

impl Patience {
    pub fn of(pauses: &[Duration]) -> Self {
        Self(pauses.to_vec())
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self([1, 3, 10].map(Duration::from_secs).to_vec())
    }
}

/// What is known of a `.part` file, in a file beside it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Partial {
    /// Where it comes from.
    url: String,
    /// The server's name for this version of it.
    etag: String,
}

impl Partial {
    fn path(part: &Path) -> PathBuf {
        part.with_extension("part.json")
    }

    /// The tag under which `url` gave what is here.
    fn tag(part: &Path, url: &str) -> Option<String> {
        let text = fs::read_to_string(Self::path(part)).ok()?;
        let known: Self = serde_json::from_str(&text).ok()?;
        (known.url == url && !known.etag.is_empty()).then_some(known.etag)
    }

    /// Without it the whole file is fetched again or its checksum tells, so it need not be written safely.
    fn note(part: &Path, url: &str, response: &Response) {
        // Weak tags may not be asked with (RFC 9110 section 13.1.5).
        let tag = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok());
        let known = Self {
            url: url.to_owned(),
            etag: tag.filter(|tag| !tag.starts_with("W/")).unwrap_or_default().to_owned(),
        };
        if let Ok(text) = serde_json::to_string(&known) {
            let _ = fs::write(Self::path(part), text);
        }
    }

    /// Removes what is here of a model.
    pub fn forget(part: &Path) {
        for path in [part.to_owned(), Self::path(part)] {
            let _ = fs::remove_file(path);
        }
    }
}

/// Why a try failed.
enum Failed {
    /// It may go better the next time.
    Passing(String),
    /// It will not.
    ForGood(PullError),
}

impl From<PullError> for Failed {
    fn from(error: PullError) -> Self {
        Self::ForGood(error)
    }
}

/// Makes the `.part` file whole: as long as the model.
pub async fn fetch(
    model: &Known,
    source: &Source,
    part: &Path,
    patience: &Patience,
    progress: &watch::Sender<Progress>,
) -> Result<(), PullError> {
    let url = match source {
        Source::File(path) => return copy(model, path, part, progress).await,
        Source::Web(url) => url,
    };
    // All that can be wrong with the client is what it trusts.
    let client = client()
        .map_err(|error| PullError::Untrusted { at: url.clone(), why: root_cause(&error) })?;
    let mut pauses = patience.0.iter();
    let mut most = length(part);
    loop {
        let why = match try_once(&client, model, url, part, progress).await {
            Ok(()) => return Ok(()),
            Err(Failed::ForGood(error)) => return Err(error),
            Err(Failed::Passing(why)) => why,
        };
        let have = length(part);
        if have > most {
            most = have;
            pauses = patience.0.iter();
        }
        let Some(pause) = pauses.next() else {
            return Err(PullError::Unreachable { at: url.clone(), why });
        };
        progress.send_replace(Progress::Interrupted { why, pause: *pause });
        tokio::time::sleep(*pause).await;
    }
}

fn client() -> reqwest::Result<Client> {
    // TLS has no default provider in this workspace. Somebody may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .user_agent(concat!("frontdesk/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .build()
}

async fn try_once(
    client: &Client,
    model: &Known,
    url: &str,
    part: &Path,
    progress: &watch::Sender<Progress>,
) -> Result<(), Failed> {
    let mut have = length(part);
    if have > model.size {
        Partial::forget(part);
        have = 0;
    } else if have == model.size {
        return Ok(());
    }
    let mut request = client.get(url).header(header::ACCEPT_ENCODING, "identity");
    if have > 0 {
        request = request.header(header::RANGE, format!("bytes={have}-"));
        if let Some(tag) = Partial::tag(part, url) {
            request = request.header(header::IF_RANGE, tag);
        }
    }
    let response = request.send().await.map_err(|error| {
        if distrusts(&error) {
            let why = root_cause(&error);
            return Failed::ForGood(PullError::Untrusted { at: url.to_owned(), why });
        }
        Failed::Passing(in_words(&error))
    })?;
    let from = match start_of(&response, model, url, have) {
        Ok(from) => from,
        Err(failed) => {
            // Where its parts do not fit ours, the whole will.
            if matches!(
                response.status(),
                StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE
            ) {
                Partial::forget(part);
            }
            return Err(failed);
        }
    };
    if from == 0 {
        Partial::note(part, url, &response);
    }
    receive(response, model, url, part, from, progress).await
}

/// The octet that the answer begins with: where we are, or the beginning.
fn start_of(response: &Response, model: &Known, url: &str, have: u64) -> Result<u64, Failed> {
    let status = response.status();
    let wrong = |why: String| Failed::from(PullError::Wrong { at: url.to_owned(), why });
    match status {
        StatusCode::PARTIAL_CONTENT => {
            let range = response.headers().get(header::CONTENT_RANGE);
            let range = range.and_then(|range| range.to_str().ok()).and_then(content_range);
            match range {
                Some((_, Some(size))) if size != model.size => Err(wrong(sizes(size, model))),
                Some((start, _)) if start == have => Ok(have),
                _ => {
                    Err(Failed::Passing("the server sends another part than was asked for".into()))
                }
            }
        }
        StatusCode::OK => match response.content_length() {
            Some(size) if size != model.size => Err(wrong(sizes(size, model))),
            _ => Ok(0),
        },
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(Failed::from(PullError::NotThere {
            at: url.to_owned(),
            fix: if url == model.url {
                "It has been moved or removed; see whether there is a newer version of Frontdesk, or \
                 name a place that has it with --mirror."
                    .into()
            } else {
                format!(
                    "Put the file {} there, or leave the mirror out to fetch it from {}.",
                    model.file, model.url
                )
            },
        })),
        StatusCode::RANGE_NOT_SATISFIABLE => {
            Err(Failed::Passing("the server does not have the rest of it".into()))
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            Err(Failed::Passing(format!("the server answers {status}")))
        }
        _ if status.is_server_error() => {
            Err(Failed::Passing(format!("the server answers {status}")))
        }
        _ => Err(Failed::from(PullError::Refused {
            at: url.to_owned(),
            status: status.as_u16(),
            fix: "It does not give the file to everybody; name another place with --mirror, or copy \
                  the file to this machine and name its folder.",
        })),
    }
}

/// `bytes 7-99/100`: the first octet, and the size where it is given (RFC 9110 section 14.4).
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, size.parse().ok()))
}

fn sizes(size: u64, model: &Known) -> String {
    format!("it has {size} octets and not {}", model.size)
}

/// Writes what comes behind the first `from` octets of the file.
async fn receive(
    response: Response,
    model: &Known,
    url: &str,
    part: &Path,
    from: u64,
    progress: &watch::Sender<Progress>,
) -> Result<(), Failed> {
    let mut file = Part::open(part, from, model.size).await?;
    let mut body = response.bytes_stream();
    let mut broken = None;
    while let Some(piece) = body.next().await {
        match piece {
            Ok(piece) if file.have + piece.len() as u64 > model.size => {
                drop(file);
                Partial::forget(part);
                let why = "it is longer than the model".to_owned();
                return Err(PullError::Wrong { at: url.to_owned(), why }.into());
            }
            Ok(piece) => file.write(&piece, progress).await?,
            Err(error) => {
                broken = Some(in_words(&error));
                break;
            }
        }
    }
    let have = file.close().await?;
    match broken {
        None if have == model.size => Ok(()),
        broken => {
            let why = broken.unwrap_or_else(|| "the server stopped too early".into());
            Err(Failed::Passing(why))
        }
    }
}

/// Copies a file of this machine.
async fn copy(
    model: &Known,
    from: &Path,
    part: &Path,
    progress: &watch::Sender<Progress>,
) -> Result<(), PullError> {
    let not_there = || PullError::NotThere {
        at: from.display().to_string(),
        fix: format!("Name the folder that holds {}, or that file.", model.file),
    };
    let size = match fs::metadata(from) {
        Ok(data) if data.is_file() => data.len(),
        Ok(_) => return Err(not_there()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(not_there()),
        Err(error) => return Err(PullError::file("read", from, 0)(error)),
    };
    if size != model.size {
        let at = from.display().to_string();
        return Err(PullError::Wrong { at, why: sizes(size, model) });
    }
    let cannot_read = PullError::file("read", from, 0);
    let mut source = File::open(from).await.map_err(&cannot_read)?.take(model.size);
    let mut target = Part::open(part, 0, model.size).await?;
    let mut block = vec![0; BLOCK];
    loop {
        match source.read(&mut block).await.map_err(&cannot_read)? {
            0 => break,
            read => target.write(&block[..read], progress).await?,
        }
    }
    target.close().await.map(drop)
}

/// A `.part` file that grows.
struct Part {
    path: PathBuf,
    file: BufWriter<File>,
    have: u64,
    size: u64,
}

impl Part {
    async fn open(path: &Path, from: u64, size: u64) -> Result<Self, PullError> {
        let failed = PullError::file("write", path, size - from.min(size));
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(from == 0).append(from > 0);
        let file = options.open(path).await.map_err(&failed)?;
        let file = BufWriter::with_capacity(BLOCK, file);
        Ok(Self { path: path.to_owned(), file, have: from, size })
    }

    async fn write(
        &mut self,
        piece: &[u8],
        progress: &watch::Sender<Progress>,
    ) -> Result<(), PullError> {
        let failed = PullError::file("write", &self.path, self.size - self.have.min(self.size));
        self.file.write_all(piece).await.map_err(failed)?;
        self.have += piece.len() as u64;
        progress.send_replace(Progress::Fetching { have: self.have, size: self.size });
        Ok(())
    }

    async fn close(mut self) -> Result<u64, PullError> {
        let failed = PullError::file("write", &self.path, self.size - self.have.min(self.size));
        self.file.flush().await.map_err(failed)?;
        Ok(self.have)
    }
}

fn length(part: &Path) -> u64 {
    fs::metadata(part).map_or(0, |data| data.len())
}

/// What happened to a connection. The address is told elsewhere.
fn in_words(error: &reqwest::Error) -> String {
    let what = if error.is_timeout() {
        "the server does not answer in time"
    } else if error.is_connect() {
        "the server cannot be reached"
    } else {
        "the connection broke"
    };
    format!("{what}: {}", root_cause(error))
}

/// What is at the bottom of an error: what is above it only says that a request failed.
fn root_cause(error: &reqwest::Error) -> String {
    causes(error).last().map_or_else(|| error.to_string(), ToString::to_string)
}

/// Whether it is about a certificate. What TLS finds wrong comes wrapped in errors of the socket, whose
/// `source` passes over what they wrap.
fn distrusts(error: &reqwest::Error) -> bool {
    let unwrapped = |cause| {
        std::iter::successors(Some(cause), |cause: &&(dyn std::error::Error + 'static)| {
            let inner = cause.downcast_ref::<std::io::Error>()?.get_ref()?;
            Some(inner as &(dyn std::error::Error + 'static))
        })
    };
    causes(error).flat_map(unwrapped).any(|cause| {
        let found = cause.downcast_ref::<rustls::Error>();
        matches!(found, Some(rustls::Error::InvalidCertificate(_)))
    })
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(error), |cause| cause.source())
}
