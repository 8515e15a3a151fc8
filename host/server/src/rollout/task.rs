//! The task that owns all versions: takes commands, looks at the folder, moves candidates on, switches.

use super::agreed::Agreed;
use super::folder::{Folder, LOOK};
use super::kept::{Entry, Kept, Origin, statement_of};
use super::package::{Package, admit};
use super::plugin::{Begun, Bond, Candidate, Done, Plugin, Step, Stepped, with_cause};
use super::together::Saying;
use super::trial::Trial;
use super::users::Users;
use super::view::{Failed, View};
use super::{Inbox, RolloutError, Rollouts};
use crate::clock::Clock;
use crate::cluster::Links;
use crate::filters::Filters;
use crate::naming::{NamingHandle, Published};
use crate::plugins::{self, Identity};
use crate::secrets::Secrets;
use crate::settings::{self, Settings};
use crate::tasks::Tasks;
use crate::trust::{self, Capabilities, NotApproved, Trust};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use muster_core::plugin::PluginKind;
use muster_core::rollout::{
    Company, Decision, Digests, Limits, Push, Reason, Rollout, Stage, Trial as Tried,
};
use muster_raft::Store;
use muster_wasm::{Manifest, PluginHost, PluginInfo, PluginVersion};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// Between two looks at what was counted, while there is a candidate.
const WATCH: Duration = Duration::from_millis(100);

/// What the task works with.
pub struct Parts {
    /// the plugins
    pub plugins: PluginHost,
    /// what secrets of settings stand for
    pub secrets: Secrets,
    /// hands what is said to all members in
    pub naming: NamingHandle,
    /// what all members have agreed on
    pub agreed: Agreed,
    /// who the members are, and which of them leads
    pub store: Store,
    /// the connections to them; none for a node that is alone
    pub links: Option<Links>,
    /// who is checked by what
    pub published: Arc<Published>,
    /// answers of filters, which are forgotten with their version
    pub filters: Filters,
    /// the time
    pub clock: Clock,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

impl Rollouts {
    /// Starts the task over what is installed.
    pub(crate) fn start(&self, tasks: &Tasks, inbox: Inbox, parts: Parts, kept: Kept, settings: &Settings) {
        let bundled = plugins::bundled().unwrap_or_default();
        let mut task = Task {
            parts,
            shared: self.clone(),
            kept,
            limits: settings.plugins.rollout.clone(),
            trust: Trust::of(settings),
            filters: settings.filters.clone(),
            lookup: settings.lookup.clone(),
            bundled: bundled.iter().map(plugins::Component::identity).collect(),
            replace_bundled: settings.plugins.replace_bundled,
            folder: settings.plugins.directory.as_deref().map(Folder::new),
            plugins: BTreeMap::new(),
            begun: Vec::new(),
            sayings: Vec::new(),
            speaking: BTreeSet::new(),
            serial: 0,
        };
        let Inbox(mut commands) = inbox;
        tasks.spawn("plugin-versions", |stop| async move {
            let (mut steps, mut said) = (FuturesUnordered::new(), FuturesUnordered::new());
            let (agreed, naming) = (task.parts.agreed.clone(), task.parts.naming.clone());
            let mut looks = tokio::time::interval(LOOK);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            task.resume().await;
            loop {
                let (host, secrets) = (task.parts.plugins.clone(), task.parts.secrets.clone());
                steps.extend(task.begun.drain(..).map(|begun| begun.run(host.clone(), secrets.clone())));
                said.extend(task.sayings.drain(..).map(|saying| saying.run(naming.clone())));
                task.publish();
                let is_watched = task.is_watched();
                tokio::select! {
                    Some(stepped) = steps.next() => task.stepped(stepped).await,
                    Some(said) = said.next() => task.said(said).await,
                    Some(command) = commands.recv() => task.wished(command).await,
                    () = agreed.changed() => task.follow_all().await,
                    () = tokio::time::sleep(WATCH), if is_watched => task.observe().await,
                    _ = looks.tick(), if task.folder.is_some() => task.look().await,
                    () = stop.cancelled() => return Ok(()),
                }
            }
        });
    }
}

pub(super) struct Task {
    pub(super) parts: Parts,
    pub(super) shared: Rollouts,
    pub(super) kept: Kept,
    limits: Limits,
    pub(super) trust: Trust,
    filters: Vec<settings::Filter>,
    lookup: settings::Lookup,
    bundled: BTreeSet<Identity>,
    replace_bundled: bool,
    folder: Option<Folder>,
    pub(super) plugins: BTreeMap<Identity, Plugin>,
    /// steps that are not run yet
    begun: Vec<Begun>,
    /// what is not said to all members yet
    pub(super) sayings: Vec<Saying>,
    /// plugins about which this node is just saying something by itself
    pub(super) speaking: BTreeSet<Identity>,
    serial: u64,
}

impl Task {
    /// What the former process was told and had not finished.
    async fn resume(&mut self) {
        if self.parts.naming.step(|_, _| ()).await.is_err() {
            return;
        }
        let entries: Vec<(Identity, Entry)> =
            self.kept.all().map(|(whom, entry)| (whom.clone(), entry.clone())).collect();
        for (whom, entry) in entries {
            if entry.called_off
                && let Some(active) = self.active(&whom)
            {
                active.call_off(true);
            }
            let Some(digests) = entry.candidate else { continue };
            if !self.is_own(&whom) || entry.folder.as_ref() != Some(&digests) {
                // What the members want of it comes below.
                self.kept.entry(&whom, entry.origin).candidate = None;
                continue;
            }
            match self.kept.package(&digests) {
                Ok(package) => self.begin_own(whom, package),
                Err(error) => {
                    tracing::error!(plugin = whom.1, %error, "a version on its way is lost; install it again");
                    self.kept.entry(&whom, entry.origin).candidate = None;
                    self.save().await;
                }
            }
        }
        self.follow_all().await;
    }

