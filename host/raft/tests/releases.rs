//! Files that older releases wrote are opened, and hold what they held.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use muster_core::persist::Reply;
use serde_json::Value;
use std::path::{Path, PathBuf};
use support::{Node, options, register};

fn releases() -> Vec<PathBuf> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let entries = std::fs::read_dir(fixtures).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).collect()
}

/// Whether everything that was recorded is still so; later releases may add fields.
fn holds(found: &Value, recorded: &Value) -> bool {
    match (found, recorded) {
        (Value::Object(found), Value::Object(recorded)) => recorded
            .iter()
            .all(|(name, recorded)| found.get(name).is_some_and(|found| holds(found, recorded))),
        (Value::Array(found), Value::Array(recorded)) => {
            found.len() == recorded.len()
                && found.iter().zip(recorded).all(|(found, recorded)| holds(found, recorded))
        }
        (found, recorded) => found == recorded,
    }
}

async fn opens_as_it_was(release: &Path, file: &str) {
    let recorded = std::fs::read_to_string(release.join("rows.json")).unwrap();
    let recorded: Value = serde_json::from_str(&recorded).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("muster.redb");
    std::fs::copy(release.join(file), &path).unwrap();
    for start in ["first", "second"] {
        let mut node = Node::open(options(&path)).await;
        let rows: Vec<_> = node.rows().clone().into_iter().collect();
        // by way of text: a value would widen the 32-bit floats
        let found: Value = serde_json::from_str(&serde_json::to_string(&rows).unwrap()).unwrap();
        assert!(holds(&found, &recorded), "{} {file}, {start} start: {found:#}", release.display());
        assert!(node.store.status().snapshot_index.is_some());
        let again = node.store.propose(register("after-the-snapshot", "2001:db8::1", 5432)).await;
        assert_eq!(again, Ok(Reply::Done));
        node.shutdown().await;
    }
}

#[tokio::test]
async fn files_of_every_release_hold_what_they_held() {
    let releases = releases();
    assert!(releases.iter().any(|release| release.ends_with("0.1.0")), "{releases:?}");
    for release in releases {
        opens_as_it_was(&release, "muster.redb").await;
        opens_as_it_was(&release, "killed.redb").await;
    }
}

#[test]
fn a_field_that_is_lost_is_noticed() {
    let recorded = serde_json::json!([{"a": 1, "b": {"c": [1, 2]}}]);
    assert!(holds(&serde_json::json!([{"a": 1, "b": {"c": [1, 2], "new": 0}}]), &recorded));
    assert!(!holds(&serde_json::json!([{"a": 1, "b": {}}]), &recorded));
    assert!(!holds(&serde_json::json!([{"a": 1, "b": {"c": [1]}}]), &recorded));
}
