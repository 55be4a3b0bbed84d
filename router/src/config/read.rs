//! From sections to settings. One function per section, in the order of the file.
//!
//! Beside the settings stand the places of the values that [`check`](super::check) compares with
//! each other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use toml::de::DeTable;

use super::OwnKind;
use super::assistant;
use super::error::At;
use super::files::{self, Files, SecretKind};
use super::mcp::{self, McpServer};
use super::models::{self, ModelsConfig};
use super::names;
use super::network::Network;
use super::relay;
use frontdesk_agents::{
    admission::InstancePolicy,
    gate::{Approval, ByReply},
};

use super::settings::{
    ASSISTANT, AgentConfig, Config, DICTATION, DnsConfig, HttpConfig, Limits, LogFormat,
    MailConfig, Mode, RECEPTIONIST, REPLY_PLACEHOLDERS, Secret, ServerConfig, SmtpConfig, TlsFiles,
};
use super::suggest::nearest;
use super::voice::{self, VoiceConfig};
use super::walk::{Report, Section, or};

/// The environment variable that holds `[http]`'s metrics token.
pub(super) const METRICS_TOKEN: &str = "FRONTDESK_METRICS_TOKEN";

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// What reading a file leaves for the checks that compare one value with another.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub smtp_listen: Vec<At<SocketAddr>>,
    pub http_listen: Vec<At<SocketAddr>>,
    pub public: Option<Range<usize>>,
    pub max_message_size: Option<Range<usize>>,
    pub message_memory: Option<Range<usize>>,
    pub catch_all: Option<Range<usize>>,
    pub mode: Option<Range<usize>>,
    /// Whether a relay is named, be it wrongly.
    pub relay_named: bool,
    /// The domains could not all be read, so an address in an unlisted one proves nothing.
    pub domains_unsure: bool,
    /// As long as the list of agents.
    pub agents: Vec<AgentPlaces>,
}

/// Where an agent's values stand.
#[derive(Debug)]
pub(super) struct AgentPlaces {
    pub name: Range<usize>,
    /// As long as the addresses, unless those are the default ones.
    pub addresses: Vec<Range<usize>>,
    pub owner: Option<Range<usize>>,
}

/// What the file is read with.
pub(super) struct Surroundings<'a> {
    pub files: Files<'a>,
    pub env: &'a dyn Fn(&str) -> Option<String>,
    pub kinds: &'a [OwnKind],
}

pub(super) fn config(
    report: &Report<'_>,
    root: &DeTable<'_>,
    around: &Surroundings<'_>,
) -> (Config, Places) {
    let mut places = Places::default();
    let mail = mail(report.section(root, "mail"), &mut places);
    let server = server(report.section(root, "server"), around, &mail);
    let smtp = smtp(report.section(root, "smtp"), around, &mut places);
    let http = http(report.section(root, "http"), around, &mut places);
    let dns = dns(report.section(root, "dns"));
    let relay = report.section(root, "relay");
    places.relay_named = relay.has("host");
    let relay = relay::relay(relay, around);
    let limits = limits(report.section(root, "limits"), &mut places);
    let voice = voice::voice(report.section(root, "voice"), around);
    let models = models::models(report.section(root, "models"), around);
    let mcp = mcp::servers(report, root, around);
    let agents = agents(report, root, around, (&mail, &voice, &models, &mcp), &mut places);
    report.finish_root(root);
    (Config { server, smtp, http, dns, mail, relay, limits, voice, models, mcp, agents }, places)
}

fn server(
    section: Section<'_, '_, '_>,
    around: &Surroundings<'_>,
    mail: &MailConfig,
) -> ServerConfig {
    let default = ServerConfig::default();
    let report = section.report();
    let hostname = section.string("hostname", "\"mail.example.org\"").and_then(|at| {
        names::domain(&at.value)
            .map_err(|why| report.problem(&at.span, format!("`hostname`: {why}")))
            .ok()
    });
    let data = section.path("data", "\"data\"").map(|at| at.value).unwrap_or(default.data);
    let log_format = section
        .choice("log_format", &[("text", LogFormat::Text), ("json", LogFormat::Json)])
        .map_or(default.log_format, |at| at.value);
    let log_level = section.string("log_level", "\"info\"").and_then(|at| {
        match at.value.parse::<tracing_subscriber::filter::Targets>() {
            Ok(_) => Some(at.value),
            Err(_) => {
                report.problem(
                    &at.span,
                    format!(
                        "`log_level` cannot be \"{}\". Write error, warn, info, debug or trace, or \
                         parts with their own level: \"info,frontdesk_smtp=debug\".",
                        at.value
                    ),
                );
                None
            }
        }
    });
    let shutdown_grace = section
        .duration("shutdown_grace", seconds(0)..=seconds(600), default.shutdown_grace)
        .unwrap_or(default.shutdown_grace);
    section.finish(&[]);
    ServerConfig {
        hostname: hostname.or_else(|| mail.domains.first().cloned()).unwrap_or(default.hostname),
        data: around.files.resolve(&data),
        log_format,
        log_level: log_level.unwrap_or(default.log_level),
        shutdown_grace,
    }
}

