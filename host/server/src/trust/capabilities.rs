//! What a version of a plugin asks for beside another one: grants, imports, limits, settings, world. An upgrade that asks
//! for more is an operator's decision, by the digest of what they have looked at.

use muster_core::plugin::{Descriptor, PluginKind, SettingKind, SettingSpec};
use muster_wasm::{Faults, Grants, HostRule, Inspection, InstanceMode, Instances, Limits, Manifest};
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// Everything about a version that says what it can reach and use.
#[derive(Clone, Copy, Debug)]
pub struct Capabilities<'a> {
    /// what it is granted
    pub manifest: &'a Manifest,
    /// what it imports, and its world
    pub inspection: &'a Inspection,
    /// its settings
    pub descriptor: &'a Descriptor,
}

/// Which way a version differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// It asks for more.
    More,
    /// It asks for less.
    Less,
    /// It differs in what gives it nothing.
    Other,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// which way
    pub way: Way,
    /// what, such as `grants.dial = true`
    pub text: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.way {
            Way::More => '+',
            Way::Less => '-',
            Way::Other => '~',
        };
        write!(f, "{sign} {}", self.text)
    }
}

/// An upgrade that asks for more than what is active, and that nobody has approved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name} asks for more than the version that is active: {}. If it may have that: --approve {digest}",
    more.join("; ")
)]
pub struct NotApproved {
    /// the plugin
    pub name: String,
    /// what it asks for more
    pub more: Vec<String>,
    /// digest of the new version's component and manifest together, as [`super::Statement::digest`] says
    pub digest: String,
}

/// Whether `new`, whose [`super::Statement::digest`] is `digest`, may take the place of `active`. Answers all that differs.
///
/// # Errors
/// [`NotApproved`], when it asks for more and `approved` is not its digest.
pub fn upgrade(
    active: &Capabilities<'_>,
    new: &Capabilities<'_>,
    digest: &str,
    approved: Option<&str>,
) -> Result<Vec<Difference>, NotApproved> {
    let all = differences(active, new);
    let more = all.iter().filter(|one| one.way == Way::More).map(|one| one.text.clone());
    let more: Vec<String> = more.collect();
    if more.is_empty() || approved == Some(digest) {
        return Ok(all);
    }
    let name = new.manifest.plugin.name.clone();
    Err(NotApproved { name, more, digest: digest.to_owned() })
}

/// All that differs, what is more first.
pub fn differences(old: &Capabilities<'_>, new: &Capabilities<'_>) -> Vec<Difference> {
    let mut list = List::default();
    list.world(old, new);
    list.grants(&old.manifest.grants, &new.manifest.grants);
    list.imports(old, &new.inspection.imports);
    list.limits(old.manifest, new.manifest);
    list.instances(&old.manifest.instances, &new.manifest.instances);
    list.faults(&old.manifest.faults, &new.manifest.faults);
    list.settings(&old.descriptor.settings, &new.descriptor.settings);
    list.0.sort_by_key(|one| one.way);
    list.0
}

#[derive(Default)]
struct List(Vec<Difference>);

impl List {
    fn add(&mut self, way: Way, text: impl Into<String>) {
        self.0.push(Difference { way, text: text.into() });
    }

    fn world(&mut self, old: &Capabilities<'_>, new: &Capabilities<'_>) {
        let (before, after) = (old.inspection, new.inspection);
        if before.kind != after.kind {
            // another kind of plugin is called with other things, and for other purposes
            self.add(Way::More, format!("world: {}, was {}", after.world, before.world));
        } else if before.api != after.api {
            self.add(Way::Other, format!("made for muster:plugin@{}, was @{}", after.api, before.api));
        }
        let (before, after) = (&old.manifest.plugin.name, &new.manifest.plugin.name);
        if before != after {
            self.add(Way::Other, format!("name: {after}, was {before}"));
        }
    }

    fn grants(&mut self, old: &Grants, new: &Grants) {
        // no `..`: a new grant must choose its place here
        let Grants { dial, fetch, hosts, files, names, wasi_sockets, sealed_secrets } = new;
        self.switch("grants.dial", old.dial, *dial);
        self.switch("grants.wasi-sockets", old.wasi_sockets, *wasi_sockets);
        self.names("grants.fetch", &old.fetch, fetch);
        let written = |rules: &[HostRule]| rules.iter().map(ToString::to_string).collect::<Vec<_>>();
        self.names("grants.hosts", &written(&old.hosts), &written(hosts));
        self.names("grants.files", &old.files, files);
        self.names("grants.names", &old.names, names);
        self.sealed(&old.sealed_secrets, sealed_secrets);
    }

