//! The node's part in what the members decide together: it follows what they have agreed on, and says what it found.

use super::kept::Origin;
use super::plugin::{Bond, Plugin};
use super::task::{Task, failed};
use super::view::MembersView;
use super::{Reply, RolloutError};
use crate::naming::NamingHandle;
use crate::plugins::Identity;
use muster_core::persist::Command;
use muster_core::rollout::{
    Act, Coming, Decision, Digests, Push, Reason, Stage, Wanted, Withdrawn, may_activate,
};
use muster_raft::{ProposeError, Role};
use std::collections::BTreeSet;

/// Something that is to be said to all members.
pub(super) struct Saying {
    pub(super) whom: Identity,
    pub(super) act: Act,
    /// the operator who waits for it
    pub(super) reply: Option<Reply>,
}

/// It was said, or could not be.
pub(super) struct Said {
    saying: Saying,
    told: Result<(), ProposeError>,
}

impl Saying {
    pub(super) async fn run(self, naming: NamingHandle) -> Said {
        let (kind, name) = self.whom.clone();
        let told = naming.carry_out(Command::Plugin { kind, name, act: self.act.clone() }).await;
        // What it changed is among the rows when the loop has answered; while the node stops it does not matter.
        let _ = naming.step(|_, _| ()).await;
        Said { saying: self, told: told.map(drop) }
    }
}

/// Who has a say.
pub(super) struct Group {
    node: u64,
    leads: bool,
    /// voters of the Raft group that this node has a connection to, and itself
    alive: BTreeSet<u64>,
    voters: usize,
}

impl Task {
    pub(super) fn group(&self) -> Group {
        let status = self.parts.store.status();
        let connected = self.parts.links.as_ref().map(|links| links.connected()).unwrap_or_default();
        let is_alive = |id: &u64| *id == status.node_id || connected.contains(id);
        let voters = status.members.iter().filter(|member| member.voter).map(|member| member.id);
        Group {
            node: status.node_id,
            leads: status.role == Role::Leader && status.leader.is_some(),
            voters: voters.clone().count(),
            alive: voters.filter(is_alive).collect(),
        }
    }

    /// How far the members are with the candidate of a plugin.
    pub(super) fn members(&self, whom: &Identity, group: &Group) -> Option<MembersView> {
        let row = self.parts.agreed.get(whom)?;
        let coming = row.candidate.as_ref().filter(|_| group.voters > 1)?;
        let waiting = group.alive.iter().filter(|id| !coming.ready.contains_key(id));
        Some(MembersView {
            ready: coming.ready.keys().copied().collect(),
            waiting: waiting.copied().collect(),
        })
    }

    /// Whether all members want this version already, or wait for it.
    pub(super) fn is_wanted(&self, whom: &Identity, digests: &Digests) -> bool {
        let row = self.parts.agreed.get(whom);
        row.is_some_and(|row| {
            let coming = row.candidate.as_ref().map(|coming| &coming.version);
            row.active.as_ref() == Some(digests) || coming == Some(digests)
        })
    }

    /// Something was said, or could not be.
    pub(super) async fn said(&mut self, Said { saying, told }: Said) {
        let Saying { whom, act, reply } = saying;
        self.speaking.remove(&whom);
        self.follow(&whom).await;
        self.publish();
        match (reply, told) {
            // Whoever asked may have gone.
            (Some(reply), told) => drop(reply.send(told.map_err(RolloutError::from))),
            (None, Err(error)) if matches!(act, Act::Install { .. }) => {
                tracing::error!(plugin = whom.1, %error, "the other members could not be told of a file; change it again");
            }
            // What is still true is said again.
            (None, Err(error)) => tracing::debug!(plugin = whom.1, %error, "the members could not be told"),
            (None, Ok(())) => {}
        }
    }

    // What was found here.

    /// Says what the members have not heard yet.
    pub(super) fn speak(&mut self) {
        let group = self.group();
        for (whom, row) in self.parts.agreed.all().iter() {
            let Some(plugin) = self.plugins.get_mut(whom) else { continue };
            if let Some(act) = to_say(plugin, row, &group)
                && self.speaking.insert(whom.clone())
            {
                self.sayings.push(Saying { whom: whom.clone(), act, reply: None });
            }
        }
    }