    /// Whether its name is that of a bundled plugin that is to stay.
    pub(super) fn is_taken(&self, whom: &Identity) -> bool {
        self.bundled.contains(whom) && !self.replace_bundled
    }

    /// Whether files of the folder are this node's own affair.
    fn is_own(&self, whom: &Identity) -> bool {
        let row = self.parts.agreed.get(whom);
        let is_agreed_on = row.is_some_and(|row| row.active.is_some() || row.candidate.is_some());
        self.parts.links.is_none() && !is_agreed_on
    }

    pub(super) fn active(&self, whom: &Identity) -> Option<PluginVersion> {
        self.parts.plugins.active(whom.0, &whom.1)
    }

    fn is_watched(&self) -> bool {
        self.plugins.values().any(|plugin| {
            let watched = |one: &Candidate| one.agreed().is_some() || one.rollout.stage().is_watched();
            plugin.refused.is_some() || plugin.candidate.as_ref().is_some_and(watched)
        })
    }

    /// What is new in the folder.
    async fn look(&mut self) {
        let Some(mut folder) = self.folder.take() else { return };
        let looked = tokio::task::spawn_blocking(move || (folder.look(), folder)).await;
        // It does not panic; if it ever does, the folder is not looked at any more.
        let Ok((found, folder)) = looked else { return };
        self.folder = Some(folder);
        for package in found {
            match package {
                Ok(package) => self.found(package).await,
                Err(error) => tracing::warn!(%error, "a file of plugins.directory is left alone"),
            }
        }
    }

    /// A file of the folder is new or changed.
    async fn found(&mut self, package: Package) {
        let (whom, digests) = (package.component.identity(), package.digests());
        if self.kept.get(&whom).is_some_and(|entry| entry.folder.as_ref() == Some(&digests)) {
            return;
        }
        let origin = package.component.origin.display().to_string();
        let installed = if self.is_own(&whom) {
            self.install_own(&whom, package).await
        } else if self.is_wanted(&whom, &digests) {
            Ok(())
        } else {
            let act = self.send(&whom, package, None).await;
            act.map(|act| self.sayings.push(Saying { whom: whom.clone(), act, reply: None }))
        };
        match installed {
            Ok(()) => tracing::info!(file = origin, "a new version is in plugins.directory"),
            Err(RolloutError::IsActive { .. }) => {}
            Err(error) => {
                tracing::warn!(file = origin, %error, "a file of plugins.directory is left alone");
                return;
            }
        }
        self.kept.entry(&whom, Origin::Folder).folder = Some(digests);
        self.save().await;
    }

    pub(super) fn begin_own(&mut self, whom: Identity, package: Package) {
        self.begin(&whom, package.digests(), Origin::Folder, Bond::Own);
        let trust = self.trust.clone();
        self.step(whom, Step::Verify(Arc::new(package), trust, Origin::Folder, None));
    }

