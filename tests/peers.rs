//! Mail from programs that other people wrote: swaks, Python's smtplib, and Postfix with a private
//! configuration, queue and log.
//!
//! With FRONTDESK_PEERS=required, as `make test` sets it, a program that is missing fails its test;
//! otherwise the test is skipped and says so.

#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use std::{
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Stdio,
};
use support::{Client, Letter, Process, Server, captured, until};
use tokio::process::Command;

/// The program, or nothing if the test is to be skipped.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/usr/lib/postfix/sbin"]);
    let found = folders.map(|folder| Path::new(folder).join(name)).find(|path| path.is_file());
    if found.is_none() {
        let required = std::env::var("FRONTDESK_PEERS").is_ok_and(|peers| peers == "required");
        assert!(!required, "{name} is not installed, and FRONTDESK_PEERS=required");
        println!("SKIPPED: {name} is not installed");
    }
    found
}

/// A server that offers STARTTLS.
async fn server(folder: &Path) -> Server {
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let write = |name: &str, text: String| {
        let options = &mut std::fs::File::options();
        let mut file = options.write(true).create_new(true).mode(0o600).open(folder.join(name));
        file.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    };
    write("tls.crt", certificate.cert.pem());
    write("tls.key", certificate.signing_key.serialize_pem());
    // The section goes on from the listeners.
    let config = "tls_cert_file = \"tls.crt\"\ntls_key_file = \"tls.key\"\n";
    Server::start(folder, config).await
}

async fn succeeds(command: &mut Command) -> String {
    let ran = tokio::time::timeout(
        support::PATIENCE,
        command.stdin(Stdio::null()).kill_on_drop(true).output(),
    );
    let ran = ran.await.expect("it ends").unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let complained = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{command:?}: {}\n{said}\n{complained}", ran.status);
    said
}

/// The one received message with this text in it, in full.
async fn received(server: &Server, words: &str) -> Value {
    let (conversation, message) = until(words, || async {
        for line in server.api.conversations().await {
            let conversation = server.api.conversation(&line["id"]).await;
            let found = conversation["timeline"][0].clone();
            if found["text"].as_str().is_some_and(|text| text.contains(words)) {
                return Some((conversation, found));
            }
        }
        None
    })
    .await;
    assert_eq!(conversation["agent"], "hello");
    assert_eq!(message["state"], "admitted");
    message
}

#[tokio::test]
async fn swaks_delivers_and_is_answered() {
    let Some(swaks) = program("swaks") else { return };
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path()).await;
    // As `frontdesk serve` itself suggests it.
    let said = succeeds(Command::new(&swaks).args([
        "--server",
        &server.smtp.to_string(),
        "--to",
        "hello@localhost",
        "--from",
        "you@localhost",
        "--body",
        "Hello from swaks!",
    ]))
    .await;
    assert!(said.contains("250 2.6.0 Accepted as 1"), "{said}");
    received(&server, "Hello from swaks!").await;
    server.api.settle().await;
    let listed = succeeds(
        Command::new(env!("CARGO_BIN_EXE_frontdesk"))
            .args(["inbox", "list", "--data"])
            .arg(&server.data)
            .env_remove("FRONTDESK_CONFIG")
            .current_dir(&server.data),
    )
    .await;
    assert!(listed.contains("you@localhost"), "{listed}");
    let answer = captured(&server.data).remove(0);
    assert_eq!(answer.delivered_to, "you@localhost");

    // And the answer to that, to the signed address, with an attachment and pipelining.
    let file = folder.path().join("note.txt");
    std::fs::write(&file, "The note.\n").unwrap();
    succeeds(
        Command::new(&swaks)
            .args(["--server", &server.smtp.to_string(), "--to", &answer.reply_to()])
            .args(["--from", "you@localhost", "--body", "And once more.", "--pipeline"])
            .args(["--header", &format!("In-Reply-To: <{}>", answer.id())])
            .args(["--attach", &format!("@{}", file.display())]),
    )
    .await;
    server.api.settle().await;
    let all = server.api.conversations().await;
    assert_eq!(all.len(), 1, "{all:#?}");
    let conversation = server.api.conversation(&all[0]["id"]).await;
    let second = conversation["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .find(|message| message["text"].as_str().unwrap().contains("And once more."))
        .unwrap();
    assert_eq!(second["attachments"][0]["name"], "note.txt");
}

