//! Whatever happens in whatever order: what readers see equals what was published, each client knows its own
//! services, and a state rebuilt from the stored rows equals the one that wrote them.

use muster_core::naming::{Beat, Effect, Naming, Options, ServiceSnapshot, Subscription};
use muster_core::persist::{Change, Command, HealthFlip, MemoryRows};
use muster_core::service::{Selector, ServiceMetadata};
use muster_core::{ClientId, Instance, Metadata, Millis, Overlay, ServiceKey};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Clone, Debug)]
enum Op {
    Register { service: u8, port: u16, weight: u8, by_connection: bool },
    Deregister { service: u8, port: u16 },
    Beat { service: u8, port: u16, full: bool },
    Disconnect { port: u16 },
    Subscribe { service: u8, port: u16 },
    Unsubscribe { service: u8, port: u16 },
    Persist { service: u8, port: u16, weight: u8 },
    Unpersist { service: u8, port: u16 },
    Flip { service: u8, port: u16, healthy: bool },
    SetOverlay { service: u8, port: u16, enabled: bool, present: bool },
    Describe { service: u8, threshold: u8 },
    DeleteService { service: u8 },
    Wait { millis: u32 },
}

fn op() -> impl Strategy<Value = Op> {
    let s = 0u8..3;
    let p = 1u16..5;
    prop_oneof![
        4 => (s.clone(), p.clone(), 0u8..3, any::<bool>())
            .prop_map(|(service, port, weight, by_connection)| Op::Register { service, port, weight, by_connection }),
        2 => (s.clone(), p.clone()).prop_map(|(service, port)| Op::Deregister { service, port }),
        3 => (s.clone(), p.clone(), any::<bool>())
            .prop_map(|(service, port, full)| Op::Beat { service, port, full }),
        1 => p.clone().prop_map(|port| Op::Disconnect { port }),
        2 => (s.clone(), p.clone()).prop_map(|(service, port)| Op::Subscribe { service, port }),
        1 => (s.clone(), p.clone()).prop_map(|(service, port)| Op::Unsubscribe { service, port }),
        3 => (s.clone(), p.clone(), 0u8..3)
            .prop_map(|(service, port, weight)| Op::Persist { service, port, weight }),
        2 => (s.clone(), p.clone()).prop_map(|(service, port)| Op::Unpersist { service, port }),
        2 => (s.clone(), p.clone(), any::<bool>())
            .prop_map(|(service, port, healthy)| Op::Flip { service, port, healthy }),
        2 => (s.clone(), p, any::<bool>(), any::<bool>())
            .prop_map(|(service, port, enabled, present)| Op::SetOverlay { service, port, enabled, present }),
        1 => (s.clone(), 0u8..10).prop_map(|(service, threshold)| Op::Describe { service, threshold }),
        1 => s.prop_map(|service| Op::DeleteService { service }),
        3 => (1u32..70_000).prop_map(|millis| Op::Wait { millis }),
    ]
}

/// What a service keeps: its metadata and its persistent instances.
type Durable = (Option<Arc<ServiceMetadata>>, Vec<Arc<Instance>>);

#[derive(Default)]
struct Node {
    naming: Naming,
    rows: MemoryRows,
    now: Millis,
    published: BTreeMap<ServiceKey, Arc<ServiceSnapshot>>,
}

const IP: &str = "10.0.0.5";

fn key(service: u8) -> ServiceKey {
    ServiceKey::new("", "", ["a", "b", "c"][usize::from(service)])
}

fn instance(port: u16, weight: u8, ephemeral: bool) -> Instance {
    Instance { weight: f64::from(weight), ephemeral, ..Instance::new(IP, port) }
}

fn address(port: u16) -> ClientId {
    ClientId::address(IP, port, true)
}

