//! The commands as an operator runs them, against an API on a control socket.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::process::Command;
use tokio_rustls::{TlsAcceptor, rustls};

/// What the API was asked, as `METHOD target` and body.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<(String, Value)>>>);

impl Asked {
    fn take(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

struct Desk {
    folder: tempfile::TempDir,
    asked: Asked,
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Desk {
    /// An API that gives this answer to every question, and notes what it was asked.
    fn answering(status: u16, answer: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let asked = Asked::default();
        let listener = UnixListener::bind(folder.path().join("control.sock")).unwrap();
        let router = Router::new().fallback(note).with_state((asked.clone(), status, answer));
        tokio::spawn(async { axum::serve(listener, router).await });
        Self { folder, asked }
    }

    async fn run(&self, args: &[&str]) -> Ran {
        run(self.folder.path(), args, "").await
    }
}

async fn note(
    State((asked, status, answer)): State<(Asked, u16, Value)>,
    request: Request,
) -> Response {
    let line = format!("{} {}", request.method(), request.uri());
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    asked.0.lock().unwrap().push((line, serde_json::from_slice(&body).unwrap_or_default()));
    (StatusCode::from_u16(status).unwrap(), Json(answer)).into_response()
}

async fn run(data: &Path, args: &[&str], input: &str) -> Ran {
    run_with(data, args, input, &[]).await
}

async fn run_with(data: &Path, args: &[&str], input: &str, variables: &[(&str, &Path)]) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_frontdesk"))
        .args(args)
        .envs(variables.iter().copied())
        .current_dir(data)
        .env_remove("FRONTDESK_CONFIG")
        .env("FRONTDESK_DATA", data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[tokio::test]
async fn inbox_list_asks_for_what_was_asked_and_shows_a_table() {
    let desk = Desk::answering(
        200,
        json!({
            "items": [{
                "id": 17, "agent": "hello", "from": "Ann <ann@example.org>",
                "subject": "Where is\nmy order?", "verdict": "verified", "queue": "review",
                "updated_at": "2026-11-21T00:05:09Z"
            }],
            "next": "n2"
        }),
    );
    let ran = desk.run(&["inbox", "list", "--queue", "review", "--limit", "1"]).await;
    assert_eq!(desk.asked.take()[0].0, "GET /api/v1/conversations?queue=review&limit=1");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let lines: Vec<_> = ran.out.lines().collect();
    assert!(lines[0].starts_with("ID  AGENT  FROM"), "{}", ran.out);
    assert!(lines[1].starts_with("17  hello  Ann <ann@example.org>  Where is"), "{}", ran.out);
    assert!(lines[1].ends_with("2026-11-21 00:05 UTC"), "{}", ran.out);
    assert_eq!(lines[3], "There are more: frontdesk inbox list --queue review --cursor n2");
}

#[tokio::test]
async fn with_json_the_answer_comes_out_as_it_came_in() {
    let answer = json!({ "items": [{ "id": 1, "new_field": [1.5] }], "next": null });
    for args in [
        &["inbox", "list", "--json"][..],
        &["--json", "agents", "list"],
        &["outbox", "list", "--json"],
        &["inbox", "search", "words", "--json"],
        &["inbox", "get", "1", "--json"],
        &["agents", "get", "hello", "--json"],
        &["keys", "rotate", "--json"],
        &["users", "list", "--json"],
        &["users", "create", "ann", "--json"],
        &["tokens", "list", "--json"],
        &["tokens", "create", "ci", "--json"],
        &["tokens", "delete", "1", "--json"],
        &["backup", "--to", "copy", "--json"],
        &["export", "--out", "copy", "--json"],
        &["inbox", "approve", "1", "--json"],
        &["inbox", "reject", "1", "--json"],
        &["outbox", "retry", "1", "--json"],
        &["outbox", "cancel", "1", "--json"],
        &["email", "send", "--agent", "a", "--to", "b@c.d", "--subject", "s", "--json"],
    ] {
        let desk = Desk::answering(200, answer.clone());
        let ran = desk.run(args).await;
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.err);
        assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap(), answer, "{args:?}");
    }
}

#[tokio::test]
async fn inbox_get_shows_the_messages_indented_and_what_waits() {
    let desk = Desk::answering(
        200,
        json!({
            "id": 17, "subject": "Order", "agent": "hello", "queue": "review",
            "timeline": [
                { "at": "2026-11-21T00:05:09Z", "from": "ann@example.org", "verdict": "verified",
                  "text": "Where is it?\n-- forged heading",
                  "attachments": [{ "name": "a.pdf", "size": 12 }] },
                { "from": "hello@localhost", "state": "held", "why": "needs approval",
                  "text": "Here.", "review": 5 },
            ],
        }),
    );
    let ran = desk.run(&["inbox", "get", "17"]).await;
    assert_eq!(desk.asked.take()[0].0, "GET /api/v1/conversations/17");
    assert_eq!(
        ran.out,
        "Conversation: 17\n\
         Subject:      Order\n\
         Agent:        hello\n\
         Queue:        review\n\
         \n\
         -- 2026-11-21 00:05 UTC  ann@example.org  verified\n    \
             Where is it?\n    \
             -- forged heading\n    \
             [a.pdf, 12 bytes]\n\
         \n\
         -- hello@localhost  held\n  \
           needs approval\n    \
             Here.\n  \
           Waits for you: frontdesk inbox approve 5\n"
    );
}

#[tokio::test]
async fn reviews_are_decided_one_by_one_with_the_reason() {
    let desk = Desk::answering(200, json!({ "state": "queued" }));
    let ran = desk.run(&["inbox", "approve", "5", "../6", "--reason", "fine"]).await;
    assert_eq!(
        desk.asked.take(),
        [
            ("POST /api/v1/reviews/5/approve".into(), json!({ "reason": "fine" })),
            ("POST /api/v1/reviews/..%2F6/approve".into(), json!({ "reason": "fine" })),
        ]
    );
    assert_eq!(ran.out, "Approved 5: now queued.\nApproved ../6: now queued.\n");
    desk.run(&["inbox", "reject", "5"]).await;
    assert_eq!(desk.asked.take(), [("POST /api/v1/reviews/5/reject".into(), json!({}))]);
}

#[tokio::test]
async fn one_refusal_does_not_keep_the_others_from_being_asked() {
    let problem = json!({ "title": "No such mail", "status": 404 });
    let desk = Desk::answering(404, problem);
    let ran = desk.run(&["outbox", "cancel", "1", "2"]).await;
    assert_eq!(desk.asked.take().len(), 2);
    assert_eq!(ran.code, 1);
    assert_eq!(ran.err, "error: 1: No such mail\nerror: 2: No such mail\n");
    let ran = desk.run(&["outbox", "cancel", "1", "--json"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    let error: Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(error, json!({ "title": "No such mail", "detail": null, "status": 404 }));
}

#[tokio::test]
async fn email_send_carries_text_and_attachments_and_says_when_it_is_held() {
    let answer = json!({ "id": 9, "state": "held", "why": "ann@x.example is not a member" });
    let desk = Desk::answering(201, answer);
    let file = desk.folder.path().join("note.txt");
    std::fs::write(&file, b"\0\xff").unwrap();
    let args = [
        "email",
        "send",
        "--agent",
        "hello",
        "--to",
        "ann@x.example,bob@x.example",
        "--subject",
        "Hi",
        "--attach",
        "note.txt",
        "--conversation",
        "17",
    ];
    let ran = run(desk.folder.path(), &args, "From standard input\n").await;
    assert_eq!(
        desk.asked.take(),
        [(
            "POST /api/v1/emails".into(),
            json!({
                "agent": "hello", "to": ["ann@x.example", "bob@x.example"], "cc": [],
                "subject": "Hi", "text": "From standard input\n", "conversation": "17",
                "attachments": [{ "name": "note.txt", "content_base64": "AP8=" }],
            })
        )]
    );
    assert_eq!(
        ran.out,
        "9 is held for review (ann@x.example is not a member). It is not sent yet.\n"
    );
}

#[tokio::test]
async fn an_attachment_that_is_not_there_is_found_before_anything_is_asked() {
    let desk = Desk::answering(200, json!({}));
    let args =
        ["email", "send", "--agent", "a", "--to", "b@c.d", "--subject", "s", "--attach", "none"];
    let ran = desk.run(&args).await;
    assert_eq!((ran.code, desk.asked.take().len()), (2, 0));
    assert!(ran.err.starts_with("error: cannot read none: "), "{}", ran.err);
}

#[tokio::test]
async fn users_are_found_by_name_and_links_are_printed() {
    let page = json!({
        "items": [{ "id": 7, "name": "ann", "role": "owner" }], "next": null,
        "name": "ann", "link": "http://127.0.0.1:8080/signin#secret", "secret": "fd_secret",
    });
    let desk = Desk::answering(200, page);
    for args in [&["users", "link"][..], &["users", "link", "Ann"], &["users", "link", "7"]] {
        let ran = desk.run(args).await;
        let asked: Vec<String> = desk.asked.take().into_iter().map(|(line, _)| line).collect();
        assert_eq!(asked, ["GET /api/v1/users", "POST /api/v1/users/7/link"]);
        assert!(ran.out.ends_with("  http://127.0.0.1:8080/signin#secret\n"), "{}", ran.out);
    }
    let ran = desk.run(&["users", "delete", "bob"]).await;
    assert_eq!((ran.code, desk.asked.take().len()), (1, 1));
    assert!(ran.err.contains("there is no user \"bob\""), "{}", ran.err);
    let args = ["users", "create", "bob", "--role", "viewer", "--agents", "hello,help"];
    desk.run(&args).await;
    let (line, body) = desk.asked.take().remove(0);
    assert_eq!(line, "POST /api/v1/users");
    let expected =
        json!({ "name": "bob", "role": "viewer", "agents": ["hello", "help"], "email": null });
    assert_eq!(body, expected);
    let ran = desk.run(&["tokens", "create", "ci", "--scope", "read,send"]).await;
    assert_eq!(desk.asked.take()[0].1["scopes"], json!(["read", "send"]));
    assert!(ran.out.ends_with("  fd_secret\n"), "{}", ran.out);
}

#[tokio::test]
async fn paths_reach_the_server_from_the_root() {
    let desk = Desk::answering(200, json!({ "bytes": 10 }));
    desk.run(&["backup", "--to", "copy"]).await;
    let (line, body) = desk.asked.take().remove(0);
    assert_eq!(line, "POST /api/v1/backup");
    let to = Path::new(body["to"].as_str().unwrap());
    assert!(to.is_absolute() && to.ends_with("copy"), "{to:?}");
}

#[tokio::test]
async fn all_mistakes_of_the_config_are_told_and_nothing_is_asked() {
    let desk = Desk::answering(200, json!({}));
    let text = "[smtp]\nlisen = []\n[mail]\nmode = \"post\"\n";
    std::fs::write(desk.folder.path().join("frontdesk.toml"), text).unwrap();
    let ran = desk.run(&["agents", "list"]).await;
    assert_eq!((ran.code, desk.asked.take().len()), (2, 0));
    let lines: Vec<_> = ran.err.lines().collect();
    assert!(lines[0].starts_with("frontdesk.toml:2:1: [smtp] has no key `lisen`"), "{}", ran.err);
    assert!(lines[1].starts_with("frontdesk.toml:4:8: `mode`"), "{}", ran.err);
    assert_eq!(lines[2], "error: 2 mistakes in the configuration");
    let ran = desk.run(&["agents", "list", "--json"]).await;
    let error: Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(error["problems"][1]["line"], 4);
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_failure() {
    let desk = Desk::answering(200, json!({ "items": [{ "id": "x".repeat(100_000) }] }));
    let mut child = Command::new(env!("CARGO_BIN_EXE_frontdesk"))
        .args(["inbox", "list", "--json"])
        .env("FRONTDESK_DATA", desk.folder.path())
        .current_dir(desk.folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test]
async fn check_says_what_works_and_what_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let config =
        format!("[smtp]\nlisten = [\"127.0.0.1:{port}\"]\n[http]\nlisten = [\"127.0.0.1:0\"]\n");
    std::fs::write(folder.path().join("frontdesk.toml"), config).unwrap();
    let ran = run(folder.path(), &["check"], "").await;
    assert_eq!(ran.code, 1, "{}", ran.err);
    let bad = format!("BAD   smtp     another program listens on 127.0.0.1:{port}");
    assert!(ran.out.contains(&bad), "{}", ran.out);
    assert!(ran.out.contains("ok    http     127.0.0.1:0 is free"), "{}", ran.out);
    assert!(ran.out.contains("hello (receptionist) answers hello@localhost"), "{}", ran.out);
    drop(taken);
    let ran = run(folder.path(), &["check", "--json"], "").await;
    let card: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &card["ok"]), (0, &json!(true)), "{}", ran.out);
}

#[tokio::test]
async fn check_health_asks_the_running_server() {
    let folder = tempfile::tempdir().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = format!("[http]\nlisten = [\"{address}\"]\n");
    std::fs::write(folder.path().join("frontdesk.toml"), config).unwrap();
    let healthy = axum::routing::get(|| async { "ok" });
    let router = Router::new().route("/healthz", healthy);
    let server = tokio::spawn(async { axum::serve(listener, router).await });
    let ran = run(folder.path(), &["check", "--health"], "").await;
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    server.abort();
    let _ = server.await;
    let ran = run(folder.path(), &["check", "--health"], "").await;
    assert_eq!(ran.code, 1, "{}", ran.out);
}

#[tokio::test]
async fn check_names_what_calls_lack_and_minds_only_where_outsiders_may_call() {
    let folder = tempfile::tempdir().unwrap();
    // There are no speech libraries in this folder, whatever the machine has.
    let voice = "[smtp]\nlisten = [\"127.0.0.1:0\"]\n[http]\nlisten = [\"127.0.0.1:0\"]\n\
                 [voice]\nlibrary_dir = \".\"\n[[agent]]\nname = \"hello\"\n";
    let check = async |talk: &str| {
        let config = format!("{voice}talk = \"{talk}\"\n");
        std::fs::write(folder.path().join("frontdesk.toml"), config).unwrap();
        run(folder.path(), &["check"], "").await
    };
    let staff = check("staff").await;
    assert_eq!(staff.code, 0, "{}", staff.out);
    assert!(staff.out.contains("note  stt      whisper:base.en cannot work"), "{}", staff.out);
    assert!(staff.out.contains("note  tts      flite:slt cannot work"), "{}", staff.out);
    assert!(staff.out.contains("apt install libflite1"), "{}", staff.out);
    let public = check("public").await;
    assert_eq!(public.code, 1, "{}", public.out);
    assert!(public.out.contains("BAD   tts      flite:slt cannot work"), "{}", public.out);
    let off = check("off").await;
    assert!(off.code == 0 && !off.out.contains("flite"), "{}", off.out);
}

/// A folder whose configuration knows `whisper:mine`, a model of the octets "hello".
fn with_own_model() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = "[voice]\nstt = \"whisper:mine\"\nmodels_manifest = \"models.json\"\n\
                  models_mirror = \"stick\"\n";
    std::fs::write(folder.path().join("frontdesk.toml"), config).unwrap();
    // SHA-256 of "hello" (FIPS 180-4).
    let sum = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let manifest = json!({
        "mine": { "file": "mine.bin", "url": "https://published.test/m", "size": 5, "sha256": sum },
    });
    std::fs::write(folder.path().join("models.json"), manifest.to_string()).unwrap();
    folder
}

#[tokio::test]
async fn models_come_over_tls_from_whom_this_machine_trusts() {
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(certificate.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.cert.der().clone()], key.into())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mirror = format!("https://localhost:{}/m", listener.local_addr().unwrap().port());
    let serving = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // Whoever does not trust us hangs up here.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            assert!(head.starts_with(b"GET /m/mine.bin HTTP/1.1\r\n"));
            let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";
            stream.write_all(answer).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });

    let folder = with_own_model();
    let trusted = folder.path().join("trusted.pem");
    std::fs::write(&trusted, certificate.cert.pem()).unwrap();
    let args = ["models", "pull", "whisper:mine", "--mirror", &mirror];
    let ran = run(folder.path(), &args, "").await;
    assert_eq!(ran.code, 1, "{}", ran.out);
    assert!(ran.err.contains("this machine cannot tell whether https://localhost"), "{}", ran.err);
    assert!(ran.err.contains("apt install ca-certificates"), "{}", ran.err);
    let ran = run_with(folder.path(), &args, "", &[("SSL_CERT_FILE", &trusted)]).await;
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert_eq!(std::fs::read(folder.path().join("models/mine.bin")).unwrap(), b"hello");
    serving.abort();
}

