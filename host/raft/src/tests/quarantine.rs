//! Commands that no release knows, in the log.

use super::cluster::{Member, Memory, write};
use crate::db::Db;
use crate::quarantine::{self, MOST, MOST_BYTES, Quarantined};
use crate::recover::recover;
use crate::types::{Batch, EncodedCommand};
use crate::{Committed, ProposeError, RaftOptions, Role, Store};
use muster_core::persist::{Command, MemoryRows, Reply};
use muster_core::{Instance, ServiceKey};
use redb::Durability;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;

fn register(port: u16) -> Command {
    let instance = Instance { ephemeral: false, ..Instance::new("10.0.0.1", port) };
    Command::RegisterInstance { service: ServiceKey::new("", "", "orders"), instance }
}

fn encoded(command: &str) -> EncodedCommand {
    serde_json::from_str(command).unwrap()
}

fn unknown() -> EncodedCommand {
    encoded(r#"{"Rename":{"to":"invoices"}}"#)
}

async fn open(path: &Path) -> (Store, usize, mpsc::Receiver<Committed>) {
    let options = RaftOptions { path: path.to_owned(), ..RaftOptions::default() };
    let (committed, changes) = mpsc::channel(2_000);
    let (store, rows) = Store::open(options, committed).await.unwrap();
    (store, rows.len(), changes)
}

#[tokio::test]
async fn an_unknown_command_is_passed_over_and_all_others_are_applied() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("muster.redb");
    let (store, _, mut changes) = open(&path).await;
    store.propose(register(1)).await.unwrap();
    let known = |port| EncodedCommand::new(&register(port)).unwrap();
    let batch = Batch { commands: vec![known(2), unknown(), known(3)] };
    let written = store.0.raft.client_write(batch).await.unwrap();
    let index = written.log_id.index;
    let replies = written.data.replies;
    assert_eq!((&replies[0], &replies[2]), (&Ok(Reply::Done), &Ok(Reply::Done)));
    assert!(replies[1].as_ref().is_err_and(|reason| reason.contains("Rename")), "{replies:?}");
    store.propose(register(4)).await.unwrap();

    let mut changed = Vec::new();
    while let Ok(committed) = changes.try_recv() {
        changed.push(committed.changes.len());
    }
    assert_eq!(changed, [1, 2, 1]);
    assert_eq!((store.quarantined(), store.status().role), (1, Role::Leader));
    let kept = store.quarantine().await.unwrap();
    assert_eq!((kept.len(), kept[0].index, kept[0].number), (1, index, 1));
    assert_eq!(kept[0].command, unknown().text());
    store.snapshot_now().await.unwrap();
    store.shutdown().await.unwrap();

    for _ in 0..2 {
        let (store, rows, _changes) = open(&path).await;
        assert_eq!((rows, store.quarantined()), (4, 1));
        assert_eq!(store.quarantine().await.unwrap(), kept);
        store.shutdown().await.unwrap();
    }
    let (store, _, _changes) = open(&path).await;
    assert_eq!(store.clear_quarantine().await, Ok(1));
    assert_eq!((store.quarantined(), store.quarantine().await.unwrap().len()), (0, 0));
    store.shutdown().await.unwrap();
    let (store, rows, _changes) = open(&path).await;
    assert_eq!((rows, store.quarantined()), (4, 0));
    store.shutdown().await.unwrap();
}

#[tokio::test]
async fn who_proposed_it_is_told_what_became_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _, _changes) = open(&directory.path().join("muster.redb")).await;
    let answer = store.attempt(unknown()).await.unwrap_err();
    let ProposeError::Quarantined { index, reason } = &answer else { panic!("{answer}") };
    assert_eq!(Some(*index), store.status().last_log);
    assert!(reason.contains("Rename") && answer.to_string().contains("quarantine"), "{answer}");
    store.shutdown().await.unwrap();
}

