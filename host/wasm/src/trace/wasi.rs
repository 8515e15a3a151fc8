//! The clocks and the random bytes of WASI, through the tape.

use super::{
    tape::{Tape, Turn},
    words::{Bytes, Never, Word},
};
use rand_core::TryRng;
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::time::Instant;
use wasmtime_wasi::clocks::{HostMonotonicClock, HostWallClock};

/// Asks the tape, else the host. A call that is off its script gets `lost`: it cannot be ended from in here, but the
/// next call of any other function ends it.
fn through<T: Word>(tape: &Tape, call: &'static str, input: Value, live: impl FnOnce() -> T, lost: T) -> T {
    let began = Instant::now();
    match tape.turn::<Result<T, Never>>(call, |_| input) {
        Ok(Turn::Played(Ok(answer))) => answer,
        Ok(Turn::Live(pending)) => {
            let answer = Ok::<_, Never>(live());
            tape.done(&pending, &answer, began.elapsed());
            match answer {
                Ok(answer) => answer,
                Err(never) => match never {},
            }
        }
        Ok(Turn::Played(Err(never))) => match never {},
        Err(_) => lost,
    }
}

/// Both clocks.
pub(crate) struct TapedClock {
    tape: Tape,
    began: Instant,
}

impl TapedClock {
    pub(crate) fn new(tape: &Tape) -> Self {
        Self { tape: tape.clone(), began: Instant::now() }
    }
}

impl HostWallClock for TapedClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        #[allow(
            clippy::disallowed_methods,
            reason = "what a guest is told of the time, as wasmtime's own clock tells it"
        )]
        let now = || nanos(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        Duration::from_nanos(through(&self.tape, "wasi.wall-clock", Value::Null, now, 0))
    }
}

impl HostMonotonicClock for TapedClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        through(&self.tape, "wasi.monotonic-clock", Value::Null, || nanos(self.began.elapsed()), 0)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// One of the two sources of random bytes.
pub(crate) struct TapedRandom {
    tape: Tape,
    call: &'static str,
}

impl TapedRandom {
    pub(crate) fn new(tape: &Tape, call: &'static str) -> Self {
        Self { tape: tape.clone(), call }
    }
}

impl TryRng for TapedRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        let length = bytes.len();
        let live = || {
            let mut fresh = vec![0; length];
            rand::RngCore::fill_bytes(&mut rand::rng(), &mut fresh);
            Bytes(fresh)
        };
        let got = through(&self.tape, self.call, json!({"length": length}), live, Bytes(vec![0; length]));
        // a trace that was edited may hold fewer
        bytes.fill(0);
        let most = length.min(got.0.len());
        bytes[..most].copy_from_slice(&got.0[..most]);
        Ok(())
    }
}
