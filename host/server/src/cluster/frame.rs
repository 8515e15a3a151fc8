//! What travels in a session.

use crate::rollout::Piece;
use muster_core::Millis;
use muster_core::cluster::{Message, NodeId};
use muster_core::plugin::{Outcome, Target};
use muster_core::service::CheckerSettings;
use muster_raft::Group;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};

/// One message between two members.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Frame {
    /// nothing: the connection is alive
    Alive,
    /// ephemeral data
    Distro(Box<Message>),
    /// something that is answered
    Call {
        /// given back in the answer
        call: u64,
        /// what is asked
        body: Call,
    },
    /// the answer
    Answer {
        /// of the call
        call: u64,
        /// what is answered
        body: Answer,
    },
}

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Call {
    /// how the sender is doing; answered in kind
    Report(Report),
    /// durable data
    Raft(Box<RawValue>),
    /// look at a target that seems dead to the sender
    Look(Box<Look>),
    /// a part of a file of a plugin; see `rollout::files`
    File {
        /// its digest and what it is
        name: String,
        /// from which byte on
        from: u64,
    },
    /// how the versions of plugins are doing
    Versions {
        /// of those that are called so; none means all
        name: Option<String>,
    },
}

/// A check that another member wants made.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Look {
    pub(crate) target: Target,
    pub(crate) checker: CheckerSettings,
    /// longest time for the check
    pub(crate) timeout: Millis,
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    /// how the receiver is doing
    Report(Report),
    /// durable data
    Raft(Box<RawValue>),
    /// what was found
    Look(Outcome),
    /// the part, if the file is there
    File(Option<Piece>),
    /// as the API says it
    Versions(Vec<Value>),
}

/// How a member is doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Report {
    /// `ip:port`, by which it is in the member list
    pub(super) address: String,
    /// whether it does not serve yet
    pub(super) starting: bool,
    /// the Raft group it belongs to, once it does
    pub(super) group: Option<Group>,
    /// itself and the others that it has reached
    pub(super) sees: BTreeSet<NodeId>,
    /// what is shown of it: `version`, `raftPort` …
    pub(super) info: BTreeMap<String, serde_json::Value>,
}
