//! `grpc`: queries and registrations over gRPC, against a bare tonic server that answers as many bytes.

use super::payload::{self, Payload};
use super::subscriber::Subscriber;
use super::wire::Transport;
use crate::Context;
use crate::load;
use crate::node::Site;
use crate::process::{CpuTime, Server};
use crate::report::Goal;
use crate::stats::Round;
use anyhow::Context as _;
use bytes::Bytes;
use prost::Message;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// As `--only` names it.
pub(crate) const NAME: &str = "grpc";
/// Instances of the services that are queried.
const SIZES: [usize; 2] = [10, 100];
/// Different instances that are registered, and how many of them one service has.
const INSTANCES: usize = 10_000;
/// See [`INSTANCES`].
const PER_SERVICE: usize = 10;
/// How a successful reply begins.
const SUCCESS: &[u8] = br#"{"resultCode":200,"#;

/// Runs it.
///
/// # Errors
/// A server does not start, or answers what it should not.
pub(crate) fn run(context: &mut Context) -> anyhow::Result<()> {
    let runtime = load::runtime()?;
    let site = Site::new(&context.binary)?;
    let node = site.start()?;
    let folder = tempfile::tempdir()?;
    let mut publisher = runtime.block_on(Subscriber::connect(node.grpc()?))?;
    for size in SIZES {
        let service = format!("queried-{size}");
        let query = payload::query(&service);
        let answer = runtime.block_on(async {
            publisher.call(&payload::register_all(&service, size, 1)).await?;
            publisher.answer(&query).await
        })?;
        let found = String::from_utf8_lossy(&answer).matches("\"instanceId\"").count();
        anyhow::ensure!(found == size, "{found} of {size} instances in the reply");
        let name = format!("query of {size} ({} bytes) / bare tonic", answer.len());
        let bare = bare(folder.path(), &answer)?;
        compare(context, &runtime, [&bare, &node], &[query].into(), (name, Goal::AtLeast(0.7)))?;
        echo(context, &runtime, &bare, &node, (size, &service, &answer))?;
    }
    drop(publisher);
    let connections = context.shape.connections.max(PER_SERVICE);
    let requests = registrations(connections);
    let answer =
        runtime.block_on(async { Subscriber::connect(node.grpc()?).await?.answer(&requests[0]).await })?;
    let bare = bare(folder.path(), &answer)?;
    compare(
        context,
        &runtime,
        [&bare, &node],
        &requests,
        ("register / bare tonic".into(), Goal::AtLeast(0.6)),
    )
}

/// The same against an echo in the literal sense: the bare server is sent as many bytes as it answers.
fn echo(
    context: &mut Context,
    runtime: &Runtime,
    bare: &Server,
    node: &Server,
    (size, service, answer): (usize, &str, &[u8]),
) -> anyhow::Result<()> {
    let body = Payload::decode(answer)?.body.context("a reply without a body")?;
    let same: Arc<[Bytes]> = [Payload::new("ServiceQueryRequest", body.value).framed()].into();
    let query: Arc<[Bytes]> = [payload::query(service)].into();
    let connections = context.shape.connections;
    let mut baseline = runtime.block_on(Client::connect(bare, same, connections))?;
    let mut muster = runtime.block_on(Client::connect(node, query, connections))?;
    let paired = load::paired_by(
        context.shape,
        |time| runtime.block_on(baseline.round(time)),
        |time| runtime.block_on(muster.round(time)),
    )?;
    let name = format!("query of {size} / bare tonic, request as large");
    context.report.add_rate(NAME, name, &paired, Goal::Reported)
}

fn bare(folder: &Path, answer: &[u8]) -> anyhow::Result<Server> {
    let file = folder.join("answer");
    std::fs::write(&file, answer)?;
    Server::ourselves(&[OsStr::new("serve-tonic"), file.as_os_str()])
}

fn compare(
    context: &mut Context,
    runtime: &Runtime,
    [bare, node]: [&Server; 2],
    requests: &Arc<[Bytes]>,
    (name, goal): (String, Goal),
) -> anyhow::Result<()> {
    let connections = context.shape.connections;
    let mut baseline = runtime.block_on(Client::connect(bare, requests.clone(), connections))?;
    let mut muster = runtime.block_on(Client::connect(node, requests.clone(), connections))?;
    let paired = load::paired_by(
        context.shape,
        |time| runtime.block_on(baseline.round(time)),
        |time| runtime.block_on(muster.round(time)),
    )?;
    context.report.add_rate(NAME, name, &paired, goal)
}

/// Every instance twice, with another weight, and both times by the same connection: a connection has one
/// publication in a service.
fn registrations(connections: usize) -> Arc<[Bytes]> {
    let count = INSTANCES.div_ceil(connections) * connections;
    let of = |weight| {
        (0..count)
            .map(move |index| payload::register(&format!("orders-{}", index / PER_SERVICE), index, weight))
    };
    of(1).chain(of(2)).collect()
}

/// Connections to one server, and what is sent over them.
struct Client {
    process: u32,
    requests: Arc<[Bytes]>,
    connections: Vec<Connection>,
}

struct Connection {
    transport: Transport,
    next: usize,
}

impl Client {
    /// Connects; each connection has an open stream, as that of an SDK.
    async fn connect(server: &Server, requests: Arc<[Bytes]>, count: usize) -> anyhow::Result<Self> {
        let mut connections = Vec::with_capacity(count);
        for next in 0..count {
            let transport = Subscriber::connect(server.grpc()?).await?.transport;
            connections.push(Connection { transport, next });
        }
        Ok(Self { process: server.id(), requests, connections })
    }

    async fn round(&mut self, time: Duration) -> anyhow::Result<Round> {
        let before = CpuTime::of(self.process)?;
        let (began, step) = (Instant::now(), self.connections.len());
        let mut running = JoinSet::new();
        for mut connection in self.connections.drain(..) {
            let requests = self.requests.clone();
            running.spawn(async move {
                let mut count = 0;
                while began.elapsed() < time {
                    connection.transport.call(&requests[connection.next % requests.len()], SUCCESS).await?;
                    connection.next += step;
                    count += 1;
                }
                anyhow::Ok((connection, count))
            });
        }
        let mut sum = 0;
        while let Some(ended) = running.join_next().await {
            let (connection, count) = ended??;
            sum += count;
            self.connections.push(connection);
        }
        anyhow::ensure!(sum > 0, "not one request was answered in time");
        Ok(Round::new(sum, began.elapsed().as_secs_f64(), CpuTime::of(self.process)?.since(&before)))
    }
}