    /// What an operator who rolls back here wants of all members; none where it is the affair of this node alone.
    pub(super) fn withdrawal(&mut self, whom: &Identity) -> Result<Option<Act>, RolloutError> {
        let why = || Reason::Operator.to_string();
        let candidate = self.candidate(whom);
        if let Some(serial) = candidate.as_ref().and_then(|candidate| candidate.agreed()) {
            return Ok(Some(Act::Withdraw { serial, by: None, why: why() }));
        }
        let is_own = candidate.is_some_and(|candidate| candidate.bond == Bond::Own);
        match self.parts.agreed.get(whom).filter(|row| row.active.is_some() && !is_own) {
            None => Ok(None),
            Some(row) if row.has_previous => {
                Ok(Some(Act::Withdraw { serial: row.active_serial, by: None, why: why() }))
            }
            Some(_) => Err(RolloutError::NoPrevious { name: whom.1.clone() }),
        }
    }

    // What the members have agreed on.

    pub(super) async fn follow_all(&mut self) {
        for whom in self.parts.agreed.all().keys() {
            self.follow(whom).await;
        }
    }

    /// Brings one plugin to where the members want it.
    pub(super) async fn follow(&mut self, whom: &Identity) {
        let Some(row) = self.parts.agreed.get(whom) else { return };
        if let Some(plugin) = self.plugins.get_mut(whom) {
            let is_over = |serial: u64| !can_withdraw(&row, serial);
            plugin.refused.take_if(|(serial, _)| is_over(*serial));
        }
        self.follow_call_off(whom, row.called_off).await;
        self.follow_active(whom, &row).await;
        self.follow_candidate(whom, &row).await;
    }

    async fn follow_call_off(&mut self, whom: &Identity, off: bool) {
        let is_off = self.kept.get(whom).is_some_and(|entry| entry.called_off);
        let Some(active) = self.active(whom).filter(|_| off != is_off) else { return };
        active.call_off(off);
        // A bundled one has no file: its entry only says this.
        self.kept.entry(whom, Origin::Installed).called_off = off;
        self.save().await;
        tracing::warn!(plugin = whom.1, off, "an operator put a plugin into quarantine, or let it out");
    }

    async fn follow_active(&mut self, whom: &Identity, row: &Wanted) {
        let entry = self.kept.get(whom);
        let here = entry.and_then(|entry| entry.active.as_ref());
        let before = entry.filter(|entry| entry.has_previous).and_then(|entry| entry.previous.as_ref());
        match &row.active {
            Some(wanted) if here == Some(wanted) || self.refused(whom) == Some(row.active_serial) => {}
            Some(wanted) if before == Some(wanted) && self.is_free_of(whom, wanted) => {
                self.leave(whom, row.withdrawn.as_ref()).await;
            }
            Some(wanted) => self.catch_up(whom, wanted, row.active_serial).await,
            None => {
                let gone = row.withdrawn.as_ref().filter(|gone| gone.was_active);
                if gone.is_some_and(|gone| here == Some(&gone.version)) {
                    self.leave(whom, gone).await;
                }
            }
        }
    }

    fn refused(&self, whom: &Identity) -> Option<u64> {
        self.plugins.get(whom)?.refused.as_ref().map(|(serial, _)| *serial)
    }

    /// Whether no candidate is this version.
    fn is_free_of(&self, whom: &Identity, version: &Digests) -> bool {
        let candidate = self.plugins.get(whom).and_then(|plugin| plugin.candidate.as_ref());
        candidate.is_none_or(|candidate| candidate.digests != *version)
    }

    /// The members have made a version active: so does this node, as soon as it can.
    async fn catch_up(&mut self, whom: &Identity, wanted: &Digests, serial: u64) {
        let now = self.parts.clock.now();
        let candidate = self.candidate(whom).filter(|one| one.digests == *wanted && one.bond != Bond::Own);
        let Some(candidate) = candidate else {
            if self.plugins.get(whom).is_none_or(|plugin| plugin.missed != Some(serial)) {
                self.kept.entry(whom, Origin::Installed).candidate = Some(wanted.clone());
                self.begin(whom, wanted.clone(), Origin::Installed, Bond::Behind(serial));
                self.fetch(whom);
            }
            return;
        };
        if matches!(candidate.rollout.stage(), Stage::Shadow | Stage::Canary { .. }) {
            // The others did not wait for it.
            let _ = candidate.rollout.promote(now, true);
        }
        let decision = candidate.rollout.agreed(now);
        if decision == Decision::Stay {
            candidate.bond = Bond::Behind(serial);
        }
        self.carry_out(whom, decision).await;
    }

