//! Effect → the executor it belongs to. Nothing here waits: a full queue has its own policy.

use super::Published;
use crate::cluster::Links;
use crate::grants::Grants;
use crate::opinions::Ask;
use crate::rollout::Agreed;
use arc_swap::ArcSwap;
use muster_core::ServiceKey;
use muster_core::naming::{Effect, ProbeJob, ServiceSnapshot, Subscription};
use muster_core::persist::Command;
use muster_core::switches::Switches;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Sends the newest state of services to subscribers.
pub trait Pusher: Send + Sync {
    /// Takes over a push without waiting; a newer one for the same subscriber and service replaces it.
    fn push(&self, snapshot: Arc<ServiceSnapshot>, to: Vec<Arc<Subscription>>);

    /// A service got its first instance, or lost its last one.
    fn existence(&self, _service: &ServiceKey, _exists: bool) {}
}

/// Who carries effects out.
pub struct Executors {
    /// what readers see
    pub published: Arc<Published>,
    /// the switches in force
    pub switches: Arc<ArcSwap<Switches>>,
    /// what all members want of plugins
    pub agreed: Agreed,
    /// what plugins may have and reach; none in a node without plugins
    pub grants: Option<Grants>,
    /// Pushes. Each is offered every push and takes the subscribers that are its own.
    pub pushers: Vec<Arc<dyn Pusher>>,
    /// Checks. The queue has room for every check that may run at once, so it is never full.
    pub probes: mpsc::Sender<Box<ProbeJob>>,
    /// The connections to other members; none in a node that is alone.
    pub links: Option<Links>,
    /// Second opinions that the rules want. When full they are dropped: the rules ask again.
    pub asks: mpsc::Sender<Ask>,
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
                Effect::Publish(snapshot) => {
                    let (key, exists) = (snapshot.key.clone(), !snapshot.instances.is_empty());
                    let existed = self.published.publish(snapshot);
                    self.tell(&key, existed, exists);
                }
                Effect::Unpublish(key) => {
                    let existed = self.published.remove(&key);
                    self.tell(&key, existed, false);
                }
                Effect::Switches(switches) => self.switches.store(switches),
                Effect::Plugin(kind, name, wanted) => {
                    if let Some(grants) = &self.grants {
                        grants.agreed(kind, &name, &wanted.granted);
                    }
                    self.agreed.put((kind, name), *wanted);
                }
                Effect::Push { snapshot, to } => {
                    self.pushers.iter().for_each(|pusher| pusher.push(snapshot.clone(), to.clone()));
                }
                Effect::Send { to, message } => {
                    if let Some(links) = &self.links {
                        links.send(to, message);
                    }
                }
                Effect::Loaded => self.links.iter().for_each(Links::loaded),
                Effect::Probe(job) => {
                    if self.probes.try_send(job).is_err() {
                        tracing::error!("the queue of checks is full or closed: a check was not started");
                    }
                }
                Effect::Ask { job, members } => {
                    if self.asks.try_send(Ask { job, members }).is_err() {
                        tracing::warn!("too many second opinions are waited for: one is put off");
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

    fn tell(&self, service: &ServiceKey, existed: bool, exists: bool) {
        if existed != exists {
            self.pushers.iter().for_each(|pusher| pusher.existence(service, exists));
        }
    }
}
