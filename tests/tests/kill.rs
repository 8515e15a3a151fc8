//! The real node is killed at random moments while clients write persistent instances, and
//! stopped in order under load: nothing acknowledged is lost, nothing accepted goes unanswered.

use muster_tests::wait::{now_ms, pause};
use muster_tests::{Clock, Http, Node, Request};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const ROUNDS: u64 = 25;
const WRITERS: usize = 4;

/// What a writer knows of one instance after its last request: there with a weight, gone, or one
/// of two because the node died before it answered.
#[derive(Clone, Debug, PartialEq)]
enum Known {
    There(u64),
    Gone,
    Either(Box<Known>, Box<Known>),
}

impl Known {
    fn allows(&self, seen: Option<u64>) -> bool {
        match self {
            Self::There(weight) => seen == Some(*weight),
            Self::Gone => seen.is_none(),
            Self::Either(one, other) => one.allows(seen) || other.allows(seen),
        }
    }
}

/// Cheap random numbers with a seed that a failing run prints.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % sides.max(1)
    }
}

/// One request of a writer: registers or deletes one of its instances. `None` when the node did
/// not answer.
fn write(http: &Http, port: u16, weight: Option<u64>) -> Option<()> {
    let key = format!("serviceName=db&ip=127.0.0.1&port={port}&ephemeral=false");
    let request = match weight {
        Some(weight) => {
            Request::new("POST", format!("/nacos/v1/ns/instance?{key}&weight={weight}&metadata=w%3D{weight}"))
        }
        None => Request::new("DELETE", format!("/nacos/v1/ns/instance?{key}")),
    };
    let reply = http.try_send(&request).ok()?;
    assert_eq!((reply.status, reply.body.as_str()), (200, "ok"), "{request:?}");
    Some(())
}

/// Writes until the node is gone; gives how many writes were acknowledged.
fn write_until_dead(http: Http, known: &Mutex<BTreeMap<u16, Known>>, writer: usize, seed: u64) -> usize {
    let mut dice = Dice(seed | 1);
    for count in 0..100_000 {
        // each writer has ports of its own, so it alone knows what they must be
        let port =
            10_000 + u16::try_from(writer * 100 + usize::try_from(dice.throw(20)).unwrap_or(0)).unwrap_or(0);
        let weight = (dice.throw(4) > 0).then(|| 1 + dice.throw(9999));
        let new = weight.map_or(Known::Gone, Known::There);
        let answered = write(&http, port, weight).is_some();
        let mut known = known.lock().expect("no writer panicked");
        let old = known.remove(&port).unwrap_or(Known::Gone);
        known.insert(port, if answered { new } else { Known::Either(Box::new(old), Box::new(new)) });
        if !answered {
            return count;
        }
    }
    unreachable!("nobody killed the node")
}

/// Every instance of the service: port to weight.
fn read(node: &Node) -> BTreeMap<u16, u64> {
    let reply = node.get("/nacos/v3/admin/ns/instance/list?serviceName=db");
    let all = if reply.status == 404 { Value::Array(Vec::new()) } else { reply.data() };
    let one = |h: &Value| {
        let weight = h["weight"].as_f64().unwrap_or(-1.0);
        assert_eq!(h["metadata"]["w"], format!("{weight}"), "half a write: {h}");
        (u16::try_from(h["port"].as_u64().unwrap_or(0)).unwrap_or(0), weight as u64)
    };
    all.as_array().into_iter().flatten().map(one).collect()
}

fn assert_nothing_lost(known: &mut BTreeMap<u16, Known>, seen: &BTreeMap<u16, u64>, when: &str) {
    for (port, known) in known.iter_mut() {
        let now = seen.get(port).copied();
        assert!(known.allows(now), "{when}: port {port} is {now:?}, but {known:?} was acknowledged");
        // what was open is settled now
        *known = now.map_or(Known::Gone, Known::There);
    }
    for port in seen.keys() {
        assert!(known.contains_key(port), "{when}: nobody registered port {port}");
    }
}

