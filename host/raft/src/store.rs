//! The handle: open, propose, status, snapshot, shut down.

use crate::db::{Db, blocking};
use crate::error::{Failure, OpenError, ProposeError, ShutdownError, SnapshotError};
use crate::group::{Belonging, Group};
use crate::log_store::LogStore;
use crate::network::{Network, Transport, Written};
use crate::options::RaftOptions;
use crate::proposer::{self, Proposal};
use crate::recover::recover;
use crate::state_machine::StateMachine;
use crate::status::{self, RaftStatus};
use crate::types::{EncodedCommand, Fatal, Metrics, Node, Raft, State};
use muster_core::persist::{Change, Command, Reply};
use openraft::ChangeMembers;
use openraft::error::{InitializeError, RaftError};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// Commands that may wait for the entry after the one being written. When it is full, `propose` waits for
/// room within its deadline.
const QUEUE: usize = 4_096;
/// Pause before a command that found no leader is tried again.
const RETRY: Duration = Duration::from_millis(20);
/// How long a command waits for a leader: longer than an election takes, and no longer than callers do.
const ELECTION_MOST: Duration = Duration::from_secs(5);

/// What a committed entry changed in the rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Committed {
    /// index of the entry in the log; rises from one to the next, with gaps where nothing changed
    pub index: u64,
    /// in order; of two changes of one row the later one counts
    pub changes: Vec<Change>,
}

/// The durable rows of this node. Clones are handles to the same store.
#[derive(Clone)]
pub struct Store(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) options: RaftOptions,
    node: u64,
    pub(crate) db: Arc<Db>,
    pub(crate) raft: Raft,
    pub(crate) network: Network,
    pub(crate) metrics: watch::Receiver<Metrics>,
    running: Mutex<Option<Running>>,
}

/// Gone once the store is shutting down.
struct Running {
    queue: mpsc::Sender<Proposal>,
    proposer: JoinHandle<()>,
}

impl Shared {
    /// Whether this node leads nobody: see [`status::deserted`].
    fn deserted(&self) -> bool {
        status::deserted(&self.metrics.borrow())
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.0.options.path).finish()
    }
}

impl Store {
    /// Opens the file, brings the rows up to the end of the log, starts Raft, and, where this node is the
    /// only voter, waits until it leads.
    ///
    /// Answers the store and all rows, as changes from nothing: load these first, then follow `committed`.
    /// Together they are complete and without repetition: every write that was acknowledged before is in
    /// the rows, every change that follows comes through the channel exactly once. (With several voters the
    /// newest acknowledged writes may be among those that follow, once a leader has confirmed them.)
    ///
    /// A full channel holds back writes and their answers. Whoever reads it must therefore never wait for
    /// [`Store::propose`].
    ///
    /// # Errors
    /// [`OpenError`], each with the file and what can be done.
    pub async fn open(
        options: RaftOptions,
        committed: mpsc::Sender<Committed>,
    ) -> Result<(Self, Vec<Change>), OpenError> {
        Self::open_on(None, options, committed).await
    }

    /// [`Store::open`] for a node among others, which are reached by `transport`, and whose calls are to be
    /// handed to [`Store::serve`].
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open_on(
        transport: Option<Arc<dyn Transport>>,
        options: RaftOptions,
        committed: mpsc::Sender<Committed>,
    ) -> Result<(Self, Vec<Change>), OpenError> {
        let (db, node, rows) = open_file(&options).await?;
        let network = Network { transport, group: Belonging::read(db.clone()).await? };
        let raft = start(network.clone(), &options, node, &db, committed).await?;
        let metrics = raft.metrics();
        let (queue, waiting) = mpsc::channel(QUEUE);
        #[allow(clippy::disallowed_methods, reason = "joined by `shutdown`; it ends with the queue")]
        let proposer = tokio::spawn(proposer::run(raft.clone(), waiting));
        let running = Mutex::new(Some(Running { queue, proposer }));
        let store = Self(Arc::new(Shared { options, node, db, raft, network, metrics, running }));
        if let Err(error) = store.take_office().await {
            // the error that matters is the first one
            let _ = store.shutdown().await;
            return Err(error);
        }
        Ok((store, rows))
    }

    /// Whose file it is.
    pub fn node_id(&self) -> u64 {
        self.0.node
    }

    /// The group of the file; none before one was founded or joined.
    pub fn group(&self) -> Option<Group> {
        self.0.network.group.get()
    }

