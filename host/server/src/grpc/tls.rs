//! TLS on the port of clients: the files, and how a transport that has just been accepted is opened.
//! Source: Nacos `RpcServerTlsConfig`, `OptionalTlsProtocolNegotiator`.

use crate::settings::GrpcTls;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Content type of a TLS handshake record, the first byte of a client hello. An HTTP/2 preface starts with a `P`.
const HANDSHAKE: u8 = 0x16;

/// Why the files of `[grpc.tls]` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A setting that TLS needs is missing.
    #[error("grpc.tls.{0} is required when grpc.tls.enabled is true")]
    Missing(&'static str),
    /// Certificates are asked for, but plaintext is let in.
    #[error(
        "grpc.tls.mutual needs grpc.tls.plaintext = false: whoever has no certificate would come without TLS"
    )]
    WayAround,
    /// A file cannot be read.
    #[error("grpc.tls.{key}: cannot read {}: {source}", path.display())]
    Unreadable {
        /// the setting
        key: &'static str,
        /// the file
        path: PathBuf,
        /// why
        #[source]
        source: io::Error,
    },
    /// It holds no certificate.
    #[error(
        "grpc.tls.{key}: {} holds no certificate; it must be a PEM file with BEGIN CERTIFICATE{}", path.display(),
        if *key == "certificate" { ", the server's own first and those of its issuers after it" } else { "" }
    )]
    NoCertificate {
        /// the setting
        key: &'static str,
        /// the file
        path: PathBuf,
    },
    /// It holds a certificate that cannot be read.
    #[error("grpc.tls.{key}: a certificate in {} cannot be used: {why}", path.display())]
    BadCertificate {
        /// the setting
        key: &'static str,
        /// the file
        path: PathBuf,
        /// why
        why: String,
    },
    /// The key needs a passphrase.
    #[error(
        "grpc.tls.key: the key in {path} is encrypted; take the passphrase off with \
         openssl pkey -in {path} -out FILE, and let nobody but the node read FILE", path = path.display()
    )]
    EncryptedKey {
        /// the file
        path: PathBuf,
    },
    /// It holds no key.
    #[error("grpc.tls.key: {} holds no private key; it must be a PEM file with BEGIN PRIVATE KEY", path.display())]
    NoKey {
        /// the file
        path: PathBuf,
    },
    /// Certificate and key do not fit together, or are of a kind that is not supported.
    #[error("grpc.tls: the key in {} does not serve the certificate in {}: {source}", key.display(), certificate.display())]
    Pair {
        /// file of the key
        key: PathBuf,
        /// file of the certificate
        certificate: PathBuf,
        /// why
        #[source]
        source: rustls::Error,
    },
}

/// How transports are encrypted.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    plaintext: bool,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("plaintext", &self.plaintext).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files; none when TLS is off.
    ///
    /// # Errors
    /// [`TlsError`], which names the file and what it should hold.
    pub fn load(settings: &GrpcTls) -> Result<Option<Self>, TlsError> {
        if !settings.enabled {
            return Ok(None);
        }
        let file = settings.certificate.as_deref().ok_or(TlsError::Missing("certificate"))?;
        let chain = certificates("certificate", file)?;
        let key_file = settings.key.as_deref().ok_or(TlsError::Missing("key"))?;
        let key = private_key(key_file)?;
        let pair = |source| TlsError::Pair { key: key_file.into(), certificate: file.into(), source };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = settings.min_version.versions();
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_protocol_versions(versions).map_err(pair)?;
        if settings.mutual && settings.plaintext {
            return Err(TlsError::WayAround);
        }
        let builder = if settings.mutual {
            let file = settings.client_ca.as_deref().ok_or(TlsError::Missing("client-ca"))?;
            let bad = |why: String| TlsError::BadCertificate { key: "client-ca", path: file.into(), why };
            let mut roots = RootCertStore::empty();
            for certificate in certificates("client-ca", file)? {
                roots.add(certificate).map_err(|error| bad(error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| bad(error.to_string()))?)
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_single_cert(chain, key).map_err(pair)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Some(Self { acceptor: TlsAcceptor::from(Arc::new(config)), plaintext: settings.plaintext }))
    }

    /// Shakes hands with a client, or lets its plaintext through where that is allowed.
    ///
    /// # Errors
    /// A client that is not to be served.
    pub(super) async fn open(&self, stream: TcpStream) -> io::Result<Opened> {
        if self.plaintext && !begins_handshake(&stream).await? {
            return Ok(Opened::Plain(stream));
        }
        self.acceptor.accept(stream).await.map(|stream| Opened::Encrypted(Box::new(stream)))
    }
}

/// A transport that is ready for HTTP/2.
pub(super) enum Opened {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

async fn begins_handshake(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    match stream.peek(&mut first).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(first[0] == HANDSHAKE),
    }
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Unreadable { key, path: path.into(), source })
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(key, path)?;
    let bad = |error: pem::Error| TlsError::BadCertificate { key, path: path.into(), why: error.to_string() };
    let all = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().map_err(bad)?;
    if all.is_empty() {
        return Err(TlsError::NoCertificate { key, path: path.into() });
    }
    Ok(all)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = read("key", path)?;
    let encrypted = || {
        let text = String::from_utf8_lossy(&pem);
        text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
    };
    if encrypted() {
        return Err(TlsError::EncryptedKey { path: path.into() });
    }
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| TlsError::NoKey { path: path.into() })
}
