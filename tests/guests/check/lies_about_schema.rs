//! Describes settings that cannot be.

#![cfg(target_family = "wasm")]
#[path = "../base/check.rs"]
mod base;
use base::*;

struct Guest;

impl Behaviour for Guest {
    fn describe() -> Descriptor {
        let mut number = text("n");
        number.kind = Kind::Integer((1, 5));
        number.default = Some("6".into());
        describe(vec![number])
    }
    fn check(_: Target, _: Settings) -> Result<Verdict, Fault> {
        passed("")
    }
}

guest!(Guest);
