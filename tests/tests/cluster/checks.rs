//! Checks of persistent instances: one member looks at each, all hear of it, and another takes over.

use muster_tests::seen::{ELECTION, SOON, all_up, leader};
use muster_tests::target::HttpTarget;
use muster_tests::wait::hold;
use muster_tests::{Cluster, Config, Node, encode, eventually, name};
use serde_json::Value;
use std::net::TcpListener;

/// What a node knows of the instance, with its own checks.
fn explained(node: &Node, service: &str, port: u16) -> Value {
    let target = format!("/nacos/v3/admin/muster/explain?serviceName={service}&ip=127.0.0.1&port={port}");
    node.get(target).value()["data"].clone()
}

fn runs(cluster: &Cluster, service: &str, port: u16) -> Vec<(usize, u64)> {
    let of = |index| explained(cluster.node(index), service, port)["probe"]["runs"].as_u64().unwrap_or(0);
    cluster.running().map(|index| (index, of(index))).collect()
}

#[track_caller]
fn all_say(cluster: &Cluster, service: &str, port: u16, healthy: bool) {
    eventually(ELECTION, || {
        let seen: Vec<Value> =
            cluster.all().map(|node| explained(node, service, port)["healthy"].clone()).collect();
        hold(seen.iter().all(|said| *said == healthy), || format!("healthy: {seen:?}, not {healthy}"))
    });
}

#[test]
fn n300_n301_one_member_checks_all_hear_of_it_and_another_takes_over() {
    let mut cluster = Cluster::start(3);
    all_up(&cluster);
    leader(&cluster, 3);
    let target = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = target.local_addr().expect("it has an address");
    let (service, port) = (name("db"), address.port());
    let instance = format!("serviceName={service}&ip=127.0.0.1&port={port}&ephemeral=false");
    cluster.node(0).post(format!("/nacos/v1/ns/instance?{instance}")).ok();
    let checking = eventually(ELECTION, || {
        let seen = runs(&cluster, &service, port);
        let busy = seen.iter().find(|(_, runs)| *runs >= 2);
        busy.map(|(index, _)| *index).ok_or_else(|| format!("{seen:?}"))
    });
    let idle = runs(&cluster, &service, port);
    assert!(idle.iter().all(|(index, runs)| *index == checking || *runs == 0), "{checking}: {idle:?}");
    all_say(&cluster, &service, port, true);

    drop(target); // refused from now on
    all_say(&cluster, &service, port, false);
    cluster.kill(checking);
    let _target = eventually(SOON, || TcpListener::bind(address).map_err(|error| error.to_string()));
    all_say(&cluster, &service, port, true);
    let after = runs(&cluster, &service, port);
    assert_eq!(after.iter().filter(|(_, runs)| *runs > 0).count(), 1, "{after:?}");
}

/// Two failures in a row here, then a pass at the other member that is asked: the target answers in that order.
#[test]
fn a_target_that_other_members_reach_is_not_called_dead() {
    let careful = |config: Config| {
        config
            .set("health", "second-opinions", "1")
            .set("health", "fall", "2")
            .set("health", "rise", "1")
            .text("health", "first-spread", "1s")
            .text("health", "min-interval", "300ms")
            .text("health", "max-interval", "600ms")
    };
    let cluster = Cluster::start_with(3, careful);
    all_up(&cluster);
    leader(&cluster, 3);
    let target = HttpTarget::open(200);
    target.answer_first(&[200, 503, 503, 200, 503, 503, 200]);
    let (service, port) = (name("web"), target.port);
    let instance = format!("serviceName={service}&ip=127.0.0.1&port={port}&ephemeral=false");
    cluster.node(0).post(format!("/nacos/v1/ns/instance?{instance}")).ok();
    let checker = encode(r#"{"type":"HTTP","path":"/"}"#);
    let settings =
        format!("serviceName={service}&clusterName=DEFAULT&checkPort=80&useInstancePort4Check=true");
    cluster.node(0).put(format!("/nacos/v1/ns/cluster?{settings}&healthChecker={checker}")).ok();

    let contested = |node: &Node| explained(node, &service, port)["probe"]["contested"].as_u64().unwrap_or(0);
    let watched = |node: &Node| explained(node, &service, port)["healthy"] == true;
    eventually(ELECTION, || {
        assert!(cluster.all().all(watched), "it was called dead although another member reaches it");
        let seen: Vec<u64> = cluster.all().map(contested).collect();
        hold(seen.iter().sum::<u64>() == 2, || format!("{seen:?}, {:?}", target.asked()))
    });
    assert!(target.script_done());
    target.answer(503);
    all_say(&cluster, &service, port, false);
    target.answer(200);
    all_say(&cluster, &service, port, true);
}
