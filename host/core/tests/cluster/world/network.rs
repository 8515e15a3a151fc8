//! The network between nodes, and the weather: what is lost, cut and crashes.

use super::{Event, Packet, REPORT_DEADLINE, Sabotage, World, address};
use muster_core::cluster::{Message, NodeId};

impl World {
    pub(super) fn cut(&self, from: usize, to: usize) -> bool {
        self.side[from] != self.side[to]
    }

    pub(super) fn transmit(&mut self, from: usize, to: usize, packet: Packet) {
        if self.is_kept_back(from, &packet) {
            return;
        }
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

    pub(super) fn report(&mut self, node: usize, to: usize) {
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

    pub(super) fn arrive(&mut self, from: usize, to: usize, packet: Packet) {
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

    pub(super) fn weather(&mut self) {
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
        self.turn_targets();
        self.catch_up();
        let next = 5_000 + self.up_to(20_000);
        self.at(next, Event::Weather);
    }

    pub(super) fn calm_down(&mut self) {
        self.side.fill(0);
        self.http.iter_mut().for_each(|client| client.side = 0);
        self.catch_up();
    }

    fn is_kept_back(&self, from: usize, packet: &Packet) -> bool {
        let Packet::Message(message) = packet else { return false };
        let keeps = self.sabotaged(Sabotage::KeepsToItself) && from == 0 && !self.stormy();
        match message {
            Message::Sync { .. } | Message::Versions { .. } | Message::Page { .. } => keeps,
            _ => false,
        }
    }

    /// A report was not answered in time, or not at all.
    pub(super) fn unanswered(&mut self, node: usize, to: usize, call: u64, reason: &'static str) {
        if let Some(known) = &mut self.nodes[node]
            && known.calls.remove(&call)
        {
            known.members.failed(&address(to), reason);
            self.see_members(node);
        }
    }
}
