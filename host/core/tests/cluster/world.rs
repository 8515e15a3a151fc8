//! The world of the simulation: nodes, the network between them, clients, and what must hold.

use muster_core::cluster::{Members, Message, NodeId};
use muster_core::naming::{Beat, Effect, Naming, Options, ServiceSnapshot, Subscription};
use muster_core::{ClientId, Instance, Millis, ServiceKey};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

const BASE: u64 = 1_700_000_000_000;
/// How long clients and the network misbehave.
const STORM: u64 = 120_000;
/// After the storm: reports, retries, verify.
const HEALED: u64 = STORM + 45_000;
/// The same when a node may have started with nobody to tell it what is there: what it remembers is shown for a hold.
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
}

struct Node {
    naming: Naming,
    members: Members,
    published: BTreeMap<ServiceKey, Arc<ServiceSnapshot>>,
    skew: u64,
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
}

fn service(index: usize) -> ServiceKey {
    ServiceKey::new("", "", &format!("s{index}"))
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
        };
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
        let remembers = self.plan.blackouts || (self.plan.crashes && self.plan.partitions);
        self.run_to(if remembers { HELD } else { HEALED });
        self.become_equal();
        self.run_to(SETTLED);
        self.become_equal();
        self.all_as_the_clients_said();
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

    fn time(&self, node: usize) -> Millis {
        let skew = self.nodes[node].as_ref().map_or(0, |node| node.skew);
        Millis(BASE + self.now + skew)
    }

    // ---- nodes

    fn start(&mut self, node: usize) {
        let skew = self.up_to(60);
        let seed = self.roll();
        let started = Millis(BASE + self.now + skew);
        let mut naming = Naming::new(Options { seed, started, ..Options::default() });
        naming.join(NodeId(node as u64 + 1));
        naming.remember(started, std::mem::take(&mut self.remembered[node]));
        let mut members = Members::new(NodeId(node as u64 + 1), &address(node));
        let all: Vec<String> = (0..self.plan.nodes).map(address).collect();
        members.found(&all);
        let fresh =
            Node { naming, members, published: BTreeMap::new(), skew, ready: false, calls: BTreeSet::new() };
        self.nodes[node] = Some(fresh);
        // as the shell does: reach everybody once, then load
        for to in (0..self.plan.nodes).filter(|to| *to != node) {
            self.report(node, to);
        }
        self.at(REPORT_DEADLINE + 100, Event::Load(node));
    }

    fn crash(&mut self, node: usize, most: u64) {
        let Some(former) = self.nodes[node].take() else { return };
        let lists = former.published.into_iter().map(|(key, snapshot)| {
            (key, snapshot.instances.iter().map(|instance| Instance::clone(instance)).collect())
        });
        self.remembered[node] = lists.collect();
        self.crashes.push(self.now);
        let back = 500 + self.up_to(most);
        self.at(back, Event::Restart(node));
        let lost: Vec<usize> =
            (0..self.connected.len()).filter(|at| self.connected[*at].node == node).collect();
        for client in lost {
            self.connected[client].node = usize::MAX;
            let again = 500 + self.up_to(3_000);
            self.at(again, Event::Connection(client));
        }
        // links to it break: the others notice at once that they are refused
        for other in (0..self.plan.nodes).filter(|other| *other != node) {
            self.report(other, node);
        }
    }

    fn step<T>(&mut self, node: usize, work: impl FnOnce(&mut Naming, Millis) -> T) -> Option<T> {
        let now = self.time(node);
        let known = self.nodes[node].as_mut()?;
        let answer = work(&mut known.naming, now);
        let effects = known.naming.effects(now);
        for effect in effects {
            self.carry_out(node, effect);
        }
        Some(answer)
    }

    fn carry_out(&mut self, node: usize, effect: Effect) {
        let calm = !self.plan.partitions && self.plan.loss == 0;
        let Some(known) = &mut self.nodes[node] else { return };
        match effect {
            Effect::Publish(snapshot) => {
                if let Some(former) = known.published.get(&snapshot.key) {
                    assert!(former.revision < snapshot.revision, "revisions only rise");
                }
                let gap = snapshot.key == self.stable && snapshot.instances.is_empty();
                assert!(!(gap && calm && known.ready), "an empty list is shown at {}", self.now);
                drop(known.published.insert(snapshot.key.clone(), snapshot));
            }
            Effect::Unpublish(key) => drop(known.published.remove(&key)),
            Effect::Send { to, message } => {
                self.transmit(node, to.0 as usize - 1, Packet::Message(*message));
            }
            Effect::Loaded => {
                known.ready = true;
                let now = Millis(BASE + self.now + known.skew);
                known.members.ready(now);
                for to in (0..self.plan.nodes).filter(|to| *to != node) {
                    self.report(node, to);
                }
            }
            Effect::Push { snapshot, .. } => {
                let empty = snapshot.instances.is_empty() && snapshot.key == self.stable;
                assert!(!(empty && calm), "an empty list was pushed at {}", self.now);
            }
            Effect::Probe(_) | Effect::Ask { .. } | Effect::Propose(_) | Effect::Switches(_) => {}
        }
    }

    fn see_members(&mut self, node: usize) {
        let Some(known) = &self.nodes[node] else { return };
        let view = known.members.view();
        self.step(node, |naming, now| naming.set_view(now, view));
    }

    // ---- network

    fn cut(&self, from: usize, to: usize) -> bool {
        self.side[from] != self.side[to]
    }

    fn transmit(&mut self, from: usize, to: usize, packet: Packet) {
        if self.stormy() && self.up_to(99) < self.plan.loss {
            return;
        }
        let twice = self.stormy() && self.plan.loss > 0 && self.up_to(99) < 10;
        if twice && let Packet::Message(message) = &packet {
            let delay = self.delay();
            self.at(delay, Event::Packet { from, to, packet: Packet::Message(message.clone()) });
        }
        let delay = self.delay();
        self.at(delay, Event::Packet { from, to, packet });
    }

    fn delay(&mut self) -> u64 {
        let late = self.stormy() && self.plan.loss > 0 && self.up_to(99) < 3;
        1 + if late { self.up_to(20_000) } else { self.up_to(30) }
    }

    fn report(&mut self, node: usize, to: usize) {
        self.calls += 1;
        let call = self.calls;
        let Some(known) = &mut self.nodes[node] else { return };
        known.calls.insert(call);
        let starting = !known.ready;
        let refused = self.nodes[to].is_none() && !self.cut(node, to);
        let (delay, reason) = if refused { (1, "Connection refused") } else { (REPORT_DEADLINE, "deadline") };
        self.at(delay, Event::Deadline { node, to, call, reason });
        self.transmit(node, to, Packet::Report { starting, call });
    }

    fn arrive(&mut self, from: usize, to: usize, packet: Packet) {
        if self.cut(from, to) {
            return;
        }
        let id = NodeId(from as u64 + 1);
        let Some(known) = &mut self.nodes[to] else { return };
        match packet {
            Packet::Message(message) => {
                self.step(to, |naming, now| naming.receive(now, id, message));
            }
            Packet::Report { starting, call } => {
                let answer = Packet::Answer { starting: !known.ready, call };
                known.members.reached(&address(from), id, starting);
                self.see_members(to);
                self.transmit(to, from, answer);
            }
            Packet::Answer { starting, call } => {
                if known.calls.remove(&call) {
                    known.members.reached(&address(from), id, starting);
                    self.see_members(to);
                }
            }
        }
    }

    fn weather(&mut self) {
        if !self.stormy() {
            return;
        }
        if self.plan.partitions {
            let heal = self.up_to(2) == 0;
            for node in 0..self.plan.nodes {
                self.side[node] = if heal { 0 } else { self.up_to(1) as usize };
            }
            for client in 0..self.http.len() {
                self.http[client].side = if heal { 0 } else { self.up_to(1) as usize };
            }
        }
        let running = self.nodes.iter().filter(|node| node.as_ref().is_some_and(|node| node.ready)).count();
        if self.plan.crashes && running > 2 && self.up_to(1) == 0 {
            let node = self.up_to(self.plan.nodes as u64 - 1) as usize;
            self.crash(node, 25_000);
        }
        let all_serve = running == self.plan.nodes;
        // once the first client has registered, and while there is time for it to come back
        if self.plan.blackouts && all_serve && self.http[0].services.contains(&0) {
            (0..self.plan.nodes).for_each(|node| self.crash(node, 2_000));
        }
        let next = 5_000 + self.up_to(20_000);
        self.at(next, Event::Weather);
    }

    fn calm_down(&mut self) {
        self.side.fill(0);
        self.http.iter_mut().for_each(|client| client.side = 0);
    }

    // ---- clients

    /// A node that serves and that a client on `side` can reach.
    fn any_node(&mut self, side: usize) -> Option<usize> {
        let first = self.up_to(self.plan.nodes as u64 - 1) as usize;
        let all = (0..self.plan.nodes).map(|step| (first + step) % self.plan.nodes);
        let fits = |node: &usize| {
            self.side[*node] == side && self.nodes[*node].as_ref().is_some_and(|node| node.ready)
        };
        let all: Vec<usize> = all.collect();
        all.into_iter().find(fits)
    }

    fn http(&mut self, client: usize) {
        let next = 1_500 + self.up_to(9_000);
        if self.stormy() {
            self.at(next, Event::Http(client));
        } else {
            return;
        }
        if let Some(node) = self.any_node(self.http[client].side) {
            let Http { id, services, .. } = &self.http[client];
            let (id, index) = (id.clone(), if client == 0 { 0 } else { 1 + self.random as usize % 3 });
            let key = service(index);
            // the first client publishes the stable service and never stops
            if client > 0 && services.contains(&index) {
                self.http[client].services.remove(&index);
                match self.up_to(3) {
                    0 => self.http[client].alive = false, // it stops without a word
                    _ => drop(self.step(node, |naming, now| naming.deregister(now, &id, &key))),
                }
                if !self.http[client].alive {
                    self.http[client].services.clear();
                    self.http[client].alive = true;
                    // another address, as after a new deployment
                    self.deployments += 1;
                    self.http[client].id = ClientId::address("10.0.9.9", self.deployments, true);
                }
            } else {
                self.register(node, client, index);
            }
        }
    }

    fn register(&mut self, node: usize, client: usize, index: usize) {
        let id = self.http[client].id.clone();
        let (ip, port) = id.ip_and_port();
        let instance = Instance::new(ip, port.parse().unwrap());
        let done = self.step(node, |naming, now| naming.register(now, &id, &service(index), instance));
        done.unwrap().unwrap();
        self.http[client].services.insert(index);
        self.http[client].since = self.now;
    }

    fn beat(&mut self, client: usize) {
        self.at(5_000, Event::Beat(client));
        for index in self.http[client].services.clone() {
            let Some(node) = self.any_node(self.http[client].side) else { continue };
            let id = self.http[client].id.clone();
            let (ip, port) = id.ip_and_port();
            let beat = Beat { ip: ip.to_owned(), port: port.parse().unwrap(), full: None };
            let reply =
                self.step(node, |naming, now| naming.beat(now, &service(index), beat)).unwrap().unwrap();
            if !reply.known {
                self.may_be_forgotten(client);
                self.register(node, client, index);
            }
        }
    }

    /// On a good network nobody who beats is forgotten, whichever nodes crash: except what a node took just before
    /// it crashed, or what has not travelled yet, or where all crashed.
    fn may_be_forgotten(&self, client: usize) {
        let since = self.http[client].since;
        let crashed = self.crashes.iter().any(|at| (since..since + 200).contains(at));
        let young = self.now < since + 200;
        let rough = self.plan.partitions || self.plan.loss > 0 || self.plan.blackouts;
        assert!(rough || crashed || young, "client {client} was forgotten at {}", self.now);
    }

    /// Connects where there is no connection, and registers again; else changes something.
    fn connection(&mut self, client: usize) {
        let lost = self.connected[client].node == usize::MAX;
        let wait = if lost { 500 } else { 2_000 + self.up_to(9_000) };
        if lost {
            let side = self.up_to(1) as usize;
            let Some(node) = self.any_node(side).or_else(|| self.any_node(1 - side)) else {
                return self.at(wait, Event::Connection(client));
            };
            let known = &mut self.connected[client];
            known.life += 1;
            known.node = node;
            known.id = ClientId::Connection(format!("{}_10.0.1.{client}_{}", known.life, known.port).into());
            known.services.insert(0);
            let id = known.id.clone();
            let subscription = Subscription {
                client: id.clone(),
                service: service(0),
                ip: "10.0.1.1".into(),
                port: 0,
                clusters: "".into(),
                agent: "".into(),
                app: "".into(),
            };
            self.step(node, |naming, now| {
                naming.connect(now, &id);
                naming.subscribe(now, subscription);
            });
            for index in self.connected[client].services.clone() {
                self.register_connected(client, index);
            }
        } else if self.stormy() {
            let index = 1 + self.up_to(2) as usize;
            if self.connected[client].services.remove(&index) {
                let (id, node) = (self.connected[client].id.clone(), self.connected[client].node);
                self.step(node, |naming, now| naming.deregister(now, &id, &service(index)));
            } else {
                self.connected[client].services.insert(index);
                self.register_connected(client, index);
            }
        }
        if self.stormy() {
            self.at(wait, Event::Connection(client));
        }
    }

    fn register_connected(&mut self, client: usize, index: usize) {
        let Connected { id, node, port, .. } = &self.connected[client];
        let (id, node, instance) = (id.clone(), *node, Instance::new("10.0.1.1", *port));
        self.step(node, |naming, now| naming.register(now, &id, &service(index), instance)).unwrap().unwrap();
    }

    // ---- time

    fn run_to(&mut self, end: u64) {
        for step in 0.. {
            assert!(step < 1_000_000, "no end of work at {}: {}", self.now, self.report_work());
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

    /// When a node has something to do, in the world's time.
    fn deadline(&self, node: usize) -> Option<u64> {
        let known = self.nodes[node].as_ref()?;
        let due = known.naming.next_deadline().into_iter().chain(known.members.next_deadline()).min()?;
        Some(due.0.saturating_sub(BASE + known.skew))
    }

    fn tick(&mut self, node: usize) {
        let now = self.time(node);
        let Some(known) = &mut self.nodes[node] else { return };
        let due = known.members.tick(now);
        for to in (0..self.plan.nodes).filter(|to| due.contains(&address(*to))) {
            self.report(node, to);
        }
        self.step(node, |naming, now| naming.tick(now));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Packet { from, to, packet } => self.arrive(from, to, packet),
            Event::Deadline { node, to, call, reason } => {
                if let Some(known) = &mut self.nodes[node]
                    && known.calls.remove(&call)
                {
                    known.members.failed(&address(to), reason);
                    self.see_members(node);
                }
            }
            Event::Http(client) => self.http(client),
            Event::Connection(client) => self.connection(client),
            Event::Beat(client) => self.beat(client),
            Event::Weather => self.weather(),
            Event::Restart(node) => self.start(node),
            Event::Load(node) => drop(self.step(node, |naming, now| naming.load(now))),
        }
    }

    // ---- what must hold

    fn listed(&self, node: usize) -> BTreeMap<String, Vec<(String, bool)>> {
        let known = self.nodes[node].as_ref().expect("all nodes run at the end");
        let lists = known.published.iter().map(|(key, snapshot)| {
            let hosts = snapshot.instances.iter().map(|i| (i.address(), i.healthy)).collect();
            (key.to_string(), hosts)
        });
        lists.filter(|(_, hosts): &(String, Vec<(String, bool)>)| !hosts.is_empty()).collect()
    }

    fn become_equal(&mut self) {
        let until = self.now + UNDER_WAY;
        while self.now < until && (1..self.plan.nodes).any(|node| self.listed(node) != self.listed(0)) {
            self.run_to(self.now + 5);
        }
        let first = self.listed(0);
        for node in 1..self.plan.nodes {
            assert_eq!(self.listed(node), first, "node {node} and node 0 at {}", self.now);
        }
        let counts: BTreeSet<usize> = (0..self.plan.nodes)
            .map(|node| self.nodes[node].as_ref().unwrap().naming.distro_counters().unwrap().live)
            .collect();
        assert_eq!(counts.len(), 1, "publications at {}: {counts:?}", self.now);
    }

    fn all_as_the_clients_said(&self) {
        let mut expected: BTreeMap<String, BTreeSet<(String, bool)>> = BTreeMap::new();
        let http = self.http.iter().map(|client| {
            let (ip, port) = client.id.ip_and_port();
            (format!("{ip}:{port}"), &client.services)
        });
        let connected =
            self.connected.iter().map(|client| (format!("10.0.1.1:{}", client.port), &client.services));
        for (address, services) in http.chain(connected) {
            for index in services {
                expected.entry(service(*index).to_string()).or_default().insert((address.clone(), true));
            }
        }
        let found: BTreeMap<String, BTreeSet<(String, bool)>> =
            self.listed(0).into_iter().map(|(key, hosts)| (key, hosts.into_iter().collect())).collect();
        assert_eq!(found, expected);
    }
}
