//! What stands between a guest and the host while a call is recorded or replayed.

use super::{
    format::Step,
    secrets::Secrets,
    words::{Bytes, Word},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Host calls of one trace.
const MAX_STEPS: usize = 20_000;

/// Where a clock stands that no tape has, in nanoseconds; Go takes 0 for a broken clock.
const STILL: u64 = 1_000_000_000;

/// Shared by the imports, the clocks and whoever started the call.
#[derive(Clone)]
pub(crate) struct Tape(Arc<Mutex<Reel>>);

struct Reel {
    mode: Mode,
    steps: Vec<Step>,
    /// replay: the step that comes next
    at: usize,
    /// numbers of connections by their handle
    connections: BTreeMap<u32, u32>,
    opened: u32,
    secrets: Secrets,
    seed: u128,
    diverged: Option<Divergence>,
    /// a secret was written to the log or to standard error
    logged_secret: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// the host answers
    Record,
    /// the tape answers, and what is asked must be what was asked
    Replay,
    /// the same, but for the clocks and the random bytes of WASI, of which the tape has none
    Script,
    /// the tape answers as well as it can, whatever is asked
    Improvise,
}

/// The first thing that a replay did otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// counted from 1; the step after the last is the end
    pub step: usize,
    /// what the trace has there
    pub expected: String,
    /// what the plugin did
    pub found: String,
}

impl std::fmt::Display for Divergence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "diverged at step {}: the trace has {}, the plugin did {}",
            self.step, self.expected, self.found
        )
    }
}

/// Who answers a host call.
pub(crate) enum Turn<T> {
    /// the host; the answer is told to [`Tape::done`]
    Live(Pending),
    /// the tape
    Played(T),
}

/// A host call that has begun; none when nobody records.
pub(crate) struct Pending(Option<usize>);

impl Pending {
    pub(crate) const fn unrecorded() -> Self {
        Self(None)
    }

    pub(crate) const fn is_recorded(&self) -> bool {
        self.0.is_some()
    }
}

/// The recorded call ended in this host call, so the replayed one does.
#[derive(Debug, thiserror::Error)]
#[error("the recorded call ended while it waited here")]
pub(crate) struct HeldUp;

/// The replayed call left the script; [`Tape::diverged`] says where.
#[derive(Debug, thiserror::Error)]
#[error("the call differs from its trace")]
struct OffScript;

impl Tape {
    pub(crate) fn record(secrets: impl IntoIterator<Item = String>, seed: u128) -> Self {
        Self::new(Mode::Record, Vec::new(), Secrets::of(secrets), seed)
    }

    pub(crate) fn replay(steps: Vec<Step>, withheld: bool, seed: u128) -> Self {
        Self::new(Mode::Replay, steps, Secrets::withheld(withheld), seed)
    }

    pub(crate) fn script(steps: Vec<Step>, withheld: bool, seed: u128) -> Self {
        Self::new(Mode::Script, steps, Secrets::withheld(withheld), seed)
    }

    pub(crate) fn improvise(steps: Vec<Step>, withheld: bool, seed: u128) -> Self {
        Self::new(Mode::Improvise, steps, Secrets::withheld(withheld), seed)
    }

    fn new(mode: Mode, steps: Vec<Step>, secrets: Secrets, seed: u128) -> Self {
        Self(Arc::new(Mutex::new(Reel {
            mode,
            steps,
            at: 0,
            connections: BTreeMap::new(),
            opened: 0,
            secrets,
            seed,
            diverged: None,
            logged_secret: false,
        })))
    }

