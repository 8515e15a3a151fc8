//! Persistent instances: a log that stands for Raft, who checks them, and how they really are.

use super::promises::{Promise, hold};
use super::{BASE, Event, Sabotage, World, db};
use muster_core::Instance;
use muster_core::Millis;
use muster_core::cluster::NodeId;
use muster_core::naming::{Effect, ProbeJob, Report, TargetId};
use muster_core::persist::{Change, Command, MemoryRows};
use muster_core::plugin::{Outcome, Verdict};
use std::collections::{BTreeMap, BTreeSet};

/// How many persistent instances there are. The first five never go down; checks of the very first are often broken.
const TARGETS: u16 = 8;

/// What Raft promises, and no more: one order of writes, taken where most nodes are, followed by each at its own pace.
#[derive(Default)]
pub(super) struct Durable {
    rows: MemoryRows,
    log: Vec<Vec<Change>>,
    /// how much of it each node has on its disk
    pub(super) applied: BTreeMap<usize, usize>,
    pub(super) acknowledged: BTreeSet<String>,
}

/// How an instance really is.
pub(super) struct Target {
    pub(super) up: bool,
    /// it was never down
    steady: bool,
    /// when each node checked it last, and which members it had in mind
    pub(super) checked: Vec<(u64, BTreeSet<NodeId>)>,
}

fn at_port(port: u16) -> String {
    format!("10.2.0.1:{port}")
}

impl World {
    pub(super) fn add_targets(&mut self) {
        for port in 0..TARGETS {
            let checked = vec![(0, BTreeSet::new()); self.plan.nodes];
            let target = Target { up: true, steady: port < 5, checked };
            self.targets.insert(at_port(port), target);
            let at = 4_000 + self.up_to(2_000);
            self.at(at, Event::Store(port));
        }
    }

    /// Somebody registers a persistent instance through any node until that is acknowledged.
    pub(super) fn store(&mut self, port: u16) {
        let again = 500 + self.up_to(1_000);
        let side = self.up_to(1) as usize;
        let Some(node) = self.any_node(side).or_else(|| self.any_node(1 - side)) else {
            return self.at(again, Event::Store(port));
        };
        let instance = Instance { ephemeral: false, ..Instance::new("10.2.0.1", port) };
        if self.propose(node, &Command::RegisterInstance { service: db(), instance }) {
            self.durable.acknowledged.insert(at_port(port));
        } else {
            self.at(again, Event::Store(port));
        }
    }

    /// Writes, if this node reaches most of all nodes; now and then it never hears that it did.
    pub(super) fn propose(&mut self, node: usize, command: &Command) -> bool {
        let reached = |other: &usize| self.nodes[*other].is_some() && !self.cut(node, *other);
        let reached: Vec<usize> = (0..self.plan.nodes).filter(reached).collect();
        if reached.len() * 2 <= self.plan.nodes {
            return false;
        }
        let (_, changes) = self.durable.rows.run(command);
        self.durable.log.push(changes);
        for other in reached {
            let delay = 1 + self.up_to(30);
            self.at(delay, Event::Follow { node: other, from: node });
        }
        !(self.stormy() && self.up_to(9) == 0)
    }

    /// Takes in what is new in the log, if the one who has it can be reached.
    pub(super) fn follow(&mut self, node: usize, from: usize) {
        if self.nodes[node].is_some() && !self.cut(node, from) {
            self.apply_to(node, self.durable.log.len());
        }
    }

    fn apply_to(&mut self, node: usize, end: usize) {
        let begin = self.durable.applied.insert(node, end).unwrap_or_default();
        for change in self.durable.log[begin.min(end)..end].concat() {
            self.step(node, |naming, now| naming.committed(now, change));
        }
    }

    /// What it has on its disk, at its start.
    pub(super) fn recall(&mut self, node: usize) {
        let end = self.durable.applied.insert(node, 0).unwrap_or_default();
        self.apply_to(node, end);
    }

    /// Whoever was away catches up.
    pub(super) fn catch_up(&mut self) {
        let reaches_most = |node: &usize| {
            (0..self.plan.nodes).filter(|other| !self.cut(*node, *other)).count() * 2 > self.plan.nodes
        };
        if let Some(from) = (0..self.plan.nodes).find(reaches_most) {
            for node in 0..self.plan.nodes {
                let delay = 50 + self.up_to(500);
                self.at(delay, Event::Follow { node, from });
            }
        }
    }

