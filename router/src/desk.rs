//! An installation: opened, and served.
//!
//! [`Desk::open`] takes the lock on the data and is enough for the command line to answer the API in
//! process. [`Desk::serve`] adds the listeners and workers. Stopping goes the other way round: first
//! nothing new comes in, then what runs is finished, then the store is closed.

use crate::models::Pulls;
use crate::own::Kinds;
use crate::tools::ToolServers;
use crate::voice::Calls;
use crate::{
    config::Config,
    directory::Directory,
    engines::Engines,
    http,
    keys::KeyStore,
    mail::{delivery, incoming::Incoming, outgoing::Renderer},
    reload::{Reloads, Source},
};
use anyhow::Context as _;
use axum::serve::ListenerExt as _;
use frontdesk_agents::{
    Agent, Clock, Runtime, RuntimeConfig, Store, SystemClock,
    runtime::{BoxedAgent, Registry},
};
use frontdesk_smtp::{
    auth::{Authenticator, dns::DnsConfig},
    receive::{self, Server, limits::Rate},
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, OnceLock},
};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::{Mutex, watch},
    task::JoinHandle,
};

/// The front door of the library: a configuration and the agents a program brings along.
pub struct Frontdesk {
    config: Config,
    agents: Kinds,
    clock: Arc<dyn Clock>,
    source: Option<Source>,
}

impl Frontdesk {
    /// With a configuration that was loaded (see [`Config::load_with`] for the kinds of your own agents).
    pub fn new(config: Config) -> Self {
        Self { config, agents: Kinds::new(), clock: Arc::new(SystemClock), source: None }
    }

    /// Adds agent kinds.
    #[must_use]
    pub fn kinds(mut self, kinds: Kinds) -> Self {
        self.agents.extend(kinds);
        self
    }

    /// Adds an agent kind. Configured agents of this kind run it.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>, agent: impl Agent) -> Self {
        self.agents.insert(kind.into(), BoxedAgent::new(agent).into());
        self
    }

    /// With another clock than the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// With where the configuration came from, so that it can be read again while the desk is served.
    #[must_use]
    pub fn source(mut self, source: Source) -> Self {
        self.source = Some(source);
        self
    }

    /// Opens the installation.
    pub async fn open(self) -> anyhow::Result<Desk> {
        Desk::open(self.config, self.agents, self.clock, self.source).await
    }

    /// Opens the installation and serves it.
    pub async fn serve(self) -> anyhow::Result<Running> {
        self.open().await?.serve().await
    }
}

/// An open installation. Holds the lock on its data.
pub struct Desk {
    /// As it was at the start. What may change since is in the directory.
    pub config: Arc<Config>,
    pub store: Store,
    pub directory: Arc<Directory>,
    pub keys: Arc<KeyStore>,
    pub renderer: Arc<Renderer>,
    pub metrics: PrometheusHandle,
    /// What HTTP remembers between requests.
    pub front: http::Front,
    /// What hears and speaks in calls.
    pub engines: Engines,
    /// Servers of tools. Replaced when the configuration changes.
    pub(crate) tools: Mutex<ToolServers>,
    /// The models that are being downloaded.
    pub pulls: Arc<Pulls>,
    /// Calls, once the desk is served.
    pub calls: OnceLock<Arc<Calls>>,
    pub(crate) registry: Registry,
    pub(crate) reloads: Reloads,
}

