//! Ephemeral instances: written to any node, there on all.

use muster_tests::seen::{SOON, all_list, all_up, ports, states};
use muster_tests::wait::hold;
use muster_tests::{Cluster, Config, Node, eventually, name, never};
use serde_json::{Value, json};
use std::time::Duration;

/// For what takes missed beats, 30 s of them, and what follows.
const SILENCE: Duration = Duration::from_secs(75);

fn register(node: &Node, service: &str, port: u16) {
    node.post(format!("/nacos/v1/ns/instance?serviceName={service}&ip=10.0.0.5&port={port}")).ok();
}

fn deregister(node: &Node, service: &str, port: u16) {
    node.delete(format!("/nacos/v1/ns/instance?serviceName={service}&ip=10.0.0.5&port={port}")).ok();
}

/// A light beat; answers the code.
fn beat(node: &Node, service: &str, port: u16) -> Value {
    let target = format!("/nacos/v1/ns/instance/beat?serviceName={service}&ip=10.0.0.5&port={port}");
    node.put(target).value()["code"].clone()
}

#[test]
fn n307_n318_n328_n329_what_is_written_to_one_node_is_read_from_all() {
    let cluster = Cluster::start(3);
    all_up(&cluster);
    let service = name("orders");
    for port in 8_000..8_003 {
        register(cluster.node(usize::from(port - 8_000)), &service, port);
    }
    all_list(&cluster, &service, &[8_000, 8_001, 8_002], SOON);
    // another node than the one it was registered on
    deregister(cluster.node(2), &service, 8_000);
    all_list(&cluster, &service, &[8_001, 8_002], SOON);
}

#[test]
fn n317_n336_a_node_is_killed_and_comes_back() {
    let mut cluster = Cluster::start(3);
    all_up(&cluster);
    let service = name("orders");
    for port in 8_000..8_009 {
        register(cluster.node(2), &service, port);
    }
    let all: Vec<u64> = (8_000..8_009).collect();
    all_list(&cluster, &service, &all, SOON);
    cluster.kill(2);
    eventually(SOON, || {
        let seen = [states(cluster.node(0)), states(cluster.node(1))];
        let down = |states: &Vec<String>| states.iter().filter(|state| *state == "DOWN").count() == 1;
        hold(seen.iter().all(down), || format!("{seen:?}"))
    });
    // clients go on beating, each to a node that may not be the one that judges it: none is lost
    // N105: only the responsible node judges beats
    never(Duration::from_secs(35), || {
        for port in 8_000..8_008 {
            let code = beat(cluster.node(usize::from(port % 2)), &service, port);
            hold(code == json!(10_200), || format!("beat of {port}: {code}"))?;
        }
        let seen = [ports(cluster.node(0), &service), ports(cluster.node(1), &service)];
        hold(seen.iter().all(|ports| ports[..8] == all[..8]), || format!("{seen:?}"))
    });
    // the one that stopped is gone from both, and a node that comes back has the list before it serves
    let rest = &all[..8];
    eventually(SILENCE, || {
        (8_000..8_008).for_each(|port| drop(beat(cluster.node(0), &service, port)));
        let seen = [ports(cluster.node(0), &service), ports(cluster.node(1), &service)];
        hold(seen.iter().all(|ports| ports == rest), || format!("{seen:?}"))
    });
    cluster.revive(2);
    assert_eq!(ports(cluster.node(2), &service), rest);
    all_up(&cluster);
}

#[test]
fn a_node_that_was_cut_off_takes_writes_and_is_equal_again_afterwards() {
    let cluster = Cluster::start(3);
    all_up(&cluster);
    let service = name("orders");
    register(cluster.node(0), &service, 8_000);
    all_list(&cluster, &service, &[8_000], SOON);
    cluster.isolate(2);
    register(cluster.node(0), &service, 8_001);
    register(cluster.node(2), &service, 8_002);
    deregister(cluster.node(1), &service, 8_000);
    eventually(SOON, || {
        let seen: Vec<_> = cluster.all().map(|node| ports(node, &service)).collect();
        hold(seen == [vec![8_001], vec![8_001], vec![8_000, 8_002]], || format!("{seen:?}"))
    });
    cluster.heal(2);
    all_list(&cluster, &service, &[8_001, 8_002], SOON);
    all_up(&cluster);
}

#[test]
fn a_node_with_another_secret_is_told_nothing() {
    let cluster = Cluster::start(2);
    let service = name("orders");
    register(cluster.node(0), &service, 8_000);
    all_list(&cluster, &service, &[8_000], SOON);
    let list = tempfile::NamedTempFile::new().expect("a temporary file");
    let members = format!("127.0.0.1:{}\n127.0.0.1:{}\n", cluster.node(0).port(), cluster.node(1).port());
    std::fs::write(list.path(), members).expect("the list is written");
    let config = Config::new()
        .text("lookup", "type", "file")
        .text("lookup.settings", "file", &list.path().to_string_lossy())
        .text("cluster", "secret", "a guess, not what they share");
    let stranger = Node::with(config);
    never(Duration::from_secs(6), || {
        let seen = ports(&stranger, &service);
        hold(seen.is_empty(), || format!("{seen:?}"))
    });
    register(&stranger, &service, 8_001);
    never(Duration::from_secs(6), || {
        let seen: Vec<_> = cluster.all().map(|node| ports(node, &service)).collect();
        hold(seen == [[8_000], [8_000]], || format!("{seen:?}"))
    });
}

/// Every member shows what it last knew until providers had the time to come back, and then what did.
#[test]
fn a_restart_of_all_members_at_once_leaves_no_gap() {
    let mut cluster = Cluster::start_with(3, |config| config.text("naming", "restart-hold", "20s"));
    all_up(&cluster);
    let service = name("orders");
    let all = [8_000, 8_001, 8_002];
    for port in 8_000..8_003 {
        register(cluster.node(usize::from(port - 8_000)), &service, port);
    }
    all_list(&cluster, &service, &all, SOON);
    // what a kill may lose is what changed in the last second
    eventually(SOON, || {
        let known = |node: &Node| {
            let text = std::fs::read_to_string(node.data().join("remembered.jsonl")).unwrap_or_default();
            all.iter().all(|port| text.contains(&port.to_string())) && text.contains(&*service)
        };
        hold(cluster.all().all(known), || "not all of them remember the lists".to_owned())
    });
    (0..3).for_each(|node| cluster.kill(node));
    cluster.revive_all();
    for node in cluster.all() {
        assert_eq!(ports(node, &service), all, "nobody has registered again, and nothing is missing");
    }
    register(cluster.node(1), &service, 8_001);
    all_list(&cluster, &service, &[8_001], Duration::from_secs(60));
}