    /// What is sealed is withheld from it: the less, the more it sees.
    fn sealed(&mut self, old: &[String], new: &[String]) {
        for key in old.iter().filter(|key| !new.contains(key)) {
            self.add(Way::More, format!("grants.sealed-secrets: no longer {key:?}, so it sees that secret"));
        }
        for key in new.iter().filter(|key| !old.contains(key)) {
            self.add(Way::Less, format!("grants.sealed-secrets: {key:?}, which it does not see"));
        }
    }

    fn switch(&mut self, key: &str, old: bool, new: bool) {
        match (old, new) {
            (false, true) => self.add(Way::More, format!("{key} = true")),
            (true, false) => self.add(Way::Less, format!("{key} = true")),
            _ => {}
        }
    }

    fn names(&mut self, key: &str, old: &[String], new: &[String]) {
        let (old, new): (BTreeSet<_>, BTreeSet<_>) = (old.iter().collect(), new.iter().collect());
        for name in new.difference(&old) {
            self.add(Way::More, format!("{key}: {name:?}"));
        }
        for name in old.difference(&new) {
            self.add(Way::Less, format!("{key}: {name:?}"));
        }
    }

    fn imports(&mut self, before: &Capabilities<'_>, new: &[String]) {
        let bare = |imports: &[String]| -> BTreeSet<String> {
            imports.iter().map(|import| import.split('@').next().unwrap_or(import).to_owned()).collect()
        };
        let (old, new) = (bare(&before.inspection.imports), bare(new));
        for import in new.difference(&old) {
            // what was granted before and is used now is no more than was granted
            let known = is_inert(import) || is_granted(before.manifest, import);
            self.add(if known { Way::Other } else { Way::More }, format!("imports {import}"));
        }
        for import in old.difference(&new) {
            let way = if is_inert(import) { Way::Other } else { Way::Less };
            self.add(way, format!("no longer imports {import}"));
        }
    }

    fn limits(&mut self, old: &Manifest, new: &Manifest) {
        let kind = new.plugin.kind;
        let Limits { memory, deadline, cpu, in_flight, connections, traffic } = &new.limits;
        let before = &old.limits;
        let bytes = |count: &u64| format!("{count} bytes");
        self.amount("limits.memory", &before.memory, memory, bytes);
        self.amount("limits.traffic", &before.traffic, traffic, bytes);
        self.amount("limits.in-flight", &before.in_flight, in_flight, u32::to_string);
        self.amount("limits.connections", &before.connections, connections, u32::to_string);
        let (was, is) = (cpu_of(old.plugin.kind, before.cpu), cpu_of(kind, *cpu));
        self.amount("limits.cpu", &was, &is, |time| format!("{time:?}"));
        // none leaves the deadline to whoever calls, which may be later than any
        let ceiling = |deadline: Option<Duration>| deadline.unwrap_or(Duration::MAX);
        self.amount("limits.deadline", &ceiling(before.deadline), &ceiling(*deadline), |time| {
            if *time == Duration::MAX { "the caller's".into() } else { format!("{time:?}") }
        });
    }

    fn amount<T: PartialOrd>(&mut self, key: &str, old: &T, new: &T, show: impl Fn(&T) -> String) {
        let text = || format!("{key} = {}, was {}", show(new), show(old));
        if new > old {
            self.add(Way::More, text());
        } else if new < old {
            self.add(Way::Less, text());
        }
    }

    fn instances(&mut self, old: &Instances, new: &Instances) {
        let Instances { mode, calls, idle } = new;
        match (old.mode, mode) {
            (InstanceMode::Fresh, InstanceMode::Reuse) => {
                self.add(Way::More, "instances.mode = \"reuse\": what it remembers outlives a call");
            }
            (InstanceMode::Reuse, InstanceMode::Fresh) => {
                self.add(Way::Less, "instances.mode = \"fresh\"");
            }
            _ => {}
        }
        self.amount("instances.idle", &old.idle, idle, usize::to_string);
        if old.calls != *calls {
            self.add(Way::Other, format!("instances.calls = {calls}, was {}", old.calls));
        }
    }

