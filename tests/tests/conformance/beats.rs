//! Beats and what happens without them.

use crate::common::{
    LASTING, SOON, beat, host, list, listed, node, register, secs, texts, turn, wait_listed,
};
use muster_tests::udp::Subscriber;
use muster_tests::wait::hold;
use muster_tests::{Clock, Config, Node, Request, addr, encode, eventually, name, never};
use serde_json::{Value, json};
use std::time::Duration;

#[track_caller]
fn full_beat(node: &Node, service: &str, beat: &Value, more: &str) -> Value {
    let beat = encode(&beat.to_string());
    node.put(format!("/nacos/v1/ns/instance/beat?serviceName={service}&beat={beat}{more}")).json()
}

#[test]
fn n088_a_beat_is_answered_with_the_interval() {
    let (s, ip) = (name("orders"), addr());
    register(node(), &s, &ip, "");
    let expected = json!({"clientBeatInterval": 5000, "code": 10200, "lightBeatEnabled": true});
    assert_eq!(beat(node(), &s, &ip), expected);
    let full = json!({"cluster": "DEFAULT", "ip": ip, "port": 8080, "serviceName": format!("DEFAULT_GROUP@@{s}"),
        "weight": 1.0, "metadata": {}, "ephemeral": true, "scheduled": false, "period": 5000, "stopped": false});
    assert_eq!(full_beat(node(), &s, &full, ""), expected);
    // the beat in the body, as Java sends it
    let query = format!("serviceName={s}&clusterName=DEFAULT&ip={ip}&port=8080");
    let form = Request::new("PUT", format!("/nacos/v1/ns/instance/beat?{query}"));
    let reply = node().send(&form.form(format!("beat={}", encode(&full.to_string()))));
    assert_eq!(reply.json(), expected);
}

#[test]
fn n089_a_full_beat_registers() {
    let (s, ip) = (name("orders"), addr());
    let full = json!({"cluster": "C1", "ip": ip, "port": "8080", "weight": 2, "metadata": {"a": "b"}});
    assert_eq!(full_beat(node(), &s, &full, "")["code"], 10200);
    let host = host(node(), &s);
    assert_eq!((&host["clusterName"], &host["weight"]), (&json!("C1"), &json!(2.0)));
    assert_eq!((&host["metadata"], &host["healthy"]), (&json!({"a": "b"}), &json!(true)));
    assert_eq!((&host["port"], &host["ephemeral"]), (&json!(8080), &json!(true)));
}

#[test]
fn n090_a_light_beat_of_a_stranger_is_20404() {
    let (s, ip) = (name("orders"), addr());
    let expected = json!({"clientBeatInterval": 5000, "code": 20404, "lightBeatEnabled": true});
    assert_eq!(beat(node(), &s, &ip), expected);
    assert!(listed(node(), &s).is_empty());
}

#[test]
fn n091_n092_the_beat_wins_over_parameters() {
    let (s, ip, other) = (name("orders"), addr(), addr());
    let full = json!({"ip": ip, "port": 8080, "cluster": "C1"});
    full_beat(node(), &s, &full, &format!("&ip={other}&port=9&clusterName=C2"));
    let now = host(node(), &s);
    assert_eq!((&now["ip"], &now["port"], &now["clusterName"]), (&json!(ip), &json!(8080), &json!("C1")));
    let t = name("orders");
    full_beat(node(), &t, &json!({"ip": addr(), "port": 1, "cluster": ""}), "&clusterName=C3");
    assert_eq!(host(node(), &t)["clusterName"], "C3");
}

#[test]
fn n093_the_instance_sets_its_interval() {
    let (s, ip) = (name("orders"), addr());
    register(node(), &s, &ip, "&metadata=preserved.heart.beat.interval%3D3000");
    assert_eq!(beat(node(), &s, &ip)["clientBeatInterval"], 3000);
    assert_eq!(host(node(), &s)["instanceHeartBeatInterval"], 3000);
}

#[test]
fn n094_n095_interval_and_light_beats_follow_switches() {
    let node = Node::start();
    let ip = addr();
    register(&node, "orders", &ip, "");
    turn(&node, "clientBeatInterval", "7000");
    turn(&node, "lightBeatEnabled", "false");
    let expected = json!({"clientBeatInterval": 7000, "code": 10200, "lightBeatEnabled": false});
    assert_eq!(beat(&node, "orders", &ip), expected);
    register(&node, "orders", &ip, "&metadata=preserved.heart.beat.interval%3D3000");
    assert_eq!(beat(&node, "orders", &ip)["clientBeatInterval"], 3000);
}

/// Watches one instance: when it turned unhealthy, and when it was gone. The clock runs since before its last word.
fn life(clock: &Clock, service: &str, ip: &str, limit: Duration) -> (Duration, Duration) {
    let ill = eventually(limit, || match listed(node(), service).first() {
        Some(host) if *host == format!("{ip}:8080=false") => Ok(clock.elapsed()),
        other => Err(format!("{service} is {other:?}")),
    });
    let gone = eventually(limit, || match listed(node(), service).first() {
        None => Ok(clock.elapsed()),
        other => Err(format!("{service} is {other:?}")),
    });
    (ill, gone)
}

/// Allows the 5 s between looks that Nacos has, and some for a busy machine.
#[track_caller]
fn within(time: Duration, from: f64) {
    assert!(time >= secs(from - 0.1) && time <= secs(from + 6.0), "{time:?}, not {from} s");
}

#[test]
fn n096_n097_silence_is_unhealthy_after_15_and_the_end_after_30_seconds() {
    let (s, ip) = (name("orders"), addr());
    let clock = Clock::start();
    register(node(), &s, &ip, "");
    let (ill, gone) = life(&clock, &s, &ip, secs(40.0));
    within(ill, 15.0);
    within(gone, 30.0);
}