#[tokio::test]
async fn entries_that_are_applied_again_after_a_crash_are_there_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("muster.redb");
    let (store, _, _changes) = open(&path).await;
    store.attempt(unknown()).await.unwrap_err();
    let killed = directory.path().join("killed.redb");
    std::fs::copy(&path, &killed).unwrap();
    store.shutdown().await.unwrap();
    let db = Arc::new(Db::open(&killed, Some(1), true).unwrap().0);
    assert_eq!(db.count_quarantined().unwrap(), 0, "this test needs rows that lag");
    for _ in 0..2 {
        recover(&db, 1).unwrap();
        assert_eq!(db.count_quarantined().unwrap(), 1);
    }
}

#[tokio::test]
async fn what_is_kept_is_bounded_and_the_rest_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _, _changes) = open(&directory.path().join("muster.redb")).await;
    let long = encoded(&format!(r#"{{"Rename":"{}"}}"#, "é".repeat(MOST_BYTES)));
    store.0.raft.client_write(Batch { commands: vec![long.clone()] }).await.unwrap();
    let kept = store.quarantine().await.unwrap();
    assert_eq!(kept[0].bytes, long.size() as u64);
    assert!((MOST_BYTES - 4..=MOST_BYTES).contains(&kept[0].command.len()), "{}", kept[0].command.len());
    for _ in 0..3 {
        store.0.raft.client_write(Batch { commands: vec![unknown(); 400] }).await.unwrap();
    }
    assert_eq!(store.quarantined(), 1_201);
    assert_eq!(store.quarantine().await.unwrap().len() as u64, MOST);
    assert_eq!(store.propose(register(1)).await, Ok(Reply::Done));
    store.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_members_decide_alike_and_a_snapshot_of_the_leader_heals_one_that_did_not() {
    let directory = tempfile::tempdir().unwrap();
    let (network, mut model) = (Memory::default(), MemoryRows::default());
    let mut first = Member::start(&network, directory.path(), 1).await;
    let mut second = Member::start(&network, directory.path(), 2).await;
    let mut third = Member::start(&network, directory.path(), 3).await;
    for id in [2, 3] {
        first.store.admit(id, &format!("10.0.0.{id}:7848")).await.unwrap();
    }
    write(&first.store, &mut model, "before").await;
    // a leader refuses what it does not know, before it is in the log
    let follower = if first.store.another_leads().is_some() { &first } else { &second };
    let refused = follower.store.attempt_anywhere(&unknown()).await;
    assert!(matches!(refused, Err(ProposeError::Unstorable { .. })), "{refused:?}");
    assert_eq!(follower.store.quarantined(), 0);

    let leader = if first.store.another_leads().is_some() { &second } else { &first };
    leader.store.attempt(unknown()).await.unwrap_err();
    write(&first.store, &mut model, "after").await;
    for member in [&mut first, &mut second, &mut third] {
        member.reaches(&model).await;
        assert_eq!(member.store.quarantine().await.unwrap().len(), 1);
    }

    // What the third would look like if it alone had not known the command: until it has the leader's rows.
    third.stop(&network).await;
    write(&first.store, &mut model, "without the third").await;
    for member in [&first, &second] {
        member.store.snapshot_now().await.unwrap();
    }
    let mut third = Member::start(&network, directory.path(), 3).await;
    assert_eq!(third.store.quarantined(), 1);
    third.reaches(&model).await;
    assert_eq!(third.store.quarantined(), 0);
    for member in [first, second, third] {
        member.stop(&network).await;
    }
}

#[test]
fn what_a_snapshot_covers_is_forgotten_and_what_comes_later_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let db = Db::open(&directory.path().join("muster.redb"), Some(1), true).unwrap().0;
    let record = |index| Quarantined::new(index, 0, &unknown(), "unknown".into());
    let records: Vec<_> = [3, 7, 9].map(record).into();
    db.write(Durability::None, |txn| quarantine::put(txn, &records)).unwrap();
    db.write(Durability::None, |txn| quarantine::forget(txn, 7)).unwrap();
    assert_eq!(db.read(quarantine::all).unwrap(), records[2..]);
    assert_eq!(db.count_quarantined().unwrap(), 1);
}