    fn faults(&mut self, old: &Faults, new: &Faults) {
        if old != new {
            self.add(Way::Other, format!("[faults]: {new:?}, was {old:?}"));
        }
    }

    fn settings(&mut self, old: &[SettingSpec], new: &[SettingSpec]) {
        let find = |specs: &[SettingSpec], key: &str| specs.iter().find(|spec| spec.key == key).cloned();
        for spec in new {
            let before = find(old, &spec.key);
            if let Some((way, text)) = setting(before.as_ref(), spec) {
                self.add(way, format!("setting {}: {text}", spec.key));
            }
        }
        for spec in old.iter().filter(|spec| find(new, &spec.key).is_none()) {
            let text = format!("setting {}: is gone; checks that have it will be refused", spec.key);
            self.add(Way::Other, text);
        }
    }
}

/// What is new about one setting.
fn setting(before: Option<&SettingSpec>, spec: &SettingSpec) -> Option<(Way, String)> {
    fn is_secret(spec: &SettingSpec) -> bool {
        matches!(spec.kind, SettingKind::Secret)
    }
    fn is_needed(spec: &SettingSpec) -> bool {
        spec.required && spec.default.is_none()
    }
    let asks = |wants: fn(&SettingSpec) -> bool| wants(spec) && !before.is_some_and(wants);
    if asks(is_secret) {
        return Some((Way::More, "a secret".into()));
    }
    if asks(is_needed) {
        return Some((Way::More, "has to be given".into()));
    }
    let Some(before) = before else { return Some((Way::Other, "new, may be left out".into())) };
    if before.kind != spec.kind {
        return Some((Way::Other, format!("{:?}, was {:?}", spec.kind, before.kind)));
    }
    if before.default != spec.default {
        return Some((Way::Other, format!("default {:?}, was {:?}", spec.default, before.default)));
    }
    None
}

/// Interfaces that every plugin gets, and that lead nowhere (`host/wasm/src/grants.rs`).
fn is_inert(import: &str) -> bool {
    matches!(import, "muster:plugin/types" | "muster:plugin/host" | "muster:plugin/candidates")
        || (import.starts_with("wasi:") && !import.starts_with("wasi:sockets/"))
}

/// Whether the grants of a manifest let it import this (`host/wasm/src/grants.rs`).
fn is_granted(manifest: &Manifest, import: &str) -> bool {
    let grants = &manifest.grants;
    match (import, manifest.plugin.kind) {
        ("muster:plugin/dial" | "muster:plugin/fetch", PluginKind::HealthCheck) => grants.dial,
        ("muster:plugin/fetch", PluginKind::MemberLookup) => !grants.fetch.is_empty(),
        ("muster:plugin/files", PluginKind::MemberLookup) => !grants.files.is_empty(),
        ("muster:plugin/names", PluginKind::MemberLookup) => !grants.names.is_empty(),
        (import, _) => import.starts_with("wasi:sockets/") && grants.wasi_sockets,
    }
}

