//! What an earlier run of this node last knew, shown until its providers had the time to come back.
//!
//! After a start nobody is registered until clients have noticed and done it again. Until then, for
//! [`Options::restart_hold`] at most, readers and subscribers are shown the ephemeral instances that were there
//! before. They belong to nobody: no client owns one, no beat or check keeps it, no member is sent it, and numbers
//! of registered instances do not count it. One that registers takes the place of its remembered twin; one that
//! is deregistered goes; what is left when the hold is over goes, and subscribers are told.
//!
//! In a cluster this counts only when all members start at once: a node that has loaded the data of one that served
//! all the time forgets what it remembered. What one member forgets because it is deregistered, others may show until
//! the hold is over.
//!
//! [`Options::restart_hold`]: super::Options::restart_hold

use super::{Effect, Naming};
use crate::ids::{ClientId, ServiceKey};
use crate::instance::Instance;
use crate::time::Millis;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// ip, port and cluster: what tells instances of a service apart.
type Place = (Arc<str>, u16, Arc<str>);

/// Remembered instances by service. Empty when the hold is over, and then it costs nothing to ask.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    services: HashMap<ServiceKey, BTreeMap<Place, Arc<Instance>>>,
}

impl Remembered {
    pub(super) fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// Whether there is one in `service`.
    pub(super) fn has(&self, service: &ServiceKey) -> bool {
        self.services.contains_key(service)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.services.values().map(BTreeMap::len).sum()
    }

    /// Those of a service.
    pub(super) fn of(&self, service: &ServiceKey) -> impl Iterator<Item = &Arc<Instance>> {
        self.services.get(service).into_iter().flat_map(BTreeMap::values)
    }

    fn add(&mut self, service: &ServiceKey, instance: Instance) {
        let all = self.services.entry(service.clone()).or_default();
        all.insert(place(&instance), Arc::new(instance));
    }

    /// `client` published `instances`: their twins go. A client of an address has one instance there, so that a
    /// twin may have been in another cluster; connections are told apart by the cluster, too.
    pub(super) fn returned(&mut self, client: &ClientId, service: &ServiceKey, instances: &[Arc<Instance>]) {
        for instance in instances {
            let Some(all) = self.services.get_mut(service) else { return };
            match client {
                ClientId::Connection(_) => drop(all.remove(&place(instance))),
                ClientId::Address { .. } => drop(take_address(all, &instance.ip, instance.port)),
            }
            self.drop_if_empty(service);
        }
    }

    /// Takes out what is at `ip:port` of a service; answers whether there was something.
    fn take(&mut self, service: &ServiceKey, ip: &str, port: u16) -> bool {
        let Some(all) = self.services.get_mut(service) else { return false };
        let found = take_address(all, &ip.into(), port);
        self.drop_if_empty(service);
        found
    }

    /// Takes out all of a service.
    pub(super) fn drop_service(&mut self, service: &ServiceKey) {
        self.services.remove(service);
    }

    fn drop_if_empty(&mut self, service: &ServiceKey) {
        if self.services.get(service).is_some_and(BTreeMap::is_empty) {
            self.services.remove(service);
        }
    }
}

fn place(instance: &Instance) -> Place {
    (instance.ip.clone(), instance.port, instance.cluster.clone())
}

/// Takes out what is at `ip:port`, in whichever cluster.
fn take_address(all: &mut BTreeMap<Place, Arc<Instance>>, ip: &Arc<str>, port: u16) -> bool {
    let from: Place = (ip.clone(), port, "".into());
    let here =
        all.range(from..).map(|(place, _)| place).take_while(|place| place.0 == *ip && place.1 == port);
    let here: Vec<Place> = here.cloned().collect();
    here.iter().for_each(|place| drop(all.remove(place)));
    !here.is_empty()
}

impl Naming {
    /// Shows the ephemeral instances that an earlier run of this node last knew, until they come back or the hold
    /// after the start is over. To be called before anybody registers.
    pub fn remember(&mut self, now: Millis, lists: impl IntoIterator<Item = (ServiceKey, Vec<Instance>)>) {
        if now >= self.hold_until() {
            return;
        }
        for (service, instances) in lists {
            if self.is_ephemeral(&service) == Some(false) {
                continue;
            }
            for instance in instances {
                self.registry.remembered.add(&service, Instance { ephemeral: true, ..instance });
            }
            self.changed(now, &service);
        }
    }

    /// Takes a remembered instance out because somebody deregistered it. Its list may become empty by that, which
    /// is news, and not held.
    pub fn forget(&mut self, now: Millis, service: &ServiceKey, ip: &str, port: u16) {
        if !self.registry.remembered.take(service, ip, port) {
            return;
        }
        if self.is_ephemeral(service) != Some(false) {
            self.registry.service(now, service, true).ever_published = true;
            self.changed(now, service);
        }
    }

    /// The hold is over: who is not back has gone.
    pub(super) fn forget_all(&mut self, now: Millis) {
        if self.registry.remembered.is_empty() {
            return;
        }
        let instances = self.registry.remembered.count();
        let left = std::mem::take(&mut self.registry.remembered);
        tracing::info!(
            services = left.services.len(),
            instances,
            "not shown any more: they did not come back"
        );
        for service in left.services.into_keys() {
            if !self.registry.services.contains_key(&service) {
                self.out.push(Effect::Unpublish(service.clone()));
            }
            self.changed(now, &service);
        }
    }
}
