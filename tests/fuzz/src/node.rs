//! The gRPC front end of a node with the real naming loop and store behind it, and no port.

use arc_swap::ArcSwap;
use muster::clock::Clock;
use muster::filters::Filters;
use muster::grpc::offline::Offline;
use muster::grpc::{Node, Options};
use muster::http::{NodeStatus, Status};
use muster::lists::Lists;
use muster::naming::{Executors, NamingHandle, Published};
use muster::rollout::Agreed;
use muster::tasks::Tasks;
use muster_core::naming::{Naming, Protection};
use muster_raft::{RaftOptions, Store};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// A setup as Java sends it.
pub const SETUP: &[u8] = br#"{"headers":{},"clientVersion":"Nacos-Java-Client:v2.5.1","tenant":"","labels":{"source":"sdk","module":"naming","AppName":"orders"},"abilityTable":{},"module":"internal"}"#;

/// A node with one connection that is set up.
pub struct Target {
    runtime: Runtime,
    node: Arc<Node>,
    tasks: Tasks,
    connection: Option<Offline>,
    _folder: TempDir,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").finish_non_exhaustive()
    }
}

/// After a panic nothing of it is used again.
impl UnwindSafe for Target {}
/// See [`UnwindSafe`].
impl RefUnwindSafe for Target {}

impl Target {
    /// Starts it.
    ///
    /// # Errors
    /// No folder, no threads, no store.
    pub fn start() -> Result<Self, Box<dyn std::error::Error>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let folder = tempfile::tempdir()?;
        let tasks = Tasks::new();
        let node = runtime.block_on(start(&folder, &tasks))?;
        let mut target = Self { runtime, node, tasks, connection: None, _folder: folder };
        let connection = target.connect()?;
        target
            .runtime
            .block_on(connection.stream(&super::payload::encode(b"ConnectionSetupRequest", SETUP)))?;
        connection.sent().ok_or("a setup with abilities is acknowledged")?;
        target.connection = Some(connection);
        Ok(target)
    }

    /// Another connection, not set up.
    ///
    /// # Errors
    /// There are too many.
    pub fn connect(&self) -> Result<Offline, Box<dyn std::error::Error>> {
        Offline::new(self.node.clone(), ([127, 0, 0, 1], 5).into())
            .ok_or_else(|| "too many connections".into())
    }

    /// Answers a unary request of the connection that is set up; none when it is no payload.
    pub fn unary(&self, message: &[u8]) -> Option<Vec<u8>> {
        let answer = self.runtime.block_on(self.connection.as_ref()?.unary(message)).ok();
        self.alive();
        answer
    }

    /// Has `connection` take a message of its stream; whether it was a payload.
    pub fn stream(&self, connection: &Offline, message: &[u8]) -> bool {
        let taken = self.runtime.block_on(connection.stream(message)).is_ok();
        self.alive();
        taken
    }

    /// # Panics
    /// A task of the node has failed.
    fn alive(&self) {
        if let Some(failed) = self.tasks.take_failure() {
            #[allow(clippy::panic, reason = "that is how a fuzz target fails")]
            {
                panic!("{failed}");
            }
        }
    }
}

async fn start(folder: &TempDir, tasks: &Tasks) -> Result<Arc<Node>, Box<dyn std::error::Error>> {
    let (requests, commit, inbox) = muster::naming::queues();
    let options = RaftOptions { path: folder.path().join("muster.redb"), ..RaftOptions::default() };
    let (store, rows) = Store::open(options, commit).await?;
    let (published, switches) = (Arc::new(Published::default()), Arc::new(ArcSwap::default()));
    let naming = NamingHandle::new(requests, store, published.clone(), switches.clone());
    let lists = Lists::new(published.clone(), Filters::default(), Protection::default());
    let status = Arc::new(NodeStatus::default());
    status.set(Status::Up, None);
    let options = Options { connections: 16, ..Options::default() };
    let clock = Clock::system();
    let node = Node::new(naming, lists, status, switches.clone(), clock.clone(), options, None);
    // Nobody checks persistent instances, and nobody proposes that one is unhealthy.
    let ((probes, _), (asks, _), (proposals, _)) = (mpsc::channel(1), mpsc::channel(1), mpsc::channel(1));
    let (agreed, pushers) = (Agreed::default(), vec![node.clone() as _]);
    let (grants, links) = (None, None);
    let executors =
        Executors { published, switches, agreed, grants, pushers, probes, links, asks, proposals };
    muster::naming::start(tasks, clock, Naming::default(), rows, inbox, executors);
    Ok(node)
}