/// CPU time of a call: what the manifest says, else what its kind has.
fn cpu_of(kind: PluginKind, said: Option<Duration>) -> Duration {
    said.unwrap_or(Duration::from_millis(match kind {
        PluginKind::HealthCheck => 50,
        PluginKind::MemberLookup => 200,
        PluginKind::PushFilter => 10,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "[plugin]\nname = \"x\"\nkind = \"health-check\"\n";

    struct Version(Manifest, Inspection, Descriptor);

    impl Version {
        fn new(more: &str) -> Self {
            let inspection = Inspection {
                kind: PluginKind::HealthCheck,
                world: "muster:plugin/health-check@0.1.0".into(),
                api: "0.1.0".into(),
                imports: vec!["muster:plugin/types@0.1.0".into(), "wasi:io/poll@0.2.6".into()],
                exports: Vec::new(),
                size: 1,
                sha256: String::new(),
            };
            let descriptor = Descriptor {
                name: "x".into(),
                version: "1".into(),
                summary: String::new(),
                settings: vec![spec("path", SettingKind::Text, false)],
            };
            Self(Manifest::parse(&format!("{MANIFEST}{more}")).unwrap(), inspection, descriptor)
        }

        fn capabilities(&self) -> Capabilities<'_> {
            Capabilities { manifest: &self.0, inspection: &self.1, descriptor: &self.2 }
        }
    }

    fn spec(key: &str, kind: SettingKind, required: bool) -> SettingSpec {
        SettingSpec { key: key.into(), summary: String::new(), kind, required, default: None }
    }

    fn shown(old: &Version, new: &Version) -> Vec<String> {
        differences(&old.capabilities(), &new.capabilities()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_the_same_asks_for_nothing() {
        assert_eq!(shown(&Version::new(""), &Version::new("")), [""; 0]);
        // what is left out is what its default says
        let said = Version::new("[limits]\ncpu = \"50ms\"\nmemory = \"16MiB\"\n");
        assert_eq!(shown(&Version::new(""), &said), [""; 0]);
    }

    #[test]
    fn more_comes_first_and_everything_has_its_side() {
        let old = Version::new(
            "[limits]\nmemory = \"32MiB\"\ndeadline = \"1s\"\ncpu = \"20ms\"\n[instances]\nmode = \"fresh\"\n",
        );
        let mut new = Version::new("[grants]\ndial = true\nwasi-sockets = true\n[limits]\nconnections = 4\n");
        new.1.imports =
            ["muster:plugin/types@0.1.1", "muster:plugin/dial@0.1.1", "wasi:clocks/wall-clock@0.2.9"]
                .map(str::to_owned)
                .to_vec();
        new.1.api = "0.1.1".into();
        new.2.settings = vec![
            spec("user", SettingKind::Text, true),
            spec("password", SettingKind::Secret, false),
            spec("mode", SettingKind::Text, false),
        ];
        assert_eq!(
            shown(&old, &new),
            [
                "+ grants.dial = true",
                "+ grants.wasi-sockets = true",
                "+ imports muster:plugin/dial",
                "+ limits.cpu = 50ms, was 20ms",
                "+ limits.deadline = the caller's, was 1s",
                "+ instances.mode = \"reuse\": what it remembers outlives a call",
                "+ setting user: has to be given",
                "+ setting password: a secret",
                "- limits.memory = 16777216 bytes, was 33554432 bytes",
                "- limits.connections = 4, was 8",
                "~ made for muster:plugin@0.1.1, was @0.1.0",
                "~ imports wasi:clocks/wall-clock",
                "~ no longer imports wasi:io/poll",
                "~ setting mode: new, may be left out",
                "~ setting path: is gone; checks that have it will be refused",
            ]
        );
    }

    #[test]
    fn places_beyond_the_target_and_secrets_that_it_sees_are_more() {
        let old = Version::new(
            "[grants]\ndial = true\nfetch = [\"url\"]\nhosts = [\"a.example:443\"]\nsealed-secrets = [\"token\"]\n",
        );
        let new = Version::new(
            "[grants]\ndial = true\nfetch = [\"url\", \"other\"]\nhosts = [\"A.example.:443\", \"10.0.0.0/8:*\"]\n",
        );
        assert_eq!(
            shown(&old, &new),
            [
                "+ grants.fetch: \"other\"",
                "+ grants.hosts: \"10.0.0.0/8:*\"",
                "+ grants.sealed-secrets: no longer \"token\", so it sees that secret",
            ]
        );
        assert_eq!(
            shown(&new, &old),
            [
                "- grants.fetch: \"other\"",
                "- grants.hosts: \"10.0.0.0/8:*\"",
                "- grants.sealed-secrets: \"token\", which it does not see",
            ]
        );
    }

    #[test]
    fn a_grant_that_is_used_at_last_is_no_more() {
        let granted = "[grants]\ndial = true\n";
        let (old, mut new) = (Version::new(granted), Version::new(granted));
        new.1.imports.push("muster:plugin/dial@0.1.1".into());
        assert_eq!(shown(&old, &new), ["~ imports muster:plugin/dial"]);
    }

    #[test]
    fn an_upgrade_that_asks_for_more_is_approved_by_its_digest() {
        let (old, new) = (Version::new(""), Version::new("[grants]\ndial = true\n"));
        let ask = |approved| upgrade(&old.capabilities(), &new.capabilities(), "sha256:ab", approved);
        let refused = ask(None).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "x asks for more than the version that is active: grants.dial = true. If it may have that: \
             --approve sha256:ab"
        );
        assert_eq!(ask(Some("sha256:cd")).unwrap_err(), refused, "another version was approved");
        assert_eq!(ask(Some("sha256:ab")).unwrap().len(), 1);
        let back = upgrade(&new.capabilities(), &old.capabilities(), "sha256:cd", None).unwrap();
        assert_eq!(back[0].to_string(), "- grants.dial = true");
    }
}
