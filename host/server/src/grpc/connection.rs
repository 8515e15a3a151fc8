//! A connection: one HTTP/2 transport, who is at its other end, and what is waiting to be sent there.
//!
//! What waits is bounded by construction: one place per subscribed service, holding the newest state, and a
//! short queue for everything else. A slow receiver costs memory per subscription, never per change.

mod outbox;

pub(super) use outbox::{List, Message, Outgoing, Question, Sent, SentKind};

use muster_core::{ClientId, Millis};
use outbox::Outbox;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use tokio::sync::SetOnce;
use tokio_util::sync::CancellationToken;

/// Time for which a client may take nothing of what waits for it, in milliseconds.
/// Source: Nacos `NacosRuntimeConnectionEjector` (pushes blocked for more than 300 s).
pub(super) const BLOCKED: Millis = Millis::from_secs(300);
/// Most characters that are kept of what a client says of itself.
const LONGEST_WORD: usize = 256;

/// Which port a transport came in by, which decides what it may ask for. Source: Nacos `RemoteConstants`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// the port of clients
    Sdk,
    /// the port of other members
    Cluster,
}

impl Source {
    /// Nacos's word for it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Sdk => "sdk",
            Self::Cluster => "cluster",
        }
    }
}

/// `ip:port` of the server to which a client is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Elsewhere {
    /// its address
    pub ip: String,
    /// its main port
    pub port: String,
}

impl Elsewhere {
    /// Reads `ip:port`; none when it is something else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (ip, port) = text.trim().rsplit_once(':')?;
        let _: u16 = port.parse().ok()?;
        (!ip.is_empty()).then(|| Self { ip: ip.into(), port: port.into() })
    }
}

/// What a client said of itself in its setup.
#[derive(Clone, Debug, Default)]
pub(super) struct Setup {
    /// client and version, such as `Nacos-Java-Client:v2.4.2`
    pub agent: Arc<str>,
    /// application name
    pub app: Arc<str>,
    /// its namespace, for people to read
    pub tenant: Arc<str>,
    /// label `module`
    pub module: Arc<str>,
    /// whether it may register and subscribe
    pub naming: bool,
}

/// A word of a client, of which only the beginning is kept.
pub(super) fn word(text: &str) -> Arc<str> {
    let end = text.char_indices().nth(LONGEST_WORD).map_or(text.len(), |(at, _)| at);
    text[..end].into()
}

/// One transport.
#[derive(Debug)]
pub(super) struct Connection {
    /// `<accept time ms>_<ip>_<port>`
    pub id: Arc<str>,
    /// the other end
    pub remote: SocketAddr,
    /// its address as text
    pub ip: Arc<str>,
    /// which port it came in by
    pub source: Source,
    /// when it was accepted
    pub since: Millis,
    /// whether it is encrypted
    pub tls: AtomicBool,
    setup: SetOnce<Setup>,
    streaming: AtomicBool,
    active: AtomicU64,
    detecting: AtomicBool,
    untaken: AtomicU32,
    outbox: Mutex<Outbox>,
    /// ends the transport
    pub close: CancellationToken,
}

impl Connection {
    /// A transport that was accepted at `now`.
    pub(super) fn new(now: Millis, remote: SocketAddr, source: Source) -> Self {
        let ip = remote.ip().to_canonical();
        Self {
            id: format!("{}_{ip}_{}", now.0, remote.port()).into(),
            remote,
            ip: ip.to_string().into(),
            source,
            since: now,
            tls: AtomicBool::new(false),
            setup: SetOnce::new(),
            streaming: AtomicBool::new(false),
            untaken: AtomicU32::new(0),
            active: AtomicU64::new(now.0),
            detecting: AtomicBool::new(false),
            outbox: Mutex::default(),
            close: CancellationToken::new(),
        }
    }

    /// The client of this connection.
    pub(super) fn client(&self) -> ClientId {
        ClientId::Connection(self.id.clone())
    }

    /// What the client said of itself; none before its setup.
    pub(super) fn setup(&self) -> Option<&Setup> {
        self.setup.get()
    }

    /// Takes the setup; a second one changes nothing (N218). Answers whether it was the first.
    pub(super) fn register(&self, setup: Setup) -> bool {
        self.setup.set(setup).is_ok()
    }

    /// Waits for the setup.
    pub(super) async fn set_up(&self) {
        self.setup.wait().await;
    }

    /// Opens the stream; false when there is one already.
    pub(super) fn open_stream(&self) -> bool {
        !self.streaming.swap(true, Ordering::AcqRel)
    }

    /// Whether there is a stream, on which a setup may be on its way.
    pub(super) fn has_stream(&self) -> bool {
        self.streaming.load(Ordering::Acquire)
    }

    /// Counts a message of a fuzzy watch that was not taken, and answers how many in a row that makes.
    pub(super) fn not_taken(&self) -> u32 {
        self.untaken.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Ends the row.
    pub(super) fn taken(&self) {
        self.untaken.store(0, Ordering::Relaxed);
    }

    /// Notes a sign of life.
    pub(super) fn seen(&self, now: Millis) {
        self.active.fetch_max(now.0, Ordering::Relaxed);
    }

    /// When there was one.
    pub(super) fn last_active(&self) -> Millis {
        Millis(self.active.load(Ordering::Relaxed))
    }

    /// How long there was none.
    pub(super) fn idle(&self, now: Millis) -> Millis {
        now.since(self.last_active())
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a message; a client that lets thousands of them wait is disconnected.
    pub(super) fn send(&self, now: Millis, message: Message) {
        if !self.outbox().send(now, message) {
            tracing::warn!(connection = &*self.id, "closed: it does not take what it is sent");
            self.close.cancel();
        }
    }

    /// Asks whether anybody is there, unless that was asked already.
    pub(super) fn detect(&self, now: Millis) {
        if !self.detecting.swap(true, Ordering::Relaxed) {
            self.send(now, Message::Asked(Question::Detection));
        }
    }

    /// Puts the newest state of a service in its place.
    pub(super) fn push(&self, now: Millis, list: Arc<List>) {
        self.outbox().push(now, list);
    }

    /// The next thing to send; remembers whom to wake when there is none. None after a close.
    pub(super) fn next(&self, now: Millis, waker: &Waker) -> Option<Option<Outgoing>> {
        self.outbox().next(now, waker)
    }

    /// Lets the next silence be asked about again.
    pub(super) fn detected(&self) {
        self.detecting.store(false, Ordering::Relaxed);
    }

    /// Completes the push `id`; none when nobody waits for it (N229).
    pub(super) fn acknowledged(&self, id: u64) -> Option<Sent> {
        let sent = self.outbox().acknowledged(id);
        if matches!(sent, Some(Sent { what: SentKind::Detection, .. })) {
            self.detected();
        }
        sent
    }

    /// Takes out the pushes that nobody acknowledged within `patience`.
    pub(super) fn overdue(&self, now: Millis, patience: Millis) -> Vec<Sent> {
        self.outbox().overdue(now, patience)
    }

    /// Whether the client has taken nothing of what waits for it for too long.
    pub(super) fn is_stuck(&self, now: Millis) -> bool {
        self.outbox().blocked().is_some_and(|since| now.since(since) > BLOCKED)
    }

    /// Ends the stream and forgets what was waiting.
    pub(super) fn shut(&self) {
        self.outbox().shut();
    }
}

#[cfg(test)]
mod tests;
