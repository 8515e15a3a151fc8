//! What readers and subscribers see of a restart of the node: the lists that were there before, until providers are
//! back or had the time to be. Where those lists are lost: no push, until there is something to tell.

use crate::common::{
    LASTING, beat, grpc_list, grpc_register, grpc_subscribe, instance_body, listed, register, secs,
};
use muster_tests::grpc::SETUP;
use muster_tests::wait::hold;
use muster_tests::{Clock, Config, Grpc, Node, addr, eventually, name, never};
use std::path::PathBuf;

fn connect(node: &Node) -> Grpc {
    Grpc::connect(node.grpc()).set_up(SETUP)
}

/// Where the node keeps its lists for the next start.
fn kept(node: &Node) -> PathBuf {
    node.data().join("remembered.jsonl")
}

/// Waits until all of these are on the disk, so that `kill -9` cannot lose them.
#[track_caller]
fn wait_kept(node: &Node, wanted: &[&str]) {
    eventually(secs(20.0), || {
        let text = std::fs::read_to_string(kept(node)).unwrap_or_default();
        hold(wanted.iter().all(|part| text.contains(part)), || format!("{wanted:?} not in {text}"))
    });
}

fn remembered(node: &Node) -> usize {
    node.metric("muster_remembered_instances") as usize
}

#[test]
fn a_subscriber_that_is_back_before_its_providers_gets_the_list_of_before() {
    let mut node = Node::start();
    let (s, ip) = (name("orders"), addr());
    let host = format!("{ip}:8080=true");
    let (provider, watcher) = (connect(&node), connect(&node));
    grpc_register(&provider, &s, &ip);
    assert_eq!(grpc_subscribe(&watcher, &s), [host.as_str()]);
    watcher.wait_push(secs(5.0), &s, &[&host]);
    watcher.forget();
    node.stop();
    assert!(watcher.received().is_empty(), "the end of a node is no news: {:?}", watcher.received());
    node.start_again();
    assert_eq!(remembered(&node), 1);
    assert!(node.metric("muster_instances") < 0.1, "nobody is registered");
    let watcher = connect(&node);
    assert_eq!(grpc_subscribe(&watcher, &s), [host.as_str()]);
    watcher.wait_push(secs(5.0), &s, &[&host]);
    never(secs(2.0), || hold(listed(&node, &s) == [host.as_str()], || format!("{:?}", listed(&node, &s))));
    watcher.forget();
    let provider = connect(&node);
    grpc_register(&provider, &s, &ip);
    assert_eq!(remembered(&node), 0);
    watcher.wait_push(secs(5.0), &s, &[&host]);
    assert_eq!(watcher.received().len(), 1);
    assert!(node.metric("muster_held_empty_pushes_total") < 0.1);
    assert!(node.metric("muster_grpc_pushes_acknowledged_total") >= 1.0);
    assert!(node.metric("muster_grpc_push_latency_ms_bucket{le=\"+Inf\"}") >= 1.0);
    assert!(node.metric("muster_grpc_push_latency_ms_sum") >= 400.0);
    // it is a registered instance now: it goes with its connection
    drop(provider);
    watcher.wait_push(secs(5.0), &s, &[]);
}

#[test]
fn after_a_kill_nobody_sees_a_gap_and_who_does_not_come_back_goes_with_the_hold() {
    let mut node = Node::with(Config::new().text("naming", "restart-hold", "20s"));
    let (over_grpc, over_http, lost) = (name("orders"), name("stock"), name("lost"));
    let [one, two, three, four] = [(); 4].map(|()| addr());
    let shown = |ips: &[&String]| {
        let mut all: Vec<_> = ips.iter().map(|ip| format!("{ip}:8080=true")).collect();
        all.sort();
        all
    };
    let former = [connect(&node), connect(&node), connect(&node)];
    grpc_register(&former[0], &over_grpc, &one);
    grpc_register(&former[1], &over_grpc, &two);
    register(&node, &over_http, &three, "");
    grpc_register(&former[2], &lost, &four);
    wait_kept(&node, &[&one, &two, &three, &four]);
    node.kill();
    node.start_again();
    let clock = Clock::start();
    let services =
        [(&over_grpc, shown(&[&one, &two])), (&over_http, shown(&[&three])), (&lost, shown(&[&four]))];
    let watcher = connect(&node);
    for (service, before) in &services {
        assert_eq!((&listed(&node, service), &grpc_list(&watcher, service, "")), (before, before));
        assert_eq!(&grpc_subscribe(&watcher, service), before);
    }
    assert_eq!(remembered(&node), 4);
    // one that was registered over gRPC is back, and the one over HTTP, whose beat is not known to begin with
    let provider = connect(&node);
    grpc_register(&provider, &over_grpc, &one);
    assert_eq!(beat(&node, &over_http, &three)["code"], 20404);
    register(&node, &over_http, &three, LASTING);
    assert_eq!(remembered(&node), 2);
    while clock.elapsed() < secs(12.0) {
        for (service, before) in &services {
            assert_eq!((&listed(&node, service), &grpc_list(&watcher, service, "")), (before, before));
        }
        assert!(watcher.received().iter().all(|push| !push.hosts().is_empty()), "{:?}", watcher.received());
        muster_tests::wait::pause(secs(0.2));
    }
    let back = shown(&[&one]);
    watcher.wait_push(secs(20.0), &over_grpc, &[&back[0]]);
    watcher.wait_push(secs(20.0), &lost, &[]);
    assert_eq!((listed(&node, &over_grpc), listed(&node, &over_http)), (back, shown(&[&three])));
    assert!(listed(&node, &lost).is_empty() && grpc_list(&watcher, &lost, "").is_empty());
    assert_eq!(remembered(&node), 0);
}

