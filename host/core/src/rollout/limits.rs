//! What a candidate is held to.

use super::{Reason, Seen, Stage};
use crate::time::Millis;

/// Calls below which the slowest hundredth says nothing.
const LATENCY_RUNS: u64 = 100;

/// What a candidate is held to. Shares are of a thousand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// of the probes, how many the candidate runs beside the active version
    pub shadow_share: u16,
    /// answers before shadow may end
    pub shadow_runs: u64,
    /// least length of shadow
    pub shadow_time: Millis,
    /// of the targets, how many the candidate judges at first
    pub canary_share: u16,
    /// answers before canary may end
    pub canary_runs: u64,
    /// least length of canary
    pub canary_time: Millis,
    /// of the verdicts that were compared, how many may differ; a target may change between two looks
    pub mismatches: u16,
    /// of the calls, how many may end without an answer
    pub faults: u16,
    /// how many times the time of the active version the candidate may take, for 99 of 100 calls
    pub slowdown: u16,
    /// what it may take longer whatever the factor says: microseconds are noise
    pub slack: Millis,
    /// time without a run after which that is said, or the share of a canary grows
    pub patience: Millis,
    /// time in which a version that has become active and breaks is taken back by itself
    pub probation: Millis,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            shadow_share: 500,
            shadow_runs: 50,
            shadow_time: Millis::from_secs(30),
            canary_share: 100,
            canary_runs: 50,
            canary_time: Millis::from_secs(60),
            mismatches: 20,
            faults: 0,
            slowdown: 3,
            slack: Millis(100),
            patience: Millis::from_secs(60),
            probation: Millis::from_secs(60),
        }
    }
}

impl Limits {
    /// The first limit that is passed.
    pub(super) fn broken(&self, stage: Stage, seen: &Seen) -> Option<Reason> {
        let enough = match stage {
            Stage::Canary { .. } => self.canary_runs,
            _ => self.shadow_runs,
        };
        self.faulty(seen, enough)
            .or_else(|| {
                let compared = seen.compared();
                let differ = above(seen.disagreed, compared.max(enough), self.mismatches);
                differ.then_some(Reason::Mismatch { disagreed: seen.disagreed, compared })
            })
            .or_else(|| self.slow(seen))
    }

    fn faulty(&self, seen: &Seen, enough: u64) -> Option<Reason> {
        let runs = seen.runs();
        let Seen { traps, deadlines, faults, .. } = *seen;
        if !above(seen.failures(), runs.max(enough), self.faults) {
            return None;
        }
        Some(match (traps, deadlines) {
            (0, 0) => Reason::Faults { faults, runs },
            (0, _) => Reason::Deadlines { deadlines, runs },
            _ => Reason::Traps { traps, runs },
        })
    }

    fn slow(&self, seen: &Seen) -> Option<Reason> {
        let Seen { p99_us, active_p99_us, .. } = *seen;
        let most = active_p99_us.saturating_mul(self.slowdown.into());
        let most = most.max(active_p99_us.saturating_add(self.slack.0.saturating_mul(1000)));
        let known = seen.answers >= LATENCY_RUNS && active_p99_us > 0;
        (known && p99_us > most).then_some(Reason::Latency { p99_us, active_p99_us })
    }
}

/// Whether `count` of `of` is a larger share than `permille`.
fn above(count: u64, of: u64, permille: u16) -> bool {
    count.saturating_mul(1000) > of.saturating_mul(permille.into())
}
