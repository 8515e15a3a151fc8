//! Identity, defaults and the JSON of answers.

use crate::common::{beat, host, list, listed, node, register};
use muster_tests::wait::now_ms;
use muster_tests::{addr, encode, name};
use serde_json::json;

#[test]
fn n001_a_blank_or_missing_namespace_is_public() {
    let (s, ip, other) = (name("orders"), addr(), addr());
    register(node(), &s, &ip, "&namespaceId=");
    register(node(), &s, &other, "");
    let public = list(node(), &s, "&namespaceId=public");
    assert_eq!(public["hosts"].as_array().map(Vec::len), Some(2), "{public}");
    let but_time = |extra: &str| {
        let mut list = list(node(), &s, extra);
        list.as_object_mut().map(|l| l.remove("lastRefTime"));
        list
    };
    assert_eq!(but_time(""), but_time("&namespaceId=public"));
    assert_eq!(but_time("&namespaceId="), but_time("&namespaceId=public"));
}

#[test]
fn n002_a_blank_or_missing_group_is_default_group() {
    let s = name("orders");
    register(node(), &s, &addr(), "&groupName=");
    assert_eq!(host(node(), &format!("DEFAULT_GROUP@@{s}"))["serviceName"], format!("DEFAULT_GROUP@@{s}"));
}

#[test]
fn n003_a_blank_cluster_is_default() {
    let s = name("orders");
    register(node(), &s, &addr(), "&clusterName=");
    assert_eq!(host(node(), &s)["clusterName"], "DEFAULT");
}

#[test]
fn n004_n005_n006_a_group_in_the_name_equals_and_beats_the_group_parameter() {
    let (s, ip, ip2) = (name("orders"), addr(), addr());
    register(node(), &s, &ip, "&groupName=G1");
    assert_eq!(listed(node(), &format!("G1@@{s}")), [format!("{ip}:8080=true")]);
    // N005: the group in the name wins
    let both = list(node(), &format!("G1@@{s}"), "&groupName=G2");
    assert_eq!((&both["name"], &both["groupName"]), (&json!(format!("G1@@{s}")), &json!("G1")));
    assert_eq!(both["hosts"][0]["ip"], ip);
    // N006: the same bare name in another group is another service
    register(node(), &format!("G2@@{s}"), &ip2, "");
    assert_eq!(listed(node(), &format!("G1@@{s}")), [format!("{ip}:8080=true")]);
    assert_eq!(listed(node(), &format!("G2@@{s}")), [format!("{ip2}:8080=true")]);
}

#[test]
fn n007_n008_namespaces_are_apart_and_default_is_not_public() {
    let (s, ip, ns) = (name("orders"), addr(), name("ns"));
    register(node(), &s, &ip, &format!("&namespaceId={ns}"));
    assert!(listed(node(), &s).is_empty());
    assert_eq!(list(node(), &s, &format!("&namespaceId={ns}"))["hosts"][0]["ip"], ip);
    let other = addr();
    register(node(), &s, &other, "&namespaceId=default");
    assert!(listed(node(), &s).is_empty());
    assert_eq!(list(node(), &s, "&namespaceId=default")["hosts"][0]["ip"], other);
}

#[test]
fn n009_a_generated_instance_id_is_ip_port_cluster_and_service() {
    let (s, ip) = (name("orders"), addr());
    register(node(), &s, &ip, "&groupName=G&clusterName=C1");
    assert_eq!(host(node(), &format!("G@@{s}"))["instanceId"], format!("{ip}#8080#C1#G@@{s}"));
}

#[test]
fn n010_the_snowflake_generator_starts_with_digits() {
    let s = name("orders");
    let metadata = encode(r#"{"preserved.instance.id.generator":"snowflake"}"#);
    register(node(), &s, &addr(), &format!("&metadata={metadata}"));
    let id = host(node(), &s)["instanceId"].as_str().unwrap_or_default().to_owned();
    let digits = id.strip_suffix(&format!("#DEFAULT#DEFAULT_GROUP@@{s}"));
    assert!(digits.is_some_and(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit())), "{id}");
}

#[test]
fn n012_n013_n014_n015_a_host_has_all_its_fields() {
    let (s, ip) = (name("orders"), addr());
    register(node(), &s, &ip, "&weight=2.5");
    assert_eq!(
        host(node(), &s),
        json!({
            "instanceId": format!("{ip}#8080#DEFAULT#DEFAULT_GROUP@@{s}"), "ip": ip, "port": 8080,
            "weight": 2.5, "healthy": true, "enabled": true, "ephemeral": true, "clusterName": "DEFAULT",
            "serviceName": format!("DEFAULT_GROUP@@{s}"), "metadata": {},
            "instanceHeartBeatInterval": 5000, "instanceHeartBeatTimeOut": 15000,
            "ipDeleteTimeout": 30000, "instanceIdGenerator": "simple",
            // what clients of 1.x read
            "valid": true, "marked": false,
        })
    );
    let plain = name("orders");
    register(node(), &plain, &addr(), "");
    let plain = host(node(), &plain);
    // a double, as Java writes it
    assert_eq!(plain["weight"].to_string(), "1.0");
    assert_eq!(plain["metadata"], json!({}));
}

#[test]
fn n016_the_ephemeral_flag_of_hosts_is_that_of_the_service() {
    let (fleeting, lasting) = (name("orders"), name("db"));
    register(node(), &fleeting, &addr(), "");
    register(node(), &lasting, &addr(), "&ephemeral=false");
    assert_eq!(host(node(), &fleeting)["ephemeral"], true);
    assert_eq!(host(node(), &lasting)["ephemeral"], false);
}

