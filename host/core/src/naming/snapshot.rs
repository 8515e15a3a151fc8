//! What readers see of a service: immutable, published whole, and how a query narrows it.

use crate::ids::ServiceKey;
use crate::instance::Instance;
use crate::service::ServiceMetadata;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One service at one moment.
#[derive(Debug, PartialEq)]
pub struct ServiceSnapshot {
    /// which service
    pub key: ServiceKey,
    /// whether it holds ephemeral instances
    pub ephemeral: bool,
    /// grows with every change of this node's registry
    pub revision: u64,
    /// stored metadata; none while nobody stored any, which switches selector and protection off (N111)
    pub metadata: Option<Arc<ServiceMetadata>>,
    /// sorted by ip, port, cluster; operator overlays applied; the real health
    pub instances: Vec<Arc<Instance>>,
}

/// How the protection threshold works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protection {
    /// As Nacos: with stored metadata, when healthy / total `<=` threshold, also for a threshold of 0.
    #[default]
    Nacos,
    /// Only for a threshold above 0, and only when healthy / total is below it.
    Strict,
    /// Never.
    Off,
}

/// What a reader asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Query<'a> {
    /// comma list of cluster names; blank means all
    pub clusters: &'a str,
    /// leave unhealthy instances out
    pub healthy_only: bool,
    /// leave disabled instances out
    pub enabled_only: bool,
    /// how the threshold works
    pub protection: Protection,
}

/// The answer to a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Selected {
    /// in the order of the snapshot
    pub instances: Vec<Arc<Instance>>,
    /// too few are healthy: all are to be shown as healthy (`reachProtectionThreshold`)
    pub protected: bool,
}

/// The step of a query at which an instance is left out. Source of their order: Nacos `ServiceUtil`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// it is of another cluster
    Clusters,
    /// an operator or its client disabled it
    Disabled,
    /// only healthy ones were asked for
    Unhealthy,
}

/// What the protection threshold was compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// of the service, 0 to 1
    pub threshold: f32,
    /// how many are healthy
    pub healthy: usize,
    /// of how many that are left after the steps
    pub of: usize,
    /// all are to be shown as healthy
    pub reached: bool,
}

/// Why a query finds what it finds.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// for each instance of the snapshot, in its order: where it was left out; none for those that are found
    pub left_out: Vec<Option<Step>>,
    /// the protection threshold; none where it is not looked at
    pub threshold: Option<Threshold>,
}

impl Query<'_> {
    /// The only place where it is decided who is on a list.
    fn leaves_out(&self, clusters: &Clusters<'_>, instance: &Instance) -> Option<Step> {
        if !clusters.contain(&instance.cluster) {
            return Some(Step::Clusters);
        }
        if self.enabled_only && !instance.enabled {
            return Some(Step::Disabled);
        }
        (self.healthy_only && !instance.healthy).then_some(Step::Unhealthy)
    }
}

impl ServiceSnapshot {
    /// A service that nobody knows.
    pub fn empty(key: ServiceKey, revision: u64) -> Self {
        Self { key, ephemeral: true, revision, metadata: None, instances: Vec::new() }
    }

    /// The instances that `query` asks for.
    pub fn select(&self, query: &Query<'_>) -> Selected {
        let clusters = Clusters::parse(query.clusters);
        let keep = |i: &&Arc<Instance>| query.leaves_out(&clusters, i).is_none();
        let instances: Vec<_> = self.instances.iter().filter(keep).cloned().collect();
        let protected = self.threshold(&instances, query.protection).is_some_and(|t| t.reached);
        Selected { instances, protected }
    }

    /// Why [`Self::select`] answers what it answers: made with the same rules, kept for nobody.
    pub fn judge(&self, query: &Query<'_>) -> Judged {
        let clusters = Clusters::parse(query.clusters);
        let left_out: Vec<_> = self.instances.iter().map(|i| query.leaves_out(&clusters, i)).collect();
        let stay = self.instances.iter().zip(&left_out).filter(|(_, step)| step.is_none());
        let instances: Vec<_> = stay.map(|(instance, _)| instance.clone()).collect();
        Judged { threshold: self.threshold(&instances, query.protection), left_out }
    }

    /// Whether `instances` of this service are too few to believe the unhealthy ones; none where the threshold
    /// is not looked at: nobody stored metadata (N111), there are no instances (N113), or protection is off.
    fn threshold(&self, instances: &[Arc<Instance>], mode: Protection) -> Option<Threshold> {
        let metadata = self.metadata.as_ref()?;
        if instances.is_empty() || mode == Protection::Off {
            return None;
        }
        let threshold = metadata.protect_threshold.max(0.0);
        let healthy = instances.iter().filter(|i| i.healthy).count();
        #[allow(clippy::cast_precision_loss, reason = "counts of instances are far below 2^24")]
        let ratio = healthy as f32 / instances.len() as f32;
        let reached = match mode {
            Protection::Nacos => ratio <= threshold,
            Protection::Strict => threshold > 0.0 && ratio < threshold,
            Protection::Off => false,
        };
        Some(Threshold { threshold, healthy, of: instances.len(), reached })
    }

