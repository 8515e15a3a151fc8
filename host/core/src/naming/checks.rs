//! Active checks of persistent instances: when they start, with which numbers, what their results change.

use super::probe::{Due, Report};
use super::registry::Publication;
use super::{Check, Effect, Naming, ProbeJob, TargetId, Timer};
use crate::cluster::NodeId;
use crate::health::{self, Origin, Profile};
use crate::ids::{ClientId, ServiceKey};
use crate::instance::Instance;
use crate::persist::HealthFlip;
use crate::plugin::{Outcome, Target};
use crate::service::NO_CHECKER;
use crate::time::Millis;
use std::sync::Arc;

/// How much longer than a check the answers of other members are waited for, in milliseconds. Afterwards they may be
/// asked again.
const OPINIONS_MOST: Millis = Millis::from_secs(10);

impl Naming {
    /// A new persistent instance: first check after 2 to 7 s, biased to the low end (N287).
    pub(super) fn add_target(
        &mut self,
        now: Millis,
        client: &ClientId,
        service: &ServiceKey,
        host: &Arc<str>,
    ) {
        let cluster = self.published(client, service).map(|i| i.cluster.clone());
        let check = self.check(service, cluster.as_deref().unwrap_or_default());
        let profile = check.profile;
        let spread = self.random_up_to(profile.first_spread.0);
        let delay = profile.first_delay + Millis(self.random_up_to(spread));
        let id = self.probes.add(client, service, host, now + delay, profile.min_interval);
        self.wheel.insert(now + delay, Timer::Probe(id));
        if let Some(publication) = self.registry.publication(client, service) {
            publication.target = Some(id);
        }
    }

    pub(super) fn forget_target(&mut self, former: &Publication) {
        if let Some(id) = former.target {
            self.probes.remove(id);
        }
    }

    /// A target's time has come. Its next time is set now, from the start of this run, not from its end.
    pub(super) fn probe_due(&mut self, now: Millis, id: TargetId) {
        let Some((instance, service)) = self.instance_of(id) else { return };
        let check = self.check(&service, &instance.cluster);
        if !self.checks_run(&service) || check.checker.is_none() || !self.checks_here(id) {
            self.probe_again(now, id, &check.profile);
            return;
        }
        match self.probes.due(id, &check.profile) {
            Due::Start => self.start(now, id, &instance, &service, &check),
            Due::Skip => self.probe_again(now, id, &check.profile),
            Due::Gone => {}
        }
    }

    /// Starts what waited for room.
    pub(super) fn start_waiting(&mut self, now: Millis) {
        while let Some(id) = self.probes.next_waiting() {
            let Some((instance, service)) = self.instance_of(id) else { continue };
            let check = self.check(&service, &instance.cluster);
            self.start(now, id, &instance, &service, &check);
        }
    }

    fn start(&mut self, now: Millis, id: TargetId, instance: &Instance, service: &ServiceKey, check: &Check) {
        self.probes.started(now, id);
        self.probe_again(now, id, &check.profile);
        self.out.push(Effect::Probe(job(id, instance, service, check)));
    }
    fn probe_again(&mut self, now: Millis, id: TargetId, profile: &Profile) {
        let Some(interval) = self.probes.get(id).map(|probe| probe.state.interval) else { return };
        let jitter = Millis(self.random_up_to(share(interval, profile.jitter)));
        if let Some(due) = self.probes.again(now, id, jitter) {
            self.wheel.insert(due, Timer::Probe(id));
        }
    }

    /// Takes in how a check ended. A turn leaves as a proposal and comes back as a committed change.
    pub fn probed(&mut self, now: Millis, id: TargetId, report: Report) {
        let Some((instance, service)) = self.instance_of(id) else { return };
        let check = self.check(&service, &instance.cluster);
        let verdict = report.verdict.clone();
        let turned = self.probes.finished(now, id, report, instance.healthy, &check.profile);
        if let Some(healthy) = turned.filter(|_| self.checks_run(&service) && self.checks_here(id)) {
            let others = if healthy { Vec::new() } else { self.whom_to_ask(id, &check) };
            if others.is_empty() {
                let address = instance.address();
                tracing::info!(%service, address, healthy, code = verdict.code, reason = verdict.message, "health turned");
                self.flips.push(HealthFlip { service, address, healthy });
            } else if self.probes.asks(now, id, now + check.profile.timeout + OPINIONS_MOST) {
                let job = job(id, &instance, &service, &check);
                self.out.push(Effect::Ask { job, members: others });
            }
        }
        self.start_waiting(now);
    }

