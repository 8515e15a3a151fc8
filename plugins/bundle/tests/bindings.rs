//! The bindings in `sdk/src/bindings` are what wit-bindgen makes of `wit/`. They are kept, so that a plugin's author needs
//! neither the generator nor a registry to build the SDK.
//!
//! After a change to `wit/` or another version of wit-bindgen:
//! `cargo test --release --workspace --test bindings -- --ignored`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};

const MODULES: [&str; 4] = ["about", "checker", "filter", "lookup"];

fn kept(module: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/src/bindings").join(format!("{module}.rs"))
}

fn made(module: &str) -> String {
    fs::read_to_string(Path::new(env!("OUT_DIR")).join("bindings").join(format!("{module}.rs"))).unwrap()
}

#[test]
fn the_kept_bindings_are_those_of_the_interfaces() {
    for module in MODULES {
        let text = fs::read_to_string(kept(module)).unwrap();
        assert!(text == made(module), "{} is out of date: see the head of this file", kept(module).display());
    }
}

#[test]
#[ignore = "writes sdk/src/bindings"]
fn the_bindings_are_written_anew() {
    for module in MODULES {
        fs::write(kept(module), made(module)).unwrap();
    }
}