#[test]
fn n346_kill_9_loses_no_acknowledged_write() {
    let seed = now_ms();
    let mut dice = Dice(seed | 1);
    let mut node = Node::start();
    // nothing listens on the ports: their health is of no interest here
    node.post("/nacos/v1/ns/service?serviceName=db").ok();
    let checker = muster_tests::encode(r#"{"type":"NONE"}"#);
    let query = "serviceName=db&clusterName=DEFAULT&checkPort=1&useInstancePort4Check=true";
    node.put(format!("/nacos/v1/ns/cluster?{query}&healthChecker={checker}")).ok();
    let known = Mutex::new(BTreeMap::new());
    let mut total = 0;
    for round in 0..ROUNDS {
        let when = format!("seed {seed}, round {round}");
        let life = Duration::from_millis(20 + dice.throw(400));
        let seeds: Vec<u64> = (0..WRITERS).map(|_| dice.throw(u64::MAX)).collect();
        let (http, known_) = (*node, &known);
        let acknowledged: usize = std::thread::scope(|scope| {
            let writers: Vec<_> = seeds
                .iter()
                .enumerate()
                .map(|(i, seed)| scope.spawn(move || write_until_dead(http, known_, i, *seed)))
                .collect();
            pause(life);
            node.kill();
            writers.into_iter().map(|w| w.join().expect("a writer")).sum()
        });
        total += acknowledged;
        node.start_again();
        let seen = read(&node);
        assert_nothing_lost(&mut known.lock().expect("no writer panicked"), &seen, &when);
    }
    assert!(total > 100, "only {total} writes in {ROUNDS} rounds");
    println!("{total} acknowledged writes in {ROUNDS} rounds, none lost (seed {seed})");
}

/// SIGTERM under load: a connection may be refused, but a request that was accepted is answered.
#[test]
fn a_drain_answers_every_accepted_request() {
    let mut node = Node::start();
    let (http, stop, answered) = (*node, AtomicBool::new(false), AtomicUsize::new(0));
    let written = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for writer in 0..8_u16 {
            let (stop, answered, written) = (&stop, &answered, &written);
            scope.spawn(move || {
                for i in 0..10_000_u64 {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let port = 20_000 + writer;
                    let query = format!(
                        "serviceName=db&ip=127.0.0.1&port={port}&ephemeral=false&weight={}",
                        1 + i % 9000
                    );
                    let request = Request::new("POST", format!("/nacos/v1/ns/instance?{query}"));
                    match http.try_send(&request) {
                        Ok(reply) => {
                            // the only other answer of a draining node is to say so
                            assert!(reply.status == 200 || reply.status == 503, "{reply:?}");
                            if reply.status == 200 {
                                answered.fetch_add(1, Ordering::SeqCst);
                                written.lock().expect("no writer panicked").insert(port, 1 + i % 9000);
                            }
                        }
                        Err(error) => {
                            // never accepted: refused, or reset before a byte was read
                            let kind = error.kind();
                            assert!(
                                matches!(kind, ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset),
                                "an accepted request was dropped: {error:?}"
                            );
                            return;
                        }
                    }
                }
            });
        }
        let clock = Clock::start();
        while answered.load(Ordering::SeqCst) < 50 {
            assert!(clock.elapsed() < Duration::from_secs(30), "no load");
            pause(Duration::from_millis(5));
        }
        node.terminate();
        let status = node.wait();
        assert_eq!(status.code(), Some(0), "{}", node.log());
        stop.store(true, Ordering::SeqCst);
    });
    node.start_again();
    let list = node.get("/nacos/v3/admin/ns/instance/list?serviceName=db").data();
    for (port, weight) in written.into_inner().expect("no writer panicked") {
        let found =
            list.as_array().and_then(|a| a.iter().find(|h| h["port"] == port)).cloned().unwrap_or_default();
        assert_eq!(found["weight"].as_f64(), Some(weight as f64), "port {port}: {list}");
    }
}

/// An idle node leaves at once, and open keep-alive connections do not hold it.
#[test]
fn an_idle_node_leaves_within_a_second_of_sigterm() {
    let mut node = Node::start();
    node.get("/nacos/v1/ns/operator/metrics").json();
    let idle = std::net::TcpStream::connect(node.addr).expect("connected");
    let clock = Clock::start();
    node.stop();
    assert!(clock.elapsed() < Duration::from_secs(3), "{:?}", clock.elapsed());
    drop(idle);
}
