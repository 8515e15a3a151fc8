//! A plugin's manifest: what it is, what it may reach and what it may use. Written by the operator, never by the
//! plugin.

use crate::{LoadError, network::HostRule};
use muster_core::plugin::PluginKind;
use serde::{Deserialize, Deserializer, de::Error as _};
use std::time::Duration;

/// What the operator says about one component.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// what it is
    pub plugin: PluginSection,
    /// what it may reach; nothing by default
    #[serde(default)]
    pub grants: Grants,
    /// what one call may use
    #[serde(default)]
    pub limits: Limits,
    /// how instances are kept
    #[serde(default)]
    pub instances: Instances,
    /// what follows from a failed call
    #[serde(default)]
    pub faults: Faults,
}

/// `[plugin]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginSection {
    /// the word that selects it, the same that it says itself
    pub name: String,
    /// which of the three worlds
    #[serde(deserialize_with = "kind")]
    pub kind: PluginKind,
    /// file of the component, relative to the manifest; none for bundled ones
    #[serde(default)]
    pub component: Option<String>,
    /// lower-case hex digest that the component must have
    #[serde(default)]
    pub sha256: Option<String>,
    /// version of the interfaces that it was made for, `0.1`
    #[serde(default)]
    pub api: Option<String>,
}

/// `[grants]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Grants {
    /// `dial` and `fetch` of a health check; they reach the target and nothing else
    pub dial: bool,
    /// keys of the settings that hold a URL: of a lookup's endpoint, or of one of a health check's `hosts`
    pub fetch: Vec<String>,
    /// places beyond its target that a health check asks for; it reaches those that the operator allows, too
    pub hosts: Vec<HostRule>,
    /// names of files below the lookup's folder
    pub files: Vec<String>,
    /// keys of the settings that hold a name which a lookup may look up in DNS
    pub names: Vec<String>,
    /// std::net, to the target of the check, and to those of `hosts` that are addresses
    pub wasi_sockets: bool,
    /// keys of the secret settings that it can put into HTTP headers without ever being told them
    pub sealed_secrets: Vec<String>,
}

/// `[limits]` of one call.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Limits {
    /// bytes of linear memory, 64 KiB to 128 MiB
    #[serde(deserialize_with = "size")]
    pub memory: u64,
    /// ceiling of the wall time; none leaves it to the caller
    #[serde(deserialize_with = "maybe_duration")]
    pub deadline: Option<Duration>,
    /// CPU time; none is the default of the kind (50, 200, 10 ms)
    #[serde(deserialize_with = "maybe_duration")]
    pub cpu: Option<Duration>,
    /// calls that may run at once
    pub in_flight: u32,
    /// connections that one check may open
    pub connections: u32,
    /// bytes that one check may send and receive together
    #[serde(deserialize_with = "size")]
    pub traffic: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: 16 << 20, deadline: None, cpu: None, in_flight: 512, connections: 8, traffic: 1 << 20 }
    }
}

/// Whether an instance serves one call or many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceMode {
    /// many calls, one after the other
    #[default]
    Reuse,
    /// one call
    Fresh,
}

/// `[instances]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Instances {
    /// reuse or fresh
    pub mode: InstanceMode,
    /// calls after which an instance is thrown away
    pub calls: u32,
    /// instances that are kept while nobody calls
    pub idle: usize,
}

impl Default for Instances {
    fn default() -> Self {
        Self { mode: InstanceMode::Reuse, calls: 1000, idle: 64 }
    }
}

/// What a push filter's failure means for the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFault {
    /// as it was; for a filter the whole list
    #[default]
    Keep,
    /// the whole list
    PassAll,
    /// an empty list
    PassNone,
}

/// `[faults]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Faults {
    /// filters: what is pushed when the filter fails
    pub on_fault: OnFault,
    /// filters: whether an answer may be given again to a subscriber that is alike
    pub memoise: bool,
}

impl Default for Faults {
    fn default() -> Self {
        Self { on_fault: OnFault::Keep, memoise: true }
    }
}

/// Largest linear memory that a manifest may allow, in bytes: the size of a pool slot.
pub const MAX_MEMORY: u64 = 128 << 20;

