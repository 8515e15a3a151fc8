//! Never says what it is.

#![cfg(target_family = "wasm")]
#[path = "../base/check.rs"]
mod base;
use base::*;

struct Guest;

impl Behaviour for Guest {
    fn describe() -> Descriptor {
        loop {
            std::hint::black_box(());
        }
    }
    fn check(_: Target, _: Settings) -> Result<Verdict, Fault> {
        passed("")
    }
}

guest!(Guest);
