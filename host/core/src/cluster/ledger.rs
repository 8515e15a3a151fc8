//! The newest version of every publication that this node knows of, those that were removed included.

use super::owner::{NodeId, mix};
use super::record::{Gone, Key};
use super::version::Version;
use crate::time::Millis;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

/// How long a removal is remembered, in milliseconds: longer than any message can be under way, and longer than
/// a node that was cut off keeps what it cannot hear (180 s).
pub const TOMBSTONE_KEPT: Millis = Millis::from_secs(600);
/// Most tombstones; past it the oldest go early.
const MOST_TOMBSTONES: usize = 1_000_000;
/// Parts into which the publications of a writer are divided when digests differ.
pub const BUCKETS: usize = 256;

/// Sum of a set of publications, with their versions: equal sets have equal digests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// how many
    pub count: u64,
    /// their hashes, by exclusive or
    pub hash: u64,
}

/// What is known of one publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// its newest version
    pub version: Version,
    /// why it was removed; none while it is there
    pub gone: Option<Gone>,
}

#[derive(Debug)]
struct Sums {
    whole: Digest,
    buckets: Box<[u64; BUCKETS]>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: BTreeMap<Key, Entry>,
    sums: BTreeMap<NodeId, Sums>,
    /// removals in the order in which this node learnt of them
    tombstones: VecDeque<(Millis, Key, Version)>,
}

impl Ledger {
    /// What is known of `key`.
    pub fn get(&self, key: &Key) -> Option<Entry> {
        self.entries.get(key).copied()
    }

    /// Whether `version` of `key` is news.
    pub fn is_news(&self, key: &Key, version: Version) -> bool {
        self.entries.get(key).is_none_or(|known| known.version < version)
    }

    /// Puts a version in place of the former one. Answers false, and changes nothing, when it is not newer.
    pub fn put(&mut self, now: Millis, key: &Key, version: Version, gone: Option<Gone>) -> bool {
        if !self.is_news(key, version) {
            return false;
        }
        let former = self.entries.insert(key.clone(), Entry { version, gone });
        if let Some(Entry { version: former, gone: None }) = former {
            self.count(key, former, false);
        }
        match gone {
            None => self.count(key, version, true),
            Some(_) => self.tombstones.push_back((now, key.clone(), version)),
        }
        true
    }

    fn count(&mut self, key: &Key, version: Version, add: bool) {
        let hash = key.hash();
        let weight = mix(hash ^ mix(version.stamp ^ mix(version.node.0)));
        let fresh = || Sums { whole: Digest::default(), buckets: Box::new([0; BUCKETS]) };
        let sums = self.sums.entry(version.node).or_insert_with(fresh);
        sums.whole.hash ^= weight;
        sums.buckets[bucket(hash)] ^= weight;
        sums.whole.count = if add { sums.whole.count + 1 } else { sums.whole.count.saturating_sub(1) };
        if sums.whole.count == 0 {
            self.sums.remove(&version.node);
        }
    }

    /// Forgets old tombstones.
    pub fn purge(&mut self, now: Millis) {
        while let Some((buried, _, _)) = self.tombstones.front()
            && (now.since(*buried) >= TOMBSTONE_KEPT || self.tombstones.len() > MOST_TOMBSTONES)
        {
            let Some((_, key, version)) = self.tombstones.pop_front() else { return };
            if self.entries.get(&key).is_some_and(|entry| entry.version == version) {
                self.entries.remove(&key);
            }
        }
    }

    /// When the oldest tombstone is forgotten.
    pub fn next_purge(&self) -> Option<Millis> {
        self.tombstones.front().map(|(buried, ..)| *buried + TOMBSTONE_KEPT)
    }

    /// How many publications are there, and how many tombstones are kept.
    pub fn len(&self) -> (usize, usize) {
        let live = self.sums.values().map(|sums| usize::try_from(sums.whole.count).unwrap_or(usize::MAX));
        (live.sum(), self.tombstones.len())
    }

    /// Who wrote anything that is there.
    pub fn writers(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.sums.keys().copied()
    }

    /// Of what `writer` wrote last and is there.
    pub fn digest(&self, writer: NodeId) -> Digest {
        self.sums.get(&writer).map(|sums| sums.whole).unwrap_or_default()
    }

    /// The same for each bucket.
    pub fn buckets(&self, writer: NodeId) -> Vec<u64> {
        self.sums.get(&writer).map_or_else(|| vec![0; BUCKETS], |sums| sums.buckets.to_vec())
    }

    /// Everything in `buckets` that `writer` wrote last and is there. Looks at all publications.
    pub fn versions(&self, writer: NodeId, buckets: &BTreeSet<u8>) -> Vec<(Key, Version)> {
        let wanted = |(key, entry): &(&Key, &Entry)| {
            entry.version.node == writer
                && entry.gone.is_none()
                && u8::try_from(bucket(key.hash())).is_ok_and(|bucket| buckets.contains(&bucket))
        };
        self.entries.iter().filter(wanted).map(|(key, entry)| (key.clone(), entry.version)).collect()
    }

