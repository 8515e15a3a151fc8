//! Unmodified Nacos SDKs of the HTTP generation against the real binary: what they do, and when
//! they hear of it.

use muster_tests::client::Sdk;
use muster_tests::wait::hold;
use muster_tests::{Client, Clock, Node, addr, eventually, name};
use std::sync::OnceLock;
use std::time::Duration;

fn node() -> &'static Node {
    static NODE: OnceLock<Node> = OnceLock::new();
    NODE.get_or_init(Node::start)
}

fn client(sdk: Sdk, namespace: &str) -> Client {
    Client::start(sdk, node().port(), namespace)
}

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Puts an instance into the service that stays: Node's SDK never shows an empty list, it keeps the
/// last one that was not. Gives `ip:port=healthy`.
fn keeper(service: &str, namespace: &str) -> String {
    let ip = addr();
    let lasting = "preserved.heart.beat.timeout%3D600000%2Cpreserved.ip.delete.timeout%3D600000";
    let query = format!("serviceName={service}&ip={ip}&port=1&namespaceId={namespace}&metadata={lasting}");
    node().post(format!("/nacos/v1/ns/instance?{query}")).ok();
    format!("{ip}:1=true")
}

#[track_caller]
fn wait_list(client: &mut Client, service: &str, deadline: Duration, wanted: &[String]) -> Duration {
    let clock = Clock::start();
    eventually(deadline, || {
        let now = client.list(service);
        hold(now == wanted, || format!("{now:?}, not {wanted:?}")).map(|()| clock.elapsed())
    })
}

/// Register, discover, keep alive beyond 30 s, deregister; two namespaces do not see each other.
fn lives(sdk: Sdk) {
    let (s, ip, ns) = (name("orders"), addr(), name("ns"));
    let (mut provider, mut other) = (client(sdk, ""), client(sdk, &ns));
    provider.register(&s, &ip, 8080);
    let host = vec![format!("{ip}:8080=true")];
    wait_list(&mut provider, &s, secs(3.0), &host);
    assert!(other.list(&s).is_empty(), "another namespace");
    let theirs = addr();
    other.register(&s, &theirs, 9090);
    wait_list(&mut other, &s, secs(3.0), &[format!("{theirs}:9090=true")]);
    // beats keep it: healthy at every look for longer than silence would be tolerated
    let clock = Clock::start();
    while clock.elapsed() < secs(34.0) {
        assert_eq!(provider.list(&s), host, "after {:?}", clock.elapsed());
        muster_tests::wait::pause(secs(0.5));
    }
    let (stays, theirs_stays) = (keeper(&s, "public"), keeper(&s, &ns));
    provider.deregister(&s, &ip, 8080);
    wait_list(&mut provider, &s, secs(3.0), &[stays]);
    assert_eq!(other.list(&s), [format!("{theirs}:9090=true"), theirs_stays.clone()]);
    other.deregister(&s, &theirs, 9090);
    wait_list(&mut other, &s, secs(3.0), &[theirs_stays]);
}

/// The provider dies: its last beat was up to 5 s before, so 10 to 20 s later (and a look every
/// 5 s) others see it unhealthy, 25 to 35 s later it is gone.
fn dies(sdk: Sdk) {
    let (s, ip) = (name("orders"), addr());
    let (mut provider, mut consumer) = (client(sdk, ""), client(sdk, ""));
    provider.register(&s, &ip, 8080);
    let stays = keeper(&s, "public");
    wait_list(&mut consumer, &s, secs(3.0), &[format!("{ip}:8080=true"), stays.clone()]);
    provider.kill();
    let ill = wait_list(&mut consumer, &s, secs(25.0), &[format!("{ip}:8080=false"), stays.clone()]);
    let gone = ill + wait_list(&mut consumer, &s, secs(25.0), &[stays]);
    assert!(ill > secs(9.5) && ill < secs(21.5), "unhealthy after {ill:?}");
    assert!(gone > secs(24.5) && gone < secs(36.5), "gone after {gone:?}");
}

