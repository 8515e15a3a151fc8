//! Health checks of persistent instances, against real listeners.
//!
//! The MYSQL statements are in `tests/mariadb.rs`, against real servers. N300 and N301 are about
//! several members.

use crate::common::{node, secs, turn};
use muster_tests::target::{BlackHole, HttpTarget, TcpTarget, closed_port};
use muster_tests::wait::hold;
use muster_tests::{Clock, Config, Node, encode, eventually, name, never};
use serde_json::json;
use std::time::Duration;

const HTTP: &str = r#"{"type":"HTTP","path":"/health","headers":"","expectedResponseCode":200}"#;

/// A persistent service whose checker is this one; the threshold that its stored metadata brings
/// does not matter, because the tests look at the real health.
#[track_caller]
fn service(node: &Node, checker: &str) -> String {
    let s = name("db");
    node.post(format!("/nacos/v1/ns/service?serviceName={s}")).ok();
    let query = format!("serviceName={s}&clusterName=DEFAULT&checkPort=80&useInstancePort4Check=true");
    node.put(format!("/nacos/v1/ns/cluster?{query}&healthChecker={}", encode(checker))).ok();
    s
}

#[track_caller]
fn register(node: &Node, service: &str, port: u16, healthy: bool) -> Clock {
    let query = format!("serviceName={service}&ip=127.0.0.1&port={port}&ephemeral=false&healthy={healthy}");
    node.post(format!("/nacos/v1/ns/instance?{query}")).ok();
    Clock::start()
}

/// The real health of the only instance, without protection.
#[track_caller]
fn healthy(node: &Node, service: &str) -> bool {
    let query = format!("serviceName={service}&clusterName=DEFAULT&pageNo=1&pageSize=9");
    let list = node.get(format!("/nacos/v1/ns/catalog/instances?{query}")).json();
    assert_eq!(list["count"], 1, "{list}");
    list["list"][0]["healthy"] == true
}

/// Waits for this health and says when it came.
#[track_caller]
fn wait(node: &Node, service: &str, clock: Clock, wanted: bool, deadline: Duration) -> Duration {
    eventually(deadline, || {
        hold(healthy(node, service) == wanted, || format!("{service} is healthy: {}", !wanted))
            .map(|()| clock.elapsed())
    })
}

#[track_caller]
fn stays(node: &Node, service: &str, wanted: bool, time: Duration) {
    never(time, || {
        hold(healthy(node, service) == wanted, || format!("{service} turned healthy: {}", !wanted))
    });
}

