//! Decides by the clock and by chance, which must be the same each time.

#![cfg(target_family = "wasm")]
#[path = "../base/filter.rs"]
mod base;
use base::*;

use std::{
    hash::{BuildHasher, RandomState},
    time::{Instant, SystemTime},
};

struct Guest;

impl Behaviour for Guest {
    fn select(_: &Subscriber, among: &View, _: Settings) -> Result<Selection, Fault> {
        let chance = RandomState::new().hash_one("x");
        let now =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        let elapsed = Instant::now().elapsed().as_nanos() as u64;
        let bits = chance ^ now ^ elapsed;
        Ok(Selection::Only((0..among.count().min(64)).filter(|bit| bits >> bit & 1 == 1).collect()))
    }
}

guest!(Guest);
