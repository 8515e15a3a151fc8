//! Takes memory until there is no more.

#![cfg(target_family = "wasm")]
#[path = "../base/check.rs"]
mod base;
use base::*;

struct Guest;

impl Behaviour for Guest {
    fn check(_: Target, _: Settings) -> Result<Verdict, Fault> {
        let mut taken = Vec::new();
        loop {
            taken.push(std::hint::black_box(vec![1u8; 1 << 20]));
        }
    }
}

guest!(Guest);
