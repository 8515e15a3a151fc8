//! K: naming over gRPC, and what earlier areas say of gRPC.

use crate::common::{
    LASTING, client, grpc_list, grpc_register, grpc_subscribe, host, instance_body, list, listed, node,
    register, secs, service_body, texts, wait_listed,
};
use muster_tests::grpc::SETUP;
use muster_tests::wait::hold;
use muster_tests::{Clock, Grpc, addr, eventually, name};
use serde_json::json;

/// A batch of `ip:port`s, each in its own instance; `extra` continues each.
fn batch(service: &str, hosts: &[(&str, u16)], extra: &str) -> String {
    let one = |(ip, port): &(&str, u16)| {
        format!(
            r#"{{"ip":"{ip}","port":{port},"weight":1.0,"healthy":true,"enabled":true,"ephemeral":true,"clusterName":"DEFAULT","serviceName":"DEFAULT_GROUP@@{service}","metadata":{{}}{extra}}}"#
        )
    };
    let instances: Vec<_> = hosts.iter().map(one).collect();
    let list = instances.join(",");
    service_body(service, &format!(r#","type":"batchRegisterInstance","instances":[{list}]"#))
}

fn shown(ip: &str, ports: &[u16]) -> Vec<String> {
    ports.iter().map(|port| format!("{ip}:{port}=true")).collect()
}

#[test]
fn n235_n236_n237_registering_and_removing_echo_their_type() {
    let (client, s, ip) = (client(), name("orders"), addr());
    let ask = |kind: &str| client.ask("InstanceRequest", &instance_body(kind, &s, &ip, ""));
    let answer = ask("registerInstance");
    assert_eq!(answer.kind, "InstanceResponse");
    assert_eq!(answer.text, r#"{"resultCode":200,"errorCode":0,"type":"registerInstance","success":true}"#);
    assert_eq!(listed(node(), &s), shown(&ip, &[8080]));
    assert_eq!(ask("deregisterInstance").ok("InstanceResponse")["type"], "deregisterInstance");
    assert!(listed(node(), &s).is_empty());
    let answer = ask("nonsense");
    assert_eq!(answer.fails("ErrorResponse", 400, 400), "Unsupported request type nonsense");
}

#[test]
fn n238_n239_removing_takes_out_what_the_connection_published_whatever_the_address() {
    let (client, other, s, ip) = (client(), client(), name("orders"), addr());
    grpc_register(&client, &s, &ip);
    let remove = |client: &Grpc, service: &str| {
        client.ask("InstanceRequest", &instance_body("deregisterInstance", service, "127.9.9.9", ""))
    };
    remove(&other, &s).ok("InstanceResponse");
    assert_eq!(listed(node(), &s), shown(&ip, &[8080]));
    remove(&client, &s).ok("InstanceResponse");
    assert!(listed(node(), &s).is_empty());
    remove(&client, &s).ok("InstanceResponse");
    remove(&client, &name("nobody")).ok("InstanceResponse");
}

#[test]
fn n240_n242_n243_n244_n245_a_publication_replaces_the_one_before() {
    let (client, s, ip, other) = (client(), name("orders"), addr(), addr());
    grpc_register(&client, &s, &ip);
    grpc_register(&client, &s, &other);
    assert_eq!(listed(node(), &s), shown(&other, &[8080]));
    let ask = |hosts: &[(&str, u16)]| client.ask("BatchInstanceRequest", &batch(&s, hosts, ""));
    let answer = ask(&[(&ip, 1), (&ip, 2), (&ip, 3)]);
    assert_eq!(
        (answer.kind.as_str(), answer.text.as_str()),
        (
            "BatchInstanceResponse",
            r#"{"resultCode":200,"errorCode":0,"type":"batchRegisterInstance","success":true}"#
        )
    );
    assert_eq!(listed(node(), &s), shown(&ip, &[1, 2, 3]));
    ask(&[(&ip, 2), (&ip, 4)]).ok("BatchInstanceResponse");
    assert_eq!(listed(node(), &s), shown(&ip, &[2, 4]));
    grpc_register(&client, &s, &other);
    assert_eq!(listed(node(), &s), shown(&other, &[8080]));
    ask(&[]).ok("BatchInstanceResponse");
    assert!(listed(node(), &s).is_empty());
}

#[test]
fn a_batch_takes_ephemeral_instances_and_its_own_type_only() {
    let (client, s, ip) = (client(), name("orders"), addr());
    let persistent = batch(&s, &[(&ip, 1)], "").replace(r#""ephemeral":true"#, r#""ephemeral":false"#);
    client.ask("BatchInstanceRequest", &persistent).fails("ErrorResponse", 400, 400);
    let other = batch(&s, &[(&ip, 1)], "").replace("batchRegisterInstance", "x");
    let answer = client.ask("BatchInstanceRequest", &other);
    assert_eq!(answer.fails("ErrorResponse", 400, 400), "Unsupported request type x");
    assert!(listed(node(), &s).is_empty());
}

#[test]
fn n241_an_ephemeral_instance_is_refused_by_a_persistent_service() {
    let (client, s, ip) = (client(), name("orders"), addr());
    register(node(), &s, &ip, "&ephemeral=false");
    let answer = client.ask("InstanceRequest", &instance_body("registerInstance", &s, &ip, ""));
    assert_eq!(
        answer.fails("ErrorResponse", 400, 400),
        format!(
            "errCode: 400, errMsg: Current service DEFAULT_GROUP@@{s} is persistent service, can't register ephemeral instance. "
        )
    );
}

#[test]
fn n246_n247_a_persistent_instance_outlives_its_connection() {
    let (client, s, ip) = (client(), name("db"), addr());
    let body =
        |kind: &str| instance_body(kind, &s, &ip, "").replace(r#""ephemeral":true"#, r#""ephemeral":false"#);
    let answer = client.ask("PersistentInstanceRequest", &body("registerInstance"));
    assert_eq!(answer.ok("InstanceResponse")["type"], "registerInstance");
    drop(client);
    let again = crate::common::client();
    eventually(secs(5.0), || {
        let clients = texts(&node().get("/nacos/v2/ns/client/list").data());
        hold(clients.contains(&format!("{ip}:8080#false")), || format!("{clients:?}"))
    });
    assert_eq!(list(node(), &s, "")["hosts"][0]["ephemeral"], false);
    let answer = again.ask("PersistentInstanceRequest", &body("deregisterInstance"));
    assert_eq!(answer.ok("InstanceResponse")["type"], "deregisterInstance");
    wait_listed(node(), &s, secs(5.0), &[]);
    let answer = again.ask("PersistentInstanceRequest", &body("x"));
    assert_eq!(answer.fails("ErrorResponse", 400, 400), "Unsupported request type x");
}

#[test]
fn n255_n256_a_query_is_answered_with_its_own_type_and_both_spellings_filter() {
    let (one, other, s) = (client(), client(), name("orders"));
    let (ill, well) = (addr(), addr());
    grpc_register(&one, &s, &well);
    let body =
        instance_body("registerInstance", &s, &ill, "").replace(r#""healthy":true"#, r#""healthy":false"#);
    other.ask("InstanceRequest", &body).ok("InstanceResponse");
    let all = [format!("{ill}:8080=false"), format!("{well}:8080=true")];
    assert_eq!(grpc_list(&one, &s, r#","cluster":"","healthyOnly":false,"udpPort":0"#), all);
    assert_eq!(grpc_list(&one, &s, r#","cluster":"","healthyOnly":true"#), all[1..]);
    assert_eq!(grpc_list(&one, &s, r#","cluster":"DEFAULT","healthOnly":true"#), all[1..]);
    assert_eq!(grpc_list(&one, &s, r#","cluster":"OTHER""#), [""; 0]);
    assert_eq!(grpc_list(&one, &name("nobody"), ""), [""; 0]);
}

#[test]
fn n017_n022_n024_a_list_is_complete_bears_the_bare_name_and_holds_no_null() {
    let (client, s, ip) = (client(), name("orders"), addr());
    grpc_register(&client, &s, &ip);
    let query = client.ask("ServiceQueryRequest", &service_body(&s, r#","cluster":"DEFAULT""#));
    let subscribe = service_body(&s, r#","subscribe":true,"clusters":"DEFAULT""#);
    let subscribe = client.ask("SubscribeServiceRequest", &subscribe);
    let push = client.wait_for(secs(5.0), |message| message.kind == "NotifySubscriberRequest");
    // every message of every test is searched for nulls as it is read
    for message in [query, subscribe, push] {
        let info = &message.json["serviceInfo"];
        assert_eq!((&info["name"], &info["groupName"]), (&json!(s), &json!("DEFAULT_GROUP")), "{message:?}");
        assert_eq!((&info["clusters"], &info["checksum"]), (&json!("DEFAULT"), &json!("")), "{message:?}");
        assert!(info["cacheMillis"].is_u64() && info["lastRefTime"].is_u64(), "{message:?}");
        assert_eq!(info["reachProtectionThreshold"], false, "{message:?}");
        let host = &info["hosts"][0];
        assert_eq!(
            (&host["ip"], &host["port"], &host["weight"], &host["metadata"]),
            (&json!(ip), &json!(8080), &json!(1.0), &json!({}))
        );
        let flags = (&host["healthy"], &host["enabled"], &host["ephemeral"]);
        assert_eq!(flags, (&json!(true), &json!(true), &json!(true)), "{message:?}");
    }
}

#[test]
fn n011_an_instance_id_of_the_client_is_returned_unchanged() {
    let (client, s, ip) = (client(), name("orders"), addr());
    let own = instance_body("registerInstance", &s, &ip, r#","instanceId":"my own id""#);
    client.ask("InstanceRequest", &own).ok("InstanceResponse");
    assert_eq!(host(node(), &s)["instanceId"], "my own id");
    let blank = instance_body("registerInstance", &s, &ip, r#","instanceId":" ""#);
    client.ask("InstanceRequest", &blank).ok("InstanceResponse");
    assert_eq!(host(node(), &s)["instanceId"], format!("{ip}#8080#DEFAULT#DEFAULT_GROUP@@{s}"));
}

#[test]
fn n050_a_parameter_that_breaks_a_rule_is_answered_in_the_requests_own_form() {
    let client = client();
    let long = "n".repeat(65);
    for (kind, response, extra) in [
        (
            "InstanceRequest",
            "InstanceResponse",
            r#","type":"registerInstance","instance":{"ip":"127.0.0.1","port":1}"#,
        ),
        (
            "BatchInstanceRequest",
            "BatchInstanceResponse",
            r#","type":"batchRegisterInstance","instances":[]"#,
        ),
        ("SubscribeServiceRequest", "SubscribeServiceResponse", r#","subscribe":true,"clusters":"""#),
        ("ServiceQueryRequest", "QueryServiceResponse", ""),
        ("ServiceListRequest", "ServiceListResponse", r#","pageNo":1,"pageSize":10"#),
    ] {
        let body = service_body("orders", extra)
            .replace(r#""namespace":"public""#, &format!(r#""namespace":"{long}""#));
        let answer = client.ask(kind, &body);
        let text = answer.fails(response, 500, 400);
        assert!(text.starts_with("Param check invalid:"), "{text}");
    }
}

#[test]
fn what_sdks_leave_out_or_write_as_null_or_text_is_read() {
    let (client, s, ip) = (client(), name("orders"), addr());
    // a grouped name, nothing else; numbers as text
    let body = format!(
        r#"{{"requestId":null,"namespace":null,"groupName":"","serviceName":"G@@{s}","type":"registerInstance","instance":{{"instanceId":null,"ip":"{ip}","port":"8080","weight":null,"healthy":null,"enabled":null,"ephemeral":null,"clusterName":null,"metadata":null}}}}"#
    );
    client.ask("InstanceRequest", &body).ok("InstanceResponse");
    let info = node().get(format!("/nacos/v1/ns/instance/list?serviceName=G%40%40{s}")).json();
    let host = &info["hosts"][0];
    assert_eq!(
        (&host["ip"], &host["port"], &host["weight"]),
        (&json!(ip), &json!(8080), &json!(1.0)),
        "{info}"
    );
    assert_eq!((&host["clusterName"], &host["enabled"]), (&json!("DEFAULT"), &json!(true)), "{info}");
    let missing = service_body(&s, r#","type":"registerInstance""#);
    client.ask("InstanceRequest", &missing).fails("ErrorResponse", 400, 400);
    let negative =
        instance_body("registerInstance", &s, &ip, "").replace(r#""weight":1.0"#, r#""weight":-3"#);
    client.ask("InstanceRequest", &negative).ok("InstanceResponse");
    assert_eq!(crate::common::host(node(), &s)["weight"], 0.0);
}

#[test]
fn n103_an_instance_needs_no_beats_while_its_connection_lives() {
    let (client, s, ip) = (client(), name("orders"), addr());
    grpc_register(&client, &s, &ip);
    let clock = Clock::start();
    while clock.elapsed() < secs(33.0) {
        client.ask("HealthCheckRequest", "{}").ok("HealthCheckResponse");
        assert_eq!(listed(node(), &s), shown(&ip, &[8080]), "after {:?}", clock.elapsed());
        muster_tests::wait::pause(secs(1.0));
    }
}

#[test]
fn n126_n268_one_host_of_two_clients_appears_once_and_redo_leaves_one_copy() {
    let (former, s, ip) = (client(), name("orders"), addr());
    grpc_register(&former, &s, &ip);
    // the same application over its next connection, before the former one has ended
    let next = client();
    grpc_register(&next, &s, &ip);
    grpc_subscribe(&next, &s);
    assert_eq!(listed(node(), &s), shown(&ip, &[8080]));
    assert_eq!(grpc_list(&next, &s, ""), shown(&ip, &[8080]));
    drop(former);
    eventually(secs(5.0), || {
        let publishers =
            node().get(format!("/nacos/v3/admin/ns/client/service/publisher/list?serviceName={s}")).data();
        hold(publishers.as_array().map(Vec::len) == Some(1), || publishers.to_string())
    });
    assert_eq!(listed(node(), &s), shown(&ip, &[8080]));
    // and once more, over HTTP
    register(node(), &s, &ip, LASTING);
    assert_eq!(listed(node(), &s), shown(&ip, &[8080]));
}

#[test]
fn n146_a_subscriber_is_listed_with_port_0_and_its_version() {
    let (client, s) = (client(), name("orders"));
    grpc_subscribe(&client, &s);
    let path = format!("/nacos/v1/ns/service/subscribers?serviceName={s}&pageNo=1&pageSize=10");
    let known = node().get(path).json();
    assert_eq!(known["count"], 1, "{known}");
    let one = &known["subscribers"][0];
    assert_eq!((&one["ip"], &one["port"]), (&json!("127.0.0.1"), &json!(0)), "{one}");
    assert_eq!(
        (&one["agent"], &one["app"]),
        (&json!("Nacos-Go-Client:v2.3.5"), &json!("orders-app")),
        "{one}"
    );
}

#[test]
fn n257_n258_names_are_bare_counted_and_of_one_group() {
    let client = client();
    let (space, stem) = (name("space"), name("s"));
    for (group, at) in [("A", 0), ("A", 1), ("A", 2), ("B", 3)] {
        let body = instance_body("registerInstance", &format!("{stem}-{at}"), &addr(), "")
            .replace(r#""namespace":"public""#, &format!(r#""namespace":"{space}""#))
            .replace(r#""groupName":"DEFAULT_GROUP""#, &format!(r#""groupName":"{group}""#));
        client.ask("InstanceRequest", &body).ok("InstanceResponse");
    }
    let page = |namespace: &str, group: &str, number: u32, size: u32| {
        let body = format!(
            r#"{{"headers":{{}},"namespace":"{namespace}","serviceName":"","groupName":"{group}","pageNo":{number},"pageSize":{size},"selector":"","module":"naming"}}"#
        );
        let answer = client.ask("ServiceListRequest", &body);
        answer.ok("ServiceListResponse").clone()
    };
    let all = page(&space, "A", 1, 10);
    assert_eq!(all["count"], 3, "{all}");
    assert_eq!(texts(&all["serviceNames"]), [0, 1, 2].map(|at| format!("{stem}-{at}")));
    let (first, second) = (page(&space, "A", 1, 2), page(&space, "A", 2, 2));
    assert_eq!((&first["count"], &second["count"]), (&json!(3), &json!(3)));
    let lengths = [&first, &second, &page(&space, "A", 3, 2)].map(|page| texts(&page["serviceNames"]).len());
    assert_eq!(lengths, [2, 1, 0]);
    for nothing in [page(&name("no-space"), "A", 1, 10), page(&space, "C", 1, 10)] {
        assert_eq!((&nothing["count"], &nothing["serviceNames"]), (&json!(0), &json!([])));
    }
}

#[test]
fn http_and_grpc_clients_see_each_other() {
    let (client, s) = (client(), name("orders"));
    let (mine, theirs) = (addr(), addr());
    grpc_subscribe(&client, &s);
    register(node(), &s, &theirs, LASTING);
    grpc_register(&client, &s, &mine);
    let both = [format!("{mine}:8080=true"), format!("{theirs}:8080=true")];
    assert_eq!(listed(node(), &s), both);
    assert_eq!(grpc_list(&client, &s, ""), both);
    client.wait_push(secs(5.0), &s, &[&both[0], &both[1]]);
}

#[test]
fn n160_a_connection_is_among_the_clients() {
    let client = Grpc::connect(node().grpc()).set_up(SETUP);
    let id = client.ask("ServerCheckRequest", "{}").json["connectionId"].clone();
    let clients = node().get("/nacos/v2/ns/client/list").data();
    assert!(clients.as_array().is_some_and(|all| all.contains(&id)), "{clients}");
    node().get(format!("/nacos/v2/ns/client?clientId={}", id.as_str().unwrap_or_default())).data();
}
