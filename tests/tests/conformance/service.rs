//! Services, clusters and the health that operators set.

use crate::common::{
    LASTING, SOON, deregister, host, keys, list, listed, node, register, secs, texts, wait_listed,
};
use muster_tests::target::{TcpTarget, closed_port};
use muster_tests::wait::{hold, pause};
use muster_tests::{Clock, Config, Node, Reply, Request, addr, encode, eventually, name, never};
use serde_json::{Value, json};
use std::time::Duration;

fn service_v1(method: &str, query: &str) -> Reply {
    node().send(&Request::new(method, format!("/nacos/v1/ns/service?{query}")))
}

fn service_v2(method: &str, query: &str) -> Reply {
    node().send(&Request::new(method, format!("/nacos/v2/ns/service?{query}")))
}

#[test]
fn n127_n128_a_service_is_created_once() {
    let s = name("db");
    service_v1("POST", &format!("serviceName={s}&groupName=G")).ok();
    let text = format!("specified service G@@{s} already exists!");
    service_v1("POST", &format!("serviceName={s}&groupName=G")).is(400, &text);
    let again = service_v2("POST", &format!("serviceName={s}&groupName=G"));
    let data = again.failure(400, 21007, "service already exist");
    assert!(data.as_str().is_some_and(|d| d.contains(&text)), "{data}");
}

#[test]
fn n129_v1_creates_persistent_services_and_v2_what_is_asked() {
    let (v1, v2, v3, fleeting) = (name("db"), name("db"), name("db"), name("orders"));
    service_v1("POST", &format!("serviceName={v1}")).ok();
    assert_eq!(service_v2("POST", &format!("serviceName={v2}")).data(), "ok");
    assert_eq!(node().post(format!("/nacos/v3/admin/ns/service?serviceName={v3}")).data(), "ok");
    assert_eq!(service_v2("POST", &format!("serviceName={fleeting}&ephemeral=true")).data(), "ok");
    let at = |s: &str| node().post(format!("/nacos/v1/ns/instance?serviceName={s}&ip={}&port=1", addr()));
    for persistent in [&v1, &v2, &v3] {
        at(persistent).has(400, "is persistent service, can't register ephemeral instance.");
        assert_eq!(service_v2("GET", &format!("serviceName={persistent}")).data()["ephemeral"], false);
    }
    at(&fleeting).ok();
    assert_eq!(service_v2("GET", &format!("serviceName={fleeting}")).data()["ephemeral"], true);
}

#[test]
fn n130_n131_n132_deleting_and_updating_services() {
    let (s, nobody) = (name("orders"), name("nobody"));
    register(node(), &s, &addr(), "");
    let full =
        format!("Service DEFAULT_GROUP@@{s} is not empty, can't be delete. Please unregister instance first");
    service_v1("DELETE", &format!("serviceName={s}")).is(400, &full);
    let data =
        service_v2("DELETE", &format!("serviceName={s}")).failure(400, 21009, "service delete failure");
    assert_eq!(data, full);
    let missing = format!("service DEFAULT_GROUP@@{nobody} not found!");
    service_v1("DELETE", &format!("serviceName={nobody}")).is(400, &missing);
    service_v1("PUT", &format!("serviceName={nobody}&protectThreshold=0.1")).is(400, &missing);
    for method in ["DELETE", "PUT", "GET"] {
        let reply = service_v2(method, &format!("serviceName={nobody}&protectThreshold=0.1"));
        let data = reply.failure(400, 21008, "service not exist");
        assert!(method == "GET" || data == missing, "{method}: {data}");
    }
    let empty = name("db");
    service_v1("POST", &format!("serviceName={empty}")).ok();
    service_v1("DELETE", &format!("serviceName={empty}")).ok();
    service_v1("GET", &format!("serviceName={empty}")).has(400, "service not found");
}

