//! What the areas share.

use muster_tests::grpc::SETUP;
use muster_tests::node::binary;
use muster_tests::process::Process;
use muster_tests::wait::hold;
use muster_tests::{Grpc, Node, eventually};
use serde_json::Value;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

pub(crate) use muster_tests::udp::hosts;

/// Room for an instance that must outlive its test without sending beats.
pub(crate) const LASTING: &str =
    "&metadata=preserved.heart.beat.timeout%3D600000%2Cpreserved.ip.delete.timeout%3D600000";

/// How long something that happens at once may take on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(3);

/// The node that all tests share which change no switch.
pub(crate) fn node() -> &'static Node {
    static NODE: OnceLock<Node> = OnceLock::new();
    NODE.get_or_init(Node::start)
}

pub(crate) fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Registers `ip:8080` over v1; `extra` continues the query.
#[track_caller]
pub(crate) fn register(node: &Node, service: &str, ip: &str, extra: &str) {
    node.post(format!("/nacos/v1/ns/instance?serviceName={service}&ip={ip}&port=8080{extra}")).ok();
}

/// Takes `ip:8080` out over v1; `extra` continues the query.
#[track_caller]
pub(crate) fn deregister(node: &Node, service: &str, ip: &str, extra: &str) {
    node.delete(format!("/nacos/v1/ns/instance?serviceName={service}&ip={ip}&port=8080{extra}")).ok();
}

/// The v1 list of a service; `extra` continues the query.
#[track_caller]
pub(crate) fn list(node: &Node, service: &str, extra: &str) -> Value {
    node.get(format!("/nacos/v1/ns/instance/list?serviceName={service}{extra}")).json()
}

/// The only host of a service.
#[track_caller]
pub(crate) fn host(node: &Node, service: &str) -> Value {
    let list = list(node, service, "");
    assert_eq!(list["hosts"].as_array().map(Vec::len), Some(1), "{list}");
    list["hosts"][0].clone()
}

/// `ip:port=healthy` of each host of the v1 list, sorted.
#[track_caller]
pub(crate) fn listed(node: &Node, service: &str) -> Vec<String> {
    hosts(&list(node, service, ""))
}

/// Waits until the v1 list shows exactly these.
#[track_caller]
pub(crate) fn wait_listed(node: &Node, service: &str, deadline: Duration, wanted: &[&str]) {
    eventually(deadline, || {
        let now = listed(node, service);
        hold(now == wanted, || format!("{service}: {now:?}, not {wanted:?}"))
    });
}

/// Sends a light beat for `ip:8080`.
#[track_caller]
pub(crate) fn beat(node: &Node, service: &str, ip: &str) -> Value {
    node.put(format!("/nacos/v1/ns/instance/beat?serviceName={service}&ip={ip}&port=8080")).json()
}

/// Turns a switch for good.
#[track_caller]
pub(crate) fn turn(node: &Node, entry: &str, value: &str) {
    let value = muster_tests::encode(value);
    node.put(format!("/nacos/v1/ns/operator/switches?entry={entry}&value={value}")).ok();
}

/// The instances of a service as operators see them, disabled ones included.
#[track_caller]
pub(crate) fn admin_list(node: &Node, service: &str) -> Value {
    node.get(format!("/nacos/v3/admin/ns/instance/list?serviceName={service}")).data()
}

/// The names in an array of text.
pub(crate) fn texts(value: &Value) -> Vec<String> {
    let text = |v: &Value| v.as_str().unwrap_or("?").to_owned();
    let mut all: Vec<_> = value.as_array().map(|a| a.iter().map(text).collect()).unwrap_or_default();
    all.sort();
    all
}

/// The keys of an object, sorted.
pub(crate) fn keys(value: &Value) -> Vec<&str> {
    let mut all: Vec<_> =
        value.as_object().map(|o| o.keys().map(String::as_str).collect()).unwrap_or_default();
    all.sort_unstable();
    all
}

/// A naming client of the shared node, over gRPC.
#[track_caller]
pub(crate) fn client() -> Grpc {
    Grpc::connect(node().grpc()).set_up(SETUP)
}

/// The body of an `InstanceRequest`; `extra` continues the instance.
pub(crate) fn instance_body(kind: &str, service: &str, ip: &str, extra: &str) -> String {
    format!(
        r#"{{"headers":{{}},"namespace":"public","serviceName":"{service}","groupName":"DEFAULT_GROUP","type":"{kind}","instance":{{"ip":"{ip}","port":8080,"weight":1.0,"healthy":true,"enabled":true,"ephemeral":true,"clusterName":"DEFAULT","serviceName":"DEFAULT_GROUP@@{service}","metadata":{{}},"instanceHeartBeatInterval":5000,"instanceHeartBeatTimeOut":15000,"ipDeleteTimeout":30000,"instanceIdGenerator":"simple"{extra}}},"module":"naming"}}"#
    )
}

/// Registers `ip:8080` over gRPC.
#[track_caller]
pub(crate) fn grpc_register(client: &Grpc, service: &str, ip: &str) {
    let answer = client.ask("InstanceRequest", &instance_body("registerInstance", service, ip, ""));
    assert_eq!(answer.ok("InstanceResponse")["type"], "registerInstance");
}

/// The body of a request about a service of the default group; `extra` continues it.
pub(crate) fn service_body(service: &str, extra: &str) -> String {
    format!(
        r#"{{"headers":{{}},"namespace":"public","serviceName":"{service}","groupName":"DEFAULT_GROUP"{extra},"module":"naming"}}"#
    )
}

/// Subscribes over gRPC, and gives the list that was answered.
#[track_caller]
pub(crate) fn grpc_subscribe(client: &Grpc, service: &str) -> Vec<String> {
    let body = service_body(service, r#","subscribe":true,"clusters":"""#);
    let answer = client.ask("SubscribeServiceRequest", &body);
    assert_eq!(answer.ok("SubscribeServiceResponse")["message"], "success");
    answer.hosts()
}

/// The list of a service over gRPC; `extra` continues the body.
#[track_caller]
pub(crate) fn grpc_list(client: &Grpc, service: &str, extra: &str) -> Vec<String> {
    let answer = client.ask("ServiceQueryRequest", &service_body(service, extra));
    answer.ok("QueryServiceResponse");
    answer.hosts()
}

/// `muster plugin ...` against the node: success, and what it wrote.
pub(crate) fn plugin(node: &Node, words: &[&str]) -> (bool, String) {
    let server = format!("http://127.0.0.1:{}/nacos", node.port());
    let mut command = Command::new(binary());
    command.arg("plugin").args(words).args(["--server", &server]);
    let (status, said) = Process::start(&mut command, None).finish(secs(120.0));
    (status.success(), said)
}
