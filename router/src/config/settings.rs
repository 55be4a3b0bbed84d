//! The settings as the rest of the program sees them: one struct per section of the file.
//!
//! What always holds for a value that [`Config::load`](super::Config::load) returned: domains and
//! addresses are lower-case ASCII (IDNA A-labels), every agent address lies in a listed domain and
//! belongs to one agent, listeners do not clash, and the files that are named exist.

use super::voice::{Talk, VoiceConfig};
use super::{AssistantConfig, McpServer, ModelsConfig, Network, OwnKind, RelaySettings};
use frontdesk_agents::{
    admission::InstancePolicy,
    gate::{Approval, ByReply},
};
use frontdesk_voice::engine::EngineName;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// The domain that needs no DNS, and the only one while there is no config file.
pub const LOCAL_DOMAIN: &str = "localhost";

/// Everything an operator can set. [`Config::default`] is what runs with no config file at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `[server]`: the process and its data.
    pub server: ServerConfig,
    /// `[smtp]`: how mail comes in.
    pub smtp: SmtpConfig,
    /// `[http]`: the API and, later, the pages.
    pub http: HttpConfig,
    /// `[dns]`: who answers our questions about senders.
    pub dns: DnsConfig,
    /// `[mail]`: the domains, and what leaves.
    pub mail: MailConfig,
    /// `[relay]`: the mail server that takes what leaves here to the world.
    pub relay: Option<RelaySettings>,
    /// `[limits]`: brakes on automatic mail and on what strangers can make us keep.
    pub limits: Limits,
    /// `[voice]`: calls, and what hears and speaks in them.
    pub voice: VoiceConfig,
    /// `[models]`: the language models of assistants.
    pub models: ModelsConfig,
    /// `[mcp.NAME]`: servers whose tools assistants may use, by name.
    pub mcp: BTreeMap<String, McpServer>,
    /// `[[agent]]`: who answers. Never empty.
    pub agents: Vec<AgentConfig>,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Our name in the SMTP banner, in Received and in Message-ID. Default: the first mail domain.
    pub hostname: String,
    /// Where the database, the keys and the captured mail live. Default: `data`, from the folder
    /// of the config file. `--data` and `FRONTDESK_DATA` override it.
    pub data: PathBuf,
    /// How log lines look. Default: text.
    pub log_format: LogFormat,
    /// What is logged, in the filter language of `tracing` (`info`, or `info,frontdesk_smtp=debug`).
    /// Default: `info`.
    pub log_level: String,
    /// How long a stop waits for sessions and handlers to finish. Default: 10 s.
    pub shutdown_grace: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            hostname: LOCAL_DOMAIN.into(),
            data: PathBuf::from("data"),
            log_format: LogFormat::Text,
            log_level: "info".into(),
            shutdown_grace: Duration::from_secs(10),
        }
    }
}

impl ServerConfig {
    /// The socket on which a running server answers the local operator.
    pub fn control_socket(&self) -> PathBuf {
        self.data.join("control.sock")
    }

    /// Where mode `capture` writes what would have been sent, as `.eml` files.
    pub fn outgoing(&self) -> PathBuf {
        self.data.join("outgoing")
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For a person reading a terminal.
    Text,
    /// One JSON object a line, for a log collector.
    Json,
}

/// `[smtp]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpConfig {
    /// Where mail is accepted. Default: `127.0.0.1:2525`. Never empty.
    pub listen: Vec<SocketAddr>,
    /// Says that other machines may send here. Needed for any address beyond loopback, and needs a
    /// domain other than `localhost`. Default: false.
    pub public: bool,
    /// Certificate and key; STARTTLS is offered only with them. Default: none.
    pub tls: Option<TlsFiles>,
    /// Largest message in octets, announced as SIZE (RFC 1870). Default: 35 MiB, which holds
    /// Gmail's 25 MB of attachments after base64.
    pub max_message_size: u64,
    /// Recipients in one transaction. Default: 100, the least that RFC 5321 section 4.5.3.1.8 allows.
    pub max_recipients: u32,
    /// Open connections in all. Default: 1000.
    pub max_connections: u32,
    /// Open connections from one address. Default: 30, as mox has it.
    pub max_connections_per_ip: u32,
    /// Open connections from one network, an IPv4 /24 or an IPv6 /64. Default: 90.
    pub max_connections_per_network: u32,
    /// New connections a minute from one address. Loopback is not counted. Default: 300.
    pub connections_per_minute_per_ip: u32,
    /// Messages a minute from one address. Loopback is not counted. Default: 500.
    pub messages_per_minute_per_ip: u32,
    /// Silence after which a session is closed. Default: 5 minutes, the least that RFC 5321
    /// section 4.5.3.2.7 asks of a server.
    pub idle_timeout: Duration,
    /// Longest session. Default: 30 minutes.
    pub session_timeout: Duration,
    /// Longest DATA phase. Default: 10 minutes.
    pub data_timeout: Duration,
    /// Slowest DATA that is put up with, in octets a second. Default: 500, Postfix's figure.
    pub min_bytes_per_second: u32,
    /// Protocol errors after which a session is closed with 421. Default: 10.
    pub max_errors: u32,
    /// Unknown recipients from one network in ten minutes, after which its sessions are closed
    /// with 421. Default: 50.
    pub max_unknown_recipients: u32,
}

