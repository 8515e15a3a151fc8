//! How Raft reaches other nodes: calls over a [`Transport`] that the node brings along.
//!
//! Every call names the group it belongs to (see [`Group`]), so that nodes of two clusters which came to know
//! each other by a mistake in a member list never mix their logs.

#![allow(clippy::result_large_err, reason = "openraft's error type")]

use crate::error::ProposeError;
use crate::group::Group;
use crate::types::{EncodedCommand, Node, NodeId, TypeConfig};
use muster_core::persist::Reply;
use openraft::error::{InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{RaftNetwork, RaftNetworkFactory};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Carries calls to other nodes.
pub trait Transport: Send + Sync + 'static {
    /// Hands `request` to [`Store::serve`](crate::Store::serve) of node `target` and answers what that answered,
    /// within that time.
    fn call(&self, target: u64, request: Box<RawValue>, within: Duration) -> Carried;
}

/// The answer to a call, when it comes.
pub type Carried = Pin<Box<dyn Future<Output = Result<Box<RawValue>, CallError>> + Send>>;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no connection: the request did not leave this node.
    #[error("not connected")]
    NotSent,
    /// The request may have arrived.
    #[error("no answer in time")]
    NoAnswer,
}

/// What a node asks another.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) group: Group,
    pub(crate) ask: Ask,
}

/// See [`Request`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ask {
    Append(AppendEntriesRequest<TypeConfig>),
    Vote(VoteRequest<NodeId>),
    Snapshot(InstallSnapshotRequest<TypeConfig>),
    /// of a node that does not lead, to the one that does
    Write(EncodedCommand),
    /// up to where has the log to be applied for a read that misses nothing?
    ReadIndex,
}

/// What it is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    Append(Result<AppendEntriesResponse<NodeId>, RaftError<NodeId>>),
    Vote(Result<VoteResponse<NodeId>, RaftError<NodeId>>),
    Snapshot(Result<InstallSnapshotResponse<NodeId>, RaftError<NodeId, InstallSnapshotError>>),
    Write(Result<Written, ProposeError>),
    ReadIndex(Result<Option<u64>, ProposeError>),
    /// it belongs to another group
    Stranger,
}

/// A write that is committed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Written {
    /// index of its entry in the log
    pub(crate) index: u64,
    /// what applying it answered
    pub(crate) reply: Reply,
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("node {target}: {why}")]
    Call { target: NodeId, why: CallError },
    #[error("this node has no network to others")]
    Alone,
    #[error("this node belongs to no group yet")]
    NoGroup,
    #[error("node {target} belongs to another group")]
    Stranger { target: NodeId },
    #[error("node {target} and this one do not understand each other: {reason}")]
    Garbled { target: NodeId, reason: String },
}

impl NoAnswer {
    /// Whether the other node has certainly done nothing.
    pub(crate) fn nothing_happened(&self) -> bool {
        !matches!(self, Self::Call { why: CallError::NoAnswer, .. } | Self::Garbled { .. })
    }
}

/// The other nodes.
#[derive(Clone)]
pub(crate) struct Network {
    /// none for a node that is alone
    pub(crate) transport: Option<Arc<dyn Transport>>,
    pub(crate) group: Arc<crate::group::Belonging>,
}

impl Network {
    pub(crate) async fn ask(&self, target: NodeId, ask: Ask, within: Duration) -> Result<Answer, NoAnswer> {
        let transport = self.transport.as_ref().ok_or(NoAnswer::Alone)?;
        let group = self.group.get().ok_or(NoAnswer::NoGroup)?;
        let garbled = |error: serde_json::Error| NoAnswer::Garbled { target, reason: error.to_string() };
        let request = serde_json::value::to_raw_value(&Request { group, ask }).map_err(garbled)?;
        let answer = transport.call(target, request, within).await;
        let answer = answer.map_err(|why| NoAnswer::Call { target, why })?;
        match serde_json::from_str(answer.get()).map_err(garbled)? {
            Answer::Stranger => Err(NoAnswer::Stranger { target }),
            answer => Ok(answer),
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Line;

    async fn new_client(&mut self, target: NodeId, _: &Node) -> Line {
        Line { network: self.clone(), target }
    }
}

/// Raft's way to one node.
pub(crate) struct Line {
    network: Network,
    target: NodeId,
}

type RpcResult<T, E = RaftError<NodeId>> = Result<T, RPCError<NodeId, Node, E>>;

impl Line {
    async fn ask<E: std::error::Error>(&self, ask: Ask, option: &RPCOption) -> RpcResult<Answer, E> {
        let answer = self.network.ask(self.target, ask, option.hard_ttl()).await;
        answer.map_err(|error| match error {
            // openraft tries again at once
            NoAnswer::Call { why: CallError::NoAnswer, .. } => RPCError::Network(NetworkError::new(&error)),
            // and here after a pause
            error => RPCError::Unreachable(Unreachable::new(&error)),
        })
    }

    fn remote<T, E: std::error::Error>(&self, answer: Result<T, E>) -> RpcResult<T, E> {
        answer.map_err(|error| RPCError::RemoteError(RemoteError::new(self.target, error)))
    }

    fn unfit<T, E: std::error::Error>(&self) -> RpcResult<T, E> {
        let reason = "it answers something else than it was asked".to_owned();
        Err(RPCError::Unreachable(Unreachable::new(&NoAnswer::Garbled { target: self.target, reason })))
    }
}

impl RaftNetwork<TypeConfig> for Line {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<AppendEntriesResponse<NodeId>> {
        match self.ask(Ask::Append(request), &option).await? {
            Answer::Append(answer) => self.remote(answer),
            _ => self.unfit(),
        }
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshotRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<InstallSnapshotResponse<NodeId>, RaftError<NodeId, InstallSnapshotError>> {
        match self.ask(Ask::Snapshot(request), &option).await? {
            Answer::Snapshot(answer) => self.remote(answer),
            _ => self.unfit(),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<NodeId>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<NodeId>> {
        match self.ask(Ask::Vote(request), &option).await? {
            Answer::Vote(answer) => self.remote(answer),
            _ => self.unfit(),
        }
    }
}
