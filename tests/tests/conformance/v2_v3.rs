//! What v2 and v3 do differently from v1.

use crate::common::{admin_list, host, hosts, keys, list, node, register, texts};
use muster_tests::{Request, addr, encode, name};
use serde_json::{Value, json};

#[test]
fn n154_n155_v2_answers_in_an_envelope() {
    let (s, ip) = (name("orders"), addr());
    let query =
        format!("serviceName={s}&ip={ip}&port=8080&weight=2&groupName=G&clusterName=C1&metadata=a%3D1");
    let reply = node().post(format!("/nacos/v2/ns/instance?{query}"));
    assert_eq!(reply.json(), json!({"code": 0, "message": "success", "data": "ok"}));
    let kind = reply.header("content-type").unwrap_or_default();
    assert!(kind.starts_with("application/json"), "{kind}");
    let host = host(node(), &format!("G@@{s}"));
    assert_eq!((&host["weight"], &host["clusterName"]), (&json!(2.0), &json!("C1")));
    // update, look, delete
    let key = format!("serviceName={s}&groupName=G&ip={ip}&port=8080&clusterName=C1");
    assert_eq!(node().put(format!("/nacos/v2/ns/instance?{key}&weight=3")).data(), "ok");
    assert_eq!(
        node().get(format!("/nacos/v2/ns/instance?{key}")).data(),
        json!({"serviceName": format!("G@@{s}"), "ip": ip, "port": 8080, "clusterName": "C1", "weight": 3.0,
            "healthy": true, "instanceId": format!("{ip}#8080#C1#G@@{s}"), "metadata": {"a": "1"}})
    );
    assert_eq!(node().delete(format!("/nacos/v2/ns/instance?{key}")).data(), "ok");
    assert_eq!(list(node(), &format!("G@@{s}"), "")["hosts"], json!([]));
    let unknown = node().put(format!("/nacos/v2/ns/instance?serviceName={}&ip={ip}&port=1", name("nobody")));
    unknown.failure(400, 21004, "instance error");
}

#[test]
fn n156_v2_list_is_a_service_info() {
    let s = name("orders");
    let (a, b) = (addr(), addr());
    register(node(), &s, &a, "&clusterName=A");
    register(node(), &s, &b, "&clusterName=B");
    let of = |more: &str| node().get(format!("/nacos/v2/ns/instance/list?serviceName={s}{more}")).data();
    let all = of("");
    assert_eq!((&all["name"], hosts(&all).len()), (&json!(format!("DEFAULT_GROUP@@{s}")), 2));
    assert_eq!(hosts(&of("&clusterName=B")), [format!("{b}:8080=true")]);
    assert_eq!(of("&clusterName=B")["clusters"], "B");
}

#[test]
fn n157_v2_beats_are_bare() {
    let (s, ip) = (name("orders"), addr());
    register(node(), &s, &ip, "");
    let query = format!("serviceName=DEFAULT_GROUP@@{s}&ip={ip}&port=8080&clusterName=DEFAULT");
    let reply = node().put(format!("/nacos/v2/ns/instance/beat?{query}"));
    assert_eq!(reply.json(), json!({"clientBeatInterval": 5000, "code": 10200, "lightBeatEnabled": true}));
    // as are patch and statuses
    let query =
        format!("serviceName=DEFAULT_GROUP@@{s}&ip={ip}&port=8080&weight=4&enabled=true&metadata=%7B%7D");
    node().patch(format!("/nacos/v2/ns/instance?{query}")).ok();
    assert_eq!(host(node(), &s)["weight"], 4.0);
    let key = encode(&format!("public##DEFAULT_GROUP@@{s}"));
    let statuses = node().get(format!("/nacos/v2/ns/instance/statuses/{key}")).json();
    assert_eq!(statuses, json!({"ips": [format!("{ip}:8080_true")]}));
}

#[test]
fn n158_v2_detail_of_an_unknown_instance() {
    let (s, ip) = (name("orders"), addr());
    let of = || node().get(format!("/nacos/v2/ns/instance?serviceName={s}&ip={ip}&port=8080"));
    let data = of().failure(404, 20004, "resource not found");
    assert_eq!(data, format!("no ips found for cluster DEFAULT in service DEFAULT_GROUP@@{s}"));
    register(node(), &s, &addr(), "");
    assert_eq!(of().failure(404, 20004, "resource not found"), "no matched ip found!");
}