impl Default for SmtpConfig {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 2525))],
            public: false,
            tls: None,
            max_message_size: 35 * 1024 * 1024,
            max_recipients: 100,
            max_connections: 1000,
            max_connections_per_ip: 30,
            max_connections_per_network: 90,
            connections_per_minute_per_ip: 300,
            messages_per_minute_per_ip: 500,
            idle_timeout: Duration::from_secs(5 * 60),
            session_timeout: Duration::from_secs(30 * 60),
            data_timeout: Duration::from_secs(10 * 60),
            min_bytes_per_second: 500,
            max_errors: 10,
            max_unknown_recipients: 50,
        }
    }
}

/// A certificate chain and its private key, both PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, then its issuers.
    pub cert: PathBuf,
    /// The private key. Not readable by everyone.
    pub key: PathBuf,
}

/// `[http]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// Where HTTP is served. Default: `127.0.0.1:8080`. Never empty.
    pub listen: Vec<SocketAddr>,
    /// What people type into a browser, without a path. `/api` checks Origin and Host against it.
    /// Default: none, which means `http://` and the listen address. Needed beyond loopback.
    pub public_origin: Option<String>,
    /// What `/metrics` asks of anyone who is not on loopback, as a bearer token. Default: none,
    /// which means loopback only. From `FRONTDESK_METRICS_TOKEN` or `metrics_token_file`.
    pub metrics_token: Option<Secret>,
    /// Networks that webhooks may go to although they are not public. Default: none.
    pub webhook_networks: Vec<Network>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8080))],
            public_origin: None,
            metrics_token: None,
            webhook_networks: Vec::new(),
        }
    }
}

impl HttpConfig {
    /// The origin that browsers will send: `public_origin`, or else the first listen address.
    pub fn origin(&self) -> String {
        match (&self.public_origin, self.listen.first()) {
            (Some(origin), _) => origin.clone(),
            (None, Some(listen)) => format!("http://{}", reachable(*listen)),
            (None, None) => String::new(),
        }
    }
}

/// The address at which this machine reaches its own listener: "any" stands for loopback.
pub fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => ([127, 0, 0, 1], listen.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => {
            (std::net::Ipv6Addr::LOCALHOST, listen.port()).into()
        }
        _ => listen,
    }
}

/// `[dns]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsConfig {
    /// Servers to ask instead of the system's. Default: none, which means `/etc/resolv.conf`.
    pub servers: Vec<SocketAddr>,
    /// How long one lookup may take. Default: 5 s.
    pub timeout: Duration,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self { servers: Vec::new(), timeout: Duration::from_secs(5) }
    }
}

/// `[mail]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailConfig {
    /// The domains we answer for, the first being the main one. Default: `localhost`. Never empty.
    pub domains: Vec<String>,
    /// What becomes of mail that agents send. Default: capture.
    pub mode: Mode,
    /// Domains whose ARC seal is believed about where a forwarded mail came from. Default: none.
    pub trusted_forwarders: Vec<String>,
    /// How long the address in our Reply-To leads back to its conversation, in days. Default: 60.
    pub reply_token_days: u16,
    /// The agent that gets mail to unknown addresses. Default: none, they are refused.
    pub catch_all: Option<String>,
    /// What reviewers may approve by answering the mail that tells them of it. Default: the usual.
    pub approve_by_reply: ByReply,
}

impl Default for MailConfig {
    fn default() -> Self {
        Self {
            domains: vec![LOCAL_DOMAIN.into()],
            mode: Mode::Capture,
            trusted_forwarders: Vec::new(),
            reply_token_days: 60,
            catch_all: None,
            approve_by_reply: ByReply::default(),
        }
    }
}

/// What becomes of mail that agents send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// It is rendered, signed and written to `data/outgoing/`; nothing leaves this machine.
    Capture,
    /// It goes to the world through the mail server of `[relay]`.
    Relay,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Automatic replies in one conversation without new text from a person. Default: 3.
    pub replies_per_conversation: u32,
    /// Automatic replies to one correspondent in a day. Default: 10.
    pub replies_per_correspondent_per_day: u32,
    /// Automatic replies by one agent in a day. Default: 200.
    pub replies_per_agent_per_day: u32,
    /// Instances that unproven senders from one network (IPv4 /24, IPv6 /64) may open in a day.
    /// Default: 50.
    pub new_instances_per_network_per_day: u32,
    /// Instances that unproven senders may open with one agent in a day. Default: 1000.
    pub new_instances_per_agent_per_day: u32,
    /// Memory that messages being received share, in octets; beyond it senders get 452 and try
    /// again. Default: 256 MiB.
    pub message_memory: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            replies_per_conversation: 3,
            replies_per_correspondent_per_day: 10,
            replies_per_agent_per_day: 200,
            new_instances_per_network_per_day: 50,
            new_instances_per_agent_per_day: 1000,
            message_memory: 256 * 1024 * 1024,
        }
    }
}

