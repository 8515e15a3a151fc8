//! The store as its callers see it.
#![allow(clippy::disallowed_methods, reason = "a test spawns its own tasks and waits for them")]

mod support;

use muster_core::persist::{Command, Reply};
use muster_core::service::ServiceMetadata;
use muster_raft::{ProposeError, RaftOptions, Role, Store};
use std::sync::Arc;
use std::time::Duration;
use support::{Node, model, one_of_each, options, register, service};
use tokio::sync::mpsc;

#[tokio::test]
async fn a_new_store_leads_at_once_and_knows_itself() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::open(options(&directory.path().join("muster.redb"))).await;
    let status = node.store.status();
    assert_eq!(status.role, Role::Leader);
    assert_eq!(status.leader.map(|leader| (leader.id, leader.address)), Some((1, "127.0.0.1:7848".into())));
    assert_eq!(status.members.len(), 1);
    assert!(node.rows().is_empty());
    node.shutdown().await;
}

#[tokio::test]
async fn what_was_acknowledged_is_in_the_channel_and_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("muster.redb");
    let mut node = Node::open(options(&path)).await;
    for (number, command) in one_of_each().into_iter().enumerate() {
        assert_eq!(node.store.propose(command).await, Ok(Reply::Done));
        assert_eq!(*node.rows(), model(&one_of_each()[..=number]).0, "after {number}");
    }
    node.shutdown().await;
    let mut node = Node::open(options(&path)).await;
    assert_eq!(*node.rows(), model(&one_of_each()).0);
    node.shutdown().await;
}

#[tokio::test]
async fn refusals_are_answers_and_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::open(options(&directory.path().join("muster.redb"))).await;
    let create = || Command::CreateService { service: service("a"), metadata: ServiceMetadata::default() };
    assert_eq!(node.store.propose(create()).await, Ok(Reply::Done));
    assert_eq!(node.store.propose(create()).await, Ok(Reply::Exists));
    node.store.propose(register("a", "10.0.0.1", 1)).await.unwrap();
    let delete = Command::DeleteService { service: service("a") };
    assert_eq!(node.store.propose(delete).await, Ok(Reply::NotEmpty));
    assert_eq!(node.rows().len(), 2);
    node.shutdown().await;
}

#[tokio::test]
async fn a_value_that_cannot_be_stored_is_refused_and_the_store_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::open(options(&directory.path().join("muster.redb"))).await;
    let nan = Command::PatchOverlay {
        service: service("a"),
        metadata_id: "x".into(),
        enabled: None,
        weight: Some(f64::NAN),
        metadata: None,
    };
    assert!(matches!(node.store.propose(nan).await, Err(ProposeError::Unstorable { .. })));
    assert_eq!(node.store.propose(register("a", "10.0.0.1", 1)).await, Ok(Reply::Done));
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_that_wait_together_share_an_entry() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::open(options(&directory.path().join("muster.redb"))).await;
    let before = node.store.status().last_log.unwrap();
    let writes = (0..2_000u16).map(|port| {
        let store = node.store.clone();
        tokio::spawn(async move { store.propose(register("a", "10.0.0.1", port)).await })
    });
    for write in writes.collect::<Vec<_>>() {
        assert_eq!(write.await.unwrap(), Ok(Reply::Done));
    }
    let entries = node.store.status().last_log.unwrap() - before;
    assert_eq!(node.rows().len(), 2_000);
    assert!(entries < 500, "{entries} entries, and as many fsyncs, for 2000 writes");
    node.shutdown().await;
}

#[tokio::test]
async fn the_log_is_dropped_once_a_snapshot_covers_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("muster.redb");
    let small = RaftOptions { snapshot_after: 20, keep_entries: 5, ..options(&path) };
    let node = Node::open(small.clone()).await;
    let commands: Vec<_> = (0..100).map(|port| register("a", "10.0.0.1", port)).collect();
    for command in commands.clone() {
        node.store.propose(command).await.unwrap();
    }
    let compacted = async {
        while node.store.status().purged.is_none_or(|purged| purged < 50) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), compacted).await.expect("the log is compacted");
    node.store.snapshot_now().await.unwrap();
    let status = node.store.status();
    assert!(status.snapshot_index >= status.last_applied, "{status:?}");
    node.shutdown().await;
    let mut node = Node::open(small).await;
    assert_eq!(*node.rows(), model(&commands).0);
    assert!(node.store.status().snapshot_index >= Some(50));
    node.shutdown().await;
}

#[tokio::test]
async fn a_reader_that_stops_reading_slows_writes_down_and_loses_none() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(&directory.path().join("muster.redb"));
    let options = RaftOptions { propose_timeout: Duration::from_millis(300), ..options };
    let (sender, mut committed) = mpsc::channel(1);
    let (store, _) = Store::open(options, sender).await.unwrap();
    assert_eq!(store.propose(register("a", "10.0.0.1", 1)).await, Ok(Reply::Done));
    let stuck = store.propose(register("a", "10.0.0.1", 2)).await;
    assert!(matches!(stuck, Err(ProposeError::Timeout { .. })), "{stuck:?}");
    assert_eq!(committed.recv().await.unwrap().changes.len(), 1);
    assert_eq!(committed.recv().await.unwrap().changes.len(), 1);
    assert_eq!(store.propose(register("a", "10.0.0.1", 3)).await, Ok(Reply::Done));
    store.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutting_down_finishes_what_waits_and_refuses_what_comes_after() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("muster.redb");
    let node = Node::open(options(&path)).await;
    let started = Arc::new(tokio::sync::Semaphore::new(0));
    let writes: Vec<_> = (0..500u16)
        .map(|port| {
            let (store, started) = (node.store.clone(), started.clone());
            tokio::spawn(async move {
                started.add_permits(1);
                store.propose(register("a", "10.0.0.1", port)).await
            })
        })
        .collect();
    started.acquire_many(500).await.unwrap().forget();
    let store = node.store.clone();
    node.shutdown().await;
    let mut acknowledged = Vec::new();
    for (port, write) in (0..500u16).zip(writes) {
        match write.await.unwrap() {
            Ok(_) => acknowledged.push(register("a", "10.0.0.1", port)),
            Err(error) => assert_eq!(error, ProposeError::ShuttingDown),
        }
    }
    assert_eq!(store.propose(register("a", "10.0.0.1", 1)).await, Err(ProposeError::ShuttingDown));
    assert_eq!(store.status().role, Role::Stopped);
    let mut node = Node::open(options(&path)).await;
    assert_eq!(*node.rows(), model(&acknowledged).0);
    node.shutdown().await;
}

#[tokio::test]
async fn a_node_keeps_its_id_when_its_address_changes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("muster.redb");
    Node::open(options(&path)).await.shutdown().await;
    let moved = RaftOptions { address: "10.1.2.3:9000".into(), ..options(&path) };
    let node = Node::open(moved).await;
    assert_eq!(node.store.status().leader.unwrap().address, "10.1.2.3:9000");
    node.shutdown().await;
}

#[tokio::test]
async fn a_node_that_is_to_join_others_does_not_start_a_cluster_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(&directory.path().join("muster.redb"));
    let waiting = RaftOptions { bootstrap: false, propose_timeout: Duration::from_millis(200), ..options };
    let node = Node::open(waiting).await;
    assert_eq!(node.store.status().role, Role::Learner);
    assert_eq!(node.store.propose(register("a", "10.0.0.1", 1)).await, Err(ProposeError::NoLeader));
    node.shutdown().await;
}
