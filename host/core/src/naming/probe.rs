//! The schedule of active checks: who is due, how many run, what a result changes.
//!
//! Overload never fails a target: what cannot start waits in line, its next run is counted from when it did
//! start, and how late it was is measured.

use super::effect::TargetId;
use super::history::History;
use crate::damping::Damping;
use crate::health::{self, Counts, Profile};
use crate::ids::{ClientId, ServiceKey};
use crate::plugin::{Outcome, Verdict};
use crate::time::Millis;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// How a check ended.
#[derive(Clone, Debug)]
pub struct Report {
    /// what the checker said; [`Outcome::Inconclusive`] for everything that is not the target's doing
    pub verdict: Verdict,
    /// how long it took
    pub took: Millis,
}

/// What is known of one target, for `explain`.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeState {
    /// consecutive results so far
    pub counts: Counts,
    /// interval now in force
    pub interval: Millis,
    /// checks started
    pub runs: u64,
    /// checks that could not tell
    pub inconclusive: u64,
    /// the last verdict and when it came
    pub last: Option<(Millis, Verdict)>,
    /// what the verdicts before it were
    pub history: History,
    /// whether its turns are damped
    pub damping: Damping,
    /// how late the last run started
    pub lateness: Millis,
    /// failures that other members did not confirm
    pub contested: u64,
}

#[derive(Debug)]
pub(super) struct Probe {
    pub client: ClientId,
    pub service: ServiceKey,
    pub host: Arc<str>,
    pub state: ProbeState,
    due: Millis,
    running: bool,
    waiting: bool,
    /// other members were asked: until when their answers are waited for
    asking: Option<Millis>,
}

/// Lateness of started checks: counts per bound, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lateness {
    /// `counts[i]` started less than `LATENESS_BOUNDS[i]` ms late; the last one has no bound
    pub counts: [u64; LATENESS_BOUNDS.len() + 1],
}

/// Upper bounds of the lateness classes, in milliseconds.
pub const LATENESS_BOUNDS: [u64; 9] = [1, 5, 10, 20, 50, 100, 200, 500, 1_000];

impl Lateness {
    fn record(&mut self, late: Millis) {
        let class = LATENESS_BOUNDS.iter().position(|bound| late.0 < *bound).unwrap_or(LATENESS_BOUNDS.len());
        self.counts[class] += 1;
    }
}

/// How many checks may run at once.
#[derive(Clone, Copy, Debug)]
pub struct ProbeLimits {
    /// on this node
    pub node: usize,
    /// to one host
    pub host: usize,
}

impl Default for ProbeLimits {
    fn default() -> Self {
        Self { node: 512, host: 32 }
    }
}

/// What becomes of a due target.
pub(super) enum Due {
    Start,
    Skip,
    Gone,
}

#[derive(Debug)]
pub(super) struct Probes {
    slots: Vec<(u32, Option<Probe>)>,
    free: Vec<u32>,
    running: usize,
    per_host: HashMap<Arc<str>, usize>,
    waiting: VecDeque<TargetId>,
    limits: ProbeLimits,
    pub lateness: Lateness,
    pub overlaps: u64,
    /// targets that are held unhealthy because they flap
    pub held: usize,
    /// how often one began to be held
    pub holds: u64,
}