/// `[[agent]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentConfig {
    /// Its name, and the local part of its signed reply addresses: at most 28 octets.
    pub name: String,
    /// The name people see beside the address. Default: the name.
    pub display_name: String,
    /// Where it can be written to. Default: its name at every mail domain. Never empty.
    pub addresses: Vec<String>,
    /// What it is: a built-in kind, or one that the program registers. Default: `receptionist`.
    pub kind: String,
    /// Who shares its state and memory. Default: contact.
    pub instance: InstancePolicy,
    /// Which of its mails wait for a person. Default: none given, and the kind decides: nothing
    /// waits for the receptionist, whose text is fixed.
    pub approval: Option<Approval>,
    /// The person who gets its notices. Default: nobody.
    pub owner: Option<String>,
    /// Receptionist only: what it answers. `{reference}`, `{subject}` and `{agent}` are filled in.
    pub reply: String,
    /// Assistant only: its instructions, model, tools and budgets.
    pub assistant: AssistantConfig,
    /// Who may talk to it in the browser. Default: staff.
    pub talk: Talk,
    /// One line that its talk page shows below its name. Default: none.
    pub about: Option<String>,
    /// What it says when a call begins; empty for nothing. Default: none given, and the kind decides.
    pub greeting: Option<String>,
    /// What hears its callers. Default: as under `[voice]`; see [`VoiceConfig::calls_of`].
    pub stt: Option<EngineName>,
    /// What speaks for it. Default: as under `[voice]`.
    pub tts: Option<EngineName>,
    /// What is spoken in its calls. Default: as under `[voice]`.
    pub language: Option<String>,
    /// Whether its calls are recorded. Default: as under `[voice]`.
    pub record: Option<bool>,
}

impl AgentConfig {
    /// The agent that is there when no `[[agent]]` is given.
    pub fn hello(domains: &[String]) -> Self {
        Self {
            addresses: domains.iter().map(|domain| format!("hello@{domain}")).collect(),
            ..Self::receptionist("hello")
        }
    }

    /// An agent of a kind the program brings along, under the kind's own name.
    pub fn of_kind(kind: &str, domains: &[String]) -> Self {
        Self {
            addresses: domains.iter().map(|domain| format!("{kind}@{domain}")).collect(),
            kind: kind.into(),
            ..Self::receptionist(kind)
        }
    }

    /// The same for a kind that the configuration has to know more of.
    pub fn of_own(own: &OwnKind, domains: &[String]) -> Self {
        Self { approval: own.approval, ..Self::of_kind(&own.name, domains) }
    }

    /// What is reviewed of its mail: all of an assistant's. Agents written as code say what their author made them say;
    /// `approval` in the file puts a person before them.
    pub fn effective_approval(&self) -> Approval {
        let usual = if self.kind == ASSISTANT { Approval::All } else { Approval::None };
        self.approval.unwrap_or(usual)
    }

    /// A receptionist with every setting but the addresses, of which it has none.
    pub(crate) fn receptionist(name: &str) -> Self {
        Self {
            name: name.into(),
            display_name: name.into(),
            addresses: Vec::new(),
            kind: RECEPTIONIST.into(),
            instance: InstancePolicy::Contact,
            approval: None,
            owner: None,
            reply: RECEPTIONIST_REPLY.into(),
            assistant: AssistantConfig::default(),
            talk: Talk::Staff,
            about: None,
            greeting: None,
            stt: None,
            tts: None,
            language: None,
            record: None,
        }
    }
}

/// The built-in kind that acknowledges mail and files it for a person.
pub const RECEPTIONIST: &str = "receptionist";

/// The built-in kind that answers with a language model.
pub const ASSISTANT: &str = "assistant";

/// The built-in kind that writes down what is said in a call.
pub const DICTATION: &str = "dictation";

/// What the receptionist answers unless told otherwise.
pub const RECEPTIONIST_REPLY: &str = "\
Thank you for writing. Your message has arrived and a person will read it.

Your reference is {reference}. To add something, just answer this mail.
";

/// The words in braces that `reply` may use.
pub const REPLY_PLACEHOLDERS: [&str; 3] = ["reference", "subject", "agent"];

impl Default for Config {
    fn default() -> Self {
        let mail = MailConfig::default();
        Self {
            server: ServerConfig::default(),
            smtp: SmtpConfig::default(),
            http: HttpConfig::default(),
            dns: DnsConfig::default(),
            limits: Limits::default(),
            voice: VoiceConfig::default(),
            relay: None,
            models: ModelsConfig::default(),
            mcp: BTreeMap::new(),
            agents: vec![AgentConfig::hello(&mail.domains)],
            mail,
        }
    }
}

/// A secret from the environment or a file. Its text does not reach `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself, for the one place that compares or sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
