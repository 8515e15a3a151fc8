//! What nodes tell each other about ephemeral data. Any of them may be lost, doubled, late or out of order.

use super::ledger::Digest;
use super::owner::NodeId;
use super::record::{Key, Record};
use super::version::Version;
use crate::time::Millis;
use serde::{Deserialize, Serialize};

/// Most records of one message.
pub const MOST_RECORDS: usize = 512;
/// Most instances in the records of one message; a publication with more travels alone.
pub const MOST_INSTANCES: usize = 2_048;
/// Most keys of one message.
pub const MOST_KEYS: usize = 4_096;

/// One message between two nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Message {
    /// newest versions of publications; answered with [`Message::Ack`]
    Sync {
        /// given back in the answer
        seq: u64,
        /// in no particular order
        records: Vec<Record>,
    },
    /// the records of `seq` were merged
    Ack {
        /// of the sync
        seq: u64,
    },
    /// what the sender holds, by who wrote it; answered only where the receiver holds something else
    Verify {
        /// the sender itself, and those it cannot reach
        writers: Vec<(NodeId, Digest)>,
    },
    /// the receiver of a verify holds other records of `writer`
    Differ {
        /// whose
        writer: NodeId,
        /// a digest of each bucket
        buckets: Vec<u64>,
    },
    /// all that the sender holds of `writer` in `buckets`
    Versions {
        /// whose
        writer: NodeId,
        /// which; sorted
        buckets: Vec<u8>,
        /// all of them, tombstones apart
        known: Vec<(Key, Version)>,
    },
    /// send these
    Want {
        /// which
        keys: Vec<Key>,
    },
    /// clients that the sender hears and the receiver judges
    Renew {
        /// each with how long ago it was last heard
        heard: Vec<(Key, Millis)>,
    },
    /// a node without data asks for all of it
    Load {
        /// the last key it has got
        after: Option<Key>,
    },
    /// a part of all data, in the order of keys
    Page {
        /// the key it was asked with
        after: Option<Key>,
        /// the next records; none when there are no more
        records: Vec<Record>,
        /// the key to go on from; none at the end
        next: Option<Key>,
        /// whether the sender itself has all data
        complete: bool,
    },
}
