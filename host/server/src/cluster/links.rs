//! The connections that are up, by member.

use super::frame::{Answer, Call, Frame, Look};
use crate::rollout::Piece;
use muster_core::cluster::{Message, NodeId};
use muster_core::plugin::Outcome;
use muster_raft::{CallError, Carried, Transport};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Messages that wait for one member. Past it they are dropped: what matters is repeated by the rules.
pub(super) const QUEUE: usize = 256;
/// Calls of one member that are being answered at once. Past it they get no answer.
const CALLS: usize = 4_096;

/// One connection.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) id: NodeId,
    /// which start of that node it belongs to
    pub(super) life: u64,
    /// who opened it
    pub(super) initiator: NodeId,
    pub(super) frames: mpsc::Sender<Frame>,
    pub(super) closed: CancellationToken,
    /// room for calls that are being answered
    pub(super) calls: Arc<Semaphore>,
}

/// What went over the connections so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// members there is a connection to
    pub connected: usize,
    /// bytes that left, before they are sealed
    pub sent_bytes: u64,
    /// bytes that came, after they are opened
    pub received_bytes: u64,
    /// messages that no connection took
    pub dropped: u64,
}

/// See the module. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Links(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    links: Mutex<HashMap<NodeId, Link>>,
    /// calls of this node, and whom they were sent to
    waiting: Mutex<HashMap<u64, (NodeId, oneshot::Sender<Answer>)>>,
    calls: AtomicU64,
    dropped: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    loaded: Notify,
    changed: Notify,
}

