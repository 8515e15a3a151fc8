//! Wants more remembered than a cookie holds, or names too many servers.

#![cfg(target_family = "wasm")]
#[path = "../base/lookup.rs"]
mod base;
use base::*;

struct Guest;

impl Behaviour for Guest {
    fn find(_: ThisNode, settings: Settings, cookie: Option<Vec<u8>>) -> Result<Answer, Fault> {
        let (members, size) = match what(&settings) {
            "members" => (vec![member("10.0.0.1", vec![]); 2000], 0),
            "fits" => (vec![member("10.0.0.1", vec![])], 4096),
            "address" => (vec![member("10.0.0.1\nfake", vec![])], 0),
            "cookie" => return Ok(Answer::Unchanged(cookie.map_or(0, |cookie| cookie.len() as u32 * 1000))),
            _ => (vec![member("10.0.0.1", vec![])], 5000),
        };
        Ok(Answer::Changed(Members { members, cookie: vec![7; size], next_ms: 0 }))
    }
}

guest!(Guest);
