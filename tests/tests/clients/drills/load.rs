//! Clients that go on while something is done to a cluster, and what they notice.

use muster_tests::client::{Change, Client};
use muster_tests::seen::{hosts, ports};
use muster_tests::wait::{hold, pause};
use muster_tests::{Clock, Cluster, Http, Request, addr, eventually, name};
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::Scope;
use std::time::Duration;

/// For a start, an election, and clients that reconnect with growing pauses.
const SETTLED: Duration = Duration::from_secs(60);
/// Between two requests of one client: enough load to notice something, and room for the rest of the machine.
const PACE: Duration = Duration::from_millis(100);
/// Writes that have to go through before something else happens.
const SOME: usize = 5;

/// A service with one instance that is there all the time.
pub(super) struct Stable {
    pub(super) service: String,
    pub(super) ip: String,
}

/// What an SDK wrote: a service with one instance, or one whose instance it took out again.
#[derive(Clone)]
struct Written {
    service: String,
    ip: String,
    there: bool,
}

pub(super) struct Load {
    nodes: Vec<Http>,
    clock: Clock,
    over: AtomicBool,
    pub(super) stable: Vec<Stable>,
    /// the service of the durable writes, whose ports are numbers
    durable: String,
    ip: String,
    next: AtomicU64,
    acknowledged: Mutex<Vec<u64>>,
    written: Mutex<Vec<Written>>,
    lists: AtomicU64,
    wrong: Mutex<Vec<String>>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// when a durable write was acknowledged last
    last: Duration,
    /// the longest time between two acknowledged durable writes
    silence: Duration,
    /// the longest time until all nodes were equal again
    convergence: Duration,
    events: usize,
    lost: usize,
}

