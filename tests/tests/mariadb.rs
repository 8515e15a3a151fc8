//! The MYSQL check against real MariaDB servers: a primary and its replica, a switch-over, wrong
//! passwords, and Nacos's own statement with Nacos's own verdict.

use muster_tests::maria::Maria;
use muster_tests::wait::hold;
use muster_tests::{Clock, Config, Node, encode, eventually, never};
use serde_json::{Value, json};
use std::sync::OnceLock;
use std::time::Duration;

const PASSWORD: &str = "kQ7-probe-pass";
const NACOS_STATEMENT: &str = "show global variables where variable_name='read_only'";

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A server with an account for probes and one for replication.
fn server(id: u32, options: &[&str]) -> Maria {
    let server = Maria::start(id, options);
    for sql in [
        format!("create user 'probe'@'%' identified by '{PASSWORD}'"),
        "create user 'repl'@'%' identified by 'repl-pass'".into(),
        "grant replication slave on *.* to 'repl'@'%'".into(),
    ] {
        server.query(&sql);
    }
    server
}

/// The node that all tests share; each has its own service.
fn node() -> &'static Node {
    static NODE: OnceLock<Node> = OnceLock::new();
    NODE.get_or_init(|| {
        Node::with(Config::new().text("secrets", "probe", PASSWORD).set(
            "plugins.grants.MYSQL",
            "secrets",
            "[\"probe\"]",
        ))
    })
}

/// The server that tests share which only look at it.
fn shared() -> &'static Maria {
    static SERVER: OnceLock<Maria> = OnceLock::new();
    SERVER.get_or_init(|| server(1, &[]))
}

/// A persistent service whose instances are checked like this.
fn service(name: &str, checker: &Value) {
    node().post(format!("/nacos/v1/ns/service?serviceName={name}")).ok();
    let query = format!("serviceName={name}&clusterName=DEFAULT&checkPort=1&useInstancePort4Check=true");
    let checker = encode(&checker.to_string());
    node().put(format!("/nacos/v1/ns/cluster?{query}&healthChecker={checker}")).ok();
}

fn register(service: &str, port: u16, healthy: bool) {
    let query = format!("serviceName={service}&ip=127.0.0.1&port={port}&ephemeral=false&healthy={healthy}");
    node().post(format!("/nacos/v1/ns/instance?{query}")).ok();
}

/// The real health of an instance.
fn healthy(service: &str, port: u16) -> bool {
    let list = node().get(format!("/nacos/v3/admin/ns/instance/list?serviceName={service}")).data();
    let one = list.as_array().and_then(|a| a.iter().find(|h| h["port"] == port)).cloned();
    assert!(one.is_some(), "{list}");
    one.unwrap_or_default()["healthy"] == true
}

fn wait(service: &str, port: u16, wanted: bool, deadline: Duration) -> Duration {
    let clock = Clock::start();
    eventually(deadline, || {
        hold(healthy(service, port) == wanted, || format!("{service}:{port} is not healthy={wanted}"))
            .map(|()| clock.elapsed())
    })
}

fn stays(service: &str, port: u16, wanted: bool, time: Duration) {
    never(time, || {
        hold(healthy(service, port) == wanted, || format!("{service}:{port} turned to {}", !wanted))
    });
}

/// What the last check of an instance found: `outcome`, `code`, `facts`.
fn last(service: &str, port: u16) -> Value {
    let query = format!("serviceName={service}&ip=127.0.0.1&port={port}");
    node().get(format!("/nacos/v3/admin/muster/explain?{query}")).data()["probe"]["last"].clone()
}

/// Waits until the last check found this role.
fn wait_role(service: &str, port: u16, role: &str) {
    eventually(secs(15), || {
        let last = last(service, port);
        hold(last["facts"]["role"] == role, || format!("{service}:{port} is not {role}: {last}"))
    });
}

/// How many logins of the probe a server has refused.
fn refused(server: &Maria) -> u64 {
    let text = server.query("show global status like 'Access_denied_errors'");
    text.split_whitespace().last().and_then(|n| n.parse().ok()).unwrap_or_default()
}

