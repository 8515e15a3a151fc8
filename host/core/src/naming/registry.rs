//! Who published what: publications by service, and by client which services they are in. Changed together.

use super::effect::{Subscription, TargetId};
use super::remembered::Remembered;
use super::snapshot::ServiceSnapshot;
use crate::ids::{ClientId, ServiceKey};
use crate::instance::{Instance, Overlay};
use crate::service::ServiceMetadata;
use crate::time::Millis;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// How this node knows when a client last spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// it spoke to this node
    Here,
    /// it spoke to another node
    Relayed,
    /// not at all: a guess, made when this node became its judge
    Assumed,
}

/// What one client has in one service.
#[derive(Debug)]
pub(super) struct Publication {
    /// one, or several after a batch registration
    pub instances: Vec<Arc<Instance>>,
    /// last registration or beat
    pub last_beat: Millis,
    /// how that is known
    pub heard: Heard,
    /// the only beat timer of this publication that counts; none for those without beats
    pub beat_due: Option<Millis>,
    /// its active check
    pub target: Option<TargetId>,
}

impl Publication {
    pub(super) fn new(now: Millis, instances: Vec<Arc<Instance>>) -> Self {
        Self { instances, last_beat: now, heard: Heard::Here, beat_due: None, target: None }
    }

    /// Its client spoke to this node.
    pub(super) fn hear(&mut self, now: Millis) {
        self.last_beat = now;
        self.heard = Heard::Here;
    }

    /// Replaces the health of all its instances; answers whether that changed anything.
    pub(super) fn set_healthy(&mut self, healthy: bool) -> bool {
        let mut changed = false;
        for instance in &mut self.instances {
            if instance.healthy != healthy {
                Arc::make_mut(instance).healthy = healthy;
                changed = true;
            }
        }
        changed
    }
}

#[derive(Debug)]
pub(super) struct Service {
    pub ephemeral: bool,
    pub publications: BTreeMap<ClientId, Publication>,
    /// since when nobody publishes
    pub empty_since: Option<Millis>,
    /// whether anybody has published since this node started
    pub ever_published: bool,
    pub snapshot: Option<Arc<ServiceSnapshot>>,
}

#[derive(Debug)]
pub(super) struct Client {
    pub last_seen: Millis,
    /// whether it ever spoke to this node
    pub here: bool,
    pub services: HashSet<ServiceKey>,
    pub subscriptions: BTreeMap<ServiceKey, Arc<Subscription>>,
}

#[derive(Debug, Default)]
pub(super) struct Registry {
    pub services: HashMap<ServiceKey, Service>,
    pub clients: HashMap<ClientId, Client>,
    pub subscribers: HashMap<ServiceKey, BTreeMap<ClientId, Arc<Subscription>>>,
    /// stored metadata, also of services that are gone for now
    pub metadata: HashMap<ServiceKey, Arc<ServiceMetadata>>,
    pub overlays: HashMap<ServiceKey, BTreeMap<String, Overlay>>,
    /// services without publishers, for the cleaner
    pub empty: HashSet<ServiceKey>,
    /// instances that are shown without being registered
    pub remembered: Remembered,
}

impl Registry {
    /// The service, made now if it is new.
    pub(super) fn service(&mut self, now: Millis, key: &ServiceKey, ephemeral: bool) -> &mut Service {
        if !self.services.contains_key(key) {
            self.empty.insert(key.clone());
        }
        self.services.entry(key.clone()).or_insert_with(|| Service {
            ephemeral,
            publications: BTreeMap::new(),
            empty_since: Some(now),
            ever_published: false,
            snapshot: None,
        })
    }

    /// The client, made now if it is new, and seen now.
    pub(super) fn client(&mut self, now: Millis, id: &ClientId) -> (&mut Client, bool) {
        let new = !self.clients.contains_key(id);
        let client = self.clients.entry(id.clone()).or_insert_with(|| Client {
            last_seen: now,
            here: false,
            services: HashSet::new(),
            subscriptions: BTreeMap::new(),
        });
        client.last_seen = now;
        (client, new)
    }

    /// Puts a publication in place of the former one, which is given back.
    pub(super) fn publish(
        &mut self,
        now: Millis,
        id: &ClientId,
        key: &ServiceKey,
        ephemeral: bool,
        publication: Publication,
    ) -> Option<Publication> {
        if ephemeral {
            self.remembered.returned(id, key, &publication.instances);
        } else {
            self.remembered.drop_service(key);
        }
        let service = self.service(now, key, ephemeral);
        service.empty_since = None;
        service.ever_published = true;
        let former = service.publications.insert(id.clone(), publication);
        self.empty.remove(key);
        self.client(now, id).0.services.insert(key.clone());
        former
    }

    /// Takes a publication out.
    pub(super) fn unpublish(&mut self, now: Millis, id: &ClientId, key: &ServiceKey) -> Option<Publication> {
        let service = self.services.get_mut(key)?;
        let former = service.publications.remove(id)?;
        if service.publications.is_empty() {
            service.empty_since = Some(now);
            self.empty.insert(key.clone());
        }
        if let Some(client) = self.clients.get_mut(id) {
            client.services.remove(key);
        }
        Some(former)
    }

    pub(super) fn publication(&mut self, id: &ClientId, key: &ServiceKey) -> Option<&mut Publication> {
        self.services.get_mut(key)?.publications.get_mut(id)
    }

    /// `instance` as readers see it.
    pub(super) fn seen(&self, key: &ServiceKey, instance: &Arc<Instance>) -> Arc<Instance> {
        let overlay = self.overlays.get(key).and_then(|all| all.get(&instance.metadata_id()));
        overlay.map_or_else(|| instance.clone(), |overlay| Arc::new(overlay.apply(instance)))
    }

    /// A fresh snapshot of a service: overlays on, sorted, every ip:port:cluster once; remembered instances too.
    pub(super) fn snapshot(&self, key: &ServiceKey, revision: u64) -> Option<ServiceSnapshot> {
        let service = self.services.get(key);
        if service.is_none() && !self.remembered.has(key) {
            return None;
        }
        let ephemeral = service.is_none_or(|service| service.ephemeral);
        let published = service.into_iter().flat_map(|s| s.publications.values()).flat_map(|p| &p.instances);
        let published = published.chain(self.remembered.of(key).filter(|_| ephemeral));
        let mut instances: Vec<Arc<Instance>> = match self.overlays.get(key) {
            None => published.cloned().collect(),
            Some(_) => published.map(|instance| self.seen(key, instance)).collect(),
        };
        let order =
            |a: &Instance, b: &Instance| (&a.ip, a.port, &a.cluster).cmp(&(&b.ip, b.port, &b.cluster));
        instances.sort_by(|a, b| order(a, b));
        instances.dedup_by(|a, b| order(a, b).is_eq());
        Some(ServiceSnapshot {
            key: key.clone(),
            ephemeral,
            revision,
            metadata: self.metadata.get(key).cloned(),
            instances,
        })
    }
}
