//! What is kept durably, and the one function that decides what a command does to it.
//!
//! The rows are the truth for persistent instances, service metadata, operator overlays, switches and the versions of
//! plugins.
//! [`apply`] reads rows and a command and answers with the rows that change: no clock, no randomness, no
//! I/O, so that every node that applies the same commands holds the same rows. The naming state follows the
//! changes and is rebuilt from the rows at a start.

use crate::ids::ServiceKey;
use crate::instance::{Instance, Metadata, Overlay};
use crate::plugin::PluginKind;
use crate::rollout::{self, Act, Wanted};
use crate::service::{ClusterSettings, Selector, ServiceMetadata};
use crate::switches::Switches;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RowKey {
    /// the node-wide switches; one row
    Switches,
    /// metadata of a service
    Service(ServiceKey),
    /// a persistent instance of a service: `ip:port`
    Instance(ServiceKey, String),
    /// an operator's overlay: `ip:port:cluster`
    Overlay(ServiceKey, String),
    /// the wanted versions of a plugin, by its name
    Plugin(PluginKind, String),
}

/// What is in a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Row {
    /// in [`RowKey::Switches`]
    Switches(Box<Switches>),
    /// in [`RowKey::Service`]
    Service(ServiceMetadata),
    /// in [`RowKey::Instance`]
    Instance(Instance),
    /// in [`RowKey::Overlay`]
    Overlay(Overlay),
    /// in [`RowKey::Plugin`]
    Plugin(Box<Wanted>),
}

/// A row that is written, or removed when `row` is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// which row
    pub key: RowKey,
    /// its new content
    pub row: Option<Row>,
}

/// A durable write, with everything decided: applying it reads nothing but the rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Stores a persistent instance; replaces that of the same address.
    RegisterInstance {
        /// the service
        service: ServiceKey,
        /// the instance
        instance: Instance,
    },
    /// Removes a persistent instance; nothing happens when there is none.
    DeregisterInstance {
        /// the service
        service: ServiceKey,
        /// `ip:port`
        address: String,
    },
    /// Settled health transitions of persistent instances; one that is gone meanwhile is skipped (N352).
    SetHealth {
        /// the flips
        flips: Vec<HealthFlip>,
    },
    /// Creates service metadata; refused when there is some already.
    CreateService {
        /// the service
        service: ServiceKey,
        /// its metadata
        metadata: ServiceMetadata,
    },
    /// Replaces threshold, metadata and selector, keeps cluster settings (N133); creates the row when missing.
    UpdateService {
        /// the service
        service: ServiceKey,
        /// used when the row is new
        ephemeral: bool,
        /// new threshold
        protect_threshold: f32,
        /// new metadata
        metadata: Metadata,
        /// new selector
        selector: Selector,
    },
    /// Removes service metadata and all overlays of the service; refused while it has persistent instances.
    DeleteService {
        /// the service
        service: ServiceKey,
    },
    /// Replaces the settings of one cluster, keeps the rest (N351); creates the row when missing.
    UpdateCluster {
        /// the service
        service: ServiceKey,
        /// used when the row is new
        ephemeral: bool,
        /// the cluster
        cluster: String,
        /// its settings
        settings: ClusterSettings,
    },
    /// Replaces an overlay as a whole, or removes it.
    SetOverlay {
        /// the service
        service: ServiceKey,
        /// `ip:port:cluster`
        metadata_id: String,
        /// none removes it
        overlay: Option<Overlay>,
    },
    /// Changes what is given of an overlay: weight and enabled are set, a metadata map replaces the map.
    PatchOverlay {
        /// the service
        service: ServiceKey,
        /// `ip:port:cluster`
        metadata_id: String,
        /// new flag
        enabled: Option<bool>,
        /// new weight
        weight: Option<f64>,
        /// new map
        metadata: Option<Metadata>,
    },
    /// Puts keys into, or takes keys out of, the overlay maps of many instances.
    BatchMetadata {
        /// the service
        service: ServiceKey,
        /// `ip:port:cluster` of each
        metadata_ids: Vec<String>,
        /// what to do
        edit: MetadataEdit,
    },
    /// Sets one switch; a value that does not fit changes nothing.
    SetSwitch {
        /// the entry
        entry: String,
        /// its value
        value: String,
    },
    /// Something is said about the versions of a plugin.
    Plugin {
        /// which kind
        kind: PluginKind,
        /// which one
        name: String,
        /// what
        act: Act,
    },
}

