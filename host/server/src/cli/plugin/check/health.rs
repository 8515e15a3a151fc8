//! The rules of a health check.

use super::scene::{self, Manner};
use super::settings::MARKER;
use super::{Found, Report};
use crate::cli::plugin::ask::{Loaded, checked};
use crate::cli::plugin::{Failure, failed, load_one};
use muster_core::plugin::{SettingKind, Settings};
use muster_wasm::{CheckCall, End, LiveCall, Trial};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Time for one call: long enough for a busy machine to get through what needs no waiting.
const DEADLINE: Duration = Duration::from_millis(500);
/// What a busy machine may add.
const LATE: Duration = Duration::from_secs(2);
/// Calls of one instance, and how many bytes of memory all of them may take beyond the first ones.
const WARM: usize = 20;
const CALLS: usize = 200;
const GROWTH: u64 = 512 << 10;

/// One plugin with its settings, and what it did so far.
struct Stage<'a> {
    loaded: &'a Loaded,
    settings: Arc<Settings>,
    /// calls in which a secret could be read
    leaks: Vec<String>,
}

pub(super) async fn check(loaded: &Loaded, told: &Settings, report: &mut Report) -> Result<(), Failure> {
    let mut stage = Stage { loaded, settings: Arc::new(told.clone()), leaks: Vec::new() };
    let closed = scene::closed().await.map_err(failed)?;
    let dead = stage.call("a closed port", closed, false).await?;
    let rule = "where nobody listens it says failed, not passed and not a fault";
    report.add("closed-port", rule, is_down(&dead));
    for (name, rule, manner) in [
        (
            "honours-deadline",
            "a target that never answers: the call ends in time, waiting for the target",
            Manner::Silent,
        ),
        ("slow-target", "a target that sends a byte now and then: the call ends in time", Manner::Drips),
        ("target-hangs-up", "a target that closes at once is a verdict, not a fault", Manner::HangsUp),
        ("noise", "64 KiB of noise are a verdict, not a fault", Manner::Noise),
        ("echo", "a target that repeats what it gets is a verdict, not a fault", Manner::Echoes),
    ] {
        let target = scene::open(manner).await.map_err(failed)?;
        let trial = stage.call(name, target, false).await?;
        report.add(name, rule, verdict(&trial).map(drop).and_then(|()| in_time(&trial)));
    }
    let rule = "the same answers of the host lead to the same verdict, byte for byte";
    report.add("replays", rule, again(loaded, &dead).await?);
    let rule = "the memory of an instance does not grow from call to call";
    report.add("bounded-memory", rule, stage.memory().await?);
    let rule = "what its own manifest denies is inconclusive or a fault, never the target's failure";
    report.add("own-errors", rule, stage.denied().await?);
    if loaded.descriptor.settings.iter().any(|spec| spec.kind == SettingKind::Secret) {
        let rule = "no secret can be read in a verdict, an error or the log";
        let leaks = &stage.leaks;
        let found = if leaks.is_empty() {
            Ok(())
        } else {
            Err(format!("{MARKER:?} was shown: {}", leaks.join(", ")))
        };
        report.add("keeps-secrets", rule, found);
    }
    Ok(())
}

impl Stage<'_> {
    fn question(&self, reach: SocketAddr) -> CheckCall {
        let target = checked(&reach.ip().to_string(), reach.port());
        CheckCall { target, reach, settings: Arc::clone(&self.settings), deadline: DEADLINE, trace: false }
    }

    async fn call(&mut self, what: &str, reach: SocketAddr, reuse: bool) -> Result<Trial, Failure> {
        let call = LiveCall::Check(self.question(reach));
        let trial = self.loaded.host.record(self.loaded.name(), call, reuse).await.map_err(failed)?;
        if trial.shows_secret {
            self.leaks.push(what.to_owned());
        }
        Ok(trial)
    }

    async fn memory(&mut self) -> Result<Found, Failure> {
        let target = scene::open(Manner::Noise).await.map_err(failed)?;
        let (mut early, mut late) = (0, 0);
        for nth in 1..=CALLS {
            let trial = self.call("many calls", target, true).await?;
            if let Err(broke) = verdict(&trial) {
                return Ok(Err(format!("call {nth}: {broke}")));
            }
            let used = trial.cost.memory;
            // the most: the host takes a new instance when one has grown too much
            if nth <= WARM {
                early = used.max(early);
            }
            late = used.max(late);
        }
        let grown = late.saturating_sub(early);
        Ok(if grown <= GROWTH {
            Ok(())
        } else {
            Err(format!(
                "it grew from {} KiB in the first {WARM} calls to {} KiB in {CALLS}",
                early >> 10,
                late >> 10
            ))
        })
    }

    /// With a manifest that allows no connection: `dial` and `fetch` answer `denied`.
    async fn denied(&mut self) -> Result<Found, Failure> {
        let mut component = self.loaded.component.clone();
        component.manifest.limits.connections = 0;
        load_one(&self.loaded.host, component).await?;
        let target = scene::open(Manner::Echoes).await.map_err(failed)?;
        let trial = self.call("own errors", target, false).await?;
        load_one(&self.loaded.host, self.loaded.component.clone()).await?;
        let asked = trial
            .trace
            .steps
            .iter()
            .any(|step| step.output.as_ref().is_some_and(|out| out["error"] == "denied"));
        Ok(match &trial.trace.end {
            End::Answer(said) if said["outcome"] == "inconclusive" => Ok(()),
            End::Error { code, .. } if code.starts_with("plugin.fault.") => Ok(()),
            // it did not try to connect
            End::Answer(_) if !asked => Ok(()),
            End::Answer(said) => Err(format!("it was denied a connection and says {}", said["outcome"])),
            End::TimedOut => Err("it was denied a connection and waited".into()),
            End::Error { code, message } => Err(format!("{code}: {message}")),
        })
    }
}

fn is_down(trial: &Trial) -> Found {
    match verdict(trial)? {
        "failed" | "failed-now" | "timed-out" => Ok(()),
        other => Err(format!("it says {other}")),
    }
}

/// The outcome; a call without one is a fault of the plugin.
fn verdict(trial: &Trial) -> Result<&str, String> {
    match &trial.trace.end {
        End::Answer(said) => Ok(said["outcome"].as_str().unwrap_or("nothing")),
        End::TimedOut => Ok("timed-out"),
        End::Error { code, message } => Err(format!("{code}: {message}")),
    }
}

fn in_time(trial: &Trial) -> Found {
    let most = DEADLINE + LATE;
    if trial.took <= most { Ok(()) } else { Err(format!("it took {:?} of {DEADLINE:?}", trial.took)) }
}

/// A trace and its replay agree.
pub(super) async fn again(loaded: &Loaded, trial: &Trial) -> Result<Found, Failure> {
    let replay = loaded.host.replay(loaded.name(), &trial.trace).await.map_err(failed)?;
    Ok(replay.diverged.map_or(Ok(()), |off| Err(off.to_string())))
}
