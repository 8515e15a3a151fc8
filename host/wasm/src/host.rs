//! The plugin host: the guests' runtime, the registry of plugins, loading and listing.

use crate::{
    Bounds, Counters, HealthCheck, HostError, HostRule, LoadError, Manifest, MemberLookup, PluginError,
    PushFilter,
    cache::Cache,
    engine::{self, Ticker},
    inspect::Inspection,
    loader,
    network::Operator,
    plugin::{Core, IdleRoom, Plugin},
    version::PluginVersion,
    world::{CheckWorld, FilterWorld, LookupWorld, World},
};
use arc_swap::ArcSwap;
use bytes::Bytes;
use muster_core::plugin::{Descriptor, PluginKind};
use rustix::process::setpriority_process;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock, Weak},
    thread,
    time::Duration,
};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::{Mutex, Semaphore, oneshot},
    time::Instant,
};

/// How nice the compiler is to everybody else while it prepares a version that takes another one's place: Linux
/// counts a thread's own niceness from -20 to 19, 0 for others.
const BACKGROUND: i32 = 10;
/// How often idle instances are looked through.
const SWEEP: Duration = Duration::from_secs(10);

/// Bounds of the whole host.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// folder for compiled code, made with mode 0700; none compiles at every start
    pub cache_dir: Option<PathBuf>,
    /// instances that may exist at once, 16 to [`crate::MAX_POOL`]
    pub pool: u32,
    /// threads that run guests
    pub guest_threads: usize,
    /// calls over all plugins at once; the rest of the pool is for idle instances
    pub max_in_flight: usize,
    /// places beyond their targets that health checks may reach, by name, if their manifests ask for them, too
    pub hosts: BTreeMap<String, Vec<HostRule>>,
    /// what plugins may use at most, by name
    pub bounds: BTreeMap<String, Bounds>,
    /// whom names of such places are asked of; none means the servers of `/etc/resolv.conf`
    pub name_server: Option<SocketAddr>,
}

impl Default for HostOptions {
    fn default() -> Self {
        let guest_threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            cache_dir: None,
            pool: 1024,
            guest_threads,
            max_in_flight: 921,
            hosts: BTreeMap::new(),
            bounds: BTreeMap::new(),
            name_server: None,
        }
    }
}

/// Loads plugins and hands out handles to call them. Cloning is cheap; the last clone or handle that is dropped ends
/// the guests' threads.
#[derive(Clone)]
pub struct PluginHost(Arc<HostInner>);

/// What a handle keeps alive.
pub(crate) struct HostInner {
    core: Arc<Core>,
    cache: Option<Cache>,
    /// one at a time: compiling takes a core
    compiling: Mutex<()>,
    pub(crate) checks: Registry<CheckWorld>,
    pub(crate) lookups: Registry<LookupWorld>,
    pub(crate) filters: Registry<FilterWorld>,
    max_in_flight: usize,
    handle: Handle,
    runtime: Option<Runtime>,
}

/// A plugin's place: its versions come and go.
pub(crate) struct Slot<W: World>(ArcSwap<Plugin<W>>);

impl<W: World> Slot<W> {
    /// The newest version.
    pub(crate) fn current(&self) -> Arc<Plugin<W>> {
        self.0.load_full()
    }
}

/// Which version a handle calls.
pub(crate) enum Of<W: World> {
    /// the newest
    Newest(Arc<Slot<W>>),
    /// this one
    This(Arc<Plugin<W>>),
}

impl<W: World> Of<W> {
    pub(crate) fn current(&self) -> Arc<Plugin<W>> {
        match self {
            Self::Newest(slot) => slot.current(),
            Self::This(plugin) => Arc::clone(plugin),
        }
    }
}

impl<W: World> Clone for Of<W> {
    fn clone(&self) -> Self {
        match self {
            Self::Newest(slot) => Self::Newest(Arc::clone(slot)),
            Self::This(plugin) => Self::This(Arc::clone(plugin)),
        }
    }
}