impl Desk {
    async fn open(
        config: Config,
        custom: Kinds,
        clock: Arc<dyn Clock>,
        source: Option<Source>,
    ) -> anyhow::Result<Self> {
        install_crypto();
        let data = config.server.data.clone();
        let now = clock.now();
        let (store, keys, ring) = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
            make_private(&data)
                .with_context(|| format!("cannot create the data directory {}", data.display()))?;
            let store = Store::open(&data, clock)?;
            let keys = KeyStore::open(data.join("keys"))?;
            let ring = keys.token_keys(now)?;
            Ok((store, keys, ring))
        })
        .await??;
        let tools = ToolServers::new(&config.mcp);
        let (directory, registry) =
            Directory::build(&config, &custom, &tools, &store, ring).await?;
        let (directory, keys) = (Arc::new(directory), Arc::new(keys));
        let renderer = Arc::new(Renderer::new(directory.clone(), keys.clone()));
        Ok(Self {
            engines: Engines::new(&config),
            tools: Mutex::new(tools),
            pulls: Arc::default(),
            calls: OnceLock::new(),
            reloads: Reloads { source, custom, running: Mutex::new(config.clone()) },
            config: Arc::new(config),
            store,
            directory,
            keys,
            renderer,
            metrics: recorder()?,
            front: http::Front::default(),
            registry,
        })
    }

    /// The API, as the local operator may use it.
    pub fn api(self: &Arc<Self>) -> axum::Router {
        http::local(self.clone())
    }

    /// The names and pages that are ours.
    pub fn origins(&self) -> http::origin::Origins {
        self.front.origins(&self.config.http)
    }

    /// Starts everything and returns once mail can come in.
    pub async fn serve(self) -> anyhow::Result<Running> {
        let desk = Arc::new(self);
        let config = &desk.config;
        let (stop, stopped) = watch::channel(false);
        let until_stopped = |mut stopped: watch::Receiver<bool>| async move {
            // An error means the handle is gone, which is a stop as well.
            let _ = stopped.wait_for(|stop| *stop).await;
        };

        // What answers: agents first, so that nothing that comes in waits for them.
        let runtime =
            Runtime::start(desk.store.clone(), desk.registry.clone(), RuntimeConfig::default())
                .await
                .context("start the agents")?;
        let calls = desk.calls.get_or_init(|| Calls::new(&desk, runtime.live())).clone();

        // What leaves.
        let delivering = delivery::start(&desk, until_stopped(stopped.clone())).await?;

        // Who may ask: the local operator, then health checks and metrics.
        let control = http::bind_control(&config.server.control_socket())?;
        let mut serving =
            vec![tokio::spawn(serve_control(control, desk.api(), until_stopped(stopped.clone())))];
        let mut listeners = Vec::new();
        for address in &config.http.listen {
            listeners.push(bind(*address, "http.listen").await?);
        }
        let http_addresses =
            listeners.iter().map(TcpListener::local_addr).collect::<std::io::Result<Vec<_>>>()?;
        desk.front.listens_on(&http_addresses);
        let signin_link = http::first_owner(&desk).await?;
        for listener in listeners {
            let service =
                http::public(desk.clone()).into_make_service_with_connect_info::<SocketAddr>();
            let stopping = until_stopped(stopped.clone());
            let listener = listener.tap_io(http::without_delay);
            serving.push(tokio::spawn(async move {
                let served = axum::serve(listener, service).with_graceful_shutdown(stopping).await;
                if let Err(error) = served {
                    tracing::error!(%error, "the HTTP listener failed");
                }
            }));
        }

        let sender = http::webhook::Sender::new(&config.http.webhook_networks)?;
        let keeper = http::keeper::run(desk.clone(), sender, until_stopped(stopped.clone()));
        serving.push(tokio::spawn(keeper));
        let (watched, stopping) = (desk.clone(), until_stopped(stopped.clone()));
        serving.push(tokio::spawn(async move { watched.watch_files(stopping).await }));

        // What comes in: last, when all of it has somewhere to go.
        let incoming = Incoming {
            store: desk.store.clone(),
            directory: desk.directory.clone(),
            registry: desk.registry.clone(),
            authenticator: Authenticator::new(&dns_config(config), &config.server.hostname)?,
            hostname: config.server.hostname.clone(),
        };
        let server = Arc::new(Server::new(
            smtp_config(config),
            Arc::new(incoming),
            http::tls::source(&config.smtp)?,
        ));
        let mut smtp_addresses = Vec::new();
        let mut sessions = Vec::new();
        for address in &config.smtp.listen {
            let listener = bind(*address, "smtp.listen").await?;
            smtp_addresses.push(listener.local_addr()?);
            let (server, stopping) = (server.clone(), until_stopped(stopped.clone()));
            sessions.push(tokio::spawn(async move { server.serve(listener, stopping).await }));
        }
        for address in &smtp_addresses {
            tracing::info!(%address, "mail is accepted");
        }
        for address in &http_addresses {
            tracing::info!(%address, "HTTP is served");
        }
        Ok(Running {
            desk: desk.clone(),
            smtp: smtp_addresses,
            http: http_addresses,
            signin_link,
            calls,
            stop,
            runtime,
            sessions,
            delivering,
            serving,
        })
    }
}

/// A served installation.
pub struct Running {
    pub desk: Arc<Desk>,
    /// Where mail is accepted, with the ports the system chose.
    pub smtp: Vec<SocketAddr>,
    /// Where HTTP is served.
    pub http: Vec<SocketAddr>,
    /// Lets the first owner in, once. Only at the first start.
    pub signin_link: Option<String>,
    calls: Arc<Calls>,
    stop: watch::Sender<bool>,
    runtime: Runtime,
    sessions: Vec<JoinHandle<()>>,
    delivering: JoinHandle<()>,
    serving: Vec<JoinHandle<()>>,
}

impl Running {
    /// Stops in order: sessions end, handlers and deliveries under way finish, the store is closed.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for session in self.sessions {
            joined(session.await, "SMTP");
        }
        self.calls.stop().await;
        self.runtime.stop().await;
        self.desk.tools.lock().await.stop().await;
        joined(self.delivering.await, "delivery");
        for serving in self.serving {
            serving.abort();
        }
        self.desk.store.close().await;
        // A stale socket is replaced at the next start all the same.
        let _ = std::fs::remove_file(self.desk.config.server.control_socket());
    }
}

fn joined(ended: Result<(), tokio::task::JoinError>, what: &str) {
    if let Err(error) = ended {
        tracing::error!(%error, what, "a part of the server panicked");
    }
}