pub(super) struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Load {
    pub(super) fn new(ports: &[u16], stable: Vec<Stable>) -> Self {
        let at = |port: &u16| Http { addr: SocketAddr::from((Ipv4Addr::LOCALHOST, *port)) };
        Self {
            nodes: ports.iter().map(at).collect(),
            clock: Clock::start(),
            over: AtomicBool::new(false),
            stable,
            durable: name("durable"),
            ip: addr(),
            next: AtomicU64::new(1),
            acknowledged: Mutex::default(),
            written: Mutex::default(),
            lists: AtomicU64::new(0),
            wrong: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    /// Ends the load when it is dropped.
    pub(super) fn over(&self) -> Over<'_> {
        Over(&self.over)
    }

    /// At every node somebody who writes durably, and one who reads; each of `clients` writes what is ephemeral.
    pub(super) fn start<'scope, 'env>(
        &'scope self,
        scope: &'scope Scope<'scope, 'env>,
        clients: impl Iterator<Item = &'env Client>,
    ) {
        for node in &self.nodes {
            scope.spawn(|| self.again(|| self.write(node)));
            scope.spawn(|| self.again(|| self.read(node)));
        }
        for client in clients {
            scope.spawn(|| self.again(|| self.publish(client)));
        }
    }

    fn again(&self, work: impl Fn()) {
        while !self.over.load(Ordering::Relaxed) {
            work();
            pause(PACE);
        }
    }

    fn write(&self, node: &Http) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let target = format!(
            "/nacos/v1/ns/instance?serviceName={}&ip={}&port={number}&ephemeral=false",
            self.durable, self.ip
        );
        let reply = node.try_send(&Request::new("POST", target));
        if reply.is_ok_and(|reply| reply.status == 200 && reply.body == "ok") {
            let now = self.clock.elapsed();
            let mut seen = lock(&self.seen);
            seen.silence = seen.silence.max(now.saturating_sub(seen.last));
            seen.last = now;
            drop(seen);
            lock(&self.acknowledged).push(number);
        }
    }

    /// A node that answers at all lists what is there all the time.
    fn read(&self, node: &Http) {
        for Stable { service, ip } in &self.stable {
            let target = format!("/nacos/v1/ns/instance/list?serviceName={service}");
            let Ok(reply) = node.try_send(&Request::new("GET", target)) else { continue };
            if reply.status != 200 {
                continue;
            }
            self.lists.fetch_add(1, Ordering::Relaxed);
            let hosts = reply.value()["hosts"].as_array().cloned().unwrap_or_default();
            if !hosts.iter().any(|host| host["ip"] == *ip) {
                let when = self.clock.elapsed();
                lock(&self.wrong).push(format!("{} at {when:?}: {}", node.addr, reply.body));
            }
        }
    }

    /// Registers an instance of a new service, and takes every third out again.
    fn publish(&self, client: &Client) {
        let (service, ip) = (name("load"), addr());
        let what = json!({"service": service, "ip": ip, "port": 8080});
        if client.attempt("register", what.clone()).is_none() {
            return;
        }
        let third = lock(&self.written).len() % 3 == 2;
        let there = !(third && client.attempt("deregister", what).is_some());
        lock(&self.written).push(Written { service, ip, there });
        pause(PACE * 4);
    }

    /// Something is going to be done to the cluster.
    pub(super) fn event(&self) {
        lock(&self.seen).events += 1;
    }

    /// Waits until some more durable writes have gone through.
    #[track_caller]
    pub(super) fn proceeds(&self) {
        let before = lock(&self.acknowledged).len();
        eventually(SETTLED, || {
            let now = lock(&self.acknowledged).len();
            hold(now >= before + SOME, || format!("{} durable writes", now - before))
        });
    }

    /// The same, and lets so much time pass.
    #[track_caller]
    pub(super) fn proceeds_for(&self, time: Duration) {
        let clock = Clock::start();
        self.proceeds();
        clock.until(time);
    }

    /// Waits until all that was acknowledged by now is on all running nodes.
    #[track_caller]
    pub(super) fn converges(&self, cluster: &Cluster) {
        let clock = Clock::start();
        let (numbers, written) = (lock(&self.acknowledged).clone(), lock(&self.written).clone());
        eventually(SETTLED, || self.missing(cluster, &numbers, &written));
        let mut seen = lock(&self.seen);
        seen.convergence = seen.convergence.max(clock.elapsed());
    }

    fn missing(&self, cluster: &Cluster, numbers: &[u64], written: &[Written]) -> Result<(), String> {
        for node in cluster.all() {
            let listed = ports(node, &self.durable);
            let lost: Vec<_> = numbers.iter().filter(|number| !listed.contains(number)).collect();
            hold(lost.is_empty(), || format!("{} has not {lost:?}", node.addr))?;
            for Written { service, ip, there } in written {
                let listed = hosts(node, service);
                let wanted: &[String] = if *there { std::slice::from_ref(ip) } else { &[] };
                hold(listed == wanted, || {
                    format!("{} lists {listed:?} of {service}, not {wanted:?}", node.addr)
                })?;
            }
        }
        Ok(())
    }

    /// In the end all nodes have the same, and everything that was acknowledged.
    #[track_caller]
    pub(super) fn is_as_acknowledged(&self, cluster: &Cluster) {
        self.converges(cluster);
        let lists: Vec<Vec<u64>> = cluster.all().map(|node| ports(node, &self.durable)).collect();
        assert!(lists.iter().all(|list| *list == lists[0]), "not equal: {lists:?}");
        let numbers = lock(&self.acknowledged);
        lock(&self.seen).lost = numbers.iter().filter(|number| !lists[0].contains(number)).count();
    }

    /// What a subscriber of a stable service was told.
    pub(super) fn heard(&self, changes: &[Change], stable: &Stable) {
        for change in changes {
            self.lists.fetch_add(1, Ordering::Relaxed);
            if !change.hosts.contains(&crate::common::up(&stable.ip, 8080)) {
                lock(&self.wrong).push(format!("a subscriber of {}: {change:?}", stable.service));
            }
        }
    }

    /// Writes down what was seen, and fails when something was lost or wrong.
    #[track_caller]
    pub(super) fn report(&self, what: &str) {
        let (seen, wrong) = (lock(&self.seen), lock(&self.wrong));
        let report = json!({
            "drill": what,
            "events": seen.events,
            "durable": lock(&self.acknowledged).len(),
            "ephemeral": lock(&self.written).len(),
            "lost": seen.lost,
            "lists": self.lists.load(Ordering::Relaxed),
            "wrong": wrong.len(),
            "convergeSeconds": seen.convergence.as_secs_f64(),
            "withoutLeaderSeconds": seen.silence.as_secs_f64(),
        });
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../drills");
        std::fs::create_dir_all(&folder).expect("target is writable");
        let file = folder.join(format!("{}.json", what.replace(' ', "-")));
        std::fs::write(file, report.to_string()).expect("target is writable");
        assert!(wrong.is_empty(), "{what}: {wrong:#?}");
        assert_eq!(seen.lost, 0, "{what}");
    }
}
