//! Waiting with a deadline. Nothing in the tests sleeps for luck: they poll until a closure is
//! satisfied, or watch a closure for a stated time.

use std::time::{Duration, Instant};

/// How often [`eventually`] and [`never`] look.
const PAUSE: Duration = Duration::from_millis(25);

/// A stop watch.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Starts the watch.
    #[allow(clippy::disallowed_methods, reason = "tests measure a real node in real time")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// Waits until this much time has passed since the start. For statements that say when
    /// something happens: the wait is part of what is stated, not a guess at how long work takes.
    pub fn until(&self, mark: Duration) {
        pause(mark.saturating_sub(self.elapsed()));
    }
}

/// Sleeps. Only the helpers in this file use it for polling.
#[allow(clippy::disallowed_methods, reason = "the one sleep of the tests, inside polling loops")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Polls until the closure gives a value.
///
/// # Panics
/// When it has not done so before the deadline; the message carries the closure's last complaint.
#[track_caller]
pub fn eventually<T>(deadline: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let clock = Clock::start();
    loop {
        match look() {
            Ok(value) => return value,
            Err(complaint) => {
                assert!(clock.elapsed() < deadline, "not within {deadline:?}: {complaint}");
            }
        }
        pause(PAUSE);
    }
}

/// Polls for the whole time and fails as soon as the closure objects.
///
/// # Panics
/// When the closure returns an error.
#[track_caller]
pub fn never(time: Duration, mut look: impl FnMut() -> Result<(), String>) {
    let clock = Clock::start();
    while clock.elapsed() < time {
        if let Err(complaint) = look() {
            let at = clock.elapsed();
            assert!(complaint.is_empty(), "after {at:?}: {complaint}");
        }
        pause(PAUSE);
    }
}

/// `Ok` when the condition holds, else the message: what closures for [`eventually`] return.
///
/// # Errors
/// The message, when the condition does not hold.
pub fn hold(condition: bool, message: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(message()) }
}

/// Wall-clock milliseconds since the epoch.
#[allow(clippy::disallowed_methods, reason = "tests compare what the node says with the real time")]
pub fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)).unwrap_or_default()
}
