//! TLS for `dial` and `fetch`: the host holds the trust store, the guest says only whether to look at it.

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Does the handshake in a task of its own: host functions run on the guest's fiber, whose stack is too small for
/// it (trap 9). Dropping the future ends the task.
pub(crate) async fn handshake(
    stream: TcpStream,
    name: Option<String>,
    address: IpAddr,
    verify: bool,
) -> Result<TlsStream<TcpStream>, String> {
    let name = match name {
        Some(name) => ServerName::try_from(name).map_err(|error| error.to_string())?,
        None => ServerName::from(address),
    };
    let config = if verify { verifying() } else { trusting() }?;
    let connecting = TlsConnector::from(config).connect(name, stream);
    #[allow(clippy::disallowed_methods, reason = "ends with the guest's call, which has a deadline")]
    let task = AbortOnDrop(tokio::spawn(connecting));
    match task.finish().await {
        Some(Ok(stream)) => Ok(stream),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("the handshake was broken off".to_owned()),
    }
}

/// A task that ends with whoever waits for it.
pub(crate) struct AbortOnDrop<T>(pub(crate) JoinHandle<T>);

impl<T> AbortOnDrop<T> {
    /// What the task returns; none when it was broken off.
    pub(crate) async fn finish(mut self) -> Option<T> {
        (&mut self.0).await.ok()
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

type Config = Result<Arc<ClientConfig>, String>;

fn verifying() -> Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    let build = || {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Ok(Arc::new(builder()?.with_root_certificates(roots).with_no_client_auth()))
    };
    CONFIG.get_or_init(build).clone()
}

fn trusting() -> Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    let build = || {
        let any = Arc::new(AnyCertificate(ring::default_provider()));
        Ok(Arc::new(builder()?.dangerous().with_custom_certificate_verifier(any).with_no_client_auth()))
    };
    CONFIG.get_or_init(build).clone()
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, String> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())
}

/// Accepts every certificate, but not a wrong signature: secrecy on the wire, no proof of who is there.
#[derive(Debug)]
struct AnyCertificate(CryptoProvider);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