    /// A host call begins.
    ///
    /// # Errors
    /// [`HeldUp`], or the call is not the one that the trace has here.
    pub(crate) fn turn<T: Word>(
        &self,
        call: &'static str,
        input: impl FnOnce(&Sent<'_>) -> Value,
    ) -> wasmtime::Result<Turn<T>> {
        let mut reel = self.lock();
        let input = input(&Sent { secrets: &reel.secrets, connections: &reel.connections });
        let played = match reel.mode {
            Mode::Record => return Ok(Turn::Live(reel.begin(call, input))),
            Mode::Script if call.starts_with("wasi.") => stand_in(call).ok_or(HeldUp)?,
            Mode::Replay | Mode::Script => reel.next(call, &input)?,
            Mode::Improvise => reel.anything_like(call).ok_or(HeldUp)?,
        };
        match T::read(&played) {
            Some(answer) => Ok(Turn::Played(answer)),
            None => Err(reel.off(call.to_owned(), Some(format!("an answer that cannot be one: {played}")))),
        }
    }

    /// The host call that began as `pending` is answered.
    pub(crate) fn done<T: Word>(&self, pending: &Pending, answer: &T, took: Duration) {
        let Some(at) = pending.0 else { return };
        let mut reel = self.lock();
        let output = strike(&reel.secrets, answer.write());
        if let Some(step) = reel.steps.get_mut(at) {
            step.output = Some(output);
            step.us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        }
    }

    /// A number for the next connection.
    pub(crate) fn open(&self) -> u32 {
        let mut reel = self.lock();
        reel.opened += 1;
        reel.opened - 1
    }

    /// The connection with this number got this handle.
    pub(crate) fn bind(&self, handle: u32, number: u32) {
        self.lock().connections.insert(handle, number);
    }

    /// What `wasi:random/insecure-seed` answers.
    pub(crate) fn seed(&self) -> u128 {
        self.lock().seed
    }

    /// The steps, and the first that a replay did otherwise. `count_rest`: steps that were never come to count too.
    pub(crate) fn finish(&self, count_rest: bool) -> (Vec<Step>, Option<Divergence>) {
        let mut reel = self.lock();
        let exact = matches!(reel.mode, Mode::Replay | Mode::Script);
        if count_rest && exact && reel.diverged.is_none() && reel.at < reel.steps.len() {
            let found = "end".to_owned();
            // the error is for a guest that still runs
            let _ = reel.off(found, None);
        }
        (reel.steps.clone(), reel.diverged.clone())
    }

    /// `text` without secrets.
    pub(crate) fn strike_text(&self, text: &str) -> String {
        self.lock().secrets.strike_text(text)
    }

    /// The guest wrote this to the log or to standard error.
    pub(crate) fn logged(&self, text: &str) {
        let mut reel = self.lock();
        reel.logged_secret |= reel.secrets.is_in(text);
    }

    /// Whether a secret was written to the log or to standard error.
    pub(crate) fn logged_secret(&self) -> bool {
        self.lock().logged_secret
    }

    /// Whether a secret can be read in `text`.
    pub(crate) fn shows_secret(&self, text: &str) -> bool {
        self.lock().secrets.is_in(text)
    }

    fn lock(&self) -> MutexGuard<'_, Reel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For the input of a step.
pub(crate) struct Sent<'a> {
    secrets: &'a Secrets,
    connections: &'a BTreeMap<u32, u32>,
}

impl Sent<'_> {
    /// Bytes from the guest; withheld when it knows a secret.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Value {
        self.secrets.sent(Bytes(bytes.to_vec()).write())
    }

    /// The same for anything else.
    pub(crate) fn value(&self, value: impl Into<Value>) -> Value {
        self.secrets.sent(value.into())
    }

    /// The number of a connection.
    pub(crate) fn connection(&self, handle: u32) -> Value {
        self.connections.get(&handle).copied().into()
    }
}

impl Reel {
    fn begin(&mut self, call: &str, input: Value) -> Pending {
        if self.steps.len() >= MAX_STEPS {
            return Pending::unrecorded();
        }
        self.steps.push(Step { call: call.to_owned(), input, output: None, us: 0 });
        Pending(Some(self.steps.len() - 1))
    }

    fn next(&mut self, call: &str, input: &Value) -> wasmtime::Result<Value> {
        if self.diverged.is_some() {
            return Err(OffScript.into());
        }
        let Some(step) = self.steps.get(self.at) else { return Err(self.off(shown(call, input), None)) };
        if step.call != call || step.input != *input {
            return Err(self.off(shown(call, input), None));
        }
        let output = step.output.clone();
        self.at += 1;
        Ok(output.ok_or(HeldUp)?)
    }

    /// The next answer to a call of this name; when there is none, what a host says that has had enough.
    fn anything_like(&mut self, call: &str) -> Option<Value> {
        let rest = self.steps.get(self.at..).unwrap_or_default();
        if let Some(ahead) = rest.iter().position(|step| step.call == call) {
            let output = rest[ahead].output.clone();
            self.at += ahead + 1;
            return output;
        }
        match call {
            "dial.connect" => Some(json!({"error": "refused"})),
            "dial.read" => Some(json!({"ok": ""})),
            "dial.start-tls" => Some(json!({"error": "closed"})),
            "fetch.send" => Some(json!({"error": "refused"})),
            "files.read" | "names.addresses" | "names.services" => Some(json!({"error": "missing"})),
            "dial.write" | "host.log" => Some(json!({"ok": true})),
            "host.remaining-ms" => Some(json!({"ok": 1})),
            _ => stand_in(call),
        }
    }

    fn off(&mut self, found: String, expected: Option<String>) -> wasmtime::Error {
        let expected = expected.unwrap_or_else(|| {
            self.steps
                .get(self.at)
                .map_or_else(|| "the end".to_owned(), |step| shown(&step.call, &step.input))
        });
        self.diverged.get_or_insert(Divergence { step: self.at + 1, expected, found });
        OffScript.into()
    }
}

/// What there is in place of an answer of WASI: clocks stand still, and who asks for random bytes has zeros ready.
fn stand_in(call: &str) -> Option<Value> {
    matches!(call, "wasi.wall-clock" | "wasi.monotonic-clock").then(|| json!({"ok": STILL}))
}

/// A step on one line, cut where it gets long.
fn shown(call: &str, input: &Value) -> String {
    let text = if input.is_null() { call.to_owned() } else { format!("{call} {input}") };
    crate::text::one_line(&text, 200)
}

/// An answer without the secrets that it shows.
fn strike(secrets: &Secrets, value: Value) -> Value {
    match value {
        Value::String(text) => secrets.strike_text(&text).into(),
        Value::Array(items) => items.into_iter().map(|item| strike(secrets, item)).collect(),
        Value::Object(_) if value.get("base64").is_some() => {
            Bytes::read(&value).map_or(value, |bytes| Bytes(secrets.strike(&bytes.0)).write())
        }
        Value::Object(fields) => {
            fields.into_iter().map(|(key, value)| (key, strike(secrets, value))).collect()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests;
