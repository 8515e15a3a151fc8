//! UDP push to subscribers of 1.x.

use crate::common::{LASTING, list, node, register, secs, turn};
use muster_tests::udp::{Packet, Subscriber};
use muster_tests::wait::hold;
use muster_tests::{Clock, Node, Request, addr, encode, eventually, name};
use serde_json::{Value, json};
use std::time::Duration;

const JAVA: &str = "Nacos-Java-Client:v1.4.3";

fn ask(node: &Node, service: &str, subscriber: &Subscriber, agent: Option<&str>) {
    let query = format!("serviceName={service}&clusters=&udpPort={}&clientIP=127.0.0.1", subscriber.port());
    let request = Request::new("GET", format!("/nacos/v1/ns/instance/list?{query}&healthyOnly=false"));
    let request = match agent {
        Some(agent) => request.agent(agent),
        None => request,
    };
    node.send(&request).json();
}

fn subscribe(service: &str, agent: Option<&str>) -> Subscriber {
    let subscriber = Subscriber::new();
    ask(node(), service, &subscriber, agent);
    subscriber
}

fn subscribers(service: &str) -> Value {
    node().get(format!("/nacos/v1/ns/service/subscribers?serviceName={service}&pageNo=1&pageSize=10")).json()
}

#[test]
fn n191_n194_n195_n197_a_change_is_pushed_to_the_subscribed_address() {
    let (s, ip) = (name("orders"), addr());
    let subscriber = subscribe(&s, Some(JAVA));
    let known = subscribers(&s);
    assert_eq!(known["count"], 1, "{known}");
    let one = &known["subscribers"][0];
    assert_eq!(one["addrStr"], format!("127.0.0.1:{}", subscriber.port()), "{one}");
    assert_eq!((&one["ip"], &one["agent"]), (&json!("127.0.0.1"), &json!(JAVA)), "{one}");
    assert_eq!(
        (&one["namespaceId"], &one["serviceName"]),
        (&json!("public"), &json!(format!("DEFAULT_GROUP@@{s}")))
    );
    // the first subscription brings a push of its own, perhaps of nothing
    subscriber.drain(secs(1.5));
    let clock = Clock::start();
    register(node(), &s, &ip, "");
    let push = subscriber.wait_for(secs(2.0), |p| p.hosts().len() == 1);
    let after = clock.elapsed();
    assert!(after > secs(0.45) && after < secs(1.5), "{after:?}");
    let mut outer: Vec<_> = push.json.as_object().into_iter().flatten().map(|(k, _)| k.as_str()).collect();
    outer.sort_unstable();
    assert_eq!(outer, ["data", "lastRefTime", "type"]);
    assert_eq!(
        (&push.json["type"], &push.data["name"]),
        (&json!("dom"), &json!(format!("DEFAULT_GROUP@@{s}")))
    );
    assert!(push.json["lastRefTime"].as_u64().is_some_and(|key| key < 1 << 53), "{}", push.json);
    assert_eq!(push.hosts(), [format!("{ip}:8080=true")]);
    assert_eq!((&push.data["clusters"], &push.data["cacheMillis"]), (&json!(""), &json!(10000)));
    let listed = list(node(), &s, "")["hosts"][0].clone();
    for field in
        ["instanceId", "ip", "port", "weight", "healthy", "enabled", "ephemeral", "clusterName", "metadata"]
    {
        assert_eq!(push.data["hosts"][0][field], listed[field], "{field}");
    }
}

#[test]
fn n192_n193_other_agents_do_not_subscribe() {
    let s = name("orders");
    let agents = [
        Some("Nacos-Python-Client:v0.1.16"),
        Some("Nacos-Java-Client"),
        Some("Nacos-Java-Client:vNext"),
        Some("Mozilla/5.0"),
        None,
    ];
    let strangers = agents.map(|agent| (agent, subscribe(&s, agent)));
    let java = subscribe(&s, Some(JAVA));
    let node_js = subscribe(&s, Some("Nacos-Java-Client:v1.0.0"));
    let go = subscribe(&s, Some("Nacos-Go-Client:v1.1.4"));
    register(node(), &s, &addr(), "");
    for subscriber in [&java, &node_js, &go] {
        subscriber.wait_for(secs(3.0), |p| p.hosts().len() == 1);
    }
    for (agent, subscriber) in &strangers {
        assert!(subscriber.receive(secs(0.5)).is_none(), "{agent:?}");
    }
    assert_eq!(subscribers(&s)["count"], 3);
}

