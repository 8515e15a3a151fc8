//! How connections and pushes went since the start.

use muster_core::Millis;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bounds of the buckets of the time from change to acknowledgement, in milliseconds. Half a second of it is the
/// push delay.
pub const LATENCY_BOUNDS: [u64; 10] = [10, 50, 200, 500, 600, 750, 1_000, 2_000, 5_000, 10_000];

/// How pushes to connections went since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrpcCounters {
    /// transports now
    pub connections: u64,
    /// pushes that were acknowledged
    pub acknowledged: u64,
    /// pushes that failed or were not acknowledged in time; each was made again
    pub failed: u64,
    /// from change to acknowledgement, all of them together, in milliseconds
    pub latency_ms: u64,
    /// how many took at most so long, by [`LATENCY_BOUNDS`], and the rest; not cumulative
    pub latency: [u64; LATENCY_BOUNDS.len() + 1],
    /// pushes that were not made because too many waited
    pub dropped: u64,
    /// transports refused because of a limit
    pub refused: u64,
    /// transports on which no TLS could be agreed
    pub handshakes_failed: u64,
    /// clients that were asked to go elsewhere
    pub resets: u64,
    /// bytes of requests that are being received or answered now
    pub held_bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub failed: AtomicU64,
    pub dropped: AtomicU64,
    pub refused: AtomicU64,
    pub handshakes_failed: AtomicU64,
    pub resets: AtomicU64,
    latency_ms: AtomicU64,
    latency: [AtomicU64; LATENCY_BOUNDS.len() + 1],
}

impl Counts {
    pub(super) fn acknowledged(&self, after: Millis) {
        let bucket = LATENCY_BOUNDS.iter().position(|bound| after.0 <= *bound);
        self.latency[bucket.unwrap_or(LATENCY_BOUNDS.len())].fetch_add(1, Ordering::Relaxed);
        self.latency_ms.fetch_add(after.0, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> GrpcCounters {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let latency = self.latency.each_ref().map(read);
        GrpcCounters {
            acknowledged: latency.iter().sum(),
            latency,
            latency_ms: read(&self.latency_ms),
            failed: read(&self.failed),
            dropped: read(&self.dropped),
            refused: read(&self.refused),
            handshakes_failed: read(&self.handshakes_failed),
            resets: read(&self.resets),
            ..GrpcCounters::default()
        }
    }
}

/// Adds one.
pub(super) fn one_more(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_are_counted_by_how_long_they_took() {
        let counts = Counts::default();
        [10, 11, 20_000].into_iter().for_each(|after| counts.acknowledged(Millis(after)));
        let read = counts.read();
        assert_eq!((read.acknowledged, read.latency_ms), (3, 20_021));
        assert_eq!((read.latency[0], read.latency[1], read.latency[10]), (1, 1, 1));
    }
}
