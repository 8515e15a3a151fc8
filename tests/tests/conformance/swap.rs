//! Hot swap of a health check under load: versions that are good, that break and that judge otherwise come to a node that
//! runs, and no instance ever changes its health.
//!
//! The versions are plugins that misbehave on purpose (`tests/guests`), all under one name.

use crate::common::{admin_list, plugin};
use muster_test_guests::component;
use muster_tests::lines::{LineTarget, Script};
use muster_tests::wait::{hold, pause};
use muster_tests::{Config, Node, encode, eventually};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;

const MANIFEST: &str = "[plugin]\nname = \"guest\"\nkind = \"health-check\"\n[grants]\ndial = true\n";
const SERVICE: &str = "swapped";
const INSTANCES: u16 = 40;
/// From a command to its end, on a machine that does much else.
const DONE: Duration = Duration::from_secs(120);

/// A folder of plugins with one version of `guest` in it.
fn folder(version: &str) -> TempDir {
    let folder = TempDir::with_prefix("muster-swap-").expect("a temporary folder");
    put(folder.path(), version);
    folder
}

fn put(folder: &Path, version: &str) -> PathBuf {
    let file = folder.join("guest.wasm");
    std::fs::write(&file, component(version)).expect("written");
    std::fs::write(folder.join("guest.toml"), MANIFEST).expect("written");
    file
}

/// One verdict turns an instance, so that a single wrong one is seen.
fn node(folder: &Path) -> Node {
    let mut config = Config::new()
        .text("plugins", "directory", &folder.to_string_lossy())
        // the versions that are sent are not signed
        .text("plugins", "unsigned", "warn");
    for (key, value) in [("rise", "1"), ("fall", "1")] {
        config = config.set("health", key, value);
    }
    for (key, value) in
        [("first-delay", "100ms"), ("first-spread", "500ms"), ("max-interval", "1s"), ("timeout", "2s")]
    {
        config = config.text("health", key, value);
    }
    for (key, value) in [("shadow-runs", "20"), ("canary-runs", "10"), ("canary-share", "0.3")] {
        config = config.set("plugins.rollout", key, value);
    }
    for (key, value) in
        // all instances have one target: it is in the first share of the canary, or in a later one
        [
            ("shadow-time", "500ms"),
            ("canary-time", "500ms"),
            ("patience", "5s"),
            ("probation", "1s"),
            ("slack", "10s"),
        ]
    {
        config = config.text("plugins.rollout", key, value);
    }
    Node::with(config)
}

/// Persistent instances that `guest` checks, once all of them were found healthy.
fn load(node: &Node, target: &LineTarget) {
    node.post(format!("/nacos/v1/ns/service?serviceName={SERVICE}")).ok();
    let query = format!("serviceName={SERVICE}&clusterName=DEFAULT&checkPort={}", target.port);
    let checker = encode(r#"{"type":"guest"}"#);
    node.put(format!("/nacos/v1/ns/cluster?{query}&useInstancePort4Check=false&healthChecker={checker}"))
        .ok();
    for port in 1..=INSTANCES {
        let query = format!("serviceName={SERVICE}&ip=127.0.0.1&port={port}&ephemeral=false&healthy=false");
        node.post(format!("/nacos/v1/ns/instance?{query}")).ok();
    }
    eventually(DONE, || {
        hold(healthy(node) == usize::from(INSTANCES), || format!("{}", admin_list(node, SERVICE)))
    });
}

fn healthy(node: &Node) -> usize {
    let list = admin_list(node, SERVICE);
    list.as_array().into_iter().flatten().filter(|one| one["healthy"] == true).count()
}

/// Looks all the time whether an instance is called unhealthy.
struct Watch {
    end: Arc<AtomicBool>,
    flips: Arc<AtomicUsize>,
    worker: Option<JoinHandle<()>>,
}

impl Watch {
    fn start(node: &Node) -> Self {
        let (end, flips) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (http, stop, count) = (node.http(), end.clone(), flips.clone());
        let worker = std::thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                let list = http.get(format!("/nacos/v3/admin/ns/instance/list?serviceName={SERVICE}")).data();
                let down = list.as_array().into_iter().flatten().filter(|one| one["healthy"] != true).count();
                count.fetch_add(down, Ordering::SeqCst);
                pause(Duration::from_millis(20));
            }
        });
        Self { end, flips, worker: Some(worker) }
    }

    #[track_caller]
    fn no_flips(mut self) {
        self.end.store(true, Ordering::SeqCst);
        let joined = self.worker.take().map(JoinHandle::join);
        assert!(matches!(joined, Some(Ok(()))), "the watch looked until the end");
        assert_eq!(self.flips.load(Ordering::SeqCst), 0, "instances seen unhealthy");
    }
}

