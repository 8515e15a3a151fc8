//! Three stores on a network in memory: what the storage and the handle must be ready for.

use crate::{CallError, Carried, Committed, ProposeError, RaftOptions, Store, Transport};
use muster_core::persist::{Change, Command, MemoryRows, Row, RowKey};
use muster_core::{Instance, ServiceKey};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

/// Who can be reached.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Mutex<HashMap<u64, Store>>>);

impl Transport for Memory {
    fn call(&self, target: u64, request: Box<RawValue>, within: Duration) -> Carried {
        let found = self.0.lock().unwrap().get(&target).cloned();
        Box::pin(async move {
            let store = found.ok_or(CallError::NotSent)?;
            let answer = tokio::time::timeout(within, store.serve(&request)).await;
            answer.map_err(|_| CallError::NoAnswer)?.map_err(|_| CallError::NoAnswer)
        })
    }
}

/// A store and the rows as its naming loop would have them.
pub(super) struct Member {
    id: u64,
    pub(super) store: Store,
    rows: BTreeMap<RowKey, Row>,
    committed: mpsc::Receiver<Committed>,
    last_index: u64,
}

impl Member {
    pub(super) async fn start(network: &Memory, directory: &Path, id: u64) -> Self {
        let options = RaftOptions {
            path: directory.join(format!("{id}.redb")),
            node_id: Some(id),
            address: format!("10.0.0.{id}:7848"),
            bootstrap: id == 1,
            snapshot_after: 20,
            keep_entries: 3,
            ..RaftOptions::default()
        };
        let (sender, committed) = mpsc::channel(1_000);
        let (store, initial) =
            Store::open_on(Some(Arc::new(network.clone())), options, sender).await.unwrap();
        network.0.lock().unwrap().insert(id, store.clone());
        let rows = initial.into_iter().filter_map(|change| Some((change.key, change.row?))).collect();
        Self { id, store, rows, committed, last_index: 0 }
    }

    pub(super) async fn stop(self, network: &Memory) {
        network.0.lock().unwrap().remove(&self.id);
        self.store.shutdown().await.unwrap();
    }

    /// The rows are `expected` with what is in the channel already.
    pub(super) fn reaches_at_once(&mut self, expected: &MemoryRows) {
        while let Ok(committed) = self.committed.try_recv() {
            self.take(committed);
        }
        assert_eq!(self.rows, expected.0);
    }

    /// Follows the channel until the rows are `expected`.
    pub(super) async fn reaches(&mut self, expected: &MemoryRows) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while self.rows != expected.0 {
            let next = tokio::time::timeout_at(deadline, self.committed.recv()).await;
            self.take(next.expect("it catches up in time").expect("it is open"));
        }
    }

    fn take(&mut self, Committed { index, changes }: Committed) {
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

/// Registers 30 instances and removes every third.
pub(super) async fn write(store: &Store, model: &mut MemoryRows, name: &str) {
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
        first.store.admit(id, &format!("10.0.0.{id}:7848")).await.unwrap();
    }
    second.reaches(&model).await;
    third.reaches(&model).await;
    assert_eq!([first.store.group(); 2], [second.store.group(), third.store.group()]);
    // any of them takes writes, and its own rows have them when it answers
    write(&first.store, &mut model, "together").await;
    write(&third.store, &mut model, "through another").await;
    third.reaches_at_once(&model);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_founded_once_and_strangers_are_kept_out() {
    let directory = tempfile::tempdir().unwrap();
    let (network, mut model) = (Memory::default(), MemoryRows::default());
    // 1 is a group of its own, 2 and 3 found one
    let first = Member::start(&network, directory.path(), 1).await;
    let mut second = Member::start(&network, directory.path(), 2).await;
    let mut third = Member::start(&network, directory.path(), 3).await;
    assert_eq!((second.store.group(), third.store.group()), (None, None));
    let members = BTreeMap::from([2, 3].map(|id| (id, format!("10.0.0.{id}:7848"))));
    let group = second.store.found(members.clone()).await.unwrap();
    assert!(second.store.found(members).await.is_err());
    write(&third.store, &mut model, "of two").await;
    second.reaches(&model).await;
    assert_eq!(third.store.group(), Some(group));
    assert_ne!(first.store.group(), Some(group));

    let stranger = first.store.admit(2, "10.0.0.2:7848");
    assert!(tokio::time::timeout(Duration::from_secs(2), stranger).await.is_err(), "it never catches up");
    assert_eq!(second.store.status().members.len(), 2);
    let stranger = second.store.admit(1, "10.0.0.1:7848");
    assert!(tokio::time::timeout(Duration::from_secs(2), stranger).await.is_err(), "nor here");
    assert!(second.store.status().members.iter().all(|member| member.voter == (member.id != 1)));
    write(&second.store, &mut model, "still of two").await;
    third.reaches(&model).await;

    // one of two is no majority: nothing is written, and the reason is named
    second.stop(&network).await;
    let command = Command::DeleteService { service: ServiceKey::new("", "", "of two") };
    let answer = third.store.propose(command).await;
    assert!(matches!(answer, Err(ProposeError::NoLeader | ProposeError::Timeout { .. })), "{answer:?}");
    assert!(third.store.read_barrier().await.is_err());
    first.stop(&network).await;
    third.stop(&network).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_taken_out_is_missed_by_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let (network, mut model) = (Memory::default(), MemoryRows::default());
    let mut first = Member::start(&network, directory.path(), 1).await;
    let mut second = Member::start(&network, directory.path(), 2).await;
    let third = Member::start(&network, directory.path(), 3).await;
    for id in [2, 3] {
        first.store.admit(id, &format!("10.0.0.{id}:7848")).await.unwrap();
    }
    third.stop(&network).await;
    first.store.expel(3).await.unwrap();
    assert!(matches!(first.store.expel(3).await, Err(crate::MembersError::Unknown { id: 3 })));
    let ids: Vec<u64> = first.store.status().members.iter().map(|member| member.id).collect();
    assert_eq!(ids, [1, 2]);
    write(&second.store, &mut model, "of two").await;
    first.reaches(&model).await;
    second.store.read_barrier().await.unwrap();
    second.reaches_at_once(&model);
    first.stop(&network).await;
    second.stop(&network).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whom_nobody_answers_says_so_before_a_write_runs_out_of_time() {
    let directory = tempfile::tempdir().unwrap();
    let (network, mut model) = (Memory::default(), MemoryRows::default());
    let first = Member::start(&network, directory.path(), 1).await;
    let second = Member::start(&network, directory.path(), 2).await;
    first.store.admit(2, "10.0.0.2:7848").await.unwrap();
    write(&first.store, &mut model, "of two").await;

    let cut = network.0.lock().unwrap().remove(&2).unwrap();
    let deserted = async {
        while first.store.status().leader.is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), deserted).await.expect("it notices");
    let command = Command::DeleteService { service: ServiceKey::new("", "", "of two") };
    assert_eq!(first.store.propose(command).await, Err(ProposeError::NoLeader));

    network.0.lock().unwrap().insert(2, cut);
    let found = async {
        while first.store.status().leader.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), found).await.expect("they find each other again");
    write(&first.store, &mut model, "of two again").await;
    first.stop(&network).await;
    second.stop(&network).await;
}
