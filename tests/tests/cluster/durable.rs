//! Persistent data: acknowledged by one node, there on all, and never lost.

use muster_tests::seen::{SOON, all_list, all_up, leader, ports, ports_strong, raft};

use muster_tests::wait::hold;
use muster_tests::{Clock, Cluster, Node, Request, eventually, name};
use serde_json::json;
use std::time::Duration;

/// Tries to register a persistent instance; whether that was acknowledged.
fn register(node: &Node, service: &str, port: u64) -> bool {
    let target =
        format!("/nacos/v1/ns/instance?serviceName={service}&ip=10.0.0.9&port={port}&ephemeral=false");
    node.try_send(&Request::new("POST", target)).is_ok_and(|reply| reply.status == 200 && reply.body == "ok")
}

#[track_caller]
fn registered(node: &Node, service: &str, port: u64) {
    eventually(SOON, || hold(register(node, service, port), || format!("{port} was not acknowledged")));
}

#[test]
fn n319_n345_n346_n347_n353_what_is_written_to_any_node_is_on_all_and_survives_a_full_restart() {
    let mut cluster = Cluster::start(3);
    all_up(&cluster);
    let leads = leader(&cluster, 3);
    let service = name("db");
    let follower = cluster.node((leads + 1) % 3);
    for port in 3_306..3_309 {
        assert!(register(follower, &service, port));
        // a node reads its own write at once, and any other when it is asked to miss nothing
        assert!(ports(follower, &service).contains(&port));
        assert!(ports_strong(cluster.node((leads + 2) % 3), &service).contains(&port));
    }
    let wanted = [3_306, 3_307, 3_308];
    all_list(&cluster, &service, &wanted, SOON);
    follower.put(format!("/nacos/v1/ns/service?serviceName={service}&protectThreshold=0.4")).ok();
    let wrong = format!("/nacos/v1/ns/instance/list?serviceName={service}&consistency=eventual");
    follower.get(wrong).has(400, "consistency");

    for node in 0..3 {
        cluster.kill(node);
    }
    cluster.revive_all();
    leader(&cluster, 3);
    all_list(&cluster, &service, &wanted, SOON);
    eventually(SOON, || {
        let detail = |node: &Node| node.get(format!("/nacos/v1/ns/service?serviceName={service}")).value();
        let seen: Vec<_> = cluster.all().map(|node| detail(node)["protectThreshold"].clone()).collect();
        hold(seen.iter().all(|threshold| *threshold == json!(0.4)), || format!("{seen:?}"))
    });
    registered(cluster.node(0), &service, 3_309);
}

/// Cut off are the leader and then a follower: what they know of the others is not the same.
#[test]
fn n349_n350_a_minority_takes_ephemeral_writes_and_says_why_it_takes_no_others() {
    let cluster = Cluster::start(3);
    all_up(&cluster);
    minority(&cluster, leader(&cluster, 3));
    minority(&cluster, (leader(&cluster, 3) + 1) % 3);
}

fn minority(cluster: &Cluster, index: usize) {
    let cut_off = cluster.node(index);
    let majority = [1, 2].map(|next| cluster.node((index + next) % 3));
    let (durable, ephemeral) = (name("db"), name("web"));
    registered(cut_off, &durable, 1);
    all_list(cluster, &durable, &[1], SOON);

    cluster.isolate(index);
    let target = format!("/nacos/v1/ns/instance?serviceName={durable}&ip=10.0.0.9&port=2&ephemeral=false");
    // until it has noticed, a former leader only knows that no answer came in time
    eventually(Duration::from_secs(60), || {
        let reply =
            cut_off.try_send(&Request::new("POST", target.clone())).map_err(|error| error.to_string())?;
        let says = reply.body.contains("did not find the Leader node");
        hold(reply.status == 500 && says, || format!("{} {}", reply.status, reply.body))
    });
    let strong = format!("/nacos/v1/ns/instance/list?serviceName={durable}&consistency=strong");
    cut_off.get(strong).has(500, "Leader");
    cut_off.post(format!("/nacos/v1/ns/instance?serviceName={ephemeral}&ip=10.0.0.9&port=7")).ok();
    assert_eq!(ports(cut_off, &ephemeral), [7]);
    assert_eq!(ports(cut_off, &durable), [1], "it goes on answering what it has");

    // the majority goes on
    registered(majority[0], &durable, 3);
    registered(majority[1], &durable, 4);
    cluster.heal(index);
    leader(cluster, 3);
    eventually(SOON, || {
        let seen: Vec<_> = cluster.all().map(|node| ports(node, &durable)).collect();
        // what was refused as "not committed in time" may have been written, and then is on all of them
        let fits = |ports: &Vec<u64>| *ports == [1, 3, 4] || *ports == [1, 2, 3, 4];
        hold(fits(&seen[0]) && seen.iter().all(|ports| *ports == seen[0]), || format!("{seen:?}"))
    });
    all_list(cluster, &ephemeral, &[7], SOON);
}

/// `SIGKILL` of each node in turn, the leader first, while three writers go on: nothing that was acknowledged is
/// missing afterwards, on any node.
#[test]
fn no_acknowledged_write_is_lost_when_each_node_is_killed_in_turn() {
    let mut cluster = Cluster::start(3);
    all_up(&cluster);
    let first = leader(&cluster, 3);
    let service = name("db");
    let (mut acknowledged, mut refused, mut next) = (Vec::new(), 0, 0_u64);
    let mut write = |cluster: &Cluster, count: usize, acknowledged: &mut Vec<u64>| {
        let mut done = 0;
        let watch = Clock::start();
        while done < count {
            assert!(watch.elapsed() < Duration::from_secs(60), "{done} of {count} writes within a minute");
            let running: Vec<usize> = cluster.running().collect();
            next += 1;
            if register(cluster.node(running[next as usize % running.len()]), &service, next) {
                acknowledged.push(next);
                done += 1;
            } else {
                refused += 1;
            }
        }
    };
    write(&cluster, 30, &mut acknowledged);
    for node in (0..3).map(|turn| (first + turn) % 3) {
        cluster.kill(node);
        let watch = Clock::start();
        write(&cluster, 1, &mut acknowledged);
        println!("node {node} was killed: the next acknowledged write came {:?} later", watch.elapsed());
        write(&cluster, 20, &mut acknowledged);
        cluster.revive(node);
        write(&cluster, 10, &mut acknowledged);
        leader(&cluster, 3);
    }
    println!("{} acknowledged, {refused} not", acknowledged.len());
    eventually(SOON, || {
        let seen: Vec<Vec<u64>> = cluster.all().map(|node| ports(node, &service)).collect();
        let lost = acknowledged.iter().filter(|port| seen.iter().any(|ports| !ports.contains(port)));
        let lost: Vec<_> = lost.collect();
        hold(lost.is_empty(), || format!("lost: {lost:?}"))?;
        hold(seen.iter().all(|ports| *ports == seen[0]), || format!("not equal: {seen:?}"))
    });
    assert_eq!(raft(cluster.node(0))["raftGroupMember"].as_array().map(Vec::len), Some(3));
}
