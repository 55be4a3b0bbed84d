//! `frontdesk check`: a scorecard, with the fix for each thing that is not right.
//!
//! Changes nothing. Left out so far: DNS records and ports as others see them.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use frontdesk_router::agents::tool::CallEffect;
use frontdesk_router::config::{ASSISTANT, AgentConfig, Config, LOCAL_DOMAIN, Mode, reachable};
use frontdesk_router::engines::{Job, Standing, State, standings};
use frontdesk_router::tools::standing as tools;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixStream};

use super::output::Output;
use super::{Desk, Failure, client};

/// How long a server on this machine may take to say anything.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub struct Check {
    /// Only ask the running server whether it is well: for health checks
    #[arg(long)]
    health: bool,
}

/// How one thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Good,
    /// It works, and there is something to know.
    Note,
    Bad,
}

struct Finding {
    mark: Mark,
    what: &'static str,
    detail: String,
    fix: Option<String>,
}

impl Check {
    pub(super) async fn run(
        self,
        desk: &Desk,
        file: Option<&Path>,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let findings = if self.health {
            vec![health(&desk.config).await]
        } else {
            scorecard(&desk.config, file).await
        };
        let bad = findings.iter().filter(|finding| finding.mark == Mark::Bad).count();
        if output.is_json() {
            let items: Vec<Value> = findings.iter().map(Finding::to_json).collect();
            output.value(&json!({ "ok": bad == 0, "items": items }))?;
        } else {
            for finding in &findings {
                finding.say(output)?;
            }
        }
        if bad == 0 { Ok(()) } else { Err(Failure::Told) }
    }
}

impl Finding {
    fn good(what: &'static str, detail: impl Into<String>) -> Self {
        Self { mark: Mark::Good, what, detail: detail.into(), fix: None }
    }

    fn note(what: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { mark: Mark::Note, what, detail: detail.into(), fix: Some(fix.into()) }
    }

    fn bad(what: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { mark: Mark::Bad, what, detail: detail.into(), fix: Some(fix.into()) }
    }

    fn word(&self) -> &'static str {
        match self.mark {
            Mark::Good => "ok",
            Mark::Note => "note",
            Mark::Bad => "BAD",
        }
    }

    fn say(&self, output: &mut Output) -> io::Result<()> {
        output.say(&format!("{:<4}  {:<7}  {}", self.word(), self.what, self.detail))?;
        match &self.fix {
            Some(fix) => output.say(&format!("{:15}{fix}", "")),
            None => Ok(()),
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "mark": self.word().to_lowercase(),
            "what": self.what,
            "detail": self.detail,
            "fix": self.fix,
        })
    }
}

async fn health(config: &Config) -> Finding {
    let Some(listen) = config.http.listen.first() else {
        return Finding::bad("server", "HTTP is served nowhere", "Set [http] listen.");
    };
    let address = reachable(*listen);
    let answer = tokio::time::timeout(PATIENCE, client::probe(address, "/healthz")).await;
    let fix = "Look at its log, or start it: frontdesk serve";
    match answer {
        Ok(Ok(status)) if status.is_success() => {
            Finding::good("server", format!("well, at {address}"))
        }
        Ok(Ok(status)) => Finding::bad("server", format!("{address} answers {status}"), fix),
        Ok(Err(error)) => Finding::bad("server", error.to_string(), fix),
        Err(_) => Finding::bad("server", format!("{address} does not answer"), fix),
    }
}

/// Whether an assistant's models can be asked, as far as it can be told without asking.
fn model(agent: &AgentConfig, config: &Config) -> Option<Finding> {
    if agent.kind != ASSISTANT {
        return None;
    }
    let names = frontdesk_router::assistants::names(agent, &config.models);
    Some(match config.models.open(&names) {
        Ok(_) => Finding::good("model", format!("{} asks {}", agent.name, names.join(", then "))),
        Err(error) => Finding::bad(
            "model",
            format!("{} cannot ask its model: {error}", agent.name),
            "Until then its mail waits for a person.",
        ),
    })
}

