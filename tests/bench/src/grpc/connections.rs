//! `connections`: what an idle connection occupies in the server, against a bare tonic server with the same streams.

use super::crowd::{self, Manner};
use crate::Context;
use crate::node::Site;
use crate::process::{Server, resident};
use crate::report::Goal;
use crate::stats::median;
use std::ffi::OsStr;
use std::time::Duration;
use tokio::time::Instant;

/// As `--only` names it.
pub(crate) const NAME: &str = "connections";
/// What a client costs etcd, which keeps watchers over the same protocol. Printed beside ours.
const ETCD_KB: f64 = 17.0;
/// Memory that is the same at three looks in a row has settled.
const LOOK: Duration = Duration::from_millis(500);
/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs it.
///
/// # Errors
/// A server does not start, or refuses a connection.
pub(crate) fn run(context: &mut Context) -> anyhow::Result<()> {
    let count = if context.quick { 1_000 } else { 10_000 };
    let (mut ratios, mut ours, mut bare, mut subscribed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..context.shape.rounds.min(3) {
        let baseline = each(&Server::ourselves(&[OsStr::new("serve-tonic")])?, count, Manner::Idle)?;
        let muster = each(&Site::new(&context.binary)?.start()?, count, Manner::Idle)?;
        subscribed.push(each(&Site::new(&context.binary)?.start()?, count, Manner::Subscribe)?);
        ratios.push(muster / baseline);
        ours.push(muster);
        bare.push(baseline);
    }
    let details = [
        ("muster-kb", median(&ours)),
        ("bare-kb", median(&bare)),
        ("subscribed-kb", median(&subscribed)),
        ("etcd-kb", ETCD_KB),
    ];
    let name = format!("memory of an idle connection of {count}");
    context.report.add(NAME, name, (median(&ratios), "x"), Goal::AtMost(1.5), &details)
}

/// Resident memory that each connection adds, in units of 1,000 bytes.
fn each(server: &Server, count: usize, manner: Manner) -> anyhow::Result<f64> {
    // The first connections make what all of them share.
    drop(crowd::start(server.grpc()?, 8, manner)?);
    let before = settled(server)?;
    let clients = crowd::start(server.grpc()?, count, manner)?;
    let after = settled(server)?;
    drop(clients);
    anyhow::ensure!(after > before, "{count} connections took no memory");
    #[allow(clippy::cast_precision_loss, reason = "memory sizes are below 2^52")]
    Ok((after - before) as f64 / count as f64 / 1_000.0)
}

fn settled(server: &Server) -> anyhow::Result<u64> {
    let ends = Instant::now() + PATIENCE;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let (mut last, mut same) = (resident(server.id())?, 0);
    while same < 2 && Instant::now() < ends {
        runtime.block_on(async { tokio::time::sleep(LOOK).await });
        let now = resident(server.id())?;
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    Ok(last)
}
