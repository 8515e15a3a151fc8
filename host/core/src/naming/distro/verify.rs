//! Comparing what two nodes hold: a digest per writer, and details only where digests differ.
//!
//! A node answers for what it wrote itself. What was written by a node that does not serve is compared by all.

use crate::cluster::ledger::{BUCKETS, Digest};
use crate::cluster::message::MOST_KEYS;
use crate::cluster::outbox::Outbox;
use crate::cluster::{Key, Message, NodeId, Version};
use crate::naming::Naming;
use crate::time::Millis;
use std::collections::{BTreeMap, BTreeSet};

/// How often, in milliseconds. Source: Nacos `nacos.core.protocol.distro.data.verify.intervalMs`.
pub const VERIFY_EVERY: Millis = Millis::from_secs(5);

impl Naming {
    pub(super) fn verify_due(&mut self, now: Millis) {
        let Some(distro) = &mut self.distro else { return };
        if distro.verify_at.is_none_or(|at| at > now) {
            return;
        }
        distro.verify_at = Some(now + VERIFY_EVERY);
        if !distro.load.is_done() {
            return;
        }
        let absent = distro.ledger.writers().filter(|writer| !distro.view.serves(*writer));
        let writers: BTreeSet<NodeId> = absent.chain([distro.id]).collect();
        let writers: Vec<_> =
            writers.into_iter().map(|writer| (writer, distro.ledger.digest(writer))).collect();
        let settled = |peer: &NodeId| distro.outboxes.get(peer).is_some_and(Outbox::is_empty);
        let peers: Vec<NodeId> = distro.view.others.keys().copied().filter(settled).collect();
        for peer in peers {
            self.send(peer, Message::Verify { writers: writers.clone() });
        }
    }

    /// Another node says what it holds.
    pub(super) fn verify(&mut self, from: NodeId, writers: &[(NodeId, Digest)]) {
        let Some(distro) = &mut self.distro else { return };
        let differs = |(writer, digest): &&(NodeId, Digest)| distro.ledger.digest(*writer) != *digest;
        let differing: Vec<NodeId> = writers.iter().filter(differs).map(|(writer, _)| *writer).collect();
        for writer in differing {
            let Some(distro) = &mut self.distro else { return };
            distro.counters.differences += 1;
            let buckets = distro.ledger.buckets(writer);
            self.send(from, Message::Differ { writer, buckets });
        }
    }

    /// Another node holds something else of `writer`: what do we hold in those buckets?
    pub(super) fn differs(&mut self, from: NodeId, writer: NodeId, theirs: &[u64]) {
        let Some(distro) = &self.distro else { return };
        if theirs.len() != BUCKETS {
            return;
        }
        let ours = distro.ledger.buckets(writer);
        let differing: BTreeSet<u8> =
            (0..=u8::MAX).filter(|at| ours[usize::from(*at)] != theirs[usize::from(*at)]).collect();
        let mut by_bucket: BTreeMap<u8, Vec<(Key, Version)>> =
            differing.iter().map(|bucket| (*bucket, Vec::new())).collect();
        for (key, version) in distro.ledger.versions(writer, &differing) {
            let bucket = u8::try_from(key.hash() % BUCKETS as u64).unwrap_or_default();
            by_bucket.entry(bucket).or_default().push((key, version));
        }
        let (mut buckets, mut known) = (Vec::new(), Vec::new());
        for (bucket, keys) in by_bucket {
            if !known.is_empty() && known.len() + keys.len() > MOST_KEYS {
                let (buckets, known) = (std::mem::take(&mut buckets), std::mem::take(&mut known));
                self.send(from, Message::Versions { writer, buckets, known });
            }
            buckets.push(bucket);
            known.extend(keys);
        }
        if !buckets.is_empty() {
            self.send(from, Message::Versions { writer, buckets, known });
        }
    }

    /// All that another node holds of `writer` in some buckets: it gets what it lacks, and is asked for what we lack.
    pub(super) fn versions(
        &mut self,
        from: NodeId,
        writer: NodeId,
        buckets: &[u8],
        known: Vec<(Key, Version)>,
    ) {
        let Some(distro) = &mut self.distro else { return };
        let Some(outbox) = distro.outboxes.get_mut(&from) else { return };
        let buckets: BTreeSet<u8> = buckets.iter().copied().collect();
        let known: BTreeMap<Key, Version> = known.into_iter().collect();
        for (key, _) in distro.ledger.versions(writer, &buckets) {
            if !known.contains_key(&key) {
                outbox.add(key);
            }
        }
        let mut want = Vec::new();
        for (key, version) in known {
            match distro.ledger.get(&key) {
                Some(ours) if ours.version > version => outbox.add(key),
                Some(ours) if ours.version == version => {}
                _ => want.push(key),
            }
        }
        for keys in want.chunks(MOST_KEYS) {
            self.send(from, Message::Want { keys: keys.to_vec() });
        }
    }
}