#[test]
fn the_check_follows_a_switch_over() {
    let (one, two) = (server(11, &["--read-only=0"]), server(12, &["--read-only=1"]));
    two.follow_afresh(&one);
    one.query("create database shop");
    eventually(secs(10), || two.try_query("use shop"));
    service("shop-db", &json!({"type": "MYSQL", "user": "probe", "pwd": PASSWORD, "cmd": ""}));
    register("shop-db", one.port, false);
    register("shop-db", two.port, true);
    wait("shop-db", one.port, true, secs(25));
    wait("shop-db", two.port, false, secs(25));
    wait_role("shop-db", one.port, "primary");
    wait_role("shop-db", two.port, "replica");
    // switch over: the old primary becomes read-only first, then the replica is promoted
    one.query("set global read_only=1");
    let position = one.value("select @@gtid_binlog_pos");
    two.query(&format!("select master_gtid_wait('{position}', 10)"));
    two.query("stop slave");
    two.query("set global read_only=0");
    one.follow(&two);
    let down = wait("shop-db", one.port, false, secs(20));
    let up = wait("shop-db", two.port, true, secs(20));
    assert!(down + up < secs(20), "{down:?} {up:?}");
    wait_role("shop-db", one.port, "replica");
    wait_role("shop-db", two.port, "primary");
    stays("shop-db", two.port, true, secs(5));
    // and the data follows the new primary
    two.query("create table shop.t (a int)");
    eventually(secs(10), || one.try_query("select a from shop.t"));
}

#[test]
fn a_dead_server_is_unhealthy_at_once_and_a_living_one_comes_back() {
    let mut server = server(21, &[]);
    service("mortal-db", &json!({"type": "MYSQL", "user": "probe", "pwd": PASSWORD}));
    register("mortal-db", server.port, false);
    wait("mortal-db", server.port, true, secs(25));
    server.kill();
    let at = wait("mortal-db", server.port, false, secs(6));
    assert!(at < secs(5), "{at:?}");
}

#[test]
fn a_wrong_password_is_inconclusive() {
    let server = server(31, &[]);
    for (name, healthy) in [("locked-well", true), ("locked-ill", false)] {
        service(name, &json!({"type": "MYSQL", "user": "probe", "pwd": "wrong-password-f00"}));
        register(name, server.port, healthy);
    }
    let before = refused(&server);
    eventually(secs(15), || hold(refused(&server) >= before + 4, || "the check has not tried".into()));
    for name in ["locked-well", "locked-ill"] {
        assert_eq!(last(name, server.port)["outcome"], "inconclusive", "{}", last(name, server.port));
    }
    stays("locked-well", server.port, true, secs(6));
    stays("locked-ill", server.port, false, secs(1));
    // the right password, stored later, is used from the next check on
    service_update("locked-ill", &json!({"type": "MYSQL", "user": "probe", "pwd": PASSWORD}));
    wait("locked-ill", server.port, true, secs(25));
}

fn service_update(name: &str, checker: &Value) {
    let query = format!("serviceName={name}&clusterName=DEFAULT&checkPort=1&useInstancePort4Check=true");
    node().put(format!("/nacos/v1/ns/cluster?{query}&healthChecker={}", encode(&checker.to_string()))).ok();
}

#[test]
fn too_many_connections_are_inconclusive() {
    let server = server(41, &["--max-connections=10"]);
    service("crowded-db", &json!({"type": "MYSQL", "user": "probe", "pwd": PASSWORD}));
    register("crowded-db", server.port, false);
    wait("crowded-db", server.port, true, secs(25));
    // connections that have not logged in count against the limit as well
    let crowd: Vec<_> = (0..11).map(|_| std::net::TcpStream::connect(("127.0.0.1", server.port))).collect();
    eventually(secs(10), || {
        let last = last("crowded-db", server.port);
        hold(last["outcome"] == "inconclusive", || last.to_string())
    });
    stays("crowded-db", server.port, true, secs(8));
    drop(crowd);
    stays("crowded-db", server.port, true, secs(4));
}

/// With Nacos's exact statement a replica is a soft failure: unhealthy after three.
#[test]
fn n295_nacos_statement_gives_nacos_verdict() {
    let server = server(51, &["--read-only=1"]);
    service("nacos-db", &json!({"type": "MYSQL", "user": "probe", "pwd": PASSWORD, "cmd": NACOS_STATEMENT}));
    register("nacos-db", server.port, true);
    let clock = Clock::start();
    wait("nacos-db", server.port, false, secs(30));
    // 2 s to the first check and two intervals of at least 2 s
    assert!(clock.elapsed() > Duration::from_millis(5800), "{:?}", clock.elapsed());
    server.query("set global read_only=0");
    wait("nacos-db", server.port, true, secs(25));
}

/// Where Nacos's statement is used, Nacos's verdict of a bad login holds, too: unhealthy at once.
/// Muster's own master check calls it inconclusive (`a_wrong_password_is_inconclusive`).
#[test]
fn n296_a_bad_login_with_nacos_statement_is_unhealthy_at_once() {
    let name = "refused-db";
    service(name, &json!({"type": "MYSQL", "user": "probe", "pwd": "nonsense-1", "cmd": NACOS_STATEMENT}));
    register(name, shared().port, true);
    let at = wait(name, shared().port, false, secs(9));
    assert!(at < secs(8), "{at:?}");
}

