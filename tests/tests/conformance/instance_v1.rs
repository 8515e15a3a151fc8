//! The v1 instance API.

use crate::common::{
    LASTING, SOON, admin_list, deregister, host, list, listed, node, register, secs, turn, wait_listed,
};
use muster_tests::{Clock, Config, Node, Request, addr, encode, name};
use serde_json::json;

#[test]
fn n055_register_answers_exactly_ok() {
    let reply = node().post(format!("/nacos/v1/ns/instance?serviceName={}&ip={}&port=1", name("s"), addr()));
    reply.ok();
    let kind = reply.header("content-type").unwrap_or_default().to_ascii_lowercase();
    assert!(kind.starts_with("text/plain"), "{kind}");
}

#[test]
fn n056_parameters_come_in_query_or_form_or_both() {
    let s = name("orders");
    let (a, b, c, d) = (addr(), addr(), addr(), addr());
    node().post(format!("/nacos/v1/ns/instance?serviceName={s}&ip={a}&port=8080")).ok();
    let form = format!("serviceName={s}&ip={b}&port=8080");
    node().send(&Request::new("POST", "/nacos/v1/ns/instance").form(form)).ok();
    let split = Request::new("POST", format!("/nacos/v1/ns/instance?serviceName={s}"));
    node().send(&split.form(format!("ip={c}&port=8080"))).ok();
    // a value in the query comes first
    let twice = Request::new("POST", format!("/nacos/v1/ns/instance?serviceName={s}&ip={d}"));
    node().send(&twice.form("ip=127.9.9.9&port=8080")).ok();
    let mut wanted = [a, b, c, d].map(|ip| format!("{ip}:8080=true"));
    wanted.sort();
    assert_eq!(listed(node(), &s), wanted);
    for method in ["PUT", "DELETE"] {
        let form = format!("serviceName={s}&ip={}&port=8080", wanted[0].split(':').next().unwrap_or("?"));
        node().send(&Request::new(method, "/nacos/v1/ns/instance").form(form)).ok();
    }
    assert_eq!(listed(node(), &s), &wanted[1..]);
}

#[test]
fn n057_n058_n059_spellings_of_enabled_and_cluster() {
    let s = name("orders");
    let (python, old, both) = (addr(), addr(), addr());
    register(node(), &s, &python, "&enabled=False");
    register(node(), &s, &old, "&enable=false");
    register(node(), &s, &both, "&enabled=True&enable=false&cluster=C1");
    assert_eq!(listed(node(), &s), [format!("{both}:8080=true")]);
    assert_eq!(host(node(), &s)["clusterName"], "C1");
    let all = admin_list(node(), &s);
    let off =
        |ip: &str| all.as_array().is_some_and(|a| a.iter().any(|h| h["ip"] == ip && h["enabled"] == false));
    assert!(off(&python) && off(&old), "{all}");
}

#[test]
fn n060_ephemeral_follows_the_switch() {
    let node = Node::start();
    register(&node, "first", &addr(), "");
    assert_eq!(host(&node, "first")["ephemeral"], true);
    turn(&node, "defaultInstanceEphemeral", "false");
    register(&node, "second", &addr(), "");
    assert_eq!(host(&node, "second")["ephemeral"], false);
}

#[test]
fn n061_n062_registering_again_replaces_and_moves() {
    let (s, ip) = (name("orders"), addr());
    register(node(), &s, &ip, "&weight=2&metadata=a%3D1");
    register(node(), &s, &ip, "&weight=3&metadata=b%3D2");
    let now = host(node(), &s);
    assert_eq!((&now["weight"], &now["metadata"]), (&json!(3.0), &json!({"b": "2"})));
    register(node(), &s, &ip, "&clusterName=C2");
    let moved = host(node(), &s);
    assert_eq!((&moved["clusterName"], &moved["weight"]), (&json!("C2"), &json!(1.0)));
}

