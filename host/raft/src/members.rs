//! Who belongs to the group: founding it, letting nodes in, taking them out.

use crate::error::MembersError;
use crate::group::Group;
use crate::store::Store;
use crate::types::{Fatal, Node, NodeId};
use openraft::error::{ClientWriteError, RaftError};
use openraft::{ChangeMembers, ServerState};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a change of members may take. A learner is sent the whole state first.
const CHANGE_MOST: Duration = Duration::from_secs(60);

impl Store {
    /// Founds a group whose voters are `members`, by id, with their addresses. To be called on one node of those
    /// that belong to none; the others join when it calls them.
    ///
    /// # Errors
    /// [`MembersError::Founded`] where this node belongs to a group, and others.
    pub async fn found(&self, members: BTreeMap<u64, String>) -> Result<Group, MembersError> {
        let belonging = &self.0.network.group;
        if let Some(group) = belonging.get() {
            return Err(MembersError::Founded { group: group.to_string() });
        }
        let nodes: BTreeMap<NodeId, Node> =
            members.into_iter().map(|(id, address)| (id, Node::new(address))).collect();
        let refused = |reason: String| MembersError::Refused { reason };
        self.0.raft.initialize(nodes).await.map_err(|error| refused(error.to_string()))?;
        // Afterwards: a node that ends in between gets a group when it is opened again, as any that has a log and
        // none. The other way round it would wait for a group that nobody founds. Nobody is called without one.
        let group = Group::draw();
        belonging.set(group).await.map_err(|error| refused(error.to_string()))?;
        Ok(group)
    }

    /// Lets a node in: it gets all rows, then a vote. Where it belongs to the group already, its address is
    /// corrected.
    ///
    /// # Errors
    /// [`MembersError`].
    pub async fn admit(&self, id: u64, address: &str) -> Result<(), MembersError> {
        let known = self.status().members.into_iter().find(|member| member.id == id);
        let node = Node::new(address);
        match &known {
            Some(member) if member.address != address => {
                self.change(ChangeMembers::SetNodes(BTreeMap::from([(id, node)]))).await?;
            }
            Some(_) => {}
            None => {
                let added = self.0.raft.add_learner(id, node, true);
                let added = tokio::time::timeout(CHANGE_MOST, added).await;
                added.map_err(|_| MembersError::Timeout { after: CHANGE_MOST })?.map_err(refusal)?;
            }
        }
        if known.is_some_and(|member| member.voter) {
            return Ok(());
        }
        self.until_it_has_the_log(id).await?;
        self.change(ChangeMembers::AddVoterIds(BTreeSet::from([id]))).await
    }

    /// Waits until the node has what the log holds now. openraft counts a learner as caught up when it lags by no more
    /// than some entries, which with a short log is also one that has got nothing, and perhaps never will: given a
    /// vote, it would be one more that has to be outvoted.
    async fn until_it_has_the_log(&self, id: NodeId) -> Result<(), MembersError> {
        let wanted = self.status().last_log;
        let mut metrics = self.0.metrics.clone();
        let has = metrics.wait_for(|metrics| {
            let matched = metrics.replication.as_ref().and_then(|all| *all.get(&id)?);
            matched.map(|log| log.index) >= wanted || metrics.state != ServerState::Leader
        });
        let waited = tokio::time::timeout(CHANGE_MOST, has).await;
        let metrics = waited.map_err(|_| MembersError::Timeout { after: CHANGE_MOST })?;
        match metrics.map(|metrics| metrics.state) {
            Ok(ServerState::Leader) => Ok(()),
            Ok(_) | Err(_) => {
                Err(MembersError::Refused { reason: "this node does not lead any more".into() })
            }
        }
    }

    /// Takes a node out for good. It has to be stopped, or it goes on asking for votes.
    ///
    /// # Errors
    /// [`MembersError`].
    pub async fn expel(&self, id: u64) -> Result<(), MembersError> {
        let known = self.status().members.into_iter().find(|member| member.id == id);
        let known = known.ok_or(MembersError::Unknown { id })?;
        let ids = BTreeSet::from([id]);
        if known.voter {
            self.change(ChangeMembers::RemoveVoters(ids.clone())).await?;
        }
        if self.status().members.iter().any(|member| member.id == id) {
            self.change(ChangeMembers::RemoveNodes(ids)).await?;
        }
        Ok(())
    }

    async fn change(&self, change: ChangeMembers<NodeId, Node>) -> Result<(), MembersError> {
        let changed = tokio::time::timeout(CHANGE_MOST, self.0.raft.change_membership(change, false)).await;
        changed.map_err(|_| MembersError::Timeout { after: CHANGE_MOST })?.map_err(refusal)?;
        Ok(())
    }
}

fn refusal(error: RaftError<NodeId, ClientWriteError<NodeId, Node>>) -> MembersError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(leader)) => {
            MembersError::NotLeader { leader: leader.leader_id }
        }
        RaftError::APIError(error) => MembersError::Refused { reason: error.to_string() },
        RaftError::Fatal(Fatal::Stopped) => MembersError::Refused { reason: "shutting down".into() },
        RaftError::Fatal(error) => MembersError::Refused { reason: error.to_string() },
    }
}
