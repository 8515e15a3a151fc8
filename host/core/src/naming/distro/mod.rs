//! Distro: the ephemeral publications of this node and of the others, kept equal. See [`crate::cluster`].
//!
//! Every node takes every write. It stamps the write with a version and sends it to all others at once; what
//! they send is merged. Nothing here runs in a node that is alone.

mod judge;
mod load;
mod merge;
mod verify;

use super::{Effect, Naming};
use crate::cluster::ledger::Ledger;
use crate::cluster::message::{MOST_INSTANCES, MOST_KEYS, MOST_RECORDS};
use crate::cluster::outbox::Outbox;
use crate::cluster::version::Stamps;
use crate::cluster::{Gone, Key, Message, NodeId, Record, State, Version, View};
use crate::ids::{ClientId, ServiceKey};
use crate::time::Millis;
use load::Load;
use std::collections::{BTreeMap, BTreeSet};

pub use judge::{CLIENT_EXPIRY, FORMER_GRACE};
pub use load::LOAD_TIMEOUT;
pub use verify::VERIFY_EVERY;

/// How long beats are gathered for the member that judges their client, in milliseconds.
const RENEW_DELAY: Millis = Millis::from_secs(1);

/// What a node in a cluster knows beside its registry.
#[derive(Debug)]
pub(super) struct Distro {
    id: NodeId,
    view: View,
    ring: BTreeSet<NodeId>,
    stamps: Stamps,
    ledger: Ledger,
    outboxes: BTreeMap<NodeId, Outbox>,
    /// beats of clients that others judge: when they came
    heard: BTreeMap<Key, Millis>,
    renew_at: Option<Millis>,
    verify_at: Option<Millis>,
    load: Load,
    /// what it has was loaded from one that knew all there was
    whole: bool,
    /// writers that do not serve, since when
    absent: BTreeMap<NodeId, Millis>,
    sweep_at: Option<Millis>,
    /// until when connections of this node's former life may still be listed
    former_until: Option<Millis>,
    counters: DistroCounters,
}

/// Numbers of what was exchanged with other nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DistroCounters {
    /// publications that are there, of all nodes
    pub live: usize,
    /// removals that are remembered
    pub tombstones: usize,
    /// publications that others have not acknowledged
    pub unacknowledged: usize,
    /// syncs that were repeated
    pub repeated: u64,
    /// records that were news
    pub merged: u64,
    /// verifies that found a difference
    pub differences: u64,
    /// removals by others that this node objected to, because it hears the client
    pub objections: u64,
    /// records with a time so far ahead that they were not believed
    pub disbelieved: u64,
}

/// Whose word a write is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// the client's: it registered, deregistered, or closed its connection
    Client,
    /// this node's: it was silent for too long, or was heard again
    Node,
}

impl Word {
    fn gone(self) -> Gone {
        match self {
            Self::Client => Gone::Withdrawn,
            Self::Node => Gone::Silent,
        }
    }
}

impl Distro {
    fn new(id: NodeId) -> Self {
        Self {
            id,
            view: View::default(),
            ring: BTreeSet::from([id]),
            stamps: Stamps::new(id),
            ledger: Ledger::default(),
            outboxes: BTreeMap::new(),
            heard: BTreeMap::new(),
            renew_at: None,
            verify_at: None,
            load: Load::Waiting,
            whole: false,
            absent: BTreeMap::new(),
            sweep_at: None,
            former_until: None,
            counters: DistroCounters::default(),
        }
    }

    /// Stamps a write of this node and has it sent to all others. The word of a client carries the time. What
    /// a node finds out by itself comes right after what it found it out about: it never outdoes a word of the
    /// client that has not arrived yet.
    fn write(&mut self, now: Millis, key: Key, word: Word, there: bool) {
        let known = self.ledger.get(&key).map(|entry| entry.version);
        let version = match (word, known) {
            (Word::Node, Some(known)) => Version { stamp: known.stamp.saturating_add(1), node: self.id },
            (Word::Node, None) | (Word::Client, _) => self.stamps.next(now),
        };
        self.stamps.saw(version);
        self.ledger.put(now, &key, version, (!there).then_some(word.gone()));
        for outbox in self.outboxes.values_mut() {
            outbox.add(key.clone());
        }
    }

    fn next_deadline(&self) -> Option<Millis> {
        let outboxes = self.outboxes.values().filter_map(Outbox::next_deadline);
        let own =
            [self.renew_at, self.verify_at, self.sweep_at, self.load.deadline(), self.ledger.next_purge()];
        outboxes.chain(own.into_iter().flatten()).min()
    }
}

impl Naming {
    /// Makes this node a member of a cluster, under its id. To be called before anything is registered.
    pub fn join(&mut self, id: NodeId) {
        self.distro = Some(Box::new(Distro::new(id)));
    }

    /// Numbers of the exchange with other nodes; none for a node that is alone.
    pub fn distro_counters(&self) -> Option<DistroCounters> {
        let distro = self.distro.as_ref()?;
        let (live, tombstones) = distro.ledger.len();
        Some(DistroCounters {
            live,
            tombstones,
            unacknowledged: distro.outboxes.values().map(Outbox::len).sum(),
            repeated: distro.outboxes.values().map(|outbox| outbox.repeated).sum(),
            ..distro.counters.clone()
        })
    }

