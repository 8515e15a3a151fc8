//! Versions of plugins in a cluster: sent to one member, judged by each, active on all at the same time.

use muster_test_guests::component;
use muster_tests::lines::{LineTarget, Script};
use muster_tests::seen::{all_up, leader};
use muster_tests::target::HttpTarget;
use muster_tests::wait::hold;
use muster_tests::{Cluster, Config, Node, Request, encode, eventually};
use serde_json::{Value, json};
use std::cell::Cell;
use std::time::Duration;

const MANIFEST: &str = "[plugin]\nname = \"guest\"\nkind = \"health-check\"\n[grants]\ndial = true\n";
const SERVICE: &str = "checked-by-guest";
const WITH_SECRET: &str = "checked-with-a-secret";
const INSTANCES: u16 = 12;
/// From a command to its end, on a machine that does much else.
const DONE: Duration = Duration::from_secs(120);

/// One verdict turns an instance, so that a single wrong one is seen; a few answers are enough to go on.
fn quick(config: Config) -> Config {
    let mut config = config
        // the versions that are sent are not signed
        .text("plugins", "unsigned", "warn")
        .set("plugins", "cluster-grants", "true")
        .text("secrets", "probe", "of-the-check")
        .set("health", "rise", "1")
        .set("health", "fall", "1");
    for (key, value) in
        [("first-delay", "100ms"), ("first-spread", "500ms"), ("max-interval", "500ms"), ("timeout", "2s")]
    {
        config = config.text("health", key, value);
    }
    for (key, value) in [("shadow-runs", "5"), ("canary-runs", "5"), ("canary-share", "1.0")] {
        config = config.set("plugins.rollout", key, value);
    }
    for (key, value) in [
        ("shadow-time", "200ms"),
        ("canary-time", "200ms"),
        ("patience", "2s"),
        ("probation", "1s"),
        ("slack", "10s"),
    ] {
        config = config.text("plugins.rollout", key, value);
    }
    config
}

/// Sends a version to one member.
fn install(node: &Node, version: &str, approve: &str) -> String {
    let path = format!(
        "/nacos/v3/admin/muster/plugins/install?manifest={}&approve={}",
        encode(MANIFEST),
        encode(approve)
    );
    let sent = node.http().send(&Request::new("POST", path).wasm(component(version)));
    sent.data()["sha256"].as_str().expect("its digest").to_owned()
}

fn versions(node: &Node) -> Value {
    node.get("/nacos/v3/admin/muster/plugins/versions?name=guest").data()[0].clone()
}

/// What every member says of the plugin, asked of one of them.
fn on_members(node: &Node) -> Vec<Value> {
    let told = node.get("/nacos/v3/admin/muster/plugins/versions?scope=cluster&name=guest").data();
    told.as_array().cloned().unwrap_or_default()
}

/// Waits until this version is the active one of every member that runs, and none is on its way.
#[track_caller]
fn all_active(cluster: &Cluster, sha256: &str) {
    eventually(DONE, || {
        let seen: Vec<Value> = cluster.all().map(versions).collect();
        let settled = |one: &Value| {
            one["versions"][0]["sha256"] == sha256
                && one["versions"][0]["state"] == "active"
                && one["rollout"].is_null()
        };
        hold(seen.iter().all(settled), || format!("not {sha256}: {seen:#?}"))
    });
}

fn healthy(node: &Node) -> usize {
    let list = node.get(format!("/nacos/v3/admin/ns/instance/list?serviceName={SERVICE}")).data();
    list.as_array().into_iter().flatten().filter(|one| one["healthy"] == true).count()
}

/// Persistent instances that `guest` checks, once every member calls all of them healthy.
fn load(cluster: &Cluster, target: &LineTarget) {
    let node = cluster.node(0);
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
        let seen: Vec<usize> = cluster.all().map(healthy).collect();
        hold(seen.iter().all(|count| *count == usize::from(INSTANCES)), || format!("{seen:?}"))
    });
}

/// Stores a checker that wants a secret, of a service that is there; answers the status.
fn store_http(node: &Node) -> u16 {
    // there is one already the second time
    node.post(format!("/nacos/v1/ns/service?serviceName={WITH_SECRET}"));
    let query = format!("serviceName={WITH_SECRET}&clusterName=DEFAULT&checkPort=80");
    let checker =
        json!({"type": "HTTP", "headers": "Authorization:Bearer ${secret.token}", "token": "secret:probe"});
    let checker = encode(&checker.to_string());
    let path = format!("/nacos/v1/ns/cluster?{query}&useInstancePort4Check=true&healthChecker={checker}");
    node.put(path).status
}

/// Waits until every member that runs grants HTTP these secrets.
#[track_caller]
fn all_grant(cluster: &Cluster, secrets: &[&str]) {
    let granted = |node: &Node| {
        node.get("/nacos/v3/admin/muster/plugins/grants?name=HTTP").data()[0]["inForce"]["secrets"].clone()
    };
    eventually(DONE, || {
        let seen: Vec<Value> = cluster.all().map(granted).collect();
        hold(seen.iter().all(|one| *one == json!(secrets)), || format!("{seen:?}"))
    });
}

