//! `host`: the log and the time that is left.

use crate::{
    bindings::since_v0_1_1::host::{Host, Level},
    state::GuestState,
    text,
    trace::{Turn, words::Never},
};
use serde_json::json;

/// Bytes of a log line that are kept.
const LINE: usize = 512;

impl Host for GuestState {
    fn log(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        let began = tokio::time::Instant::now();
        let turn = self.call.turn::<Result<(), Never>>(
            "host.log",
            |sent| json!({"level": word(level), "message": sent.value(message.as_str())}),
        )?;
        if let Turn::Live(pending) = turn {
            self.call.done(&pending, began, || Ok::<(), Never>(()));
        }
        if let Some(tape) = &self.call.tape {
            tape.logged(&message);
        }
        if self.call.log_lines == 0 {
            return Ok(());
        }
        self.call.log_lines -= 1;
        let (plugin, message) = (&*self.plugin, text::one_line(&message, LINE));
        match level {
            Level::Debug => tracing::debug!(plugin, message, "plugin says"),
            Level::Info => tracing::info!(plugin, message, "plugin says"),
            Level::Warn => tracing::warn!(plugin, message, "plugin says"),
            Level::Error => tracing::error!(plugin, message, "plugin says"),
        }
        if self.call.trace.is_some() {
            self.call.note("host.log", tokio::time::Instant::now(), || message);
        }
        Ok(())
    }

    fn remaining_ms(&mut self) -> wasmtime::Result<u32> {
        let began = tokio::time::Instant::now();
        match self.call.turn::<Result<u32, Never>>("host.remaining-ms", |_| json!(null))? {
            Turn::Played(Ok(left)) => Ok(left),
            Turn::Played(Err(never)) => match never {},
            Turn::Live(pending) => {
                let left = u32::try_from(self.call.remaining().as_millis()).unwrap_or(u32::MAX);
                self.call.done(&pending, began, || Ok::<_, Never>(left));
                Ok(left)
            }
        }
    }
}

const fn word(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}
