//! A candidate that is called for targets: on which, and what comes of it. Read by every probe without a lock.

use arc_swap::{ArcSwap, Guard};
use muster_core::plugin::{Descriptor, Outcome, Target};
use muster_core::rollout::{Seen, Stage, in_share, settled};
use muster_wasm::{HealthCheck, Meter, PluginError};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Calls of one candidate in shadow at a time. What is more is not run: nobody waits for it.
const SHADOWS: usize = 64;

/// All candidates that are called, by the name of their plugin.
#[derive(Clone, Debug, Default)]
pub struct Trials(Arc<ArcSwap<BTreeMap<String, Arc<Trial>>>>);

impl Trials {
    /// That of the plugin `name`; there is none most of the time.
    pub(crate) fn of(&self, name: &str) -> Option<Arc<Trial>> {
        let all: Guard<_> = self.0.load();
        if all.is_empty() { None } else { all.get(name).cloned() }
    }

    pub(super) fn set(&self, name: &str, trial: Option<Arc<Trial>>) {
        let mut all = BTreeMap::clone(&self.0.load());
        match trial {
            Some(trial) => drop(all.insert(name.to_owned(), trial)),
            None => drop(all.remove(name)),
        }
        self.0.store(Arc::new(all));
    }
}

/// What a candidate does for one probe.
pub(crate) enum Lane {
    /// nothing
    Active,
    /// it runs beside the active version
    Shadow(OwnedSemaphorePermit),
    /// it judges
    Canary,
}

/// A call, as far as it is counted.
pub(crate) struct Call<'a> {
    pub(crate) result: Result<Outcome, &'a PluginError>,
    pub(crate) took: Duration,
}

impl Call<'_> {
    fn outcome(&self) -> Option<Outcome> {
        self.result.ok()
    }
}

/// One candidate in one stage.
pub(crate) struct Trial {
    pub(crate) check: HealthCheck,
    pub(crate) descriptor: Arc<Descriptor>,
    stage: Stage,
    shadow_share: u64,
    probes: AtomicU64,
    shadows: Arc<Semaphore>,
    answers: AtomicU64,
    agreed: AtomicU64,
    disagreed: AtomicU64,
    traps: AtomicU64,
    deadlines: AtomicU64,
    faults: AtomicU64,
    times: Meter,
    active_times: Meter,
    example: OnceLock<String>,
}

impl std::fmt::Debug for Trial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trial")
            .field("stage", &self.stage)
            .field("seen", &self.seen())
            .finish_non_exhaustive()
    }
}

impl Trial {
    pub(super) fn new(check: HealthCheck, stage: Stage, shadow_share: u16) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            descriptor: check.descriptor(),
            check,
            stage,
            shadow_share: shadow_share.into(),
            probes: zero(),
            shadows: Arc::new(Semaphore::new(SHADOWS)),
            answers: zero(),
            agreed: zero(),
            disagreed: zero(),
            traps: zero(),
            deadlines: zero(),
            faults: zero(),
            times: Meter::default(),
            active_times: Meter::default(),
            example: OnceLock::new(),
        }
    }

    /// What it does for the next probe of `target`. `has_room`: whether calls that nobody waits for may begin.
    pub(crate) fn lane(&self, target: &Target, has_room: impl Fn() -> bool) -> Lane {
        match self.stage {
            Stage::Shadow if self.is_next() && has_room() => {
                self.shadows.clone().try_acquire_owned().map_or(Lane::Active, Lane::Shadow)
            }
            Stage::Canary { share } if in_share(target, share) => Lane::Canary,
            _ => Lane::Active,
        }
    }

    /// Spreads the share evenly over the probes, and over time over all targets.
    fn is_next(&self) -> bool {
        let nth = self.probes.fetch_add(1, Ordering::Relaxed) % 1_000_000;
        nth * self.shadow_share / 1000 != (nth + 1) * self.shadow_share / 1000
    }

    /// Both versions were called for one target. `active` is none where the candidate's verdict counted by itself.
    pub(crate) fn judged(&self, target: &Target, candidate: &Call<'_>, active: Option<&Call<'_>>) {
        let one = |counter: &AtomicU64| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        match candidate.result {
            Ok(_) => {
                self.times.answered(candidate.took);
                one(&self.answers);
            }
            Err(PluginError::Trap { .. }) => one(&self.traps),
            Err(PluginError::Deadline { .. } | PluginError::Cpu { .. }) => one(&self.deadlines),
            // says nothing about the candidate
            Err(
                PluginError::Overloaded { .. }
                | PluginError::Quarantined { .. }
                | PluginError::CalledOff { .. }
                | PluginError::Stopped { .. },
            ) => {}
            Err(_) => one(&self.faults),
        }
        if let Err(error) = candidate.result {
            let _ = self.example.set(error.to_string());
        }
        let Some(active) = active else { return };
        self.active_took(active);
        match settled(candidate.outcome(), active.outcome()) {
            Some(true) => one(&self.agreed),
            Some(false) => {
                one(&self.disagreed);
                let word = |outcome: Option<Outcome>| outcome.map_or("nothing", Outcome::word);
                let (new, old) = (word(candidate.outcome()), word(active.outcome()));
                let (address, port) = (&target.address, target.port);
                let _ = self.example.set(format!("{address}:{port}: {new}, the active version says {old}"));
            }
            None => {}
        }
    }

    /// The active version was called: what the candidate's times are compared with.
    pub(crate) fn active_took(&self, active: &Call<'_>) {
        if active.result.is_ok() {
            self.active_times.answered(active.took);
        }
    }

    /// What was counted so far.
    pub(super) fn seen(&self) -> Seen {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Seen {
            answers: load(&self.answers),
            agreed: load(&self.agreed),
            disagreed: load(&self.disagreed),
            traps: load(&self.traps),
            deadlines: load(&self.deadlines),
            faults: load(&self.faults),
            p99_us: self.times.read().p99_us,
            active_p99_us: self.active_times.read().p99_us,
        }
    }

    /// The first thing that spoke against it.
    pub(super) fn example(&self) -> Option<&str> {
        self.example.get().map(String::as_str)
    }
}