#[test]
fn n196_long_packets_are_compressed() {
    let s = name("orders");
    let subscriber = subscribe(&s, Some(JAVA));
    register(node(), &s, &addr(), "");
    let short = subscriber.wait_for(secs(3.0), |p| p.hosts().len() == 1);
    assert!(short.length < 1024 && !short.gzip, "{} bytes", short.length);
    for _ in 0..9 {
        register(node(), &s, &addr(), &format!("&metadata={}", encode(r#"{"zone":"a"}"#)));
    }
    let long = subscriber.wait_for(secs(3.0), |p| p.hosts().len() == 10);
    assert!(long.length >= 1024 && long.gzip, "{} bytes", long.length);
    assert!(long.raw.len() < long.length, "{} of {}", long.raw.len(), long.length);
}

/// A subscriber that has just been told of one host, and has not acknowledged it.
fn unacknowledged() -> (Subscriber, Packet) {
    let s = name("orders");
    let subscriber = subscribe(&s, Some(JAVA));
    subscriber.drain(secs(1.5));
    register(node(), &s, &addr(), LASTING);
    let packet = subscriber.receive(secs(3.0)).expect("a push");
    (subscriber, packet)
}

#[test]
fn n198_an_acknowledgement_with_text_stops_the_resend() {
    let (subscriber, packet) = unacknowledged();
    subscriber.acknowledge(&packet);
    assert!(subscriber.receive(secs(13.0)).is_none());
}

#[test]
fn n199_an_acknowledgement_with_a_number_stops_the_resend() {
    let (subscriber, packet) = unacknowledged();
    subscriber.acknowledge_with_number(&packet);
    assert!(subscriber.receive(secs(13.0)).is_none());
}

#[test]
fn n200_without_acknowledgement_the_same_packet_comes_once_more() {
    let (subscriber, packet) = unacknowledged();
    let clock = Clock::start();
    let again = subscriber.receive(secs(12.0)).expect("a resend");
    let after = clock.elapsed();
    assert!(after > secs(9.5) && after < secs(11.5), "{after:?}");
    assert_eq!((again.key(), &again.raw), (packet.key(), &packet.raw));
    assert!(subscriber.receive(secs(13.0)).is_none(), "it was sent a third time");
}

#[test]
fn an_acknowledgement_from_elsewhere_or_of_nonsense_counts_for_nothing() {
    let (subscriber, packet) = unacknowledged();
    let stranger = Subscriber::new();
    stranger.acknowledge(&packet);
    for text in ["", "{", "null", r#"{"type":"push-ack"}"#, r#"{"type":"push-ack","lastRefTime":[]}"#] {
        subscriber.reply(&packet, text);
    }
    let other = packet.key() + 1;
    subscriber.reply(&packet, &format!(r#"{{"type":"push-ack","lastRefTime":"{other}","data":""}}"#));
    let again = subscriber.receive(secs(12.0)).expect("a resend");
    assert_eq!(again.key(), packet.key());
    subscriber.acknowledge(&again);
}

#[test]
fn n201_a_subscriber_that_does_not_ask_again_is_forgotten_after_30_seconds() {
    let (s, quiet_ip) = (name("orders"), addr());
    let quiet = subscribe(&s, Some(JAVA));
    let clock = Clock::start();
    let asking = subscribe(&s, Some(JAVA));
    let gone = eventually(secs(45.0), || {
        ask(node(), &s, &asking, Some(JAVA));
        muster_tests::wait::pause(Duration::from_millis(250));
        let now = subscribers(&s);
        hold(!now.to_string().contains(&format!(":{}\"", quiet.port())), || now.to_string())
            .map(|()| clock.elapsed())
    });
    assert!(gone > secs(29.5) && gone < secs(37.0), "{gone:?}");
    assert_eq!(subscribers(&s)["count"], 1);
    quiet.drain(secs(0.2));
    register(node(), &s, &quiet_ip, "");
    asking.wait_for(secs(3.0), |p| p.hosts().len() == 1);
    assert!(quiet.receive(secs(1.0)).is_none());
}

#[test]
fn n202_pushes_can_be_switched_off() {
    let node = Node::start();
    turn(&node, "pushEnabled", "false");
    let subscriber = Subscriber::new();
    ask(&node, "orders", &subscriber, Some(JAVA));
    register(&node, "orders", &addr(), "");
    assert!(subscriber.receive(secs(3.0)).is_none());
    turn(&node, "pushEnabled", "true");
    ask(&node, "orders", &subscriber, Some(JAVA));
    register(&node, "orders", &addr(), "");
    subscriber.wait_for(secs(3.0), |p| p.hosts().len() == 2);
}

/// Many changes in a row neither flood a subscriber nor keep it waiting.
#[test]
fn a_steady_stream_of_changes_is_merged() {
    let s = name("orders");
    let subscriber = subscribe(&s, Some(JAVA));
    subscriber.drain(secs(1.5));
    let clock = Clock::start();
    let writer = {
        let s = s.clone();
        std::thread::spawn(move || {
            for i in 1..=20 {
                register(node(), &s, &addr(), "");
                clock.until(secs(0.15 * f64::from(i)));
            }
        })
    };
    let mut pushes = Vec::new();
    subscriber.wait_for(secs(6.0), |p| {
        pushes.push((clock.elapsed(), p.hosts().len()));
        p.hosts().len() == 20
    });
    assert!(writer.join().is_ok());
    assert!(pushes.len() >= 3 && pushes.len() <= 9, "{pushes:?}");
}