fn smtp(
    section: Section<'_, '_, '_>,
    around: &Surroundings<'_>,
    places: &mut Places,
) -> SmtpConfig {
    let default = SmtpConfig::default();
    let listen = listen(&section, &default.listen, "\"0.0.0.0:25\"", &mut places.smtp_listen);
    let public = section.boolean("public");
    places.public = public.as_ref().map(|at| at.span.clone());
    let tls = tls(&section, around);
    let max_message_size =
        section.size("max_message_size", 64 * KIB..=GIB, default.max_message_size);
    places.max_message_size = max_message_size.as_ref().map(|at| at.span.clone());

    let count = |key, default| section.integer(key, 1..=1_000_000, default).unwrap_or(default);
    let time = |key, default| {
        section.duration(key, seconds(1)..=seconds(86_400), default).unwrap_or(default)
    };
    let smtp = SmtpConfig {
        listen,
        public: public.is_some_and(|at| at.value),
        tls,
        max_message_size: max_message_size.map_or(default.max_message_size, |at| at.value),
        max_recipients: count("max_recipients", default.max_recipients),
        max_connections: count("max_connections", default.max_connections),
        max_connections_per_ip: count("max_connections_per_ip", default.max_connections_per_ip),
        max_connections_per_network: count(
            "max_connections_per_network",
            default.max_connections_per_network,
        ),
        connections_per_minute_per_ip: count(
            "connections_per_minute_per_ip",
            default.connections_per_minute_per_ip,
        ),
        messages_per_minute_per_ip: count(
            "messages_per_minute_per_ip",
            default.messages_per_minute_per_ip,
        ),
        idle_timeout: time("idle_timeout", default.idle_timeout),
        session_timeout: time("session_timeout", default.session_timeout),
        data_timeout: time("data_timeout", default.data_timeout),
        min_bytes_per_second: count("min_bytes_per_second", default.min_bytes_per_second),
        max_errors: count("max_errors", default.max_errors),
        max_unknown_recipients: count("max_unknown_recipients", default.max_unknown_recipients),
    };
    section.finish(&[]);
    smtp
}

fn tls(section: &Section<'_, '_, '_>, around: &Surroundings<'_>) -> Option<TlsFiles> {
    let report = section.report();
    let cert = section.path("tls_cert_file", "\"/etc/frontdesk/tls.crt\"");
    let key = section.path("tls_key_file", "\"/etc/frontdesk/tls.key\"");
    match (&cert, &key) {
        (Some(cert), None) if report.is_toml() => {
            report.problem(&cert.span, "`tls_cert_file` needs `tls_key_file` beside it.");
        }
        (None, Some(key)) if report.is_toml() => {
            report.problem(&key.span, "`tls_key_file` needs `tls_cert_file` beside it.");
        }
        _ => {}
    }
    let cert = cert.map(|cert| around.files.readable(report, "tls_cert_file", &cert));
    let key = key.map(|key| around.files.private(report, "tls_key_file", &key));
    Some(TlsFiles { cert: cert?, key: key? })
}

fn http(
    section: Section<'_, '_, '_>,
    around: &Surroundings<'_>,
    places: &mut Places,
) -> HttpConfig {
    let default = HttpConfig::default();
    let report = section.report();
    let listen = listen(&section, &default.listen, "\"0.0.0.0:8080\"", &mut places.http_listen);
    let public_origin =
        section.string("public_origin", "\"https://desk.example.org\"").and_then(|at| {
            names::origin(&at.value)
                .map_err(|why| report.problem(&at.span, format!("`public_origin`: {why}")))
                .ok()
        });
    let metrics_token = secret(
        &section,
        around,
        "metrics_token_file",
        "\"/run/secrets/metrics_token\"",
        METRICS_TOKEN,
        SecretKind::Token,
    );
    let webhook_networks = section
        .strings("webhook_networks", "[\"10.0.0.0/8\"]")
        .into_iter()
        .flatten()
        .filter_map(|at| {
            let network = Network::parse(&at.value);
            if network.is_none() {
                let why = format!(
                    "`webhook_networks`: \"{}\" is not a network. Write one like \"10.0.0.0/8\".",
                    at.value
                );
                report.problem(&at.span, why);
            }
            network
        })
        .collect();
    section.refuse(
        "metrics_token",
        &format!(
            "secrets do not stand in this file. Put it in {METRICS_TOKEN}, or in a file of its own \
             and write metrics_token_file = \"/path\"."
        ),
    );
    section.finish(&["metrics_token"]);
    HttpConfig { listen, public_origin, metrics_token, webhook_networks }
}

