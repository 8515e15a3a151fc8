//! SDKs over TLS, with a node that takes nothing else on its gRPC port.

use crate::changes::follow;
use crate::common::{SOON, keeper, listed, up, wait_listed};
use muster_tests::client::{Client, GO_GRPC, JAVA_2, JAVA_3, PYTHON_2, PYTHON_3, Sdk};
use muster_tests::tls::Files;
use muster_tests::{Config, Node, addr, name};

/// Those that can be told without being built for it.
static SDKS: [&Sdk; 5] = [&JAVA_2, &JAVA_3, &GO_GRPC, &PYTHON_2, &PYTHON_3];

/// Every SDK registers, subscribes, and hears of a change.
fn works(files: &Files, config: Config) {
    let node = Node::with(config);
    let clients = Client::start_over_tls(&SDKS, node.port(), files);
    for client in &clients {
        let (s, ip) = (name("orders"), addr());
        client.register(&s, &ip, 8080).expect("registers");
        wait_listed(&node, &s, SOON, &[up(&ip, 8080)]);
        follow(client, &s, &[up(&ip, 8080)]).expect("subscribes");
        let other = keeper(&node, &s, "public", &addr());
        client.wait_change(&s, SOON, &[up(&ip, 8080), other]);
        assert_eq!(listed(&node, &s).len(), 2);
    }
    let shown = node.get("/nacos/v2/core/loader/current").json();
    let connections: Vec<_> = shown.as_object().into_iter().flatten().collect();
    assert!(connections.len() >= SDKS.len(), "{shown}");
    for (id, connection) in connections {
        assert_eq!(connection["metaInfo"]["tlsProtected"], true, "{id}: {connection}");
    }
}

#[test]
fn n233_sdks_trust_the_node_by_who_issued_its_certificate() {
    let files = Files::new();
    works(&files, files.config(false));
}

#[test]
fn n234_sdks_show_a_certificate_of_their_own() {
    let files = Files::new();
    works(&files, files.mutual());
}