impl Node {
    fn settle(&mut self) {
        loop {
            let effects = self.naming.effects(self.now);
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Publish(snapshot) => drop(self.published.insert(snapshot.key.clone(), snapshot)),
                    Effect::Unpublish(key) => drop(self.published.remove(&key)),
                    Effect::Propose(command) => self.commit(&command),
                    Effect::Push { .. }
                    | Effect::Probe(_)
                    | Effect::Ask { .. }
                    | Effect::Switches(_)
                    | Effect::Plugin(..)
                    | Effect::Send { .. }
                    | Effect::Loaded => {}
                }
            }
        }
    }

    fn commit(&mut self, command: &Command) {
        for change in self.rows.run(command).1 {
            self.naming.committed(self.now, change);
        }
    }

    fn wait(&mut self, millis: u32) {
        let end = self.now + Millis(u64::from(millis));
        while let Some(due) = self.naming.next_deadline().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.naming.tick(self.now);
            self.settle();
        }
        self.now = end;
    }

    fn run(&mut self, op: Op) {
        let now = self.now;
        match op {
            Op::Register { service, port, weight, by_connection } => {
                let id = if by_connection {
                    ClientId::Connection(format!("1_x_{port}").into())
                } else {
                    address(port)
                };
                // A refusal is as good an answer as any: the state must be sound after it, too.
                let _ = self.naming.register(now, &id, &key(service), instance(port, weight, true));
            }
            Op::Deregister { service, port } => self.naming.deregister(now, &address(port), &key(service)),
            Op::Beat { service, port, full } => {
                let full = full.then(|| instance(port, 1, true));
                let _ = self.naming.beat(now, &key(service), Beat { ip: IP.into(), port, full });
            }
            Op::Disconnect { port } => {
                self.naming.disconnect(now, &ClientId::Connection(format!("1_x_{port}").into()));
            }
            Op::Subscribe { service, port } => self.naming.subscribe(
                now,
                Subscription {
                    client: address(port),
                    service: key(service),
                    ip: IP.into(),
                    port,
                    clusters: "".into(),
                    agent: "".into(),
                    app: "".into(),
                },
            ),
            Op::Unsubscribe { service, port } => self.naming.unsubscribe(&address(port), &key(service)),
            Op::Persist { service, port, weight } => {
                let new = instance(port, weight, false);
                if let Ok(instance) = self.naming.prepare_persistent(now, &key(service), new) {
                    self.commit(&Command::RegisterInstance { service: key(service), instance });
                }
            }
            Op::Unpersist { service, port } => {
                let address = format!("{IP}:{port}");
                self.commit(&Command::DeregisterInstance { service: key(service), address });
            }
            Op::Flip { service, port, healthy } => {
                let flip = HealthFlip { service: key(service), address: format!("{IP}:{port}"), healthy };
                self.commit(&Command::SetHealth { flips: vec![flip] });
            }
            Op::SetOverlay { service, port, enabled, present } => {
                let overlay = present.then(|| Overlay { enabled: Some(enabled), ..Overlay::default() });
                let metadata_id = instance(port, 1, true).metadata_id();
                self.commit(&Command::SetOverlay { service: key(service), metadata_id, overlay });
            }
            Op::Describe { service, threshold } => self.commit(&Command::UpdateService {
                service: key(service),
                ephemeral: false,
                protect_threshold: f32::from(threshold) / 10.0,
                metadata: Metadata::new(),
                selector: Selector::None,
            }),
            Op::DeleteService { service } => {
                if self.naming.delete_service(&key(service)).is_ok() {
                    self.commit(&Command::DeleteService { service: key(service) });
                }
            }
            Op::Wait { millis } => self.wait(millis),
        }
        self.settle();
    }

    /// Addresses that readers see, against those that clients published.
    fn check(&self) {
        for service in 0..3 {
            let key = key(service);
            let seen: Vec<u16> = self
                .published
                .get(&key)
                .map(|s| s.instances.iter().map(|i| i.port).collect())
                .unwrap_or_default();
            let publishers = self.naming.publishers(&key);
            let published: BTreeSet<u16> = publishers.iter().map(|view| view.instance.port).collect();
            assert_eq!(seen, published.into_iter().collect::<Vec<_>>(), "{key}");
            assert_eq!(self.published.contains_key(&key), self.naming.service_exists(&key), "{key}");
            for view in publishers {
                let own = self.naming.published_by(&view.client).expect("a publisher is a client");
                assert!(own.contains(&view), "{view:?}");
            }
            for subscription in self.naming.subscribers(&key) {
                let own = self.naming.subscribed_by(&subscription.client).expect("a subscriber is a client");
                assert!(own.contains(&subscription));
            }
        }
        let counters = self.naming.counters();
        assert_eq!(counters.services, self.published.len());
        assert_eq!(
            counters.targets,
            self.persistent_instances(),
            "every persistent instance has exactly one check"
        );
    }

    fn persistent_instances(&self) -> usize {
        let each = (0..3).flat_map(|service| self.naming.publishers(&key(service)));
        each.filter(|view| !view.client.is_ephemeral()).count()
    }

    /// What persistent data looks like to readers.
    fn durable_view(&self) -> BTreeMap<ServiceKey, Durable> {
        let view = |snapshot: &Arc<ServiceSnapshot>| {
            let kept = snapshot.instances.iter().filter(|i| !i.ephemeral).cloned().collect();
            (snapshot.key.clone(), (snapshot.metadata.clone(), kept))
        };
        let all = self.published.values().map(view);
        all.filter(|(_, (metadata, kept))| metadata.is_some() || !Vec::is_empty(kept)).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_index_equals_the_truth_after_every_step(ops in proptest::collection::vec(op(), 1..60)) {
        let mut node = Node { naming: Naming::new(Options::default()), ..Node::default() };
        for op in ops {
            node.run(op);
            node.check();
        }
    }

    #[test]
    fn n346_n347_n348_a_restart_shows_what_was_stored(ops in proptest::collection::vec(op(), 1..60)) {
        let mut node = Node::default();
        for op in ops {
            node.run(op);
        }
        let mut again = Node { now: node.now, rows: node.rows.clone(), ..Node::default() };
        for (key, row) in node.rows.0.clone() {
            again.naming.committed(again.now, Change { key, row: Some(row) });
        }
        again.settle();
        // Metadata of a service that was cleaned up but not yet forgotten makes the service known again.
        let (old, mut new) = (node.durable_view(), again.durable_view());
        new.retain(|key, (_, kept)| !kept.is_empty() || old.contains_key(key));
        prop_assert_eq!(old, new);
        again.check();
    }
}
