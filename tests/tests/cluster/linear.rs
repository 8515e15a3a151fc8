//! Reads and writes of durable data, from several clients at once, while nodes are killed and cut off: the history
//! of each key has to be linearizable.

use muster_tests::linear::{Action, Operation, linearizable};
use muster_tests::seen::{all_up, leader};
use muster_tests::{Clock, Cluster, Http, Request, name};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How long clients go on after each thing that is done to the cluster.
const SPELL: Duration = Duration::from_secs(4);
const KEYS: usize = 2;

struct Clients {
    nodes: Vec<Http>,
    services: Vec<String>,
    clock: Clock,
    next: AtomicU64,
    over: AtomicBool,
    histories: Vec<Mutex<Vec<Operation>>>,
}

impl Clients {
    fn write(&self, key: usize, node: usize) {
        let value = self.next.fetch_add(1, Ordering::Relaxed);
        let service = &self.services[key];
        let target = format!(
            "/nacos/v1/ns/instance?serviceName={service}&ip=10.0.0.9&port=1&ephemeral=false&metadata=v%3D{value}"
        );
        let start = self.clock.elapsed();
        let reply = self.nodes[node].try_send(&Request::new("POST", target));
        let acknowledged = reply.is_ok_and(|reply| reply.status == 200);
        let end = acknowledged.then(|| self.clock.elapsed());
        self.note(key, Operation { start, end, action: Action::Write(value) });
    }

    fn read(&self, key: usize, node: usize) {
        let service = &self.services[key];
        let target = format!("/nacos/v1/ns/instance/list?serviceName={service}&consistency=strong");
        let start = self.clock.elapsed();
        let Ok(reply) = self.nodes[node].try_send(&Request::new("GET", target)) else { return };
        if reply.status != 200 {
            return;
        }
        let end = Some(self.clock.elapsed());
        let hosts = &reply.value()["hosts"];
        let value = hosts[0]["metadata"]["v"].as_str().and_then(|text| text.parse().ok());
        self.note(key, Operation { start, end, action: Action::Read(value) });
    }

    fn note(&self, key: usize, operation: Operation) {
        self.histories[key].lock().expect("no panic before").push(operation);
    }

    fn work(&self, number: usize) {
        let mut turn = number;
        while !self.over.load(Ordering::Relaxed) {
            turn += 1;
            let (key, node) = (number % KEYS, turn % self.nodes.len());
            if number < 2 * KEYS {
                self.write(key, node)
            } else {
                self.read(key, node)
            }
            // so that a history stays one that can be searched
            muster_tests::wait::pause(Duration::from_millis(60));
        }
    }
}

#[test]
fn reads_and_writes_are_linearizable_while_nodes_are_killed_and_cut_off() {
    let mut cluster = Cluster::start(3);
    all_up(&cluster);
    leader(&cluster, 3);
    let clients = Clients {
        nodes: cluster.all().map(|node| Http { addr: node.addr }).collect(),
        services: (0..KEYS).map(|_| name("key")).collect(),
        clock: Clock::start(),
        next: AtomicU64::new(1),
        over: AtomicBool::new(false),
        histories: (0..KEYS).map(|_| Mutex::default()).collect(),
    };
    std::thread::scope(|scope| {
        for number in 0..4 * KEYS {
            let clients = &clients;
            scope.spawn(move || clients.work(number));
        }
        // ends the clients also when a step here panics
        let _over = Over(&clients.over);
        let spell = || muster_tests::wait::pause(SPELL);
        spell();
        for round in 0..2 {
            let leads = leader(&cluster, 3);
            cluster.isolate(leads);
            spell();
            cluster.heal(leads);
            spell();
            let victim = (leader(&cluster, 3) + round) % 3;
            cluster.kill(victim);
            spell();
            cluster.revive(victim);
            spell();
        }
    });
    for history in &clients.histories {
        let history = history.lock().expect("no panic before");
        let answered = history.iter().filter(|one| one.end.is_some()).count();
        let reads = history.iter().filter(|one| matches!(one.action, Action::Read(_))).count();
        println!("{} operations, {answered} of them answered, {reads} reads", history.len());
        assert!(answered > 200 && reads > 50, "{answered} answered, {reads} reads: too few to mean anything");
        linearizable(&history).expect("the history is linearizable");
    }
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
