//! What Raft says of itself.

use crate::types::{Metrics, NodeId};
use openraft::ServerState;

/// How long a leader counts as one though no majority has answered it: by then the others may have another.
/// The longest wait of a follower before it asks for votes ([`RaftOptions`](crate::RaftOptions)).
const DESERTED_AFTER_MS: u64 = crate::options::ELECTION_TIMEOUT_MAX_MS;

/// What Raft knows at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftStatus {
    /// this node
    pub node_id: u64,
    /// what it does
    pub role: Role,
    /// the current term
    pub term: u64,
    /// who leads, if anybody is known to: not a leader that a majority no longer answers
    pub leader: Option<Member>,
    /// index of the last entry in the rows
    pub last_applied: Option<u64>,
    /// index of the last entry in the log
    pub last_log: Option<u64>,
    /// index of the last entry in the snapshot
    pub snapshot_index: Option<u64>,
    /// index of the last entry dropped from the log
    pub purged: Option<u64>,
    /// all nodes, by id
    pub members: Vec<Member>,
}

/// What a node does in the Raft group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// receives entries, does not vote
    Learner,
    /// votes and receives entries
    Follower,
    /// asks for votes
    Candidate,
    /// writes
    Leader,
    /// the store was shut down or has failed
    Stopped,
}

/// A node of the Raft group.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Member {
    /// its id
    pub id: u64,
    /// where its Raft is reached
    pub address: String,
    /// whether it votes
    pub voter: bool,
}

impl RaftStatus {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let members = members(metrics);
        let leader = metrics.current_leader.filter(|_| !deserted(metrics));
        Self {
            node_id: metrics.id,
            role: role(metrics),
            term: metrics.current_term,
            leader: leader.and_then(|id| members.iter().find(|member| member.id == id).cloned()),
            last_applied: metrics.last_applied.map(|id| id.index),
            last_log: metrics.last_log_index,
            snapshot_index: metrics.snapshot.map(|id| id.index),
            purged: metrics.purged.map(|id| id.index),
            members,
        }
    }
}

/// Whether this node leads, and no majority has answered it for so long that it may not for long.
/// (openraft 0.9 has no leader step down by itself.) One that lost the others before any of them answered it is not
/// found by this: there is no time to count from, and writes to it run into their deadline.
pub(crate) fn deserted(metrics: &Metrics) -> bool {
    metrics.state == ServerState::Leader
        && metrics.millis_since_quorum_ack.is_some_and(|since| since > DESERTED_AFTER_MS)
}

fn role(metrics: &Metrics) -> Role {
    if metrics.running_state.is_err() {
        return Role::Stopped;
    }
    match metrics.state {
        ServerState::Learner => Role::Learner,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Leader => Role::Leader,
        ServerState::Shutdown => Role::Stopped,
    }
}

fn members(metrics: &Metrics) -> Vec<Member> {
    let membership = metrics.membership_config.membership();
    let voters: Vec<NodeId> = membership.voter_ids().collect();
    let member = |(id, node): (&NodeId, &crate::types::Node)| Member {
        id: *id,
        address: node.addr.clone(),
        voter: voters.contains(id),
    };
    membership.nodes().map(member).collect()
}