fn versions(node: &Node) -> Value {
    node.get("/nacos/v3/admin/muster/plugins/versions?name=guest").data()[0].clone()
}

fn active(node: &Node) -> Value {
    let all = versions(node);
    assert_eq!(all["versions"][0]["state"], "active", "{all}");
    all["versions"][0]["sha256"].clone()
}

/// What the last check of the first instance said.
fn said(node: &Node) -> String {
    let query = format!("serviceName={SERVICE}&ip=127.0.0.1&port=1");
    let explained = node.get(format!("/nacos/v3/admin/muster/explain?{query}")).data();
    explained["probe"]["last"]["message"].as_str().unwrap_or_default().to_owned()
}

/// `counts_calls` says how often it was called, `does_nothing` says nothing.
fn wait_judged_by(node: &Node, version: &str) {
    let counts = version == "counts_calls";
    eventually(DONE, || hold(said(node).contains("from") == counts, || format!("{:?}", said(node))));
}

#[test]
fn versions_that_break_or_judge_otherwise_are_rolled_back_and_no_instance_turns() {
    let (folder, files) = (folder("does_nothing"), TempDir::new().expect("a temporary folder"));
    let (node, target) = (node(folder.path()), LineTarget::open(Script::Hang));
    load(&node, &target);
    let before = active(&node);
    let watch = Watch::start(&node);
    for (version, reason) in
        [("panics", "trap"), ("hangs_in_host_call", "mismatch"), ("endless_loop", "deadline")]
    {
        let file = put(files.path(), version);
        let (good, said) = plugin(&node, &["install", &file.to_string_lossy(), "--wait"]);
        assert!(!good && said.contains("rolled back in shadow"), "{version}: {said}");
        let all = versions(&node);
        assert_eq!((&all["failed"]["reason"], &all["rollout"]), (&reason.into(), &Value::Null), "{all}");
        assert_eq!(active(&node), before, "{version}");
    }
    // refused before it is called at all: it says another name than its manifest
    let file = put(files.path(), "lies_about_name");
    let (good, said) = plugin(&node, &["install", &file.to_string_lossy(), "--wait"]);
    assert!(!good && said.contains("rolled back in verified"), "{said}");
    assert!(node.metric("muster_plugin_versions_rolled_back_total{reason=\"trap\"}") == 1.0);
    watch.no_flips();
}

