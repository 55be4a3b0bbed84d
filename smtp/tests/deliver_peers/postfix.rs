//! Postfix as the relay, with a private configuration, queue and log, and a scripted server behind it:
//! what we send arrives through it, its refusals become ours, and its own bounces are read.
//!
//! With FRONTDESK_PEERS=required a Postfix that is missing fails the test; otherwise the test is
//! skipped and says so.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use bytes::Bytes;
use frontdesk_smtp::bounce::{self, Action, Form, Report, suppress};
use frontdesk_smtp::deliver::{
    Login, Manners, MemorySpool, Outcome, Relay, RelayConfig, Security, Timeouts,
};
use rustix::process::{Pid, Signal, geteuid, kill_process_group, test_kill_process_group};
use tokio::process::{Child, Command};

use super::peer::{Act, Arrived, Peer, Script};
use super::{after, manners, send_bytes, start, trusting};

/// Postfix's first start reads many files; a bounce waits for its queue manager.
const PATIENCE: Duration = Duration::from_secs(60);

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

async fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "did not happen within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

struct Postfix {
    master: Child,
    group: Option<Pid>,
    port: u16,
    folder: tempfile::TempDir,
}

impl Postfix {
    /// Passes everything on to `next`, but refuses `gone@` for good and `grey@` for now.
    async fn start(master: &Path, postfix: &Path, next: u16, certificate: &str, key: &str) -> Self {
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
        let succeeds = async |command: &mut Command| {
            let ran = command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
            let said = String::from_utf8_lossy(&ran.stderr).into_owned();
            assert!(ran.status.success(), "{command:?}: {said}");
        };
        succeeds(Command::new("chown").arg("postfix").arg(root.join("lib"))).await;
        std::fs::write(root.join("etc/tls.crt"), certificate).unwrap();
        std::fs::write(root.join("etc/tls.key"), key).unwrap();
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
             mynetworks = 127.0.0.0/8\nrelayhost = [127.0.0.1]:{next}\nsmtputf8_enable = yes\n\
             smtpd_recipient_restrictions = check_recipient_access inline:{{ \
             {{ gone@there.example = 550 5.1.1 no such user here }}, \
             {{ grey@there.example = 450 4.7.1 greylisted }} }}, permit_mynetworks, reject\n\
             smtpd_tls_security_level = encrypt\nsmtpd_tls_cert_file = {at}/etc/tls.crt\n\
             smtpd_tls_key_file = {at}/etc/tls.key\n\
             minimal_backoff_time = 1s\nqueue_run_delay = 1s\n\
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
        let said = std::fs::File::create(root.join("log/master")).unwrap();
        let mut command = Command::new(master);
        command.arg("-c").arg(root.join("etc")).arg("-d").process_group(0).stdin(Stdio::null());
        command.stdout(said.try_clone().unwrap()).stderr(said);
        let master = command.kill_on_drop(true).spawn().unwrap();
        let group = Pid::from_raw(master.id().unwrap().cast_signed());
        let postfix = Self { master, group, port, folder };
        until("Postfix listens", || std::net::TcpStream::connect(("127.0.0.1", port)).ok()).await;
        postfix
    }

