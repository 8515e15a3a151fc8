//! J: transport and handshake.

use crate::common::{client, grpc_register, grpc_subscribe, instance_body, listed, node, secs, service_body};
use muster_tests::grpc::{Payload, SETUP, frame};
use muster_tests::wait::hold;
use muster_tests::{Config, Grpc, Node, addr, eventually, name, never};
use prost::Message as _;
use serde_json::{Value, json};

const UNARY: &str = "/Request/request";
const HEALTH: &str = r#"{"headers":{},"module":"internal"}"#;
const HEALTHY: &str = r#"{"resultCode":200,"errorCode":0,"success":true}"#;
/// As Java 3.x sends it.
const JAVA_SETUP: &str = r#"{"headers":{},"clientVersion":"Nacos-Java-Client:v3.1.0","tenant":"public","labels":{"source":"sdk","module":"naming","AppName":"orders-app","tls.enable":"false"},"abilityTable":{"fuzzyWatch":true,"lock":true,"mcp":true},"module":"internal"}"#;

/// `ServerCheckRequest` of the specification, byte by byte.
const SERVER_CHECK: [u8; 60] = [
    0x12, 0x14, 0x1a, 0x12, 0x53, 0x65, 0x72, 0x76, 0x65, 0x72, 0x43, 0x68, 0x65, 0x63, 0x6b, 0x52, 0x65,
    0x71, 0x75, 0x65, 0x73, 0x74, 0x1a, 0x24, 0x12, 0x22, 0x7b, 0x22, 0x68, 0x65, 0x61, 0x64, 0x65, 0x72,
    0x73, 0x22, 0x3a, 0x7b, 0x7d, 0x2c, 0x22, 0x6d, 0x6f, 0x64, 0x75, 0x6c, 0x65, 0x22, 0x3a, 0x22, 0x69,
    0x6e, 0x74, 0x65, 0x72, 0x6e, 0x61, 0x6c, 0x22, 0x7d,
];

fn connect() -> Grpc {
    Grpc::connect(node().grpc())
}

/// What the node shows of its connections.
fn connections(node: &Node) -> Value {
    node.get("/nacos/v2/core/loader/current").json()
}