/// A subscriber hears of a change within this time.
fn hears(sdk: Sdk, within: Duration) {
    let (s, first, second) = (name("orders"), addr(), addr());
    let (mut provider, mut consumer) = (client(sdk, ""), client(sdk, ""));
    provider.register(&s, &first, 8080);
    wait_list(&mut provider, &s, secs(3.0), &[format!("{first}:8080=true")]);
    consumer.subscribe(&s);
    let one = vec![format!("{first}:8080=true")];
    if sdk != Sdk::Python {
        // Python does not tell of what was there at the subscription
        eventually(secs(5.0), || {
            hold(consumer.changes(&s).contains(&one), || format!("{:?}", consumer.changes(&s)))
        });
    }
    // well clear of the SDK's own first polls: what is heard now is pushed
    muster_tests::wait::pause(secs(3.0));
    let clock = Clock::start();
    provider.register(&s, &second, 8080);
    let two = vec![format!("{first}:8080=true"), format!("{second}:8080=true")];
    let heard = eventually(secs(12.0), || {
        let changes = consumer.changes(&s);
        hold(changes.last() == Some(&two), || format!("{changes:?}")).map(|()| clock.elapsed())
    });
    assert!(heard < within, "heard after {heard:?}");
    let clock = Clock::start();
    provider.deregister(&s, &second, 8080);
    let heard = eventually(secs(12.0), || {
        let changes = consumer.changes(&s);
        hold(changes.last() == Some(&one), || format!("{changes:?}")).map(|()| clock.elapsed())
    });
    assert!(heard < within, "heard after {heard:?}");
}

#[test]
fn python_registers_discovers_beats_and_leaves() {
    lives(Sdk::Python);
}

#[test]
fn python_that_dies_is_unhealthy_at_15_and_gone_at_30_seconds() {
    dies(Sdk::Python);
}

/// It polls (every second here), so this shows only that it understands what it gets.
#[test]
fn python_hears_of_changes_by_polling() {
    hears(Sdk::Python, secs(4.0));
}

#[test]
fn node_registers_discovers_beats_and_leaves() {
    lives(Sdk::Node);
}

#[test]
fn node_that_dies_is_unhealthy_at_15_and_gone_at_30_seconds() {
    dies(Sdk::Node);
}

#[test]
fn node_hears_a_change_by_udp_in_under_a_second_and_a_half() {
    hears(Sdk::Node, secs(1.5));
}

#[test]
fn java_registers_discovers_beats_and_leaves() {
    lives(Sdk::Java);
}

#[test]
fn java_that_dies_is_unhealthy_at_15_and_gone_at_30_seconds() {
    dies(Sdk::Java);
}

#[test]
fn java_hears_a_change_by_udp_in_under_a_second_and_a_half() {
    hears(Sdk::Java, secs(1.5));
}

/// What one SDK registers, the others see.
#[test]
fn the_sdks_see_each_other() {
    let s = name("orders");
    let mut clients = [Sdk::Python, Sdk::Node, Sdk::Java].map(|sdk| client(sdk, "shared-namespace"));
    let mut wanted = Vec::new();
    for client in &mut clients {
        let ip = addr();
        client.register(&s, &ip, 8080);
        wanted.push(format!("{ip}:8080=true"));
    }
    for client in &mut clients {
        wait_list(client, &s, secs(3.0), &wanted);
    }
}

/// A gRPC client needs no beats: its instance stays as long as its connection, and goes with it at once.
/// N103, N225, N235, N236, N248, N255.
#[test]
fn n103_n225_python_over_grpc_lives_with_its_connection() {
    let (s, ip) = (name("orders"), addr());
    let (mut provider, mut consumer) = (client(Sdk::PythonGrpc, ""), client(Sdk::Python, ""));
    provider.register(&s, &ip, 8080);
    let host = vec![format!("{ip}:8080=true")];
    wait_list(&mut provider, &s, secs(3.0), &host);
    wait_list(&mut consumer, &s, secs(3.0), &host);
    let clock = Clock::start();
    while clock.elapsed() < secs(34.0) {
        assert_eq!(consumer.list(&s), host, "after {:?}", clock.elapsed());
        muster_tests::wait::pause(secs(0.5));
    }
    let gone = addr();
    provider.register(&name("other"), &gone, 1);
    provider.kill();
    let gone = wait_list(&mut consumer, &s, secs(10.0), &[]);
    assert!(gone < secs(3.0), "gone after {gone:?}");
}

/// What changes over HTTP is pushed over gRPC, and the other way round. N194, N250, N259, N265.
#[test]
fn n250_n265_python_over_grpc_hears_of_http_changes_by_push() {
    let (s, first, second) = (name("orders"), addr(), addr());
    let (mut provider, mut consumer) = (client(Sdk::Python, ""), client(Sdk::PythonGrpc, ""));
    provider.register(&s, &first, 8080);
    let one = vec![format!("{first}:8080=true")];
    wait_list(&mut consumer, &s, secs(3.0), &one);
    consumer.subscribe(&s);
    muster_tests::wait::pause(secs(2.0));
    let clock = Clock::start();
    provider.register(&s, &second, 8080);
    let two = vec![format!("{first}:8080=true"), format!("{second}:8080=true")];
    let heard = eventually(secs(12.0), || {
        let changes = consumer.changes(&s);
        hold(changes.last() == Some(&two), || format!("{changes:?}")).map(|()| clock.elapsed())
    });
    assert!(heard < secs(1.5), "heard after {heard:?}");
}
