//! A desk served in this process, with time and DNS in the hands of the test.

use super::{Api, Captured, Client, Letter, Reply};
use frontdesk_agents::ManualClock;
use frontdesk_router::{Frontdesk, Running, config::Config};
use frontdesk_smtp::testing::dns::{TestDns, Zone};
use jiff::Timestamp;
use serde_json::Value;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Senders with every kind of proof, all of which write from this machine.
///
/// example.org and other.example prove their mail (SPF and DMARC); evil.example proves only that it is
/// evil.example; in the name of strict.example and careful.example nobody may write from here.
pub fn zone() -> Zone {
    Zone::parse(
        "example.org TXT v=spf1 ip4:127.0.0.1 -all
         _dmarc.example.org TXT v=DMARC1; p=none
         other.example TXT v=spf1 ip4:127.0.0.1 -all
         _dmarc.other.example TXT v=DMARC1; p=none
         evil.example TXT v=spf1 ip4:127.0.0.1 -all
         strict.example TXT v=spf1 ip4:192.0.2.1 -all
         _dmarc.strict.example TXT v=DMARC1; p=reject
         careful.example TXT v=spf1 ip4:192.0.2.1 -all
         _dmarc.careful.example TXT v=DMARC1; p=quarantine",
    )
    .unwrap()
}

/// What a desk is made of.
#[derive(Default)]
pub struct Setup {
    /// Sections of the config beyond `[http]`, `[smtp] listen` and `[dns]`.
    pub config: String,
    /// Lines that go under `[smtp]`.
    pub smtp: String,
    /// Kinds of agent that the config names beside the built-in ones.
    pub kinds: Vec<&'static str>,
    /// None: the desk asks nobody (its domain is localhost, and everything local is believed).
    pub zone: Option<Zone>,
    pub clock: Option<ManualClock>,
}

pub struct Desk {
    pub data: PathBuf,
    pub api: Api,
    pub smtp: SocketAddr,
    pub http: SocketAddr,
    /// Lets the first owner in, once.
    pub signin_link: Option<String>,
    pub clock: ManualClock,
    pub dns: Option<TestDns>,
    running: Option<Running>,
    folder: Arc<tempfile::TempDir>,
}

/// Serves a desk for `desk.test` with these agents, which knows the senders of [`zone`].
pub async fn desk_of(agents: &str, with: impl FnOnce(Frontdesk) -> Frontdesk) -> Desk {
    let setup = Setup {
        config: format!("[mail]\ndomains = [\"desk.test\"]\n{agents}"),
        kinds: vec!["recorder", "eager"],
        zone: Some(zone()),
        ..Setup::default()
    };
    Desk::serve(setup, with).await
}

impl Desk {
    /// Serves a desk on ports that the system chooses. `with` adds agents.
    pub async fn serve(setup: Setup, with: impl FnOnce(Frontdesk) -> Frontdesk) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dns = match setup.zone {
            Some(zone) => Some(TestDns::start(zone).await.unwrap()),
            None => None,
        };
        let clock = setup.clock.unwrap_or_else(|| ManualClock::new(Timestamp::now()));
        let servers = dns.as_ref().map(|dns| format!("\"{}\"", dns.addr())).unwrap_or_default();
        let text = format!(
            "[http]\nlisten = [\"127.0.0.1:0\"]\n[smtp]\nlisten = [\"127.0.0.1:0\"]\n{}\n\
             [dns]\nservers = [{servers}]\n{}",
            setup.smtp, setup.config
        );
        let file = folder.path().join("frontdesk.toml");
        let mut config = Config::parse(&text, &file, folder.path(), &setup.kinds, &|_| None)
            .unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        config.server.data = folder.path().join("data");
        let data = config.server.data.clone();
        let desk = with(Frontdesk::new(config).clock(Arc::new(clock.clone())));
        let running = desk.serve().await.unwrap();
        Self {
            api: Api::of(&data),
            smtp: running.smtp[0],
            http: running.http[0],
            signin_link: running.signin_link.clone(),
            data,
            clock,
            dns,
            running: Some(running),
            folder: Arc::new(folder),
        }
    }

    /// The default configuration: the receptionist hello@localhost.
    pub async fn local() -> Self {
        Self::serve(Setup::default(), |desk| desk).await
    }

    /// Keeps the data after the desk is stopped, as long as this is kept.
    pub fn keep_folder(&self) -> Arc<tempfile::TempDir> {
        self.folder.clone()
    }

    /// Where HTTP is served.
    pub fn http(&self) -> SocketAddr {
        self.running().http[0]
    }

    /// Sends a letter from its author, who is also its envelope sender.
    pub async fn send(&self, letter: &Letter) -> Reply {
        self.send_as(&letter.from, letter).await
    }

    /// Sends a letter in another envelope.
    pub async fn send_as(&self, reverse_path: &str, letter: &Letter) -> Reply {
        let mut client = Client::connect(self.smtp).await.unwrap();
        client.send(reverse_path, &[&letter.to], &letter.bytes()).await.unwrap()
    }

    /// Sends a letter, which must be accepted, and waits until everything it caused is done.
    pub async fn take(&self, letter: &Letter) {
        self.take_as(&letter.from, letter).await;
    }

    pub async fn take_as(&self, reverse_path: &str, letter: &Letter) {
        let reply = self.send_as(reverse_path, letter).await;
        assert!(reply.is(250), "{reply:?}");
        self.api.settle().await;
    }

    pub fn captured(&self) -> Vec<Captured> {
        super::captured(&self.data)
    }

    /// The mail captured last.
    pub fn answer(&self) -> Captured {
        self.captured().pop().expect("an answer was captured")
    }

    /// The only conversation.
    pub async fn only_conversation(&self) -> Value {
        let all = self.api.conversations().await;
        assert_eq!(all.len(), 1, "{all:#?}");
        self.api.conversation(&all[0]["id"]).await
    }

    /// The newest conversation.
    pub async fn newest_conversation(&self) -> Value {
        let all = self.api.conversations().await;
        self.api.conversation(&all.last().expect("a conversation")["id"]).await
    }

    /// Stored states of instances, by key.
    pub fn states(&self) -> Vec<(String, String)> {
        states(&self.data)
    }

    pub async fn stop(mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    /// What runs in this process.
    pub fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs until stop() takes it")
    }
}

/// Opens the database of a desk to look at it.
pub fn database(data: &Path) -> rusqlite::Connection {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    rusqlite::Connection::open_with_flags(data.join("frontdesk.db"), flags).unwrap()
}

/// Stored states of instances, by key. Read from the tables: no interface shows an agent's memory.
pub fn states(data: &Path) -> Vec<(String, String)> {
    let db = database(data);
    let mut query = db.prepare("SELECT key, state FROM instances ORDER BY id").unwrap();
    query.query_map((), |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
}
