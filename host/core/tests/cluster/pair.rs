//! Two nodes and the messages between them, which a test delivers, holds back or loses.

use muster_core::cluster::{Message, NodeId, View};
use muster_core::naming::{Beat, CLIENT_EXPIRY, Effect, FORMER_GRACE, Naming, ServiceSnapshot, Subscription};
use muster_core::persist::{Change, Row, RowKey};
use muster_core::{ClientId, Instance, Millis, ServiceKey};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

const IDS: [NodeId; 2] = [NodeId(1), NodeId(2)];

struct Pair {
    now: Millis,
    nodes: [Naming; 2],
    lists: [BTreeMap<ServiceKey, Arc<ServiceSnapshot>>; 2],
    /// who sent what; in the order of sending
    wire: VecDeque<(usize, Message)>,
}

fn orders() -> ServiceKey {
    ServiceKey::new("", "", "orders")
}

impl Pair {
    fn new() -> Self {
        let mut pair = Self {
            now: Millis(1_700_000_000_000),
            nodes: [Naming::default(), Naming::default()],
            lists: Default::default(),
            wire: VecDeque::new(),
        };
        for (node, id) in IDS.into_iter().enumerate() {
            pair.nodes[node].join(id);
            pair.step(node, |naming, now| naming.load(now));
        }
        pair.see(0, true);
        pair.see(1, true);
        pair
    }

    fn see(&mut self, node: usize, serves: bool) {
        let view = View { others: BTreeMap::from([(IDS[1 - node], serves)]) };
        self.step(node, |naming, now| naming.set_view(now, view));
    }

    fn step<T>(&mut self, node: usize, work: impl FnOnce(&mut Naming, Millis) -> T) -> T {
        let answer = work(&mut self.nodes[node], self.now);
        for effect in self.nodes[node].effects(self.now) {
            match effect {
                Effect::Publish(snapshot) => {
                    self.lists[node].insert(snapshot.key.clone(), snapshot);
                }
                Effect::Unpublish(key) => drop(self.lists[node].remove(&key)),
                Effect::Send { message, .. } => self.wire.push_back((node, *message)),
                _ => {}
            }
        }
        answer
    }

    /// Delivers what is under way, and what that leads to, except what `lost` picks.
    fn deliver(&mut self, lost: impl Fn(usize, &Message) -> bool) {
        for _ in 0..1_000 {
            let Some((from, message)) = self.wire.pop_front() else { return };
            if !lost(from, &message) {
                self.step(1 - from, |naming, now| naming.receive(now, IDS[from], message));
            }
        }
        panic!("the nodes do not stop talking: {:?}", self.wire);
    }

    fn settle(&mut self) {
        self.deliver(|_, _| false);
    }

    /// Time passes, second by second; messages arrive unless `lost`.
    fn pass(&mut self, seconds: u64, lost: impl Fn(usize, &Message) -> bool) {
        for _ in 0..seconds {
            self.now = self.now + Millis::from_secs(1);
            for node in 0..2 {
                self.step(node, |naming, now| naming.tick(now));
            }
            self.deliver(&lost);
        }
    }

    fn register(&mut self, node: usize, port: u16) {
        let client = ClientId::address("10.0.0.5", port, true);
        let instance = Instance::new("10.0.0.5", port);
        self.step(node, |naming, now| naming.register(now, &client, &orders(), instance)).unwrap();
    }

    fn deregister(&mut self, node: usize, port: u16) {
        let client = ClientId::address("10.0.0.5", port, true);
        self.step(node, |naming, now| naming.deregister(now, &client, &orders()));
    }

    fn beat(&mut self, node: usize, port: u16) -> bool {
        let beat = Beat { ip: "10.0.0.5".into(), port, full: None };
        self.step(node, |naming, now| naming.beat(now, &orders(), beat)).unwrap().known
    }

    fn connect(&mut self, node: usize, id: &str) {
        let client = ClientId::Connection(id.into());
        self.step(node, |naming, now| naming.connect(now, &client));
        let instance = Instance::new("10.0.1.1", 9_000);
        self.step(node, |naming, now| naming.register(now, &client, &orders(), instance)).unwrap();
    }

    /// Port and health of what a node lists.
    fn listed(&self, node: usize) -> Vec<(u16, bool)> {
        let list = self.lists[node].get(&orders());
        list.map(|list| list.instances.iter().map(|i| (i.port, i.healthy)).collect()).unwrap_or_default()
    }

