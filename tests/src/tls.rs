//! Certificates made for a test, and the settings that use them.

use crate::config::Config;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// Somebody who issues certificates, with the key to do so.
pub type Issuer = CertifiedIssuer<'static, KeyPair>;

/// Somebody who issues certificates.
///
/// # Panics
/// When there are no random numbers.
pub fn issuer() -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // OpenSSL takes a certificate for self-signed whose issuer is called as it is itself
    params.distinguished_name.push(DnType::CommonName, "Muster tests");
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate")
}

/// A certificate for this machine's loopback, for a server or a client.
///
/// # Panics
/// When there are no random numbers.
pub fn issue(issuer: &Issuer) -> (rcgen::Certificate, KeyPair) {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name.push(DnType::CommonName, "localhost");
    (params.signed_by(&key, issuer).expect("a certificate"), key)
}

/// Files of a server and of a client, and who issued them.
pub struct Files {
    folder: TempDir,
    /// who issued them
    pub issuer: Issuer,
}

impl Files {
    /// Makes `server.pem`, `server.key`, `client.pem`, `client.key` and `ca.pem` in a temporary folder.
    ///
    /// # Panics
    /// When they cannot be written.
    #[allow(clippy::new_without_default, reason = "it writes files")]
    pub fn new() -> Self {
        let folder = TempDir::with_prefix("muster-tls-").expect("a temporary folder");
        let files = Self { folder, issuer: issuer() };
        for who in ["server", "client"] {
            let (certificate, key) = issue(&files.issuer);
            files.write(&format!("{who}.pem"), &certificate.pem());
            files.write(&format!("{who}.key"), &key.serialize_pem());
        }
        files.write("ca.pem", &files.issuer.pem());
        files
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where one of them is.
    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    /// Adds or replaces one.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("written");
    }

    /// Settings of a node that serves TLS, and plaintext beside it or not.
    pub fn config(&self, plaintext: bool) -> Config {
        Config::new()
            .set("grpc.tls", "enabled", "true")
            .text("grpc.tls", "certificate", &self.path("server.pem"))
            .text("grpc.tls", "key", &self.path("server.key"))
            .set("grpc.tls", "plaintext", &plaintext.to_string())
    }

    /// Settings of a node that wants certificates of its clients.
    pub fn mutual(&self) -> Config {
        self.config(false).set("grpc.tls", "mutual", "true").text(
            "grpc.tls",
            "client-ca",
            &self.path("ca.pem"),
        )
    }

    /// A client that trusts this server, with a certificate of its own or without.
    ///
    /// # Panics
    /// When the certificate and its key do not fit.
    pub fn client(&self, own: Option<(rcgen::Certificate, KeyPair)>, alpn: &[&[u8]]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("versions").with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
                let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
                builder.with_client_auth_cert(chain, key).expect("a pair")
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config
    }
}
