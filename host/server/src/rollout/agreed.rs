//! What all members have agreed on about the versions of plugins, as far as this node has seen the log.

use crate::plugins::Identity;
use arc_swap::ArcSwap;
use muster_core::rollout::Wanted;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// The rows, written by the naming loop in the order of the log. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Agreed(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    rows: ArcSwap<BTreeMap<Identity, Arc<Wanted>>>,
    changed: Notify,
}

impl Agreed {
    /// Takes a row over.
    pub(crate) fn put(&self, whom: Identity, wanted: Wanted) {
        let mut rows = BTreeMap::clone(&self.0.rows.load());
        rows.insert(whom, Arc::new(wanted));
        self.0.rows.store(Arc::new(rows));
        self.0.changed.notify_one();
    }

    pub(super) fn get(&self, whom: &Identity) -> Option<Arc<Wanted>> {
        self.0.rows.load().get(whom).cloned()
    }

    pub(super) fn all(&self) -> Arc<BTreeMap<Identity, Arc<Wanted>>> {
        self.0.rows.load_full()
    }

    /// Waits until a row changed since this was asked last. For one task.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }
}
