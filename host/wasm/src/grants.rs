//! What a manifest grants: the functions that are linked, and the WASI that a guest sees.
//!
//! WASI is inert: no arguments, no environment, no folders, no standard input; standard error goes to the log.
//! Sockets exist only when the manifest grants them, and then reach the target of the running check, and the addresses
//! beyond it that manifest and operator allow.

use crate::{
    bindings::since_v0_1_1::{candidates, dial, fetch, files, host, names},
    manifest::Manifest,
    network::{Beyond, Lacking},
    state::GuestState,
    stderr::Stderr,
    trace::{Tape, TapedClock, TapedRandom},
};
use muster_core::plugin::PluginKind;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use wasmtime::{
    Engine,
    component::{HasSelf, Linker},
};
use wasmtime_wasi::{
    WasiCtx, WasiCtxBuilder,
    cli::{WasiCli, WasiCliView as _},
    clocks::{HostMonotonicClock, HostWallClock, WasiClocks, WasiClocksView as _},
    filesystem::{WasiFilesystem, WasiFilesystemView as _},
    p2::bindings as wasi,
    random::{Deterministic, WasiRandom},
    sockets::{SocketAddrUse, WasiSockets, WasiSocketsView as _},
};

/// Random bytes that a guest may ask for at once.
const MAX_RANDOM: u64 = 64 << 10;

/// WASI interfaces that every guest may import.
const INERT: [&str; 5] = ["wasi:cli/", "wasi:io/", "wasi:clocks/", "wasi:random/", "wasi:filesystem/"];

/// Whether `import` (such as `muster:plugin/dial@0.1.0`) is granted; otherwise what to do about it.
pub(crate) fn check(manifest: &Manifest, import: &str) -> Result<(), String> {
    use PluginKind::{HealthCheck, MemberLookup, PushFilter};
    let bare = import.split('@').next().unwrap_or(import);
    let grants = &manifest.grants;
    let unless = |granted: bool, line: &str| {
        if granted { Ok(()) } else { Err(format!("add to [grants] in the manifest: {line}")) }
    };
    match (bare, manifest.plugin.kind) {
        ("muster:plugin/types" | "muster:plugin/host", _) => Ok(()),
        ("muster:plugin/dial" | "muster:plugin/fetch", HealthCheck) => unless(grants.dial, "dial = true"),
        ("muster:plugin/fetch", MemberLookup) => {
            unless(!grants.fetch.is_empty(), "fetch = [\"the setting that holds the URL\"]")
        }
        ("muster:plugin/files", MemberLookup) => {
            unless(!grants.files.is_empty(), "files = [\"the name of the file\"]")
        }
        ("muster:plugin/names", MemberLookup) => {
            unless(!grants.names.is_empty(), "names = [\"the setting that holds the name\"]")
        }
        ("muster:plugin/candidates", PushFilter) => Ok(()),
        (bare, HealthCheck) if bare.starts_with("wasi:sockets/") => {
            unless(grants.wasi_sockets, "wasi-sockets = true")
        }
        (bare, _) if INERT.iter().any(|prefix| bare.starts_with(prefix)) => Ok(()),
        (_, kind) => Err(format!("no grant gives this to a {}", kind.world())),
    }
}