impl Probes {
    pub(super) fn new(limits: ProbeLimits) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            running: 0,
            per_host: HashMap::new(),
            waiting: VecDeque::new(),
            limits,
            lateness: Lateness::default(),
            overlaps: 0,
            held: 0,
            holds: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn running(&self) -> usize {
        self.running
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// A new target, first due at `due`.
    pub(super) fn add(
        &mut self,
        client: &ClientId,
        service: &ServiceKey,
        host: &Arc<str>,
        due: Millis,
        interval: Millis,
    ) -> TargetId {
        let state = ProbeState {
            counts: Counts::default(),
            interval,
            runs: 0,
            inconclusive: 0,
            last: None,
            history: History::default(),
            damping: Damping::default(),
            lateness: Millis(0),
            contested: 0,
        };
        let probe = Probe {
            client: client.clone(),
            service: service.clone(),
            host: host.clone(),
            state,
            due,
            running: false,
            waiting: false,
            asking: None,
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let slot = &mut self.slots[index as usize];
        slot.1 = Some(probe);
        TargetId { index, generation: slot.0 }
    }

    pub(super) fn remove(&mut self, id: TargetId) {
        let Some(probe) = self.get_mut(id) else { return };
        let (running, held, host) = (probe.running, probe.state.damping.held(), probe.host.clone());
        self.held -= usize::from(held);
        if running {
            self.release(&host);
        }
        let slot = &mut self.slots[id.index as usize];
        *slot = (slot.0.wrapping_add(1), None);
        self.free.push(id.index);
    }

    pub(super) fn get(&self, id: TargetId) -> Option<&Probe> {
        self.slots.get(id.index as usize).filter(|slot| slot.0 == id.generation)?.1.as_ref()
    }

    fn get_mut(&mut self, id: TargetId) -> Option<&mut Probe> {
        self.slots.get_mut(id.index as usize).filter(|slot| slot.0 == id.generation)?.1.as_mut()
    }

    /// Whether a target whose time has come may start, has to wait, or is still running (N: "started before
    /// last one finished"), in which case the interval adapts as after a slow answer.
    pub(super) fn due(&mut self, id: TargetId, profile: &Profile) -> Due {
        let room = self.running < self.limits.node;
        let limit = self.limits.host;
        let busy = self.get(id).is_some_and(|p| self.per_host.get(&p.host).is_some_and(|n| *n >= limit));
        let Some(probe) = self.get_mut(id) else { return Due::Gone };
        if probe.waiting {
            return Due::Gone;
        }
        if probe.running {
            let slow = health::Result { outcome: Outcome::Failed, took: Millis(0) };
            probe.state.interval = health::next_interval(probe.state.interval, &slow, profile);
            self.overlaps += 1;
            return Due::Skip;
        }
        if room && !busy {
            return Due::Start;
        }
        probe.waiting = true;
        self.waiting.push_back(id);
        Due::Gone
    }

    /// The next target that waited and may start now. Looks at each waiting one at most once.
    pub(super) fn next_waiting(&mut self) -> Option<TargetId> {
        for _ in 0..self.waiting.len() {
            if self.running >= self.limits.node {
                return None;
            }
            let id = self.waiting.pop_front()?;
            let limit = self.limits.host;
            let Some(probe) = self.get(id) else { continue };
            if self.per_host.get(&probe.host).is_some_and(|n| *n >= limit) {
                self.waiting.push_back(id);
                continue;
            }
            if let Some(probe) = self.get_mut(id) {
                probe.waiting = false;
            }
            return Some(id);
        }
        None
    }

    /// Counts a start.
    pub(super) fn started(&mut self, now: Millis, id: TargetId) {
        let Some(probe) = self.get_mut(id) else { return };
        probe.running = true;
        probe.state.runs += 1;
        probe.state.lateness = now.since(probe.due);
        let (late, host) = (probe.state.lateness, probe.host.clone());
        self.lateness.record(late);
        self.running += 1;
        *self.per_host.entry(host).or_default() += 1;
    }

    /// Sets when a target is due next; answers the time for its timer.
    pub(super) fn again(&mut self, now: Millis, id: TargetId, jitter: Millis) -> Option<Millis> {
        let probe = self.get_mut(id)?;
        probe.due = now + probe.state.interval + jitter;
        Some(probe.due)
    }

    /// Takes in a result; answers the new health of the instance when that turns.
    pub(super) fn finished(
        &mut self,
        now: Millis,
        id: TargetId,
        report: Report,
        healthy: bool,
        profile: &Profile,
    ) -> Option<bool> {
        let probe = self.get_mut(id)?;
        let was_running = std::mem::take(&mut probe.running);
        let host = probe.host.clone();
        let outcome = report.verdict.outcome;
        let result = health::Result { outcome, took: report.took };
        probe.state.interval = health::next_interval(probe.state.interval, &result, profile);
        probe.state.inconclusive += u64::from(outcome == Outcome::Inconclusive);
        probe.state.history.note(now, &report.verdict);
        probe.state.last = Some((now, report.verdict));
        let state = &mut probe.state;
        let was_held = state.damping.held();
        let turned = state.counts.count(state.damping.believed(healthy), outcome, profile);
        let turned = state.damping.turn(now, healthy, outcome, turned, &profile.damping());
        let held = state.damping.held();
        self.held = self.held + usize::from(held) - usize::from(was_held);
        self.holds += u64::from(held && !was_held);
        if was_running {
            self.release(&host);
        }
        turned
    }

    /// Whether other members may be asked of the target now; they are not asked twice at a time.
    pub(super) fn asks(&mut self, now: Millis, id: TargetId, until: Millis) -> bool {
        let Some(probe) = self.get_mut(id) else { return false };
        let may = probe.asking.is_none_or(|until| until <= now);
        if may {
            probe.asking = Some(until);
        }
        may
    }

    /// Takes in whether others confirm that the target is dead. Answers false when nobody was asked.
    pub(super) fn answered(&mut self, id: TargetId, confirmed: bool) -> bool {
        let Some(probe) = self.get_mut(id) else { return false };
        let asked = probe.asking.take().is_some();
        if asked && !confirmed {
            let state = &mut probe.state;
            let was_held = state.damping.held();
            state.contested += 1;
            state.damping.contested();
            self.held -= usize::from(was_held);
        }
        asked
    }

    fn release(&mut self, host: &Arc<str>) {
        self.running = self.running.saturating_sub(1);
        if let Some(count) = self.per_host.get_mut(host) {
            *count -= 1;
            if *count == 0 {
                self.per_host.remove(host);
            }
        }
    }
}