#[tokio::test]
async fn pythons_smtplib_delivers_in_clear_and_under_tls() {
    let Some(python) = program("python3") else { return };
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path()).await;
    let script = r#"
import smtplib, ssl, sys
from email.message import EmailMessage
mail = EmailMessage()
mail["From"], mail["To"], mail["Subject"] = "py@localhost", "hello@localhost", "Größe"
mail["Message-ID"] = "<%s@python.test>" % sys.argv[2]
mail.set_content("Hello from Python over %s.\n.\n..dots\nÄrger.\n" % sys.argv[2])
mail.add_alternative("<p>Hello from <b>Python</b></p>", subtype="html")
mail.add_attachment(bytes(range(256)) * 100, maintype="application", subtype="octet-stream", filename="bytes.bin")
with smtplib.SMTP("127.0.0.1", int(sys.argv[1]), timeout=50) as peer:
    if sys.argv[2] == "tls":
        peer.starttls(context=ssl._create_unverified_context())
        peer.ehlo()
    refused = peer.send_message(mail)
    assert not refused, refused
    print(peer.noop())
"#;
    for way in ["clear", "tls"] {
        let port = server.smtp.port().to_string();
        succeeds(Command::new(&python).args(["-c", script, &port, way])).await;
        let message = received(&server, &format!("Hello from Python over {way}.")).await;
        assert!(message["text"].as_str().unwrap().contains("\n.\n..dots\nÄrger."), "{message:#}");
        assert_eq!(message["mail"]["subject"], "Größe");
        let path = format!(
            "/messages/{}/attachments/{}",
            message["id"], message["attachments"][0]["part"]
        );
        let (status, bytes) = server.api.bytes("GET", &path, None).await;
        let expected: Vec<u8> = (0..100).flat_map(|_| 0..=255).collect();
        assert_eq!((status, bytes == expected), (200, true));
    }
    server.api.settle().await;
    assert_eq!(captured(&server.data).len(), 2);
}

/// A Postfix of our own: everything it reads and writes is below one folder.
struct Postfix {
    master: Process,
    /// The process group of the master and its children.
    group: Option<rustix::process::Pid>,
    port: u16,
    folder: tempfile::TempDir,
}

impl Postfix {
    async fn start(master: &Path, postfix: &Path, relay: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        // Its processes run as another user.
        let open = |path: &Path| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        open(root);
        for name in ["etc", "spool", "lib", "log"] {
            std::fs::create_dir(root.join(name)).unwrap();
            open(&root.join(name));
        }
        succeeds(Command::new("chown").arg("postfix").arg(root.join("lib"))).await;
        let port = {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap().port()
        };
        let at = root.display();
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {at}/spool\ndata_directory = {at}/lib\n\
             command_directory = /usr/sbin\ndaemon_directory = {}\nmail_owner = postfix\n\
             setgid_group = postdrop\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n\
             myhostname = postfix.test\nmydestination =\nlocal_recipient_maps =\n\
             mynetworks = 127.0.0.0/8\nsmtpd_relay_restrictions = permit_mynetworks, reject\n\
             relayhost = [127.0.0.1]:{relay}\nsmtp_tls_security_level = encrypt\n\
             smtp_tls_loglevel = 1\nsmtputf8_enable = yes\nminimal_backoff_time = 1s\nqueue_run_delay = 1s\n\
             maillog_file = {at}/log/mail.log\nmaillog_file_prefixes = {at}\n",
            master.parent().unwrap().display(),
        );
        // No service in a chroot: that would want copies of system files in the queue directory.
        let services = format!(
            "127.0.0.1:{port} inet n - n - - smtpd\n\
             pickup unix n - n 60 1 pickup\ncleanup unix n - n - 0 cleanup\n\
             qmgr unix n - n 300 1 qmgr\ntlsmgr unix - - n 1000? 1 tlsmgr\n\
             rewrite unix - - n - - trivial-rewrite\nbounce unix - - n - 0 bounce\n\
             defer unix - - n - 0 bounce\ntrace unix - - n - 0 bounce\n\
             proxymap unix - - n - - proxymap\nsmtp unix - - n - - smtp\n\
             error unix - - n - - error\nretry unix - - n - - error\n\
             discard unix - - n - - discard\nanvil unix - - n - 1 anvil\n\
             scache unix - - n - 1 scache\npostlog unix-dgram n - n - 1 postlogd\n"
        );
        std::fs::write(root.join("etc/main.cf"), main).unwrap();
        std::fs::write(root.join("etc/master.cf"), services).unwrap();
        // Makes the directories of the queue.
        succeeds(Command::new(postfix).arg("-c").arg(root.join("etc")).arg("check")).await;
        let mut command = Command::new(master);
        // In a group of its own: it ends its children by ending its group. What they say goes to a file,
        // because they may live a little longer than it.
        let said = std::fs::File::create(root.join("log/master")).unwrap();
        command.arg("-c").arg(root.join("etc")).arg("-d").process_group(0).stdin(Stdio::null());
        command.stdout(said.try_clone().unwrap()).stderr(said);
        let master = Process::start(&mut command);
        let group = rustix::process::Pid::from_raw(master.id().cast_signed());
        Self { master, group, port, folder }
    }

    /// Ends the master and waits until its last child is gone.
    async fn stop(mut self) {
        let group = self.group.unwrap();
        self.master.terminate().await;
        until("Postfix's children end", || async {
            rustix::process::test_kill_process_group(group).is_err().then_some(())
        })
        .await;
        self.group = None;
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log/mail.log")).unwrap_or_default()
    }
}

