//! openraft's own storage test suite, on our storage; and what only the inside can break.

mod cluster;
mod quarantine;
mod recovered;

use crate::db::{Db, get_meta};
use crate::log_store::LogStore;
use crate::records::AppliedRecord;
use crate::recover::recover;
use crate::state_machine::StateMachine;
use crate::tables::{ROWS, meta, row_key};
use crate::types::{StorageError, TypeConfig};
use crate::{ProposeError, RaftOptions, Role, Store};
use muster_core::persist::{Command, HealthFlip, RowKey};
use muster_core::{Instance, ServiceKey};
use openraft::testing::{StoreBuilder, Suite};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;

struct InTempDir;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for InTempDir {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let db = Db::open(&directory.path().join("muster.redb"), Some(1), true).expect("a new file opens");
        let db = Arc::new(db.0);
        // The suite's entries hold no commands, so nothing is ever sent.
        let (committed, _) = mpsc::channel(1);
        Ok((directory, LogStore::new(db.clone()), StateMachine::new(db, committed)))
    }
}

#[test]
fn openraft_s_storage_suite_passes() {
    Suite::test_all(InTempDir).unwrap();
}

#[tokio::test]
async fn a_row_that_cannot_be_read_stops_the_store_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let options = RaftOptions { path: directory.path().join("muster.redb"), ..RaftOptions::default() };
    let (committed, _receiver) = mpsc::channel(10);
    let (store, _) = Store::open(options, committed).await.unwrap();
    let service = ServiceKey::new("", "", "orders");
    let key = row_key(&RowKey::Instance(service.clone(), "10.0.0.1:1".into()));
    let db = store.db_for_tests();
    db.write(redb::Durability::None, |txn| {
        txn.open_table(ROWS)?.insert(key.as_slice(), &b"nonsense"[..])?;
        Ok(())
    })
    .unwrap();
    let flip = HealthFlip { service: service.clone(), address: "10.0.0.1:1".into(), healthy: false };
    let answer = store.propose(Command::SetHealth { flips: vec![flip] }).await;
    let failure = tokio::time::timeout(Duration::from_secs(5), store.failed()).await.unwrap();
    assert!(failure.reason.contains("row Instance(public#DEFAULT_GROUP@@orders"), "{failure}");
    assert!(matches!(answer, Err(ProposeError::Storage { .. })), "{answer:?}");
    let later = store.propose(Command::DeleteService { service }).await;
    assert!(matches!(later, Err(ProposeError::Storage { .. })), "{later:?}");
    assert_eq!(store.status().role, Role::Stopped);
    store.shutdown().await.unwrap();
}

#[tokio::test]
async fn rows_that_a_crash_takes_back_are_made_again_from_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("muster.redb");
    let (committed, mut changes) = mpsc::channel(10);
    let options = RaftOptions { path: path.clone(), ..RaftOptions::default() };
    let (store, _) = Store::open(options, committed).await.unwrap();
    let instance = Instance { ephemeral: false, ..Instance::new("10.0.0.1", 1) };
    let service = ServiceKey::new("", "", "orders");
    store.propose(Command::RegisterInstance { service, instance }).await.unwrap();
    let acknowledged = changes.recv().await.unwrap();
    let killed = directory.path().join("killed.redb");
    std::fs::copy(&path, &killed).unwrap();
    store.shutdown().await.unwrap();

    let db = Arc::new(Db::open(&killed, Some(1), true).unwrap().0);
    let applied = || db.read(|txn| get_meta::<AppliedRecord>(txn, meta::APPLIED)).unwrap().unwrap();
    assert!(applied().last.unwrap().index < acknowledged.index, "this test needs rows that lag");
    assert_eq!(recover(&db, 1).unwrap(), acknowledged.changes);
    assert_eq!(applied().last.unwrap().index, acknowledged.index);
}
