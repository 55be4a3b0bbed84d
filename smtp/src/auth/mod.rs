//! Authentication of incoming mail: iprev, SPF, DKIM, DMARC and ARC, and the verdict that follows.
//!
//! [`Authenticator::authenticate`] gathers evidence and keeps every DNS answer it used;
//! [`verdict`](verdict()) and [`disposition`] decide from the evidence alone;
//! [`Authenticator::recompute`] repeats the evaluation from stored answers. What always holds: no
//! header field gives authority, and the author that is judged is the author that is shown. Left out:
//! reputation, and telling local mail apart, which the caller does ([`Authentication::local`]).

pub mod arc;
pub mod author;
pub mod dkim;
pub mod dmarc;
pub mod dns;
pub mod iprev;
mod results;
pub mod spf;
mod verdict;

use std::{net::IpAddr, time::Duration};

use jiff::Timestamp;
use mail_auth::{AuthenticatedMessage, MessageAuthenticator};
use mail_parser::{HeaderName, MessageParser, MessagePart, parsers::MessageStream};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Handle, RuntimeFlavor};

use self::{
    arc::{Arc, ArcResult},
    author::{Author, Malformed, to_a_labels},
    dkim::{Dkim, Keys},
    dmarc::Dmarc,
    dns::{DnsAnswer, DnsConfig, Lookup, Recorder, Replay, Resolver},
    iprev::{Iprev, IprevResult},
    spf::{Spf, SpfQuery, SpfResult},
};
pub use self::{
    results::{authentication_results, ignored_header},
    verdict::{Disposition, TEMPFAIL_REPLY, Verdict, VerifiedBy, disposition, verdict},
};

/// Messages from this size on are hashed away from the other tasks of the thread.
const LARGE_MESSAGE: usize = 256 * 1024;

/// Why authentication cannot be set up. Evaluation itself never fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The resolver cannot be configured.
    #[error("DNS resolver: {0}")]
    Resolver(String),
}

/// Everything known about who sent a message. Holds header text, never the body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authentication {
    /// Submitted on this machine; nothing else was checked.
    pub local: bool,
    /// The address that connected.
    pub peer: IpAddr,
    /// The HELO or EHLO name as given.
    pub helo: String,
    /// The reverse-path as given; empty if null.
    pub reverse_path: String,
    /// When it was checked.
    pub at: Timestamp,
    /// Reverse name.
    pub iprev: Iprev,
    /// SPF of the HELO name.
    pub spf_helo: Spf,
    /// SPF of the reverse-path; of the HELO name if that is null (RFC 7208 section 2.4).
    pub spf_mail_from: Spf,
    /// Signatures, at most [`dkim::MAX_SIGNATURES`].
    pub dkim: Vec<Dkim>,
    /// Signatures beyond that.
    pub dkim_ignored: usize,
    /// DMARC for the author's domain.
    pub dmarc: Dmarc,
    /// The chain of forwarders.
    pub arc: Arc,
    /// The author.
    pub from: Option<Author>,
    /// Why the message is refused whoever sent it.
    pub malformed: Option<Malformed>,
    /// Every DNS answer used.
    pub dns: Vec<DnsAnswer>,
}

impl Authentication {
    /// The evidence for a message submitted on this machine: only its author is read.
    pub fn local(
        peer: IpAddr,
        helo: &str,
        reverse_path: Option<&str>,
        message: &[u8],
        now: Timestamp,
    ) -> Self {
        let (from, malformed) = match headers(message) {
            Some(parsed) => author::read(&parsed, message),
            None => (None, None),
        };
        Self { local: true, from, malformed, ..Self::empty(peer, helo, reverse_path, now) }
    }

    fn empty(peer: IpAddr, helo: &str, reverse_path: Option<&str>, at: Timestamp) -> Self {
        Self {
            local: false,
            peer,
            helo: helo.to_owned(),
            reverse_path: reverse_path.unwrap_or_default().to_owned(),
            at,
            iprev: Iprev::default(),
            spf_helo: Spf::default(),
            spf_mail_from: Spf::default(),
            dkim: Vec::new(),
            dkim_ignored: 0,
            dmarc: Dmarc::default(),
            arc: Arc::default(),
            from: None,
            malformed: None,
            dns: Vec::new(),
        }
    }
}

