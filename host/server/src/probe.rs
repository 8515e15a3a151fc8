//! Runs the checks that the rules ask for, and hands in how they ended.
//!
//! How many run at once, and which waits, the rules have decided already. Everything that is not the target's
//! doing - a plugin that is missing, broken or refused, a secret that cannot be read - is inconclusive.

use crate::naming::NamingHandle;
use crate::rollout::{Call, Lane, Trial, Trials};
use crate::secrets::{SecretGrants, Secrets};
use crate::tasks::Tasks;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use muster_core::Millis;
use muster_core::naming::{ProbeJob, Report, TargetId};
use muster_core::persist::Command;
use muster_core::plugin::{Descriptor, Outcome, Settings, Target, Verdict};
use muster_core::rollout::{Worth, worth};
use muster_core::service::CheckerSettings;
use muster_wasm::{CheckCall, HealthCheck, PluginError, PluginHost};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinSet;

/// Resolved settings kept for the next check with the same ones. Past it all are resolved again.
const KEPT_SETTINGS: usize = 1_024;
/// Durable writes under way at once.
const PROPOSALS: usize = 64;

/// What checks are made with.
#[derive(Clone)]
pub struct Prober {
    /// the plugins
    pub plugins: PluginHost,
    /// what secrets of settings stand for
    pub secrets: Secrets,
    /// versions on their way, which run for some of the targets
    pub trials: Trials,
}

impl std::fmt::Debug for Prober {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prober").finish_non_exhaustive()
    }
}

