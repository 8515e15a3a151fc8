//! Nodes: what the shell around the rules does.

use super::promises::{Promise, hold};
use super::{BASE, Event, Node, Packet, REPORT_DEADLINE, Sabotage, World, address};
use muster_core::cluster::{Members, NodeId, View};
use muster_core::health::{Layer, Rule, Rules, Scope};
use muster_core::naming::{Effect, Naming, Options};
use muster_core::{Instance, Millis};
use std::collections::{BTreeMap, BTreeSet};

/// Nobody has this id.
const GHOST: NodeId = NodeId(99);

impl World {
    /// When it is on a node's clock; on that of the world while it is down.
    pub(super) fn time(&self, node: usize) -> Millis {
        self.millis(self.nodes[node].as_ref().map_or(0, |node| node.skew))
    }

    fn rules(&self) -> Rules {
        let second_opinions = self.plan.blind.then_some(2);
        Rules::new(vec![Rule {
            scope: Scope::default(),
            layer: Layer { second_opinions, ..Layer::default() },
        }])
    }

    pub(super) fn start(&mut self, node: usize) {
        let skew = self.up_to(self.plan.skew);
        let seed = self.roll();
        let started = self.millis(skew);
        let mut naming = Naming::new(Options { seed, started, rules: self.rules(), ..Options::default() });
        naming.join(NodeId(node as u64 + 1));
        let remembered = std::mem::take(&mut self.remembered[node]);
        if !self.sabotaged(Sabotage::ForgetsLists) {
            naming.remember(started, remembered);
        }
        let mut members = Members::new(NodeId(node as u64 + 1), &address(node));
        let all: Vec<String> = (0..self.plan.nodes).map(address).collect();
        members.found(&all);
        let fresh = Node {
            naming,
            members,
            published: BTreeMap::new(),
            skew,
            started: self.now,
            ready: false,
            calls: BTreeSet::new(),
        };
        self.nodes[node] = Some(fresh);
        self.recall(node);
        // as the shell does: reach everybody once, then load
        for to in (0..self.plan.nodes).filter(|to| *to != node) {
            self.report(node, to);
        }
        self.at(REPORT_DEADLINE + 100, Event::Load(node));
        self.catch_up();
    }

    pub(super) fn crash(&mut self, node: usize, most: u64) {
        let Some(former) = self.nodes[node].take() else { return };
        let lists = former.published.into_iter().map(|(key, snapshot)| {
            let ephemeral = snapshot.instances.iter().filter(|instance| instance.ephemeral);
            (key, ephemeral.map(|instance| Instance::clone(instance)).collect())
        });
        self.remembered[node] = lists.filter(|(_, list): &(_, Vec<Instance>)| !list.is_empty()).collect();
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

    pub(super) fn step<T>(&mut self, node: usize, work: impl FnOnce(&mut Naming, Millis) -> T) -> Option<T> {
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
        self.about_targets(node, &effect);
        let calm = !self.plan.partitions && self.plan.loss == 0;
        let (now, twice) = (self.now, self.sabotaged(Sabotage::PublishesTwice));
        let Some(known) = &mut self.nodes[node] else { return };
        match effect {
            Effect::Publish(snapshot) => {
                if let Some(former) = known.published.get(&snapshot.key) {
                    let rises = former.revision < snapshot.revision && !twice;
                    hold(Promise::RevisionsRise, rises, || {
                        format!("{} {} came after {}", snapshot.key, snapshot.revision, former.revision)
                    });
                }
                let gap = snapshot.key == self.stable && snapshot.instances.is_empty();
                hold(Promise::NoEmptyPush, !(gap && calm && known.ready), || format!("shown at {now}"));
                known.published.insert(snapshot.key.clone(), snapshot.clone());
                self.steady_ones_are_healthy(&snapshot.instances);
            }
            Effect::Unpublish(key) => drop(known.published.remove(&key)),
            Effect::Send { to: GHOST, .. } => {}
            Effect::Send { to, message } => {
                self.transmit(node, to.0 as usize - 1, Packet::Message(*message));
            }
            Effect::Loaded => {
                known.ready = true;
                let skew = known.skew;
                known.members.ready(Millis(BASE + now + skew));
                for to in (0..self.plan.nodes).filter(|to| *to != node) {
                    self.report(node, to);
                }
            }
            Effect::Push { snapshot, .. } => {
                let empty = snapshot.instances.is_empty() && snapshot.key == self.stable;
                hold(Promise::NoEmptyPush, !(empty && calm), || format!("pushed at {now}"));
            }
            Effect::Probe(_)
            | Effect::Ask { .. }
            | Effect::Propose(_)
            | Effect::Switches(_)
            | Effect::Plugin(..) => {}
        }
    }

    pub(super) fn see_members(&mut self, node: usize) {
        let Some(known) = &self.nodes[node] else { return };
        let mut view = known.members.view();
        if self.sabotaged(Sabotage::BelievesToBeAlone) && node == 0 {
            view = View::default();
        }
        if self.sabotaged(Sabotage::CountsAGhost) {
            view.others.insert(GHOST, true);
        }
        self.step(node, |naming, now| naming.set_view(now, view));
    }

    /// When a node has something to do, in the world's time.
    pub(super) fn deadline(&self, node: usize) -> Option<u64> {
        if self.sabotaged(Sabotage::NeverDone) {
            return Some(self.now);
        }
        let known = self.nodes[node].as_ref()?;
        let due = known.naming.next_deadline().into_iter().chain(known.members.next_deadline()).min()?;
        Some(due.0.saturating_sub(BASE + known.skew))
    }

    pub(super) fn tick(&mut self, node: usize) {
        let now = self.time(node);
        let Some(known) = &mut self.nodes[node] else { return };
        let due = known.members.tick(now);
        for to in (0..self.plan.nodes).filter(|to| due.contains(&address(*to))) {
            self.report(node, to);
        }
        self.step(node, |naming, now| naming.tick(now));
    }
}
