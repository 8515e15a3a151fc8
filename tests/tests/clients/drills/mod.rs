//! What is done to clusters in practice, while real clients use them: nodes killed, cut off, restarted, replaced and
//! added. Each drill writes down what it saw, for `tests/drills`: writes that were acknowledged and lost, lists that
//! were read and wrong, how long it took until all nodes were equal, and how long no durable write went through.

mod load;

use crate::changes::follow;
use crate::common::up;
use load::{Load, Stable};
use muster_tests::client::{Client, GO_GRPC, JAVA_2, JAVA_3, PYTHON_3, Sdk};
use muster_tests::seen::{all_up, leader};
use muster_tests::{Cluster, Request, addr, name};
use serde_json::json;
use std::time::Duration;

/// How long a node is away at least: longer than reports and elections take.
const AWAY: Duration = Duration::from_secs(6);

/// A provider and a consumer of one service, by two SDKs.
type Pair = (&'static Sdk, &'static Sdk);

/// Has real clients use the cluster while `work` does something to it, and then looks whether all is well.
#[track_caller]
fn drill(what: &str, mut cluster: Cluster, pairs: &[Pair], work: impl FnOnce(&mut Cluster, &Load)) {
    let nodes: Vec<u16> = cluster.running().map(|node| cluster.ports()[node]).collect();
    let clients: Vec<[Client; 2]> =
        pairs.iter().map(|(provider, consumer)| Client::of_cluster([*provider, *consumer], &nodes)).collect();
    let stable: Vec<Stable> = clients
        .iter()
        .map(|[provider, consumer]| {
            let stable = Stable { service: name("stable"), ip: addr() };
            provider.register(&stable.service, &stable.ip, 8080).expect("it has that");
            muster_tests::seen::all_have(&cluster, &stable.service, &stable.ip);
            follow(consumer, &stable.service, &[up(&stable.ip, 8080)]).expect("it has that");
            stable
        })
        .collect();
    let load = Load::new(cluster.ports(), stable);
    std::thread::scope(|scope| {
        load.start(scope, clients.iter().map(|[provider, _]| provider));
        // ends the load also when a step here panics
        let _over = load.over();
        load.proceeds();
        work(&mut cluster, &load);
    });
    load.is_as_acknowledged(&cluster);
    for ([_, consumer], stable) in clients.iter().zip(&load.stable) {
        load.heard(&consumer.changes(&stable.service), stable);
    }
    load.report(what);
}

#[test]
fn nodes_are_killed_in_turn_and_come_back() {
    let cluster = Cluster::start(3);
    all_up(&cluster);
    let first = leader(&cluster, 3);
    drill("kill and restart each of three", cluster, &[(&JAVA_3, &GO_GRPC)], |cluster, load| {
        for node in (0..3).map(|turn| (first + turn) % 3) {
            load.event();
            cluster.kill(node);
            load.proceeds_for(AWAY);
            cluster.revive(node);
            load.converges(cluster);
        }
    });
}

#[test]
fn a_third_is_cut_off_and_comes_back() {
    let cluster = Cluster::start(3);
    all_up(&cluster);
    let first = leader(&cluster, 3);
    drill("cut off one of three and heal", cluster, &[(&GO_GRPC, &PYTHON_3)], |cluster, load| {
        // first the one that leads
        for node in [first, (first + 1) % 3] {
            load.event();
            cluster.isolate(node);
            load.proceeds_for(AWAY);
            cluster.heal(node);
            load.converges(cluster);
        }
    });
}

#[test]
fn nodes_are_restarted_one_after_the_other() {
    let cluster = Cluster::start(3);
    let pairs = [(&JAVA_3, &JAVA_2), (&GO_GRPC, &PYTHON_3)];
    drill("rolling restart of three", cluster, &pairs, |cluster, load| {
        for node in 0..3 {
            load.event();
            cluster.stop(node);
            load.proceeds();
            cluster.revive(node);
            load.converges(cluster);
        }
    });
}

#[test]
fn a_node_is_replaced() {
    let cluster = Cluster::start_of(3, 4);
    all_up(&cluster);
    let gone = leader(&cluster, 3);
    drill("replace one of three", cluster, &[(&PYTHON_3, &JAVA_3)], |cluster, load| {
        let address = format!("127.0.0.1:{}", cluster.node(gone).port() - 1_000);
        load.event();
        cluster.kill(gone);
        let leads = leader(cluster, 3);
        let remove = json!({"command": "removePeer", "value": address});
        cluster.node(leads).send(&Request::new("POST", "/nacos/v3/admin/core/ops/raft").json(&remove)).data();
        load.proceeds();
        cluster.replace(gone, 3);
        leader(cluster, 3);
        load.converges(cluster);
    });
}

#[test]
fn n306_n336_a_cluster_grows_from_one_node_to_three_and_five() {
    let cluster = Cluster::first_of(5);
    leader(&cluster, 1);
    drill("grow from one to three and five", cluster, &[(&GO_GRPC, &JAVA_3)], |cluster, load| {
        for size in [3, 5] {
            load.event();
            cluster.grow(size);
            leader(cluster, size);
            all_up(cluster);
            load.converges(cluster);
        }
    });
}
