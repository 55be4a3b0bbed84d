//! From the SMTP session to the store.
//!
//! The order is fixed, and each step may refuse: the guard sees the bytes before any parser does;
//! authentication decides what the sender address is worth; reading separates what is new from what
//! is quoted; and only when everything is on the disk does the session say 250.

use crate::{
    address::{Meaning, Resolution, Route},
    directory::Directory,
    token::{self, Day, KeyRing},
};
use frontdesk_agents::{
    AgentId, Reference, Store, StoreError, Verdict,
    agent::{Admission, Envelope as Screened},
    mail::{AddressRoute, Arrival, ArrivalAttachment, ArrivalRecipient},
    runtime::Registry,
    store::{Accepted, INLINE_LIMIT},
};
use frontdesk_smtp::{
    address::{ForwardPath, ReversePath},
    auth::{self, Authentication, Authenticator, Disposition, spf::SpfResult},
    guard,
    read::{self, Layers, ReadMail},
    receive::{Backend, Envelope, Peer, limits::Network},
    reply::Reply,
};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::{sync::Arc, time::Instant};
use tokio::sync::Semaphore;

/// Large messages that are parsed at the same time. Parsing decodes attachments beside the message, in
/// memory that no budget counts; more at once than there are cores would only add to it.
static PARSING: Semaphore = Semaphore::const_new(2);

/// Own texts compared with a message to recognise quotes in it.
const OWN_TEXTS: usize = 8;

/// The SMTP session's view of everything behind it.
pub struct Incoming {
    pub store: Store,
    pub directory: Arc<Directory>,
    pub registry: Registry,
    pub authenticator: Authenticator,
    pub hostname: String,
}

impl Backend for Incoming {
    async fn recipient(
        &self,
        _peer: &Peer,
        from: &ReversePath,
        to: &ForwardPath,
    ) -> Result<(), Reply> {
        match self.resolve(to) {
            Resolution::Agent(route) => self.screen(&route, from, to).await,
            Resolution::Postmaster { .. } | Resolution::Abuse { .. } => Ok(()),
            Resolution::UnknownUser => {
                Err(reply(550, (1, 1), format!("<{}> is not known here", to.key())))
            }
            Resolution::NotOurs => {
                Err(reply(550, (7, 1), "Relaying is not done here: that domain is not ours"))
            }
        }
    }

    async fn message(&self, peer: &Peer, envelope: Envelope, message: Vec<u8>) -> Reply {
        let started = Instant::now();
        let size = message.len();
        let reply = self.take(peer, envelope, message).await.unwrap_or_else(|refusal| refusal);
        metrics::histogram!("mail_accept_seconds").record(started.elapsed().as_secs_f64());
        metrics::counter!("mail_received_total", "code" => reply.code().to_string()).increment(1);
        tracing::info!(
            peer = %peer.addr,
            size,
            code = reply.code(),
            millis = started.elapsed().as_millis() as u64,
            "message"
        );
        reply
    }
}

impl Incoming {
    async fn take(
        &self,
        peer: &Peer,
        envelope: Envelope,
        message: Vec<u8>,
    ) -> Result<Reply, Reply> {
        guard::check(&message).map_err(|refusal| {
            metrics::counter!("mail_guarded_total", "reason" => refusal.label()).increment(1);
            refused(&refusal.reply())
        })?;
        let now = self.store.clock().now();
        let authentication = self.authenticate(peer, &envelope, &message, now).await;
        let (verdict, quarantine) = self.judge(&authentication)?;

        let (message, mail) = self.read(message).await?;
        let author = authentication.from.as_ref().map(|from| from.address.to_lowercase());
        if author.as_deref().is_some_and(|author| self.store.is_blocked(author)) {
            return Err(reply(550, (7, 1), "mail from this address is not taken here"));
        }
        let resolved: Vec<_> =
            envelope.recipients.iter().map(|to| (to, self.resolve(to))).collect();
        let reverse_path = key_of(&envelope.reverse_path);
        self.screen_all(&reverse_path, &resolved, verdict, author.as_deref()).await?;

        let recipients = self.recipients(resolved, &mail, now).await?;
        let arrival = self
            .arrival(
                peer,
                &envelope,
                message,
                mail,
                &authentication,
                verdict,
                quarantine,
                recipients,
                now,
            )
            .await?;
        let accepted = self.store.accept(arrival).await.map_err(|error| {
            tracing::warn!(%error, "a message could not be stored");
            failed(&error)
        })?;
        Ok(reply(250, (6, 0), receipt(&accepted)))
    }

    /// Where an address leads. Asked once at RCPT and once for the message, in between which a
    /// configuration may change.
    fn resolve(&self, to: &ForwardPath) -> Resolution {
        let (local, domain) = split(to);
        self.directory.resolve(&local, &domain)
    }

