//! Counters of one plugin: calls, ends by kind, a histogram of times.

use crate::PluginError;
use muster_core::plugin::Outcome;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Four buckets for each doubling, from 1 us to over an hour.
const BUCKETS: usize = 132;

/// What a plugin did since it was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// calls that ended, whatever their end
    pub calls: u64,
    /// calls without an answer, by [`PluginError::code`]
    pub faults: BTreeMap<&'static str, u64>,
    /// half of the calls took at most this long, in microseconds; at most 19 % too high
    pub p50_us: u64,
    /// 99 of 100 calls took at most this long, in microseconds; at most 19 % too high
    pub p99_us: u64,
    /// health checks: verdicts, by [`Outcome::word`]
    pub verdicts: BTreeMap<&'static str, u64>,
    /// CPU time of all calls, milliseconds. Sampled: a call is charged a millisecond when one ends while it runs
    pub cpu_ms: u64,
    /// the largest linear memory of an instance, bytes
    pub memory: u64,
}

/// Every outcome, in the order of its counters.
const OUTCOMES: [Outcome; 5] =
    [Outcome::Passed, Outcome::Warning, Outcome::Failed, Outcome::FailedNow, Outcome::Inconclusive];

/// Counts without a lock.
pub struct Meter {
    calls: AtomicU64,
    faults: [AtomicU64; PluginError::CODES.len()],
    times: [AtomicU64; BUCKETS],
    verdicts: [AtomicU64; OUTCOMES.len()],
    cpu_ms: AtomicU64,
    memory: AtomicU64,
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.read().fmt(f)
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            calls: AtomicU64::new(0),
            faults: std::array::from_fn(|_| AtomicU64::new(0)),
            times: std::array::from_fn(|_| AtomicU64::new(0)),
            verdicts: std::array::from_fn(|_| AtomicU64::new(0)),
            cpu_ms: AtomicU64::new(0),
            memory: AtomicU64::new(0),
        }
    }
}

impl Meter {
    /// A call ended with an answer.
    pub fn answered(&self, took: Duration) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.times[bucket(took)].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self, error: &PluginError, took: Duration) {
        self.answered(took);
        if let Some(at) = PluginError::CODES.iter().position(|code| *code == error.code()) {
            self.faults[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A health check gave a verdict.
    pub(crate) fn judged(&self, outcome: Outcome) {
        if let Some(at) = OUTCOMES.iter().position(|one| *one == outcome) {
            self.verdicts[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A call used so much, milliseconds and bytes.
    pub(crate) fn used(&self, cpu_ms: u64, memory: u64) {
        if cpu_ms > 0 {
            self.cpu_ms.fetch_add(cpu_ms, Ordering::Relaxed);
        }
        if memory > self.memory.load(Ordering::Relaxed) {
            self.memory.fetch_max(memory, Ordering::Relaxed);
        }
    }

    /// The counts so far.
    pub fn read(&self) -> Counters {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let verdicts = OUTCOMES.iter().zip(&self.verdicts).map(|(one, count)| (one.word(), load(count)));
        let faults = PluginError::CODES.iter().zip(&self.faults).map(|(code, count)| (*code, load(count)));
        let times: Vec<u64> = self.times.iter().map(load).collect();
        Counters {
            calls: load(&self.calls),
            faults: faults.filter(|(_, count)| *count > 0).collect(),
            p50_us: quantile(&times, 50),
            p99_us: quantile(&times, 99),
            verdicts: verdicts.filter(|(_, count)| *count > 0).collect(),
            cpu_ms: load(&self.cpu_ms),
            memory: load(&self.memory),
        }
    }
}

fn bucket(took: Duration) -> usize {
    let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
    let power = us.ilog2();
    let quarter = if power >= 2 { (us >> (power - 2)) & 3 } else { (us << (2 - power)) & 3 };
    (power as usize * 4 + quarter as usize).min(BUCKETS - 1)
}

/// The upper edge of a bucket, in microseconds.
fn upper_edge(bucket: usize) -> u64 {
    let (power, quarter) = (bucket as u32 / 4, bucket as u64 % 4);
    let edge = (5 + quarter) << power;
    (edge / 4).saturating_sub(1).max(1 << power)
}

fn quantile(times: &[u64], percent: u64) -> u64 {
    let total: u64 = times.iter().sum();
    let wanted = (total * percent).div_ceil(100);
    let mut seen = 0;
    for (bucket, count) in times.iter().enumerate() {
        seen += count;
        if total > 0 && seen >= wanted {
            return upper_edge(bucket);
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_quarter_above_the_truth() {
        let meter = Meter::default();
        (1..=10_000).for_each(|us| meter.answered(Duration::from_micros(us)));
        let counters = meter.read();
        assert!((5000..=6250).contains(&counters.p50_us), "{counters:?}");
        assert!((9900..=12_375).contains(&counters.p99_us), "{counters:?}");
        assert_eq!(counters.calls, 10_000);
    }

    #[test]
    fn the_longest_and_the_shortest_times_have_a_bucket() {
        let meter = Meter::default();
        meter.answered(Duration::ZERO);
        meter.answered(Duration::from_secs(1 << 40));
        assert_eq!(meter.read().calls, 2);
    }

    #[test]
    fn ends_are_counted_by_their_word() {
        let meter = Meter::default();
        let trap = PluginError::Trap { plugin: "x".into(), text: String::new() };
        meter.failed(&trap, Duration::from_micros(3));
        meter.failed(&trap, Duration::from_micros(3));
        assert_eq!(meter.read().faults, BTreeMap::from([("plugin.trap", 2)]));
    }

    #[test]
    fn verdicts_cpu_and_memory_are_kept() {
        let meter = Meter::default();
        meter.judged(Outcome::Warning);
        meter.used(3, 100);
        meter.used(0, 50);
        let counters = meter.read();
        assert_eq!(counters.verdicts, BTreeMap::from([("warning", 1)]));
        assert_eq!((counters.cpu_ms, counters.memory), (3, 100));
    }

    #[test]
    fn every_bucket_ends_below_the_next() {
        assert!((8..BUCKETS - 8).all(|b| upper_edge(b) < upper_edge(b + 1)));
    }
}
