//! What was promised to the authors of plugins: frozen interfaces stay as they are, and components that were built from
//! them go on working.

use crate::support::*;
use muster_wasm::{
    Candidate, Candidates, Column, FilterCall, FilterSubscriber, LookupAnswer, LookupCall, LookupFiles,
    Outcome, PluginKind, Selection, Settings, ThisNode,
};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn digest(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The lines of a file that `sha256sum` wrote: paths and digests.
fn digests(file: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(file).unwrap();
    let pair = |line: &str| line.split_once("  ").map(|(digest, path)| (path.to_owned(), digest.to_owned()));
    text.lines().filter_map(pair).collect()
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn frozen_interfaces_are_what_they_were() {
    let frozen = digests(&root().join("wit/frozen.sha256"));
    for (path, expected) in &frozen {
        assert_eq!(
            digest(&root().join(path)),
            *expected,
            "{path} is frozen: make a new folder (wit/README.md)"
        );
    }
    let folders = names(&root().join("wit")).into_iter().filter(|name| name.starts_with("since_"));
    for folder in folders {
        for file in names(&root().join("wit").join(&folder)) {
            let path = format!("wit/{folder}/{file}");
            assert!(
                frozen.contains_key(&path),
                "{path} is not in wit/frozen.sha256: sha256sum {path} >> wit/frozen.sha256"
            );
        }
    }
}

#[test]
fn every_frozen_folder_has_its_components_and_they_are_what_they_were() {
    let museum = root().join("tests/museum");
    let versions: BTreeSet<_> = names(&root().join("wit"))
        .iter()
        .filter_map(|name| name.strip_prefix("since_v").map(str::to_owned))
        .collect();
    let kept: BTreeSet<_> = names(&museum).into_iter().filter(|name| name != "README.md").collect();
    assert_eq!(kept, versions);
    for version in versions {
        let sums = digests(&museum.join(&version).join("SHA256SUMS"));
        let kinds: Vec<_> = sums.keys().map(String::as_str).collect();
        assert_eq!(kinds, ["health-check.wasm", "member-lookup.wasm", "push-filter.wasm"]);
        for (file, expected) in sums {
            assert_eq!(digest(&museum.join(&version).join(&file)), expected, "{version}/{file}");
        }
    }
}

fn exhibit(version: &str, kind: PluginKind) -> bytes::Bytes {
    let file = root().join("tests/museum").join(version).join(format!("{}.wasm", kind.world()));
    fs::read(file).unwrap().into()
}

#[tokio::test]
async fn the_components_of_0_1_0_load_and_give_right_answers() {
    let stage = Stage::new().await;
    let load = async |name: &str, kind, files: &[&str]| {
        let mut manifest = named(name, kind);
        manifest.grants.files = files.iter().map(|file| (*file).to_owned()).collect();
        stage.host.load(exhibit("0.1.0", kind), manifest).await.unwrap()
    };
    load("TCP", PluginKind::HealthCheck, &[]).await;
    let check = stage.host.health_check("TCP").unwrap();
    assert_eq!(run(&check, stage.silent, "").await.result.unwrap().outcome, Outcome::Passed);
    assert_eq!(run(&check, closed().await, "").await.result.unwrap().outcome, Outcome::FailedNow);

    load("file", PluginKind::MemberLookup, &["cluster.conf"]).await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("cluster.conf"), "10.0.0.1:8848\n10.0.0.2:8848\n").unwrap();
    let call = LookupCall {
        node: ThisNode { address: "10.0.0.1".into(), port: 8848, standalone: false },
        settings: Arc::default(),
        cookie: None,
        files: LookupFiles { folder: folder.path().into(), names: vec!["cluster.conf".into()] },
        endpoints: Vec::new(),
        deadline: Duration::from_secs(5),
    };
    let LookupAnswer::Changed { members, .. } =
        stage.host.member_lookup("file").unwrap().find(call).await.unwrap()
    else {
        panic!("no list");
    };
    assert_eq!(
        members.iter().map(|found| found.address.as_str()).collect::<Vec<_>>(),
        ["10.0.0.1", "10.0.0.2"]
    );

    load("same-cluster-first", PluginKind::PushFilter, &[]).await;
    let call = FilterCall {
        service: muster_core::ServiceKey::new("public", "DEFAULT_GROUP", "web"),
        subscriber: FilterSubscriber {
            labels: [("cluster".into(), "b".into())].into(),
            ..FilterSubscriber::default()
        },
        candidates: Arc::new(TwoClusters),
        settings: Arc::new(Settings::default()),
        deadline: Duration::from_secs(5),
    };
    let (selection, _) = stage.host.push_filter("same-cluster-first").unwrap().select(call).await.unwrap();
    assert_eq!(selection, Selection::Only(vec![1, 3]));
    stage.still_serves().await;
}

/// Four healthy instances, of the clusters a, b, a, b.
struct TwoClusters;

impl Candidates for TwoClusters {
    fn count(&self) -> u32 {
        4
    }
    fn metadata(&self, _: &str) -> Arc<Column> {
        Arc::default()
    }
    fn clusters(&self) -> Arc<Column> {
        Arc::new(Column { values: vec!["a".into(), "b".into()], codes: vec![1, 2, 1, 2] })
    }
    fn addresses(&self) -> Arc<[String]> {
        Arc::default()
    }
    fn ports(&self) -> Arc<[u16]> {
        Arc::default()
    }
    fn weights(&self) -> Arc<[f64]> {
        Arc::default()
    }
    fn states(&self) -> Arc<[u8]> {
        Arc::from([7, 7, 7, 7])
    }
    fn instance(&self, _: u32) -> Option<Candidate> {
        None
    }
}
