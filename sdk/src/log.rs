//! Lines for the node's log. At most 512 bytes a line and 16 lines a call are kept.
//!
//! Never log a setting of kind `secret`.

#[cfg(target_family = "wasm")]
use crate::bindings::about::muster::plugin::host;

/// For who works on the plugin.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// For who follows what happens.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// Something is degraded.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// Someone must act.
pub fn error(message: &str) {
    write(Level::Error, message);
}

pub use crate::bindings::about::muster::plugin::host::Level;

#[cfg(target_family = "wasm")]
fn write(level: Level, message: &str) {
    host::log(level, message);
}

#[cfg(not(target_family = "wasm"))]
use crate::fake::log_line as write;
