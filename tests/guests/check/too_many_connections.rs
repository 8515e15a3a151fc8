//! Opens connections and keeps them.

#![cfg(target_family = "wasm")]
#[path = "../base/check.rs"]
mod base;
use base::*;

struct Guest;

impl Behaviour for Guest {
    fn check(_: Target, settings: Settings) -> Result<Verdict, Fault> {
        let wanted: usize = what(&settings).parse().unwrap_or(9);
        let mut kept = Vec::new();
        for _ in 0..wanted {
            match dial::connect(None) {
                Ok(connection) => kept.push(connection),
                Err(error) => return failed(format!("{} then {error:?}", kept.len())),
            }
        }
        passed(format!("{} connections", kept.len()))
    }
}

guest!(Guest);
