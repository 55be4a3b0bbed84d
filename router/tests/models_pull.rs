//! Pulling a model from a server on loopback that behaves badly in every way a mirror can.

#![allow(clippy::unwrap_used)]

use data_encoding::HEXLOWER;
use frontdesk_router::{
    config::Config,
    models::{Mirror, Presence, Progress, Pull, PullError, Pulled, list},
};
use frontdesk_voice::engine::models::Known;
use sha2::{Digest as _, Sha256};
use std::{os::unix::fs::PermissionsExt as _, path::Path, time::Duration};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
};

/// Several times what is written to the disk at once.
const SIZE: usize = 3_000_000;

/// Three tries, one after the other.
const AT_ONCE: [Duration; 2] = [Duration::ZERO; 2];

/// The model's octets: not a pattern, so that a piece in the wrong place shows.
fn octets() -> Vec<u8> {
    let mut state = 1_u32;
    let step = |state: &mut u32| {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (*state >> 24) as u8
    };
    (0..SIZE).map(|_| step(&mut state)).collect()
}

fn model(url: &str, octets: &[u8]) -> Known {
    Known {
        file: "ggml-test.bin".into(),
        url: url.to_owned().into(),
        size: octets.len() as u64,
        sha256: HEXLOWER.encode(&Sha256::digest(octets)).into(),
    }
}

/// How the server answers one request.
#[derive(Debug, Clone, Copy)]
enum Turn {
    /// All of it, whatever was asked for.
    Whole,
    /// As `Whole`, but it breaks off after so many octets.
    WholeCut(usize),
    /// What was asked for.
    Rest,
    /// The right number of wrong octets.
    Wrong,
    /// More than the model, without saying how much.
    Endless,
    /// A part from the beginning, which was not asked for.
    OtherPart,
    /// Only a status, and a body that is not the model.
    Status(u16),
}

/// A server that answers as many requests as it has turns, and then is gone. Ends with the heads of the
/// requests.
async fn server(turns: &[Turn]) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/ggml-test.bin", listener.local_addr().unwrap());
    let turns = turns.to_vec();
    let serving = tokio::spawn(async move {
        let model = octets();
        let mut heads = Vec::new();
        for turn in turns {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap().to_lowercase();
            // The client hangs up on what it does not want.
            let _ = stream.write_all(&answer(turn, &model, &head)).await;
            let _ = stream.shutdown().await;
            heads.push(head);
        }
        heads
    });
    (url, serving)
}

fn answer(turn: Turn, model: &[u8], head: &str) -> Vec<u8> {
    let size = model.len();
    let whole = format!("HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Length: {size}\r\n\r\n");
    let (head, body) = match turn {
        Turn::Whole => (whole, model.to_vec()),
        Turn::WholeCut(octets) => (whole, model[..octets].to_vec()),
        Turn::Rest => {
            let from = head.split("range: bytes=").nth(1).expect("a range is asked for");
            let from: usize = from.split('-').next().unwrap().parse().unwrap();
            let rest = size - from;
            let last = size - 1;
            (
                format!(
                    "HTTP/1.1 206 Partial Content\r\nContent-Length: {rest}\r\n\
                     Content-Range: bytes {from}-{last}/{size}\r\n\r\n"
                ),
                model[from..].to_vec(),
            )
        }
        Turn::Wrong => (whole, vec![7; size]),
        Turn::Endless => ("HTTP/1.1 200 OK\r\n\r\n".to_owned(), model.repeat(2)),
        Turn::OtherPart => (
            format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\n\
                 Content-Range: bytes 0-4/{size}\r\n\r\n"
            ),
            model[..5].to_vec(),
        ),
        Turn::Status(status) => {
            (format!("HTTP/1.1 {status} X\r\nContent-Length: 3\r\n\r\n"), b"no\n".to_vec())
        }
    };
    [head.as_bytes(), &body].concat()
}

