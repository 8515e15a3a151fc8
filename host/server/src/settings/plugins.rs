//! `[plugins]`, `[lookup]`, `[[filter]]` and `[[subscriber]]`: WebAssembly components and what they are used for.

use super::health::millis;
use super::reader::Section;
use super::tree::Node;
use super::values::{Bytes, FromSetting, words};
use crate::trust::{TrustKey, Unsigned};
use ipnet::IpNet;
use muster_core::Millis;
use muster_core::health::Scope;
use muster_core::plugin;
use muster_core::rollout::Limits;
use muster_wasm::{Bounds, HostRule, NotAHost};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// `[plugins]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugins {
    /// Folder of `NAME.wasm` with `NAME.toml` beside it; none means only the bundled plugins.
    pub directory: Option<PathBuf>,
    /// Whether a plugin of the folder may take the name of a bundled one.
    pub replace_bundled: bool,
    /// Whose signatures are trusted.
    pub trust_keys: Vec<TrustKey>,
    /// What becomes of plugins that none of them signed; none means what [`crate::trust::Trust::of`] says.
    pub unsigned: Option<Unsigned>,
    /// Compiled code; none means `plugin-cache` in the data directory. Only this node writes to it.
    pub cache_dir: Option<PathBuf>,
    /// Most instances of plugins that are alive at a time.
    pub pool: NonZeroUsize,
    /// Threads that run plugins, apart from those that serve clients; none means one for every two cores.
    pub guest_threads: Option<NonZeroUsize>,
    /// Calls that run at a time, of all plugins together.
    pub max_in_flight: NonZeroUsize,
    /// What a new version goes through before it is the active one.
    pub rollout: Limits,
    /// Whether what operators grant on all members of the cluster counts here, beside `grants`.
    pub cluster_grants: bool,
    /// What health checks may reach and have beyond their targets, by their names.
    pub grants: BTreeMap<String, Grants>,
}

/// `[plugins.grants.NAME]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Places beyond its targets that it may reach, if its manifest asks for them, too.
    pub hosts: Vec<HostRule>,
    /// Secrets of the node that the settings of a service may refer to.
    pub secrets: BTreeSet<String>,
    /// What it may use at most, whatever its manifest asks for.
    pub bounds: Bounds,
}

impl Default for Plugins {
    fn default() -> Self {
        Self {
            directory: None,
            replace_bundled: false,
            trust_keys: Vec::new(),
            unsigned: None,
            cache_dir: None,
            pool: NonZeroUsize::MIN.saturating_add(1023),
            guest_threads: None,
            max_in_flight: NonZeroUsize::MIN.saturating_add(511),
            rollout: Limits::default(),
            cluster_grants: false,
            grants: BTreeMap::new(),
        }
    }
}

impl Plugins {
    /// Places that are granted to checks, by their names.
    pub fn granted_hosts(&self) -> BTreeMap<String, Vec<HostRule>> {
        self.grants.iter().map(|(name, grants)| (name.clone(), grants.hosts.clone())).collect()
    }

    /// Secrets that are granted to checks, by their names.
    pub fn granted_secrets(&self) -> BTreeMap<String, BTreeSet<String>> {
        self.grants.iter().map(|(name, grants)| (name.clone(), grants.secrets.clone())).collect()
    }

    /// What plugins may use at most, by their names.
    pub fn bounds(&self) -> BTreeMap<String, Bounds> {
        self.grants.iter().map(|(name, grants)| (name.clone(), grants.bounds)).collect()
    }

    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let most = NonZeroUsize::MIN.saturating_add(4095); // beyond it the kernel's mappings run out
        let read = Self {
            directory: section.optional("directory"),
            replace_bundled: section.get("replace-bundled", default.replace_bundled),
            trust_keys: section.get("trust-keys", default.trust_keys),
            unsigned: section.optional("unsigned"),
            cache_dir: section.optional("cache-dir"),
            pool: section.within("pool", default.pool, &(NonZeroUsize::MIN..=most)),
            guest_threads: section.optional("guest-threads"),
            max_in_flight: section.get("max-in-flight", default.max_in_flight),
            rollout: section.section("rollout", rollout),
            cluster_grants: section.get("cluster-grants", default.cluster_grants),
            grants: section.tables("grants", |grants| Grants {
                hosts: grants.get("hosts", Vec::new()),
                secrets: grants.get("secrets", BTreeSet::new()),
                bounds: bounds(grants),
            }),
        };
        if read.max_in_flight > read.pool {
            section.problem(
                "max-in-flight",
                "must not be larger than pool: every running call needs an instance",
            );
        }
        read
    }
}

