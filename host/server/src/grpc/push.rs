//! Pushes to connections: encoded once for all subscribers that get the same list, then one place per
//! connection and service, from where the transport takes it when it has room.

use super::connection::{Connection, List, Outgoing, Question};
use super::payload::{Payload, start};
use super::{Node, loader};
use crate::filters::Which;
use crate::naming::Pusher;
use crate::tasks::TaskResult;
use crate::udp::Turn;
use bytes::Bytes;
use muster_core::naming::{ServiceSnapshot, Subscription};
use muster_core::{ClientId, Millis, ServiceKey};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio_util::sync::CancellationToken;

impl Pusher for Node {
    fn push(&self, snapshot: Arc<ServiceSnapshot>, to: Vec<Arc<Subscription>>) {
        let ours = to.into_iter().filter(|to| matches!(to.client, ClientId::Connection(_)));
        let changed = Millis(self.clock.now().0.saturating_sub(self.options.push_delay.0));
        let dropped = self.waiting().put(changed, snapshot, ours);
        if dropped > 0 {
            self.counts.dropped.fetch_add(dropped, Ordering::Relaxed);
            tracing::warn!(dropped, "too many pushes wait: some subscribers were not told of a change");
        }
        self.push_work.notify_one();
    }

    fn existence(&self, service: &ServiceKey, exists: bool) {
        let to = self.watches().changed(service, exists);
        for (id, message) in to {
            self.tell(&id, message);
        }
    }
}

impl Node {
    /// Fans pushes out until told to stop.
    pub(super) async fn push_all(self: Arc<Self>, stop: CancellationToken) -> TaskResult {
        loop {
            let next = self.waiting().take();
            match next {
                Some(turn) => self.fan_out(turn).await,
                None => tokio::select! {
                    () = self.push_work.notified() => {}
                    () = stop.cancelled() => return Ok(()),
                },
            }
        }
    }

    async fn fan_out(&self, Turn { since, snapshot, to }: Turn) {
        let snapshot = self.lists.newest(snapshot);
        let mut lists: HashMap<(Arc<str>, Which), Arc<List>> = HashMap::new();
        for to in to {
            let ClientId::Connection(id) = &to.client else { continue };
            let Some(connection) = self.connections.get(id) else { continue };
            let which = self.lists.which(&snapshot, &to.clusters, &self.who(&connection)).await;
            let key = (to.clusters.clone(), which);
            let list = match lists.get(&key) {
                Some(list) => list.clone(),
                None => {
                    let (hosts, protected) = self.lists.encode(&snapshot, &key.0, key.1.as_deref());
                    let mut rest = Vec::with_capacity(hosts.len() + 320);
                    self.head(&snapshot.key, &key.0, protected, &mut rest);
                    rest.extend_from_slice(&hosts);
                    rest.push(b'}');
                    let service = snapshot.key.clone();
                    let list = Arc::new(List { service, rest: rest.into(), since });
                    lists.entry(key).or_insert(list).clone()
                }
            };
            connection.push(self.clock.now(), list);
        }
    }
}

/// What goes over the wire, in two pieces: of a push, the second one is the same bytes for all subscribers.
/// Bodies of the server always carry `headers`, `requestId` and `module` (N228).
pub(super) fn framed(connection: &Connection, outgoing: Outgoing) -> (Bytes, Bytes) {
    let payload = match outgoing {
        Outgoing::Plain(payload) => payload,
        Outgoing::Asked(id, Question::Detection) => {
            let body = format!(r#"{{"headers":{{}},"requestId":"{id}","module":"internal"}}"#);
            Payload::new("ClientDetectionRequest", body)
        }
        Outgoing::Asked(id, Question::Watch(message)) => {
            let mut body = format!(r#"{{"headers":{{}},"requestId":"{id}","#);
            let json = serde_json::to_string(&*message).unwrap_or_default();
            body.push_str(json.strip_prefix('{').and_then(|json| json.strip_suffix('}')).unwrap_or_default());
            body.push_str(r#","module":"naming"}"#);
            Payload::new(message.kind(), body)
        }
        Outgoing::Asked(id, Question::Reset(to)) => {
            Payload::json("ConnectResetRequest", &loader::Reset::new(id, connection, to))
        }
        Outgoing::Push(id, list) => {
            let own = format!(r#"{{"headers":{{}},"requestId":"{id}","module":"naming","serviceInfo":"#);
            let length = own.len() + list.rest.len();
            let mut message = start("NotifySubscriberRequest", length, own.len());
            message.extend_from_slice(own.as_bytes());
            return (message.into(), list.rest.clone());
        }
    };
    (payload.framed(), Bytes::new())
}
