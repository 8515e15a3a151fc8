//! The explanation of a list and the list itself are made by the same rules: for any service and any query they agree,
//! and every step that is named is true.

use muster_core::naming::{Protection, Query, ServiceSnapshot, Step};
use muster_core::service::ServiceMetadata;
use muster_core::{Instance, ServiceKey};
use proptest::prelude::*;
use std::sync::Arc;

const CLUSTERS: [&str; 3] = ["A", "B", "C"];

fn snapshot() -> impl Strategy<Value = ServiceSnapshot> {
    let instance = (0_usize..3, any::<bool>(), any::<bool>());
    let threshold = prop::option::of(-0.5_f32..1.5);
    (prop::collection::vec(instance, 0..24), threshold).prop_map(|(instances, threshold)| {
        let made = instances.into_iter().zip(1..).map(|((cluster, healthy, enabled), port)| {
            let cluster = CLUSTERS[cluster].into();
            Arc::new(Instance { cluster, healthy, enabled, ..Instance::new("10.0.0.5", port) })
        });
        let metadata = threshold.map(|protect_threshold| {
            Arc::new(ServiceMetadata { protect_threshold, ..ServiceMetadata::default() })
        });
        let instances = made.collect();
        ServiceSnapshot {
            key: ServiceKey::new("", "", "s"),
            ephemeral: true,
            revision: 1,
            metadata,
            instances,
        }
    })
}

fn query() -> impl Strategy<Value = Query<'static>> {
    let clusters = prop::sample::select(vec!["", " ", "A", "A,B", " B , C ", "D", ","]);
    let modes = prop::sample::select(vec![Protection::Nacos, Protection::Strict, Protection::Off]);
    (clusters, any::<bool>(), any::<bool>(), modes).prop_map(
        |(clusters, healthy_only, enabled_only, protection)| Query {
            clusters,
            healthy_only,
            enabled_only,
            protection,
        },
    )
}

proptest! {
    #[test]
    fn the_explanation_and_the_list_agree(snapshot in snapshot(), query in query()) {
        let selected = snapshot.select(&query);
        let judged = snapshot.judge(&query);
        prop_assert_eq!(judged.left_out.len(), snapshot.instances.len());
        let each = snapshot.instances.iter().zip(&judged.left_out);
        let kept: Vec<_> = each.clone().filter(|(_, out)| out.is_none()).map(|(i, _)| i.clone()).collect();
        prop_assert_eq!(&kept, &selected.instances);
        prop_assert_eq!(judged.threshold.is_some_and(|threshold| threshold.reached), selected.protected);
        for (instance, out) in each {
            let asked = query.clusters.trim().is_empty()
                || query.clusters.split(',').any(|name| name.trim() == &*instance.cluster);
            match out {
                Some(Step::Clusters) => prop_assert!(!asked),
                Some(Step::Disabled) => prop_assert!(asked && query.enabled_only && !instance.enabled),
                Some(Step::Unhealthy) => {
                    prop_assert!(asked && query.healthy_only && !instance.healthy);
                    prop_assert!(instance.enabled || !query.enabled_only);
                }
                None => prop_assert!(asked && (instance.enabled || !query.enabled_only)),
            }
        }
        if let Some(threshold) = judged.threshold {
            let healthy = kept.iter().filter(|instance| instance.healthy).count();
            prop_assert_eq!((threshold.healthy, threshold.of), (healthy, kept.len()));
        } else {
            prop_assert!(snapshot.metadata.is_none() || kept.is_empty() || query.protection == Protection::Off);
        }
    }
}