/// Gathers the evidence. Cheap to clone; clones share the DNS cache.
#[derive(Clone)]
pub struct Authenticator {
    resolver: Resolver,
    library: MessageAuthenticator,
    receiver: String,
    spf_deadline: Duration,
    step_deadline: Duration,
}

impl Authenticator {
    /// Sets up the resolver; `receiver` is our host name, for the macro `%{r}`.
    ///
    /// # Errors
    ///
    /// If the system's DNS configuration is needed and cannot be read.
    pub fn new(config: &DnsConfig, receiver: &str) -> Result<Self, Error> {
        let resolver = Resolver::new(config)?;
        Ok(Self {
            library: MessageAuthenticator(resolver.tokio_resolver().clone()),
            resolver,
            receiver: receiver.to_owned(),
            spf_deadline: config.spf_deadline,
            step_deadline: config.step_deadline,
        })
    }

    /// The resolver, so that delivery shares its cache.
    pub fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// Checks one message. `reverse_path` is `None` or empty for the null sender. The message must
    /// have passed the MIME guard.
    pub async fn authenticate(
        &self,
        peer: IpAddr,
        helo: &str,
        reverse_path: Option<&str>,
        message: &[u8],
        now: Timestamp,
    ) -> Authentication {
        let recorder = Recorder::new(&self.resolver, now);
        let mut authentication =
            self.evaluate(&recorder, peer, helo, reverse_path, message, now).await;
        authentication.dns = recorder.finish();
        authentication
    }

    /// Checks a message again with the DNS answers of `stored`, at the time they were used.
    pub async fn recompute(&self, stored: &Authentication, message: &[u8]) -> Authentication {
        let (peer, helo, at) = (stored.peer, &stored.helo, stored.at);
        let reverse_path = Some(stored.reverse_path.as_str());
        if stored.local {
            return Authentication::local(peer, helo, reverse_path, message, at);
        }
        let replay = Replay::new(&stored.dns);
        let mut authentication =
            self.evaluate(&replay, peer, helo, reverse_path, message, at).await;
        authentication.dns.clone_from(&stored.dns);
        authentication
    }

    async fn evaluate(
        &self,
        dns: &impl Lookup,
        peer: IpAddr,
        helo: &str,
        reverse_path: Option<&str>,
        message: &[u8],
        now: Timestamp,
    ) -> Authentication {
        let mut authentication = Authentication::empty(peer, helo, reverse_path, now);
        let parsed = headers(message);
        if let Some(parsed) = &parsed {
            (authentication.from, authentication.malformed) = author::read(parsed, message);
        }
        if authentication.malformed.is_some() {
            // It is refused; nothing that follows could change that.
            return authentication;
        }
        // One parser reads the header fields for the author and for the signatures, so that what is
        // shown is what was signed.
        let mut signed = parsed.as_ref().map(|parsed| {
            off_the_runtime(message.len(), || {
                AuthenticatedMessage::from_parsed(parsed, message, true)
            })
        });
        let dkim = signed.as_mut().map(|message| dkim::prepare(message, now));
        let arc_decided = signed.as_mut().map_or(Some(Arc::default()), |m| arc::prepare(m, now));
        let verify_arc = arc_decided.is_none();
        let author_domain = authentication.from.as_ref().map(|author| author.domain.as_str());

        let keys = async {
            let Some(message) = &signed else { return None };
            let signatures = message.dkim_headers.iter().map(|header| &header.header);
            within(self.step_deadline, Keys::fetch(dns, signatures)).await
        };
        let arc_keys = async {
            let message = signed.as_ref().filter(|_| verify_arc)?;
            let signatures = arc::signatures(message);
            within(self.step_deadline, Keys::fetch(dns, signatures.iter())).await
        };
        let walk = async {
            let domain = author_domain?;
            within(self.step_deadline, dmarc::walk(dns, domain)).await
        };
        let (iprev, (spf_helo, spf_mail_from), keys, arc_keys, walk) = tokio::join!(
            within(self.step_deadline, iprev::check(dns, peer)),
            self.spf(dns, peer, helo, reverse_path, now),
            keys,
            arc_keys,
            walk,
        );

        authentication.iprev =
            iprev.unwrap_or(Iprev { result: IprevResult::TempError, name: None });
        authentication.spf_helo = spf_helo;
        authentication.spf_mail_from = spf_mail_from;
        if let (Some(message), Some(dkim)) = (&signed, dkim) {
            authentication.dkim_ignored = dkim.ignored;
            authentication.dkim = match keys {
                Some(keys) => dkim.verify(&self.library, message, &keys).await,
                None => dkim.time_out(),
            };
            authentication.arc = match (arc_decided, arc_keys) {
                (Some(decided), _) => decided,
                (None, Some(keys)) => arc::verify(&self.library, message, &keys).await,
                (None, None) => Arc {
                    result: ArcResult::TempError,
                    reason: Some("no key in time".to_owned()),
                    hops: Vec::new(),
                },
            };
        }
        if let Some(domain) = author_domain {
            let walk = walk.unwrap_or_else(|| dmarc::Walk::timed_out(domain));
            let judged = dmarc::evaluate(
                dns,
                domain,
                walk,
                &authentication.spf_mail_from,
                &mut authentication.dkim,
            );
            authentication.dmarc = match within(self.step_deadline, judged).await {
                Some(dmarc) => dmarc,
                None => Dmarc::timed_out(domain),
            };
        }
        authentication
    }