    async fn stop(mut self) {
        let group = self.group.unwrap();
        rustix::process::kill_process(group, Signal::TERM).unwrap();
        self.master.wait().await.unwrap();
        until("Postfix's children end", || test_kill_process_group(group).is_err().then_some(()))
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
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Octets that came through Postfix, without the fields that it adds.
fn body(message: &str) -> &str {
    message.split_once("\r\n\r\n").unwrap().1
}

#[tokio::test]
async fn postfix_takes_our_mail_and_its_answers_and_bounces_are_understood() {
    let (Some(master), Some(postfix)) = (program("master"), program("postfix")) else { return };
    if !geteuid().is_root() {
        println!("SKIPPED: Postfix starts as root only");
        return;
    }
    let next = Peer::start(
        Script::new()
            .extensions(&["8BITMIME", "SMTPUTF8", "SIZE", "ENHANCEDSTATUSCODES"])
            .once("RCPT", Act::Say("250 ok"))
            .once("RCPT", Act::Say("250 ok"))
            .once("RCPT", Act::Say("250 ok"))
            .once("RCPT", Act::Say("550 5.1.1 <lost@there.example>: unknown over here")),
    )
    .await;
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let relay = Postfix::start(&master, &postfix, next.address.port(), &certificate, &key).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let config = |login| RelayConfig {
        host: "127.0.0.1".to_owned(),
        port: relay.port,
        security: Security::StartTls,
        login,
        envelope_from: None,
    };
    let tls = frontdesk_smtp::deliver::Tls::new(roots).unwrap();
    // Postfix delays its answers a little after refusals.
    let manners = || Manners { timeouts: Timeouts::all(PATIENCE), ..manners() };
    let mail = Relay::new(config(None), tls.clone(), manners()).unwrap();

    let spool = MemorySpool::new();
    let html = "From: support@desk.example\r\nSubject: html\r\nMIME-Version: 1.0\r\n\
                Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n\
                <p>Hello\r\n--b\r\nContent-Type: application/octet-stream\r\n\
                Content-Transfer-Encoding: base64\r\n\r\nAAEC/w==\r\n--b--\r\n";
    let dots = "From: support@desk.example\r\nSubject: dots\r\nMIME-Version: 1.0\r\n\
                Content-Transfer-Encoding: 8bit\r\n\r\n.\r\n..\r\n.end \u{e4}\r\n\r\n";
    let utf8 =
        "From: support@desk.example\r\nTo: änn@there.example\r\nSubject: u\r\n\r\nHello.\r\n";
    for (to, message) in
        [("ann@there.example", dots), ("bob@there.example", html), ("änn@there.example", utf8)]
    {
        let bytes = Bytes::from(message.to_owned());
        let outcome = send_bytes(&mail, &spool, to, bytes, start()).await;
        let Outcome::Sent { response } = outcome else { panic!("{outcome:?}\n{}", relay.log()) };
        assert!(response.starts_with("250 2.0.0 Ok: queued as"), "{response}");
        // One after the other, so that they meet the script in order.
        let arrived: Arrived = until("it comes through", || {
            next.seen.arrived().into_iter().find(|arrived| arrived.to.contains(to))
        })
        .await;
        assert_eq!(body(&arrived.message), body(message));
        assert!(arrived.from.contains("<support+bx@desk.example>"), "{}", arrived.from);
    }

    let hello =
        || Bytes::from("From: a@desk.example\r\nMessage-ID: <m1@desk.example>\r\n\r\nx\r\n");
    let outcome = send_bytes(&mail, &spool, "gone@there.example", hello(), start()).await;
    let Outcome::Bounced { status: Some(status), response } = outcome else { panic!() };
    assert_eq!(status, "5.1.1");
    assert!(response.contains("no such user here"), "{response}");

    let outcome = send_bytes(&mail, &spool, "grey@there.example", hello(), start()).await;
    let Outcome::Deferred { until: again, reason } = outcome else { panic!() };
    assert!(reason.contains("greylisted"), "{reason}");
    assert!(again > after(299) && again < after(360), "{again}");

    // What it takes and cannot deliver comes back as a report to the sender of the envelope.
    let outcome = send_bytes(&mail, &spool, "lost@there.example", hello(), start()).await;
    assert!(matches!(outcome, Outcome::Sent { .. }), "{outcome:?}");
    let bounced: Arrived = until("the bounce comes", || {
        next.seen.arrived().into_iter().find(|arrived| arrived.from.contains("<>"))
    })
    .await;
    assert_eq!(bounced.to.split(' ').nth(1).unwrap(), "TO:<support+bx@desk.example>");
    let report = bounce::read(bounced.message.as_bytes()).unwrap();
    let Some(Report::Delivery(report)) = report else { panic!("{report:?}") };
    assert_eq!(report.form, Form::Report);
    assert!(report.changes_state());
    assert_eq!(report.original.message_id.as_deref(), Some("m1@desk.example"));
    assert_eq!(report.original.reverse_path.as_deref(), Some("support+bx@desk.example"));
    let recipient = &report.recipients[0];
    assert_eq!(recipient.address.as_deref(), Some("lost@there.example"));
    assert_eq!(recipient.action, Action::Failed);
    assert!(recipient.diagnostic.contains("unknown over here"), "{}", recipient.diagnostic);
    let weight = suppress::weigh(recipient.action, recipient.status);
    assert_eq!(weight, suppress::Weight::NoSuchAddress);

    // A login that it does not ask for is an error of the operator, and no mail bounces over it.
    let login = Some(Login::new("desk", "secret"));
    let mail = Relay::new(config(login), trusting(&[]), manners()).unwrap();
    let outcome = send_bytes(&mail, &spool, "ann@there.example", hello(), start()).await;
    assert!(super::deferred(&outcome).contains("certificate"), "{outcome:?}");
    let mail = Relay::new(config(Some(Login::new("desk", "secret"))), tls, manners()).unwrap();
    let outcome = send_bytes(&mail, &spool, "ann@there.example", hello(), start()).await;
    assert!(super::deferred(&outcome).contains("neither AUTH"), "{outcome:?}");
    relay.stop().await;
}
