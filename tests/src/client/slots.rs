//! How many client programs run at once: JVMs and interpreters are heavy for a small machine.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};

/// Enough for one program of each SDK.
const LIMIT: usize = 10;

static SLOTS: Slots = Slots {
    state: Mutex::new(State { free: LIMIT, next: 0, queue: VecDeque::new() }),
    moved: Condvar::new(),
};

struct State {
    free: usize,
    next: u64,
    queue: VecDeque<u64>,
}

struct Slots {
    state: Mutex<State>,
    moved: Condvar,
}

impl Slots {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The right to run one program; given back when dropped.
#[derive(Debug)]
pub(super) struct Slot(());

impl Drop for Slot {
    fn drop(&mut self) {
        SLOTS.lock().free += 1;
        SLOTS.moved.notify_all();
    }
}

/// Waits for so many slots, all at once and in order of asking: a test that held some while it
/// waits for others could wait for a test that does the same.
pub(super) fn take(count: usize) -> Vec<Slot> {
    assert!(count <= LIMIT, "{count} programs at once");
    let mut state = SLOTS.lock();
    let ticket = state.next;
    state.next += 1;
    state.queue.push_back(ticket);
    while state.queue.front() != Some(&ticket) || state.free < count {
        state = SLOTS.moved.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
    }
    state.queue.pop_front();
    state.free -= count;
    SLOTS.moved.notify_all();
    (0..count).map(|_| Slot(())).collect()
}
