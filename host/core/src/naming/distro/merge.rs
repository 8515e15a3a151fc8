//! What another node's version of a publication changes here.

use super::Word;
use crate::cluster::{Gone, Key, NodeId, Record, State, Version};
use crate::ids::ClientId;
use crate::instance::Instance;
use crate::naming::Naming;
use crate::naming::registry::{Heard, Publication};
use crate::time::Millis;
use std::sync::Arc;

impl Naming {
    /// Takes the record over if it is news. One that is older than what is here is answered with the newer one.
    pub(super) fn merge(&mut self, now: Millis, from: NodeId, record: Record) {
        let Some(distro) = &mut self.distro else { return };
        let Record { key, version, state } = record;
        if version.is_of_the_future(now) {
            distro.counters.disbelieved += 1;
            tracing::error!(
                from = from.0,
                writer = version.node.0,
                "a record of the far future was not taken: are the clocks right?"
            );
            return;
        }
        distro.stamps.saw(version);
        if let Some(known) = distro.ledger.get(&key)
            && known.version >= version
        {
            if known.version > version
                && let Some(outbox) = distro.outboxes.get_mut(&from)
            {
                outbox.add(key);
            }
            return;
        }
        distro.counters.merged += 1;
        match state {
            State::Gone(why) => self.merge_gone(now, &key, version, why),
            State::Live(instances) => self.merge_live(now, &key, version, instances),
        }
    }

    fn merge_gone(&mut self, now: Millis, key: &Key, version: Version, why: Gone) {
        let object = why == Gone::Silent && self.hears(now, key);
        self.put(now, key, version, Some(why));
        if object {
            return self.object(now, key);
        }
        let Some(former) = self.registry.unpublish(now, &key.client, &key.service) else { return };
        tracing::debug!(client = %key.client, service = %key.service, ?why, "removed by another node");
        self.forget_target(&former);
        self.changed(now, &key.service);
        if self.registry.clients.get(&key.client).is_some_and(|client| !client.here) {
            self.drop_empty_client(&key.client);
        }
    }

    fn merge_live(&mut self, now: Millis, key: &Key, version: Version, instances: Vec<Arc<Instance>>) {
        if !key.client.is_ephemeral() {
            return; // persistent data are not Distro's (N337)
        }
        if self.is_a_ghost(key, version) {
            self.put(now, key, version, None);
            return self.write_gone(now, key);
        }
        let sick = !instances.is_empty() && instances.iter().all(|instance| !instance.healthy);
        let object = sick && self.hears(now, key) && matches!(key.client, ClientId::Address { .. });
        self.put(now, key, version, None);
        self.put_synced(now, key, instances, !sick);
        if object {
            if let Some(publication) = self.registry.publication(&key.client, &key.service) {
                publication.set_healthy(true);
            }
            self.object(now, key);
        }
    }

    /// A connection that another node lists as ours, and that we do not have: it ended while nobody could be told.
    fn is_a_ghost(&self, key: &Key, version: Version) -> bool {
        let Some(distro) = &self.distro else { return false };
        version.node == distro.id
            && distro.former_until.is_none()
            && distro.load.is_done()
            && matches!(key.client, ClientId::Connection(_))
            && !self.is_here(&key.client)
    }

    fn put(&mut self, now: Millis, key: &Key, version: Version, gone: Option<Gone>) {
        if let Some(distro) = &mut self.distro {
            distro.ledger.put(now, key, version, gone);
        }
    }

    /// `alive`: the record says that its client was heard, wherever.
    fn put_synced(&mut self, now: Millis, key: &Key, instances: Vec<Arc<Instance>>, alive: bool) {
        let Key { client, service } = key;
        self.arm_idle(now, client);
        let hears = self.hears(now, key);
        let known = self.registry.publication(client, service);
        let same = known.as_ref().is_some_and(|known| known.instances == instances);
        let (heard, last_beat, beat_due) = match known {
            Some(known) if hears || !alive => (known.heard, known.last_beat, known.beat_due),
            Some(known) => (Heard::Relayed, now, known.beat_due),
            None => (Heard::Relayed, now, None),
        };
        let publication = Publication { instances, heard, last_beat, beat_due, target: None };
        self.registry.publish(now, client, service, true, publication);
        if !same {
            self.changed(now, service);
        }
        self.expect_beat(now, client, service);
    }

    /// Puts this node's word over another's that a client is silent.
    fn object(&mut self, now: Millis, key: &Key) {
        if let Some(distro) = &mut self.distro {
            distro.counters.objections += 1;
            distro.write(now, key.clone(), Word::Node, true);
        }
        self.changed(now, &key.service);
    }

    /// Removes a publication by this node's own word.
    pub(super) fn write_gone(&mut self, now: Millis, key: &Key) {
        if let Some(former) = self.registry.unpublish(now, &key.client, &key.service) {
            self.forget_target(&former);
            self.changed(now, &key.service);
        }
        if !self.is_here(&key.client) {
            self.drop_empty_client(&key.client);
        }
        if let Some(distro) = &mut self.distro {
            distro.write(now, key.clone(), Word::Node, false);
        }
    }

    pub(super) fn is_here(&self, client: &ClientId) -> bool {
        self.registry.clients.get(client).is_some_and(|client| client.here)
    }

    /// Whether this node itself hears the client, so that nobody else can call it silent.
    fn hears(&self, now: Millis, key: &Key) -> bool {
        let service = self.registry.services.get(&key.service);
        let Some(publication) = service.and_then(|service| service.publications.get(&key.client)) else {
            return false;
        };
        match key.client {
            ClientId::Connection(_) => self.is_here(&key.client),
            ClientId::Address { .. } => {
                let Some(instance) = publication.instances.first() else { return false };
                let (unhealthy, _) = self.silence_limits(&key.service, instance);
                publication.heard == Heard::Here && now.since(publication.last_beat) <= unhealthy
            }
        }
    }
}
