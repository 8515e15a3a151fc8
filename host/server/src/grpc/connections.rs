//! All connections of the node, and how many each client address has.

use super::Options;
use super::connection::Connection;
use dashmap::DashMap;
use std::net::IpAddr;
use std::sync::Arc;

#[derive(Debug, Default)]
pub(super) struct Connections {
    by_id: DashMap<Arc<str>, Arc<Connection>>,
    by_ip: DashMap<IpAddr, usize>,
}

impl Connections {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn get(&self, id: &str) -> Option<Arc<Connection>> {
        self.by_id.get(id).map(|entry| entry.value().clone())
    }

    /// Takes a connection in, unless that is one too many.
    pub(super) fn add(&self, connection: &Arc<Connection>, options: &Options) -> bool {
        if self.by_id.len() >= options.connections || !self.count(connection, options) {
            return false;
        }
        self.by_id.insert(connection.id.clone(), connection.clone());
        true
    }

    fn count(&self, connection: &Connection, options: &Options) -> bool {
        let mut of_client = self.by_ip.entry(connection.remote.ip().to_canonical()).or_default();
        let room = *of_client < options.connections_per_client;
        *of_client += usize::from(room);
        room
    }

    pub(super) fn remove(&self, connection: &Connection) {
        self.by_id.remove(&connection.id);
        self.by_ip.remove_if_mut(&connection.remote.ip().to_canonical(), |_, count| {
            *count = count.saturating_sub(1);
            *count == 0
        });
    }

    pub(super) fn all(&self) -> Vec<Arc<Connection>> {
        self.by_id.iter().map(|entry| entry.value().clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::connection::Source;
    use super::*;
    use muster_core::Millis;

    fn connection(address: &str) -> Arc<Connection> {
        Arc::new(Connection::new(Millis(1), address.parse().unwrap(), Source::Sdk))
    }

    #[test]
    fn connections_are_limited_on_the_node_and_for_each_address() {
        let options = Options { connections: 3, connections_per_client: 2, ..Options::default() };
        let all = Connections::default();
        let [a, b, c, d] = ["10.0.0.1:1", "[::ffff:10.0.0.1]:2", "10.0.0.1:3", "10.0.0.2:1"].map(connection);
        assert!(all.add(&a, &options) && all.add(&b, &options));
        assert!(!all.add(&c, &options), "a third of one address");
        assert!(all.add(&d, &options));
        assert!(!all.add(&connection("10.0.0.3:1"), &options), "a fourth of the node");
        all.remove(&a);
        assert!(all.add(&c, &options));
        [b, c, d].iter().for_each(|connection| all.remove(connection));
        assert!(all.len() == 0 && all.by_ip.is_empty());
    }
}
