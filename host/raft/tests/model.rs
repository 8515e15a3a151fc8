//! Whatever happens to the store in between, its rows are those that the rules make of the commands.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use muster_core::instance::Metadata;
use muster_core::persist::{Command, HealthFlip, MemoryRows, MetadataEdit};
use muster_core::service::{ClusterSettings, Selector, ServiceMetadata};
use muster_core::{Instance, Overlay};
use muster_raft::RaftOptions;
use proptest::collection::vec;
use proptest::prelude::*;
use std::path::PathBuf;
use support::{Node, options, service};

#[derive(Clone, Debug)]
enum Step {
    Propose(Command),
    /// many at once, which go into few entries
    Together(Vec<Command>),
    Snapshot,
    /// shut down and opened again
    Restart,
    /// what the disk holds while the store is open: all else is lost
    PowerCut,
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("b"), Just("a\u{0}b")].prop_map(str::to_owned)
}

fn ip() -> impl Strategy<Value = String> {
    prop_oneof![Just("10.0.0.1"), Just("10.0.0.2"), Just("db.local")].prop_map(str::to_owned)
}

fn metadata() -> impl Strategy<Value = Metadata> {
    proptest::collection::btree_map("[a-c]", "\\PC{0,6}", 0..3)
}

fn id() -> impl Strategy<Value = String> {
    ip().prop_map(|ip| format!("{ip}:1:DEFAULT"))
}

fn finite() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("JSON has no others", |number| number.is_finite())
}

fn instances() -> impl Strategy<Value = Command> {
    let flip = (name(), ip(), any::<bool>()).prop_map(|(name, ip, healthy)| HealthFlip {
        service: service(&name),
        address: format!("{ip}:1"),
        healthy,
    });
    prop_oneof![
        4 => (name(), ip(), finite(), metadata()).prop_map(|(name, ip, weight, metadata)| {
            let instance =
                Instance { weight, metadata: metadata.into(), ephemeral: false, ..Instance::new(&ip, 1) };
            Command::RegisterInstance { service: service(&name), instance }
        }),
        2 => (name(), ip()).prop_map(|(name, ip)| Command::DeregisterInstance {
            service: service(&name),
            address: format!("{ip}:1"),
        }),
        2 => vec(flip, 0..4).prop_map(|flips| Command::SetHealth { flips }),
    ]
}

fn services() -> impl Strategy<Value = Command> {
    prop_oneof![
        name().prop_map(|name| Command::CreateService {
            service: service(&name),
            metadata: ServiceMetadata::default(),
        }),
        (name(), any::<bool>(), 0.0f32..1.0, metadata()).prop_map(
            |(name, ephemeral, protect_threshold, metadata)| Command::UpdateService {
                service: service(&name),
                ephemeral,
                protect_threshold,
                metadata,
                selector: Selector::None,
            }
        ),
        name().prop_map(|name| Command::DeleteService { service: service(&name) }),
        (name(), name(), any::<u16>()).prop_map(|(name, cluster, check_port)| Command::UpdateCluster {
            service: service(&name),
            ephemeral: false,
            cluster,
            settings: ClusterSettings { check_port, ..ClusterSettings::default() },
        }),
    ]
}

fn overlays() -> impl Strategy<Value = Command> {
    let overlay = (any::<Option<bool>>(), metadata()).prop_map(|(enabled, metadata)| Overlay {
        enabled,
        weight: None,
        metadata,
    });
    let edit = prop_oneof![
        metadata().prop_map(MetadataEdit::Put),
        vec("[a-c]", 0..3).prop_map(MetadataEdit::Remove),
    ];
    prop_oneof![
        (name(), id(), proptest::option::of(overlay)).prop_map(|(name, metadata_id, overlay)| {
            Command::SetOverlay { service: service(&name), metadata_id, overlay }
        }),
        (name(), id(), any::<Option<bool>>(), proptest::option::of(finite())).prop_map(
            |(name, metadata_id, enabled, weight)| Command::PatchOverlay {
                service: service(&name),
                metadata_id,
                enabled,
                weight,
                metadata: None,
            }
        ),
        (name(), vec(id(), 0..3), edit).prop_map(|(name, metadata_ids, edit)| Command::BatchMetadata {
            service: service(&name),
            metadata_ids,
            edit,
        }),
    ]
}

fn switches() -> impl Strategy<Value = Command> {
    (0u32..9)
        .prop_map(|times| Command::SetSwitch { entry: "healthCheckTimes".into(), value: times.to_string() })
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![4 => instances(), 2 => services(), 2 => overlays(), 1 => switches()]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => command().prop_map(Step::Propose),
        3 => vec(command(), 1..20).prop_map(Step::Together),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Restart),
        2 => Just(Step::PowerCut),
    ]
}

struct Run {
    directory: tempfile::TempDir,
    /// counts the files: a power cut goes on in a copy
    files: u32,
    node: Node,
    model: MemoryRows,
}

impl Run {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let node = Node::open(Self::options(directory.path().join("0.redb"))).await;
        Self { directory, files: 0, node, model: MemoryRows::default() }
    }

    fn options(path: PathBuf) -> RaftOptions {
        RaftOptions { snapshot_after: 15, keep_entries: 4, ..options(&path) }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join(format!("{}.redb", self.files))
    }

    async fn take(mut self, step: Step) -> Self {
        match step {
            Step::Propose(command) => {
                let expected = self.model.run(&command).0;
                assert_eq!(self.node.store.propose(command).await, Ok(expected));
            }
            Step::Together(commands) => {
                // polled in order, so queued in order
                let writes = commands.iter().map(|command| self.node.store.propose(command.clone()));
                let answers = futures_util::future::join_all(writes).await;
                for (command, answer) in commands.iter().zip(answers) {
                    assert_eq!(answer, Ok(self.model.run(command).0));
                }
            }
            Step::Snapshot => self.node.store.snapshot_now().await.unwrap(),
            Step::Restart => {
                self.node.shutdown().await;
                let path = self.directory.path().join(format!("{}.redb", self.files));
                self.node = Node::open(Self::options(path)).await;
            }
            Step::PowerCut => {
                let old = self.path();
                self.files += 1;
                std::fs::copy(old, self.path()).unwrap();
                self.node.shutdown().await;
                let path = self.directory.path().join(format!("{}.redb", self.files));
                self.node = Node::open(Self::options(path)).await;
            }
        }
        assert_eq!(*self.node.rows(), self.model.0);
        self
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn rows_equal_the_model_after_any_steps(steps in vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::start().await;
            for step in steps {
                run = run.take(step).await;
            }
            run.node.shutdown().await;
        });
    }
}