async fn run(pull: &Pull) -> Result<Pulled, PullError> {
    let (progress, _) = watch::channel(Progress::Waiting);
    pull.run(&progress).await
}

/// A pull of the model into a folder, and the server's heads.
async fn pulled(folder: &Path, turns: &[Turn]) -> (Result<Pulled, PullError>, Vec<String>) {
    let (url, serving) = server(turns).await;
    let pull = Pull::of(model(&url, &octets()), None, folder.to_owned()).pauses(&AT_ONCE);
    let result = run(&pull).await;
    // It ends only when every turn was taken.
    let heads = tokio::time::timeout(Duration::from_secs(10), serving).await;
    (result, heads.expect("the server still waits for a request").unwrap())
}

/// The files of a folder but the lock.
fn files(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names
        .map(|name| name.into_string().unwrap())
        .filter(|name| !name.ends_with(".lock"))
        .collect();
    names.sort();
    names
}

fn is_whole(folder: &Path) {
    assert!(std::fs::read(folder.join("ggml-test.bin")).unwrap() == octets());
    assert_eq!(files(folder), ["ggml-test.bin"]);
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test]
async fn a_model_is_fetched_once() {
    let folder = folder();
    let models = folder.path().join("data/models");
    let (url, serving) = server(&[Turn::Whole]).await;
    let pull = Pull::of(model(&url, &octets()), None, models.clone());
    let (progress, mut seen) = watch::channel(Progress::Waiting);
    let first = pull.run(&progress).await.unwrap();
    assert_eq!(first, Pulled { file: pull.file(), size: SIZE as u64, already: false });
    assert_eq!(*seen.borrow_and_update(), Progress::Checking);
    is_whole(&models);
    let heads = serving.await.unwrap();
    assert!(!heads[0].contains("range:"), "{heads:?}");
    // The server is gone.
    assert!(run(&pull).await.unwrap().already);
}

#[tokio::test]
async fn a_broken_connection_goes_on_where_it_broke() {
    let folder = folder();
    let (result, heads) = pulled(folder.path(), &[Turn::WholeCut(1_234_567), Turn::Rest]).await;
    assert!(!result.unwrap().already);
    is_whole(folder.path());
    assert!(heads[1].contains("range: bytes=1234567-\r\n"), "{}", heads[1]);
    assert!(heads[1].contains("if-range: \"v1\"\r\n"), "{}", heads[1]);
}

