//! One call, from the permit to the verdict on how it ended.

use crate::{
    HostCall, PluginError,
    bindings::since_v0_1_1::types,
    breaker::End,
    error::FaultKind,
    plugin::{Guest, OutOfCpu, Plugin},
    sealed::Unsealed,
    state::{CallState, GuestState, Reach, Refusal, Scene},
    text,
    trace::{Cost, HeldUp, Tape},
    world::World,
};
use std::{future::poll_fn, time::Duration};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout_at},
};
use wasmtime::{PoolConcurrencyLimitError, Store};

/// An exported function with its arguments.
pub(crate) trait Export<W: World>: Sync {
    type Answer: Send;
    fn call(
        &self,
        store: &mut Store<GuestState>,
        exports: &W::Exports,
    ) -> impl Future<Output = wasmtime::Result<Result<Self::Answer, Trouble>>> + Send;
}

/// A guest that returned, but not with an answer.
pub(crate) enum Trouble {
    /// it says so itself
    Fault(types::Fault),
    /// it answered more than fits
    TooLarge(String),
    /// it answered what cannot be right
    Wrong(String),
}

impl From<types::Fault> for Trouble {
    fn from(fault: types::Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What a call may reach and how long it may take.
pub(crate) struct Request {
    pub(crate) realm: Option<Box<str>>,
    pub(crate) reach: Reach,
    pub(crate) deadline: Duration,
    /// instead of the manifest's CPU bound
    pub(crate) cpu: Option<Duration>,
    /// secrets that the guest is not told, for its HTTP headers
    pub(crate) unsealed: Option<Box<Unsealed>>,
    pub(crate) trace: bool,
    /// the call is recorded or replayed: it gets an instance of its own, is not counted, and quarantine lets it pass
    pub(crate) tape: Option<Tape>,
    /// with a tape: in an instance that serves more such calls
    pub(crate) reuse: bool,
}

/// Why there is no answer.
pub(crate) enum Failure {
    /// the time was up while the guest waited for the outside: the outside was slow
    OutsideTooSlow,
    /// the same, and it was not the target of the check
    EndpointTooSlow,
    /// the plugin, or the host on its behalf
    Plugin(PluginError),
}

/// How a call ended.
pub(crate) struct Report<A> {
    pub(crate) result: Result<A, Failure>,
    pub(crate) took: Duration,
    pub(crate) trace: Vec<HostCall>,
    /// given back for what was noted in it
    pub(crate) reach: Reach,
    /// measured when there is a tape
    pub(crate) cost: Cost,
    /// what would have allowed the first thing that the guest asked for in vain
    pub(crate) refused: Option<String>,
}

impl<A> Report<A> {
    fn not_begun(error: PluginError) -> Self {
        let result = Err(Failure::Plugin(error));
        Self {
            result,
            took: Duration::ZERO,
            trace: Vec::new(),
            reach: Reach::Nothing,
            cost: Cost::default(),
            refused: None,
        }
    }
}

/// Makes the call and counts how it ended. Must run on the guests' runtime.
pub(crate) async fn call<W: World, E: Export<W>>(
    plugin: &Plugin<W>,
    request: Request,
    export: &E,
) -> Report<E::Answer> {
    let refused = |error: PluginError| {
        plugin.meter.failed(&error, Duration::ZERO);
        Report::not_begun(error)
    };
    let arrived = Instant::now();
    if request.tape.is_some() {
        return tried(plugin, request, arrived, export).await;
    }
    let admitted = match plugin.admit(arrived) {
        Ok(admitted) => admitted,
        Err(error) => return refused(error),
    };
    let (_permits, began) = match permits(plugin, arrived, request.deadline).await {
        Ok(permits) => permits,
        Err(error) => return refused(error),
    };
    let _running = plugin.core.ticker.running();
    let report = bounded(plugin, request, began, export).await;
    let ended = began + report.took;
    match &report.result {
        Ok(_) | Err(Failure::OutsideTooSlow) => {
            plugin.meter.answered(report.took);
            admitted.ended(End::Good, ended);
        }
        Err(Failure::EndpointTooSlow) => {
            plugin.meter.failed(&plugin.endpoint_timed_out(report.took), report.took);
            admitted.ended(End::Neither, ended);
        }
        Err(Failure::Plugin(error)) => {
            plugin.meter.failed(error, report.took);
            let end = if error.counts_against(W::KIND) { End::Fault } else { End::Neither };
            admitted.ended(end, ended);
            tracing::debug!(plugin = &*plugin.name, code = error.code(), %error, "plugin call failed");
        }
    }
    report
}

/// An instance that was not called yet.
pub(crate) async fn born<W: World>(plugin: &Plugin<W>) -> Result<Guest<W>, PluginError> {
    let Request { reach, deadline, .. } = Request::about();
    let _running = plugin.core.ticker.running();
    let call = CallState::new(&plugin.manifest, reach, Instant::now() + deadline, false, None);
    plugin.instantiate(call, None).await.map_err(|error| cannot_begin(plugin, error))
}

/// A call for the plugin's author: bounded like any other, but nothing follows from its end.
async fn tried<W: World, E: Export<W>>(
    plugin: &Plugin<W>,
    request: Request,
    arrived: Instant,
    export: &E,
) -> Report<E::Answer> {
    let (_permits, began) = match permits(plugin, arrived, request.deadline).await {
        Ok(permits) => permits,
        Err(error) => return Report::not_begun(error),
    };
    let _running = plugin.core.ticker.running();
    bounded(plugin, request, began, export).await
}

/// A place among the plugin's own calls and one among all calls, and when they were there.
async fn permits<W: World>(
    plugin: &Plugin<W>,
    arrived: Instant,
    within: Duration,
) -> Result<([SemaphorePermit<'_>; 2], Instant), PluginError> {
    let (own, any) = (&plugin.permits, &plugin.core.in_flight);
    if let Ok(own) = own.try_acquire()
        && let Ok(any) = any.try_acquire()
    {
        return Ok(([own, any], arrived));
    }
    let ends = arrived + within;
    let own = permit(own, ends).await;
    let own = own.ok_or_else(|| overloaded(plugin, "its calls in flight are at their bound"))?;
    let any = permit(any, ends).await;
    let any = any.ok_or_else(|| overloaded(plugin, "all plugins' calls in flight are at their bound"))?;
    Ok(([own, any], Instant::now()))
}

async fn permit(semaphore: &Semaphore, ends: Instant) -> Option<SemaphorePermit<'_>> {
    // the semaphores are never closed
    timeout_at(ends, semaphore.acquire()).await.ok()?.ok()
}

fn overloaded<W: World>(plugin: &Plugin<W>, text: &str) -> PluginError {
    PluginError::Overloaded { plugin: plugin.name.to_string(), text: text.to_owned() }
}

async fn bounded<W: World, E: Export<W>>(
    plugin: &Plugin<W>,
    request: Request,
    began: Instant,
    export: &E,
) -> Report<E::Answer> {
    let deadline =
        plugin.manifest.limits.deadline.map_or(request.deadline, |most| most.min(request.deadline));
    let ends = began + deadline;
    let (tape, reuse) = (request.tape, request.reuse);
    let mut call = CallState::new(&plugin.manifest, request.reach, ends, request.trace, tape.clone());
    call.unsealed = request.unsealed;
    if let Some(cpu) = request.cpu {
        call.ticks = u32::try_from(cpu.as_millis()).unwrap_or(u32::MAX);
    }
    let may_share = tape.is_none() || reuse;
    let ticks = call.ticks;
    let mut guest = if may_share { plugin.take_idle(request.realm.as_deref()) } else { None };
    // boxed: the future is large, and would otherwise be copied once for each function around it
    let running = Box::pin(run(plugin, &mut guest, call, request.realm, export));
    let mut computing = Duration::ZERO;
    let end = match &tape {
        None => timeout_at(ends, running).await,
        Some(_) => timeout_at(ends, measured(running, &mut computing)).await,
    };
    let now = Instant::now();
    let took = now - began;
    let Some(mut guest) = guest else {
        let error = match end {
            Ok(Err(error)) => cannot_begin(plugin, error),
            Ok(Ok(_)) | Err(_) => PluginError::Deadline { plugin: plugin.name.to_string(), after: deadline },
        };
        return Report { took, ..Report::not_begun(error) };
    };
    let (waiting, elsewhere) = (guest.store.data().call.waiting, guest.store.data().call.elsewhere);
    // whose answer is missing says nothing of a check's target
    let too_slow = || if elsewhere { Failure::EndpointTooSlow } else { Failure::OutsideTooSlow };
    let said = |guest: &Guest<W>| guest.store.data().stderr.text();
    let result = match end {
        Ok(Ok(Ok(answer))) => Ok(answer),
        Ok(Ok(Err(trouble))) => Err(Failure::Plugin(troubled(plugin, trouble))),
        Ok(Err(error)) if error.is::<HeldUp>() => Err(too_slow()),
        Ok(Err(error)) => Err(Failure::Plugin(broke(plugin, error, said(&guest)))),
        Err(_) if waiting => Err(too_slow()),
        Err(_) => {
            Err(Failure::Plugin(PluginError::Deadline { plugin: plugin.name.to_string(), after: deadline }))
        }
    };
    if let Some(tape) = &tape {
        tape.logged(&said(&guest));
    }
    let cost = Cost { computing, ..cost(plugin, &guest) };
    if tape.is_none() {
        let used = ticks.saturating_sub(guest.store.data().call.ticks);
        plugin.meter.used(used.into(), cost.memory);
    }
    let Scene { reach, trace, refusal } = guest.store.data_mut().end();
    if result.is_ok() && may_share {
        plugin.give_back(guest, now);
    }
    let refused = refusal.as_ref().map(ToString::to_string);
    // the end of a recorded call must not depend on what the host did: a replay asks it nothing
    let result = match refusal.filter(|refusal| refusal.is_grant() && tape.is_none()) {
        Some(refusal) => result.map_err(|failure| for_want_of(&refusal, failure)),
        None => result,
    };
    Report { result, took, trace, reach, cost, refused }
}

/// A guest that gave up after it was refused something did so for want of a grant: the operator's to mend, and no
/// fault of the plugin.
fn for_want_of(refusal: &Refusal, failure: Failure) -> Failure {
    match failure {
        Failure::Plugin(PluginError::Fault {
            plugin,
            kind: FaultKind::Internal | FaultKind::Unsupported,
            message,
        }) => Failure::Plugin(PluginError::Refused { plugin, message, grant: refusal.to_string() }),
        other => other,
    }
}

/// Adds up the time in which `running` is not waiting.
async fn measured<F: Future>(mut running: std::pin::Pin<Box<F>>, computing: &mut Duration) -> F::Output {
    poll_fn(|context| {
        let began = Instant::now();
        let polled = running.as_mut().poll(context);
        *computing += began.elapsed();
        polled
    })
    .await
}

/// What the call used of its bounds.
fn cost<W: World>(plugin: &Plugin<W>, guest: &Guest<W>) -> Cost {
    let (state, limits) = (guest.store.data(), &plugin.manifest.limits);
    Cost {
        computing: Duration::ZERO,
        memory: state.memory.used(),
        traffic: limits.traffic.saturating_sub(state.call.traffic),
        connections: limits.connections.saturating_sub(state.call.connections),
    }
}

async fn run<W: World, E: Export<W>>(
    plugin: &Plugin<W>,
    slot: &mut Option<Guest<W>>,
    call: CallState,
    realm: Option<Box<str>>,
    export: &E,
) -> wasmtime::Result<Result<E::Answer, Trouble>> {
    let guest = match slot {
        Some(guest) => {
            guest.store.data_mut().begin(call);
            // the deadline of the last call lies in the past (trap 6)
            guest.store.set_epoch_deadline(1);
            guest
        }
        None => slot.insert(plugin.instantiate(call, realm).await?),
    };
    export.call(&mut guest.store, &guest.exports).await
}

/// The instance could not be made.
fn cannot_begin<W: World>(plugin: &Plugin<W>, error: wasmtime::Error) -> PluginError {
    if error.is::<PoolConcurrencyLimitError>() {
        return overloaded(plugin, "the instance pool is exhausted");
    }
    if error.is::<wasmtime::Trap>() || error.is::<OutOfCpu>() {
        return broke(plugin, error, String::new());
    }
    // mapping memory failed, or the like: the host's trouble
    overloaded(plugin, &text::one_line(&format!("{error:#}"), 256))
}

/// The guest, or a host function on its behalf, ended the call.
fn broke<W: World>(plugin: &Plugin<W>, error: wasmtime::Error, said: String) -> PluginError {
    let name = plugin.name.to_string();
    if error.is::<OutOfCpu>() {
        return PluginError::Cpu { plugin: name, limit: plugin.manifest.cpu() };
    }
    let cause = error.root_cause().to_string();
    if cause.contains("fuel allocated for hostcalls") {
        return PluginError::OutputTooLarge { plugin: name, text: "more than 1 MiB in one host call".into() };
    }
    let text = if said.is_empty() { cause } else { format!("{cause}; {said}") };
    PluginError::Trap { plugin: name, text: text::one_line(&text, 512) }
}

fn troubled<W: World>(plugin: &Plugin<W>, trouble: Trouble) -> PluginError {
    let plugin = plugin.name.to_string();
    let fault = |kind, message: String| PluginError::Fault {
        plugin: plugin.clone(),
        kind,
        message: text::one_line(&message, 256),
    };
    match trouble {
        Trouble::Fault(types::Fault::BadSettings(problem)) => {
            fault(FaultKind::BadSettings, format!("setting '{}': {}", problem.key, problem.message))
        }
        Trouble::Fault(types::Fault::Unsupported(text)) => fault(FaultKind::Unsupported, text),
        Trouble::Fault(types::Fault::Internal(text)) => fault(FaultKind::Internal, text),
        Trouble::TooLarge(text) => PluginError::OutputTooLarge { plugin, text },
        Trouble::Wrong(text) => PluginError::WrongAnswer { plugin, text },
    }
}

/// `about.describe`
pub(crate) struct Describe;

impl<W: World> Export<W> for Describe {
    type Answer = types::Descriptor;
    async fn call(
        &self,
        store: &mut Store<GuestState>,
        exports: &W::Exports,
    ) -> wasmtime::Result<Result<types::Descriptor, Trouble>> {
        Ok(Ok(W::describe(exports, store).await?))
    }
}

/// `about.validate`
pub(crate) struct Validate<'a>(pub(crate) Vec<(&'a str, &'a str)>);

impl<W: World> Export<W> for Validate<'_> {
    type Answer = Vec<types::Problem>;
    async fn call(
        &self,
        store: &mut Store<GuestState>,
        exports: &W::Exports,
    ) -> wasmtime::Result<Result<Vec<types::Problem>, Trouble>> {
        Ok(Ok(W::validate(exports, store, &self.0).await?))
    }
}

impl Request {
    /// For `describe` and `validate`: nothing to reach, and more time than on the probing path, because the first
    /// call of an interpreted guest starts its interpreter.
    pub(crate) fn about() -> Self {
        Self {
            realm: None,
            reach: Reach::Nothing,
            deadline: Duration::from_secs(2),
            cpu: Some(Duration::from_millis(500)),
            unsealed: None,
            trace: false,
            tape: None,
            reuse: false,
        }
    }
}
