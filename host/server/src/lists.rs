//! The list of one service as one reader gets it: queried, narrowed by a filter, encoded. One place for HTTP
//! replies, UDP pushes and gRPC, so that all of them agree.

use crate::filters::{Filters, Who};
use crate::naming::Published;
use crate::wire;
use bytes::Bytes;
use muster_core::ServiceKey;
use muster_core::naming::{Protection, Query, ServiceSnapshot};
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

    /// The list of a service as it is now; no hosts when nobody knows it.
    pub async fn hosts(&self, key: &ServiceKey, clusters: &str, healthy_only: bool, who: &Who<'_>) -> Hosts {
        let Some(found) = self.published.get(key) else { return (wire::no_hosts(), false) };
        let which = self.which(&found.snapshot, clusters, healthy_only, who).await;
        if which.is_none() && is_ordinary(clusters, healthy_only) {
            return found.hosts.get_or_init(|| wire::ordinary(&found.snapshot, self.protection)).clone();
        }
        self.encode(&found.snapshot, clusters, healthy_only, which.as_deref())
    }

    /// Which of the instances that a query finds this reader gets: ascending indices, none for all of them.
    pub async fn which(
        &self,
        snapshot: &Arc<ServiceSnapshot>,
        clusters: &str,
        healthy_only: bool,
        who: &Who<'_>,
    ) -> Option<Arc<[u32]>> {
        if !self.filters.narrows(&snapshot.key) {
            return None;
        }
        let query = self.query(clusters, healthy_only);
        self.filters.narrow(snapshot, &query, &snapshot.select(&query), who).await
    }

    /// Encodes the list; the ordinary one (all clusters, healthy or not, not narrowed) once per snapshot.
    pub fn encode(
        &self,
        snapshot: &Arc<ServiceSnapshot>,
        clusters: &str,
        healthy_only: bool,
        which: Option<&[u32]>,
    ) -> Hosts {
        let query = self.query(clusters, healthy_only);
        match which {
            None if is_ordinary(clusters, healthy_only) => self.ordinary(snapshot),
            None => wire::queried(snapshot, &query),
            Some(which) => {
                let selected = snapshot.select(&query);
                let chosen: Vec<_> =
                    which.iter().filter_map(|i| selected.instances.get(*i as usize).cloned()).collect();
                (wire::hosts(&snapshot.key, &chosen, selected.protected), selected.protected)
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

    fn query<'a>(&self, clusters: &'a str, healthy_only: bool) -> Query<'a> {
        Query { clusters, healthy_only, enabled_only: true, protection: self.protection }
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

fn is_ordinary(clusters: &str, healthy_only: bool) -> bool {
    clusters.trim().is_empty() && !healthy_only
}