pub(crate) type Registry<W> = RwLock<BTreeMap<String, Arc<Slot<W>>>>;

impl Drop for HostInner {
    fn drop(&mut self) {
        // a plain drop would wait for the threads, which must not be done in async code
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Whether a plugin is being called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PluginState {
    /// it is
    Ready,
    /// called off after repeated faults
    Quarantined {
        /// when a trial call will be let through
        retry_in: Duration,
    },
    /// called off by an operator
    CalledOff,
}

/// What is known of a loaded plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginInfo {
    /// the word that selects it
    pub name: String,
    /// which of the three kinds
    pub kind: PluginKind,
    /// its own version
    pub version: String,
    /// its outside: world, imports, exports, size, digest
    pub inspection: Inspection,
    /// what it can be told
    pub descriptor: Arc<Descriptor>,
    /// whether it is being called
    pub state: PluginState,
    /// what it did since it was loaded
    pub counters: Counters,
}

impl PluginHost {
    /// Starts the engine and the guests' threads.
    ///
    /// # Errors
    /// [`HostError`]: bounds that make no sense, or a machine without room for them. A cache folder that cannot be
    /// trusted is a warning in the log: the host then compiles at every start.
    pub fn new(options: HostOptions) -> Result<Self, HostError> {
        if options.max_in_flight == 0 || options.max_in_flight > options.pool as usize {
            return Err(HostError::Options("max_in_flight must be from 1 to the size of the pool".into()));
        }
        let engine = engine::engine(options.pool)?;
        let runtime = runtime(options.guest_threads)?;
        let handle = runtime.handle().clone();
        let core = Core {
            ticker: Ticker::start(&engine)?,
            engine,
            in_flight: Semaphore::new(options.max_in_flight),
            idle: IdleRoom::new(options.pool as usize - options.max_in_flight),
            began: Instant::now(),
            granted: Operator::new(options.hosts),
            bounds: options.bounds,
            name_server: options.name_server,
        };
        let inner = Arc::new(HostInner {
            core: Arc::new(core),
            cache: options.cache_dir.as_deref().and_then(open_cache),
            compiling: Mutex::new(()),
            checks: Registry::default(),
            lookups: Registry::default(),
            filters: Registry::default(),
            max_in_flight: options.max_in_flight,
            handle,
            runtime: Some(runtime),
        });
        inner.handle.spawn(sweep(Arc::downgrade(&inner)));
        Ok(Self(inner))
    }

    /// Takes in a component under its manifest's name. A former version of that name and kind is replaced: calls in
    /// flight finish on it, its idle instances are dropped.
    ///
    /// # Errors
    /// [`LoadError`]; the former version then stays.
    pub async fn load(&self, wasm: Bytes, manifest: Manifest) -> Result<PluginInfo, LoadError> {
        let version = self.prepare(wasm, manifest).await?;
        let info = version.info();
        drop(self.activate(&version));
        tracing::info!(
            plugin = info.name,
            version = info.version,
            sha256 = info.inspection.sha256,
            "plugin loaded"
        );
        Ok(info)
    }

    /// Compiles a component and has it describe itself. It can be called through what this answers; nobody else
    /// calls it before [`PluginHost::activate`].
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn prepare(&self, wasm: Bytes, manifest: Manifest) -> Result<PluginVersion, LoadError> {
        let inner = Arc::clone(&self.0);
        let loading = async move {
            Ok::<_, LoadError>(match manifest.plugin.kind {
                PluginKind::HealthCheck => {
                    PluginVersion::check(inner.load(&inner.checks, wasm, manifest).await?, inner)
                }
                PluginKind::MemberLookup => {
                    PluginVersion::lookup(inner.load(&inner.lookups, wasm, manifest).await?, inner)
                }
                PluginKind::PushFilter => {
                    PluginVersion::filter(inner.load(&inner.filters, wasm, manifest).await?, inner)
                }
            })
        };
        self.0.handle.spawn(loading).await.map_err(|_| LoadError::Stopped)?
    }

