//! `muster raft`: what operators ask of a running node, and do with the data of a stopped one.

use muster_tests::node::binary;
use muster_tests::process::Process;
use muster_tests::seen::{SOON, all_list, all_up, leader, ports};
use muster_tests::{Cluster, Config, Node, eventually, name};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(60);

/// Runs `muster raft` with these arguments: exit code and both outputs.
fn raft(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(binary()).arg("raft").args(arguments).output().expect("muster starts");
    let both = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(both).expect("text"))
}

fn on(data: &Path, command: &str, more: &[&str]) -> (Option<i32>, String) {
    let mut arguments = vec![command, "--data-dir", data.to_str().expect("a path")];
    arguments.extend(more);
    raft(&arguments)
}

/// What a running node says of itself.
fn status(node: &Node) -> Value {
    let (code, said) = raft(&["status", "--json", "--server", &format!("http://127.0.0.1:{}", node.port())]);
    assert_eq!(code, Some(0), "{said}");
    serde_json::from_str(&said).expect("JSON")
}

fn register(node: &Node, service: &str, port: u64) {
    let instance = format!("serviceName={service}&ip=10.0.0.9&port={port}&ephemeral=false");
    node.post(format!("/nacos/v1/ns/instance?{instance}&weight=0.{port}&metadata=v%3D{service}-{port}")).ok();
}

#[test]
fn a_cluster_that_lost_its_majority_for_ever_goes_on_from_the_node_that_is_left() {
    let mut cluster = Cluster::first_of(4);
    leader(&cluster, 1);
    cluster.grow(3);
    all_up(&cluster);
    let leads = leader(&cluster, 3);
    let service = name("db");
    register(cluster.node(leads), &service, 1);
    register(cluster.node((leads + 1) % 3), &service, 2);
    all_list(&cluster, &service, &[1, 2], SOON);
    let before = status(cluster.node(2));
    assert_eq!((before["members"].as_array().map(Vec::len), &before["quarantined"]), (Some(3), &json!(0)));
    let leaders = before["members"].as_array().into_iter().flatten();
    assert_eq!(leaders.filter(|member| member["id"] == before["leader"]["id"]).count(), 1);

    cluster.kill(0);
    cluster.kill(1);
    let (data, pid) = (cluster.node(2).data(), cluster.node(2).id());
    for command in ["recover", "doctor", "export"] {
        let (code, said) = on(&data, command, if command == "recover" { &["--yes"] } else { &[] });
        assert_eq!(code, Some(2), "{command}: {said}");
        assert!(
            said.contains("a node is running on these data") && said.contains(&pid.to_string()),
            "{said}"
        );
    }
    cluster.kill(2);
    let (code, said) = on(&data, "doctor", &[]);
    assert!(code == Some(0) && said.contains("good: nothing was found"), "{said}");
    let (code, said) = on(&data, "recover", &[]);
    assert!(code == Some(2) && said.contains("--yes") && said.contains("nothing was done"), "{said}");
    let (code, said) = on(&data, "recover", &["--yes"]);
    assert!(code == Some(0) && said.contains("the only member of the new group"), "{said}");
    assert!(data.join("muster.redb.before-recover-1").is_file());
    let (code, said) = on(&data, "recover", &["--yes"]);
    assert!(code == Some(1) && said.contains("needs nobody else"), "{said}");

    cluster.revive(2);
    assert_eq!(ports(cluster.node(2), &service), [1, 2]);
    register(cluster.node(2), &service, 3);
    let alone = status(cluster.node(2));
    assert_eq!((&alone["role"], alone["members"].as_array().map(Vec::len)), (&json!("leader"), Some(1)));
    assert!(alone["group"].is_string() && alone["group"] != before["group"], "{alone}");

    // a new node is let in; a former member that comes back with its old data is not
    cluster.grow(4);
    leader(&cluster, 2);
    register(cluster.node(3), &service, 4);
    all_list(&cluster, &service, &[1, 2, 3, 4], SOON);
    cluster.revive(0);
    eventually(SOON, || {
        let said = cluster.node(2).log() + &cluster.node(3).log();
        let told = said.contains("belongs to another raft group");
        muster_tests::wait::hold(told, || said)
    });
    register(cluster.node(3), &service, 5);
    assert_eq!(status(cluster.node(0))["group"], before["group"]);
    assert_eq!(status(cluster.node(2))["members"].as_array().map(Vec::len), Some(2));
    // of what it had, a node that was killed and has no majority knows only a part to be committed
    let stale = ports(cluster.node(0), &service);
    assert!(stale.iter().all(|port| *port <= 2), "{stale:?}");
}

