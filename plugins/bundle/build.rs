//! Compiles every plugin beside this crate to a component, in one nested cargo run.
//!
//! A plugin is a folder of `plugins/` with a `plugin.toml`; its package is `muster-` and the folder's name. The
//! nested run has its own folder below the target folder, and with it its own lock: the outer run holds the other
//! one for as long as this script runs.

#![allow(clippy::print_stdout, reason = "a build script speaks to cargo through its output")]

mod bindings;

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

const TARGET: &str = "wasm32-wasip2";
const PROFILE: &str = "plugin";

/// What the outer run sets for itself and a build for another target must not inherit: flags for this machine,
/// the wrapper that makes a run of clippy, the outer folders.
const NOT_INHERITED: [&str; 10] = [
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "RUSTFLAGS",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTC_WRAPPER",
];

struct Plugin {
    folder: PathBuf,
    package: String,
    name: String,
    kind: String,
}

type Failure = Box<dyn std::error::Error>;

fn main() {
    if let Err(failure) = run() {
        for line in failure.to_string().lines() {
            println!("cargo::error={line}");
        }
        exit(1);
    }
}

fn run() -> Result<(), Failure> {
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let root = here.join("../..").canonicalize()?;
    let out = PathBuf::from(variable("OUT_DIR")?);
    let plugins = find(&root.join("plugins"))?;
    watch(&root, &plugins);
    bindings::write(&root, &out.join("bindings"))?;
    have_target()?;
    let built = target_folder(&out).join("plugins");
    compile(&root, &built, &plugins)?;
    let mut list = String::from("&[\n");
    for plugin in &plugins {
        list.push_str(&bundle(plugin, &built, &out)?);
    }
    list.push_str("]\n");
    Ok(fs::write(out.join("bundled.rs"), list)?)
}

fn variable(name: &str) -> Result<String, Failure> {
    let value = env::var_os(name).ok_or_else(|| format!("{name} is not set"))?;
    value.into_string().map_err(|_| format!("{name} is not UTF-8").into())
}

/// All plugins, in the order of their folders.
fn find(folder: &Path) -> Result<Vec<Plugin>, Failure> {
    let mut plugins = Vec::new();
    for entry in fs::read_dir(folder)? {
        let folder = entry?.path();
        let manifest = folder.join("plugin.toml");
        if manifest.is_file() {
            let text = fs::read_to_string(&manifest)?;
            let value = |key| {
                value_of(&text, key).ok_or_else(|| format!("{}: no {key} in [plugin]", manifest.display()))
            };
            let package = format!("muster-{}", folder.file_name().unwrap_or_default().to_string_lossy());
            plugins.push(Plugin { name: value("name")?, kind: value("kind")?, package, folder });
        }
    }
    plugins.sort_by(|a, b| a.folder.cmp(&b.folder));
    Ok(plugins)
}

/// The text of `key` in `[plugin]`, which comes first. The host parses the manifest in full.
fn value_of(manifest: &str, key: &str) -> Option<String> {
    let section = manifest.split_once("[plugin]")?.1;
    let section = section.split("\n[").next()?;
    let line = section.lines().find_map(|line| line.trim().strip_prefix(key)?.trim().strip_prefix('='))?;
    Some(line.trim().split('"').nth(1)?.to_owned())
}

/// Everything that a component is made of.
fn watch(root: &Path, plugins: &[Plugin]) {
    for path in ["Cargo.toml", "Cargo.lock", "wit", "sdk/src", "sdk/wit", "sdk/Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    for plugin in plugins {
        for path in ["src", "Cargo.toml", "plugin.toml"] {
            println!("cargo::rerun-if-changed={}", plugin.folder.join(path).display());
        }
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=bindings.rs");
}

/// Says how to get the target when the toolchain lacks it.
fn have_target() -> Result<(), Failure> {
    let asked = Command::new(variable("RUSTC")?)
        .args(["--print", "target-libdir", "--target", TARGET])
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()?;
    let folder = PathBuf::from(String::from_utf8_lossy(&asked.stdout).trim());
    let has_std = fs::read_dir(folder).is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
    });
    if has_std {
        return Ok(());
    }
    Err(format!(
        "the plugins need the target {TARGET}: run `rustup target add {TARGET}`, or `.ci/wasm-target.sh`"
    )
    .into())
}

/// The folder that the outer run builds in; cargo marks it.
fn target_folder(out: &Path) -> PathBuf {
    let marked = out.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    marked.unwrap_or(out).to_owned()
}

/// The lock file needs no `--locked` here: the outer run has just brought it up to date.
fn compile(root: &Path, built: &Path, plugins: &[Plugin]) -> Result<(), Failure> {
    let mut cargo = Command::new(variable("CARGO")?);
    cargo
        .current_dir(root)
        .args(["build", "--profile", PROFILE, "--target", TARGET, "--target-dir"])
        .arg(built);
    for plugin in plugins {
        cargo.args(["-p", &plugin.package]);
    }
    for name in NOT_INHERITED {
        cargo.env_remove(name);
    }
    let result = cargo.output()?;
    if result.status.success() {
        return Ok(());
    }
    Err(format!("the plugins do not compile:\n{}", String::from_utf8_lossy(&result.stderr)).into())
}

/// Keeps the component with this build's output, and gives its line of the list.
fn bundle(plugin: &Plugin, built: &Path, out: &Path) -> Result<String, Failure> {
    let file = format!("{}.wasm", plugin.package.replace('-', "_"));
    let component = out.join(&file);
    let source = built.join(TARGET).join(PROFILE).join(&file);
    fs::copy(&source, &component).map_err(|error| format!("{}: {error}", source.display()))?;
    let mut line = String::new();
    writeln!(
        line,
        "    Bundled {{ name: {:?}, kind: {:?}, wasm: include_bytes!({:?}), manifest: include_str!({:?}) }},",
        plugin.name,
        plugin.kind,
        component,
        plugin.folder.join("plugin.toml"),
    )?;
    Ok(line)
}
