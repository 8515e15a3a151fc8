//! `storm`: every client of a node that was killed comes back at once and registers and subscribes again.
//!
//! 50,000 connections' worth of it: this process and the node may each open only so many files, so fewer connections
//! carry more registrations and subscriptions each. How many is printed.

use super::crowd::{CONNECTING, told};
use super::payload;
use super::subscriber::Subscriber;
use super::wire::kind;
use crate::node::Site;
use crate::process::{Server, open_files};
use crate::report::{Goal, say};
use crate::{Context, load};
use anyhow::Context as _;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// As `--only` names it.
pub(crate) const NAME: &str = "storm";
/// Connections whose registrations and subscriptions are made.
const WANTED: usize = 50_000;
/// Files that a process needs besides its connections.
const OTHER_FILES: usize = 500;
/// Instances of one service.
const PER_SERVICE: usize = 10;
/// From the last complete list to the kill: a node keeps the lists that it shows for its next start, once a second.
const SETTLE: Duration = Duration::from_secs(3);
/// How long until everything is as before.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs it.
///
/// # Errors
/// A node does not start, or its clients do not all get their lists back.
pub(crate) fn run(context: &mut Context) -> anyhow::Result<()> {
    let wanted = if context.quick { 1_000 } else { WANTED };
    let most = open_files()?.saturating_sub(OTHER_FILES).max(PER_SERVICE);
    let each = wanted.div_ceil(most);
    // Whole services.
    let count = wanted.div_ceil(each).next_multiple_of(PER_SERVICE);
    let site = Site::new(&context.binary)?;
    let arguments = ["storm".to_owned(), count.to_string(), each.to_string()].map(OsString::from);
    let mut clients = Server::ourselves(&arguments.iter().map(OsString::as_os_str).collect::<Vec<&OsStr>>())?;
    let mut last = None;
    for _ in 0..=context.shape.rounds.min(3) {
        let node = site.start()?;
        clients.tell(&node.grpc()?.to_string())?;
        let line = clients.line()?.context("the clients are gone")?;
        let numbers: Vec<f64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let &[registered, complete, empty, empty_answers, partial] = &numbers[..] else {
            anyhow::bail!("{line:?}");
        };
        // Each further node is one that was killed and came back: nothing is registered there any more.
        last = Some((registered, complete, empty, empty_answers, partial));
        load::runtime()?.block_on(tokio::time::sleep(SETTLE));
    }
    let (registered, complete, empty, empty_answers, partial) = last.context("no round")?;
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let (connections, each) = (count as f64, each as f64);
    let rate = connections * each * 2.0 / (registered / 1_000.0);
    let details = [
        ("connections", connections),
        ("services-each", each),
        ("redone-ms", registered),
        ("redo-requests-per-s", rate),
    ];
    let name = format!("{wanted} connections' worth of redo to complete lists");
    context.report.add(NAME, name, (complete, "ms"), Goal::Reported, &details)?;
    let details = [("empty-answers", empty_answers), ("pushes-of-a-part", partial)];
    let name = "empty pushes after the restart";
    context.report.add(NAME, name, (empty, "pushes"), Goal::AtMost(0.0), &details)
}

