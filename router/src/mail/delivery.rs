//! What takes mail away: the folder of captured mail, or a relay.

use super::outgoing::{StoreClock, StoreSpool};
use crate::{
    config::{Config, Mode, RelaySecurity, RelaySettings},
    desk::Desk,
};
use anyhow::Context as _;
use frontdesk_smtp::{
    deliver::{
        self, Capture, Login, Manners, Options, Relay, RelayConfig, Security, Tls, Transport,
    },
    render::AddrSpec,
};
use std::{future::Future, sync::Arc};
use tokio::task::JoinHandle;

/// Captured mail is files, of which many are written at once; a relay is spoken to on a few connections.
const CAPTURES: usize = 32;

/// Delivers what waits, and what will, until the future ends.
pub async fn start(
    desk: &Desk,
    until: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<JoinHandle<()>> {
    let config = &desk.config;
    // Capture finds its own files again, so everything may safely be repeated. What may have arrived elsewhere
    // is uncertain, and a person looks.
    let again = desk.store.recover_deliveries(config.mail.mode == Mode::Capture).await?;
    if again > 0 {
        tracing::info!(again, "deliveries that a stop interrupted go again");
    }
    Ok(match config.mail.mode {
        Mode::Capture => {
            let options = Options { concurrency: CAPTURES, ..Options::default() };
            spawn(desk, Capture::open(config.server.outgoing())?, options, until)
        }
        Mode::Relay => spawn(desk, relay(config)?, Options::default(), until),
    })
}

fn spawn<T: Transport>(
    desk: &Desk,
    transport: T,
    options: Options,
    until: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    let spool = StoreSpool::new(desk.store.clone(), desk.renderer.clone());
    let clock = StoreClock(desk.store.clone());
    tokio::spawn(deliver::run(
        Arc::new(spool),
        Arc::new(transport),
        Arc::new(clock),
        options,
        until,
    ))
}

fn relay(config: &Config) -> anyhow::Result<Relay> {
    let settings = config.relay.as_ref().context("mode is relay, and [relay] names no host")?;
    let RelaySettings { host, port, security, login, envelope_from } = settings;
    let security = match security {
        RelaySecurity::StartTls => Security::StartTls,
        RelaySecurity::Tls => Security::Implicit,
        RelaySecurity::None => Security::Clear,
    };
    let relay = RelayConfig {
        host: host.clone(),
        port: *port,
        security,
        login: login.as_ref().map(|(user, password)| Login::new(user, password.expose())),
        envelope_from: envelope_from.as_deref().map(AddrSpec::parse).transpose()?,
    };
    tracing::info!(host, port, "mail leaves through the relay");
    if envelope_from.is_some() {
        tracing::warn!("bounces go to [relay] envelope_from and are not seen here");
    }
    Ok(Relay::new(relay, Tls::system()?, Manners::new(&config.server.hostname))?)
}
