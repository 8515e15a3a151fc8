//! How the lookup is doing, for metrics.

use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Failures in a row from which a source counts as unhealthy. Source: Nacos `maxHealthCheckFailCount` (12).
const UNHEALTHY_AFTER: u32 = 12;

/// How the lookup is doing. Written by its task, read by anybody.
#[derive(Debug)]
pub struct LookupProgress {
    kind: ArcSwap<String>,
    failures: AtomicU64,
    in_a_row: AtomicU32,
    switches: AtomicU64,
    from_kept: AtomicBool,
}

impl LookupProgress {
    pub(super) fn new(kind: &str) -> Self {
        Self {
            kind: ArcSwap::from_pointee(kind.to_owned()),
            failures: AtomicU64::new(0),
            in_a_row: AtomicU32::new(0),
            switches: AtomicU64::new(0),
            from_kept: AtomicBool::new(false),
        }
    }

    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let before = self.in_a_row.fetch_add(1, Ordering::Relaxed);
        if before + 1 == UNHEALTHY_AFTER {
            let lookup = self.kind.load();
            tracing::error!(%lookup, failures = UNHEALTHY_AFTER, "the source of the members is away; the last list stays");
        }
    }

    pub(super) fn answered(&self) {
        self.in_a_row.store(0, Ordering::Relaxed);
        self.from_kept.store(false, Ordering::Relaxed);
    }

    pub(super) fn started_from_kept(&self) {
        self.from_kept.store(true, Ordering::Relaxed);
    }

    pub(super) fn switched(&self, kind: &str) {
        self.kind.store(Arc::new(kind.to_owned()));
        self.switches.fetch_add(1, Ordering::Relaxed);
        self.answered();
    }

    /// `lookup.type` of the source in use.
    pub fn kind(&self) -> Arc<String> {
        self.kind.load_full()
    }

    /// Look-ups that failed since the start.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Look-ups that failed since the last that did not.
    pub fn failures_in_a_row(&self) -> u32 {
        self.in_a_row.load(Ordering::Relaxed)
    }

    /// Whether the source answered one of the last twelve times.
    pub fn is_healthy(&self) -> bool {
        self.failures_in_a_row() < UNHEALTHY_AFTER
    }

    /// Whether the list in use is that of an earlier run, because nobody has answered in this one.
    pub fn is_from_kept_list(&self) -> bool {
        self.from_kept.load(Ordering::Relaxed)
    }

    /// How often an operator gave the node another source.
    pub fn switches(&self) -> u64 {
        self.switches.load(Ordering::Relaxed)
    }
}