#[test]
fn n296_bad_sql_is_unhealthy_at_once() {
    service("bad-sql-db", &json!({"type": "MYSQL", "user": "probe", "pwd": PASSWORD, "cmd": "selekt 1"}));
    register("bad-sql-db", shared().port, true);
    wait("bad-sql-db", shared().port, false, secs(9));
    service("sql-db", &json!({"type": "MYSQL", "user": "probe", "pwd": PASSWORD, "cmd": "select 1"}));
    register("sql-db", shared().port, false);
    wait("sql-db", shared().port, true, secs(25));
}

#[test]
fn n297_the_instance_port_is_used_whatever_the_check_port() {
    let name = "ported-db";
    node().post(format!("/nacos/v1/ns/service?serviceName={name}")).ok();
    let checker = encode(&json!({"type": "MYSQL", "user": "probe", "pwd": PASSWORD}).to_string());
    let closed = muster_tests::target::closed_port();
    let query =
        format!("serviceName={name}&clusterName=DEFAULT&checkPort={closed}&useInstancePort4Check=false");
    node().put(format!("/nacos/v1/ns/cluster?{query}&healthChecker={checker}")).ok();
    register(name, shared().port, false);
    wait(name, shared().port, true, secs(25));
}

/// A password may also be a handle of the node's settings: then not even the stored settings hold it.
#[test]
fn a_password_can_be_a_handle() {
    service("handle-db", &json!({"type": "MYSQL", "user": "probe", "pwd": "secret:probe"}));
    register("handle-db", shared().port, false);
    wait("handle-db", shared().port, true, secs(25));
}

#[test]
fn the_password_is_nowhere_to_be_read() {
    let node = Node::with(Config::new().env("MUSTER_LOG", "debug"));
    let (right, wrong) = (PASSWORD, "zz-wrong-pass-9");
    for (name, password) in [("right-db", right), ("wrong-db", wrong)] {
        node.post(format!("/nacos/v1/ns/service?serviceName={name}")).ok();
        let checker = encode(&json!({"type": "MYSQL", "user": "probe", "pwd": password}).to_string());
        let query = format!("serviceName={name}&clusterName=DEFAULT&checkPort=1&useInstancePort4Check=true");
        node.put(format!("/nacos/v1/ns/cluster?{query}&healthChecker={checker}")).ok();
        let at =
            format!("serviceName={name}&ip=127.0.0.1&port={}&ephemeral=false&healthy=false", shared().port);
        node.post(format!("/nacos/v1/ns/instance?{at}")).ok();
    }
    let list = || node.get("/nacos/v3/admin/ns/instance/list?serviceName=right-db").data();
    eventually(secs(25), || hold(list()[0]["healthy"] == true, || list().to_string()));
    for name in ["right-db", "wrong-db"] {
        for path in [
            format!("/nacos/v1/ns/catalog/service?serviceName={name}"),
            format!("/nacos/v1/ns/service?serviceName={name}"),
            format!("/nacos/v2/ns/service?serviceName={name}"),
            format!("/nacos/v3/admin/ns/service?serviceName={name}"),
            "/nacos/v3/admin/ns/service/list?withInstances=true".into(),
            "/nacos/v1/ns/catalog/services?withInstances=true&pageNo=1&pageSize=10".into(),
            format!("/nacos/v1/ns/instance/list?serviceName={name}"),
            "/nacos/v1/ns/operator/metrics?onlyStatus=false".into(),
            "/metrics".into(),
            "/nacos/metrics".into(),
            "/nacos/v1/ns/health/checkers".into(),
        ] {
            let reply = node.get(&path);
            assert!(!reply.body.contains(right) && !reply.body.contains(wrong), "{path}: {}", reply.body);
        }
    }
    // the answer still says that it is a MYSQL check, of which user
    let catalog = node.get("/nacos/v1/ns/catalog/service?serviceName=right-db").json();
    assert_eq!(catalog["clusters"][0]["healthChecker"]["type"], "MYSQL", "{catalog}");
    assert_eq!(catalog["clusters"][0]["healthChecker"]["user"], "probe", "{catalog}");
    // a refused change, which quotes what it refuses
    let checker = encode(&json!({"type": "MYSQL", "user": 7, "pwd": right, "nonsense": wrong}).to_string());
    let query = "serviceName=right-db&clusterName=DEFAULT&checkPort=1&useInstancePort4Check=true";
    let reply = node.put(format!("/nacos/v1/ns/cluster?{query}&healthChecker={checker}"));
    assert!(!reply.body.contains(right), "{}", reply.body);
    let log = node.log();
    assert!(!log.contains(right) && !log.contains(wrong), "{log}");
}