fn id(client: &Grpc) -> String {
    let answer = client.ask("ServerCheckRequest", HEALTH);
    answer.ok("ServerCheckResponse")["connectionId"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn n203_n205_n206_n207_the_documented_bytes_are_answered_with_the_connection_id() {
    let client = connect();
    let bytes = client.raw(UNARY, &SERVER_CHECK).expect("an answer");
    let payload = Payload::decode(&bytes[..]).expect("a Payload");
    // nothing but type and body
    assert_eq!(bytes[..23], *b"\x12\x15\x1a\x13ServerCheckResponse");
    let body = payload.body.expect("a body");
    assert_eq!(body.type_url, "");
    let text = String::from_utf8(body.value).expect("text");
    let json: Value = serde_json::from_str(&text).expect("JSON");
    let id = json["connectionId"].as_str().expect("an id").to_owned();
    assert_eq!(
        text,
        format!(
            r#"{{"resultCode":200,"errorCode":0,"connectionId":"{id}","supportAbilityNegotiation":true,"success":true}}"#
        )
    );
    let (time, address) = id.split_once('_').expect("time and address");
    assert!(muster_tests::wait::now_ms().abs_diff(time.parse().expect("ms")) < 60_000, "{id}");
    assert_eq!(address, format!("127.0.0.1_{}", client.local.port()));
}

#[test]
fn n204_headers_and_address_of_the_metadata_are_read_from_their_fields() {
    let (client, s) = (client(), name("orders"));
    let body = service_body(&s, r#","subscribe":true,"clusters":"""#);
    let mut request = vec![0x12, 59, 0x1a, 23];
    request.extend_from_slice(b"SubscribeServiceRequest");
    request.extend_from_slice(b"\x3a\x15\x0a\x03app\x12\x0efrom-a-header!\x42\x091.2.3.4.5");
    request[1] = u8::try_from(request.len() - 2).expect("short");
    let mut inner = vec![0x12];
    prost::encoding::encode_varint(body.len() as u64, &mut inner);
    inner.extend_from_slice(body.as_bytes());
    request.push(0x1a);
    prost::encoding::encode_varint(inner.len() as u64, &mut request);
    request.extend_from_slice(&inner);
    client.raw(UNARY, &request).expect("an answer");
    let list =
        node().get(format!("/nacos/v3/admin/ns/client/service/subscriber/list?serviceName={s}")).data();
    assert_eq!(list[0]["appName"], "from-a-header!", "{list}");
}

#[test]
fn n208_one_transport_has_one_id() {
    let (one, other) = (connect(), connect());
    assert_eq!(id(&one), id(&one));
    assert_ne!(id(&one), id(&other));
}

#[test]
fn n209_n221_before_the_setup_requests_are_refused_with_301() {
    let client = connect();
    for (kind, body) in [
        ("InstanceRequest", instance_body("registerInstance", "orders", "127.0.0.1", "")),
        ("HealthCheckRequest", HEALTH.into()),
        ("ServiceQueryRequest", "{".into()),
    ] {
        let answer = client.ask(kind, &body);
        assert_eq!(answer.kind, "ErrorResponse");
        assert_eq!(
            answer.text,
            r#"{"resultCode":500,"errorCode":301,"message":"Connection is unregistered.","success":false}"#
        );
    }
}

#[test]
fn n210_n211_an_unknown_type_is_answered_with_302_before_and_after_the_setup() {
    let (before, after) = (connect(), client());
    for kind in
        ["NoSuchRequest", "ConfigQueryRequest", "ConfigBatchListenRequest", "LockOperationRequest", ""]
    {
        for client in [&before, &after] {
            let answer = client.ask(kind, "{}");
            assert_eq!(answer.kind, "ErrorResponse");
            assert_eq!(
                answer.text,
                r#"{"resultCode":500,"errorCode":302,"message":"RequestHandler Not Found","success":false}"#
            );
        }
    }
}

#[test]
fn n212_what_only_members_may_send_is_forbidden() {
    let (before, after) = (connect(), client());
    for kind in ["DistroDataRequest", "MemberReportRequest", "ServerLoaderInfoRequest", "ServerReloadRequest"]
    {
        for client in [&before, &after] {
            let text = client.ask(kind, "{}").fails("ErrorResponse", 500, 502).to_owned();
            assert_eq!(text, format!(" invoke {kind} from sdk is forbidden"));
        }
    }
}

#[test]
fn n213_undecodable_json_is_answered_with_502() {
    let client = client();
    for body in ["{", "7", "[]", r#"{"serviceName":[],"groupKeyPattern":[]}"#, ""] {
        for kind in ["InstanceRequest", "ServiceQueryRequest", "NamingFuzzyWatchRequest"] {
            let answer = client.ask(kind, body);
            assert_eq!(answer.json["errorCode"], 502, "{kind} {body}: {answer:?}");
            answer.fails("ErrorResponse", 500, 502);
        }
    }
    client.ask("HealthCheckRequest", HEALTH).ok("HealthCheckResponse");
}

#[test]
fn n215_n217_a_setup_with_an_ability_table_is_acknowledged_with_ours() {
    for setup in [JAVA_SETUP, &JAVA_SETUP.replace(r#"{"fuzzyWatch":true,"lock":true,"mcp":true}"#, "{}")] {
        let client = connect().set_up(setup);
        let ack = client.wait_for(secs(5.0), |message| message.kind == "SetupAckRequest");
        assert_eq!(
            ack.text,
            r#"{"headers":{},"abilityTable":{"supportPersistentInstanceByGrpc":true,"fuzzyWatch":true},"module":"internal"}"#
        );
    }
}

#[test]
fn n216_n218_without_an_ability_table_nothing_is_sent_and_a_second_setup_changes_nothing() {
    let null = JAVA_SETUP.replace(r#"{"fuzzyWatch":true,"lock":true,"mcp":true}"#, "null");
    let clients = [client(), connect().set_up(&null), client()];
    clients[2].say("ConnectionSetupRequest", JAVA_SETUP);
    let id = id(&clients[2]);
    never(secs(1.5), || {
        let sent: Vec<_> = clients.iter().flat_map(Grpc::received).collect();
        hold(sent.is_empty(), || format!("{sent:?}"))
    });
    let known = connections(node())[&id]["metaInfo"].clone();
    assert_eq!(
        (&known["version"], &known["appName"]),
        (&json!("Nacos-Go-Client:v2.3.5"), &json!("orders-app"))
    );
}

#[test]
fn n219_a_connection_of_another_module_has_no_naming_client() {
    let client = connect().set_up(&SETUP.replace(r#""module":"naming""#, r#""module":"config""#));
    let register = instance_body("registerInstance", "orders", "127.0.0.1", "");
    let subscribe = service_body("orders", r#","subscribe":true,"clusters":"""#);
    for (kind, body) in [("InstanceRequest", register), ("SubscribeServiceRequest", subscribe)] {
        let text = client.ask(kind, &body).fails("ErrorResponse", -401, -401).to_owned();
        assert!(text.starts_with("errCode: -401, errMsg: Client ["), "{text}");
    }
}

#[test]
fn n220_a_health_check_is_answered() {
    let answer = client().ask("HealthCheckRequest", HEALTH);
    assert_eq!((answer.kind.as_str(), answer.text.as_str()), ("HealthCheckResponse", HEALTHY));
}

#[test]
fn a_request_that_follows_its_setup_at_once_finds_it() {
    for _ in 0..20 {
        let (client, s) = (connect(), name("orders"));
        client.open();
        client.say("ConnectionSetupRequest", SETUP);
        // The stream is there before the setup is read; the request waits for it.
        eventually(secs(5.0), || {
            let answer = client.ask("InstanceRequest", &instance_body("registerInstance", &s, &addr(), ""));
            hold(answer.kind == "InstanceResponse", || format!("{answer:?}"))
        });
    }
}

#[test]
fn n225_the_end_of_a_transport_takes_its_instances_at_once_and_is_pushed() {
    let (provider, watcher) = (client(), client());
    let (s, ip) = (name("orders"), addr());
    grpc_register(&provider, &s, &ip);
    assert_eq!(grpc_subscribe(&watcher, &s), [format!("{ip}:8080=true")]);
    watcher.wait_push(secs(5.0), &s, &[&format!("{ip}:8080=true")]);
    drop(provider);
    eventually(secs(3.0), || hold(listed(node(), &s).is_empty(), || "still there".into()));
    watcher.wait_push(secs(5.0), &s, &[]);
}

#[test]
fn n226_pings_do_not_end_a_connection() {
    let (early, client) = (connect(), client());
    for _ in 0..50 {
        early.ping().expect("answered before the setup");
        client.ping().expect("answered without a call under way");
    }
    client.ask("HealthCheckRequest", HEALTH).ok("HealthCheckResponse");
    assert!(!early.is_closed());
}

#[test]
fn n227_success_says_the_same_as_the_result_code() {
    let client = client();
    client.ask("HealthCheckRequest", HEALTH).ok("HealthCheckResponse");
    client.ask("ServiceQueryRequest", &service_body("nobody", "")).ok("QueryServiceResponse");
    client.ask("NoSuchRequest", "{}").fails("ErrorResponse", 500, 302);
    client.ask("InstanceRequest", &instance_body("x", "orders", "127.0.0.1", "")).fails(
        "ErrorResponse",
        400,
        400,
    );
}

#[test]
fn n229_answers_that_nobody_waits_for_are_ignored() {
    let client = client();
    for (kind, body) in [
        (
            "NotifySubscriberResponse",
            r#"{"resultCode":200,"errorCode":0,"requestId":"987654","success":true}"#,
        ),
        ("NotifySubscriberResponse", r#"{"resultCode":500,"requestId":"x"}"#),
        ("NotifySubscriberResponse", "{"),
        ("PushAckRequest", r#"{"headers":{},"requestId":"1","success":true,"module":"internal"}"#),
        ("NoSuchThing", "{}"),
        ("ConnectionSetupRequest", "{"),
    ] {
        client.say(kind, body);
    }
    client.ask("HealthCheckRequest", HEALTH).ok("HealthCheckResponse");
    assert!(!client.is_stream_closed());
}

#[test]
fn n230_a_client_is_asked_to_go_elsewhere() {
    let node = Node::start();
    let [one, two, three] = [(); 3].map(|()| Grpc::connect(node.grpc()).set_up(SETUP));
    let here = id(&one);
    let target = "&redirectAddress=10.0.0.2%3A8848";
    node.get(format!("/nacos/v2/core/loader/reloadClient?connectionId={here}{target}")).is(200, "success");
    let reset = one.wait_for(secs(5.0), |message| message.kind == "ConnectResetRequest");
    let request = reset.json["requestId"].as_str().expect("an id");
    assert_eq!(
        reset.json,
        json!({"headers": {}, "requestId": request, "serverIp": "10.0.0.2", "serverPort": "8848",
            "connectionId": here, "module": "internal"})
    );
    assert!(two.received().is_empty() && three.received().is_empty());
    // O-030: v3 changes by POST, in an envelope
    node.post("/nacos/v3/admin/core/loader/reloadCurrent?count=2").data();
    let reset = three.wait_for(secs(5.0), |message| message.kind == "ConnectResetRequest");
    assert_eq!((&reset.json["serverIp"], &reset.json["serverPort"]), (&Value::Null, &Value::Null));
    node.get("/nacos/v2/core/loader/reloadClient?connectionId=nobody").is(200, "success");
    node.get("/nacos/v2/core/loader/reloadCurrent?count=x").has(400, "count");
}

#[test]
fn a_client_that_does_not_take_its_reset_is_closed() {
    let node = Node::start();
    let client = Grpc::connect(node.grpc()).set_up(SETUP);
    client.stop_answering();
    node.post(format!("/nacos/v3/admin/core/loader/reloadClient?connectionId={}", id(&client))).data();
    eventually(secs(15.0), || hold(client.is_closed(), || "still open".into()));
}

#[test]
fn the_loads_of_connections_are_shown() {
    let node = Node::start();
    let _clients = [(); 2].map(|()| Grpc::connect(node.grpc()).set_up(SETUP));
    let v2 = node.get("/nacos/v2/core/loader/cluster").json();
    assert_eq!((&v2["total"], &v2["memberCount"], &v2["completed"]), (&json!(2), &json!(1), &json!(true)));
    assert_eq!(v2["detail"][0]["metric"]["sdkConCount"], "2", "{v2}");
    let v3 = node.get("/nacos/v3/admin/core/loader/cluster").data();
    assert_eq!(
        (&v3["detail"][0]["sdkConCount"], &v3["detail"][0]["conCount"]),
        (&json!(2), &json!(2)),
        "{v3}"
    );
    assert!(v3["threshold"].is_string() && v2["threshold"].is_number());
    assert_eq!(connections(&node).as_object().map(serde_json::Map::len), Some(2));
    node.get("/nacos/v2/core/loader/smartReloadCluster?loaderFactor=0.1").is(200, "Ok");
    node.post("/nacos/v3/admin/core/loader/smartReloadCluster").data();
}

#[test]
fn n231_nine_mebibytes_are_accepted_and_eleven_refused() {
    let client = client();
    let padded =
        |mebibytes: usize| service_body("big", &format!(r#","pad":"{}""#, "x".repeat(mebibytes << 20)));
    client.ask("ServiceQueryRequest", &padded(9)).ok("QueryServiceResponse");
    let refused = client.try_ask("ServiceQueryRequest", &padded(11)).expect_err("too large");
    assert!(refused.status.is_some_and(|status| status != 0), "{refused:?}");
    client.ask("HealthCheckRequest", HEALTH).ok("HealthCheckResponse");
}

#[test]
fn malformed_frames_are_refused_and_the_connection_goes_on() {
    let client = client();
    let health = Payload::new("HealthCheckRequest", HEALTH).encode_to_vec();
    let whole = frame(&health);
    let mut compressed = whole.to_vec();
    compressed[0] = 1;
    let mut too_long = whole.to_vec();
    too_long[4] += 1;
    for bytes in [vec![], vec![0], compressed, too_long, frame(b"\xff\xff\xff").to_vec(), vec![9; 64]] {
        let refused = client.send_frame(UNARY, bytes.clone().into()).expect_err("malformed");
        assert!(refused.status.is_some_and(|status| status != 0), "{bytes:?}: {refused:?}");
    }
    let refused = client.raw("/Request/other", &health).expect_err("no such method");
    assert_eq!(refused.status, Some(12));
    client.ask("HealthCheckRequest", HEALTH).ok("HealthCheckResponse");
}

#[test]
fn the_port_of_members_answers_checks_and_lets_nobody_in() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port");
    let _node = Node::with(Config::new().text("grpc", "cluster-bind", &port.to_string()));
    let member = Grpc::connect(port);
    assert!(!id(&member).is_empty());
    member.ask("InstanceRequest", "{}").fails("ErrorResponse", 500, 301);
    // no handler until members can prove who they are
    member.ask("DistroDataRequest", "{}").fails("ErrorResponse", 500, 302);
    member.open();
    member.say("ConnectionSetupRequest", &SETUP.replace(r#""source":"sdk""#, r#""source":"cluster""#));
    eventually(secs(10.0), || hold(member.is_closed(), || "let in".into()));
}
