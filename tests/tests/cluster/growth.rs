//! A cluster that grows from one node to three and five, and one whose member is replaced.

use crate::seen::{SOON, all_list, all_up, leader};
use muster_tests::{Cluster, Node, name};

fn register(node: &Node, service: &str, port: u64, ephemeral: bool) {
    let instance = format!("serviceName={service}&ip=10.0.0.9&port={port}&ephemeral={ephemeral}");
    node.post(format!("/nacos/v1/ns/instance?{instance}")).ok();
}

#[test]
fn n306_n336_a_cluster_grows_from_one_node_to_three_and_five() {
    let mut cluster = Cluster::first_of(5);
    leader(&cluster, 1);
    let (durable, ephemeral) = (name("db"), name("web"));
    let mut wanted = Vec::new();
    for size in [1, 3, 5] {
        cluster.grow(size);
        // whoever is new has everything before it serves
        for index in cluster.running() {
            let ports = crate::seen::ports(cluster.node(index), &ephemeral);
            assert_eq!(ports, wanted, "node {index} of {size}");
        }
        all_up(&cluster);
        leader(&cluster, size);
        let newest = cluster.node(size - 1);
        register(newest, &durable, size as u64, false);
        register(newest, &ephemeral, size as u64, true);
        wanted.push(size as u64);
        all_list(&cluster, &durable, &wanted, SOON);
        all_list(&cluster, &ephemeral, &wanted, SOON);
    }
}
