//! A plugin that misbehaves at random beside good ones, in a real node: nothing turns that should not, memory stays
//! flat, and the plugin comes back from quarantine by itself.
//!
//! The plugin (`tests/guests/check/chaos.rs`) does what its targets tell it, and the targets are ours. Three seasons, over
//! and over: drizzle (15 % of its calls go wrong, each time in another way), storm (all do, until it is in quarantine),
//! calm (none does, until it is called again). One round is enough for every run of the tests;
//! `MUSTER_CHAOS_SECONDS=600` makes it go on, with longer drizzles, and print its figures.

use muster_tests::target::TcpTarget;
use muster_tests::wait::{Clock, hold, pause};
use muster_tests::{Config, Node, encode, eventually};
use serde_json::Value;
use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpSocket;

const GOOD: usize = 12;
const SICK: usize = 4;
const WILD: usize = 10;

/// Everything that the plugin can do wrong: trap, abort, spin, take all memory, recurse, sleep, flood the host with
/// calls, answer nonsense that says "unhealthy at once", return a fault, hoard memory and say that all is well.
const WRONG: &[u8] = b"tasmrzfnih";

/// What a plugin that is thrown away and made again may leave behind, in bytes.
const GROWTH: u64 = 64 << 20;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Season {
    Drizzle,
    Storm,
    Calm,
}

/// What all targets of the plugin share.
struct Weather {
    season: AtomicU8,
    random: AtomicU64,
    /// how often something wrong was told
    wrong: AtomicU64,
}

impl Weather {
    fn turn(&self, season: Season) {
        self.season.store(season as u8, Ordering::Relaxed);
    }

    /// The next word: any numbers will do.
    fn word(&self) -> u8 {
        let number = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let number = (number ^ (number >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 33;
        let season = self.season.load(Ordering::Relaxed);
        let wrong = season == Season::Storm as u8 || (season == Season::Drizzle as u8 && number % 100 < 15);
        if !wrong {
            return b'g';
        }
        self.wrong.fetch_add(1, Ordering::Relaxed);
        let kinds = u64::try_from(WRONG.len()).unwrap_or(1);
        WRONG[usize::try_from(number / 100 % kinds).unwrap_or(0)]
    }
}

/// A target that tells whoever connects what to do. Ends with the test's process.
fn wild(weather: &Arc<Weather>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let weather = weather.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // whoever flees from a flood is not there any more
            let _ = stream.write_all(&[weather.word()]);
        }
    });
    port
}

/// A port that nobody listens on, and that nobody else is given.
fn refusing() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let port = socket.local_addr().expect("bound").port();
    (socket, port)
}

/// A folder with the plugin in it. It may take two seconds, so that a busy machine is not taken for a slow target.
fn plugins() -> TempDir {
    let folder = TempDir::with_prefix("muster-chaos-").expect("a temporary folder");
    std::fs::write(folder.path().join("CHAOS.wasm"), muster_test_guests::component("chaos"))
        .expect("written");
    let manifest = "[plugin]\nname = \"CHAOS\"\nkind = \"health-check\"\n[grants]\ndial = true\n[limits]\ndeadline = \"2s\"\n";
    std::fs::write(folder.path().join("CHAOS.toml"), manifest).expect("written");
    folder
}

