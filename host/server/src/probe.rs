//! Runs the checks that the rules ask for, and hands in how they ended.
//!
//! How many run at once, and which waits, the rules have decided already. Everything that is not the target's
//! doing - a plugin that is missing, broken or refused, a secret that cannot be read - is inconclusive.

use crate::naming::NamingHandle;
use crate::secrets::Secrets;
use crate::tasks::Tasks;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use muster_core::Millis;
use muster_core::naming::{ProbeJob, Report, TargetId};
use muster_core::persist::Command;
use muster_core::plugin::{Outcome, Settings, Target, Verdict};
use muster_core::service::CheckerSettings;
use muster_wasm::{CheckCall, HealthCheck, PluginHost};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Resolved settings kept for the next check with the same ones. Past it all are resolved again.
const KEPT_SETTINGS: usize = 1_024;
/// Durable writes under way at once.
const PROPOSALS: usize = 64;

/// Starts the executor of checks, on the guests' own threads: a check that begins elsewhere would wake another
/// thread at its begin and at its end.
pub fn start(
    tasks: &Tasks,
    plugins: PluginHost,
    secrets: Secrets,
    naming: NamingHandle,
    mut jobs: mpsc::Receiver<Box<ProbeJob>>,
) {
    let guests = plugins.guest_runtime();
    tasks.spawn_on("probes", &guests, |stop| async move {
        let mut runner = Runner::new(plugins, secrets);
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                Some(ended) = running.join_next() => ended?,
                job = jobs.recv() => match job {
                    Some(job) => {
                        let (run, naming) = (runner.run(*job), naming.clone());
                        running.spawn(async move { hand_in(&naming, run.await).await });
                    }
                    None => return Ok(()),
                },
                () = stop.cancelled() => return Ok(()),
            }
        }
    });
}

async fn hand_in(naming: &NamingHandle, (id, report): (TargetId, Report)) {
    if naming.probed(id, report).await.is_err() {
        tracing::warn!("a check ended and the registry does not answer");
    }
}

/// Starts the executor of durable writes that the rules ask for. One that fails is asked for again by the rules.
pub fn start_proposals(tasks: &Tasks, naming: NamingHandle, mut commands: mpsc::Receiver<Command>) {
    tasks.spawn("proposals", |stop| async move {
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(result) = running.next() => {
                    if let Err(error) = result {
                        tracing::warn!(error = &error as &dyn std::error::Error, "a durable write failed");
                    }
                }
                Some(command) = commands.recv(), if running.len() < PROPOSALS => {
                    let naming = naming.clone();
                    running.push(async move { naming.carry_out(command).await.map(drop) });
                }
                () = stop.cancelled() => return Ok(()),
            }
        }
    });
}

/// Makes checks, with the settings of the last ones at hand.
pub(crate) struct Runner {
    plugins: PluginHost,
    secrets: Secrets,
    settings: HashMap<Arc<CheckerSettings>, Arc<Settings>>,
}

impl Runner {
    pub(crate) fn new(plugins: PluginHost, secrets: Secrets) -> Self {
        Self { plugins, secrets, settings: HashMap::new() }
    }

    fn run(&mut self, job: ProbeJob) -> impl Future<Output = (TargetId, Report)> + Send + use<> {
        let ProbeJob { id, target, checker, timeout } = job;
        let report = self.look(target, checker, timeout);
        async move { (id, report.await) }
    }

    /// Makes one check. The future has to be polled on the guests' threads.
    pub(crate) fn look(
        &mut self,
        target: Target,
        checker: Arc<CheckerSettings>,
        timeout: Millis,
    ) -> impl Future<Output = Report> + Send + use<> {
        let plugin = self.plugins.health_check(&checker.kind);
        let settings = plugin.as_ref().map(|plugin| self.resolve(plugin, &checker));
        guarded(async move {
            match (plugin, settings) {
                (Some(plugin), Some(Ok(settings))) => check(&plugin, target, timeout, settings).await,
                (_, Some(Err(message))) => could_not_tell("settings.secret", message),
                _ => could_not_tell("plugin.missing", format!("no health check is called {}", checker.kind)),
            }
        })
    }

