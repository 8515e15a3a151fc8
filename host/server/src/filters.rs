//! Push filters: which one narrows the lists of which services, and the answers they gave already.
//!
//! A filter is asked once per snapshot and kind of subscriber: the host notes what a filter wanted to know of a
//! subscriber, and gives the same answer to every other one of whom the same is true.

mod candidates;

use crate::secrets::{SecretError, Secrets};
use crate::settings;
use candidates::SnapshotCandidates;
use ipnet::IpNet;
use muster_core::ServiceKey;
use muster_core::health::Scope;
use muster_core::naming::{Query, Selected, ServiceSnapshot};
use muster_core::plugin::{PluginKind, Selection, Settings};
use muster_wasm::{Asked, FilterCall, FilterSubscriber, OnFault, PluginError, PluginHost, PushFilter};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Wall time of one question. A list is waiting for it.
const DEADLINE: Duration = Duration::from_millis(200);
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
}

struct Binding {
    scope: Scope,
    filter: PushFilter,
    settings: Arc<Settings>,
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
        Ok(Self(Arc::new(Inner { bindings, subscribers: networks, memo: Mutex::default() })))
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
        let list = self.list(snapshot, query, selected);
        let subscriber = self.subscriber(who);
        let memoise = binding.filter.memoise();
        if memoise && let Some(answer) = list.known(&subscriber) {
            return answer;
        }
        let call = FilterCall {
            service: snapshot.key.clone(),
            subscriber,
            candidates: list.candidates.clone(),
            settings: binding.settings.clone(),
            deadline: DEADLINE,
        };
        match binding.filter.select(call).await {
            Ok((selection, asked)) => {
                let answer = match selection {
                    Selection::All => None,
                    Selection::Only(indices) => Some(indices.into()),
                };
                if memoise {
                    list.remember(asked, answer.clone());
                }
                answer
            }
            Err(error) => {
                tracing::debug!(service = %snapshot.key, error = &error as &dyn std::error::Error, "a push filter gave no answer");
                match binding.filter.on_fault() {
                    OnFault::Keep | OnFault::PassAll => None,
                    OnFault::PassNone => Some(Arc::from([])),
                }
            }
        }
    }

    fn binding(&self, service: &ServiceKey) -> Option<&Binding> {
        self.0.bindings.iter().find(|binding| covers(&binding.scope, service))
    }

    fn list(&self, snapshot: &Arc<ServiceSnapshot>, query: &Query<'_>, selected: &Selected) -> Arc<List> {
        let key = (snapshot.key.clone(), query.clusters.to_owned(), query.healthy_only);
        let mut memo = lock(&self.0.memo);
        if let Some(list) = memo.get(&key).filter(|list| list.revision == snapshot.revision) {
            return list.clone();
        }
        if memo.len() >= KEPT_LISTS {
            memo.clear();
        }
        let candidates = SnapshotCandidates::new(snapshot.key.clone(), selected.instances.clone());
        let list =
            List { revision: snapshot.revision, candidates: Arc::new(candidates), answers: Mutex::default() };
        let list = Arc::new(list);
        memo.insert(key, list.clone());
        list
    }

    /// What filters may know of `who`. The labels come from the settings alone: a client cannot choose its own.
    fn subscriber(&self, who: &Who<'_>) -> FilterSubscriber {
        let labels = who.ip.parse::<IpAddr>().ok().and_then(|ip| {
            let ip = ip.to_canonical();
            self.0.subscribers.iter().find(|(cidr, _)| cidr.contains(&ip)).map(|(_, labels)| labels.clone())
        });
        FilterSubscriber {
            address: who.ip.to_owned(),
            app: who.app.to_owned(),
            agent: who.agent.to_owned(),
            labels: labels.unwrap_or_default(),
        }
    }
}

impl List {
    fn known(&self, subscriber: &FilterSubscriber) -> Option<Which> {
        let answers = lock(&self.answers);
        answers.iter().find(|(asked, _)| asked.same_for(subscriber)).map(|(_, answer)| answer.clone())
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
    let settings = secrets.resolve(&loaded.descriptor(), &filter.settings);
    let settings = settings.map_err(|source| FilterError::Secret { plugin, source })?;
    Ok(Binding { scope: filter.scope.clone(), filter: loaded, settings: Arc::new(settings) })
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
