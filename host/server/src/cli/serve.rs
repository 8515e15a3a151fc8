//! `muster serve`.

use super::{Failure, exit, print_line};
use crate::node::Node;
use crate::settings::{Log, LogFormat, Settings, variable};
use std::io::IsTerminal;
use std::path::Path;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

pub(super) fn run(config: &Path) -> Result<u8, Failure> {
    let settings = Settings::load(config).map_err(|error| Failure::new(exit::USAGE, error))?;
    log(&settings.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_name("muster").enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(exit::FAILED, format!("cannot start: {error}")))?;
    let ended = runtime.block_on(serve(&settings));
    // Whatever hangs must not keep the process: everything that matters has been drained.
    runtime.shutdown_background();
    ended
}

/// What a bare level does not turn on: the inner life of libraries. Directives name them if they are wanted.
const QUIET: &str = "openraft=warn,wasmtime=warn,cranelift_codegen=warn,wit_parser=warn,h2=warn,hyper=warn";

/// Sets up the log, with `MUSTER_LOG` over the settings.
fn log(settings: &Log) -> Result<(), Failure> {
    let mut directives = variable("MUSTER_LOG").unwrap_or_else(|| settings.level.clone());
    if ["warn", "info", "debug", "trace"].contains(&directives.as_str()) {
        directives = format!("{directives},{QUIET}");
    }
    let filter = EnvFilter::try_new(&directives)
        .map_err(|error| Failure::new(exit::USAGE, format!("MUSTER_LOG: {error}")))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let set = match settings.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    set.map_err(|error| Failure::new(exit::FAILED, format!("cannot set up the log: {error}")))
}

async fn serve(settings: &Settings) -> Result<u8, Failure> {
    let failed = |error: &dyn std::error::Error| Failure::new(exit::FAILED, error);
    let mut signals = Signals::new().map_err(|error| failed(&error))?;
    let started = tokio::select! {
        started = Node::start(settings) => started,
        () = signals.next() => return Err(Failure::new(exit::FAILED, "told to stop before the node was ready")),
    };
    let node = started.map_err(|error| {
        let code = if error.is_of_settings() { exit::USAGE } else { exit::FAILED };
        Failure::new(code, error)
    })?;
    print_line(node.ready_line());
    let (told, tell) = tokio::sync::oneshot::channel();
    let running = node.run(async {
        // An error means that the sender is gone, which ends the node as well.
        let _ = tell.await;
    });
    let signalled = async {
        signals.next().await;
        // The node may have ended by itself.
        let _ = told.send(());
        signals.next().await;
    };
    tokio::select! {
        ended = running => ended.map(|()| exit::OK).map_err(|error| failed(&error)),
        () = signalled => Err(Failure::new(exit::CUT_OFF, "told to stop a second time, ended at once")),
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