#[tokio::test]
async fn what_arrived_is_kept_for_the_next_run() {
    let folder = folder();
    let cut = Turn::WholeCut(1_500_000);
    let (url, serving) = server(&[cut]).await;
    let pull = Pull::of(model(&url, &octets()), None, folder.path().into()).pauses(&[]);
    let error = run(&pull).await.unwrap_err();
    serving.await.unwrap();
    assert!(matches!(error, PullError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("what has arrived is kept"), "{error}");
    assert_eq!(files(folder.path()), ["ggml-test.bin.part", "ggml-test.bin.part.json"]);

    // Another server has no tag of ours to compare with; the checksum will tell.
    let (result, heads) = pulled(folder.path(), &[Turn::Rest]).await;
    result.unwrap();
    is_whole(folder.path());
    assert!(heads[0].contains("range: bytes=1500000-\r\n") && !heads[0].contains("if-range"));
}

#[tokio::test]
async fn a_server_that_ignores_the_range_is_started_over_with() {
    let folder = folder();
    let (result, heads) = pulled(folder.path(), &[Turn::WholeCut(1_000_000), Turn::Whole]).await;
    result.unwrap();
    is_whole(folder.path());
    assert!(heads[1].contains("range: bytes=1000000-"));
}

#[tokio::test]
async fn a_server_that_sends_another_part_is_started_over_with() {
    for odd in [Turn::OtherPart, Turn::Status(416)] {
        let folder = folder();
        let turns = [Turn::WholeCut(1_000_000), odd, Turn::Whole];
        let (result, heads) = pulled(folder.path(), &turns).await;
        result.unwrap();
        is_whole(folder.path());
        assert!(!heads[2].contains("range:"), "{}", heads[2]);
    }
}

#[tokio::test]
async fn a_server_that_always_breaks_off_at_the_same_place_is_given_up() {
    let folder = folder();
    let cut = Turn::WholeCut(1_000_000);
    // The first brings something new; each of the two pauses then allows one more.
    let (result, heads) = pulled(folder.path(), &[cut, cut, cut]).await;
    assert!(matches!(result, Err(PullError::Unreachable { .. })), "{result:?}");
    assert_eq!(heads.len(), 3);
}

#[tokio::test]
async fn tries_begin_anew_when_more_has_arrived() {
    let folder = folder();
    let turns =
        [Turn::WholeCut(10), Turn::Status(503), Turn::WholeCut(20), Turn::Status(500), Turn::Rest];
    let (result, _) = pulled(folder.path(), &turns).await;
    result.unwrap();
    is_whole(folder.path());
}

#[tokio::test]
async fn wrong_octets_never_get_the_models_name() {
    let folder = folder();
    let (result, _) = pulled(folder.path(), &[Turn::Wrong]).await;
    let error = result.unwrap_err();
    assert!(matches!(error, PullError::Wrong { .. }), "{error:?}");
    assert!(error.to_string().contains("its checksum is another"), "{error}");
    assert_eq!(files(folder.path()), [""; 0]);
}

#[tokio::test]
async fn what_an_earlier_run_left_is_not_blamed_on_the_server() {
    let folder = folder();
    std::fs::write(folder.path().join("ggml-test.bin.part"), vec![9; 1_000]).unwrap();
    let (result, heads) = pulled(folder.path(), &[Turn::Rest, Turn::Whole]).await;
    result.unwrap();
    is_whole(folder.path());
    assert!(heads[0].contains("range: bytes=1000-") && !heads[1].contains("range:"));
}

#[tokio::test]
async fn a_damaged_model_is_replaced_and_a_part_that_is_too_long_is_dropped() {
    let folder = folder();
    std::fs::write(folder.path().join("ggml-test.bin"), vec![9; SIZE]).unwrap();
    std::fs::write(folder.path().join("ggml-test.bin.part"), vec![9; SIZE + 1]).unwrap();
    let (result, heads) = pulled(folder.path(), &[Turn::Whole]).await;
    assert!(!result.unwrap().already);
    is_whole(folder.path());
    assert!(!heads[0].contains("range:"));
}

#[tokio::test]
async fn more_than_the_model_is_not_written() {
    let folder = folder();
    let (result, _) = pulled(folder.path(), &[Turn::Endless]).await;
    let error = result.unwrap_err().to_string();
    assert!(error.contains("it is longer than the model"), "{error}");
    assert_eq!(files(folder.path()), [""; 0]);
}

#[tokio::test]
async fn another_size_is_refused_before_it_is_fetched() {
    let (url, serving) = server(&[Turn::Whole]).await;
    let folder = folder();
    let mut other = model(&url, &octets());
    other.size -= 1;
    let error = run(&Pull::of(other, None, folder.path().into())).await.unwrap_err().to_string();
    serving.await.unwrap();
    assert!(error.contains("it has 3000000 octets and not 2999999"), "{error}");
    assert_eq!(files(folder.path()), [""; 0]);
}

#[tokio::test]
async fn a_no_is_not_asked_for_twice_and_says_what_to_do() {
    for (status, hint) in
        [(404, "leave the mirror out to fetch it from https://"), (403, "--mirror")]
    {
        let folder = folder();
        let (url, serving) = server(&[Turn::Status(status)]).await;
        let mirror = Mirror::Web(url.strip_suffix("/ggml-test.bin").unwrap().to_owned());
        let model = model("https://published.test/ggml-test.bin", &octets());
        let pull = Pull::of(model, Some(&mirror), folder.path().into()).pauses(&AT_ONCE);
        let error = run(&pull).await.unwrap_err().to_string();
        assert_eq!(serving.await.unwrap().len(), 1);
        assert!(error.contains(&url) && error.contains(hint), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_with_the_way_out() {
    let folder = folder();
    // Port 9 (discard) of loopback: nobody listens.
    let model = model("http://127.0.0.1:9/ggml-test.bin", &octets());
    let pull = Pull::of(model, None, folder.path().into()).pauses(&AT_ONCE);
    let (progress, seen) = watch::channel(Progress::Waiting);
    let error = pull.run(&progress).await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:9") && error.contains("cannot be reached"), "{error}");
    assert!(error.contains("--mirror"), "{error}");
    assert!(matches!(*seen.borrow(), Progress::Interrupted { .. }));
}

#[tokio::test]
async fn two_who_fetch_the_same_model_fetch_it_once() {
    let folder = folder();
    let (url, serving) = server(&[Turn::Whole]).await;
    let pull = Pull::of(model(&url, &octets()), None, folder.path().into()).pauses(&[]);
    let (one, two) = tokio::join!(run(&pull), run(&pull));
    let already = [one.unwrap().already, two.unwrap().already];
    assert!(already.contains(&true) && already.contains(&false), "{already:?}");
    assert_eq!(serving.await.unwrap().len(), 1);
    is_whole(folder.path());
}

#[tokio::test]
async fn a_model_comes_from_a_folder_of_this_machine_too() {
    let (source, url) = (folder(), "https://published.test/ggml-test.bin");
    let stick = source.path().to_str().unwrap();
    std::fs::write(source.path().join("ggml-test.bin"), octets()).unwrap();
    for mirror in [stick.to_owned(), format!("file://{stick}"), format!("{stick}/ggml-test.bin")] {
        let folder = folder();
        let mirror = mirror.parse().unwrap();
        let pull = Pull::of(model(url, &octets()), Some(&mirror), folder.path().into());
        assert!(!run(&pull).await.unwrap().already);
        is_whole(folder.path());
    }
    // What is there is not always the model.
    std::fs::write(source.path().join("ggml-test.bin"), vec![7; SIZE]).unwrap();
    let mirror = stick.parse().unwrap();
    let folder = folder();
    let pull = |mirror| Pull::of(model(url, &octets()), Some(mirror), folder.path().into());
    assert!(matches!(run(&pull(&mirror)).await, Err(PullError::Wrong { .. })));
    let nowhere = "/no/such/folder".parse().unwrap();
    let error = run(&pull(&nowhere)).await.unwrap_err().to_string();
    assert!(error.contains("there is no model at /no/such/folder/ggml-test.bin"), "{error}");
    assert_eq!(files(folder.path()), [""; 0]);
}

#[tokio::test]
async fn a_model_larger_than_the_disk_is_refused_before_it_is_fetched() {
    let folder = folder();
    let mut model = model("http://127.0.0.1:9/ggml-test.bin", &octets());
    model.size = 1 << 60;
    let error = run(&Pull::of(model, None, folder.path().into())).await.unwrap_err();
    assert!(matches!(error, PullError::Full { free: Some(_), .. }), "{error:?}");
    assert!(error.to_string().contains("models_dir"), "{error}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let folder = folder();
    std::fs::write(folder.path().join("models"), "a file").unwrap();
    let model = model("http://127.0.0.1:9/ggml-test.bin", &octets());
    let error = run(&Pull::of(model, None, folder.path().join("models"))).await.unwrap_err();
    assert!(error.to_string().contains("models"), "{error}");
    assert!(matches!(error, PullError::Folder { .. }), "{error:?}");
}

#[tokio::test]
async fn a_pull_before_the_first_start_makes_data_that_only_its_owner_sees() {
    let folder = folder();
    let nothing = Mirror::Folder(folder.path().join("nothing"));
    let config = Config::parse("", Path::new("f"), folder.path(), &[], &|_| None).unwrap();
    let pull = Pull::new(&config, "base.en", Some(nothing)).unwrap();
    assert!(matches!(run(&pull).await, Err(PullError::NotThere { .. })));
    let data = std::fs::metadata(folder.path().join("data")).unwrap();
    assert_eq!(data.permissions().mode() & 0o777, 0o700);
    assert!(folder.path().join("data/models").is_dir());
}

#[test]
fn names_that_are_no_models_say_what_was_meant() {
    let config =
        |text: &str| Config::parse(text, Path::new("f"), Path::new(""), &[], &|_| None).unwrap();
    let default = config("");
    for (name, hint) in [
        ("whisper:base-en", "Did you mean whisper:base.en?"),
        ("deepgram:nova-3", "Only whisper has models"),
        ("zzz", "frontdesk models list"),
    ] {
        let error = Pull::new(&default, name, None).unwrap_err().to_string();
        assert!(error.contains(hint), "{name}: {error}");
    }
    for name in ["whisper:base.en", "base.en"] {
        let pull = Pull::new(&default, name, None).unwrap();
        assert_eq!(pull.file(), Path::new("data/models/ggml-base.en.bin"));
        assert!(pull.source().to_string().starts_with("https://huggingface.co/"));
    }
    let own = config(
        "[voice]\nmodels_mirror = \"http://mirror.test/m\"\n\
         [voice.whisper]\nfiles = { mine = \"x.bin\" }\nmodels_dir = \"/srv/m\"\n",
    );
    let error = Pull::new(&own, "whisper:mine", None).unwrap_err().to_string();
    assert!(error.contains("It is a file of your own: x.bin."), "{error}");
    let pull = Pull::new(&own, "tiny", None).unwrap();
    assert_eq!(pull.source().to_string(), "http://mirror.test/m/ggml-tiny.bin");
    assert_eq!(pull.file(), Path::new("/srv/m/ggml-tiny.bin"));
    let other = Some("/media/stick".parse().unwrap());
    let pull = Pull::new(&own, "tiny", other).unwrap();
    assert_eq!(pull.source().to_string(), "/media/stick/ggml-tiny.bin");
}

#[test]
fn the_list_tells_what_is_here_and_what_is_used() {
    let folder = folder();
    let text = "[voice]\nstt = \"whisper:mine\"\n[voice.whisper]\nmodels_dir = \"models\"\n\
                files = { mine = \"mine.bin\" }\n";
    let config = Config::parse(text, Path::new("f"), folder.path(), &[], &|_| None).unwrap();
    let models = folder.path().join("models");
    std::fs::create_dir(&models).unwrap();
    std::fs::write(folder.path().join("mine.bin"), "12345").unwrap();
    std::fs::write(models.join("ggml-tiny.bin"), "not it").unwrap();
    std::fs::write(models.join("ggml-base.bin.part"), "some").unwrap();
    let whole = std::fs::File::create(models.join("ggml-tiny.en.bin")).unwrap();
    whole.set_len(77_704_715).unwrap();

    let listed = list(&config);
    let state = |name: &str| listed.iter().find(|model| model.name == name).unwrap().state;
    assert_eq!(listed.len(), 7);
    assert_eq!(state("whisper:tiny.en"), Presence::Here);
    assert_eq!(state("whisper:tiny"), Presence::Wrong);
    assert_eq!(state("whisper:base"), Presence::Partly);
    assert_eq!(state("whisper:small"), Presence::Absent);
    let mine = listed.iter().find(|model| model.name == "whisper:mine").unwrap();
    assert_eq!((mine.size, mine.state, mine.used), (Some(5), Presence::Here, true));
    assert!(listed.iter().filter(|model| model.used).count() == 1);
}
