//! A connection: one HTTP/2 transport, who is at its other end, and what is waiting to be sent there.
//!
//! What waits is bounded by construction: one place per subscribed service, holding the newest state, and a
//! short queue for everything else. A slow receiver costs memory per subscription, never per change.

use super::payload::Payload;
use bytes::Bytes;
use muster_core::{ClientId, Millis, ServiceKey};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use tokio::sync::SetOnce;
use tokio_util::sync::CancellationToken;

/// Messages other than service pushes that may wait; one more closes the connection. All patterns of a node with
/// all their services make 1,000.
const QUEUE: usize = 4_096;
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

#[derive(Debug, Default)]
struct Outbox {
    queue: VecDeque<Message>,
    /// services in the order they became due
    due: VecDeque<ServiceKey>,
    pushes: HashMap<ServiceKey, Waiting>,
    unacknowledged: BTreeMap<u64, Sent>,
    next_id: u64,
    waker: Option<Waker>,
    /// since when something waits of which nothing was taken
    blocked: Option<Millis>,
    closed: bool,
}

/// A message that is not a service push.
#[derive(Debug)]
pub(super) enum Message {
    /// sent as it is, nothing is answered
    Plain(Payload),
    /// sent with an id, of which the answer is awaited
    Asked(Question),
}

/// A message whose answer is awaited.
#[derive(Clone, Debug)]
pub(super) enum Question {
    /// is anybody there?
    Detection,
    /// part of a fuzzy watch
    Watch(Arc<super::fuzzy::WatchMessage>),
    /// please go elsewhere; to any other server when none is named
    Reset(Option<Elsewhere>),
}

/// A service as it is sent to all subscribers that get the same list: encoded once, shared.
#[derive(Debug)]
pub(super) struct List {
    /// the service
    pub service: ServiceKey,
    /// from the ServiceInfo to the end of the message
    pub rest: Bytes,
    /// when the first change happened that it tells of
    pub since: Millis,
}

#[derive(Clone, Debug)]
struct Waiting {
    list: Arc<List>,
    since: Millis,
}

/// A push that was handed to the transport and not yet acknowledged.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// what it was
    pub what: SentKind,
    /// when it was handed over
    pub at: Millis,
    /// when the change happened that it tells of
    pub since: Millis,
}

/// What was sent.
#[derive(Clone, Debug)]
pub(super) enum SentKind {
    /// a service
    Service(ServiceKey),
    /// a detection
    Detection,
    /// part of a fuzzy watch
    Watch(Arc<super::fuzzy::WatchMessage>),
    /// a reset
    Reset,
}

/// The next thing to send.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// as it is
    Plain(Payload),
    /// with an id
    Asked(u64, Question),
    /// a service, with an id
    Push(u64, Arc<List>),
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
        let mut outbox = self.outbox();
        if outbox.closed {
            return;
        }
        if outbox.queue.len() >= QUEUE {
            tracing::warn!(connection = &*self.id, "closed: it does not take what it is sent");
            self.close.cancel();
            return;
        }
        outbox.queue.push_back(message);
        outbox.filled(now);
    }

    /// Asks whether anybody is there, unless that was asked already.
    pub(super) fn detect(&self, now: Millis) {
        if !self.detecting.swap(true, Ordering::Relaxed) {
            self.send(now, Message::Asked(Question::Detection));
        }
    }

    /// Puts the newest state of a service in its place.
    pub(super) fn push(&self, now: Millis, list: Arc<List>) {
        let mut outbox = self.outbox();
        if outbox.closed {
            return;
        }
        let key = list.service.clone();
        let since = outbox.pushes.get(&key).map_or(list.since, |waiting| waiting.since);
        let waiting = Waiting { list, since };
        if outbox.pushes.insert(key.clone(), waiting).is_none() {
            outbox.due.push_back(key);
        }
        outbox.filled(now);
    }

    /// The next thing to send; remembers whom to wake when there is none. None after a close.
    pub(super) fn next(&self, now: Millis, waker: &Waker) -> Option<Option<Outgoing>> {
        let mut outbox = self.outbox();
        if outbox.closed {
            return Some(None);
        }
        if let Some(next) = outbox.take(now) {
            return Some(Some(next));
        }
        outbox.waker = Some(waker.clone());
        None
    }

    /// Lets the next silence be asked about again.
    pub(super) fn detected(&self) {
        self.detecting.store(false, Ordering::Relaxed);
    }

    /// Completes the push `id`; none when nobody waits for it (N229).
    pub(super) fn acknowledged(&self, id: u64) -> Option<Sent> {
        let sent = self.outbox().unacknowledged.remove(&id);
        if matches!(sent, Some(Sent { what: SentKind::Detection, .. })) {
            self.detected();
        }
        sent
    }

    /// Takes out the pushes that nobody acknowledged within `patience`.
    pub(super) fn overdue(&self, now: Millis, patience: Millis) -> Vec<Sent> {
        let mut outbox = self.outbox();
        if outbox.unacknowledged.values().all(|sent| now.since(sent.at) < patience) {
            return Vec::new();
        }
        let late = outbox.unacknowledged.extract_if(.., |_, sent| now.since(sent.at) >= patience);
        late.map(|(_, sent)| sent).collect()
    }

    /// Whether the client has taken nothing of what waits for it for too long.
    pub(super) fn is_stuck(&self, now: Millis) -> bool {
        self.outbox().blocked.is_some_and(|since| now.since(since) > BLOCKED)
    }

    /// Ends the stream and forgets what was waiting.
    pub(super) fn shut(&self) {
        let mut outbox = self.outbox();
        outbox.queue = VecDeque::new();
        outbox.due = VecDeque::new();
        outbox.pushes = HashMap::new();
        outbox.unacknowledged = BTreeMap::new();
        outbox.closed = true;
        outbox.wake();
    }
}