impl Manifest {
    /// The manifest of a bundled plugin: its target for a health check, nothing for the others (add to
    /// `grants.fetch`, `grants.files` and `grants.names` what a lookup needs).
    pub fn bundled(name: &str, kind: PluginKind) -> Self {
        Self {
            plugin: PluginSection {
                name: name.to_owned(),
                kind,
                component: None,
                sha256: None,
                api: Some("0.1".to_owned()),
            },
            grants: Grants { dial: kind == PluginKind::HealthCheck, ..Grants::default() },
            limits: Limits::default(),
            instances: Instances::default(),
            faults: Faults::default(),
        }
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// [`LoadError::Manifest`] names the key and the line: unknown keys, wrong units, bounds passed.
    pub fn parse(text: &str) -> Result<Self, LoadError> {
        let manifest: Self = toml::from_str(text).map_err(|error| LoadError::Manifest(error.to_string()))?;
        manifest.check().map_err(LoadError::Manifest)?;
        Ok(manifest)
    }

    /// What is wrong with the values.
    fn check(&self) -> Result<(), String> {
        let Limits { memory, in_flight, .. } = self.limits;
        if self.plugin.name.is_empty() || self.plugin.name.len() > 64 {
            return Err("plugin.name: must have 1 to 64 bytes".into());
        }
        if !(64 << 10..=MAX_MEMORY).contains(&memory) {
            return Err("limits.memory: must be from \"64KiB\" to \"128MiB\"".into());
        }
        if in_flight == 0 {
            return Err("limits.in-flight: must be at least 1".into());
        }
        if self.instances.calls == 0 {
            return Err("instances.calls: must be at least 1".into());
        }
        if self.plugin.sha256.as_ref().is_some_and(|hex| !is_digest(hex)) {
            return Err("plugin.sha256: must be 64 lower-case hex digits".into());
        }
        self.check_grants()
    }

    /// Grants that the kind cannot use are mistakes.
    fn check_grants(&self) -> Result<(), String> {
        let Grants { dial, fetch, hosts, files, names, wasi_sockets, sealed_secrets } = &self.grants;
        let kind = self.plugin.kind;
        let wrong = |key: &str| Err(format!("grants.{key}: a {} cannot use it", kind.world()));
        match kind {
            PluginKind::HealthCheck if !fetch.is_empty() && !dial => {
                Err("grants.fetch: a health-check needs dial = true for it".into())
            }
            PluginKind::HealthCheck if !hosts.is_empty() && fetch.is_empty() && !wasi_sockets => Err(
                "grants.hosts: nothing can be reached with it alone; add fetch = [\"the setting that holds the URL\"]"
                    .into(),
            ),
            PluginKind::HealthCheck if !files.is_empty() => wrong("files"),
            PluginKind::MemberLookup | PluginKind::PushFilter if !hosts.is_empty() => wrong("hosts"),
            PluginKind::PushFilter if !sealed_secrets.is_empty() => wrong("sealed-secrets"),
            PluginKind::HealthCheck | PluginKind::PushFilter if !names.is_empty() => wrong("names"),
            PluginKind::MemberLookup | PluginKind::PushFilter if *dial => wrong("dial"),
            PluginKind::MemberLookup | PluginKind::PushFilter if *wasi_sockets => wrong("wasi-sockets"),
            PluginKind::PushFilter if !fetch.is_empty() => wrong("fetch"),
            PluginKind::PushFilter if !files.is_empty() => wrong("files"),
            _ => Ok(()),
        }
    }

    /// CPU time of one call.
    pub(crate) fn cpu(&self) -> Duration {
        self.limits.cpu.unwrap_or(Duration::from_millis(match self.plugin.kind {
            PluginKind::HealthCheck => 50,
            PluginKind::MemberLookup => 200,
            PluginKind::PushFilter => 10,
        }))
    }
}

fn is_digest(hex: &str) -> bool {
    hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn kind<'de, D: Deserializer<'de>>(input: D) -> Result<PluginKind, D::Error> {
    let word = String::deserialize(input)?;
    [PluginKind::HealthCheck, PluginKind::MemberLookup, PluginKind::PushFilter]
        .into_iter()
        .find(|kind| kind.world() == word)
        .ok_or_else(|| {
            D::Error::custom(format!("kind must be health-check, member-lookup or push-filter, is {word:?}"))
        })
}

/// `16MiB`, `64KiB`, `512B`.
fn size<'de, D: Deserializer<'de>>(input: D) -> Result<u64, D::Error> {
    let text = String::deserialize(input)?;
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];
    let parsed = units.iter().find_map(|(unit, shift)| {
        let number: u64 = text.strip_suffix(unit)?.trim().parse().ok()?;
        number.checked_mul(1 << shift)
    });
    parsed.ok_or_else(|| D::Error::custom(format!("must be a size such as \"16MiB\", is {text:?}")))
}

/// `500ms`, `10s`.
fn maybe_duration<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(input)?;
    let number = |unit| text.strip_suffix(unit).and_then(|n: &str| n.trim().parse::<u32>().ok());
    let parsed = number("ms")
        .map(|ms| Duration::from_millis(ms.into()))
        .or_else(|| number("s").map(|s| Duration::from_secs(s.into())));
    match parsed {
        Some(length) if !length.is_zero() => Ok(Some(length)),
        _ => Err(D::Error::custom(format!("must be a time such as \"500ms\" or \"10s\", is {text:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MYSQL: &str = r#"
        [plugin]
        name = "MYSQL"
        kind = "health-check"
        component = "mysql.wasm"
        api = "0.1"
        [grants]
        dial = true
        [limits]
        memory = "32MiB"
        deadline = "500ms"
        cpu = "50ms"
        in-flight = 64
        connections = 2
        traffic = "512KiB"
        [instances]
        mode = "fresh"
        calls = 10
        idle = 4
        [faults]
        on-fault = "keep"
        memoise = false
    "#;

    #[test]
    fn every_key_of_the_design_is_read() {
        let manifest = Manifest::parse(MYSQL).unwrap();
        assert_eq!(manifest.plugin.kind, PluginKind::HealthCheck);
        assert_eq!(manifest.limits.memory, 32 << 20);
        assert_eq!(manifest.limits.traffic, 512 << 10);
        assert_eq!(manifest.limits.deadline, Some(Duration::from_millis(500)));
        assert_eq!(manifest.cpu(), Duration::from_millis(50));
        assert_eq!(manifest.instances.mode, InstanceMode::Fresh);
        assert!(!manifest.faults.memoise && manifest.grants.dial && !manifest.grants.wasi_sockets);
    }

    #[test]
    fn an_unknown_key_is_named() {
        for (wrong, key) in [("memory =", "memroy ="), ("dial =", "dail ="), ("[faults]", "[fualts]")]
            .map(|(right, wrong)| (MYSQL.replace(right, wrong), wrong.trim_matches(['[', ']', '=', ' '])))
        {
            let error = Manifest::parse(&wrong).unwrap_err().to_string();
            assert!(error.contains(key), "{key} is not named in: {error}");
        }
    }

    #[test]
    fn wrong_units_and_bounds_are_refused() {
        for (right, wrong, says) in [
            ("\"32MiB\"", "\"32MB\"", "16MiB"),
            ("\"32MiB\"", "\"1GiB\"", "128MiB"),
            ("\"500ms\"", "\"500\"", "500ms"),
            ("\"50ms\"", "\"0ms\"", "500ms"),
            ("in-flight = 64", "in-flight = 0", "in-flight"),
            ("\"health-check\"", "\"health\"", "push-filter"),
            ("dial = true", "fetch = [\"url\"]", "dial = true"),
            ("dial = true", "hosts = [\"a.example:443\"]", "grants.hosts"),
            ("dial = true", "hosts = [\"a.example\"]", "auth.example:443"),
            ("\"health-check\"", "\"push-filter\"", "grants.dial"),
            ("api = \"0.1\"", "sha256 = \"AB\"", "sha256"),
        ] {
            let error = Manifest::parse(&MYSQL.replace(right, wrong)).unwrap_err().to_string();
            assert!(error.contains(says), "{says} is not in: {error}");
        }
    }

    #[test]
    fn nothing_is_granted_by_default() {
        let text = "[plugin]\nname = \"x\"\nkind = \"health-check\"";
        assert_eq!(Manifest::parse(text).unwrap().grants, Grants::default());
        assert!(!Grants::default().dial);
    }
}