/// A secret from a file of its own or from the environment.
pub(super) fn secret(
    section: &Section<'_, '_, '_>,
    around: &Surroundings<'_>,
    file_key: &'static str,
    example: &str,
    variable: &str,
    kind: SecretKind,
) -> Option<Secret> {
    let report = section.report();
    let file = section.path(file_key, example);
    let from_file = file.as_ref().and_then(|at| around.files.secret(report, file_key, at, kind));
    let from_environment = (around.env)(variable).filter(|text| !text.is_empty());
    let from_environment = match (from_environment, &file) {
        (Some(_), Some(file)) => {
            report.problem(
                &file.span,
                format!("`{file_key}` and {variable} are both set. Keep one."),
            );
            None
        }
        (Some(text), None) => files::secret(&text, kind)
            .map_err(|why| report.problem_outside(format!("the secret in {variable} {why}")))
            .ok(),
        (None, _) => None,
    };
    from_file.or(from_environment)
}

fn dns(section: Section<'_, '_, '_>) -> DnsConfig {
    let default = DnsConfig::default();
    let servers = section.sockets("servers", Some(53), "\"127.0.0.1:53\"").unwrap_or_default();
    let timeout = section
        .duration("timeout", Duration::from_millis(100)..=seconds(60), default.timeout)
        .unwrap_or(default.timeout);
    section.finish(&[]);
    DnsConfig { servers: servers.into_iter().map(|at| at.value).collect(), timeout }
}

fn mail(section: Section<'_, '_, '_>, places: &mut Places) -> MailConfig {
    let default = MailConfig::default();
    let report = section.report();
    places.domains_unsure = !report.is_toml();
    let mut domains: Vec<String> = Vec::new();
    match section.strings("domains", "[\"example.org\"]") {
        Some(_) if section.is_empty_list("domains") => {
            places.domains_unsure = true;
            report.problem(
                &section.value_span("domains"),
                "`domains` is empty. Name at least one, or leave the key out for localhost.",
            );
        }
        Some(listed) => {
            for at in listed {
                match names::domain(&at.value) {
                    Ok(domain) if domains.contains(&domain) => {
                        report.problem(&at.span, format!("`domains` names {domain} twice."));
                    }
                    Ok(domain) => domains.push(domain),
                    Err(why) => {
                        places.domains_unsure = true;
                        report.problem(&at.span, format!("`domains`: {why}"));
                    }
                }
            }
        }
        None => places.domains_unsure |= section.has("domains"),
    }
    if domains.is_empty() {
        domains = default.domains;
    }
    places.mode = section.has("mode").then(|| section.value_span("mode"));
    let mode = mode(&section).unwrap_or(default.mode);
    let trusted_forwarders = section
        .strings("trusted_forwarders", "[\"forwarder.example\"]")
        .unwrap_or_default()
        .into_iter()
        .filter_map(|at| {
            names::domain(&at.value)
                .map_err(|why| report.problem(&at.span, format!("`trusted_forwarders`: {why}")))
                .ok()
        })
        .collect();
    let days = u32::from(default.reply_token_days);
    let reply_token_days = section
        .integer("reply_token_days", 1..=3650, days)
        .and_then(|days| u16::try_from(days).ok())
        .unwrap_or(default.reply_token_days);
    let catch_all = section.string("catch_all", "\"hello\"");
    places.catch_all = catch_all.as_ref().map(|at| at.span.clone());
    let choices = [
        ("usual", ByReply::Usual),
        ("everything", ByReply::Everything),
        ("nothing", ByReply::Nothing),
    ];
    let by_reply = section.choice("approve_by_reply", &choices);
    section.finish(&[]);
    MailConfig {
        domains,
        mode,
        trusted_forwarders,
        reply_token_days,
        catch_all: catch_all.map(|at| at.value.to_ascii_lowercase()),
        approve_by_reply: by_reply.map_or(default.approve_by_reply, |at| at.value),
    }
}

