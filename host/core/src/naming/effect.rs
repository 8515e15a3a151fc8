//! Everything the shell may be asked to do.

use crate::cluster::{Message, NodeId};
use crate::ids::{ClientId, ServiceKey};
use crate::naming::snapshot::ServiceSnapshot;
use crate::persist::Command;
use crate::plugin::{PluginKind, Target};
use crate::rollout::Wanted;
use crate::service::CheckerSettings;
use crate::switches::Switches;
use crate::time::Millis;
use std::sync::Arc;

/// Who wants to hear of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// the subscriber
    pub client: ClientId,
    /// the service
    pub service: ServiceKey,
    /// where pushes go, and what is shown to operators
    pub ip: Arc<str>,
    /// UDP port; 0 for connections
    pub port: u16,
    /// comma list of the clusters wanted; blank means all
    pub clusters: Arc<str>,
    /// user agent
    pub agent: Arc<str>,
    /// application name
    pub app: Arc<str>,
}

/// A target of active checks; stays valid while its instance is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TargetId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// One check to run.
#[derive(Clone, Debug)]
pub struct ProbeJob {
    /// given back with the result
    pub id: TargetId,
    /// what to look at
    pub target: Target,
    /// by which checker, told what
    pub checker: Arc<CheckerSettings>,
    /// longest time
    pub timeout: Millis,
}

/// What the shell does after a step; carries everything needed, so that nothing is asked back.
#[derive(Debug)]
pub enum Effect {
    /// readers see this from now on
    Publish(Arc<ServiceSnapshot>),
    /// the service is gone
    Unpublish(ServiceKey),
    /// send the service to these
    Push {
        /// its newest state
        snapshot: Arc<ServiceSnapshot>,
        /// who
        to: Vec<Arc<Subscription>>,
    },
    /// run a check
    Probe(Box<ProbeJob>),
    /// have other members run a check, too; what they find comes back by [`Naming::opinions`](crate::naming::Naming)
    Ask {
        /// which
        job: Box<ProbeJob>,
        /// whom
        members: Vec<NodeId>,
    },
    /// write durably; the outcome comes back as committed changes
    Propose(Command),
    /// tell another node; whether it arrives is not certain
    Send {
        /// which
        to: NodeId,
        /// what
        message: Box<Message>,
    },
    /// the first load is over: this node may serve
    Loaded,
    /// readers see these switches from now on
    Switches(Arc<Switches>),
    /// the members have agreed on something about a plugin
    Plugin(PluginKind, String, Box<Wanted>),
}
