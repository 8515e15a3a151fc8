//! From bytes and a manifest to a plugin that can be called.
//!
//! In this order, so that each step only meets what the one before let through: size and form, digest, kind and
//! version, imports against grants (nothing has been compiled yet), compiled code, link, description.

use crate::{
    Inspection, LoadError, Manifest,
    cache::Cache,
    call::{self, Describe, Failure, Request},
    descriptor, grants, inspect,
    plugin::{Core, Plugin},
    sealed::Sealed,
    world::World,
};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use wasmtime::component::Component;

/// Everything that can be said without compiling it.
pub(crate) fn examine(wasm: &[u8], manifest: &Manifest) -> Result<Inspection, LoadError> {
    let found = inspect(wasm)?;
    let plugin = &manifest.plugin;
    let name = || plugin.name.clone();
    if let Some(expected) = plugin.sha256.as_ref().filter(|expected| **expected != found.sha256) {
        return Err(LoadError::Digest { plugin: name(), found: found.sha256, expected: expected.clone() });
    }
    if found.kind != plugin.kind {
        return Err(LoadError::Kind { plugin: name(), expected: plugin.kind, found: found.kind });
    }
    let promised = plugin.api.as_ref().is_none_or(|api| found.api.starts_with(api.as_str()));
    if !inspect::is_supported(&found.api) || !promised {
        let supported =
            plugin.api.clone().unwrap_or_else(|| format!("{}.{}", inspect::API.0, inspect::API.1));
        return Err(LoadError::Version { plugin: name(), found: found.api, supported });
    }
    for import in &found.imports {
        if let Err(hint) = grants::check(manifest, import) {
            return Err(LoadError::NotGranted { plugin: name(), import: import.clone(), hint });
        }
    }
    Ok(found)
}

/// Compiles (or takes from the cache) and links. Takes long: not for async threads.
pub(crate) fn prepare<W: World>(
    core: &Arc<Core>,
    cache: Option<&Cache>,
    wasm: &[u8],
    manifest: Manifest,
    found: Inspection,
) -> Result<Plugin<W>, LoadError> {
    let fail = |error: wasmtime::Error| LoadError::Compile {
        plugin: manifest.plugin.name.clone(),
        text: crate::text::one_line(&format!("{error:#}"), 512),
    };
    let component = compiled(core, cache, wasm).map_err(fail)?;
    let pre = grants::linker(&core.engine, &manifest)
        .and_then(|linker| linker.instantiate_pre(&component))
        .and_then(W::prepare)
        .map_err(fail)?;
    Ok(Plugin::new(Arc::clone(core), manifest, found, pre))
}

fn compiled(core: &Core, cache: Option<&Cache>, wasm: &[u8]) -> wasmtime::Result<Component> {
    let digest: [u8; 32] = Sha256::digest(wasm).into();
    if let Some(component) = cache.and_then(|cache| cache.take(&core.engine, &digest)) {
        return Ok(component);
    }
    let component = Component::from_binary(&core.engine, wasm)?;
    if let Some(Err(error)) = cache.map(|cache| cache.keep(&core.engine, &digest, &component)) {
        tracing::warn!(%error, "compiled code is not kept for the next start");
    }
    Ok(component)
}

/// Asks the plugin what it is, and takes nothing on trust.
pub(crate) async fn describe<W: World>(plugin: Plugin<W>) -> Result<Plugin<W>, LoadError> {
    let wrong = |text| LoadError::Description { plugin: plugin.name.to_string(), text };
    let report = call::call(&plugin, Request::about(), &Describe).await;
    let said = match report.result {
        Ok(said) => said,
        Err(Failure::Plugin(error)) => return Err(LoadError::Describe(error)),
        Err(Failure::OutsideTooSlow | Failure::EndpointTooSlow) => {
            return Err(wrong("it waited for something outside".into()));
        }
    };
    let descriptor = descriptor::checked(said, &plugin.name).map_err(wrong)?;
    let sealed =
        Sealed::new(&plugin.manifest.grants.sealed_secrets, &descriptor).map_err(LoadError::Manifest)?;
    Ok(plugin.described(descriptor, sealed))
}