    /// Some go down and come back.
    pub(super) fn turn_targets(&mut self) {
        for port in 0..TARGETS {
            let turns = self.up_to(2) == 0;
            let target = self.targets.get_mut(&at_port(port)).expect("there from the begin");
            target.up ^= turns && !target.steady;
        }
    }

    /// A check leads to a verdict some time later.
    pub(super) fn probe(&mut self, node: usize, job: &ProbeJob) {
        let address = format!("{}:{}", job.target.address, job.target.port);
        self.one_owner(node, &address);
        let Some(ring) = self.ring(node) else { return };
        let now = self.now;
        if let Some(target) = self.targets.get_mut(&address) {
            target.checked[node] = (now, ring);
        }
        let outcome = self.seen(node, &address);
        let delay = 1 + self.up_to(40);
        let life = self.life(node);
        self.at(delay, Event::Probed { node, life, id: job.id, outcome });
    }

    /// What a node sees of a target. The first node may be blind, and checks of the first target may be broken.
    fn seen(&mut self, node: usize, address: &str) -> Outcome {
        let broken = address == at_port(0) && self.up_to(2) > 0;
        if broken {
            let counts = self.sabotaged(Sabotage::CountsBrokenChecks);
            return if counts { Outcome::Failed } else { Outcome::Inconclusive };
        }
        let up = self.targets.get(address).is_some_and(|target| target.up);
        let blind = self.plan.blind && self.stormy() && node == 0;
        if up && !blind { Outcome::Passed } else { Outcome::Failed }
    }

    pub(super) fn probed(&mut self, node: usize, id: TargetId, outcome: Outcome) {
        let verdict = Verdict::of_host(outcome, "simulated", "");
        let report = Report { verdict, took: Millis(5) };
        self.step(node, |naming, now| naming.probed(now, id, report));
    }

    /// Others look, too; whoever cannot be reached has no opinion.
    pub(super) fn ask(&mut self, node: usize, job: &ProbeJob, members: &[NodeId]) {
        let address = format!("{}:{}", job.target.address, job.target.port);
        let mut outcomes = Vec::new();
        for member in members {
            let other = member.0 as usize - 1;
            let reached = self.nodes[other].is_some() && !self.cut(node, other);
            outcomes.push(if reached { self.seen(other, &address) } else { Outcome::Inconclusive });
        }
        if self.sabotaged(Sabotage::HearsNoOpinions) {
            outcomes.fill(Outcome::Inconclusive);
        }
        let delay = 50 + self.up_to(400);
        let life = self.life(node);
        self.at(delay, Event::Opinions { node, life, id: job.id, outcomes });
    }

    /// What a list says of instances that were never down.
    pub(super) fn steady_ones_are_healthy(&self, listed: &[std::sync::Arc<Instance>]) {
        for instance in listed {
            let steady = |target: &&Target| target.steady;
            if self.targets.get(&instance.address()).filter(steady).is_none() {
                continue;
            }
            let promise = if self.plan.blind && instance.port != 0 {
                Promise::OneBlindNodeTurnsNobody
            } else {
                Promise::BrokenChecksTurnNobody
            };
            hold(promise, instance.healthy, || {
                format!("{} was never down, and is listed as unhealthy at {}", instance.address(), self.now)
            });
        }
    }

    /// The members that a node has in mind; none while it is down.
    pub(super) fn ring(&self, node: usize) -> Option<BTreeSet<NodeId>> {
        let known = self.nodes[node].as_ref()?;
        Some(known.members.view().ring(NodeId(node as u64 + 1)))
    }

    /// Tells the runs of a node apart.
    pub(super) fn life(&self, node: usize) -> u64 {
        self.nodes[node].as_ref().map_or(0, |node| node.started)
    }

    /// A durable write that the rules ask for.
    pub(super) fn proposed(&mut self, node: usize, command: &Command) {
        if !self.sabotaged(Sabotage::DropsFlips) {
            self.propose(node, command);
        }
    }

    pub(super) fn about_targets(&mut self, node: usize, effect: &Effect) {
        match effect {
            Effect::Probe(job) => self.probe(node, job),
            Effect::Ask { job, members } => self.ask(node, job, members),
            Effect::Propose(command) => self.proposed(node, command),
            _ => {}
        }
    }

    pub(super) fn millis(&self, skew: u64) -> Millis {
        Millis(BASE + self.now + skew)
    }
}
