//! Certificates from files.

use crate::config::{SmtpConfig, TlsFiles};
use anyhow::Context as _;
use frontdesk_smtp::receive::TlsSource;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::sync::Arc;
use tokio::sync::watch;

/// The TLS configuration of a listener, if certificates are configured.
pub fn source(config: &SmtpConfig) -> anyhow::Result<Option<TlsSource>> {
    let Some(files) = &config.tls else { return Ok(None) };
    let (sender, receiver) = watch::channel(Some(Arc::new(load(files)?)));
    // The receiver keeps the last value; a sender is kept once certificates can change.
    drop(sender);
    Ok(Some(receiver))
}

fn load(files: &TlsFiles) -> anyhow::Result<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("read the certificate chain in {}", files.cert.display()))?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .with_context(|| format!("read the private key in {}", files.key.display()))?;
    ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .with_context(|| format!("use the certificate in {}", files.cert.display()))
}
