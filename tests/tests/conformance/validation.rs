//! What is refused, with which words.

use crate::common::{host, listed, node, register};
use muster_tests::{Config, Node, addr, encode, name};
use serde_json::json;

const WEIGHT: &str = "instance format invalid: The weights range from 0.0 to 10000.0";
const TIMING: &str =
    "Instance 'heart beat interval' must less than 'heart beat timeout' and 'ip delete timeout'.";

#[track_caller]
fn attempt(node: &Node, service: &str, extra: &str) -> muster_tests::Reply {
    let service = encode(service);
    node.post(format!("/nacos/v1/ns/instance?serviceName={service}&ip={}&port=8080{extra}", addr()))
}

#[test]
fn n031_n032_weights_range_from_0_to_10000() {
    let s = name("orders");
    attempt(node(), &s, "&weight=10000.1").has(400, WEIGHT);
    attempt(node(), &s, "&weight=-1").has(400, WEIGHT);
    assert!(listed(node(), &s).is_empty());
    attempt(node(), &s, "&weight=0").ok();
    attempt(node(), &s, "&weight=10000").ok();
    assert_eq!(listed(node(), &s).len(), 2);
}

#[test]
fn n033_a_bad_weight_is_21001_on_v2_and_v3() {
    let query = format!("serviceName={}&ip={}&port=8080&weight=10000.1", name("orders"), addr());
    for path in ["/nacos/v2/ns/instance", "/nacos/v3/client/ns/instance", "/nacos/v3/admin/ns/instance"] {
        let data = node().post(format!("{path}?{query}")).failure(400, 21001, "weight error");
        assert!(data.as_str().is_some_and(|d| d.contains(WEIGHT)), "{path}: {data}");
    }
}

#[test]
fn n034_n035_timings_below_the_interval_are_refused() {
    let s = name("orders");
    for timing in [
        "preserved.heart.beat.interval=5000,preserved.heart.beat.timeout=4999",
        "preserved.heart.beat.interval=5000,preserved.ip.delete.timeout=4999",
    ] {
        attempt(node(), &s, &format!("&metadata={}", encode(timing))).has(400, TIMING);
    }
    assert!(listed(node(), &s).is_empty());
    let query = format!("serviceName={s}&ip={}&port=8080", addr());
    let metadata = encode("preserved.heart.beat.interval=20000");
    let data = node().post(format!("/nacos/v2/ns/instance?{query}&metadata={metadata}"));
    let data = data.failure(400, 21004, "instance error");
    assert!(data.as_str().is_some_and(|d| d.contains(TIMING)), "{data}");
}

#[test]
fn n036_n037_an_underscore_passes_in_a_query_but_not_in_a_registration() {
    let s = name("orders");
    let text = "Instance 'clusterName' should be characters with only 0-9a-zA-Z-. (current: a_b)";
    attempt(node(), &s, "&clusterName=a_b").has(400, text);
    let reply = node().get(format!("/nacos/v1/ns/instance/list?serviceName={s}&clusters=a_b,c"));
    assert_eq!(reply.json()["clusters"], "a_b,c");
}

