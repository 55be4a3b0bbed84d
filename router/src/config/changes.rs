//! What is different between two configurations, and what of it can be changed while the server runs.

use super::{
    AgentConfig, AssistantConfig, Config, DnsConfig, HttpConfig, Limits, MailConfig, ServerConfig,
    SmtpConfig,
};

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// As an operator finds it: `[smtp] listen`, `agent support: instructions`.
    pub what: String,
    /// Whether it takes effect at once. What does not needs a restart.
    pub live: bool,
}

/// Compares the named keys of two structs. Names every field, so that a new one is not forgotten here.
macro_rules! compare {
    ($found:expr, $before:expr, $type:ident { $($key:ident: $live:expr),* $(,)? } of $old:expr, $new:expr) => {{
        let $type { $($key),* } = $old;
        $(if *$key != $new.$key {
            let what = format!("{}{}", $before, stringify!($key));
            $found.push(Difference { what, live: $live });
        })*
    }};
}

/// Everything that is different, in the order of the file.
pub fn differences(old: &Config, new: &Config) -> Vec<Difference> {
    let mut found = Vec::new();
    let Config { server, smtp, http, dns, mail, relay, limits, voice, models, mcp, agents } = old;
    compare!(found, "[server] ", ServerConfig {
        hostname: false, data: false, log_format: false, log_level: false, shutdown_grace: false,
    } of server, new.server);
    compare!(found, "[smtp] ", SmtpConfig {
        listen: false, public: false, tls: false, max_message_size: false, max_recipients: false,
        max_connections: false, max_connections_per_ip: false, max_connections_per_network: false,
        connections_per_minute_per_ip: false, messages_per_minute_per_ip: false, idle_timeout: false,
        session_timeout: false, data_timeout: false, min_bytes_per_second: false, max_errors: false,
        max_unknown_recipients: false,
    } of smtp, new.smtp);
    compare!(found, "[http] ", HttpConfig {
        listen: false, public_origin: false, metrics_token: false, webhook_networks: false,
    } of http, new.http);
    compare!(found, "[dns] ", DnsConfig { servers: false, timeout: false } of dns, new.dns);
    compare!(found, "[mail] ", MailConfig {
        domains: true, mode: false, trusted_forwarders: true, reply_token_days: true, catch_all: true,
        approve_by_reply: true,
    } of mail, new.mail);
    compare!(found, "[limits] ", Limits {
        replies_per_conversation: true, replies_per_correspondent_per_day: true,
        replies_per_agent_per_day: true, new_instances_per_network_per_day: true,
        new_instances_per_agent_per_day: true, message_memory: false,
    } of limits, new.limits);
    if *relay != new.relay {
        found.push(Difference { what: "[relay]".into(), live: false });
    }
    // Engines are loaded once and shared by the calls.
    if *voice != new.voice {
        found.push(Difference { what: "[voice]".into(), live: false });
    }
    if *models != new.models {
        found.push(Difference { what: "[models]".into(), live: true });
    }
    if *mcp != new.mcp {
        found.push(Difference { what: "[mcp]".into(), live: true });
    }
    for agent in agents {
        let about = |what: &str| format!("agent {}: {what}", agent.name);
        match new.agents.iter().find(|other| other.name == agent.name) {
            Some(other) => of_agent(&mut found, agent, other),
            None => found.push(Difference { what: about("gone"), live: true }),
        }
    }
    for agent in &new.agents {
        if !agents.iter().any(|other| other.name == agent.name) {
            found.push(Difference { what: format!("agent {}: new", agent.name), live: true });
        }
    }
    found
}

fn of_agent(found: &mut Vec<Difference>, old: &AgentConfig, new: &AgentConfig) {
    let before = format!("agent {}: ", old.name);
    compare!(found, before, AgentConfig {
        name: true, display_name: true, addresses: true, kind: true, instance: true, approval: true,
        owner: true, reply: true, assistant: true, talk: true, about: true, greeting: true, stt: true,
        tts: true, language: true, record: true,
    } of old, new);
    // The keys of the file say more.
    let assistant = found.iter().position(|one| one.what == format!("{before}assistant"));
    if let Some(at) = assistant {
        found.remove(at);
        compare!(found, before, AssistantConfig {
            instructions: true, models: true, tools: true, tool_approval: true, tokens_per_day: true,
            cost_per_day: true, turns_per_day: true, working_hours: true, send: true,
            answers_unproven: true, instructions_file: true, mcp: true, show_attachments: true,
        } of &old.assistant, new.assistant);
    }
}

/// What runs from now on: the new configuration, except for what needs a restart.
pub fn as_far_as_live(old: &Config, new: Config) -> Config {
    Config {
        mail: MailConfig { mode: old.mail.mode, ..new.mail },
        limits: Limits { message_memory: old.limits.message_memory, ..new.limits },
        models: new.models,
        mcp: new.mcp,
        agents: new.agents,
        ..old.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_is_named_with_whether_it_needs_a_restart() {
        let old = Config::default();
        assert_eq!(differences(&old, &old), []);
        let mut new = old.clone();
        new.smtp.listen = vec![([127, 0, 0, 1], 2526).into()];
        new.limits.replies_per_agent_per_day = 7;
        new.limits.message_memory = 1;
        new.agents[0].assistant.instructions = Some("Be brief.".into());
        new.agents[0].greeting = Some("Hello.".into());
        new.agents.push(AgentConfig { name: "sales".into(), ..new.agents[0].clone() });
        let found: Vec<_> =
            differences(&old, &new).into_iter().map(|one| (one.what, one.live)).collect();
        let expected = [
            ("[smtp] listen", false),
            ("[limits] replies_per_agent_per_day", true),
            ("[limits] message_memory", false),
            ("agent hello: greeting", true),
            ("agent hello: instructions", true),
            ("agent sales: new", true),
        ];
        assert_eq!(found, expected.map(|(what, live)| (what.to_owned(), live)));
        // What was applied is not told again; what was not is.
        let running = as_far_as_live(&old, new.clone());
        let left: Vec<_> = differences(&running, &new).into_iter().map(|one| one.what).collect();
        assert_eq!(left, ["[smtp] listen", "[limits] message_memory"]);
    }
}
