//! Plugins that misbehave on purpose: builds them, once for each test process, and hands out their bytes.
//!
//! They are `[[example]]`s of this package, because one cargo run then makes them all. Natively each is an empty
//! library.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The folders of guests, one for each world.
pub const KINDS: [&str; 3] = ["check", "lookup", "filter"];

/// The bytes of a guest, by the name of its file.
///
/// # Panics
/// When there is no such guest or the guests cannot be built: a test cannot go on.
#[allow(clippy::panic, reason = "used by tests only")]
pub fn component(name: &str) -> Vec<u8> {
    let path = built().join(format!("{name}.wasm"));
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of all guests on disk.
///
/// # Panics
/// When the folders cannot be read.
#[allow(clippy::panic, reason = "used by tests only")]
pub fn on_disk() -> Vec<String> {
    let mut names = Vec::new();
    for kind in KINDS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(kind);
        let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let stem =
            |file: fs::DirEntry| file.path().file_stem().map(|stem| stem.to_string_lossy().into_owned());
        names.extend(files.flatten().filter_map(stem));
    }
    names.sort();
    names
}

/// The folder of the built guests.
#[allow(clippy::panic, reason = "used by tests only")]
fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let target = package.join("../../target/guests");
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--examples", "--release", "--target", "wasm32-wasip2", "--manifest-path"])
            .arg(package.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(&target)
            // what the outer cargo was told is not meant for the guests
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_TARGET_DIR")
            // small components compile fast
            .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
            .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
            .status();
        match status {
            Ok(status) if status.success() => target.join("wasm32-wasip2/release/examples"),
            Ok(status) => panic!(
                "the guests cannot be built ({status}); if the target is missing: rustup target add wasm32-wasip2"
            ),
            Err(error) => panic!("cargo cannot be run: {error}"),
        }
    })
}