/// One health transition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthFlip {
    /// the service
    pub service: ServiceKey,
    /// `ip:port`
    pub address: String,
    /// the new health
    pub healthy: bool,
}

/// What a batch does to overlay maps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MetadataEdit {
    /// put-all
    Put(Metadata),
    /// remove these keys
    Remove(Vec<String>),
}

/// What became of a command. A refusal changes nothing and is as durable an answer as success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// applied, which includes "nothing to do"
    Done,
    /// there is such a service already
    Exists,
    /// the service still has persistent instances
    NotEmpty,
}

/// Reads rows. Implemented by the store (inside its transaction) and by [`MemoryRows`].
pub trait Rows {
    /// Why a row could not be read.
    type Error;

    /// The row, if there is one.
    ///
    /// # Errors
    /// The store's own.
    fn get(&self, key: &RowKey) -> Result<Option<Row>, Self::Error>;

    /// Keys of all [`RowKey::Instance`] rows of `service`.
    ///
    /// # Errors
    /// The store's own.
    fn instances_of(&self, service: &ServiceKey) -> Result<Vec<RowKey>, Self::Error>;

    /// Keys of all [`RowKey::Overlay`] rows of `service`.
    ///
    /// # Errors
    /// The store's own.
    fn overlays_of(&self, service: &ServiceKey) -> Result<Vec<RowKey>, Self::Error>;
}

/// What `command` does to `rows`. The same key is never twice among the changes.
///
/// # Errors
/// Those of reading `rows`.
pub fn apply<R: Rows>(rows: &R, command: &Command) -> Result<(Reply, Vec<Change>), R::Error> {
    let changes = match command {
        Command::RegisterInstance { service, instance } => {
            let key = RowKey::Instance(service.clone(), instance.address());
            vec![put(key, Row::Instance(instance.clone()))]
        }
        Command::DeregisterInstance { service, address } => {
            let key = RowKey::Instance(service.clone(), address.clone());
            rows.get(&key)?.map(|_| remove(key)).into_iter().collect()
        }
        Command::SetHealth { flips } => flipped(rows, flips)?,
        Command::CreateService { service, metadata } => {
            let key = RowKey::Service(service.clone());
            if rows.get(&key)?.is_some() {
                return Ok((Reply::Exists, Vec::new()));
            }
            vec![put(key, Row::Service(metadata.clone()))]
        }
        Command::UpdateService { service, ephemeral, protect_threshold, metadata, selector } => {
            let mut row = service_row(rows, service, *ephemeral)?;
            row.protect_threshold = *protect_threshold;
            row.metadata.clone_from(metadata);
            row.selector.clone_from(selector);
            vec![put(RowKey::Service(service.clone()), Row::Service(row))]
        }
        Command::DeleteService { service } => {
            if !rows.instances_of(service)?.is_empty() {
                return Ok((Reply::NotEmpty, Vec::new()));
            }
            let key = RowKey::Service(service.clone());
            let row = rows.get(&key)?.map(|_| key);
            row.into_iter().chain(rows.overlays_of(service)?).map(remove).collect()
        }
        Command::UpdateCluster { service, ephemeral, cluster, settings } => {
            let mut row = service_row(rows, service, *ephemeral)?;
            row.clusters.insert(cluster.clone(), settings.clone());
            vec![put(RowKey::Service(service.clone()), Row::Service(row))]
        }
        Command::SetOverlay { service, metadata_id, overlay } => {
            let key = RowKey::Overlay(service.clone(), metadata_id.clone());
            match overlay {
                Some(overlay) => vec![put(key, Row::Overlay(overlay.clone()))],
                None => rows.get(&key)?.map(|_| remove(key)).into_iter().collect(),
            }
        }
        Command::PatchOverlay { service, metadata_id, enabled, weight, metadata } => {
            let (key, mut overlay) = overlay_row(rows, service, metadata_id)?;
            overlay.enabled = enabled.or(overlay.enabled);
            overlay.weight = weight.or(overlay.weight);
            if let Some(metadata) = metadata {
                overlay.metadata.clone_from(metadata);
            }
            vec![put(key, Row::Overlay(overlay))]
        }
        Command::BatchMetadata { service, metadata_ids, edit } => edited(rows, service, metadata_ids, edit)?,
        Command::SetSwitch { entry, value } => switched(rows, entry, value)?,
        Command::Plugin { kind, name, act } => {
            let key = RowKey::Plugin(*kind, name.clone());
            let row = match rows.get(&key)? {
                Some(Row::Plugin(row)) => Some(row),
                _ => None,
            };
            let new = rollout::act(row.as_deref(), act);
            new.map(|new| put(key, Row::Plugin(Box::new(new)))).into_iter().collect()
        }
    };
    Ok((Reply::Done, changes))
}