impl Outbox {
    fn filled(&mut self, now: Millis) {
        self.blocked.get_or_insert(now);
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn take(&mut self, now: Millis) -> Option<Outgoing> {
        let next = self.first(now);
        let more = !self.queue.is_empty() || !self.due.is_empty();
        self.blocked = more.then_some(now);
        next
    }

    fn first(&mut self, now: Millis) -> Option<Outgoing> {
        match self.queue.pop_front() {
            Some(Message::Plain(payload)) => Some(Outgoing::Plain(payload)),
            Some(Message::Asked(question)) => {
                let what = match &question {
                    Question::Detection => SentKind::Detection,
                    Question::Watch(message) => SentKind::Watch(message.clone()),
                    Question::Reset(_) => SentKind::Reset,
                };
                Some(Outgoing::Asked(self.await_answer(Sent { what, at: now, since: now }), question))
            }
            None => {
                let key = self.due.pop_front()?;
                let Waiting { list, since } = self.pushes.remove(&key)?;
                let id = self.await_answer(Sent { what: SentKind::Service(key), at: now, since });
                Some(Outgoing::Push(id, list))
            }
        }
    }

    /// Gives out the next id. A newer push of a service takes the place of an older one that nobody answered.
    fn await_answer(&mut self, sent: Sent) -> u64 {
        if let SentKind::Service(key) = &sent.what {
            self.unacknowledged
                .retain(|_, old| !matches!(&old.what, SentKind::Service(other) if other == key));
        }
        self.next_id += 1;
        self.unacknowledged.insert(self.next_id, sent);
        self.next_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Connection {
        Connection::new(Millis(1_700_000_000_000), "10.0.0.9:55123".parse().unwrap(), Source::Sdk)
    }

    fn push(connection: &Connection, name: &str, revision: u64) {
        let service = ServiceKey::new("", "", name);
        let list = List { service, rest: revision.to_string().into(), since: Millis(revision) };
        connection.push(Millis(revision), Arc::new(list));
    }

    fn next(connection: &Connection) -> Option<(u64, u64)> {
        match connection.next(Millis(0), Waker::noop()) {
            Some(Some(Outgoing::Push(id, list))) => {
                Some((id, std::str::from_utf8(&list.rest).unwrap().parse().unwrap()))
            }
            _ => None,
        }
    }

    #[test]
    fn n207_the_id_is_made_of_time_address_and_port() {
        assert_eq!(&*connection().id, "1700000000000_10.0.0.9_55123");
        let mapped = Connection::new(Millis(1), "[::ffff:10.0.0.9]:1".parse().unwrap(), Source::Sdk);
        assert_eq!(&*mapped.id, "1_10.0.0.9_1");
    }

    #[test]
    fn a_slow_receiver_gets_the_newest_state_once_per_service() {
        let connection = connection();
        for revision in 1..=1_000 {
            push(&connection, "a", revision);
            push(&connection, "b", revision);
        }
        assert_eq!(next(&connection), Some((1, 1_000)));
        assert_eq!(next(&connection), Some((2, 1_000)));
        assert_eq!(next(&connection), None);
    }

    #[test]
    fn n264_n229_ids_are_distinct_and_answered_once() {
        let connection = connection();
        push(&connection, "a", 1);
        push(&connection, "b", 1);
        let (first, second) = (next(&connection).unwrap().0, next(&connection).unwrap().0);
        assert_ne!(first, second);
        assert!(connection.acknowledged(first).is_some());
        assert!(connection.acknowledged(first).is_none());
        assert!(connection.acknowledged(99).is_none());
        assert_eq!(connection.overdue(Millis(5_000), Millis(5_000)).len(), 1);
        assert!(connection.acknowledged(second).is_none());
    }

    #[test]
    fn n218_a_second_setup_changes_nothing() {
        let connection = connection();
        assert!(connection.register(Setup { agent: "a".into(), ..Setup::default() }));
        assert!(!connection.register(Setup { agent: "b".into(), ..Setup::default() }));
        assert_eq!(&*connection.setup().unwrap().agent, "a");
    }

    #[test]
    fn who_takes_nothing_is_disconnected() {
        let connection = connection();
        for _ in 0..=QUEUE {
            connection.send(Millis(0), Message::Asked(Question::Detection));
        }
        assert!(connection.close.is_cancelled());
    }

    #[test]
    fn a_stream_that_takes_nothing_for_300_s_is_stuck_and_one_that_takes_is_not() {
        let connection = connection();
        assert!(!connection.is_stuck(Millis(9_000_000)));
        push(&connection, "a", 1_000);
        push(&connection, "a", 200_000);
        push(&connection, "b", 200_000);
        assert!(!connection.is_stuck(Millis(301_000)) && connection.is_stuck(Millis(301_001)));
        next(&connection).unwrap();
        assert!(!connection.is_stuck(Millis(300_000)) && connection.is_stuck(Millis(300_001)));
        next(&connection).unwrap();
        assert!(!connection.is_stuck(Millis(9_000_000)));
    }

    #[test]
    fn words_of_clients_are_cut_and_addresses_are_read_whole() {
        assert_eq!((&*word("abc"), word(&"ä".repeat(1_000)).chars().count()), ("abc", LONGEST_WORD));
        let there = Elsewhere { ip: "10.0.0.2".into(), port: "8848".into() };
        assert_eq!(Elsewhere::parse(" 10.0.0.2:8848"), Some(there));
        assert!(["", ":1", "a", "a:b", "a:70000"].iter().all(|text| Elsewhere::parse(text).is_none()));
    }
}