    /// SPF of HELO and reverse-path; the same check once if the reverse-path is null.
    async fn spf(
        &self,
        dns: &impl Lookup,
        ip: IpAddr,
        helo: &str,
        reverse_path: Option<&str>,
        now: Timestamp,
    ) -> (Spf, Spf) {
        // Not a name: an address literal or anything else, for which there is nothing to ask.
        let helo_domain = to_a_labels(helo).unwrap_or_default();
        let postmaster = format!("postmaster@{helo_domain}");
        let base = SpfQuery {
            ip,
            domain: &helo_domain,
            sender: &postmaster,
            helo,
            receiver: &self.receiver,
            now,
        };
        let check = async |query: SpfQuery<'_>| {
            within(self.spf_deadline, spf::check_host(dns, query)).await.unwrap_or_else(|| Spf {
                result: SpfResult::TempError,
                domain: query.domain.to_owned(),
                reason: Some("not finished in time".to_owned()),
                ..Spf::default()
            })
        };
        match reverse_path.filter(|path| !path.is_empty()) {
            None => {
                let spf = check(base).await;
                (spf.clone(), spf)
            }
            Some(path) => {
                let (local, domain) = path.rsplit_once('@').unwrap_or(("", path));
                let domain = to_a_labels(domain).unwrap_or_default();
                let sender = format!("{local}@{domain}");
                let mail_from = SpfQuery { domain: &domain, sender: &sender, ..base };
                tokio::join!(check(base), check(mail_from))
            }
        }
    }
}

/// Parses only the header block, and of it only From.
///
/// `parse_headers` of the library does not say where the body starts, and a message without its body
/// would verify as one with an empty body, so the same steps are taken here.
fn headers(message: &[u8]) -> Option<mail_parser::Message<'_>> {
    let fields = MessageParser::new().header_address(HeaderName::From).default_header_raw();
    let mut stream = MessageStream::new(message);
    let mut headers = Vec::with_capacity(24);
    stream.parse_headers(&fields, &mut headers);
    if headers.is_empty() {
        return None;
    }
    let length = u32::try_from(message.len()).ok()?;
    let offset_body = u32::try_from(stream.offset()).ok()?.min(length);
    let root = MessagePart { headers, offset_body, offset_end: length, ..MessagePart::default() };
    Some(mail_parser::Message {
        parts: vec![root],
        raw_message: message.into(),
        ..mail_parser::Message::default()
    })
}

async fn within<T>(deadline: Duration, step: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(deadline, step).await.ok()
}

/// Runs long arithmetic without holding up the other tasks of this thread, where the runtime can.
fn off_the_runtime<T>(size: usize, work: impl FnOnce() -> T) -> T {
    let threads = |handle: &Handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread;
    if size >= LARGE_MESSAGE && Handle::try_current().as_ref().is_ok_and(threads) {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}
