//! Fuzzy watch of 3.x clients: which services a pattern matches, what a watcher does not know yet, and when
//! its initial set is complete. Source: Nacos `NamingFuzzyWatchContextService`, `…SyncNotifier`.

mod pattern;

pub(super) use pattern::{Pattern, service_of};

use muster_core::{Millis, ServiceKey};
use pattern::service_key;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Distinct patterns on one node. Source: Nacos `nacos.naming.fuzzy.watch.max.pattern.count`.
pub(super) const MAX_PATTERNS: usize = 20;
/// Services that one pattern may match. Source: Nacos `nacos.naming.fuzzy.watch.max.pattern.match.service.count`.
pub(super) const MAX_MATCHES: usize = 500;
/// Longest service key that is remembered as missing, bytes.
const LONGEST_KEY: usize = 1_024;
/// Services in one message. Source: Nacos `NamingFuzzyWatchSyncNotifier`.
const BATCH: usize = 10;
/// From a request to its first answer, in milliseconds. Source: Nacos `PushConfig`, fuzzy watch delay.
const SYNC_DELAY: Millis = Millis(1_000);
/// From the last acknowledgement to the finish message, in milliseconds.
const FINISH_DELAY: Millis = Millis(500);
/// From the end of the hold after a start to the deletions that were held, in milliseconds: what the registry itself
/// tells at that end goes first.
const AFTER_HOLD: Millis = Millis(1_000);
/// Deletions that are held on one node at a time; more are told at once.
const MOST_HELD: usize = 1 << 17;
/// From a failed message to its next try, in milliseconds.
const RETRY_DELAY: Millis = Millis(1_000);

/// One message to a watcher, as JSON between `{"headers":{},"requestId":"…",` and `,"module":"naming"}`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum WatchMessage {
    /// `NamingFuzzyWatchSyncRequest`
    #[serde(rename_all = "camelCase")]
    Sync {
        /// what it is part of
        sync_type: &'static str,
        /// the pattern
        group_key_pattern: Arc<str>,
        /// at most ten
        contexts: Vec<Context>,
        /// how many messages there are
        total_batch: usize,
        /// which one this is, from 1
        current_batch: usize,
    },
    /// `NamingFuzzyWatchChangeNotifyRequest`
    #[serde(rename_all = "camelCase")]
    Change {
        /// always `FUZZY_WATCH_RESOURCE_CHANGED`
        sync_type: &'static str,
        /// the service
        service_key: String,
        /// what happened to it
        changed_type: &'static str,
    },
}

/// One service of a sync message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Context {
    service_key: String,
    changed_type: &'static str,
}

const INIT: &str = "FUZZY_WATCH_INIT_NOTIFY";
const DIFF: &str = "FUZZY_WATCH_DIFF_SYNC_NOTIFY";
const FINISH: &str = "FINISH_FUZZY_WATCH_INIT_NOTIFY";
const CHANGED: &str = "FUZZY_WATCH_RESOURCE_CHANGED";
const ADD: &str = "ADD_SERVICE";
const DELETE: &str = "DELETE_SERVICE";

impl WatchMessage {
    /// The type name of the payload that carries it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Sync { .. } => "NamingFuzzyWatchSyncRequest",
            Self::Change { .. } => "NamingFuzzyWatchChangeNotifyRequest",
        }
    }

    fn pattern(&self) -> Option<&Arc<str>> {
        match self {
            Self::Sync { group_key_pattern, .. } => Some(group_key_pattern),
            Self::Change { .. } => None,
        }
    }

    /// Whether what it says of a single service is so.
    fn is_true(&self, there: &impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Sync { .. } => true,
            Self::Change { service_key, changed_type, .. } => there(service_key) == (*changed_type == ADD),
        }
    }

    fn is_finish(&self) -> bool {
        matches!(self, Self::Sync { sync_type, .. } if *sync_type == FINISH)
    }
}

/// What there is to a pattern that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watched {
    /// some services, or none
    Yes,
    /// as many services as a pattern may match
    Full,
}

/// A connection and one of its patterns.
type WatcherId = (Arc<str>, Arc<str>);
/// A message, and the connection it is for.
pub(super) type Addressed = (Arc<str>, Arc<WatchMessage>);

/// Who watches what. Time is an argument; what is due is taken out with [`Watches::due`].
#[derive(Debug, Default)]
pub(super) struct Watches {
    patterns: BTreeMap<Arc<str>, Pattern>,
    watchers: BTreeMap<WatcherId, Watcher>,
    /// messages that failed or wait
    timers: BTreeMap<(Millis, u64), Addressed>,
    /// differences to tell
    syncs: BTreeMap<WatcherId, Difference>,
    /// deletions that are not told before the hold after the start is over: a service may only not be back yet
    held: BTreeMap<WatcherId, Vec<String>>,
    held_until: Millis,
    serial: u64,
}

