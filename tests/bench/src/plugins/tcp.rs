//! The TCP probe against a local listener, against a native connect on the same threads.

use super::{NAME, bundled, check_of};
use crate::Context;
use crate::baseline::until_input_ends;
use crate::process::{Server, cpu_ns};
use crate::report::{Goal, Report, say};
use crate::stats::{Paired, Round};
use anyhow::Context as _;
use muster_core::plugin::Outcome;
use muster_wasm::{CheckCall, HealthCheck, PluginHost};
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// Probes in flight.
const IN_FLIGHT: usize = 64;
/// Time for one probe; far more than it takes, also on a machine that does other things.
const DEADLINE: Duration = Duration::from_secs(10);
/// Addresses that are probed. A closed connection occupies its pair of ports for a while: one address alone has
/// too few.
const ADDRESSES: u8 = 16;

/// Who connects.
#[derive(Clone, Copy)]
enum Way {
    Native,
    Plugin,
}

/// Runs it.
///
/// # Errors
/// The plugin does not load, or a probe does not pass.
pub(crate) async fn run(context: &mut Context, host: &PluginHost) -> anyhow::Result<()> {
    let listener = Server::ourselves(&[OsStr::new("accept-connections")])?;
    let (wasm, manifest) = bundled("TCP")?;
    host.load(wasm, manifest).await?;
    let plugin = host.health_check("TCP").context("not loaded")?;
    let probes = Arc::new(Probes { plugin, calls: calls(listener.address.port()) });
    let time = context.shape.round;
    let mut paired = Paired::default();
    for round in 0..=context.shape.rounds {
        let native = probes.round(&host.guest_runtime(), Way::Native, time).await?;
        let wasm = probes.round(&host.guest_runtime(), Way::Plugin, time).await?;
        if round > 0 {
            paired.push(native, wasm);
        }
    }
    add(&mut context.report, &paired)
}

fn add(report: &mut Report, paired: &Paired) -> anyhow::Result<()> {
    let (_, cpu_us) = paired.medians(|round| round.cpu_us);
    report.add_rate(NAME, "tcp probe / native connect, rate", paired, Goal::AtLeast(0.85))?;
    let details = [("probes-per-s-per-core", 1e6 / cpu_us)];
    let cpu = (paired.cpu_ratio(), "x");
    report.add(NAME, "tcp probe / native connect, CPU", cpu, Goal::AtMost(1.25), &details)
}

fn calls(port: u16) -> Vec<CheckCall> {
    let addresses = (1..=ADDRESSES).map(|last| SocketAddr::from(([127, 0, 0, last], port)));
    addresses.map(|address| check_of(address, DEADLINE)).collect()
}

struct Probes {
    plugin: HealthCheck,
    calls: Vec<CheckCall>,
}

impl Probes {
    async fn round(self: &Arc<Self>, on: &Handle, way: Way, time: Duration) -> anyhow::Result<Round> {
        let before = cpu_ns("self")?;
        let began = Instant::now();
        let mut running = JoinSet::new();
        for nth in 0..IN_FLIGHT {
            let probes = self.clone();
            running.spawn_on(async move { probes.until(way, nth, began + time).await }, on);
        }
        let mut count = 0;
        while let Some(ended) = running.join_next().await {
            count += ended??;
        }
        Ok(Round::new(count, began.elapsed().as_secs_f64(), cpu_ns("self")? - before))
    }

    async fn until(&self, way: Way, mut next: usize, ends: Instant) -> anyhow::Result<u64> {
        let mut count = 0;
        while Instant::now() < ends {
            let call = &self.calls[next % self.calls.len()];
            next += 1;
            let run = match way {
                Way::Native => {
                    drop(timeout(DEADLINE, TcpStream::connect(call.reach)).await??);
                    None
                }
                Way::Plugin => Some(self.plugin.check_here(call.clone()).await),
            };
            if let Some(run) = run {
                let verdict = run.result?;
                anyhow::ensure!(verdict.outcome == Outcome::Passed, "{}: {}", verdict.code, verdict.message);
            }
            count += 1;
        }
        Ok(count)
    }
}

/// Accepts connections and closes them, until the input of this process ends.
///
/// # Errors
/// No port.
pub(crate) fn accept() -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let first = bind(1, 0).await?;
        let address = first.local_addr()?;
        let mut running = JoinSet::new();
        running.spawn(accept_all(first));
        for last in 2..=ADDRESSES {
            running.spawn(accept_all(bind(last, address.port()).await?));
        }
        say(&format!("listener ready http={address}"));
        tokio::select! {
            ended = running.join_next() => ended.context("nothing runs")??,
            () = until_input_ends() => Ok(()),
        }
    })
}

async fn bind(last: u8, port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from(([127, 0, 0, last], port))).await
}

async fn accept_all(listener: TcpListener) -> anyhow::Result<()> {
    loop {
        drop(listener.accept().await?);
    }
}
