//! Wants the files of a member lookup although it is a health check.

#![cfg(target_family = "wasm")]

wit_bindgen::generate!({
    path: "../../wit/since_v0.1.0",
    inline: "
        package test:guest;
        world greedy {
            include muster:plugin/health-check@0.1.0;
            import muster:plugin/files@0.1.0;
        }
    ",
    world: "test:guest/greedy",
    generate_all,
});

use exports::muster::plugin::{
    about,
    checker::{self, Outcome, Target, Verdict},
};
use muster::plugin::{
    files,
    types::{Descriptor, Fault, Problem},
};

struct Component;

impl about::Guest for Component {
    fn describe() -> Descriptor {
        Descriptor { name: "guest".into(), version: "1.0.0".into(), summary: String::new(), settings: vec![] }
    }
    fn validate(_: Vec<(String, String)>) -> Vec<Problem> {
        Vec::new()
    }
}

impl checker::Guest for Component {
    fn check(_: Target, _: Vec<(String, String)>) -> Result<Verdict, Fault> {
        let message = format!("{:?}", files::read("cluster.conf").map(|content| content.stamp));
        Ok(Verdict { outcome: Outcome::Passed, code: String::new(), message, facts: vec![] })
    }
}

export!(Component);
