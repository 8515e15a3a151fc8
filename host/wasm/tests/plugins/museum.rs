//! What was promised to the authors of plugins: frozen interfaces stay as they are, and components that were built from
//! them go on working.

use crate::support::*;
use muster_wasm::{
    Candidate, Candidates, Column, FilterCall, FilterSubscriber, Grants, LookupAnswer, LookupCall,
    LookupFiles, LookupNames, Outcome, PluginKind, Selection, Settings, ThisNode,
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

async fn load(stage: &Stage, version: &str, name: &str, kind: PluginKind, grant: impl Fn(&mut Grants)) {
    let mut manifest = named(name, kind);
    grant(&mut manifest.grants);
    stage.host.load(exhibit(version, kind), manifest).await.unwrap();
}

fn question(settings: Settings) -> LookupCall {
    LookupCall {
        node: ThisNode { address: "10.0.0.1".into(), port: 8848, standalone: false },
        settings: Arc::new(settings),
        cookie: None,
        files: LookupFiles::default(),
        endpoints: Vec::new(),
        names: LookupNames::default(),
        deadline: Duration::from_secs(5),
    }
}

async fn addresses(stage: &Stage, name: &str, call: LookupCall) -> Vec<String> {
    let answer = stage.host.member_lookup(name).unwrap().find(call).await.unwrap();
    let LookupAnswer::Changed { members, .. } = answer else { panic!("no list") };
    members.into_iter().map(|found| found.address).collect()
}

#[tokio::test]
async fn the_lookup_of_0_1_0_loads_and_reads_its_file() {
    let stage = Stage::new().await;
    load(&stage, "0.1.0", "file", PluginKind::MemberLookup, |grants| {
        grants.files = vec!["cluster.conf".into()];
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("cluster.conf"), "10.0.0.1:8848\n10.0.0.2:8848\n").unwrap();
    let files = LookupFiles { folder: folder.path().into(), names: vec!["cluster.conf".into()] };
    let call = LookupCall { files, ..question(Settings::default()) };
    assert_eq!(addresses(&stage, "file", call).await, ["10.0.0.1", "10.0.0.2"]);
    stage.still_serves().await;
}

#[tokio::test]
async fn the_lookup_of_0_1_1_loads_and_asks_for_its_name() {
    let stage = Stage::new().await;
    load(&stage, "0.1.1", "dns", PluginKind::MemberLookup, |grants| grants.names = vec!["name".into()]).await;
    let settings = [("name", "m.example"), ("records", "address")];
    let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let server = Some(name_server().await);
    let names = LookupNames { keys: vec!["name".into()], server };
    let call = LookupCall { names, ..question(settings.into()) };
    assert_eq!(addresses(&stage, "dns", call).await, ["127.0.0.1"]);
    // what the caller does not name is not granted
    let denied = LookupCall {
        names: LookupNames { keys: Vec::new(), server },
        ..question([("name".to_owned(), "m.example".to_owned())].into())
    };
    let error = stage.host.member_lookup("dns").unwrap().find(denied).await.unwrap_err();
    assert!(error.to_string().contains("does not grant"), "{error}");
    stage.still_serves().await;
}

/// Answers every question for an A record with 127.0.0.1, and all others with nothing.
async fn name_server() -> std::net::SocketAddr {
    use simple_dns::{CLASS, Packet, ResourceRecord, TYPE, rdata::A, rdata::RData};
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    #[allow(clippy::disallowed_methods, reason = "it ends with the test")]
    tokio::spawn(async move {
        let mut bytes = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut bytes).await {
            let asked = Packet::parse(&bytes[..length]).unwrap();
            let mut answer = Packet::new_reply(asked.id());
            answer.questions = asked.questions;
            if answer.questions[0].qtype == TYPE::A.into() {
                let data = RData::A(A { address: 0x7f00_0001 });
                let name = answer.questions[0].qname.clone();
                answer.answers.push(ResourceRecord::new(name, CLASS::IN, 5, data));
            }
            socket.send_to(&answer.build_bytes_vec().unwrap(), from).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn the_checks_and_filters_of_every_version_load_and_give_right_answers() {
    for version in ["0.1.0", "0.1.1"] {
        let stage = Stage::new().await;
        load(&stage, version, "TCP", PluginKind::HealthCheck, |_| {}).await;
        let check = stage.host.health_check("TCP").unwrap();
        assert_eq!(run(&check, stage.silent, "").await.result.unwrap().outcome, Outcome::Passed);
        assert_eq!(run(&check, closed().await, "").await.result.unwrap().outcome, Outcome::FailedNow);

        load(&stage, version, "same-cluster-first", PluginKind::PushFilter, |_| {}).await;
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
        let filter = stage.host.push_filter("same-cluster-first").unwrap();
        let (selection, _) = filter.select(call).await.unwrap();
        assert_eq!(selection, Selection::Only(vec![1, 3]));
        stage.still_serves().await;
    }
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
