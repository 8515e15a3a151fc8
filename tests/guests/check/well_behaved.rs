//! Connects and says so; every other test uses it to show that the host still serves.

#![cfg(target_family = "wasm")]
#[path = "../base/check.rs"]
mod base;
use base::*;

struct Guest;

impl Behaviour for Guest {
    fn describe() -> Descriptor {
        Descriptor { name: "good".into(), ..describe(vec![]) }
    }
    fn check(_: Target, _: Settings) -> Result<Verdict, Fault> {
        match dial::connect(None) {
            Ok(_) => passed("connected"),
            Err(error) => failed(format!("{error:?}")),
        }
    }
}

guest!(Guest);
