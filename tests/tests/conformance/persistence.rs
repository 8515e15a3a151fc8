//! What survives a restart: in order, and by `kill -9`.

use crate::common::{LASTING, host, list, listed, register};
use muster_tests::{Config, Node, addr, encode};
use serde_json::{Value, json};

/// Everything an operator can store, read back through the API.
fn stored(node: &Node) -> Value {
    let service = node.get("/nacos/v1/ns/service?serviceName=db").json();
    let catalog = node.get("/nacos/v1/ns/catalog/service?serviceName=db").json();
    let mut hosts = node.get("/nacos/v3/admin/ns/instance/list?serviceName=db&clusterName=C1").data();
    for host in hosts.as_array_mut().into_iter().flatten() {
        // the checks of the node decide this one
        host.as_object_mut().map(|h| h.remove("healthy"));
        host.as_object_mut().map(|h| h.remove("valid"));
    }
    json!({"service": service, "catalog": catalog, "hosts": hosts})
}

fn fill(node: &Node) {
    let metadata = encode(r#"{"team":"storage"}"#);
    let selector = encode(r#"{"type":"label","expression":"CONSUMER.label.a = PROVIDER.label.a"}"#);
    let query = format!("serviceName=db&protectThreshold=0.4&metadata={metadata}&selector={selector}");
    node.post(format!("/nacos/v1/ns/service?{query}")).ok();
    let checker = encode(r#"{"type":"HTTP","path":"/up","headers":"a:b","expectedResponseCode":200}"#);
    let query = "serviceName=db&clusterName=C1&checkPort=8081&useInstancePort4Check=false";
    node.put(format!("/nacos/v1/ns/cluster?{query}&healthChecker={checker}&metadata={metadata}")).ok();
    for i in 0..5 {
        let query =
            format!("serviceName=db&ip=127.0.0.1&port=900{i}&clusterName=C1&ephemeral=false&weight={i}");
        node.post(format!("/nacos/v1/ns/instance?{query}&metadata=i%3D{i}")).ok();
    }
    node.delete("/nacos/v1/ns/instance?serviceName=db&ip=127.0.0.1&port=9004&clusterName=C1&ephemeral=false")
        .ok();
    let key = "serviceName=db&ip=127.0.0.1&clusterName=C1&ephemeral=false";
    node.put(format!("/nacos/v1/ns/instance?{key}&port=9001&weight=50&enabled=false&metadata=by%3Doperator"))
        .ok();
}

#[test]
fn n346_n347_n348_what_was_acknowledged_survives_a_restart_and_a_kill() {
    let mut node = Node::start();
    fill(&node);
    let before = stored(&node);
    assert_eq!(before["hosts"].as_array().map(Vec::len), Some(4), "{before}");
    assert_eq!(before["service"]["protectThreshold"], 0.4);
    assert_eq!(before["catalog"]["clusters"][0]["defaultCheckPort"], 8081);
    node.stop();
    node.start_again();
    assert_eq!(stored(&node), before, "after a restart");
    node.kill();
    node.start_again();
    assert_eq!(stored(&node), before, "after a kill");
    // and what comes after a restart is kept, too
    node.put("/nacos/v1/ns/service?serviceName=db&protectThreshold=0.9").ok();
    node.kill();
    node.start_again();
    assert_eq!(stored(&node)["service"]["protectThreshold"], 0.9);
}

#[test]
fn n348_an_overlay_waits_for_its_ephemeral_instance() {
    let mut node = Node::with(Config::new().text("naming", "restart-hold", "0s"));
    let ip = addr();
    register(&node, "orders", &ip, LASTING);
    node.put(format!(
        "/nacos/v1/ns/instance?serviceName=orders&ip={ip}&port=8080&weight=5&metadata=by%3Doperator"
    ))
    .ok();
    node.kill();
    node.start_again();
    // ephemeral instances are not stored, and without a hold they are not shown either
    assert!(listed(&node, "orders").is_empty());
    register(&node, "orders", &ip, LASTING);
    let host = host(&node, "orders");
    assert_eq!(host["weight"], 5.0);
    assert_eq!(host["metadata"]["by"], "operator");
}

#[test]
fn n346_a_deleted_instance_stays_deleted_and_health_is_checked_again() {
    let mut node = Node::start();
    for port in [9001, 9002] {
        node.post(format!("/nacos/v1/ns/instance?serviceName=db&ip=127.0.0.1&port={port}&ephemeral=false"))
            .ok();
    }
    node.delete("/nacos/v1/ns/instance?serviceName=db&ip=127.0.0.1&port=9001&ephemeral=false").ok();
    node.kill();
    node.start_again();
    let hosts = list(&node, "db", "")["hosts"].clone();
    assert_eq!((hosts.as_array().map(Vec::len), &hosts[0]["port"]), (Some(1), &json!(9002)));
    // nobody listens there: the restarted node finds out
    crate::common::wait_listed(&node, "db", crate::common::secs(12.0), &["127.0.0.1:9002=false"]);
}
