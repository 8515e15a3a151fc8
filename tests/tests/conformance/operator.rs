//! Switches, metrics and the traffic gate. Tests that turn something have a node of their own.

use crate::common::{keys, list, node, register, secs, turn};
use muster_tests::process::Process;
use muster_tests::target::closed_port;
use muster_tests::udp::Subscriber;
use muster_tests::wait::hold;
use muster_tests::{Config, Http, Node, Reply, Request, addr, encode, eventually, name, never};
use serde_json::{Value, json};
use std::net::SocketAddr;

#[test]
fn n172_n173_metrics() {
    register(node(), &name("orders"), &addr(), "");
    for path in ["/nacos/v1/ns/operator/metrics", "/nacos/v1/ns/ops/metrics"] {
        assert_eq!(node().get(path).json(), json!({"status": "UP"}));
    }
    let full = node().get("/nacos/v1/ns/operator/metrics?onlyStatus=false").json();
    for counter in [
        "serviceCount",
        "instanceCount",
        "subscribeCount",
        "clientCount",
        "connectionBasedClientCount",
        "ephemeralIpPortClientCount",
        "persistentIpPortClientCount",
        "responsibleClientCount",
    ] {
        assert!(full[counter].is_u64(), "{counter} in {full}");
    }
    for gauge in ["cpu", "load", "mem"] {
        assert!(full[gauge].is_number(), "{gauge} in {full}");
    }
    assert_eq!(full["status"], "UP");
    assert!(full["instanceCount"].as_u64() >= Some(1), "{full}");
}

fn switches(node: &Node) -> Value {
    node.get("/nacos/v1/ns/operator/switches").json()
}

/// The documented defaults, as 2.x spells them.
fn defaults() -> Value {
    json!({
        "name": "00-00---000-NACOS_SWITCH_DOMAIN-000---00-00", "masters": null, "adWeightMap": {},
        "defaultPushCacheMillis": 10000, "clientBeatInterval": 5000, "defaultCacheMillis": 3000,
        "distroThreshold": 0.7, "healthCheckEnabled": true, "autoChangeHealthCheckEnabled": true,
        "distroEnabled": true, "enableStandalone": true, "pushEnabled": true, "checkTimes": 3,
        "httpHealthParams": {"max": 5000, "min": 500, "factor": 0.85},
        "tcpHealthParams": {"max": 5000, "min": 1000, "factor": 0.75},
        "mysqlHealthParams": {"max": 3000, "min": 2000, "factor": 0.65},
        "incrementalList": [], "serverStatusSynchronizationPeriodMillis": 2000,
        "serviceStatusSynchronizationPeriodMillis": 5000, "disableAddIP": false, "sendBeatOnly": false,
        "lightBeatEnabled": true, "limitedUrlMap": {}, "distroServerExpiredMillis": 10000,
        "pushGoVersion": "0.1.0", "pushJavaVersion": "0.1.0", "pushPythonVersion": "0.4.3",
        "pushCVersion": "1.0.12", "pushCSharpVersion": "0.9.0", "enableAuthentication": false,
        "overriddenServerStatus": null, "defaultInstanceEphemeral": true, "healthCheckWhiteList": [],
        "checksum": null,
    })
}

#[test]
fn n174_switches_have_the_documented_defaults() {
    let now = switches(node());
    for (field, value) in defaults().as_object().into_iter().flatten() {
        assert_eq!(now.get(field), Some(value), "{field}");
    }
    // the same by every other way
    for path in
        ["/nacos/v2/ns/operator/switches", "/nacos/v2/ns/ops/switches", "/nacos/v3/admin/ns/ops/switches"]
    {
        assert_eq!(node().get(path).data()["name"], now["name"], "{path}");
    }
}

fn put(node: &Node, entry: &str, value: &str) -> Reply {
    node.put(format!("/nacos/v1/ns/operator/switches?entry={entry}&value={}", encode(value)))
}

