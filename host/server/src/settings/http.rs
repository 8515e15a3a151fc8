//! `[http]` and `[udp]`: the ports.

use super::reader::Section;
use super::values::Bytes;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Bounds of anything a client may make us wait for.
const WAIT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(3600);

/// `[http]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Address and port of all HTTP APIs. Port 0 takes a free one, which the ready line names.
    pub bind: SocketAddr,
    /// In front of every path, beginning with `/`; empty for none.
    pub context_path: String,
    /// Largest request body.
    pub max_body: Bytes,
    /// Connections at a time; one more waits until another ends.
    pub max_connections: NonZeroUsize,
    /// Time for a client to send the head of a request.
    pub header_timeout: Duration,
    /// Time for a request from its head to its answer.
    pub request_timeout: Duration,
    /// From a stop signal until the process ends, whatever is still running.
    pub grace: Duration,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 8848)),
            context_path: "/nacos".into(),
            max_body: Bytes::mib(10),
            max_connections: NonZeroUsize::MIN.saturating_add(9_999),
            header_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            grace: Duration::from_secs(10),
        }
    }
}

impl Http {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let mut read = Self {
            bind: section.get("bind", default.bind),
            context_path: section.get("context-path", default.context_path),
            max_body: section.within("max-body", default.max_body, &(Bytes(1024)..=Bytes::mib(1024))),
            max_connections: section.get("max-connections", default.max_connections),
            header_timeout: section.within("header-timeout", default.header_timeout, &WAIT),
            request_timeout: section.within("request-timeout", default.request_timeout, &WAIT),
            grace: section.within("grace", default.grace, &(Duration::ZERO..=Duration::from_secs(3600))),
        };
        if read.context_path == "/" {
            read.context_path.clear();
        }
        let path = &read.context_path;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
        if !path.is_empty() && (!path.starts_with('/') || path.ends_with('/') || !path.chars().all(plain)) {
            section.problem("context-path", "must be a path such as \"/nacos\", or \"\" for none");
        }
        read
    }
}

/// `[udp]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Udp {
    /// Address and port that pushes leave from; none means the IP address of `http.bind` and any free port.
    pub bind: Option<SocketAddr>,
    /// Silence after which a packet is sent again, once. Source: Nacos `Constants.ACK_TIMEOUT_NANOS` (10 s).
    pub ack_timeout: Duration,
    /// Packets that wait for an acknowledgement; beyond it the oldest is given up.
    pub max_pending: NonZeroUsize,
}

impl Default for Udp {
    fn default() -> Self {
        Self {
            bind: None,
            ack_timeout: Duration::from_secs(10),
            max_pending: NonZeroUsize::MIN.saturating_add(65_535),
        }
    }
}

impl Udp {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        Self {
            bind: section.optional("bind"),
            ack_timeout: section.within("ack-timeout", default.ack_timeout, &WAIT),
            max_pending: section.get("max-pending", default.max_pending),
        }
    }
}
