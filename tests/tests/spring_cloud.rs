//! A Spring Cloud Alibaba pair: the consumer knows its provider by name only and finds it through
//! Muster. The applications are in `clients/spring-cloud`; nothing in them knows of Muster.

use muster_tests::ports::free_port;
use muster_tests::process::{Process, build_folder};
use muster_tests::udp::hosts;
use muster_tests::wait::hold;
use muster_tests::{Config, Http, Node, Request, eventually};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

/// From the start of an application to its first request, on a machine that is busy with others.
const START: Duration = Duration::from_secs(180);

/// From a change in the registry to the consumer that was told of it; half a second when idle.
const HEARD: Duration = Duration::from_secs(20);

/// From the restart of the node until both have registered again; about 3 s when idle.
const SOON_BACK: Duration = Duration::from_secs(60);

/// Starts one of the applications, as a client of the node, on a port of the system's choice.
#[track_caller]
fn start(node: &Node, class: &str, name: &str) -> Process {
    let built = build_folder().parent().expect("target/<profile>").join("clients/spring-cloud");
    let (classes, jars) = (built.join("classes"), built.join("dependency"));
    assert!(jars.exists(), "no {}: tests/run installs the clients", jars.display());
    let mut command = Command::new("java");
    command
        .args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        // logs and caches of the SDK go beside the classes, not into the home of whoever tests
        .arg(format!("-Duser.home={}", built.join("home").display()))
        .arg("-cp")
        .arg(format!("{}:{}/*", classes.display(), jars.display()))
        .arg(class)
        .arg(format!("--spring.application.name={name}"))
        .arg(format!("--spring.cloud.nacos.discovery.server-addr={}", node.addr))
        .args([
            "--spring.cloud.nacos.discovery.ip=127.0.0.1",
            "--server.address=127.0.0.1",
            "--server.port=0",
        ])
        // the load balancer keeps lists for 35 s, for registries that do not push
        .arg("--spring.cloud.loadbalancer.cache.enabled=false");
    Process::start(&mut command, None)
}

/// `ip:port` of the instances of a service that the node lists.
#[track_caller]
fn listed(node: &Node, service: &str) -> Vec<String> {
    let list = node.get(format!("/nacos/v1/ns/instance/list?serviceName={service}&healthyOnly=true")).json();
    hosts(&list).iter().map(|host| host.trim_end_matches("=true").to_owned()).collect()
}

/// Where an application listens, when it has registered itself.
#[track_caller]
fn wait_registered(node: &Node, application: &mut Process, service: &str) -> SocketAddr {
    eventually(START, || {
        assert!(application.ended().is_none(), "{}", application.log.text());
        let listed = listed(node, service);
        let [one] = listed.as_slice() else {
            return Err(format!("{service} at {listed:?}; {}", application.log.text()));
        };
        one.parse().map_err(|error| format!("{one}: {error}"))
    })
}

/// Waits until the consumer gives exactly this answer.
#[track_caller]
fn wait_answer(consumer: &Http, target: &str, wanted: &str) {
    eventually(HEARD, || {
        let reply = consumer.try_send(&Request::new("GET", target)).map_err(|error| error.to_string())?;
        hold((reply.status, reply.body.as_str()) == (200, wanted), || {
            format!("{target}: {} {}, not {wanted}", reply.status, reply.body)
        })
    });
}

#[track_caller]
fn wait_status(consumer: &Http, target: &str, wanted: u16) {
    eventually(HEARD, || {
        let reply = consumer.try_send(&Request::new("GET", target)).map_err(|error| error.to_string())?;
        hold(reply.status == wanted, || format!("{target}: {reply:?}, not {wanted}"))
    });
}

/// What the consumer sees of a provider that is there: its address, and its answer to a call.
#[track_caller]
fn wait_calls(consumer: &Http, provider: SocketAddr) {
    wait_answer(consumer, "/providers/greeting", &format!("[\"{provider}\"]"));
    wait_answer(consumer, "/call/greeting", &format!("hello from {}", provider.port()));
}

#[test]
fn a_consumer_finds_its_provider_through_a_restart_sees_it_go_and_finds_it_elsewhere() {
    let bind = format!("127.0.0.1:{}", free_port());
    // longer than anybody takes: what is remembered goes by coming back only
    let config = Config::new().text("http", "bind", &bind).text("naming", "restart-hold", "10m");
    let mut node = Node::with(config);
    let mut caller = start(&node, "muster.consumer.Consumer", "caller");
    let mut greeting = start(&node, "muster.provider.Provider", "greeting");
    let consumer = Http { addr: wait_registered(&node, &mut caller, "caller") };
    let first = wait_registered(&node, &mut greeting, "greeting");
    wait_calls(&consumer, first);

    // both register and subscribe again by themselves, and meanwhile nobody sees a list without the provider
    node.stop();
    node.start_again();
    eventually(SOON_BACK, || {
        assert_eq!(listed(&node, "greeting"), [first.to_string()]);
        let reply = consumer.try_send(&Request::new("GET", "/providers/greeting"));
        let reply = reply.map_err(|error| error.to_string())?;
        assert!(reply.status != 200 || reply.body == format!("[\"{first}\"]"), "{reply:?}");
        let waiting = node.metric("muster_remembered_instances");
        hold(waiting < 0.5, || format!("{waiting} instances are only remembered"))
    });
    assert_eq!(wait_registered(&node, &mut caller, "caller"), consumer.addr);
    wait_calls(&consumer, first);

    greeting.kill();
    wait_answer(&consumer, "/providers/greeting", "[]");
    wait_status(&consumer, "/call/greeting", 500);

    // somebody else has the port now, so the next provider gets another
    let _taken = TcpListener::bind(first);
    let mut greeting = start(&node, "muster.provider.Provider", "greeting");
    let second = wait_registered(&node, &mut greeting, "greeting");
    assert_ne!(first, second);
    wait_calls(&consumer, second);
}