#[test]
fn doctor_finds_a_flipped_byte_and_changes_nothing() {
    let mut node = Node::start();
    let service = name("db");
    for port in 1..=9 {
        register(&node, &service, port);
    }
    node.kill();
    let file = node.data().join("muster.redb");
    let whole = std::fs::read(&file).expect("the data");
    let (code, said) = on(&node.data(), "doctor", &[]);
    assert!(code == Some(0) && said.contains("good: nothing was found"), "{said}");
    let (code, said) =
        raft(&["doctor", "--config", node.folder().join("muster.toml").to_str().expect("a path")]);
    assert_eq!(code, Some(0), "{said}");

    node.start_again();
    assert_eq!(ports(&node, &service).len(), 9);
    node.stop();
    let stopped = std::fs::read(&file).expect("the data");
    assert!(whole != stopped, "it was closed in order meanwhile");
    // in the rows, or in the log, of which the newest copy of each page counts: flip one of each
    let text = format!("{service}-7").into_bytes();
    let places: Vec<usize> =
        (0..stopped.len() - text.len()).filter(|at| stopped[*at..].starts_with(&text)).collect();
    assert!(!places.is_empty());
    let mut bytes = stopped.clone();
    for place in places {
        bytes[place] ^= 1;
    }
    std::fs::write(&file, &bytes).expect("written");
    let (code, said) = on(&node.data(), "doctor", &[]);
    assert!(code == Some(1) && said.contains("damaged") && said.contains("1 finding"), "{said}");
    let (code, said) = on(&node.data(), "doctor", &["--json"]);
    let seen: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((code, &seen["findings"][0]["kind"]), (Some(1), &json!("damage")));
    assert!(std::fs::read(&file).expect("the data") == bytes, "it was written to");
    std::fs::write(&file, &stopped).expect("written");
    assert_eq!(on(&node.data(), "doctor", &[]).0, Some(0));
}

#[test]
fn export_is_what_the_api_lists() {
    let mut node = Node::start();
    let services = [name("db"), name("cache")];
    let mut listed = Vec::new();
    for service in &services {
        for port in 1..=5 {
            register(&node, service, port);
        }
        node.post(format!("/nacos/v1/ns/service?serviceName={service}-meta&protectThreshold=0.5")).ok();
        let list = node.get(format!("/nacos/v1/ns/instance/list?serviceName={service}")).value();
        for host in list["hosts"].as_array().expect("hosts") {
            listed.push(json!([service, host["ip"], host["port"], host["weight"], host["metadata"]]));
        }
    }
    node.put("/nacos/v1/ns/operator/switches?entry=distroThreshold&value=0.6&debug=false").ok();
    node.kill();
    let out = node.folder().join("rows.jsonl");
    let place = out.to_str().expect("a path");
    let (code, said) = on(&node.data(), "export", &["--out", place]);
    assert!(code == Some(0) && said.contains("rows, with log entries up to"), "{said}");
    let text = std::fs::read_to_string(&out).expect("written");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).collect::<Vec<_>>();
    let mut exported: Vec<Value> = of("instance")
        .iter()
        .map(|line| {
            let value = &line["value"];
            assert_eq!(line["id"], format!("{}:{}", value["ip"].as_str().expect("text"), value["port"]));
            json!([line["service"], value["ip"], value["port"], value["weight"], value["metadata"]])
        })
        .collect();
    for rows in [&mut exported, &mut listed] {
        rows.sort_by_key(Value::to_string);
    }
    assert_eq!((exported.len(), exported), (10, listed));
    let mut named: Vec<&str> = of("service").iter().filter_map(|line| line["service"].as_str()).collect();
    named.sort_unstable();
    let mut wanted: Vec<String> = services.iter().map(|service| format!("{service}-meta")).collect();
    wanted.sort_unstable();
    assert_eq!(named, wanted);
    assert_eq!(of("switches")[0]["value"]["distroThreshold"], json!(0.6));
    let (code, said) = on(&node.data(), "export", &["--out", place]);
    assert!(code == Some(2) && said.contains("exists"), "it is not overwritten: {said}");
    let (code, said) = on(&node.data(), "export", &[]);
    assert!(code == Some(0) && said.starts_with(&text), "the same on standard output");
}

#[test]
fn status_is_a_table_and_says_who_does_not_answer() {
    let node = Node::with(Config::new().text("http", "context-path", "/elsewhere"));
    let address = format!("http://127.0.0.1:{}/elsewhere", node.port());
    let (code, said) = raft(&["status", "--server", &address]);
    assert_eq!(code, Some(0), "{said}");
    for line in ["node        1, leader", "quarantine  0 commands", "votes, leads, this node"] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(node.metric("muster_raft_quarantined").abs() < f64::EPSILON);
    let (code, said) = raft(&["status", "--server", &format!("http://127.0.0.1:{}", node.port())]);
    assert!(code == Some(1) && said.contains("404"), "{said}");
    let closed = muster_tests::target::closed_port();
    let (code, said) = raft(&["status", "--server", &format!("http://127.0.0.1:{closed}")]);
    assert!(code == Some(1) && said.contains("refused"), "{said}");
}

#[test]
fn a_place_without_data_is_refused_and_stays_empty() {
    let folder = TempDir::with_prefix("muster-none-").expect("a temporary folder");
    for command in ["doctor", "export", "recover"] {
        let (code, said) = on(folder.path(), command, &[]);
        assert!(code == Some(2) && said.contains("no data of a node"), "{command}: {said}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 0);
    let mut neither = Process::start(Command::new(binary()).args(["raft", "doctor"]), None);
    assert_eq!(neither.wait(DEADLINE).code(), Some(2));
}