#[test]
fn n133_put_replaces_threshold_metadata_and_selector_but_not_clusters() {
    let s = name("db");
    let metadata = encode(r#"{"a":"1","b":"2"}"#);
    service_v1("POST", &format!("serviceName={s}&protectThreshold=0.3&metadata={metadata}")).ok();
    register(node(), &s, &addr(), "&ephemeral=false");
    let checker = encode(r#"{"type":"HTTP","path":"/health","headers":"","expectedResponseCode":200}"#);
    let cluster = format!("serviceName={s}&clusterName=DEFAULT&checkPort=80&useInstancePort4Check=true");
    node().put(format!("/nacos/v1/ns/cluster?{cluster}&healthChecker={checker}")).ok();
    // the update of a cluster leaves the rest (also stated as N351, for all members)
    let before = service_v1("GET", &format!("serviceName={s}")).json();
    assert_eq!(
        (&before["protectThreshold"], &before["metadata"]),
        (&json!(0.3), &json!({"a": "1", "b": "2"}))
    );
    let metadata = encode(r#"{"c":"3"}"#);
    let selector = encode(r#"{"type":"label","expression":"CONSUMER.label.a = PROVIDER.label.a"}"#);
    service_v1(
        "PUT",
        &format!("serviceName={s}&protectThreshold=0.6&metadata={metadata}&selector={selector}"),
    )
    .ok();
    let after = service_v1("GET", &format!("serviceName={s}")).json();
    assert_eq!((&after["protectThreshold"], &after["metadata"]), (&json!(0.6), &json!({"c": "3"})));
    assert_eq!(after["selector"]["type"], "label");
    assert_eq!(after["clusters"][0]["healthChecker"]["path"], "/health", "{after}");
}

#[test]
fn n134_n135_n136_service_detail() {
    let (s, nobody) = (name("orders"), name("nobody"));
    register(node(), &s, &addr(), "&groupName=G&clusterName=C1");
    let detail = service_v1("GET", &format!("serviceName={s}&groupName=G")).json();
    assert_eq!(
        keys(&detail),
        ["clusters", "groupName", "metadata", "name", "namespaceId", "protectThreshold", "selector"]
    );
    assert_eq!(
        (&detail["namespaceId"], &detail["groupName"], &detail["name"]),
        (&json!("public"), &json!("G"), &json!(s))
    );
    assert_eq!((&detail["metadata"], detail["protectThreshold"].as_f64()), (&json!({}), Some(0.0)));
    assert_eq!(detail["selector"]["type"], "none");
    assert_eq!(detail["clusters"], json!([{"name": "C1", "healthChecker": {"type": "TCP"}, "metadata": {}}]));
    let text = format!("service not found, namespace: public, serviceName: DEFAULT_GROUP@@{nobody}");
    service_v1("GET", &format!("serviceName={nobody}")).is(400, &text);
    // N136: settings of a cluster without instances are kept, but not listed
    let checker = encode(r#"{"type":"NONE"}"#);
    let cluster = format!("serviceName=G@@{s}&clusterName=C2&checkPort=80&useInstancePort4Check=true");
    node().put(format!("/nacos/v1/ns/cluster?{cluster}&healthChecker={checker}")).ok();
    let names = |detail: Value| {
        let clusters = detail["clusters"].as_array().cloned().unwrap_or_default();
        clusters.iter().map(|c| c["name"].as_str().unwrap_or("?").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(service_v1("GET", &format!("serviceName=G@@{s}")).json()), ["C1"]);
    let v2 = service_v2("GET", &format!("serviceName={s}&groupName=G")).data();
    assert_eq!((&v2["namespace"], &v2["namespaceId"]), (&json!("public"), &json!("public")));
    assert_eq!(
        (&v2["serviceName"], &v2["groupName"], &v2["ephemeral"]),
        (&json!(s), &json!("G"), &json!(true))
    );
    assert_eq!(keys(&v2["clusterMap"]), ["C1"]);
    assert_eq!(v2["clusterMap"]["C1"]["healthChecker"], json!({"type": "TCP"}));
}

#[test]
fn n137_n138_service_list_v1() {
    let ns = name("ns");
    for s in ["orders", "stock", "users"] {
        register(node(), s, &addr(), &format!("&namespaceId={ns}&groupName=G"));
    }
    register(node(), "other", &addr(), &format!("&namespaceId={ns}"));
    let page = |query: &str| node().get(format!("/nacos/v1/ns/service/list?namespaceId={ns}&{query}")).json();
    let all = page("pageNo=1&pageSize=10&groupName=G");
    assert_eq!(
        (keys(&all), texts(&all["doms"])),
        (vec!["count", "doms"], vec!["orders".into(), "stock".into(), "users".into()])
    );
    assert_eq!(all["count"], 3);
    assert_eq!(page("pageNo=1&pageSize=10")["doms"], json!(["other"]));
    let (first, second) = (page("pageNo=1&pageSize=2&groupName=G"), page("pageNo=2&pageSize=2&groupName=G"));
    let mut both = [texts(&first["doms"]), texts(&second["doms"])].concat();
    both.sort();
    assert_eq!(both, ["orders", "stock", "users"]);
    assert_eq!(page("pageNo=9&pageSize=10&groupName=G"), json!({"count": 3, "doms": []}));
}

#[test]
fn n139_n140_page_sizes() {
    let ns = name("ns");
    let ip = addr();
    for i in 0..501 {
        register(node(), &format!("s{i}"), &ip, &format!("&namespaceId={ns}{LASTING}"));
    }
    let v2 = |query: &str| node().get(format!("/nacos/v2/ns/service/list?namespaceId={ns}{query}")).data();
    let large = v2("&pageNo=1&pageSize=1000");
    assert_eq!((large["services"].as_array().map(Vec::len), &large["count"]), (Some(500), &json!(501)));
    assert_eq!(v2("")["services"].as_array().map(Vec::len), Some(20));
    let v3 = |query: &str| node().get(format!("/nacos/v3/admin/ns/service/list?namespaceId={ns}{query}"));
    let page = v3("").data();
    assert_eq!(page["pageItems"].as_array().map(Vec::len), Some(100));
    assert_eq!(
        (&page["totalCount"], &page["pageNumber"], &page["pagesAvailable"]),
        (&json!(501), &json!(1), &json!(6))
    );
    let data = v3("&pageNo=0").failure(400, 20002, "parameter validate error");
    assert_eq!(data, "Required parameter 'pageNo' should be positive integer, current is 0");
}

#[test]
fn n141_n142_n143_the_admin_list_filters_and_details() {
    let ns = name("ns");
    register(node(), "orders-api", &addr(), &format!("&namespaceId={ns}&groupName=G1"));
    register(node(), "stock-api", &addr(), &format!("&namespaceId={ns}&groupName=G2"));
    node().post(format!("/nacos/v1/ns/service?serviceName=empty&namespaceId={ns}")).ok();
    let page = |query: &str| {
        let page = node().get(format!("/nacos/v3/admin/ns/service/list?namespaceId={ns}{query}")).data();
        page["pageItems"].as_array().cloned().unwrap_or_default()
    };
    let names = |items: Vec<Value>| {
        let name = |v: &Value| v.get("name").or(v.get("serviceName")).cloned().unwrap_or_default();
        texts(&items.iter().map(name).collect())
    };
    assert_eq!(names(page("")), ["empty", "orders-api", "stock-api"]);
    assert_eq!(names(page("&ignoreEmptyService=true")), ["orders-api", "stock-api"]);
    // N143: anywhere in the name, as a regular expression
    assert_eq!(names(page("&serviceNameParam=ders")), ["orders-api"]);
    assert_eq!(names(page("&serviceNameParam=(orders%7Cstock)-a.i")), ["orders-api", "stock-api"]);
    assert_eq!(names(page("&groupNameParam=G2")), ["stock-api"]);
    let detail = page("&withInstances=true&serviceNameParam=orders-api");
    let hosts = &detail[0]["clusterMap"]["DEFAULT"]["hosts"];
    assert_eq!(hosts[0]["port"], 8080, "{detail:?}");
    let v1 =
        format!("/nacos/v1/ns/catalog/services?namespaceId={ns}&pageNo=1&pageSize=10&serviceNameParam=ders");
    assert_eq!(node().get(v1).json()["serviceList"][0]["name"], "orders-api");
}

#[test]
fn n144_the_trigger_flag_is_that_of_the_threshold() {
    let ns = name("ns");
    let create = |s: &str, threshold: &str, health: &[bool]| {
        let query = format!("namespaceId={ns}&serviceName={s}&ephemeral=true&protectThreshold={threshold}");
        service_v2("POST", &query).data();
        for healthy in health {
            register(node(), s, &addr(), &format!("&namespaceId={ns}&healthy={healthy}"));
        }
    };
    create("above", "0.5", &[true, true, false]);
    create("below", "0.5", &[true, false]);
    create("none", "0.5", &[]);
    let list =
        node().get(format!("/nacos/v1/ns/catalog/services?namespaceId={ns}&pageNo=1&pageSize=10")).json();
    assert_eq!(list["count"], 3);
    let of = |s: &str| {
        let all = list["serviceList"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|v| v["name"] == s).unwrap_or_default()
    };
    let expected = |s: &str, clusters: u32, ips: u32, healthy: u32, flag: &str| {
        let view = of(s);
        let wanted = json!({"name": s, "groupName": "DEFAULT_GROUP", "clusterCount": clusters, "ipCount": ips,
            "healthyInstanceCount": healthy, "triggerFlag": flag});
        assert_eq!(view, wanted);
    };
    expected("above", 1, 3, 2, "false");
    expected("below", 1, 2, 1, "true");
    expected("none", 0, 0, 0, "false");
}

#[test]
fn n145_names_by_namespace() {
    let ns = name("ns");
    register(node(), "orders", &addr(), &format!("&namespaceId={ns}&groupName=G1"));
    register(node(), "stock", &addr(), &format!("&namespaceId={ns}"));
    let names =
        |query: &str| node().get(format!("/nacos/v1/ns/service/names?namespaceId={ns}{query}")).json();
    let all = names("");
    for key in ["services", "META-INF/services"] {
        assert_eq!(texts(&all[key][&ns]), ["DEFAULT_GROUP@@stock", "G1@@orders"], "{all}");
    }
    assert_eq!(all["count"], 2);
    assert_eq!(texts(&names("&expr=rder")["services"][&ns]), ["G1@@orders"]);
}

fn exists(node: &Node, service: &str) -> bool {
    node.get(format!("/nacos/v1/ns/service?serviceName={service}")).status == 200
}

/// Nacos's own times: looked at every 60 s, removed when empty for 60 s.
#[test]
fn n147_an_empty_service_is_removed_after_60_seconds() {
    let (never_used, left) = (name("db"), name("orders"));
    service_v1("POST", &format!("serviceName={never_used}")).ok();
    register(node(), &left, &addr(), LASTING);
    let kept = name("orders");
    register(node(), &kept, &addr(), LASTING);
    let ip = host(node(), &left)["ip"].as_str().unwrap_or_default().to_owned();
    deregister(node(), &left, &ip, "");
    let clock = Clock::start();
    for service in [&never_used, &left] {
        let gone = eventually(secs(130.0), || {
            pause(Duration::from_millis(200));
            hold(!exists(node(), service), || format!("{service} is there")).map(|()| clock.elapsed())
        });
        assert!(gone > secs(59.0) && gone < secs(128.0), "{service}: {gone:?}");
    }
    assert!(exists(node(), &kept));
}

/// With shorter times; the metadata of a removed service waits for its return.
#[test]
fn n147_n148_the_metadata_of_a_removed_service_goes_later() {
    let quick = Config::new()
        .text("naming", "empty-service-interval", "500ms")
        .text("naming", "empty-service-expiry", "500ms")
        .text("naming", "metadata-expiry", "6s");
    let node = Node::with(quick);
    let threshold = |s: &str| {
        node.get(format!("/nacos/v1/ns/service?serviceName={s}")).json()["protectThreshold"].as_f64()
    };
    for s in ["soon", "late"] {
        node.post(format!("/nacos/v1/ns/service?serviceName={s}&protectThreshold=0.75")).ok();
        assert_eq!(threshold(s), Some(0.75));
    }
    for s in ["soon", "late"] {
        eventually(secs(5.0), || hold(!exists(&node, s), || format!("{s} is there")));
    }
    let clock = Clock::start();
    // back in time: what operators had set is in force again
    register(&node, "soon", &addr(), LASTING);
    assert_eq!(threshold("soon"), Some(0.75));
    clock.until(secs(14.0));
    register(&node, "late", &addr(), LASTING);
    assert_eq!(threshold("late"), Some(0.0));
    assert_eq!(threshold("soon"), Some(0.75));
}

fn put_cluster(service: &str, cluster: &str, port: u16, own_port: bool, checker: &str) -> Reply {
    let query = format!("serviceName={service}&clusterName={cluster}&checkPort={port}");
    let checker = encode(checker);
    node()
        .put(format!("/nacos/v1/ns/cluster?{query}&useInstancePort4Check={own_port}&healthChecker={checker}"))
}

#[test]
fn n149_a_cluster_of_an_unknown_service_is_refused() {
    let s = name("nobody");
    let text = format!("service not found groupName: G,serviceName: {s}");
    put_cluster(&format!("G@@{s}"), "DEFAULT", 80, true, r#"{"type":"TCP"}"#).is(400, &text);
    let query = format!("serviceName={s}&groupName=G&clusterName=C&checkPort=80&useInstancePort4Check=true");
    let checker = encode(r#"{"type":"TCP"}"#);
    let v3 = node().put(format!("/nacos/v3/admin/ns/cluster?{query}&healthChecker={checker}"));
    assert_eq!(v3.failure(400, 30000, "server error"), text);
}

#[test]
fn n150_checks_use_the_check_port_when_told() {
    let s = name("db");
    let open = TcpTarget::open();
    node().post(format!("/nacos/v1/ns/service?serviceName={s}")).ok();
    put_cluster(&s, "DEFAULT", open.port, false, r#"{"type":"TCP"}"#).ok();
    let at = format!("serviceName={s}&ip=127.0.0.1&port={}&ephemeral=false&healthy=false", closed_port());
    node().post(format!("/nacos/v1/ns/instance?{at}")).ok();
    eventually(secs(25.0), || {
        let list = node().get(format!(
            "/nacos/v1/ns/catalog/instances?serviceName={s}&clusterName=DEFAULT&pageNo=1&pageSize=9"
        ));
        hold(list.json()["list"][0]["healthy"] == true, || {
            format!("{} after {} checks", list.body, open.accepted())
        })
    });
    assert!(open.accepted() >= 3, "{}", open.accepted());
}

fn set_health(service: &str, ip: &str, flag: &str) -> Reply {
    let query = format!("serviceName={service}&ip={ip}&port=8080&{flag}");
    node().put(format!("/nacos/v1/ns/health/instance?{query}"))
}

#[test]
fn n151_n152_n153_operators_set_health_only_where_nothing_checks() {
    let (s, ip) = (name("db"), addr());
    register(node(), &s, &ip, "&ephemeral=false&healthy=true");
    let text = format!("health check is still working, service: DEFAULT_GROUP@@{s}, cluster: DEFAULT");
    set_health(&s, &ip, "healthy=false").is(400, &text);
    put_cluster(&s, "DEFAULT", 80, true, r#"{"type":"TCP"}"#).ok();
    set_health(&s, &ip, "healthy=false").is(400, &text);
    let v2 =
        node().put(format!("/nacos/v2/ns/health/instance?serviceName={s}&ip={ip}&port=8080&healthy=false"));
    assert_eq!(v2.failure(400, 30000, "server error"), text);
    put_cluster(&s, "DEFAULT", 80, true, r#"{"type":"NONE"}"#).ok();
    // a second, healthy one keeps the threshold of the stored metadata (0) from protecting
    let other = addr();
    register(node(), &s, &other, "&ephemeral=false&healthy=true");
    set_health(&s, &other, "healthy=true").ok();
    set_health(&s, &ip, "healthy=false").ok();
    let both = |healthy: bool| [format!("{ip}:8080={healthy}"), format!("{other}:8080=true")];
    assert_eq!(listed(node(), &s), both(false));
    set_health(&s, &ip, "valid=true").ok();
    assert_eq!(listed(node(), &s), both(true));
    set_health(&s, &ip, "x=1").is(400, "Param 'healthy' is required.");
    // unknown, with NONE stored: nothing to do
    set_health(&s, &addr(), "healthy=true").ok();
    let query = format!("serviceName={s}&ip={ip}&port=8080&healthy=false");
    assert_eq!(node().put(format!("/nacos/v3/admin/ns/health/instance?{query}")).data(), "ok");
    assert_eq!(listed(node(), &s), both(false));
    // nothing checks, so nothing changes it back
    never(secs(9.0), || {
        let now = listed(node(), &s);
        hold(now == both(false), || format!("{now:?}"))
    });
}

#[test]
fn catalog_instances_are_paged_and_missing_ones_named() {
    let s = name("orders");
    register(node(), &s, &addr(), "&clusterName=C1");
    register(node(), &s, &addr(), "&clusterName=C1&enabled=false");
    let of =
        |s: &str, more: &str| node().get(format!("/nacos/v1/ns/catalog/instances?serviceName={s}{more}"));
    let page = of(&s, "&clusterName=C1&pageNo=1&pageSize=1").json();
    assert_eq!((page["list"].as_array().map(Vec::len), &page["count"]), (Some(1), &json!(2)));
    of(&s, "&clusterName=C9&pageNo=1&pageSize=1").is(404, "cluster C9 is not found!");
    let nobody = name("nobody");
    let text = format!("service DEFAULT_GROUP@@{nobody} is not found!");
    of(&nobody, "&clusterName=C1&pageNo=1&pageSize=1").is(404, &text);
    assert_eq!(list(node(), &s, "")["hosts"].as_array().map(Vec::len), Some(1));
    wait_listed(node(), &nobody, SOON, &[]);
}
