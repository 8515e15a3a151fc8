//! The TCP, the HTTP and the MySQL probe against local listeners, against native code that does the same on the same
//! threads: a connect, one exchange with hyper over a connection of its own, a login with one statement.

use super::listener::{DEADLINE, calls, listen};
use super::{NAME, bundled, mysql};
use crate::Context;
use crate::process::{Server, cpu_ns};
use crate::report::{Goal, Report};
use crate::stats::{Paired, Round};
use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use muster_core::plugin::Outcome;
use muster_wasm::{CheckCall, HealthCheck, PluginHost, Settings};
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// Probes in flight.
const IN_FLIGHT: usize = 64;
/// What is probed.
#[derive(Clone, Copy)]
enum Kind {
    Tcp,
    Http,
    MySql,
}

impl Kind {
    /// The name of the plugin.
    const fn plugin(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Http => "HTTP",
            Self::MySql => "MYSQL",
        }
    }

    /// The listener, as a command of this program.
    const fn listener(self) -> &'static str {
        match self {
            Self::Tcp => "accept-connections",
            Self::Http => "answer-http",
            Self::MySql => "answer-mysql",
        }
    }

    fn settings(self) -> Settings {
        let pairs: &[(&str, &str)] = if matches!(self, Self::MySql) { &[("user", "probe")] } else { &[] };
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Tcp => "tcp probe / native connect",
            Self::Http => "http probe / native hyper",
            Self::MySql => "mysql probe / native client",
        }
    }
}

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
    for kind in [Kind::Tcp, Kind::Http, Kind::MySql] {
        measure(context, host, kind).await?;
    }
    Ok(())
}

async fn measure(context: &mut Context, host: &PluginHost, kind: Kind) -> anyhow::Result<()> {
    let listener = Server::ourselves(&[OsStr::new(kind.listener())])?;
    let (wasm, manifest) = bundled(kind.plugin())?;
    host.load(wasm, manifest).await?;
    let plugin = host.health_check(kind.plugin()).context("not loaded")?;
    let settings = Arc::new(kind.settings());
    let call = |call| CheckCall { settings: settings.clone(), ..call };
    let calls = calls(listener.address.port()).into_iter().map(call).collect();
    let probes = Arc::new(Probes { kind, plugin, calls });
    let time = context.shape.round;
    let mut paired = Paired::default();
    for round in 0..=context.shape.rounds {
        let native = probes.round(&host.guest_runtime(), Way::Native, time).await?;
        let wasm = probes.round(&host.guest_runtime(), Way::Plugin, time).await?;
        if round > 0 {
            paired.push(native, wasm);
        }
    }
    add(&mut context.report, kind, &paired)
}

fn add(report: &mut Report, kind: Kind, paired: &Paired) -> anyhow::Result<()> {
    let name = |what: &str| format!("{}, {what}", kind.title());
    let (_, cpu_us) = paired.medians(|round| round.cpu_us);
    report.add_rate(NAME, name("rate"), paired, Goal::AtLeast(0.85))?;
    let details = [("probes-per-s-per-core", 1e6 / cpu_us)];
    let cpu = (paired.cpu_ratio(), "x");
    report.add(NAME, name("CPU"), cpu, Goal::AtMost(1.25), &details)
}

struct Probes {
    kind: Kind,
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
                    timeout(DEADLINE, native(self.kind, call.reach)).await??;
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

async fn native(kind: Kind, address: SocketAddr) -> anyhow::Result<()> {
    let stream = TcpStream::connect(address).await?;
    match kind {
        Kind::Tcp => Ok(()),
        Kind::Http => exchange(stream, address).await,
        Kind::MySql => mysql::look(stream).await,
    }
}

async fn exchange(stream: TcpStream, address: SocketAddr) -> anyhow::Result<()> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = http::Request::get("/")
        .header(http::header::HOST, address.to_string())
        .header(http::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let answered = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        answer.into_body().collect().await?;
        anyhow::ensure!(status == http::StatusCode::OK, "{status}");
        Ok(())
    };
    let (answered, ended) = tokio::join!(answered, connection);
    ended?;
    answered
}

/// Accepts connections and closes them, until the input of this process ends.
///
/// # Errors
/// No port.
pub(crate) fn accept() -> anyhow::Result<()> {
    listen(|stream| async move { drop(stream) })
}

/// Logs everybody in as a primary does, until the input of this process ends.
///
/// # Errors
/// No port.
pub(crate) fn answer_mysql() -> anyhow::Result<()> {
    // a prober that goes away is none of our business
    listen(|stream| async move { drop(mysql::serve(stream).await) })
}

/// Answers one request of each connection with 200, until the input of this process ends.
///
/// # Errors
/// No port.
pub(crate) fn answer_http() -> anyhow::Result<()> {
    listen(|stream| async move {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        // a prober that goes away is none of our business
        while stream.read_line(&mut line).await.is_ok_and(|length| length > 2) {
            line.clear();
        }
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
        let _ = stream.write_all(answer).await;
    })
}
