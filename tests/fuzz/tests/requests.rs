//! Every unary request type: an edited request gets the documented answer, and the node lives on.

use bolero::check;
use muster_fuzz::edit::{Edit, apply};
use muster_fuzz::node::Target;
use muster_fuzz::payload::{decode, encode};
use serde::de::IgnoredAny;
use serde_json::Value;
use std::time::Duration;

/// See `payload.rs`.
const TIME: Duration = Duration::from_secs(4);
/// Error codes that an `ErrorResponse` may carry. Source: Nacos `NacosException`, `ResponseCode`.
const CODES: [i64; 9] = [300, 301, 302, 400, 403, 500, 502, 503, -401];

/// Edits `literals`, which are requests of type `kind`; `answer` is what such a request is answered by.
fn target(kind: &str, answer: &str, literals: &[&str]) {
    let node = Target::start().expect("a node starts");
    for literal in literals {
        let (seen, json) = documented(&node, kind, literal.as_bytes(), answer).expect("a payload");
        assert_eq!((seen.as_str(), &json["resultCode"]), (answer, &Value::from(200)), "{literal}: {json}");
    }
    check!().with_type::<(u8, bool, Vec<Edit>)>().with_test_time(TIME).with_iterations(usize::MAX).for_each(
        |(which, whole, edits)| {
            let literal = literals[usize::from(*which) % literals.len()].as_bytes();
            if *whole {
                let message = apply(&encode(kind.as_bytes(), literal), edits);
                // Its type may be another one now, or none.
                if let Some(answer) = node.unary(&message) {
                    well_formed(&answer);
                }
                return;
            }
            let body = apply(literal, edits);
            let (seen, json) = documented(&node, kind, &body, answer).expect("a payload");
            // Syntax alone: numbers and texts in fields that nobody reads may be anything.
            let valid = serde_json::from_slice::<IgnoredAny>(&body);
            if valid.is_err() {
                assert_eq!((seen.as_str(), &json["errorCode"]), ("ErrorResponse", &Value::from(502)), "N213");
            }
        },
    );
}

/// The answer to a request: its own response type, or an error with a documented code.
fn documented(node: &Target, kind: &str, body: &[u8], answer: &str) -> Option<(String, Value)> {
    let (seen, json) = well_formed(&node.unary(&encode(kind.as_bytes(), body))?);
    assert!(seen == answer || seen == "ErrorResponse", "{kind} is answered by {seen}");
    Some((seen, json))
}

/// What holds for every response. Source: section 1.3 of the wire description, N227.
fn well_formed(answer: &[u8]) -> (String, Value) {
    let (kind, body) = decode(answer).expect("an answer is a payload of type and body");
    let json: Value = serde_json::from_slice(&body).expect("an answer is JSON");
    let code = json["resultCode"].as_i64().expect("resultCode is a number");
    let error = json["errorCode"].as_i64().expect("errorCode is a number");
    assert_eq!(json["success"], Value::from(code == 200), "{json}");
    assert!(no_nulls(&json), "a null in {json}");
    assert!(kind.ends_with("Response"), "{kind}");
    if kind == "ErrorResponse" {
        assert!(code != 200 && CODES.contains(&error), "{json}");
    }
    (kind, json)
}

fn no_nulls(json: &Value) -> bool {
    match json {
        Value::Null => false,
        Value::Array(all) => all.iter().all(no_nulls),
        Value::Object(all) => all.values().all(no_nulls),
        _ => true,
    }
}

const REGISTER: &str = r#"{"headers":{},"namespace":"public","serviceName":"orders","groupName":"DEFAULT_GROUP","type":"registerInstance","instance":{"ip":"10.0.0.5","port":8080,"weight":1.0,"healthy":true,"enabled":true,"ephemeral":true,"clusterName":"DEFAULT","serviceName":"DEFAULT_GROUP@@orders","metadata":{},"instanceHeartBeatInterval":5000,"instanceHeartBeatTimeOut":15000,"ipDeleteTimeout":30000,"instanceIdGenerator":"simple"},"module":"naming"}"#;

#[test]
fn n235_n237_instance_request() {
    let deregister = REGISTER.replace("registerInstance", "deregisterInstance");
    target("InstanceRequest", "InstanceResponse", &[REGISTER, &deregister]);
}

