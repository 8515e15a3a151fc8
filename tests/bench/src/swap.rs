//! `swap`: a health check that looks at 10,000 targets every 5 s is swapped for another version of itself 100 times,
//! each time through shadow and canary: checks lost, instances that turned, and how late checks began meanwhile.
//!
//! Everything is a real node's own: the API, the versions on disk, the plugins. The versions answer at once, so what
//! is measured is the swap and not a network.

use crate::Context;
use crate::node::{Site, address};
use crate::process::Server;
use crate::report::Goal;
use crate::stats::median;
use anyhow::{Context as _, ensure};
use muster::trust::Statement;
use muster_core::naming::LATENESS_BOUNDS;
use muster_tests::wait::pause;
use muster_tests::{Http, Request, encode};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// As `--only` names it.
pub(crate) const NAME: &str = "swap";

const SERVICE: &str = "swapped";
const MANIFEST: &str = "[plugin]\nname = \"guest\"\nkind = \"health-check\"\n[grants]\ndial = true\n";
/// Two versions of one plugin that pass whatever they look at.
const VERSIONS: [&str; 2] = ["does_nothing", "counts_calls"];
/// From one check of a target to the next, seconds.
const INTERVAL: u64 = 5;
/// Entries of the log that one swap makes: it comes, it is ready, it is active.
const SAYINGS: u64 = 3;
/// Between two looks at the versions.
const LOOK: Duration = Duration::from_millis(20);
/// Most that one swap may take.
const SWAP_MOST: Duration = Duration::from_secs(60);

const SETTINGS: &str = "\n[health]\nmin-interval = \"5s\"\nmax-interval = \"5s\"\nfirst-delay = \"0ms\"\n\
    first-spread = \"5s\"\ntimeout = \"2s\"\n\n[plugins]\nunsigned = \"warn\"\n\n[plugins.rollout]\nshadow-share = 0.2\nshadow-runs = 50\n\
    shadow-time = \"0ms\"\ncanary-share = 0.1\ncanary-runs = 20\ncanary-time = \"0ms\"\nprobation = \"100ms\"\n\
    slack = \"2s\"\n";

/// Runs it.
///
/// # Errors
/// The node does not start, does not answer as it should, or a swap does not come to its end.
pub(crate) fn run(context: &mut Context) -> anyhow::Result<()> {
    let (targets, swaps, window) = if context.quick { (500, 4, 5) } else { (10_000, 100, 30) };
    let site = Site::with(&context.binary, SETTINGS)?;
    let server = site.start()?;
    let node = Node { http: Http { addr: server.address } };
    node.install(VERSIONS[0])?;
    node.settled()?;
    node.register(targets)?;
    pause(Duration::from_secs(2 * INTERVAL));
    ensure!(node.healthy()? == targets, "not all targets are healthy before the swaps");

    let (before, log) = (node.lateness()?, node.log()?);
    node.watch(Duration::from_secs(window))?;
    let calm = since(&before, &node.lateness()?);

    let (before, began) = (node.lateness()?, Instant::now());
    let mut times = Vec::new();
    for nth in 0..swaps {
        let swap = Instant::now();
        node.install(VERSIONS[(nth + 1) % 2])?;
        node.settled()?;
        times.push(swap.elapsed().as_secs_f64() * 1e3);
    }
    let took = began.elapsed().as_secs_f64();
    let busy = since(&before, &node.lateness()?);
    // an instance that turned and came back made two entries of the log
    let down = targets - node.healthy()?;
    let flips = (node.log()? - log).abs_diff(SAYINGS * swaps as u64) + down as u64;
    let lost = node.lost(targets)?;
    report(context, &server, &Swapped { targets, swaps, calm, busy, took, window, flips, lost, times })
}

