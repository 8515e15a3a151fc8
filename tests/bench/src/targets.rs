//! `targets`: 100,000 persistent instances that are checked every 5 s, over a network that is only timers.
//!
//! Everything else is the node's own: the naming loop, its queues, its clock, the rules.

use crate::Context;
use crate::node::address;
use crate::process::cpu_ns;
use crate::report::Goal;
use crate::stats::median;
use arc_swap::ArcSwap;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use muster::clock::Clock;
use muster::naming::{Executors, NamingHandle, Published, Pusher};
use muster::tasks::Tasks;
use muster_core::health::{Layer, Rule, Rules, Scope};
use muster_core::naming::{
    LATENESS_BOUNDS, Lateness, Naming, Options, ProbeJob, ProbeLimits, Report, ServiceSnapshot, Subscription,
    TargetId,
};
use muster_core::persist::{Change, Row, RowKey};
use muster_core::plugin::{Outcome, Verdict};
use muster_core::{Instance, Millis, ServiceKey};
use muster_raft::{RaftOptions, Store};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

/// As `--only` names it.
pub(crate) const NAME: &str = "targets";
/// Between two checks of one target.
const INTERVAL: Millis = Millis::from_secs(5);
/// Instances of one service.
const PER_SERVICE: usize = 100;

/// Runs it.
///
/// # Errors
/// The store cannot be opened, or the loop does not answer.
pub(crate) fn run(context: &mut Context) -> anyhow::Result<()> {
    let (count, settle, window) = if context.quick {
        (10_000, Duration::from_secs(1), Duration::from_secs(1))
    } else {
        // Every target has been checked once, then as long as every target is checked once more.
        (100_000, Duration::from_millis(INTERVAL.0 + 1_000), Duration::from_millis(INTERVAL.0))
    };
    let folder = tempfile::tempdir()?;
    let windows = crate::load::runtime()?.block_on(async {
        let node = Node::start(count, folder.path()).await?;
        sleep(settle).await;
        let mut windows = Vec::new();
        for _ in 0..context.shape.rounds {
            windows.push(node.window(window).await?);
        }
        anyhow::Ok(windows)
    })?;
    let of = |what: fn(&Window) -> f64| median(&windows.iter().map(what).collect::<Vec<_>>());
    #[allow(clippy::cast_precision_loss, reason = "a count of targets")]
    let wanted = count as f64 * 1_000.0 / INTERVAL.0 as f64;
    let details = [
        ("p50-ms", of(|window| window.p50)),
        ("worst-window-p99-ms", windows.iter().map(|window| window.p99).fold(0.0, f64::max)),
        ("cores", of(|window| window.cores)),
        ("checks-per-s", of(|window| window.rate)),
        ("wanted-per-s", wanted),
        ("cpu-us-per-check", of(|window| window.cores * 1e6 / window.rate)),
    ];
    let p99 = (of(|window| window.p99), "ms");
    context.report.add(
        NAME,
        format!("{count} targets, p99 lateness below"),
        p99,
        Goal::AtMost(500.0),
        &details,
    )
}

/// What happened in one stretch of time.
struct Window {
    p50: f64,
    p99: f64,
    rate: f64,
    cores: f64,
}

/// A node without ports.
struct Node {
    naming: NamingHandle,
    tasks: Tasks,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.tasks.stop_token().cancel();
    }
}

impl Node {
    async fn start(count: usize, folder: &Path) -> anyhow::Result<Self> {
        let (requests, commit, inbox) = muster::naming::queues();
        let options = RaftOptions { path: folder.join("muster.redb"), ..RaftOptions::default() };
        let (store, _) = Store::open(options, commit).await?;
        let (published, switches) = (Arc::new(Published::default()), Arc::new(ArcSwap::default()));
        let limits = ProbeLimits::default();
        let (probes, jobs) = mpsc::channel(limits.node);
        let (proposals, _) = mpsc::channel(1);
        let naming = NamingHandle::new(requests, store, published.clone(), switches.clone());
        let pushers: Vec<Arc<dyn Pusher>> = vec![Arc::new(NoPusher)];
        let (asks, _) = mpsc::channel(1);
        let agreed = muster::rollout::Agreed::default();
        let (grants, links) = (None, None);
        let executors =
            Executors { published, switches, agreed, grants, pushers, probes, links, asks, proposals };
        let rules =
            Naming::new(Options { probe_limits: limits, rules: every_interval(), ..Options::default() });
        let tasks = Tasks::new();
        muster::naming::start(&tasks, Clock::system(), rules, instances(count), inbox, executors);
        let handle = naming.clone();
        tasks.spawn("network", |_| network(handle, jobs));
        Ok(Self { naming, tasks })
    }

