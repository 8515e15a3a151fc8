use super::*;
use crate::filters::Filters;
use muster_core::naming::Protection;
use muster_core::{ClientId, Instance, Millis};
use serde_json::Value;
use std::net::Ipv4Addr;

pub(super) fn snapshot(name: &str, revision: u64) -> Arc<ServiceSnapshot> {
    Arc::new(ServiceSnapshot {
        key: ServiceKey::new("", "", name),
        ephemeral: true,
        revision,
        metadata: None,
        instances: vec![Arc::new(Instance::new("10.0.0.5", 8080))],
    })
}

pub(super) fn subscription(name: &str, port: u16) -> Arc<Subscription> {
    Arc::new(Subscription {
        client: ClientId::address("127.0.0.1", port, true),
        service: ServiceKey::new("", "", name),
        ip: "127.0.0.1".into(),
        port,
        clusters: "".into(),
        agent: "Nacos-Java-Client:v1.4.3".into(),
        app: "".into(),
    })
}

const ACK_TIMEOUT: Duration = Duration::from_millis(150);
const PATIENCE: Duration = Duration::from_secs(5);

struct Setup {
    push: UdpPush,
    tasks: Tasks,
    client: UdpSocket,
}

impl Setup {
    async fn new() -> Self {
        let options = UdpOptions {
            ack_timeout: ACK_TIMEOUT,
            max_pending: NonZeroUsize::new(100).unwrap(),
            lists: Lists::new(Arc::default(), Filters::default(), Protection::Nacos),
            switches: Arc::default(),
            clock: Clock::starting_at(Millis(1_700_000_000_000)),
        };
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let push = UdpPush::bind(local, options).await.unwrap();
        let tasks = Tasks::new();
        push.start(&tasks);
        Self { push, tasks, client: UdpSocket::bind(local).await.unwrap() }
    }

    fn push(&self, revision: u64) {
        let port = self.client.local_addr().unwrap().port();
        self.push.push(snapshot("orders", revision), vec![subscription("orders", port)]);
    }

    async fn receive(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = vec![0; RECEIVE];
        let received = tokio::time::timeout(PATIENCE, self.client.recv_from(&mut buffer)).await;
        let (length, from) = received.unwrap().unwrap();
        buffer.truncate(length);
        (buffer, from)
    }

    async fn reach(&self, wanted: impl Fn(PushCounters) -> bool) {
        let reached = async {
            while !wanted(self.push.counters()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, reached).await.is_ok(), "{:?}", self.push.counters());
    }
}

fn json(datagram: &[u8]) -> Value {
    serde_json::from_slice(datagram).unwrap()
}

#[tokio::test]
async fn n194_n195_n197_a_change_is_pushed_with_the_grouped_name_and_a_small_key() {
    let setup = Setup::new().await;
    setup.push(1);
    let packet = json(&setup.receive().await.0);
    assert_eq!(packet["type"], "dom");
    assert!(packet["lastRefTime"].as_u64().unwrap() < 1 << 53);
    let data = json(packet["data"].as_str().unwrap().as_bytes());
    assert_eq!(data["name"], "DEFAULT_GROUP@@orders");
    assert_eq!(data.get("groupName"), None);
    assert_eq!((&data["cacheMillis"], &data["hosts"][0]["port"]), (&10_000.into(), &8080.into()));
}

#[tokio::test]
async fn n198_n199_an_acknowledgement_as_text_or_number_stops_the_resend() {
    for text in [true, false] {
        let setup = Setup::new().await;
        setup.push(1);
        let (packet, from) = setup.receive().await;
        let key = &json(&packet)["lastRefTime"];
        let key = if text { Value::from(key.to_string()) } else { key.clone() };
        let ack = serde_json::json!({"type": "push-ack", "lastRefTime": key, "data": ""}).to_string();
        setup.client.send_to(ack.as_bytes(), from).await.unwrap();
        setup.reach(|counters| counters.succeeded == 1 && counters.pending == 0).await;
        let silence = tokio::time::timeout(2 * ACK_TIMEOUT, setup.client.recv_from(&mut [0; 8])).await;
        assert!(silence.is_err());
        assert_eq!(setup.push.counters(), PushCounters { total: 1, succeeded: 1, ..PushCounters::default() });
    }
}

#[tokio::test]
async fn n200_without_an_acknowledgement_the_same_packet_comes_exactly_once_more() {
    let setup = Setup::new().await;
    setup.push(1);
    let first = setup.receive().await.0;
    assert_eq!(setup.receive().await.0, first);
    setup.reach(|counters| counters.failed == 1).await;
    let silence = tokio::time::timeout(2 * ACK_TIMEOUT, setup.client.recv_from(&mut [0; 8])).await;
    assert!(silence.is_err());
    let counters = PushCounters { total: 1, failed: 1, resent: 1, ..PushCounters::default() };
    assert_eq!(setup.push.counters(), counters);
}

#[tokio::test]
async fn what_waits_is_sent_before_the_end() {
    let setup = Setup::new().await;
    setup.push(1);
    setup.tasks.drain(Instant::now() + PATIENCE).await.unwrap();
    assert_eq!(json(&setup.receive().await.0)["type"], "dom");
}

#[tokio::test]
async fn a_subscriber_without_an_address_or_port_harms_nobody() {
    let setup = Setup::new().await;
    let mut named = Subscription::clone(&subscription("orders", 7));
    named.ip = "not an address".into();
    setup.push.push(snapshot("orders", 1), vec![Arc::new(named), subscription("orders", 0)]);
    setup.reach(|counters| counters.failed == 1).await;
    setup.push(2);
    assert_eq!(json(&setup.receive().await.0)["type"], "dom");
}
