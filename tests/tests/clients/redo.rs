//! What is lost with a server or a connection, clients do again.

use crate::changes::follow;
use crate::common::{info, keeper, up, wait_listed};
use muster_tests::client::{Client, Lacks, Outcome, Sdk, Transport};
use muster_tests::ports::free_port;
use muster_tests::wait::hold;
use muster_tests::{Config, Node, Proxy, addr, eventually, name};
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

/// The node stops and starts again, with the same ports and data. Who subscribes over gRPC hears no
/// list without the instance meanwhile; SDKs that poll see what is there.
pub(crate) fn restart(sdk: &'static Sdk) -> Outcome {
    let mut node = Node::with(Config::new().text("http", "bind", &format!("127.0.0.1:{}", free_port())));
    let stage = Stage::set(sdk, &node, node.port())?;
    let port = node.port();
    node.stop();
    muster_tests::wait::pause(sdk.notices_after);
    node.start_again();
    assert_eq!(node.port(), port);
    stage.is_as_before(&node);
    stage.hears(&node)?;
    if sdk.transport == Transport::Grpc {
        let changes = stage.consumer.changes(&stage.orders);
        let gap = changes.iter().any(|change| !change.hosts.contains(&stage.host));
        assert!(!gap, "{changes:?}");
    }
    Ok(())
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
    muster_tests::wait::pause(sdk.notices_after);
    proxy.mend();
    stage.is_as_before(&node);
    stage.hears(&node)
}