    async fn window(&self, time: Duration) -> anyhow::Result<Window> {
        let lateness = || self.naming.step(|naming, _| naming.counters().lateness);
        let before = lateness().await?;
        let (began, cpu) = (Instant::now(), cpu_ns("self")?);
        sleep(time).await;
        let (took, used) = (began.elapsed().as_secs_f64(), cpu_ns("self")? - cpu);
        let counts = since(&before, &lateness().await?);
        let total: u64 = counts.iter().sum();
        #[allow(clippy::cast_precision_loss, reason = "counts and nanoseconds of seconds are below 2^52")]
        let (total, used) = (total as f64, used as f64);
        Ok(Window {
            p50: quantile(&counts, 0.5),
            p99: quantile(&counts, 0.99),
            rate: total / took,
            cores: used / 1e9 / took,
        })
    }
}

fn since(before: &Lateness, after: &Lateness) -> Vec<u64> {
    after.counts.iter().zip(before.counts).map(|(after, before)| after - before).collect()
}

/// The upper bound of the class that holds the `share`th of the counts; the last class has none, and is as bad.
fn quantile(counts: &[u64], share: f64) -> f64 {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return f64::NAN;
    }
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let (mut left, bound) = (total as f64 * share, |class: usize| LATENESS_BOUNDS[class] as f64);
    for (class, count) in counts.iter().enumerate() {
        #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let count = *count as f64;
        if left <= count {
            return if class < LATENESS_BOUNDS.len() { bound(class) } else { f64::MAX };
        }
        left -= count;
    }
    f64::NAN
}

fn every_interval() -> Rules {
    let layer = Layer {
        min_interval: Some(INTERVAL),
        max_interval: Some(INTERVAL),
        first_delay: Some(Millis(0)),
        first_spread: Some(INTERVAL),
        ..Layer::default()
    };
    Rules::new(vec![Rule { scope: Scope::default(), layer }])
}

fn instances(count: usize) -> Vec<Change> {
    let change = |index: usize| {
        let service = ServiceKey::new("", "", &format!("orders-{}", index / PER_SERVICE));
        let instance = Instance { ephemeral: false, ..Instance::new(&address(index), 8080) };
        let key = RowKey::Instance(service, instance.address());
        Change { key, row: Some(Row::Instance(instance)) }
    };
    (0..count).map(change).collect()
}

/// Every target answers after 1 to 8 ms.
async fn network(naming: NamingHandle, mut jobs: mpsc::Receiver<Box<ProbeJob>>) -> muster::tasks::TaskResult {
    let mut running = FuturesUnordered::new();
    let mut count = 0;
    loop {
        tokio::select! {
            Some((id, report)) = running.next() => naming.probed(id, report).await?,
            job = jobs.recv() => match job {
                Some(job) => {
                    count += 1;
                    running.push(answer(job.id, Duration::from_millis(1 + count % 8)));
                }
                None => return Ok(()),
            },
        }
    }
}

async fn answer(id: TargetId, after: Duration) -> (TargetId, Report) {
    sleep(after).await;
    let verdict = Verdict::of_host(Outcome::Passed, "", "");
    (id, Report { verdict, took: Millis(u64::try_from(after.as_millis()).unwrap_or(u64::MAX)) })
}

/// Nobody subscribes here.
struct NoPusher;

impl Pusher for NoPusher {
    fn push(&self, _: Arc<ServiceSnapshot>, _: Vec<Arc<Subscription>>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_bound_of_its_class() {
        let mut counts = vec![0; LATENESS_BOUNDS.len() + 1];
        (counts[0], counts[3]) = (98, 2);
        assert_eq!((quantile(&counts, 0.5), quantile(&counts, 0.99)), (1.0, 20.0));
        counts[LATENESS_BOUNDS.len()] = 100;
        assert_eq!(quantile(&counts, 0.99), f64::MAX);
        assert!(quantile(&[0; 10], 0.5).is_nan());
    }
}
