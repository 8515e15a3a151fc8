//! One loaded plugin: its code, its bounds, its idle instances, its quarantine and its counters.

use crate::{
    PluginError,
    bounds::{Bounds, Narrowed},
    breaker::{Breaker, End},
    engine::Ticker,
    manifest::{InstanceMode, Limits, Manifest},
    meter::Meter,
    network::{Beyond, Operator},
    sealed::Sealed,
    state::{CallState, GuestState, Reaching},
    world::World,
};
use muster_core::{
    Millis,
    plugin::{Descriptor, Settings},
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Semaphore, time::Instant};
use wasmtime::{Engine, Store, UpdateDeadline};

/// Bytes that one host call may take over from the guest.
const HOSTCALL_BYTES: usize = 1 << 20;
/// Idle time after which an instance is thrown away.
const IDLE: Duration = Duration::from_secs(60);

/// What all plugins of a host share.
pub(crate) struct Core {
    pub(crate) engine: Engine,
    pub(crate) ticker: Ticker,
    /// calls over all plugins; fewer than the pool has slots
    pub(crate) in_flight: Semaphore,
    pub(crate) idle: IdleRoom,
    pub(crate) began: Instant,
    /// places beyond their targets that the operator allows health checks, by name
    pub(crate) granted: Operator,
    /// what the operator lets plugins use at most, by name
    pub(crate) bounds: BTreeMap<String, Bounds>,
    /// whom names of such places are asked of; none means the servers of `/etc/resolv.conf`
    pub(crate) name_server: Option<SocketAddr>,
}

/// Places for idle instances over all plugins: the slots of the pool that calls in flight cannot need. So no plugin's
/// idle instances can stand in the way of another one's calls.
pub(crate) struct IdleRoom(AtomicUsize);

impl IdleRoom {
    pub(crate) fn new(places: usize) -> Self {
        Self(AtomicUsize::new(places))
    }

    fn take(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    fn give(&self, places: usize) {
        self.0.fetch_add(places, Ordering::Relaxed);
    }
}

/// One version of one plugin.
pub(crate) struct Plugin<W: World> {
    pub(crate) name: Arc<str>,
    /// with the limits that count
    pub(crate) manifest: Manifest,
    /// the limits that it asks for
    asked: Limits,
    narrowed: Narrowed,
    pub(crate) descriptor: Arc<Descriptor>,
    pub(crate) inspection: crate::Inspection,
    pub(crate) core: Arc<Core>,
    pub(crate) meter: Meter,
    pub(crate) permits: Semaphore,
    /// what it may reach beyond its targets
    pub(crate) beyond: Arc<Beyond>,
    /// secrets that it is not told
    pub(crate) sealed: Sealed,
    pre: W::Pre,
    breaker: Mutex<Breaker>,
    idle: Mutex<Vec<Guest<W>>>,
    /// a newer version took its place: nothing is kept any more
    retired: AtomicBool,
    /// an operator wants it not to be called
    called_off: AtomicBool,
    has_secrets: bool,
}

/// One instance.
pub(crate) struct Guest<W: World> {
    pub(crate) store: Store<GuestState>,
    pub(crate) exports: W::Exports,
    calls: u32,
    since: Instant,
    realm: Option<Box<str>>,
}

impl<W: World> Plugin<W> {
    /// A plugin that has not been described yet.
    pub(crate) fn new(
        core: Arc<Core>,
        mut manifest: Manifest,
        inspection: crate::Inspection,
        pre: W::Pre,
    ) -> Self {
        let asked = manifest.limits.clone();
        let bounds = core.bounds.get(&manifest.plugin.name).copied().unwrap_or_default();
        let narrowed = bounds.narrow(&mut manifest);
        let permits = Semaphore::new(manifest.limits.in_flight as usize);
        let nothing = Descriptor {
            name: manifest.plugin.name.clone(),
            version: String::new(),
            summary: String::new(),
            settings: Vec::new(),
        };
        let granted = core.granted.of(&manifest.plugin.name);
        let beyond = Beyond { requested: manifest.grants.hosts.clone(), granted };
        Self {
            name: manifest.plugin.name.as_str().into(),
            manifest,
            asked,
            narrowed,
            descriptor: Arc::new(nothing),
            inspection,
            core,
            meter: Meter::default(),
            permits,
            beyond: Arc::new(beyond),
            sealed: Sealed::default(),
            pre,
            breaker: Mutex::default(),
            idle: Mutex::default(),
            retired: AtomicBool::new(false),
            called_off: AtomicBool::new(false),
            has_secrets: false,
        }
    }

