//! One plugin with a version on its way: its steps, and what was counted.

use super::files::{FetchError, fetch};
use super::kept::{Kept, KeptError, Origin};
use super::package::{Package, verify};
use super::trial::Trial;
use super::users::Users;
use super::view::{CandidateView, Failed};
use crate::cluster::Links;
use crate::plugins::Identity;
use crate::secrets::Secrets;
use crate::trust::Trust;
use muster_core::plugin::PluginKind;
use muster_core::rollout::{Digests, Push, Rollout, Seen, Stage};
use muster_wasm::{Counters, PluginHost, PluginVersion};
use std::sync::Arc;
use std::time::Duration;

/// Between two looks for files that no member had.
const FETCH_AGAIN: Duration = Duration::from_secs(1);

/// What the task keeps of a plugin beside what is stored.
#[derive(Debug, Default)]
pub(super) struct Plugin {
    pub(super) candidate: Option<Candidate>,
    /// the version before the active one, as long as this process has had it
    pub(super) previous: Option<PluginVersion>,
    pub(super) failed: Option<Failed>,
    /// the version that was given up here, by its serial, and why: said until all members have heard it
    pub(super) refused: Option<(u64, String)>,
    /// the version that all members made active and that this node cannot use, by its serial
    pub(super) missed: Option<u64>,
    /// at the last look the candidate was ready on every member that is alive
    pub(super) unanimous: bool,
}

/// Who decides about a version on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bond {
    /// this node alone
    Own,
    /// all members; by its serial
    Agreed(u64),
    /// all members did, while this node was away; by its serial
    Behind(u64),
}

/// A version on its way.
#[derive(Debug)]
pub(super) struct Candidate {
    /// tells the steps of this one from those of one before it
    pub(super) serial: u64,
    pub(super) digests: Digests,
    pub(super) origin: Origin,
    pub(super) bond: Bond,
    /// how far an operator has pushed it
    pub(super) pushed: Push,
    /// no member that is reached has its files
    pub(super) lacking: bool,
    pub(super) rollout: Rollout,
    pub(super) version: Option<PluginVersion>,
    pub(super) trial: Option<Arc<Trial>>,
    /// what it had done when it became active
    pub(super) before: Counters,
}

impl Candidate {
    /// Its serial, while it is on its way on all members.
    pub(super) fn agreed(&self) -> Option<u64> {
        match self.bond {
            Bond::Agreed(serial) if self.rollout.stage() != Stage::Probation => Some(serial),
            _ => None,
        }
    }

    /// What was counted since the stage began.
    pub(super) fn seen(&self) -> Seen {
        match (&self.trial, &self.version) {
            (Some(trial), _) => trial.seen(),
            (None, Some(version)) if self.rollout.stage() == Stage::Probation => {
                let info = version.info();
                since(info.kind, &self.before, &info.counters)
            }
            _ => Seen::default(),
        }
    }

    pub(super) fn view(&self) -> CandidateView {
        CandidateView::new(
            self.digests.clone(),
            self.rollout.clone(),
            self.seen(),
            self.version.clone(),
            self.trial.clone(),
            self.lacking,
        )
    }
}

/// What an active version did since it became that. What a lookup says of its source is no fault of its own.
fn since(kind: PluginKind, before: &Counters, now: &Counters) -> Seen {
    let count = |code: &str| {
        let of = |counters: &Counters| counters.faults.get(code).copied().unwrap_or(0);
        of(now).saturating_sub(of(before))
    };
    let own = if kind == PluginKind::MemberLookup {
        0
    } else {
        count("plugin.fault.internal") + count("plugin.fault.unsupported")
    };
    let seen = Seen {
        traps: count("plugin.trap"),
        deadlines: count("plugin.deadline") + count("plugin.cpu"),
        faults: own + count("plugin.output-too-large") + count("plugin.wrong-answer"),
        ..Seen::default()
    };
    let calls = now.calls.saturating_sub(before.calls);
    Seen { answers: calls.saturating_sub(seen.failures()), ..seen }
}

/// A step of the preparation, which takes a while.
pub(super) enum Step {
    Fetch(Kept, Option<Links>, Digests),
    /// and stored, where it came from another member
    Verify(Arc<Package>, Trust, Origin, Option<Kept>),
    Compile(Arc<Package>),
    Validate(PluginVersion, Users),
}

/// A step that is to be taken.
pub(super) struct Begun {
    pub(super) whom: Identity,
    pub(super) serial: u64,
    pub(super) step: Step,
}

impl Begun {
    pub(super) async fn run(self, host: PluginHost, secrets: Secrets) -> Stepped {
        let Self { whom, serial, step } = self;
        Stepped { whom, serial, end: step.take(host, secrets).await }
    }
}

/// How a step ended.
pub(super) struct Stepped {
    pub(super) whom: Identity,
    pub(super) serial: u64,
    pub(super) end: Result<Done, String>,
}

/// What a step brought.
pub(super) enum Done {
    /// none: no member that is reached has it
    Fetched(Option<Arc<Package>>),
    Verified(Arc<Package>),
    Compiled(PluginVersion),
    /// whether instances are checked by the plugin
    Validated(bool),
}

impl Step {
    async fn take(self, host: PluginHost, secrets: Secrets) -> Result<Done, String> {
        match self {
            Self::Fetch(kept, links, digests) => match fetch(kept, links.as_ref(), &digests).await {
                Ok(package) => Ok(Done::Fetched(Some(Arc::new(package)))),
                Err(FetchError::Nowhere) => {
                    tokio::time::sleep(FETCH_AGAIN).await;
                    Ok(Done::Fetched(None))
                }
                Err(FetchError::Kept(error)) => Err(of_disk(&error)),
            },
            Self::Verify(package, trust, origin, kept) => {
                let verifying = package.clone();
                let verified = tokio::task::spawn_blocking(move || {
                    verify(&verifying, &trust, origin)?;
                    let stored = kept.map(|kept| kept.store(&verifying)).transpose();
                    stored.map(drop).map_err(|error| of_disk(&error))
                });
                let verified = verified.await;
                verified.map_err(|_| "it could not be looked at".to_owned())??;
                Ok(Done::Verified(package))
            }
            Self::Compile(package) => {
                let component = package.component.clone();
                let prepared = host.prepare(component.wasm, component.manifest).await;
                prepared.map(Done::Compiled).map_err(|error| with_cause(&error))
            }
            Self::Validate(version, users) => {
                users.refuse(&version, &secrets).await?;
                Ok(Done::Validated(users.is_called))
            }
        }
    }
}

/// For all members: the path is of this machine.
fn of_disk(error: &KeptError) -> String {
    tracing::error!(%error, "the files of a version cannot be kept");
    "its files cannot be kept in the data directory; the log of the node says why".to_owned()
}

/// The error and what is behind it, in one line.
pub(super) fn with_cause(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_active_version_is_judged_by_what_it_did_since_then() {
        let before = Counters { calls: 10, faults: [("plugin.trap", 2)].into(), ..Counters::default() };
        let faults = [("plugin.trap", 3), ("plugin.cpu", 1), ("plugin.fault.internal", 4)].into();
        let now = Counters { calls: 30, faults, ..Counters::default() };
        let seen = since(PluginKind::HealthCheck, &before, &now);
        assert_eq!((seen.traps, seen.deadlines, seen.faults, seen.answers), (1, 1, 4, 14));
        assert_eq!(since(PluginKind::MemberLookup, &before, &now).faults, 0, "its source may be away");
    }
}
