//! How a new version of a plugin takes the place of the active one, and when it does not.
//!
//! Pure: what was counted and the time go in, decisions come out; the shell loads, calls and counts. A candidate goes
//! through verified → compiled → validated → shadow → canary → active, one stage after the other. In shadow it runs
//! beside the active version and its verdicts are compared and thrown away; in canary it judges a share of the
//! targets, and what it says against a target is believed only if the active version says the same. So a candidate
//! that is wrong is found out before it can turn an instance.

mod judge;
mod limits;
mod reason;
mod wanted;

pub use judge::{Effect, Worth, in_share, settled, worth};
pub use limits::Limits;
pub use reason::Reason;
pub use wanted::{Act, Coming, Digests, Granted, MAX_GRANTED, Push, Wanted, Withdrawn, act, may_activate};

use crate::time::Millis;

/// How far a candidate has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// its bytes are here
    Received,
    /// its digest and signature are as they should be
    Verified,
    /// it can be called
    Compiled,
    /// it takes the settings of everything that uses it
    Validated,
    /// it runs beside the active version; its verdicts are compared and not used
    Shadow,
    /// it judges a share of the targets
    Canary {
        /// of a thousand targets
        share: u16,
    },
    /// it passed everything here, and waits for the other members
    Ready,
    /// it is the active version; the previous one comes back by itself if it breaks
    Probation,
    /// it is the active version
    Active,
    /// it was taken back
    RolledBack,
}

impl Stage {
    /// The word of the API, the metrics and the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Verified => "verified",
            Self::Compiled => "compiled",
            Self::Validated => "validated",
            Self::Shadow => "shadow",
            Self::Canary { .. } => "canary",
            Self::Ready => "ready",
            Self::Probation => "probation",
            Self::Active => "active",
            Self::RolledBack => "rolled-back",
        }
    }

    /// Whether it is called for targets, so that there is something to count.
    pub const fn is_watched(self) -> bool {
        matches!(self, Self::Shadow | Self::Canary { .. } | Self::Ready | Self::Probation)
    }
}

/// What a candidate is tried with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// a health check whose verdicts count: shadow, then canary
    OnTargets,
    /// nothing that could be compared: another kind of plugin, or a health check that no instance uses
    None,
}

/// Who decides that a candidate becomes active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// this node
    Alone,
    /// all members, once each of them has found it good
    Members,
}

/// What was counted since the stage began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// calls that ended with an answer
    pub answers: u64,
    /// calls of both versions on one target with the same effect
    pub agreed: u64,
    /// calls of both versions on one target with another effect
    pub disagreed: u64,
    /// calls in which the candidate broke
    pub traps: u64,
    /// calls in which it used up its time or its CPU
    pub deadlines: u64,
    /// calls that ended without an answer for another reason of its own
    pub faults: u64,
    /// the candidate's time for 99 of 100 calls, microseconds
    pub p99_us: u64,
    /// that of the active version over the same stretch of time
    pub active_p99_us: u64,
}

impl Seen {
    /// All calls of the candidate.
    pub const fn runs(&self) -> u64 {
        self.answers + self.failures()
    }

    /// Calls without an answer.
    pub const fn failures(&self) -> u64 {
        self.traps + self.deadlines + self.faults
    }

    /// Calls whose effects could be compared.
    pub const fn compared(&self) -> u64 {
        self.agreed + self.disagreed
    }
}

/// What the shell does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// nothing
    Stay,
    /// go on with this stage, counting from zero
    Enter(Stage),
    /// say that the candidate is good here: whether it becomes active is for all members to decide
    Ready,
    /// make the candidate the active version and keep the former one
    Activate,
    /// give the candidate up; if it is active already, the previous version comes back
    RollBack(Reason),
    /// the previous version is kept for the operator only
    Settle,
}

/// Why an operator's wish cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotNow {
    /// it has not been shown to take its settings
    #[error("it is not validated yet; wait until it is in shadow")]
    NotValidated,
    /// it is active
    #[error("it is the active version already")]
    IsActive,
    /// it was taken back
    #[error("it was rolled back; install it again")]
    IsOver,
}

/// One candidate on its way.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollout {
    limits: Limits,
    company: Company,
    trial: Trial,
    /// whether what made it ready was an answer for a target, or an operator
    tried: bool,
    stage: Stage,
    /// the stage before this one
    left: Stage,
    entered: Millis,
    /// when a run was last seen, and how many there were
    moved: (Millis, u64),
    quiet: bool,
    reason: Option<Reason>,
}

impl Rollout {
    /// A candidate whose bytes have just come.
    pub fn new(now: Millis, limits: Limits, company: Company) -> Self {
        let stage = Stage::Received;
        Self {
            limits,
            company,
            trial: Trial::None,
            tried: false,
            stage,
            left: stage,
            entered: now,
            moved: (now, 0),
            quiet: false,
            reason: None,
        }
    }

    /// How far it has come.
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// The stage before this one: for a candidate that was given up, where that happened.
    pub const fn left(&self) -> Stage {
        self.left
    }

    /// When it came there.
    pub const fn entered(&self) -> Millis {
        self.entered
    }

    /// Why it was taken back.
    pub const fn reason(&self) -> Option<&Reason> {
        self.reason.as_ref()
    }