/// Everything that the manifest grants, and nothing else.
pub(crate) fn linker(engine: &Engine, manifest: &Manifest) -> wasmtime::Result<Linker<GuestState>> {
    let mut linker = Linker::new(engine);
    inert_wasi(&mut linker)?;
    host::add_to_linker::<_, HasSelf<GuestState>>(&mut linker, |state| state)?;
    let grants = &manifest.grants;
    match manifest.plugin.kind {
        PluginKind::HealthCheck if grants.dial => {
            dial::add_to_linker::<_, HasSelf<GuestState>>(&mut linker, |state| state)?;
            fetch::add_to_linker::<_, HasSelf<GuestState>>(&mut linker, |state| state)?;
        }
        PluginKind::MemberLookup => {
            if !grants.fetch.is_empty() {
                fetch::add_to_linker::<_, HasSelf<GuestState>>(&mut linker, |state| state)?;
            }
            if !grants.files.is_empty() {
                files::add_to_linker::<_, HasSelf<GuestState>>(&mut linker, |state| state)?;
            }
            if !grants.names.is_empty() {
                names::add_to_linker::<_, HasSelf<GuestState>>(&mut linker, |state| state)?;
            }
        }
        PluginKind::PushFilter => {
            candidates::add_to_linker::<_, HasSelf<GuestState>>(&mut linker, |state| state)?;
        }
        PluginKind::HealthCheck => {}
    }
    if grants.wasi_sockets {
        sockets(&mut linker)?;
    }
    Ok(linker)
}

fn inert_wasi(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    wasmtime_wasi_io(linker)?;
    wasi::clocks::wall_clock::add_to_linker::<_, WasiClocks>(linker, GuestState::clocks)?;
    wasi::clocks::monotonic_clock::add_to_linker::<_, WasiClocks>(linker, GuestState::clocks)?;
    wasi::filesystem::types::add_to_linker::<_, WasiFilesystem>(linker, GuestState::filesystem)?;
    wasi::filesystem::preopens::add_to_linker::<_, WasiFilesystem>(linker, GuestState::filesystem)?;
    wasi::random::random::add_to_linker::<_, WasiRandom>(linker, random)?;
    wasi::random::insecure::add_to_linker::<_, WasiRandom>(linker, random)?;
    wasi::random::insecure_seed::add_to_linker::<_, WasiRandom>(linker, random)?;
    wasi::cli::exit::add_to_linker::<_, WasiCli>(linker, GuestState::cli)?;
    wasi::cli::environment::add_to_linker::<_, WasiCli>(linker, GuestState::cli)?;
    wasi::cli::stdin::add_to_linker::<_, WasiCli>(linker, GuestState::cli)?;
    wasi::cli::stdout::add_to_linker::<_, WasiCli>(linker, GuestState::cli)?;
    wasi::cli::stderr::add_to_linker::<_, WasiCli>(linker, GuestState::cli)?;
    wasi::cli::terminal_input::add_to_linker::<_, WasiCli>(linker, GuestState::cli)?;
    wasi::cli::terminal_output::add_to_linker::<_, WasiCli>(linker, GuestState::cli)?;
    wasi::cli::terminal_stdin::add_to_linker::<_, WasiCli>(linker, GuestState::cli)?;
    wasi::cli::terminal_stdout::add_to_linker::<_, WasiCli>(linker, GuestState::cli)?;
    wasi::cli::terminal_stderr::add_to_linker::<_, WasiCli>(linker, GuestState::cli)
}

fn wasmtime_wasi_io(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    use wasmtime::component::ResourceTable;
    type Io = HasSelf<ResourceTable>;
    wasi::io::error::add_to_linker::<_, Io>(linker, |state| &mut state.table)?;
    wasi::io::poll::add_to_linker::<_, Io>(linker, |state| &mut state.table)?;
    wasi::io::streams::add_to_linker::<_, Io>(linker, |state| &mut state.table)
}

fn random(state: &mut GuestState) -> &mut wasmtime_wasi::random::WasiRandomCtx {
    wasmtime_wasi::WasiView::ctx(state).ctx.random()
}

fn sockets(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    let options = wasi::sockets::network::LinkOptions::default();
    wasi::sockets::network::add_to_linker::<_, WasiSockets>(linker, &options, GuestState::sockets)?;
    wasi::sockets::instance_network::add_to_linker::<_, WasiSockets>(linker, GuestState::sockets)?;
    wasi::sockets::ip_name_lookup::add_to_linker::<_, WasiSockets>(linker, GuestState::sockets)?;
    wasi::sockets::tcp_create_socket::add_to_linker::<_, WasiSockets>(linker, GuestState::sockets)?;
    wasi::sockets::tcp::add_to_linker::<_, WasiSockets>(linker, GuestState::sockets)?;
    wasi::sockets::udp_create_socket::add_to_linker::<_, WasiSockets>(linker, GuestState::sockets)?;
    wasi::sockets::udp::add_to_linker::<_, WasiSockets>(linker, GuestState::sockets)
}