    /// Makes `version` the one that is called by its name. Answers the former one: calls in flight finish on it, and
    /// it can be made the active version again.
    pub fn activate(&self, version: &PluginVersion) -> Option<PluginVersion> {
        version.register(&self.0)
    }

    /// The version that is called by this name.
    pub fn active(&self, kind: PluginKind, name: &str) -> Option<PluginVersion> {
        let inner = Arc::clone(&self.0);
        Some(match kind {
            PluginKind::HealthCheck => PluginVersion::check(slot(&self.0.checks, name)?.current(), inner),
            PluginKind::MemberLookup => PluginVersion::lookup(slot(&self.0.lookups, name)?.current(), inner),
            PluginKind::PushFilter => PluginVersion::filter(slot(&self.0.filters, name)?.current(), inner),
        })
    }

    /// From the next dial on, the health check of this name may reach these places beyond its targets, as far as its
    /// manifest asks for them, and no others. All its versions, those that come later, too.
    pub fn grant_hosts(&self, name: &str, hosts: Vec<HostRule>) {
        self.0.core.granted.grant(name, hosts);
    }

    /// Whether calls that nobody waits for may begin: at least a quarter of the places is free.
    pub fn has_room(&self) -> bool {
        self.0.core.in_flight.available_permits() > self.0.max_in_flight / 4
    }

    /// Every plugin, by kind and name.
    pub fn list(&self) -> Vec<PluginInfo> {
        let inner = &self.0;
        let mut all = infos(&inner.checks);
        all.extend(infos(&inner.lookups));
        all.extend(infos(&inner.filters));
        all
    }

    /// The health check of that name.
    pub fn health_check(&self, name: &str) -> Option<HealthCheck> {
        Some(HealthCheck::new(Arc::clone(&self.0), Of::Newest(slot(&self.0.checks, name)?)))
    }

    /// The member lookup of that name.
    pub fn member_lookup(&self, name: &str) -> Option<MemberLookup> {
        Some(MemberLookup::new(Arc::clone(&self.0), slot(&self.0.lookups, name)?))
    }

    /// The push filter of that name.
    pub fn push_filter(&self, name: &str) -> Option<PushFilter> {
        Some(PushFilter::new(Arc::clone(&self.0), slot(&self.0.filters, name)?))
    }

    /// The names of one kind, in order.
    pub fn names(&self, kind: PluginKind) -> Vec<String> {
        match kind {
            PluginKind::HealthCheck => names(&self.0.checks),
            PluginKind::MemberLookup => names(&self.0.lookups),
            PluginKind::PushFilter => names(&self.0.filters),
        }
    }

    pub(crate) fn inner(&self) -> &HostInner {
        &self.0
    }

    /// The guests' runtime, for callers that schedule calls on it themselves (see `check_here`).
    #[doc(hidden)]
    pub fn guest_runtime(&self) -> Handle {
        self.0.handle.clone()
    }
}

impl HostInner {
    /// Runs `task` on the guests' threads.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        plugin: &str,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, PluginError> {
        self.handle.spawn(task).await.map_err(|error| {
            let plugin = plugin.to_owned();
            if error.is_panic() {
                PluginError::Trap { plugin, text: "the host's own function failed".into() }
            } else {
                PluginError::Stopped { plugin }
            }
        })
    }

