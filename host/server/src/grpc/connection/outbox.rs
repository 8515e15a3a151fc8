//! What is waiting to be sent to a connection, and what was sent and is not yet acknowledged.

use super::Elsewhere;
use crate::grpc::payload::Payload;
use bytes::Bytes;
use muster_core::{Millis, ServiceKey};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

/// Messages other than service pushes that may wait; one more closes the connection. All patterns of a node with
/// all their services make 1,000.
pub(super) const QUEUE: usize = 4_096;

/// The messages of one connection. Bounded: a place for each service, and a short queue.
#[derive(Debug, Default)]
pub(super) struct Outbox {
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
pub(in crate::grpc) enum Message {
    /// sent as it is, nothing is answered
    Plain(Payload),
    /// sent with an id, of which the answer is awaited
    Asked(Question),
}

/// A message whose answer is awaited.
#[derive(Clone, Debug)]
pub(in crate::grpc) enum Question {
    /// is anybody there?
    Detection,
    /// part of a fuzzy watch
    Watch(Arc<crate::grpc::fuzzy::WatchMessage>),
    /// please go elsewhere; to any other server when none is named
    Reset(Option<Elsewhere>),
}

/// A service as it is sent to all subscribers that get the same list: encoded once, shared.
#[derive(Debug)]
pub(in crate::grpc) struct List {
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
pub(in crate::grpc) struct Sent {
    /// what it was
    pub what: SentKind,
    /// when it was handed over
    pub at: Millis,
    /// when the change happened that it tells of
    pub since: Millis,
}

/// What was sent.
#[derive(Clone, Debug)]
pub(in crate::grpc) enum SentKind {
    /// a service
    Service(ServiceKey),
    /// a detection
    Detection,
    /// part of a fuzzy watch
    Watch(Arc<crate::grpc::fuzzy::WatchMessage>),
    /// a reset
    Reset,
}

/// The next thing to send.
#[derive(Debug)]
pub(in crate::grpc) enum Outgoing {
    /// as it is
    Plain(Payload),
    /// with an id
    Asked(u64, Question),
    /// a service, with an id
    Push(u64, Arc<List>),
}

impl Outbox {
    /// Queues a message; false when there are thousands already.
    pub(super) fn send(&mut self, now: Millis, message: Message) -> bool {
        if self.closed {
            return true;
        }
        if self.queue.len() >= QUEUE {
            return false;
        }
        self.queue.push_back(message);
        self.filled(now);
        true
    }

    /// Puts the newest state of a service in its place.
    pub(super) fn push(&mut self, now: Millis, list: Arc<List>) {
        if self.closed {
            return;
        }
        let key = list.service.clone();
        let since = self.pushes.get(&key).map_or(list.since, |waiting| waiting.since);
        if self.pushes.insert(key.clone(), Waiting { list, since }).is_none() {
            self.due.push_back(key);
        }
        self.filled(now);
    }

    /// The next thing to send; remembers whom to wake when there is none. None after a close.
    pub(super) fn next(&mut self, now: Millis, waker: &Waker) -> Option<Option<Outgoing>> {
        if self.closed {
            return Some(None);
        }
        if let Some(next) = self.take(now) {
            return Some(Some(next));
        }
        self.waker = Some(waker.clone());
        None
    }

    /// Completes the push `id`; none when nobody waits for it.
    pub(super) fn acknowledged(&mut self, id: u64) -> Option<Sent> {
        self.unacknowledged.remove(&id)
    }

    /// Takes out the pushes that nobody acknowledged within `patience`.
    pub(super) fn overdue(&mut self, now: Millis, patience: Millis) -> Vec<Sent> {
        if self.unacknowledged.values().all(|sent| now.since(sent.at) < patience) {
            return Vec::new();
        }
        let late = self.unacknowledged.extract_if(.., |_, sent| now.since(sent.at) >= patience);
        late.map(|(_, sent)| sent).collect()
    }

    /// Since when something waits of which nothing was taken.
    pub(super) fn blocked(&self) -> Option<Millis> {
        self.blocked
    }

    /// Ends the stream and forgets what was waiting.
    pub(super) fn shut(&mut self) {
        self.queue = VecDeque::new();
        self.due = VecDeque::new();
        self.pushes = HashMap::new();
        self.unacknowledged = BTreeMap::new();
        self.closed = true;
        self.wake();
    }

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
