//! A host made of plain Rust, for unit tests of a plugin on the machine itself: scripted connections and HTTP
//! exchanges, files, a list of instances, and a clock that moves only when the script says so.

mod connection;
mod net;
mod real;
mod sources;
mod view;

pub use connection::{FakeConnection, Script};
pub use net::FakeNet;
pub use real::{StdConnection, StdNet};
pub use sources::FakeSources;
pub use view::{FakeSubscriber, FakeView, Row};

use crate::log::Level;
use std::cell::RefCell;

thread_local! {
    static LOG: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
}

/// What the plugin has logged on this thread since this was last asked.
pub fn logged() -> Vec<(Level, String)> {
    LOG.take()
}

#[cfg(not(target_family = "wasm"))]
pub(crate) fn log_line(level: Level, message: &str) {
    LOG.with_borrow_mut(|lines| lines.push((level, message.to_owned())));
}
