//! Three stores on a network in memory: what the storage and the handle must be ready for.
#![allow(clippy::result_large_err, reason = "openraft's error type")]

use crate::types::{Node, NodeId, Raft, TypeConfig};
use crate::{Committed, RaftOptions, Store};
use muster_core::persist::{Change, Command, MemoryRows, Row, RowKey};
use muster_core::{Instance, ServiceKey};
use openraft::error::{InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{RaftNetwork, RaftNetworkFactory};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

type Answer<T, E = RaftError<NodeId>> = Result<T, RPCError<NodeId, Node, E>>;

/// Who can be reached.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<HashMap<NodeId, Raft>>>);

struct Link {
    network: Memory,
    target: NodeId,
}

impl RaftNetworkFactory<TypeConfig> for Memory {
    type Network = Link;

    async fn new_client(&mut self, target: NodeId, _: &Node) -> Link {
        Link { network: self.clone(), target }
    }
}

impl Link {
    fn raft<E: std::error::Error>(&self) -> Answer<Raft, E> {
        let found = self.network.0.lock().unwrap().get(&self.target).cloned();
        found.ok_or_else(|| {
            RPCError::Network(NetworkError::new(&std::io::Error::from(std::io::ErrorKind::NotConnected)))
        })
    }

    fn remote<T, E: std::error::Error>(&self, answer: Result<T, E>) -> Answer<T, E> {
        answer.map_err(|error| RPCError::RemoteError(RemoteError::new(self.target, error)))
    }
}

impl RaftNetwork<TypeConfig> for Link {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        _: RPCOption,
    ) -> Answer<AppendEntriesResponse<NodeId>> {
        let answer = self.raft()?.append_entries(request).await;
        self.remote(answer)
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshotRequest<TypeConfig>,
        _: RPCOption,
    ) -> Answer<InstallSnapshotResponse<NodeId>, RaftError<NodeId, InstallSnapshotError>> {
        let answer = self.raft()?.install_snapshot(request).await;
        self.remote(answer)
    }

    async fn vote(&mut self, request: VoteRequest<NodeId>, _: RPCOption) -> Answer<VoteResponse<NodeId>> {
        let answer = self.raft()?.vote(request).await;
        self.remote(answer)
    }
}

/// A store and the rows as its naming loop would have them.
struct Member {
    id: NodeId,
    store: Store,
    rows: BTreeMap<RowKey, Row>,
    committed: mpsc::Receiver<Committed>,
    last_index: u64,
}

impl Member {
    async fn start(network: &Memory, directory: &Path, id: NodeId) -> Self {
        let options = RaftOptions {
            path: directory.join(format!("{id}.redb")),
            node_id: id,
            address: format!("10.0.0.{id}:7848"),
            bootstrap: id == 1,
            snapshot_after: 20,
            keep_entries: 3,
            ..RaftOptions::default()
        };
        let (sender, committed) = mpsc::channel(1_000);
        let (store, initial) = Store::open_on(network.clone(), options, sender).await.unwrap();
        network.0.lock().unwrap().insert(id, store.raft().clone());
        let rows = initial.into_iter().filter_map(|change| Some((change.key, change.row?))).collect();
        Self { id, store, rows, committed, last_index: 0 }
    }

    async fn stop(self, network: &Memory) {
        network.0.lock().unwrap().remove(&self.id);
        self.store.shutdown().await.unwrap();
    }

    /// Follows the channel until the rows are `expected`.
    async fn reaches(&mut self, expected: &MemoryRows) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while self.rows != expected.0 {
            let next = tokio::time::timeout_at(deadline, self.committed.recv()).await;
            let Committed { index, changes } = next.expect("it catches up in time").expect("it is open");
            assert!(index > self.last_index, "node {}: {index} after {}", self.id, self.last_index);
            self.last_index = index;
            for Change { key, row } in changes {
                match row {
                    Some(row) => self.rows.insert(key, row),
                    None => self.rows.remove(&key),
                };
            }
        }
    }
}

/// Registers 30 instances and removes every third.
async fn write(store: &Store, model: &mut MemoryRows, name: &str) {
    let service = ServiceKey::new("", "", name);
    for port in 0..30 {
        let instance = Instance { ephemeral: false, ..Instance::new("10.9.9.9", port) };
        let mut commands = vec![Command::RegisterInstance { service: service.clone(), instance }];
        if port % 3 == 0 {
            let address = format!("10.9.9.9:{port}");
            commands.push(Command::DeregisterInstance { service: service.clone(), address });
        }
        for command in commands {
            assert_eq!(store.propose(command.clone()).await, Ok(model.run(&command).0));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_join_restart_and_lose_their_leader_and_hold_the_same_rows() {
    let directory = tempfile::tempdir().unwrap();
    let (network, mut model) = (Memory::default(), MemoryRows::default());
    let mut first = Member::start(&network, directory.path(), 1).await;
    write(&first.store, &mut model, "before").await;
    first.store.snapshot_now().await.unwrap();
    assert!(first.store.status().snapshot_index.is_some());

    // The log they would need is gone, so they get a snapshot.
    let mut second = Member::start(&network, directory.path(), 2).await;
    let mut third = Member::start(&network, directory.path(), 3).await;
    for id in [2, 3] {
        let node = Node::new(format!("10.0.0.{id}:7848"));
        first.store.raft().add_learner(id, node, true).await.unwrap();
    }
    second.reaches(&model).await;
    third.reaches(&model).await;
    first.store.raft().change_membership(BTreeSet::from([1, 2, 3]), false).await.unwrap();
    write(&first.store, &mut model, "together").await;
    for member in [&mut first, &mut second, &mut third] {
        member.reaches(&model).await;
    }

    third.stop(&network).await;
    write(&first.store, &mut model, "without the third").await;
    let mut third = Member::start(&network, directory.path(), 3).await;
    third.reaches(&model).await;

    first.stop(&network).await;
    let elected = async {
        loop {
            match [&second, &third].into_iter().find(|member| {
                let status = member.store.status();
                status.leader.is_some_and(|leader| leader.id == member.id)
            }) {
                Some(leader) => return leader.store.clone(),
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let leader = tokio::time::timeout(Duration::from_secs(20), elected).await.expect("a new leader");
    write(&leader, &mut model, "without the first").await;
    second.reaches(&model).await;
    third.reaches(&model).await;
    assert_eq!(second.store.status().members.len(), 3);
    second.stop(&network).await;
    third.stop(&network).await;
}
