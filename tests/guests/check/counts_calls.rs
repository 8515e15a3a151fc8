//! Remembers: how often this instance was called, and what it was told.

#![cfg(target_family = "wasm")]
#[path = "../base/check.rs"]
mod base;
use base::*;

use std::cell::RefCell;

struct Guest;

thread_local! {
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static HELD: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

impl Behaviour for Guest {
    fn describe() -> Descriptor {
        let mut secret = text("password");
        secret.kind = Kind::Secret;
        describe(vec![text("what"), secret])
    }
    fn validate(settings: Settings) -> Vec<Problem> {
        // says what it was shown of the secret
        let shown = settings.into_iter().filter(|(key, _)| key == "password");
        shown.map(|(key, message)| Problem { key, message }).collect()
    }
    fn check(target: Target, settings: Settings) -> Result<Verdict, Fault> {
        if what(&settings) == "swell" {
            HELD.with_borrow_mut(|held| held.push(std::hint::black_box(vec![1; 10 << 20])));
        }
        SEEN.with_borrow_mut(|seen| {
            seen.push(target.namespace);
            let namespaces: std::collections::BTreeSet<_> = seen.iter().cloned().collect();
            let namespaces: Vec<_> = namespaces.into_iter().collect();
            passed(format!("{} from {}", seen.len(), namespaces.join("+")))
        })
    }
}

guest!(Guest);
