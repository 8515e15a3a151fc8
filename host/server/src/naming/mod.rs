//! The naming loop: the one task that owns the naming state, and how everything else reaches it.
//!
//! Requests and committed writes come in, effects go out to executors that never ask back. What readers see
//! is published before the caller is answered.

mod effects;
mod handle;
mod published;

pub use effects::{Executors, Pusher};
pub use handle::{NamingError, NamingHandle, WriteError};
pub use published::{Published, PublishedService};

use crate::clock::Clock;
use crate::tasks::Tasks;
use handle::Step;
use muster_core::naming::Naming;
use muster_core::persist::Change;
use muster_raft::Committed;
use tokio::sync::mpsc;

/// Requests that may wait for the loop. Past it callers wait, up to their deadline.
const QUEUE: usize = 4_096;
/// Requests answered between two looks at the clock.
const BATCH: usize = 256;

/// The receiving ends of the loop, made before the store is opened.
pub struct Inbox {
    requests: mpsc::Receiver<Box<dyn Step>>,
    committed: mpsc::Receiver<Committed>,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

/// The sending end for requests, given to [`NamingHandle::new`].
pub type Requests = mpsc::Sender<Box<dyn Step>>;

/// The queues of the loop: for requests, for committed writes, and the loop's own end of both.
pub fn queues() -> (Requests, mpsc::Sender<Committed>, Inbox) {
    let (request, requests) = mpsc::channel(QUEUE);
    // A full queue makes the store wait: a write is acknowledged only after the loop could see it.
    let (commit, committed) = mpsc::channel(QUEUE);
    (request, commit, Inbox { requests, committed })
}

/// Starts the loop with the rows of the store in place. It ends when told to stop and nothing is waiting.
pub fn start(
    tasks: &Tasks,
    clock: Clock,
    mut naming: Naming,
    initial: Vec<Change>,
    mut inbox: Inbox,
    executors: Executors,
) {
    let now = clock.now();
    for change in initial {
        naming.committed(now, change);
    }
    naming.tick(now);
    executors.carry_out(naming.effects(now));
    tasks.spawn("naming", |stop| async move {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                Some(committed) = inbox.committed.recv() => apply(&mut naming, &clock, committed),
                taken = inbox.requests.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        return Ok(());
                    }
                    // A write that was acknowledged before a request was made is seen by that request.
                    while let Ok(committed) = inbox.committed.try_recv() {
                        apply(&mut naming, &clock, committed);
                    }
                }
                () = clock.reach(naming.next_deadline()) => {}
                () = stop.cancelled() => {
                    inbox.requests.close();
                    if inbox.requests.is_empty() {
                        return Ok(());
                    }
                }
            }
            let now = clock.now();
            for step in &mut batch {
                step.run(&mut naming, now);
            }
            // Not a branch of the select: a node that is never idle has deadlines too.
            if naming.next_deadline().is_some_and(|due| due <= now) {
                naming.tick(now);
            }
            executors.carry_out(naming.effects(now));
            batch.drain(..).for_each(Step::answer);
        }
    });
}

fn apply(naming: &mut Naming, clock: &Clock, committed: Committed) {
    let now = clock.now();
    for change in committed.changes {
        naming.committed(now, change);
    }
}
