//! Bindings for C and Go, and components out of core modules.
//!
//! These are the commands `wit-bindgen c`, `wit-bindgen go`, `wasm-tools component embed` and `component new`, made of
//! the libraries that those programs are made of. Installing the programs gives the same and takes eight times as long:
//! they can do much more.

use anyhow::{Context, bail};
use std::fs;
use std::path::Path;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as WASI, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as ADAPTER,
};
use wit_bindgen_core::wit_parser::{Resolve, WorldId};
use wit_bindgen_core::{Files, WorldGenerator};
use wit_component::{ComponentEncoder, StringEncoding};

const USAGE: &str = "probe-tool c|go WIT WORLD FOLDER
probe-tool new MODULE COMPONENT
probe-tool embed-and-new WIT WORLD MODULE COMPONENT";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["c", wit, world, folder] => bindings(wit_bindgen_c::Opts::default().build(), wit, world, folder),
        ["go", wit, world, folder] => bindings(wit_bindgen_go::Opts::default().build(), wit, world, folder),
        ["new", module, component] => new(&read(module)?, component),
        ["embed-and-new", wit, world, module, component] => {
            let mut module = read(module)?;
            let (resolve, world) = world_of(wit, world)?;
            wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)?;
            new(&module, component)
        }
        _ => bail!("{USAGE}"),
    }
}

fn read(path: &str) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| path.to_owned())
}

fn world_of(wit: &str, world: &str) -> anyhow::Result<(Resolve, WorldId)> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit)?;
    let world = resolve.select_world(&[package], Some(world))?;
    Ok((resolve, world))
}

fn bindings(
    mut generator: Box<dyn WorldGenerator>,
    wit: &str,
    world: &str,
    folder: &str,
) -> anyhow::Result<()> {
    let (mut resolve, world) = world_of(wit, world)?;
    let mut files = Files::default();
    generator.generate(&mut resolve, world, &mut files)?;
    for (name, bytes) in files.iter() {
        let path = Path::new(folder).join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, bytes).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// A component out of a module that carries the world it was made for.
fn new(module: &[u8], component: &str) -> anyhow::Result<()> {
    let mut encoder = ComponentEncoder::default();
    // the adapter is left out again when the module does not import from it
    let bytes = encoder.validate(true).module(module)?.adapter(WASI, ADAPTER)?.encode()?;
    fs::write(component, bytes).with_context(|| component.to_owned())
}