    /// The manifest as it was signed, with the limits that it asks for.
    pub(crate) fn signed_manifest(&self) -> Manifest {
        Manifest { limits: self.asked.clone(), ..self.manifest.clone() }
    }

    /// The same plugin, now that it is known what it says about itself.
    pub(crate) fn described(self, descriptor: Descriptor, sealed: Sealed) -> Self {
        // a sealed secret never comes into an instance
        let has_secrets = !sealed.has_all(&descriptor);
        Self { descriptor: Arc::new(descriptor), sealed, has_secrets, meter: Meter::default(), ..self }
    }

    /// A call's time was up while something other than the target of a check had not answered.
    pub(crate) fn endpoint_timed_out(&self, after: Duration) -> PluginError {
        PluginError::EndpointTimedOut { plugin: self.name.to_string(), after }
    }

    /// Who may share instances with `namespace`: everybody, as long as no secrets are involved.
    pub(crate) fn realm(&self, namespace: &str) -> Option<Box<str>> {
        self.has_secrets.then(|| namespace.into())
    }

    /// The settings as the guest gets them: with the defaults of what was left out, and without what is sealed.
    pub(crate) fn lower<'a>(
        descriptor: &'a Descriptor,
        sealed: &'a Sealed,
        settings: &'a Settings,
    ) -> Vec<(&'a str, &'a str)> {
        let given =
            settings.iter().map(|(key, value)| (key.as_str(), sealed.told(key).unwrap_or(value.as_str())));
        let missing = descriptor.settings.iter().filter_map(|spec| {
            let default = spec.default.as_deref()?;
            (!settings.contains_key(&spec.key)).then_some((spec.key.as_str(), default))
        });
        given.chain(missing).collect()
    }

    /// A new instance with `call` already begun: a guest's start is bounded like any call.
    pub(crate) async fn instantiate(
        &self,
        call: CallState,
        realm: Option<Box<str>>,
    ) -> wasmtime::Result<Guest<W>> {
        let state = GuestState::new(
            Arc::clone(&self.name),
            &self.manifest,
            Reaching {
                beyond: Arc::clone(&self.beyond),
                name_server: self.core.name_server,
                narrowed: self.narrowed,
            },
            call.tape.as_ref(),
        );
        let mut store = Store::new(&self.core.engine, state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(HOSTCALL_BYTES);
        store.epoch_deadline_callback(|mut store| tick(&mut store.data_mut().call));
        store.set_epoch_deadline(1);
        store.data_mut().begin(call);
        let exports = W::instantiate(&self.pre, &mut store).await?;
        Ok(Guest { store, exports, calls: 0, since: self.core.began, realm })
    }

    /// The instance that was used last, if one is idle.
    pub(crate) fn take_idle(&self, realm: Option<&str>) -> Option<Guest<W>> {
        let mut idle = self.idle();
        let at = idle.iter().rposition(|guest| guest.realm.as_deref() == realm)?;
        self.core.idle.give(1);
        // the order is kept: what was used last is warm
        Some(idle.remove(at))
    }

    /// Keeps an instance whose call went well; throws it away when it has done enough.
    pub(crate) fn give_back(&self, mut guest: Guest<W>, now: Instant) {
        let bounds = &self.manifest.instances;
        guest.calls += 1;
        guest.since = now;
        // sockets of its own could still be connected to the last target
        let single = bounds.mode == InstanceMode::Fresh || self.manifest.grants.wasi_sockets;
        let state = guest.store.data();
        let spent = guest.calls >= bounds.calls || state.memory.is_swollen() || state.call.open > 0;
        if single || spent || self.retired.load(Ordering::Acquire) {
            return;
        }
        let mut idle = self.idle();
        let kept = idle.len() < bounds.idle && self.core.idle.take();
        if kept {
            idle.push(guest);
        }
    }

    /// Throws away what has been idle for long.
    pub(crate) fn sweep(&self, now: Instant) {
        let mut idle = self.idle();
        let old: Vec<_> =
            idle.extract_if(.., |guest| now.saturating_duration_since(guest.since) >= IDLE).collect();
        drop(idle);
        self.core.idle.give(old.len());
        // outside the lock: taking an instance apart takes a while
        drop(old);
    }

    /// A newer version took its place: calls in flight finish, nothing is kept.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        let old = std::mem::take(&mut *self.idle());
        self.core.idle.give(old.len());
        drop(old);
    }

