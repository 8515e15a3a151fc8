//! What health checks may have and reach beyond their targets: by the settings of this node, and by what operators granted
//! on all members. Both together are in force at once, for versions that run already, too.
//!
//! The rows come from the naming loop in the order of the log. Nothing here waits.

use crate::secrets::{Secrets, reference};
use crate::settings;
use arc_swap::ArcSwap;
use muster_core::plugin::PluginKind;
use muster_core::rollout::Granted;
use muster_wasm::{HostRule, NotAHost, PluginHost};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Why something is not granted.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// It is no host.
    #[error("hosts: {0}")]
    Host(#[from] NotAHost),
    /// The node has no such secret.
    #[error(
        "secrets: there is no secret named {name:?}; add it to [secrets] in the settings of every member"
    )]
    UnknownSecret {
        /// as it was given
        name: String,
    },
    /// The secret is one that the node itself needs.
    #[error(
        "secrets: {name:?} is used by this node's own settings, so that only they can grant it: add to \
         [plugins.grants.{plugin}]: secrets = [{name:?}]"
    )]
    OwnSecret {
        /// the plugin
        plugin: String,
        /// the secret
        name: String,
    },
    /// The settings of this node do not take grants of the cluster.
    #[error(
        "this node takes grants from its settings alone: add to [plugins.grants.{plugin}] in them what {plugin} may have, \
         or set plugins.cluster-grants = true where only operators reach this API"
    )]
    OfTheFile {
        /// the plugin
        plugin: String,
    },
    /// More than a plugin may be granted.
    #[error("{plugin} would be granted more than {} hosts or secrets", muster_core::rollout::MAX_GRANTED)]
    TooMany {
        /// the plugin
        plugin: String,
    },
}

/// What is granted now. Cheap to clone.
#[derive(Clone)]
pub struct Grants(Arc<Inner>);

struct Inner {
    by_file: BTreeMap<String, settings::Grants>,
    by_cluster: ArcSwap<BTreeMap<String, Granted>>,
    /// whether what the cluster grants counts here
    follows: bool,
    /// secrets that the settings of the node refer to
    own: BTreeSet<String>,
    plugins: PluginHost,
    secrets: Secrets,
}

impl std::fmt::Debug for Grants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grants").finish_non_exhaustive()
    }
}

impl Grants {
    /// What the settings grant.
    pub fn new(settings: &settings::Settings, plugins: PluginHost, secrets: Secrets) -> Self {
        Self(Arc::new(Inner {
            by_file: settings.plugins.grants.clone(),
            by_cluster: ArcSwap::default(),
            follows: settings.plugins.cluster_grants,
            own: own(settings),
            plugins,
            secrets,
        }))
    }

    /// Takes over what the members have agreed on about a plugin.
    pub(crate) fn agreed(&self, kind: PluginKind, name: &str, granted: &Granted) {
        let here = self.0.by_cluster.load();
        let before = here.get(name);
        if kind != PluginKind::HealthCheck || before.map_or(granted.is_empty(), |before| before == granted) {
            return;
        }
        let mut rows = BTreeMap::clone(&here);
        if granted.is_empty() {
            rows.remove(name);
        } else {
            rows.insert(name.to_owned(), granted.clone());
        }
        self.0.by_cluster.store(Arc::new(rows));
        tracing::info!(
            plugin = name,
            hosts = ?granted.hosts,
            secrets = ?granted.secrets,
            in_force = self.0.follows,
            "what the cluster grants a plugin has changed"
        );
        // Of a release that knows more kinds of hosts.
        for error in granted.hosts.iter().filter_map(|text| text.parse::<HostRule>().err()) {
            tracing::warn!(plugin = name, %error, "the cluster grants what this node cannot read, and does not take");
        }
        let all = self.here(name);
        self.0.plugins.grant_hosts(name, all.hosts);
        self.0.secrets.grant(name, all.secrets);
    }

    /// What the settings of this node grant.
    pub(crate) fn by_file(&self, name: &str) -> settings::Grants {
        self.0.by_file.get(name).cloned().unwrap_or_default()
    }

