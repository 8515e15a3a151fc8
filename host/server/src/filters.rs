//! Push filters: which one narrows the lists of which services, and the answers they gave already.
//!
//! A filter is asked once per snapshot and kind of subscriber: the host notes what a filter wanted to know of a
//! subscriber, and gives the same answer to every other one of whom the same is true.

mod candidates;
mod last;

use crate::secrets::{SecretError, Secrets};
use crate::settings::{self, FilterPolicy};
use candidates::SnapshotCandidates;
use ipnet::IpNet;
use last::Lasts;
use muster_core::ServiceKey;
use muster_core::health::Scope;
use muster_core::naming::{Query, Selected, ServiceSnapshot};
use muster_core::plugin::{PluginKind, Selection, Settings};
use muster_wasm::{Asked, FilterCall, FilterSubscriber, OnFault, PluginError, PluginHost, PushFilter};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Lists whose columns and answers are kept. Past it all are forgotten and made again as needed.
const KEPT_LISTS: usize = 1_024;
/// Answers kept for one list, one for every kind of subscriber.
const KEPT_ANSWERS: usize = 64;

/// Who will be sent a list.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// IP address, as the client says or as its connection shows
    pub ip: &'a str,
    /// application name, may be empty
    pub app: &'a str,
    /// user agent, may be empty
    pub agent: &'a str,
}

/// Why the filters of the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// No such plugin.
    #[error("filter {plugin:?}: no push filter is called so; there are: {known}")]
    Unknown {
        /// as the settings say
        plugin: String,
        /// those there are
        known: String,
    },
    /// The plugin does not take its settings.
    #[error("filter {plugin:?}: {problems}")]
    Settings {
        /// the plugin
        plugin: String,
        /// all that is wrong
        problems: String,
    },
    /// A secret is missing.
    #[error("filter {plugin:?}: {source}")]
    Secret {
        /// the plugin
        plugin: String,
        /// which
        #[source]
        source: SecretError,
    },
    /// The plugin broke when it was asked about its settings.
    #[error("filter {plugin:?}: {source}")]
    Plugin {
        /// the plugin
        plugin: String,
        /// how
        #[source]
        source: PluginError,
    },
}

/// The filters of this node. Cheap to clone.
#[derive(Clone, Default)]
pub struct Filters(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// narrowest scope first
    bindings: Vec<Binding>,
    /// narrowest network first
    subscribers: Vec<(IpNet, BTreeMap<String, String>)>,
    memo: Mutex<HashMap<ListKey, Arc<List>>>,
    lasts: Mutex<Lasts>,
}

struct Binding {
    plugin: String,
    scope: Scope,
    filter: PushFilter,
    settings: Arc<Settings>,
    /// as the operator wrote them, without the secrets
    shown: Settings,
    /// as the operator wrote it; else the manifest says
    on_fault: Option<FilterPolicy>,
    timeout: Duration,
}

/// What a filter made of one list for one subscriber.
#[derive(Clone, Debug, PartialEq)]
pub struct Narrowed {
    /// who is on it
    pub which: Which,
    /// how that came about
    pub how: How,
}

/// How an answer came about.
#[derive(Clone, Debug, PartialEq)]
pub enum How {
    /// The filter answered, just now or about a subscriber of which the same is true.
    Answered {
        /// what it wanted to know of the subscriber, with what it was told
        asked: Asked,
    },
    /// The filter gave no answer.
    Fault {
        /// stable word of the fault
        code: &'static str,
        /// what the operator wants then
        policy: FilterPolicy,
        /// whether there was a last answer to go by; without one, `last` means all
        remembered: bool,
    },
}

/// Why a subscriber sees what it sees: the filter's part.
#[derive(Clone, Debug)]
pub struct FilterExplained {
    /// name of the plugin
    pub plugin: String,
    /// its version
    pub version: String,
    /// which services the filter is bound to
    pub scope: String,
    /// what the plugin is told, without the secrets
    pub settings: Settings,
    /// what holds when it gives no answer
    pub policy: FilterPolicy,
    /// wall time it has
    pub timeout: Duration,
    /// the network of the settings that the subscriber is in
    pub network: Option<IpNet>,
    /// the labels that come with it
    pub labels: BTreeMap<String, String>,
    /// what it answered
    pub narrowed: Narrowed,
}

/// Which of a list somebody gets: ascending indices, or none for all of them.
pub type Which = Option<Arc<[u32]>>;

/// Which list of a service: the clusters and the health that were asked for.
type ListKey = (ServiceKey, String, bool);