    async fn authenticate(
        &self,
        peer: &Peer,
        envelope: &Envelope,
        message: &[u8],
        now: Timestamp,
    ) -> Authentication {
        let ip = peer.addr.ip().to_canonical();
        let helo = peer.helo.name();
        let from = envelope.reverse_path.mailbox().map(ToString::to_string);
        if self.directory.listed().trusts_loopback && ip.is_loopback() {
            return Authentication::local(ip, helo, from.as_deref(), message, now);
        }
        self.authenticator.authenticate(ip, helo, from.as_deref(), message, now).await
    }

    /// What the evidence is worth, and why a person should look, if so.
    fn judge(&self, authentication: &Authentication) -> Result<(Verdict, Option<String>), Reply> {
        match auth::disposition(authentication, &self.directory.listed().trusted_forwarders) {
            Disposition::Accept(verdict) => Ok((stored(&verdict), None)),
            Disposition::Quarantine { why } => {
                Ok((stored(&auth::verdict(authentication)), Some(why)))
            }
            Disposition::Refuse { reply } => Err(refused(&reply)),
            Disposition::TempFail { why } => {
                tracing::info!(why, "a message was put off");
                Err(refused(auth::TEMPFAIL_REPLY))
            }
        }
    }

    /// Parses the message, off the async threads if that takes long.
    async fn read(&self, message: Vec<u8>) -> Result<(Vec<u8>, ReadMail), Reply> {
        if message.len() <= INLINE_LIMIT {
            let mail = read::read(&message);
            return Ok((message, mail));
        }
        let _turn = PARSING.acquire().await.map_err(|_| internal())?;
        tokio::task::spawn_blocking(move || {
            let mail = read::read(&message);
            (message, mail)
        })
        .await
        .map_err(|error| {
            tracing::error!(%error, "reading a message failed");
            internal()
        })
    }

    async fn screen(
        &self,
        route: &Route,
        from: &ReversePath,
        to: &ForwardPath,
    ) -> Result<(), Reply> {
        let listed = self.directory.listed();
        let Some(known) = listed.agents.get(&route.agent) else { return Err(internal()) };
        let reverse_path = key_of(from);
        let envelope = Screened {
            reverse_path: &reverse_path,
            recipient: &to.key(),
            verdict: None,
            from: None,
        };
        match self.registry.accept(known.id, &envelope).await {
            Admission::Accept => Ok(()),
            Admission::Refuse(reason) => Err(reply(550, (7, 1), reason)),
        }
    }

    /// At the end of DATA a single recipient can no longer be refused; all of them together can.
    async fn screen_all(
        &self,
        reverse_path: &str,
        resolved: &[(&ForwardPath, Resolution)],
        verdict: Verdict,
        from: Option<&str>,
    ) -> Result<(), Reply> {
        let mut refusal = None;
        for (to, resolution) in resolved {
            let Resolution::Agent(route) = resolution else { return Ok(()) };
            let listed = self.directory.listed();
            let Some(known) = listed.agents.get(&route.agent) else { return Ok(()) };
            let screened =
                Screened { reverse_path, recipient: &to.key(), verdict: Some(verdict), from };
            match self.registry.accept(known.id, &screened).await {
                Admission::Accept => return Ok(()),
                Admission::Refuse(reason) => refusal = Some(reason),
            }
        }
        match refusal {
            Some(reason) => Err(reply(550, (7, 1), reason)),
            None => Ok(()),
        }
    }

    async fn recipients(
        &self,
        resolved: Vec<(&ForwardPath, Resolution)>,
        mail: &ReadMail,
        now: Timestamp,
    ) -> Result<Vec<ArrivalRecipient>, Reply> {
        let keys = self.directory.keys();
        let today = Day::of(now);
        let mut recipients = Vec::with_capacity(resolved.len());
        for (to, resolution) in resolved {
            let target = self.target(to, resolution, mail, &keys, today)?;
            let mut pointing: Vec<Reference> = match &target.route {
                AddressRoute::Reply(reference) | AddressRoute::ExpiredReply(reference) => {
                    vec![*reference]
                }
                _ => Vec::new(),
            };
            // What decides is what was typed, as anybody reads it: a line of it must not pass for a quote
            // because a draft that was shown says the same.
            if !matches!(target.route, AddressRoute::Decide(_)) {
                pointing.extend(&target.own_references);
            }
            let ours = self.store.sent_texts(pointing, OWN_TEXTS).await.map_err(|e| failed(&e))?;
            let ours: Vec<&str> = ours.iter().map(String::as_str).collect();
            let layers = mail.layers(&ours);
            let new_text = layers.new_text().into_owned();
            let own_words = layers.own_words().into_owned();
            let layers = stored_layers(&layers)?;
            recipients.push(ArrivalRecipient {
                address: to.key(),
                agent: target.agent,
                answer_from: target.answer_from,
                route: target.route,
                own_references: target.own_references,
                new_text,
                own_words,
                layers,
            });
        }
        Ok(recipients)
    }

