//! What one member has not acknowledged yet: keys only, so that a slow member costs memory per publication and
//! always gets the newest version. One message at a time is under way.

use super::record::Key;
use crate::time::Millis;
use std::collections::BTreeSet;

/// Silence after which a sync is repeated, in milliseconds.
/// Source: Nacos `nacos.core.protocol.distro.data.sync.retryDelayMs`.
pub const SYNC_RETRY: Millis = Millis::from_secs(3);
/// Most keys that wait for one member. Past it they are dropped: verify finds what is missing.
pub const MOST_WAITING: usize = 200_000;

#[derive(Debug)]
struct Sent {
    seq: u64,
    keys: Vec<Key>,
    repeat_at: Millis,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: BTreeSet<Key>,
    sent: Option<Sent>,
    seq: u64,
    /// syncs that had to be repeated
    pub repeated: u64,
}

impl Outbox {
    /// Has `key` sent, in its newest version.
    pub fn add(&mut self, key: Key) {
        if self.waiting.len() >= MOST_WAITING {
            self.waiting.clear();
        }
        self.waiting.insert(key);
    }

    /// Whether everything was acknowledged.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_none()
    }

    /// How many keys are not acknowledged.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.sent.as_ref().map_or(0, |sent| sent.keys.len())
    }

    /// The next keys to send and their number, unless some are under way. `take` says how many more instances
    /// a key takes and answers false when the message is full.
    pub fn next(&mut self, now: Millis, mut take: impl FnMut(&Key) -> bool) -> Option<(u64, Vec<Key>)> {
        if self.sent.is_some() || self.waiting.is_empty() {
            return None;
        }
        let mut keys = Vec::new();
        while let Some(key) = self.waiting.pop_first() {
            if !take(&key) && !keys.is_empty() {
                self.waiting.insert(key);
                break;
            }
            keys.push(key);
        }
        self.seq += 1;
        self.sent = Some(Sent { seq: self.seq, keys: keys.clone(), repeat_at: now + SYNC_RETRY });
        Some((self.seq, keys))
    }

    /// The member has merged `seq`. Answers false for an answer that is late.
    pub fn acknowledged(&mut self, seq: u64) -> bool {
        let current = self.sent.as_ref().is_some_and(|sent| sent.seq == seq);
        if current {
            self.sent = None;
        }
        current
    }

    /// Puts what is under way for too long back into the line.
    pub fn tick(&mut self, now: Millis) {
        if self.sent.as_ref().is_some_and(|sent| sent.repeat_at <= now) {
            self.repeat();
        }
    }

    /// Puts what is under way back into the line: the member was lost and is back.
    pub fn repeat(&mut self) {
        if let Some(sent) = self.sent.take() {
            self.repeated += 1;
            self.waiting.extend(sent.keys);
        }
    }

    /// When [`Outbox::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.sent.as_ref().map(|sent| sent.repeat_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ClientId, ServiceKey};

    fn key(port: u16) -> Key {
        Key::new(&ClientId::address("10.0.0.5", port, true), &ServiceKey::new("", "", "orders"))
    }

    #[test]
    fn changes_behind_a_message_under_way_are_merged() {
        let mut outbox = Outbox::default();
        outbox.add(key(1));
        let (seq, keys) = outbox.next(Millis(0), |_| true).unwrap();
        assert_eq!(keys, [key(1)]);
        for _ in 0..5 {
            outbox.add(key(1));
            outbox.add(key(2));
        }
        assert_eq!(outbox.next(Millis(0), |_| true), None);
        assert!(outbox.acknowledged(seq) && !outbox.acknowledged(seq));
        assert_eq!(outbox.next(Millis(1), |_| true).unwrap().1, [key(1), key(2)]);
    }

    #[test]
    fn n344_what_is_not_acknowledged_is_sent_again_after_three_seconds() {
        let mut outbox = Outbox::default();
        outbox.add(key(1));
        let (first, _) = outbox.next(Millis(0), |_| true).unwrap();
        assert_eq!(outbox.next_deadline(), Some(SYNC_RETRY));
        outbox.tick(Millis(2_999));
        assert_eq!(outbox.next(Millis(2_999), |_| true), None);
        outbox.tick(SYNC_RETRY);
        let (second, keys) = outbox.next(SYNC_RETRY, |_| true).unwrap();
        assert_eq!(keys, [key(1)]);
        assert!(!outbox.acknowledged(first) && outbox.acknowledged(second) && outbox.is_empty());
    }

    #[test]
    fn a_full_message_leaves_the_rest_and_a_large_key_travels_alone() {
        let mut outbox = Outbox::default();
        (0..5).for_each(|port| outbox.add(key(port)));
        let mut room = 2;
        let mut take = |_: &Key| {
            room -= 1;
            room >= 0
        };
        assert_eq!(outbox.next(Millis(0), &mut take).unwrap().1.len(), 2);
        outbox.acknowledged(1);
        assert_eq!(outbox.next(Millis(0), |_| false).unwrap().1, [key(2)]);
    }

    #[test]
    fn a_member_that_takes_nothing_costs_a_bounded_amount() {
        let mut outbox = Outbox::default();
        for n in 0..=MOST_WAITING {
            outbox
                .add(Key::new(&ClientId::address(&format!("h{n}"), 1, true), &ServiceKey::new("", "", "s")));
        }
        assert_eq!(outbox.len(), 1);
    }
}
