//! Every bundled component is what its manifest says: the exports of its world, and no import that the world does
//! not have but WASI's inert ones.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "helpers of a test")]

use muster_plugins_bundle::{Bundled, plugins};
use std::collections::BTreeSet;
use std::path::Path;
use wit_parser::{Resolve, WorldId, WorldKey};

/// Of WASI, only what the standard library links without being asked, plus chance for RSA padding. No sockets, no
/// files, no HTTP.
const INERT: [&str; 6] = [
    "wasi:cli/",
    "wasi:io/",
    "wasi:clocks/",
    "wasi:random/",
    "wasi:filesystem/",
    "muster:plugin/types@0.1.1",
];

/// Each is compiled at a cold start; past this size that would be noticed.
const MAX_BYTES: usize = 400 << 10;

fn names(resolve: &Resolve, world: WorldId) -> (BTreeSet<String>, BTreeSet<String>) {
    let world = &resolve.worlds[world];
    let of = |keys: Vec<&WorldKey>| keys.into_iter().map(|key| resolve.name_world_key(key)).collect();
    (of(world.imports.keys().collect()), of(world.exports.keys().collect()))
}

/// The world that `wit/since_v0.1.1` has under this name.
fn contract(kind: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut resolve = Resolve::default();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/since_v0.1.1");
    let (package, _) = resolve.push_dir(&folder).unwrap();
    let world = resolve.packages[package].worlds[kind];
    names(&resolve, world)
}

fn component(plugin: &Bundled) -> (BTreeSet<String>, BTreeSet<String>) {
    let decoded = wit_component::decode(plugin.wasm).unwrap();
    let wit_component::DecodedWasm::Component(resolve, world) = decoded else {
        panic!("{} is no component", plugin.name)
    };
    names(&resolve, world)
}

#[test]
fn each_has_the_exports_of_its_world_and_only_its_imports() {
    for plugin in plugins() {
        let (may_import, must_export) = contract(plugin.kind);
        let (imports, exports) = component(plugin);
        assert_eq!(exports, must_export, "{}", plugin.name);
        let beyond: Vec<_> = imports
            .iter()
            .filter(|name| !may_import.contains(*name) && !INERT.iter().any(|inert| name.starts_with(inert)))
            .collect();
        assert!(beyond.is_empty(), "{} imports {beyond:?}", plugin.name);
        let own: Vec<_> = imports.iter().filter(|name| name.starts_with("muster:")).collect();
        println!("{:20} {:>7} bytes {own:?}", plugin.name, plugin.wasm.len());
    }
}

#[test]
fn a_check_imports_only_the_way_to_its_target_that_it_uses() {
    let imports = |name: &str| component(plugins().iter().find(|p| p.name == name).unwrap()).0;
    for (name, has, has_not) in
        [("TCP", "dial", "fetch"), ("HTTP", "fetch", "dial"), ("MYSQL", "dial", "fetch")]
    {
        assert!(imports(name).contains(&format!("muster:plugin/{has}@0.1.1")), "{name}");
        assert!(!imports(name).contains(&format!("muster:plugin/{has_not}@0.1.1")), "{name}");
    }
}

#[test]
fn they_are_small_and_all_there() {
    let names: BTreeSet<_> = plugins().iter().map(|plugin| plugin.name).collect();
    let checks = ["TCP", "HTTP", "MYSQL"].into_iter();
    let lookups = ["standalone", "file", "address-server", "dns"];
    let filters = ["same-cluster-first", "canary", "version-match", "subset"];
    let expected = checks.chain(lookups).chain(filters).collect();
    assert_eq!(names, expected);
    for plugin in plugins() {
        assert!(plugin.wasm.len() < MAX_BYTES, "{} has {} bytes", plugin.name, plugin.wasm.len());
        assert!(plugin.manifest.contains(&format!("name = \"{}\"", plugin.name)));
    }
}
