//! The list of one service as one reader gets it: queried, narrowed by a filter, encoded. One place for HTTP
//! replies, UDP pushes and gRPC, so that all of them agree.

use crate::filters::{FilterExplained, Filters, Which, Who};
use crate::naming::Published;
use crate::wire;
use bytes::Bytes;
use muster_core::ServiceKey;
use muster_core::naming::{Judged, Protection, Query, Selected, ServiceSnapshot};
use std::sync::Arc;

/// Makes lists. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lists {
    published: Arc<Published>,
    filters: Filters,
    protection: Protection,
}

/// Hosts as [`wire::hosts`] writes them, and whether the protection threshold was reached.
pub type Hosts = (Bytes, bool);

impl Lists {
    /// Over what is published, narrowed by `filters`.
    pub fn new(published: Arc<Published>, filters: Filters, protection: Protection) -> Self {
        Self { published, filters, protection }
    }

    /// The query for the enabled instances of some clusters.
    pub fn query<'a>(&self, clusters: &'a str, healthy_only: bool) -> Query<'a> {
        Query { clusters, healthy_only, enabled_only: true, protection: self.protection }
    }

    /// The encoded list of a service as it is now; no hosts when nobody knows it. The ordinary one (all clusters,
    /// healthy or not, not narrowed) is encoded once per snapshot.
    pub async fn hosts(&self, key: &ServiceKey, clusters: &str, healthy_only: bool, who: &Who<'_>) -> Hosts {
        let Some(found) = self.published.get(key) else { return (wire::no_hosts(), false) };
        let query = self.query(clusters, healthy_only);
        if self.filters.narrows(key) {
            let selected = self.select(&found.snapshot, &query, who).await;
            return (wire::hosts(key, &selected.instances, selected.protected), selected.protected);
        }
        if clusters.trim().is_empty() && !healthy_only {
            return found.hosts.get_or_init(|| wire::ordinary(&found.snapshot, self.protection)).clone();
        }
        wire::queried(&found.snapshot, &query)
    }

    /// What `query` finds, narrowed for `who`.
    pub async fn select(
        &self,
        snapshot: &Arc<ServiceSnapshot>,
        query: &Query<'_>,
        who: &Who<'_>,
    ) -> Selected {
        let selected = snapshot.select(query);
        if !self.filters.narrows(&snapshot.key) {
            return selected;
        }
        match self.filters.narrow(snapshot, query, &selected, who).await {
            Some(which) => chosen(&selected, &which),
            None => selected,
        }
    }

    /// Why `who` sees what it sees: the same steps, each with what it left.
    pub async fn explain(
        &self,
        snapshot: &Arc<ServiceSnapshot>,
        query: &Query<'_>,
        who: &Who<'_>,
    ) -> ListExplained {
        let selected = snapshot.select(query);
        let filter = self.filters.explain(snapshot, query, &selected, who).await;
        let which = filter.as_ref().and_then(|filter| filter.narrowed.which.as_deref());
        let shown = which.map_or_else(|| selected.clone(), |which| chosen(&selected, which));
        ListExplained { judged: snapshot.judge(query), shown, filter }
    }

    /// Which of the instances of some clusters a subscriber gets.
    pub async fn which(&self, snapshot: &Arc<ServiceSnapshot>, clusters: &str, who: &Who<'_>) -> Which {
        if !self.filters.narrows(&snapshot.key) {
            return None;
        }
        let query = self.query(clusters, false);
        self.filters.narrow(snapshot, &query, &snapshot.select(&query), who).await
    }

    /// Encodes what [`Lists::which`] answered, for all subscribers who get the same.
    pub fn encode(&self, snapshot: &Arc<ServiceSnapshot>, clusters: &str, which: Option<&[u32]>) -> Hosts {
        let query = self.query(clusters, false);
        match which {
            None if clusters.trim().is_empty() => self.ordinary(snapshot),
            None => wire::queried(snapshot, &query),
            Some(which) => {
                let chosen = chosen(&snapshot.select(&query), which);
                (wire::hosts(&snapshot.key, &chosen.instances, chosen.protected), chosen.protected)
            }
        }
    }

    /// What is published meanwhile, unless that is older or gone.
    pub fn newest(&self, snapshot: Arc<ServiceSnapshot>) -> Arc<ServiceSnapshot> {
        match self.published.get(&snapshot.key) {
            Some(found) if found.snapshot.revision > snapshot.revision => found.snapshot.clone(),
            _ => snapshot,
        }
    }

    fn ordinary(&self, snapshot: &Arc<ServiceSnapshot>) -> Hosts {
        match self.published.get(&snapshot.key) {
            Some(found) if found.snapshot.revision == snapshot.revision => {
                found.hosts.get_or_init(|| wire::ordinary(snapshot, self.protection)).clone()
            }
            _ => wire::ordinary(snapshot, self.protection),
        }
    }
}

/// See [`Lists::explain`].
#[derive(Clone, Debug)]
pub struct ListExplained {
    /// what the query does with each instance
    pub judged: Judged,
    /// what the subscriber is sent
    pub shown: Selected,
    /// what the filter did; none when no filter is bound to the service
    pub filter: Option<FilterExplained>,
}

fn chosen(selected: &Selected, which: &[u32]) -> Selected {
    let instance = |index: &u32| selected.instances.get(*index as usize).cloned();
    Selected { instances: which.iter().filter_map(instance).collect(), protected: selected.protected }
}
