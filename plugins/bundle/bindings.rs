//! Makes the SDK's bindings from `wit/`, for the test that compares them with those that are kept in `sdk/src/bindings`.
//! Here, because a build script may use wit-bindgen without changing what the rest of the workspace is built from.

use std::fs;
use std::path::Path;
use wit_bindgen_core::{Files, WorldGenerator as _, wit_parser::Resolve};
use wit_bindgen_rust::{Opts, WithOption};

const TYPES: (&str, &str) = ("muster:plugin/types@0.1.1", "crate::bindings::about::muster::plugin::types");
const FETCH: (&str, &str) = ("muster:plugin/fetch@0.1.1", "crate::bindings::checker::muster::plugin::fetch");

/// The modules, and what each takes from another one.
const MODULES: [(&str, &[(&str, &str)]); 4] =
    [("about", &[]), ("checker", &[TYPES]), ("lookup", &[TYPES, FETCH]), ("filter", &[TYPES])];

/// Writes all modules to `folder`.
pub(crate) fn write(root: &Path, folder: &Path) -> Result<(), super::Failure> {
    fs::create_dir_all(folder)?;
    for (module, with) in MODULES {
        fs::write(folder.join(format!("{module}.rs")), generated(root, module, with)?)?;
    }
    Ok(())
}

fn generated(root: &Path, module: &str, with: &[(&str, &str)]) -> Result<Vec<u8>, super::Failure> {
    let mut resolve = Resolve::default();
    let mut packages = Vec::new();
    for folder in ["wit/since_v0.1.1", "sdk/wit"] {
        packages.push(resolve.push_path(root.join(folder))?.0);
    }
    let world = resolve.select_world(&packages, Some(&format!("muster:sdk/{module}-part")))?;
    let path = |&(name, path): &(&str, &str)| (name.to_owned(), WithOption::Path(path.to_owned()));
    let options = Opts {
        format: true,
        pub_export_macro: true,
        generate_all: true,
        default_bindings_module: Some(format!("muster_sdk::bindings::{module}")),
        runtime_path: Some("crate::rt".to_owned()),
        additional_derive_attributes: vec!["PartialEq".to_owned()],
        with: with.iter().map(path).collect(),
        ..Opts::default()
    };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files)?;
    let (_, text) = files.iter().next().ok_or("wit-bindgen made nothing")?;
    Ok(text.to_vec())
}
