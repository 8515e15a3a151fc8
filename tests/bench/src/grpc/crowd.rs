//! Many clients in a process of their own, so that each side of a comparison has its own file descriptors: they
//! hold their streams, and when something is sent to all of them, they say how long it took.

use super::bare::BROADCAST;
use super::payload::{self, Payload};
use super::subscriber::Subscriber;
use super::wire::kind;
use crate::load;
use crate::process::Server;
use crate::report::say;
use anyhow::Context;
use bytes::Bytes;
use clap::ValueEnum;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::ffi::OsString;
use std::io::BufRead;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Connections that are being made at a time: fewer than a listener queues.
pub(super) const CONNECTING: usize = 256;
/// How long all deliveries of one change may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// The service they subscribe to.
pub(super) const SERVICE: &str = "fanned-out";
/// How many instances it has.
pub(super) const HOSTS: usize = 10;

/// What the clients do besides holding their streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Manner {
    /// nothing
    Idle,
    /// subscribe to the service, and change it when told to
    Subscribe,
    /// nothing, and have the bare server send to all when told to
    Listen,
}

/// Starts a process of `count` clients of `server`; they are all connected when it answers.
///
/// # Errors
/// Not all of them could connect.
pub(super) fn start(address: SocketAddr, count: usize, manner: Manner) -> anyhow::Result<Server> {
    let manner = manner.to_possible_value().context("a manner has a name")?;
    let arguments = ["crowd".into(), address.to_string(), count.to_string(), manner.get_name().to_owned()]
        .map(OsString::from);
    Server::ourselves(&arguments.iter().map(OsString::as_os_str).collect::<Vec<_>>())
}

/// The lines that this process is told; ends with its input.
pub(super) fn told() -> mpsc::Receiver<String> {
    let (tell, told) = mpsc::channel(4);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if tell.blocking_send(line).is_err() {
                return;
            }
        }
    });
    told
}

/// Is such a process, until its input ends.
///
/// # Errors
/// A connection is refused or lost, a delivery does not come.
pub(crate) fn run(address: SocketAddr, count: usize, manner: Manner) -> anyhow::Result<()> {
    load::runtime()?.block_on(async {
        let subscribe = payload::subscribe(SERVICE);
        let mut publisher = Publisher::connect(address, manner).await?;
        let clients: Vec<Subscriber> = stream::iter(0..count)
            .map(|_| async {
                let mut client = Subscriber::connect(address).await?;
                if manner == Manner::Subscribe {
                    client.call(&subscribe).await?;
                }
                anyhow::Ok(client)
            })
            .buffer_unordered(CONNECTING)
            .try_collect()
            .await?;
        let delivered = Arc::new(Delivered::of(count));
        let mut running = JoinSet::new();
        delivered.begin();
        for client in clients {
            running.spawn(listen(client, delivered.clone()));
        }
        if manner == Manner::Subscribe {
            // The first push after a subscription: after it, one change is one push.
            delivered.wait(&mut running).await?;
        }
        say(&format!("crowd ready http={address}"));
        let mut told = told();
        loop {
            tokio::select! {
                line = told.recv() => if line.is_none() { return Ok(()) },
                ended = running.join_next() => return Err(lost(ended)),
            }
            let began = delivered.begin();
            publisher.change().await?;
            let (first, last) = delivered.wait(&mut running).await?;
            say(&format!("{} {}", (first - began).as_micros(), (last - began).as_micros()));
        }
    })
}

fn lost(ended: Option<Result<anyhow::Result<()>, tokio::task::JoinError>>) -> anyhow::Error {
    match ended {
        Some(Ok(Err(error))) => error.context("a client lost its connection"),
        other => anyhow::anyhow!("the server closed a connection: {other:?}"),
    }
}

async fn listen(mut client: Subscriber, delivered: Arc<Delivered>) -> anyhow::Result<()> {
    while let Some(message) = client.message().await? {
        if kind(&message)? != "ClientDetectionRequest" {
            delivered.one();
        }
    }
    Ok(())
}

/// Who makes the changes.
struct Publisher {
    client: Subscriber,
    manner: Manner,
    weight: usize,
}

impl Publisher {
    async fn connect(address: SocketAddr, manner: Manner) -> anyhow::Result<Self> {
        let mut publisher = Self { client: Subscriber::connect(address).await?, manner, weight: 0 };
        if manner == Manner::Subscribe {
            publisher.change().await?;
        }
        Ok(publisher)
    }

    async fn change(&mut self) -> anyhow::Result<()> {
        // Weights of one length: every push has as many bytes.
        self.weight = self.weight % 9 + 1;
        let request: Bytes = match self.manner {
            Manner::Subscribe => payload::register_all(SERVICE, HOSTS, self.weight),
            Manner::Idle | Manner::Listen => Payload::new(BROADCAST, &b"{}"[..]).framed(),
        };
        self.client.call(&request).await
    }
}

/// Counts deliveries of one change.
struct Delivered {
    wanted: usize,
    count: AtomicUsize,
    times: Mutex<(Instant, Instant)>,
    all: Notify,
}

impl Delivered {
    fn of(wanted: usize) -> Self {
        let now = Instant::now();
        Self { wanted, count: AtomicUsize::new(0), times: Mutex::new((now, now)), all: Notify::new() }
    }

    fn begin(&self) -> Instant {
        self.count.store(0, Ordering::SeqCst);
        Instant::now()
    }

    fn one(&self) {
        let count = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        if count == 1 || count == self.wanted {
            let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
            times.1 = Instant::now();
            if count == 1 {
                times.0 = times.1;
            }
        }
        if count == self.wanted {
            self.all.notify_one();
        }
    }

    /// When the first and the last one came.
    async fn wait(&self, running: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Result<(Instant, Instant)> {
        tokio::select! {
            all = tokio::time::timeout(PATIENCE, self.all.notified()) => {
                let so_far = self.count.load(Ordering::SeqCst);
                all.with_context(|| format!("{so_far} of {} deliveries", self.wanted))?;
            }
            ended = running.join_next() => return Err(lost(ended)),
        }
        Ok(*self.times.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
