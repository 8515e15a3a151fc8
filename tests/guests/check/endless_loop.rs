//! Never returns and never calls the host.

#![cfg(target_family = "wasm")]
#[path = "../base/check.rs"]
mod base;
use base::*;

struct Guest;

impl Behaviour for Guest {
    fn check(_: Target, _: Settings) -> Result<Verdict, Fault> {
        let mut n = 0u32;
        loop {
            n = std::hint::black_box(n.wrapping_add(1));
        }
    }
}

guest!(Guest);
