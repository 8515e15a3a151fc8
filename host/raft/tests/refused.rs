//! Files that cannot be used are refused, with an error that names them and says what to do.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use muster_raft::{Committed, OpenError, RaftOptions, Store};
use redb::{Database, ReadableTable, TableDefinition};
use std::path::{Path, PathBuf};
use support::{Node, RowMap, model, one_of_each, options, register};
use tempfile::TempDir;
use tokio::sync::mpsc;

const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");

async fn open(options: RaftOptions) -> Result<RowMap, OpenError> {
    let (sender, _receiver) = mpsc::channel::<Committed>(100);
    let (store, initial) = Store::open(options, sender).await?;
    let mut rows = RowMap::new();
    support::apply(&mut rows, initial);
    store.shutdown().await.expect("an opened store shuts down");
    Ok(rows)
}

/// Opens `path`, which must be refused, and checks that the file is named.
async fn refused(path: &Path) -> OpenError {
    let error = open(options(path)).await.expect_err("it must be refused");
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    error
}

/// A file with a little of everything in it.
async fn written() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("muster.redb");
    let node = Node::open(options(&path)).await;
    for command in one_of_each() {
        node.store.propose(command).await.unwrap();
    }
    node.store.snapshot_now().await.unwrap();
    node.shutdown().await;
    (directory, path)
}

fn put_meta(path: &Path, key: &str, value: &str) {
    let database = Database::open(path).unwrap();
    let txn = database.begin_write().unwrap();
    txn.open_table(META).unwrap().insert(key, value.as_bytes()).unwrap();
    txn.commit().unwrap();
}

#[tokio::test]
async fn a_file_that_is_none_of_ours() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("muster.redb");
    std::fs::write(&path, "listen = \"127.0.0.1:8848\"\n".repeat(1_000)).unwrap();
    let error = refused(&path).await;
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
    assert!(error.to_string().contains("restore it from a copy"), "{error}");
}

#[tokio::test]
async fn a_file_that_was_cut_off() {
    let (_directory, path) = written().await;
    let length = std::fs::metadata(&path).unwrap().len();
    for part in [1, 3, 7] {
        let cut = path.with_extension(format!("cut{part}"));
        std::fs::copy(&path, &cut).unwrap();
        std::fs::File::options().write(true).open(&cut).unwrap().set_len(length * part / 8).unwrap();
        let error = refused(&cut).await;
        assert!(matches!(error, OpenError::Corrupt { .. } | OpenError::Io { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_file_with_a_damaged_byte_is_refused_or_was_not_damaged_where_it_matters() {
    let (_directory, path) = written().await;
    let whole = std::fs::read(&path).unwrap();
    let used: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
    let mut refusals = 0;
    for step in 0..60 {
        let at = used[step * used.len() / 60];
        let damaged = path.with_extension("damaged");
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        std::fs::write(&damaged, bytes).unwrap();
        match open(options(&damaged)).await {
            Ok(rows) => assert_eq!(rows, model(&one_of_each()).0, "byte {at}"),
            Err(error) => {
                refusals += 1;
                assert!(error.to_string().contains("damaged"), "byte {at}: {error}");
            }
        }
    }
    assert!(refusals > 20, "{refusals} of 60");
}

#[tokio::test]
async fn a_file_of_a_newer_version() {
    let (_directory, path) = written().await;
    put_meta(&path, "format", "2");
    let error = refused(&path).await;
    assert!(matches!(error, OpenError::Newer { found: 2, supported: 1, .. }), "{error:?}");
}

#[tokio::test]
async fn a_file_of_another_node() {
    let (_directory, path) = written().await;
    let error = open(RaftOptions { node_id: Some(2), ..options(&path) }).await.unwrap_err();
    assert!(matches!(error, OpenError::OtherNode { found: 1, wanted: 2, .. }), "{error:?}");
}

#[tokio::test]
async fn a_file_that_is_open_already() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("muster.redb");
    let node = Node::open(options(&path)).await;
    let error = refused(&path).await;
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    node.store.propose(register("a", "10.0.0.1", 1)).await.unwrap();
    node.shutdown().await;
}

#[tokio::test]
async fn a_directory_that_does_not_exist() {
    let directory = tempfile::tempdir().unwrap();
    let error = refused(&directory.path().join("missing/muster.redb")).await;
    assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
}

#[tokio::test]
async fn a_row_that_cannot_be_decoded() {
    let (_directory, path) = written().await;
    let database = Database::open(&path).unwrap();
    let txn = database.begin_write().unwrap();
    let mut rows = txn.open_table(ROWS).unwrap();
    let key = rows.last().unwrap().unwrap().0.value().to_vec();
    rows.insert(key.as_slice(), &b"{\"Sidecar\":{}}"[..]).unwrap();
    drop(rows);
    txn.commit().unwrap();
    drop(database);
    let error = refused(&path).await;
    assert!(matches!(error, OpenError::Undecodable { .. }), "{error:?}");
    assert!(error.to_string().contains("row Overlay(public#DEFAULT_GROUP@@orders"), "{error}");
    assert!(error.to_string().contains("Sidecar"), "{error}");
}