    pub(super) fn begin(&mut self, whom: &Identity, digests: Digests, origin: Origin, bond: Bond) {
        self.serial += 1;
        let company = if bond == Bond::Own { Company::Alone } else { Company::Members };
        let candidate = Candidate {
            serial: self.serial,
            digests,
            origin,
            bond,
            pushed: Push::None,
            lacking: false,
            rollout: Rollout::new(self.parts.clock.now(), self.limits.clone(), company),
            version: None,
            trial: None,
            before: muster_wasm::Counters::default(),
        };
        tracing::info!(plugin = whom.1, sha256 = candidate.digests.component, "a version is on its way");
        self.plugins.entry(whom.clone()).or_default().candidate = Some(candidate);
    }

    pub(super) fn fetch(&mut self, whom: &Identity) {
        let (kept, links) = (self.kept.clone(), self.parts.links.clone());
        if let Some(digests) = self.candidate(whom).map(|candidate| candidate.digests.clone()) {
            self.step(whom.clone(), Step::Fetch(kept, links, digests));
        }
    }

    pub(super) fn step(&mut self, whom: Identity, step: Step) {
        let Some(candidate) = self.candidate(&whom) else { return };
        let serial = candidate.serial;
        self.begun.push(Begun { whom, serial, step });
    }

    pub(super) fn candidate(&mut self, whom: &Identity) -> Option<&mut Candidate> {
        self.plugins.get_mut(whom)?.candidate.as_mut()
    }

    async fn stepped(&mut self, Stepped { whom, serial, end }: Stepped) {
        let now = self.parts.clock.now();
        let is_first = self.active(&whom).is_none();
        let is_taken = self.is_taken(&whom);
        let Some(candidate) = self.candidate(&whom).filter(|candidate| candidate.serial == serial) else {
            return;
        };
        let is_behind = matches!(candidate.bond, Bond::Behind(_));
        let decision = match end {
            Err(why) => candidate.rollout.refused(now, why),
            // The member that it was sent to may see this otherwise.
            Ok(Done::Fetched(_)) if is_taken => {
                candidate.rollout.refused(now, RolloutError::Bundled { name: whom.1.clone() }.to_string())
            }
            Ok(Done::Fetched(None)) => {
                candidate.lacking = true;
                self.fetch(&whom);
                return;
            }
            Ok(Done::Fetched(Some(package))) => {
                candidate.lacking = false;
                let (trust, kept) = (self.trust.clone(), self.kept.clone());
                self.step(whom, Step::Verify(package, trust, Origin::Installed, Some(kept)));
                return;
            }
            Ok(Done::Verified(package)) => {
                candidate.rollout.prepared(now, Stage::Verified);
                self.step(whom, Step::Compile(package));
                return;
            }
            Ok(Done::Compiled(version)) => {
                candidate.rollout.prepared(now, Stage::Compiled);
                candidate.version = Some(version.clone());
                let digests = candidate.digests.clone();
                // What all members use was approved when it came.
                let may_follow = if is_behind { Ok(()) } else { self.may_follow(&whom, &version, &digests) };
                match (may_follow, self.candidate(&whom)) {
                    (Err(refused), Some(candidate)) => candidate.rollout.refused(now, refused.to_string()),
                    _ => {
                        let users = self.users(&whom);
                        self.step(whom, Step::Validate(version, users));
                        return;
                    }
                }
            }
            Ok(Done::Validated(is_called)) => {
                candidate.rollout.prepared(now, Stage::Validated);
                let is_tried = is_called && !is_first && !is_behind;
                let tried = if is_tried { Tried::OnTargets } else { Tried::None };
                candidate.rollout.validated(now, tried)
            }
        };
        self.carry_out(&whom, decision).await;
        self.follow(&whom).await;
    }

    /// Whether a version asks for no more than the active one, or for what an operator has approved.
    fn may_follow(
        &self,
        whom: &Identity,
        version: &PluginVersion,
        digests: &Digests,
    ) -> Result<(), NotApproved> {
        let Some(active) = self.active(whom) else { return Ok(()) };
        let of = |version: &PluginVersion| (version.manifest(), version.info());
        let (old, new) = (of(&active), of(version));
        let approved = self.kept.get(whom).and_then(|entry| entry.approved.clone());
        let digest = statement_of(digests).digest();
        trust::upgrade(&asks(&old), &asks(&new), &digest, approved.as_deref()).map(drop)
    }

    fn users(&self, whom: &Identity) -> Users {
        Users::of(whom.0, &whom.1, &self.parts.published, &self.filters, &self.lookup)
    }