#[tokio::test]
async fn models_are_listed_and_pulled() {
    let folder = with_own_model();
    let pull =
        async |args: &[&str]| run(folder.path(), &[&["models", "pull"], args].concat(), "").await;

    let ran = run(folder.path(), &["models", "list"], "").await;
    let mine = ran.out.lines().find(|line| line.starts_with("whisper:mine ")).unwrap();
    assert!(mine.contains("1 MB") && mine.contains("not here  yes"), "{}", ran.out);

    let ran = pull(&["whisper:mine"]).await;
    assert_eq!(ran.code, 1, "{}", ran.out);
    assert!(ran.err.contains("there is no model at stick/mine.bin"), "{}", ran.err);

    std::fs::create_dir(folder.path().join("stick")).unwrap();
    std::fs::write(folder.path().join("stick/mine.bin"), "hallo").unwrap();
    let ran = pull(&["whisper:mine"]).await;
    assert_eq!(ran.code, 1, "{}", ran.out);
    assert!(ran.err.contains("its checksum is another"), "{}", ran.err);

    std::fs::write(folder.path().join("stick/mine.bin"), "hello").unwrap();
    let ran = pull(&["--json", "whisper:mine"]).await;
    let last: Value = serde_json::from_str(ran.out.lines().last().unwrap()).unwrap();
    assert_eq!((ran.code, &last["already"], &last["size"]), (0, &json!(false), &json!(5)));
    assert_eq!(std::fs::read(last["file"].as_str().unwrap()).unwrap(), b"hello");
    let ran = pull(&["whisper:mine"]).await;
    assert!(ran.out.starts_with("whisper:mine is here already: "), "{}", ran.out);

    let ran = pull(&["whisper:base-en"]).await;
    assert_eq!(ran.code, 2, "{}", ran.out);
    assert!(ran.err.contains("Did you mean whisper:base.en?"), "{}", ran.err);
    let ran = pull(&["--mirror", "ftp://x", "base.en"]).await;
    assert_eq!(ran.code, 2, "{}", ran.out);
    assert!(ran.err.contains("not a way to fetch models"), "{}", ran.err);

    let ran = run(folder.path(), &["models", "list", "--json"], "").await;
    let list: Value = serde_json::from_str(&ran.out).unwrap();
    let items = list["items"].as_array().unwrap();
    let mine = items.iter().find(|item| item["name"] == "whisper:mine").unwrap();
    assert_eq!((&mine["state"], &mine["used"]), (&json!("here"), &json!(true)));
    assert_eq!(items.len(), 7);
}
