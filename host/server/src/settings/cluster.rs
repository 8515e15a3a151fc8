//! `[cluster]`: how the members of a cluster reach and trust each other.

use super::reader::Section;
use crate::secrets::Secret;
use std::net::SocketAddr;
use std::num::NonZeroUsize;

/// `[cluster]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// What all members know and nobody else does: the text itself, or `secret:NAME`.
    pub secret: Option<Secret>,
    /// Address and port for the other members; none means the IP address of `http.bind` and its port plus 1001.
    /// Source: Nacos `Constants.CLUSTER_GRPC_PORT_DEFAULT_OFFSET`.
    pub bind: Option<SocketAddr>,
    /// How many members there have to be before they found the Raft group, which happens once. None: all of the
    /// list, and at least two.
    pub expect: Option<NonZeroUsize>,
}

impl Cluster {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let secret: Option<String> = section.optional("secret");
        Self {
            secret: secret.as_deref().map(Secret::new),
            bind: section.optional("bind"),
            expect: section.optional("expect"),
        }
    }
}
