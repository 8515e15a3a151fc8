//! `host`: the log and the time that is left.

use crate::{
    bindings::since_v0_1_0::host::{Host, Level},
    state::GuestState,
    text,
};

/// Bytes of a log line that are kept.
const LINE: usize = 512;

impl Host for GuestState {
    fn log(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
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
        Ok(u32::try_from(self.call.remaining().as_millis()).unwrap_or(u32::MAX))
    }
}
