//! Who judges a client, and what becomes of clients when that changes.

use crate::cluster::{Key, NodeId, View, owner};
use crate::ids::ClientId;
use crate::naming::Naming;
use crate::naming::registry::Heard;
use crate::time::Millis;
use std::collections::{BTreeMap, BTreeSet};

/// Connections of a node that does not serve are forgotten after this long, in milliseconds (N339).
/// Source: Nacos `nacos.naming.client.expired.time`.
pub const CLIENT_EXPIRY: Millis = Millis::from_secs(180);
/// Time for the clients of a node that was restarted to come back and register again, in milliseconds; until
/// then their former connections stay listed, so that no list is short.
pub const FORMER_GRACE: Millis = Millis::from_secs(30);
/// How often both are looked for, in milliseconds. Source: Nacos `ConnectionBasedClientManager` (5 s).
const SWEEP_EVERY: Millis = Millis::from_secs(5);

impl Naming {
    /// The member that judges the silence of an address; none for connections and for a node that is alone.
    pub(super) fn owner_of(&self, client: &ClientId) -> Option<NodeId> {
        let distro = self.distro.as_ref()?;
        match client {
            ClientId::Address { address, .. } => owner::owner(&distro.ring, address),
            ClientId::Connection(_) => None,
        }
    }

    /// Up to `count` other members that serve, in the order in which they would judge `client`.
    pub(in crate::naming) fn others_for(&self, client: &ClientId, count: usize) -> Vec<NodeId> {
        let (Some(distro), ClientId::Address { address, .. }) = (self.distro.as_ref(), client) else {
            return Vec::new();
        };
        let ranked = owner::ranked(&distro.ring, address);
        ranked.into_iter().filter(|node| *node != distro.id).take(count).collect()
    }

    /// Whether this node judges the silence of `client`.
    pub(in crate::naming) fn judges(&self, client: &ClientId) -> bool {
        let Some(distro) = &self.distro else { return true };
        self.owner_of(client).is_none_or(|owner| owner == distro.id)
    }

    /// The members are now as `view` says. Clients of which this node becomes the judge get their full time
    /// again, since their beats went elsewhere; those that it no longer judges are handed over with their age.
    pub fn set_view(&mut self, now: Millis, view: View) {
        let Some(distro) = &mut self.distro else { return };
        let ring = view.ring(distro.id);
        let former = std::mem::replace(&mut distro.ring, ring.clone());
        distro.outboxes.retain(|peer, _| view.others.contains_key(peer));
        for peer in view.others.keys() {
            distro.outboxes.entry(*peer).or_default();
        }
        distro.view = view;
        distro.verify_at.get_or_insert(now + super::VERIFY_EVERY);
        distro.sweep_at.get_or_insert(now + SWEEP_EVERY);
        self.note_absent(now);
        if ring != former {
            self.change_judges(now, &former, &ring);
        }
    }

    fn change_judges(&mut self, now: Millis, former: &BTreeSet<NodeId>, ring: &BTreeSet<NodeId>) {
        let Some(this) = self.distro.as_ref().map(|distro| distro.id) else { return };
        let (mut taken, mut given) = (Vec::new(), Vec::new());
        for (id, client) in &self.registry.clients {
            let ClientId::Address { address, ephemeral: true } = id else { continue };
            let was = owner::owner(former, address) == Some(this);
            let is = owner::owner(ring, address) == Some(this);
            let keys = client.services.iter().map(|service| Key::new(id, service));
            match (was, is) {
                (false, true) => taken.extend(keys),
                (true, false) => given.extend(keys),
                _ => {}
            }
        }
        taken.iter().for_each(|key| self.take_over(now, key));
        let entries = given.iter().filter_map(|key| self.hand_over(now, key)).collect();
        self.renew(entries);
    }

    fn take_over(&mut self, now: Millis, key: &Key) {
        let Some(publication) = self.registry.publication(&key.client, &key.service) else { return };
        let Some(instance) = publication.instances.first().cloned() else { return };
        let (last, heard) = (publication.last_beat, publication.heard);
        let (unhealthy, _) = self.silence_limits(&key.service, &instance);
        if heard != Heard::Here || now.since(last) > unhealthy {
            if let Some(publication) = self.registry.publication(&key.client, &key.service) {
                publication.last_beat = now;
                publication.heard = Heard::Assumed;
            }
            self.registry.client(now, &key.client);
        }
        self.expect_beat(now, &key.client, &key.service);
    }

    fn hand_over(&mut self, now: Millis, key: &Key) -> Option<(Key, Millis)> {
        let publication = self.registry.publication(&key.client, &key.service)?;
        publication.beat_due = None;
        Some((key.clone(), now.since(publication.last_beat)))
    }

    /// Others heard clients that this node judges.
    pub(super) fn renewed(&mut self, now: Millis, heard: Vec<(Key, Millis)>) {
        for (Key { client, service }, age) in heard {
            let at = now - age;
            let Some(publication) = self.registry.publication(&client, &service) else { continue };
            if publication.heard == Heard::Assumed || at > publication.last_beat {
                publication.last_beat = at;
                publication.heard = Heard::Relayed;
                if let Some(known) = self.registry.clients.get_mut(&client) {
                    known.last_seen = known.last_seen.max(at);
                }
                self.expect_beat(now, &client, &service);
            }
        }
    }

    /// Notes since when writers have not served.
    fn note_absent(&mut self, now: Millis) {
        let Some(distro) = &mut self.distro else { return };
        let away = |writer: &NodeId| *writer != distro.id && !distro.view.serves(*writer);
        let away: BTreeSet<NodeId> = distro.ledger.writers().filter(away).collect();
        let since = |writer: &NodeId| distro.absent.get(writer).copied().unwrap_or(now);
        distro.absent = away.iter().map(|writer| (*writer, since(writer))).collect::<BTreeMap<_, _>>();
    }

    pub(super) fn sweep_due(&mut self, now: Millis) {
        let Some(distro) = &mut self.distro else { return };
        if distro.sweep_at.is_none_or(|at| at > now) {
            return;
        }
        distro.sweep_at = Some(now + SWEEP_EVERY);
        self.note_absent(now);
        self.forget_connections(now);
        self.forget_former(now);
    }

    /// Forgets the connections of members that have not served for long. One of those that do serve does it
    /// for all.
    fn forget_connections(&mut self, now: Millis) {
        let Some(distro) = &self.distro else { return };
        let long =
            |(writer, since): (&NodeId, &Millis)| (now.since(*since) >= CLIENT_EXPIRY).then_some(*writer);
        let long: Vec<NodeId> = distro.absent.iter().filter_map(long).collect();
        let keys = long.iter().flat_map(|writer| distro.ledger.written_by(*writer));
        let mine = |key: &Key| match &key.client {
            ClientId::Connection(id) => owner::owner(&distro.ring, id) == Some(distro.id),
            ClientId::Address { .. } => false,
        };
        for key in keys.filter(mine).collect::<Vec<_>>() {
            tracing::info!(client = %key.client, service = %key.service, "instance removed: its node is gone");
            self.write_gone(now, &key);
        }
    }

    /// Forgets the connections of this node's former life whose clients have not come back.
    fn forget_former(&mut self, now: Millis) {
        let Some(distro) = &mut self.distro else { return };
        if distro.former_until.is_none_or(|until| until > now) {
            return;
        }
        distro.former_until = None;
        let keys = distro.ledger.written_by(distro.id);
        for key in keys {
            if matches!(key.client, ClientId::Connection(_)) && !self.is_here(&key.client) {
                self.write_gone(now, &key);
            }
        }
    }
}