/// What a watcher did not know when it asked. It is looked at again when it is told.
#[derive(Debug)]
struct Difference {
    due: Millis,
    initializing: bool,
    added: Vec<String>,
    gone: Vec<String>,
}

#[derive(Debug)]
struct Watcher {
    initializing: bool,
    /// messages of the first difference that were not acknowledged yet
    open: usize,
}

impl Watches {
    /// No deletion is told before `until`, unless it was seen to happen.
    pub(super) fn holding(until: Millis) -> Self {
        Self { held_until: until + AFTER_HOLD, ..Self::default() }
    }

    /// Connection `id` watches `pattern` from now on; false when there are too many patterns. To be followed by
    /// [`Watches::compare`] with services that were looked up after this, so that nothing is missed in between.
    pub(super) fn watch(&mut self, id: &Arc<str>, pattern: Pattern, initializing: bool) -> bool {
        if !self.patterns.contains_key(pattern.text()) && self.patterns.len() >= MAX_PATTERNS {
            self.drop_unused();
            if self.patterns.len() >= MAX_PATTERNS {
                return false;
            }
        }
        let text = pattern.text().clone();
        self.patterns.insert(text.clone(), pattern);
        self.watchers.insert((id.clone(), text), Watcher { initializing, open: 0 });
        true
    }

