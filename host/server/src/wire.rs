//! ServiceInfo and instances as JSON: what lists answer and what UDP pushes carry.
//!
//! The hosts of a service are encoded once per snapshot and shared; around them goes a small head that is fresh
//! in every reply, because clients drop a list whose `lastRefTime` is older than the one they hold.

use bytes::Bytes;
use muster_core::instance::{Instance, KEY_ID_GENERATOR, Metadata};
use muster_core::naming::{Protection, Query, ServiceSnapshot};
use muster_core::{Millis, ServiceKey};
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use std::sync::Arc;

/// Generator of instance ids of those that name none. Source: Nacos `Constants.DEFAULT_INSTANCE_ID_GENERATOR`.
const SIMPLE: &str = "simple";

/// One instance as clients read it, with the synonyms of all generations.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Host<'a> {
    instance_id: String,
    ip: &'a str,
    port: u16,
    weight: f64,
    healthy: bool,
    enabled: bool,
    ephemeral: bool,
    cluster_name: &'a str,
    service_name: &'a str,
    metadata: &'a Metadata,
    instance_heart_beat_interval: Millis,
    instance_heart_beat_time_out: Millis,
    ip_delete_timeout: Millis,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_id_generator: Option<&'a str>,
    valid: bool,
    marked: bool,
}

impl<'a> Host<'a> {
    fn new(instance: &'a Instance, service: &ServiceKey, grouped: &'a str, all_healthy: bool) -> Self {
        let healthy = instance.healthy || all_healthy;
        Self {
            instance_id: instance.instance_id(service),
            ip: &instance.ip,
            port: instance.port,
            weight: instance.weight,
            healthy,
            enabled: instance.enabled,
            ephemeral: instance.ephemeral,
            cluster_name: &instance.cluster,
            service_name: grouped,
            metadata: &instance.metadata,
            instance_heart_beat_interval: instance.beat_interval(),
            instance_heart_beat_time_out: instance.beat_timeout(),
            ip_delete_timeout: instance.delete_timeout(),
            instance_id_generator: generator(&instance.metadata),
            valid: healthy,
            marked: false,
        }
    }
}

fn generator(metadata: &Metadata) -> Option<&str> {
    if metadata.is_empty() {
        return Some(SIMPLE);
    }
    metadata.get(KEY_ID_GENERATOR).map(String::as_str)
}

/// Instances of one service as a JSON array.
pub struct Hosts<'a> {
    /// the service
    pub service: &'a ServiceKey,
    /// the instances, in the order they are written
    pub instances: &'a [Arc<Instance>],
    /// too few are healthy: show all as healthy
    pub all_healthy: bool,
}

impl Serialize for Hosts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let grouped = self.service.grouped();
        let mut sequence = serializer.serialize_seq(Some(self.instances.len()))?;
        for instance in self.instances {
            sequence.serialize_element(&Host::new(instance, self.service, &grouped, self.all_healthy))?;
        }
        sequence.end()
    }
}

/// `[…]}`: the hosts and the end of the ServiceInfo that they end.
pub fn hosts(service: &ServiceKey, instances: &[Arc<Instance>], all_healthy: bool) -> Bytes {
    let mut encoded = Vec::with_capacity(64 + instances.len() * 420);
    let hosts = Hosts { service, instances, all_healthy };
    if serde_json::to_writer(&mut encoded, &hosts).is_err() {
        // Numbers, text and string keys always encode; a half-written list must never leave.
        return no_hosts();
    }
    encoded.push(b'}');
    encoded.into()
}

/// `[]}`
pub fn no_hosts() -> Bytes {
    Bytes::from_static(b"[]}")
}

/// The hosts of the ordinary query (all clusters, enabled ones, healthy or not) as [`hosts`] writes them, and
/// whether the protection threshold was reached.
pub fn ordinary(snapshot: &ServiceSnapshot, protection: Protection) -> (Bytes, bool) {
    queried(snapshot, &Query { clusters: "", healthy_only: false, enabled_only: true, protection })
}

/// The hosts that `query` asks for, as [`hosts`] writes them, and whether the threshold was reached.
pub fn queried(snapshot: &ServiceSnapshot, query: &Query<'_>) -> (Bytes, bool) {
    let selected = snapshot.select(query);
    (hosts(&snapshot.key, &selected.instances, selected.protected), selected.protected)
}

/// What a ServiceInfo says beside its hosts.
pub struct Head<'a> {
    /// the service
    pub service: &'a ServiceKey,
    /// the clusters that were asked for
    pub clusters: &'a str,
    /// how long a client may believe the list, ms
    pub cache_millis: u64,
    /// time of this reply
    pub last_ref_time: Millis,
    /// whether the protection threshold was reached
    pub protected: bool,
}

