//! `[mcp.NAME]`: servers whose tools assistants may use, over the Model Context Protocol.
//!
//! What a server says of its tools proves nothing. Unless the operator says otherwise, a call of one cannot be
//! taken back, and what it returns was written by strangers.

use super::error::At;
use super::files::SecretKind;
use super::read::{Surroundings, secret};
use super::settings::Secret;
use super::suggest::nearest;
use super::walk::{Report, Section};
use frontdesk_agents::{Trust, gate::Approval, tool::CallEffect};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeTable;

/// How long a call may take unless the server's section says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A server's name stands before those of its tools, which together have 64 characters.
const NAME_MAX: usize = 20;
/// What the sections are called where it does not matter which one is meant.
const KNOWN_AS: &str = "mcp.name";
/// What an entry of an assistant's `tools` begins with that is a server's.
pub const PREFIX: &str = "mcp:";
/// All tools of a server.
pub const ALL: &str = "*";

/// `[mcp.NAME]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McpServer {
    pub name: String,
    pub reach: Reach,
    /// What calls of its tools do. Default: what cannot be taken back.
    pub effects: BTreeMap<String, CallEffect>,
    /// How far a correspondent must be trusted. Default: by effect.
    pub least_trust: BTreeMap<String, Trust>,
    /// Whether to believe it about which of its tools only read. Default: no.
    pub trust_annotations: bool,
    /// Whether what it returns is ours: it relays nothing that strangers wrote. Default: no.
    pub trust_results: bool,
    /// How long a call may take. Default: 30 s.
    pub timeout: Duration,
    /// The same for single tools.
    pub timeouts: BTreeMap<String, Duration>,
}

/// How a server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// A program that is started and spoken to over its standard input and output.
    Program {
        command: PathBuf,
        args: Vec<String>,
        /// Its environment beyond the usual few variables.
        env: BTreeMap<String, String>,
        /// The same, not to be shown.
        secrets: BTreeMap<String, Secret>,
        /// Variables that it was to be given and that are not set here.
        unset: Vec<String>,
    },
    /// Streamable HTTP.
    Http { url: String, token: Option<Secret> },
}

/// The tools of one server that an assistant may use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct McpUse {
    /// By the server's names for them; [`ALL`] for all.
    pub tools: BTreeSet<String>,
    /// Which calls a person approves, by the same names.
    pub approval: BTreeMap<String, Approval>,
}

impl McpUse {
    /// Whether a tool may be used.
    pub fn allows(&self, tool: &str) -> bool {
        self.tools.contains(ALL) || self.tools.contains(tool)
    }

    /// Which calls of a tool a person approves, if this says so.
    pub fn approval_of(&self, tool: &str) -> Option<Approval> {
        self.approval.get(tool).or_else(|| self.approval.get(ALL)).copied()
    }
}

pub(super) fn servers(
    report: &Report<'_>,
    root: &DeTable<'_>,
    around: &Surroundings<'_>,
) -> BTreeMap<String, McpServer> {
    let mut servers = BTreeMap::new();
    // Its keys are known also where there is none.
    server(&At::new("name".to_owned(), 0..0), report.nothing(KNOWN_AS), around);
    for (name, section) in report.named_sections(root, "mcp", KNOWN_AS) {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.value.is_empty() || name.value.len() > NAME_MAX || !name.value.chars().all(fits) {
            report.problem(
                &name.span,
                format!(
                    "[mcp.{}]: a server's name has 1 to {NAME_MAX} lower-case letters, digits and hyphens, \
                     because it stands before the names of its tools.",
                    name.value
                ),
            );
        }
        let server = server(&name, section, around);
        servers.insert(name.value, server);
    }
    servers
}

fn server(name: &At<String>, section: Section<'_, '_, '_>, around: &Surroundings<'_>) -> McpServer {
    let report = section.report();
    let url = section.string("url", "\"https://tools.example.org/mcp\"").and_then(|at| {
        let web = at.value.starts_with("https://") || at.value.starts_with("http://");
        if !web || at.value.contains(char::is_whitespace) || at.value.contains('@') {
            report.problem(
                &at.span,
                "`url` must be an address with http:// or https://, without a password in it.",
            );
            return None;
        }
        Some(at)
    });
    let variable = format!("MCP_{}_TOKEN", name.value.to_ascii_uppercase().replace('-', "_"));
    let example = "\"/run/secrets/tools_token\"";
    let token = secret(&section, around, "token_file", example, &variable, SecretKind::Key);
    for inline in ["token", "api_key"] {
        section.refuse(
            inline,
            &format!(
                "secrets do not stand in this file. Put it in {variable}, or in a file of its own and write \
                 token_file = \"/path\"."
            ),
        );
    }
    let program = program(&section, around);
    let effects = effects(&section);
    let least_trust = least_trust(&section);
    let trust_annotations = section.boolean("trust_annotations").is_some_and(|at| at.value);
    let trust_results = section.boolean("trust_results").is_some_and(|at| at.value);
    let range = Duration::from_millis(100)..=Duration::from_secs(600);
    let timeout = section.duration("timeout", range.clone(), TIMEOUT).unwrap_or(TIMEOUT);
    let timeouts = section.durations("timeouts", range, "{ report = \"2m\" }");
    let (has_url, has_command) = (section.has("url"), section.has("command"));
    let (span, is_there) = (section.span(), section.is_there());
    section.finish(&["token", "api_key"]);

    let reach = match (url, program) {
        (Some(at), Some(program)) => {
            report.problem(
                &at.span,
                "`url` and `command` are both there. A server is reached one way.",
            );
            program
        }
        (Some(url), None) => Reach::Http { url: url.value, token },
        (None, Some(program)) => program,
        (None, None) => {
            if is_there && !has_url && !has_command && report.is_toml() {
                let why = format!(
                    "[mcp.{}] does not say how the server is reached. Write command = \"program\", or \
                     url = \"https://tools.example.org/mcp\".",
                    name.value
                );
                report.problem(&span, why);
            }
            // The server is there all the same, so that whoever names its tools makes no mistake.
            Reach::Http { url: String::new(), token: None }
        }
    };
    McpServer {
        name: name.value.clone(),
        reach,
        effects,
        least_trust,
        trust_annotations,
        trust_results,
        timeout,
        timeouts,
    }
}

