//! What silence leads to: unhealthy, removed, forgotten.

use super::distro::Word;
use super::{Effect, Naming, Timer};
use crate::ids::{ClientId, ServiceKey};
use crate::instance::{BEAT_TIMEOUT, DELETE_TIMEOUT, Instance, KEY_BEAT_TIMEOUT, KEY_DELETE_TIMEOUT, timing};
use crate::persist::{Command, RowKey};
use crate::time::Millis;

/// A client without publications is forgotten after this silence, in milliseconds.
/// Source: Nacos `EphemeralIpPortClientManager` (the delete timeout).
const IDLE_SUBSCRIBER: Millis = DELETE_TIMEOUT;
/// Any ip:port client is forgotten after this silence, in milliseconds.
/// Source: Nacos `nacos.naming.client.expired.time`.
const IDLE_PUBLISHER: Millis = Millis::from_secs(180);
/// How often expired metadata is looked for, in milliseconds.
/// Source: Nacos `nacos.naming.clean.expired-metadata.interval`.
const SWEEP: Millis = Millis::from_secs(5);
/// The first look for empty services comes this part of an interval after the first service (Nacos: 30 of 60 s).
const FIRST_CLEAN_DIVISOR: u64 = 2;

impl Naming {
    /// Notes that an ip:port client spoke; the first word starts its idle timer.
    pub(super) fn see(&mut self, now: Millis, id: &ClientId) {
        self.arm_idle(now, id);
        self.registry.client(now, id).0.here = true;
    }

    /// The client is made if it is new, with its idle timer.
    pub(super) fn arm_idle(&mut self, now: Millis, id: &ClientId) {
        let (_, new) = self.registry.client(now, id);
        if new && matches!(id, ClientId::Address { ephemeral: true, .. }) {
            self.wheel.insert(now + IDLE_SUBSCRIBER, Timer::Idle(id.clone()));
        }
    }

    /// Starts the beat timer of a publication, or moves it forward when its times became shorter.
    pub(super) fn expect_beat(&mut self, now: Millis, client: &ClientId, service: &ServiceKey) {
        if !matches!(client, ClientId::Address { ephemeral: true, .. }) || !self.judges(client) {
            return;
        }
        let Some(publication) = self.registry.publication(client, service) else { return };
        let Some(instance) = publication.instances.first().cloned() else { return };
        let last = publication.last_beat;
        let armed = publication.beat_due;
        let due = self.beat_deadline(now, last, service, &instance);
        if armed.is_none_or(|armed| armed > due || armed < now)
            && let Some(publication) = self.registry.publication(client, service)
        {
            publication.beat_due = Some(due);
            self.wheel.insert(due, Timer::Beat(due, client.clone(), service.clone()));
        }
    }

    /// Timeout and removal of an instance: overlay first, then published metadata, then default (N099).
    pub(super) fn silence_limits(&self, service: &ServiceKey, instance: &Instance) -> (Millis, Millis) {
        let overlay = self.registry.overlays.get(service).and_then(|all| all.get(&instance.metadata_id()));
        let pick = |key, default| {
            let over = overlay.and_then(|o| timing(&o.metadata, key));
            over.or_else(|| timing(&instance.metadata, key)).unwrap_or(default)
        };
        (pick(KEY_BEAT_TIMEOUT, BEAT_TIMEOUT), pick(KEY_DELETE_TIMEOUT, DELETE_TIMEOUT))
    }

    /// When something next happens to an instance that stays silent.
    fn beat_deadline(&self, now: Millis, last: Millis, service: &ServiceKey, instance: &Instance) -> Millis {
        let (unhealthy, removed) = self.silence_limits(service, instance);
        let after = |limit: Millis| last + limit + Millis(1);
        let next = [(instance.healthy, unhealthy), (self.options.expire_instance, removed)];
        let next = next.into_iter().filter(|(applies, _)| *applies).map(|(_, limit)| after(limit)).min();
        // Nothing left to happen: look again later, the instance may become healthy meanwhile.
        next.unwrap_or(now + unhealthy).max(last)
    }

    /// A publication's beat timer fired: it may have beaten meanwhile, be late, or be lost.
    pub(super) fn beat_due(&mut self, now: Millis, at: Millis, client: &ClientId, service: &ServiceKey) {
        let Some(publication) = self.registry.publication(client, service) else { return };
        if publication.beat_due != Some(at) {
            return;
        }
        publication.beat_due = None;
        if !self.judges(client) {
            return; // it is armed again when this node becomes its judge
        }
        let Some(publication) = self.registry.publication(client, service) else { return };
        let Some(instance) = publication.instances.first().cloned() else { return };
        let silent = now.since(publication.last_beat);
        let (unhealthy, removed) = self.silence_limits(service, &instance);
        if self.switches.health_check_enabled {
            if silent > removed && self.options.expire_instance {
                tracing::info!(%service, %client, silent_ms = silent.0, "instance removed: no beat");
                self.registry.unpublish(now, client, service);
                self.changed(now, service);
                self.wrote(now, client, service, Word::Node);
                return;
            }
            if silent > unhealthy && instance.healthy {
                tracing::info!(%service, %client, silent_ms = silent.0, "instance unhealthy: no beat");
                if let Some(publication) = self.registry.publication(client, service) {
                    publication.set_healthy(false);
                }
                self.changed(now, service);
                self.wrote(now, client, service, Word::Node);
            }
        }
        self.wait_for_beat(now, client, service);
    }