fn mode(section: &Section<'_, '_, '_>) -> Option<Mode> {
    let choices =
        [("capture", Some(Mode::Capture)), ("relay", Some(Mode::Relay)), ("direct", None)];
    let chosen = section.choice("mode", &choices)?;
    if chosen.value.is_none() {
        section.report().problem(
            &chosen.span,
            "`mode`: finding the way to other servers by itself is not in this version yet. Write mode = \
             \"relay\" and name a mail server that does under [relay], or mode = \"capture\", which \
             keeps what would be sent in data/outgoing.",
        );
    }
    chosen.value
}

fn limits(section: Section<'_, '_, '_>, places: &mut Places) -> Limits {
    let default = Limits::default();
    let count = |key, default| section.integer(key, 0..=1_000_000, default).unwrap_or(default);
    let memory = section.size("message_memory", MIB..=1024 * GIB, default.message_memory);
    places.message_memory = memory.as_ref().map(|at| at.span.clone());
    let limits = Limits {
        replies_per_conversation: count(
            "replies_per_conversation",
            default.replies_per_conversation,
        ),
        replies_per_correspondent_per_day: count(
            "replies_per_correspondent_per_day",
            default.replies_per_correspondent_per_day,
        ),
        replies_per_agent_per_day: count(
            "replies_per_agent_per_day",
            default.replies_per_agent_per_day,
        ),
        new_instances_per_network_per_day: count(
            "new_instances_per_network_per_day",
            default.new_instances_per_network_per_day,
        ),
        new_instances_per_agent_per_day: count(
            "new_instances_per_agent_per_day",
            default.new_instances_per_agent_per_day,
        ),
        message_memory: memory.map_or(default.message_memory, |at| at.value),
    };
    section.finish(&[]);
    limits
}

/// What agents are read beside.
type Others<'a> =
    (&'a MailConfig, &'a VoiceConfig, &'a ModelsConfig, &'a BTreeMap<String, McpServer>);

fn agents(
    report: &Report<'_>,
    root: &DeTable<'_>,
    around: &Surroundings<'_>,
    (mail, voice, models, mcp): Others<'_>,
    places: &mut Places,
) -> Vec<AgentConfig> {
    let sections = report.sections(root, "agent");
    if sections.is_empty() {
        places.agents.push(AgentPlaces { name: 0..0, addresses: Vec::new(), owner: None });
        return vec![AgentConfig::hello(&mail.domains)];
    }
    let read = |section| agent(section, around, (mail, voice, models, mcp), places);
    sections.into_iter().filter_map(read).collect()
}

/// An agent with all that could be read of it; none without a usable name.
fn agent(
    section: Section<'_, '_, '_>,
    around: &Surroundings<'_>,
    (mail, voice, models, mcp): Others<'_>,
    places: &mut Places,
) -> Option<AgentConfig> {
    let report = section.report();
    let written = section.string("name", "\"support\"");
    if written.is_none() && !section.has("name") && report.is_toml() {
        report.problem(&section.span(), "this [[agent]] has no name. Write name = \"support\".");
    }
    let name = written.as_ref().and_then(|at| {
        names::agent_name(&at.value).map_err(|why| report.problem(&at.span, why)).ok()
    });

    let display_name = section.string("display_name", "\"Support desk\"").and_then(|at| {
        if at.value.chars().any(char::is_control) {
            report.problem(&at.span, "`display_name` has a line break or control character in it.");
            return None;
        }
        Some(at.value)
    });
    let addresses = addresses(&section);
    let kind = kind(&section, around);
    let instance = section
        .choice(
            "instance",
            &[
                ("contact", InstancePolicy::Contact),
                ("shared", InstancePolicy::Shared),
                ("conversation", InstancePolicy::Conversation),
                ("tag", InstancePolicy::Tag),
            ],
        )
        .map(|at| at.value);
    let approval = section
        .choice(
            "approval",
            &[("all", Approval::All), ("unknown", Approval::Unknown), ("none", Approval::None)],
        )
        .map(|at| at.value);
    let owner = section.string("owner", "\"me@example.org\"").and_then(|at| {
        match names::address(&at.value) {
            Ok((local, domain)) => Some(At::new(format!("{local}@{domain}"), at.span)),
            Err(why) => {
                report.problem(&at.span, format!("`owner`: {why}"));
                None
            }
        }
    });
    let reply = reply(&section, &kind);
    let assistant = assistant::assistant(&section, around, kind.as_deref(), (models, mcp));
    let calls = voice::agent_calls(&section, voice);
    section.finish(&[]);

    let name = name?;
    let default = AgentConfig::receptionist(&name);
    let (addresses, address_places) = addresses.unwrap_or_else(|| {
        (mail.domains.iter().map(|domain| format!("{name}@{domain}")).collect(), Vec::new())
    });
    places.agents.push(AgentPlaces {
        name: written.as_ref().map_or(0..0, |at| at.span.clone()),
        addresses: address_places,
        owner: owner.as_ref().map(|at| at.span.clone()),
    });
    Some(AgentConfig {
        display_name: display_name
            .or_else(|| written.map(|at| at.value))
            .unwrap_or(default.display_name),
        addresses,
        instance: instance.unwrap_or(default.instance),
        approval: approval.or_else(|| own_kind(around, kind.as_deref())?.approval),
        kind: kind.unwrap_or(default.kind),
        owner: owner.map(|at| at.value),
        reply: reply.unwrap_or(default.reply),
        assistant,
        talk: calls.talk.unwrap_or(default.talk),
        about: calls.about,
        greeting: calls.greeting,
        stt: calls.stt,
        tts: calls.tts,
        language: calls.language,
        record: calls.record,
        name,
    })
}

