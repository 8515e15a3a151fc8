//! What operators see of the versions of a plugin.

use super::trial::Trial;
use muster_core::Millis;
use muster_core::plugin::PluginKind;
use muster_core::rollout::{Digests, Reason, Rollout, Seen, Stage};
use muster_wasm::{PluginInfo, PluginVersion};
use std::sync::Arc;

/// One plugin that has more to say than that it is there.
#[derive(Clone, Debug)]
pub struct View {
    /// which kind
    pub kind: PluginKind,
    /// which one
    pub name: String,
    /// what the active version is; none for a bundled one
    pub active: Option<Digests>,
    /// what the previous version is; none for a bundled one, or when there is none
    pub previous: Option<Digests>,
    /// whether `rollback` has something to go back to
    pub has_previous: bool,
    /// what an operator wants
    pub called_off: bool,
    /// the version on its way, and while it is on probation the active one
    pub candidate: Option<CandidateView>,
    /// the last version that was given up
    pub failed: Option<Failed>,
    /// how far the members are with the version on its way; none when no other member has a say
    pub members: Option<MembersView>,
}

/// How far the members are with a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembersView {
    /// on which it passed everything
    pub ready: Vec<u64>,
    /// that are alive, and where it did not yet
    pub waiting: Vec<u64>,
}

/// A version on its way.
#[derive(Clone, Debug)]
pub struct CandidateView {
    /// what it is
    pub digests: Digests,
    /// how far it has come
    pub rollout: Rollout,
    /// what was counted in this stage
    pub seen: Seen,
    version: Option<PluginVersion>,
    trial: Option<Arc<Trial>>,
    lacking: bool,
}

/// A version that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// what it is
    pub digests: Digests,
    /// its own version, when it got so far as to say it
    pub version: Option<String>,
    /// the stage it failed in
    pub stage: Stage,
    /// why
    pub reason: Reason,
    /// the first call that spoke against it
    pub example: Option<String>,
    /// when
    pub at: Millis,
}

impl CandidateView {
    pub(super) fn new(
        digests: Digests,
        rollout: Rollout,
        seen: Seen,
        version: Option<PluginVersion>,
        trial: Option<Arc<Trial>>,
        lacking: bool,
    ) -> Self {
        Self { digests, rollout, seen, version, trial, lacking }
    }

    /// What it is and did since it was compiled; none before that.
    pub fn info(&self) -> Option<PluginInfo> {
        self.version.as_ref().map(PluginVersion::info)
    }

    /// What was counted in this stage, now.
    pub fn seen_now(&self) -> Seen {
        self.trial.as_ref().map_or(self.seen, |trial| trial.seen())
    }

    /// What it waits for, for people; none when it does not wait. `members` are those that are not ready.
    pub fn waits_for(&self, name: &str, members: Option<&[String]>) -> Option<String> {
        if self.lacking {
            return Some("its files: no member that is reached has them".to_owned());
        }
        let limits = self.rollout.limits();
        let seen = self.seen_now();
        let (runs, time) = match self.rollout.stage() {
            Stage::Shadow => (limits.shadow_runs, limits.shadow_time),
            Stage::Canary { .. } => (limits.canary_runs, limits.canary_time),
            Stage::Ready => return Some(of_members(name, members)),
            Stage::Probation => return Some(format!("probation of {} s", limits.probation.0 / 1000)),
            _ => return None,
        };
        let quiet = if self.rollout.is_quiet() {
            format!(
                "; no check of this node has used it for {} s: `muster plugin rollout {name} --to active` switches \
                 without waiting",
                limits.patience.0 / 1000
            )
        } else {
            String::new()
        };
        Some(format!("{} of {runs} answers, at least {} s{quiet}", seen.answers, time.0 / 1000))
    }
}

/// What a version waits for that is good on this node.
fn of_members(name: &str, waiting: Option<&[String]>) -> String {
    match waiting {
        Some(waiting) if !waiting.is_empty() => format!("member {}", waiting.join(", ")),
        _ => format!(
            "a check of any member that uses it: `muster plugin rollout {name} --to active` switches without waiting"
        ),
    }
}
