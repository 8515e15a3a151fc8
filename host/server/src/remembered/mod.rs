//! The ephemeral lists as this node last knew them, kept in the data directory, so that a restart leaves no gap
//! (what is made of them: `muster_core::naming`, `remembered`).
//!
//! One task looks at what is published, at most once a second, and writes down the lists that changed. The naming
//! loop has no part in it. At the end it writes once more, before connections are cut off and take their
//! instances with them. What cannot be read or written is a warning: a node without it starts as one that is new.

mod file;
#[cfg(test)]
mod tests;

use crate::clock::Clock;
use crate::naming::Published;
use crate::tasks::{TaskResult, Tasks};
use file::{ListFile, Read, ReadError};
use muster_core::{Instance, Millis, ServiceKey};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often changed lists are written at most: what a `kill -9` can lose.
const EVERY: Duration = Duration::from_secs(1);
/// Writing gets at most this part of the time, however slow the disk is or however much changes.
const SHARE: u32 = 10;
/// Lists of a node that has been down for longer are not shown: addresses may have new owners.
const OLDEST: Millis = Millis::from_secs(3_600);
/// How often the file says that the node still runs, when nothing changes.
const SIGN: Duration = Duration::from_secs(60);

/// What was known when the node last ran; nothing when that is unknown or too long ago.
pub(crate) async fn load(path: PathBuf, now: Millis) -> Vec<(ServiceKey, Vec<Instance>)> {
    let read = tokio::task::spawn_blocking(move || (file::read(&path), path)).await;
    match read {
        Ok((read, path)) => judge(read, &path, now),
        Err(error) => {
            tracing::warn!(%error, "the lists last known were not read");
            Vec::new()
        }
    }
}

fn judge(
    read: Result<Option<Read>, ReadError>,
    path: &Path,
    now: Millis,
) -> Vec<(ServiceKey, Vec<Instance>)> {
    let file = path.display();
    let read = match read {
        Ok(Some(read)) => read,
        Ok(None) => return Vec::new(),
        Err(error) => {
            tracing::warn!(%file, %error, "the lists last known cannot be read: the node starts without them");
            return Vec::new();
        }
    };
    let age = now.since(read.written);
    if age > OLDEST {
        tracing::info!(%file, age_ms = age.0, "the lists last known are too old to be shown");
        return Vec::new();
    }
    if read.damaged > 0 {
        tracing::warn!(%file, lines = read.damaged, "a part of the lists last known is damaged and left out");
    }
    tracing::info!(
        services = read.lists.len(),
        age_ms = age.0,
        "the lists last known are shown until providers are back"
    );
    read.lists
}

/// Keeps what is published, from now on.
pub(crate) fn start(tasks: &Tasks, path: PathBuf, published: Arc<Published>, clock: Clock) {
    let keeper =
        Keeper { file: ListFile::new(path), published, clock, seen: None, sign: None, failing: false };
    tasks.spawn("remember", |stop| keep(keeper, stop));
}

async fn keep(mut keeper: Keeper, stop: CancellationToken) -> TaskResult {
    let mut pause = EVERY;
    loop {
        let last = tokio::select! {
            () = tokio::time::sleep(pause) => false,
            () = stop.cancelled() => true,
        };
        let began = Instant::now();
        keeper = match tokio::task::spawn_blocking(move || keeper.turn()).await {
            Ok(keeper) => keeper,
            Err(error) => {
                tracing::error!(%error, "lists are not remembered any more");
                return Ok(());
            }
        };
        if last {
            return Ok(());
        }
        pause = EVERY.max(began.elapsed() * SHARE);
    }
}

/// What the task works with.
struct Keeper {
    file: ListFile,
    published: Arc<Published>,
    clock: Clock,
    /// how many changes were published when it last looked
    seen: Option<u64>,
    /// when the file was last known to be new
    sign: Option<Instant>,
    failing: bool,
}

impl Keeper {
    fn turn(mut self) -> Self {
        let changes = self.published.changes();
        let changed = self.seen != Some(changes);
        if !changed && self.sign.is_some_and(|at| at.elapsed() < SIGN) {
            return self;
        }
        let done =
            if changed { self.file.write(&self.published.all()) } else { self.file.sign(self.clock.now()) };
        match done {
            Ok(()) => {
                if self.failing {
                    tracing::info!("lists are remembered again");
                }
                (self.failing, self.seen, self.sign) = (false, Some(changes), Some(Instant::now()));
            }
            Err(error) => {
                if !self.failing {
                    let file = self.file.path().display();
                    tracing::warn!(%file, %error, "lists are not remembered: a restart now would leave a gap");
                }
                (self.failing, self.seen) = (true, None);
            }
        }
        self
    }
}