    /// The active version was taken back.
    async fn leave(&mut self, whom: &Identity, gone: Option<&Withdrawn>) {
        let Some(plugin) = self.plugins.get_mut(whom) else {
            return self.go_back(whom).await;
        };
        let on_probation = |one: &mut super::plugin::Candidate| one.rollout.stage() == Stage::Probation;
        if let (Some(mut candidate), Some(gone)) = (plugin.candidate.take_if(on_probation), gone) {
            candidate.rollout.withdraw(self.parts.clock.now());
            plugin.failed = Some(failed(&candidate, reason_of(gone)));
        }
        self.go_back(whom).await;
    }

    async fn go_back(&mut self, whom: &Identity) {
        match self.return_to_previous(whom).await {
            Ok(()) => tracing::warn!(plugin = whom.1, "the active version was rolled back"),
            Err(error) => tracing::error!(plugin = whom.1, %error, "the version stays active"),
        }
    }

    async fn follow_candidate(&mut self, whom: &Identity, row: &Wanted) {
        let here = self.candidate(whom).and_then(|candidate| candidate.agreed());
        match &row.candidate {
            Some(coming) if self.refused(whom) == Some(coming.serial) => {}
            Some(coming) if here == Some(coming.serial) => self.follow_push(whom, coming.pushed).await,
            Some(coming) => self.take_up(whom, coming).await,
            None => {
                if let Some(serial) = here.filter(|serial| *serial != row.active_serial) {
                    let gone = row.withdrawn.as_ref().filter(|gone| gone.serial == serial);
                    self.give_up(whom, gone.map_or(Reason::Replaced, reason_of)).await;
                }
            }
        }
    }

    /// A version is on its way.
    async fn take_up(&mut self, whom: &Identity, coming: &Coming) {
        if self.candidate(whom).is_some_and(|one| one.rollout.stage() != Stage::Probation) {
            self.give_up(whom, Reason::Replaced).await;
        }
        let entry = self.kept.entry(whom, Origin::Installed);
        entry.sending.take_if(|sending| *sending == coming.version);
        entry.candidate = Some(coming.version.clone());
        entry.approved.clone_from(&coming.approved);
        self.save().await;
        self.begin(whom, coming.version.clone(), Origin::Installed, Bond::Agreed(coming.serial));
        self.fetch(whom);
    }

    async fn follow_push(&mut self, whom: &Identity, to: Push) {
        let now = self.parts.clock.now();
        let Some(candidate) = self.candidate(whom).filter(|candidate| candidate.pushed < to) else { return };
        let decision = match (to, candidate.rollout.stage()) {
            (Push::Canary, Stage::Shadow) => candidate.rollout.promote(now, false),
            (Push::Active, Stage::Shadow | Stage::Canary { .. } | Stage::Ready) => {
                candidate.rollout.promote(now, true)
            }
            (Push::Canary, Stage::Canary { .. } | Stage::Ready) => Ok(Decision::Stay),
            // Looked at again when it is validated.
            _ => return,
        };
        candidate.pushed = to;
        self.carry_out(whom, decision.unwrap_or(Decision::Stay)).await;
    }
}

/// What the members have not heard of this plugin.
fn to_say(plugin: &mut Plugin, row: &Wanted, group: &Group) -> Option<Act> {
    if let Some((serial, why)) = &plugin.refused {
        let (serial, why) = (*serial, why.clone());
        return can_withdraw(row, serial).then_some(Act::Withdraw { serial, by: Some(group.node), why });
    }
    let coming = row.candidate.as_ref()?;
    let candidate = plugin.candidate.as_ref().filter(|one| one.agreed() == Some(coming.serial))?;
    let serial = coming.serial;
    if let Some(tried) = candidate.rollout.ready()
        && coming.ready.get(&group.node) != Some(&tried)
    {
        return Some(Act::Ready { serial, node: group.node, tried });
    }
    // Twice in a row: a connection to a member may just be changing.
    let is_unanimous = group.leads && may_activate(coming, &group.alive);
    let was_unanimous = std::mem::replace(&mut plugin.unanimous, is_unanimous);
    (is_unanimous && was_unanimous).then_some(Act::Activate { serial })
}

/// Whether a version with this serial is there to be taken back.
fn can_withdraw(row: &Wanted, serial: u64) -> bool {
    let is_coming = row.candidate.as_ref().is_some_and(|coming| coming.serial == serial);
    is_coming || (row.active_serial == serial && row.has_previous)
}

fn reason_of(gone: &Withdrawn) -> Reason {
    match gone.by {
        Some(node) => Reason::Member { node, why: gone.why.clone() },
        None => Reason::Operator,
    }
}