async fn serve_control(
    listener: UnixListener,
    api: axum::Router,
    stopping: impl Future<Output = ()> + Send + 'static,
) {
    if let Err(error) = axum::serve(listener, api).with_graceful_shutdown(stopping).await {
        tracing::error!(%error, "the control socket failed");
    }
}

async fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot listen on {address} ({key}): is another program there? See who with `ss -ltnp`, or \
             choose another port in frontdesk.toml"
        )
    })
}

/// The data holds mail and keys: only its owner looks inside.
pub(crate) fn make_private(data: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if data.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data)
}

fn dns_config(config: &Config) -> DnsConfig {
    DnsConfig {
        servers: config.dns.servers.clone(),
        step_deadline: config.dns.timeout,
        ..DnsConfig::default()
    }
}

fn smtp_config(config: &Config) -> receive::Config {
    let mut smtp = receive::Config::new(config.server.hostname.clone());
    smtp.memory_budget = usize::try_from(config.limits.message_memory).unwrap_or(usize::MAX);
    smtp.shutdown_grace = config.server.shutdown_grace;

    let session = &mut smtp.session;
    session.size_max = usize::try_from(config.smtp.max_message_size).unwrap_or(usize::MAX);
    session.recipients_max = config.smtp.max_recipients as usize;
    session.errors_max = config.smtp.max_errors;
    session.rate_min = u64::from(config.smtp.min_bytes_per_second);
    session.timeouts.command = config.smtp.idle_timeout;
    session.session_max = config.smtp.session_timeout;
    session.timeouts.data = config.smtp.data_timeout;

    let limits = &mut smtp.limits;
    limits.connections_max = config.smtp.max_connections as usize;
    limits.per_address.open = config.smtp.max_connections_per_ip as usize;
    limits.per_network.open = config.smtp.max_connections_per_network as usize;
    let per_minute = |count: u32| Rate::per_minute(u64::from(count));
    limits.per_address.connections = per_minute(config.smtp.connections_per_minute_per_ip);
    limits.per_address.messages = per_minute(config.smtp.messages_per_minute_per_ip);
    limits.unknown_before_hangup.count = u64::from(config.smtp.max_unknown_recipients);
    smtp
}

/// TLS needs one provider for the process; a second call finds it there.
pub(crate) fn install_crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The metrics of the process. There is one recorder, whoever opens how many desks in it.
fn recorder() -> anyhow::Result<PrometheusHandle> {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    // Buckets from a tenth of a millisecond to ten seconds: sessions, commits and handlers.
    const SECONDS: &[f64] =
        &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0];
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?;
    let handle = builder.build_recorder();
    let ours = handle.handle();
    if metrics::set_global_recorder(handle).is_err() {
        tracing::warn!("metrics are recorded elsewhere in this process; /metrics stays empty");
    }
    describe();
    Ok(HANDLE.get_or_init(|| ours).clone())
}

/// What each metric means, for the HELP lines of `/metrics`.
fn describe() {
    use metrics::{
        describe_counter as counter, describe_gauge as gauge, describe_histogram as histogram,
    };
    counter!("smtp_connections_total", "Connections from mail servers and clients");
    gauge!("smtp_connections_open", "Connections open now");
    counter!("smtp_refused_total", "Connections, commands and messages refused, by reason");
    counter!("smtp_recipients_total", "Answers to RCPT TO, by outcome");
    counter!("smtp_messages_total", "Answers to a whole message, by outcome");
    counter!("mail_received_total", "Messages by the code of the reply to their end");
    counter!("mail_guarded_total", "Messages refused by the MIME guard, by cap");
    histogram!("mail_accept_seconds", "From the last byte of a message to its reply");
    histogram!("store_commit_seconds", "One transaction of the writer, fsync included");
    counter!("store_jobs_total", "Operations committed");
    histogram!("event_wait_seconds", "From an event's commit to its handler, by kind");
    histogram!("handler_seconds", "Loading an event and running its handler");
    counter!("handler_failures_total", "Handlers that failed and are tried again or given up");
    counter!("agent_message_loops_total", "Messages between agents dropped as a loop");
    counter!("gate_denied_total", "Mail that the gate denied");
    counter!("deliveries_total", "Deliveries settled, by outcome");
    counter!("webhooks_total", "Attempts to tell a webhook, by outcome");
    gauge!("events_waiting", "Events that wait for their instance");
    gauge!("events_dead", "Events given up: see the dead letters");
    gauge!("deliveries_waiting", "Deliveries queued, deferred or under way");
    gauge!("reviews_waiting", "Drafts and messages that wait for a person");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_configured_name_server_is_asked() {
        let mut config = Config::default();
        config.dns.servers =
            ["192.0.2.1:53", "[2001:db8::1]:5353"].map(|at| at.parse().unwrap()).into();
        assert_eq!(dns_config(&config).servers, config.dns.servers);
    }
}