    async fn load<W: World>(
        self: &Arc<Self>,
        registry: &Registry<W>,
        wasm: Bytes,
        manifest: Manifest,
    ) -> Result<Arc<Plugin<W>>, LoadError> {
        let turn = self.compiling.lock().await;
        let inner = Arc::clone(self);
        // while another version does the work there is no hurry
        let in_the_background = slot(registry, &manifest.plugin.name).is_some();
        let preparing = move || {
            if in_the_background {
                // where that is not allowed it only takes more of the machine
                let _ = setpriority_process(None, BACKGROUND);
            }
            let found = loader::examine(&wasm, &manifest)?;
            loader::prepare::<W>(&inner.core, inner.cache.as_ref(), &wasm, manifest, found)
        };
        let prepared = on_a_thread(preparing).await.ok_or(LoadError::Stopped)??;
        drop(turn);
        Ok(Arc::new(loader::describe(prepared).await?))
    }
}

/// Runs what takes long on a thread of its own, whose priority nobody else inherits. None: there is no room for one
/// more, or it panicked.
async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, end) = oneshot::channel();
    let work = move || drop(done.send(work()));
    thread::Builder::new().name("plugin-compiler".into()).spawn(work).ok()?;
    end.await.ok()
}

fn runtime(threads: usize) -> Result<Runtime, HostError> {
    Builder::new_multi_thread()
        .worker_threads(threads.max(1))
        .max_blocking_threads(8)
        // a guest may run for a whole epoch between two looks at timers and I/O; look more often than usual
        .event_interval(8)
        .thread_name("plugin-guests")
        .enable_all()
        .build()
        .map_err(HostError::Runtime)
}

fn open_cache(folder: &std::path::Path) -> Option<Cache> {
    Cache::open(folder)
        .inspect_err(|error| {
            tracing::warn!(folder = %folder.display(), %error, "compiled plugins are not kept");
        })
        .ok()
}

async fn sweep(host: Weak<HostInner>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(host) = host.upgrade() else { return };
        let now = Instant::now();
        each(&host.checks, |plugin| plugin.sweep(now));
        each(&host.lookups, |plugin| plugin.sweep(now));
        each(&host.filters, |plugin| plugin.sweep(now));
    }
}

fn each<W: World>(registry: &Registry<W>, mut what: impl FnMut(&Arc<Plugin<W>>)) {
    let slots: Vec<_> =
        registry.read().unwrap_or_else(PoisonError::into_inner).values().map(|slot| slot.current()).collect();
    slots.iter().for_each(&mut what);
}

/// Answers the version that was there before, if it was another one.
pub(crate) fn register<W: World>(registry: &Registry<W>, plugin: Arc<Plugin<W>>) -> Option<Arc<Plugin<W>>> {
    let mut slots = registry.write().unwrap_or_else(PoisonError::into_inner);
    plugin.revive();
    match slots.get(&*plugin.name) {
        Some(slot) => {
            let former = slot.0.swap(Arc::clone(&plugin));
            let other = !Arc::ptr_eq(&former, &plugin);
            other.then(|| {
                former.retire();
                former
            })
        }
        None => {
            let name = plugin.name.to_string();
            slots.insert(name, Arc::new(Slot(ArcSwap::new(plugin))));
            None
        }
    }
}

pub(crate) fn slot<W: World>(registry: &Registry<W>, name: &str) -> Option<Arc<Slot<W>>> {
    registry.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
}

fn names<W: World>(registry: &Registry<W>) -> Vec<String> {
    registry.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
}

fn infos<W: World>(registry: &Registry<W>) -> Vec<PluginInfo> {
    let mut all = Vec::new();
    each(registry, |plugin| all.push(info(plugin)));
    all
}

pub(crate) fn info<W: World>(plugin: &Plugin<W>) -> PluginInfo {
    let state = match plugin.quarantined() {
        _ if plugin.is_called_off() => PluginState::CalledOff,
        None => PluginState::Ready,
        Some(retry_in) => PluginState::Quarantined { retry_in },
    };
    PluginInfo {
        name: plugin.name.to_string(),
        kind: W::KIND,
        version: plugin.descriptor.version.clone(),
        inspection: plugin.inspection.clone(),
        descriptor: Arc::clone(&plugin.descriptor),
        state,
        counters: plugin.meter.read(),
    }
}
