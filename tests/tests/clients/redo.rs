//! What is lost with a server or a connection, clients do again.

use crate::changes::follow;
use crate::common::{info, keeper, listed, secs, up, wait_listed};
use muster_tests::client::{ALL, Client, Lacks, Outcome, Sdk, Transport};
use muster_tests::ports::free_port;
use muster_tests::wait::{hold, pause};
use muster_tests::{Clock, Config, Node, Proxy, addr, eventually, name};
use serde_json::{Value, json};
use std::time::Duration;

/// SDKs look for lost work every 3 s, and reconnect with growing pauses.
const REDONE: Duration = Duration::from_secs(60);

/// Two services with an instance each, and a subscriber of one.
struct Stage {
    provider: Client,
    consumer: Client,
    orders: String,
    stock: String,
    host: String,
    before: [Value; 2],
}

impl Stage {
    fn set(sdk: &'static Sdk, node: &Node, port: u16) -> Result<Self, Lacks> {
        let [provider, consumer] = Client::start_all([(sdk, port, ""), (sdk, port, "")]);
        let (orders, stock, ip) = (name("orders"), name("stock"), addr());
        let of = |service: &str| {
            json!({"service": service, "ip": ip, "port": 8080, "weight": 2,
                "metadata": {"of": service}})
        };
        provider.tell("register", of(&orders))?;
        provider.tell("register", of(&stock))?;
        let host = up(&ip, 8080);
        wait_listed(node, &orders, REDONE, std::slice::from_ref(&host));
        wait_listed(node, &stock, REDONE, std::slice::from_ref(&host));
        follow(&consumer, &orders, std::slice::from_ref(&host))?;
        let before = [registry(node, &orders), registry(node, &stock)];
        Ok(Self { provider, consumer, orders, stock, host, before })
    }

    /// Every field of every instance is as before.
    fn is_as_before(&self, node: &Node) {
        eventually(REDONE, || {
            let now = [registry(node, &self.orders), registry(node, &self.stock)];
            hold(now == self.before, || format!("{now:?}, not {:?}", self.before))
        });
    }

    /// The subscription works again: what is registered over HTTP is heard.
    fn hears(&self, node: &Node) -> Outcome {
        if let Some(why) = self.consumer.sdk.loses_subscriptions {
            return Err(Lacks(why.to_owned()));
        }
        let later = keeper(node, &self.orders, "public", &addr());
        self.consumer.wait_change(&self.orders, REDONE, &[self.host.clone(), later]);
        self.provider.register(&name("another"), &addr(), 1)
    }
}

fn registry(node: &Node, service: &str) -> Value {
    info(node, &format!("serviceName={service}"))["hosts"].clone()
}

/// The node stops and starts again, with the same ports and data. From its first answer on it shows the
/// list of before, and nobody hears of another; what it only remembers, clients register again.
pub(crate) fn restart(sdk: &'static Sdk) -> Outcome {
    let bind = format!("127.0.0.1:{}", free_port());
    // longer than anybody takes: what is remembered goes by coming back only
    let config = Config::new().text("http", "bind", &bind).text("naming", "restart-hold", "10m");
    let mut node = Node::with(config);
    let stage = Stage::set(sdk, &node, node.port())?;
    let port = node.port();
    node.stop();
    pause(sdk.notices_after);
    node.start_again();
    assert_eq!(node.port(), port);
    eventually(REDONE, || {
        let now = [registry(&node, &stage.orders), registry(&node, &stage.stock)];
        assert_eq!(now, stage.before, "a gap");
        let waiting = node.metric("muster_remembered_instances");
        hold(waiting < 0.5, || format!("{waiting} instances are only remembered"))
    });
    let heard = stage.hears(&node);
    let changes = stage.consumer.changes(&stage.orders);
    let gap = changes.iter().any(|change| !change.hosts.contains(&stage.host));
    assert!(!gap, "{changes:?}");
    heard
}

/// Every connection breaks, and for a while none can be made.
pub(crate) fn cut(sdk: &'static Sdk) -> Outcome {
    let node = Node::start();
    let proxy = Proxy::before(node.port());
    let stage = Stage::set(sdk, &node, proxy.port())?;
    let cut = proxy.cut();
    if sdk.transport == Transport::Grpc {
        assert!(cut > 0, "nothing to cut");
        wait_listed(&node, &stage.orders, REDONE, &[]);
    }
    pause(sdk.notices_after);
    proxy.mend();
    stage.is_as_before(&node);
    stage.hears(&node)
}

/// A connection that goes silent without ending is asked at 20 s of silence and has 5 s to answer, or goes at 26 s
/// where it cannot be asked; a client may have said something up to 5 s before it went silent. Then its instances are
/// gone, and when the network is back the client registers them again. N222, N223.
#[test]
fn n223_silent_connections_are_dropped_after_20_seconds_and_redone() {
    let node = Node::start();
    let proxy = Proxy::before(node.port());
    let sdks = ALL.iter().filter(|sdk| sdk.transport == Transport::Grpc);
    let clients = Client::start_each(sdks.map(|sdk| (*sdk, proxy.port(), "")).collect());
    let services: Vec<_> = clients.iter().map(|client| (name(client.sdk.name), addr())).collect();
    let there = |(service, ip): &(String, String)| listed(&node, service) == [up(ip, 8080)];
    for (client, (service, ip)) in clients.iter().zip(&services) {
        assert_eq!(client.register(service, ip, 8080), Ok(()));
        wait_listed(&node, service, REDONE, &[up(ip, 8080)]);
    }
    proxy.silence();
    let clock = Clock::start();
    let mut left: Vec<_> = services.iter().collect();
    while !left.is_empty() {
        left.retain(|&service| {
            let before = clock.elapsed();
            let stays = there(service);
            let after = clock.elapsed();
            assert!(stays || after > secs(14.5), "{service:?} gone after {after:?}");
            assert!(!stays || before < secs(31.0), "{service:?} still there after {before:?}");
            stays
        });
        pause(secs(0.1));
    }
    proxy.mend();
    for (service, ip) in &services {
        wait_listed(&node, service, REDONE, &[up(ip, 8080)]);
    }
}