/// What was seen.
struct Swapped {
    targets: usize,
    swaps: usize,
    /// checks by their lateness, without swaps
    calm: Vec<u64>,
    /// the same during the swaps
    busy: Vec<u64>,
    /// seconds of all swaps
    took: f64,
    /// seconds without swaps
    window: u64,
    flips: u64,
    lost: u64,
    /// of each swap, milliseconds
    times: Vec<f64>,
}

#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn report(context: &mut Context, server: &Server, seen: &Swapped) -> anyhow::Result<()> {
    let rate = |counts: &[u64], seconds: f64| counts.iter().sum::<u64>() as f64 / seconds;
    let details = [
        ("swaps", seen.swaps as f64),
        ("targets", seen.targets as f64),
        ("swap-ms", median(&seen.times)),
        ("checks-per-s-before", rate(&seen.calm, seen.window as f64)),
        ("checks-per-s-during", rate(&seen.busy, seen.took)),
        ("resident-mib", crate::process::mib(crate::process::resident(server.id())?)),
    ];
    let name = |what: &str| format!("{} swaps under {} targets: {what}", seen.swaps, seen.targets);
    let report = &mut context.report;
    report.add(
        NAME,
        name("checks without a verdict"),
        (seen.lost as f64, ""),
        Goal::AtMost(0.0),
        &details,
    )?;
    report.add(NAME, name("instances that turned"), (seen.flips as f64, ""), Goal::AtMost(0.0), &[])?;
    let (before, during) = (p99(&seen.calm), p99(&seen.busy));
    report.add(NAME, "p99 lateness before, below", (before, "ms"), Goal::Reported, &[])?;
    report.add(NAME, "p99 lateness during, below", (during, "ms"), Goal::AtMost(before), &[])
}

/// The upper bound of the class that holds the 99th of 100 checks; the last class has none.
fn p99(counts: &[u64]) -> f64 {
    let total: u64 = counts.iter().sum();
    let mut seen = 0;
    for (class, count) in counts.iter().enumerate() {
        seen += count;
        if total > 0 && seen * 100 >= total * 99 {
            #[allow(clippy::cast_precision_loss, reason = "milliseconds of a few seconds")]
            return LATENESS_BOUNDS.get(class).map_or(f64::MAX, |bound| *bound as f64);
        }
    }
    f64::NAN
}

fn since(before: &[u64], after: &[u64]) -> Vec<u64> {
    after.iter().zip(before).map(|(after, before)| after - before).collect()
}

/// A node as an operator and a client see it.
struct Node {
    http: Http,
}

impl Node {
    fn ask(&self, request: &Request) -> anyhow::Result<Value> {
        let reply = self.http.try_send(request)?;
        ensure!(reply.status == 200, "{request:?}: {} {}", reply.status, reply.body);
        let answer: Value = serde_json::from_str(&reply.body).context("an answer in JSON")?;
        Ok(answer["data"].clone())
    }

    fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(&Request::new("GET", path))
    }

    /// A version comes.
    fn install(&self, version: &str) -> anyhow::Result<()> {
        let wasm = muster_test_guests::component(version);
        // one of the two asks for a secret, which the other does not
        let approved = Statement::of(&wasm, MANIFEST.as_bytes()).digest();
        let path = format!(
            "/nacos/v3/admin/muster/plugins/install?manifest={}&approve={}",
            encode(MANIFEST),
            encode(&approved)
        );
        self.ask(&Request::new("POST", path).wasm(wasm))?;
        Ok(())
    }

    /// Looks at the versions for as long as that, as often as [`Node::settled`] does: what is compared is not to be
    /// the looking.
    fn watch(&self, time: Duration) -> anyhow::Result<()> {
        let began = Instant::now();
        while began.elapsed() < time {
            self.versions()?;
            pause(LOOK);
        }
        Ok(())
    }

    fn versions(&self) -> anyhow::Result<Value> {
        self.get("/nacos/v3/admin/muster/plugins/versions?name=guest")
    }

    /// Waits until the version on its way is the active one.
    fn settled(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let all = self.versions()?;
            ensure!(all[0]["failed"].is_null(), "a good version was rolled back: {}", all[0]);
            let stage = &all[0]["rollout"]["stage"];
            if stage.is_null() || stage == "probation" {
                return Ok(());
            }
            ensure!(began.elapsed() < SWAP_MOST, "not active after {SWAP_MOST:?}: {}", all[0]);
            pause(LOOK);
        }
    }

    /// Persistent instances that the plugin checks.
    fn register(&self, targets: usize) -> anyhow::Result<()> {
        self.http.try_send(&Request::new("POST", format!("/nacos/v1/ns/service?serviceName={SERVICE}")))?;
        let checker = encode(r#"{"type":"guest"}"#);
        let query =
            format!("serviceName={SERVICE}&clusterName=DEFAULT&checkPort=1&useInstancePort4Check=true");
        self.http.try_send(&Request::new(
            "PUT",
            format!("/nacos/v1/ns/cluster?{query}&healthChecker={checker}"),
        ))?;
        std::thread::scope(|scope| {
            let shares: Vec<_> =
                (0..32).map(|share| scope.spawn(move || self.register_share(share, targets))).collect();
            shares.into_iter().try_for_each(|share| {
                share.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a registration panicked")))
            })
        })
    }

    fn register_share(&self, share: usize, targets: usize) -> anyhow::Result<()> {
        for index in (share..targets).step_by(32) {
            let ip = address(index);
            let query = format!("serviceName={SERVICE}&ip={ip}&port=80&ephemeral=false&healthy=true");
            let reply =
                self.http.try_send(&Request::new("POST", format!("/nacos/v1/ns/instance?{query}")))?;
            ensure!(reply.status == 200, "{}", reply.body);
        }
        Ok(())
    }

    fn healthy(&self) -> anyhow::Result<usize> {
        let list = self.get(&format!("/nacos/v3/admin/ns/instance/list?serviceName={SERVICE}"))?;
        Ok(list.as_array().into_iter().flatten().filter(|one| one["healthy"] == true).count())
    }

    /// The last entry of the log: an instance that turns is an entry, too.
    fn log(&self) -> anyhow::Result<u64> {
        let raft = self.get("/nacos/v3/admin/core/ops/raft")?;
        raft["lastLog"].as_u64().context("a log")
    }

    /// Checks of all targets that came to no verdict.
    fn lost(&self, targets: usize) -> anyhow::Result<u64> {
        let mut lost = 0;
        for index in 0..targets {
            let query = format!("serviceName={SERVICE}&ip={}&port=80", address(index));
            let explained = self.get(&format!("/nacos/v3/admin/muster/explain?{query}"))?;
            lost += explained["probe"]["inconclusive"].as_u64().context("a count")?;
        }
        Ok(lost)
    }

    /// Checks that began, by how late.
    fn lateness(&self) -> anyhow::Result<Vec<u64>> {
        let text = self.http.try_send(&Request::new("GET", "/metrics"))?.body;
        let start = "muster_check_lateness_ms_bucket{le=\"";
        let mut totals: BTreeMap<u64, u64> = BTreeMap::new();
        for line in text.lines().filter_map(|line| line.strip_prefix(start)) {
            let (bound, count) = line.split_once("\"} ").context("a bucket")?;
            totals.insert(bound.parse().unwrap_or(u64::MAX), count.parse()?);
        }
        let mut below = 0;
        Ok(totals.into_values().map(|total| total - std::mem::replace(&mut below, total)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_99th_of_100_is_in_the_class_that_holds_it() {
        let mut counts = vec![0; LATENESS_BOUNDS.len() + 1];
        (counts[0], counts[3]) = (99, 1);
        assert_eq!(p99(&counts), 1.0);
        (counts[0], counts[3]) = (98, 2);
        assert_eq!(p99(&counts), 20.0);
        assert!(p99(&[0; 10]).is_nan());
    }
}