    /// All keys from the one after `after`, tombstones included.
    pub fn keys_after<'a>(&'a self, after: Option<&'a Key>) -> impl Iterator<Item = &'a Key> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries.range((from, Bound::Unbounded)).map(|(key, _)| key)
    }

    /// All publications that are there and that `writer` wrote last.
    pub fn written_by(&self, writer: NodeId) -> Vec<Key> {
        let wanted = |(_, entry): &(&Key, &Entry)| entry.version.node == writer && entry.gone.is_none();
        self.entries.iter().filter(wanted).map(|(key, _)| key.clone()).collect()
    }
}

fn bucket(hash: u64) -> usize {
    usize::try_from(hash % BUCKETS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ClientId, ServiceKey};
    use proptest::prelude::*;

    fn key(port: u16) -> Key {
        Key::new(&ClientId::address("10.0.0.5", port, true), &ServiceKey::new("", "", "orders"))
    }

    fn version(stamp: u64, node: u64) -> Version {
        Version { stamp, node: NodeId(node) }
    }

    #[test]
    fn a_late_version_changes_nothing_also_after_a_removal() {
        let mut ledger = Ledger::default();
        assert!(ledger.put(Millis(0), &key(1), version(5, 1), None));
        assert!(ledger.put(Millis(0), &key(1), version(9, 2), Some(Gone::Withdrawn)));
        assert!(!ledger.put(Millis(0), &key(1), version(5, 1), None));
        assert!(!ledger.put(Millis(0), &key(1), version(9, 2), None));
        assert_eq!(ledger.get(&key(1)).unwrap().gone, Some(Gone::Withdrawn));
        assert_eq!(ledger.len(), (0, 1));
    }

    #[test]
    fn a_tombstone_goes_after_its_time_and_only_its_own_entry_with_it() {
        let mut ledger = Ledger::default();
        ledger.put(Millis(0), &key(1), version(1, 1), Some(Gone::Silent));
        ledger.put(Millis(1), &key(2), version(2, 1), Some(Gone::Silent));
        ledger.put(Millis(2), &key(2), version(3, 1), None);
        assert_eq!(ledger.next_purge(), Some(TOMBSTONE_KEPT));
        ledger.purge(TOMBSTONE_KEPT + Millis(1));
        assert_eq!(ledger.get(&key(1)), None);
        assert!(ledger.get(&key(2)).is_some());
        assert_eq!(ledger.next_purge(), None);
    }

    proptest! {
        /// Versions of the same publications in two orders, some twice.
        #[test]
        fn the_order_of_arrival_does_not_matter(
            writes in proptest::collection::vec((0u16..12, 1u64..40, 1u64..4), 1..80),
            order in proptest::collection::vec(0usize..1_000, 80),
        ) {
            let put = |ledger: &mut Ledger, (port, stamp, node): (u16, u64, u64)| {
                let gone = (stamp % 3 == 0).then_some(Gone::Silent);
                ledger.put(Millis(0), &key(port), version(stamp, node), gone);
            };
            let (mut one, mut other) = (Ledger::default(), Ledger::default());
            writes.iter().for_each(|write| put(&mut one, *write));
            let mut shuffled: Vec<_> = writes.iter().zip(&order).collect();
            shuffled.sort_by_key(|(_, place)| **place);
            shuffled.iter().chain(shuffled.iter().take(7)).for_each(|(write, _)| put(&mut other, **write));
            prop_assert_eq!(&one.entries, &other.entries);
            for writer in [1, 2, 3].map(NodeId) {
                prop_assert_eq!(one.digest(writer), other.digest(writer));
                prop_assert_eq!(one.buckets(writer), other.buckets(writer));
                let all: BTreeSet<u8> = (0..=255).collect();
                prop_assert_eq!(one.versions(writer, &all).len() as u64, one.digest(writer).count);
            }
            prop_assert_eq!(one.writers().collect::<Vec<_>>(), other.writers().collect::<Vec<_>>());
        }

        #[test]
        fn a_difference_shows_in_the_digest_and_in_its_bucket(ports in proptest::collection::btree_set(0u16..500, 1..60)) {
            let (mut one, mut other) = (Ledger::default(), Ledger::default());
            for port in &ports {
                one.put(Millis(0), &key(*port), version(u64::from(*port) + 1, 1), None);
                other.put(Millis(0), &key(*port), version(u64::from(*port) + 1, 1), None);
            }
            other.put(Millis(0), &key(1_000), version(9_999, 1), None);
            prop_assert_ne!(one.digest(NodeId(1)), other.digest(NodeId(1)));
            let (a, b) = (one.buckets(NodeId(1)), other.buckets(NodeId(1)));
            let differ: BTreeSet<u8> = (0..=255).filter(|at| a[usize::from(*at)] != b[usize::from(*at)]).collect();
            prop_assert_eq!(differ.len(), 1);
            prop_assert!(other.versions(NodeId(1), &differ).iter().any(|(found, _)| *found == key(1_000)));
        }
    }
}
