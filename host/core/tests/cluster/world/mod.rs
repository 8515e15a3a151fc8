//! The world of the simulation: nodes, the network between them, clients, targets of checks, and what must hold.

mod clients;
mod network;
mod nodes;
mod promises;
mod targets;

pub(crate) use promises::Promise;

use muster_core::cluster::{Members, Message};
use muster_core::naming::{Naming, ServiceSnapshot, TargetId};
use muster_core::plugin::Outcome;
use muster_core::{ClientId, Instance, ServiceKey};
use promises::hold;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use targets::{Durable, Target};

const BASE: u64 = 1_700_000_000_000;
/// How long clients and the network misbehave.
const STORM: u64 = 120_000;
/// After the storm: reports, retries, verify.
const HEALED: u64 = STORM + 45_000;
/// The same when a node may have started with nobody to tell it what is there, as in a cluster that is younger than a
/// hold: what it remembers is shown for a hold.
const HELD: u64 = STORM + 110_000;
/// And connections of nodes that crashed are forgotten.
const SETTLED: u64 = HELD + 200_000;
/// How long what happens at this moment (an expiry, say) may be on its way to others.
const UNDER_WAY: u64 = 200;
/// A report without an answer has failed.
const REPORT_DEADLINE: u64 = 3_000;

/// What happens to a world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: usize,
    /// packets of a hundred that are lost, while the storm lasts
    pub(crate) loss: u64,
    pub(crate) partitions: bool,
    pub(crate) crashes: bool,
    /// now and then all nodes crash at the same time
    pub(crate) blackouts: bool,
    /// how far the clocks of two nodes may be apart, in milliseconds
    pub(crate) skew: u64,
    /// the first node finds every target dead while the storm lasts, and all ask two others
    pub(crate) blind: bool,
    /// what is done wrong on purpose, so that a promise breaks
    pub(crate) sabotage: Option<Sabotage>,
}

/// What a broken Muster would do. Each breaks a promise, which shows that somebody looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// a registration is acknowledged and not made
    DropsAWrite,
    /// what the first node knows stays with it, from the end of the storm on
    KeepsToItself,
    /// the first node believes to be alone
    BelievesToBeAlone,
    /// a list is published a second time
    PublishesTwice,
    /// after a restart nothing is remembered
    ForgetsLists,
    /// somebody who is not there is responsible for a part
    CountsAGhost,
    /// a turn of health is not written
    DropsFlips,
    /// a broken check counts as a failed one
    CountsBrokenChecks,
    /// other members have no opinion
    HearsNoOpinions,
    /// what is done is to be done again at once
    NeverDone,
}

enum Packet {
    Message(Message),
    Report { starting: bool, call: u64 },
    Answer { starting: bool, call: u64 },
}

enum Event {
    Packet {
        from: usize,
        to: usize,
        packet: Packet,
    },
    /// a report fails unless it was answered
    Deadline {
        node: usize,
        to: usize,
        call: u64,
        reason: &'static str,
    },
    Http(usize),
    Connection(usize),
    Beat(usize),
    Weather,
    Restart(usize),
    Load(usize),
    Store(u16),
    Follow {
        node: usize,
        from: usize,
    },
    Probed {
        node: usize,
        life: u64,
        id: TargetId,
        outcome: Outcome,
    },
    Opinions {
        node: usize,
        life: u64,
        id: TargetId,
        outcomes: Vec<Outcome>,
    },
}

struct Node {
    naming: Naming,
    members: Members,
    published: BTreeMap<ServiceKey, Arc<ServiceSnapshot>>,
    skew: u64,
    /// when it was started, which tells its runs apart
    started: u64,
    ready: bool,
    /// reports under way
    calls: BTreeSet<u64>,
}

/// A client that speaks HTTP: any node, one address, beats.
struct Http {
    id: ClientId,
    side: usize,
    alive: bool,
    services: BTreeSet<usize>,
    /// when it last registered
    since: u64,
}

/// A client with a connection to one node.
struct Connected {
    port: u16,
    id: ClientId,
    node: usize,
    life: u64,
    services: BTreeSet<usize>,
}

pub(crate) struct World {
    plan: Plan,
    random: u64,
    now: u64,
    nodes: Vec<Option<Node>>,
    /// what each node that crashed had on its disk: its lists
    remembered: Vec<Vec<(ServiceKey, Vec<Instance>)>>,
    /// which part of the network a node is in
    side: Vec<usize>,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    next_event: u64,
    http: Vec<Http>,
    connected: Vec<Connected>,
    calls: u64,
    /// addresses that were given to clients so far
    deployments: u16,
    crashes: Vec<u64>,
    /// pushes of empty lists of a service that somebody has been publishing all the time
    stable: ServiceKey,
    durable: Durable,
    targets: BTreeMap<String, Target>,
}