#[test]
fn n283_a_refused_connection_is_unhealthy_at_the_first_check() {
    let s = service(node(), r#"{"type":"TCP"}"#);
    let clock = register(node(), &s, closed_port(), true);
    assert!(healthy(node(), &s));
    let at = wait(node(), &s, clock, false, secs(9.0));
    assert!(at > secs(1.8) && at < secs(7.8), "{at:?}");
}

#[test]
fn n283_without_settings_the_check_is_tcp_on_the_instance_port() {
    let (refused, open) = (name("db"), name("db"));
    let target = TcpTarget::open();
    let clock = register(node(), &refused, closed_port(), true);
    register(node(), &open, target.port, false);
    wait(node(), &refused, clock, false, secs(9.0));
    wait(node(), &open, clock, true, secs(25.0));
}

#[test]
fn n284_timeouts_count_to_three() {
    let s = service(node(), r#"{"type":"TCP"}"#);
    let hole = BlackHole::open();
    let clock = register(node(), &s, hole.port, true);
    let at = wait(node(), &s, clock, false, secs(30.0));
    // the first check not before 2 s, then two intervals of at least 1 s, each 500 ms to its timeout
    assert!(at > secs(4.4), "{at:?}");
}

#[test]
fn n285_recovery_takes_three_successes_in_a_row() {
    let s = service(node(), HTTP);
    let target = HttpTarget::open(200);
    target.answer_first(&[200, 200, 503, 200, 200]);
    let clock = register(node(), &s, target.port, false);
    let at = wait(node(), &s, clock, true, secs(45.0));
    let asked = target.asked().len();
    assert!(asked >= 6, "healthy after {asked} checks, {at:?}");
}

#[test]
fn n286_n291_a_success_in_between_starts_the_count_again() {
    let s = service(node(), HTTP);
    let target = HttpTarget::open(200);
    target.answer_first(&[503, 503, 200, 503, 503, 200]);
    let clock = register(node(), &s, target.port, true);
    eventually(secs(45.0), || {
        assert!(healthy(node(), &s), "after {} checks", target.asked().len());
        hold(target.asked().len() >= 8, || "not checked".into())
    });
    // N291: three in a row
    target.answer(503);
    let before = target.asked().len();
    wait(node(), &s, clock, false, secs(60.0));
    let asked = target.asked().len();
    assert!(asked >= before + 3, "{before} {asked}");
}

#[test]
fn n287_the_first_check_comes_after_2_to_7_seconds() {
    let s = service(node(), r#"{"type":"TCP"}"#);
    let targets: Vec<_> = (0..6).map(|_| TcpTarget::open()).collect();
    let clocks: Vec<_> = targets.iter().map(|t| register(node(), &s, t.port, true)).collect();
    let mut first = vec![None; targets.len()];
    eventually(secs(9.0), || {
        for ((seen, target), clock) in first.iter_mut().zip(&targets).zip(&clocks) {
            if seen.is_none() && target.accepted() > 0 {
                *seen = Some(clock.elapsed());
            }
        }
        hold(first.iter().all(Option::is_some), || format!("{first:?}"))
    });
    for at in first.into_iter().flatten() {
        assert!(at > secs(1.8) && at < secs(7.6), "{at:?}");
    }
}

#[test]
fn n288_200_is_healthy() {
    let s = service(node(), HTTP);
    let target = HttpTarget::open(200);
    let clock = register(node(), &s, target.port, false);
    wait(node(), &s, clock, true, secs(30.0));
    assert!(target.asked().iter().all(|a| a.line == "GET /health HTTP/1.1"), "{:?}", target.asked());
    stays(node(), &s, true, secs(5.0));
}

#[test]
fn n289_n290_any_other_status_is_unhealthy_at_once() {
    for status in [404, 204, 500, 301] {
        let s = service(node(), HTTP);
        let target = HttpTarget::open(status);
        let clock = register(node(), &s, target.port, true);
        wait(node(), &s, clock, false, secs(9.0));
        let asked = target.asked().len();
        assert!(asked <= 2, "{status}: {asked} checks");
    }
}

#[test]
fn n292_a_redirect_is_a_soft_failure_and_not_followed() {
    let s = service(node(), HTTP);
    let (target, elsewhere) = (HttpTarget::open(302), HttpTarget::open(200));
    target.redirect_to(&format!("http://127.0.0.1:{}/health", elsewhere.port));
    let clock = register(node(), &s, target.port, true);
    wait(node(), &s, clock, false, secs(40.0));
    let asked = target.asked().len();
    assert!(asked >= 3, "unhealthy after {asked}");
    assert!(elsewhere.asked().is_empty(), "the redirect was followed");
}

/// Nacos stores the code and ignores it; so does Muster, until the checker asks for the other rule.
#[test]
fn n293_an_expected_404_is_not_healthy_unless_the_rule_says_so() {
    let nacos = service(node(), r#"{"type":"HTTP","path":"/","headers":"","expectedResponseCode":404}"#);
    let rule = r#"{"type":"HTTP","path":"/","headers":"","expectedResponseCode":404,"rule":"expected"}"#;
    let own = service(node(), rule);
    let target = HttpTarget::open(404);
    let clock = register(node(), &nacos, target.port, true);
    register(node(), &own, target.port, false);
    wait(node(), &nacos, clock, false, secs(9.0));
    wait(node(), &own, clock, true, secs(30.0));
}

/// `a:b|c:d` are two headers; a piece that is not exactly one pair is skipped.
#[test]
fn n030_n294_the_configured_headers_are_sent() {
    let checker = r#"{"type":"HTTP","path":"/h?deep=1","headers":"X-One:1|X-Bad|X-Worse:a:b|X-Two:2","expectedResponseCode":200}"#;
    let s = service(node(), checker);
    let target = HttpTarget::open(200);
    register(node(), &s, target.port, true);
    let asked = eventually(secs(9.0), || target.asked().first().cloned().ok_or_else(|| "not asked".into()));
    assert_eq!(asked.line, "GET /h?deep=1 HTTP/1.1");
    let value = |name: &str| asked.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    assert_eq!((value("x-one"), value("x-two")), (Some("1"), Some("2")), "{asked:?}");
    assert_eq!((value("x-bad"), value("x-worse")), (None, None), "{asked:?}");
    assert!(value("host").is_some(), "{asked:?}");
}

/// Named in the settings, put into a header by the host, shown by a target that repeats it: no answer of the API, no
/// metric and no line of the log has it.
#[test]
fn a_secret_in_a_header_is_for_the_target_alone() {
    const SECRET: &str = "correct-horse-battery";
    const OTHER: &str = "of-the-members-alone";
    let config = Config::new()
        .text("secrets", "probe", SECRET)
        .text("secrets", "members", OTHER)
        .set("plugins.grants.HTTP", "secrets", "[\"probe\"]")
        .env("MUSTER_LOG", "trace");
    let node = Node::with(config);
    let token = "Authorization:Bearer ${secret.token}";
    let s = service(&node, &json!({"type": "HTTP", "headers": token, "token": "secret:probe"}).to_string());
    let target = HttpTarget::open(200);
    target.say(SECRET);
    register(&node, &s, target.port, true);
    let asked = eventually(secs(20.0), || target.asked().first().cloned().ok_or_else(|| "not asked".into()));
    let sent =
        asked.headers.iter().find(|(name, _)| name == "authorization").map(|(_, value)| value.as_str());
    assert_eq!(sent, Some(format!("Bearer {SECRET}").as_str()));
    let instance = format!("serviceName={s}&ip=127.0.0.1&port={}", target.port);
    let explained = eventually(secs(20.0), || {
        let said = node.get(format!("/nacos/v3/admin/muster/explain?{instance}")).body;
        if said.contains("passed") { Ok(said) } else { Err(said) }
    });
    let get = |path: String| node.get(path).body;
    let shown = [
        explained,
        get(format!("/nacos/v1/ns/service?serviceName={s}")),
        get("/nacos/v3/admin/muster/plugins".into()),
        get("/metrics".into()),
        node.log(),
    ];
    for text in shown {
        assert!(!text.is_empty() && !text.contains(SECRET), "{text}");
    }
    // whoever may register a service may not have every secret of the node
    let query = format!("serviceName={s}&clusterName=DEFAULT&checkPort=80&useInstancePort4Check=true");
    let thief = json!({"type": "HTTP", "headers": token, "token": "secret:members"}).to_string();
    let refused = node.put(format!("/nacos/v1/ns/cluster?{query}&healthChecker={}", encode(&thief)));
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("HTTP may not have the secret"), "{}", refused.body);
    let wrong = json!({"type": "HTTP", "headers": token}).to_string();
    let refused = node.put(format!("/nacos/v1/ns/cluster?{query}&healthChecker={}", encode(&wrong)));
    assert!(refused.status >= 400 && refused.body.contains("token"), "{}", refused.body);
}

#[test]
fn n298_none_changes_nothing() {
    let s = service(node(), r#"{"type":"NONE"}"#);
    register(node(), &s, closed_port(), true);
    stays(node(), &s, true, secs(12.0));
}

#[test]
fn n299_with_checks_off_health_stays() {
    let node = Node::start();
    let s = service(&node, r#"{"type":"TCP"}"#);
    turn(&node, "check", "false");
    register(&node, &s, closed_port(), true);
    stays(&node, &s, true, secs(12.0));
    turn(&node, "check", "true");
    wait(&node, &s, Clock::start(), false, secs(9.0));
}

#[test]
fn n302_one_failure_is_enough_when_the_switch_says_so() {
    let node = Node::start();
    turn(&node, "healthCheckTimes", "1");
    assert_eq!(node.get("/nacos/v1/ns/operator/switches").json()["checkTimes"], json!(1));
    let s = service(&node, HTTP);
    let target = HttpTarget::open(503);
    let clock = register(&node, &s, target.port, true);
    wait(&node, &s, clock, false, secs(9.0));
    assert!(target.asked().len() <= 2, "{}", target.asked().len());
}

/// Looked at from the target: HTTP checks come every 0.5 to 5 s. A fast answer brings the minimum,
/// hard failures lengthen it.
#[test]
fn n303_intervals_stay_between_their_limits() {
    let s = service(node(), HTTP);
    let target = HttpTarget::open(200);
    register(node(), &s, target.port, true);
    let mut times = Vec::new();
    let clock = Clock::start();
    while clock.elapsed() < secs(50.0) {
        let asked = target.asked().len();
        while times.len() < asked {
            times.push(clock.elapsed());
        }
        if clock.elapsed() > secs(25.0) {
            target.answer(404);
        }
        muster_tests::wait::pause(Duration::from_millis(10));
    }
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for gap in &gaps {
        assert!(*gap > Duration::from_millis(350) && *gap < secs(5.9), "{gaps:?}");
    }
    let first = gaps.iter().take_while(|gap| **gap < secs(1.0)).count();
    assert!(first >= 8, "not at the minimum: {gaps:?}");
    assert!(gaps.last() > Some(&secs(2.0)), "failures did not lengthen it: {gaps:?}");
}

#[test]
fn a_target_that_stops_and_comes_back_is_followed() {
    let s = service(node(), r#"{"type":"TCP"}"#);
    let target = TcpTarget::open();
    let port = target.port;
    register(node(), &s, port, false);
    wait(node(), &s, Clock::start(), true, secs(25.0));
    target.close();
    wait(node(), &s, Clock::start(), false, secs(6.0));
    let again = TcpTarget::open_at(port);
    wait(node(), &s, Clock::start(), true, secs(25.0));
    drop(again);
}
