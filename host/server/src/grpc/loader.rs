//! Spreading connections over members: how many there are, and asking some of them to go elsewhere.
//! Source: Nacos `ServerLoaderController`, `ConnectionManager.loadCount`.

use super::Node;
use super::connection::{Connection, Elsewhere, Message, Question, Source};
use super::counters::one_more;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// `ConnectResetRequest`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reset<'a> {
    headers: BTreeMap<String, String>,
    request_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_port: Option<String>,
    connection_id: &'a str,
    module: &'static str,
}

impl<'a> Reset<'a> {
    pub(super) fn new(id: u64, connection: &'a Connection, to: Option<Elsewhere>) -> Self {
        let (server_ip, server_port) = to.map(|to| (to.ip, to.port)).unzip();
        Self {
            headers: BTreeMap::new(),
            request_id: id.to_string(),
            server_ip,
            server_port,
            connection_id: &connection.id,
            module: "internal",
        }
    }
}

/// How many connections a node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// of clients that are set up
    pub clients: usize,
    /// of whomever
    pub all: usize,
}

impl Node {
    /// How many connections there are.
    pub fn loaded(&self) -> Loaded {
        let all = self.connections.all();
        Loaded { clients: all.iter().filter(|connection| is_client(connection)).count(), all: all.len() }
    }

    /// All clients by connection id, as Nacos shows them.
    pub fn loaded_connections(&self) -> BTreeMap<String, Value> {
        let all = self.connections.all();
        let clients = all.iter().filter(|connection| is_client(connection));
        clients.map(|connection| (connection.id.to_string(), shown(connection))).collect()
    }

    /// Asks one client to go elsewhere: to `redirect` (`ip:port`), or to any other server. Answers whether there is
    /// such a client.
    pub fn reload_client(&self, id: &str, redirect: Option<&str>) -> bool {
        let connection = self.connections.get(id).filter(|connection| is_client(connection));
        connection.is_some_and(|connection| {
            self.reset(&connection, redirect);
            true
        })
    }

    /// Asks as many clients to go elsewhere as there are beyond `keep`; answers how many that were.
    pub fn reload(&self, keep: usize, redirect: Option<&str>) -> usize {
        let mut clients = self.connections.all();
        clients.retain(|connection| is_client(connection));
        // Whoever came last has the least to redo.
        clients.sort_by_key(|connection| std::cmp::Reverse(connection.since));
        let surplus = clients.len().saturating_sub(keep);
        clients.iter().take(surplus).for_each(|connection| self.reset(connection, redirect));
        surplus
    }

    fn reset(&self, connection: &Arc<Connection>, redirect: Option<&str>) {
        one_more(&self.counts.resets);
        let to = redirect.and_then(Elsewhere::parse);
        connection.send(self.clock.now(), Message::Asked(Question::Reset(to)));
    }
}

fn is_client(connection: &Connection) -> bool {
    connection.source == Source::Sdk && connection.setup().is_some()
}

fn shown(connection: &Connection) -> Value {
    let setup = connection.setup().cloned().unwrap_or_default();
    json!({
        "connected": !connection.close.is_cancelled(),
        "traced": false,
        "metaInfo": {
            "connectType": "GRPC",
            "connectionId": &*connection.id,
            "clientIp": &*connection.ip,
            "remoteIp": &*connection.ip,
            "remotePort": connection.remote.port(),
            "version": &*setup.agent,
            "appName": &*setup.app,
            "tenant": &*setup.tenant,
            "createTime": connection.since,
            "lastActiveTime": connection.last_active(),
            "tlsProtected": connection.tls.load(Ordering::Relaxed),
            "labels": { "source": connection.source.word(), "module": &*setup.module },
            "sdkSource": connection.source == Source::Sdk,
            "clusterSource": connection.source == Source::Cluster,
        },
    })
}
