//! Asks over HTTP for the path that it is told.

#![cfg(target_family = "wasm")]
#[path = "../base/check.rs"]
mod base;
use base::*;

struct Guest;

impl Behaviour for Guest {
    fn check(_: Target, settings: Settings) -> Result<Verdict, Fault> {
        let (endpoint, path) = match what(&settings) {
            "elsewhere" => (Some("what"), "/"),
            path => (None, path),
        };
        let request = fetch::Request {
            method: "GET".into(),
            path: path.into(),
            headers: vec![],
            body: vec![],
            timeout_ms: None,
        };
        match fetch::send(endpoint, &request) {
            Ok(answer) => {
                passed(format!("{} with {} bytes, cut {}", answer.status, answer.body.len(), answer.cut))
            }
            Err(error) => failed(format!("{error:?}")),
        }
    }
}

guest!(Guest);
