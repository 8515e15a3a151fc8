//! Services and instances as a console lists them.

use super::service::{self, ClusterDetail};
use crate::http::call::Call;
use crate::http::codes;
use crate::http::error::ApiError;
use crate::http::forms;
use crate::naming::PublishedService;
use crate::wire::Hosts;
use http::StatusCode;
use muster_core::ids::ServiceKey;
use muster_core::instance::{Instance, Metadata};
use muster_core::naming::ServiceSnapshot;
use regex::Regex;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// One line of the list of services.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceLine<'a> {
    name: &'a str,
    group_name: &'a str,
    cluster_count: usize,
    ip_count: usize,
    healthy_instance_count: usize,
    trigger_flag: &'static str,
}

impl<'a> From<&'a ServiceSnapshot> for ServiceLine<'a> {
    fn from(snapshot: &'a ServiceSnapshot) -> Self {
        Self {
            name: snapshot.key.name(),
            group_name: snapshot.key.group(),
            cluster_count: snapshot.clusters().len(),
            ip_count: snapshot.instances.len(),
            healthy_instance_count: snapshot.healthy_count(),
            trigger_flag: if triggered(snapshot) { "true" } else { "false" },
        }
    }
}

/// Whether healthy / total is at or below the threshold, stored or not; never for an empty service (N144).
fn triggered(snapshot: &ServiceSnapshot) -> bool {
    let threshold = snapshot.metadata.as_ref().map_or(0.0, |metadata| metadata.protect_threshold);
    #[allow(clippy::cast_precision_loss, reason = "counts of instances are far below 2^24")]
    let share = snapshot.healthy_count() as f32 / snapshot.instances.len() as f32;
    !snapshot.instances.is_empty() && share <= threshold
}

/// The services of a namespace that the name parameters fit, sorted (N143).
///
/// # Errors
/// A name parameter that is not a regular expression.
pub(crate) fn services(call: &Call<'_>, skip_empty: bool) -> Result<Vec<Arc<PublishedService>>, ApiError> {
    let group = pattern(call.params.get("groupNameParam"))?;
    let name = pattern(call.params.get("serviceNameParam"))?;
    let fits = |pattern: &Option<Regex>, text: &str| pattern.as_ref().is_none_or(|p| p.is_match(text));
    let mut found = call.app.published().of_namespace(forms::namespace(call));
    found.retain(|service| {
        let key = &service.snapshot.key;
        fits(&group, key.group())
            && fits(&name, key.name())
            && !(skip_empty && service.snapshot.instances.is_empty())
    });
    Ok(found)
}

/// A pattern that is searched anywhere.
///
/// # Errors
/// Not a regular expression.
pub(crate) fn pattern(text: Option<&str>) -> Result<Option<Regex>, ApiError> {
    let compile = |text| Regex::new(text).map_err(|error| ApiError::illegal(error.to_string()));
    text.map(compile).transpose()
}

/// The clusters of a service with their hosts.
pub(crate) fn cluster_map(key: &ServiceKey, snapshot: &ServiceSnapshot, clusters: &[ClusterDetail]) -> Value {
    let map = clusters.iter().map(|cluster| {
        let here = |instance: &&Arc<Instance>| *instance.cluster == *cluster.name;
        let instances: Vec<_> = snapshot.instances.iter().filter(here).cloned().collect();
        let hosts = Hosts { service: key, instances: &instances, all_healthy: false };
        let value = json!({
            "clusterName": cluster.name,
            "healthChecker": cluster.checker,
            "healthyCheckPort": cluster.settings.check_port,
            "useInstancePortForCheck": cluster.settings.use_instance_port,
            "metadata": cluster.settings.metadata,
            "hosts": hosts,
        });
        (cluster.name.clone(), value)
    });
    Value::Object(map.collect::<Map<_, _>>())
}

/// A service with everything in it, as v1's catalog and v3's list show it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceWithHosts {
    namespace_id: String,
    service_name: String,
    group_name: String,
    cluster_map: Value,
    metadata: Metadata,
    protect_threshold: f64,
    ephemeral: bool,
}

/// See [`ServiceWithHosts`].
pub(crate) fn with_hosts(call: &Call<'_>, snapshot: &Arc<ServiceSnapshot>) -> ServiceWithHosts {
    let detail = service::detail(call, snapshot.clone());
    let key = &snapshot.key;
    ServiceWithHosts {
        namespace_id: key.namespace().to_owned(),
        service_name: key.name().to_owned(),
        group_name: key.group().to_owned(),
        cluster_map: cluster_map(key, snapshot, &detail.clusters),
        metadata: detail.metadata,
        protect_threshold: detail.protect_threshold,
        ephemeral: snapshot.ephemeral,
    }
}

/// The instances of one cluster, disabled ones included.
///
/// # Errors
/// 404 for an unknown service or cluster (N165).
pub(crate) fn instances_of_cluster(
    call: &Call<'_>,
    service: &ServiceKey,
    cluster: &str,
) -> Result<Vec<Arc<Instance>>, ApiError> {
    let missing = |text| ApiError::coded(StatusCode::NOT_FOUND, codes::SERVER_ERROR, text);
    let published = call.app.published().get(service);
    let published =
        published.ok_or_else(|| missing(format!("service {} is not found!", service.grouped())))?;
    let here = |instance: &&Arc<Instance>| *instance.cluster == *cluster;
    let found: Vec<_> = published.snapshot.instances.iter().filter(here).cloned().collect();
    if found.is_empty() {
        return Err(missing(format!("cluster {cluster} is not found!")));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_core::service::ServiceMetadata;

    fn snapshot(threshold: f32, healthy: &[bool]) -> ServiceSnapshot {
        let instance = |(port, healthy): (usize, &bool)| {
            let port = u16::try_from(port).unwrap();
            Arc::new(Instance { healthy: *healthy, ..Instance::new("10.0.0.5", port) })
        };
        ServiceSnapshot {
            key: ServiceKey::new("", "", "orders"),
            ephemeral: true,
            revision: 1,
            metadata: Some(Arc::new(ServiceMetadata {
                protect_threshold: threshold,
                ..ServiceMetadata::default()
            })),
            instances: healthy.iter().enumerate().map(instance).collect(),
        }
    }

    #[test]
    fn n144_the_flag_is_set_at_the_threshold_and_never_for_an_empty_service() {
        let flag = |threshold, healthy: &[bool]| {
            serde_json::to_value(ServiceLine::from(&snapshot(threshold, healthy))).unwrap()["triggerFlag"]
                .clone()
        };
        assert_eq!(flag(0.5, &[true, false]), "true");
        assert_eq!(flag(0.5, &[true, true, false]), "false");
        assert_eq!(flag(0.5, &[]), "false");
        assert_eq!(flag(0.0, &[false]), "true");
    }

    #[test]
    fn n143_patterns_match_anywhere_and_bad_ones_are_refused() {
        assert!(pattern(Some("rd.r")).unwrap().unwrap().is_match("orders"));
        assert!(pattern(Some("(")).is_err());
        assert!(pattern(None).unwrap().is_none());
    }
}