/// Is the clients: connects all of them to each address it is told, until its input ends.
///
/// # Errors
/// A connection is refused, or the lists do not get complete.
pub(crate) fn clients(count: usize, each: usize) -> anyhow::Result<()> {
    say("storm ready http=127.0.0.1:0");
    load::runtime()?.block_on(async {
        let mut told = told();
        let mut times = 0;
        while let Some(address) = told.recv().await {
            let seen = Arc::new(Seen::new(count * each));
            let began = Instant::now();
            let mut running = JoinSet::new();
            let mut ready = stream::iter(0..count)
                .map(|index| Client::come(address.parse(), index, (count, each), seen.clone()))
                .buffer_unordered(CONNECTING);
            while let Some(client) = ready.try_next().await? {
                running.spawn(client.listen());
            }
            let registered = began.elapsed();
            let complete = tokio::time::timeout(PATIENCE, seen.all.notified()).await;
            let got = seen.complete.load(Ordering::SeqCst);
            complete.with_context(|| format!("{got} of {} lists are complete", count * each))?;
            let complete = began.elapsed();
            let [empty, answers, partial] =
                [&seen.empty, &seen.empty_answers, &seen.partial].map(|count| count.load(Ordering::SeqCst));
            // The very first time nothing was there before.
            let (empty, answers) = if times == 0 { (0, 0) } else { (empty, answers) };
            times += 1;
            let line = [registered.as_millis(), complete.as_millis()].map(|ms| ms.to_string()).join(" ");
            say(&format!("{line} {empty} {answers} {partial}"));
            // Until the node is killed, which ends every connection.
            while running.join_next().await.is_some() {}
        }
        Ok(())
    })
}

/// What all clients of one node saw.
struct Seen {
    wanted: usize,
    complete: AtomicUsize,
    empty: AtomicUsize,
    empty_answers: AtomicUsize,
    partial: AtomicUsize,
    all: Notify,
}

impl Seen {
    fn new(wanted: usize) -> Self {
        let none = || AtomicUsize::new(0);
        let (complete, empty, empty_answers, partial) = (none(), none(), none(), none());
        Self { wanted, complete, empty, empty_answers, partial, all: Notify::new() }
    }
}

/// One client, and which of its subscribed services have been complete.
struct Client {
    connection: Subscriber,
    /// names of the services it subscribed to, and whether their list was complete
    services: Vec<(String, bool)>,
    seen: Arc<Seen>,
}

impl Client {
    /// Connects and does again what it had done: registrations first, as SDKs do.
    async fn come(
        address: Result<SocketAddr, std::net::AddrParseError>,
        index: usize,
        (count, each): (usize, usize),
        seen: Arc<Seen>,
    ) -> anyhow::Result<Self> {
        let connection = Subscriber::connect(address?).await?;
        let services = count * each / PER_SERVICE;
        let mut client = Self { connection, services: Vec::new(), seen };
        // Neighbours share a service: they are different connections.
        let name = |service: usize| format!("redone-{}-", service % services);
        for number in (0..each).map(|j| j * count + index) {
            client.connection.call(&payload::register(&name(number / PER_SERVICE), number, 1)).await?;
        }
        for number in (0..each).map(|j| j * count + index) {
            let name = name(number / PER_SERVICE + services / 2);
            let answer = client.connection.answer(&payload::subscribe(&name)).await?;
            client.services.push((name, false));
            client.list(&answer, false);
        }
        Ok(client)
    }

    async fn listen(mut self) {
        // Its end is that of the node.
        while let Ok(Some(message)) = self.connection.message().await {
            if kind(&message).is_ok_and(|kind| kind == "NotifySubscriberRequest") {
                self.list(&message, true);
            }
        }
    }

    fn list(&mut self, message: &Bytes, pushed: bool) {
        let text = String::from_utf8_lossy(message);
        let hosts = text.matches("\"instanceId\"").count();
        match hosts {
            0 if pushed => self.seen.empty.fetch_add(1, Ordering::SeqCst),
            0 => self.seen.empty_answers.fetch_add(1, Ordering::SeqCst),
            some if some < PER_SERVICE => self.seen.partial.fetch_add(1, Ordering::SeqCst),
            _ => 0,
        };
        if hosts < PER_SERVICE {
            return;
        }
        let of = |(name, _): &&mut (String, bool)| text.contains(name.as_str());
        if let Some((_, complete)) = self.services.iter_mut().find(of)
            && !std::mem::replace(complete, true)
            && self.seen.complete.fetch_add(1, Ordering::SeqCst) + 1 == self.seen.wanted
        {
            self.seen.all.notify_one();
        }
    }
}
