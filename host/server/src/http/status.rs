//! Whether this node serves: what it computed of itself, and what an operator put in its place.

use arc_swap::ArcSwapOption;
use muster_core::switches::Switches;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The status of a node. Source: Nacos `ServerStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// still loading
    Starting,
    /// serving
    Up,
    /// refusing naming requests
    Down,
    /// refusing naming requests on an operator's word
    Paused,
    /// only changes
    WriteOnly,
    /// only reads
    ReadOnly,
}

const ALL: [Status; 6] =
    [Status::Starting, Status::Up, Status::Down, Status::Paused, Status::WriteOnly, Status::ReadOnly];

impl Status {
    /// Nacos's word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "STARTING",
            Self::Up => "UP",
            Self::Down => "DOWN",
            Self::Paused => "PAUSED",
            Self::WriteOnly => "WRITE_ONLY",
            Self::ReadOnly => "READ_ONLY",
        }
    }

    fn of_word(word: &str) -> Option<Self> {
        ALL.into_iter().find(|status| status.word() == word)
    }
}

/// The status of this node, shared between whoever knows it and the front ends.
#[derive(Debug, Default)]
pub struct NodeStatus {
    computed: AtomicU8,
    reason: ArcSwapOption<String>,
}

impl NodeStatus {
    /// Sets what the node computed of itself; `reason` says why it does not serve.
    pub fn set(&self, status: Status, reason: Option<String>) {
        let index = ALL.iter().position(|one| *one == status).unwrap_or_default();
        self.reason.store(reason.map(Arc::new));
        self.computed.store(u8::try_from(index).unwrap_or_default(), Ordering::Release);
    }

    /// What the node computed of itself: `STARTING` until it was set (N188).
    pub fn computed(&self) -> Status {
        ALL[usize::from(self.computed.load(Ordering::Acquire))]
    }

    /// What counts: the operator's word, else the node's own.
    pub fn effective(&self, switches: &Switches) -> Status {
        let given = switches.overridden_server_status.as_deref().and_then(Status::of_word);
        given.unwrap_or_else(|| self.computed())
    }

    /// Why the node does not serve, when that is known.
    pub fn reason(&self) -> Option<Arc<String>> {
        self.reason.load_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n187_n188_a_node_is_starting_until_it_says_otherwise_and_an_operator_overrides_it() {
        let status = NodeStatus::default();
        let mut switches = Switches::default();
        assert_eq!(status.effective(&switches), Status::Starting);
        status.set(Status::Up, None);
        assert_eq!(status.effective(&switches), Status::Up);
        switches.set("overriddenServerStatus", "READ_ONLY").unwrap();
        assert_eq!(status.effective(&switches), Status::ReadOnly);
        switches.set("overriddenServerStatus", "null").unwrap();
        assert_eq!(status.effective(&switches), Status::Up);
    }
}
