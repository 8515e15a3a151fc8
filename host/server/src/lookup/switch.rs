//! Another source for a node that runs: the operator's command, and why it may be refused.

use super::plugin::LookupError;
use super::progress::LookupProgress;
use crate::plugins::PluginsError;
use crate::secrets::SecretError;
use crate::settings::SettingsError;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Commands that may wait while one is carried out. One more is refused: two operators at once want to know.
const WAITING: usize = 1;
/// Time for a new source to be made and to answer for the first time.
pub(super) const MOST: Duration = Duration::from_secs(20);
/// Time for a command, one that waits before it and a look-up that is under way.
const COMMAND_MOST: Duration = Duration::from_secs(60);

/// Why a node keeps the lookup that it has.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// Nothing says what the new lookup is told.
    #[error("this node was not started from a settings file")]
    NoFile,
    /// The settings cannot be read or are wrong.
    #[error("the settings are not accepted: {0}")]
    Settings(#[from] SettingsError),
    /// A secret of the settings is not there.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A plugin is not as it should be.
    #[error(transparent)]
    Plugins(#[from] PluginsError),
    /// The settings name another lookup, which the next start would use.
    #[error(
        "lookup.type is {written:?} in the settings: write {asked:?} there first, so that the next start finds the same \
         members"
    )]
    NotWritten {
        /// what the operator asks for
        asked: String,
        /// what the settings say
        written: String,
    },
    /// A member of a cluster has data in common with others.
    #[error("a member of a cluster cannot become standalone while it runs")]
    Standalone,
    /// There is no such lookup, or it does not take its settings.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The new source does not answer.
    #[error("lookup {kind}: {reason}; the members stay those that {running} found")]
    NoAnswer {
        /// what the operator asks for
        kind: String,
        /// what the source says
        reason: String,
        /// the lookup that stays
        running: String,
    },
    /// The new source names no member at all.
    #[error("lookup {kind} names no member")]
    Nobody {
        /// what the operator asks for
        kind: String,
    },
    /// This node has no port and no key for other members.
    #[error(
        "lookup {kind} names other members, but this node was started alone; set cluster.secret and restart it"
    )]
    Alone {
        /// the lookup
        kind: String,
    },
    /// It takes too long.
    #[error("the lookup did not answer within {after:?}")]
    TimedOut {
        /// how long was waited
        after: Duration,
    },
    /// Others wait already.
    #[error("the lookup is being switched already")]
    Busy,
    /// The node is going down.
    #[error("the node is stopping")]
    Stopping,
}

/// Talks to the task that looks members up. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LookupHandle {
    commands: mpsc::Sender<Command>,
    progress: Arc<LookupProgress>,
}

impl LookupHandle {
    /// Makes the lookup `kind` the source of the members, as the settings file tells it now. Answers when its first
    /// list is in use.
    ///
    /// # Errors
    /// [`SwitchError`]; the former lookup goes on then, except after [`SwitchError::TimedOut`] of a command that
    /// still waited for its turn, which nobody can tell.
    pub async fn switch(&self, kind: &str) -> Result<(), SwitchError> {
        let (reply, answer) = oneshot::channel();
        let command = Command { kind: kind.to_owned(), reply };
        self.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SwitchError::Busy,
            mpsc::error::TrySendError::Closed(_) => SwitchError::Stopping,
        })?;
        match tokio::time::timeout(COMMAND_MOST, answer).await {
            Ok(answered) => answered.unwrap_or(Err(SwitchError::Stopping)),
            Err(_) => Err(SwitchError::TimedOut { after: COMMAND_MOST }),
        }
    }

    /// How the lookup is doing.
    pub fn progress(&self) -> &LookupProgress {
        &self.progress
    }
}

/// What an operator asks for.
#[derive(Debug)]
pub(super) struct Command {
    kind: String,
    reply: oneshot::Sender<Result<(), SwitchError>>,
}

impl Command {
    pub(super) fn kind(&self) -> &str {
        &self.kind
    }

    pub(super) fn answer(self, answer: Result<(), SwitchError>) {
        // Whoever asked may have gone.
        let _ = self.reply.send(answer);
    }
}

/// What operators ask for, in turn.
#[derive(Debug)]
pub(super) struct Commands(mpsc::Receiver<Command>);

impl Commands {
    /// The next one of which somebody still awaits the answer.
    pub(super) async fn next(&mut self) -> Command {
        loop {
            match self.0.recv().await {
                Some(command) if command.reply.is_closed() => {}
                Some(command) => return command,
                None => std::future::pending().await,
            }
        }
    }
}

pub(super) fn channel(progress: Arc<LookupProgress>) -> (LookupHandle, Commands) {
    let (commands, queue) = mpsc::channel(WAITING);
    (LookupHandle { commands, progress }, Commands(queue))
}
