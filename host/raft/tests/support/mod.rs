//! What the tests of the store share.
#![allow(dead_code, reason = "each test file uses its part")]

use muster_core::persist::{Change, Command, HealthFlip, MemoryRows, MetadataEdit, Row, RowKey};
use muster_core::service::{ClusterSettings, Selector, ServiceMetadata};
use muster_core::{Instance, Metadata, Overlay, ServiceKey};
use muster_raft::{Committed, RaftOptions, Store};
use std::collections::BTreeMap;
use std::path::Path;
use tokio::sync::mpsc;

pub(crate) type RowMap = BTreeMap<RowKey, Row>;

/// A store whose channel is read as a naming loop would, into `seen`.
pub(crate) struct Node {
    pub(crate) store: Store,
    rows: RowMap,
    committed: mpsc::Receiver<Committed>,
    last_index: u64,
}

pub(crate) fn options(path: &Path) -> RaftOptions {
    RaftOptions { path: path.to_owned(), address: "127.0.0.1:7848".into(), ..RaftOptions::default() }
}

impl Node {
    pub(crate) async fn open(options: RaftOptions) -> Self {
        let (sender, committed) = mpsc::channel(10_000);
        let (store, initial) = Store::open(options, sender).await.expect("the store opens");
        let mut rows = RowMap::new();
        apply(&mut rows, initial);
        Self { store, rows, committed, last_index: 0 }
    }

    /// The rows as someone knows them who follows the channel.
    pub(crate) fn rows(&mut self) -> &RowMap {
        while let Ok(Committed { index, changes }) = self.committed.try_recv() {
            assert!(index > self.last_index, "{index} after {}", self.last_index);
            self.last_index = index;
            apply(&mut self.rows, changes);
        }
        &self.rows
    }

    pub(crate) async fn shutdown(self) {
        self.store.shutdown().await.expect("the store shuts down");
    }
}

pub(crate) fn apply(rows: &mut RowMap, changes: Vec<Change>) {
    for Change { key, row } in changes {
        match row {
            Some(row) => rows.insert(key, row),
            None => rows.remove(&key),
        };
    }
}

pub(crate) fn service(name: &str) -> ServiceKey {
    ServiceKey::new("", "", name)
}

pub(crate) fn register(service_name: &str, ip: &str, port: u16) -> Command {
    let instance = Instance { ephemeral: false, ..Instance::new(ip, port) };
    Command::RegisterInstance { service: service(service_name), instance }
}

/// One command of each kind, with every field used: what the fixture holds.
pub(crate) fn one_of_each() -> Vec<Command> {
    let orders = || service("orders");
    let metadata =
        || Metadata::from([("zone".to_owned(), "a".to_owned()), ("emoji".into(), "é\u{1F600}\"".into())]);
    let id = || "10.0.0.1:3306:DEFAULT".to_owned();
    let instance = Instance {
        weight: 0.1 + 0.2,
        metadata: metadata().into(),
        id: Some("snow-7".into()),
        ephemeral: false,
        cluster: "EAST".into(),
        ..Instance::new("10.0.0.2", 3306)
    };
    let settings = ClusterSettings { check_port: 9000, ..ClusterSettings::default() };
    let selector =
        Selector::Label { expression: "CONSUMER.label.A=PROVIDER.label.A".into(), labels: vec!["A".into()] };
    let tcp = r#"{"max":5001,"min":501,"factor":0.3333333333333333}"#;
    vec![
        register("orders", "10.0.0.1", 3306),
        Command::RegisterInstance { service: orders(), instance },
        register("orders", "10.0.0.3", 3306),
        Command::DeregisterInstance { service: orders(), address: "10.0.0.3:3306".into() },
        Command::SetHealth {
            flips: vec![HealthFlip { service: orders(), address: "10.0.0.1:3306".into(), healthy: false }],
        },
        Command::CreateService { service: orders(), metadata: ServiceMetadata::default() },
        Command::CreateService { service: service("gone"), metadata: ServiceMetadata::default() },
        Command::UpdateService {
            service: orders(),
            ephemeral: false,
            protect_threshold: 0.7,
            metadata: metadata(),
            selector,
        },
        Command::DeleteService { service: service("gone") },
        Command::UpdateCluster { service: orders(), ephemeral: false, cluster: "EAST".into(), settings },
        Command::SetOverlay {
            service: orders(),
            metadata_id: id(),
            overlay: Some(Overlay { enabled: Some(false), weight: Some(2.5), metadata: metadata() }),
        },
        Command::PatchOverlay {
            service: orders(),
            metadata_id: id(),
            enabled: None,
            weight: Some(1.0 / 3.0),
            metadata: None,
        },
        Command::BatchMetadata {
            service: orders(),
            metadata_ids: vec![id(), "10.0.0.2:3306:EAST".into()],
            edit: MetadataEdit::Put(Metadata::from([("batch".into(), "yes".into())])),
        },
        Command::SetSwitch { entry: "healthCheckTimes".into(), value: "7".into() },
        Command::SetSwitch { entry: "tcpHealthParams".into(), value: tcp.into() },
    ]
}

/// What `commands` make of nothing, by the rules alone.
pub(crate) fn model(commands: &[Command]) -> MemoryRows {
    let mut rows = MemoryRows::default();
    for command in commands {
        rows.run(command);
    }
    rows
}