#[test]
fn n098_an_instance_sets_its_own_times() {
    let (s, ip) = (name("orders"), addr());
    let timing = "preserved.heart.beat.interval=1000,preserved.heart.beat.timeout=3000,preserved.ip.delete.timeout=9000";
    let clock = Clock::start();
    register(node(), &s, &ip, &format!("&metadata={}", encode(timing)));
    let (ill, gone) = life(&clock, &s, &ip, secs(20.0));
    within(ill, 3.0);
    within(gone, 9.0);
}

#[test]
fn n099_an_operators_times_win() {
    let (s, ip) = (name("orders"), addr());
    let clock = Clock::start();
    register(node(), &s, &ip, LASTING);
    let timing = encode("preserved.heart.beat.timeout=5000,preserved.ip.delete.timeout=11000");
    node().put(format!("/nacos/v1/ns/instance?serviceName={s}&ip={ip}&port=8080&metadata={timing}")).ok();
    let (ill, gone) = life(&clock, &s, &ip, secs(22.0));
    within(ill, 5.0);
    within(gone, 11.0);
}

#[test]
fn n100_a_beat_heals_at_once_and_pushes() {
    let (s, ip) = (name("orders"), addr());
    let timing = encode("preserved.heart.beat.interval=1000,preserved.heart.beat.timeout=2000");
    let subscriber = Subscriber::new();
    register(node(), &s, &ip, &format!("&metadata={timing}"));
    let query = format!("serviceName={s}&udpPort={}&clientIP=127.0.0.1", subscriber.port());
    let ask =
        Request::new("GET", format!("/nacos/v1/ns/instance/list?{query}")).agent("Nacos-Java-Client:v1.4.3");
    node().send(&ask).json();
    subscriber.wait_for(secs(10.0), |p| p.hosts() == [format!("{ip}:8080=false")]);
    assert_eq!(beat(node(), &s, &ip)["code"], 10200);
    assert_eq!(listed(node(), &s), [format!("{ip}:8080=true")]);
    subscriber.wait_for(SOON, |p| p.hosts() == [format!("{ip}:8080=true")]);
}

#[test]
fn n101_without_expiry_nothing_is_removed() {
    let node = Node::with(Config::new().set("naming", "expire-instance", "false"));
    let ip = addr();
    let timing = "preserved.heart.beat.interval=1000,preserved.heart.beat.timeout=1000,preserved.ip.delete.timeout=2000";
    register(&node, "orders", &ip, &format!("&metadata={}", encode(timing)));
    let ill = format!("{ip}:8080=false");
    wait_listed(&node, "orders", secs(8.0), &[&ill]);
    never(secs(12.0), || {
        let now = listed(&node, "orders");
        hold(now == [ill.clone()], || format!("{now:?}"))
    });
}

#[test]
fn n102_with_checks_off_silence_changes_nothing() {
    let node = Node::start();
    let ip = addr();
    turn(&node, "check", "false");
    let timing = "preserved.heart.beat.interval=1000,preserved.heart.beat.timeout=1000,preserved.ip.delete.timeout=2000";
    register(&node, "orders", &ip, &format!("&metadata={}", encode(timing)));
    never(secs(14.0), || {
        let now = listed(&node, "orders");
        hold(now == [format!("{ip}:8080=true")], || format!("{now:?}"))
    });
    // and on again: the silence counts from the last beat
    turn(&node, "check", "true");
    wait_listed(&node, "orders", secs(7.0), &[]);
}

#[test]
fn n104_a_beat_changes_neither_weight_nor_metadata() {
    let (s, ip) = (name("orders"), addr());
    register(node(), &s, &ip, "&weight=2&metadata=a%3D1&clusterName=None");
    // as the Python client beats: no cluster, though it registered in one called None
    let full = json!({"serviceName": s, "ip": ip, "port": 8080, "weight": 9.0, "ephemeral": true, "metadata": {"z": "1"}});
    assert_eq!(full_beat(node(), &s, &full, "&groupName=DEFAULT_GROUP")["code"], 10200);
    let now = host(node(), &s);
    assert_eq!((&now["weight"], &now["metadata"]), (&json!(2.0), &json!({"a": "1"})));
    assert_eq!(now["clusterName"], "None");
}

/// `ip:port#true` while there is such a client.
fn client(id: &str) -> bool {
    texts(&node().get("/nacos/v2/ns/client/list").data()).iter().any(|c| c == id)
}

#[test]
fn n106_a_client_without_publications_goes_after_30_seconds() {
    let (s, ip) = (name("orders"), addr());
    register(node(), &s, &ip, "");
    let clock = Clock::start();
    crate::common::deregister(node(), &s, &ip, "");
    let id = format!("{ip}:8080#true");
    assert!(client(&id));
    let gone =
        eventually(secs(40.0), || hold(!client(&id), || format!("{id} is there")).map(|()| clock.elapsed()));
    within(gone, 30.0);
}

#[test]
fn n107_an_idle_client_goes_after_180_seconds_even_with_publications() {
    let (s, ip) = (name("orders"), addr());
    register(node(), &s, &ip, LASTING);
    let clock = Clock::start();
    let id = format!("{ip}:8080#true");
    let gone = eventually(secs(190.0), || {
        let there = client(&id);
        assert_eq!(there, !list(node(), &s, "")["hosts"].as_array().is_none_or(Vec::is_empty), "{id}");
        muster_tests::wait::pause(Duration::from_millis(300));
        hold(!there, || format!("{id} is there")).map(|()| clock.elapsed())
    });
    within(gone, 180.0);
}