/// Starts the executor of checks, on the guests' own threads: a check that begins elsewhere would wake another
/// thread at its begin and at its end.
pub fn start(tasks: &Tasks, prober: Prober, naming: NamingHandle, mut jobs: mpsc::Receiver<Box<ProbeJob>>) {
    let guests = prober.plugins.guest_runtime();
    tasks.spawn_on("probes", &guests, |stop| async move {
        let mut runner = Runner::of(prober);
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                Some(ended) = running.join_next() => ended?,
                job = jobs.recv() => match job {
                    Some(job) => {
                        let (run, naming) = (runner.run(*job), naming.clone());
                        if let Some(beside) = run.beside {
                            running.spawn(beside);
                        }
                        running.spawn(async move { hand_in(&naming, run.report.await).await });
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

/// Resolved settings, with the description and the grants by which they were resolved: another version may have other
/// secrets, and what was granted may be taken back.
type Resolved = HashMap<Arc<CheckerSettings>, (Arc<Descriptor>, Arc<SecretGrants>, Arc<Settings>)>;

/// Makes checks, with the settings of the last ones at hand.
pub(crate) struct Runner {
    prober: Prober,
    settings: Resolved,
    /// the same for versions on their way
    of_trials: Resolved,
}

/// A check that is about to run.
struct Run {
    report: BoxFuture<'static, (TargetId, Report)>,
    /// a version in shadow, for which nobody waits
    beside: Option<BoxFuture<'static, ()>>,
}

/// A version of a check, and what it is told.
#[derive(Clone)]
struct Version {
    check: HealthCheck,
    settings: Arc<Settings>,
}

impl Runner {
    /// For checks by the active versions alone.
    pub(crate) fn new(plugins: PluginHost, secrets: Secrets) -> Self {
        Self::of(Prober { plugins, secrets, trials: Trials::default() })
    }

    fn of(prober: Prober) -> Self {
        Self { prober, settings: HashMap::new(), of_trials: HashMap::new() }
    }

    /// Makes one check by the active version. The future has to be polled on the guests' threads.
    pub(crate) fn look(
        &mut self,
        target: Target,
        checker: Arc<CheckerSettings>,
        timeout: Millis,
    ) -> impl Future<Output = Report> + Send + use<> {
        let active = self.active(&checker);
        guarded(async move {
            match active {
                Ok(active) => active.check(&target, timeout).await.report(),
                Err(why) => why,
            }
        })
    }

    /// # Errors
    /// What follows for the check.
    fn active(&mut self, checker: &Arc<CheckerSettings>) -> Result<Version, Report> {
        let kind = &checker.kind;
        let check =
            self.prober.plugins.health_check(kind).ok_or_else(|| {
                could_not_tell("plugin.missing", format!("no health check is called {kind}"))
            })?;
        let settings = resolve(&mut self.settings, &self.prober.secrets, &check.descriptor(), checker);
        let settings = settings.map_err(|message| could_not_tell("settings.secret", message))?;
        Ok(Version { check, settings })
    }

    fn run(&mut self, job: ProbeJob) -> Run {
        let active = match self.active(&job.checker) {
            Ok(active) => active,
            Err(why) => return Run::ended(job.id, why),
        };
        let Some(trial) = self.prober.trials.of(&job.checker.kind) else { return Run::alone(active, job) };
        // A secret that is missing was found when the version was validated.
        let secrets = &self.prober.secrets;
        let told = resolve(&mut self.of_trials, secrets, &trial.descriptor, &job.checker);
        let Ok(settings) = told else { return Run::alone(active, job) };
        let candidate = Version { check: trial.check.clone(), settings };
        match trial.lane(&job.target, || self.prober.plugins.has_room()) {
            Lane::Active => Run::timed(active, trial, job),
            Lane::Shadow(permit) => Run::shadowed(active, candidate, trial, permit, job),
            Lane::Canary => Run::by_canary(active, candidate, trial, job),
        }
    }
}

/// # Errors
/// What is wrong with a secret, for people.
fn resolve(
    known: &mut Resolved,
    secrets: &Secrets,
    descriptor: &Arc<Descriptor>,
    checker: &Arc<CheckerSettings>,
) -> Result<Arc<Settings>, String> {
    let granted = secrets.granted();
    if let Some((by, with, settings)) = known.get(checker)
        && Arc::ptr_eq(by, descriptor)
        && Arc::ptr_eq(with, &granted)
    {
        return Ok(settings.clone());
    }
    let resolved = secrets.resolve_granted(descriptor, &checker.settings);
    let settings = Arc::new(resolved.map_err(|error| error.to_string())?);
    if known.len() >= KEPT_SETTINGS {
        known.clear();
    }
    known.insert(checker.clone(), (descriptor.clone(), granted, settings.clone()));
    Ok(settings)
}

impl Run {
    fn new(id: TargetId, report: impl Future<Output = Report> + Send + 'static) -> Self {
        let report = Box::pin(async move { (id, guarded(report).await) });
        Self { report, beside: None }
    }

    fn ended(id: TargetId, report: Report) -> Self {
        Self::new(id, std::future::ready(report))
    }

    fn alone(active: Version, job: ProbeJob) -> Self {
        Self::new(job.id, async move { active.check(&job.target, job.timeout).await.report() })
    }

    /// Its time is what that of a version in canary is compared with.
    fn timed(active: Version, trial: Arc<Trial>, job: ProbeJob) -> Self {
        Self::new(job.id, async move {
            let answer = active.check(&job.target, job.timeout).await;
            if let Some(call) = answer.call() {
                trial.active_took(&call);
            }
            answer.report()
        })
    }

    /// The candidate looks at the target at the same time; the report does not wait for it.
    fn shadowed(
        active: Version,
        candidate: Version,
        trial: Arc<Trial>,
        permit: OwnedSemaphorePermit,
        job: ProbeJob,
    ) -> Self {
        let (told, heard) = oneshot::channel();
        let job = Arc::new(job);
        let looked_at = job.clone();
        let beside = async move {
            let _permit = permit;
            let answer = candidate.check(&looked_at.target, looked_at.timeout).await;
            // Without the active version's answer there is nothing to compare.
            let active: Option<Answer> = heard.await.ok();
            if let Some(call) = answer.call() {
                trial.judged(&looked_at.target, &call, active.as_ref().and_then(Answer::call).as_ref());
            }
        };
        let run = Self::new(job.id, async move {
            let answer = active.check(&job.target, job.timeout).await;
            // The candidate may have been given up.
            let _ = told.send(answer.clone());
            answer.report()
        });
        let beside = AssertUnwindSafe(beside).catch_unwind().map(drop);
        Self { beside: Some(Box::pin(beside)), ..run }
    }

    /// The candidate judges, and where its verdict is not worth enough the active version does, in a time of its own.
    fn by_canary(active: Version, candidate: Version, trial: Arc<Trial>, job: ProbeJob) -> Self {
        Self::new(job.id, async move {
            let tried = candidate.check(&job.target, job.timeout).await;
            let Some(call) = tried.call() else { return tried.report() };
            if worth(call.result.ok()) == Worth::Counts {
                trial.judged(&job.target, &call, None);
                return tried.report();
            }
            let answer = active.check(&job.target, job.timeout).await;
            trial.judged(&job.target, &call, answer.call().as_ref());
            answer.report()
        })
    }
}

/// A panic of the host's own functions is no word on the target, and no reason to end the node.
async fn guarded(report: impl Future<Output = Report>) -> Report {
    let panicked = |_| could_not_tell("plugin.trap", "the host's own function failed".to_owned());
    AssertUnwindSafe(report).catch_unwind().await.unwrap_or_else(panicked)
}

/// How the call of one version ended.
#[derive(Clone)]
enum Answer {
    /// it was not called: the target has no address
    Unreached(Verdict, Millis),
    /// it was
    Called(Result<Verdict, PluginError>, Duration),
}

impl Answer {
    fn call(&self) -> Option<Call<'_>> {
        match self {
            Self::Unreached(..) => None,
            Self::Called(result, took) => {
                Some(Call { result: result.as_ref().map(|verdict| verdict.outcome), took: *took })
            }
        }
    }

    fn report(self) -> Report {
        match self {
            Self::Unreached(verdict, took) => Report { verdict, took },
            Self::Called(result, took) => {
                let took = Millis(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
                let verdict = result.unwrap_or_else(|error| {
                    tracing::debug!(error = &error as &dyn std::error::Error, "a check could not be made");
                    Verdict::of_host(Outcome::Inconclusive, error.code(), error.to_string())
                });
                Report { verdict, took }
            }
        }
    }
}

impl Version {
    async fn check(&self, target: &Target, timeout: Millis) -> Answer {
        let deadline = Duration::from_millis(timeout.0);
        let reach = match reach(&target.address, target.port, deadline).await {
            Ok(reach) => reach,
            Err(verdict) => return Answer::Unreached(verdict, timeout),
        };
        let (target, settings) = (target.clone(), self.settings.clone());
        let run = self.check.check_here(CheckCall { target, reach, settings, deadline, trace: false }).await;
        Answer::Called(run.result, run.took)
    }
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
