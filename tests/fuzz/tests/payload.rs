//! The payload decoder: whatever comes, it answers, and what it takes it can give back.

use bolero::check;
use muster::grpc::offline::{reencoded, same};
use muster_fuzz::edit::{Edit, apply};
use muster_fuzz::payload::{decode, encode};
use std::time::Duration;

/// How long each target runs with `cargo test`; `BOLERO_RANDOM_TEST_TIME_MS` says otherwise.
const TIME: Duration = Duration::from_secs(4);

/// The worked example of the specification.
const SERVER_CHECK: &[u8] =
    b"\x12\x14\x1a\x12ServerCheckRequest\x1a\x24\x12\x22{\"headers\":{},\"module\":\"internal\"}";
/// A request with headers, an address and a type URL.
const FULL: &[u8] = b"\x12\x2c\x1a\x12HealthCheckRequest\x3a\x0b\x0a\x03app\x12\x04shop\x42\x091.2.3.4:5\x1a\x09\x0a\x03url\x12\x02{}";

fn what_is_taken_can_be_given_back(message: &[u8]) {
    let Ok(again) = reencoded(message) else { return };
    assert!(same(message, &again).expect("both are payloads"), "it is another payload now");
    let third = reencoded(&again).expect("a payload");
    assert!(
        third.len() == again.len() && same(&again, &third).expect("both are payloads"),
        "its length changes"
    );
    assert!(again.len() <= message.len() + 16, "{} bytes became {}", message.len(), again.len());
}

#[test]
fn n203_any_bytes() {
    check!().with_test_time(TIME).with_iterations(usize::MAX).for_each(what_is_taken_can_be_given_back);
}

#[test]
fn n203_n204_edited_payloads() {
    for literal in [SERVER_CHECK, FULL] {
        assert!(reencoded(literal).is_ok(), "the literal itself is one");
    }
    check!().with_type::<(bool, Vec<Edit>)>().with_test_time(TIME).with_iterations(usize::MAX).for_each(
        |(full, edits)| {
            what_is_taken_can_be_given_back(&apply(if *full { FULL } else { SERVER_CHECK }, edits))
        },
    );
}

#[test]
fn n205_any_body_arrives_unchanged() {
    check!().with_test_time(TIME).with_iterations(usize::MAX).for_each(|body: &[u8]| {
        let message = encode(b"InstanceRequest", body);
        // An empty body and none are the same to protobuf; the encoder above writes it.
        let again = reencoded(&message).unwrap();
        let seen = decode(&again).map_or_else(Vec::new, |(_, body)| body);
        assert_eq!(seen, body);
    });
}
