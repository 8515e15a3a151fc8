//! What subscribers hear of a restart of the node: nothing, until there is something to hear.

use crate::common::{grpc_list, grpc_register, grpc_subscribe, secs};
use muster_tests::grpc::SETUP;
use muster_tests::wait::hold;
use muster_tests::{Config, Grpc, Node, addr, eventually, name, never};

fn connect(node: &Node) -> Grpc {
    Grpc::connect(node.grpc()).set_up(SETUP)
}

#[test]
fn a_subscriber_that_is_back_before_its_providers_is_not_told_that_they_are_gone() {
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
    assert!(node.metric("muster_grpc_pushes_acknowledged_total") >= 1.0);
    assert!(node.metric("muster_grpc_push_latency_ms_bucket{le=\"+Inf\"}") >= 1.0);
    assert!(node.metric("muster_grpc_push_latency_ms_sum") >= 400.0);
}

#[test]
fn who_waits_for_providers_that_do_not_come_back_is_told_when_the_hold_is_over() {
    let mut node = Node::with(Config::new().text("naming", "restart-hold", "6s"));
    let (s, t) = (name("orders"), name("stock"));
    grpc_register(&connect(&node), &s, &addr());
    node.kill();
    node.start_again();
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
