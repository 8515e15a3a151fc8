//! What nodes ask each other beside Raft itself: writes and reads go through the leader.

use crate::error::{ProposeError, ServeError};
use crate::group::Group;
use crate::network::{Answer, Ask, Request, Written};
use crate::store::Store;
use crate::types::{EncodedCommand, Fatal, NodeId};
use openraft::error::{CheckIsLeaderError, RaftError};
use serde_json::value::RawValue;
use std::time::Duration;

/// How long a write that is committed may take to reach the rows of this node, before it is answered without
/// (its caller may then read an older state here).
const CATCH_UP_MOST: Duration = Duration::from_secs(3);
/// How long the leader may take to find out that it still leads.
const READ_MOST: Duration = Duration::from_secs(3);

impl Store {
    /// Answers a call of another node: see [`Transport`](crate::Transport).
    ///
    /// # Errors
    /// [`ServeError`]; the caller gets no answer then.
    pub async fn serve(&self, request: &RawValue) -> Result<Box<RawValue>, ServeError> {
        let Request { group, ask } = serde_json::from_str(request.get()).map_err(ServeError::Unreadable)?;
        let answer =
            if self.belongs_to(group, &ask).await? { self.answer(ask).await } else { Answer::Stranger };
        serde_json::value::to_raw_value(&answer).map_err(ServeError::Unwritable)
    }

    /// A node without a group becomes part of the first one whose log it is offered.
    async fn belongs_to(&self, group: Group, ask: &Ask) -> Result<bool, ServeError> {
        let belonging = &self.0.network.group;
        match belonging.get() {
            Some(own) => Ok(own == group),
            None if matches!(ask, Ask::Append(_) | Ask::Vote(_) | Ask::Snapshot(_)) => {
                tracing::info!(%group, "this node joins a group");
                let set = belonging.set(group).await;
                set.map_err(|error| ServeError::Storage { message: error.to_string() })?;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    async fn answer(&self, ask: Ask) -> Answer {
        let raft = &self.0.raft;
        match ask {
            Ask::Append(request) => Answer::Append(raft.append_entries(request).await),
            Ask::Vote(request) => Answer::Vote(raft.vote(request).await),
            Ask::Snapshot(request) => Answer::Snapshot(raft.install_snapshot(request).await),
            Ask::Write(command) => {
                // What this release does not know would end in quarantine here, and perhaps only here.
                if let Err(error) = command.decode() {
                    let reason = format!("the leader does not know it, is its release older? {error}");
                    return Answer::Write(Err(ProposeError::Unstorable { reason }));
                }
                let written =
                    tokio::time::timeout(self.0.options.propose_timeout, self.attempt(command)).await;
                let after = self.0.options.propose_timeout;
                Answer::Write(written.unwrap_or(Err(ProposeError::Timeout { after })))
            }
            Ask::ReadIndex => Answer::ReadIndex(self.read_index_here().await),
        }
    }

    /// Writes here where this node leads, and on the node that does otherwise.
    pub(crate) async fn attempt_anywhere(&self, command: &EncodedCommand) -> Result<Written, ProposeError> {
        let Some(leader) = self.another_leads() else { return self.attempt(command.clone()).await };
        let after = self.0.options.propose_timeout;
        match self.0.network.ask(leader, Ask::Write(command.clone()), after).await {
            Ok(Answer::Write(written)) => written,
            Ok(_) => Err(ProposeError::Timeout { after }),
            Err(error) if error.nothing_happened() => {
                tracing::debug!(%error, "the leader cannot be reached");
                Err(ProposeError::NoLeader)
            }
            Err(_) => Err(ProposeError::Timeout { after }),
        }
    }

    /// Waits until the entry at `index` is in the rows of this node, for a while.
    pub(crate) async fn caught_up(&self, index: u64) -> bool {
        let mut metrics = self.0.metrics.clone();
        let applied = metrics.wait_for(|metrics| {
            metrics.running_state.is_err() || metrics.last_applied.map(|id| id.index) >= Some(index)
        });
        tokio::time::timeout(CATCH_UP_MOST, applied).await.is_ok_and(|waited| waited.is_ok())
    }

    /// When this answers, the rows of this node hold every write that was acknowledged, on any node, before it
    /// was called.
    ///
    /// # Errors
    /// [`ProposeError::NoLeader`] or [`ProposeError::Timeout`] where that cannot be made sure.
    pub async fn read_barrier(&self) -> Result<(), ProposeError> {
        let after = READ_MOST;
        let index = match self.another_leads() {
            None => self.read_index_here().await?,
            Some(leader) => match self.0.network.ask(leader, Ask::ReadIndex, after).await {
                Ok(Answer::ReadIndex(index)) => index?,
                Ok(_) | Err(_) => return Err(ProposeError::NoLeader),
            },
        };
        match index {
            Some(index) if !self.caught_up(index).await => Err(ProposeError::Timeout { after }),
            _ => Ok(()),
        }
    }

    async fn read_index_here(&self) -> Result<Option<u64>, ProposeError> {
        let sure = tokio::time::timeout(READ_MOST, self.0.raft.get_read_log_id()).await;
        match sure {
            Ok(Ok((index, _))) => Ok(index.map(|id| id.index)),
            Ok(Err(RaftError::APIError(
                CheckIsLeaderError::ForwardToLeader(_) | CheckIsLeaderError::QuorumNotEnough(_),
            ))) => Err(ProposeError::NoLeader),
            Ok(Err(RaftError::Fatal(Fatal::Stopped))) => Err(ProposeError::ShuttingDown),
            Ok(Err(RaftError::Fatal(error))) => Err(ProposeError::Storage { reason: error.to_string() }),
            Err(_) => Err(ProposeError::Timeout { after: READ_MOST }),
        }
    }

    /// The other node that leads, if one is known to.
    pub(crate) fn another_leads(&self) -> Option<NodeId> {
        let metrics = self.0.metrics.borrow();
        metrics.current_leader.filter(|leader| *leader != metrics.id)
    }
}
