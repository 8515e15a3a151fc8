//! What Raft carries, and the only place where openraft's type parameters are chosen.

use muster_core::persist::{Command, Reply};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::io::Cursor;
use std::sync::Arc;

openraft::declare_raft_types!(
    /// Node ids are `u64`, a node is its address, a snapshot is bytes in memory.
    pub(crate) TypeConfig:
        D = Batch,
        R = Applied,
);

pub(crate) type Raft = openraft::Raft<TypeConfig>;
pub(crate) type NodeId = u64;
pub(crate) type Node = openraft::BasicNode;
pub(crate) type Entry = openraft::Entry<TypeConfig>;
pub(crate) type LogId = openraft::LogId<NodeId>;
pub(crate) type Vote = openraft::Vote<NodeId>;
pub(crate) type Membership = openraft::Membership<NodeId, Node>;
pub(crate) type StoredMembership = openraft::StoredMembership<NodeId, Node>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<NodeId, Node>;
pub(crate) type Snapshot = openraft::Snapshot<TypeConfig>;
pub(crate) type StorageError = openraft::StorageError<NodeId>;
pub(crate) type StorageIOError = openraft::StorageIOError<NodeId>;
pub(crate) type Metrics = openraft::RaftMetrics<NodeId, Node>;
pub(crate) type State = openraft::RaftState<NodeId, Node, openraft::TokioInstant>;
pub(crate) type Fatal = openraft::error::Fatal<NodeId>;

/// The content of one log entry: the commands that were waiting when it was proposed, in order.
///
/// openraft 0.9 makes one log append, hence one fsync, of every write. Writes that wait for the same fsync
/// therefore share an entry (see `proposer`).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Batch {
    /// encoded, and decoded only where they are applied: an entry can be read, counted and sent to other
    /// nodes whatever is in it
    pub(crate) commands: Vec<EncodedCommand>,
}

/// What applying an entry answered: one reply for each of its commands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Applied {
    /// in the order of the commands; of one that was quarantined, the reason
    pub(crate) replies: Vec<Result<Reply, String>>,
}

/// A command as JSON. Cheap to clone.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct EncodedCommand(Arc<RawValue>);

/// Why a command cannot be stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EncodeError {
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("a value does not survive being written as JSON (a number that is not finite?)")]
    Changed,
}

impl EncodedCommand {
    /// Encodes `command` and makes sure that it will be read as it was meant: JSON has no NaN, and a log
    /// entry that cannot be read back would be found out only when it is too late to refuse it.
    pub(crate) fn new(command: &Command) -> Result<Self, EncodeError> {
        let encoded = Self(serde_json::value::to_raw_value(command)?.into());
        match encoded.decode() {
            Ok(decoded) if decoded == *command => Ok(encoded),
            _ => Err(EncodeError::Changed),
        }
    }

    pub(crate) fn decode(&self) -> Result<Command, serde_json::Error> {
        serde_json::from_str(self.0.get())
    }

    /// As it is in the log.
    pub(crate) fn text(&self) -> &str {
        self.0.get()
    }

    /// Bytes in the log.
    pub(crate) fn size(&self) -> usize {
        self.0.get().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_core::ids::ServiceKey;
    use muster_core::instance::Instance;

    fn register(weight: f64) -> Command {
        let instance = Instance { weight, ephemeral: false, ..Instance::new("10.0.0.5", 3306) };
        Command::RegisterInstance { service: ServiceKey::new("", "", "orders"), instance }
    }

    #[test]
    fn a_number_that_json_cannot_hold_is_refused_before_it_is_logged() {
        for weight in [f64::NAN, f64::INFINITY] {
            assert!(matches!(EncodedCommand::new(&register(weight)), Err(EncodeError::Changed)));
        }
    }

    #[test]
    fn every_bit_of_a_weight_is_kept() {
        for weight in [0.1 + 0.2, 1.0 / 3.0, f64::MIN_POSITIVE, 10_000.0] {
            assert_eq!(EncodedCommand::new(&register(weight)).unwrap().decode().unwrap(), register(weight));
        }
    }

    #[test]
    fn a_batch_is_read_as_it_was_written() {
        let batch = Batch { commands: vec![EncodedCommand::new(&register(1.0)).unwrap()] };
        let read: Batch = serde_json::from_str(&serde_json::to_string(&batch).unwrap()).unwrap();
        assert_eq!(read.commands[0].decode().unwrap(), register(1.0));
    }
}