    /// Writes `command`, through the leader where another node leads. When this answers, the write is durable on
    /// a majority, it is in the rows of this node, and its changes are in the channel; a node that lags behind the
    /// leader by more than three seconds answers before that.
    ///
    /// # Errors
    /// [`ProposeError`]; each variant says whether the command may have been written.
    pub async fn propose(&self, command: Command) -> Result<Reply, ProposeError> {
        let command = EncodedCommand::new(&command)
            .map_err(|error| ProposeError::Unstorable { reason: error.to_string() })?;
        let after = self.0.options.propose_timeout;
        let patience = tokio::time::Instant::now() + ELECTION_MOST.min(after);
        // set while nothing is under way: a deadline that comes then finds that nothing was written
        let mut refused = None;
        let attempts = async {
            loop {
                match self.attempt_anywhere(&command).await {
                    Err(ProposeError::NoLeader) if tokio::time::Instant::now() < patience => {
                        refused = Some(ProposeError::NoLeader);
                        tokio::time::sleep(RETRY).await;
                        refused = None;
                    }
                    answer => return answer,
                }
            }
        };
        let answer = tokio::time::timeout(after, attempts).await;
        let written = answer.unwrap_or_else(|_| Err(refused.unwrap_or(ProposeError::Timeout { after })))?;
        self.caught_up(written.index).await;
        Ok(written.reply)
    }

    /// What Raft knows at this moment.
    pub fn status(&self) -> RaftStatus {
        RaftStatus::new(&self.0.metrics.borrow())
    }

    /// Waits until the store has failed for good, which it may never. A node should then stop: it can still
    /// read what it has in memory, but it takes no writes.
    pub async fn failed(&self) -> Failure {
        let mut metrics = self.0.metrics.clone();
        let failed = metrics.wait_for(|metrics| failure(metrics).is_some()).await;
        match failed.ok().and_then(|metrics| failure(&metrics)) {
            Some(failure) => failure,
            None => std::future::pending().await,
        }
    }

    /// Makes a snapshot that holds at least what is applied now, and lets Raft drop the log before it.
    ///
    /// # Errors
    /// [`SnapshotError`] when the store is down or it takes longer than a minute.
    pub async fn snapshot_now(&self) -> Result<(), SnapshotError> {
        let after = Duration::from_secs(60);
        let stopped = |reason: String| SnapshotError::Stopped { reason };
        let wanted = self.status().last_applied;
        self.0.raft.trigger().snapshot().await.map_err(|error| stopped(error.to_string()))?;
        let mut metrics = self.0.metrics.clone();
        let made = metrics.wait_for(|metrics| {
            metrics.running_state.is_err() || metrics.snapshot.map(|id| id.index) >= wanted
        });
        match tokio::time::timeout(after, made).await {
            Ok(Ok(metrics)) => match &metrics.running_state {
                Ok(()) => Ok(()),
                Err(error) => Err(stopped(error.to_string())),
            },
            Ok(Err(_)) => Err(stopped("raft has stopped".into())),
            Err(_) => Err(SnapshotError::Timeout { after }),
        }
    }

    /// Takes no more writes, finishes those that wait, stops Raft and closes the file. The channel of
    /// committed changes must be read until this returns, or dropped. A second call does nothing.
    ///
    /// # Errors
    /// [`ShutdownError`]. What was acknowledged is safe in any case.
    pub async fn shutdown(&self) -> Result<(), ShutdownError> {
        let Some(running) = self.take_running() else { return Ok(()) };
        let after = self.0.options.grace;
        drop(running.queue);
        let mut proposer = running.proposer;
        let drained = tokio::time::timeout(after, &mut proposer).await;
        proposer.abort();
        let stopped = tokio::time::timeout(after, self.0.raft.shutdown()).await;
        let closed = blocking(&self.0.db, |db| db.close()).await;
        if drained.is_err() || stopped.is_err() {
            return Err(ShutdownError::Timeout { after });
        }
        closed.map_err(|error| ShutdownError::Storage { message: error.to_string() })
    }

    #[cfg(test)]
    pub(crate) fn db_for_tests(&self) -> &Db {
        &self.0.db
    }

    /// Writes here, if this node leads. A leader that others no longer answer takes nothing more: the write would wait
    /// for them, and perhaps be undone by the leader that they have chosen meanwhile.
    pub(crate) async fn attempt(&self, command: EncodedCommand) -> Result<Written, ProposeError> {
        if self.0.deserted() {
            return Err(ProposeError::NoLeader);
        }
        let queue = self.queue().ok_or(ProposeError::ShuttingDown)?;
        let (reply, answer) = oneshot::channel();
        let sent = queue.send(Proposal { command, reply }).await;
        drop(queue);
        sent.map_err(|_| ProposeError::ShuttingDown)?;
        answer.await.unwrap_or_else(|_| {
            Err(ProposeError::Storage { reason: "the write was given up without an answer".into() })
        })
    }

