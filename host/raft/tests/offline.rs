//! Files that no node has open: what is found in them, written out of them, and made of them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use muster_raft::offline::{Examination, Kind, RecoverError, examine, export, recover};
use muster_raft::{OpenError, RaftOptions};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde_json::Value;
use std::path::{Path, PathBuf};
use support::{Node, model, one_of_each, options, register};
use tempfile::TempDir;

const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");
const SNAPSHOT: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("snapshot");

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

fn change(path: &Path, work: impl FnOnce(&redb::WriteTransaction)) {
    let database = Database::open(path).unwrap();
    let txn = database.begin_write().unwrap();
    work(&txn);
    txn.commit().unwrap();
}

fn last_entry(path: &Path) -> u64 {
    let database = Database::open(path).unwrap();
    database.begin_read().unwrap().open_table(LOG).unwrap().last().unwrap().unwrap().0.value()
}

/// Looks at a file, which stays as it is, and finds this.
#[track_caller]
fn finds(path: &Path, kind: Kind, words: &[&str]) {
    let Examination { findings, .. } = examine(path).unwrap();
    let found = findings
        .iter()
        .any(|finding| finding.kind == kind && words.iter().all(|word| finding.what.contains(word)));
    assert!(found, "no {words:?} in {findings:?}");
}

#[tokio::test]
async fn a_good_file_has_no_findings_and_stays_byte_for_byte() {
    let (_directory, path) = written().await;
    let before = std::fs::read(&path).unwrap();
    let Examination { facts, findings, quarantine } = examine(&path).unwrap();
    assert!(findings.is_empty() && quarantine.is_empty(), "{findings:?}");
    assert_eq!((facts.node, facts.rows), (1, model(&one_of_each()).0.len() as u64));
    assert!(
        facts.applied.is_some() && facts.applied == facts.last_log && facts.applied == facts.snapshot,
        "{facts:?}"
    );
    assert_eq!((facts.members.len(), facts.members[0].voter, facts.changing), (1, true, false));
    assert!(facts.group.is_some() && facts.term.is_some() && facts.last_log_term == facts.term);
    export(&path, &mut Vec::new()).unwrap();
    assert!(std::fs::read(&path).unwrap() == before, "it was written to");
}

#[tokio::test]
async fn a_killed_node_s_file_is_good_and_its_log_is_exported_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("muster.redb");
    let node = Node::open(options(&path)).await;
    for port in 1..=50 {
        node.store.propose(register("a", "10.0.0.1", port)).await.unwrap();
    }
    let killed = directory.path().join("killed.redb");
    std::fs::copy(&path, &killed).unwrap();
    let error = examine(&path).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    node.shutdown().await;
    let seen = examine(&killed).unwrap();
    assert!(seen.findings.is_empty(), "{:?}", seen.findings);
    assert!(seen.facts.applied < seen.facts.last_log, "this test needs rows that lag: {:?}", seen.facts);
    let mut lines = Vec::new();
    let exported = export(&killed, &mut lines).unwrap();
    assert_eq!((exported.rows, exported.unconfirmed), (50, 0));
    assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), 50);
}

#[tokio::test]
async fn a_row_of_each_kind_is_a_line() {
    let (_directory, path) = written().await;
    let mut lines = Vec::new();
    let exported = export(&path, &mut lines).unwrap();
    let text = String::from_utf8(lines).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(exported.rows, lines.len() as u64);
    let fields = |line: &Value| line.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    let of = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).collect::<Vec<_>>();
    assert_eq!(of("switches").iter().map(|line| fields(line)).collect::<Vec<_>>(), ["kind value"]);
    assert_eq!(fields(of("service")[0]), "group kind namespace service value");
    assert_eq!(fields(of("instance")[0]), "group id kind namespace service value");
    let ids: Vec<&Value> = of("instance").iter().map(|line| &line["id"]).collect();
    assert_eq!(ids, ["10.0.0.1:3306", "10.0.0.2:3306"]);
    assert_eq!(of("instance")[1]["value"]["weight"].to_string(), (0.1 + 0.2).to_string());
    let overlays: Vec<&Value> = of("overlay").iter().map(|line| &line["id"]).collect();
    assert_eq!(overlays, ["10.0.0.1:3306:DEFAULT", "10.0.0.2:3306:EAST"]);
    assert_eq!(lines.len(), 1 + of("service").len() + 2 + 2);
}

#[tokio::test]
async fn a_damaged_byte_is_found_or_does_not_matter() {
    let (_directory, path) = written().await;
    let whole = std::fs::read(&path).unwrap();
    let used: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
    let mut found = 0;
    for step in 0..60 {
        let at = used[step * used.len() / 60];
        let damaged = path.with_extension("damaged");
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        std::fs::write(&damaged, &bytes).unwrap();
        let looked = examine(&damaged);
        assert!(std::fs::read(&damaged).unwrap() == bytes, "byte {at}: it was written to");
        let mut rows = Vec::new();
        match looked {
            Ok(seen) if seen.findings.is_empty() => {
                export(&damaged, &mut rows).unwrap();
                assert_eq!(
                    rows.iter().filter(|byte| **byte == b'\n').count() as u64,
                    seen.facts.rows,
                    "byte {at}"
                );
            }
            Ok(_) | Err(OpenError::Corrupt { .. }) => found += 1,
            Err(error) => panic!("byte {at}: {error:?}"),
        }
    }
    assert!(found > 20, "{found} of 60");
}

