//! The first load: a node that starts asks one member after the other for all data, and serves when it has them.

use super::judge::FORMER_GRACE;
use super::record;
use crate::cluster::message::{MOST_INSTANCES, MOST_RECORDS};
use crate::cluster::{Key, Message, NodeId, Record};
use crate::naming::{Effect, Naming};
use crate::time::Millis;
use std::collections::BTreeSet;

/// Silence after which another member is asked, in milliseconds.
pub const LOAD_TIMEOUT: Millis = Millis::from_secs(3);

/// How far the first load is.
#[derive(Debug)]
pub(super) enum Load {
    /// not begun
    Waiting,
    /// under way
    Asking {
        /// whom
        from: NodeId,
        /// who was asked before
        tried: BTreeSet<NodeId>,
        /// the last key that came
        after: Option<Key>,
        /// when to give this one up
        until: Millis,
    },
    /// over
    Done,
}

impl Load {
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    pub(super) fn deadline(&self) -> Option<Millis> {
        match self {
            Self::Asking { until, .. } => Some(*until),
            Self::Waiting | Self::Done => None,
        }
    }
}

impl Naming {
    /// Asks the members for their data, those that serve first. [`Effect::Loaded`] follows when one has given
    /// all, or when every member was asked once.
    pub fn load(&mut self, now: Millis) {
        self.ask_next(now, BTreeSet::new());
    }

    /// Whether the first load is over.
    pub fn is_loaded(&self) -> bool {
        self.distro.as_ref().is_none_or(|distro| distro.load.is_done())
    }

    fn ask_next(&mut self, now: Millis, tried: BTreeSet<NodeId>) {
        let Some(distro) = &mut self.distro else { return };
        let others = || distro.view.others.iter().filter(|(id, _)| !tried.contains(id));
        let next = others().find(|(_, serves)| **serves).or_else(|| others().next());
        let Some(from) = next.map(|(id, _)| *id) else {
            distro.load = Load::Done;
            distro.former_until = Some(now + FORMER_GRACE);
            self.out.push(Effect::Loaded);
            return;
        };
        distro.load = Load::Asking { from, tried, after: None, until: now + LOAD_TIMEOUT };
        self.send(from, Message::Load { after: None });
    }

    pub(super) fn load_due(&mut self, now: Millis) {
        let Some(distro) = &mut self.distro else { return };
        if let Load::Asking { from, tried, until, .. } = &mut distro.load
            && *until <= now
        {
            tried.insert(*from);
            let tried = std::mem::take(tried);
            self.ask_next(now, tried);
        }
    }

    /// Another node asks for all data. A node that found nobody to load from knows all there is when those who
    /// publish had the time to come back.
    pub(super) fn page(&mut self, now: Millis, to: NodeId, after: Option<Key>) {
        let held = now < self.hold_until();
        let Some(distro) = &self.distro else { return };
        let (mut records, mut weight, mut last) = (Vec::new(), 0, None);
        let mut keys = distro.ledger.keys_after(after.as_ref()).peekable();
        while records.len() < MOST_RECORDS
            && weight < MOST_INSTANCES
            && let Some(key) = keys.next()
        {
            last = Some(key.clone());
            if let Some(record) = record(&distro.ledger, &self.registry, key) {
                weight += record.state.weight();
                records.push(record);
            }
        }
        let next = keys.peek().is_some().then_some(last).flatten();
        drop(keys);
        let complete = distro.load.is_done() && (distro.whole || !held);
        self.send(to, Message::Page { after, records, next, complete });
    }

    pub(super) fn loaded_page(
        &mut self,
        now: Millis,
        sender: NodeId,
        asked: &Option<Key>,
        records: Vec<Record>,
        next: Option<Key>,
        complete: bool,
    ) {
        // Whatever comes is true, also when it comes late.
        for record in records {
            self.merge(now, sender, record);
        }
        let Some(distro) = &mut self.distro else { return };
        let Load::Asking { from, tried, after, until } = &mut distro.load else { return };
        if *from != sender || after != asked {
            return;
        }
        if let Some(next) = next {
            *after = Some(next.clone());
            *until = now + LOAD_TIMEOUT;
            return self.send(sender, Message::Load { after: Some(next) });
        }
        tried.insert(sender);
        let mut tried = std::mem::take(tried);
        if complete {
            distro.whole = true;
            tried.extend(distro.view.others.keys());
            // It knows what is there, and this node knows it now: what this node remembers may be gone meanwhile.
            self.forget_all(now);
        }
        self.ask_next(now, tried);
    }
}