impl Drop for Postfix {
    /// A test that failed before [`Postfix::stop`] leaves nothing behind either.
    fn drop(&mut self) {
        if let Some(group) = self.group {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

#[tokio::test]
async fn postfix_relays_to_us_byte_for_byte_under_tls() {
    let (Some(master), Some(postfix)) = (program("master"), program("postfix")) else { return };
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: Postfix starts as root only");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path()).await;
    let relay = Postfix::start(&master, &postfix, server.smtp.port()).await;
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], relay.port));
    let mut client =
        until("Postfix listens", || async { Client::connect(address).await.ok() }).await;

    let plain = Letter::new("ann@localhost", "hello@localhost", "Through Postfix, plainly.");
    let dots = "Through Postfix, with dots.\n.\n..\n. \n.end\nÄrger mit Umlauten.\n\n";
    let dots = Letter::new("bob@localhost", "hello@localhost", dots).subject("Ärger");
    let long = format!("Through Postfix, at length.\n{}", "0123456789 abcdef\n".repeat(20_000));
    let long = Letter::new("cleo@localhost", "hello@localhost", &long);
    for letter in [&plain, &dots, &long] {
        let reply = client.send(&letter.from, &["hello@localhost"], &letter.bytes()).await.unwrap();
        assert!(reply.is(250), "{reply:?}");
    }
    for (letter, words) in [(&plain, "plainly."), (&dots, "with dots."), (&long, "at length.")] {
        let message = received(&server, words).await;
        let path = format!("/messages/{}/raw", message["id"]);
        let (_, raw) = server.api.bytes("GET", &path, None).await;
        let raw = String::from_utf8(raw).unwrap();
        assert!(raw.starts_with("Received: from client.test"), "Postfix adds its line: {raw:.200}");
        // What was written arrived as it was.
        let sent = String::from_utf8(letter.bytes()).unwrap();
        let (_, body) = raw.split_once("\r\n\r\n").unwrap();
        assert!(body == sent.split_once("\r\n\r\n").unwrap().1, "{words}");
    }
    server.api.settle().await;
    assert_eq!(captured(&server.data).len(), 3);
    let log = relay.log();
    assert!(log.contains("TLS connection established to 127.0.0.1"), "{log}");
    assert_eq!(log.matches("status=sent (250 2.6.0 Accepted as").count(), 3, "{log}");

    // What we refuse, Postfix bounces at once and does not try again.
    let stray = Letter::new("ann@localhost", "nobody@localhost", "To nobody.");
    client.send("ann@localhost", &["nobody@localhost"], &stray.bytes()).await.unwrap();
    until("Postfix gives up", || async {
        relay
            .log()
            .contains("status=bounced (host 127.0.0.1[127.0.0.1] said: 550 5.1.1")
            .then_some(())
    })
    .await;
    relay.stop().await;
}
