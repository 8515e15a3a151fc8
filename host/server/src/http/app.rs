//! What the HTTP front end is given: the state it reads and the handles it asks.

use super::members::Member;
use super::status::NodeStatus;
use crate::clock::Clock;
use crate::cluster::Links;
use crate::grants::Grants;
use crate::grpc;
use crate::lists::Lists;
use crate::lookup::LookupHandle;
use crate::naming::{NamingHandle, Published};
use crate::rollout::{Lives, Rollouts};
use crate::udp::UdpPush;
use arc_swap::ArcSwap;
use muster_core::naming::Protection;
use muster_core::validate::METADATA_LENGTH;
use muster_raft::Store;
use muster_wasm::PluginHost;
use std::sync::Arc;
use std::time::Duration;

/// Everything handlers need. Built once, shared by all connections.
pub struct App {
    /// where changes go, and what queries read
    pub naming: NamingHandle,
    /// lists as readers get them
    pub lists: Lists,
    /// how pushes by UDP went
    pub pushes: UdpPush,
    /// connections of gRPC clients
    pub grpc: Arc<grpc::Node>,
    /// the durable rows, for operators
    pub store: Store,
    /// connections to other members; none for a node that is alone
    pub links: Option<Links>,
    /// the plugins, for the settings of checkers
    pub plugins: PluginHost,
    /// what they may have and reach
    pub grants: Grants,
    /// versions of plugins that come and go
    pub rollouts: Rollouts,
    /// how they are doing
    pub lives: Lives,
    /// the member list; the first one is this node
    pub members: Arc<ArcSwap<Vec<Member>>>,
    /// where the member list comes from
    pub lookup: LookupHandle,
    /// whether this node serves
    pub status: Arc<NodeStatus>,
    /// the time
    pub clock: Clock,
    /// settings of the front end
    pub settings: Settings,
}

impl App {
    /// What queries read.
    pub fn published(&self) -> &Published {
        self.naming.published()
    }

    /// `ip:port` of this node.
    pub fn address(&self) -> String {
        self.members.load().first().map(|member| member.address.clone()).unwrap_or_default()
    }
}

/// Settings of the HTTP front end.
#[derive(Clone, Debug)]
pub struct Settings {
    /// in front of every path: empty, or begins with `/` and does not end with it
    pub context_path: String,
    /// the port that is shown to people
    pub port: u16,
    /// bounds of connections and requests
    pub limits: Limits,
    /// whether the limits of parameters apply. Source: Nacos `nacos.core.param.check.enabled`
    pub check_params: bool,
    /// longest metadata, UTF-16 units. Source: Nacos `nacos.naming.service.metadata.length`
    pub metadata_length: usize,
    /// how the protection threshold works
    pub protection: Protection,
    /// which old APIs answer
    pub compatibility: Compatibility,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            context_path: "/nacos".into(),
            port: 8848,
            limits: Limits::default(),
            check_params: true,
            metadata_length: METADATA_LENGTH,
            protection: Protection::Nacos,
            compatibility: Compatibility::default(),
        }
    }
}

/// Bounds of connections and requests.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// largest request body, bytes
    pub body: usize,
    /// connections at a time; one more waits in the kernel until another ends
    pub connections: usize,
    /// time for a new connection to say something; a later request has as long as a connection may idle
    pub head: Duration,
    /// time for a request from its head to its answer
    pub request: Duration,
    /// time for open requests to finish after a stop
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 10 << 20,
            connections: 10_000,
            head: Duration::from_secs(10),
            request: Duration::from_secs(30),
            grace: Duration::from_secs(10),
        }
    }
}

/// Which old APIs answer. Source: Nacos 3 `nacos.core.api.compatibility.*`; Muster keeps all of them on.
#[derive(Clone, Copy, Debug)]
pub struct Compatibility {
    /// v1 and v2 APIs that SDKs use
    pub client: bool,
    /// v1 and v2 APIs that operators use
    pub admin: bool,
    /// APIs of the old console
    pub console: bool,
}

impl Default for Compatibility {
    fn default() -> Self {
        Self { client: true, admin: true, console: true }
    }
}