#[test]
fn n063_n064_deleting_what_is_not_there_is_ok_and_persistence_must_be_said() {
    let (s, ip) = (name("db"), addr());
    deregister(node(), &s, &ip, "");
    register(node(), &s, &ip, "&ephemeral=false");
    deregister(node(), &s, &ip, "");
    assert_eq!(list(node(), &s, "")["hosts"][0]["ip"], ip);
    deregister(node(), &s, &ip, "&ephemeral=false");
    assert!(listed(node(), &s).is_empty());
}

#[test]
fn n065_n066_a_service_is_ephemeral_or_persistent() {
    let (s, t) = (name("db"), name("orders"));
    let at = |s: &str, more: &str| {
        node().post(format!("/nacos/v1/ns/instance?serviceName={s}&ip={}&port=1{more}", addr()))
    };
    node().post(format!("/nacos/v1/ns/service?serviceName={s}")).ok();
    let refused = format!(
        "Current service DEFAULT_GROUP@@{s} is persistent service, can't register ephemeral instance."
    );
    at(&s, "").has(400, &refused);
    at(&t, "").ok();
    let refused = format!(
        "Current service DEFAULT_GROUP@@{t} is ephemeral service, can't register persistent instance."
    );
    at(&t, "&ephemeral=false").has(400, &refused);
}

#[test]
fn n067_updating_in_an_unknown_service_is_refused() {
    let s = name("nobody");
    let reply = node().put(format!("/nacos/v1/ns/instance?serviceName={s}&ip={}&port=1&weight=2", addr()));
    reply.has(400, "service not found, namespace: public, service: ");
    reply.has(400, &s);
}

#[test]
fn n068_n069_an_operators_weight_and_enabled_survive_registration() {
    let (s, ip) = (name("orders"), addr());
    let put =
        |more: &str| node().put(format!("/nacos/v1/ns/instance?serviceName={s}&ip={ip}&port=8080{more}"));
    register(node(), &s, &ip, "");
    put("&weight=5").ok();
    assert_eq!(host(node(), &s)["weight"], 5.0);
    register(node(), &s, &ip, "&weight=1");
    assert_eq!(host(node(), &s)["weight"], 5.0);
    put("&weight=5&enabled=false").ok();
    assert!(listed(node(), &s).is_empty());
    register(node(), &s, &ip, "&enabled=true");
    assert!(listed(node(), &s).is_empty());
    put("&enabled=true").ok();
    // PUT replaces the overlay as a whole: the weight is back to what PUT says by default
    assert_eq!(host(node(), &s)["weight"], 1.0);
}

#[test]
fn n070_n071_n072_patch_changes_what_it_names() {
    let (s, ip) = (name("orders"), addr());
    let patch =
        |more: &str| node().patch(format!("/nacos/v1/ns/instance?serviceName={s}&ip={ip}&port=8080{more}"));
    register(node(), &s, &ip, "&metadata=own%3D1");
    patch("&metadata=a%3D1").ok();
    patch("&weight=7").ok();
    let now = host(node(), &s);
    assert_eq!((&now["weight"], &now["enabled"]), (&json!(7.0), &json!(true)));
    assert_eq!(now["metadata"], json!({"own": "1", "a": "1"}));
    // N071: a new map replaces the operator's, the client's own keys stay
    patch("&metadata=b%3D2").ok();
    assert_eq!(host(node(), &s)["metadata"], json!({"own": "1", "b": "2"}));
    // N072
    patch("&healthy=false").ok();
    assert_eq!(host(node(), &s)["healthy"], true);
    patch("&enabled=false").ok();
    assert!(listed(node(), &s).is_empty());
    let hidden = admin_list(node(), &s)[0].clone();
    assert_eq!((&hidden["weight"], &hidden["metadata"]), (&json!(7.0), &json!({"own": "1", "b": "2"})));
}

