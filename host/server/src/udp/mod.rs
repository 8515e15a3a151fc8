//! Pushes to 1.x subscribers: one socket, packets, acknowledgements, one resend.
//!
//! The naming loop hands over which service is due for whom and never waits. What waits here is kept once per
//! service and subscriber, so that a slow node sends the newest state rather than all states. A push that is
//! lost for good costs nothing but time: clients also ask by themselves every 10 s.

mod ack;
mod packet;
mod pending;
mod waiting;

use crate::clock::Clock;
use crate::filters::{Which, Who};
use crate::lists::{Hosts, Lists};
use crate::naming::Pusher;
use crate::tasks::{TaskResult, Tasks};
use ack::Ack;
use arc_swap::ArcSwap;
use muster_core::naming::{ServiceSnapshot, Subscription};
use muster_core::switches::Switches;
use muster_core::{Millis, ServiceKey};
use packet::Packet;
use pending::{Due, Pending};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
pub(crate) use waiting::{Turn, Waiting};

/// Largest datagram that a client could send; acknowledgements of `dump` packets carry data.
const RECEIVE: usize = 65_536;

/// Subscribers that may wait at a time, over all services. One more is turned away: it asks by itself every 10 s.
const MOST_WAITING: usize = 65_536;

/// What pushes need.
#[derive(Clone)]
pub struct UdpOptions {
    /// silence after which a packet is sent again, once
    pub ack_timeout: Duration,
    /// packets that may wait for an acknowledgement
    pub max_pending: NonZeroUsize,
    /// what is sent
    pub lists: Lists,
    /// the switches in force, for `cacheMillis`
    pub switches: Arc<ArcSwap<Switches>>,
    /// the time
    pub clock: Clock,
}

/// How pushes went since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PushCounters {
    /// packets sent for the first time
    pub total: u64,
    /// acknowledged
    pub succeeded: u64,
    /// never acknowledged, could not be sent, or given up for want of room
    pub failed: u64,
    /// replaced by a newer state before they were acknowledged
    pub replaced: u64,
    /// sent a second time
    pub resent: u64,
    /// now waiting for an acknowledgement
    pub pending: u64,
}

#[derive(Debug, Default)]
struct Counts {
    total: AtomicU64,
    succeeded: AtomicU64,
    failed: AtomicU64,
    replaced: AtomicU64,
    resent: AtomicU64,
}

/// Sends pushes by UDP. Cheap to clone.
#[derive(Clone)]
pub struct UdpPush(Arc<Shared>);

struct Shared {
    socket: UdpSocket,
    options: UdpOptions,
    waiting: Mutex<Waiting>,
    work: Notify,
    pending: Mutex<Pending>,
    resend: Notify,
    keys: AtomicU64,
    counts: Counts,
}

impl std::fmt::Debug for UdpPush {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UdpPush").field("counters", &self.counters()).finish_non_exhaustive()
    }
}

impl Pusher for UdpPush {
    fn push(&self, snapshot: Arc<ServiceSnapshot>, to: Vec<Arc<Subscription>>) {
        let turned_away =
            lock(&self.0.waiting).put(Millis(0), snapshot, to.into_iter().filter(|to| to.port > 0));
        self.0.counts.failed.fetch_add(turned_away, Ordering::Relaxed);
        self.0.work.notify_one();
    }
}

impl UdpPush {
    /// Binds the socket.
    ///
    /// # Errors
    /// The address is taken or is not this machine's.
    pub async fn bind(address: SocketAddr, options: UdpOptions) -> io::Result<Self> {
        let socket = UdpSocket::bind(address).await?;
        // Unique for packets in flight, also across a restart, and below 2^53 until the year 2255.
        let keys = AtomicU64::new(options.clock.now().0 * 1_000);
        let pending = Mutex::new(Pending::new(options.max_pending.get(), options.ack_timeout));
        Ok(Self(Arc::new(Shared {
            socket,
            options,
            waiting: Mutex::new(Waiting::new(MOST_WAITING)),
            work: Notify::new(),
            pending,
            resend: Notify::new(),
            keys,
            counts: Counts::default(),
        })))
    }

    /// Where packets leave from.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.socket.local_addr()
    }

    /// How pushes went since the start.
    pub fn counters(&self) -> PushCounters {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts = &self.0.counts;
        PushCounters {
            total: read(&counts.total),
            succeeded: read(&counts.succeeded),
            failed: read(&counts.failed),
            replaced: read(&counts.replaced),
            resent: read(&counts.resent),
            pending: lock(&self.0.pending).len() as u64,
        }
    }

    /// Starts sending, listening and resending. What waits when they are told to stop is still sent.
    pub fn start(&self, tasks: &Tasks) {
        let shared = self.0.clone();
        tasks.spawn("udp-send", |stop| shared.send_all(stop));
        let shared = self.0.clone();
        tasks.spawn("udp-acks", |stop| shared.listen(stop));
        let shared = self.0.clone();
        tasks.spawn("udp-resend", |stop| shared.resend_all(stop));
    }
}

