//! openraft's own storage test suite, on our storage.

use crate::db::Db;
use crate::log_store::LogStore;
use crate::state_machine::StateMachine;
use crate::types::{StorageError, TypeConfig};
use openraft::testing::{StoreBuilder, Suite};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::mpsc;

struct InTempDir;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for InTempDir {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let db = Db::open(&directory.path().join("muster.redb"), 1, true).expect("a new file opens");
        let db = Arc::new(db);
        // The suite's entries hold no commands, so nothing is ever sent.
        let (committed, _) = mpsc::channel(1);
        Ok((directory, LogStore::new(db.clone()), StateMachine::new(db, committed)))
    }
}

#[test]
fn openraft_s_storage_suite_passes() {
    Suite::test_all(InTempDir).unwrap();
}
