//! Calls itself without end.

#![cfg(target_family = "wasm")]
#[path = "../base/check.rs"]
mod base;
use base::*;

struct Guest;

#[inline(never)]
fn deeper(n: u64) -> u64 {
    let here = std::hint::black_box([n; 64]);
    if n == u64::MAX { 0 } else { deeper(n + 1) + here[(n % 64) as usize] }
}

impl Behaviour for Guest {
    fn check(_: Target, _: Settings) -> Result<Verdict, Fault> {
        passed(deeper(0).to_string())
    }
}

guest!(Guest);