    /// It is the version in use again.
    pub(crate) fn revive(&self) {
        self.retired.store(false, Ordering::Release);
    }

    /// Lets nobody call it, or everybody again.
    pub(crate) fn call_off(&self, off: bool) {
        self.called_off.store(off, Ordering::Release);
    }

    /// Whether an operator called it off.
    pub(crate) fn is_called_off(&self) -> bool {
        self.called_off.load(Ordering::Acquire)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Guest<W>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a call begin, unless the plugin is in quarantine.
    pub(crate) fn admit(&self, now: Instant) -> Result<Admitted<'_>, PluginError> {
        if self.is_called_off() {
            return Err(PluginError::CalledOff { plugin: self.name.to_string() });
        }
        let admitted = self.breaker().admit(since(self.core.began, now));
        admitted
            .map(|()| Admitted { breaker: &self.breaker, began: self.core.began, name: &self.name })
            .map_err(|left| PluginError::Quarantined {
                plugin: self.name.to_string(),
                retry_in: Duration::from_millis(left.0),
            })
    }

    /// How long the quarantine lasts; none while the plugin is called.
    pub(crate) fn quarantined(&self) -> Option<Duration> {
        self.breaker()
            .quarantined(since(self.core.began, Instant::now()))
            .map(|left| Duration::from_millis(left.0))
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn since(began: Instant, now: Instant) -> Millis {
    Millis(u64::try_from(now.saturating_duration_since(began).as_millis()).unwrap_or(u64::MAX))
}

/// A call that the breaker let through. Dropped without an end (the caller went away), it says nothing.
pub(crate) struct Admitted<'a> {
    breaker: &'a Mutex<Breaker>,
    began: Instant,
    name: &'a str,
}

impl Admitted<'_> {
    /// Says how and when the call ended.
    pub(crate) fn ended(self, end: End, now: Instant) {
        self.tell(end, now);
        std::mem::forget(self);
    }

    fn tell(&self, end: End, now: Instant) {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let now = since(self.began, now);
        if breaker.ended(now, end) {
            let for_ms = breaker.quarantined(now).map(|left| left.0);
            tracing::warn!(plugin = self.name, for_ms, "plugin is in quarantine after repeated faults");
        }
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.tell(End::Neither, Instant::now());
    }
}

/// The guest used up its CPU.
#[derive(Debug, thiserror::Error)]
#[error("out of CPU")]
pub(crate) struct OutOfCpu;

/// An epoch ended while the guest ran (or while it waited: that one is not counted). Yielding through tokio lets its
/// timers and I/O be looked at; wasmtime's own yield does not (trap 1).
fn tick(call: &mut CallState) -> wasmtime::Result<UpdateDeadline> {
    if std::mem::take(&mut call.credit) {
        return Ok(UpdateDeadline::Continue(1));
    }
    call.ticks = call.ticks.checked_sub(1).ok_or(OutOfCpu)?;
    Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
}