/// The WASI of one instance, and the handle on its sockets when they are granted.
pub(crate) fn wasi(
    manifest: &Manifest,
    beyond: &Arc<Beyond>,
    stderr: Stderr,
    tape: Option<&Tape>,
) -> (WasiCtx, Option<SocketTarget>) {
    let mut builder = WasiCtxBuilder::new();
    builder.stderr(stderr).max_random_size(MAX_RANDOM);
    if manifest.plugin.kind == PluginKind::PushFilter {
        // the same question has the same answer: that is what makes it right to give an answer again
        builder
            .wall_clock(Frozen)
            .monotonic_clock(Frozen)
            .secure_random(Deterministic::new(SEED.to_vec()))
            .insecure_random(Deterministic::new(SEED.to_vec()))
            .insecure_random_seed(u128::from_be_bytes(SEED));
    } else if let Some(tape) = tape {
        builder
            .wall_clock(TapedClock::new(tape))
            .monotonic_clock(TapedClock::new(tape))
            .secure_random(TapedRandom::new(tape, "wasi.random"))
            .insecure_random(TapedRandom::new(tape, "wasi.insecure-random"))
            .insecure_random_seed(tape.seed());
    }
    let sockets = manifest.grants.wasi_sockets.then(|| SocketTarget::new(Arc::clone(beyond)));
    if let Some(target) = &sockets {
        let target = target.clone();
        builder.allow_tcp(true).socket_addr_check(move |address, reason| {
            let allowed = target.allows(address, reason);
            Box::pin(async move { allowed })
        });
    }
    (builder.build(), sockets)
}

/// Any fixed bytes would do.
const SEED: [u8; 16] = *b"muster fixed rng";

/// A clock that stands still.
struct Frozen;

impl HostWallClock for Frozen {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }
    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

impl HostMonotonicClock for Frozen {
    fn resolution(&self) -> u64 {
        1
    }
    fn now(&self) -> u64 {
        0
    }
}

/// What the sockets of one instance may reach: the target of the running call, and what is granted beyond it.
#[derive(Clone, Default)]
pub(crate) struct SocketTarget {
    beyond: Arc<Beyond>,
    now: Arc<Mutex<Sockets>>,
}

#[derive(Default)]
struct Sockets {
    target: Option<SocketAddr>,
    /// connections that may still be opened
    left: u32,
    /// the first address that was refused for want of a rule
    refused: Option<(SocketAddr, Lacking)>,
}

impl SocketTarget {
    fn new(beyond: Arc<Beyond>) -> Self {
        Self { beyond, now: Arc::default() }
    }

    /// Begins or ends a call. Answers what was refused since the last time.
    pub(crate) fn reach(
        &self,
        target: Option<SocketAddr>,
        connections: u32,
    ) -> Option<(SocketAddr, Lacking)> {
        let new = Sockets { target, left: connections, refused: None };
        std::mem::replace(&mut *self.now.lock().unwrap_or_else(PoisonError::into_inner), new).refused
    }

    /// Wasmtime asks about the implicit bind first (trap 2): the wildcard address with port 0 harms nobody.
    fn allows(&self, address: SocketAddr, reason: SocketAddrUse) -> bool {
        match reason {
            SocketAddrUse::TcpBind => address.ip().is_unspecified() && address.port() == 0,
            SocketAddrUse::TcpConnect => self.connects(address),
            _ => false,
        }
    }