#[test]
fn n175_n176_n177_n178_values_out_of_range_are_refused() {
    for (entry, value) in [
        ("pushCacheMillis", "9999"),
        ("defaultCacheMillis", "999"),
        ("serviceStatusSynchronizationPeriodMillis", "4999"),
        ("serverStatusSynchronizationPeriodMillis", "999"),
        ("httpHealthParams", r#"{"max":5000,"min":499,"factor":0.85}"#),
        ("httpHealthParams", r#"{"max":2999,"min":500,"factor":0.85}"#),
        ("tcpHealthParams", r#"{"max":5000,"min":500,"factor":1.1}"#),
        ("mysqlHealthParams", "soon"),
        ("pushVersion", "java:1"),
        ("pushVersion", "cobol:1.0.0"),
        ("clientBeatInterval", "often"),
    ] {
        let reply = put(node(), entry, value);
        assert_eq!(reply.status, 400, "{entry}={value}: {}", reply.body);
        assert!(!reply.body.is_empty() && !reply.body.starts_with('{'), "{entry}={value}: {}", reply.body);
    }
    let now = switches(node());
    for (field, value) in defaults().as_object().into_iter().flatten() {
        assert_eq!(now.get(field), Some(value), "{field}");
    }
}

#[test]
fn values_in_range_are_taken() {
    let node = Node::start();
    put(&node, "pushCacheMillis", "10000").ok();
    put(&node, "defaultCacheMillis", "1000").ok();
    put(&node, "serviceStatusSynchronizationPeriodMillis", "5000").ok();
    put(&node, "httpHealthParams", r#"{"max":3000,"min":500,"factor":1}"#).ok();
    put(&node, "pushCacheMillis", "20000").ok();
    let now = switches(&node);
    assert_eq!(now["httpHealthParams"]["max"], 3000);
    assert_eq!((&now["defaultCacheMillis"], &now["defaultPushCacheMillis"]), (&json!(1000), &json!(20000)));
    assert_eq!(list(&node, "orders", "")["cacheMillis"], 20000);
}

fn subscribe(node: &Node, service: &str, agent: &str) -> Subscriber {
    let subscriber = Subscriber::new();
    let query = format!("serviceName={service}&udpPort={}&clientIP=127.0.0.1", subscriber.port());
    node.send(&Request::new("GET", format!("/nacos/v1/ns/instance/list?{query}")).agent(agent)).json();
    subscriber
}

#[test]
fn n179_a_push_version_above_the_clients_stops_its_pushes() {
    let node = Node::start();
    turn(&node, "pushVersion", "java:9.9.9");
    assert_eq!(switches(&node)["pushJavaVersion"], "9.9.9");
    let java = subscribe(&node, "orders", "Nacos-Java-Client:v1.4.3");
    let newer = subscribe(&node, "orders", "Nacos-Java-Client:v10.0.0");
    let go = subscribe(&node, "orders", "Nacos-Go-Client:v1.1.4");
    register(&node, "orders", &addr(), "");
    // numbers are compared, not text
    newer.wait_for(secs(3.0), |p| p.hosts().len() == 1);
    go.wait_for(secs(3.0), |p| p.hosts().len() == 1);
    assert!(java.receive(secs(2.0)).is_none());
}

#[test]
fn n180_an_unknown_entry_is_ok_and_changes_nothing() {
    put(node(), "noSuchSwitch", "1").ok();
    assert_eq!(keys(&switches(node())).iter().filter(|k| k.contains("noSuch")).count(), 0);
}

/// On one node the difference shows in what is stored: `debug=true` is gone after a restart.
#[test]
fn n181_debug_is_for_this_node_only() {
    let mut node = Node::start();
    put(&node, "clientBeatInterval", "6000").ok();
    node.put("/nacos/v1/ns/operator/switches?entry=defaultCacheMillis&value=4000&debug=true").ok();
    let now = switches(&node);
    assert_eq!((&now["clientBeatInterval"], &now["defaultCacheMillis"]), (&json!(6000), &json!(4000)));
    node.stop();
    node.start_again();
    let now = switches(&node);
    assert_eq!((&now["clientBeatInterval"], &now["defaultCacheMillis"]), (&json!(6000), &json!(3000)));
}

#[test]
fn n182_limited_urls_answer_with_their_status() {
    let node = Node::start();
    turn(&node, "limitedUrlMap", "/nacos/v1/ns/instance/list:501,/nacos/v1/ns/catalog:429");
    node.get("/nacos/v1/ns/instance/list?serviceName=orders").is(501, "");
    node.get("/nacos/v1/ns/catalog/services?pageNo=1&pageSize=1").is(429, "");
    register(&node, "orders", &addr(), "");
    // only the old API has this gate
    node.get("/nacos/v2/ns/instance/list?serviceName=orders").data();
}

#[test]
fn n183_n184_n185_n186_n187_an_overridden_status_closes_the_gate() {
    let node = Node::start();
    let get = "/nacos/v1/ns/instance/list?serviceName=orders";
    let post = format!("/nacos/v1/ns/instance?serviceName=orders&ip={}&port=1", addr());
    let peer = |method: &str, value: &str| {
        let query = format!("entry=overriddenServerStatus&value={value}");
        let path = format!("/nacos/v1/ns/operator/switches?{query}");
        node.send(&Request::new(method, path).agent("Nacos-Server:v2.5.1"))
    };
    peer("PUT", "DOWN").ok();
    let down = "server is DOWNnow, please try again later!";
    node.get(get).is(503, down);
    node.post(&post).is(503, down);
    // N184: peers pass
    node.send(&Request::new("GET", get).agent("Nacos-Server:v2.5.1")).json();
    node.send(&Request::new("GET", get).agent("Nacos-Java-Client:v1.4.3")).is(503, down);
    peer("PUT", "READ_ONLY").ok();
    node.get(get).json();
    node.post(&post).is(503, "server is READ_ONLYnow, please try again later!");
    peer("PUT", "WRITE_ONLY").ok();
    node.get(get).is(503, "server is WRITE_ONLYnow, please try again later!");
    node.post(&post).ok();
    // N187: the computed status returns
    peer("PUT", "null").ok();
    eventually(secs(6.0), || hold(node.get(get).status == 200, || "closed".into()));
    assert_eq!(node.get("/nacos/v1/ns/operator/metrics").json(), json!({"status": "UP"}));
}

/// From the first accepted connection on, a starting node says STARTING or serves; once it has
/// served it does not go back.
#[test]
fn n188_a_node_is_starting_until_it_is_up() {
    let folder = tempfile::TempDir::with_prefix("muster-starting-").expect("a temporary folder");
    let port = closed_port();
    let config = Config::new().text("http", "bind", &format!("127.0.0.1:{port}"));
    let process = Process::start(&mut muster_tests::node::command(&config, folder.path()), None);
    let http = Http { addr: SocketAddr::from(([127, 0, 0, 1], port)) };
    let ask = Request::new("GET", "/nacos/v1/ns/instance/list?serviceName=orders");
    eventually(muster_tests::node::START_DEADLINE, || match http.try_send(&ask) {
        Ok(reply) if reply.status == 200 => Ok(()),
        Ok(reply) => {
            assert!(reply.status == 503 && reply.body.starts_with("server is STARTINGnow, "), "{reply:?}");
            Err(reply.body)
        }
        Err(error) => Err(format!("{error}; {}", process.log.text())),
    });
    never(secs(2.0), || hold(http.send(&ask).status == 200, || "no longer up".into()));
}

#[test]
fn n189_console_health() {
    node().get("/nacos/v1/console/health/readiness").is(200, "OK");
    node().get("/nacos/v1/console/health/liveness").is(200, "OK");
}

#[test]
fn n190_an_api_that_is_off_is_gone() {
    let node = Node::with(Config::new().set("compat", "admin", "false"));
    for path in ["/nacos/v1/ns/operator/switches", "/nacos/v1/ns/catalog/services?pageNo=1&pageSize=1"] {
        let reply = node.get(path);
        assert_eq!((reply.status, &reply.value()["code"]), (410, &json!(40000)), "{path}: {}", reply.body);
    }
    // what clients use, and the API that replaces it, is still there
    register(&node, "orders", &addr(), "");
    assert_eq!(node.get("/nacos/v1/ns/operator/metrics").json(), json!({"status": "UP"}));
    node.get("/nacos/v3/admin/ns/ops/switches").data();
    let closed = Node::with(Config::new().set("compat", "client", "false"));
    let reply = closed.post(format!("/nacos/v1/ns/instance?serviceName=orders&ip={}&port=1", addr()));
    assert_eq!((reply.status, &reply.value()["code"]), (410, &json!(40000)), "{}", reply.body);
}

#[test]
fn health_of_the_server_and_its_checkers() {
    let hello = node().get("/nacos/v1/ns/health/server").json();
    let text = hello["msg"].as_str().unwrap_or_default().to_owned();
    assert!(text.starts_with("Hello! I am Nacos-Naming and healthy! total services: "), "{text}");
    assert!(text.ends_with(&format!(", local port:{}", node().port())), "{text}");
    let checkers = node().get("/nacos/v1/ns/health/checkers").json();
    assert_eq!(checkers["TCP"], json!({"type": "TCP"}));
    assert_eq!(checkers["NONE"], json!({"type": "NONE"}));
    assert_eq!(
        checkers["HTTP"],
        json!({"type": "HTTP", "path": "", "headers": "", "expectedResponseCode": 200})
    );
    assert_eq!(checkers["MYSQL"]["type"], "MYSQL");
}