#[test]
fn a_good_version_goes_through_shadow_and_canary_stays_over_a_restart_and_can_be_rolled_back() {
    let folder = folder("counts_calls");
    let (mut node, target) = (node(folder.path()), LineTarget::open(Script::Hang));
    load(&node, &target);
    let first = active(&node);
    let watch = Watch::start(&node);
    // asks for less than the one before: nobody has to approve it
    put(folder.path(), "does_nothing");
    let mut stages = Vec::new();
    eventually(DONE, || {
        let all = versions(&node);
        if let Some(stage) = all["rollout"]["stage"].as_str()
            && stages.last().is_none_or(|last| last != stage)
        {
            stages.push(stage.to_owned());
        }
        hold(all["versions"][0]["sha256"] != first && all["rollout"].is_null(), || format!("{all}"))
    });
    for stage in ["shadow", "canary", "probation"] {
        assert!(stages.iter().any(|seen| seen == stage), "{stage} is not among {stages:?}");
    }
    wait_judged_by(&node, "does_nothing");
    watch.no_flips();

    let second = active(&node);
    node.stop();
    node.start_again();
    assert_eq!(active(&node), second, "a restart comes up with the wanted version");

    let watch = Watch::start(&node);
    let (good, said) = plugin(&node, &["rollback", "guest"]);
    assert!(good && said.contains("active"), "{said}");
    assert_eq!(active(&node), first);
    wait_judged_by(&node, "counts_calls");
    let (good, said) = plugin(&node, &["rollback", "guest"]);
    assert!(!good && said.contains("no previous version"), "{said}");
    watch.no_flips();

    node.stop();
    node.start_again();
    assert_eq!(active(&node), first, "the file in the folder was given up");
}

#[test]
fn a_plugin_in_quarantine_is_not_called_and_health_stays() {
    let folder = folder("counts_calls");
    let (node, target) = (node(folder.path()), LineTarget::open(Script::Hang));
    load(&node, &target);
    let watch = Watch::start(&node);
    let (good, said) = plugin(&node, &["quarantine", "guest"]);
    assert!(good && said.contains("quarantined"), "{said}");
    let query = format!("serviceName={SERVICE}&ip=127.0.0.1&port=1");
    let last = || node.get(format!("/nacos/v3/admin/muster/explain?{query}")).data()["probe"]["last"].clone();
    eventually(DONE, || hold(last()["code"] == "plugin.called-off", || last().to_string()));
    let (good, said) = plugin(&node, &["quarantine", "guest", "--release"]);
    assert!(good, "{said}");
    eventually(DONE, || hold(last()["outcome"] == "passed", || last().to_string()));
    watch.no_flips();
}

#[test]
fn commands_that_cannot_be_followed_say_what_would_be_right() {
    let files = TempDir::new().expect("a temporary folder");
    let node = crate::common::node();
    let refused = |words: &[&str], says: &str| {
        let (good, said) = plugin(node, words);
        assert!(!good && said.contains(says), "{words:?}: {said}");
    };
    refused(&["rollout", "nobody"], "there is no plugin \"nobody\"");
    refused(&["rollout", "TCP"], "has no version on its way");
    refused(&["rollback", "TCP"], "has no previous version");
    std::fs::write(files.path().join("tcp.wasm"), component("does_nothing")).expect("written");
    std::fs::write(files.path().join("tcp.toml"), MANIFEST.replace("guest", "TCP")).expect("written");
    let file = files.path().join("tcp.wasm");
    refused(&["install", &file.to_string_lossy()], "plugins.replace-bundled = true");
    // whoever reaches the API may be anybody
    let unsigned = put(files.path(), "does_nothing");
    refused(&["install", &unsigned.to_string_lossy(), "--wait"], "it is not signed");
    std::fs::remove_file(files.path().join("tcp.toml")).expect("removed");
    refused(&["install", &file.to_string_lossy()], "has no manifest");
}

/// Whoever reaches the API may be anybody: what nobody signed leaves no trace, and stops no later start.
#[test]
fn what_is_refused_is_not_kept() {
    let (folder, files) = (folder("does_nothing"), TempDir::new().expect("a temporary folder"));
    let mut node = Node::with(Config::new().text("plugins", "directory", &folder.path().to_string_lossy()));
    let before = versions(&node);
    let file = put(files.path(), "counts_calls");
    let (good, said) = plugin(&node, &["install", &file.to_string_lossy(), "--wait"]);
    assert!(!good && said.contains("it is not signed"), "{said}");
    assert_eq!(versions(&node)["versions"][0]["sha256"], before["versions"][0]["sha256"]);
    assert_eq!(versions(&node)["failed"], Value::Null, "it was not taken in at all");
    node.stop();
    node.start_again();
    assert_eq!(active(&node), before["versions"][0]["sha256"]);
}
