//! Answers megabytes.

#![cfg(target_family = "wasm")]
#[path = "../base/check.rs"]
mod base;
use base::*;

struct Guest;

impl Behaviour for Guest {
    fn check(_: Target, settings: Settings) -> Result<Verdict, Fault> {
        let long = |n: usize| "\u{e9}".repeat(n / 2);
        let (code, message, facts) = match what(&settings) {
            "code" => (long(1 << 19), String::new(), vec![]),
            "facts" => (String::new(), String::new(), vec![(long(1000), long(1000)); 200]),
            "too much" => (String::new(), long(4 << 20), vec![]),
            _ => (String::new(), long(1 << 19), vec![]),
        };
        Ok(Verdict { outcome: Outcome::Warning, code, message, facts })
    }
    fn validate(_: Settings) -> Vec<Problem> {
        vec![Problem { key: "k".repeat(1000), message: "m".repeat(1000) }; 300]
    }
}

guest!(Guest);
