//! What a store holds: the guest's inert WASI, its memory bounds and the state of the running call.

use crate::{
    bounds::{Limit, Narrowed},
    grants,
    imports::{candidates::FilterView, fetch::Endpoints, files::Folder, names::Names},
    limiter::Memory,
    manifest::Manifest,
    network::{Beyond, Lacking},
    sealed::Unsealed,
    stderr::Stderr,
    text,
    trace::{Pending, Sent, Tape, Turn, words::Word},
};
use serde_json::Value;
use std::{collections::BTreeSet, fmt, net::SocketAddr, sync::Arc, time::Duration};
use tokio::time::Instant;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// Handles that one instance may hold.
const MAX_HANDLES: usize = 64;
/// Lines a guest may log in one call.
const LOG_LINES: u8 = 16;
/// Refusals that one instance tells the operator.
const TOLD: usize = 16;
/// A wait at least this long is the outside's doing, so the epoch that it used up is not the guest's.
const REAL_WAIT: Duration = Duration::from_millis(1);

/// The data of a store.
pub(crate) struct GuestState {
    pub(crate) plugin: Arc<str>,
    pub(crate) table: ResourceTable,
    wasi: WasiCtx,
    pub(crate) memory: Memory,
    pub(crate) stderr: Stderr,
    pub(crate) call: CallState,
    /// what the guest's own sockets may reach, when they are granted
    sockets: Option<grants::SocketTarget>,
    /// what it may reach beyond the target of a check
    pub(crate) reaching: Reaching,
    /// lines that the operator has been told
    told: BTreeSet<String>,
}

impl GuestState {
    pub(crate) fn new(
        plugin: Arc<str>,
        manifest: &Manifest,
        reaching: Reaching,
        tape: Option<&Tape>,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        let stderr = Stderr::default();
        let (wasi, sockets) = grants::wasi(manifest, &reaching.beyond, stderr.clone(), tape);
        let memory = Memory::new(manifest.limits.memory);
        Self {
            plugin,
            table,
            wasi,
            memory,
            stderr,
            call: CallState::between_calls(),
            sockets,
            reaching,
            told: BTreeSet::new(),
        }
    }

    /// Sets the scene for a call.
    pub(crate) fn begin(&mut self, call: CallState) {
        if let Some(sockets) = &self.sockets {
            // nothing was refused to a call that begins
            let _ = sockets.reach(call.target(), call.connections);
        }
        self.stderr.clear();
        self.call = call;
    }

    /// Takes the scene away again, and gives back what was noted in it.
    pub(crate) fn end(&mut self) -> Scene {
        let refused = self.sockets.as_ref().and_then(|sockets| sockets.reach(None, 0));
        if let Some((address, lacking)) = refused {
            self.refuse_place(lacking, None, address);
        }
        let call = &mut self.call;
        call.unsealed = None;
        (call.connections, call.traffic, call.log_lines, call.ticks) = (0, 0, 0, 0);
        call.tape = None;
        let mut trace = call.trace.take();
        let refusal = call
            .refusal
            .take()
            .map(|refusal| refusal.of_whose_limit_it_is(&self.plugin, self.reaching.narrowed));
        if let Some(refusal) = &refusal {
            if let Some(trace) = &mut trace {
                let detail = refusal.to_string();
                trace.push(HostCall { call: "refused", detail, took: Duration::ZERO });
            }
            let Refusal { section, file, line, .. } = refusal;
            // once for each instance, of which each serves many calls
            if self.told.len() < TOLD && self.told.insert(line.clone()) {
                let plugin = &*self.plugin;
                tracing::warn!(
                    plugin,
                    file,
                    section,
                    line,
                    "a plugin asked for what it is not allowed; the line would"
                );
            }
        }
        let trace = trace.unwrap_or_default();
        Scene { reach: std::mem::replace(&mut call.reach, Reach::Nothing), trace, refusal }
    }

