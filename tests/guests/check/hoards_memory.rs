//! Keeps a little of every call.

#![cfg(target_family = "wasm")]
#[path = "../base/check.rs"]
mod base;
use base::*;

use std::cell::RefCell;

struct Guest;

thread_local! {
    static HELD: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

impl Behaviour for Guest {
    fn check(_: Target, _: Settings) -> Result<Verdict, Fault> {
        HELD.with_borrow_mut(|held| held.push(std::hint::black_box(vec![1; 32 << 10])));
        failed("")
    }
}

guest!(Guest);
