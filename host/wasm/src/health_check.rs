//! A health check, in core's words.

use crate::{
    HostCall, Outcome, PluginError, SettingProblem, Verdict,
    bindings::since_v0_1_1::health_check::exports::muster::plugin::checker as wit,
    call::{self, Export, Failure, Report, Request, Trouble},
    host::{HostInner, Of},
    imports::fetch,
    plugin::Plugin,
    state::{GuestState, Reach},
    text,
    trace::Tape,
    validate,
    world::CheckWorld,
};
use muster_core::plugin::{Descriptor, Settings, Target};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::time::Instant;
use wasmtime::Store;

/// Bytes of a verdict's code, of its message and of a fact's key or value.
const CODE: usize = 64;
const MESSAGE: usize = 256;
/// Facts of one verdict.
const FACTS: usize = 16;

/// A loaded health check. Follows the plugin's newest version, unless it is that of a [`crate::PluginVersion`].
#[derive(Clone)]
pub struct HealthCheck {
    host: Arc<HostInner>,
    of: Of<CheckWorld>,
}

/// One check of one instance.
#[derive(Clone, Debug)]
pub struct CheckCall {
    /// who is looked at; the guest sees it
    pub target: Target,
    /// the only address that the guest can reach, unless its manifest asks for more and the operator grants it
    pub reach: SocketAddr,
    /// settings with their secrets resolved; defaults need not be filled in
    pub settings: Arc<Settings>,
    /// wall time; the manifest may allow less
    pub deadline: Duration,
    /// whether to record what the guest asked of the host
    pub trace: bool,
}

/// How a check ended.
#[derive(Clone, Debug)]
pub struct CheckRun {
    /// a verdict on the target, or what kept the plugin from giving one
    pub result: Result<Verdict, PluginError>,
    /// wall time of the call, without the wait for a place
    pub took: Duration,
    /// what the guest asked of the host, when that was wanted
    pub trace: Vec<HostCall>,
}

impl HealthCheck {
    pub(crate) fn new(host: Arc<HostInner>, of: Of<CheckWorld>) -> Self {
        Self { host, of }
    }

    /// What the plugin says it is.
    pub fn descriptor(&self) -> Arc<Descriptor> {
        Arc::clone(&self.of.current().descriptor)
    }

    /// What is wrong with the settings: first by the schema, then by the plugin itself. Secrets are not shown to it.
    ///
    /// # Errors
    /// [`PluginError`]: the plugin could not be asked, or broke.
    pub async fn validate(&self, settings: &Settings) -> Result<Vec<SettingProblem>, PluginError> {
        validate::validate(&self.host, self.of.current(), settings).await
    }

    /// Runs the check on the guests' threads.
    ///
    /// A call whose time is up while the guest waits for its target is the target's failure: `failed` with the code
    /// `timed-out`. Everything else that keeps the guest from a verdict is a [`PluginError`].
    pub async fn check(&self, call: CheckCall) -> CheckRun {
        let plugin = self.of.current();
        let name = Arc::clone(&plugin.name);
        let run = self.host.run(&name, async move { check(&plugin, call).await }).await;
        run.unwrap_or_else(|error| CheckRun { result: Err(error), took: Duration::ZERO, trace: Vec::new() })
    }

    /// Makes an instance and takes it apart again, `count` times: the time that each of both took. For benchmarks, on
    /// the guests' threads.
    ///
    /// # Errors
    /// [`PluginError`]: there is no room, or the plugin broke.
    #[doc(hidden)]
    pub async fn births_here(&self, count: u32) -> Result<[Duration; 2], PluginError> {
        let plugin = self.of.current();
        let (mut making, mut ending) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..count {
            let began = Instant::now();
            let guest = call::born(&plugin).await?;
            let made = Instant::now();
            drop(guest);
            making += made - began;
            ending += made.elapsed();
        }
        Ok([making / count.max(1), ending / count.max(1)])
    }