#[test]
fn n073_n075_n076_unknown_instances_have_two_texts() {
    let (s, ip) = (name("orders"), addr());
    let query = |cluster: &str| format!("serviceName={s}&ip={ip}&port=8080&clusterName={cluster}");
    let empty = format!("no ips found for cluster C1 in service DEFAULT_GROUP@@{s}");
    node().get(format!("/nacos/v1/ns/instance?{}", query("C1"))).is(404, &empty);
    node().patch(format!("/nacos/v1/ns/instance?{}&weight=2", query("C1"))).is(404, &empty);
    register(node(), &s, &ip, "&clusterName=C1");
    node().get(format!("/nacos/v1/ns/instance?{}", query("C2"))).is(404, "no matched ip found!");
    node().patch(format!("/nacos/v1/ns/instance?{}&weight=2", query("C2"))).is(404, "no matched ip found!");
}

#[test]
fn n074_instance_detail() {
    let (s, ip) = (name("orders"), addr());
    register(node(), &s, &ip, "&groupName=G&clusterName=C1&metadata=a%3D1&weight=2");
    let query = format!("serviceName={s}&groupName=G&ip={ip}&port=8080&clusterName=C1");
    assert_eq!(
        node().get(format!("/nacos/v1/ns/instance?{query}")).json(),
        json!({
            "service": format!("G@@{s}"), "ip": ip, "port": 8080, "clusterName": "C1", "weight": 2.0,
            "healthy": true, "instanceId": format!("{ip}#8080#C1#G@@{s}"), "metadata": {"a": "1"},
        })
    );
}

#[test]
fn n077_an_unknown_service_is_an_empty_list() {
    let s = name("nobody");
    let list = list(node(), &s, "&clusters=A");
    assert_eq!((&list["hosts"], &list["name"]), (&json!([]), &json!(format!("DEFAULT_GROUP@@{s}"))));
    assert_eq!((&list["clusters"], &list["cacheMillis"]), (&json!("A"), &json!(10000)));
    // asking does not create it
    node().get(format!("/nacos/v1/ns/service?serviceName={s}")).has(400, "service not found");
}

#[test]
fn n078_n079_clusters_are_chosen_by_exact_name() {
    let s = name("orders");
    let ips = ["A", "B", "C"].map(|cluster| {
        let ip = addr();
        register(node(), &s, &ip, &format!("&clusterName={cluster}"));
        format!("{ip}:8080=true")
    });
    let of = |clusters: &str| crate::common::hosts(&list(node(), &s, &format!("&clusters={clusters}")));
    assert_eq!(of("A,B"), [ips[0].clone(), ips[1].clone()]);
    assert_eq!(of(""), ips);
    assert!(of("a").is_empty() && of("AB").is_empty());
}

#[test]
fn n080_n081_unhealthy_hosts_are_dropped_on_request_and_disabled_ones_always() {
    let s = name("orders");
    let (well, ill, off) = (addr(), addr(), addr());
    register(node(), &s, &well, "");
    register(node(), &s, &ill, "&healthy=false");
    register(node(), &s, &off, "&enabled=false");
    assert_eq!(listed(node(), &s), [format!("{well}:8080=true"), format!("{ill}:8080=false")]);
    for yes in ["true", "True"] {
        let list = list(node(), &s, &format!("&healthyOnly={yes}"));
        assert_eq!(crate::common::hosts(&list), [format!("{well}:8080=true")]);
    }
}

