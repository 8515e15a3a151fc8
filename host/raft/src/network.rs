//! How Raft reaches other nodes.
//!
//! There are none yet: a store has one voter, itself, and openraft then never asks for a connection. The
//! seam is [`RaftNetworkFactory`]: `Store::open_on` hands one to `Raft::new`, and what the receiving side needs
//! (`append_entries`, `vote`, `install_snapshot` of [`Raft`](crate::types::Raft)) is on the handle that the
//! store keeps. `tests::cluster` runs three stores on a network in memory that way. Peers that answer nothing are what a cluster without a network looks like, and that is what
//! this one does: it says "unreachable", which openraft retries with back-off.

use crate::types::{Node, NodeId, TypeConfig};
use openraft::error::{InstallSnapshotError, RPCError, RaftError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{RaftNetwork, RaftNetworkFactory};

type Answer<T, E = RaftError<NodeId>> = Result<T, RPCError<NodeId, Node, E>>;

/// A network without anybody else on it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Alone;

/// A node that cannot be reached.
#[derive(Clone, Debug, thiserror::Error)]
#[error("node {target} at {address} cannot be reached: this version has no network between nodes")]
pub(crate) struct Nobody {
    target: NodeId,
    address: String,
}

impl RaftNetworkFactory<TypeConfig> for Alone {
    type Network = Nobody;

    async fn new_client(&mut self, target: NodeId, node: &Node) -> Nobody {
        Nobody { target, address: node.addr.clone() }
    }
}

impl Nobody {
    fn refusal<E: std::error::Error>(&self) -> RPCError<NodeId, Node, E> {
        RPCError::Unreachable(Unreachable::new(self))
    }
}

impl RaftNetwork<TypeConfig> for Nobody {
    async fn append_entries(
        &mut self,
        _: AppendEntriesRequest<TypeConfig>,
        _: RPCOption,
    ) -> Answer<AppendEntriesResponse<NodeId>> {
        Err(self.refusal())
    }

    async fn install_snapshot(
        &mut self,
        _: InstallSnapshotRequest<TypeConfig>,
        _: RPCOption,
    ) -> Answer<InstallSnapshotResponse<NodeId>, RaftError<NodeId, InstallSnapshotError>> {
        Err(self.refusal())
    }

    async fn vote(&mut self, _: VoteRequest<NodeId>, _: RPCOption) -> Answer<VoteResponse<NodeId>> {
        Err(self.refusal())
    }
}