fn put(key: RowKey, row: Row) -> Change {
    Change { key, row: Some(row) }
}

fn remove(key: RowKey) -> Change {
    Change { key, row: None }
}

fn flipped<R: Rows>(rows: &R, flips: &[HealthFlip]) -> Result<Vec<Change>, R::Error> {
    let mut changes = BTreeMap::new();
    for flip in flips {
        let key = RowKey::Instance(flip.service.clone(), flip.address.clone());
        if let Some(Row::Instance(mut instance)) = rows.get(&key)? {
            instance.healthy = flip.healthy;
            changes.insert(key, Row::Instance(instance));
        }
    }
    Ok(changes.into_iter().map(|(key, row)| put(key, row)).collect())
}

fn edited<R: Rows>(
    rows: &R,
    service: &ServiceKey,
    metadata_ids: &[String],
    edit: &MetadataEdit,
) -> Result<Vec<Change>, R::Error> {
    let mut changes = BTreeMap::new();
    for id in metadata_ids {
        let (key, mut overlay) = overlay_row(rows, service, id)?;
        match edit {
            MetadataEdit::Put(pairs) => overlay.metadata.extend(pairs.clone()),
            MetadataEdit::Remove(keys) => overlay.metadata.retain(|key, _| !keys.contains(key)),
        }
        changes.insert(key, Row::Overlay(overlay));
    }
    Ok(changes.into_iter().map(|(key, row)| put(key, row)).collect())
}

fn switched<R: Rows>(rows: &R, entry: &str, value: &str) -> Result<Vec<Change>, R::Error> {
    let mut switches = match rows.get(&RowKey::Switches)? {
        Some(Row::Switches(switches)) => switches,
        _ => Box::default(),
    };
    Ok(match switches.set(entry, value) {
        Ok(true) => vec![put(RowKey::Switches, Row::Switches(switches))],
        Ok(false) | Err(_) => Vec::new(),
    })
}

fn service_row<R: Rows>(
    rows: &R,
    service: &ServiceKey,
    ephemeral: bool,
) -> Result<ServiceMetadata, R::Error> {
    Ok(match rows.get(&RowKey::Service(service.clone()))? {
        Some(Row::Service(row)) => row,
        _ => ServiceMetadata { ephemeral, ..ServiceMetadata::default() },
    })
}

fn overlay_row<R: Rows>(rows: &R, service: &ServiceKey, id: &str) -> Result<(RowKey, Overlay), R::Error> {
    let key = RowKey::Overlay(service.clone(), id.to_owned());
    let overlay = match rows.get(&key)? {
        Some(Row::Overlay(overlay)) => overlay,
        _ => Overlay::default(),
    };
    Ok((key, overlay))
}

/// Rows in memory: for tests, and as the model that a store is tested against.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemoryRows(pub BTreeMap<RowKey, Row>);

impl MemoryRows {
    /// Applies `command` and keeps what it changes.
    pub fn run(&mut self, command: &Command) -> (Reply, Vec<Change>) {
        let Ok((reply, changes)) = apply(self, command);
        for Change { key, row } in changes.clone() {
            match row {
                Some(row) => self.0.insert(key, row),
                None => self.0.remove(&key),
            };
        }
        (reply, changes)
    }
}

impl Rows for MemoryRows {
    type Error = std::convert::Infallible;

    fn get(&self, key: &RowKey) -> Result<Option<Row>, Self::Error> {
        Ok(self.0.get(key).cloned())
    }

    fn instances_of(&self, service: &ServiceKey) -> Result<Vec<RowKey>, Self::Error> {
        let of = |key: &&RowKey| matches!(key, RowKey::Instance(s, _) if s == service);
        Ok(self.0.keys().filter(of).cloned().collect())
    }

