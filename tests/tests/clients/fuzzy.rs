//! Fuzzy watch, of 3.x SDKs.

use crate::common::{SOON, pair};
use muster_tests::client::JAVA_3;
use muster_tests::wait::hold;
use muster_tests::{addr, eventually, name};
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
