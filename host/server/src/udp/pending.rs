//! Packets that wait for an acknowledgement: a bounded table in the order of sending.

use super::packet::Packet;
use muster_core::ServiceKey;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A packet to one receiver.
type Id = (SocketAddr, u64);

#[derive(Debug)]
struct Sent {
    packet: Arc<Packet>,
    service: ServiceKey,
    again: bool,
}

/// What else happened when a packet was noted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Noted {
    pub(super) replaced: u64,
    pub(super) given_up: u64,
}

/// What is due.
#[derive(Debug)]
pub(super) enum Due {
    /// the same packet again
    Again(SocketAddr, Arc<Packet>),
    /// silent twice
    GivenUp,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pending {
    most: usize,
    timeout: Duration,
    sent: HashMap<Id, Sent>,
    /// which packet holds the newest state of a service at a receiver
    newest: HashMap<(SocketAddr, ServiceKey), u64>,
    /// in the order of falling due, because the timeout is the same for all; may name packets that are gone
    order: VecDeque<(Instant, Id)>,
}

impl Pending {
    pub(super) fn new(most: usize, timeout: Duration) -> Self {
        Self { most, timeout, sent: HashMap::new(), newest: HashMap::new(), order: VecDeque::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.sent.len()
    }

    /// Notes a packet that is about to be sent. An older one for the same service and receiver is forgotten:
    /// sent again, it would tell of a state that is past.
    pub(super) fn sent(
        &mut self,
        now: Instant,
        to: SocketAddr,
        service: &ServiceKey,
        packet: Arc<Packet>,
    ) -> Noted {
        let mut noted = Noted::default();
        if let Some(older) = self.newest.insert((to, service.clone()), packet.key) {
            noted.replaced = u64::from(self.sent.remove(&(to, older)).is_some());
        }
        while self.sent.len() >= self.most {
            let Some((_, id)) = self.order.pop_front() else { break };
            noted.given_up += u64::from(self.remove(id.0, id.1));
        }
        let id = (to, packet.key);
        self.sent.insert(id, Sent { packet, service: service.clone(), again: false });
        self.line_up(now, id);
        noted
    }

    /// Forgets a packet; false when nobody waits for it any more.
    pub(super) fn remove(&mut self, from: SocketAddr, key: u64) -> bool {
        let Some(sent) = self.sent.remove(&(from, key)) else { return false };
        let place = (from, sent.service);
        if self.newest.get(&place) == Some(&key) {
            self.newest.remove(&place);
        }
        true
    }

    /// When to look again. May be too early, never too late.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.order.front().map(|(due, _)| *due)
    }

    /// Takes out one packet that is due.
    pub(super) fn due(&mut self, now: Instant) -> Option<Due> {
        while self.order.front().is_some_and(|(due, _)| *due <= now) {
            let (_, id) = self.order.pop_front()?;
            match self.sent.get_mut(&id) {
                None => {} // acknowledged or replaced
                Some(sent) if sent.again => {
                    self.remove(id.0, id.1);
                    return Some(Due::GivenUp);
                }
                Some(sent) => {
                    sent.again = true;
                    let packet = sent.packet.clone();
                    self.line_up(now, id);
                    return Some(Due::Again(id.0, packet));
                }
            }
        }
        None
    }

    fn line_up(&mut self, now: Instant, id: Id) {
        self.order.push_back((now + self.timeout, id));
        // Names of packets that are gone leave when they fall due; never let them outnumber the living.
        if self.order.len() > 64 + 2 * self.most.min(self.sent.len() * 2) {
            let sent = &self.sent;
            self.order.retain(|(_, id)| sent.contains_key(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn to(port: u16) -> SocketAddr {
        ([10, 0, 0, 9], port).into()
    }

    fn send(pending: &mut Pending, now: Instant, port: u16, service: &str, key: u64) -> Noted {
        let packet = Arc::new(Packet::new(key, b"{}"));
        pending.sent(now, to(port), &ServiceKey::new("", "", service), packet)
    }

    #[test]
    fn n200_silence_is_answered_with_the_same_packet_once() {
        let (mut pending, start) = (Pending::new(10, TIMEOUT), Instant::now());
        send(&mut pending, start, 1, "s", 7);
        assert!(pending.due(start + Duration::from_millis(9_999)).is_none());
        let first = pending.due(start + TIMEOUT);
        assert!(matches!(first, Some(Due::Again(address, packet)) if address == to(1) && packet.key == 7));
        assert!(pending.due(start + TIMEOUT).is_none());
        assert!(matches!(pending.due(start + 2 * TIMEOUT), Some(Due::GivenUp)));
        assert!(pending.due(start + 10 * TIMEOUT).is_none() && pending.len() == 0);
    }

    #[test]
    fn n198_an_acknowledgement_counts_once_and_only_from_its_receiver() {
        let (mut pending, start) = (Pending::new(10, TIMEOUT), Instant::now());
        send(&mut pending, start, 1, "s", 7);
        assert!(!pending.remove(to(2), 7) && !pending.remove(to(1), 8));
        assert!(pending.remove(to(1), 7) && !pending.remove(to(1), 7));
        assert!(pending.due(start + TIMEOUT).is_none());
    }

    #[test]
    fn a_newer_state_replaces_an_unanswered_older_one() {
        let (mut pending, start) = (Pending::new(10, TIMEOUT), Instant::now());
        send(&mut pending, start, 1, "s", 7);
        assert_eq!(send(&mut pending, start, 1, "other", 8), Noted::default());
        assert_eq!(send(&mut pending, start, 1, "s", 9), Noted { replaced: 1, given_up: 0 });
        let due: Vec<u64> = std::iter::from_fn(|| match pending.due(start + TIMEOUT)? {
            Due::Again(_, packet) => Some(packet.key),
            Due::GivenUp => None,
        })
        .collect();
        assert_eq!(due, [8, 9]);
    }

    #[test]
    fn a_full_table_gives_up_the_oldest_and_stays_bounded() {
        let (mut pending, start) = (Pending::new(3, TIMEOUT), Instant::now());
        let noted: Vec<u64> =
            (0..5).map(|port| send(&mut pending, start, port, "s", u64::from(port)).given_up).collect();
        assert_eq!((noted, pending.len()), (vec![0, 0, 0, 1, 1], 3));
        for key in 10..10_000 {
            send(&mut pending, start, 1, "s", key);
        }
        assert!(pending.order.len() < 200 && pending.newest.len() <= 5, "{}", pending.order.len());
    }
}
