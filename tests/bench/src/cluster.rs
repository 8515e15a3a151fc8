//! `cluster`: several nodes on loopback. How soon a registration is seen, what writes cost, what nodes say to each
//! other when nothing happens, and how long two halves take to be one again.

use crate::Context;
use crate::load::{self, Client, fetch, request};
use crate::node::{self, Site};
use crate::report::Goal;
use crate::stats::Round;
use anyhow::Context as _;
use bytes::Bytes;
use futures_util::future::try_join_all;
use muster_tests::{Cluster, Node};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};

/// As `--only` names it.
pub(crate) const NAME: &str = "cluster";
/// Instances of one service.
const PER_SERVICE: usize = 100;
/// How often it is looked for what is awaited. Part of every time that is measured by looking.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// What is awaited comes by then, or the benchmark fails.
const PATIENCE: Duration = Duration::from_secs(300);
/// Keeps an instance without beats for a day.
const LASTING: &str =
    r#"{"preserved.heart.beat.timeout":"86400000","preserved.ip.delete.timeout":"86400000"}"#;

/// Runs it.
///
/// # Errors
/// A node does not start, or answers what it should not.
pub(crate) fn run(context: &mut Context) -> anyhow::Result<()> {
    // The nodes are those of the tests, which know only this one; two binaries must not get into one ratio.
    let built = muster_tests::node::binary();
    let same = built.canonicalize().ok() == context.binary.canonicalize().ok();
    anyhow::ensure!(same, "`cluster` measures {} only: leave --muster out", built.display());
    let runtime = load::runtime()?;
    let sizes: &[usize] = if context.quick { &[3] } else { &[3, 5, 7] };
    for count in sizes {
        let cluster = Cluster::direct(*count);
        settled(&runtime, &cluster)?;
        visible(context, &runtime, &cluster)?;
        writes(context, &runtime, &cluster)?;
        idle(context, &runtime, &cluster)?;
        drop(cluster);
        heals(context, &runtime, *count)?;
    }
    Ok(())
}

