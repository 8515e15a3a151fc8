//! Clients: some with beats over HTTP, to any node; some with a connection to one.

use super::promises::{Promise, hold};
use super::{Connected, Event, Http, Sabotage, World, service};
use muster_core::naming::{Beat, Subscription};
use muster_core::{ClientId, Instance};

impl World {
    /// A node that serves and that a client on `side` can reach.
    pub(super) fn any_node(&mut self, side: usize) -> Option<usize> {
        let first = self.up_to(self.plan.nodes as u64 - 1) as usize;
        let all = (0..self.plan.nodes).map(|step| (first + step) % self.plan.nodes);
        let fits = |node: &usize| {
            self.side[*node] == side && self.nodes[*node].as_ref().is_some_and(|node| node.ready)
        };
        let all: Vec<usize> = all.collect();
        all.into_iter().find(fits)
    }

    pub(super) fn http(&mut self, client: usize) {
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

    pub(super) fn beat(&mut self, client: usize) {
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
        hold(Promise::NobodyWhoBeatsIsForgotten, rough || crashed || young, || {
            format!("client {client} at {}", self.now)
        });
    }

    /// Connects where there is no connection, and registers again; else changes something.
    pub(super) fn connection(&mut self, client: usize) {
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
        if self.sabotaged(Sabotage::DropsAWrite) && client == 1 {
            return;
        }
        let Connected { id, node, port, .. } = &self.connected[client];
        let (id, node, instance) = (id.clone(), *node, Instance::new("10.0.1.1", *port));
        self.step(node, |naming, now| naming.register(now, &id, &service(index), instance)).unwrap().unwrap();
    }
}
