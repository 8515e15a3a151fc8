//! What members say of each other, and what reaches all of them.

use muster_tests::grpc::SETUP;
use muster_tests::seen::{SOON, all_list, all_up, leader, ports, states};
use muster_tests::wait::hold;
use muster_tests::{Cluster, Grpc, Request, eventually, name};
use serde_json::json;

#[test]
fn n312_n313_n320_a_report_over_http_is_answered_with_the_receiver_as_text() {
    let cluster = Cluster::start(2);
    all_up(&cluster);
    let (one, other) = (cluster.node(0), cluster.node(1));
    let report = |ip: &str, port: i64| {
        let body = json!({"ip": ip, "port": port, "address": format!("{ip}:{port}"), "state": "UP"});
        one.send(&Request::new("POST", "/nacos/v1/core/cluster/report").json(&body)).value()
    };
    let answer = report("127.0.0.1", i64::from(other.port()));
    let text = answer["data"].as_str().expect("a member as text");
    let member: serde_json::Value = serde_json::from_str(text).expect("JSON");
    assert_eq!((&answer["code"], &member["port"]), (&json!(200), &json!(one.port())));
    for (ip, port) in [("127.0.0.1", -1), ("", 8848)] {
        let answer = report(ip, port);
        assert_eq!(
            (&answer["code"], &answer["message"]),
            (&json!(400), &json!("Node information is illegal"))
        );
    }
    assert_eq!(one.get("/nacos/v1/core/cluster/health").value()["data"], "UP");
}

#[test]
fn n330_n311_a_connection_that_ends_on_one_node_takes_its_instances_with_it_on_all() {
    let cluster = Cluster::start(3);
    all_up(&cluster);
    let service = name("web");
    let client = Grpc::connect(cluster.node(1).grpc()).set_up(SETUP);
    client.wait_registered();
    let body = json!({
        "namespace": "public", "groupName": "DEFAULT_GROUP", "serviceName": service, "type": "registerInstance",
        "instance": {"ip": "10.0.0.7", "port": 80, "weight": 1.0, "healthy": true, "enabled": true, "ephemeral": true},
    });
    client.ask("InstanceRequest", &body.to_string()).ok("InstanceResponse");
    all_list(&cluster, &service, &[80], SOON);
    drop(client);
    all_list(&cluster, &service, &[], SOON);
    // reports go on meanwhile: nobody is suspected
    for node in cluster.all() {
        assert_eq!(states(node), ["UP"; 3]);
    }
}

#[test]
fn n355_a_switch_reaches_all_nodes_and_a_member_that_is_taken_out_is_missed_by_nobody() {
    let mut cluster = Cluster::start(3);
    all_up(&cluster);
    let leads = leader(&cluster, 3);
    cluster
        .node(leads)
        .put("/nacos/v1/ns/operator/switches?entry=distroThreshold&value=0.6&debug=false")
        .ok();
    eventually(SOON, || {
        let get = |node: &muster_tests::Node| {
            node.get("/nacos/v1/ns/operator/switches").value()["distroThreshold"].clone()
        };
        let seen: Vec<_> = cluster.all().map(get).collect();
        hold(seen.iter().all(|value| *value == json!(0.6)), || format!("{seen:?}"))
    });

    let gone = (leads + 1) % 3;
    let address = format!("127.0.0.1:{}", cluster.node(gone).port() - 1_000);
    cluster.kill(gone);
    let ask = |node: usize, command: &str| {
        let body = json!({"command": command, "value": address});
        cluster.node(node).send(&Request::new("POST", "/nacos/v3/admin/core/ops/raft").json(&body))
    };
    ask(leads, "transferLeader").has(400, "not available");
    ask(leads, "shuffle").has(400, "removePeer");
    ask((leads + 2) % 3, "removePeer").has(400, "does not lead");
    ask(leads, "removePeer").data();
    leader(&cluster, 2);
    ask(leads, "removePeer").has(400, "is not in the group");
    ask(leads, "doSnapshot").data();
    let service = name("db");
    let other = cluster.node((leads + 2) % 3);
    other
        .post(format!("/nacos/v1/ns/instance?serviceName={service}&ip=10.0.0.9&port=5&ephemeral=false"))
        .ok();
    assert_eq!(ports(other, &service), [5]);
}
