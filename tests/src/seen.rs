//! What the nodes of a cluster show, and waiting until it is as it should be.

use crate::wait::hold;
use crate::{Cluster, Node, eventually};
use serde_json::Value;
use std::time::Duration;

/// For what happens within milliseconds on an idle machine.
pub const SOON: Duration = Duration::from_secs(20);
/// For what takes an election, and then what follows.
pub const ELECTION: Duration = Duration::from_secs(40);

/// The ports of a service's instances.
pub fn ports(node: &Node, service: &str) -> Vec<u64> {
    listed(node, &format!("/nacos/v1/ns/instance/list?serviceName={service}"))
}

fn listed(node: &Node, target: &str) -> Vec<u64> {
    let list = node.get(target).value();
    let hosts = list["hosts"].as_array().cloned().unwrap_or_default();
    let mut ports: Vec<u64> = hosts.iter().filter_map(|host| host["port"].as_u64()).collect();
    ports.sort_unstable();
    ports
}

/// The addresses of a service's instances.
pub fn hosts(node: &Node, service: &str) -> Vec<String> {
    let list = node.get(format!("/nacos/v1/ns/instance/list?serviceName={service}")).value();
    let hosts = list["hosts"].as_array().cloned().unwrap_or_default();
    hosts.iter().filter_map(|host| host["ip"].as_str().map(str::to_owned)).collect()
}

/// All nodes list this one instance.
#[track_caller]
pub fn all_have(cluster: &Cluster, service: &str, ip: &str) {
    eventually(SOON, || {
        let seen: Vec<Vec<String>> = cluster.all().map(|node| hosts(node, service)).collect();
        hold(seen.iter().all(|hosts| *hosts == [ip]), || format!("{seen:?}, not {ip}"))
    });
}

/// The same, of a read that must not miss anything.
pub fn ports_strong(node: &Node, service: &str) -> Vec<u64> {
    listed(node, &format!("/nacos/v1/ns/instance/list?serviceName={service}&consistency=strong"))
}

/// All nodes list exactly these ports.
#[track_caller]
pub fn all_list(cluster: &Cluster, service: &str, wanted: &[u64], deadline: Duration) {
    eventually(deadline, || {
        let seen: Vec<Vec<u64>> = cluster.all().map(|node| ports(node, service)).collect();
        hold(seen.iter().all(|ports| ports == wanted), || format!("{seen:?}, not {wanted:?}"))
    });
}

fn members(node: &Node) -> Vec<Value> {
    node.get("/nacos/v1/core/cluster/nodes").value()["data"].as_array().cloned().unwrap_or_default()
}

/// The addresses of all members, as one of them lists them, in order.
pub fn listed_members(node: &Node) -> Vec<String> {
    let mut all: Vec<String> =
        members(node).iter().filter_map(|member| member["address"].as_str().map(str::to_owned)).collect();
    all.sort();
    all
}

/// The states of all members, as one of them sees them.
pub fn states(node: &Node) -> Vec<String> {
    members(node).iter().filter_map(|member| member["state"].as_str().map(str::to_owned)).collect()
}

/// Every node sees every running node, and sees it up.
#[track_caller]
pub fn all_up(cluster: &Cluster) {
    let count = cluster.all().count();
    eventually(SOON, || {
        let seen: Vec<_> = cluster.all().map(states).collect();
        hold(seen.iter().all(|states| *states == vec!["UP"; count]), || format!("{seen:?}"))
    });
}

/// `raftMetaData` of the persistent instances, as a node shows it of itself.
pub fn raft(node: &Node) -> Value {
    let own = node.get("/nacos/v1/core/cluster/self").value();
    own["data"]["extendInfo"]["raftMetaData"]["metaDataMap"]["naming_persistent_service_v2"].clone()
}

/// Waits until all running nodes name the same leader and the same members; answers which node leads.
#[track_caller]
pub fn leader(cluster: &Cluster, members: usize) -> usize {
    eventually(ELECTION, || {
        let seen: Vec<(usize, Value)> =
            cluster.running().map(|index| (index, raft(cluster.node(index)))).collect();
        let named = seen.first().and_then(|(_, raft)| raft["leader"].as_str()).unwrap_or_default().to_owned();
        let agree = seen.iter().all(|(_, raft)| {
            raft["leader"] == *named
                && raft["raftGroupMember"].as_array().is_some_and(|all| all.len() == members)
        });
        let leads = cluster
            .running()
            .find(|index| named == format!("127.0.0.1:{}", cluster.node(*index).port() - 1_000));
        leads.filter(|_| agree).ok_or_else(|| format!("{seen:?}"))
    })
}
