//! Effect → the executor it belongs to. Nothing here waits: a full queue has its own policy.

use super::Published;
use arc_swap::ArcSwap;
use muster_core::naming::{Effect, ProbeJob, ServiceSnapshot, Subscription};
use muster_core::persist::Command;
use muster_core::switches::Switches;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Sends the newest state of services to subscribers.
pub trait Pusher: Send + Sync {
    /// Takes over a push without waiting; a newer one for the same subscriber and service replaces it.
    fn push(&self, snapshot: Arc<ServiceSnapshot>, to: Vec<Arc<Subscription>>);
}

/// Who carries effects out.
pub struct Executors {
    /// what readers see
    pub published: Arc<Published>,
    /// the switches in force
    pub switches: Arc<ArcSwap<Switches>>,
    /// pushes
    pub pusher: Arc<dyn Pusher>,
    /// Checks. The queue has room for every check that may run at once, so it is never full.
    pub probes: mpsc::Sender<Box<ProbeJob>>,
    /// Durable writes that the rules ask for. When full they are dropped: the rules ask again.
    pub proposals: mpsc::Sender<Command>,
}

impl std::fmt::Debug for Executors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executors").finish_non_exhaustive()
    }
}

impl Executors {
    /// Carries out one step's effects, in order.
    pub(super) fn carry_out(&self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Publish(snapshot) => self.published.publish(snapshot),
                Effect::Unpublish(key) => self.published.remove(&key),
                Effect::Switches(switches) => self.switches.store(switches),
                Effect::Push { snapshot, to } => self.pusher.push(snapshot, to),
                Effect::Probe(job) => {
                    if self.probes.try_send(job).is_err() {
                        tracing::error!("the queue of checks is full or closed: a check was not started");
                    }
                }
                Effect::Propose(command) => {
                    if self.proposals.try_send(command).is_err() {
                        tracing::warn!("too many durable writes are waiting: one is put off");
                    }
                }
            }
        }
    }
}
