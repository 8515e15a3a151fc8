//! Why a node does not start, and why it ends.

use super::data_dir::DataDirError;
use crate::cluster::SecretTooShort;
use crate::filters::FilterError;
use crate::grpc::TlsError;
use crate::lookup::LookupError;
use crate::naming::NamingError;
use crate::plugins::PluginsError;
use crate::secrets::SecretError;
use crate::tasks::{Failed, Unfinished};
use muster_raft::{OpenError, ShutdownError};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory is not ours to use.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A secret is not there.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A plugin is not as it should be.
    #[error(transparent)]
    Plugins(#[from] PluginsError),
    /// The durable rows cannot be opened.
    #[error("store: {0}")]
    Store(#[from] OpenError),
    /// A push filter cannot be used.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The files for TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The shared secret protects nothing.
    #[error(transparent)]
    ClusterSecret(#[from] SecretTooShort),
    /// Several members, and nothing by which they could trust each other.
    #[error(
        "lookup.type {lookup:?} names other members, but there is no cluster.secret: give all members the same one, or \
         write lookup.type = \"standalone\""
    )]
    NoClusterSecret {
        /// the lookup
        lookup: String,
    },
    /// The other members' part did not start.
    #[error("cluster: {0}")]
    Cluster(NamingError),
    /// Nobody says who the members are.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// A port cannot be had.
    #[error("{key} {address}: {source}{}", hint(source))]
    Bind {
        /// the setting
        key: &'static str,
        /// its value
        address: SocketAddr,
        /// why
        #[source]
        source: io::Error,
    },
    /// A file of the data directory cannot be written.
    #[error("{}: {source}", path.display())]
    File {
        /// the file
        path: PathBuf,
        /// why
        #[source]
        source: io::Error,
    },
}

impl StartError {
    pub(super) fn bind(key: &'static str, address: SocketAddr, source: io::Error) -> Self {
        Self::Bind { key, address, source }
    }

    /// Whether the settings have to be changed; otherwise the same settings may do at another time.
    pub fn is_of_settings(&self) -> bool {
        match self {
            Self::Secret(_)
            | Self::Filter(_)
            | Self::Plugins(_)
            | Self::Tls(_)
            | Self::ClusterSecret(_)
            | Self::NoClusterSecret { .. } => true,
            Self::Lookup(error) => !matches!(error, LookupError::NoMembers(_)),
            Self::DataDir(_) | Self::Cluster(_) | Self::Store(_) | Self::Bind { .. } | Self::File { .. } => {
                false
            }
        }
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another process has this port: choose another one, or stop that process"
        }
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege",
        _ => "",
    }
}

/// Why a node ended that nobody told to, or how its end went wrong.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A task failed.
    #[error(transparent)]
    Task(#[from] Failed),
    /// Something was still going on when the grace was over.
    #[error(transparent)]
    Unfinished(#[from] Unfinished),
    /// The store did not close well. What was acknowledged is safe.
    #[error("store: {0}")]
    Store(#[from] ShutdownError),
}