    fn both(&self, wanted: &[(u16, bool)]) {
        assert_eq!([self.listed(0), self.listed(1)], [wanted, wanted]);
    }

    /// A port whose client `node` judges, and one that the other does.
    fn judged_by(&self, node: usize) -> u16 {
        let ring = IDS.into_iter().collect();
        let owner = |port: &u16| muster_core::cluster::owner::owner(&ring, &format!("10.0.0.5:{port}"));
        (8_000..9_000).find(|port| owner(port) == Some(IDS[node])).unwrap()
    }
}

#[test]
fn n329_a_change_is_sent_in_the_step_that_makes_it() {
    let mut pair = Pair::new();
    pair.settle();
    pair.register(0, 8_080);
    assert!(matches!(pair.wire.front(), Some((0, Message::Sync { .. }))));
    pair.settle();
    pair.both(&[(8_080, true)]);
    pair.deregister(1, 8_080);
    pair.settle();
    pair.both(&[]);
}

#[test]
fn a_registration_overtakes_a_deregistration_that_has_not_arrived() {
    let mut pair = Pair::new();
    pair.register(0, 8_080);
    pair.settle();
    pair.deregister(0, 8_080);
    pair.now = pair.now + Millis(2);
    pair.register(1, 8_080); // nothing new to this node, which has not heard yet
    pair.settle();
    pair.both(&[(8_080, true)]);
}

#[test]
fn a_deregistration_overtakes_a_registration_that_has_not_arrived() {
    let mut pair = Pair::new();
    pair.settle();
    pair.register(0, 8_080);
    pair.now = pair.now + Millis(2);
    pair.deregister(1, 8_080);
    pair.settle();
    pair.both(&[]);
}

#[test]
fn a_late_message_does_not_bring_back_what_was_removed() {
    let mut pair = Pair::new();
    pair.settle();
    pair.register(0, 8_080);
    let late = pair.wire.clone();
    pair.settle();
    pair.deregister(1, 8_080);
    pair.settle();
    pair.wire.extend(late);
    pair.settle();
    pair.both(&[]);
}

#[test]
fn beats_that_another_node_hears_reach_the_one_that_judges() {
    let mut pair = Pair::new();
    let port = pair.judged_by(0);
    pair.register(1, port);
    pair.settle();
    for _ in 0..20 {
        assert!(pair.beat(1, port));
        pair.pass(5, |_, _| false);
        pair.both(&[(port, true)]);
    }
    let objections = pair.nodes[1].distro_counters().unwrap().objections;
    assert_eq!(objections, 0, "the judge was told in time");
    pair.pass(40, |_, _| false);
    pair.both(&[]);
}

#[test]
fn a_node_that_hears_a_client_objects_when_another_calls_it_silent() {
    let mut pair = Pair::new();
    let port = pair.judged_by(0);
    pair.register(1, port);
    pair.settle();
    for _ in 0..20 {
        assert!(pair.beat(1, port));
        pair.pass(5, |_, message| matches!(message, Message::Renew { .. }));
        pair.both(&[(port, true)]);
    }
    assert!(pair.nodes[1].distro_counters().unwrap().objections > 0);
}

#[test]
fn what_a_node_finds_out_does_not_outdo_a_deregistration_that_has_not_arrived() {
    let mut pair = Pair::new();
    let port = pair.judged_by(0);
    pair.register(1, port);
    pair.settle();
    pair.pass(14, |_, _| false);
    pair.deregister(1, port);
    let under_way = std::mem::take(&mut pair.wire);
    pair.now = pair.now + Millis::from_secs(2);
    pair.step(0, |naming, now| naming.tick(now));
    assert_eq!(pair.listed(0), [(port, false)], "the judge has heard nothing");
    pair.settle();
    pair.wire.extend(under_way);
    pair.settle();
    pair.both(&[]);
}

#[test]
fn a_new_judge_gives_clients_their_full_time() {
    let mut pair = Pair::new();
    let port = pair.judged_by(0);
    pair.register(0, port);
    pair.settle();
    for _ in 0..12 {
        pair.beat(0, port);
        pair.pass(5, |_, _| false);
    }
    // the judge is gone; the other has heard nothing for a minute
    pair.see(1, false);
    pair.pass(14, |_, _| true);
    assert_eq!(pair.listed(1), [(port, true)]);
    pair.pass(3, |_, _| true);
    assert_eq!(pair.listed(1), [(port, false)]);
    pair.pass(15, |_, _| true);
    assert_eq!(pair.listed(1), []);
}

