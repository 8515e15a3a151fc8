//! `plugins`: what WebAssembly costs, against the same work as native code in the same process.

mod calls;
mod filter;
mod flight;
mod languages;
mod listener;
mod mysql;
mod probes;

pub(crate) use flight::hold;
pub(crate) use languages::{NAME as LANGUAGES, answer, run as languages};
pub(crate) use probes::{accept, answer_http, answer_mysql};

use crate::Context;
use anyhow::Context as _;
use bytes::Bytes;
use muster_core::plugin::{PluginKind, Target};
use muster_wasm::{CheckCall, HostOptions, Limits, Manifest, PluginHost, Settings};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// As `--only` names it.
pub(crate) const NAME: &str = "plugins";
/// Instances that the pool holds; more than are ever in flight.
const POOL: u32 = 4096;
/// Calls that may be in flight.
const IN_FLIGHT: u32 = 3_600;

/// Runs it.
///
/// # Errors
/// A plugin does not load, or answers what it should not.
pub(crate) fn run(context: &mut Context) -> anyhow::Result<()> {
    flight::run(context)?;
    let host = host()?;
    // Leaving the block while the host lives: its threads must not end in async code.
    let runtime = crate::load::runtime()?;
    runtime.block_on(async {
        calls::run(context, &host).await?;
        filter::run(context, &host).await?;
        probes::run(context, &host).await
    })
}

/// A host as the node starts it: one guest thread for every two cores.
fn host() -> anyhow::Result<PluginHost> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let options = HostOptions {
        pool: POOL,
        max_in_flight: IN_FLIGHT as usize,
        guest_threads: (cores / 2).max(1),
        ..HostOptions::default()
    };
    Ok(PluginHost::new(options)?)
}

/// A bundled plugin and its manifest, with room for many calls at a time.
fn bundled(name: &str) -> anyhow::Result<(Bytes, Manifest)> {
    let mut all = muster_plugins_bundle::plugins().iter();
    let found =
        all.find(|plugin| plugin.name == name).with_context(|| format!("no bundled plugin {name}"))?;
    let manifest = Manifest::parse(found.manifest)?;
    let limits = Limits { in_flight: IN_FLIGHT, ..manifest.limits };
    Ok((Bytes::from_static(found.wasm), Manifest { limits, ..manifest }))
}

/// The test guest that passes without looking, under the name that it gives itself.
fn empty() -> (Bytes, Manifest) {
    let manifest = Manifest::bundled("guest", PluginKind::HealthCheck);
    (muster_test_guests::component("does_nothing").into(), manifest)
}

/// A check of the instance at `address`.
fn check_of(address: SocketAddr, deadline: Duration) -> CheckCall {
    let target = Target {
        address: address.ip().to_string(),
        port: address.port(),
        namespace: "public".into(),
        group: "DEFAULT_GROUP".into(),
        service: "orders".into(),
        cluster: "DEFAULT".into(),
        metadata: vec![("zone".into(), "az-1".into())],
    };
    CheckCall { target, reach: address, settings: Arc::new(Settings::new()), deadline, trace: false }
}
