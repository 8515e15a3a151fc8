//! The gRPC front end of 2.x and 3.x clients: one HTTP/2 transport is one connection is one client.
//!
//! Unary calls are answered in `requests`, the stream is read in `stream`, pushes are fanned out in
//! `push`. What a connection published goes with it, at once.

mod connection;
mod fuzzy;
mod messages;
mod payload;
mod push;
mod requests;
mod serve;
mod stream;

use crate::clock::Clock;
use crate::filters::Who;
use crate::http::NodeStatus;
use crate::lists::Lists;
use crate::naming::NamingHandle;
use crate::tasks::{TaskResult, Tasks};
use crate::udp::Waiting;
use crate::wire::Head;
use arc_swap::ArcSwap;
use connection::Connection;
use dashmap::DashMap;
use fuzzy::Watches;
use muster_core::switches::Switches;
use muster_core::{Millis, ServiceKey};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Silence after which a client is asked whether it is there, in milliseconds.
/// Source: Nacos `NacosRuntimeConnectionEjector.KEEP_ALIVE_TIME`.
const SILENCE: Millis = Millis::from_secs(20);
/// How often connections are looked at. Nacos looks every 3 s; a lost push is noticed sooner this way.
const LOOK: Duration = Duration::from_millis(500);
/// Subscribers that may wait for a fan-out at a time.
const MOST_WAITING: usize = 1 << 20;

/// Settings of the front end.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// connections at a time; one more is closed at once
    pub connections: usize,
    /// connections of one client address at a time
    pub connections_per_client: usize,
    /// largest message, bytes
    pub message: usize,
    /// whether the limits of parameters apply
    pub check_params: bool,
    /// longest metadata, UTF-16 units
    pub metadata_length: usize,
}

/// How pushes to connections went since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GrpcCounters {
    /// connections now
    pub connections: u64,
    /// pushes that were acknowledged
    pub acknowledged: u64,
    /// pushes that failed or were not acknowledged in time; each was made again
    pub failed: u64,
    /// from change to acknowledgement, all of them together, in milliseconds
    pub latency_ms: u64,
    /// connections refused because of a limit
    pub refused: u64,
}

#[derive(Debug, Default)]
struct Counts {
    acknowledged: AtomicU64,
    failed: AtomicU64,
    latency_ms: AtomicU64,
    refused: AtomicU64,
}

/// What the front end needs and keeps. Shared by all connections.
pub struct Node {
    naming: NamingHandle,
    lists: Lists,
    status: Arc<NodeStatus>,
    switches: Arc<ArcSwap<Switches>>,
    clock: Clock,
    options: Options,
    check_params: bool,
    metadata_length: usize,
    connections: Connections,
    waiting: Mutex<Waiting>,
    push_work: Notify,
    watches: Mutex<Watches>,
    watch_work: Notify,
    counts: Counts,
}

/// All connections, and how many each client address has.
#[derive(Debug, Default)]
struct Connections {
    by_id: DashMap<Arc<str>, Arc<Connection>>,
    by_ip: DashMap<IpAddr, usize>,
}

impl Connections {
    fn get(&self, id: &Arc<str>) -> Option<Arc<Connection>> {
        self.by_id.get(id).map(|entry| entry.value().clone())
    }

    /// Takes a connection in, unless that is one too many.
    fn add(&self, connection: &Arc<Connection>, options: &Options) -> bool {
        let mut of_client = self.by_ip.entry(connection.remote.ip()).or_default();
        if self.by_id.len() >= options.connections || *of_client >= options.connections_per_client {
            return false;
        }
        *of_client += 1;
        self.by_id.insert(connection.id.clone(), connection.clone());
        true
    }

    fn remove(&self, connection: &Connection) {
        self.by_id.remove(&connection.id);
        self.by_ip.remove_if_mut(&connection.remote.ip(), |_, count| {
            *count = count.saturating_sub(1);
            *count == 0
        });
    }

    fn all(&self) -> Vec<Arc<Connection>> {
        self.by_id.iter().map(|entry| entry.value().clone()).collect()
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("grpc::Node").finish_non_exhaustive()
    }
}

