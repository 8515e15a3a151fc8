//! Keeps a connection for the next call, to reach the former target with it.

#![cfg(target_family = "wasm")]
#[path = "../base/check.rs"]
mod base;
use base::*;

use std::cell::RefCell;

struct Guest;

thread_local! {
    static KEPT: RefCell<Option<dial::Connection>> = const { RefCell::new(None) };
}

impl Behaviour for Guest {
    fn check(_: Target, _: Settings) -> Result<Verdict, Fault> {
        KEPT.with_borrow_mut(|kept| match kept {
            Some(connection) => passed(format!("kept: {:?}", connection.write(b"again"))),
            None => match dial::connect(None) {
                Ok(connection) => {
                    *kept = Some(connection);
                    passed("new")
                }
                Err(error) => failed(format!("{error:?}")),
            },
        })
    }
}

guest!(Guest);
