//! `[grpc]`: the port of 2.x and 3.x clients.

use super::reader::Section;
use super::values::{Bytes, words};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// `[grpc]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grpc {
    /// Whether there is one at all.
    pub enabled: bool,
    /// Address and port; none means the IP address of `http.bind` and its port plus 1000, which is where all SDKs
    /// look for it. Source: Nacos `Constants.SDK_GRPC_PORT_DEFAULT_OFFSET`.
    pub bind: Option<SocketAddr>,
    /// Address and port for other members; none means there is no such port. Source: Nacos
    /// `Constants.CLUSTER_GRPC_PORT_DEFAULT_OFFSET` (the main port plus 1001).
    pub cluster_bind: Option<SocketAddr>,
    /// Largest message of a client. Source: Nacos `…remote.server.grpc.sdk.max-inbound-message-size` (10 MiB).
    pub max_message: Bytes,
    /// Bytes of requests that are received or answered at a time, of all clients; more are refused.
    pub max_held: Bytes,
    /// Connections at a time; one more is closed at once.
    pub max_connections: NonZeroUsize,
    /// Connections of one client address at a time.
    pub max_connections_per_client: NonZeroUsize,
    /// `[grpc.tls]`
    pub tls: GrpcTls,
}

/// `[grpc.tls]`. Source: Nacos `nacos.remote.server.rpc.tls.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcTls {
    /// Whether clients are served over TLS.
    pub enabled: bool,
    /// PEM file with the server's certificate and those of its issuers.
    pub certificate: Option<PathBuf>,
    /// PEM file with the key of the certificate, not encrypted.
    pub key: Option<PathBuf>,
    /// Whether a client without TLS is served on the same port, too.
    pub plaintext: bool,
    /// Whether a client needs a certificate, issued by one of `client_ca`.
    pub mutual: bool,
    /// PEM file with the certificates of those who issue certificates to clients.
    pub client_ca: Option<PathBuf>,
    /// Oldest version of TLS.
    pub min_version: TlsVersion,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2
    Tls12,
    /// TLS 1.3
    Tls13,
}

words!(TlsVersion { "1.2" => TlsVersion::Tls12, "1.3" => TlsVersion::Tls13 });

static FROM_12: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

impl TlsVersion {
    /// This version and what is newer.
    pub fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls12 => &FROM_12,
            Self::Tls13 => &FROM_12[1..],
        }
    }
}

impl Default for GrpcTls {
    fn default() -> Self {
        Self {
            enabled: false,
            certificate: None,
            key: None,
            plaintext: true,
            mutual: false,
            client_ca: None,
            min_version: TlsVersion::Tls12,
        }
    }
}

impl GrpcTls {
    fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let enabled = section.get("enabled", default.enabled);
        let mutual = section.get("mutual", default.mutual);
        let mut file = |key, needed| if needed { section.required(key) } else { section.optional(key) };
        let certificate = file("certificate", enabled);
        let key = file("key", enabled);
        let client_ca = file("client-ca", enabled && mutual);
        Self {
            enabled,
            certificate,
            key,
            client_ca,
            mutual,
            plaintext: section.get("plaintext", default.plaintext),
            min_version: section.get("min-version", default.min_version),
        }
    }

    /// The files that are named.
    pub(super) fn files(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        [&mut self.certificate, &mut self.key, &mut self.client_ca].into_iter().flatten()
    }
}

impl Default for Grpc {
    fn default() -> Self {
        Self {
            enabled: true,
            bind: None,
            cluster_bind: None,
            max_message: Bytes::mib(10),
            max_held: Bytes::mib(256),
            max_connections: NonZeroUsize::MIN.saturating_add(49_999),
            max_connections_per_client: NonZeroUsize::MIN.saturating_add(9_999),
            tls: GrpcTls::default(),
        }
    }
}

impl Grpc {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        Self {
            enabled: section.get("enabled", default.enabled),
            bind: section.optional("bind"),
            cluster_bind: section.optional("cluster-bind"),
            max_message: section.within(
                "max-message",
                default.max_message,
                &(Bytes(1024)..=Bytes::mib(1024)),
            ),
            max_held: section.within("max-held", default.max_held, &(Bytes::mib(1)..=Bytes::mib(1 << 20))),
            max_connections: section.get("max-connections", default.max_connections),
            max_connections_per_client: section
                .get("max-connections-per-client", default.max_connections_per_client),
            tls: section.section("tls", GrpcTls::read),
        }
    }
}
