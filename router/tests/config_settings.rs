//! A good config, read into settings, and the example that documents every key.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use frontdesk_agents::{admission::InstancePolicy, gate::Approval};
use frontdesk_router::config::{
    AgentConfig, Config, ConfigErrors, LogFormat, known_keys, reachable,
};

const EXAMPLE: &str = include_str!("../../frontdesk.example.toml");

fn parse(text: &str, kinds: &[&str]) -> Result<Config, ConfigErrors> {
    Config::parse(text, Path::new("frontdesk.toml"), Path::new(""), kinds, &|_| None)
}

#[test]
fn the_example_is_the_defaults() {
    assert_eq!(parse(EXAMPLE, &[]), Ok(Config::default()));
}

#[test]
fn the_example_shows_every_key_under_its_section() {
    let mut section = String::new();
    let mut shown = Vec::new();
    for line in EXAMPLE.lines() {
        // A key that has no default, or a second agent, is shown as `#key = value`.
        let line = line.strip_prefix('#').unwrap_or(line);
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']).to_owned();
        } else if let Some((key, _)) = line.split_once(" = ")
            && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        {
            shown.push((section.clone(), key.to_owned()));
        }
    }
    let known = known_keys();
    assert!(known.len() > 35, "only {} keys are known", known.len());
    for (section, key) in known {
        assert!(
            shown.contains(&(section.to_owned(), key.to_owned())),
            "`{key}` of [{section}] is not in frontdesk.example.toml"
        );
    }
}

#[test]
fn the_keys_that_the_example_comments_out_exist_and_have_good_values() {
    let uncommented: String = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if !key.starts_with([' ', '#']) => format!("{key}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let problems = match parse(&uncommented, &[]) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.problems,
    };
    // The files it names are not on this machine; nothing else may be wrong.
    let others: Vec<_> =
        problems.iter().filter(|problem| !problem.message.contains("there is no file")).collect();
    assert!(others.is_empty(), "{others:#?}");
    assert!(uncommented.matches("tls_key_file = ").count() == 1, "nothing was uncommented");
}

#[test]
fn a_full_config_reads_as_it_says() {
    let config = parse(
        r#"
        [server]
        hostname = "MX.Example.org"
        data = "/srv/desk"
        log_format = "json"
        log_level = "info,frontdesk_smtp=debug"
        shutdown_grace = "30s"

        [smtp]
        listen = ["[::]:25", "127.0.0.1:2525"]
        public = true
        max_message_size = "20 MiB"
        idle_timeout = "90s"

        [http]
        listen = ["0.0.0.0:8080"]
        public_origin = "https://desk.example.org"

        [dns]
        servers = ["127.0.0.1:5353", "9.9.9.9"]

        [mail]
        domains = ["example.org", "bücher.example"]
        trusted_forwarders = ["Google.com"]
        reply_token_days = 30
        catch_all = "Support"

        [[agent]]
        name = "Support"
        addresses = ["Help@Example.org", "support@example.org"]
        instance = "conversation"
        approval = "unknown"
        owner = "me@elsewhere.example"

        [[agent]]
        name = "sales"
        kind = "seller"
        display_name = "Sales team"
        "#,
        &["seller"],
    )
    .unwrap();

    assert_eq!(config.server.hostname, "mx.example.org");
    assert_eq!(config.server.log_format, LogFormat::Json);
    assert_eq!(config.server.shutdown_grace, Duration::from_secs(30));
    assert_eq!(config.smtp.listen.len(), 2);
    assert_eq!(config.smtp.max_message_size, 20 * 1024 * 1024);
    assert_eq!(config.smtp.idle_timeout, Duration::from_secs(90));
    assert_eq!(config.smtp.max_recipients, 100);
    assert_eq!(config.http.origin(), "https://desk.example.org");
    assert_eq!(config.dns.servers[1], "9.9.9.9:53".parse().unwrap());
    assert_eq!(config.mail.domains, ["example.org", "xn--bcher-kva.example"]);
    assert_eq!(config.mail.trusted_forwarders, ["google.com"]);
    assert_eq!(config.mail.catch_all.as_deref(), Some("support"));

    let [support, sales] = &config.agents[..] else { panic!("two agents") };
    assert_eq!((support.name.as_str(), support.display_name.as_str()), ("support", "Support"));
    assert_eq!(support.addresses, ["help@example.org", "support@example.org"]);
    assert_eq!(support.instance, InstancePolicy::Conversation);
    assert_eq!(support.approval, Some(Approval::Unknown));
    assert_eq!(support.owner.as_deref(), Some("me@elsewhere.example"));
    assert_eq!(sales.kind, "seller");
    assert_eq!(sales.addresses, ["sales@example.org", "sales@xn--bcher-kva.example"]);
    assert_eq!(sales.approval, None);
}

#[test]
fn a_config_without_agents_has_the_receptionist_at_its_domain() {
    let config = parse("[mail]\ndomains = [\"example.org\"]\n", &[]).unwrap();
    assert_eq!(config.agents, [AgentConfig::hello(&["example.org".into()])]);
    assert_eq!(config.agents[0].addresses, ["hello@example.org"]);
    assert_eq!(config.server.hostname, "example.org");
    assert_eq!(parse("agent = []\n", &[]).unwrap().agents, Config::default().agents);
}

#[test]
fn a_kind_is_known_only_where_the_program_registers_it() {
    let text = "[[agent]]\nname = \"a\"\nkind = \"seller\"\n";
    assert_eq!(parse(text, &["seller"]).unwrap().agents[0].kind, "seller");
    let error = parse(text, &["buyer"]).unwrap_err().to_string();
    assert!(error.contains("This program has \"receptionist\" or \"buyer\"."), "{error}");
}

#[test]
fn listeners_on_different_addresses_or_any_free_port_do_not_clash() {
    let text = "[smtp]\nlisten = [\"127.0.0.1:2525\", \"127.0.0.2:2525\"]\n";
    assert_eq!(parse(text, &[]).unwrap().smtp.listen.len(), 2);
    let text = "[smtp]\nlisten = [\"127.0.0.1:0\"]\n[http]\nlisten = [\"127.0.0.1:0\"]\n";
    assert!(parse(text, &[]).is_ok());
}

#[test]
fn a_machine_reaches_its_own_listener_on_any_address_by_loopback() {
    for (listen, reached) in [
        ("0.0.0.0:8080", "127.0.0.1:8080"),
        ("[::]:8080", "[::1]:8080"),
        ("192.0.2.1:80", "192.0.2.1:80"),
    ] {
        assert_eq!(reachable(listen.parse().unwrap()), reached.parse().unwrap());
    }
}