    /// Names of the clusters that have instances, with how many.
    pub fn clusters(&self) -> BTreeMap<&str, usize> {
        let mut clusters = BTreeMap::new();
        for instance in &self.instances {
            *clusters.entry(&*instance.cluster).or_default() += 1;
        }
        clusters
    }

    /// How many instances are healthy, disabled ones included.
    pub fn healthy_count(&self) -> usize {
        self.instances.iter().filter(|i| i.healthy).count()
    }

    /// The instance at `ip:port` in `cluster`.
    pub fn find(&self, ip: &str, port: u16, cluster: &str) -> Option<&Arc<Instance>> {
        self.instances.iter().find(|i| &*i.ip == ip && i.port == port && &*i.cluster == cluster)
    }
}

/// A parsed `clusters` parameter.
enum Clusters<'a> {
    All,
    Named(Vec<&'a str>),
}

impl<'a> Clusters<'a> {
    fn parse(list: &'a str) -> Self {
        if list.trim().is_empty() {
            return Self::All;
        }
        Self::Named(list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect())
    }

    fn contain(&self, cluster: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(&cluster),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(threshold: Option<f32>, instances: &[(u16, &str, bool, bool)]) -> ServiceSnapshot {
        let make = |(port, cluster, healthy, enabled): &(u16, &str, bool, bool)| {
            Arc::new(Instance {
                cluster: (*cluster).into(),
                healthy: *healthy,
                enabled: *enabled,
                ..Instance::new("10.0.0.5", *port)
            })
        };
        let metadata = threshold
            .map(|t| Arc::new(ServiceMetadata { protect_threshold: t, ..ServiceMetadata::default() }));
        ServiceSnapshot {
            key: ServiceKey::new("", "", "orders"),
            ephemeral: true,
            revision: 1,
            metadata,
            instances: instances.iter().map(make).collect(),
        }
    }

    fn ask(snapshot: &ServiceSnapshot, query: Query<'_>) -> (Vec<u16>, bool) {
        let selected = snapshot.select(&query);
        (selected.instances.iter().map(|i| i.port).collect(), selected.protected)
    }

    const ENABLED: Query<'static> =
        Query { clusters: "", healthy_only: false, enabled_only: true, protection: Protection::Nacos };

    #[test]
    fn n108_n109_equality_reaches_the_threshold_and_more_health_does_not() {
        assert_eq!(
            ask(&snapshot(Some(0.5), &[(1, "A", true, true), (2, "A", false, true)]), ENABLED),
            (vec![1, 2], true)
        );
        let two_of_three = [(1, "A", true, true), (2, "A", true, true), (3, "A", false, true)];
        assert_eq!(ask(&snapshot(Some(0.5), &two_of_three), ENABLED), (vec![1, 2, 3], false));
    }

    #[test]
    fn n110_n111_n112_n113_threshold_zero_protects_only_with_stored_metadata() {
        let sick = [(1, "A", false, true)];
        assert!(ask(&snapshot(Some(0.0), &sick), ENABLED).1);
        assert!(ask(&snapshot(Some(-1.0), &sick), ENABLED).1);
        assert!(!ask(&snapshot(None, &sick), ENABLED).1);
        assert!(!ask(&snapshot(Some(0.0), &[]), ENABLED).1);
    }

    #[test]
    fn n114_healthy_only_never_returns_protected_ones_below_threshold_one() {
        let half = [(1, "A", true, true), (2, "A", false, true)];
        let query = Query { healthy_only: true, ..ENABLED };
        assert_eq!(ask(&snapshot(Some(0.5), &half), query), (vec![1], false));
        assert_eq!(ask(&snapshot(Some(1.0), &half), query), (vec![1], true));
    }

    #[test]
    fn n115_n116_clusters_and_disabled_hosts_leave_before_protection_counts() {
        let hosts = [(1, "A", true, true), (2, "B", false, true), (3, "A", false, false)];
        assert_eq!(ask(&snapshot(Some(0.5), &hosts), Query { clusters: "A", ..ENABLED }), (vec![1], false));
        assert_eq!(ask(&snapshot(Some(0.5), &hosts), Query { clusters: "B", ..ENABLED }), (vec![2], true));
    }

    #[test]
    fn n078_n079_clusters_are_a_list_of_exact_names() {
        let hosts = [(1, "A", true, true), (2, "B", true, true), (3, "C", true, true)];
        let of = |clusters| ask(&snapshot(None, &hosts), Query { clusters, ..ENABLED }).0;
        assert_eq!(
            (of("A,B"), of(""), of("a"), of(" A , C ")),
            (vec![1, 2], vec![1, 2, 3], vec![], vec![1, 3])
        );
    }

    #[test]
    fn strict_protection_needs_a_threshold_and_being_below_it() {
        let half = [(1, "A", true, true), (2, "A", false, true)];
        let strict = Query { protection: Protection::Strict, ..ENABLED };
        assert!(!ask(&snapshot(Some(0.5), &half), strict).1);
        assert!(ask(&snapshot(Some(0.6), &half), strict).1);
        assert!(!ask(&snapshot(Some(0.0), &[(1, "A", false, true)]), strict).1);
        assert!(!ask(&snapshot(Some(0.6), &half), Query { protection: Protection::Off, ..ENABLED }).1);
    }
}