struct List {
    revision: u64,
    candidates: Arc<SnapshotCandidates>,
    answers: Mutex<Vec<(Asked, Which)>>,
}

impl std::fmt::Debug for Filters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filters").field("bindings", &self.0.bindings.len()).finish_non_exhaustive()
    }
}

impl Filters {
    /// Binds the filters of the settings to their plugins, which judge their settings first.
    ///
    /// # Errors
    /// [`FilterError`], for the first that cannot be used.
    pub async fn load(
        host: &PluginHost,
        secrets: &Secrets,
        filters: &[settings::Filter],
        subscribers: &[settings::Subscriber],
    ) -> Result<Self, FilterError> {
        let mut bindings = Vec::new();
        for filter in filters {
            bindings.push(bind(host, secrets, filter).await?);
        }
        bindings.sort_by_key(|binding| std::cmp::Reverse(narrowness(&binding.scope)));
        let mut networks: Vec<_> = subscribers.iter().map(|one| (one.cidr, one.labels.clone())).collect();
        networks.sort_by_key(|(cidr, _)| std::cmp::Reverse(cidr.prefix_len()));
        Ok(Self(Arc::new(Inner { bindings, subscribers: networks, ..Inner::default() })))
    }

    /// Answers that were kept are not given again: a filter has a new version.
    pub(crate) fn forget(&self) {
        lock(&self.0.memo).clear();
    }

    /// Whether any filter narrows the lists of `service`.
    pub fn narrows(&self, service: &ServiceKey) -> bool {
        self.binding(service).is_some()
    }

    /// Which of `selected`, the answer to `query`, `who` gets.
    pub async fn narrow(
        &self,
        snapshot: &Arc<ServiceSnapshot>,
        query: &Query<'_>,
        selected: &Selected,
        who: &Who<'_>,
    ) -> Which {
        let binding = self.binding(&snapshot.key)?;
        self.answer(binding, snapshot, query, selected, self.subscriber(who)).await.which
    }

    /// The same with everything that led to it; none when no filter is bound to the service.
    pub async fn explain(
        &self,
        snapshot: &Arc<ServiceSnapshot>,
        query: &Query<'_>,
        selected: &Selected,
        who: &Who<'_>,
    ) -> Option<FilterExplained> {
        let binding = self.binding(&snapshot.key)?;
        let subscriber = self.subscriber(who);
        let labels = subscriber.labels.clone();
        Some(FilterExplained {
            plugin: binding.plugin.clone(),
            version: binding.filter.descriptor().version.clone(),
            scope: binding.scope.describe(),
            settings: binding.shown.clone(),
            policy: binding.policy(),
            timeout: binding.timeout,
            network: self.network(who.ip).map(|(cidr, _)| *cidr),
            labels,
            narrowed: self.answer(binding, snapshot, query, selected, subscriber).await,
        })
    }

    async fn answer(
        &self,
        binding: &Binding,
        snapshot: &Arc<ServiceSnapshot>,
        query: &Query<'_>,
        selected: &Selected,
        subscriber: FilterSubscriber,
    ) -> Narrowed {
        let key = (snapshot.key.clone(), query.clusters.to_owned(), query.healthy_only);
        let list = self.list(&key, snapshot, selected);
        let memoise = binding.filter.memoise();
        if memoise && let Some((asked, which)) = list.known(&subscriber) {
            return Narrowed { which, how: How::Answered { asked } };
        }
        let call = FilterCall {
            service: snapshot.key.clone(),
            subscriber: subscriber.clone(),
            candidates: list.candidates.clone(),
            settings: binding.settings.clone(),
            deadline: binding.timeout,
        };
        match binding.filter.select(call).await {
            Ok((selection, asked)) => {
                let which = match selection {
                    Selection::All => None,
                    Selection::Only(indices) => Some(indices.into()),
                };
                if binding.policy() == FilterPolicy::Last {
                    lock(&self.0.lasts).remember(&key, &asked, &which, &selected.instances);
                }
                if memoise {
                    list.remember(asked.clone(), which.clone());
                }
                Narrowed { which, how: How::Answered { asked } }
            }
            Err(error) => {
                tracing::debug!(service = %snapshot.key, error = &error as &dyn std::error::Error, "a push filter gave no answer");
                self.without(binding.policy(), &key, &subscriber, selected, error.code())
            }
        }
    }

