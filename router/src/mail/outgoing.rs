//! From the outbox to a transport: the spool of the delivery worker, on the store.
//!
//! A mail is rendered and signed when its first delivery is claimed, and its bytes are stored before
//! any of it is handed to a transport. Everything they depend on is in the outbox row, so bytes that a
//! crash made us render twice are the same bytes.

use crate::{
    directory::{Directory, Known},
    keys::KeyStore,
    token::{self, Day},
};
use anyhow::Context as _;
use bytes::Bytes;
use frontdesk_agents::{
    DeliveryId as RowId, OutboxId, Store, StoreError,
    store::{Claimed as Row, DeliveryOutcome, OutgoingMail, StagedBlob, Wake},
};
use frontdesk_smtp::{
    deliver::{self, Claimed, Claims, DeliveryId, Outcome, Priority, Room, Spool},
    render::{
        self, AddrSpec, AutoSubmitted, HeaderText, Html, Mailbox, MediaType, MessageId, Outgoing,
    },
    sign::Signer,
};
use jiff::{Timestamp, tz::TimeZone};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};
use tokio::sync::broadcast::{self, error::TryRecvError};

/// The outbox as the delivery worker drives it.
pub struct StoreSpool {
    inner: Arc<Inner>,
    wakes: tokio::sync::Mutex<broadcast::Receiver<Wake>>,
}

struct Inner {
    store: Store,
    renderer: Arc<Renderer>,
}

impl StoreSpool {
    /// A spool on a store.
    pub fn new(store: Store, renderer: Arc<Renderer>) -> Self {
        let wakes = tokio::sync::Mutex::new(store.wakes());
        Self { inner: Arc::new(Inner { store, renderer }), wakes }
    }
}

impl Spool for StoreSpool {
    async fn claim(&self, _now: Timestamp, room: Room) -> Result<Claims, deliver::Error> {
        {
            // What was told before this claim is covered by it.
            let mut wakes = self.wakes.lock().await;
            while matches!(wakes.try_recv(), Ok(_) | Err(TryRecvError::Lagged(_))) {}
        }
        let rows = self.inner.store.claim_deliveries(room.any).await.map_err(spool)?;
        // Signing with RSA takes most of a millisecond: off the async threads, and side by side.
        let mut made = Vec::with_capacity(rows.len());
        for row in rows {
            let inner = self.inner.clone();
            made.push((row.delivery, tokio::task::spawn_blocking(move || inner.make(row))));
        }
        let (mut deliveries, mut rendered) = (Vec::with_capacity(made.len()), Vec::new());
        for (id, making) in made {
            match making.await {
                Ok(Ok((claimed, fresh))) => {
                    deliveries.push(claimed);
                    rendered.extend(fresh);
                }
                Ok(Err(error)) => self.give_up(id, &error).await?,
                Err(panic) => self.give_up(id, &panic.into()).await?,
            }
        }
        self.inner.store.keep_rendered(rendered).await.map_err(spool)?;
        let next_due = self.inner.store.next_delivery().await.map_err(spool)?;
        Ok(Claims { deliveries, next_due })
    }

    async fn starting_data(&self, id: &DeliveryId) -> Result<(), deliver::Error> {
        self.inner.store.start_data(row_id(id)?).await.map_err(spool)
    }

    async fn settle(&self, id: &DeliveryId, outcome: Outcome) -> Result<(), deliver::Error> {
        let id = row_id(id)?;
        let (label, outcome) = match outcome {
            Outcome::Sent { response } => ("sent", DeliveryOutcome::Sent { response }),
            Outcome::Deferred { until, reason } => {
                ("deferred", DeliveryOutcome::Deferred { response: reason, next_at: until })
            }
            // The words begin with the code.
            Outcome::Bounced { response, .. } => ("bounced", DeliveryOutcome::Bounced { response }),
            Outcome::Failed { reason } => ("failed", DeliveryOutcome::Failed { response: reason }),
            Outcome::Uncertain { reason } => {
                ("uncertain", DeliveryOutcome::Uncertain { response: reason })
            }
        };
        metrics::counter!("deliveries_total", "outcome" => label).increment(1);
        self.inner.store.settle_delivery(id, outcome).await.map_err(spool)
    }

