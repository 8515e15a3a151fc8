//! Memory of a probe in flight: many that hang at once, in a process that does nothing else.

use super::{NAME, bundled, check_of, host};
use crate::Context;
use crate::process::{Server, resident};
use crate::report::{Goal, say};
use anyhow::Context as _;
use muster_wasm::HealthCheck;
use std::ffi::OsStr;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How long they hang.
const DEADLINE: Duration = Duration::from_secs(4);
/// How often memory is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(100);

/// Runs it.
///
/// # Errors
/// The process that holds the probes does not answer.
pub(crate) fn run(context: &mut Context) -> anyhow::Result<()> {
    let count: u32 = if context.quick { 200 } else { 2_000 };
    let mut process = Server::ourselves(&[OsStr::new("hold-probes"), OsStr::new(&count.to_string())])?;
    let mut next = || -> anyhow::Result<f64> { Ok(process.line()?.context("no answer")?.parse()?) };
    let (native, wasm) = (next()?, next()?);
    let details = [("native-bytes", native), ("in-flight", f64::from(count))];
    context.report.add(NAME, "memory of a probe in flight", (wasm, "bytes"), Goal::Reported, &details)
}

/// Holds `count` native connects and then as many probes, and says what each occupies.
///
/// # Errors
/// The plugin does not load.
pub(crate) fn hold(count: u32) -> anyhow::Result<()> {
    let host = host()?;
    let guests = host.guest_runtime();
    guests.block_on(async {
        say("probes ready http=127.0.0.1:0");
        let (wasm, manifest) = bundled("TCP")?;
        host.load(wasm, manifest).await?;
        let deaf = Deaf::listen().await?;
        let address = deaf.address;
        let native = move || async move { drop(timeout(DEADLINE, TcpStream::connect(address)).await) };
        let plugin = host.health_check("TCP").context("not loaded")?;
        let probe = || probe(plugin.clone(), address);
        // Once, so that what is made on first use is not counted.
        probe().await;
        say(&each(count, native).await?.to_string());
        say(&each(count, probe).await?.to_string());
        Ok(())
    })
}

async fn probe(plugin: HealthCheck, address: SocketAddr) {
    // That it hangs and then fails is what is wanted.
    let _ = plugin.check_here(check_of(address, DEADLINE)).await;
}

/// The most that this process grew by while `count` tasks hung, for each of them.
async fn each<F>(count: u32, task: impl Fn() -> F) -> anyhow::Result<f64>
where
    F: Future<Output = ()> + Send + 'static,
{
    let before = resident("self")?;
    let mut running = JoinSet::new();
    (0..count).for_each(|_| drop(running.spawn(task())));
    let mut most = before;
    while running.len() == count as usize && running.try_join_next().is_none() {
        most = most.max(resident("self")?);
        sleep(LOOK).await;
    }
    while running.join_next().await.is_some() {}
    #[allow(clippy::cast_precision_loss, reason = "memory sizes are below 2^52")]
    let grown = (most - before) as f64;
    Ok(grown / f64::from(count))
}

/// A port at which connections hang: nobody accepts, and the queue is full.
struct Deaf {
    address: SocketAddr,
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl Deaf {
    async fn listen() -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let listener = socket.listen(1)?;
        let address = listener.local_addr()?;
        let mut queue = Vec::new();
        while let Ok(connected) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
            queue.push(connected?);
            anyhow::ensure!(queue.len() < 100, "the queue of a listener never fills up on this system");
        }
        Ok(Self { address, _listener: listener, _queue: queue })
    }
}
