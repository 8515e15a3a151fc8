//! J: the life of connections, their limits, and what slow or broken clients cost.

use crate::common::{client, grpc_register, grpc_subscribe, instance_body, listed, node, secs, service_body};
use muster_tests::grpc::SETUP;
use muster_tests::wait::{hold, pause};
use muster_tests::{Clock, Config, Grpc, Node, addr, eventually, name};

const DETECTION: &str = "ClientDetectionRequest";

fn connect(node: &Node) -> Grpc {
    Grpc::connect(node.grpc()).set_up(SETUP)
}

#[test]
fn n222_n223_silence_is_asked_about_after_20_s_and_whoever_does_not_answer_is_closed() {
    let (answering, silent) = (client(), client());
    let (s, ip) = (name("orders"), addr());
    silent.stop_answering();
    grpc_register(&silent, &s, &ip);
    let clock = Clock::start();
    let asked = silent.wait_for(secs(30.0), |message| message.kind == DETECTION);
    assert!(clock.elapsed() > secs(19.0) && clock.elapsed() < secs(25.0), "{:?}", clock.elapsed());
    let id = asked.json["requestId"].as_str().unwrap_or_default();
    assert_eq!(asked.text, format!(r#"{{"headers":{{}},"requestId":"{id}","module":"internal"}}"#));
    eventually(secs(15.0), || hold(silent.is_closed(), || "still open".into()));
    assert!(clock.elapsed() > secs(24.0) && clock.elapsed() < secs(30.0), "{:?}", clock.elapsed());
    eventually(secs(3.0), || hold(listed(node(), &s).is_empty(), || "instances stay".into()));
    // whoever answers is asked again after the next silence, and stays
    eventually(secs(45.0), || {
        hold(answering.received_of(DETECTION).len() >= 2, || format!("{:?}", answering.received()))
    });
    assert!(clock.elapsed() > secs(38.0), "{:?}", clock.elapsed());
    answering.ask("HealthCheckRequest", "{}").ok("HealthCheckResponse");
}

#[test]
fn n224_who_checks_its_health_every_5_s_is_never_asked() {
    let client = client();
    let clock = Clock::start();
    while clock.elapsed() < secs(32.0) {
        client.ask("HealthCheckRequest", "{}").ok("HealthCheckResponse");
        pause(secs(5.0));
    }
    assert!(client.received().is_empty(), "{:?}", client.received());
}

#[test]
fn a_half_open_connection_loses_its_instances_within_20_to_28_s() {
    let (client, s, ip) = (client(), name("orders"), addr());
    grpc_register(&client, &s, &ip);
    let clock = Clock::start();
    client.freeze();
    eventually(secs(40.0), || hold(listed(node(), &s).is_empty(), || "still there".into()));
    // a second for a busy machine
    assert!(clock.elapsed() > secs(19.5) && clock.elapsed() < secs(29.0), "{:?}", clock.elapsed());
}

#[test]
fn more_connections_than_the_limits_allow_are_closed_at_once() {
    for key in ["max-connections", "max-connections-per-client"] {
        let node = Node::with(Config::new().set("grpc", key, "2"));
        let (one, _two) = (connect(&node), connect(&node));
        let third = Grpc::try_connect(node.grpc());
        let refused = third.map_or(true, |third| third.try_ask("ServerCheckRequest", "{}").is_err());
        assert!(refused, "{key}: a third was let in");
        assert!(node.metric("muster_grpc_connections_refused_total") >= 1.0);
        one.ask("HealthCheckRequest", "{}").ok("HealthCheckResponse");
        drop(one);
        // there is room again
        eventually(secs(10.0), || {
            let next = Grpc::try_connect(node.grpc()).map_err(|error| error.to_string())?;
            next.try_ask("ServerCheckRequest", "{}").map(drop).map_err(|refused| format!("{refused:?}"))
        });
    }
}

#[test]
fn a_connection_has_one_stream() {
    let client = client();
    let second = client.open_unread();
    let answer = muster_tests::grpc::wait(second).expect("an answer");
    assert_eq!(answer.headers().get("grpc-status").map(http::HeaderValue::as_bytes), Some(&b"6"[..]));
    assert!(!client.is_stream_closed());
    client.ask("HealthCheckRequest", "{}").ok("HealthCheckResponse");
}

#[test]
fn requests_beyond_what_the_node_may_hold_are_refused_and_nothing_is_kept() {
    let node = Node::with(Config::new().text("grpc", "max-held", "1MiB"));
    let client = connect(&node);
    let big = service_body("big", &format!(r#","pad":"{}""#, "x".repeat(2 << 20)));
    let refused = client.try_ask("ServiceQueryRequest", &big).expect_err("more than the node may hold");
    assert_eq!(refused.status, Some(8), "{refused:?}");
    client.ask("HealthCheckRequest", "{}").ok("HealthCheckResponse");
    eventually(secs(5.0), || {
        let held = node.metric("muster_grpc_held_bytes");
        hold(held < 1.0, || format!("{held} bytes are still held"))
    });
}

#[test]
fn a_subscriber_that_does_not_read_costs_no_memory_per_change_and_hears_the_newest_state() {
    let node = Node::with(Config::new().text("naming", "push-delay", "10ms"));
    let (provider, s) = (connect(&node), name("orders"));
    let change = |weight: u32| {
        let one = |port: u32| {
            let padding = "x".repeat(200);
            format!(
                r#"{{"ip":"127.0.0.1","port":{port},"weight":{weight}.0,"metadata":{{"pad":"{padding}"}}}}"#
            )
        };
        let all: Vec<_> = (1..=100).map(one).collect();
        let extra = format!(r#","type":"batchRegisterInstance","instances":[{}]"#, all.join(","));
        provider.ask("BatchInstanceRequest", &service_body(&s, &extra)).ok("BatchInstanceResponse");
    };
    change(1);
    let slow: Vec<_> = (0..20)
        .map(|_| {
            let client = Grpc::connect(node.grpc());
            let unread = client.open_unread();
            client.say("ConnectionSetupRequest", SETUP);
            client.wait_registered();
            assert_eq!(grpc_subscribe(&client, &s).len(), 100);
            (client, unread)
        })
        .collect();
    let quick = connect(&node);
    grpc_subscribe(&quick, &s);
    let mut last = 1;
    let mut round = |changes: u32| {
        for _ in 0..changes {
            last += 1;
            change(last);
            pause(secs(0.012));
        }
        eventually(secs(20.0), || {
            let heard =
                quick.received().last().map(|push| push.json["serviceInfo"]["hosts"][0]["weight"].clone());
            hold(heard == Some(f64::from(last).into()), || format!("{heard:?}, not {last}"))
        });
        quick.forget();
        for (client, _) in &slow {
            client.ask("HealthCheckRequest", "{}").ok("HealthCheckResponse");
        }
        last
    };
    round(30);
    let before = node.resident();
    let newest = round(200);
    let grown = node.resident().saturating_sub(before);
    // Every change is a list of more than 40 KB: kept for each of 20 subscribers, 200 of them are 160 MB.
    assert!(grown < 32 << 20, "{} KiB more", grown >> 10);
    let (client, unread) = slow.into_iter().next().expect("there are 20");
    client.read(unread);
    eventually(secs(20.0), || {
        let heard =
            client.received().last().map(|push| push.json["serviceInfo"]["hosts"][0]["weight"].clone());
        hold(heard == Some(f64::from(newest).into()), || format!("{heard:?}, not {newest}"))
    });
    assert!(client.received().len() < 20, "{} pushes waited", client.received().len());
}

#[test]
fn many_broken_requests_leave_the_memory_of_the_node_as_it_was() {
    let node = Node::start();
    let client = connect(&node);
    let junk = |round: u32| {
        for (at, kind) in ["InstanceRequest", "ServiceQueryRequest", "NamingFuzzyWatchRequest", "Unknown"]
            .iter()
            .enumerate()
        {
            let nested = format!("{}{}", r#"{"a":"#.repeat(300), round);
            for body in [nested.as_str(), "[[[[", "\"", r#"{"serviceName":{"a":[1,2,3]}}"#, "nul"] {
                let answer = client.ask(kind, body);
                assert_eq!(answer.kind, "ErrorResponse", "{at} {kind} {body}");
            }
            // what is refused at the end of its body was held until there
            let long = format!(r#"{{"serviceName":"{}""#, "y".repeat(1 << 20));
            assert_eq!(client.ask(kind, &long).kind, "ErrorResponse");
        }
        client.say("ConnectionSetupRequest", "{");
        client.say("NotifySubscriberResponse", r#"{"requestId":{}}"#);
    };
    (0..5).for_each(junk);
    let before = node.resident();
    (0..40).for_each(junk);
    let grown = node.resident().saturating_sub(before);
    assert!(grown < 32 << 20, "{} KiB more", grown >> 10);
    let body = instance_body("registerInstance", "orders", &addr(), "");
    client.ask("InstanceRequest", &body).ok("InstanceResponse");
}