    /// Notes the line that would have allowed a place beyond the target.
    pub(crate) fn refuse_place(&mut self, lacking: Lacking, name: Option<&str>, address: SocketAddr) {
        let line = self.reaching.beyond.line(lacking, name, address.ip(), address.port());
        let refusal = match lacking {
            Lacking::Request => Refusal::of_manifest(None, line),
            Lacking::Grant => Refusal::of_settings(&self.plugin, line),
        };
        self.call.refusal.get_or_insert(refusal);
    }
}

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// What a plugin may reach beyond the targets of its checks, and whom names are asked of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reaching {
    pub(crate) beyond: Arc<Beyond>,
    pub(crate) name_server: Option<SocketAddr>,
    /// limits that are the operator's
    pub(crate) narrowed: Narrowed,
}

/// What a call leaves.
pub(crate) struct Scene {
    pub(crate) reach: Reach,
    pub(crate) trace: Vec<HostCall>,
    /// the first thing that was asked for in vain
    pub(crate) refusal: Option<Refusal>,
}

/// What a call may reach.
pub(crate) enum Reach {
    /// describe, validate, and whatever a guest does between calls
    Nothing,
    /// a health check: the target, and the URLs that its manifest names
    Target(SocketAddr, Option<Arc<Endpoints>>),
    /// a lookup: what its manifest and the caller allow
    Lookup(Arc<Folder>, Arc<Endpoints>, Arc<Names>),
    /// a filter: the list and whoever it is for
    Filter(Box<FilterView>),
}

/// The running call.
pub(crate) struct CallState {
    pub(crate) reach: Reach,
    pub(crate) ends: Instant,
    /// connections that it may still open
    pub(crate) connections: u32,
    /// connections that it holds
    pub(crate) open: u32,
    /// bytes that it may still send and receive
    pub(crate) traffic: u64,
    pub(crate) log_lines: u8,
    /// CPU ticks that it may still use
    pub(crate) ticks: u32,
    /// the outside is being waited for, right now
    pub(crate) waiting: bool,
    /// what is being waited for is not the target of a check
    pub(crate) elsewhere: bool,
    /// the next tick was used up by a wait
    pub(crate) credit: bool,
    /// filled when somebody wants to see it
    pub(crate) trace: Option<Vec<HostCall>>,
    /// there when the call is recorded or replayed
    pub(crate) tape: Option<Tape>,
    /// the first thing that was not allowed
    refusal: Option<Refusal>,
    /// secrets that the guest is not told
    pub(crate) unsealed: Option<Box<Unsealed>>,
    /// connections and bytes that a call may have
    allowed: (u32, u64),
}

/// What a guest asked for in vain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// the table of the file
    section: String,
    /// which file
    file: &'static str,
    /// what would have allowed it, to be pasted there
    line: String,
    /// it was too much of this; else it was not granted
    limit: Option<Limit>,
}

impl Refusal {
    fn of_manifest(limit: Option<Limit>, line: String) -> Self {
        let section = if limit.is_some() { "limits" } else { "grants" };
        Self { section: section.to_owned(), file: "the manifest", line, limit }
    }

    fn of_settings(plugin: &str, line: String) -> Self {
        let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let key = if plugin.chars().all(bare) { plugin.to_owned() } else { format!("{plugin:?}") };
        Self { section: format!("plugins.grants.{key}"), file: "the node's settings", line, limit: None }
    }

    /// A limit that is lower than the manifest asks for is raised in the settings.
    fn of_whose_limit_it_is(self, plugin: &str, narrowed: Narrowed) -> Self {
        match self.limit {
            Some(limit) if narrowed.has(limit) => {
                Self { limit: self.limit, ..Self::of_settings(plugin, self.line) }
            }
            _ => self,
        }
    }

    /// Whether something was not granted.
    pub(crate) const fn is_grant(&self) -> bool {
        self.limit.is_none()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "add to [{}] in {}: {}", self.section, self.file, self.line)
    }
}

impl CallState {
    pub(crate) fn new(
        manifest: &Manifest,
        reach: Reach,
        ends: Instant,
        trace: bool,
        tape: Option<Tape>,
    ) -> Self {
        Self {
            reach,
            ends,
            connections: manifest.limits.connections,
            open: 0,
            traffic: manifest.limits.traffic,
            log_lines: LOG_LINES,
            ticks: u32::try_from(manifest.cpu().as_millis()).unwrap_or(u32::MAX),
            waiting: false,
            elsewhere: false,
            credit: false,
            trace: trace.then(Vec::new),
            tape,
            refusal: None,
            unsealed: None,
            allowed: (manifest.limits.connections, manifest.limits.traffic),
        }
    }

