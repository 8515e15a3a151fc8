//! Fuzzy watch of 3.x clients: which services a pattern matches, what a watcher does not know yet, and when
//! its initial set is complete. Source: Nacos `NamingFuzzyWatchContextService`, `…SyncNotifier`.

use muster_core::{Millis, ServiceKey};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Distinct patterns on one node. Source: Nacos `nacos.naming.fuzzy.watch.max.pattern.count`.
pub(super) const MAX_PATTERNS: usize = 20;
/// Services that one pattern may match. Source: Nacos `nacos.naming.fuzzy.watch.max.pattern.match.service.count`.
pub(super) const MAX_MATCHES: usize = 500;
/// Services in one message. Source: Nacos `NamingFuzzyWatchSyncNotifier`.
const BATCH: usize = 10;
/// From a request to its first answer, in milliseconds. Source: Nacos `PushConfig`, fuzzy watch delay.
const SYNC_DELAY: Millis = Millis(1_000);
/// From the last acknowledgement to the finish message, in milliseconds.
const FINISH_DELAY: Millis = Millis(500);
/// From a failed message to its next try, in milliseconds.
const RETRY_DELAY: Millis = Millis(1_000);

/// `namespace>>group pattern>>service pattern`
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pattern {
    text: Arc<str>,
    namespace: String,
    group: Glob,
    service: Glob,
}

/// Text with a `*` at either end, or at neither.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Glob {
    All,
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
}

impl Glob {
    fn parse(text: &str) -> Self {
        if text == "*" {
            return Self::All;
        }
        match (text.strip_prefix('*'), text.strip_suffix('*')) {
            (Some(rest), Some(_)) => Self::Contains(rest.trim_end_matches('*').to_owned()),
            (Some(rest), None) => Self::Suffix(rest.to_owned()),
            (None, Some(rest)) => Self::Prefix(rest.to_owned()),
            (None, None) => Self::Exact(text.to_owned()),
        }
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::All => true,
            Self::Exact(exact) => text == exact,
            Self::Prefix(prefix) => text.starts_with(prefix),
            Self::Suffix(suffix) => text.ends_with(suffix),
            Self::Contains(part) => text.contains(part),
        }
    }
}

impl Pattern {
    /// None unless it has three parts.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(">>");
        let (namespace, group, service) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || group.is_empty() || service.is_empty() {
            return None;
        }
        let namespace = if namespace.is_empty() { muster_core::ids::PUBLIC } else { namespace }.to_owned();
        Some(Self { text: text.into(), namespace, group: Glob::parse(group), service: Glob::parse(service) })
    }

    /// Whether it matches a service.
    pub(super) fn matches(&self, service: &ServiceKey) -> bool {
        service.namespace() == self.namespace
            && self.group.matches(service.group())
            && self.service.matches(service.name())
    }
}

/// `namespace@@group@@service` (N282)
pub(super) fn service_key(service: &ServiceKey) -> String {
    format!("{}@@{}@@{}", service.namespace(), service.group(), service.name())
}

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

    fn is_finish(&self) -> bool {
        matches!(self, Self::Sync { sync_type, .. } if *sync_type == FINISH)
    }
}

/// What a watch request leads to beside the watch itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watched {
    /// it is watched
    Yes,
    /// it is watched, and matches as many services as a pattern may
    Full,
    /// there are too many patterns already: it is not watched
    TooMany,
}

/// Who watches what. Time is an argument; what is due is taken out with [`Watches::due`].
#[derive(Debug, Default)]
pub(super) struct Watches {
    patterns: BTreeMap<Arc<str>, Pattern>,
    watchers: BTreeMap<(Arc<str>, Arc<str>), Watcher>,
    timers: BTreeMap<(Millis, u64), (Arc<str>, Arc<WatchMessage>)>,
    serial: u64,
}

#[derive(Debug)]
struct Watcher {
    initializing: bool,
    /// messages of the first difference that were not acknowledged yet
    open: usize,
}