#[tokio::test]
async fn a_file_that_contradicts_itself() {
    let (directory, whole) = written().await;
    let copy = |name: &str| {
        let path = directory.path().join(name);
        std::fs::copy(&whole, &path).unwrap();
        path
    };
    let last = last_entry(&copy("look"));

    let gap = copy("gap");
    change(&gap, |txn| drop(txn.open_table(LOG).unwrap().remove(last - 2).unwrap()));
    finds(&gap, Kind::Damage, &[&format!("entry {} where {} should", last - 1, last - 2)]);
    assert!(matches!(recover(&gap), Err(RecoverError::Damaged { .. })));

    let entry = copy("entry");
    change(&entry, |txn| drop(txn.open_table(LOG).unwrap().insert(last - 1, &b"{}"[..]).unwrap()));
    finds(&entry, Kind::Damage, &[&format!("log entry {}", last - 1), "cannot be decoded"]);

    let short = copy("short");
    change(&short, |txn| {
        txn.open_table(LOG).unwrap().retain_in(last - 1.., |_, _| false).unwrap();
        drop(txn.open_table(META).unwrap().remove("snapshot").unwrap());
    });
    finds(&short, Kind::Damage, &["no snapshot covers the rest"]);

    let row = copy("row");
    change(&row, |txn| {
        let mut rows = txn.open_table(ROWS).unwrap();
        let key = rows.last().unwrap().unwrap().0.value().to_vec();
        drop(rows.insert(key.as_slice(), &b"{\"Sidecar\":{}}"[..]).unwrap());
    });
    finds(&row, Kind::Damage, &["row Overlay(", "Sidecar"]);
    finds(&row, Kind::Damage, &["the snapshot and the rows contain the same entries"]);

    let piece = copy("piece");
    change(&piece, |txn| {
        let mut pieces = txn.open_table(SNAPSHOT).unwrap();
        let (key, mut bytes) = {
            let first = pieces.first().unwrap().unwrap();
            (first.0.value(), first.1.value().to_vec())
        };
        bytes.pop();
        drop(pieces.insert(key, bytes.as_slice()).unwrap());
    });
    finds(&piece, Kind::Damage, &["snapshot", "bytes"]);
}

#[tokio::test]
async fn a_command_in_quarantine_and_one_that_will_be() {
    let (_directory, path) = written().await;
    let last = last_entry(&path);
    change(&path, |txn| {
        let entry = format!(
            r#"{{"id":{{"term":1,"node":1,"index":{}}},"payload":{{"batch":{{"commands":[{{"Rename":{{}}}}]}}}}}}"#,
            last + 1
        );
        drop(txn.open_table(LOG).unwrap().insert(last + 1, entry.as_bytes()).unwrap());
    });
    let named = format!("command 0 of log entry {}", last + 1);
    finds(&path, Kind::Quarantine, &["does not know", &named, "Rename"]);
    let node = Node::open(options(&path)).await;
    assert_eq!(node.store.quarantined(), 1);
    node.shutdown().await;
    for _ in 0..2 {
        finds(&path, Kind::Quarantine, &["is in quarantine", &named, "Rename"]);
        let seen = examine(&path).unwrap();
        assert_eq!((seen.findings.len(), seen.quarantine.len()), (1, 1), "{:?}", seen.findings);
        Node::open(options(&path)).await.shutdown().await;
    }
    assert_eq!(examine(&path).unwrap().quarantine[0].command, r#"{"Rename":{}}"#);
}

#[tokio::test]
async fn what_is_no_file_of_ours_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("text"), "listen = \"127.0.0.1:8848\"\n".repeat(1_000)).unwrap();
    std::fs::write(path("empty"), "").unwrap();
    let database = Database::create(path("other")).unwrap();
    let txn = database.begin_write().unwrap();
    txn.open_table(LOG).unwrap();
    txn.commit().unwrap();
    drop(database);
    for name in ["text", "empty", "other"] {
        let error = examine(&path(name)).unwrap_err();
        assert!(matches!(error, OpenError::Corrupt { .. }), "{name}: {error:?}");
    }
    assert!(matches!(examine(&path("missing")), Err(OpenError::Io { .. })));
}

#[tokio::test]
async fn nobody_is_made_alone_who_is() {
    let (directory, path) = written().await;
    let error = recover(&path).unwrap_err();
    assert!(matches!(error, RecoverError::Alone { .. }), "{error:?}");
    let path = directory.path().join("new.redb");
    Node::open(RaftOptions { bootstrap: false, ..options(&path) }).await.shutdown().await;
    let error = recover(&path).unwrap_err();
    assert!(matches!(error, RecoverError::Nothing { .. }), "{error:?}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2, "no copies");
}