    fn queue(&self) -> Option<mpsc::Sender<Proposal>> {
        let running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().map(|running| running.queue.clone())
    }

    fn take_running(&self) -> Option<Running> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Where this node alone votes: waits until it leads, and corrects its address.
    async fn take_office(&self) -> Result<(), OpenError> {
        let (node_id, RaftOptions { path, grace, .. }) = (&self.0.node, &self.0.options);
        if !self.is_only_voter().await? {
            return Ok(());
        }
        let leads = |metrics: &Metrics| {
            let applied = metrics.last_applied.map(|id| id.index);
            metrics.current_leader == Some(*node_id) && applied.is_some() && applied == metrics.last_log_index
        };
        let waited = self.0.raft.wait(Some(*grace)).metrics(leads, "the only voter leads").await;
        waited.map_err(|error| match self.0.metrics.borrow().running_state.clone() {
            Err(fatal) => OpenError::Raft { path: path.clone(), reason: fatal.to_string() },
            Ok(()) => {
                tracing::error!(%error, "not elected");
                OpenError::NoLeader { path: path.clone(), waited: *grace }
            }
        })?;
        self.correct_address().await
    }

    /// Asks Raft itself: what it publishes comes a little later.
    async fn is_only_voter(&self) -> Result<bool, OpenError> {
        let (node_id, path) = (self.0.node, self.0.options.path.clone());
        let only = move |state: &State| state.membership_state.effective().voter_ids().eq([node_id]);
        let answer = self.0.raft.with_raft_state(only).await;
        answer.map_err(|error| OpenError::Raft { path, reason: error.to_string() })
    }

    /// A node is known by its id; where it is reached may have changed since the last start.
    async fn correct_address(&self) -> Result<(), OpenError> {
        let (node_id, RaftOptions { address, path, grace, .. }) = (&self.0.node, &self.0.options);
        let known = self.status().members.into_iter().find(|member| member.id == *node_id);
        if known.is_some_and(|member| member.address == *address) {
            return Ok(());
        }
        let nodes = BTreeMap::from([(*node_id, Node::new(address))]);
        let change = self.0.raft.change_membership(ChangeMembers::SetNodes(nodes), true);
        let refused = |reason: String| OpenError::Raft { path: path.clone(), reason };
        match tokio::time::timeout(*grace, change).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(refused(error.to_string())),
            Err(_) => Err(refused(format!("the new address was not committed within {grace:?}"))),
        }
    }
}

async fn open_file(options: &RaftOptions) -> Result<(Arc<Db>, u64, Vec<Change>), OpenError> {
    let RaftOptions { path, node_id, verify, .. } = options.clone();
    let name = path.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let (db, node) = Db::open(&path, node_id, verify)?;
        let db = Arc::new(db);
        let rows = recover(&db, node)?;
        let quarantined = db.count_quarantined()?;
        if quarantined > 0 {
            tracing::error!(
                quarantined,
                "committed commands are in quarantine on this node: see `muster raft status` and `doctor`"
            );
        }
        Ok((db, node, rows))
    });
    let damaged =
        |error: tokio::task::JoinError| OpenError::Corrupt { path: name, reason: error.to_string() };
    opened.await.map_err(damaged)?
}

async fn start(
    network: Network,
    options: &RaftOptions,
    node: u64,
    db: &Arc<Db>,
    committed: mpsc::Sender<Committed>,
) -> Result<Raft, OpenError> {
    let refused = |reason: String| OpenError::Raft { path: options.path.clone(), reason };
    let config = options.config().validate().map_err(|error| refused(error.to_string()))?;
    let log = LogStore::new(db.clone());
    let rows = StateMachine::new(db.clone(), committed);
    let group = network.group.clone();
    let raft = Raft::new(node, Arc::new(config), network, log, rows).await;
    let raft = raft.map_err(|error| refused(error.to_string()))?;
    // asked first: openraft logs an error for every node that was initialized before
    let initialized = raft.is_initialized().await.map_err(|error| refused(error.to_string()))?;
    if options.bootstrap && !initialized {
        let alone = BTreeMap::from([(node, Node::new(&options.address))]);
        match raft.initialize(alone).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(error) => return Err(refused(error.to_string())),
        }
    }
    // A node alone, of this release or of one that knew no groups: its group is its own.
    if (options.bootstrap || initialized) && group.get().is_none() {
        group.set(Group::draw()).await?;
    }
    Ok(raft)
}

fn failure(metrics: &Metrics) -> Option<Failure> {
    match &metrics.running_state {
        Ok(()) | Err(Fatal::Stopped) => None,
        Err(error) => Some(Failure { reason: error.to_string() }),
    }
}
