//! One instance of a service, and the words Nacos reserves in its metadata.

use crate::ids::{DEFAULT_CLUSTER, ServiceKey};
use crate::time::Millis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Metadata: sorted, so that equal maps encode to equal bytes.
pub type Metadata = BTreeMap<String, String>;

/// How often a client sends beats, in milliseconds. Source: Nacos `Constants.DEFAULT_HEART_BEAT_INTERVAL`.
pub const BEAT_INTERVAL: Millis = Millis::from_secs(5);
/// Silence after which an ephemeral HTTP instance turns unhealthy, in milliseconds.
/// Source: Nacos `Constants.DEFAULT_HEART_BEAT_TIMEOUT`.
pub const BEAT_TIMEOUT: Millis = Millis::from_secs(15);
/// Silence after which it is removed, in milliseconds. Source: Nacos `Constants.DEFAULT_IP_DELETE_TIMEOUT`.
pub const DELETE_TIMEOUT: Millis = Millis::from_secs(30);

/// Metadata key that overrides [`BEAT_INTERVAL`] for one instance (milliseconds, digits only).
pub const KEY_BEAT_INTERVAL: &str = "preserved.heart.beat.interval";
/// Metadata key that overrides [`BEAT_TIMEOUT`] for one instance (milliseconds, digits only).
pub const KEY_BEAT_TIMEOUT: &str = "preserved.heart.beat.timeout";
/// Metadata key that overrides [`DELETE_TIMEOUT`] for one instance (milliseconds, digits only).
pub const KEY_DELETE_TIMEOUT: &str = "preserved.ip.delete.timeout";
/// Metadata key that selects how an instance id is made: `simple` or `snowflake`.
pub const KEY_ID_GENERATOR: &str = "preserved.instance.id.generator";

/// An instance as its client published it (or, in a snapshot, with the operator's overlay on top).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// IPv4, IPv6 or host name
    pub ip: Arc<str>,
    /// 0 to 65535
    pub port: u16,
    /// name of the cluster within the service
    pub cluster: Arc<str>,
    /// 0.0 to 10000.0
    pub weight: f64,
    /// the real health, as beats or checks last found it
    pub healthy: bool,
    /// false hides it from queries and pushes
    pub enabled: bool,
    /// whether it lives only as long as its client
    pub ephemeral: bool,
    /// free key/value pairs
    pub metadata: Arc<Metadata>,
    /// an id that the client chose or a generator made; none means the simple one
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Arc<str>>,
}

impl Instance {
    /// A healthy, enabled, ephemeral instance of weight 1 in cluster `DEFAULT`.
    pub fn new(ip: &str, port: u16) -> Self {
        Self {
            ip: ip.into(),
            port,
            cluster: DEFAULT_CLUSTER.into(),
            weight: 1.0,
            healthy: true,
            enabled: true,
            ephemeral: true,
            metadata: Arc::default(),
            id: None,
        }
    }

    /// `ip:port`, the key of its client.
    pub fn address(&self) -> String {
        format!("{}:{}", self.ip, self.port)
    }

    /// `ip:port:cluster`, the key of its overlay. Source: Nacos `InstancePublishInfo.genMetadataId`.
    pub fn metadata_id(&self) -> String {
        format!("{}:{}:{}", self.ip, self.port, self.cluster)
    }

    /// The id shown to clients: its own, or `ip#port#cluster#group@@service`.
    pub fn instance_id(&self, service: &ServiceKey) -> String {
        match &self.id {
            Some(id) => id.to_string(),
            None => format!("{}#{}#{}#{}", self.ip, self.port, self.cluster, service.grouped()),
        }
    }

    /// How often its client should beat.
    pub fn beat_interval(&self) -> Millis {
        timing(&self.metadata, KEY_BEAT_INTERVAL).unwrap_or(BEAT_INTERVAL)
    }

    /// Silence after which it is unhealthy.
    pub fn beat_timeout(&self) -> Millis {
        timing(&self.metadata, KEY_BEAT_TIMEOUT).unwrap_or(BEAT_TIMEOUT)
    }

    /// Silence after which it is removed.
    pub fn delete_timeout(&self) -> Millis {
        timing(&self.metadata, KEY_DELETE_TIMEOUT).unwrap_or(DELETE_TIMEOUT)
    }
}

/// The reserved timing `key` in `metadata`: only digits count, all else means the default.
pub fn timing(metadata: &Metadata, key: &str) -> Option<Millis> {
    let text = metadata.get(key)?;
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        text.parse().ok().map(Millis)
    } else {
        None
    }
}

/// What operators changed about an instance, kept apart from what its client publishes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Overlay {
    /// replaces the published flag
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// replaces the published weight
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// put over the published metadata: may override keys, never removes them
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: Metadata,
}

impl Overlay {
    /// `instance` as readers see it.
    pub fn apply(&self, instance: &Instance) -> Instance {
        let mut seen = instance.clone();
        seen.enabled = self.enabled.unwrap_or(seen.enabled);
        seen.weight = self.weight.unwrap_or(seen.weight);
        if !self.metadata.is_empty() {
            let merged = Arc::make_mut(&mut seen.metadata);
            merged.extend(self.metadata.iter().map(|(k, v)| (k.clone(), v.clone())));
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(key: &str, value: &str) -> Instance {
        let metadata = Arc::new(Metadata::from([(key.into(), value.into())]));
        Instance { metadata, ..Instance::new("10.0.0.5", 8080) }
    }

    #[test]
    fn n009_a_generated_id_is_ip_port_cluster_and_grouped_name() {
        let id = Instance::new("10.0.0.5", 8080).instance_id(&ServiceKey::new("", "", "orders"));
        assert_eq!(id, "10.0.0.5#8080#DEFAULT#DEFAULT_GROUP@@orders");
    }

    #[test]
    fn n038_a_timing_that_is_not_all_digits_is_ignored() {
        assert_eq!(with(KEY_BEAT_INTERVAL, "5s").beat_interval(), BEAT_INTERVAL);
        assert_eq!(with(KEY_BEAT_INTERVAL, "-1").beat_interval(), BEAT_INTERVAL);
        assert_eq!(with(KEY_BEAT_INTERVAL, "700").beat_interval(), Millis(700));
    }

    #[test]
    fn n071_an_overlay_overrides_published_keys_and_removes_none() {
        let published = with("zone", "a");
        let overlay = Overlay {
            metadata: Metadata::from([("zone".into(), "b".into()), ("x".into(), "1".into())]),
            ..Overlay::default()
        };
        let seen = overlay.apply(&published);
        assert_eq!(seen.metadata["zone"], "b");
        assert_eq!(seen.metadata["x"], "1");
        assert_eq!(published.metadata["zone"], "a");
        assert_eq!(Overlay::default().apply(&published), published);
    }
}
