//! One version of a plugin by itself: it can be asked before it is the one that everybody calls, and after.

use crate::{
    HealthCheck, Manifest, PluginError, PluginInfo, SettingProblem,
    host::{self, HostInner, Of},
    plugin::Plugin,
    validate,
    world::{CheckWorld, FilterWorld, LookupWorld},
};
use muster_core::plugin::{Descriptor, Settings};
use std::sync::Arc;

/// A version of a plugin that is compiled and can be called, active or not. Cloning is cheap.
#[derive(Clone)]
pub struct PluginVersion {
    plugin: Kind,
    host: Arc<HostInner>,
}

#[derive(Clone)]
enum Kind {
    Check(Arc<Plugin<CheckWorld>>),
    Lookup(Arc<Plugin<LookupWorld>>),
    Filter(Arc<Plugin<FilterWorld>>),
}

/// The same for all three kinds.
macro_rules! each {
    ($of:expr, $plugin:ident => $what:expr) => {
        match $of {
            Kind::Check($plugin) => $what,
            Kind::Lookup($plugin) => $what,
            Kind::Filter($plugin) => $what,
        }
    };
}

impl std::fmt::Debug for PluginVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = each!(&self.plugin, plugin => &plugin.name);
        f.debug_struct("PluginVersion").field("name", name).finish_non_exhaustive()
    }
}

impl PluginVersion {
    pub(crate) fn check(plugin: Arc<Plugin<CheckWorld>>, host: Arc<HostInner>) -> Self {
        Self { plugin: Kind::Check(plugin), host }
    }

    pub(crate) fn lookup(plugin: Arc<Plugin<LookupWorld>>, host: Arc<HostInner>) -> Self {
        Self { plugin: Kind::Lookup(plugin), host }
    }

    pub(crate) fn filter(plugin: Arc<Plugin<FilterWorld>>, host: Arc<HostInner>) -> Self {
        Self { plugin: Kind::Filter(plugin), host }
    }

    pub(crate) fn register(&self, host: &Arc<HostInner>) -> Option<Self> {
        let plugin = match &self.plugin {
            Kind::Check(plugin) => Kind::Check(host::register(&host.checks, Arc::clone(plugin))?),
            Kind::Lookup(plugin) => Kind::Lookup(host::register(&host.lookups, Arc::clone(plugin))?),
            Kind::Filter(plugin) => Kind::Filter(host::register(&host.filters, Arc::clone(plugin))?),
        };
        Some(Self { plugin, host: Arc::clone(host) })
    }

    /// What is known of it, and what it did since it was compiled.
    pub fn info(&self) -> PluginInfo {
        each!(&self.plugin, plugin => host::info(plugin))
    }

    /// What it asks to reach and use.
    pub fn manifest(&self) -> Manifest {
        each!(&self.plugin, plugin => plugin.signed_manifest())
    }

    /// What it says that it is.
    pub fn descriptor(&self) -> Arc<Descriptor> {
        each!(&self.plugin, plugin => Arc::clone(&plugin.descriptor))
    }

    /// What is wrong with the settings: first by the schema, then by the plugin itself. Secrets are not shown to it.
    ///
    /// # Errors
    /// [`PluginError`]: the plugin could not be asked, or broke.
    pub async fn validate(&self, settings: &Settings) -> Result<Vec<SettingProblem>, PluginError> {
        each!(&self.plugin, plugin => validate::validate(&self.host, Arc::clone(plugin), settings).await)
    }

    /// A handle to this version alone; none when it is no health check.
    pub fn health_check(&self) -> Option<HealthCheck> {
        match &self.plugin {
            Kind::Check(plugin) => {
                Some(HealthCheck::new(Arc::clone(&self.host), Of::This(Arc::clone(plugin))))
            }
            Kind::Lookup(_) | Kind::Filter(_) => None,
        }
    }

    /// It will not be called again for now: its idle instances are dropped.
    pub fn retire(&self) {
        each!(&self.plugin, plugin => plugin.retire());
    }

    /// Ends every call at once, without an answer, until it is let be called again.
    pub fn call_off(&self, off: bool) {
        each!(&self.plugin, plugin => plugin.call_off(off));
    }
}
