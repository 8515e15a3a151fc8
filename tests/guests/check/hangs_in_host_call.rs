//! Waits for a byte that never comes.

#![cfg(target_family = "wasm")]
#[path = "../base/check.rs"]
mod base;
use base::*;

struct Guest;

impl Behaviour for Guest {
    fn check(_: Target, _: Settings) -> Result<Verdict, Fault> {
        let Ok(connection) = dial::connect(None) else { return failed("no connection") };
        match connection.read(1) {
            Ok(bytes) => passed(format!("{} bytes", bytes.len())),
            Err(error) => failed(format!("{error:?}")),
        }
    }
}

guest!(Guest);