impl Watches {
    /// Connection `id` watches `pattern`, and knows the services `received` already.
    pub(super) fn watch<'a>(
        &mut self,
        now: Millis,
        id: &Arc<str>,
        pattern: Pattern,
        received: &BTreeSet<String>,
        initializing: bool,
        services: impl Iterator<Item = &'a ServiceKey>,
    ) -> Watched {
        if !self.patterns.contains_key(&pattern.text) && self.patterns.len() >= MAX_PATTERNS {
            self.drop_unused();
            if self.patterns.len() >= MAX_PATTERNS {
                return Watched::TooMany;
            }
        }
        let matches = services.filter(|service| pattern.matches(service)).map(service_key);
        let matches: BTreeSet<String> = matches.take(MAX_MATCHES).collect();
        let full = matches.len() >= MAX_MATCHES;
        let added = matches.difference(received).map(|key| context(key, ADD));
        // At the limit nobody can tell a service that is gone from one that is beyond the limit.
        let gone = received.difference(&matches).filter(|_| !full).map(|key| context(key, DELETE));
        let contexts: Vec<Context> = added.chain(gone).collect();
        let text = pattern.text.clone();
        self.patterns.insert(text.clone(), pattern);
        let open = contexts.len().div_ceil(BATCH);
        self.watchers.insert((id.clone(), text.clone()), Watcher { initializing, open });
        self.schedule(now, id, &text, &contexts, initializing);
        if full { Watched::Full } else { Watched::Yes }
    }

    fn schedule(
        &mut self,
        now: Millis,
        id: &Arc<str>,
        text: &Arc<str>,
        contexts: &[Context],
        initializing: bool,
    ) {
        let sync_type = if initializing { INIT } else { DIFF };
        let total_batch = contexts.len().div_ceil(BATCH);
        for (index, batch) in contexts.chunks(BATCH).enumerate() {
            let message = WatchMessage::Sync {
                sync_type,
                group_key_pattern: text.clone(),
                contexts: batch.to_vec(),
                total_batch,
                current_batch: index + 1,
            };
            self.at(now + SYNC_DELAY, id, Arc::new(message));
        }
        if initializing && contexts.is_empty() {
            self.at(now + SYNC_DELAY, id, Arc::new(finish(text)));
        }
    }

    fn at(&mut self, due: Millis, id: &Arc<str>, message: Arc<WatchMessage>) {
        self.serial += 1;
        self.timers.insert((due, self.serial), (id.clone(), message));
    }

    /// Ends one watch of a connection.
    pub(super) fn cancel(&mut self, id: &Arc<str>, pattern: &str) {
        let ours = |(who, what): &(Arc<str>, Arc<str>)| who == id && &**what == pattern;
        self.watchers.retain(|key, _| !ours(key));
        self.timers
            .retain(|_, (who, message)| who != id || message.pattern().is_none_or(|text| &**text != pattern));
        self.drop_unused();
    }

    /// Forgets a connection.
    pub(super) fn forget(&mut self, id: &Arc<str>) {
        self.watchers.retain(|(who, _), _| who != id);
        self.timers.retain(|_, (who, _)| who != id);
        self.drop_unused();
    }

    fn drop_unused(&mut self) {
        let used: BTreeSet<&Arc<str>> = self.watchers.keys().map(|(_, pattern)| pattern).collect();
        self.patterns.retain(|text, _| used.contains(text));
    }

    /// A service got its first publisher, or lost its last one: who has to hear of it.
    pub(super) fn changed(&self, service: &ServiceKey, added: bool) -> Vec<(Arc<str>, Arc<WatchMessage>)> {
        let matching: BTreeSet<&Arc<str>> =
            self.patterns.values().filter(|p| p.matches(service)).map(|p| &p.text).collect();
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
        self.timers.keys().next().map(|(due, _)| *due)
    }

    /// Takes out what is to be sent by now.
    pub(super) fn due(&mut self, now: Millis) -> Vec<(Arc<str>, Arc<WatchMessage>)> {
        let later = self.timers.split_off(&(now + Millis(1), 0));
        std::mem::replace(&mut self.timers, later).into_values().collect()
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