    fn overlays_of(&self, service: &ServiceKey) -> Result<Vec<RowKey>, Self::Error> {
        let of = |key: &&RowKey| matches!(key, RowKey::Overlay(s, _) if s == service);
        Ok(self.0.keys().filter(of).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> ServiceKey {
        ServiceKey::new("", "", "orders")
    }

    fn register(rows: &mut MemoryRows) {
        let instance = Instance { ephemeral: false, ..Instance::new("10.0.0.5", 3306) };
        rows.run(&Command::RegisterInstance { service: service(), instance });
    }

    fn flip(healthy: bool) -> Command {
        Command::SetHealth {
            flips: vec![HealthFlip { service: service(), address: "10.0.0.5:3306".into(), healthy }],
        }
    }

    #[test]
    fn n352_a_health_flip_of_an_instance_that_is_gone_is_ignored() {
        let mut rows = MemoryRows::default();
        assert_eq!(rows.run(&flip(false)), (Reply::Done, vec![]));
        register(&mut rows);
        assert_eq!(rows.run(&flip(false)).1.len(), 1);
    }

    #[test]
    fn n351_n133_service_and_cluster_updates_leave_each_other_alone() {
        let mut rows = MemoryRows::default();
        let settings = ClusterSettings { check_port: 9000, ..ClusterSettings::default() };
        let cluster =
            Command::UpdateCluster { service: service(), ephemeral: false, cluster: "A".into(), settings };
        let update = Command::UpdateService {
            service: service(),
            ephemeral: false,
            protect_threshold: 0.5,
            metadata: Metadata::new(),
            selector: Selector::None,
        };
        rows.run(&update);
        rows.run(&cluster);
        rows.run(&update);
        let Some(Row::Service(row)) = rows.0.get(&RowKey::Service(service())) else { unreachable!() };
        assert_eq!((row.protect_threshold, row.clusters["A"].check_port), (0.5, 9000));
    }

    #[test]
    fn a_service_with_persistent_instances_cannot_be_deleted() {
        let mut rows = MemoryRows::default();
        rows.run(&Command::CreateService { service: service(), metadata: ServiceMetadata::default() });
        register(&mut rows);
        assert_eq!(rows.run(&Command::DeleteService { service: service() }), (Reply::NotEmpty, vec![]));
        rows.run(&Command::DeregisterInstance { service: service(), address: "10.0.0.5:3306".into() });
        assert_eq!(rows.run(&Command::DeleteService { service: service() }).0, Reply::Done);
        assert_eq!(rows, MemoryRows::default());
    }

    #[test]
    fn n070_a_patch_leaves_what_it_does_not_name() {
        let mut rows = MemoryRows::default();
        let id = "10.0.0.5:3306:DEFAULT";
        let patch = |enabled, weight, metadata| Command::PatchOverlay {
            service: service(),
            metadata_id: id.into(),
            enabled,
            weight,
            metadata,
        };
        rows.run(&patch(Some(false), None, Some(Metadata::from([("a".into(), "1".into())]))));
        rows.run(&patch(None, Some(5.0), None));
        let (_, overlay) = overlay_row(&rows, &service(), id).unwrap();
        assert_eq!((overlay.enabled, overlay.weight, overlay.metadata.len()), (Some(false), Some(5.0), 1));
    }

    #[test]
    fn switches_are_set_one_by_one_over_what_is_stored() {
        let mut rows = MemoryRows::default();
        let set = |entry: &str, value: &str| Command::SetSwitch { entry: entry.into(), value: value.into() };
        rows.run(&set("healthCheckTimes", "1"));
        rows.run(&set("check", "false"));
        assert_eq!(rows.run(&set("check", "perhaps")), (Reply::Done, vec![]));
        let Some(Row::Switches(switches)) = rows.0.get(&RowKey::Switches) else { unreachable!() };
        assert_eq!((switches.check_times, switches.health_check_enabled), (1, false));
    }

    #[test]
    fn n084_a_batch_delete_takes_only_overlay_keys() {
        let mut rows = MemoryRows::default();
        let batch =
            |edit| Command::BatchMetadata { service: service(), metadata_ids: vec!["x".into()], edit };
        rows.run(&batch(MetadataEdit::Put(Metadata::from([
            ("a".into(), "1".into()),
            ("b".into(), "2".into()),
        ]))));
        rows.run(&batch(MetadataEdit::Remove(vec!["a".into()])));
        let (_, overlay) = overlay_row(&rows, &service(), "x").unwrap();
        assert_eq!(overlay.metadata, Metadata::from([("b".into(), "2".into())]));
    }
}