/// Waits until every member says, asked over another one, that this version is its active one.
#[track_caller]
fn every_member_tells(node: &Node, sha256: &str) {
    let told = eventually(DONE, || {
        let told = on_members(node);
        let active = |one: &&Value| one["plugins"][0]["versions"][0]["sha256"] == sha256;
        hold(told.iter().filter(active).count() == 3, || format!("{told:#?}")).map(|()| told)
    });
    let called = |one: &Value| one["plugins"][0]["versions"][0]["calls"].as_u64().unwrap_or_default();
    assert!(told.iter().map(called).sum::<u64>() > 0, "each member counts its own calls: {told:#?}");
}

/// What one member was granted is in force on all, and taken back on all.
#[track_caller]
fn the_secret_is_sent(cluster: &Cluster, target: &HttpTarget) {
    all_grant(cluster, &["probe"]);
    assert_eq!(store_http(cluster.node(2)), 200);
    let query = format!("serviceName={WITH_SECRET}&ip=127.0.0.1&port={}", target.port);
    cluster.node(1).post(format!("/nacos/v1/ns/instance?{query}&ephemeral=false&healthy=false")).ok();
    eventually(DONE, || {
        let sent =
            |(name, value): &(String, String)| name == "authorization" && value == "Bearer of-the-check";
        let asked = target.asked();
        hold(asked.iter().any(|one| one.headers.iter().any(sent)), || format!("{asked:?}"))
    });
    cluster.node(1).post("/nacos/v3/admin/muster/plugins/revoke?name=HTTP&secrets=probe").data();
    all_grant(cluster, &[]);
    assert_eq!(store_http(cluster.node(0)), 400);
}

#[test]
fn a_version_sent_to_one_member_becomes_active_on_all_and_can_be_rolled_back_on_any() {
    let mut cluster = Cluster::start_with(3, quick);
    all_up(&cluster);
    leader(&cluster, 3);
    let first = install(cluster.node(0), "does_nothing", "");
    all_active(&cluster, &first);
    let target = LineTarget::open(Script::Hang);
    load(&cluster, &target);

    // one that breaks: the member that finds it out tells the others
    install(cluster.node(1), "panics", "");
    eventually(DONE, || {
        let seen: Vec<Value> = cluster.all().map(versions).collect();
        let reasons: Vec<&str> = seen.iter().filter_map(|one| one["failed"]["reason"].as_str()).collect();
        let told = reasons.len() == 3 && reasons.contains(&"trap");
        hold(told, || format!("{seen:#?}"))
    });
    all_active(&cluster, &first);

    // one that asks for more, which an operator approves once for all members
    install(cluster.node(1), "counts_calls", "");
    let digest = eventually(DONE, || {
        let failed = versions(cluster.node(1))["failed"]["message"].clone();
        let digest = failed.as_str().and_then(|said| said.split_once("--approve ")).map(|(_, digest)| digest);
        digest.map(str::to_owned).ok_or_else(|| failed.to_string())
    });
    let second = install(cluster.node(1), "counts_calls", &digest);
    all_active(&cluster, &second);
    cluster.node(2).post("/nacos/v3/admin/muster/plugins/rollback?name=guest").data();
    all_active(&cluster, &first);

    // a member that was away gets the version from the others, not from where it came from, and hears of grants
    let target_of_http = HttpTarget::open(200);
    assert_eq!(store_http(cluster.node(2)), 400);
    cluster.kill(2);
    install(cluster.node(0), "counts_calls", &digest);
    cluster.node(0).post("/nacos/v3/admin/muster/plugins/grant?name=HTTP&secrets=probe").data();
    all_active(&cluster, &second);
    let told = eventually(DONE, || {
        let told = on_members(cluster.node(1));
        let silent = told.iter().filter(|one| one["error"].is_string() && one["plugins"].is_null()).count();
        hold(silent == 1, || format!("{told:#?}")).map(|()| told)
    });
    assert_eq!(told.len(), 3, "a member that is away is not left out");
    cluster.revive(2);
    all_active(&cluster, &second);
    every_member_tells(cluster.node(1), &second);
    the_secret_is_sent(&cluster, &target_of_http);

    cluster.node(1).post("/nacos/v3/admin/muster/plugins/quarantine?name=guest").data();
    eventually(DONE, || {
        let off = |node: &Node| versions(node)["versions"][0]["state"] == "quarantined";
        hold(cluster.all().all(off), || "not every member has called it off".to_owned())
    });
    for node in cluster.all() {
        assert_eq!(healthy(node), usize::from(INSTANCES), "nothing that a version did turned an instance");
    }
}

#[test]
fn a_version_that_one_member_refuses_becomes_active_nowhere() {
    let nth = Cell::new(0);
    let cluster = Cluster::start_with(3, |config| {
        let config = quick(config);
        match nth.replace(nth.get() + 1) {
            2 => config.text("plugins", "unsigned", "deny"),
            _ => config,
        }
    });
    all_up(&cluster);
    leader(&cluster, 3);
    install(cluster.node(0), "does_nothing", "");
    eventually(DONE, || {
        let said = versions(cluster.node(0))["failed"]["message"].as_str().unwrap_or_default().to_owned();
        hold(said.contains("it is not signed"), || format!("{said:?}"))
    });
    eventually(DONE, || {
        let seen: Vec<Value> = cluster.all().map(versions).collect();
        let gone = |all: &Value| {
            all["versions"].as_array().into_iter().flatten().all(|one| one["state"] == "failed")
        };
        hold(seen.iter().all(gone), || format!("{seen:#?}"))
    });
}
