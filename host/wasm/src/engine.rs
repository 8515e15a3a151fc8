//! The wasmtime engine, its instance pool and the thread that counts its epochs.
//!
//! Every setting was measured; the figures and the reasons are in `host/wasm/README.md`.

use crate::{HostError, manifest::MAX_MEMORY};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use wasmtime::{Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig};

/// Length of an epoch: how often a running guest is interrupted.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// Pool slots beyond which `vm.max_map_count` (65,530 on Linux) is at risk: a slot costs 2 mappings and a live
/// instance 4 more.
pub const MAX_POOL: u32 = 4096;

/// Stack that a guest may use, and the stack of its fiber: the difference is for host functions, which run on it.
const WASM_STACK: usize = 512 << 10;
const FIBER_STACK: usize = 1 << 20;

/// Ticks without any call after which the epoch thread goes to sleep.
const IDLE_TICKS: u32 = 100;

/// Builds the engine with room for `slots` instances at once.
pub(crate) fn engine(slots: u32) -> Result<Engine, HostError> {
    if !(16..=MAX_POOL).contains(&slots) {
        return Err(HostError::Options(format!("the instance pool must have 16 to {MAX_POOL} slots")));
    }
    Engine::new(&config(slots)).map_err(|error| HostError::Engine(format!("{error:#}")))
}

fn config(slots: u32) -> Config {
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(slots)))
        .epoch_interruption(true)
        .memory_init_cow(true)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(FIBER_STACK)
        // it would use every core while clients are being served
        .parallel_compilation(false);
    config
}

fn pool(slots: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(slots)
        .total_stacks(slots)
        .total_memories(slots)
        // a Python guest needs about 30 core instances
        .total_core_instances(8 * slots)
        .total_tables(4 * slots)
        // ceilings; the limiter of a store sets each plugin's own bounds
        .max_memory_size(usize::try_from(MAX_MEMORY).unwrap_or(usize::MAX))
        .table_elements(50_000)
        .max_memories_per_component(4)
        .max_unused_warm_slots(64)
        .linear_memory_keep_resident(256 << 10)
        .table_keep_resident(64 << 10)
        // resets only dirty pages: 7 us instead of 25 us for a fresh instance (trap 3)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// Advances the engine's epoch while guests run; sleeps while none does; ends with its owner.
pub(crate) struct Ticker {
    shared: Arc<Ticking>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Ticking {
    calls: AtomicU32,
    parked: AtomicBool,
    stop: AtomicBool,
}

impl Ticker {
    /// Starts the thread.
    pub(crate) fn start(engine: &Engine) -> Result<Self, HostError> {
        let shared = Arc::new(Ticking::default());
        let (ticking, engine) = (Arc::clone(&shared), engine.weak());
        let thread = thread::Builder::new()
            .name("plugin-epochs".into())
            .spawn(move || ticking.run(&engine))
            .map_err(HostError::Runtime)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Keeps the epochs going until the guard is dropped.
    pub(crate) fn running(&self) -> Running<'_> {
        self.shared.calls.fetch_add(1, Ordering::SeqCst);
        if self.shared.parked.load(Ordering::SeqCst) {
            self.wake();
        }
        Running(&self.shared)
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.wake();
        // it ends within a tick; waiting for it here could block an async thread
        drop(self.thread.take());
    }
}

/// A call is running.
pub(crate) struct Running<'a>(&'a Ticking);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Ticking {
    fn run(&self, engine: &EngineWeak) {
        let mut idle = 0;
        while !self.stop.load(Ordering::SeqCst) {
            #[allow(
                clippy::disallowed_methods,
                reason = "the epoch thread is a clock, it waits for nothing else"
            )]
            thread::sleep(TICK);
            let Some(engine) = engine.upgrade() else { return };
            engine.increment_epoch();
            drop(engine);
            idle = if self.calls.load(Ordering::SeqCst) == 0 { idle + 1 } else { 0 };
            if idle >= IDLE_TICKS {
                self.park();
                idle = 0;
            }
        }
    }

    /// Sleeps until a call or the end wakes it. Both orders of "call begins" and "thread parks" end awake: one of
    /// the two sees what the other wrote.
    fn park(&self) {
        self.parked.store(true, Ordering::SeqCst);
        while self.calls.load(Ordering::SeqCst) == 0 && !self.stop.load(Ordering::SeqCst) {
            thread::park();
        }
        self.parked.store(false, Ordering::SeqCst);
    }
}
