//! One call of a plugin, written down: the question, every answer the host gave, how it ended.
//!
//! Whatever a guest learns comes from the host: connections, HTTP, files, lists, the clocks, random bytes, the time
//! that is left. So a call that is given the same answers again does the same again, byte for byte; when it does not,
//! the replay names the step. `host/wasm/README.md` documents the format.

mod format;
mod secrets;
mod tape;
mod trial;
mod wasi;
pub(crate) mod words;

pub use format::{
    CheckQuestion, End, FindQuestion, Head, MAX_TRACE, Question, SelectQuestion, Step, TRACE_VERSION, Trace,
    TraceError,
};
pub(crate) use secrets::Secrets;
pub use tape::Divergence;
pub(crate) use tape::{HeldUp, Pending, Sent, Tape, Turn};
pub use trial::{Cost, LiveCall, Trial, TrialError};
pub(crate) use wasi::{TapedClock, TapedRandom};