fn service(node: &Node, name: &str, checker: &str, ports: impl IntoIterator<Item = u16>, healthy: bool) {
    node.post(format!("/nacos/v1/ns/service?serviceName={name}")).ok();
    let checker = encode(&format!(r#"{{"type":"{checker}"}}"#));
    let query = format!("serviceName={name}&clusterName=DEFAULT&checkPort=1&useInstancePort4Check=true");
    node.put(format!("/nacos/v1/ns/cluster?{query}&healthChecker={checker}")).ok();
    for port in ports {
        let query = format!("serviceName={name}&ip=127.0.0.1&port={port}&ephemeral=false&healthy={healthy}");
        node.post(format!("/nacos/v1/ns/instance?{query}")).ok();
    }
}

/// How many instances of the service are there, and how many of them are healthy.
fn health(node: &Node, service: &str) -> (usize, usize) {
    let list = node.get(format!("/nacos/v3/admin/ns/instance/list?serviceName={service}")).data();
    let all = list.as_array().cloned().unwrap_or_default();
    (all.len(), all.iter().filter(|one| one["healthy"] == true).count())
}

/// What the node says of the plugin.
fn plugin(node: &Node) -> Value {
    let all = node.get("/nacos/v3/admin/muster/plugins").data();
    let found = all.as_array().and_then(|all| all.iter().find(|one| one["name"] == "CHAOS")).cloned();
    found.unwrap_or_default()
}

#[track_caller]
fn nothing_turned(node: &Node) {
    assert_eq!(health(node, "chaos-good"), (GOOD, GOOD), "good targets");
    assert_eq!(health(node, "chaos-sick"), (SICK, 0), "sick targets");
    assert_eq!(
        health(node, "chaos-wild"),
        (WILD, WILD),
        "what the plugin's faults say of its targets: nothing"
    );
}

/// Waits until the plugin is in this state, and looks at everything meanwhile.
fn until(node: &Node, state: &str, deadline: Duration) {
    eventually(deadline, || {
        nothing_turned(node);
        pause(Duration::from_millis(200));
        let plugin = plugin(node);
        hold(plugin["state"] == state, || format!("not {state}: {plugin}"))
    });
}

#[test]
fn whatever_a_plugin_does_nothing_else_turns_and_it_recovers_by_itself() {
    let seconds = std::env::var_os("MUSTER_CHAOS_SECONDS").and_then(|text| text.to_str()?.parse().ok());
    let drizzle = Duration::from_secs(if seconds.is_some() { 60 } else { 8 });
    let whole = Duration::from_secs(seconds.unwrap_or(0));
    let folder = plugins();
    let config = Config::new()
        .text("plugins", "directory", &folder.path().to_string_lossy())
        .text("health", "first-delay", "100ms")
        .text("health", "first-spread", "500ms")
        .text("health", "min-interval", "200ms")
        .text("health", "max-interval", "400ms")
        .text("health", "timeout", "5s")
        .env("MUSTER_LOG", "warn,muster_core=info");
    let node = Node::with(config);
    let weather = Weather { season: AtomicU8::new(0), random: AtomicU64::new(7), wrong: AtomicU64::new(0) };
    let weather = Arc::new(weather);
    weather.turn(Season::Calm);
    let mut good: Vec<_> = (0..GOOD).map(|_| TcpTarget::open()).collect();
    service(&node, "chaos-good", "TCP", good.iter().map(|target| target.port), true);
    let sick: Vec<_> = (0..SICK).map(|_| refusing()).collect();
    service(&node, "chaos-sick", "TCP", sick.iter().map(|(_, port)| *port), false);
    service(&node, "chaos-wild", "CHAOS", (0..WILD).map(|_| wild(&weather)), true);
    eventually(Duration::from_secs(60), || {
        let calls = plugin(&node)["calls"].as_u64().unwrap_or(0);
        hold(calls > 50, || format!("{calls} calls"))
    });

    let clock = Clock::start();
    let (mut rounds, mut warm, mut most) = (0, 0, 0);
    while rounds == 0 || clock.elapsed() < whole {
        weather.turn(Season::Drizzle);
        let began = clock.elapsed();
        while clock.elapsed() - began < drizzle {
            nothing_turned(&node);
            most = most.max(node.resident());
            pause(Duration::from_millis(200));
        }
        warm = if rounds == 0 { node.resident() } else { warm };
        weather.turn(Season::Storm);
        until(&node, "quarantined", Duration::from_secs(60));
        weather.turn(Season::Calm);
        // half a minute, or twice that where the drizzle had put it there just before
        until(&node, "ready", Duration::from_secs(180));
        most = most.max(node.resident());
        rounds += 1;
    }

    assert!(most <= warm + GROWTH, "memory grew from {warm} to {most} bytes");
    let turned = node.log().lines().filter(|line| line.contains("health turned")).count();
    assert_eq!(turned, 0, "{}", node.log());
    let wrong = weather.wrong.load(Ordering::Relaxed);
    assert!(wrong > 20, "only {wrong} calls went wrong");
    // and the checks were there all the time: one that goes away is seen
    drop(good.pop());
    eventually(Duration::from_secs(60), || {
        let seen = health(&node, "chaos-good");
        hold(seen == (GOOD, GOOD - 1), || format!("{seen:?}"))
    });
    if seconds.is_some() {
        let checks = node.metric("muster_checks_overlapped_total");
        println!(
            "{:?}: {rounds} rounds, {wrong} wrong calls, 0 turns, memory {} MiB warm and {} MiB at most, {checks} \
             overlaps\n{}",
            clock.elapsed(),
            warm >> 20,
            most >> 20,
            plugin(&node)
        );
    }
}