    /// Takes in what another node says.
    pub fn receive(&mut self, now: Millis, from: NodeId, message: Message) {
        if self.distro.is_none() {
            return;
        }
        match message {
            Message::Sync { seq, records } => {
                for record in records {
                    self.merge(now, from, record);
                }
                self.send(from, Message::Ack { seq });
            }
            Message::Ack { seq } => self.acknowledged(from, seq),
            Message::Verify { writers } => self.verify(from, &writers),
            Message::Differ { writer, buckets } => self.differs(from, writer, &buckets),
            Message::Versions { writer, buckets, known } => self.versions(from, writer, &buckets, known),
            Message::Want { keys } => self.wanted(from, keys),
            Message::Renew { heard } => self.renewed(now, heard),
            Message::Load { after } => self.page(now, from, after),
            Message::Page { after, records, next, complete } => {
                self.loaded_page(now, from, &after, records, next, complete);
            }
        }
    }

    /// The connection to `peer` is new: what it had not acknowledged on the former one is repeated at once.
    pub fn linked(&mut self, peer: NodeId) {
        if let Some(outbox) = self.distro.as_mut().and_then(|distro| distro.outboxes.get_mut(&peer)) {
            outbox.repeat();
        }
    }

    fn acknowledged(&mut self, from: NodeId, seq: u64) {
        if let Some(outbox) = self.distro.as_mut().and_then(|distro| distro.outboxes.get_mut(&from)) {
            outbox.acknowledged(seq);
        }
    }

    fn wanted(&mut self, from: NodeId, keys: Vec<Key>) {
        if let Some(outbox) = self.distro.as_mut().and_then(|distro| distro.outboxes.get_mut(&from)) {
            keys.into_iter().for_each(|key| outbox.add(key));
        }
    }

    fn send(&mut self, to: NodeId, message: Message) {
        self.out.push(Effect::Send { to, message: Box::new(message) });
    }

    /// A publication is now as the registry says.
    pub(super) fn wrote(&mut self, now: Millis, client: &ClientId, service: &ServiceKey, word: Word) {
        if self.distro.is_none() || !client.is_ephemeral() {
            return;
        }
        let there = self.registry.publication(client, service).is_some();
        if let Some(distro) = &mut self.distro {
            distro.write(now, Key::new(client, service), word, there);
        }
    }

    /// A client spoke without changing anything: whoever judges it is to know.
    pub(super) fn heard(&mut self, now: Millis, client: &ClientId, service: &ServiceKey) {
        if self.judges(client) {
            return;
        }
        if let Some(distro) = &mut self.distro {
            distro.heard.insert(Key::new(client, service), now);
            distro.renew_at.get_or_insert(now + RENEW_DELAY);
        }
    }

    /// The part of a tick that a cluster needs.
    pub(super) fn distro_due(&mut self, now: Millis) {
        let Some(distro) = &mut self.distro else { return };
        distro.outboxes.values_mut().for_each(|outbox| outbox.tick(now));
        distro.ledger.purge(now);
        if distro.renew_at.is_some_and(|at| at <= now) {
            self.pass_on(now);
        }
        self.verify_due(now);
        self.sweep_due(now);
        self.load_due(now);
    }

    pub(super) fn distro_deadline(&self) -> Option<Millis> {
        self.distro.as_ref()?.next_deadline()
    }

    /// Tells the members who judge them of the clients that this node heard.
    fn pass_on(&mut self, now: Millis) {
        let Some(distro) = &mut self.distro else { return };
        distro.renew_at = None;
        let heard = std::mem::take(&mut distro.heard);
        let entries = heard.into_iter().map(|(key, at)| (key, now.since(at))).collect();
        self.renew(entries);
    }

    /// Sends each entry to the member that judges its client.
    fn renew(&mut self, entries: Vec<(Key, Millis)>) {
        let mut by_owner: BTreeMap<NodeId, Vec<(Key, Millis)>> = BTreeMap::new();
        for (key, age) in entries {
            if let Some(owner) = self.owner_of(&key.client) {
                by_owner.entry(owner).or_default().push((key, age));
            }
        }
        for (owner, entries) in by_owner {
            for part in entries.chunks(MOST_KEYS) {
                self.send(owner, Message::Renew { heard: part.to_vec() });
            }
        }
    }

    /// Sends what waits to every member that has acknowledged the last sync.
    pub(super) fn sync(&mut self, now: Millis) {
        let Some(distro) = &mut self.distro else { return };
        let registry = &self.registry;
        for (peer, outbox) in &mut distro.outboxes {
            let (mut records, mut weight) = (Vec::new(), 0);
            let ledger = &distro.ledger;
            let next = outbox.next(now, |key| {
                let Some(record) = record(ledger, registry, key) else { return true };
                weight += record.state.weight();
                let fits = records.is_empty() || (records.len() < MOST_RECORDS && weight <= MOST_INSTANCES);
                if fits {
                    records.push(record);
                }
                fits
            });
            if let Some((seq, _)) = next {
                let message = Box::new(Message::Sync { seq, records });
                self.out.push(Effect::Send { to: *peer, message });
            }
        }
    }
}

/// The newest version of a publication; none when nothing is known of it any more.
fn record(ledger: &Ledger, registry: &super::registry::Registry, key: &Key) -> Option<Record> {
    let entry = ledger.get(key)?;
    let state = match entry.gone {
        Some(why) => State::Gone(why),
        None => {
            let service = registry.services.get(&key.service)?;
            State::Live(service.publications.get(&key.client)?.instances.clone())
        }
    };
    Some(Record { key: key.clone(), version: entry.version, state })
}