    fn target(
        &self,
        to: &ForwardPath,
        resolution: Resolution,
        mail: &ReadMail,
        keys: &KeyRing,
        today: Day,
    ) -> Result<Target, Reply> {
        match resolution {
            Resolution::Postmaster { domain } | Resolution::Abuse { domain } => {
                let listed = self.directory.listed();
                let domain = if domain.is_empty() { &listed.domains[0] } else { &domain };
                Ok(Target {
                    agent: self.directory.postmaster,
                    answer_from: format!("{}@{domain}", split(to).0),
                    route: AddressRoute::Role,
                    own_references: Vec::new(),
                })
            }
            Resolution::Agent(route) => {
                let listed = self.directory.listed();
                let known = listed.agents.get(&route.agent).ok_or_else(internal)?;
                let name = route.agent.as_str();
                // Newest first: In-Reply-To names the mail answered, References ends with it.
                let ids = mail.in_reply_to.iter().chain(mail.references.iter().rev());
                let own_references = ids
                    .filter_map(|id| token::own_message_id(keys, name, &route.domain, id))
                    .collect();
                Ok(Target {
                    agent: known.id,
                    answer_from: self.directory.answer_from(&route),
                    route: match route.meaning(keys, today) {
                        Meaning::Plain => AddressRoute::Plain,
                        Meaning::Tag(_) => match route.instance_tag() {
                            Some(tag) => AddressRoute::Tag(tag.as_str().to_owned()),
                            None => AddressRoute::Plain,
                        },
                        Meaning::Reply(r) => AddressRoute::Reply(r),
                        Meaning::ExpiredReply(r) => AddressRoute::ExpiredReply(r),
                        Meaning::Bounce(r) => AddressRoute::Bounce(r),
                        Meaning::Approve(r) => AddressRoute::Decide(r),
                    },
                    own_references,
                })
            }
            // Both were refused at RCPT; a configuration that changed meanwhile ends here.
            Resolution::UnknownUser | Resolution::NotOurs => Err(internal()),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one arrival, made in one place")]
    async fn arrival(
        &self,
        peer: &Peer,
        envelope: &Envelope,
        message: Vec<u8>,
        mail: ReadMail,
        authentication: &Authentication,
        verdict: Verdict,
        quarantine: Option<String>,
        recipients: Vec<ArrivalRecipient>,
        now: Timestamp,
    ) -> Result<Arrival, Reply> {
        let prelude = self.prelude(peer, envelope, authentication, now);
        let evidence = stored_json(authentication)?;
        let body_hash = Sha256::digest(body_of(&message)).into();
        let raw = if message.len() <= INLINE_LIMIT {
            self.store.stage(&message)
        } else {
            let store = self.store.clone();
            tokio::task::spawn_blocking(move || store.stage(&message))
                .await
                .unwrap_or(Err(StoreError::Closed))
        };
        let raw = raw.map_err(|error| failed(&error))?;

        let reverse_path = key_of(&envelope.reverse_path);
        let author = authentication.from.as_ref();
        let from = author.map(|from| from.address.to_lowercase()).unwrap_or_default();
        let mut flags: Vec<String> = author
            .map(|from| from.flags.iter().map(|flag| format!("sender: {}", word(flag))).collect())
            .unwrap_or_default();
        flags
            .extend(mail.hidden.iter().map(|hidden| format!("hidden text: {}", word(&hidden.how))));
        flags.sort_unstable();
        flags.dedup();
        let envelope_proven = !from.is_empty()
            && from == reverse_path
            && authentication.spf_mail_from.result == SpfResult::Pass;
        let mut references = mail.in_reply_to;
        references.extend(mail.references.into_iter().rev());
        references.dedup();
        Ok(Arrival {
            received_at: now,
            network: Network::of(peer.addr.ip()).to_string(),
            reverse_path,
            from,
            from_name: author.and_then(|from| from.display_name.clone()),
            reply_to: mail.reply_to.first().map(read::Mailbox::handle),
            to: mail.to.iter().map(read::Mailbox::handle).collect(),
            cc: mail.cc.iter().map(read::Mailbox::handle).collect(),
            subject: mail.subject,
            message_id: mail.message_id,
            references,
            verdict,
            evidence,
            envelope_proven,
            automatic: mail.automatic.first().map(ToString::to_string),
            body_hash,
            prelude,
            raw,
            attachments: mail
                .attachments
                .iter()
                .map(|attachment| ArrivalAttachment {
                    part: attachment.part as u32,
                    name: attachment.name.clone(),
                    media_type: attachment.media_type.clone(),
                    size: attachment.size as u64,
                    inline: attachment.inline,
                })
                .collect(),
            flags,
            quarantine,
            recipients,
        })
    }

    /// What we have to say about a message: kept beside it, for the message itself is never altered.
    fn prelude(
        &self,
        peer: &Peer,
        envelope: &Envelope,
        authentication: &Authentication,
        now: Timestamp,
    ) -> String {
        let date = now.to_zoned(jiff::tz::TimeZone::UTC);
        let date = jiff::fmt::rfc2822::to_string(&date).unwrap_or_default();
        format!(
            "Return-Path: <{}>\r\nReceived: from {} ({})\r\n\tby {} with {};\r\n\t{date}\r\n\
             Authentication-Results: {}\r\n",
            envelope.reverse_path.mailbox().map(ToString::to_string).unwrap_or_default(),
            peer.helo.name(),
            peer.addr.ip(),
            self.hostname,
            peer.with_protocol(envelope.smtputf8),
            auth::authentication_results(authentication, &self.hostname),
        )
    }
}

/// The layers of a text as the store keeps them, unless all of it is new.
fn stored_layers(layers: &Layers<'_>) -> Result<Option<String>, Reply> {
    if layers.iter().all(|(kind, _)| kind == read::Kind::New) {
        return Ok(None);
    }
    let segments: Vec<_> = layers
        .iter()
        .map(|(kind, text)| serde_json::json!({ "kind": kind, "text": text }))
        .collect();
    stored_json(&segments).map(Some)
}

fn stored_json(value: &impl serde::Serialize) -> Result<String, Reply> {
    serde_json::to_string(value).map_err(|error| {
        tracing::error!(%error, "what is known of a message cannot be stored");
        internal()
    })
}

/// Where one recipient leads.
struct Target {
    agent: AgentId,
    answer_from: String,
    route: AddressRoute,
    own_references: Vec<Reference>,
}

fn split(path: &ForwardPath) -> (String, String) {
    match path.mailbox() {
        Some(mailbox) => (mailbox.local().to_owned(), mailbox.domain().ascii().to_owned()),
        None => ("postmaster".to_owned(), String::new()),
    }
}

fn key_of(path: &ReversePath) -> String {
    path.mailbox().map(|mailbox| mailbox.key()).unwrap_or_default()
}

fn stored(verdict: &auth::Verdict) -> Verdict {
    match verdict {
        auth::Verdict::Verified { .. } => Verdict::Verified,
        auth::Verdict::Unverified => Verdict::Unverified,
        auth::Verdict::Failed => Verdict::Failed,
        auth::Verdict::Local => Verdict::Local,
    }
}

/// The name of a fieldless enum value, in words.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value)
        .ok()
        .and_then(|value| value.as_str().map(|word| word.replace('_', " ")))
        .unwrap_or_default()
}

/// Everything behind the first empty line.
fn body_of(message: &[u8]) -> &[u8] {
    message
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map_or(&[], |end| &message[end + 4..])
}

/// What a sender can quote when they ask about a mail.
fn receipt(accepted: &[Accepted]) -> String {
    let ids: Vec<String> = accepted
        .iter()
        .map(|accepted| match accepted {
            Accepted::Stored { message, .. } => message.to_string(),
            Accepted::Duplicate { of } => format!("{of} (again)"),
        })
        .collect();
    format!("Accepted as {}", ids.join(", "))
}

fn failed(error: &StoreError) -> Reply {
    match error {
        StoreError::DiskFull => reply(452, (3, 1), "The disk is full; try again later"),
        StoreError::TooMany(why) => reply(450, (7, 1), why.clone()),
        StoreError::Closed => reply(421, (3, 2), "The server is stopping; try again soon"),
        _ => internal(),
    }
}

fn internal() -> Reply {
    reply(451, (3, 0), "This could not be taken just now; try again later")
}

fn reply(code: u16, enhanced: (u16, u16), text: impl Into<String>) -> Reply {
    Reply::new(code, enhanced, text.into())
}

/// A reply that comes as one line (`550 5.7.26 words`) from where the decision was made.
fn refused(line: &str) -> Reply {
    let parsed = line.split_once(' ').and_then(|(code, rest)| {
        let (enhanced, text) = rest.split_once(' ')?;
        let mut digits = enhanced.split('.').skip(1).map(str::parse);
        let enhanced = (digits.next()?.ok()?, digits.next()?.ok()?);
        Some(reply(code.parse().ok()?, enhanced, text))
    });
    parsed.unwrap_or_else(|| reply(550, (7, 1), line))
}
