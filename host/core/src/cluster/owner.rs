//! Which member judges a client: rendezvous hashing over the members that serve.
//!
//! Every member and client together have a weight; the member with the highest owns the client. When a member
//! comes or goes, only its own share moves.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Identity of a node, kept in its data directory: it outlives restarts and changes of address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The other members as this node sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// all that were ever reached and are still in the list; true for those that serve (UP or SUSPICIOUS)
    pub others: BTreeMap<NodeId, bool>,
}

impl View {
    /// Whether `node` is another member that serves.
    pub fn serves(&self, node: NodeId) -> bool {
        self.others.get(&node).is_some_and(|serves| *serves)
    }

    /// This node and the others that serve.
    pub fn ring(&self, this: NodeId) -> BTreeSet<NodeId> {
        let serving = self.others.iter().filter(|(_, serves)| **serves).map(|(id, _)| *id);
        serving.chain([this]).collect()
    }
}

/// Who of `ring` owns `tag`; none for an empty ring.
pub fn owner(ring: &BTreeSet<NodeId>, tag: &str) -> Option<NodeId> {
    let tag = hash(tag.as_bytes());
    ring.iter().copied().max_by_key(|node| (mix(tag ^ mix(node.0)), *node))
}

/// `ring` in the order in which its members would own `tag`: the owner first.
pub fn ranked(ring: &BTreeSet<NodeId>, tag: &str) -> Vec<NodeId> {
    let tag = hash(tag.as_bytes());
    let mut ranked: Vec<NodeId> = ring.iter().copied().collect();
    ranked.sort_by_key(|node| std::cmp::Reverse((mix(tag ^ mix(node.0)), *node)));
    ranked
}

/// The same on every node and in every release: FNV-1a, then a finalizer that spreads it over all bits.
pub fn hash(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

/// The finalizer of splitmix64.
pub fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tags() -> Vec<String> {
        (0..3_000).map(|n| format!("10.{}.{}.7:{}", n % 7, n % 250, 1_000 + n)).collect()
    }

    #[test]
    fn n323_members_with_the_same_list_agree_and_share_about_evenly() {
        let ring: BTreeSet<NodeId> = [11, 22, 33].map(NodeId).into();
        let mut shares = BTreeMap::new();
        for tag in tags() {
            *shares.entry(owner(&ring, &tag).unwrap()).or_insert(0) += 1;
        }
        assert_eq!(shares.len(), 3);
        assert!(shares.values().all(|share| (800..1_200).contains(share)), "{shares:?}");
        assert_eq!(owner(&BTreeSet::new(), "x"), None);
    }

    #[test]
    fn placement_is_part_of_the_protocol() {
        let ring: BTreeSet<NodeId> = [1, 2, 3, 4, 5].map(NodeId).into();
        let tags = ["a", "10.0.0.1:8848", "10.0.0.5:8080", "192.168.1.10:8080", "10.0.0.9:1", "h:2"];
        assert_eq!(tags.map(|tag| owner(&ring, tag).unwrap().0), [4, 4, 4, 2, 2, 4]);
        assert_eq!(hash(b"a"), 0x5f29_c2aa_dd9b_8527);
        for tag in tags {
            let ranked = ranked(&ring, tag);
            assert_eq!((ranked.first().copied(), ranked.len()), (owner(&ring, tag), 5));
        }
    }

    proptest! {
        #[test]
        fn a_change_of_members_moves_only_the_share_of_the_one_that_changed(
            ids in proptest::collection::btree_set(1u64..u64::MAX, 2..9), pick in 0usize..8,
        ) {
            let ring: BTreeSet<NodeId> = ids.into_iter().map(NodeId).collect();
            let gone = *ring.iter().nth(pick % ring.len()).unwrap();
            let rest: BTreeSet<NodeId> = ring.iter().copied().filter(|id| *id != gone).collect();
            for tag in tags().iter().step_by(17) {
                let before = owner(&ring, tag).unwrap();
                if before != gone {
                    prop_assert_eq!(owner(&rest, tag), Some(before));
                }
            }
        }
    }
}