    fn wait_for_beat(&mut self, now: Millis, client: &ClientId, service: &ServiceKey) {
        let Some(publication) = self.registry.publication(client, service) else { return };
        let Some(instance) = publication.instances.first().cloned() else { return };
        let last = publication.last_beat;
        let mut due = self.beat_deadline(now, last, service, &instance);
        if due <= now {
            due = now + SWEEP; // checks are switched off: ask again when Nacos would
        }
        if let Some(publication) = self.registry.publication(client, service) {
            publication.beat_due = Some(due);
        }
        self.wheel.insert(due, Timer::Beat(due, client.clone(), service.clone()));
    }

    /// An ip:port client has been silent for a while: forget it when that is long enough.
    pub(super) fn idle_due(&mut self, now: Millis, id: &ClientId) {
        let Some(client) = self.registry.clients.get(id) else { return };
        let silent = now.since(client.last_seen);
        let (last_seen, publishes) = (client.last_seen, !client.services.is_empty());
        let limit = if publishes { IDLE_PUBLISHER } else { IDLE_SUBSCRIBER };
        if publishes && !self.judges(id) {
            self.wheel.insert(now + limit, Timer::Idle(id.clone()));
        } else if silent >= limit {
            self.disconnect(now, id);
        } else {
            let due = last_seen + limit;
            self.wheel.insert(due, Timer::Idle(id.clone()));
        }
    }

    /// Forgets a client that has nothing any more.
    pub(super) fn drop_empty_client(&mut self, id: &ClientId) {
        let empty =
            |client: &super::registry::Client| client.services.is_empty() && client.subscriptions.is_empty();
        if self.registry.clients.get(id).is_some_and(empty) {
            self.registry.clients.remove(id);
        }
    }

    /// The cleaner of empty services, and the sweeper of metadata that outlived what it describes.
    pub(super) fn housekeeping(&mut self, now: Millis) {
        let interval = self.options.empty_service_interval;
        let first = Millis(interval.0 / FIRST_CLEAN_DIVISOR);
        if now >= *self.clean_at.get_or_insert(now + first) {
            self.clean_at = Some(now + interval);
            self.clean_empty(now);
        }
        let sweep = Millis(SWEEP.0.min(self.options.metadata_expiry.0.max(1)));
        if now >= *self.sweep_at.get_or_insert(now + sweep) {
            self.sweep_at = Some(now + sweep);
            self.sweep_orphans(now);
        }
    }

    fn clean_empty(&mut self, now: Millis) {
        let expiry = self.options.empty_service_expiry;
        let expired = |key: &&crate::ServiceKey| {
            let since = self.registry.services.get(key).and_then(|service| service.empty_since);
            since.is_some_and(|since| now.since(since) >= expiry)
        };
        let expired: Vec<ServiceKey> = self.registry.empty.iter().filter(expired).cloned().collect();
        for service in expired {
            self.drop_service(&service);
            if self.registry.metadata.contains_key(&service) {
                self.orphans.insert(RowKey::Service(service.clone()), now);
            }
            self.find_orphan_overlays(now, &service);
        }
    }

    /// Notes overlays whose instance is not there, and forgets the note when it is back.
    pub(super) fn find_orphan_overlays(&mut self, now: Millis, service: &ServiceKey) {
        let Some(overlays) = self.registry.overlays.get(service) else { return };
        let snapshot = self.registry.services.get(service).and_then(|s| s.snapshot.as_ref());
        let instances = snapshot.map_or(&[][..], |snapshot| &snapshot.instances);
        let present: std::collections::HashSet<String> = instances.iter().map(|i| i.metadata_id()).collect();
        for id in overlays.keys() {
            let row = RowKey::Overlay(service.clone(), id.clone());
            if present.contains(id) {
                self.orphans.remove(&row);
            } else {
                self.orphans.entry(row).or_insert(now);
            }
        }
    }

    /// Proposes to remove what has been an orphan for long enough. Proposed again after the same time, should
    /// the proposal have failed.
    fn sweep_orphans(&mut self, now: Millis) {
        let expiry = self.options.metadata_expiry;
        let services = &self.registry.services;
        self.orphans
            .retain(|row, _| !matches!(row, RowKey::Service(service) if services.contains_key(service)));
        for (row, since) in &mut self.orphans {
            if now.since(*since) < expiry {
                continue;
            }
            *since = now;
            let command = match row.clone() {
                RowKey::Service(service) => Command::DeleteService { service },
                RowKey::Overlay(service, metadata_id) => {
                    Command::SetOverlay { service, metadata_id, overlay: None }
                }
                RowKey::Instance(..) | RowKey::Switches | RowKey::Plugin(..) => continue,
            };
            self.out.push(Effect::Propose(command));
        }
    }
}
