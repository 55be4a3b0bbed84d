//! `[relay]`: the mail server that takes what leaves here to the world.

use super::files::SecretKind;
use super::names;
use super::read::{Surroundings, secret};
use super::settings::Secret;
use super::walk::Section;
use std::net::IpAddr;

/// The environment variable that holds the relay's password.
const PASSWORD: &str = "FRONTDESK_RELAY_PASSWORD";

/// `[relay]`, where mode is relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelaySettings {
    /// Its name, which its certificate must have, or its address.
    pub host: String,
    /// Default: by `security`.
    pub port: u16,
    /// Default: STARTTLS.
    pub security: RelaySecurity,
    /// Name and password. Default: none.
    pub login: Option<(String, Secret)>,
    /// The only sender it lets us use. Default: an address of ours for each mail, to which its bounces come.
    pub envelope_from: Option<String>,
}

/// How the connection to the relay is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelaySecurity {
    /// STARTTLS, and nothing is sent where it is not offered (RFC 3207).
    StartTls,
    /// TLS from the first octet (RFC 8314).
    Tls,
    /// None: for a relay on this machine.
    None,
}

impl RelaySecurity {
    /// The port that relays listen on for it: submission, submissions, SMTP.
    fn port(self) -> u16 {
        match self {
            Self::StartTls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }
}

/// The relay, if one is named.
pub(super) fn relay(
    section: Section<'_, '_, '_>,
    around: &Surroundings<'_>,
) -> Option<RelaySettings> {
    let report = section.report();
    let host = section.string("host", "\"smtp.example.net\"").and_then(|at| {
        let host = at.value.trim_matches(['[', ']']);
        if host == "localhost" || host.parse::<IpAddr>().is_ok() {
            return Some(host.to_owned());
        }
        names::domain(host).map_err(|why| report.problem(&at.span, format!("`host`: {why}"))).ok()
    });
    let choices = [
        ("starttls", RelaySecurity::StartTls),
        ("tls", RelaySecurity::Tls),
        ("none", RelaySecurity::None),
    ];
    let security = section.choice("security", &choices);
    let protected = security.as_ref().map_or(RelaySecurity::StartTls, |at| at.value);
    let port = section
        .integer("port", 1..=65_535, u32::from(protected.port()))
        .and_then(|port| u16::try_from(port).ok())
        .unwrap_or(protected.port());
    let user = section.string("user", "\"desk@example.org\"");
    let example = "\"/run/secrets/relay_password\"";
    let password = secret(&section, around, "password_file", example, PASSWORD, SecretKind::Key);
    section.refuse(
        "password",
        &format!(
            "secrets do not stand in this file. Put it in {PASSWORD}, or in a file of its own and \
             write password_file = \"/path\"."
        ),
    );
    if let Some(user) = &user {
        if password.is_none() && !section.has("password") && !section.has("password_file") {
            let missing = format!(
                "`user` is there without its password. Set {PASSWORD}, or write password_file = \
                 \"/path\"."
            );
            report.problem(&user.span, missing);
        }
        let here = host.as_deref().is_some_and(is_here);
        if let Some(security) = &security
            && security.value == RelaySecurity::None
            && !here
        {
            report.problem(
                &security.span,
                "`security` is none, and the password would go out for everyone to read. Write \
                 \"starttls\" or \"tls\", or leave out the login.",
            );
        }
    } else if section.has("password_file") {
        report.problem(
            &section.value_span("password_file"),
            "`password_file` is there without `user`. Name the user.",
        );
    }
    let envelope_from = section.string("envelope_from", "\"bounces@example.org\"").and_then(|at| {
        frontdesk_smtp::render::AddrSpec::parse(&at.value)
            .map_err(|why| report.problem(&at.span, format!("`envelope_from`: {why}")))
            .ok()
            .map(|_| at.value)
    });
    section.finish(&["password"]);
    Some(RelaySettings {
        host: host?,
        port,
        security: protected,
        login: user.map(|user| user.value).zip(password),
        envelope_from,
    })
}

fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
