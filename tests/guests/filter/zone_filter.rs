//! Keeps the instances of the subscriber's zone: what a good filter does, for its price.

#![cfg(target_family = "wasm")]
#[path = "../base/filter.rs"]
mod base;
use base::*;

struct Guest;

impl Behaviour for Guest {
    fn select(who: &Subscriber, among: &View, _: Settings) -> Result<Selection, Fault> {
        let Some(zone) = who.label("zone") else { return Ok(Selection::All) };
        let column = among.metadata("zone");
        let Some(at) = column.values.iter().position(|value| *value == zone) else {
            return Ok(Selection::Only(vec![]));
        };
        let wanted = at as u32 + 1;
        let matching = column.codes.iter().zip(0u32..).filter(|(code, _)| **code == wanted);
        Ok(Selection::Only(matching.map(|(_, index)| index).collect()))
    }
}

guest!(Guest);