#[test]
fn n038_a_timing_that_is_not_a_number_is_ignored() {
    let s = name("orders");
    let metadata = encode(r#"{"preserved.heart.beat.interval":"soon"}"#);
    attempt(node(), &s, &format!("&metadata={metadata}")).ok();
    assert_eq!(host(node(), &s)["instanceHeartBeatInterval"], 5000);
}

#[test]
fn n039_a_service_name_has_at_most_512_characters() {
    let long = "s".repeat(513);
    let text = "Param 'serviceName' is illegal, the param length should not exceed 512.";
    attempt(node(), &long, "").is(400, text);
    node().get(format!("/nacos/v1/ns/instance/list?serviceName={long}")).is(400, text);
    let v2 = format!("/nacos/v2/ns/instance?serviceName={long}&ip=127.9.9.9&port=1");
    node().post(v2).is(400, text);
    attempt(node(), &long[1..], "").ok();
}

#[test]
fn n040_n041_a_group_is_128_plain_characters() {
    let s = name("orders");
    let text = "Param 'group' is illegal, illegal characters should not appear in the param.";
    attempt(node(), &s, "&groupName=a%20b").is(400, text);
    attempt(node(), &s, "&groupName=a%40b").is(400, text);
    let long = "g".repeat(129);
    let text = "Param 'group' is illegal, the param length should not exceed 128.";
    attempt(node(), &s, &format!("&groupName={long}")).is(400, text);
    attempt(node(), &s, &format!("&groupName={}", &long[1..])).ok();
}

#[test]
fn n042_a_namespace_has_at_most_64_characters() {
    let s = name("orders");
    let long = "n".repeat(65);
    let text = "Param 'namespaceId/tenant' is illegal, the param length should not exceed 64.";
    attempt(node(), &s, &format!("&namespaceId={long}")).is(400, text);
    attempt(node(), &s, &format!("&namespaceId={}", &long[1..])).ok();
    let text = "Param 'namespaceId/tenant' is illegal, illegal characters should not appear in the param.";
    attempt(node(), &s, "&namespaceId=a.b").is(400, text);
}

#[test]
fn n043_a_service_name_has_no_blank_and_no_cjk_character() {
    let text = "Param 'serviceName' is illegal, illegal characters should not appear in the param.";
    for bad in ["a\u{4e2d}b", "a b", "a\tb"] {
        attempt(node(), bad, "").is(400, text);
    }
    // only the ideographs of the basic block are refused
    attempt(node(), &format!("\u{3042}-{}", name("orders")), "").ok();
}

#[test]
fn n044_n045_a_port_is_between_0_and_65535() {
    let (s, ip) = (name("orders"), addr());
    let text = "Param 'port' is illegal, the value should be between 0 and 65535.";
    let at = |port: &str| node().post(format!("/nacos/v1/ns/instance?serviceName={s}&ip={ip}&port={port}"));
    at("65536").is(400, text);
    at("-1").is(400, text);
    at("http").is(400, text);
    at("0").ok();
    at("65535").ok();
    assert_eq!(listed(node(), &s), [format!("{ip}:0=true"), format!("{ip}:65535=true")]);
}

#[test]
fn n046_n047_metadata_is_limited_to_1024_characters_or_what_is_set() {
    let s = name("orders");
    let metadata =
        |length: usize| format!("&metadata={}", encode(&json!({"k": "v".repeat(length - 1)}).to_string()));
    let text = "Param 'Metadata' is illegal, the param length should not exceed 1024.";
    attempt(node(), &s, &metadata(1025)).is(400, text);
    attempt(node(), &s, &metadata(1024)).ok();
    let narrow = Node::with(Config::new().set("naming", "metadata-limit", "20"));
    let text = "Param 'Metadata' is illegal, the param length should not exceed 20.";
    attempt(&narrow, &s, &metadata(21)).is(400, text);
    attempt(&narrow, &s, &metadata(20)).ok();
}

#[test]
fn n048_an_ip_has_no_blank_and_may_be_a_host_name() {
    let s = name("orders");
    let text = "Param 'ip' is illegal, illegal characters should not appear in the param.";
    node().post(format!("/nacos/v1/ns/instance?serviceName={s}&ip=10.0.0%20.1&port=1")).is(400, text);
    register(node(), &s, "orders.example", "");
    assert_eq!(listed(node(), &s), ["orders.example:8080=true"]);
}

#[test]
fn n049_with_the_parameter_check_off_none_of_this_applies() {
    let node = Node::with(Config::new().set("naming", "param-check", "false"));
    let long = "s".repeat(513);
    attempt(&node, &long, "").ok();
    attempt(&node, "a\u{4e2d}b", "").ok();
    let metadata = encode(&json!({"k": "v".repeat(2000)}).to_string());
    attempt(&node, "orders", &format!("&groupName={}&metadata={metadata}", "g".repeat(129))).ok();
    // the checks of the instance itself are not part of it
    attempt(&node, "orders", "&weight=-1").has(400, WEIGHT);
}

#[test]
fn n051_n052_a_missing_parameter_is_named() {
    let s = name("orders");
    node().post(format!("/nacos/v1/ns/instance?serviceName={s}&port=1")).is(400, "Param 'ip' is required.");
    node().post("/nacos/v1/ns/instance?ip=127.9.9.9&port=1").is(400, "Param 'serviceName' is required.");
    let reply = node().post(format!("/nacos/v2/ns/instance?serviceName={s}&port=1"));
    let data = reply.failure(400, 10000, "parameter missing");
    assert_eq!(data, "Required parameter 'ip' type String is not present");
}

#[test]
fn n053_n054_metadata_is_json_or_pairs() {
    let (s, ip) = (name("orders"), addr());
    attempt(node(), &s, "&metadata=novalue").has(400, "metadata format incorrect:novalue");
    attempt(node(), &s, "&metadata=a%3Db%3Dc").has(400, "metadata format incorrect:");
    register(node(), &s, &ip, "&metadata=k%3Dv%2Ck2%3Dv2");
    let pairs = host(node(), &s)["metadata"].clone();
    register(node(), &s, &ip, &format!("&metadata={}", encode(r#"{"k":"v","k2":"v2"}"#)));
    assert_eq!(pairs, json!({"k": "v", "k2": "v2"}));
    assert_eq!(host(node(), &s)["metadata"], pairs);
}
