//! The examples, each as a process of its own that gets a mail and answers it.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};
use support::{Captured, Client, Letter, Server, captured, until};

/// Where cargo puts an example, beside the folder of the tests.
fn example(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let folder = this.parent().and_then(Path::parent).unwrap().join("examples");
    let path = folder.join(name);
    assert!(path.exists(), "{} is not there: build it with cargo build --examples", path.display());
    path
}

struct Example {
    server: Server,
    folder: tempfile::TempDir,
}

impl Example {
    /// Starts an example with these agents, each of the kind it is named after.
    async fn start(name: &str, agents: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config: String = agents
            .iter()
            .map(|agent| format!("[[agent]]\nname = \"{agent}\"\nkind = \"{agent}\"\n"))
            .collect();
        let server = Server::start_program(&example(name), folder.path(), &config, &[], &[]).await;
        Self { server, folder }
    }

    async fn write(&self, to: &str, text: &str) {
        let letter = Letter::new("ann@localhost", to, text);
        let mut client = Client::connect(self.server.smtp).await.unwrap();
        let reply = client.send(&letter.from, &[&letter.to], &letter.bytes()).await.unwrap();
        assert!(reply.is(250), "{reply:?}");
    }

    /// The mails that left, once there are so many.
    async fn mails(&self, count: usize) -> Vec<Captured> {
        let what = format!("{count} mails leave; the log is in {}", self.folder.path().display());
        until(&what, async || {
            let mails = captured(&self.server.data);
            (mails.len() >= count).then_some(mails)
        })
        .await
    }
}

#[tokio::test]
async fn the_support_desk_answers_from_its_handbook_and_asks_a_person_about_the_rest() {
    let example = Example::start("support", &["support"]).await;
    example.write("support@localhost", "Can my lamp be sent back?").await;
    let mails = example.mails(1).await;
    assert_eq!(mails[0].delivered_to, "ann@localhost");
    assert!(
        mails[0].text().contains("everything can be sent back within 30 days"),
        "{}",
        mails[0].text()
    );

    example.write("support@localhost", "Hello?").await;
    let conversation = until("a person is asked", async || {
        let all = example.server.api.conversations().await;
        all.into_iter().find(|conversation| conversation["queue"] == "needs_review")
    })
    .await;
    assert!(
        conversation["why"].as_str().unwrap().contains("not in the handbook"),
        "{conversation:#}"
    );
    assert_eq!(captured(&example.server.data).len(), 1);
}

#[tokio::test]
async fn the_sales_desk_asks_two_agents_and_answers_with_what_both_said() {
    let example = Example::start("orchestrator", &["sales", "store-room", "workshop"]).await;
    example.write("sales@localhost", "Ten lamps, please.").await;
    let mails = example.mails(1).await;
    let text = mails[0].text();
    assert!(text.contains("We have 4 lamps here. The others take 3 days."), "{text}");
}

#[tokio::test]
async fn the_reminder_says_when_it_will_write_and_does() {
    let example = Example::start("reminder", &["reminder"]).await;
    example.write("reminder@localhost", "In 1 seconds, remind me of the kettle.").await;
    let mails = example.mails(2).await;
    let texts: Vec<_> = mails.iter().map(Captured::text).collect();
    assert!(texts[0].contains("A reminder of the kettle comes in 1 s."), "{texts:?}");
    assert!(texts[1].contains("This is your reminder of the kettle."), "{texts:?}");
}

/// The examples are there to be read.
#[test]
fn every_example_is_shorter_than_a_hundred_lines() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines < 100, "{} has {lines} lines", path.display());
        count += 1;
    }
    assert!(count >= 3);
}
