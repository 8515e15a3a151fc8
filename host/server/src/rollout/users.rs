//! Who uses a plugin, with which settings, and whether a version takes them all.

use crate::naming::Published;
use crate::secrets::{SecretError, Secrets};
use crate::settings;
use muster_core::naming::ServiceSnapshot;
use muster_core::plugin::{PluginKind, Settings};
use muster_core::service::CheckerSettings;
use muster_wasm::PluginVersion;
use std::collections::BTreeMap;

/// The settings that a plugin is used with, each with one of those who use them.
pub(super) struct Users {
    settings: BTreeMap<Settings, String>,
    /// instances are checked by it
    pub(super) is_called: bool,
}

impl Users {
    /// Of a plugin, by what is registered now and by the settings file.
    pub(super) fn of(
        kind: PluginKind,
        name: &str,
        published: &Published,
        filters: &[settings::Filter],
        lookup: &settings::Lookup,
    ) -> Self {
        match kind {
            PluginKind::HealthCheck => Self::of_check(name, published),
            PluginKind::MemberLookup => {
                let used = lookup.kind == name;
                let settings = used.then(|| (lookup.settings.clone(), "lookup.settings".to_owned()));
                Self { settings: settings.into_iter().collect(), is_called: false }
            }
            PluginKind::PushFilter => {
                let used = filters.iter().filter(|filter| filter.plugin == name);
                let settings = used.map(|filter| (filter.settings.clone(), "a [[filter]]".to_owned()));
                Self { settings: settings.collect(), is_called: false }
            }
        }
    }

    fn of_check(name: &str, published: &Published) -> Self {
        let mut users = Self { settings: BTreeMap::new(), is_called: false };
        for service in published.all() {
            let snapshot = &*service.snapshot;
            if snapshot.ephemeral && snapshot.metadata.is_none() {
                continue;
            }
            let mut uses = |cluster: &str, checker: &CheckerSettings, has_instances: bool| {
                if checker.kind == name {
                    let who = || format!("cluster {cluster} of service {}", snapshot.key);
                    users.settings.entry(checker.settings.clone()).or_insert_with(who);
                    users.is_called |= has_instances && !snapshot.ephemeral;
                }
            };
            each_checker(snapshot, &mut uses);
        }
        users
    }

    /// Why a version cannot take the place of the one that they use.
    pub(super) async fn refuse(&self, version: &PluginVersion, secrets: &Secrets) -> Result<(), String> {
        let descriptor = version.descriptor();
        for (settings, who) in &self.settings {
            let wrong = |why: String| format!("the settings of {who} are not accepted: {why}");
            let resolved = match version.manifest().plugin.kind {
                PluginKind::HealthCheck => secrets.resolve_granted(&descriptor, settings),
                PluginKind::MemberLookup | PluginKind::PushFilter => secrets.resolve(&descriptor, settings),
            };
            match resolved {
                // Anybody's service may ask for it, and does not get it from the active version either.
                Ok(_) | Err(SecretError::NotGranted { .. }) => {}
                Err(error) => return Err(wrong(error.to_string())),
            }
            let problems = version.validate(settings).await.map_err(|error| wrong(error.to_string()))?;
            if !problems.is_empty() {
                let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
                return Err(wrong(problems.join("; ")));
            }
        }
        Ok(())
    }
}

/// Those that were stored for a cluster, and the default one of clusters without settings that have instances.
fn each_checker(snapshot: &ServiceSnapshot, uses: &mut impl FnMut(&str, &CheckerSettings, bool)) {
    let clusters = snapshot.metadata.as_ref().map(|metadata| &metadata.clusters);
    let has_instances = |name: &str| snapshot.instances.iter().any(|instance| &*instance.cluster == name);
    for (name, settings) in clusters.into_iter().flatten() {
        uses(name, &settings.checker, has_instances(name));
    }
    let default = CheckerSettings::default();
    let without = |name: &str| clusters.is_none_or(|clusters| !clusters.contains_key(name));
    if let Some(instance) = snapshot.instances.iter().find(|instance| without(&instance.cluster)) {
        uses(&instance.cluster, &default, true);
    }
}