    /// What the cluster grants, in force or not.
    pub(crate) fn by_cluster(&self, name: &str) -> Granted {
        self.0.by_cluster.load().get(name).cloned().unwrap_or_default()
    }

    /// What is granted here by both.
    pub(crate) fn here(&self, name: &str) -> settings::Grants {
        let mut all = self.by_file(name);
        if self.0.follows {
            let granted = self.by_cluster(name);
            all.hosts.extend(granted.hosts.iter().filter_map(|text| text.parse().ok()));
            // Other members may use other secrets themselves than this one.
            all.secrets.extend(granted.secrets.into_iter().filter(|name| !self.0.own.contains(name)));
        }
        all
    }

    /// Everybody who is granted something.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.0.by_file.keys().chain(self.0.by_cluster.load().keys()).cloned().collect()
    }

    /// Whether what the cluster grants counts here.
    pub(crate) fn follows(&self) -> bool {
        self.0.follows
    }

    /// The secrets of this node, with what is granted of them.
    pub(crate) fn secrets(&self) -> &Secrets {
        &self.0.secrets
    }

    /// What an operator wants to grant, as it is kept.
    ///
    /// # Errors
    /// [`GrantError`].
    pub(crate) fn admit(&self, plugin: &str, wanted: &Granted) -> Result<Granted, GrantError> {
        let plugin = || plugin.to_owned();
        if !self.0.follows {
            return Err(GrantError::OfTheFile { plugin: plugin() });
        }
        for name in &wanted.secrets {
            if self.0.secrets.get(name).is_none() {
                return Err(GrantError::UnknownSecret { name: name.clone() });
            }
            if self.0.own.contains(name) {
                return Err(GrantError::OwnSecret { plugin: plugin(), name: name.clone() });
            }
        }
        let rules: Vec<HostRule> =
            wanted.hosts.iter().map(|text| text.parse()).collect::<Result<_, NotAHost>>()?;
        let hosts = rules.iter().map(ToString::to_string).collect();
        let granted = Granted { hosts, secrets: wanted.secrets.clone() };
        let all = self.by_cluster(&plugin()).with(&granted);
        all.map(|_| granted).ok_or_else(|| GrantError::TooMany { plugin: plugin() })
    }

    /// What an operator wants to take back, as it is kept. What was granted may be no host here, and no secret any more.
    pub(crate) fn spelled(wanted: &Granted) -> Granted {
        let rule =
            |text: &String| text.parse().map_or_else(|_| text.clone(), |rule: HostRule| rule.to_string());
        Granted { hosts: wanted.hosts.iter().map(rule).collect(), secrets: wanted.secrets.clone() }
    }
}