    fn connects(&self, address: SocketAddr) -> bool {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let judged = match now.target {
            None => return false,
            Some(target) if target == address => Ok(()),
            Some(_) => self.beyond.allows(None, address.ip(), address.port()),
        };
        if let Err(lacking) = judged {
            now.refused.get_or_insert((address, lacking));
        }
        let allowed = judged.is_ok() && now.left > 0;
        now.left -= u32::from(allowed);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(kind: PluginKind) -> Manifest {
        Manifest::bundled("x", kind)
    }

    #[test]
    fn an_import_too_many_is_answered_with_the_line_that_allows_it() {
        let mut check_only = manifest(PluginKind::HealthCheck);
        check_only.grants.dial = false;
        let hint = check(&check_only, "muster:plugin/dial@0.1.0").unwrap_err();
        assert!(hint.ends_with("dial = true"), "{hint}");
        let hint = check(&check_only, "wasi:sockets/tcp@0.2.6").unwrap_err();
        assert!(hint.ends_with("wasi-sockets = true"), "{hint}");
        let hint = check(&manifest(PluginKind::MemberLookup), "muster:plugin/files@0.1.0").unwrap_err();
        assert!(hint.contains("files = ["), "{hint}");
        let hint = check(&manifest(PluginKind::MemberLookup), "muster:plugin/names@0.1.1").unwrap_err();
        assert!(hint.contains("names = ["), "{hint}");
        assert!(check(&check_only, "muster:plugin/names@0.1.1").is_err());
        let hint = check(&manifest(PluginKind::PushFilter), "wasi:http/outgoing-handler@0.2.0").unwrap_err();
        assert_eq!(hint, "no grant gives this to a push-filter");
        assert!(check(&manifest(PluginKind::PushFilter), "muster:plugin/dial@0.1.0").is_err());
    }

    #[test]
    fn sockets_reach_the_target_and_the_implicit_bind_only() {
        let target = SocketTarget::default();
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(target.reach(Some(address("127.0.0.1:80")), 2), None);
        assert!(target.allows(address("0.0.0.0:0"), SocketAddrUse::TcpBind));
        assert!(target.allows(address("[::]:0"), SocketAddrUse::TcpBind));
        assert!(!target.allows(address("0.0.0.0:80"), SocketAddrUse::TcpBind));
        assert!(!target.allows(address("127.0.0.1:0"), SocketAddrUse::TcpBind));
        assert!(!target.allows(address("127.0.0.1:81"), SocketAddrUse::TcpConnect));
        assert!(!target.allows(address("127.0.0.1:80"), SocketAddrUse::UdpBind));
        assert!(target.allows(address("127.0.0.1:80"), SocketAddrUse::TcpConnect));
        assert!(target.allows(address("127.0.0.1:80"), SocketAddrUse::TcpConnect));
        assert!(!target.allows(address("127.0.0.1:80"), SocketAddrUse::TcpConnect), "a third connection");
        let refused = target.reach(None, 0);
        assert_eq!(refused, Some((address("127.0.0.1:81"), Lacking::Request)));
        assert!(!target.allows(address("127.0.0.1:80"), SocketAddrUse::TcpConnect));
    }

    #[test]
    fn sockets_reach_what_is_granted_beyond_the_target_and_only_within_a_call() {
        let rules = |texts: [&str; 2]| texts.map(|text| text.parse().unwrap()).to_vec();
        let requested = rules(["10.1.0.0/16:443", "127.0.0.1:9"]);
        let granted = rules(["10.1.2.0/24:*", "127.0.0.1:9"]).into();
        let target = SocketTarget::new(Arc::new(Beyond { requested, granted }));
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let connects = |text: &str| target.allows(address(text), SocketAddrUse::TcpConnect);
        assert!(!connects("10.1.2.3:443"), "between calls");
        assert_eq!(target.reach(Some(address("10.9.9.9:80")), 2), None);
        assert!(!connects("10.1.3.3:443") && !connects("10.1.2.3:80"));
        assert!(connects("10.1.2.3:443") && connects("127.0.0.1:9"));
        assert!(!connects("10.1.2.3:443"), "a third connection");
        assert_eq!(target.reach(None, 0), Some((address("10.1.3.3:443"), Lacking::Grant)));
    }
}