/// A server of tools, and what is wrong with how it is used.
fn server_of_tools(config: &Config, standing: &tools::Standing) -> Vec<Finding> {
    let name = &standing.server;
    let mut findings = Vec::new();
    match &standing.tools {
        Ok(has) => {
            let word = |effect| match effect {
                CallEffect::Read => "read",
                CallEffect::Reversible => "reversible",
                CallEffect::Final => "final",
            };
            let listed: Vec<_> =
                has.iter().map(|tool| format!("{} ({})", tool.name, word(tool.effect))).collect();
            let detail = format!("{name} has {}", listed.join(", "));
            findings.push(match standing.used_by.is_empty() {
                false => {
                    let users = standing.used_by.join(", ");
                    Finding::good("tools", format!("{detail}, for {users}"))
                }
                true => Finding::note(
                    "tools",
                    format!("{detail}, and no assistant uses it"),
                    format!("Name what one may use: tools = [\"usual\", \"mcp:{name}/*\"]."),
                ),
            });
        }
        Err(why) => {
            let fix = config.mcp.get(name).map(tools::Standing::fix).unwrap_or_default();
            let detail = format!("{name} cannot be used: {why}");
            findings.push(Finding::bad("tools", detail, fix));
        }
    }
    for (agent, tool, near) in &standing.missing {
        let fix = match near {
            Some(near) => format!("Did you mean \"mcp:{name}/{near}\"?"),
            None => "Take it out of `tools` and `tool_approval`.".to_owned(),
        };
        let detail = format!("{agent} names mcp:{name}/{tool}, which {name} does not have");
        findings.push(Finding::bad("tools", detail, fix));
    }
    for variable in &standing.unset {
        findings.push(Finding::note(
            "tools",
            format!("{name} is to get {variable}, which is not set here"),
            format!("Set it for the server, or take it out of `env_from` of [mcp.{name}]."),
        ));
    }
    findings
}

async fn scorecard(config: &Config, file: Option<&Path>) -> Vec<Finding> {
    let running = UnixStream::connect(config.server.control_socket()).await.is_ok();
    let mut findings = vec![config_read(file), data(&config.server.data)];
    findings.extend(config.agents.iter().map(|agent| {
        let addresses = agent.addresses.join(", ");
        Finding::good("agent", format!("{} ({}) answers {addresses}", agent.name, agent.kind))
    }));
    findings.extend(config.agents.iter().filter_map(|agent| model(agent, config)));
    for standing in tools::standings(config).await {
        findings.extend(server_of_tools(config, &standing));
    }
    findings.push(domains(config));
    findings.push(outgoing(config));
    for listen in &config.smtp.listen {
        findings.push(if running {
            smtp_answers(*listen).await
        } else {
            can_listen("smtp", *listen)
        });
    }
    findings.push(tls(config));
    findings.extend(engines(config).await);
    if running {
        findings.push(health(config).await);
    } else {
        findings.extend(config.http.listen.iter().map(|listen| can_listen("http", *listen)));
        findings.push(Finding::note("server", "not running", "Start it: frontdesk serve"));
    }
    findings
}

/// A config with mistakes does not get this far.
fn config_read(file: Option<&Path>) -> Finding {
    match file {
        Some(file) => Finding::good("config", format!("{} has no mistakes", file.display())),
        None => Finding::good("config", "no file, so the defaults apply"),
    }
}

