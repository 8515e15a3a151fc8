//! Asks the lookup plugin who the members are, as often as it wants to be asked, and publishes the answer.
//!
//! A source that fails leaves the list as it was. The last good list is kept on disk, so that a node can start
//! while the source is away. One task owns the source; an operator's wish for another one reaches it as a command.

mod kept;
mod maker;
mod members;
mod plugin;
mod progress;
mod switch;

pub(crate) use maker::PluginMaker;
pub use maker::{Made, Maker};
pub use members::Members;
pub(crate) use plugin::STANDALONE;
pub use plugin::{Granted, LookupError, PluginSource};
pub use progress::LookupProgress;
pub use switch::{LookupHandle, SwitchError};

use crate::settings::{self, millis};
use crate::tasks::Tasks;
use kept::KeptList;
use muster_core::plugin::{FoundMember, LookupAnswer};
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use switch::Commands;

/// Tries at the start before the kept list is used. Source: Nacos `nacos.core.address-server.retry` (5).
const TRIES: u32 = 5;
/// Longest wait after a failure, however many there were.
const RETRY_MOST: Duration = Duration::from_secs(30);

/// Where the list comes from: a plugin, or in tests a script.
pub trait Source: Send + 'static {
    /// Asks once. `cookie` is what came with the last list.
    ///
    /// # Errors
    /// A text for the log.
    fn find(&self, cookie: Option<Vec<u8>>) -> impl Future<Output = Result<LookupAnswer, String>> + Send;
}

/// How often a source is asked.
#[derive(Clone, Debug)]
pub struct Pace {
    /// `lookup.type`, for messages
    pub name: String,
    /// shortest wait between two look-ups
    pub min_interval: Duration,
    /// longest wait between two look-ups
    pub max_interval: Duration,
}

impl From<&settings::Lookup> for Pace {
    fn from(settings: &settings::Lookup) -> Self {
        Self {
            name: settings.kind.clone(),
            min_interval: settings.min_interval,
            max_interval: settings.max_interval,
        }
    }
}

/// Bounds of the lookup.
#[derive(Clone, Debug)]
pub struct LookupOptions {
    /// of the first source
    pub pace: Pace,
    /// where the last good list is kept
    pub kept: PathBuf,
    /// whether this node can have other members beside it
    pub clustered: bool,
}

/// Why a node has no member list.
#[derive(Debug, thiserror::Error)]
#[error("lookup {name}: {reason}; and there is no list of an earlier run at {}", kept.display())]
pub struct NoMembers {
    /// `lookup.type`
    pub name: String,
    /// what the source says
    pub reason: String,
    /// where the last good list would be
    pub kept: PathBuf,
}

/// The lookup of this node.
pub struct Lookup<M: Maker> {
    source: M::Source,
    maker: M,
    pace: Pace,
    kept: KeptList,
    clustered: bool,
    members: Members,
    cookie: Option<Vec<u8>>,
    failures: u32,
    complained: bool,
    /// after the start
    serving: bool,
    progress: Arc<LookupProgress>,
}

impl<M: Maker> Lookup<M> {
    /// Publishes into `members`. Another source comes from `maker`.
    pub fn new(source: M::Source, maker: M, options: LookupOptions, members: Members) -> Self {
        let LookupOptions { pace, kept, clustered } = options;
        let progress = Arc::new(LookupProgress::new(&pace.name));
        members.tell("lookup", pace.name.clone().into());
        Self {
            source,
            maker,
            pace,
            kept: KeptList::new(kept),
            clustered,
            members,
            cookie: None,
            failures: 0,
            complained: false,
            serving: false,
            progress,
        }
    }

    /// The first look-up. Answers when to look again.
    ///
    /// # Errors
    /// [`NoMembers`] when the source fails again and again and no list was kept.
    pub async fn first(&mut self) -> Result<Duration, NoMembers> {
        let mut reason = String::new();
        for attempt in 1..=TRIES {
            match self.once().await {
                Ok(next) => return Ok(next),
                Err(error) => reason = error,
            }
            if attempt == 1 && self.start_from_kept(&reason) {
                return Ok(self.retry());
            }
            if attempt < TRIES {
                tokio::time::sleep(self.pace.min_interval).await;
            }
        }
        Err(NoMembers { name: self.pace.name.clone(), reason, kept: self.kept.path().to_owned() })
    }

    /// Goes on looking, and takes another source when an operator says so.
    pub fn start(mut self, tasks: &Tasks, mut next: Duration) -> LookupHandle {
        let (handle, mut commands) = switch::channel(Arc::clone(&self.progress));
        self.serving = true;
        tasks.spawn("lookup", |stop| async move {
            loop {
                tokio::select! {
                    waited = self.turn(next, &mut commands) => next = waited,
                    () = stop.cancelled() => return Ok(()),
                }
            }
        });
        handle
    }

    /// Waits for the next look-up or for a command, and does it. Answers when to look again.
    async fn turn(&mut self, next: Duration, commands: &mut Commands) -> Duration {
        let due = tokio::time::Instant::now() + next;
        tokio::select! {
            () = tokio::time::sleep_until(due) => self.again().await,
            command = commands.next() => {
                let switched = self.switch(command.kind()).await;
                let left = due.saturating_duration_since(tokio::time::Instant::now());
                let next = *switched.as_ref().unwrap_or(&left);
                command.answer(switched.map(|_| ()));
                next
            }
        }
    }

    /// A look-up whose failure changes nothing but the time of the next.
    async fn again(&mut self) -> Duration {
        self.once().await.unwrap_or_else(|error| {
            let lookup = &self.pace.name;
            tracing::warn!(lookup, failures = self.failures, %error, "the members could not be looked up; the last list stays");
            self.retry()
        })
    }