impl Links {
    /// Hands a message over without waiting.
    pub fn send(&self, to: NodeId, message: Box<Message>) {
        let sent = self.get(to).is_some_and(|link| link.frames.try_send(Frame::Distro(message)).is_ok());
        if !sent {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// For metrics.
    pub fn counters(&self) -> LinkCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Inner { dropped, sent, received, .. } = &*self.0;
        LinkCounters {
            connected: self.map().len(),
            sent_bytes: read(sent),
            received_bytes: read(received),
            dropped: read(dropped),
        }
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.0.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.0.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The first load is over.
    pub fn loaded(&self) {
        self.0.loaded.notify_one();
    }

    /// Waits until it is.
    pub async fn until_loaded(&self) {
        self.0.loaded.notified().await;
    }

    /// Asks another member. Who asks may stop waiting at any time.
    pub(super) async fn call(&self, to: NodeId, body: Call, within: Duration) -> Result<Answer, CallError> {
        let link = self.get(to).ok_or(CallError::NotSent)?;
        let call = self.0.calls.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.waiting().insert(call, (to, sender));
        let _waits = Waits { links: self, call };
        link.frames.try_send(Frame::Call { call, body }).map_err(|_| CallError::NotSent)?;
        match timeout(within, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(CallError::NoAnswer),
        }
    }

    /// Has another member look at a target. None when it does not say.
    pub(crate) async fn look(&self, to: NodeId, look: Look, within: Duration) -> Option<Outcome> {
        match self.call(to, Call::Look(Box::new(look)), within).await {
            Ok(Answer::Look(outcome)) => Some(outcome),
            Ok(Answer::Report(_) | Answer::Raft(_) | Answer::File(_) | Answer::Versions(_)) | Err(_) => None,
        }
    }

    /// A part of a file of another member. None when it is not there, or it does not say.
    pub(crate) async fn file(&self, of: NodeId, name: &str, from: u64, within: Duration) -> Option<Piece> {
        match self.call(of, Call::File { name: name.to_owned(), from }, within).await {
            Ok(Answer::File(piece)) => piece,
            Ok(Answer::Report(_) | Answer::Raft(_) | Answer::Look(_) | Answer::Versions(_)) | Err(_) => None,
        }
    }

    /// How the versions of plugins are doing on another member, as its own API says it. None when it does not say.
    pub(crate) async fn versions(
        &self,
        of: NodeId,
        name: Option<&str>,
        within: Duration,
    ) -> Option<Vec<Value>> {
        match self.call(of, Call::Versions { name: name.map(str::to_owned) }, within).await {
            Ok(Answer::Versions(all)) => Some(all),
            Ok(Answer::Report(_) | Answer::Raft(_) | Answer::Look(_) | Answer::File(_)) | Err(_) => None,
        }
    }

    /// The members that there is a connection to.
    pub(crate) fn connected(&self) -> BTreeSet<u64> {
        self.map().keys().map(|id| id.0).collect()
    }

    /// An answer came.
    pub(super) fn answered(&self, from: NodeId, call: u64, answer: Answer) {
        let mut waiting = self.waiting();
        if waiting.get(&call).is_some_and(|(asked, _)| *asked == from)
            && let Some((_, sender)) = waiting.remove(&call)
        {
            // Who asked may have given up.
            let _ = sender.send(answer);
        }
    }

    /// Waits until a connection came or went.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    pub(super) fn get(&self, id: NodeId) -> Option<Link> {
        self.map().get(&id).cloned()
    }

    /// Takes a new connection in, unless there is a better one. Of two between the same nodes both ends keep the
    /// one that the lower id opened; a connection to a former life of the node is worth nothing.
    pub(super) fn admit(
        &self,
        this: NodeId,
        id: NodeId,
        life: u64,
        initiator: NodeId,
    ) -> Option<(Link, mpsc::Receiver<Frame>)> {
        let mut links = self.map();
        if let Some(known) = links.get(&id) {
            let better =
                known.life == life && known.initiator == this.min(id) && !known.closed.is_cancelled();
            if better && known.initiator != initiator {
                return None;
            }
            known.closed.cancel();
        }
        let (frames, waiting) = mpsc::channel(QUEUE);
        let calls = Arc::new(Semaphore::new(CALLS));
        let link = Link { id, life, initiator, frames, closed: CancellationToken::new(), calls };
        links.insert(id, link.clone());
        drop(links);
        self.0.changed.notify_one();
        Some((link, waiting))
    }

    /// The connection is over.
    pub(super) fn remove(&self, link: &Link) {
        link.closed.cancel();
        let mut links = self.map();
        if links.get(&link.id).is_some_and(|known| known.closed.is_cancelled()) {
            links.remove(&link.id);
        }
        drop(links);
        // Whatever was asked over it is not answered any more.
        self.waiting().retain(|_, (asked, _)| *asked != link.id);
        self.0.changed.notify_one();
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<u64, (NodeId, oneshot::Sender<Answer>)>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn map(&self) -> std::sync::MutexGuard<'_, HashMap<NodeId, Link>> {
        self.0.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport for Links {
    fn call(&self, target: u64, request: Box<RawValue>, within: Duration) -> Carried {
        let links = self.clone();
        Box::pin(async move {
            match links.call(NodeId(target), Call::Raft(request), within).await? {
                Answer::Raft(answer) => Ok(answer),
                Answer::Report(_) | Answer::Look(_) | Answer::File(_) | Answer::Versions(_) => {
                    Err(CallError::NoAnswer)
                }
            }
        })
    }
}

/// A call that somebody waits for.
struct Waits<'a> {
    links: &'a Links,
    call: u64,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.links.waiting().remove(&self.call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THIS: NodeId = NodeId(5);

    #[test]
    fn of_two_connections_the_one_of_the_lower_id_stays() {
        let links = Links::default();
        let (theirs, _) = links.admit(THIS, NodeId(3), 1, NodeId(3)).unwrap();
        assert!(links.admit(THIS, NodeId(3), 1, THIS).is_none());
        assert!(!theirs.closed.is_cancelled());
        let (ours, _) = links.admit(THIS, NodeId(9), 1, NodeId(9)).unwrap();
        let (better, _) = links.admit(THIS, NodeId(9), 1, THIS).unwrap();
        assert!(ours.closed.is_cancelled() && !better.closed.is_cancelled());
        links.remove(&ours);
        assert!(links.get(NodeId(9)).is_some(), "the end of the former one does not matter");
        links.remove(&better);
        assert!(links.get(NodeId(9)).is_none());
    }

    #[test]
    fn a_connection_of_a_new_life_replaces_any_of_the_former() {
        let links = Links::default();
        let (former, _) = links.admit(THIS, NodeId(9), 1, THIS).unwrap();
        assert!(links.admit(THIS, NodeId(9), 2, NodeId(9)).is_some());
        assert!(former.closed.is_cancelled());
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let links = Links::default();
        let _queue = links.admit(THIS, NodeId(9), 1, THIS).unwrap();
        for seq in 0..=QUEUE as u64 {
            links.send(NodeId(9), Box::new(Message::Ack { seq }));
        }
        links.send(NodeId(8), Box::new(Message::Ack { seq: 0 }));
        assert_eq!(links.counters().dropped, 2);
    }

    #[tokio::test]
    async fn a_call_is_answered_by_whom_it_was_sent_to_or_not_at_all() {
        let links = Links::default();
        let raw = || RawValue::from_string("1".into()).unwrap();
        let most = Duration::from_secs(30);
        assert_eq!(Transport::call(&links, 9, raw(), most).await.unwrap_err(), CallError::NotSent);
        let (link, mut queue) = links.admit(THIS, NodeId(9), 1, THIS).unwrap();
        let answer = |call, from| links.answered(NodeId(from), call, Answer::Raft(raw()));
        let (answered, ()) = tokio::join!(Transport::call(&links, 9, raw(), most), async {
            let Some(Frame::Call { call, .. }) = queue.recv().await else { panic!("a call") };
            answer(call, 8);
            answer(call, 9);
        });
        assert_eq!(answered.unwrap().get(), "1");
        // the connection ends: nobody waits for its deadline
        let (lost, ()) = tokio::join!(Transport::call(&links, 9, raw(), most), async {
            queue.recv().await.unwrap();
            links.remove(&link);
        });
        assert_eq!(lost.unwrap_err(), CallError::NoAnswer);
        assert!(links.waiting().is_empty());
    }
}
