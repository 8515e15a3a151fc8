//! What queries return: protection, selectors, pushes.

use crate::common::{SOON, admin_list, hosts, list, node, register, secs};
use muster_tests::udp::Subscriber;
use muster_tests::{Config, Node, Request, addr, encode, name};
use serde_json::{Value, json};

/// A service for ephemeral instances with stored metadata.
fn create(threshold: &str) -> String {
    let s = name("orders");
    let query = format!("serviceName={s}&ephemeral=true&protectThreshold={threshold}");
    assert_eq!(node().post(format!("/nacos/v2/ns/service?{query}")).data(), "ok");
    s
}

/// Registers one instance per flag: healthy or not.
fn fill(service: &str, health: &[bool]) -> Vec<String> {
    let one = |healthy: &bool| {
        let ip = addr();
        register(node(), service, &ip, &format!("&healthy={healthy}"));
        ip
    };
    health.iter().map(one).collect()
}

fn healths(list: &Value) -> Vec<bool> {
    let hosts = list["hosts"].as_array().cloned().unwrap_or_default();
    let mut all: Vec<_> = hosts.iter().map(|h| h["healthy"] == true).collect();
    all.sort_unstable();
    all
}

fn protected(list: &Value) -> bool {
    assert!(list["reachProtectionThreshold"].is_boolean(), "{list}");
    list["reachProtectionThreshold"] == true
}

#[test]
fn n108_n109_protection_starts_at_the_threshold() {
    let s = create("0.5");
    fill(&s, &[true, false]);
    let now = list(node(), &s, "");
    assert_eq!((healths(&now), protected(&now)), (vec![true, true], true), "{now}");
    // the 1.x synonym says the same
    assert!(now["hosts"].as_array().is_some_and(|a| a.iter().all(|h| h["valid"] == true)), "{now}");
    fill(&s, &[true]);
    let now = list(node(), &s, "");
    assert_eq!((healths(&now), protected(&now)), (vec![false, true, true], false), "{now}");
}

#[test]
fn n110_n111_n112_n113_protection_needs_stored_metadata_and_hosts() {
    let s = create("0");
    assert!(!protected(&list(node(), &s, "")), "an empty service");
    fill(&s, &[false, false]);
    let now = list(node(), &s, "");
    assert_eq!((healths(&now), protected(&now)), (vec![true, true], true), "{now}");
    fill(&s, &[true]);
    assert!(!protected(&list(node(), &s, "")));
    // N111
    let plain = name("orders");
    fill(&plain, &[false, false]);
    let now = list(node(), &plain, "");
    assert_eq!((healths(&now), protected(&now)), (vec![false, false], false), "{now}");
    // N113
    let negative = create("0.5");
    fill(&negative, &[false]);
    node().put(format!("/nacos/v1/ns/service?serviceName={negative}&protectThreshold=-1")).ok();
    let now = list(node(), &negative, "");
    assert_eq!((healths(&now), protected(&now)), (vec![true], true), "{now}");
    fill(&negative, &[true]);
    assert!(!protected(&list(node(), &negative, "")));
}

#[test]
fn n114_healthy_only_is_not_protected_below_1() {
    let s = create("0.5");
    let ips = fill(&s, &[true, false]);
    let now = list(node(), &s, "&healthyOnly=true");
    assert_eq!((hosts(&now), protected(&now)), (vec![format!("{}:8080=true", ips[0])], false), "{now}");
}

#[test]
fn n115_n116_protection_counts_what_the_filters_left() {
    let s = create("0.5");
    register(node(), &s, &addr(), "&clusterName=A");
    register(node(), &s, &addr(), "&clusterName=B&healthy=false");
    let (a, b) = (list(node(), &s, "&clusters=A"), list(node(), &s, "&clusters=B"));
    assert_eq!((healths(&a), protected(&a)), (vec![true], false), "{a}");
    assert_eq!((healths(&b), protected(&b)), (vec![true], true), "{b}");
    // N116: with the disabled ones, one of three would be below the threshold
    let s = create("0.5");
    fill(&s, &[true]);
    register(node(), &s, &addr(), "&enabled=false&healthy=false");
    register(node(), &s, &addr(), "&enabled=false&healthy=false");
    let now = list(node(), &s, "");
    assert_eq!((healths(&now), protected(&now)), (vec![true], false), "{now}");
}

#[test]
fn n117_protection_leaves_the_real_health() {
    let s = create("0.8");
    let ips = fill(&s, &[true, false]);
    assert!(protected(&list(node(), &s, "")));
    let real = admin_list(node(), &s);
    assert_eq!(
        hosts(&json!({"hosts": real})),
        [format!("{}:8080=true", ips[0]), format!("{}:8080=false", ips[1])]
    );
}

/// Subscribes a UDP port as Java 1.x does.
fn subscribe(service: &str, more: &str) -> Subscriber {
    let subscriber = Subscriber::new();
    let query = format!("serviceName={service}&udpPort={}&clientIP=127.0.0.1{more}", subscriber.port());
    let ask =
        Request::new("GET", format!("/nacos/v1/ns/instance/list?{query}")).agent("Nacos-Java-Client:v1.4.3");
    node().send(&ask).json();
    subscriber
}

