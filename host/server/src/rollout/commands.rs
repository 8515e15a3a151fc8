//! What operators ask for: answered at once, or when all members have been told.

use super::kept::Origin;
use super::package::{Package, admit};
use super::task::Task;
use super::together::Saying;
use super::{Command, RolloutError, Wish};
use crate::plugins::Identity;
use muster_core::rollout::{Act, Decision, Digests, Push, Reason, Stage};

impl Task {
    /// Answers an operator: at once, or when all members have been told.
    pub(super) async fn wished(&mut self, Command { whom, wish, reply }: Command) {
        let act = match wish {
            Wish::Install { package, approved } => self.send(&whom, *package, approved).await.map(Some),
            Wish::Promote { to_the_end } => self.promote(&whom, to_the_end).await,
            Wish::RollBack => self.back(&whom).await,
            Wish::CallOff(off) => self.call_off(&whom, off).map(Some),
        };
        match act {
            Ok(Some(act)) => self.sayings.push(Saying { whom, act, reply: Some(reply) }),
            other => {
                self.publish();
                // Whoever asked may have gone.
                let _ = reply.send(other.map(drop));
            }
        }
    }

    /// Whether a version may come at all. Asked before anything is kept of it: whoever sends it may be anybody.
    fn may_come(&self, whom: &Identity, package: &Package, origin: Origin) -> Result<(), RolloutError> {
        let name = || whom.1.clone();
        if self.is_taken(whom) {
            return Err(RolloutError::Bundled { name: name() });
        }
        admit(package, &self.trust, origin)
            .map_err(|source| RolloutError::NotTrusted { name: name(), source })?;
        let is_active =
            self.kept.get(whom).is_some_and(|entry| entry.active.as_ref() == Some(&package.digests()));
        if is_active { Err(RolloutError::IsActive { name: name() }) } else { Ok(()) }
    }

    async fn store(&mut self, package: &Package) -> Result<Digests, RolloutError> {
        let (kept, storing) = (self.kept.clone(), package.clone());
        let stored = tokio::task::spawn_blocking(move || kept.store(&storing)).await;
        Ok(stored.map_err(|_| RolloutError::Stopping)??)
    }

    /// What is to be said to all members so that this version comes. Its files are here from now on.
    pub(super) async fn send(
        &mut self,
        whom: &Identity,
        package: Package,
        approved: Option<String>,
    ) -> Result<Act, RolloutError> {
        self.may_come(whom, &package, Origin::Installed)?;
        let version = self.store(&package).await?;
        self.kept.entry(whom, Origin::Installed).sending = Some(version.clone());
        self.save().await;
        Ok(Act::Install { version, approved, replaces: self.active(whom).is_some() })
    }

    /// A version of the folder of a node that is alone.
    pub(super) async fn install_own(
        &mut self,
        whom: &Identity,
        package: Package,
    ) -> Result<(), RolloutError> {
        self.may_come(whom, &package, Origin::Folder)?;
        if let Some(candidate) = self.candidate(whom)
            && candidate.rollout.stage() != Stage::Probation
        {
            self.give_up(whom, Reason::Replaced).await;
        }
        let version = self.store(&package).await?;
        self.kept.entry(whom, Origin::Folder).candidate = Some(version);
        self.save().await;
        self.begin_own(whom.clone(), package);
        Ok(())
    }

    async fn promote(&mut self, whom: &Identity, to_the_end: bool) -> Result<Option<Act>, RolloutError> {
        let now = self.parts.clock.now();
        let name = || whom.1.clone();
        let candidate = self.candidate(whom).ok_or_else(|| RolloutError::NoCandidate { name: name() })?;
        // Where all members have a say, this one only finds out what there is to say.
        let mut rollout = candidate.rollout.clone();
        let decision = rollout.promote(now, to_the_end);
        let decision = decision.map_err(|source| RolloutError::NotNow { name: name(), source })?;
        tracing::info!(plugin = whom.1, to_the_end, "an operator moves a version on");
        if let Some(serial) = candidate.agreed() {
            let to = if matches!(decision, Decision::Enter(_)) { Push::Canary } else { Push::Active };
            return Ok(Some(Act::Push { serial, to }));
        }
        candidate.rollout = rollout;
        self.carry_out(whom, decision).await;
        Ok(None)
    }

    async fn back(&mut self, whom: &Identity) -> Result<Option<Act>, RolloutError> {
        if let Some(act) = self.withdrawal(whom)? {
            return Ok(Some(act));
        }
        if let Some(candidate) = self.candidate(whom) {
            let is_active = candidate.rollout.stage() == Stage::Probation;
            if is_active && !self.kept.get(whom).is_some_and(|entry| entry.has_previous) {
                return Err(RolloutError::NoPrevious { name: whom.1.clone() });
            }
            self.give_up(whom, Reason::Operator).await;
            return Ok(None);
        }
        self.return_to_previous(whom).await?;
        tracing::warn!(plugin = whom.1, "an operator rolled the active version back");
        Ok(None)
    }

    fn call_off(&self, whom: &Identity, off: bool) -> Result<Act, RolloutError> {
        let unknown = || RolloutError::Unknown { name: whom.1.clone(), kind: Some(whom.0) };
        self.active(whom).ok_or_else(unknown)?;
        Ok(Act::CallOff { off })
    }
}
