//! What operators are shown.

use super::{Naming, ProbeState, Subscription};
use crate::health::{Origin, Profile};
use crate::ids::{ClientId, ServiceKey};
use crate::instance::Instance;
use crate::time::Millis;
use std::sync::Arc;

/// Numbers of the whole node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters {
    /// services
    pub services: usize,
    /// published instances
    pub instances: usize,
    /// subscriptions
    pub subscriptions: usize,
    /// clients of every kind
    pub clients: usize,
    /// clients that are connections
    pub connections: usize,
    /// ip:port clients with ephemeral instances or UDP subscriptions
    pub ephemeral_addresses: usize,
    /// ip:port clients with persistent instances
    pub persistent_addresses: usize,
    /// targets of active checks
    pub targets: usize,
    /// checks running now
    pub checks_running: usize,
    /// checks waiting for room
    pub checks_waiting: usize,
    /// targets that are held unhealthy because they flap
    pub damped: usize,
    /// how often one began to be held
    pub damped_total: u64,
    /// checks that were due while the former one still ran
    pub checks_overlapped: u64,
    /// how late checks started
    pub lateness: super::Lateness,
    /// pushes of empty lists held back because nobody has registered since the start
    pub held_empty_pushes: u64,
    /// services whose empty list is being held back now
    pub held_services: usize,
    /// instances that are shown because an earlier run of this node knew them, and that are not registered
    pub remembered: usize,
}

/// Who published an instance.
#[derive(Clone, Debug, PartialEq)]
pub struct PublisherView {
    /// the client
    pub client: ClientId,
    /// the service
    pub service: ServiceKey,
    /// what it published, without overlay
    pub instance: Arc<Instance>,
}

/// Why an instance has the health it has.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// as readers see it
    pub instance: Arc<Instance>,
    /// which checker is in force; none for an ephemeral instance
    pub checker: Option<String>,
    /// numbers of the check
    pub profile: Profile,
    /// where each comes from
    pub origins: Vec<Origin>,
    /// state of the check
    pub probe: Option<ProbeState>,
    /// whether this node is the one that checks or listens to it; what others see of it is not known here
    pub judged_here: bool,
    /// milliseconds since the last beat or registration
    pub silent: Millis,
    /// when this was so
    pub at: Millis,
}

impl Naming {
    /// Numbers of the whole node.
    pub fn counters(&self) -> Counters {
        let mut counters = Counters {
            services: self.registry.services.len(),
            instances: self.instance_count(),
            subscriptions: self.registry.subscribers.values().map(std::collections::BTreeMap::len).sum(),
            clients: self.registry.clients.len(),
            targets: self.probes.len(),
            checks_running: self.probes.running(),
            checks_waiting: self.probes.waiting(),
            damped: self.probes.held,
            damped_total: self.probes.holds,
            checks_overlapped: self.probes.overlaps,
            lateness: self.probes.lateness.clone(),
            held_empty_pushes: self.held_empty_pushes,
            held_services: self.held.len(),
            remembered: self.registry.remembered.count(),
            ..Counters::default()
        };
        for id in self.registry.clients.keys() {
            match id {
                ClientId::Connection(_) => counters.connections += 1,
                ClientId::Address { ephemeral: true, .. } => counters.ephemeral_addresses += 1,
                ClientId::Address { ephemeral: false, .. } => counters.persistent_addresses += 1,
            }
        }
        counters
    }

    fn instance_count(&self) -> usize {
        let publications = self.registry.services.values().flat_map(|service| service.publications.values());
        publications.map(|publication| publication.instances.len()).sum()
    }

    /// All clients, in no particular order.
    pub fn clients(&self) -> Vec<ClientId> {
        self.registry.clients.keys().cloned().collect()
    }

    /// When a client last spoke; none when there is no such client.
    pub fn last_seen(&self, client: &ClientId) -> Option<Millis> {
        self.registry.clients.get(client).map(|client| client.last_seen)
    }

    /// What a client published; none when there is no such client.
    pub fn published_by(&self, id: &ClientId) -> Option<Vec<PublisherView>> {
        let client = self.registry.clients.get(id)?;
        let views = client.services.iter().flat_map(|key| {
            let publication =
                self.registry.services.get(key).and_then(|service| service.publications.get(id));
            let instances = publication.map_or(&[][..], |publication| &publication.instances);
            instances.iter().map(|instance| view(id, key, instance))
        });
        Some(views.collect())
    }

    /// What a client subscribed to; none when there is no such client.
    pub fn subscribed_by(&self, id: &ClientId) -> Option<Vec<Arc<Subscription>>> {
        Some(self.registry.clients.get(id)?.subscriptions.values().cloned().collect())
    }

    /// Who publishes into a service.
    pub fn publishers(&self, service: &ServiceKey) -> Vec<PublisherView> {
        let Some(known) = self.registry.services.get(service) else { return Vec::new() };
        let each = known.publications.iter();
        each.flat_map(|(id, p)| p.instances.iter().map(|i| view(id, service, i))).collect()
    }

    /// Who subscribes to a service.
    pub fn subscribers(&self, service: &ServiceKey) -> Vec<Arc<Subscription>> {
        self.registry.subscribers.get(service).map(|all| all.values().cloned().collect()).unwrap_or_default()
    }

    /// Why the instance at `ip:port` has the health it has; none when there is none.
    pub fn explain(&self, now: Millis, service: &ServiceKey, ip: &str, port: u16) -> Option<Explanation> {
        let publications = &self.registry.services.get(service)?.publications;
        let here = |i: &Arc<Instance>| &*i.ip == ip && i.port == port;
        let (client, publication) = publications.iter().find(|(_, p)| p.instances.iter().any(here))?;
        let instance = self.registry.seen(service, publication.instances.iter().find(|i| here(i))?);
        let (profile, origins) = self.explain_profile(service, &instance.cluster);
        let settings = self.cluster_settings(service, &instance.cluster);
        Some(Explanation {
            checker: (!instance.ephemeral).then_some(settings.checker.kind),
            profile,
            origins,
            probe: publication.target.and_then(|id| self.probes.get(id)).map(|probe| probe.state.clone()),
            judged_here: self.judges(client),
            silent: now.since(publication.last_beat),
            at: now,
            instance,
        })
    }
}

fn view(client: &ClientId, service: &ServiceKey, instance: &Arc<Instance>) -> PublisherView {
    PublisherView { client: client.clone(), service: service.clone(), instance: instance.clone() }
}