    /// Asks once and publishes what is new.
    async fn once(&mut self) -> Result<Duration, String> {
        let answer = self.ask().await.inspect_err(|_| {
            self.failures += 1;
            self.progress.failed();
        })?;
        self.failures = 0;
        self.progress.answered();
        let next = match answer {
            LookupAnswer::Unchanged(next) => next,
            LookupAnswer::Changed { members, cookie, next } => {
                self.adopt(&members, cookie);
                next
            }
        };
        Ok(self.pace.within(next))
    }

    async fn ask(&mut self) -> Result<LookupAnswer, String> {
        let answer = self.source.find(self.cookie.clone()).await?;
        match &answer {
            // At the start the node does not start; later it stays what it is.
            LookupAnswer::Changed { members, .. } if self.serving && self.is_too_much(members) => {
                Err(SwitchError::Alone { kind: self.pace.name.clone() }.to_string())
            }
            LookupAnswer::Changed { .. } | LookupAnswer::Unchanged(_) => Ok(answer),
        }
    }

    /// Whether a list names other members to a node that has no means to talk to them.
    fn is_too_much(&self, members: &[FoundMember]) -> bool {
        !self.clustered && self.members.others_in(members) > 0
    }

    /// Takes over a list that the source gave.
    fn adopt(&mut self, members: &[FoundMember], cookie: Vec<u8>) {
        self.publish(members);
        self.keep(members);
        self.cookie = Some(cookie);
    }

    fn publish(&mut self, members: &[FoundMember]) {
        let named = self.members.found(members);
        if !named && !self.complained {
            let this = self.members.list().load()[0].address.clone();
            tracing::warn!(node = this, "the member list lacks this node; it was added");
        }
        self.complained = !named;
        let count = self.members.list().load().len();
        tracing::info!(lookup = self.pace.name, members = count, "member list");
    }

    fn keep(&self, members: &[FoundMember]) {
        if let Err(error) = self.kept.write(members) {
            let file = self.kept.path().display();
            tracing::warn!(%file, %error, "the member list could not be kept for the next start");
        }
    }

    fn start_from_kept(&mut self, reason: &str) -> bool {
        match self.kept.read() {
            Ok(Some(members)) => {
                let lookup = &self.pace.name;
                tracing::warn!(
                    lookup,
                    error = reason,
                    "the members could not be looked up; starting with the last list"
                );
                self.publish(&members);
                self.progress.started_from_kept();
                true
            }
            Ok(None) => false,
            Err(error) => {
                let file = self.kept.path().display();
                tracing::warn!(%file, %error, "the kept member list cannot be read");
                false
            }
        }
    }

    /// Doubles with every failure in a row.
    fn retry(&self) -> Duration {
        let doubled = self.pace.min_interval * 2_u32.saturating_pow(self.failures.clamp(1, 10) - 1);
        doubled.min(RETRY_MOST).min(self.pace.max_interval)
    }

    /// Takes the source that an operator asks for, if it answers. Answers when to look again.
    ///
    /// # Errors
    /// [`SwitchError`]; the source and the list are what they were.
    async fn switch(&mut self, kind: &str) -> Result<Duration, SwitchError> {
        let running = self.pace.name.clone();
        let trying = async {
            let made = self.maker.make(kind).await?;
            let found = made.source.find(None).await;
            let found = found.map_err(|reason| SwitchError::NoAnswer {
                kind: kind.to_owned(),
                reason,
                running: running.clone(),
            })?;
            Ok::<_, SwitchError>((made, found))
        };
        let tried = tokio::time::timeout(switch::MOST, trying).await;
        let tried = tried.unwrap_or(Err(SwitchError::TimedOut { after: switch::MOST }));
        let checked = tried.and_then(|(made, found)| Ok((made, self.usable(kind, found)?)));
        self.maker.settle(checked.is_ok()).await;
        let (Made { source, pace }, (members, cookie, next)) = checked.inspect_err(|error| {
            tracing::warn!(asked = kind, running, %error, "the lookup was not switched");
        })?;
        (self.source, self.pace, self.failures) = (source, pace, 0);
        self.members.tell("lookup", self.pace.name.clone().into());
        self.progress.switched(&self.pace.name);
        self.adopt(&members, cookie);
        tracing::info!(from = running, to = kind, "an operator switched the lookup");
        Ok(self.pace.within(next))
    }

    /// The list of an answer that may take the place of the running list.
    fn usable(&self, kind: &str, answer: LookupAnswer) -> Result<FirstList, SwitchError> {
        let kind = || kind.to_owned();
        let (members, cookie, next) = match answer {
            LookupAnswer::Changed { members, cookie, next } if !members.is_empty() => (members, cookie, next),
            LookupAnswer::Changed { .. } | LookupAnswer::Unchanged(_) => {
                return Err(SwitchError::Nobody { kind: kind() });
            }
        };
        if self.is_too_much(&members) {
            return Err(SwitchError::Alone { kind: kind() });
        }
        Ok((members, cookie, next))
    }
}

/// Members, cookie and the time of the next look-up.
type FirstList = (Vec<FoundMember>, Vec<u8>, muster_core::Millis);

impl Pace {
    /// What the source wishes, within the bounds.
    fn within(&self, next: muster_core::Millis) -> Duration {
        let (low, high) = (millis(self.min_interval), millis(self.max_interval));
        Duration::from_millis(next.clamp(low, high.max(low)).0)
    }
}

#[cfg(test)]
mod tests;
