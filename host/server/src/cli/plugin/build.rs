//! `muster plugin build`: cargo or the project's own script, and what comes of it beside its manifest, ready for a node's plugin folder.

use super::project::{MANIFEST, Toolchain, component_of, manifest, run_script, toolchain};
use super::{Failure, failed, load_component};
use crate::cli::{exit, print_line, runtime};
use muster_wasm::Inspection;
use serde_json::Value;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const TARGET: &str = "wasm32-wasip2";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Build {
    /// Folder of the project
    #[arg(default_value = ".")]
    project: PathBuf,
}

pub(super) fn run(build: &Build) -> Result<u8, Failure> {
    let root = &build.project;
    let manifest = manifest(root)?;
    let built = match toolchain(root)? {
        Toolchain::Cargo => {
            have_target(root)?;
            compile(root)?
        }
        Toolchain::Script { script, left } => run_script(&script, left)?,
    };
    let component = component_of(root)?;
    let inspection = keep(root, &built, &component).map_err(failed)?;
    // it is taken in once, as a node would: a wrong name or a missing grant is found here
    let path = component.to_string_lossy();
    runtime()?.block_on(load_component(&path))?;
    print_line(&format!(
        "{}  {}  {} bytes\nsha256 {}\nnext: muster plugin check {}",
        component.display(),
        manifest.plugin.name,
        inspection.size,
        inspection.sha256,
        component.display()
    ));
    Ok(exit::OK)
}

fn have_target(root: &Path) -> Result<(), Failure> {
    let asked = Command::new("rustc")
        .current_dir(root)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|error| not_found("rustc", &error))?;
    let folder = PathBuf::from(String::from_utf8_lossy(&asked.stdout).trim());
    let is_std = |entry: fs::DirEntry| entry.file_name().to_string_lossy().starts_with("libstd-");
    if fs::read_dir(folder).is_ok_and(|entries| entries.flatten().any(is_std)) {
        return Ok(());
    }
    Err(failed(format!("the Rust toolchain has no target {TARGET}; run: rustup target add {TARGET}")))
}

fn not_found(program: &str, error: &io::Error) -> Failure {
    failed(format!("cannot run {program}: {error}; install Rust from https://rustup.rs"))
}

/// The component that cargo made.
fn compile(root: &Path) -> Result<PathBuf, Failure> {
    let cargo = Command::new("cargo")
        .current_dir(root)
        .args(["build", "--release", "--target", TARGET, "--message-format=json-render-diagnostics"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| not_found("cargo", &error))?;
    if !cargo.status.success() {
        return Err(failed("the project does not compile"));
    }
    let mut found = None;
    for line in String::from_utf8_lossy(&cargo.stdout).lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
        let mut files = message["filenames"].as_array().into_iter().flatten().filter_map(Value::as_str);
        // the last one is the package itself
        found = files.rfind(|file| file.ends_with(".wasm")).map(PathBuf::from).or(found);
    }
    found.ok_or_else(|| failed("cargo made no component; Cargo.toml needs: [lib] crate-type = [\"cdylib\"]"))
}

/// Puts the component and its manifest where they are handed out from, the manifest with the component's digest.
fn keep(root: &Path, built: &Path, component: &Path) -> Result<Inspection, String> {
    let text = |error: io::Error| format!("{}: {error}", component.display());
    let wasm = fs::read(built).map_err(|error| format!("{}: {error}", built.display()))?;
    let inspection = muster_wasm::inspect(&wasm).map_err(|error| format!("{}: {error}", built.display()))?;
    let manifest = fs::read_to_string(root.join(MANIFEST)).map_err(text)?;
    component.parent().map_or(Ok(()), fs::create_dir_all).map_err(text)?;
    fs::write(component, &wasm).map_err(text)?;
    fs::write(component.with_extension("toml"), with_digest(&manifest, &inspection.sha256)).map_err(text)?;
    Ok(inspection)
}

/// The manifest with the digest of the component, unless its author wrote one.
fn with_digest(manifest: &str, digest: &str) -> String {
    if manifest.lines().any(|line| line.trim_start().starts_with("sha256")) {
        return manifest.to_owned();
    }
    manifest.replacen("[plugin]\n", &format!("[plugin]\nsha256 = \"{digest}\"\n"), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_added_once() {
        let manifest = "# mine\n[plugin]\nname = \"x\"\n";
        let with = with_digest(manifest, "ab");
        assert_eq!(with, "# mine\n[plugin]\nsha256 = \"ab\"\nname = \"x\"\n");
        assert_eq!(with_digest(&with, "cd"), with);
    }
}