/// From before a registration is sent to one node until all list it.
fn visible(context: &mut Context, runtime: &Runtime, cluster: &Cluster) -> anyhow::Result<()> {
    let count = if context.quick { 20 } else { 500 };
    let nodes: Vec<SocketAddr> = cluster.all().map(|node| node.addr).collect();
    let mut times = Vec::with_capacity(count);
    for index in 0..count {
        let service = node::service(format!("seen-{index}"));
        let began = Instant::now();
        runtime.block_on(async {
            fetch(nodes[index % nodes.len()], &node::register(&service, index, 1, LASTING)).await?;
            try_join_all(nodes.iter().map(|node| listed(*node, &service, index))).await
        })?;
        times.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    times.sort_by(f64::total_cmp);
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
    let name = format!("registration seen by all of {} nodes, p99", nodes.len());
    let details = [("p50-ms", at(50)), ("longest-ms", at(100)), ("nodes", float(nodes.len()))];
    context.report.add(NAME, name, (at(99), "ms"), Goal::AtMost(50.0), &details)
}

async fn listed(node: SocketAddr, service: &str, index: usize) -> anyhow::Result<()> {
    let (query, wanted) = (node::list(service), format!("\"ip\":\"{}\"", node::address(index)));
    eventually("an instance is listed", async || {
        Ok(String::from_utf8_lossy(&fetch(node, &query).await?).contains(&wanted))
    })
    .await
}

/// Persistent registrations, sent to all nodes, against the same at one node alone. Each is on the disks of a
/// majority before it is answered.
fn writes(context: &mut Context, runtime: &Runtime, cluster: &Cluster) -> anyhow::Result<()> {
    let site = Site::new(&context.binary)?;
    let alone = site.start()?;
    let connections = context.shape.connections;
    let connect = |process, address, requests| {
        runtime.block_on(Client::connect(process, address, requests, connections))
    };
    let mut one = connect(alone.id(), alone.address, persistent(0))?;
    let share = connections.div_ceil(cluster.all().count());
    let all: anyhow::Result<Vec<Client>> = cluster
        .all()
        .enumerate()
        .map(|(of, node)| runtime.block_on(Client::connect(node.id(), node.addr, persistent(of), share)))
        .collect();
    let mut all = all?;
    let several = |time| {
        let rounds = runtime.block_on(try_join_all(all.iter_mut().map(|client| client.round(time))))?;
        let rate: f64 = rounds.iter().map(|round| round.rate).sum();
        let cpu: f64 = rounds.iter().map(|round| round.rate * round.cpu_us).sum();
        Ok(Round { rate, cpu_us: cpu / rate })
    };
    let paired = load::paired_by(context.shape, |time| runtime.block_on(one.round(time)), several)?;
    let name = format!("persistent writes, {} nodes / one alone", cluster.all().count());
    context.report.add_rate(NAME, name, &paired, Goal::Reported)
}

/// Different ones for each node, each twice with another weight: every write changes a row.
fn persistent(of: usize) -> Arc<[Bytes]> {
    let write = |index: usize, weight: usize| {
        let query = format!(
            "serviceName=durable-{of}-{}&ip={}&port=3306&weight={weight}.0&ephemeral=false",
            index / PER_SERVICE,
            node::address(index),
        );
        request("POST", &format!("/nacos/v1/ns/instance?{query}"))
    };
    (1..=2).flat_map(|weight| (0..2_000).map(move |index| write(index, weight))).collect()
}

/// What the nodes of a pair send each other while nothing changes, with many clients and with none: reports, Raft's
/// signs of life and the verification of ephemeral data.
fn idle(context: &mut Context, runtime: &Runtime, cluster: &Cluster) -> anyhow::Result<()> {
    let count = if context.quick { 2_000 } else { 100_000 };
    let time = Duration::from_secs(if context.quick { 6 } else { 30 });
    let before = bytes_per_second(runtime, cluster, time)?;
    let first: Vec<f64> = cluster.all().map(instances).collect();
    fill(context, runtime, cluster.node(0), count)?;
    runtime.block_on(eventually("all nodes have all instances", async || {
        Ok(cluster.all().zip(&first).all(|(node, first)| instances(node) >= first + float(count)))
    }))?;
    runtime.block_on(quiet(cluster))?;
    let with = bytes_per_second(runtime, cluster, time)?;
    let nodes = cluster.all().count();
    let name = format!("idle traffic of a pair of {nodes} nodes, {count} clients / a few");
    let details = [("bytes-per-s", with), ("bytes-per-s-before", before), ("nodes", float(nodes))];
    context.report.add(NAME, name, (with / before, "x"), Goal::Reported, &details)
}

/// Both directions of one of the pairs, on average.
fn bytes_per_second(runtime: &Runtime, cluster: &Cluster, time: Duration) -> anyhow::Result<f64> {
    let sent = || cluster.all().map(|node| node.metric("muster_peer_sent_bytes_total")).sum::<f64>();
    let nodes = cluster.all().count();
    let (before, began) = (sent(), Instant::now());
    runtime.block_on(async { sleep(time).await });
    let bytes = sent() - before;
    anyhow::ensure!(bytes > 0.0, "the nodes said nothing to each other");
    Ok(bytes / began.elapsed().as_secs_f64() / float(nodes * (nodes - 1) / 2))
}

/// One node is cut off, the others get many instances, and the network is whole again.
fn heals(context: &mut Context, runtime: &Runtime, nodes: usize) -> anyhow::Result<()> {
    let count = if context.quick { 2_000 } else { 100_000 };
    let cluster = Cluster::start(nodes);
    settled(runtime, &cluster)?;
    let cut_off = cluster.node(nodes - 1);
    let before = instances(cut_off);
    cluster.isolate(nodes - 1);
    fill(context, runtime, cluster.node(0), count)?;
    anyhow::ensure!(instances(cut_off) <= before, "it was not cut off");
    cluster.heal(nodes - 1);
    let began = Instant::now();
    runtime.block_on(eventually("the node that was cut off has all instances", async || {
        Ok(instances(cut_off) >= before + float(count))
    }))?;
    let took = began.elapsed().as_secs_f64();
    let name = format!("{nodes} nodes healed, {count} instances different");
    let details = [("per-s", float(count) / took), ("nodes", float(nodes))];
    context.report.add(NAME, name, (took, "s"), Goal::Reported, &details)
}

/// Ephemeral instances, each a client of its own, that last without beats.
fn fill(context: &Context, runtime: &Runtime, node: &Node, count: usize) -> anyhow::Result<()> {
    let of = |index: usize| {
        node::register(&node::service(format!("many-{}", index / PER_SERVICE)), index, 1, LASTING)
    };
    let requests: Arc<[Bytes]> = (0..count).map(of).collect();
    let connections = context.shape.connections;
    runtime.block_on(async {
        Client::connect(node.id(), node.addr, requests, connections).await?.each_once().await
    })?;
    Ok(())
}

fn instances(node: &Node) -> f64 {
    node.metric("muster_instances")
}

/// All members see each other, and writes find a leader.
fn settled(runtime: &Runtime, cluster: &Cluster) -> anyhow::Result<()> {
    let others = float(cluster.all().count() - 1);
    runtime.block_on(async {
        eventually("all members are connected", async || {
            Ok(cluster.all().all(|node| node.metric("muster_peers_connected") >= others))
        })
        .await?;
        for node in cluster.all() {
            let write =
                request("POST", "/nacos/v1/ns/instance?serviceName=first&ip=10.0.0.1&port=1&ephemeral=false");
            eventually("a write is acknowledged", async || Ok(fetch(node.addr, &write).await.is_ok()))
                .await?;
        }
        quiet(cluster).await
    })
}

/// Nothing is on its way any more.
async fn quiet(cluster: &Cluster) -> anyhow::Result<()> {
    eventually("nothing is under way", async || {
        Ok(cluster.all().all(|node| node.metric("muster_distro_unacknowledged") == 0.0))
    })
    .await
}

async fn eventually(what: &str, mut look: impl AsyncFnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let looking = async {
        while !look().await? {
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, looking).await.with_context(|| format!("not in time: {what}"))?
}

#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn float(count: usize) -> f64 {
    count as f64
}