#[test]
fn n017_n018_n019_n020_n023_service_info_has_all_its_fields() {
    let s = name("orders");
    register(node(), &s, &addr(), "");
    let mut info = list(node(), &s, "");
    assert!(info["hosts"].is_array() && info["lastRefTime"].is_u64(), "{info}");
    for field in ["hosts", "lastRefTime"] {
        info.as_object_mut().expect("an object").remove(field);
    }
    let grouped = format!("DEFAULT_GROUP@@{s}");
    assert_eq!(
        info,
        json!({
            "name": grouped, "groupName": "DEFAULT_GROUP", "clusters": "", "cacheMillis": 10000,
            "checksum": "", "allIPs": false, "allIps": false, "reachProtectionThreshold": false,
            "valid": true, "dom": grouped,
        })
    );
    assert_eq!(list(node(), &s, "&clusters=C1,C2")["clusters"], "C1,C2");
    let v2 = node().get(format!("/nacos/v2/ns/instance/list?serviceName={s}")).data();
    assert_eq!((&v2["name"], &v2["groupName"]), (&json!(grouped), &json!("DEFAULT_GROUP")));
}

#[test]
fn n021_last_ref_time_is_wall_clock_and_does_not_go_back() {
    let s = name("orders");
    let mut last = 0;
    for _ in 0..20 {
        let time = list(node(), &s, "")["lastRefTime"].as_u64().unwrap_or(0);
        assert!(time >= last, "{time} after {last}");
        assert!(time.abs_diff(now_ms()) < 5000, "{time} is not now");
        last = time;
    }
}

#[test]
fn n025_n026_unknown_and_computed_fields_are_ignored() {
    let (s, ip) = (name("orders"), addr());
    let sent = json!({
        "cluster": "C1", "ip": ip, "port": 8080, "weight": 3, "metadata": {"a": "b"}, "serviceName": s,
        "instanceHeartBeatInterval": 1, "instanceHeartBeatTimeOut": 2, "ipDeleteTimeout": 3,
        "instanceIdGenerator": "none", "load": 0.5, "cpu": 1, "nobodyKnows": {"deep": [1, null]},
    });
    let target = format!("/nacos/v1/ns/instance/beat?serviceName={s}&beat={}", encode(&sent.to_string()));
    assert_eq!(node().put(target).json()["code"], 10200);
    let host = host(node(), &s);
    assert_eq!(host["metadata"], json!({"a": "b"}));
    assert_eq!(host["instanceHeartBeatInterval"], 5000);
    assert_eq!(host["instanceHeartBeatTimeOut"], 15000);
    assert_eq!(host["ipDeleteTimeout"], 30000);
    assert_eq!(host["instanceId"], format!("{ip}#8080#C1#DEFAULT_GROUP@@{s}"));
    // as parameters, too
    let extra = "&instanceHeartBeatInterval=1&ipDeleteTimeout=1&nobodyKnows=1";
    register(node(), &s, &ip, extra);
    assert_eq!(beat(node(), &s, &ip)["clientBeatInterval"], 5000);
}

#[test]
fn n027_n028_cluster_settings_default_to_tcp_on_the_instance_port() {
    let s = name("db");
    register(node(), &s, &addr(), "&ephemeral=false");
    let catalog = || node().get(format!("/nacos/v1/ns/catalog/service?serviceName={s}")).json();
    let cluster = catalog()["clusters"][0].clone();
    assert_eq!(cluster["name"], "DEFAULT");
    assert_eq!(cluster["healthChecker"], json!({"type": "TCP"}));
    assert_eq!((&cluster["defaultPort"], &cluster["defaultCheckPort"]), (&json!(80), &json!(80)));
    assert_eq!(cluster["metadata"], json!({}));
    assert_eq!((&cluster["useIPPort4Check"], &cluster["useIpPort4Check"]), (&json!(true), &json!(true)));
    let checker = encode(r#"{"type":"NONE"}"#);
    let change = format!("serviceName={s}&clusterName=DEFAULT&checkPort=9000&useInstancePort4Check=false");
    node().put(format!("/nacos/v1/ns/cluster?{change}&healthChecker={checker}")).ok();
    let cluster = catalog()["clusters"][0].clone();
    assert_eq!((&cluster["useIPPort4Check"], &cluster["useIpPort4Check"]), (&json!(false), &json!(false)));
    assert_eq!(
        (&cluster["defaultCheckPort"], &cluster["healthChecker"]),
        (&json!(9000), &json!({"type": "NONE"}))
    );
}

/// Nacos stores an unknown type as NONE, so that a typing error silently ends health checking.
/// Muster refuses it and says what it knows.
#[test]
fn n029_an_unknown_checker_type_is_refused_with_the_known_ones() {
    let s = name("db");
    register(node(), &s, &addr(), "&ephemeral=false");
    let change = format!("serviceName={s}&clusterName=DEFAULT&checkPort=80&useInstancePort4Check=true");
    let checker = encode(r#"{"type":"NO-SUCH-CHECK"}"#);
    let reply = node().put(format!("/nacos/v1/ns/cluster?{change}&healthChecker={checker}"));
    for known in ["NO-SUCH-CHECK", "TCP", "HTTP", "MYSQL", "NONE"] {
        reply.has(400, known);
    }
    let catalog = node().get(format!("/nacos/v1/ns/catalog/service?serviceName={s}")).json();
    assert_eq!(catalog["clusters"][0]["healthChecker"], json!({"type": "TCP"}));
}
