//! What the values of the `meta` and `log` tables look like: plain JSON of our own, so that the file does not
//! change when openraft does.

use crate::status::Member;
use crate::types::{Batch, Entry, LogId, Membership, Node, NodeId, SnapshotMeta, StoredMembership, Vote};
use openraft::{CommittedLeaderId, EntryPayload};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Identity of a log entry: who led when it was proposed, and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogIdRecord {
    pub(crate) term: u64,
    node: NodeId,
    pub(crate) index: u64,
}

/// Whom this node has voted for in which term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VoteRecord {
    pub(crate) term: u64,
    node: NodeId,
    committed: bool,
}

/// Who votes, and where everybody is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MembershipRecord {
    /// one set of voters; two while a change is under way
    voters: Vec<BTreeSet<NodeId>>,
    /// addresses of voters and learners
    nodes: BTreeMap<NodeId, String>,
}

/// A membership and the entry that brought it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredMembershipRecord {
    log_id: Option<LogIdRecord>,
    membership: MembershipRecord,
}

/// A log entry.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EntryRecord {
    id: LogIdRecord,
    payload: PayloadRecord,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PayloadRecord {
    Blank {},
    Batch(Batch),
    Membership(MembershipRecord),
}

/// What the rows contain: everything up to an entry, and the membership at that point.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AppliedRecord {
    pub(crate) last: Option<LogIdRecord>,
    pub(crate) membership: StoredMembershipRecord,
}

/// The current snapshot: which pieces make it up and what it covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotRecord {
    pub(crate) generation: u64,
    pub(crate) pieces: u32,
    /// of all pieces together
    pub(crate) bytes: u64,
    pub(crate) id: String,
    pub(crate) covers: AppliedRecord,
}

impl From<LogId> for LogIdRecord {
    fn from(id: LogId) -> Self {
        let leader = id.committed_leader_id();
        Self { term: leader.term, node: leader.node_id, index: id.index }
    }
}

impl From<LogIdRecord> for LogId {
    fn from(id: LogIdRecord) -> Self {
        Self::new(CommittedLeaderId::new(id.term, id.node), id.index)
    }
}

impl From<&Vote> for VoteRecord {
    fn from(vote: &Vote) -> Self {
        Self { term: vote.leader_id.term, node: vote.leader_id.node_id, committed: vote.committed }
    }
}

impl From<VoteRecord> for Vote {
    fn from(vote: VoteRecord) -> Self {
        match vote.committed {
            true => Self::new_committed(vote.term, vote.node),
            false => Self::new(vote.term, vote.node),
        }
    }
}

impl Default for MembershipRecord {
    fn default() -> Self {
        (&Membership::default()).into()
    }
}

impl From<&Membership> for MembershipRecord {
    fn from(membership: &Membership) -> Self {
        Self {
            voters: membership.get_joint_config().clone(),
            nodes: membership.nodes().map(|(id, node)| (*id, node.addr.clone())).collect(),
        }
    }
}

impl From<MembershipRecord> for Membership {
    fn from(record: MembershipRecord) -> Self {
        let nodes: BTreeMap<NodeId, Node> =
            record.nodes.into_iter().map(|(id, address)| (id, Node::new(address))).collect();
        Self::new(record.voters, nodes)
    }
}

impl MembershipRecord {
    /// This one, and nobody else.
    pub(crate) fn only(node: NodeId, address: String) -> Self {
        Self { voters: vec![BTreeSet::from([node])], nodes: BTreeMap::from([(node, address)]) }
    }

    pub(crate) fn members(&self) -> Vec<Member> {
        let votes = |id: &NodeId| self.voters.iter().any(|voters| voters.contains(id));
        let member = |(id, address): (&NodeId, &String)| Member {
            id: *id,
            address: address.clone(),
            voter: votes(id),
        };
        self.nodes.iter().map(member).collect()
    }

    /// Whether the voters are being changed.
    pub(crate) fn is_changing(&self) -> bool {
        self.voters.len() > 1
    }

    /// Whether `node` alone decides what is committed.
    pub(crate) fn is_only_voter(&self, node: NodeId) -> bool {
        !self.voters.is_empty() && self.voters.iter().all(|voters| voters.iter().eq([&node]))
    }
}

impl From<&StoredMembership> for StoredMembershipRecord {
    fn from(stored: &StoredMembership) -> Self {
        Self { log_id: stored.log_id().map(Into::into), membership: stored.membership().into() }
    }
}

impl From<StoredMembershipRecord> for StoredMembership {
    fn from(record: StoredMembershipRecord) -> Self {
        Self::new(record.log_id.map(Into::into), record.membership.into())
    }
}

impl StoredMembershipRecord {
    pub(crate) fn new(at: LogId, membership: &Membership) -> Self {
        Self { log_id: Some(at.into()), membership: membership.into() }
    }

    pub(crate) fn of(at: LogIdRecord, membership: MembershipRecord) -> Self {
        Self { log_id: Some(at), membership }
    }

    pub(crate) fn membership(&self) -> &MembershipRecord {
        &self.membership
    }
}

impl From<Entry> for EntryRecord {
    fn from(entry: Entry) -> Self {
        let payload = match entry.payload {
            EntryPayload::Blank => PayloadRecord::Blank {},
            EntryPayload::Normal(batch) => PayloadRecord::Batch(batch),
            EntryPayload::Membership(membership) => PayloadRecord::Membership((&membership).into()),
        };
        Self { id: entry.log_id.into(), payload }
    }
}

impl From<EntryRecord> for Entry {
    fn from(record: EntryRecord) -> Self {
        let payload = match record.payload {
            PayloadRecord::Blank {} => EntryPayload::Blank,
            PayloadRecord::Batch(batch) => EntryPayload::Normal(batch),
            PayloadRecord::Membership(membership) => EntryPayload::Membership(membership.into()),
        };
        Self { log_id: record.id.into(), payload }
    }
}

impl From<&SnapshotRecord> for SnapshotMeta {
    fn from(record: &SnapshotRecord) -> Self {
        Self {
            last_log_id: record.covers.last.map(Into::into),
            last_membership: record.covers.membership.clone().into(),
            snapshot_id: record.id.clone(),
        }
    }
}

impl From<&SnapshotMeta> for AppliedRecord {
    fn from(meta: &SnapshotMeta) -> Self {
        Self { last: meta.last_log_id.map(Into::into), membership: (&meta.last_membership).into() }
    }
}
