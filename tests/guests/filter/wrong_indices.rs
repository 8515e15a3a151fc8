//! Selects what is not there, twice, or in the wrong order.

#![cfg(target_family = "wasm")]
#[path = "../base/filter.rs"]
mod base;
use base::*;

struct Guest;

impl Behaviour for Guest {
    fn select(_: &Subscriber, among: &View, settings: Settings) -> Result<Selection, Fault> {
        Ok(Selection::Only(match what(&settings) {
            "past the end" => vec![among.count()],
            "twice" => vec![1, 1],
            "descending" => vec![1, 0],
            "many" => vec![0; 300_000],
            _ => return Ok(Selection::All),
        }))
    }
}

guest!(Guest);