    /// Whether it waits for probes that do not come.
    pub const fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether it is ready here, and if so, whether it was tried for that.
    pub fn ready(&self) -> Option<bool> {
        (self.stage == Stage::Ready).then_some(self.tried)
    }

    /// The limits it is held to.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A step of its preparation went well: `Verified` or `Compiled`.
    pub fn prepared(&mut self, now: Millis, step: Stage) {
        self.enter(now, step);
    }

    /// It takes the settings of all that use it. Without anything to compare it with it becomes active, or ready, at
    /// once.
    pub fn validated(&mut self, now: Millis, trial: Trial) -> Decision {
        self.trial = trial;
        match trial {
            Trial::OnTargets => self.go(now, Stage::Shadow),
            Trial::None => self.passed(now, true),
        }
    }

    /// A step of its preparation went wrong.
    pub fn refused(&mut self, now: Millis, why: String) -> Decision {
        self.roll_back(now, Reason::Refused(why))
    }

    /// What was counted since the stage began.
    pub fn observe(&mut self, now: Millis, seen: &Seen) -> Decision {
        if !self.stage.is_watched() {
            return Decision::Stay;
        }
        if let Some(reason) = self.limits.broken(self.stage, seen) {
            return self.roll_back(now, reason);
        }
        if seen.runs() > self.moved.1 {
            (self.moved, self.quiet) = ((now, seen.runs()), false);
        }
        let past = |time: Millis| now.since(self.entered) >= time;
        match self.stage {
            Stage::Shadow if seen.answers >= self.limits.shadow_runs && past(self.limits.shadow_time) => {
                self.go(now, Stage::Canary { share: self.limits.canary_share })
            }
            Stage::Canary { .. }
                if seen.answers >= self.limits.canary_runs && past(self.limits.canary_time) =>
            {
                self.passed(now, true)
            }
            Stage::Probation if past(self.limits.probation) => {
                self.enter(now, Stage::Active);
                Decision::Settle
            }
            Stage::Shadow | Stage::Canary { .. } => self.waited(now),
            // It checks somebody after all, and is tried like on any other member.
            Stage::Ready if !self.tried && seen.runs() > 0 => self.go(now, Stage::Shadow),
            _ => Decision::Stay,
        }
    }

    /// All members have found it good.
    pub fn agreed(&mut self, now: Millis) -> Decision {
        match self.stage {
            Stage::Ready => self.activate(now),
            _ => Decision::Stay,
        }
    }

    /// An operator does not want to wait: the next stage, or the last one at once.
    ///
    /// # Errors
    /// [`NotNow`]; nothing changes.
    pub fn promote(&mut self, now: Millis, to_the_end: bool) -> Result<Decision, NotNow> {
        match self.stage {
            Stage::Shadow if !to_the_end => {
                Ok(self.go(now, Stage::Canary { share: self.limits.canary_share }))
            }
            Stage::Shadow | Stage::Canary { .. } | Stage::Ready => Ok(self.passed(now, true)),
            Stage::Probation | Stage::Active => Err(NotNow::IsActive),
            Stage::RolledBack => Err(NotNow::IsOver),
            Stage::Received | Stage::Verified | Stage::Compiled | Stage::Validated => {
                Err(NotNow::NotValidated)
            }
        }
    }

    /// An operator does not want it.
    pub fn withdraw(&mut self, now: Millis) -> Decision {
        self.roll_back(now, Reason::Operator)
    }

    /// Nobody is checked by it for long: a canary whose share holds no target gets a larger one. A member that checks
    /// nobody with it leaves the judgement to those that do; otherwise it is said.
    /// Time alone never makes a version active.
    fn waited(&mut self, now: Millis) -> Decision {
        if now.since(self.moved.0) < self.limits.patience {
            return Decision::Stay;
        }
        match self.stage {
            Stage::Canary { share } if self.moved.1 == 0 && share < 1000 => {
                self.go(now, Stage::Canary { share: share.saturating_mul(3).clamp(1, 1000) })
            }
            stage if self.moved.1 == 0 && self.company == Company::Members => {
                self.passed(now, stage != Stage::Shadow)
            }
            _ => {
                self.quiet = true;
                Decision::Stay
            }
        }
    }

    fn passed(&mut self, now: Millis, tried: bool) -> Decision {
        match self.company {
            Company::Alone => self.activate(now),
            Company::Members => {
                self.enter(now, Stage::Ready);
                self.tried = tried;
                Decision::Ready
            }
        }
    }

    fn activate(&mut self, now: Millis) -> Decision {
        self.enter(now, Stage::Probation);
        Decision::Activate
    }

    fn go(&mut self, now: Millis, stage: Stage) -> Decision {
        self.enter(now, stage);
        Decision::Enter(stage)
    }

    fn roll_back(&mut self, now: Millis, reason: Reason) -> Decision {
        self.enter(now, Stage::RolledBack);
        self.reason = Some(reason.clone());
        Decision::RollBack(reason)
    }

    fn enter(&mut self, now: Millis, stage: Stage) {
        self.left = std::mem::replace(&mut self.stage, stage);
        (self.entered, self.moved, self.quiet) = (now, (now, 0), false);
    }
}

#[cfg(test)]
mod tests;
