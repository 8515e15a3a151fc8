//! What must hold, by name, and where each is promised.

use super::{Sabotage, UNDER_WAY, World, db, service};
use muster_core::cluster::owner;
use std::collections::{BTreeMap, BTreeSet};

/// How long after the storm a target may wait for its next check: the longest interval (5 s) and its jitter twice.
const CHECKED_WITHIN: u64 = 15_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    NoAcknowledgedWriteLost,
    Convergence,
    OneOwner,
    RevisionsRise,
    NoEmptyPush,
    ResponsibilityComplete,
    NobodyWhoBeatsIsForgotten,
    HealthIsThatOfTheTarget,
    BrokenChecksTurnNobody,
    OneBlindNodeTurnsNobody,
    WorkEnds,
}

impl Promise {
    const fn source(self) -> &'static str {
        match self {
            Self::NoAcknowledgedWriteLost => "README: an acknowledged write is never lost; N334, N345",
            Self::Convergence => "README: all nodes are equal after a partition; N329, N330, N336, N344",
            Self::OneOwner => "N300, N323",
            Self::RevisionsRise => "naming::ServiceSnapshot::revision",
            Self::NoEmptyPush => "README: a restart never pushes an empty list",
            Self::ResponsibilityComplete => "N300: there is always one that is responsible",
            Self::NobodyWhoBeatsIsForgotten => "N096, N327: a beat may go to any node",
            Self::HealthIsThatOfTheTarget => "N284, N285, N301",
            Self::BrokenChecksTurnNobody => "README: a broken plugin never makes an instance unhealthy",
            Self::OneBlindNodeTurnsNobody => "health.second-opinions",
            Self::WorkEnds => "README: nothing grows without bound",
        }
    }
}

/// Fails with the name of the promise and its source unless it holds.
#[track_caller]
pub(super) fn hold(promise: Promise, holds: bool, detail: impl FnOnce() -> String) {
    assert!(holds, "{promise:?} is broken ({}): {}", promise.source(), detail());
}

impl World {
    fn listed(&self, node: usize) -> BTreeMap<String, Vec<(String, bool)>> {
        let known = self.nodes[node].as_ref().expect("all nodes run at the end");
        let lists = known.published.iter().map(|(key, snapshot)| {
            let hosts = snapshot.instances.iter().map(|i| (i.address(), i.healthy)).collect();
            (key.to_string(), hosts)
        });
        lists.filter(|(_, hosts): &(String, Vec<(String, bool)>)| !hosts.is_empty()).collect()
    }

    /// All nodes show the same and hold as many publications.
    pub(super) fn become_equal(&mut self) {
        let until = self.now + UNDER_WAY;
        while self.now < until && (1..self.plan.nodes).any(|node| self.listed(node) != self.listed(0)) {
            self.run_to(self.now + 5);
        }
        let first = self.listed(0);
        for node in 1..self.plan.nodes {
            let same = self.listed(node);
            hold(Promise::Convergence, same == first, || {
                format!("at {} node 0 lists {first:?}, node {node} {same:?}", self.now)
            });
        }
        let live = |node: usize| self.nodes[node].as_ref()?.naming.distro_counters().map(|found| found.live);
        let counts: BTreeSet<Option<usize>> = (0..self.plan.nodes).map(live).collect();
        hold(Promise::Convergence, counts.len() == 1, || format!("publications at {}: {counts:?}", self.now));
    }

    /// What the first node lists is what the clients said, no more and no less.
    pub(super) fn all_as_the_clients_said(&self) {
        let mut expected: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let http = self.http.iter().map(|client| {
            let (ip, port) = client.id.ip_and_port();
            (format!("{ip}:{port}"), &client.services)
        });
        let connected =
            self.connected.iter().map(|client| (format!("10.0.1.1:{}", client.port), &client.services));
        for (address, services) in http.chain(connected) {
            for index in services {
                expected.entry(service(*index).to_string()).or_default().insert(address.clone());
            }
        }
        let stored = self.durable.acknowledged.iter().cloned();
        expected.entry(db().to_string()).or_default().extend(stored);
        expected.retain(|_, hosts| !hosts.is_empty());
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (key, hosts) in self.listed(0) {
            found.insert(key, hosts.into_iter().map(|(host, _)| host).collect());
        }
        hold(Promise::NoAcknowledgedWriteLost, found == expected, || {
            format!("listed {found:?}, acknowledged {expected:?}")
        });
    }

    /// Every target is checked by somebody, and its health is what it is.
    pub(super) fn targets_are_as_they_are(&self) {
        let stored: BTreeMap<String, bool> =
            self.listed(0).remove(&db().to_string()).unwrap_or_default().into_iter().collect();
        for (address, target) in &self.targets {
            let Some(healthy) = stored.get(address) else { continue };
            let last = target.checked.iter().map(|(at, ..)| *at).max().unwrap_or_default();
            let recent = self.now < last + CHECKED_WITHIN;
            hold(Promise::ResponsibilityComplete, recent, || {
                format!("{address} was last checked at {last}, now it is {}", self.now)
            });
            hold(Promise::HealthIsThatOfTheTarget, *healthy == target.up, || {
                format!("{address} is listed as healthy={healthy}, it is up={}", target.up)
            });
        }
    }

    /// Nobody else with the same members in mind checked the target since it has had them in mind.
    pub(super) fn one_owner(&mut self, node: usize, address: &str) {
        let Some(ring) = self.ring(node) else { return };
        let Some(target) = self.targets.get(address) else { return };
        let others = target.checked.iter().enumerate();
        for (other, (_, theirs)) in others.filter(|(other, _)| *other != node) {
            let now = self.ring(other);
            let both = *theirs == ring && now.as_ref() == Some(&ring);
            hold(Promise::OneOwner, !both || self.nodes[other].is_none(), || {
                let owner = owner::owner(&ring, address);
                format!("at {} {address} of {owner:?} is checked by {node} and {other}", self.now)
            });
        }
    }

    /// Whoever asks a node that serves is shown the service that somebody has published all the time.
    pub(super) fn the_stable_service_is_listed(&self) {
        let first = &self.http[0];
        let rough = self.plan.partitions || self.plan.loss > 0;
        if rough || !first.services.contains(&0) || self.now < first.since + UNDER_WAY {
            return;
        }
        for (index, node) in self.nodes.iter().enumerate() {
            let Some(node) = node.as_ref().filter(|node| node.ready) else { continue };
            let listed = node.published.get(&self.stable).is_some_and(|list| !list.instances.is_empty());
            hold(Promise::NoEmptyPush, listed, || format!("node {index} lists nothing at {}", self.now));
        }
    }

    pub(super) fn sabotaged(&self, sabotage: Sabotage) -> bool {
        self.plan.sabotage == Some(sabotage)
    }
}
