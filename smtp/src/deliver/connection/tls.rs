//! TLS towards peers: encrypted only, or with a certificate that proves the peer's name.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::deliver::Error;

/// The two ways, ready for use. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tls {
    /// For STARTTLS that nobody promised: keeps listeners out and proves nothing. A check would only
    /// send the mail in clear instead (RFC 7435).
    pub(crate) unchecked: Arc<ClientConfig>,
    /// For relays, MTA-STS and the policies themselves.
    pub(crate) checked: Arc<ClientConfig>,
}

impl Tls {
    /// Trusts the authorities that this machine trusts.
    ///
    /// # Errors
    ///
    /// [`Error::Tls`] if it trusts none.
    pub fn system() -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(Error::Tls(
                "this machine has no certificate authorities; install ca-certificates, or name a \
                 file in SSL_CERT_FILE"
                    .to_owned(),
            ));
        }
        Self::new(roots)
    }

    /// Trusts these authorities.
    ///
    /// # Errors
    ///
    /// [`Error::Tls`] if the TLS library lacks a protocol version.
    pub fn new(roots: RootCertStore) -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let builder = || {
            ClientConfig::builder_with_provider(provider.clone())
                .with_safe_default_protocol_versions()
                .map_err(|error| Error::Tls(error.to_string()))
        };
        let unchecked = builder()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider.clone())))
            .with_no_client_auth();
        let checked = builder()?.with_root_certificates(roots).with_no_client_auth();
        Ok(Self { unchecked: Arc::new(unchecked), checked: Arc::new(checked) })
    }
}

/// Takes every certificate, and checks that the peer has its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