/// The addresses as far as they can be read, with their places. None if the key is not there.
fn addresses(section: &Section<'_, '_, '_>) -> Option<(Vec<String>, Vec<Range<usize>>)> {
    let report = section.report();
    let listed = section.strings("addresses", "[\"support@example.org\"]")?;
    if section.is_empty_list("addresses") {
        report.problem(
            &section.value_span("addresses"),
            "`addresses` is empty. Name at least one, or leave the key out for the agent's name at \
             every domain.",
        );
    }
    let mut addresses = Vec::new();
    let mut places = Vec::new();
    for at in listed {
        match names::agent_address(&at.value) {
            Ok((local, domain)) => {
                addresses.push(format!("{local}@{domain}"));
                places.push(at.span);
            }
            Err(why) => report.problem(&at.span, format!("`addresses`: {why}")),
        }
    }
    Some((addresses, places))
}

fn kind(section: &Section<'_, '_, '_>, around: &Surroundings<'_>) -> Option<String> {
    let at = section.string("kind", "\"receptionist\"")?;
    let known = || {
        [RECEPTIONIST, ASSISTANT, DICTATION]
            .into_iter()
            .chain(around.kinds.iter().map(|own| own.name.as_str()))
    };
    if known().any(|kind| kind == at.value) {
        return Some(at.value);
    }
    let fix = match nearest(&at.value, known()) {
        Some(near) => format!("Did you mean \"{near}\"?"),
        None => {
            let kinds: Vec<_> = known().map(|kind| format!("\"{kind}\"")).collect();
            format!("This program has {}.", or(&kinds))
        }
    };
    section.report().problem(&at.span, format!("`kind` cannot be \"{}\". {fix}", at.value));
    None
}

/// The program's own kind of this name.
pub(super) fn own_kind<'a>(around: &Surroundings<'a>, kind: Option<&str>) -> Option<&'a OwnKind> {
    around.kinds.iter().find(|own| Some(own.name.as_str()) == kind)
}

fn reply(section: &Section<'_, '_, '_>, kind: &Option<String>) -> Option<String> {
    let report = section.report();
    let at = section.string("reply", "\"Thank you, your reference is {reference}.\"")?;
    if kind.as_deref().is_some_and(|kind| kind != RECEPTIONIST) {
        report.problem(&at.span, "`reply` is the receptionist's text; this agent is another kind.");
    }
    if at.value.trim().is_empty() {
        report.problem(&at.span, "`reply` is empty. Write a text, or leave the key out.");
        return None;
    }
    let known: Vec<_> = REPLY_PLACEHOLDERS.iter().map(|name| format!("{{{name}}}")).collect();
    let mut rest = at.value.as_str();
    while let Some((_, after)) = rest.split_once('{') {
        let name = after.split_once('}').map(|(name, _)| name);
        if name.is_none_or(|name| !REPLY_PLACEHOLDERS.contains(&name)) {
            let shown = name.map_or("{".into(), |name| format!("{{{name}}}"));
            report.problem(
                &at.span,
                format!("`reply` has {shown}, which nothing fills in. Use {}.", or(&known)),
            );
        }
        rest = after;
    }
    Some(at.value)
}

/// A list of listen addresses; never empty.
fn listen(
    section: &Section<'_, '_, '_>,
    default: &[SocketAddr],
    example: &str,
    places: &mut Vec<At<SocketAddr>>,
) -> Vec<SocketAddr> {
    let Some(found) = section.sockets("listen", None, example) else { return default.to_vec() };
    if section.is_empty_list("listen") {
        section.report().problem(
            &section.value_span("listen"),
            format!("`listen` is empty. Write at least one address, such as {example}."),
        );
    }
    let listen = found.iter().map(|at| at.value).collect();
    *places = found;
    listen
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
