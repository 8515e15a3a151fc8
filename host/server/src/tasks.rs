//! The only place that spawns. A task has a name and a span; when one fails or panics the node shuts down; when
//! the node shuts down, the tasks of one stage after the other are told and waited for.

use futures_util::FutureExt;
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// Why a task ended early, which is why the node ends.
pub type TaskError = Box<dyn std::error::Error + Send + Sync>;
/// How a task ends.
pub type TaskResult = Result<(), TaskError>;

/// The failure of a task.
#[derive(Debug, thiserror::Error)]
#[error("task {name} failed: {source}")]
pub struct Failed {
    /// the task
    pub name: &'static str,
    /// what it answered, or the text of its panic
    pub source: TaskError,
}

/// Tasks that did not end when they were told to.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("still running when the grace was over: {0}")]
pub struct Unfinished(pub String);

/// Spawns the tasks of one stage. Cheap to clone.
#[derive(Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    abort: CancellationToken,
    running: Arc<Mutex<BTreeMap<&'static str, usize>>>,
    node: Arc<NodeFate>,
}

/// What all stages share.
#[derive(Default)]
struct NodeFate {
    failed: CancellationToken,
    first: Mutex<Option<Failed>>,
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("running", &self.names()).finish_non_exhaustive()
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Tasks {
    /// The first stage of a node.
    pub fn new() -> Self {
        Self::with(Arc::default())
    }

    /// Another stage of the same node: it is stopped by itself, its failures end the same node.
    pub fn stage(&self) -> Self {
        Self::with(Arc::clone(&self.node))
    }

    fn with(node: Arc<NodeFate>) -> Self {
        Self {
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
            running: Arc::default(),
            node,
        }
    }

    /// Runs what `task` makes of the token that tells it to stop.
    pub fn spawn<F, Fut>(&self, name: &'static str, task: F)
    where
        F: FnOnce(CancellationToken) -> Fut,
        Fut: Future<Output = TaskResult> + Send + 'static,
    {
        self.spawn_on(name, &Handle::current(), task);
    }

    /// The same, on the threads of another runtime.
    pub fn spawn_on<F, Fut>(&self, name: &'static str, runtime: &Handle, task: F)
    where
        F: FnOnce(CancellationToken) -> Fut,
        Fut: Future<Output = TaskResult> + Send + 'static,
    {
        let future = AssertUnwindSafe(task(self.stop.clone())).catch_unwind();
        let (abort, node) = (self.abort.clone(), Arc::clone(&self.node));
        let counted = Counted::new(name, &self.running);
        let run = async move {
            let _counted = counted;
            let result = tokio::select! {
                result = future => result.unwrap_or_else(|panic| Err(panic_text(&*panic).into())),
                () = abort.cancelled() => Ok(()),
            };
            if let Err(source) = result {
                node.fail(Failed { name, source });
            }
        };
        let span = tracing::info_span!(parent: None, "task", name);
        drop(self.tracker.spawn_on(run.instrument(span), runtime));
    }

    /// The token that tells the tasks of this stage to stop.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Waits until any task of the node has failed.
    pub async fn failed(&self) {
        self.node.failed.cancelled().await;
    }

    /// The first failure, once.
    pub fn take_failure(&self) -> Option<Failed> {
        lock(&self.node.first).take()
    }

    /// Tells the tasks of this stage to stop and waits for them until `deadline`; then drops the rest.
    ///
    /// # Errors
    /// Names those that had to be dropped.
    pub async fn drain(&self, deadline: Instant) -> Result<(), Unfinished> {
        self.stop.cancel();
        self.tracker.close();
        if tokio::time::timeout_at(deadline, self.tracker.wait()).await.is_ok() {
            return Ok(());
        }
        let names = self.names();
        self.abort.cancel();
        Err(Unfinished(names))
    }

    fn names(&self) -> String {
        let running = lock(&self.running);
        let named = running.iter().map(|(name, count)| format!("{name} x {count}"));
        named.collect::<Vec<_>>().join(", ")
    }
}

impl NodeFate {
    fn fail(&self, failed: Failed) {
        tracing::error!(task = failed.name, error = %failed.source, "a task failed; the node ends");
        lock(&self.first).get_or_insert(failed);
        self.failed.cancel();
    }
}

/// Counts a task as running for as long as it lives.
struct Counted(&'static str, Arc<Mutex<BTreeMap<&'static str, usize>>>);

impl Counted {
    fn new(name: &'static str, running: &Arc<Mutex<BTreeMap<&'static str, usize>>>) -> Self {
        *lock(running).entry(name).or_default() += 1;
        Self(name, Arc::clone(running))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut running = lock(&self.1);
        if let Some(count) = running.get_mut(self.0) {
            *count -= 1;
            if *count == 0 {
                running.remove(self.0);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panicked: {}", text.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test]
    async fn a_stage_stops_its_own_tasks_only() {
        let first = Tasks::new();
        let second = first.stage();
        first.spawn("first", |stop| async move {
            stop.cancelled().await;
            Ok(())
        });
        second.spawn("second", |stop| async move {
            stop.cancelled().await;
            Ok(())
        });
        assert_eq!(first.drain(soon()).await, Ok(()));
        assert_eq!(second.names(), "second x 1");
        assert_eq!(second.drain(soon()).await, Ok(()));
    }

    #[tokio::test]
    async fn an_error_in_any_stage_ends_the_node() {
        let tasks = Tasks::new();
        tasks.stage().spawn("broken", |_| async { Err("no disk".into()) });
        tasks.failed().await;
        assert_eq!(tasks.take_failure().unwrap().to_string(), "task broken failed: no disk");
    }

    #[tokio::test]
    async fn a_panic_is_a_failure_too() {
        let tasks = Tasks::new();
        tasks.spawn("bug", |_| async { panic!("index 7") });
        tasks.failed().await;
        assert_eq!(tasks.take_failure().unwrap().to_string(), "task bug failed: panicked: index 7");
    }

    #[tokio::test]
    async fn what_does_not_stop_is_named_and_dropped() {
        let tasks = Tasks::new();
        for _ in 0..2 {
            tasks.spawn("deaf", |_| std::future::pending());
        }
        let result = tasks.drain(Instant::now() + Duration::from_millis(20)).await;
        assert_eq!(result, Err(Unfinished("deaf x 2".into())));
        tasks.tracker.wait().await;
    }
}
