//! Second opinions: other members look at a target before it is called unhealthy.

use crate::cluster::{Links, Look};
use crate::naming::NamingHandle;
use crate::probe::Runner;
use crate::secrets::Secrets;
use crate::tasks::Tasks;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use muster_core::cluster::NodeId;
use muster_core::naming::ProbeJob;
use muster_core::plugin::Outcome;
use muster_wasm::PluginHost;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

/// Targets that are asked about at once; more wait.
const ASKING: usize = 64;
/// Questions that wait for that.
pub(crate) const QUEUE: usize = 1_024;
/// Checks for other members that are made at once. Past it the answer is that this node cannot tell.
const LOOKING: usize = 64;
/// How much longer than the check its way may take.
const WAY_MOST: Duration = Duration::from_secs(2);

/// A target, and the members that are to look at it.
#[derive(Debug)]
pub struct Ask {
    /// the check
    pub job: Box<ProbeJob>,
    /// who
    pub members: Vec<NodeId>,
}

/// Starts the executor of questions.
pub(crate) fn start(tasks: &Tasks, links: Links, naming: NamingHandle, mut asks: mpsc::Receiver<Ask>) {
    tasks.spawn("second opinions", |stop| async move {
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(()) = running.next() => {}
                Some(ask) = asks.recv(), if running.len() < ASKING => running.push(carry(&links, &naming, ask)),
                () = stop.cancelled() => return Ok(()),
            }
        }
    });
}

async fn carry(links: &Links, naming: &NamingHandle, ask: Ask) {
    let Ask { job, members } = ask;
    let within = Duration::from_millis(job.timeout.0) + WAY_MOST;
    let answers = members.into_iter().map(|member| {
        let checker = muster_core::service::CheckerSettings::clone(&job.checker);
        let look = Look { target: job.target.clone(), checker, timeout: job.timeout };
        links.look(member, look, within)
    });
    let outcomes: Vec<Outcome> =
        join_all(answers).await.into_iter().map(|answer| answer.unwrap_or(Outcome::Inconclusive)).collect();
    let id = job.id;
    if naming.step(move |naming, _| naming.opinions(id, &outcomes)).await.is_err() {
        tracing::debug!("second opinions came and the registry does not answer");
    }
}

/// Looks at targets for other members. Cheap to clone.
#[derive(Clone)]
pub struct Observer {
    plugins: PluginHost,
    secrets: Secrets,
    room: Arc<Semaphore>,
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observer").finish_non_exhaustive()
    }
}

impl Observer {
    /// With this node's plugins and secrets.
    pub fn new(plugins: PluginHost, secrets: Secrets) -> Self {
        Self { plugins, secrets, room: Arc::new(Semaphore::new(LOOKING)) }
    }

    pub(crate) async fn look(&self, look: Look) -> Outcome {
        let Ok(_room) = self.room.try_acquire() else { return Outcome::Inconclusive };
        let mut runner = Runner::new(self.plugins.clone(), self.secrets.clone());
        let Look { target, checker, timeout } = look;
        let report = runner.look(target, Arc::new(checker), timeout);
        // On the guests' threads, as every check.
        let made = self.plugins.guest_runtime().spawn(report);
        made.await.map_or(Outcome::Inconclusive, |report| report.verdict.outcome)
    }
}
