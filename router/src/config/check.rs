//! What no single value is to blame for: settings that do not go together.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;

use super::error::At;
use super::quantity::show_size;
use super::read::Places;
use super::settings::{Config, LOCAL_DOMAIN, Mode};
use super::suggest::nearest;
use super::walk::Report;

pub(super) fn together(report: &Report<'_>, config: &Config, places: &Places) {
    listeners(report, places);
    exposure(report, config, places);
    message_memory(report, config, places);
    agents(report, config, places);
    catch_all(report, config, places);
    relay(report, config, places);
}

/// What is sent can leave, and be answered.
fn relay(report: &Report<'_>, config: &Config, places: &Places) {
    let (Mode::Relay, Some(mode)) = (config.mail.mode, &places.mode) else { return };
    if config.relay.is_none() && !places.relay_named {
        report.problem(
            mode,
            "`mode` is relay, and no relay is named. Write a section [relay] with its host.",
        );
    }
    if config.mail.domains == [LOCAL_DOMAIN] && !places.domains_unsure {
        report.problem(
            mode,
            "`mode` is relay, and the only domain is localhost, which nobody can answer. Name yours in \
             `domains`.",
        );
    }
}

/// No address and port is wanted twice.
fn listeners(report: &Report<'_>, places: &Places) {
    let ours = |name, list: &'_ [At<SocketAddr>]| -> Vec<(&'static str, At<SocketAddr>)> {
        list.iter().map(|at| (name, at.clone())).collect()
    };
    let mut taken = ours("[smtp]", &places.smtp_listen);
    taken.extend(ours("[http]", &places.http_listen));
    let defaults = Config::default();
    let implied = [
        ("[smtp]", &places.smtp_listen, &defaults.smtp.listen),
        ("[http]", &places.http_listen, &defaults.http.listen),
    ];
    for (name, written, default) in implied {
        if written.is_empty() {
            taken.extend(default.iter().map(|listen| (name, At::new(*listen, 0..0))));
        }
    }
    for (index, (section, at)) in taken.iter().enumerate() {
        let earlier = taken[..index].iter().find(|(_, other)| clash(at.value, other.value));
        let Some((other_section, other)) = earlier else { continue };
        // A default has no place; the clash is then told at the address that is written.
        let (at, other, other_section) =
            if at.span.is_empty() { (other, at, section) } else { (at, other, other_section) };
        let default = if other.span.is_empty() { ", its default" } else { "" };
        report.problem(
            &at.span,
            format!(
                "`listen` {} clashes with {} of {other_section}{default}. Give one of them another \
                 port, or leave one out.",
                at.value, other.value
            ),
        );
    }
}

/// Whether the system would refuse to bind both. Port 0 means "any free one". `[::]` takes the
/// IPv4 addresses along, as Linux has it by default.
fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |any: SocketAddr, other: SocketAddr| {
        any.ip().is_unspecified() && (any.is_ipv6() || other.is_ipv4())
    };
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || covers(a, b) || covers(b, a))
}

/// Nothing is open to other machines by accident, or under a name that nobody else can use.
fn exposure(report: &Report<'_>, config: &Config, places: &Places) {
    let only_local = config.mail.domains.iter().all(|domain| domain == LOCAL_DOMAIN);
    let only_local = only_local && !places.domains_unsure;
    for At { value: listen, span } in &places.smtp_listen {
        if listen.ip().is_loopback() {
            continue;
        }
        if only_local {
            report.problem(
                span,
                format!(
                    "`listen` {listen} is open to other machines, but the only domain is \
                     localhost. Name your domain: [mail] domains = [\"example.org\"]."
                ),
            );
        } else if !config.smtp.public && places.public.is_none() {
            report.problem(
                span,
                format!(
                    "`listen` {listen} is open to other machines. If you mean that, write \
                     public = true under [smtp]; if not, listen on 127.0.0.1:{}.",
                    listen.port()
                ),
            );
        } else if !config.smtp.public {
            report.problem(
                span,
                format!("`listen` {listen} is open to other machines, but `public` is false."),
            );
        }
    }
    if let (true, Some(public), true) = (config.smtp.public, &places.public, only_local) {
        report.problem(
            public,
            "`public` is true, but the only domain is localhost. Name your domain: \
             [mail] domains = [\"example.org\"].",
        );
    }
    for At { value: listen, span } in &places.http_listen {
        if !listen.ip().is_loopback() && config.http.public_origin.is_none() {
            report.problem(
                span,
                format!(
                    "`listen` {listen} is open to other machines. Say what they type to get here: \
                     public_origin = \"https://desk.example.org\"."
                ),
            );
        }
    }
}