#[test]
fn n246_n247_persistent_instance_request() {
    let register = REGISTER.replace(r#""ephemeral":true"#, r#""ephemeral":false"#).replace("orders", "stock");
    let deregister = register.replace("registerInstance", "deregisterInstance");
    target("PersistentInstanceRequest", "InstanceResponse", &[&register, &deregister]);
}

#[test]
fn n242_n245_batch_instance_request() {
    let three = r#"{"headers":{},"namespace":"public","serviceName":"orders","groupName":"DEFAULT_GROUP","type":"batchRegisterInstance","instances":[{"ip":"10.0.0.5","port":8080},{"ip":"10.0.0.6","port":8081,"metadata":{"zone":"a"}},{"ip":"10.0.0.7","port":1,"weight":0.5,"clusterName":"c2"}],"module":"naming"}"#;
    let none = r#"{"headers":{},"namespace":"public","serviceName":"orders","groupName":"DEFAULT_GROUP","type":"batchRegisterInstance","instances":[],"module":"naming"}"#;
    target("BatchInstanceRequest", "BatchInstanceResponse", &[three, none]);
}

#[test]
fn n248_n251_subscribe_service_request() {
    let subscribe = r#"{"headers":{},"namespace":"public","serviceName":"orders","groupName":"DEFAULT_GROUP","subscribe":true,"clusters":"","module":"naming"}"#;
    let unsubscribe = subscribe.replace("true", "false");
    target("SubscribeServiceRequest", "SubscribeServiceResponse", &[subscribe, &unsubscribe]);
}

#[test]
fn n255_n256_service_query_request() {
    let query = r#"{"headers":{},"namespace":"public","serviceName":"orders","groupName":"DEFAULT_GROUP","cluster":"a,b","healthyOnly":true,"udpPort":0,"module":"naming"}"#;
    target("ServiceQueryRequest", "QueryServiceResponse", &[query]);
}

#[test]
fn n257_n258_service_list_request() {
    let list = r#"{"headers":{},"namespace":"public","pageNo":1,"pageSize":10,"selector":"","groupName":"DEFAULT_GROUP","serviceName":"","module":"naming"}"#;
    target("ServiceListRequest", "ServiceListResponse", &[list]);
}

#[test]
fn n269_n279_naming_fuzzy_watch_request() {
    let watch = r#"{"headers":{},"namespace":"public","groupKeyPattern":"public>>DEFAULT_GROUP>>*","receivedGroupKeys":[],"watchType":"WATCH","initializing":true,"module":"naming"}"#;
    let known = r#"{"headers":{},"namespace":"public","groupKeyPattern":"public>>DEFAULT_GROUP>>order*","receivedGroupKeys":["public@@DEFAULT_GROUP@@orders"],"watchType":"WATCH","initializing":false,"module":"naming"}"#;
    let cancel = watch.replace(r#""WATCH""#, r#""CANCEL_WATCH""#);
    target("NamingFuzzyWatchRequest", "NamingFuzzyWatchResponse", &[watch, known, &cancel]);
}

#[test]
fn n206_n220_checks() {
    let node = Target::start().unwrap();
    let literal = r#"{"headers":{},"module":"internal"}"#;
    check!().with_type::<(bool, Vec<Edit>)>().with_test_time(TIME).with_iterations(usize::MAX).for_each(
        |(server, edits)| {
            let (kind, answer) = match server {
                true => ("ServerCheckRequest", "ServerCheckResponse"),
                false => ("HealthCheckRequest", "HealthCheckResponse"),
            };
            documented(&node, kind, &apply(literal.as_bytes(), edits), answer).expect("a payload");
        },
    );
}

#[test]
fn n210_n211_n212_any_type() {
    let node = Target::start().unwrap();
    check!().with_type::<Vec<Edit>>().with_test_time(TIME).with_iterations(usize::MAX).for_each(|edits| {
        let kind = apply(b"DistroDataRequest", edits);
        if let Some(answer) = node.unary(&encode(&kind, b"{}")) {
            well_formed(&answer);
        } else {
            assert!(std::str::from_utf8(&kind).is_err(), "a type of text is a payload");
        }
    });
}
