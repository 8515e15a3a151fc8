//! Answers otherwise each time: with the time, and with a hash whose seed is random.

#![cfg(target_family = "wasm")]
#[path = "../base/check.rs"]
mod base;
use base::*;

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

struct Guest;

impl Behaviour for Guest {
    #[allow(clippy::disallowed_methods, reason = "this guest is here to do it")]
    fn check(_: Target, _: Settings) -> Result<Verdict, Fault> {
        let began = Instant::now();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
        let chance = RandomState::new().hash_one(7);
        let left = host::remaining_ms();
        passed(format!("{now} {chance} {left} {}", began.elapsed().as_nanos()))
    }
}

guest!(Guest);
