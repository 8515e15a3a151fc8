//! Calls itself by another name.

#![cfg(target_family = "wasm")]
#[path = "../base/check.rs"]
mod base;
use base::*;

struct Guest;

impl Behaviour for Guest {
    fn describe() -> Descriptor {
        Descriptor { name: "TCP".into(), ..describe(vec![]) }
    }
    fn check(_: Target, _: Settings) -> Result<Verdict, Fault> {
        passed("")
    }
}

guest!(Guest);
