//! What readers see: one immutable snapshot per service, replaced whole, read without a lock on the loop.

use bytes::Bytes;
use dashmap::DashMap;
use muster_core::ServiceKey;
use muster_core::naming::ServiceSnapshot;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// All services of this node.
#[derive(Debug, Default)]
pub struct Published {
    services: DashMap<ServiceKey, Arc<PublishedService>>,
    changes: AtomicU64,
}

/// A snapshot, with what was derived from it so far. Derived once, used by every reader.
#[derive(Debug)]
pub struct PublishedService {
    /// the service
    pub snapshot: Arc<ServiceSnapshot>,
    /// the encoded hosts of the ordinary query (all clusters, enabled ones, healthy or not), and whether the
    /// protection threshold was reached
    pub hosts: OnceLock<(Bytes, bool)>,
}

impl PublishedService {
    /// Nothing derived yet.
    pub fn new(snapshot: Arc<ServiceSnapshot>) -> Self {
        Self { snapshot, hosts: OnceLock::new() }
    }
}

impl Published {
    /// The service as it is now; none when nobody knows it.
    pub fn get(&self, key: &ServiceKey) -> Option<Arc<PublishedService>> {
        self.services.get(key).map(|entry| entry.value().clone())
    }

    /// All services, in no particular order.
    pub fn all(&self) -> Vec<Arc<PublishedService>> {
        self.services.iter().map(|entry| entry.value().clone()).collect()
    }

    /// All services of a namespace, sorted.
    pub fn of_namespace(&self, namespace: &str) -> Vec<Arc<PublishedService>> {
        let here = self.services.iter().filter(|entry| entry.key().namespace() == namespace);
        let mut found: Vec<_> = here.map(|entry| entry.value().clone()).collect();
        found.sort_by(|a, b| a.snapshot.key.cmp(&b.snapshot.key));
        found
    }

    /// Grows with every change, so that who looks from time to time knows whether there is something to see.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// How many services there are.
    pub fn len(&self) -> usize {
        self.services.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// Answers whether the service had instances before.
    pub(crate) fn publish(&self, snapshot: Arc<ServiceSnapshot>) -> bool {
        let key = snapshot.key.clone();
        let former = self.services.insert(key, Arc::new(PublishedService::new(snapshot)));
        self.changes.fetch_add(1, Ordering::Release);
        former.is_some_and(|former| !former.snapshot.instances.is_empty())
    }

    /// Answers whether the service had instances before.
    pub(super) fn remove(&self, key: &ServiceKey) -> bool {
        let former = self.services.remove(key);
        self.changes.fetch_add(1, Ordering::Release);
        former.is_some_and(|(_, former)| !former.snapshot.instances.is_empty())
    }
}