fn program(section: &Section<'_, '_, '_>, around: &Surroundings<'_>) -> Option<Reach> {
    let report = section.report();
    let command = section.path("command", "\"/usr/local/bin/shop-tools\"");
    let args = section.strings("args", "[\"--stdio\"]").unwrap_or_default();
    let env: BTreeMap<_, _> = section
        .texts("env", "{ SHOP = \"north\" }")
        .into_iter()
        .map(|(name, at)| (name, at.value))
        .collect();
    let mut secrets = BTreeMap::new();
    for (name, at) in section.paths("env_files", "{ SHOP_KEY = \"/run/secrets/shop_key\" }") {
        if let Some(text) = around.files.secret(report, "env_files", &at, SecretKind::Key) {
            secrets.insert(name, text);
        }
    }
    let mut unset = Vec::new();
    for At { value: name, .. } in section.strings("env_from", "[\"SHOP_KEY\"]").unwrap_or_default()
    {
        match (around.env)(&name).filter(|text| !text.is_empty()) {
            Some(text) => {
                secrets.insert(name, Secret::new(text));
            }
            None => unset.push(name),
        }
    }
    let command = command?.value;
    // A bare name is looked for where the system looks for programs.
    let command =
        if command.components().count() > 1 { around.files.resolve(&command) } else { command };
    let args = args.into_iter().map(|at| at.value).collect();
    Some(Reach::Program { command, args, env, secrets, unset })
}

fn effects(section: &Section<'_, '_, '_>) -> BTreeMap<String, CallEffect> {
    words(
        section,
        "effects",
        "{ search = \"read\" }",
        &[
            ("read", CallEffect::Read),
            ("reversible", CallEffect::Reversible),
            ("final", CallEffect::Final),
        ],
    )
}

fn least_trust(section: &Section<'_, '_, '_>) -> BTreeMap<String, Trust> {
    words(
        section,
        "least_trust",
        "{ refund = \"staff\" }",
        &[
            ("unproven", Trust::Unproven),
            ("proven", Trust::Proven),
            ("known", Trust::Known),
            ("staff", Trust::Staff),
        ],
    )
}

/// One of a few words for each of some tools.
fn words<T: Copy>(
    section: &Section<'_, '_, '_>,
    key: &'static str,
    example: &str,
    allowed: &[(&str, T)],
) -> BTreeMap<String, T> {
    let mut found = BTreeMap::new();
    for (tool, word) in section.texts(key, example) {
        match allowed.iter().find(|(name, _)| *name == word.value) {
            Some((_, value)) => {
                found.insert(tool, *value);
            }
            None => {
                let names: Vec<_> = allowed.iter().map(|(name, _)| format!("\"{name}\"")).collect();
                let fix = match nearest(&word.value, allowed.iter().map(|(name, _)| *name)) {
                    Some(near) => format!("Did you mean \"{near}\"?"),
                    None => format!("Write {}.", super::walk::or(&names)),
                };
                let why = format!("`{key}` of {tool} cannot be \"{}\". {fix}", word.value);
                section.report().problem(&word.span, why);
            }
        }
    }
    found
}

/// Reads `mcp:NAME/TOOL` or `mcp:NAME/*`. `None` if it is none of these, which is reported.
pub(super) fn named<'a>(
    report: &Report<'_>,
    key: &str,
    at: &'a At<String>,
    servers: &BTreeMap<String, McpServer>,
) -> Option<(&'a str, &'a str)> {
    let written = at.value.strip_prefix(PREFIX)?;
    let parts = written.split_once('/').filter(|(_, tool)| !tool.is_empty());
    let Some((server, tool)) = parts else {
        let why = format!(
            "`{key}`: \"{}\" names no tool. Write \"{PREFIX}{written}/{ALL}\" for all of a server's tools, or \
             \"{PREFIX}{written}/search\" for one.",
            at.value
        );
        report.problem(&at.span, why);
        return None;
    };
    if !servers.contains_key(server) {
        let fix = match nearest(server, servers.keys().map(String::as_str)) {
            Some(near) => format!("Did you mean \"{PREFIX}{near}/{tool}\"?"),
            None => "Each server has a section of its own in this file.".to_owned(),
        };
        report.problem(&at.span, format!("`{key}`: there is no [mcp.{server}]. {fix}"));
        return None;
    }
    Some((server, tool))
}
