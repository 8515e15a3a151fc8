//! Validation of settings, the same for every kind.

use crate::{
    PluginError,
    call::{self, Failure, Request, Validate},
    descriptor,
    host::HostInner,
    plugin::Plugin,
    sealed::Sealed,
    world::World,
};
use muster_core::plugin::{SettingProblem, Settings};
use std::sync::Arc;

/// What a guest sees in the place of a secret.
const SECRET: &str = "secret";

/// The schema first; only settings that fit it are shown to the plugin.
pub(crate) async fn validate<W: World>(
    host: &HostInner,
    plugin: Arc<Plugin<W>>,
    settings: &Settings,
) -> Result<Vec<SettingProblem>, PluginError> {
    let problems = plugin.descriptor.problems(settings);
    if !problems.is_empty() {
        return Ok(problems);
    }
    let mut settings = settings.clone();
    for key in plugin.descriptor.secrets() {
        settings.entry(key.to_owned()).and_modify(|value| SECRET.clone_into(value));
    }
    let name = Arc::clone(&plugin.name);
    host.run(&name, async move { ask(&plugin, &settings).await }).await?
}

async fn ask<W: World>(plugin: &Plugin<W>, settings: &Settings) -> Result<Vec<SettingProblem>, PluginError> {
    // in the place of every secret there is a word already
    let nothing = Sealed::default();
    let export = Validate(Plugin::<W>::lower(&plugin.descriptor, &nothing, settings));
    let report = call::call(plugin, Request::about(), &export).await;
    match report.result {
        Ok(said) => Ok(descriptor::problems(said)),
        Err(Failure::Plugin(error)) => Err(error),
        // there is nothing outside to wait for
        Err(Failure::OutsideTooSlow | Failure::EndpointTooSlow) => {
            Err(PluginError::Deadline { plugin: plugin.name.to_string(), after: report.took })
        }
    }
}
