//! Hot swap: how a version of a plugin comes to a node that runs, and goes.
//!
//! Versions come from `plugins.directory` and from the API; both are stored in the data directory first. When a
//! candidate goes on, and when it is given up, `muster_core::rollout` decides; this module compiles, counts and
//! switches. Calls in flight end on the version they began with.
//!
//! What comes over the API is wanted by all members: it is a row of the Raft log (`muster_core::rollout::Wanted`), its
//! files travel between members, each member judges it, and it becomes active when it is good on every member that is
//! alive. A node that is alone is a cluster of one. Only the files of its own directory are its own affair.
//!
//! | file | owns |
//! |---|---|
//! | `kept` | installed versions in the data directory, and which of them is wanted |
//! | `package` | the files of a plugin; `verify`, which every version passes before it is compiled |
//! | `folder` | what is new in `plugins.directory` |
//! | `agreed` | what all members want, as far as this node has seen the log |
//! | `files` | files of versions, from member to member |
//! | `users` | who uses a plugin, and whether a version takes their settings |
//! | `trial` | a candidate in shadow or canary, as the probes see it |
//! | `task`, `plugin` | the task that owns all of it |
//! | `commands` | what operators ask of it |
//! | `together` | its part in what the members decide together |
//! | `view` | what operators see |
//! | `lives` | the same in the words of the API |

mod agreed;
mod commands;
mod files;
mod folder;
mod kept;
mod lives;
mod package;
mod plugin;
mod task;
mod together;
mod trial;
mod users;
mod view;

pub use agreed::Agreed;
pub(crate) use files::{Files, Piece};
pub(crate) use kept::Kept;
pub use kept::KeptError;
pub use lives::Lives;
pub(crate) use lives::retry_in;
pub use package::Package;
pub use task::Parts;
pub use trial::Trials;
pub(crate) use trial::{Call, Lane, Trial};
pub use view::{CandidateView, Failed, MembersView, View};

use crate::plugins::Identity;
use crate::trust::TrustError;
use arc_swap::ArcSwap;
use muster_core::plugin::PluginKind;
use muster_core::rollout::NotNow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Commands that may wait. One more is refused.
const WAITING: usize = 16;
/// Time for a command: storing 64 MiB, or compiling the version to go back to.
const MOST: Duration = Duration::from_secs(25);

/// Why a command is not carried out.
#[derive(Debug, thiserror::Error)]
pub enum RolloutError {
    /// There is no such plugin.
    #[error("there is no plugin {name:?}{}; `muster plugin status` lists all", of(*kind))]
    Unknown {
        /// as it was given
        name: String,
        /// as it was given
        kind: Option<PluginKind>,
    },
    /// There is one of this name of two kinds.
    #[error("plugins of several kinds are called {name:?}: say which with --kind (kind=...)")]
    Ambiguous {
        /// the name
        name: String,
    },
    /// There is no version on its way.
    #[error("{name} has no version on its way; `muster plugin install FILE` brings one")]
    NoCandidate {
        /// the plugin
        name: String,
    },
    /// The version on its way cannot be moved.
    #[error("{name}: {source}")]
    NotNow {
        /// the plugin
        name: String,
        /// why
        #[source]
        source: NotNow,
    },
    /// There is nothing to go back to.
    #[error("{name} has no previous version; `muster plugin quarantine {name}` stops it from being called")]
    NoPrevious {
        /// the plugin
        name: String,
    },
    /// It is the version in use.
    #[error("this version of {name} is the active one already")]
    IsActive {
        /// the plugin
        name: String,
    },
    /// It has the name of a bundled one.
    #[error("{name:?} is the name of a bundled plugin; rename it, or set plugins.replace-bundled = true")]
    Bundled {
        /// the plugin
        name: String,
    },
    /// The operator's policy does not take it.
    #[error("{name}: {source}")]
    NotTrusted {
        /// the plugin
        name: String,
        /// why
        #[source]
        source: TrustError,
    },
    /// The previous version cannot be loaded.
    #[error("{name}: the previous version cannot be loaded: {why}")]
    Previous {
        /// the plugin
        name: String,
        /// why
        why: String,
    },
    /// It cannot be stored.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// The members could not be told.
    #[error(transparent)]
    Agree(#[from] muster_raft::ProposeError),
    /// Others wait already, or it takes too long.
    #[error("the node is busy with other versions of plugins; ask again")]
    Busy,
    /// The node is going down.
    #[error("the node is stopping")]
    Stopping,
}

fn of(kind: Option<PluginKind>) -> String {
    kind.map(|kind| format!(" among the {}s", kind.world())).unwrap_or_default()
}

/// What an operator wants.
#[derive(Debug)]
pub(crate) enum Wish {
    /// a version to come
    Install {
        /// the version
        package: Box<Package>,
        /// the digest of a version that may ask for more than the active one
        approved: Option<String>,
    },
    /// the version on its way to go on, or to become active at once
    Promote { to_the_end: bool },
    /// the version on its way to go, or the previous one to come back
    RollBack,
    /// the plugin not to be called, or to be called again
    CallOff(bool),
}

/// Where the answer to an operator goes.
type Reply = oneshot::Sender<Result<(), RolloutError>>;

struct Command {
    whom: Identity,
    wish: Wish,
    reply: Reply,
}

/// Talks to the task that owns the versions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Rollouts(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    commands: mpsc::Sender<Command>,
    views: ArcSwap<Vec<View>>,
    trials: Trials,
    counts: Counts,
}

/// How rollouts ended since the start.
#[derive(Debug, Default)]
struct Counts {
    activated: AtomicU64,
    rolled_back: [AtomicU64; muster_core::rollout::Reason::WORDS.len()],
}

/// What [`Rollouts::new`] leaves for the task.
pub struct Inbox(mpsc::Receiver<Command>);

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inbox")
    }
}

impl Default for Rollouts {
    /// One whose task never runs: commands find a node that is stopping.
    fn default() -> Self {
        Self::new().0
    }
}

impl Rollouts {
    /// A handle, and what the task reads.
    pub fn new() -> (Self, Inbox) {
        let (commands, inbox) = mpsc::channel(WAITING);
        let shared = Shared {
            commands,
            views: ArcSwap::default(),
            trials: Trials::default(),
            counts: Counts::default(),
        };
        (Self(Arc::new(shared)), Inbox(inbox))
    }

    /// Every plugin that something was installed for.
    pub fn views(&self) -> Arc<Vec<View>> {
        self.0.views.load_full()
    }

    /// Candidates that are called for targets.
    pub fn trials(&self) -> &Trials {
        &self.0.trials
    }

    /// Versions that became active, and those that were given up by reason.
    pub fn counts(&self) -> (u64, impl Iterator<Item = (&'static str, u64)>) {
        let counts = &self.0.counts;
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let words = muster_core::rollout::Reason::WORDS;
        let rolled_back = words.into_iter().zip(counts.rolled_back.iter().map(load));
        (load(&counts.activated), rolled_back)
    }

    /// Asks the task. Answers when it has begun what takes longer.
    ///
    /// # Errors
    /// [`RolloutError`].
    pub(crate) async fn ask(&self, whom: Identity, wish: Wish) -> Result<(), RolloutError> {
        let (reply, answer) = oneshot::channel();
        self.0.commands.try_send(Command { whom, wish, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => RolloutError::Busy,
            mpsc::error::TrySendError::Closed(_) => RolloutError::Stopping,
        })?;
        match tokio::time::timeout(MOST, answer).await {
            Ok(answered) => answered.unwrap_or(Err(RolloutError::Stopping)),
            Err(_) => Err(RolloutError::Busy),
        }
    }
}
