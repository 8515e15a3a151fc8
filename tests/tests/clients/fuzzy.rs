//! Fuzzy watch, of 3.x SDKs.

use crate::common::{SOON, pair, secs};
use muster_tests::client::{Client, JAVA_3};
use muster_tests::wait::hold;
use muster_tests::{Config, Node, Proxy, addr, eventually, name};
use serde_json::json;

const ADDED: &str = "ADD_SERVICE";
const DELETED: &str = "DELETE_SERVICE";

/// Hears of the services whose names match: of those that are there, of one that comes and of one that
/// goes; and of no other. N269, N270, N272, N276, N278.
#[test]
fn n270_n276_java_3_hears_of_services_that_match_a_pattern() {
    let pair = pair(&JAVA_3);
    let (consumer, provider) = (&pair.consumer, &pair.provider);
    let (stem, other) = (name("fuzzy"), name("other"));
    let (stays, comes) = (format!("{stem}-stays"), format!("{stem}-comes"));
    let heard = |service: &str, wanted: &[&str]| {
        eventually(SOON, || {
            let changes = consumer.fuzzy(service);
            hold(changes == wanted, || format!("{service}: {changes:?}, not {wanted:?}"))
        });
    };
    let ip = addr();
    provider.register(&stays, &ip, 80).expect("registers");
    consumer.tell("fuzzy", json!({"pattern": format!("{stem}-*")})).expect("watches");
    heard(&stays, &[ADDED]);
    provider.register(&other, &ip, 80).expect("registers");
    provider.register(&comes, &ip, 80).expect("registers");
    heard(&comes, &[ADDED]);
    provider.deregister(&comes, &ip, 80).expect("deregisters");
    heard(&comes, &[ADDED, DELETED]);
    heard(&stays, &[ADDED]);
    heard(&other, &[]);
}

/// What has gone while the connection was broken is told after it; nacos-client 3.2.1 overlooks it in the
/// difference. N275.
#[test]
fn n275_java_3_hears_of_a_service_that_went_while_its_connection_was_broken() {
    // after a start, deletions would be held
    let node = Node::with(Config::new().text("naming", "restart-hold", "0s"));
    let proxy = Proxy::before(node.port());
    let [provider, consumer] = Client::start_all([(&JAVA_3, node.port(), ""), (&JAVA_3, proxy.port(), "")]);
    let (stem, ip) = (name("fuzzy"), addr());
    let (stays, goes) = (format!("{stem}-stays"), format!("{stem}-goes"));
    let heard = |service: &str, wanted: &[&str]| {
        eventually(secs(60.0), || {
            let changes = consumer.fuzzy(service);
            hold(changes == wanted, || format!("{service}: {changes:?}, not {wanted:?}"))
        });
    };
    for service in [&stays, &goes] {
        provider.register(service, &ip, 80).expect("registers");
    }
    consumer.tell("fuzzy", json!({"pattern": format!("{stem}-*")})).expect("watches");
    heard(&stays, &[ADDED]);
    heard(&goes, &[ADDED]);
    assert!(proxy.cut() > 0, "nothing to cut");
    provider.deregister(&goes, &ip, 80).expect("deregisters");
    proxy.mend();
    heard(&goes, &[ADDED, DELETED]);
    heard(&stays, &[ADDED]);
}