#[test]
fn n159_n160_clients_are_listed_and_shown() {
    let (s, ip) = (name("orders"), addr());
    for path in ["/nacos/v2/ns/client", "/nacos/v3/admin/ns/client"] {
        let reply = node().get(format!("{path}?clientId=x"));
        assert_eq!(reply.failure(404, 20004, "resource not found"), "clientId [ x ] not exist");
    }
    register(node(), &s, &ip, "");
    let id = format!("{ip}:8080#true");
    for path in ["/nacos/v2/ns/client/list", "/nacos/v3/admin/ns/client/list"] {
        let ids = texts(&node().get(path).data());
        assert!(ids.contains(&id), "{path}: {ids:?}");
    }
    let query = encode(&id);
    let client = node().get(format!("/nacos/v2/ns/client?clientId={query}")).data();
    assert_eq!((&client["clientId"], &client["ephemeral"]), (&json!(id), &json!(true)));
    assert_eq!((&client["clientType"], &client["clientIp"]), (&json!("ipPort"), &json!(ip)));
    let published = node().get(format!("/nacos/v2/ns/client/publish/list?clientId={query}")).data();
    assert_eq!(
        published,
        json!([{"namespace": "public", "group": "DEFAULT_GROUP", "serviceName": s,
            "registeredInstance": {"ip": ip, "port": 8080, "cluster": "DEFAULT"}}])
    );
    let publishers = node().get(format!("/nacos/v2/ns/client/service/publisher/list?serviceName={s}")).data();
    assert_eq!(publishers, json!([{"ip": ip, "port": 8080, "cluster": "DEFAULT", "clientId": id}]));
    let v3 = node().get(format!("/nacos/v3/admin/ns/client/publish/list?clientId={query}")).data();
    assert_eq!(
        v3[0]["publisherInfo"],
        json!({"clientId": id, "ip": ip, "port": 8080, "clusterName": "DEFAULT"})
    );
}

#[test]
fn n161_n162_v3_client_list_is_an_array_of_one_cluster() {
    let s = name("orders");
    let (plain, other, off) = (addr(), addr(), addr());
    register(node(), &s, &plain, "");
    register(node(), &s, &other, "&clusterName=C1");
    register(node(), &s, &off, "&enabled=false");
    let of = |s: &str, more: &str| {
        node().get(format!("/nacos/v3/client/ns/instance/list?serviceName={s}{more}")).data()
    };
    let as_hosts = |hosts_: Value| hosts(&json!({"hosts": hosts_}));
    assert_eq!(as_hosts(of(&s, "")), [format!("{plain}:8080=true")]);
    assert_eq!(as_hosts(of(&s, "&clusterName=")), [format!("{plain}:8080=true")]);
    assert_eq!(as_hosts(of(&s, "&clusterName=C1")), [format!("{other}:8080=true")]);
    assert_eq!(of(&name("nobody"), ""), json!([]));
}

#[test]
fn n163_n164_v3_light_beats() {
    let (s, ip) = (name("orders"), addr());
    let query = format!("serviceName={s}&ip={ip}&port=8080");
    let beat = || node().post(format!("/nacos/v3/client/ns/instance?{query}&heartBeat=true"));
    assert_eq!(beat().json(), json!({"code": 21003, "message": "instance not found", "data": null}));
    assert_eq!(list(node(), &s, "")["hosts"], json!([]));
    assert_eq!(node().post(format!("/nacos/v3/client/ns/instance?{query}")).data(), "ok");
    assert_eq!(beat().data(), "ok");
    assert_eq!(node().delete(format!("/nacos/v3/client/ns/instance?{query}")).data(), "ok");
    assert_eq!(beat().json()["code"], 21003);
}

#[test]
fn n165_n166_v3_admin_list_knows_disabled_and_missing() {
    let s = name("orders");
    let off = addr();
    register(node(), &s, &off, "&enabled=false");
    assert_eq!(admin_list(node(), &s)[0]["enabled"], false);
    let of = |query: &str| node().get(format!("/nacos/v3/admin/ns/instance/list?{query}"));
    assert_eq!(of(&format!("serviceName={}", name("nobody"))).status, 404);
    assert_eq!(of(&format!("serviceName={s}&clusterName=C9")).status, 404);
    let instance =
        node().get(format!("/nacos/v3/admin/ns/instance?serviceName={s}&ip={off}&port=8080")).data();
    assert_eq!((&instance["ip"], &instance["enabled"]), (&json!(off), &json!(false)));
}

