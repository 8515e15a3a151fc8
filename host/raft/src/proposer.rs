//! Writes that wait together are written together.
//!
//! openraft 0.9 appends, and so fsyncs, once per write. While one entry is being written, whoever else wants
//! to write waits here; all who wait go into the next entry. One writer pays one fsync for each of his
//! writes, a thousand writers at once pay one for a few hundred.

use crate::error::ProposeError;
use crate::network::Written;
use crate::types::{Batch, EncodedCommand, Fatal, Node, NodeId, Raft};
use openraft::error::{ClientWriteError, RaftError};
use tokio::sync::{mpsc, oneshot};

/// Most commands of one entry. Keeps an entry's transaction in the range of milliseconds.
const MOST_COMMANDS: usize = 512;
/// About the most bytes of one entry; a larger command travels alone.
const MOST_BYTES: usize = 256 << 10;

/// A command and who waits for its answer.
#[derive(Debug)]
pub(crate) struct Proposal {
    pub(crate) command: EncodedCommand,
    pub(crate) reply: oneshot::Sender<Result<Written, ProposeError>>,
}

/// Writes what arrives, until nobody can send any more and everything sent is answered.
pub(crate) async fn run(raft: Raft, mut queue: mpsc::Receiver<Proposal>) {
    let mut waiting = Vec::with_capacity(MOST_COMMANDS);
    while queue.recv_many(&mut waiting, MOST_COMMANDS).await > 0 {
        // Who gave up before we began must not find his command written later.
        waiting.retain(|proposal| !proposal.reply.is_closed());
        while !waiting.is_empty() {
            let portion = waiting.drain(..portion(&waiting)).collect();
            write(&raft, portion).await;
        }
    }
}

/// How many of the first go into one entry.
fn portion(waiting: &[Proposal]) -> usize {
    let mut bytes = 0;
    let fitting = waiting.iter().take_while(|proposal| {
        bytes += proposal.command.size();
        bytes <= MOST_BYTES
    });
    fitting.count().max(1)
}

async fn write(raft: &Raft, portion: Vec<Proposal>) {
    let commands = portion.iter().map(|proposal| proposal.command.clone()).collect();
    match raft.client_write(Batch { commands }).await {
        Ok(written) => {
            let index = written.log_id.index;
            for (proposal, reply) in portion.into_iter().zip(written.data.replies) {
                let answer = reply.map(|reply| Written { index, reply });
                // an error only says that he who asked has gone
                let _ =
                    proposal.reply.send(answer.map_err(|reason| ProposeError::Quarantined { index, reason }));
            }
        }
        Err(error) => {
            let error = refusal(&error);
            for proposal in portion {
                let _ = proposal.reply.send(Err(error.clone()));
            }
        }
    }
}

fn refusal(error: &RaftError<NodeId, ClientWriteError<NodeId, Node>>) -> ProposeError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => ProposeError::NoLeader,
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => {
            ProposeError::Storage { reason: error.to_string() }
        }
        RaftError::Fatal(Fatal::Stopped) => ProposeError::ShuttingDown,
        RaftError::Fatal(error) => ProposeError::Storage { reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_core::ids::ServiceKey;
    use muster_core::persist::Command;

    fn proposal(bytes: usize) -> Proposal {
        let command = Command::DeregisterInstance {
            service: ServiceKey::new("", "", "orders"),
            address: "x".repeat(bytes),
        };
        Proposal { command: EncodedCommand::new(&command).unwrap(), reply: oneshot::channel().0 }
    }

    #[test]
    fn an_entry_holds_what_fits_and_at_least_one() {
        let waiting = [proposal(MOST_BYTES / 2), proposal(MOST_BYTES / 4), proposal(MOST_BYTES / 2)];
        assert_eq!(portion(&waiting), 2);
        assert_eq!(portion(&[proposal(2 * MOST_BYTES), proposal(1)]), 1);
        assert_eq!(portion(&[proposal(1), proposal(1)]), 2);
    }
}
