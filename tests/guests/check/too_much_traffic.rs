//! Sends or receives more than a check may.

#![cfg(target_family = "wasm")]
#[path = "../base/check.rs"]
mod base;
use base::*;

struct Guest;

impl Behaviour for Guest {
    fn check(_: Target, settings: Settings) -> Result<Verdict, Fault> {
        let Ok(connection) = dial::connect(None) else { return failed("no connection") };
        let mut moved = 0;
        loop {
            let step = match what(&settings) {
                "read" => connection.read(1 << 16).map(|bytes| bytes.len()),
                "at once" => connection.write(&vec![0; 1 << 21]).map(|()| 1 << 21),
                _ => connection.write(&[0; 1 << 14]).map(|()| 1 << 14),
            };
            match step {
                Ok(0) => return passed(format!("{moved} bytes")),
                Ok(bytes) => moved += bytes,
                Err(error) => return failed(format!("{moved} then {error:?}")),
            }
        }
    }
}

guest!(Guest);