    /// Moves all candidates on by what was counted.
    async fn observe(&mut self) {
        let now = self.parts.clock.now();
        let mut decisions = Vec::new();
        for (whom, plugin) in &mut self.plugins {
            if let Some(candidate) = &mut plugin.candidate {
                let seen = candidate.seen();
                decisions.push((whom.clone(), candidate.rollout.observe(now, &seen)));
            }
        }
        for (whom, decision) in decisions {
            self.carry_out(&whom, decision).await;
        }
        self.speak();
    }

    pub(super) async fn give_up(&mut self, whom: &Identity, reason: Reason) {
        let now = self.parts.clock.now();
        let Some(candidate) = self.candidate(whom) else { return };
        candidate.rollout.withdraw(now);
        let failed = failed(candidate, reason);
        self.drop_candidate(whom, failed).await;
    }

    pub(super) async fn carry_out(&mut self, whom: &Identity, decision: Decision) {
        match decision {
            // What is ready is said at the next look.
            Decision::Stay | Decision::Ready => {}
            Decision::Enter(stage) => self.try_out(whom, stage),
            Decision::Activate => self.activate(whom).await,
            Decision::Settle => {
                if let Some(plugin) = self.plugins.get_mut(whom) {
                    plugin.candidate = None;
                    tracing::info!(plugin = whom.1, "the new version has proved itself");
                }
            }
            Decision::RollBack(reason) => {
                let Some(candidate) = self.candidate(whom) else { return };
                let bond = candidate.bond;
                let failed = failed(candidate, reason);
                let why = failed.reason.to_string();
                self.drop_candidate(whom, failed).await;
                // One that came late finds out for itself alone: the others have found it good.
                let Some(plugin) = self.plugins.get_mut(whom) else { return };
                match bond {
                    Bond::Own => {}
                    Bond::Agreed(serial) => plugin.refused = Some((serial, why)),
                    Bond::Behind(serial) => plugin.missed = Some(serial),
                }
            }
        }
    }

    /// Shadow or canary, counting from zero.
    fn try_out(&mut self, whom: &Identity, stage: Stage) {
        let shadow_share = self.limits.shadow_share;
        let Some(candidate) = self.candidate(whom) else { return };
        let Some(check) = candidate.version.as_ref().and_then(PluginVersion::health_check) else { return };
        let trial = Arc::new(Trial::new(check, stage, shadow_share));
        candidate.trial = Some(trial.clone());
        self.shared.0.trials.set(&whom.1, Some(trial));
        tracing::info!(plugin = whom.1, stage = stage.word(), "a new version goes on");
    }

    async fn activate(&mut self, whom: &Identity) {
        let Some(candidate) = self.candidate(whom) else { return };
        let Some(version) = candidate.version.clone() else { return };
        let (digests, origin) = (candidate.digests.clone(), candidate.origin);
        candidate.trial = None;
        candidate.before = version.info().counters;
        self.end_trial(whom);
        let former = self.parts.plugins.activate(&version);
        self.parts.filters.forget();
        let entry = self.kept.entry(whom, origin);
        entry.origin = origin;
        entry.has_previous = former.is_some();
        entry.previous = entry.active.replace(digests);
        (entry.candidate, entry.approved, entry.called_off) = (None, None, false);
        self.plugins.entry(whom.clone()).or_default().previous = former;
        self.shared.0.counts.activated.fetch_add(1, Ordering::Relaxed);
        self.save().await;
        let info = version.info();
        let (version, sha256) = (info.version, info.inspection.sha256);
        tracing::info!(plugin = whom.1, version, sha256, "a new version is active");
    }

    /// Probes in flight end with the candidate they began with.
    fn end_trial(&self, whom: &Identity) {
        if whom.0 == PluginKind::HealthCheck {
            self.shared.0.trials.set(&whom.1, None);
        }
    }