fn data(data: &Path) -> Finding {
    let shown = data.display();
    match fs::metadata(data) {
        Ok(metadata) if !metadata.is_dir() => Finding::bad(
            "data",
            format!("{shown} is a file"),
            "Name a folder: [server] data, --data or FRONTDESK_DATA.",
        ),
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => Finding::note(
            "data",
            format!("others on this machine can look into {shown}"),
            format!("Run: chmod 700 {shown}"),
        ),
        Ok(_) => Finding::good("data", format!("in {shown}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Finding::good("data", format!("{shown} will be made at the first start"))
        }
        Err(error) => Finding::bad(
            "data",
            format!("cannot look into {shown}: {error}"),
            "Run this as the user who runs the server.",
        ),
    }
}

fn domains(config: &Config) -> Finding {
    let names = config.mail.domains.join(", ");
    if config.mail.domains.iter().all(|domain| domain == LOCAL_DOMAIN) {
        return Finding::note(
            "domain",
            "localhost: only programs on this machine can write here",
            "To be reached by others, set [mail] domains, [smtp] listen and [smtp] public.",
        );
    }
    let host = &config.server.hostname;
    Finding::note(
        "domain",
        names,
        format!(
            "Each needs an MX record that names {host}, and {host} an address that is this \
             machine's. This command does not look them up yet."
        ),
    )
}

fn outgoing(config: &Config) -> Finding {
    match &config.relay {
        Some(relay) if config.mail.mode == Mode::Relay => {
            let what = format!("leave through {} port {}", relay.host, relay.port);
            Finding::good("answers", what)
        }
        _ => Finding::note(
            "answers",
            format!("captured in {}", config.server.outgoing().display()),
            "Nothing leaves this machine. Set [mail] mode = \"relay\" and name a mail server under [relay].",
        ),
    }
}

fn tls(config: &Config) -> Finding {
    match &config.smtp.tls {
        Some(files) => Finding::good("tls", format!("STARTTLS with {}", files.cert.display())),
        None if config.smtp.public => Finding::note(
            "tls",
            "mail arrives unencrypted",
            "Set [smtp] tls_cert_file and tls_key_file to offer STARTTLS.",
        ),
        None => Finding::good("tls", "none, and none needed on this machine alone"),
    }
}

/// What hears and what speaks in calls.
async fn engines(config: &Config) -> Vec<Finding> {
    let config = config.clone();
    let found = tokio::task::spawn_blocking(move || standings(&config)).await;
    match found {
        Ok(found) => found.iter().map(engine).collect(),
        Err(error) => vec![Finding::bad(
            "calls",
            format!("the engines could not be looked at: {error}"),
            "Look at the libraries they need, and report this.",
        )],
    }
}

fn engine(standing: &Standing) -> Finding {
    let (what, does) = match standing.job {
        Job::Listen => ("stt", "hears"),
        Job::Speak => ("tts", "speaks to"),
    };
    let name = &standing.name;
    match &standing.state {
        State::Ready { note: "" } => Finding::good(what, format!("{name} {does} callers")),
        State::Ready { note } => Finding::good(what, format!("{name} {does} callers: {note}")),
        State::Lacking { what: lack, fix } => {
            let detail = match &standing.stand_in {
                Some(other) => {
                    format!("{name} cannot work: {lack}. {other}, which is basic, stands in.")
                }
                None => format!("{name} cannot work: {lack}"),
            };
            // Mail works without; outsiders who were promised a call are another matter.
            if standing.public && standing.stand_in.is_none() {
                Finding::bad(what, detail, fix.clone())
            } else {
                Finding::note(what, detail, fix.clone())
            }
        }
    }
}

async fn smtp_answers(listen: SocketAddr) -> Finding {
    let address = reachable(listen);
    let greeted = async {
        let mut stream = TcpStream::connect(address).await?;
        let mut code = [0; 3];
        stream.read_exact(&mut code).await?;
        Ok::<_, io::Error>(code)
    };
    let fix = "Look at the server's log, and at what else listens there: ss -ltnp";
    match tokio::time::timeout(PATIENCE, greeted).await {
        // RFC 5321 section 4.2: 220 when it is ready.
        Ok(Ok(code)) if &code == b"220" => Finding::good("smtp", format!("answers at {address}")),
        Ok(Ok(code)) => Finding::bad(
            "smtp",
            format!("{address} greets with {:?}", String::from_utf8_lossy(&code)),
            fix,
        ),
        Ok(Err(error)) => Finding::bad("smtp", format!("{address}: {error}"), fix),
        Err(_) => Finding::bad("smtp", format!("{address} does not greet"), fix),
    }
}

/// Whether a server could listen there now. Only asked while none of ours runs.
fn can_listen(what: &'static str, listen: SocketAddr) -> Finding {
    match TcpListener::bind(listen) {
        Ok(_) => Finding::good(what, format!("{listen} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Finding::bad(
            what,
            format!("another program listens on {listen}"),
            format!(
                "See which: ss -ltnp 'sport = :{}'. Stop it, or change [{what}] listen.",
                listen.port()
            ),
        ),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Finding::bad(
            what,
            format!("this user may not listen on {listen}"),
            "Ports below 1024 need a right: with systemd, AmbientCapabilities=CAP_NET_BIND_SERVICE.",
        ),
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => Finding::bad(
            what,
            format!("{} is not an address of this machine", listen.ip()),
            format!("See which are: ip addr. Then change [{what}] listen."),
        ),
        Err(error) => {
            Finding::bad(what, format!("cannot listen on {listen}: {error}"), "See the message.")
        }
    }
}