/// In the units of a manifest's `[limits]`.
fn bounds(grants: &mut Section<'_>) -> Bounds {
    let size = |Bytes(size): Bytes| size;
    Bounds {
        memory: grants.optional_within("memory", &MEMORY).map(size),
        cpu: grants.optional_within("cpu", &CPU),
        connections: grants.optional("connections"),
        traffic: grants.optional("traffic").map(size),
    }
}

/// What a component needs at least, and what an instance can have.
const MEMORY: RangeInclusive<Bytes> = Bytes(64 << 10)..=Bytes::mib(128);
/// CPU time is counted in ticks of 1 ms.
const CPU: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(60);

words!(Unsigned { "deny" => Unsigned::Deny, "warn" => Unsigned::Warn, "allow" => Unsigned::Allow });

impl FromSetting for Vec<TrustKey> {
    fn read(node: &Node) -> Result<Self, String> {
        let texts: Option<Vec<&str>> = match node {
            Node::List(entries) => entries.iter().map(|entry| entry.node.text()).collect(),
            Node::Raw(text) => Some(text.split(',').filter(|part| !part.trim().is_empty()).collect()),
            _ => None,
        };
        let keys = texts.and_then(|texts| texts.iter().map(|text| text.parse().ok()).collect());
        keys.ok_or_else(|| {
            "a list of public keys, each \"ed25519:BASE64 NAME\" as `muster plugin keygen` prints it".into()
        })
    }