    async fn changed(&self) {
        let mut wakes = self.wakes.lock().await;
        loop {
            match wakes.recv().await {
                Ok(Wake::Outbox) | Err(broadcast::error::RecvError::Lagged(_)) => return,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

impl StoreSpool {
    /// A mail that cannot be rendered fails with the reason, where a person sees it.
    async fn give_up(&self, id: RowId, error: &anyhow::Error) -> Result<(), deliver::Error> {
        tracing::error!(delivery = %id, error = format!("{error:#}"), "a mail cannot be rendered");
        let outcome = DeliveryOutcome::Failed { response: format!("not sent: {error:#}") };
        self.inner.store.settle_delivery(id, outcome).await.map_err(spool)
    }
}

impl Inner {
    /// The delivery with its bytes, and those bytes to be stored if they were not.
    fn make(&self, row: Row) -> anyhow::Result<(Claimed, Option<(OutboxId, StagedBlob)>)> {
        let (bytes, fresh) = match row.mail.rendered {
            Some(blob) => {
                let stored = self.store.blob(blob)?;
                (stored.context("the rendered mail is missing; restore it from a backup")?, None)
            }
            None => {
                let bytes = self.renderer.render(&self.store, &row.mail)?;
                let staged = self.store.stage(&bytes)?;
                (bytes, Some((row.mail.outbox, staged)))
            }
        };
        let claimed = Claimed {
            id: DeliveryId::from(row.delivery.0.cast_unsigned()),
            recipient: AddrSpec::parse(&row.recipient)?,
            reverse_path: Some(self.renderer.reverse_path(&row.mail)?),
            bytes: Bytes::from(bytes),
            attempts: row.attempt.saturating_sub(1),
            queued_at: row.mail.released_at,
            priority: Priority::Answer,
        };
        Ok((claimed, fresh))
    }
}

/// Makes bytes of outbox rows.
pub struct Renderer {
    directory: Arc<Directory>,
    keys: Arc<KeyStore>,
    signers: Mutex<HashMap<String, Arc<Signer>>>,
}

impl Renderer {
    /// A renderer with the keys of an installation.
    pub fn new(directory: Arc<Directory>, keys: Arc<KeyStore>) -> Self {
        Self { directory, keys, signers: Mutex::default() }
    }

    /// Renders and signs a mail. The same row gives the same bytes while the keys are the same.
    pub fn render(&self, store: &Store, mail: &OutgoingMail) -> anyhow::Result<Vec<u8>> {
        let (known, domain) = self.identity(mail)?;
        let (agent, display_name) = (known.config.name.as_str(), &known.config.display_name);
        let keys = self.directory.keys();
        let reference = mail.reference;
        let expiry = self.directory.expiry(Day::of(mail.released_at));
        let from = Mailbox {
            name: HeaderText::lossy(display_name),
            address: AddrSpec::parse(&mail.from)?,
        };
        let reply_to = match mail.decides {
            Some(question) => {
                let expiry = Day::of(mail.released_at).plus(token::APPROVE_LIFETIME_DAYS);
                token::approve_address(&keys, agent, domain, question, expiry)
            }
            None => token::reply_address(&keys, agent, domain, reference, expiry),
        };
        let id = |text: &String| MessageId::new(text).ok();
        let outgoing = Outgoing {
            reply_to: Some(Mailbox {
                name: from.name.clone(),
                address: AddrSpec::parse(&reply_to)?,
            }),
            from,
            to: mailboxes(&mail.to)?,
            cc: mailboxes(&mail.cc)?,
            subject: if mail.is_reply {
                render::reply_subject(&mail.subject)
            } else {
                HeaderText::lossy(&mail.subject)
            },
            text: mail.text.clone(),
            html: match &mail.html {
                Some(html) => Html::Given(html.clone()),
                None => Html::FromText,
            },
            attachments: self.attachments(store, mail)?,
            message_id: MessageId::new(&token::message_id(&keys, agent, domain, reference))?,
            thread_id: MessageId::new(&format!("{}@{domain}", mail.thread))?,
            in_reply_to: mail.in_reply_to.as_ref().and_then(id),
            references: mail.references.iter().filter_map(id).collect(),
            date: mail.released_at.to_zoned(TimeZone::UTC),
            auto_submitted: mail.automatic.then_some(if mail.is_reply {
                AutoSubmitted::Replied
            } else {
                AutoSubmitted::Generated
            }),
            list_unsubscribe: None,
            extra: Vec::new(),
        };
        let bytes = render::render(&outgoing)?;
        Ok(self.signer(domain)?.sign(&bytes, mail.released_at)?)
    }

    /// Where bounces of a mail go: an address that names it.
    pub fn reverse_path(&self, mail: &OutgoingMail) -> anyhow::Result<AddrSpec> {
        let (known, domain) = self.identity(mail)?;
        let expiry = self.directory.expiry(Day::of(mail.released_at));
        let reference = mail.reference;
        let address = token::bounce_address(
            &self.directory.keys(),
            &known.config.name,
            domain,
            reference,
            expiry,
        );
        Ok(AddrSpec::parse(&address)?)
    }

    fn identity<'a>(&self, mail: &'a OutgoingMail) -> anyhow::Result<(Arc<Known>, &'a str)> {
        let known = self.directory.by_id(mail.agent).context(
            "its agent is no longer in the configuration; put it back or cancel the mail",
        )?;
        let (_, domain) = mail.from.rsplit_once('@').context("the sender address has no domain")?;
        Ok((known, domain))
    }

    fn attachments(
        &self,
        store: &Store,
        mail: &OutgoingMail,
    ) -> anyhow::Result<Vec<render::Attachment>> {
        mail.attachments
            .iter()
            .map(|part| {
                let content = store.blob(part.content)?.context("an attachment is missing")?;
                Ok(render::Attachment {
                    name: HeaderText::lossy(&part.name),
                    media_type: MediaType::new(&part.media_type)
                        .unwrap_or_else(|_| MediaType::octet_stream()),
                    content: Bytes::from(content),
                })
            })
            .collect()
    }

    fn signer(&self, domain: &str) -> anyhow::Result<Arc<Signer>> {
        // Held while keys are read or made. The first mails of a domain are rendered side by side; each
        // would otherwise make keys, seconds of arithmetic, and some would find those of another half
        // written and fail.
        let mut signers = self.signers.lock().unwrap_or_else(|p| p.into_inner());
        if let Some(known) = signers.get(domain) {
            return Ok(known.clone());
        }
        let signer = Arc::new(self.keys.signer(domain, Timestamp::now())?);
        signers.insert(domain.to_owned(), signer.clone());
        Ok(signer)
    }
}

fn mailboxes(addresses: &[String]) -> anyhow::Result<Vec<Mailbox>> {
    addresses.iter().map(|address| Ok(Mailbox::bare(AddrSpec::parse(address)?))).collect()
}

fn row_id(id: &DeliveryId) -> Result<RowId, deliver::Error> {
    id.as_str().parse().map(RowId).map_err(|_| deliver::Error::Id)
}

fn spool(error: StoreError) -> deliver::Error {
    deliver::Error::Spool(Box::new(error))
}

/// The store's clock as the delivery worker wants it.
pub struct StoreClock(pub Store);

impl deliver::Clock for StoreClock {
    fn now(&self) -> Timestamp {
        self.0.clock().now()
    }

    async fn sleep_until(&self, at: Timestamp) {
        self.0.clock().sleep_until(at).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, own::Kinds, tools::ToolServers};
    use frontdesk_agents::SystemClock;
    use frontdesk_smtp::{
        auth::{Authenticator, dkim::DkimResult, dns::DnsConfig},
        testing::dns::{TestDns, Zone},
    };
    use std::sync::Barrier;

    /// Threads that ask at once: more than there are cores, so that some run into half-made keys.
    const THREADS: usize = 16;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn mails_of_a_new_domain_rendered_side_by_side_share_one_pair_of_keys() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Arc::new(SystemClock)).unwrap();
        let keys = Arc::new(KeyStore::open(folder.path().join("keys")).unwrap());
        let ring = keys.token_keys(Timestamp::now()).unwrap();
        let (directory, _) = Directory::build(
            &Config::default(),
            &Kinds::new(),
            &ToolServers::default(),
            &store,
            ring,
        )
        .await
        .unwrap();
        let renderer = Renderer::new(Arc::new(directory), keys.clone());

        let barrier = Barrier::new(THREADS);
        let signed: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let signing: Vec<_> = (0..THREADS)
                .map(|number| {
                    let (renderer, barrier) = (&renderer, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        let mail = format!(
                            "From: a@new.example\r\nTo: b@there.example\r\nSubject: {number}\r\n\r\nHello.\r\n"
                        );
                        let signer = renderer.signer("new.example").unwrap();
                        signer.sign(mail.as_bytes(), Timestamp::now()).unwrap()
                    })
                })
                .collect();
            signing.into_iter().map(|thread| thread.join().unwrap()).collect()
        });

        let made = std::fs::read_dir(folder.path().join("keys/dkim/new.example")).unwrap();
        let mut made: Vec<String> =
            made.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        made.sort();
        let (selector, _) = keys.dkim("new.example", Timestamp::now()).unwrap();
        let expected = ["ed25519.pem", "rsa.pem"].map(|kind| format!("{selector}.{kind}"));
        assert_eq!(made, [vec!["current".to_owned()], expected.to_vec()].concat());

        let mut zone = Zone::new();
        for record in keys.dkim_records("new.example", &selector).unwrap() {
            zone = zone.txt(&record.name, &record.value);
        }
        let dns = TestDns::start(zone).await.unwrap();
        let config = DnsConfig { servers: vec![dns.addr()], ..DnsConfig::default() };
        let authenticator = Authenticator::new(&config, "there.example").unwrap();
        for mail in &signed {
            let peer = "192.0.2.1".parse().unwrap();
            let seen = authenticator
                .authenticate(peer, "mx.new.example", Some("a@new.example"), mail, Timestamp::now())
                .await;
            let results: Vec<_> = seen.dkim.iter().map(|signature| signature.result).collect();
            assert_eq!(results, [DkimResult::Pass, DkimResult::Pass]);
        }
        store.close().await;
    }
}