/// Secrets that the settings of the node refer to: the key of the members, and what lookups and filters are told.
/// Whoever may grant by the API is not to send those to a service of theirs.
fn own(settings: &settings::Settings) -> BTreeSet<String> {
    let key = settings.cluster.secret.as_ref().map(|secret| secret.reveal().to_owned());
    let filters = settings.filters.iter().flat_map(|filter| filter.settings.values());
    let told = settings.lookup.settings.values().chain(filters).cloned();
    key.into_iter().chain(told).filter_map(|text| reference(&text).map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_core::plugin::{Descriptor, SettingKind, SettingSpec, Settings};
    use muster_wasm::HostOptions;

    const SETTINGS: &str = "[secrets]\nfile = \"f\"\nprobe = \"p\"\nmembers = \"of the members, and of nobody else\"\n\
        [cluster]\nsecret = \"secret:members\"\n[plugins.grants.PING]\nsecrets = [\"file\"]\n\
        hosts = [\"a.example:443\"]\n";

    /// Of a node that takes what the cluster grants.
    fn following() -> Grants {
        grants(&format!("[plugins]\ncluster-grants = true\n{SETTINGS}"))
    }

    fn grants(text: &str) -> Grants {
        let settings = settings::Settings::parse("m.toml", text, []).map_err(|e| e.to_string()).unwrap();
        let secrets = Secrets::load(&settings.secrets).unwrap().granting(settings.plugins.granted_secrets());
        let options = HostOptions { pool: 16, max_in_flight: 8, guest_threads: 1, ..HostOptions::default() };
        Grants::new(&settings, PluginHost::new(options).unwrap(), secrets)
    }

    fn granted(hosts: &[&str], secrets: &[&str]) -> Granted {
        let set = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Granted { hosts: set(hosts), secrets: set(secrets) }
    }

    /// What a service's setting becomes.
    fn password(grants: &Grants, name: &str) -> Result<String, String> {
        let spec = SettingSpec {
            key: "pwd".into(),
            kind: SettingKind::Secret,
            required: false,
            default: None,
            summary: String::new(),
        };
        let descriptor = Descriptor {
            name: "PING".into(),
            version: "1.0.0".into(),
            summary: String::new(),
            settings: vec![spec],
        };
        let settings = Settings::from([("pwd".into(), format!("secret:{name}"))]);
        let told = grants.secrets().resolve_granted(&descriptor, &settings);
        told.map(|told| told["pwd"].clone()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_granted_is_what_the_file_and_the_cluster_grant() {
        let grants = following();
        assert_eq!(password(&grants, "file").unwrap(), "f");
        assert!(password(&grants, "probe").unwrap_err().contains("muster plugin grant PING --secrets probe"));
        grants.agreed(PluginKind::HealthCheck, "PING", &granted(&["10.0.0.0/8:443"], &["probe"]));
        assert_eq!(password(&grants, "file").unwrap(), "f");
        assert_eq!(password(&grants, "probe").unwrap(), "p");
        let hosts =
            |grants: &Grants| grants.here("PING").hosts.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(hosts(&grants), ["a.example:443", "10.0.0.0/8:443"]);
        grants.agreed(PluginKind::PushFilter, "PING", &Granted::default());
        assert_eq!(password(&grants, "probe").unwrap(), "p", "that is another plugin");
        grants.agreed(PluginKind::HealthCheck, "PING", &Granted::default());
        assert!(password(&grants, "probe").is_err() && password(&grants, "file").is_ok());
        assert_eq!(hosts(&grants), ["a.example:443"]);
    }

    #[test]
    fn what_is_no_host_and_no_secret_is_refused() {
        let grants = following();
        let refused = |wanted: Granted| grants.admit("PING", &wanted).unwrap_err().to_string();
        assert!(
            refused(granted(&["a.example"], &[]))
                .starts_with("hosts: \"a.example\" is not a host with ports")
        );
        assert!(refused(granted(&[], &["none"])).contains("there is no secret named \"none\""));
        assert!(refused(granted(&[], &["members"])).contains("is used by this node's own settings"));
        let admitted = grants.admit("PING", &granted(&["A.example.:443"], &["probe"])).unwrap();
        assert_eq!(admitted, granted(&["a.example:443"], &["probe"]));
        assert_eq!(
            Grants::spelled(&granted(&["A.example.:443", "?"], &[])),
            granted(&["a.example:443", "?"], &[])
        );
        let many: Vec<String> = (1..=129).map(|n| format!("a.example:{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(refused(granted(&many, &[])).contains("more than 128 hosts"));
    }

    #[test]
    fn a_node_takes_grants_from_its_file_alone_unless_it_is_told_otherwise() {
        let grants = grants(SETTINGS);
        let row = granted(&["10.0.0.0/8:443"], &["probe"]);
        let refused = grants.admit("PING", &row).unwrap_err().to_string();
        assert!(refused.contains("plugins.cluster-grants = true"), "{refused}");
        grants.agreed(PluginKind::HealthCheck, "PING", &row);
        assert!(password(&grants, "probe").is_err() && password(&grants, "file").is_ok());
        assert_eq!((grants.here("PING").hosts.len(), grants.by_cluster("PING")), (1, row));
    }
}
