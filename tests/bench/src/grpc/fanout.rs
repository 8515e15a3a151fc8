//! `fanout`: from one change of a service to the last of its subscribers, against a bare tonic server that sends the
//! same bytes to as many streams.

use super::crowd::{self, Manner, SERVICE};
use super::payload;
use super::subscriber::Subscriber;
use crate::node::Site;
use crate::process::{CpuTime, Server};
use crate::report::Goal;
use crate::stats::{Paired, Round, median};
use crate::{Context, load};
use anyhow::Context as _;
use bytes::Bytes;
use std::ffi::OsStr;

/// As `--only` names it.
pub(crate) const NAME: &str = "fanout";
/// Subscribers of the service.
const SIZES: [usize; 3] = [1_000, 5_000, 10_000];
/// The node merges the changes of so long into one push: its default, which every push is late by.
const MERGE_US: f64 = 500_000.0;

/// Runs it.
///
/// # Errors
/// A server does not start, or does not deliver.
pub(crate) fn run(context: &mut Context) -> anyhow::Result<()> {
    let sizes = if context.quick { &SIZES[..1] } else { &SIZES[..] };
    let folder = tempfile::tempdir()?;
    for &size in sizes {
        let site = Site::new(&context.binary)?;
        let node = site.start()?;
        let push = push(&node)?;
        let file = folder.path().join("push");
        std::fs::write(&file, &push)?;
        let bare = Server::ourselves(&[OsStr::new("serve-tonic"), file.as_os_str()])?;
        let mut listeners = crowd::start(bare.grpc()?, size, Manner::Listen)?;
        let mut subscribers = crowd::start(node.grpc()?, size, Manner::Subscribe)?;
        let (mut paired, mut firsts, mut lasts) = (Paired::default(), Vec::new(), Vec::new());
        for round in 0..=context.shape.rounds {
            let (baseline, (_, bare_last)) = deliver(&bare, &mut listeners, size, 0.0)?;
            let (muster, (first, last)) = deliver(&node, &mut subscribers, size, MERGE_US)?;
            if round > 0 {
                paired.push(baseline, muster);
                firsts.push(first / 1_000.0);
                lasts.push((bare_last / 1_000.0, last / 1_000.0));
            }
        }
        let of = |what: fn(&(f64, f64)) -> f64| median(&lasts.iter().map(what).collect::<Vec<_>>());
        let (bare_cpu, node_cpu) = paired.medians(|round| round.cpu_us);
        let details = [
            ("bare-last-ms", of(|times| times.0)),
            ("muster-last-ms", of(|times| times.1)),
            ("muster-first-ms", median(&firsts)),
            ("merge-delay-ms", MERGE_US / 1_000.0),
            ("baseline-cpu-us", bare_cpu),
            ("muster-cpu-us", node_cpu),
            ("bytes", f64::from(u32::try_from(push.len())?)),
        ];
        let ratio = (1.0 / paired.rate_ratio(), "x");
        let name = format!("last of {size} subscribers / bare tonic");
        context.report.add(NAME, name, ratio, Goal::AtMost(2.0), &details)?;
    }
    Ok(())
}

/// The bytes of a push, without the five before them.
fn push(node: &Server) -> anyhow::Result<Bytes> {
    load::runtime()?.block_on(async {
        let mut client = Subscriber::connect(node.grpc()?).await?;
        client.call(&payload::register_all(SERVICE, crowd::HOSTS, 1)).await?;
        client.call(&payload::subscribe(SERVICE)).await?;
        client.message().await?.context("no push")
    })
}

/// One change, delivered to all: as a round, and when the first and the last came, in microseconds since the change.
fn deliver(
    server: &Server,
    crowd: &mut Server,
    size: usize,
    merge: f64,
) -> anyhow::Result<(Round, (f64, f64))> {
    let before = CpuTime::of(server.id())?;
    crowd.tell("change")?;
    let line = crowd.line()?.context("the clients are gone")?;
    let (first, last) = line.split_once(' ').context("two times")?;
    let (first, last): (f64, f64) = (first.parse()?, last.parse()?);
    let cpu = CpuTime::of(server.id())?.since(&before);
    // A push that is earlier than the delay allows would be a wrong one, and shows as an endless rate.
    Ok((Round::new(size as u64, (last - merge).max(0.0) / 1e6, cpu), (first, last)))
}
