//! Bounds on what one instance holds.

use wasmtime::ResourceLimiter;

/// Elements that one table may have.
const TABLE_ELEMENTS: usize = 20_000;
/// Core instances, tables and memories of one component; a Python guest has about 30 instances.
const PARTS: usize = 64;

/// Counts linear memory over all memories of an instance.
pub(crate) struct Memory {
    cap: u64,
    used: u64,
}

impl Memory {
    pub(crate) fn new(cap: u64) -> Self {
        Self { cap, used: 0 }
    }

    /// Bytes in use.
    pub(crate) const fn used(&self) -> u64 {
        self.used
    }

    /// Whether so much was used that the instance is better thrown away.
    pub(crate) fn is_swollen(&self) -> bool {
        self.used > self.cap / 2
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let grown = self.used + desired.saturating_sub(current) as u64;
        let allowed = grown <= self.cap;
        if allowed {
            self.used = grown;
        }
        Ok(allowed)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }

    fn instances(&self) -> usize {
        PARTS
    }

    fn tables(&self) -> usize {
        PARTS
    }

    fn memories(&self) -> usize {
        PARTS
    }
}
