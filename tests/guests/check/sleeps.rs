//! Sleeps for an hour through the clock of WASI.

#![cfg(target_family = "wasm")]
#[path = "../base/check.rs"]
mod base;
use base::*;

struct Guest;

impl Behaviour for Guest {
    fn check(_: Target, _: Settings) -> Result<Verdict, Fault> {
        #[allow(clippy::disallowed_methods, reason = "this guest is here to do it")]
        std::thread::sleep(std::time::Duration::from_secs(3600));
        passed("slept")
    }
}

guest!(Guest);