/// Nacos overwrites what is absent with 1.0 and true; Muster leaves it.
#[test]
fn v3_partial_update_leaves_what_is_absent() {
    let (s, ip) = (name("orders"), addr());
    register(node(), &s, &ip, "");
    let partial = |more: &str| {
        let query = format!("serviceName={s}&ip={ip}&port=8080{more}");
        assert_eq!(node().put(format!("/nacos/v3/admin/ns/instance/partial?{query}")).data(), "ok");
    };
    partial("&weight=6");
    partial("&metadata=a%3D1");
    partial("&enabled=false");
    let now = admin_list(node(), &s)[0].clone();
    assert_eq!(
        (&now["weight"], &now["enabled"], &now["metadata"]),
        (&json!(6.0), &json!(false), &json!({"a": "1"}))
    );
}

#[test]
fn n167_v3_pages() {
    let ns = name("ns");
    for s in ["a", "b", "c"] {
        register(node(), s, &addr(), &format!("&namespaceId={ns}"));
    }
    let query = format!("namespaceId={ns}&pageNo=2&pageSize=2");
    let page = node().get(format!("/nacos/v3/admin/ns/service/list?{query}")).data();
    assert_eq!(keys(&page), ["pageItems", "pageNumber", "pagesAvailable", "totalCount"]);
    assert_eq!(
        (&page["totalCount"], &page["pageNumber"], &page["pagesAvailable"]),
        (&json!(3), &json!(2), &json!(2))
    );
    assert_eq!(page["pageItems"].as_array().map(Vec::len), Some(1));
}

#[test]
fn n168_n169_core_state_and_responsible_server() {
    assert_eq!(node().get("/nacos/v3/admin/core/state/liveness").data(), "ok");
    assert_eq!(node().get("/nacos/v3/admin/core/state/readiness").data(), "ok");
    let here = format!("127.0.0.1:{}", node().port());
    let v3 = node().get("/nacos/v3/admin/ns/client/distro?ip=10.0.0.5&port=8080").data();
    assert_eq!(v3["responsibleServer"], here);
    let v1 = node().get("/nacos/v1/ns/operator/distro/client?ip=10.0.0.5&port=8080").json();
    assert_eq!(v1["responsibleServer"], here);
}

#[test]
fn n170_v3_names_the_missing_parameter() {
    for (method, path) in [
        ("POST", "/nacos/v3/client/ns/instance?ip=10.0.0.5&port=1"),
        ("GET", "/nacos/v3/client/ns/instance/list"),
        ("POST", "/nacos/v3/admin/ns/service"),
    ] {
        let data = node().send(&Request::new(method, path)).failure(400, 10000, "parameter missing");
        assert_eq!(data, "Required parameter 'serviceName' type String is not present", "{path}");
    }
}

#[test]
fn n171_a_bad_switch_value_is_a_server_error_on_v2_and_v3() {
    for path in
        ["/nacos/v2/ns/operator/switches", "/nacos/v2/ns/ops/switches", "/nacos/v3/admin/ns/ops/switches"]
    {
        let reply = node().put(format!("{path}?entry=pushCacheMillis&value=9999"));
        reply.failure(500, 30000, "server error");
        assert_eq!(node().get(path).data()["defaultPushCacheMillis"], 10000);
    }
}

#[test]
fn unknown_paths_and_parts_that_a_naming_node_lacks_are_answered() {
    for path in ["/nacos/v1/ns/nothing", "/nacos/v9/ns/instance", "/elsewhere"] {
        let reply = node().get(path);
        assert!((400..=501).contains(&reply.status), "{path}: {reply:?}");
    }
    // login with authentication off: a client with a user name always asks
    let login = Request::new("POST", "/nacos/v1/auth/users/login?username=nacos").form("password=nacos");
    let token = node().send(&login).json();
    assert!(token["accessToken"].as_str().is_some_and(|t| !t.is_empty()), "{token}");
    assert!(token["tokenTtl"].as_u64().is_some_and(|t| t > 0), "{token}");
}