    fn between_calls() -> Self {
        Self {
            reach: Reach::Nothing,
            ends: Instant::now(),
            connections: 0,
            open: 0,
            traffic: 0,
            log_lines: 0,
            ticks: 0,
            waiting: false,
            elsewhere: false,
            credit: false,
            trace: None,
            tape: None,
            refusal: None,
            unsealed: None,
            allowed: (0, 0),
        }
    }

    /// Who answers this host call: the host, unless a trace is replayed.
    ///
    /// # Errors
    /// The call is not the one that the trace has here, or the recorded call ended in it.
    pub(crate) fn turn<T: Word>(
        &self,
        call: &'static str,
        input: impl FnOnce(&Sent<'_>) -> Value,
    ) -> wasmtime::Result<Turn<T>> {
        match &self.tape {
            None => Ok(Turn::Live(Pending::unrecorded())),
            Some(tape) => tape.turn(call, input),
        }
    }

    /// The host call that began as `pending` is answered.
    pub(crate) fn done<T: Word>(&self, pending: &Pending, began: Instant, answer: impl FnOnce() -> T) {
        if let Some(tape) = self.tape.as_ref().filter(|_| pending.is_recorded()) {
            tape.done(pending, &answer(), began.elapsed());
        }
    }

    /// Counts a connection that is about to be opened; none when the call has had all that it may open.
    pub(crate) fn take_connection(&mut self) -> Option<()> {
        let left = self.connections.checked_sub(1);
        if left.is_none() {
            let more = self.allowed.0.saturating_mul(2);
            self.refuse(Some(Limit::Connections), || format!("connections = {more}"));
        }
        self.connections = left?;
        Some(())
    }

    /// Counts bytes that are about to be sent or received; none when they are more than the call may still have.
    pub(crate) fn take_traffic(&mut self, bytes: u64) -> Option<()> {
        let left = self.traffic.checked_sub(bytes);
        if left.is_none() {
            let more = self.allowed.1.saturating_mul(2).div_ceil(1 << 20);
            self.refuse(Some(Limit::Traffic), || format!("traffic = \"{more}MiB\""));
        }
        self.traffic = left?;
        Some(())
    }

    /// Something that was asked for by its name is not among `granted`; `grant` is the key of the manifest.
    pub(crate) fn refuse_name(&mut self, grant: &str, granted: Vec<String>, asked: &str) {
        self.refuse(None, || {
            let all = granted.into_iter().chain([text::one_line(asked, 64)]);
            format!("{grant} = [{}]", all.map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", "))
        });
    }

    /// Notes the line of the manifest that would have allowed what was asked; the first one of a call counts.
    fn refuse(&mut self, limit: Option<Limit>, line: impl FnOnce() -> String) {
        self.refusal.get_or_insert_with(|| Refusal::of_manifest(limit, line()));
    }

    /// The target of a health check.
    pub(crate) fn target(&self) -> Option<SocketAddr> {
        match self.reach {
            Reach::Target(address, _) => Some(address),
            Reach::Nothing | Reach::Lookup(..) | Reach::Filter(_) => None,
        }
    }

    /// Waits for the outside: a call that ends in here ends because of the outside.
    pub(crate) async fn wait<F: Future>(&mut self, outside: F) -> F::Output {
        self.waiting = true;
        let began = Instant::now();
        let answer = outside.await;
        self.waiting = false;
        self.credit |= began.elapsed() >= REAL_WAIT;
        answer
    }

    /// Milliseconds until the call is ended.
    pub(crate) fn remaining(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    /// Notes a host call, when somebody wants to see it.
    pub(crate) fn note(&mut self, call: &'static str, began: Instant, detail: impl FnOnce() -> String) {
        /// A record of more is of no use to anyone.
        const MOST: usize = 1000;
        if let Some(trace) = &mut self.trace
            && trace.len() < MOST
        {
            trace.push(HostCall { call, detail: detail(), took: began.elapsed() });
        }
    }
}

/// One call from a guest to the host, for people. Never holds settings or what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostCall {
    /// interface and function
    pub call: &'static str,
    /// what went in and came out, without contents that could be secret
    pub detail: String,
    /// how long the guest waited
    pub took: Duration,
}