/// The largest message allowed must fit the memory that messages share.
fn message_memory(report: &Report<'_>, config: &Config, places: &Places) {
    let (size, memory) = (config.smtp.max_message_size, config.limits.message_memory);
    let Some(span) = places.message_memory.as_ref().or(places.max_message_size.as_ref()) else {
        return;
    };
    if size > memory {
        report.problem(
            span,
            format!(
                "`message_memory` is {}, less than `max_message_size`, {}: such a message would \
                 never be taken. Make it at least as large.",
                show_size(memory),
                show_size(size)
            ),
        );
    }
}

/// One name and one address belong to one agent, in a domain that we answer for.
fn agents(report: &Report<'_>, config: &Config, places: &Places) {
    let mut names: HashMap<&str, usize> = HashMap::new();
    let mut owners: HashMap<&str, &str> = HashMap::new();
    let all_names: Vec<&str> = config.agents.iter().map(|agent| agent.name.as_str()).collect();
    for (index, (agent, at)) in config.agents.iter().zip(&places.agents).enumerate() {
        if names.insert(&agent.name, index).is_some() {
            report.problem(
                &at.name,
                format!("there are two agents named {}. Rename one.", agent.name),
            );
            continue;
        }
        for (position, address) in agent.addresses.iter().enumerate() {
            let span = at.addresses.get(position).unwrap_or(&at.name);
            let taken = owners.insert(address, &agent.name);
            address_of_one(report, span, address, &agent.name, taken, &all_names);
            unlisted_domain(report, span, address, config, places);
        }
        if let (Some(owner), Some(span)) = (&agent.owner, &at.owner)
            && agent.addresses.contains(owner)
        {
            report.problem(
                span,
                format!(
                    "`owner` is the agent's own address, {owner}. Write a person's, who reads it."
                ),
            );
        }
    }
}

fn address_of_one(
    report: &Report<'_>,
    span: &Range<usize>,
    address: &str,
    agent: &str,
    taken: Option<&str>,
    names: &[&str],
) {
    let local = address.split_once('@').map_or(address, |(local, _)| local);
    match taken {
        Some(other) if other == agent => {
            report.problem(span, format!("{address} is listed twice."));
        }
        Some(other) => report.problem(
            span,
            format!("{address} already belongs to agent {other}. An address has one agent."),
        ),
        // Signed reply addresses begin with the agent's name, so another agent may not use it.
        None if local != agent && names.contains(&local) => report.problem(
            span,
            format!(
                "{address} begins with the name of agent {local}, whose signed reply addresses \
                 look like {local}+r…. Give it to that agent, or rename one."
            ),
        ),
        None => {}
    }
}

fn unlisted_domain(
    report: &Report<'_>,
    span: &Range<usize>,
    address: &str,
    config: &Config,
    places: &Places,
) {
    let Some((_, domain)) = address.split_once('@') else { return };
    let domains = &config.mail.domains;
    if places.domains_unsure || domains.iter().any(|listed| listed == domain) {
        return;
    }
    let fix = match nearest(domain, domains.iter().map(String::as_str)) {
        Some(near) => format!("Did you mean {near}?"),
        None => {
            let mut all = domains.clone();
            all.retain(|listed| listed != LOCAL_DOMAIN);
            all.push(domain.to_owned());
            format!("Add it: [mail] domains = {all:?}.")
        }
    };
    report.problem(span, format!("{address} lies in a domain we do not answer for. {fix}"));
}

fn catch_all(report: &Report<'_>, config: &Config, places: &Places) {
    let (Some(name), Some(span)) = (&config.mail.catch_all, &places.catch_all) else { return };
    let names = || config.agents.iter().map(|agent| agent.name.as_str());
    if names().any(|agent| agent == name) {
        return;
    }
    let fix = match nearest(name, names()) {
        Some(near) => format!("Did you mean \"{near}\"?"),
        None => "Write the name of a [[agent]].".into(),
    };
    report.problem(span, format!("`catch_all`: there is no agent named \"{name}\". {fix}"));
}