#[test]
fn a_deregistration_over_http_or_grpc_takes_out_what_is_only_remembered() {
    let mut node = Node::start();
    let (s, one, two) = (name("orders"), addr(), addr());
    register(&node, &s, &one, LASTING);
    let former = connect(&node);
    grpc_register(&former, &s, &two);
    wait_kept(&node, &[&one, &two]);
    node.kill();
    node.start_again();
    assert_eq!(listed(&node, &s).len(), 2);
    crate::common::deregister(&node, &s, &one, "");
    assert_eq!(listed(&node, &s), [format!("{two}:8080=true")]);
    let client = connect(&node);
    let watcher = connect(&node);
    assert_eq!(grpc_subscribe(&watcher, &s).len(), 1);
    let answer = client.ask("InstanceRequest", &instance_body("deregisterInstance", &s, &two, ""));
    answer.ok("InstanceResponse");
    assert!(listed(&node, &s).is_empty());
    watcher.wait_push(secs(5.0), &s, &[]);
}

#[test]
fn a_second_kill_within_the_hold_loses_nothing_either() {
    let mut node = Node::start();
    let (s, ip) = (name("orders"), addr());
    register(&node, &s, &ip, LASTING);
    wait_kept(&node, &[&ip]);
    for _ in 0..2 {
        node.kill();
        node.start_again();
        assert_eq!(listed(&node, &s), [format!("{ip}:8080=true")]);
    }
}

#[test]
fn where_the_lists_of_before_are_damaged_the_node_starts_and_empty_lists_are_not_pushed() {
    let mut node = Node::start();
    let (s, ip) = (name("orders"), addr());
    let host = format!("{ip}:8080=true");
    let former = connect(&node);
    grpc_register(&former, &s, &ip);
    wait_kept(&node, &[&ip]);
    node.kill();
    std::fs::write(kept(&node), [0xff; 10_000]).expect("written");
    node.start_again();
    assert!(node.log().contains("the lists last known cannot be read"), "{}", node.log());
    let watcher = connect(&node);
    assert!(grpc_subscribe(&watcher, &s).is_empty());
    never(secs(3.0), || hold(watcher.received().is_empty(), || format!("{:?}", watcher.received())));
    assert!(node.metric("muster_held_empty_pushes_total") >= 1.0);
    assert!((node.metric("muster_held_services") - 1.0).abs() < 0.1);
    let provider = connect(&node);
    grpc_register(&provider, &s, &ip);
    let (push, _) = watcher.wait_push(secs(5.0), &s, &[&host]);
    assert_eq!(watcher.received(), [push]);
    assert!(node.metric("muster_held_services") < 0.1);
    wait_kept(&node, &[&ip]);
}

#[test]
fn who_waits_for_providers_that_never_were_is_told_when_the_hold_is_over() {
    let node = Node::with(Config::new().text("naming", "restart-hold", "6s"));
    let (s, t) = (name("orders"), name("stock"));
    let (watcher, provider) = (connect(&node), connect(&node));
    for service in [&s, &t] {
        assert!(grpc_subscribe(&watcher, service).is_empty());
    }
    grpc_register(&provider, &t, &addr());
    watcher.wait_for(secs(5.0), |message| message.hosts().len() == 1);
    watcher.wait_push(secs(20.0), &s, &[]);
    assert!(node.metric("muster_held_services") < 0.1);
    // what becomes empty under the eyes of the node is told at once, as ever
    drop(provider);
    watcher.wait_push(secs(5.0), &t, &[]);
    // and so is a first subscription, now that the hold is over
    let late = name("late");
    assert!(grpc_subscribe(&watcher, &late).is_empty());
    watcher.wait_push(secs(5.0), &late, &[]);
}

#[test]
fn redo_after_a_restart_leaves_the_same_registry() {
    let mut node = Node::start();
    let services: Vec<_> = (0..5).map(|_| (name("orders"), addr())).collect();
    let publish = |node: &Node| {
        services
            .iter()
            .map(|(s, ip)| {
                let client = connect(node);
                grpc_register(&client, s, ip);
                // a client that repeats itself changes nothing
                grpc_register(&client, s, ip);
                client
            })
            .collect::<Vec<_>>()
    };
    let before = publish(&node);
    node.kill();
    node.start_again();
    drop(before);
    let after = publish(&node);
    for (s, ip) in &services {
        eventually(secs(5.0), || {
            let list = grpc_list(&after[0], s, "");
            hold(list == [format!("{ip}:8080=true")], || format!("{s}: {list:?}"))
        });
    }
}
