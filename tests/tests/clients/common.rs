//! What the scenarios share.

use muster_tests::client::{Client, Sdk};
use muster_tests::udp::hosts;
use muster_tests::wait::hold;
use muster_tests::{Node, eventually};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

/// How long something that happens at once may take on a machine that starts JVMs beside it.
pub(crate) const SOON: Duration = Duration::from_secs(15);

/// Room for an instance registered over HTTP that must outlive its test without sending beats.
pub(crate) const LASTING: &str =
    "preserved.heart.beat.timeout%3D600000%2Cpreserved.ip.delete.timeout%3D600000";

pub(crate) fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// The node of all tests that do not stop it.
pub(crate) fn node() -> &'static Node {
    static NODE: OnceLock<Node> = OnceLock::new();
    NODE.get_or_init(Node::start)
}

/// Two running clients of one SDK in the default namespace.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) provider: Client,
    pub(crate) consumer: Client,
}

/// The pair that the tests of one SDK share for as long as one of them runs.
#[track_caller]
pub(crate) fn pair(sdk: &'static Sdk) -> Arc<Pair> {
    type Shared = BTreeMap<&'static str, Arc<Mutex<Weak<Pair>>>>;
    static PAIRS: Mutex<Shared> = Mutex::new(BTreeMap::new());
    let of_sdk = PAIRS.lock().unwrap_or_else(PoisonError::into_inner).entry(sdk.name).or_default().clone();
    // held while it starts: who asks meanwhile gets the same pair
    let mut shared = of_sdk.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pair) = shared.upgrade() {
        return pair;
    }
    let port = node().port();
    let [provider, consumer] = Client::start_all([(sdk, port, ""), (sdk, port, "")]);
    let pair = Arc::new(Pair { provider, consumer });
    *shared = Arc::downgrade(&pair);
    pair
}

/// Puts an instance into the service that stays: some SDKs never show an empty list, they keep the
/// last one that was not. Gives `ip:port=healthy`.
#[track_caller]
pub(crate) fn keeper(node: &Node, service: &str, namespace: &str, ip: &str) -> String {
    let query = format!("serviceName={service}&ip={ip}&port=1&namespaceId={namespace}&metadata={LASTING}");
    node.post(format!("/nacos/v1/ns/instance?{query}")).ok();
    format!("{ip}:1=true")
}

/// The hosts of a service as the node lists them over HTTP, in full.
#[track_caller]
pub(crate) fn info(node: &Node, query: &str) -> Value {
    node.get(format!("/nacos/v1/ns/instance/list?{query}")).json()
}

/// `ip:port=healthy` of each host, as the node lists them over HTTP.
#[track_caller]
pub(crate) fn listed(node: &Node, service: &str) -> Vec<String> {
    hosts(&info(node, &format!("serviceName={service}")))
}

/// Waits until the node lists exactly these.
#[track_caller]
pub(crate) fn wait_listed(node: &Node, service: &str, deadline: Duration, wanted: &[String]) {
    eventually(deadline, || {
        let now = listed(node, service);
        hold(now == wanted, || format!("{now:?}, not {wanted:?}"))
    });
}

/// `ip:port=true` of an instance.
pub(crate) fn up(ip: &str, port: u16) -> String {
    format!("{ip}:{port}=true")
}
