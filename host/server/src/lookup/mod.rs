//! Asks the lookup plugin who the members are, as often as it wants to be asked, and publishes the answer.
//!
//! A source that fails leaves the list as it was. The last good list is kept on disk, so that a node can start
//! while the source is away.

mod kept;
mod members;
mod plugin;

pub use members::Members;
pub(crate) use plugin::STANDALONE;
pub use plugin::{Granted, LookupError, PluginSource};

use crate::settings::millis;
use crate::tasks::Tasks;
use kept::KeptList;
use muster_core::plugin::{FoundMember, LookupAnswer};
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

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

/// Bounds of the lookup.
#[derive(Clone, Debug)]
pub struct LookupOptions {
    /// `lookup.type`, for messages
    pub name: String,
    /// shortest wait between two look-ups
    pub min_interval: Duration,
    /// longest wait between two look-ups
    pub max_interval: Duration,
    /// where the last good list is kept
    pub kept: PathBuf,
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
pub struct Lookup<S> {
    source: S,
    options: LookupOptions,
    kept: KeptList,
    members: Members,
    cookie: Option<Vec<u8>>,
    failures: u32,
    complained: bool,
}

impl<S: Source> Lookup<S> {
    /// Publishes into `members`.
    pub fn new(source: S, options: LookupOptions, members: Members) -> Self {
        let kept = KeptList::new(options.kept.clone());
        Self { source, options, kept, members, cookie: None, failures: 0, complained: false }
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
                tokio::time::sleep(self.options.min_interval).await;
            }
        }
        Err(NoMembers { name: self.options.name.clone(), reason, kept: self.kept.path().to_owned() })
    }

    /// Goes on looking.
    pub fn start(mut self, tasks: &Tasks, mut next: Duration) {
        tasks.spawn("lookup", |stop| async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(next) => {}
                    () = stop.cancelled() => return Ok(()),
                }
                let asked = tokio::select! {
                    asked = self.once() => asked,
                    () = stop.cancelled() => return Ok(()),
                };
                next = asked.unwrap_or_else(|error| {
                    let lookup = &self.options.name;
                    tracing::warn!(lookup, failures = self.failures, %error, "the members could not be looked up; the last list stays");
                    self.retry()
                });
            }
        });
    }

    /// Asks once and publishes what is new.
    async fn once(&mut self) -> Result<Duration, String> {
        let answer = self.source.find(self.cookie.clone()).await.inspect_err(|_| self.failures += 1)?;
        self.failures = 0;
        let next = match answer {
            LookupAnswer::Unchanged(next) => next,
            LookupAnswer::Changed { members, cookie, next } => {
                self.publish(&members);
                self.keep(&members);
                self.cookie = Some(cookie);
                next
            }
        };
        let (low, high) = (millis(self.options.min_interval), millis(self.options.max_interval));
        let next = next.clamp(low, high.max(low));
        Ok(Duration::from_millis(next.0))
    }

    fn publish(&mut self, members: &[FoundMember]) {
        let named = self.members.found(members);
        if !named && !self.complained {
            let this = self.members.list().load()[0].address.clone();
            tracing::warn!(node = this, "the member list lacks this node; it was added");
        }
        self.complained = !named;
        let count = self.members.list().load().len();
        tracing::info!(lookup = self.options.name, members = count, "member list");
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
                let lookup = &self.options.name;
                tracing::warn!(
                    lookup,
                    error = reason,
                    "the members could not be looked up; starting with the last list"
                );
                self.publish(&members);
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
        let doubled = self.options.min_interval * 2_u32.saturating_pow(self.failures.clamp(1, 10) - 1);
        doubled.min(RETRY_MOST).min(self.options.max_interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_core::Millis;
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};
    use tokio::time::Instant;

    type Answers = Arc<Mutex<VecDeque<Result<LookupAnswer, String>>>>;

    /// Answers as told, and notes the cookies it got.
    #[derive(Clone, Default)]
    struct Script {
        answers: Answers,
        cookies: Arc<Mutex<Vec<Option<Vec<u8>>>>>,
    }

    impl Source for Script {
        async fn find(&self, cookie: Option<Vec<u8>>) -> Result<LookupAnswer, String> {
            self.cookies.lock().unwrap().push(cookie);
            self.answers.lock().unwrap().pop_front().unwrap_or_else(|| Err("no more".into()))
        }
    }

    fn list(addresses: &[&str], next: u64) -> Result<LookupAnswer, String> {
        let member =
            |address: &&str| FoundMember { address: (*address).into(), port: None, metadata: vec![] };
        let members = addresses.iter().map(member).collect();
        Ok(LookupAnswer::Changed { members, cookie: addresses.concat().into(), next: Millis(next) })
    }

    struct Setup {
        script: Script,
        members: Members,
        folder: tempfile::TempDir,
    }

    impl Setup {
        fn new(answers: impl IntoIterator<Item = Result<LookupAnswer, String>>) -> Self {
            let script = Script::default();
            script.answers.lock().unwrap().extend(answers);
            Self { script, members: Members::new("n1", 8848), folder: tempfile::tempdir().unwrap() }
        }

        fn lookup(&self) -> Lookup<Script> {
            let options = LookupOptions {
                name: "file".into(),
                min_interval: Duration::from_millis(10),
                max_interval: Duration::from_millis(100),
                kept: self.folder.path().join("members.json"),
            };
            Lookup::new(self.script.clone(), options, self.members.clone())
        }

        fn addresses(&self) -> Vec<String> {
            self.members.list().load().iter().map(|member| member.ip.clone()).collect()
        }
    }

    #[tokio::test]
    async fn the_plugin_says_when_within_the_bounds() {
        let setup = Setup::new([
            list(&["n1", "n2"], 50),
            list(&["n1"], 1),
            Ok(LookupAnswer::Unchanged(Millis(3_600_000))),
        ]);
        let mut lookup = setup.lookup();
        let waits =
            [lookup.first().await.unwrap(), lookup.once().await.unwrap(), lookup.once().await.unwrap()];
        assert_eq!(waits.map(|wait| wait.as_millis()), [50, 10, 100]);
        assert_eq!(setup.addresses(), ["n1"]);
        let cookies = setup.script.cookies.lock().unwrap().clone();
        assert_eq!(cookies, [None, Some(b"n1n2".to_vec()), Some(b"n1".to_vec())]);
    }

    #[tokio::test]
    async fn a_start_without_the_source_uses_the_last_list() {
        let setup = Setup::new([list(&["n1", "n2"], 50)]);
        setup.lookup().first().await.unwrap();
        let again = Setup { members: Members::new("n1", 8848), ..setup };
        again.lookup().first().await.unwrap();
        assert_eq!(again.addresses(), ["n1", "n2"]);
    }

    #[tokio::test]
    async fn a_start_without_source_and_list_fails_and_says_why() {
        let setup = Setup::new([]);
        let error = setup.lookup().first().await.unwrap_err().to_string();
        assert!(
            error.starts_with("lookup file: no more; and there is no list of an earlier run at "),
            "{error}"
        );
        assert_eq!(setup.script.cookies.lock().unwrap().len(), 5);
    }

    #[tokio::test]
    async fn failures_later_keep_the_list_and_a_recovery_is_seen() {
        let failed = || Err("away".to_owned());
        let setup = Setup::new([list(&["n1", "n2"], 10), failed(), failed(), list(&["n1", "n3"], 10)]);
        let mut lookup = setup.lookup();
        let next = lookup.first().await.unwrap();
        let tasks = Tasks::new();
        lookup.start(&tasks, next);
        let deadline = Instant::now() + Duration::from_secs(5);
        while setup.addresses() != ["n1", "n3"] {
            assert!(Instant::now() < deadline && setup.addresses() == ["n1", "n2"]);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tasks.drain(deadline).await.unwrap();
    }
}