impl Shared {
    async fn send_all(self: Arc<Self>, stop: CancellationToken) -> TaskResult {
        loop {
            let next = lock(&self.waiting).take();
            match next {
                Some(due) => self.push_service(due.snapshot, due.to).await,
                None => tokio::select! {
                    () = self.work.notified() => {}
                    () = stop.cancelled() => {
                        if lock(&self.waiting).is_empty() {
                            return Ok(());
                        }
                    }
                },
            }
        }
    }

    /// Encodes once for all subscribers that get the same list.
    async fn push_service(&self, snapshot: Arc<ServiceSnapshot>, to: Vec<Arc<Subscription>>) {
        let lists = &self.options.lists;
        let snapshot = lists.newest(snapshot);
        let mut packets: HashMap<(Arc<str>, Which), Arc<Packet>> = HashMap::new();
        for to in to {
            let who = Who { ip: &to.ip, app: &to.app, agent: &to.agent };
            let which = lists.which(&snapshot, &to.clusters, &who).await;
            let key = (to.clusters.clone(), which);
            let packet = match packets.get(&key) {
                Some(packet) => packet.clone(),
                None => {
                    let hosts = lists.encode(&snapshot, &key.0, key.1.as_deref());
                    let packet = self.packet(&snapshot.key, &key.0, &hosts);
                    packets.entry(key).or_insert(packet).clone()
                }
            };
            self.send(&snapshot.key, &to, packet).await;
        }
    }

    fn packet(&self, service: &ServiceKey, clusters: &str, (hosts, protected): &Hosts) -> Arc<Packet> {
        let head = crate::wire::Head {
            service,
            clusters,
            cache_millis: self.options.switches.load().default_push_cache_millis,
            last_ref_time: self.options.clock.now(),
            protected: *protected,
        };
        let mut data = Vec::with_capacity(hosts.len() + 512);
        head.write(false, &mut data);
        data.extend_from_slice(hosts);
        Arc::new(Packet::new(self.keys.fetch_add(1, Ordering::Relaxed), &data))
    }

    async fn send(&self, service: &ServiceKey, to: &Arc<Subscription>, packet: Arc<Packet>) {
        self.counts.total.fetch_add(1, Ordering::Relaxed);
        let Ok(ip) = to.ip.parse::<IpAddr>() else {
            tracing::debug!(client = %to.client, "a subscriber's address is no IP address");
            self.counts.failed.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let address = SocketAddr::new(ip.to_canonical(), to.port);
        // Noted before it is sent: the answer may be faster than we are.
        let noted = lock(&self.pending).sent(Instant::now(), address, service, packet.clone());
        self.counts.replaced.fetch_add(noted.replaced, Ordering::Relaxed);
        self.counts.failed.fetch_add(noted.given_up, Ordering::Relaxed);
        self.resend.notify_one();
        if let Err(error) = self.transmit(&packet, address).await {
            tracing::debug!(client = %to.client, %service, %error, "a push could not be sent");
            if lock(&self.pending).remove(address, packet.key) {
                self.counts.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    async fn transmit(&self, packet: &Packet, to: SocketAddr) -> io::Result<()> {
        let to = match (self.socket.local_addr()?, to) {
            (SocketAddr::V6(_), SocketAddr::V4(v4)) => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
            _ => to,
        };
        self.socket.send_to(&packet.bytes, to).await.map(drop)
    }

    async fn listen(self: Arc<Self>, stop: CancellationToken) -> TaskResult {
        let mut buffer = vec![0; RECEIVE];
        loop {
            let received = tokio::select! {
                received = self.socket.recv_from(&mut buffer) => received,
                () = stop.cancelled() => return Ok(()),
            };
            match received {
                Ok((length, from)) => self.acknowledged(&buffer[..length], from),
                // Such as a port that is closed: says nothing about this socket.
                Err(error) => {
                    tracing::debug!(%error, "nothing received");
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    fn acknowledged(&self, datagram: &[u8], from: SocketAddr) {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let known = Ack::parse(datagram).is_some_and(|ack| lock(&self.pending).remove(from, ack.key));
        if known {
            self.counts.succeeded.fetch_add(1, Ordering::Relaxed);
        } else {
            tracing::trace!(%from, "a datagram that acknowledges nothing");
        }
    }

    async fn resend_all(self: Arc<Self>, stop: CancellationToken) -> TaskResult {
        loop {
            let due = lock(&self.pending).next_due();
            let wait = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => self.resend.notified().await,
                }
            };
            tokio::select! {
                () = wait => {}
                () = stop.cancelled() => return Ok(()),
            }
            loop {
                let due = lock(&self.pending).due(Instant::now());
                match due {
                    None => break,
                    Some(Due::GivenUp) => {
                        self.counts.failed.fetch_add(1, Ordering::Relaxed);
                    }
                    Some(Due::Again(address, packet)) => {
                        self.counts.resent.fetch_add(1, Ordering::Relaxed);
                        if let Err(error) = self.transmit(&packet, address).await {
                            tracing::debug!(%address, %error, "a push could not be sent again");
                        }
                    }
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
