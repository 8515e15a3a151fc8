//! One node: settings in, a running process out. Assembles the parts, runs until told to stop, drains.
//!
//! Start: data directory, ports taken, plugins and store side by side, naming loop, members, ports open, ready.
//! The end follows the data: no new connections, requests finish, the loop ends, pushes leave, the store closes.

mod assemble;
mod data_dir;
mod error;
mod parts;
mod ports;
mod ready;

pub(crate) use data_dir::DataDir;
pub use data_dir::DataDirError;
pub use error::{RunError, StartError};

use crate::settings::Settings;
use crate::tasks::{Tasks, Unfinished};
use assemble::Opened;
use muster_raft::Store;
use ready::ReadyFile;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::Instant;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1_024;
/// Share of the grace that open requests get, and after which their connections are cut off; the rest is for
/// what follows.
const REQUESTS_SHARE: f64 = 0.7;
const FRONT_SHARE: f64 = 0.8;
/// What of it the last lists may take to be written, before connections are cut off and take theirs with them.
const REMEMBER_SHARE: f64 = 0.1;
/// Time that the store has to close, even when all before it took the whole grace.
const STORE_LEAST: Duration = Duration::from_secs(1);

/// A node that is ready.
pub struct Node {
    stages: Stages,
    store: Store,
    ready: ReadyFile,
    line: String,
    grace: Duration,
    http: SocketAddr,
    udp: SocketAddr,
    /// freed last
    data_dir: DataDir,
}

/// Tasks by when they are stopped.
#[derive(Clone)]
struct Stages {
    /// what is remembered for the next start, while connections are still there
    remember: Tasks,
    /// the accept loop and all connections
    front: Tasks,
    /// checks, durable writes of the rules, lookups, the clock
    work: Tasks,
    /// the naming loop
    naming: Tasks,
    /// pushes
    push: Tasks,
}

impl Stages {
    fn new() -> Self {
        let front = Tasks::new();
        Self {
            remember: front.stage(),
            work: front.stage(),
            naming: front.stage(),
            push: front.stage(),
            front,
        }
    }

    /// Ends all tasks where they are.
    async fn cut_off(&self) {
        for stage in [&self.remember, &self.front, &self.work, &self.naming, &self.push] {
            // A start that failed has nothing to lose.
            let _ = stage.drain(Instant::now()).await;
        }
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("http", &self.http).field("udp", &self.udp).finish_non_exhaustive()
    }
}

impl Node {
    /// Starts a node. When this answers, it serves.
    ///
    /// # Errors
    /// [`StartError`]; the store is closed and no task keeps running then.
    pub async fn start(settings: &Settings) -> Result<Self, StartError> {
        let stages = Stages::new();
        let (opened, rows) = Opened::open(settings).await?;
        let store = opened.store.clone();
        let started = opened.serve(settings, stages.clone(), rows).await;
        if started.is_err() {
            stages.cut_off().await;
            // The first error is the one that counts.
            let _ = store.shutdown().await;
        }
        started
    }

    /// `muster ready http=IP:PORT udp=IP:PORT grpc=IP:PORT`
    pub fn ready_line(&self) -> &str {
        &self.line
    }

    /// Where the HTTP APIs are.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where pushes leave from.
    pub fn udp(&self) -> SocketAddr {
        self.udp
    }

    /// Runs until `stop` or until a task fails, then drains.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), RunError> {
        tokio::select! {
            () = stop => tracing::info!(grace = ?self.grace, "told to stop"),
            () = self.stages.front.failed() => {}
        }
        let stages_failed = self.stages.front.clone();
        let drained = self.drain().await;
        match stages_failed.take_failure() {
            Some(failed) => Err(failed.into()),
            None => drained,
        }
    }

    async fn drain(self) -> Result<(), RunError> {
        let began = Instant::now();
        let deadline = began + self.grace;
        self.ready.remove();
        let stages = &self.stages;
        if let Err(unfinished) = stages.remember.drain(began + self.grace.mul_f64(REMEMBER_SHARE)).await {
            tracing::warn!(%unfinished, "the lists of this moment were not written down");
        }
        let ends = [
            ("requests", stages.front.drain(began + self.grace.mul_f64(FRONT_SHARE)).await),
            ("work", stages.work.drain(deadline).await),
            ("naming", stages.naming.drain(deadline).await),
            ("pushes", stages.push.drain(deadline).await),
        ];
        let store_deadline = deadline.max(Instant::now() + STORE_LEAST);
        let closed = tokio::time::timeout_at(store_deadline, self.store.shutdown()).await;
        for (stage, end) in ends {
            end.map_err(|Unfinished(names)| Unfinished(format!("{stage}: {names}")))?;
        }
        match closed {
            Ok(closed) => closed?,
            // What was acknowledged is on disk already.
            Err(_) => tracing::warn!("the store was still closing when the grace was over"),
        }
        tracing::info!(after = ?began.elapsed(), "stopped");
        drop(self.data_dir);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