impl Head<'_> {
    /// Writes `{"name":…,"hosts":`; what [`hosts`] writes follows. Pushes by UDP leave `groupName` out.
    pub fn write(&self, with_group: bool, out: &mut Vec<u8>) {
        let grouped = self.service.grouped();
        self.write_named(&grouped, with_group, &grouped, out);
    }

    /// As [`Head::write`], with the bare name that gRPC clients want (N022).
    pub fn write_bare(&self, out: &mut Vec<u8>) {
        self.write_named(self.service.name(), true, &self.service.grouped(), out);
    }

    /// By hand and not through a struct: this is most of the work of answering a query.
    fn write_named(&self, name: &str, with_group: bool, grouped: &str, out: &mut Vec<u8>) {
        field(out, b"{\"name\":", name);
        if with_group {
            field(out, b",\"groupName\":", self.service.group());
        }
        field(out, b",\"clusters\":", self.clusters);
        field(out, b",\"cacheMillis\":", &self.cache_millis);
        field(out, b",\"lastRefTime\":", &self.last_ref_time);
        out.extend_from_slice(b",\"checksum\":\"\",\"allIPs\":false,\"allIps\":false");
        field(out, b",\"reachProtectionThreshold\":", &self.protected);
        field(out, b",\"valid\":true,\"dom\":", grouped);
        out.extend_from_slice(b",\"hosts\":");
    }
}

/// A key with everything before it, and its value.
fn field<T: Serialize + ?Sized>(out: &mut Vec<u8>, key: &[u8], value: &T) {
    out.extend_from_slice(key);
    let start = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        // Text and numbers always encode; the whole stays valid JSON all the same.
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn encoded(instance: Instance, all_healthy: bool) -> Value {
        let service = ServiceKey::new("", "", "orders");
        let mut text = Vec::new();
        let head = Head {
            service: &service,
            clusters: "",
            cache_millis: 10_000,
            last_ref_time: Millis(1_700_000_000_000),
            protected: all_healthy,
        };
        head.write(true, &mut text);
        text.extend_from_slice(&hosts(&service, &[Arc::new(instance)], all_healthy));
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn n012_n013_n014_n015_n017_n018_n020_a_list_has_every_field_and_no_null() {
        let seen = encoded(Instance::new("10.0.0.5", 8080), false);
        let wanted = json!({
            "name": "DEFAULT_GROUP@@orders", "dom": "DEFAULT_GROUP@@orders", "groupName": "DEFAULT_GROUP",
            "clusters": "", "cacheMillis": 10000, "lastRefTime": 1_700_000_000_000_u64, "checksum": "",
            "allIPs": false, "allIps": false, "reachProtectionThreshold": false, "valid": true,
            "hosts": [{
                "instanceId": "10.0.0.5#8080#DEFAULT#DEFAULT_GROUP@@orders", "ip": "10.0.0.5", "port": 8080,
                "weight": 1.0, "healthy": true, "enabled": true, "ephemeral": true, "clusterName": "DEFAULT",
                "serviceName": "DEFAULT_GROUP@@orders", "metadata": {}, "instanceHeartBeatInterval": 5000,
                "instanceHeartBeatTimeOut": 15000, "ipDeleteTimeout": 30000,
                "instanceIdGenerator": "simple", "valid": true, "marked": false,
            }],
        });
        assert_eq!(seen, wanted);
    }

    #[test]
    fn n108_protection_shows_the_unhealthy_as_healthy() {
        let sick = Instance { healthy: false, ..Instance::new("10.0.0.5", 8080) };
        let host = |all_healthy| encoded(sick.clone(), all_healthy)["hosts"][0].clone();
        assert_eq!((&host(false)["healthy"], &host(false)["valid"]), (&json!(false), &json!(false)));
        assert_eq!((&host(true)["healthy"], &host(true)["valid"]), (&json!(true), &json!(true)));
    }

    #[test]
    fn the_id_generator_is_left_out_when_metadata_names_none() {
        let metadata = |key: &str| Arc::new(Metadata::from([(key.to_owned(), "snowflake".to_owned())]));
        let with = |key| Instance { metadata: metadata(key), ..Instance::new("10.0.0.5", 8080) };
        assert_eq!(encoded(with("zone"), false)["hosts"][0].get("instanceIdGenerator"), None);
        assert_eq!(encoded(with(KEY_ID_GENERATOR), false)["hosts"][0]["instanceIdGenerator"], "snowflake");
    }

    #[test]
    fn weights_are_written_with_a_decimal() {
        let service = ServiceKey::new("", "", "orders");
        let text = hosts(&service, &[Arc::new(Instance::new("10.0.0.5", 8080))], false);
        assert!(String::from_utf8_lossy(&text).contains("\"weight\":1.0,"));
    }

    #[test]
    fn n195_a_push_has_no_group_name() {
        let mut text = Vec::new();
        let service = ServiceKey::new("", "G", "orders");
        let head = Head {
            service: &service,
            clusters: "",
            cache_millis: 1,
            last_ref_time: Millis(1),
            protected: false,
        };
        head.write(false, &mut text);
        text.extend_from_slice(&no_hosts());
        let json: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!((json.get("groupName"), &json["name"]), (None, &json!("G@@orders")));
    }
}
