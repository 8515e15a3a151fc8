//! What a client sends over its stream: setups and answers. Nothing of it can hurt, and nothing is sent for nothing.

use bolero::check;
use muster_fuzz::edit::{Edit, apply};
use muster_fuzz::node::{SETUP, Target};
use muster_fuzz::payload::{decode, encode};
use std::time::Duration;

/// See `payload.rs`.
const TIME: Duration = Duration::from_secs(4);

#[test]
fn n215_n216_n218_setups() {
    let node = Target::start().unwrap();
    check!().with_type::<(bool, Vec<Edit>)>().with_test_time(TIME).with_iterations(usize::MAX).for_each(
        |(whole, edits)| {
            let connection = node.connect().unwrap();
            let message = match whole {
                true => apply(&encode(b"ConnectionSetupRequest", SETUP), edits),
                false => encode(b"ConnectionSetupRequest", &apply(SETUP, edits)),
            };
            node.stream(&connection, &message);
            node.stream(&connection, &encode(b"ConnectionSetupRequest", SETUP));
            // Of two setups one is taken; the first may have been none, or one without abilities.
            let sent: Vec<_> = std::iter::from_fn(|| connection.sent()).collect();
            assert!(sent.len() <= 1, "{} messages", sent.len());
            for message in sent {
                let (kind, _) = decode(&message).expect("a payload of type and body");
                assert_eq!(kind, "SetupAckRequest");
            }
            assert!(!connection.is_closed());
        },
    );
}

#[test]
fn n229_answers() {
    let node = Target::start().unwrap();
    let literal = br#"{"resultCode":200,"errorCode":0,"requestId":"12","success":true}"#;
    let kinds = [
        "NotifySubscriberResponse",
        "ClientDetectionResponse",
        "NamingFuzzyWatchSyncResponse",
        "Response",
        "PushAckRequest",
    ];
    check!().with_type::<(u8, Vec<Edit>)>().with_test_time(TIME).with_iterations(usize::MAX).for_each(
        |(which, edits)| {
            let connection = node.connect().unwrap();
            let kind = kinds[usize::from(*which) % kinds.len()];
            let taken = node.stream(&connection, &encode(kind.as_bytes(), &apply(literal, edits)));
            assert!(taken && connection.sent().is_none() && !connection.is_closed());
        },
    );
}
