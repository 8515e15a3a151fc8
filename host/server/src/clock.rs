//! The only clock. Milliseconds since the Unix epoch that never go backwards and never jump.

use muster_core::Millis;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// How often [`Clock::adjust`] should run.
pub const ADJUST_EVERY: Duration = Duration::from_secs(1);
/// Most that one adjustment moves the time. A jump of an hour would make every beat late at once; at this pace
/// a client that beats every 5 s looks as if it beat every 6.25 s, far from the 15 s that count as silence.
const ADJUST_MOST: i64 = 250;

/// Time of this node. Cheap to clone; all clones agree.
///
/// It starts as the machine's time, runs on the monotonic clock, and follows later steps of the machine's time
/// slowly. Where the machine's clock is put back it stands still rather than going back.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    start: Instant,
    /// Time at `start`, in milliseconds; moved by adjustments.
    offset: AtomicI64,
    /// The latest answer.
    latest: AtomicU64,
}

impl Clock {
    /// Starts at the machine's time.
    pub fn system() -> Self {
        Self::starting_at(machine())
    }

    /// Starts at `time`, for tests.
    pub fn starting_at(time: Millis) -> Self {
        Self(Arc::new(Inner {
            start: Instant::now(),
            offset: AtomicI64::new(i64::try_from(time.0).unwrap_or(i64::MAX)),
            latest: AtomicU64::new(0),
        }))
    }

    /// The time.
    pub fn now(&self) -> Millis {
        let now = self.reading();
        Millis(self.0.latest.fetch_max(now, Ordering::Relaxed).max(now))
    }

    fn reading(&self) -> u64 {
        let elapsed = i64::try_from(self.0.start.elapsed().as_millis()).unwrap_or(i64::MAX);
        u64::try_from(self.0.offset.load(Ordering::Relaxed).saturating_add(elapsed)).unwrap_or(0)
    }

    /// Waits until `time`; forever for none.
    pub async fn reach(&self, time: Option<Millis>) {
        let Some(time) = time else { return std::future::pending().await };
        loop {
            let left = time.since(self.now());
            if left == Millis(0) {
                return;
            }
            // An adjustment may move the time while this sleeps: look again after at most a minute.
            tokio::time::sleep(Duration::from_millis(left.0.min(60_000))).await;
        }
    }

    /// Moves a little towards the machine's time. Answers how far apart they were, in milliseconds.
    pub fn adjust(&self) -> i64 {
        self.adjust_towards(machine())
    }

    fn adjust_towards(&self, machine: Millis) -> i64 {
        let signed = |millis: u64| i64::try_from(millis).unwrap_or(i64::MAX);
        let apart = signed(machine.0).saturating_sub(signed(self.reading()));
        self.0.offset.fetch_add(apart.clamp(-ADJUST_MOST, ADJUST_MOST), Ordering::Relaxed);
        apart
    }
}

fn machine() -> Millis {
    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_reaches_deadlines_and_only_those() {
        let clock = Clock::starting_at(Millis(1_000));
        clock.reach(Some(Millis(1_030))).await;
        assert!(clock.now() >= Millis(1_030));
        clock.reach(Some(Millis(10))).await;
        let forever = tokio::time::timeout(Duration::from_millis(20), clock.reach(None)).await;
        assert!(forever.is_err());
    }

    #[test]
    fn a_step_of_the_machine_is_followed_slowly_and_never_backwards() {
        let clock = Clock::starting_at(Millis(10_000));
        let soon = Millis(10_000 + 200); // this test is over before
        assert!((3_599_800..=3_600_000).contains(&clock.adjust_towards(Millis(3_610_000))));
        let shown = clock.now();
        assert!(shown >= Millis(10_250) && shown < soon + Millis(250), "{shown:?}");
        assert!(clock.adjust_towards(Millis(5_000)) <= -5_250);
        assert!(clock.reading() < shown.0);
        assert!(clock.now() >= shown);
        let apart = clock.adjust_towards(Millis(clock.reading() + 100));
        assert!((1..=100).contains(&apart), "{apart}");
    }

    #[test]
    fn the_system_clock_shows_this_century() {
        assert!(Clock::system().now() > Millis(1_700_000_000_000));
    }
}
