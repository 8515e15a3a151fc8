//! For fuzz targets: what a client sends, read as a node reads it, without a node. Not part of any interface.

use super::fuzzy::Pattern;
use super::messages::{
    Ack, ConnectionSetup, InstanceRequest, ListRequest, QueryRequest, SubscribeRequest, WatchRequest,
};
use super::payload::Payload;
use prost::Message;

/// Types whose bodies [`body`] reads.
pub const KINDS: [&str; 9] = [
    "ConnectionSetupRequest",
    "InstanceRequest",
    "PersistentInstanceRequest",
    "BatchInstanceRequest",
    "SubscribeServiceRequest",
    "ServiceQueryRequest",
    "ServiceListRequest",
    "NamingFuzzyWatchRequest",
    "NotifySubscriberResponse",
];

/// Decodes one message as it comes out of a frame, and its body after its own type name. Answers whether both
/// could be read.
pub fn payload(bytes: &[u8]) -> bool {
    <Payload as Message>::decode(bytes).is_ok_and(|payload| read(&payload))
}

/// Reads `json` as the body of a request of type `kind`. Answers whether it could be read.
pub fn body(kind: &str, json: &[u8]) -> bool {
    read(&Payload::new(kind, json.to_vec()))
}

fn read(payload: &Payload) -> bool {
    match payload.kind() {
        "ConnectionSetupRequest" => payload.decode::<ConnectionSetup>().is_ok(),
        "InstanceRequest" | "PersistentInstanceRequest" | "BatchInstanceRequest" => {
            payload.decode::<InstanceRequest>().is_ok_and(|request| {
                let bodies = request.instances.iter().flatten().chain(&request.instance);
                bodies.for_each(|body| drop(body.instance()));
                !request.service.key().name().is_empty()
            })
        }
        "SubscribeServiceRequest" => payload.decode::<SubscribeRequest>().is_ok(),
        "ServiceQueryRequest" => payload.decode::<QueryRequest>().is_ok(),
        "ServiceListRequest" => payload.decode::<ListRequest>().is_ok(),
        "NamingFuzzyWatchRequest" => payload
            .decode::<WatchRequest>()
            .is_ok_and(|request| Pattern::parse(&request.group_key_pattern).is_some()),
        kind if kind.ends_with("Response") => payload.decode::<Ack>().is_ok_and(|ack| ack.is_success()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read() {
        let good = br#"{"serviceName":"a","groupKeyPattern":"public>>*>>*","instance":{"port":1}}"#;
        assert!(KINDS.iter().all(|kind| body(kind, good)));
        assert!(KINDS.iter().all(|kind| !body(kind, b"{") && !body(kind, b"7")));
        assert!(!payload(b"\xff"));
    }
}
