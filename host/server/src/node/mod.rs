//! One node: settings in, a running process out. Assembles the parts, runs until told to stop, drains.
//!
//! Start: data directory, ports taken, plugins and store side by side, naming loop, members, ports open, ready.
//! The end follows the data: no new connections, requests finish, the loop ends, pushes leave, the store closes.

mod data_dir;
mod error;
mod parts;
mod ready;

pub use data_dir::DataDirError;
pub use error::{RunError, StartError};

use crate::clock::Clock;
use crate::filters::Filters;
use crate::grpc;
use crate::http::{self, App, NodeStatus, Status};
use crate::lists::Lists;
use crate::lookup::{Members, PluginSource};
use crate::naming::{self, Executors, NamingHandle, Published};
use crate::probe;
use crate::secrets::Secrets;
use crate::settings::Settings;
use crate::tasks::{Tasks, Unfinished};
use crate::udp::UdpOptions;
use data_dir::DataDir;
use muster_raft::Store;
use ready::ReadyFile;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1_024;
/// Durable writes of the rules that may wait. Past it the rules ask again.
const PROPOSALS: usize = 1_024;
/// Share of the grace that open requests get, and after which their connections are cut off; the rest is for
/// what follows.
const REQUESTS_SHARE: f64 = 0.7;
const FRONT_SHARE: f64 = 0.8;
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
        Self { work: front.stage(), naming: front.stage(), push: front.stage(), front }
    }

    /// Ends all tasks where they are.
    async fn cut_off(&self) {
        for stage in [&self.front, &self.work, &self.naming, &self.push] {
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
    /// [`StartError`]; no task keeps running then.
    pub async fn start(settings: &Settings) -> Result<Self, StartError> {
        let stages = Stages::new();
        let started = Self::assemble(settings, stages.clone()).await;
        if started.is_err() {
            stages.cut_off().await;
        }
        started
    }

    async fn assemble(settings: &Settings, stages: Stages) -> Result<Self, StartError> {
        let began = Instant::now();
        let data_dir = DataDir::open(&settings.node.data_dir)?;
        let ready = ReadyFile::new(data_dir.file("muster.ready"))
            .map_err(|source| StartError::File { path: data_dir.file("muster.ready"), source })?;
        let secrets = Secrets::load(&settings.secrets)?;
        let (http_socket, http, grpc_socket) = parts::take_ports(settings)?;
        let host = settings.node.address.clone().unwrap_or_else(|| parts::own_address(http.ip()).to_string());
        let clock = Clock::system();

        let (requests, committed, inbox) = naming::queues();
        let options = parts::raft_options(settings, &data_dir, &host, http.port());
        let opening = async { Ok::<_, StartError>(Store::open(options, committed).await?) };
        let ((plugins, lookup), (store, rows)) = tokio::try_join!(parts::load_plugins(settings), opening)?;
        tracing::debug!(after = ?began.elapsed(), rows = rows.len(), "plugins and store are open");

        let filters = Filters::load(&plugins, &secrets, &settings.filters, &settings.subscribers).await?;
        let published = Arc::new(Published::default());
        let switches = Arc::default();
        let naming =
            NamingHandle::new(requests, store.clone(), Arc::clone(&published), Arc::clone(&switches));
        let lists = Lists::new(Arc::clone(&published), filters, settings.naming.protection);
        let udp = UdpOptions {
            ack_timeout: settings.udp.ack_timeout,
            max_pending: settings.udp.max_pending,
            lists: lists.clone(),
            switches: Arc::clone(&switches),
            clock: clock.clone(),
        };
        let push = parts::bind_udp(settings, udp).await?;
        let status = Arc::new(NodeStatus::default());
        let grpc = grpc::Node::new(
            naming.clone(),
            lists.clone(),
            Arc::clone(&status),
            Arc::clone(&switches),
            clock.clone(),
            parts::grpc_options(settings),
        );
        let (probes, probe_jobs) = mpsc::channel(settings.health.max_in_flight.get());
        let (proposals, commands) = mpsc::channel(PROPOSALS);
        let executors = Executors {
            published,
            switches,
            pushers: vec![Arc::new(push.clone()), grpc.clone()],
            probes,
            proposals,
        };
        parts::start_naming(settings, &stages, &clock, rows, inbox, executors);
        push.start(&stages.push);
        probe::start(&stages.work, plugins.clone(), secrets.clone(), naming.clone(), probe_jobs);
        probe::start_proposals(&stages.work, naming.clone(), commands);
        parts::keep_time(&stages.work, clock.clone());
        parts::watch_store(&stages.work, store.clone());

        let members = Members::new(&host, http.port());
        let source = PluginSource::new(&plugins, &secrets, settings, lookup, &host, http.port()).await?;
        parts::start_lookup(settings, &stages, &data_dir, source, members.clone()).await?;

        let app = App {
            naming,
            lists,
            pushes: push.clone(),
            plugins,
            members: members.list(),
            status,
            clock,
            settings: parts::http_settings(settings, http.port()),
        };
        let app = Arc::new(app);
        let listener = parts::listen("http.bind", http_socket, http)?;
        members.ready();
        app.status.set(Status::Up, None);
        stages.front.spawn("http", |stop| http::serve(listener, app, stop));
        let grpc_address = match grpc_socket {
            Some((socket, address)) => {
                grpc.start(&stages.front, &stages.push, parts::listen("grpc.bind", socket, address)?);
                Some(address)
            }
            None => None,
        };

        let udp = push.local_addr().map_err(|source| StartError::Bind {
            key: "udp.bind",
            address: http,
            source,
        })?;
        let line = ready::line(http, udp, grpc_address);
        ready
            .write(&line)
            .map_err(|source| StartError::File { path: data_dir.file("muster.ready"), source })?;
        tracing::info!(%http, %udp, after = ?began.elapsed(), "ready");
        let grace = settings.http.grace;
        Ok(Self { stages, store, ready, line, grace, http, udp, data_dir })
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
