//! A list as a filter sees it: columns, made once when first asked for and kept with the snapshot.

use muster_core::{Instance, ServiceKey};
use muster_wasm::{Candidate, Candidates, Column};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Metadata columns kept for one list. A filter asks for one or two; more are made each time.
const KEPT_COLUMNS: usize = 16;

/// See the module.
pub(super) struct SnapshotCandidates {
    service: ServiceKey,
    instances: Vec<Arc<Instance>>,
    metadata: Mutex<HashMap<String, Arc<Column>>>,
    clusters: OnceLock<Arc<Column>>,
    addresses: OnceLock<Arc<[String]>>,
    ports: OnceLock<Arc<[u16]>>,
    weights: OnceLock<Arc<[f64]>>,
    states: OnceLock<Arc<[u8]>>,
}

impl SnapshotCandidates {
    pub(super) fn new(service: ServiceKey, instances: Vec<Arc<Instance>>) -> Self {
        Self {
            service,
            instances,
            metadata: Mutex::default(),
            clusters: OnceLock::new(),
            addresses: OnceLock::new(),
            ports: OnceLock::new(),
            weights: OnceLock::new(),
            states: OnceLock::new(),
        }
    }

    fn of_each<T>(&self, kept: &OnceLock<Arc<[T]>>, read: impl Fn(&Instance) -> T) -> Arc<[T]> {
        kept.get_or_init(|| self.instances.iter().map(|instance| read(instance)).collect()).clone()
    }
}

impl Candidates for SnapshotCandidates {
    fn count(&self) -> u32 {
        u32::try_from(self.instances.len()).unwrap_or(u32::MAX)
    }

    fn metadata(&self, key: &str) -> Arc<Column> {
        let mut kept = self.metadata.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(column) = kept.get(key) {
            return column.clone();
        }
        let column = Arc::new(column(self.instances.iter().map(|i| i.metadata.get(key).map(String::as_str))));
        if kept.len() < KEPT_COLUMNS {
            kept.insert(key.to_owned(), column.clone());
        }
        column
    }

    fn clusters(&self) -> Arc<Column> {
        self.clusters
            .get_or_init(|| Arc::new(column(self.instances.iter().map(|i| Some(&*i.cluster)))))
            .clone()
    }

    fn addresses(&self) -> Arc<[String]> {
        self.of_each(&self.addresses, |instance| instance.ip.to_string())
    }

    fn ports(&self) -> Arc<[u16]> {
        self.of_each(&self.ports, |instance| instance.port)
    }

    fn weights(&self) -> Arc<[f64]> {
        self.of_each(&self.weights, |instance| instance.weight)
    }

    fn states(&self) -> Arc<[u8]> {
        self.of_each(&self.states, state)
    }

    fn instance(&self, index: u32) -> Option<Candidate> {
        let instance = self.instances.get(usize::try_from(index).ok()?)?;
        Some(Candidate {
            id: instance.instance_id(&self.service),
            address: instance.ip.to_string(),
            port: instance.port,
            cluster: instance.cluster.to_string(),
            weight: instance.weight,
            state: state(instance),
            metadata: instance.metadata.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        })
    }
}

/// The real health, also where the protection threshold shows another: a filter that spills over must see it.
fn state(instance: &Instance) -> u8 {
    u8::from(instance.healthy) | u8::from(instance.enabled) << 1 | u8::from(instance.ephemeral) << 2
}

fn column<'a>(values: impl Iterator<Item = Option<&'a str>>) -> Column {
    let mut codes_of: HashMap<&str, u32> = HashMap::new();
    let mut column = Column::default();
    for value in values {
        let code = value.map_or(0, |value| {
            *codes_of.entry(value).or_insert_with(|| {
                column.values.push(value.to_owned());
                u32::try_from(column.values.len()).unwrap_or(u32::MAX)
            })
        });
        column.codes.push(code);
    }
    column
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_core::Metadata;

    #[test]
    fn columns_hold_each_value_once() {
        let instance = |port, zone: Option<&str>| {
            let metadata = zone.map(|zone| ("zone".to_owned(), zone.to_owned())).into_iter().collect();
            let metadata: Arc<Metadata> = Arc::new(metadata);
            Arc::new(Instance { metadata, healthy: port != 2, ..Instance::new("10.0.0.5", port) })
        };
        let instances =
            vec![instance(1, Some("a")), instance(2, None), instance(3, Some("b")), instance(4, Some("a"))];
        let list = SnapshotCandidates::new(ServiceKey::new("", "", "s"), instances);
        let zones = Column { values: vec!["a".into(), "b".into()], codes: vec![1, 0, 2, 1] };
        assert_eq!(*list.metadata("zone"), zones);
        assert!(Arc::ptr_eq(&list.metadata("zone"), &list.metadata("zone")));
        assert_eq!(list.clusters().codes, [1; 4]);
        assert_eq!((&*list.ports(), &*list.states()), (&[1, 2, 3, 4][..], &[7, 6, 7, 7][..]));
        assert_eq!(list.instance(1).unwrap().id, "10.0.0.5#2#DEFAULT#DEFAULT_GROUP@@s");
        assert!(list.instance(4).is_none());
    }
}
