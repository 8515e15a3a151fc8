//! The gRPC front end of 2.x and 3.x clients: one HTTP/2 transport is one connection is one client.
//!
//! Transports are accepted in `serve`, unary calls answered in `requests`, the stream is read in `stream`, pushes
//! are fanned out in `push`, silent connections closed in `life`. What a connection published goes with it, at once.

mod connection;
mod connections;
mod counters;
mod framing;
mod fuzzy;
mod lenient;
mod life;
mod loader;
mod messages;
mod metered;
#[doc(hidden)]
pub mod offline;
mod payload;
mod push;
mod refusal;
mod requests;
mod serve;
mod stream;
mod tls;
mod watch;

pub use counters::{GrpcCounters, LATENCY_BOUNDS};
pub use loader::Loaded;
pub use tls::{Tls, TlsError};

use crate::clock::Clock;
use crate::filters::Who;
use crate::http::NodeStatus;
use crate::lists::Lists;
use crate::naming::NamingHandle;
use crate::tasks::{TaskResult, Tasks};
use crate::udp::Waiting;
use crate::wire::Head;
use arc_swap::ArcSwap;
use connection::{Connection, Source};
use connections::Connections;
use counters::Counts;
use fuzzy::Watches;
use metered::Held;
use muster_core::switches::Switches;
use muster_core::{Millis, ServiceKey};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

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
    /// bytes of requests that may be held at a time
    pub held: usize,
    /// between a change and its push
    pub push_delay: Millis,
    /// how long after the start nobody is told that a service has gone which may only not be back yet
    pub restart_hold: Millis,
    /// whether the limits of parameters apply
    pub check_params: bool,
    /// longest metadata, UTF-16 units
    pub metadata_length: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections: 50_000,
            connections_per_client: 10_000,
            message: 10 << 20,
            held: 256 << 20,
            push_delay: muster_core::naming::PUSH_DELAY,
            restart_hold: muster_core::naming::RESTART_HOLD,
            check_params: true,
            metadata_length: muster_core::validate::METADATA_LENGTH,
        }
    }
}

/// What the front end needs and keeps. Shared by all connections.
pub struct Node {
    naming: NamingHandle,
    lists: Lists,
    status: Arc<NodeStatus>,
    switches: Arc<ArcSwap<Switches>>,
    clock: Clock,
    options: Options,
    tls: Option<Tls>,
    held: Arc<Held>,
    connections: Connections,
    waiting: Mutex<Waiting>,
    push_work: Notify,
    watches: Mutex<Watches>,
    watch_work: Notify,
    counts: Counts,
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
        tls: Option<Tls>,
    ) -> Arc<Self> {
        let held_until = clock.now() + options.restart_hold;
        Arc::new(Self {
            naming,
            lists,
            status,
            switches,
            clock,
            held: Arc::new(Held::up_to(options.held)),
            options,
            tls,
            connections: Connections::default(),
            waiting: Mutex::new(Waiting::new(MOST_WAITING)),
            push_work: Notify::new(),
            watches: Mutex::new(Watches::holding(held_until)),
            watch_work: Notify::new(),
            counts: Counts::default(),
        })
    }

    /// Starts to accept on the port of clients, and on the one of members where there is one; to push and to look
    /// after connections.
    pub fn start(
        self: &Arc<Self>,
        front: &Tasks,
        push: &Tasks,
        clients: TcpListener,
        members: Option<TcpListener>,
    ) {
        let listeners = [(Source::Sdk, Some(clients)), (Source::Cluster, members)];
        for (source, listener) in listeners {
            let Some(listener) = listener else { continue };
            let (node, connections) = (self.clone(), front.clone());
            front.spawn("grpc-accept", move |stop| node.accept(listener, source, connections, stop));
        }
        let node = self.clone();
        front.spawn("grpc-watch", |stop| node.look_after(stop));
        let node = self.clone();
        push.spawn("grpc-push", |stop| node.push_all(stop));
        let node = self.clone();
        push.spawn("grpc-fuzzy", |stop| node.sync_watches(stop));
    }

    /// How pushes went.
    pub fn counters(&self) -> GrpcCounters {
        GrpcCounters {
            connections: self.connections.len() as u64,
            held_bytes: self.held.bytes() as u64,
            ..self.counts.read()
        }
    }

    /// What a client said of itself: version and application.
    pub fn describe(&self, id: &str) -> Option<(Arc<str>, Arc<str>)> {
        let connection = self.connections.get(id)?;
        connection.setup().map(|setup| (setup.agent.clone(), setup.app.clone()))
    }

    fn tell(&self, id: &Arc<str>, message: Arc<fuzzy::WatchMessage>) {
        if let Some(connection) = self.connections.get(id) {
            connection
                .send(self.clock.now(), connection::Message::Asked(connection::Question::Watch(message)));
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
            // Told before the watches are free again: what changes later is told later.
            let mut watches = self.watches();
            let due = watches.due(self.clock.now(), |key| self.is_there(key));
            due.into_iter().for_each(|(id, message)| self.tell(&id, message));
        }
    }

    /// Whether there is a service of this key that has instances.
    fn is_there(&self, key: &str) -> bool {
        let service = fuzzy::service_of(key);
        let found = service.and_then(|service| self.naming.published().get(&service));
        found.is_some_and(|found| !found.snapshot.instances.is_empty())
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
