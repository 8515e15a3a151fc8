//! Logs without end, and with line breaks.

#![cfg(target_family = "wasm")]
#[path = "../base/check.rs"]
mod base;
use base::*;

struct Guest;

impl Behaviour for Guest {
    fn check(_: Target, settings: Settings) -> Result<Verdict, Fault> {
        let size = if what(&settings) == "huge" { 2 << 20 } else { 10_000 };
        for _ in 0..200 {
            host::log(host::Level::Debug, &"x\n".repeat(size / 2));
            eprintln!("{}", "y".repeat(1000));
        }
        passed("logged")
    }
}

guest!(Guest);