    /// What holds when a filter gave no answer.
    fn without(
        &self,
        policy: FilterPolicy,
        key: &ListKey,
        subscriber: &FilterSubscriber,
        selected: &Selected,
        code: &'static str,
    ) -> Narrowed {
        let last = match policy {
            FilterPolicy::All | FilterPolicy::None => None,
            FilterPolicy::Last => lock(&self.0.lasts).find(key, subscriber, &selected.instances),
        };
        let how = How::Fault { code, policy, remembered: last.is_some() };
        let which = match policy {
            FilterPolicy::All => None,
            FilterPolicy::None => Some(Arc::from([])),
            FilterPolicy::Last => last.flatten(),
        };
        Narrowed { which, how }
    }

    fn binding(&self, service: &ServiceKey) -> Option<&Binding> {
        self.0.bindings.iter().find(|binding| covers(&binding.scope, service))
    }

    fn list(&self, key: &ListKey, snapshot: &Arc<ServiceSnapshot>, selected: &Selected) -> Arc<List> {
        let mut memo = lock(&self.0.memo);
        if let Some(list) = memo.get(key).filter(|list| list.revision == snapshot.revision) {
            return list.clone();
        }
        if memo.len() >= KEPT_LISTS {
            memo.clear();
        }
        let candidates = SnapshotCandidates::new(snapshot.key.clone(), selected.instances.clone());
        let list =
            List { revision: snapshot.revision, candidates: Arc::new(candidates), answers: Mutex::default() };
        let list = Arc::new(list);
        memo.insert(key.clone(), list.clone());
        list
    }

    /// What filters may know of `who`. The labels come from the settings alone: a client cannot choose its own.
    fn subscriber(&self, who: &Who<'_>) -> FilterSubscriber {
        let labels = self.network(who.ip).map(|(_, labels)| labels.clone());
        FilterSubscriber {
            address: who.ip.to_owned(),
            app: who.app.to_owned(),
            agent: who.agent.to_owned(),
            labels: labels.unwrap_or_default(),
        }
    }

    /// The narrowest network of the settings that `ip` is in.
    fn network(&self, ip: &str) -> Option<&(IpNet, BTreeMap<String, String>)> {
        let ip = ip.parse::<IpAddr>().ok()?.to_canonical();
        self.0.subscribers.iter().find(|(cidr, _)| cidr.contains(&ip))
    }
}

impl Binding {
    fn policy(&self) -> FilterPolicy {
        self.on_fault.unwrap_or(match self.filter.on_fault() {
            OnFault::Keep | OnFault::PassAll => FilterPolicy::All,
            OnFault::PassNone => FilterPolicy::None,
        })
    }
}

impl List {
    fn known(&self, subscriber: &FilterSubscriber) -> Option<(Asked, Which)> {
        let answers = lock(&self.answers);
        answers.iter().find(|(asked, _)| asked.same_for(subscriber)).cloned()
    }

    fn remember(&self, asked: Asked, answer: Which) {
        let mut answers = lock(&self.answers);
        if answers.len() >= KEPT_ANSWERS {
            answers.clear();
        }
        answers.push((asked, answer));
    }
}

async fn bind(
    host: &PluginHost,
    secrets: &Secrets,
    filter: &settings::Filter,
) -> Result<Binding, FilterError> {
    let plugin = filter.plugin.clone();
    let Some(loaded) = host.push_filter(&plugin) else {
        let known = host.names(PluginKind::PushFilter).join(", ");
        return Err(FilterError::Unknown { plugin, known });
    };
    match loaded.validate(&filter.settings).await {
        Ok(problems) if problems.is_empty() => {}
        Ok(problems) => {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            return Err(FilterError::Settings { plugin, problems: problems.join("; ") });
        }
        Err(source) => return Err(FilterError::Plugin { plugin, source }),
    }
    let descriptor = loaded.descriptor();
    let settings = match secrets.resolve(&descriptor, &filter.settings) {
        Ok(settings) => Arc::new(settings),
        Err(source) => return Err(FilterError::Secret { plugin, source }),
    };
    let mut shown = filter.settings.clone();
    shown.retain(|key, _| descriptor.secrets().all(|secret| secret != key));
    let settings::Filter { scope, on_fault, timeout, .. } = filter.clone();
    Ok(Binding { plugin, scope, filter: loaded, settings, shown, on_fault, timeout })
}

fn covers(scope: &Scope, service: &ServiceKey) -> bool {
    let fits = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
    fits(&scope.namespace, service.namespace())
        && fits(&scope.group, service.group())
        && fits(&scope.service, service.name())
}

/// Service over group over namespace over everywhere.
fn narrowness(scope: &Scope) -> (bool, bool, bool) {
    (scope.service.is_some(), scope.group.is_some(), scope.namespace.is_some())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
