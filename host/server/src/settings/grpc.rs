//! `[grpc]`: the port of 2.x and 3.x clients.

use super::reader::Section;
use super::values::Bytes;
use std::net::SocketAddr;
use std::num::NonZeroUsize;

/// `[grpc]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grpc {
    /// Whether there is one at all.
    pub enabled: bool,
    /// Address and port; none means the IP address of `http.bind` and its port plus 1000, which is where all SDKs
    /// look for it. Source: Nacos `Constants.SDK_GRPC_PORT_DEFAULT_OFFSET`.
    pub bind: Option<SocketAddr>,
    /// Largest message of a client. Source: Nacos `…remote.server.grpc.sdk.max-inbound-message-size` (10 MiB).
    pub max_message: Bytes,
    /// Connections at a time; one more is closed at once.
    pub max_connections: NonZeroUsize,
    /// Connections of one client address at a time.
    pub max_connections_per_client: NonZeroUsize,
}

impl Default for Grpc {
    fn default() -> Self {
        Self {
            enabled: true,
            bind: None,
            max_message: Bytes::mib(10),
            max_connections: NonZeroUsize::MIN.saturating_add(49_999),
            max_connections_per_client: NonZeroUsize::MIN.saturating_add(9_999),
        }
    }
}

impl Grpc {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        Self {
            enabled: section.get("enabled", default.enabled),
            bind: section.optional("bind"),
            max_message: section.within(
                "max-message",
                default.max_message,
                &(Bytes(1024)..=Bytes::mib(1024)),
            ),
            max_connections: section.get("max-connections", default.max_connections),
            max_connections_per_client: section
                .get("max-connections-per-client", default.max_connections_per_client),
        }
    }
}