#[test]
fn a_judge_that_hands_a_client_over_says_how_long_it_was_silent() {
    let mut pair = Pair::new();
    let port = pair.judged_by(1);
    pair.see(0, false); // it judges all
    pair.see(1, false);
    pair.register(0, port);
    pair.deliver(|_, _| false);
    pair.pass(12, |_, _| false);
    pair.both(&[(port, true)]);
    pair.see(1, true);
    pair.see(0, true);
    pair.settle();
    pair.pass(4, |_, _| false);
    pair.both(&[(port, false)]);
}

#[test]
fn n336_a_node_that_starts_has_all_data_before_it_serves() {
    let mut pair = Pair::new();
    for port in 0..1_300 {
        pair.register(0, port);
    }
    pair.deliver(|_, _| true);
    pair.nodes[1] = Naming::default();
    pair.nodes[1].join(IDS[1]);
    pair.see(1, true);
    pair.step(1, |naming, now| naming.load(now));
    assert!(!pair.nodes[1].is_loaded());
    pair.settle();
    assert!(pair.nodes[1].is_loaded());
    assert_eq!(pair.listed(1).len(), 1_300);
}

#[test]
fn what_was_lost_is_found_by_a_verify_with_one_small_message() {
    let mut pair = Pair::new();
    pair.settle();
    for port in 0..700 {
        pair.register(0, port);
    }
    pair.settle();
    // a node that lost half of it without noticing: it was replaced by an empty one
    pair.nodes[1] = Naming::default();
    pair.nodes[1].join(IDS[1]);
    pair.lists[1].clear();
    pair.step(1, |naming, now| naming.load(now));
    pair.see(1, true);
    for _ in 0..2 {
        for port in 0..700 {
            pair.beat(0, port);
        }
        pair.pass(5, |_, _| false);
    }
    assert_eq!(pair.listed(1).len(), 700);
    pair.now = pair.now + Millis::from_secs(5);
    pair.step(0, |naming, now| naming.tick(now));
    let verifies: Vec<_> = pair.wire.iter().filter(|(_, m)| matches!(m, Message::Verify { .. })).collect();
    assert_eq!(verifies.len(), 1);
    assert!(serde_json::to_string(&verifies[0].1).unwrap().len() < 200);
}

#[test]
fn n339_connections_of_a_node_that_is_gone_are_forgotten_after_three_minutes() {
    let mut pair = Pair::new();
    pair.connect(0, "1_10.0.1.1_9000");
    pair.settle();
    pair.both(&[(9_000, true)]);
    pair.see(1, false);
    pair.pass(CLIENT_EXPIRY.0 / 1_000 - 6, |_, _| true);
    assert_eq!(pair.listed(1), [(9_000, true)]);
    pair.pass(12, |_, _| true);
    assert_eq!(pair.listed(1), []);
    // it was only cut off: its connection is there, and it says so
    pair.see(1, true);
    pair.pass(10, |_, _| false);
    pair.both(&[(9_000, true)]);
}

#[test]
fn connections_of_a_former_life_stay_until_their_clients_had_time_to_come_back() {
    let mut pair = Pair::new();
    pair.connect(0, "1_10.0.1.1_9000");
    pair.settle();
    pair.nodes[0] = Naming::default();
    pair.nodes[0].join(IDS[0]);
    pair.lists[0].clear();
    pair.see(0, true);
    pair.step(0, |naming, now| naming.load(now));
    pair.settle();
    pair.both(&[(9_000, true)]);
    pair.pass(FORMER_GRACE.0 / 1_000 + 6, |_, _| false);
    pair.both(&[]);
}

#[test]
fn n337_n338_persistent_instances_and_subscriptions_do_not_travel() {
    let mut pair = Pair::new();
    pair.settle();
    let instance = Instance { ephemeral: false, ..Instance::new("10.0.0.7", 80) };
    let key = RowKey::Instance(ServiceKey::new("", "", "db"), "10.0.0.7:80".into());
    pair.step(0, |naming, now| naming.committed(now, Change { key, row: Some(Row::Instance(instance)) }));
    let subscription = Subscription {
        client: ClientId::Connection("1_10.0.1.1_9000".into()),
        service: orders(),
        ip: "10.0.1.1".into(),
        port: 0,
        clusters: "".into(),
        agent: "".into(),
        app: "".into(),
    };
    pair.step(0, |naming, now| naming.subscribe(now, subscription));
    assert!(pair.wire.is_empty(), "{:?}", pair.wire);
}
