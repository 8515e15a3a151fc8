//! A cluster whose nodes are restarted one after the other while real clients are connected.

use crate::changes::follow;
use crate::common::{keeper, up};
use muster_tests::client::{Client, GO_GRPC, JAVA_2, JAVA_3, PYTHON_3};
use muster_tests::wait::hold;
use muster_tests::{Cluster, addr, eventually, name};
use serde_json::{Value, json};
use std::time::Duration;

/// For a start, an election, and clients that reconnect with growing pauses.
const SETTLED: Duration = Duration::from_secs(60);

#[track_caller]
fn all_list(cluster: &Cluster, service: &str, host: &str) {
    eventually(SETTLED, || {
        let seen: Vec<Value> = cluster
            .all()
            .map(|node| node.get(format!("/nacos/v1/ns/instance/list?serviceName={service}")).value())
            .map(|list| json!([list["hosts"][0]["ip"], list["hosts"].as_array().map(Vec::len)]))
            .collect();
        hold(seen.iter().all(|one| *one == json!([host, 1])), || format!("{service}: {seen:?}"))
    });
}

/// Nobody hears of a list without the instance, and all nodes have it in the end.
#[test]
fn providers_and_consumers_do_not_notice_a_rolling_restart() {
    let mut cluster = Cluster::start(3);
    let ports: Vec<u16> = cluster.all().map(|node| node.port()).collect();
    let clients = Client::of_cluster([&JAVA_3, &JAVA_2, &GO_GRPC, &PYTHON_3], &ports);
    let [java, java_too, go, python] = &clients;
    let pairs = [(java, java_too, name("of-java"), addr()), (go, python, name("of-go"), addr())];
    for (provider, consumer, service, ip) in &pairs {
        provider.register(service, ip, 8080).expect("it has that");
        all_list(&cluster, service, ip);
        follow(consumer, service, &[up(ip, 8080)]).expect("it has that");
    }
    for node in 0..3 {
        cluster.stop(node);
        for (.., service, ip) in &pairs {
            all_list(&cluster, service, ip);
        }
        cluster.revive(node);
        for (.., service, ip) in &pairs {
            all_list(&cluster, service, ip);
        }
    }
    // what was said all along, until a later change was heard
    for (_, consumer, service, ip) in &pairs {
        let later = keeper(cluster.node(0), service, "public", &addr());
        consumer.wait_change(service, SETTLED, &sorted([up(ip, 8080), later]));
        let changes = consumer.changes(service);
        let gap = changes.iter().any(|change| !change.hosts.contains(&up(ip, 8080)));
        assert!(!gap, "{}: {changes:?}", consumer.sdk.name);
    }
}

fn sorted(mut hosts: [String; 2]) -> [String; 2] {
    hosts.sort();
    hosts
}
