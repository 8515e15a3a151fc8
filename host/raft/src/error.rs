//! Why a store cannot be opened, why a write was not taken, and why a node is finished.

use crate::db::DbError;
use crate::tables::FORMAT;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why the store could not be opened. Each names the file and what can be done.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it, or this one has it open already.
    #[error(
        "{path} is in use by another process: stop the other node first, or give this one its own data \
         directory"
    )]
    InUse {
        /// the file
        path: PathBuf,
    },
    /// It is not a file of ours, or it was damaged.
    #[error(
        "{path} is damaged or no Muster file ({reason}): restore it from a copy, or move it away to start \
         this node empty"
    )]
    Corrupt {
        /// the file
        path: PathBuf,
        /// what was found
        reason: String,
    },
    /// A newer release wrote it.
    #[error(
        "{path} has format {found}, this version reads up to {supported}: start the newer version that \
         wrote it, or restore the copy made before the upgrade"
    )]
    Newer {
        /// the file
        path: PathBuf,
        /// its format
        found: u32,
        /// the newest format this version reads
        supported: u32,
    },
    /// It is the file of a node with another id.
    #[error(
        "{path} belongs to node {found}, this is node {wanted}: give the node its own data directory, or \
         correct its id"
    )]
    OtherNode {
        /// the file
        path: PathBuf,
        /// whose it is
        found: u64,
        /// who we are
        wanted: u64,
    },
    /// Something in it cannot be decoded.
    #[error(
        "{message} Format {FORMAT} is what this version writes; start the version that wrote the file, or \
         restore it from a copy"
    )]
    Undecodable {
        /// which file, which row, why
        message: String,
    },
    /// The operating system refused.
    #[error("{path}: {source}: check that the directory exists, is writable and has room")]
    Io {
        /// the file
        path: PathBuf,
        /// its answer
        source: io::Error,
    },
    /// The storage failed while it was read or prepared.
    #[error("{message}")]
    Storage {
        /// which file, why
        message: String,
    },
    /// Raft did not start.
    #[error("raft did not start on {path}: {reason}")]
    Raft {
        /// the file
        path: PathBuf,
        /// what it said
        reason: String,
    },
    /// The only voter did not become leader in time.
    #[error("{path}: this node is the only voter and did not become leader within {waited:?}")]
    NoLeader {
        /// the file
        path: PathBuf,
        /// how long we waited
        waited: Duration,
    },
}

/// Why a proposed command was not, or perhaps not, carried out.
///
/// Where another node leads, its answer is passed on as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProposeError {
    /// Nobody leads, or who does cannot be reached. Nothing was written.
    #[error(
        "The Raft Group [naming_persistent_service_v2] did not find the Leader node: no majority of the members can \
         be reached"
    )]
    NoLeader,
    /// The store is shutting down. Nothing was written.
    #[error("shutting down")]
    ShuttingDown,
    /// The command holds a value that cannot be stored, such as a number that is not finite. Nothing was
    /// written.
    #[error("the command cannot be stored: {reason}")]
    Unstorable {
        /// which, as far as is known
        reason: String,
    },
    /// The command is in the log, but cannot be applied: it changed nothing, and an operator was alerted.
    #[error(
        "the command is committed as entry {index} and cannot be applied, so it is in quarantine: {reason}"
    )]
    Quarantined {
        /// of its entry in the log
        index: u64,
        /// why
        reason: String,
    },
    /// The storage failed, and with it this node. Whether the command was written is not known.
    #[error("storage failed: {reason}")]
    Storage {
        /// what it said
        reason: String,
    },
    /// The deadline passed. Whether the command was written, or still will be, is not known.
    #[error("not committed within {after:?}")]
    Timeout {
        /// the deadline
        after: Duration,
    },
}

/// Why the members of the group were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembersError {
    /// This node does not lead.
    #[error("this node does not lead the group; {}", match leader {
        Some(leader) => format!("node {leader} does"),
        None => "nobody is known to".to_owned(),
    })]
    NotLeader {
        /// who does, as far as is known
        leader: Option<u64>,
    },
    /// There is no such node.
    #[error("node {id} is not in the group")]
    Unknown {
        /// which
        id: u64,
    },
    /// This node has rows already, or belongs to a group.
    #[error("this node belongs to group {group} already")]
    Founded {
        /// to which
        group: String,
    },
    /// It was not committed in time; it may still be.
    #[error("not committed within {after:?}: a majority of the voters has to be reachable")]
    Timeout {
        /// the deadline
        after: Duration,
    },
    /// Raft refuses, or has failed.
    #[error("{reason}")]
    Refused {
        /// what it said
        reason: String,
    },
}

/// Why a call of another node is not answered.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It cannot be read.
    #[error("a call that cannot be read: {0}")]
    Unreadable(serde_json::Error),
    /// The answer cannot be written.
    #[error("an answer that cannot be written: {0}")]
    Unwritable(serde_json::Error),
    /// The group could not be noted.
    #[error("{message}")]
    Storage {
        /// which file, why
        message: String,
    },
}

/// The store has failed for good: nothing can be written any more, and the node should stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store has failed and takes no more writes: {reason}")]
pub struct Failure {
    /// what happened first
    pub reason: String,
}

/// What went wrong at the end. Nothing acknowledged is lost by it.
#[derive(Debug, thiserror::Error)]
pub enum ShutdownError {
    /// Waiting writes were not finished in time.
    #[error("writes were still waiting after {after:?}")]
    Timeout {
        /// how long we waited
        after: Duration,
    },
    /// The file was not closed properly; the next start repairs it.
    #[error("{message}")]
    Storage {
        /// which file, why
        message: String,
    },
}

/// Why a snapshot was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The store has failed or was shut down.
    #[error("{reason}")]
    Stopped {
        /// what it said
        reason: String,
    },
    /// It was not finished in time; it may still be.
    #[error("no snapshot within {after:?}")]
    Timeout {
        /// the deadline
        after: Duration,
    },
}

impl OpenError {
    pub(crate) fn from_redb(path: &Path, error: redb::DatabaseError) -> Self {
        let path = path.to_owned();
        match error {
            redb::DatabaseError::DatabaseAlreadyOpen | redb::DatabaseError::LockProtocolMismatch => {
                Self::InUse { path }
            }
            redb::DatabaseError::Storage(redb::StorageError::Io(source))
                if source.kind() != io::ErrorKind::InvalidData =>
            {
                Self::Io { path, source }
            }
            other => Self::Corrupt { path, reason: other.to_string() },
        }
    }
}

impl From<DbError> for OpenError {
    fn from(error: DbError) -> Self {
        let message = error.to_string();
        match error {
            DbError::Undecodable { .. } => Self::Undecodable { message },
            DbError::Redb { .. } | DbError::Closed { .. } | DbError::Interrupted { .. } => {
                Self::Storage { message }
            }
        }
    }
}