#[test]
fn n118_n120_pushes_carry_unhealthy_but_not_disabled_hosts() {
    let s = name("orders");
    let subscriber = subscribe(&s, "");
    let ill = fill(&s, &[false]).remove(0);
    register(node(), &s, &addr(), "&enabled=false");
    let well = fill(&s, &[true]).remove(0);
    let mut wanted = [format!("{ill}:8080=false"), format!("{well}:8080=true")];
    wanted.sort();
    let push = subscriber.wait_for(SOON, |p| p.hosts().len() > 1);
    assert_eq!(push.hosts(), wanted);
    assert_eq!(push.data["reachProtectionThreshold"], false);
}

#[test]
fn n119_pushes_are_protected_like_queries() {
    let s = create("0.5");
    let subscriber = subscribe(&s, "");
    fill(&s, &[true, false]);
    let push = subscriber.wait_for(SOON, |p| p.hosts().len() == 2);
    assert_eq!((healths(&push.data), protected(&push.data)), (vec![true, true], true), "{:?}", push.data);
}

#[test]
fn n121_pushes_hold_the_subscribed_clusters() {
    let s = name("orders");
    let subscriber = subscribe(&s, "&clusters=A,B");
    let (a, c) = (addr(), addr());
    register(node(), &s, &c, "&clusterName=C");
    register(node(), &s, &a, "&clusterName=A");
    let push = subscriber.wait_for(SOON, |p| !p.hosts().is_empty());
    assert_eq!((push.hosts(), &push.data["clusters"]), (vec![format!("{a}:8080=true")], &json!("A,B")));
    register(node(), &s, &addr(), "&clusterName=C");
    while let Some(push) = subscriber.receive(secs(2.0)) {
        subscriber.acknowledge(&push);
        assert_eq!(push.hosts(), [format!("{a}:8080=true")]);
    }
}

#[test]
fn n122_a_label_selector_without_labels_filters_nothing() {
    let s = name("orders");
    let selector = encode(r#"{"type":"label","expression":"CONSUMER.label.zone = PROVIDER.label.zone"}"#);
    let query = format!("serviceName={s}&ephemeral=true&selector={selector}");
    assert_eq!(node().post(format!("/nacos/v2/ns/service?{query}")).data(), "ok");
    fill(&s, &[true, true]);
    assert_eq!(list(node(), &s, "")["hosts"].as_array().map(Vec::len), Some(2));
    let detail = node().get(format!("/nacos/v1/ns/service?serviceName={s}")).json();
    assert_eq!(detail["selector"]["type"], "label", "{detail}");
}

#[test]
fn n123_n124_bad_selectors_are_refused() {
    let create = |selector: &str| {
        let selector = encode(selector);
        node().post(format!("/nacos/v1/ns/service?serviceName={}&selector={selector}", name("orders")))
    };
    create(r#"{"type":"colour"}"#).has(400, "not match any type of selector!");
    create(r#"{"type":"label","expression":"CONSUMER.zone > 3"}"#).has(400, "parse expression failed!");
    let selector = encode(r#"{"type":"label","expression":"nonsense"}"#);
    let reply =
        node().post(format!("/nacos/v2/ns/service?serviceName={}&selector={selector}", name("orders")));
    reply.failure(400, 21006, "selector error");
    create(r#"{"type":"none"}"#).ok();
}

#[test]
fn n125_selector_types() {
    let v1 = node().get("/nacos/v1/ns/service/selector/types").json();
    let v3 = node().get("/nacos/v3/admin/ns/service/selector/types").data();
    for types in [&v1["data"], &v3] {
        assert_eq!(crate::common::texts(types), ["label", "none"]);
    }
    assert_eq!(v1["code"], 200);
}

/// Muster's own modes: `strict` protects only below the threshold and never for 0, `off` never.
#[test]
fn protection_can_be_strict_or_off() {
    let start = |mode: &str| Node::with(Config::new().text("naming", "protection", mode));
    for (node, mode) in [(start("strict"), "strict"), (start("off"), "off")] {
        let create = |s: &str, threshold: &str, health: &[bool]| {
            let query = format!("serviceName={s}&ephemeral=true&protectThreshold={threshold}");
            node.post(format!("/nacos/v2/ns/service?{query}")).data();
            for healthy in health {
                register(&node, s, &addr(), &format!("&healthy={healthy}"));
            }
            let now = list(&node, s, "");
            (healths(&now), protected(&now))
        };
        assert_eq!(create("zero", "0", &[false]), (vec![false], false), "{mode}");
        assert_eq!(create("equal", "0.5", &[false, true]), (vec![false, true], false), "{mode}");
        let below = create("below", "0.6", &[false, true]);
        let wanted = if mode == "strict" { (vec![true, true], true) } else { (vec![false, true], false) };
        assert_eq!(below, wanted, "{mode}");
    }
}
