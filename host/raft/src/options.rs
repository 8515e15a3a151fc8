//! How a store is opened.

use std::path::PathBuf;
use std::time::Duration;

/// Longest wait of a follower that hears no leader, before it asks for votes.
pub(crate) const ELECTION_TIMEOUT_MAX_MS: u64 = 2_000;

/// How a [`Store`](crate::Store) is opened.
#[derive(Clone, Debug)]
pub struct RaftOptions {
    /// The file; created when missing, its directory must exist. Default: `muster.redb`.
    pub path: PathBuf,
    /// Id of this node, never reused for another one: it is written into the file. None takes the one of the
    /// file, and draws one (1 to 2^53) for a new file. Default: 1.
    pub node_id: Option<u64>,
    /// Where other nodes reach this one's Raft, `ip:port`; also what the members page shows. May change
    /// from start to start. Default: `127.0.0.1:7848`, Nacos's Raft port being the main port − 1000.
    pub address: String,
    /// Log entries after which a snapshot is made and the log before it is dropped. An entry holds the
    /// writes that waited together, up to 512. Default: 10,000.
    pub snapshot_after: u64,
    /// Entries kept in the log though a snapshot covers them, for members that are a little behind.
    /// Default: 1,000.
    pub keep_entries: u64,
    /// How long [`propose`](crate::Store::propose) may take. Default: 10 s, as Nacos waits for a commit.
    pub propose_timeout: Duration,
    /// How long [`shutdown`](crate::Store::shutdown) and the start wait. Default: 10 s.
    pub grace: Duration,
    /// Whether all checksums of the file are checked when it is opened. Without it damage is found when it
    /// is read, or not. It reads the whole file: about 0.1 s per 100 MB. Default: true.
    pub verify: bool,
    /// Whether an empty file starts a cluster of one with this node as its voter. A node that joins an
    /// existing cluster must not. Default: true.
    pub bootstrap: bool,
}

impl Default for RaftOptions {
    fn default() -> Self {
        Self {
            path: "muster.redb".into(),
            node_id: Some(1),
            address: "127.0.0.1:7848".into(),
            snapshot_after: 10_000,
            keep_entries: 1_000,
            propose_timeout: Duration::from_secs(10),
            grace: Duration::from_secs(10),
            verify: true,
            bootstrap: true,
        }
    }
}

impl RaftOptions {
    pub(crate) fn config(&self) -> openraft::Config {
        openraft::Config {
            cluster_name: "muster".into(),
            heartbeat_interval: 250,
            election_timeout_min: 1_000,
            election_timeout_max: ELECTION_TIMEOUT_MAX_MS,
            snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(self.snapshot_after.max(1)),
            max_in_snapshot_log_to_keep: self.keep_entries,
            // with entries of at most a quarter of a megabyte: what one heartbeat interval carries
            max_payload_entries: 16,
            install_snapshot_timeout: 10_000,
            snapshot_max_chunk_size: 512 << 10,
            ..openraft::Config::default()
        }
    }
}