    /// [`HealthCheck::check`] on the caller's threads, which must be the guests' (see `PluginHost::guest_runtime`).
    #[doc(hidden)]
    pub async fn check_here(&self, call: CheckCall) -> CheckRun {
        check(&self.of.current(), call).await
    }
}

async fn check(plugin: &Plugin<CheckWorld>, call: CheckCall) -> CheckRun {
    let report = ask(plugin, call, None, false).await;
    let result = match report.result {
        Ok(verdict) => Ok(verdict),
        Err(Failure::OutsideTooSlow) => Ok(timed_out(report.took)),
        Err(Failure::EndpointTooSlow) => Err(plugin.endpoint_timed_out(report.took)),
        Err(Failure::Plugin(error)) => Err(error),
    };
    if let Ok(verdict) = &result {
        plugin.meter.judged(verdict.outcome);
    }
    CheckRun { result, took: report.took, trace: report.trace }
}

/// The same for the plugin's author.
pub(crate) async fn taped(
    plugin: &Plugin<CheckWorld>,
    call: CheckCall,
    tape: Tape,
    reuse: bool,
) -> Report<Verdict> {
    ask(plugin, call, Some(tape), reuse).await
}

async fn ask(
    plugin: &Plugin<CheckWorld>,
    call: CheckCall,
    tape: Option<Tape>,
    reuse: bool,
) -> Report<Verdict> {
    let request = Request {
        realm: plugin.realm(&call.target.namespace),
        reach: Reach::Target(call.reach, endpoints(plugin, &call.settings)),
        deadline: call.deadline,
        cpu: None,
        unsealed: plugin.sealed.of_call(&call.settings),
        trace: call.trace,
        tape,
        reuse,
    };
    let export = Check { target: &call.target, settings: &call.settings, plugin };
    call::call(plugin, request, &export).await
}

/// The URLs beyond the target that it may ask, as far as their places are allowed; none for most checks.
fn endpoints(plugin: &Plugin<CheckWorld>, settings: &Settings) -> Option<Arc<fetch::Endpoints>> {
    let keys = &plugin.manifest.grants.fetch;
    let named = || fetch::endpoints(keys, keys, &plugin.descriptor.with_defaults(settings));
    (!keys.is_empty()).then(named)
}

fn timed_out(took: Duration) -> Verdict {
    let message = format!("no answer within {} ms", took.as_millis());
    Verdict::of_host(Outcome::Failed, "timed-out", message)
}

struct Check<'a> {
    target: &'a Target,
    settings: &'a Settings,
    plugin: &'a Plugin<CheckWorld>,
}

impl Export<CheckWorld> for Check<'_> {
    type Answer = Verdict;

    async fn call(
        &self,
        store: &mut Store<GuestState>,
        exports: &crate::bindings::since_v0_1_1::health_check::HealthCheck,
    ) -> wasmtime::Result<Result<Verdict, Trouble>> {
        let settings =
            Plugin::<CheckWorld>::lower(&self.plugin.descriptor, &self.plugin.sealed, self.settings);
        let Target { address, port, namespace, group, service, cluster, metadata } = self.target;
        let metadata: Vec<_> = metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let target =
            wit::Target { address, port: *port, namespace, group, service, cluster, metadata: &metadata };
        let answer = exports.muster_plugin_checker().call_check(store, target, &settings).await?;
        Ok(answer.map(verdict).map_err(Trouble::from))
    }
}

fn verdict(said: wit::Verdict) -> Verdict {
    let outcome = match said.outcome {
        wit::Outcome::Passed => Outcome::Passed,
        wit::Outcome::Warning => Outcome::Warning,
        wit::Outcome::Failed => Outcome::Failed,
        wit::Outcome::FailedNow => Outcome::FailedNow,
        wit::Outcome::Inconclusive => Outcome::Inconclusive,
    };
    let fit = |(key, value)| (text::cut(key, MESSAGE), text::cut(value, MESSAGE));
    Verdict {
        outcome,
        code: text::one_line(&said.code, CODE),
        message: text::one_line(&said.message, MESSAGE),
        facts: said.facts.into_iter().take(FACTS).map(fit).collect(),
    }
}