    fn resolve(
        &mut self,
        plugin: &HealthCheck,
        checker: &Arc<CheckerSettings>,
    ) -> Result<Arc<Settings>, String> {
        if let Some(settings) = self.settings.get(checker) {
            return Ok(settings.clone());
        }
        let resolved = self.secrets.resolve(&plugin.descriptor(), &checker.settings);
        let settings = Arc::new(resolved.map_err(|error| error.to_string())?);
        if self.settings.len() >= KEPT_SETTINGS {
            self.settings.clear();
        }
        self.settings.insert(checker.clone(), settings.clone());
        Ok(settings)
    }
}

/// A panic of the host's own functions is no word on the target, and no reason to end the node.
async fn guarded(report: impl Future<Output = Report>) -> Report {
    let panicked = |_| could_not_tell("plugin.trap", "the host's own function failed".to_owned());
    AssertUnwindSafe(report).catch_unwind().await.unwrap_or_else(panicked)
}

async fn check(plugin: &HealthCheck, target: Target, timeout: Millis, settings: Arc<Settings>) -> Report {
    let deadline = Duration::from_millis(timeout.0);
    let reach = match reach(&target.address, target.port, deadline).await {
        Ok(reach) => reach,
        Err(verdict) => return Report { verdict, took: timeout },
    };
    let call = CheckCall { target, reach, settings, deadline, trace: false };
    let run = plugin.check_here(call).await;
    let took = Millis(u64::try_from(run.took.as_millis()).unwrap_or(u64::MAX));
    let verdict = run.result.unwrap_or_else(|error| {
        tracing::debug!(error = &error as &dyn std::error::Error, "a check could not be made");
        Verdict::of_host(Outcome::Inconclusive, error.code(), error.to_string())
    });
    Report { verdict, took }
}

/// The address to connect to. A host name is resolved here, so that the plugin cannot choose another one.
///
/// # Errors
/// The verdict on a name that leads nowhere: failed when it does not exist, inconclusive when nobody answered.
pub(crate) async fn reach(address: &str, port: u16, patience: Duration) -> Result<SocketAddr, Verdict> {
    let literal = address.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = literal.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, port));
    }
    match tokio::time::timeout(patience, tokio::net::lookup_host((address, port))).await {
        Ok(Ok(mut found)) => found.next().ok_or_else(|| unresolved(address, "no address")),
        Ok(Err(error)) => Err(unresolved(address, &error.to_string())),
        Err(_) => Err(Verdict::of_host(
            Outcome::Inconclusive,
            "host.resolver-timeout",
            format!("the name {address} was not resolved in time"),
        )),
    }
}

fn unresolved(address: &str, why: &str) -> Verdict {
    Verdict::of_host(
        Outcome::Failed,
        "host.unresolved",
        format!("the name {address} cannot be resolved: {why}"),
    )
}

fn could_not_tell(code: &str, message: String) -> Report {
    Report { verdict: Verdict::of_host(Outcome::Inconclusive, code, message), took: Millis(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn literal_addresses_are_taken_as_they_are() {
        let soon = Duration::from_millis(100);
        assert_eq!(reach("127.0.0.1", 80, soon).await.unwrap(), "127.0.0.1:80".parse().unwrap());
        assert_eq!(reach("::1", 80, soon).await.unwrap(), "[::1]:80".parse().unwrap());
    }

    #[tokio::test]
    async fn a_panic_in_a_check_is_inconclusive() {
        let report = guarded(async { panic!("a host function") }).await;
        assert_eq!((report.verdict.outcome, &*report.verdict.code), (Outcome::Inconclusive, "plugin.trap"));
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_a_soft_failure_and_never_a_hard_one() {
        let verdict = reach("no-such-host.invalid", 80, Duration::from_secs(5)).await.unwrap_err();
        assert!(matches!(verdict.outcome, Outcome::Failed | Outcome::Inconclusive), "{verdict:?}");
    }
}