    /// Other members that are to look at a target before it is called unhealthy.
    fn whom_to_ask(&self, id: TargetId, check: &Check) -> Vec<NodeId> {
        let wanted = usize::try_from(check.profile.second_opinions).unwrap_or(usize::MAX);
        self.probes.get(id).map(|probe| self.others_for(&probe.client, wanted)).unwrap_or_default()
    }

    /// Takes in what the members found that were asked of a target; those who did not answer could not tell.
    pub fn opinions(&mut self, id: TargetId, outcomes: &[Outcome]) {
        let confirmed = health::confirmed(outcomes);
        if !self.probes.answered(id, confirmed) {
            return;
        }
        let Some((instance, service)) = self.instance_of(id) else { return };
        let address = instance.address();
        if !confirmed {
            tracing::info!(%service, address, ?outcomes, "it fails here and not at other members: it stays healthy");
        } else if instance.healthy && self.checks_run(&service) && self.checks_here(id) {
            tracing::info!(%service, address, healthy = false, ?outcomes, "health turned, as others confirm");
            self.flips.push(HealthFlip { service, address, healthy: false });
        }
    }

    /// Where the numbers of a check come from.
    pub fn explain_profile(&self, service: &ServiceKey, cluster: &str) -> (Profile, Vec<Origin>) {
        let settings = self.cluster_settings(service, cluster);
        self.options.rules.explain(&self.switches, service, cluster, &settings.checker.kind)
    }

    /// Whether health may be set by hand: only where nothing checks (`NONE` stored).
    pub fn health_is_manual(&self, service: &ServiceKey, cluster: &str) -> bool {
        self.cluster_settings(service, cluster).checker.kind == NO_CHECKER
    }

    fn checks_run(&self, service: &ServiceKey) -> bool {
        self.switches.health_check_enabled
            || self.switches.health_check_white_list.contains(&service.grouped())
    }

    /// Whether this node is the one that checks the target. Every node keeps its time, so that the checks of a
    /// member that is gone are spread over the interval when others take over.
    fn checks_here(&self, id: TargetId) -> bool {
        self.probes.get(id).is_some_and(|probe| self.judges(&probe.client))
    }

    fn published(&mut self, client: &ClientId, service: &ServiceKey) -> Option<Arc<Instance>> {
        self.registry.publication(client, service)?.instances.first().cloned()
    }

    fn instance_of(&mut self, id: TargetId) -> Option<(Arc<Instance>, ServiceKey)> {
        let probe = self.probes.get(id)?;
        let (client, service) = (probe.client.clone(), probe.service.clone());
        let instance = self.published(&client, &service)?;
        Some((instance, service))
    }

    pub(super) fn cluster_settings(
        &self,
        service: &ServiceKey,
        cluster: &str,
    ) -> crate::service::ClusterSettings {
        let stored = self.registry.metadata.get(service).and_then(|metadata| metadata.clusters.get(cluster));
        stored.cloned().unwrap_or_default()
    }

    /// How a cluster is checked; resolved once and kept until its settings or the switches change.
    fn check(&mut self, service: &ServiceKey, cluster: &str) -> Arc<Check> {
        if let Some(check) = self.checks.get(service).and_then(|all| all.get(cluster)) {
            return check.clone();
        }
        let settings = self.cluster_settings(service, cluster);
        let kind = &settings.checker.kind;
        let profile = self.options.rules.resolve(&self.switches, service, cluster, kind);
        let check = Arc::new(Check { checker: Arc::new(settings.checker.clone()), settings, profile });
        self.checks.entry(service.clone()).or_default().insert(cluster.to_owned(), check.clone());
        check
    }
}

fn job(id: TargetId, instance: &Instance, service: &ServiceKey, check: &Check) -> Box<ProbeJob> {
    let own_port = check.settings.use_instance_port || check.checker.kind == "MYSQL"; // N297
    let target = Target {
        address: instance.ip.to_string(),
        port: if own_port { instance.port } else { check.settings.check_port },
        namespace: service.namespace().to_owned(),
        group: service.group().to_owned(),
        service: service.name().to_owned(),
        cluster: instance.cluster.to_string(),
        metadata: instance.metadata.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
    };
    Box::new(ProbeJob { id, target, checker: check.checker.clone(), timeout: check.profile.timeout })
}

/// `part` (0 to 1) of an interval, in milliseconds.
fn share(interval: Millis, part: f64) -> u64 {
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an interval is far below 2^52 ms and never negative"
    )]
    let share = (part.clamp(0.0, 1.0) * interval.0 as f64) as u64;
    share
}