impl Node {
    /// Without a listener yet, so that the naming loop can be given its pushes.
    pub fn new(
        naming: NamingHandle,
        lists: Lists,
        status: Arc<NodeStatus>,
        switches: Arc<ArcSwap<Switches>>,
        clock: Clock,
        options: Options,
    ) -> Arc<Self> {
        Arc::new(Self {
            naming,
            lists,
            status,
            switches,
            clock,
            check_params: options.check_params,
            metadata_length: options.metadata_length,
            options,
            connections: Connections::default(),
            waiting: Mutex::new(Waiting::new(MOST_WAITING)),
            push_work: Notify::new(),
            watches: Mutex::default(),
            watch_work: Notify::new(),
            counts: Counts::default(),
        })
    }

    /// Starts to accept, to push and to look after connections.
    pub fn start(self: &Arc<Self>, front: &Tasks, push: &Tasks, listener: TcpListener) {
        let node = self.clone();
        let connections = front.clone();
        front.spawn("grpc-accept", |stop| node.accept(listener, connections, stop));
        let node = self.clone();
        front.spawn("grpc-watch", |stop| node.look_after(stop));
        let node = self.clone();
        push.spawn("grpc-push", |stop| node.push_all(stop));
        let node = self.clone();
        push.spawn("grpc-fuzzy", |stop| node.sync_watches(stop));
    }

    /// How pushes went.
    pub fn counters(&self) -> GrpcCounters {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        GrpcCounters {
            connections: self.connections.by_id.len() as u64,
            acknowledged: read(&self.counts.acknowledged),
            failed: read(&self.counts.failed),
            latency_ms: read(&self.counts.latency_ms),
            refused: read(&self.counts.refused),
        }
    }

    /// What a client said of itself: version and application.
    pub fn describe(&self, id: &str) -> Option<(Arc<str>, Arc<str>)> {
        let connection = self.connections.by_id.get(id)?;
        connection.setup().map(|setup| (setup.agent.clone(), setup.app.clone()))
    }

    fn tell(&self, id: &Arc<str>, message: Arc<fuzzy::WatchMessage>) {
        if let Some(connection) = self.connections.get(id) {
            connection.send(connection::Message::Asked(connection::Question::Watch(message)));
        }
    }

    async fn sync_watches(self: Arc<Self>, stop: CancellationToken) -> TaskResult {
        loop {
            let due = self.watches().next_deadline();
            tokio::select! {
                () = self.clock.reach(due) => {}
                () = self.watch_work.notified() => {}
                () = stop.cancelled() => return Ok(()),
            }
            let due = self.watches().due(self.clock.now());
            due.into_iter().for_each(|(id, message)| self.tell(&id, message));
        }
    }

    /// Asks silent clients, closes those that stay silent, and repeats what was not acknowledged.
    async fn look_after(self: Arc<Self>, stop: CancellationToken) -> TaskResult {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => return Ok(()),
            }
            let now = self.clock.now();
            for connection in self.connections.all() {
                for sent in connection.overdue(now, stream::ANSWER_PATIENCE) {
                    self.failed(&connection, sent).await;
                }
                if connection.setup().is_some() && connection.idle(now) >= SILENCE {
                    connection.detect();
                }
            }
        }
    }

    fn who<'a>(&self, connection: &'a Connection) -> Who<'a> {
        let setup = connection.setup();
        Who {
            ip: &connection.ip,
            app: setup.map_or("", |setup| &setup.app),
            agent: setup.map_or("", |setup| &setup.agent),
        }
    }

    /// The head of a ServiceInfo, with the bare name that gRPC clients want (N022).
    fn head(&self, service: &ServiceKey, clusters: &str, protected: bool, out: &mut Vec<u8>) {
        let head = Head {
            service,
            clusters,
            cache_millis: self.switches.load().default_push_cache_millis,
            last_ref_time: self.clock.now(),
            protected,
        };
        head.write_bare(out);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watches(&self) -> MutexGuard<'_, Watches> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