#[test]
fn n082_n083_n084_batch_metadata() {
    let (s, a, b) = (name("orders"), addr(), addr());
    let batch = |method: &str, metadata: &str, more: &str| {
        let query = format!("serviceName={s}&metadata={}{more}", encode(metadata));
        node().send(&Request::new(method, format!("/nacos/v1/ns/instance/metadata/batch?{query}"))).json()
    };
    register(node(), &s, &a, "&metadata=own%3D1");
    register(node(), &s, &b, "&clusterName=C2");
    let (ea, eb) = (format!("{a}:8080:unknown:DEFAULT:ephemeral"), format!("{b}:8080:unknown:C2:ephemeral"));
    let all = batch("PUT", r#"{"k":"v"}"#, "");
    assert_eq!(crate::common::texts(&all["updated"]), [ea.clone(), eb.clone()]);
    // N083: what does not exist is skipped
    let some = json!([
        {"ip": b, "port": 8080, "ephemeral": true, "clusterName": "C2"},
        {"ip": "127.9.9.9", "port": 1, "ephemeral": true, "clusterName": "DEFAULT"},
    ]);
    let some = format!("&consistencyType=ephemeral&instances={}", encode(&some.to_string()));
    assert_eq!(batch("PUT", r#"{"k2":"v2"}"#, &some), json!({"updated": [eb]}));
    let metadata = |ip: &str| {
        let list = list(node(), &s, "");
        let found = list["hosts"].as_array().and_then(|a| a.iter().find(|h| h["ip"] == ip)).cloned();
        found.unwrap_or_default()["metadata"].clone()
    };
    assert_eq!(metadata(&a), json!({"own": "1", "k": "v"}));
    assert_eq!(metadata(&b), json!({"k": "v", "k2": "v2"}));
    // N084: the client's own keys cannot be deleted
    batch("DELETE", r#"{"k":"","own":""}"#, "");
    assert_eq!(metadata(&a), json!({"own": "1"}));
    assert_eq!(metadata(&b), json!({"k2": "v2"}));
}

#[test]
fn n085_statuses() {
    let (s, ip) = (name("orders"), addr());
    register(node(), &s, &ip, "&groupName=G");
    let key = encode(&format!("public##G@@{s}"));
    let reply = node().get(format!("/nacos/v1/ns/instance/statuses?key={key}"));
    assert_eq!(reply.json(), json!({"ips": [format!("{ip}:8080_true")]}));
}

/// With Nacos's own 60 seconds; a second instance keeps the service from being empty.
#[test]
fn n086_n087_an_overlay_outlives_its_instance_by_60_seconds() {
    let s = name("orders");
    let (quick, late, stays) = (addr(), addr(), addr());
    register(node(), &s, &stays, LASTING);
    for ip in [&quick, &late] {
        register(node(), &s, ip, LASTING);
        node().put(format!("/nacos/v1/ns/instance?serviceName={s}&ip={ip}&port=8080&weight=5")).ok();
        deregister(node(), &s, ip, "");
    }
    let clock = Clock::start();
    wait_listed(node(), &s, SOON, &[&format!("{stays}:8080=true")]);
    let weight = |ip: &str| {
        register(node(), &s, ip, LASTING);
        let list = list(node(), &s, "");
        let found = list["hosts"].as_array().and_then(|a| a.iter().find(|h| h["ip"] == ip)).cloned();
        found.unwrap_or_default()["weight"].clone()
    };
    clock.until(secs(50.0));
    assert_eq!(weight(&quick), 5.0);
    clock.until(secs(72.0));
    assert_eq!(weight(&late), 1.0);
    // the one that came back in time keeps its overlay for good
    assert_eq!(weight(&quick), 5.0);
}

/// The same with a shorter life, to show that the setting is followed.
#[test]
fn n086_the_life_of_an_overlay_can_be_set() {
    let node = Node::with(Config::new().text("naming", "metadata-expiry", "1s"));
    let (s, ip, stays) = (name("orders"), addr(), addr());
    register(&node, &s, &stays, LASTING);
    register(&node, &s, &ip, LASTING);
    node.put(format!("/nacos/v1/ns/instance?serviceName={s}&ip={ip}&port=8080&weight=5")).ok();
    deregister(&node, &s, &ip, "");
    Clock::start().until(secs(8.0));
    register(&node, &s, &ip, LASTING);
    let list = list(&node, &s, "");
    let weights: Vec<_> =
        list["hosts"].as_array().into_iter().flatten().map(|h| h["weight"].to_string()).collect();
    assert_eq!(weights, ["1.0", "1.0"]);
}
