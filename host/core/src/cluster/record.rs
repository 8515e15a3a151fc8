//! What is copied between nodes: one publication of one client in one service.

use super::owner::{hash, mix};
use super::version::Version;
use crate::ids::{ClientId, ServiceKey};
use crate::instance::Instance;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Identity of a publication.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// who publishes
    pub client: ClientId,
    /// into which service
    pub service: ServiceKey,
}

impl Key {
    /// The publication of `client` in `service`.
    pub fn new(client: &ClientId, service: &ServiceKey) -> Self {
        Self { client: client.clone(), service: service.clone() }
    }

    /// A number that is the same on every node.
    pub fn hash(&self) -> u64 {
        let parts = [self.service.namespace(), self.service.group(), self.service.name()];
        let service = parts.iter().fold(0, |sum, part| mix(sum ^ hash(part.as_bytes())));
        mix(service ^ hash(self.client.to_string().as_bytes()))
    }
}

/// One version of a publication.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// which
    pub key: Key,
    /// when and by whom it was written
    pub version: Version,
    /// what was written
    pub state: State,
}

/// What a publication is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// there, with these instances
    Live(Vec<Arc<Instance>>),
    /// removed
    Gone(Gone),
}

impl State {
    /// Why it is gone; none while it is there.
    pub fn gone(&self) -> Option<Gone> {
        match self {
            Self::Live(_) => None,
            Self::Gone(why) => Some(*why),
        }
    }

    /// How much of a message it takes, in instances; at least one.
    pub fn weight(&self) -> usize {
        match self {
            Self::Live(instances) => instances.len().max(1),
            Self::Gone(_) => 1,
        }
    }
}

/// Why a publication was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gone {
    /// its client said so, or the client's connection ended
    Withdrawn,
    /// it was silent for too long, as far as one node could hear; a node that does hear it may object
    Silent,
}

#[cfg(test)]
mod tests {
    use super::super::owner::NodeId;
    use super::*;

    #[test]
    fn a_record_reads_as_it_was_written() {
        let key = Key::new(&ClientId::address("10.0.0.5", 8080, true), &ServiceKey::new("", "", "orders"));
        let version = Version { stamp: u64::MAX >> 1, node: NodeId(u64::MAX) };
        for state in [State::Live(vec![Arc::new(Instance::new("10.0.0.5", 8080))]), State::Gone(Gone::Silent)]
        {
            let record = Record { key: key.clone(), version, state };
            let text = serde_json::to_string(&record).unwrap();
            assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record, "{text}");
        }
    }

    #[test]
    fn the_hash_of_a_key_tells_its_parts_apart() {
        let of = |client: &str, namespace: &str, name: &str| {
            Key { client: client.parse().unwrap(), service: ServiceKey::new(namespace, "", name) }.hash()
        };
        let all = [
            of("a:1#true", "", "s"),
            of("a:1#true", "n", "s"),
            of("a:2#true", "", "s"),
            of("a:1#true", "", "t"),
        ];
        assert_eq!(std::collections::BTreeSet::from(all).len(), 4);
    }
}