    fn show(&self) -> String {
        self.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

impl FromSetting for BTreeSet<String> {
    fn read(node: &Node) -> Result<Self, String> {
        let texts: Option<Self> = match node {
            Node::List(entries) => entries.iter().map(|entry| entry.node.text().map(str::to_owned)).collect(),
            _ => None,
        };
        texts.ok_or_else(|| "a list of names, such as [\"probe-password\"]".to_owned())
    }

    fn show(&self) -> String {
        self.iter().cloned().collect::<Vec<_>>().join(",")
    }
}

impl FromSetting for Vec<HostRule> {
    fn read(node: &Node) -> Result<Self, String> {
        let texts: Option<Vec<&str>> = match node {
            Node::List(entries) => entries.iter().map(|entry| entry.node.text()).collect(),
            _ => None,
        };
        let texts =
            texts.ok_or("a list of hosts with ports, such as [\"auth.example:443\", \"10.1.0.0/16:443\"]")?;
        let rule = |text: &str| {
            text.parse().map_err(|error: NotAHost| format!("a list of hosts with ports, but {error}"))
        };
        texts.into_iter().map(rule).collect()
    }

    fn show(&self) -> String {
        self.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

/// `[plugins.rollout]`.
fn rollout(section: &mut Section<'_>) -> Limits {
    let default = Limits::default();
    Limits {
        shadow_share: share(section, "shadow-share", default.shadow_share),
        shadow_runs: section.get("shadow-runs", default.shadow_runs),
        shadow_time: time(section, "shadow-time", default.shadow_time),
        canary_share: share(section, "canary-share", default.canary_share),
        canary_runs: section.get("canary-runs", default.canary_runs),
        canary_time: time(section, "canary-time", default.canary_time),
        mismatches: share(section, "mismatches", default.mismatches),
        faults: share(section, "faults", default.faults),
        slowdown: section.get("slowdown", default.slowdown),
        slack: time(section, "slack", default.slack),
        patience: time(section, "patience", default.patience),
        probation: time(section, "probation", default.probation),
    }
}

/// A share from 0 to 1, as parts of a thousand.
fn share(section: &mut Section<'_>, key: &'static str, default: u16) -> u16 {
    let given = section.within(key, f64::from(default) / 1000.0, &(0.0..=1.0));
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1000")]
    let parts = (given * 1000.0).round() as u16;
    parts
}

fn time(section: &mut Section<'_>, key: &'static str, default: Millis) -> Millis {
    millis(section.get(key, Duration::from_millis(default.0)))
}

/// `[lookup]`: where the list of members comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// `standalone`, `file`, `address-server`, `dns`, or the name of a plugin.
    pub kind: String,
    /// Shortest wait between two look-ups, whatever the plugin asks for.
    pub min_interval: Duration,
    /// Longest wait between two look-ups.
    pub max_interval: Duration,
    /// Time for one look-up.
    pub timeout: Duration,
    /// Whom a plugin's question for a name goes to; none means the servers of `/etc/resolv.conf`.
    pub name_server: Option<SocketAddr>,
    /// What the plugin is told; which keys there are, `muster plugin inspect NAME` says.
    pub settings: plugin::Settings,
}

impl Default for Lookup {
    fn default() -> Self {
        Self {
            kind: "standalone".into(),
            min_interval: Duration::from_secs(1),
            max_interval: Duration::from_secs(3600),
            timeout: Duration::from_secs(5),
            name_server: None,
            settings: plugin::Settings::new(),
        }
    }
}

/// What a plugin may ask for, as the WIT says.
const INTERVAL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

impl Lookup {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let read = Self {
            kind: section.get("type", default.kind),
            min_interval: section.within("min-interval", default.min_interval, &INTERVAL),
            max_interval: section.within("max-interval", default.max_interval, &INTERVAL),
            timeout: section.within("timeout", default.timeout, &TIMEOUT),
            name_server: section.optional("name-server"),
            settings: free_settings(section),
        };
        if read.min_interval > read.max_interval {
            section.problem("min-interval", "must not be longer than max-interval");
        }
        read
    }
}

/// `[[filter]]`: a push filter and the services whose lists it narrows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Name of the plugin.
    pub plugin: String,
    /// Where it applies; `cluster` is not used.
    pub scope: Scope,
    /// Who is on a list when the plugin gives no answer; none means what its manifest says.
    pub on_fault: Option<FilterPolicy>,
    /// Wall time of one answer, for which a list waits; the manifest may allow less.
    pub timeout: Duration,
    /// What the plugin is told.
    pub settings: plugin::Settings,
}

/// Who is on a list when its filter gives no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterPolicy {
    /// Everybody, as if there were no filter.
    All,
    /// Nobody.
    None,
    /// Those of the last answer for the same kind of subscriber that are still there; everybody when there is none.
    Last,
}

words!(FilterPolicy { "all" => FilterPolicy::All, "none" => FilterPolicy::None, "last" => FilterPolicy::Last });

impl FilterPolicy {
    /// The word of the settings.
    pub const fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::None => "none",
            Self::Last => "last",
        }
    }
}

/// Wall time of one answer of a filter unless its settings say otherwise.
const FILTER_TIMEOUT: Duration = Duration::from_millis(200);
const FILTER_TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(5);

impl Filter {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            plugin: section.required("plugin").unwrap_or_default(),
            scope: Scope {
                namespace: section.optional("namespace"),
                group: section.optional("group"),
                service: section.optional("service"),
                cluster: None,
            },
            on_fault: section.optional("on-fault"),
            timeout: section.within("timeout", FILTER_TIMEOUT, &FILTER_TIMEOUTS),
            settings: free_settings(section),
        }
    }
}

/// `[[subscriber]]`: what filters are told of subscribers in a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// Their addresses.
    pub cidr: IpNet,
    /// Their labels.
    pub labels: BTreeMap<String, String>,
}

impl Subscriber {
    /// None when the network is missing or wrong, which is noted as a problem.
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let cidr = section.required("cidr");
        let labels = section.free("labels").into_iter().map(|(key, entry)| (key, entry.node.flattened()));
        let labels = labels.collect();
        Some(Self { cidr: cidr?, labels })
    }
}

/// The free table `settings`, flattened to text.
fn free_settings(section: &mut Section<'_>) -> plugin::Settings {
    section.free("settings").into_iter().map(|(key, entry)| (key, entry.node.flattened())).collect()
}