    async fn drop_candidate(&mut self, whom: &Identity, failed: Failed) {
        self.end_trial(whom);
        let Some(candidate) = self.plugins.get_mut(whom).and_then(|plugin| plugin.candidate.take()) else {
            return;
        };
        let reason = failed.reason.clone();
        let at = muster_core::rollout::Reason::WORDS.iter().position(|word| *word == reason.word());
        if let Some(count) = at.and_then(|at| self.shared.0.counts.rolled_back.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        tracing::warn!(
            plugin = whom.1,
            sha256 = candidate.digests.component,
            reason = reason.word(),
            example = failed.example,
            "a version is rolled back: {reason}"
        );
        let is_active = failed.stage == Stage::Probation;
        if let Some(plugin) = self.plugins.get_mut(whom) {
            plugin.failed = Some(failed);
        }
        if is_active {
            if let Err(error) = self.return_to_previous(whom).await {
                tracing::error!(plugin = whom.1, %error, "the version stays active");
            }
            return;
        }
        if let Some(version) = &candidate.version {
            version.retire();
        }
        let entry = self.kept.entry(whom, candidate.origin);
        (entry.candidate, entry.approved) = (None, None);
        self.save().await;
    }

    /// Makes the version before the active one active again.
    pub(super) async fn return_to_previous(&mut self, whom: &Identity) -> Result<(), RolloutError> {
        let none = || RolloutError::NoPrevious { name: whom.1.clone() };
        let entry = self.kept.get(whom).filter(|entry| entry.has_previous).ok_or_else(none)?;
        let wanted = entry.previous.clone();
        let kept = self.plugins.get_mut(whom).and_then(|plugin| plugin.previous.take());
        let version = match kept {
            Some(version) => version,
            None => self.load(whom, wanted.as_ref()).await?,
        };
        let former = self.parts.plugins.activate(&version);
        drop(former);
        self.parts.filters.forget();
        let entry = self.kept.entry(whom, Origin::Installed);
        entry.active = entry.previous.take();
        if entry.active.is_some() && entry.active == entry.folder {
            entry.origin = Origin::Folder;
        }
        (entry.has_previous, entry.called_off) = (false, false);
        version.call_off(false);
        self.save().await;
        Ok(())
    }

    /// Compiles a version that this process has not had.
    async fn load(&self, whom: &Identity, digests: Option<&Digests>) -> Result<PluginVersion, RolloutError> {
        let wrong = |why: String| RolloutError::Previous { name: whom.1.clone(), why };
        let component = match digests {
            Some(digests) => {
                let package = self.kept.package(digests)?;
                let origin = self.kept.get(whom).map_or(Origin::Installed, |entry| entry.origin);
                admit(&package, &self.trust, origin).map_err(|error| wrong(error.to_string()))?;
                package.component
            }
            None => {
                let bundled = plugins::bundled().map_err(|error| wrong(error.to_string()))?;
                let found = bundled.into_iter().find(|one| one.identity() == *whom);
                found.ok_or_else(|| RolloutError::NoPrevious { name: whom.1.clone() })?
            }
        };
        let prepared = self.parts.plugins.prepare(component.wasm, component.manifest).await;
        prepared.map_err(|error| wrong(with_cause(&error)))
    }

    /// What cannot be kept is said loudly: a restart would come up with what was kept before.
    pub(super) async fn save(&self) {
        let kept = self.kept.clone();
        let saved = tokio::task::spawn_blocking(move || kept.save()).await;
        if let Ok(Err(error)) = saved {
            tracing::error!(%error, "the wanted versions could not be kept for the next start");
        }
    }

    pub(super) fn publish(&self) {
        let mut all: BTreeSet<&Identity> = self.plugins.keys().collect();
        all.extend(self.kept.all().map(|(whom, _)| whom));
        let group = self.group();
        let nothing = Plugin::default();
        let view = |whom: &Identity| {
            let plugin = self.plugins.get(whom).unwrap_or(&nothing);
            let entry = self.kept.get(whom);
            View {
                kind: whom.0,
                name: whom.1.clone(),
                active: entry.and_then(|entry| entry.active.clone()),
                previous: entry.and_then(|entry| entry.previous.clone()),
                has_previous: entry.is_some_and(|entry| entry.has_previous),
                called_off: entry.is_some_and(|entry| entry.called_off),
                candidate: plugin.candidate.as_ref().map(Candidate::view),
                failed: plugin.failed.clone(),
                members: self.members(whom, &group),
            }
        };
        self.shared.0.views.store(Arc::new(all.into_iter().map(view).collect()));
    }
}

fn asks((manifest, info): &(Manifest, PluginInfo)) -> Capabilities<'_> {
    Capabilities { manifest, inspection: &info.inspection, descriptor: &info.descriptor }
}

/// For a candidate that the rules have moved to the end already.
pub(super) fn failed(candidate: &Candidate, reason: Reason) -> Failed {
    Failed {
        digests: candidate.digests.clone(),
        version: candidate.version.as_ref().map(|version| version.info().version),
        stage: candidate.rollout.left(),
        reason,
        example: candidate.trial.as_ref().and_then(|trial| trial.example().map(str::to_owned)),
        at: candidate.rollout.entered(),
    }
}