    /// What the watcher has to be told that knows the services `received`, where there are `services`.
    pub(super) fn compare<'a>(
        &mut self,
        now: Millis,
        id: &Arc<str>,
        pattern: &Pattern,
        received: &BTreeSet<String>,
        services: impl Iterator<Item = &'a ServiceKey>,
    ) -> Watched {
        let matches = services.filter(|service| pattern.matches(service)).map(service_key);
        let matches: BTreeSet<String> = matches.take(MAX_MATCHES).collect();
        let full = matches.len() >= MAX_MATCHES;
        let watcher = (id.clone(), pattern.text().clone());
        let added: Vec<String> = matches.difference(received).cloned().collect();
        // At the limit nobody can tell a service that is gone from one that is beyond the limit.
        let gone = received.difference(&matches).filter(|key| !full && key.len() <= LONGEST_KEY);
        let mut gone: Vec<String> = gone.take(MAX_MATCHES).cloned().collect();
        self.held.remove(&watcher);
        let room = || self.held.values().map(Vec::len).sum::<usize>() + gone.len() <= MOST_HELD;
        if now < self.held_until && !gone.is_empty() && room() {
            self.held.insert(watcher.clone(), std::mem::take(&mut gone));
        }
        let initializing = self.watchers.get(&watcher).is_some_and(|watcher| watcher.initializing);
        if initializing || !added.is_empty() || !gone.is_empty() {
            self.syncs.insert(watcher, Difference { due: now + SYNC_DELAY, initializing, added, gone });
        }
        if full { Watched::Full } else { Watched::Yes }
    }

    /// The messages that tell a watcher of a difference, as far as it is still one. Deletions are told once more in
    /// messages of their own: nacos-client 3.2.1 looks for none in a difference.
    fn tell(
        &mut self,
        watcher: &WatcherId,
        sync: Difference,
        there: &impl Fn(&str) -> bool,
    ) -> Vec<Addressed> {
        let (id, text) = watcher;
        let added = sync.added.iter().filter(|key| there(key)).map(|key| context(key, ADD));
        let gone: Vec<&String> = sync.gone.iter().filter(|key| !there(key)).collect();
        let contexts: Vec<Context> = added.chain(gone.iter().map(|key| context(key, DELETE))).collect();
        let sync_type = if sync.initializing { INIT } else { DIFF };
        let total_batch = contexts.len().div_ceil(BATCH);
        if let Some(watcher) = self.watchers.get_mut(watcher) {
            watcher.open = total_batch;
        }
        let batches = contexts.chunks(BATCH).enumerate().map(|(index, batch)| WatchMessage::Sync {
            sync_type,
            group_key_pattern: text.clone(),
            contexts: batch.to_vec(),
            total_batch,
            current_batch: index + 1,
        });
        let finish = (sync.initializing && contexts.is_empty()).then(|| finish(text));
        let alone = gone.iter().map(|key| WatchMessage::Change {
            sync_type: CHANGED,
            service_key: (*key).clone(),
            changed_type: DELETE,
        });
        batches.chain(finish).chain(alone).map(|message| (id.clone(), Arc::new(message))).collect()
    }

    fn at(&mut self, due: Millis, id: &Arc<str>, message: Arc<WatchMessage>) {
        self.serial += 1;
        self.timers.insert((due, self.serial), (id.clone(), message));
    }

    /// Ends one watch of a connection.
    pub(super) fn cancel(&mut self, id: &Arc<str>, pattern: &str) {
        let ours = |(who, what): &(Arc<str>, Arc<str>)| who == id && &**what == pattern;
        self.watchers.retain(|key, _| !ours(key));
        self.syncs.retain(|key, _| !ours(key));
        self.held.retain(|key, _| !ours(key));
        self.timers
            .retain(|_, (who, message)| who != id || message.pattern().is_none_or(|text| &**text != pattern));
        self.drop_unused();
    }

    /// Forgets a connection.
    pub(super) fn forget(&mut self, id: &Arc<str>) {
        self.watchers.retain(|(who, _), _| who != id);
        self.syncs.retain(|(who, _), _| who != id);
        self.held.retain(|(who, _), _| who != id);
        self.timers.retain(|_, (who, _)| who != id);
        self.drop_unused();
    }

    fn drop_unused(&mut self) {
        let used: BTreeSet<&Arc<str>> = self.watchers.keys().map(|(_, pattern)| pattern).collect();
        self.patterns.retain(|text, _| used.contains(text));
    }

    /// A service got its first publisher, or lost its last one: who has to hear of it.
    pub(super) fn changed(&self, service: &ServiceKey, added: bool) -> Vec<Addressed> {
        let matching: BTreeSet<&Arc<str>> =
            self.patterns.values().filter(|p| p.matches(service)).map(Pattern::text).collect();
        if matching.is_empty() {
            return Vec::new();
        }
        let who: BTreeSet<&Arc<str>> =
            self.watchers.keys().filter(|(_, p)| matching.contains(p)).map(|(id, _)| id).collect();
        let changed_type = if added { ADD } else { DELETE };
        let message =
            WatchMessage::Change { sync_type: CHANGED, service_key: service_key(service), changed_type };
        let message = Arc::new(message);
        who.into_iter().map(|id| (id.clone(), message.clone())).collect()
    }

    /// A message was acknowledged; the last one of a first difference is followed by the finish message.
    pub(super) fn acknowledged(&mut self, now: Millis, id: &Arc<str>, message: &WatchMessage) {
        let Some(pattern) = message.pattern() else { return };
        let Some(watcher) = self.watchers.get_mut(&(id.clone(), pattern.clone())) else { return };
        if message.is_finish() {
            watcher.initializing = false;
            return;
        }
        watcher.open = watcher.open.saturating_sub(1);
        if watcher.open == 0 && watcher.initializing {
            let message = Arc::new(finish(pattern));
            self.at(now + FINISH_DELAY, id, message);
        }
    }

    /// A message was not taken: it is sent again, while its connection and its watch are there.
    pub(super) fn failed(&mut self, now: Millis, id: &Arc<str>, message: Arc<WatchMessage>) {
        let wanted = match message.pattern() {
            Some(pattern) => self.watchers.contains_key(&(id.clone(), pattern.clone())),
            None => self.watchers.keys().any(|(who, _)| who == id),
        };
        if wanted {
            self.at(now + RETRY_DELAY, id, message);
        }
    }

    /// When [`Watches::due`] has something.
    pub(super) fn next_deadline(&self) -> Option<Millis> {
        let held = (!self.held.is_empty()).then_some(self.held_until);
        let syncs = self.syncs.values().map(|sync| sync.due).min();
        self.timers.keys().next().map(|(due, _)| *due).into_iter().chain(held).chain(syncs).min()
    }

    /// Takes out what is to be sent by now. `there` says whether there is a service of that key, so that what changed
    /// since a message was meant is not told: its change was.
    pub(super) fn due(&mut self, now: Millis, there: impl Fn(&str) -> bool) -> Vec<Addressed> {
        let later = self.timers.split_off(&(now + Millis(1), 0));
        let again = std::mem::replace(&mut self.timers, later).into_values();
        let mut due: Vec<Addressed> = again.filter(|(_, message)| message.is_true(&there)).collect();
        let syncs: Vec<_> = self.syncs.extract_if(.., |_, sync| sync.due <= now).collect();
        for (watcher, sync) in syncs {
            due.extend(self.tell(&watcher, sync, &there));
        }
        if now >= self.held_until {
            for (watcher, gone) in std::mem::take(&mut self.held) {
                let sync = Difference { due: now, initializing: false, added: Vec::new(), gone };
                due.extend(self.tell(&watcher, sync, &there));
            }
        }
        due
    }
}

fn context(key: &str, changed_type: &'static str) -> Context {
    Context { service_key: key.to_owned(), changed_type }
}

fn finish(pattern: &Arc<str>) -> WatchMessage {
    WatchMessage::Sync {
        sync_type: FINISH,
        group_key_pattern: pattern.clone(),
        contexts: Vec::new(),
        total_batch: 1,
        current_batch: 1,
    }
}

#[cfg(test)]
mod tests;
