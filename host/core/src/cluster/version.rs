//! Versions of publications: what was written later counts, by a clock that never runs behind what it has seen.

use super::owner::NodeId;
use crate::time::Millis;
use serde::{Deserialize, Serialize};

/// Bits of a stamp below its milliseconds: 65,536 writes a millisecond before stamps run ahead of the time.
const COUNTER_BITS: u32 = 16;
/// A stamp this far ahead of our own time is not believed, in milliseconds: a node whose clock is a day off
/// would otherwise win against every write of that day.
pub const AHEAD_MOST: Millis = Millis::from_secs(24 * 3600);

/// When and by whom a publication was written. Ordered; two writes never have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// a hybrid logical clock: milliseconds of the writer's clock, then a counter
    pub stamp: u64,
    /// who wrote
    pub node: NodeId,
}

impl Version {
    /// Whether no sane clock can have written it by now.
    pub fn is_of_the_future(&self, now: Millis) -> bool {
        self.stamp >> COUNTER_BITS > (now + AHEAD_MOST).0
    }
}

/// Hands out the versions of one node.
#[derive(Clone, Debug)]
pub struct Stamps {
    node: NodeId,
    last: u64,
}

impl Stamps {
    /// The versions of `node`.
    pub fn new(node: NodeId) -> Self {
        Self { node, last: 0 }
    }

    /// A version above all that were handed out or seen before.
    pub fn next(&mut self, now: Millis) -> Version {
        self.last = (self.last + 1).max(now.0 << COUNTER_BITS);
        Version { stamp: self.last, node: self.node }
    }

    /// Takes note of another node's version.
    pub fn saw(&mut self, version: Version) {
        self.last = self.last.max(version.stamp);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_write_has_a_higher_version_also_when_the_clock_lags() {
        let (mut ahead, mut behind) = (Stamps::new(NodeId(1)), Stamps::new(NodeId(2)));
        let first = ahead.next(Millis(5_000));
        assert!(ahead.next(Millis(5_000)) > first);
        behind.saw(first);
        assert!(behind.next(Millis(10)) > first);
    }

    #[test]
    fn two_nodes_never_write_the_same_version() {
        let at = Millis(7);
        assert_ne!(Stamps::new(NodeId(1)).next(at), Stamps::new(NodeId(2)).next(at));
    }

    #[test]
    fn a_clock_that_is_days_ahead_is_not_believed() {
        let now = Millis(1_700_000_000_000);
        assert!(!Stamps::new(NodeId(1)).next(now + Millis::from_secs(3600)).is_of_the_future(now));
        assert!(Stamps::new(NodeId(1)).next(now + Millis::from_secs(200_000)).is_of_the_future(now));
    }
}