fn service(index: usize) -> ServiceKey {
    ServiceKey::new("", "", &format!("s{index}"))
}

/// Of the persistent instances.
fn db() -> ServiceKey {
    ServiceKey::new("", "", "db")
}

fn address(node: usize) -> String {
    format!("10.1.0.{node}:8848")
}

impl World {
    pub(crate) fn new(seed: u64, plan: Plan) -> Self {
        let mut world = Self {
            plan,
            random: (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            now: 0,
            nodes: Vec::new(),
            remembered: vec![Vec::new(); plan.nodes],
            side: vec![0; plan.nodes],
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            next_event: 0,
            http: Vec::new(),
            connected: Vec::new(),
            calls: 0,
            deployments: 0,
            crashes: Vec::new(),
            stable: service(0),
            durable: Durable::default(),
            targets: BTreeMap::new(),
        };
        world.add_targets();
        world.nodes.resize_with(plan.nodes, || None);
        (0..plan.nodes).for_each(|node| world.start(node));
        for index in 0..6 {
            let id = ClientId::address(&format!("10.0.0.{index}"), 80, true);
            world.http.push(Http { id, side: 0, alive: true, services: BTreeSet::new(), since: 0 });
            let at = world.up_to(3_000);
            world.at(at, Event::Http(index));
            let beat = world.up_to(5_000);
            world.at(beat, Event::Beat(index));
        }
        for index in 0..3_u16 {
            let id = ClientId::Connection("none".into());
            let client =
                Connected { port: 9_000 + index, id, node: usize::MAX, life: 0, services: BTreeSet::new() };
            world.connected.push(client);
            let at = 6_000 + world.up_to(1_000);
            world.at(at, Event::Connection(usize::from(index)));
        }
        world.at(7_000, Event::Weather);
        world
    }

    pub(crate) fn run(mut self) {
        self.run_to(STORM);
        self.calm_down();
        let remembers = self.plan.blackouts || self.plan.crashes;
        self.run_to(if remembers { HELD } else { HEALED });
        self.become_equal();
        self.run_to(SETTLED);
        self.become_equal();
        self.all_as_the_clients_said();
        self.targets_are_as_they_are();
    }

    fn roll(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
    }

    fn up_to(&mut self, most: u64) -> u64 {
        self.roll() % (most + 1)
    }

    fn at(&mut self, delay: u64, event: Event) {
        self.next_event += 1;
        self.events.insert(self.next_event, event);
        self.queue.push(Reverse((self.now + delay, self.next_event)));
    }

    fn stormy(&self) -> bool {
        self.now < STORM
    }

    fn run_to(&mut self, end: u64) {
        for step in 0.. {
            hold(Promise::WorkEnds, step < 1_000_000, || format!("at {}: {}", self.now, self.report_work()));
            let next = self.queue.peek().map(|Reverse((at, _))| *at);
            let due = (0..self.nodes.len()).filter_map(|node| Some((self.deadline(node)?, node))).min();
            match (next, due) {
                (Some(at), due) if at <= end && due.is_none_or(|(due, _)| at <= due) => {
                    let Reverse((at, id)) = self.queue.pop().unwrap();
                    self.now = at.max(self.now);
                    let event = self.events.remove(&id).unwrap();
                    self.happen(event);
                }
                (_, Some((due, node))) if due <= end => {
                    self.now = due.max(self.now);
                    self.tick(node);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    fn report_work(&self) -> String {
        let nodes = self.nodes.iter().flatten();
        let lines = nodes.map(|node| {
            format!(
                "{:?} {:?} {:?}",
                node.naming.next_deadline(),
                node.members.next_deadline(),
                node.naming.distro_counters()
            )
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Packet { from, to, packet } => self.arrive(from, to, packet),
            Event::Deadline { node, to, call, reason } => self.unanswered(node, to, call, reason),
            Event::Http(client) => self.http(client),
            Event::Connection(client) => self.connection(client),
            Event::Beat(client) => {
                self.the_stable_service_is_listed();
                self.beat(client);
            }
            Event::Weather => self.weather(),
            Event::Restart(node) => self.start(node),
            Event::Load(node) => drop(self.step(node, |naming, now| naming.load(now))),
            Event::Store(port) => self.store(port),
            Event::Follow { node, from } => self.follow(node, from),
            Event::Probed { node, life, id, outcome } if self.life(node) == life => {
                self.probed(node, id, outcome);
            }
            Event::Opinions { node, life, id, outcomes } if self.life(node) == life => {
                self.step(node, |naming, _| naming.opinions(id, &outcomes));
            }
            Event::Probed { .. } | Event::Opinions { .. } => {}
        }
    }
}
