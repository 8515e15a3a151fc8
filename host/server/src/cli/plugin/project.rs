//! What a folder needs to be a project, and where things are in it.

use super::{Failure, failed, usage};
use crate::settings::variable;
use muster_wasm::Manifest;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The manifest of a project.
pub(super) const MANIFEST: &str = "plugin.toml";
/// What builds a project that is not in Rust; for its author to write as he likes.
const SCRIPT: &str = "build";
/// Where it leaves the component.
const LEFT: &str = "target/component.wasm";

/// Bytes of compiled code that are kept for authors, of which the oldest goes first. A plugin in Python has 50 MB.
const MOST_COMPILED: u64 = 512 << 20;

/// How a project is built.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Toolchain {
    Cargo,
    Script { script: PathBuf, left: PathBuf },
}

/// By what there is in its folder.
pub(super) fn toolchain(root: &Path) -> Result<Toolchain, Failure> {
    if root.join("Cargo.toml").is_file() {
        return Ok(Toolchain::Cargo);
    }
    let whole = root.canonicalize().map_err(|error| usage(format!("{}: {error}", root.display())))?;
    let script = whole.join(SCRIPT);
    if script.is_file() {
        return Ok(Toolchain::Script { script, left: whole.join(LEFT) });
    }
    Err(usage(format!(
        "{}: a project has either Cargo.toml or a script `{SCRIPT}` that makes {LEFT}; `muster plugin new NAME --kind … --lang …` makes one with all it needs",
        root.display()
    )))
}

/// The manifest of a project.
pub(super) fn manifest(root: &Path) -> Result<Manifest, Failure> {
    let path = root.join(MANIFEST);
    let text = fs::read_to_string(&path).map_err(|error| {
        usage(format!("{}: {error}; `muster plugin new NAME --kind …` makes a project", path.display()))
    })?;
    Manifest::parse(&text).map_err(|error| usage(format!("{}: {error}", path.display())))
}

/// Where the component of a project is kept.
pub(super) fn component_of(root: &Path) -> Result<PathBuf, Failure> {
    Ok(root.join("dist").join(format!("{}.wasm", manifest(root)?.plugin.name)))
}

/// Runs the script; gives the component that it left.
pub(super) fn run_script(script: &Path, left: PathBuf) -> Result<PathBuf, Failure> {
    // what an earlier run left is not what this one makes
    match fs::remove_file(&left) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed(format!("{}: {error}", left.display())));
        }
        _ => {}
    }
    let folder = script.parent().unwrap_or(Path::new("."));
    let status = std::process::Command::new(script)
        .current_dir(folder)
        .stdin(std::process::Stdio::null())
        .status()
        .map_err(|error| not_run(script, &error))?;
    if !status.success() {
        return Err(failed(format!("the project does not build: {}: {status}", script.display())));
    }
    if !left.is_file() {
        return Err(failed(format!("{} made no {LEFT}", script.display())));
    }
    Ok(left)
}

fn not_run(script: &Path, error: &io::Error) -> Failure {
    let shown = script.display();
    failed(match error.kind() {
        io::ErrorKind::PermissionDenied => format!("cannot run {shown}: {error}; run: chmod +x {shown}"),
        // the script is there
        io::ErrorKind::NotFound => {
            format!("cannot run {shown}: the program that its first line names is not there; install bash")
        }
        _ => format!("cannot run {shown}: {error}"),
    })
}

/// Where compiled code of this component is kept, if it is that of a project: its author runs one command after the
/// other. Never in the project itself, which may come from somebody else.
pub(super) fn compiled(component: &Path) -> Option<PathBuf> {
    let dist = component.canonicalize().ok()?.parent()?.to_owned();
    let built = dist.ends_with("dist") && dist.parent()?.join(MANIFEST).is_file();
    let folder = built.then(|| cache_of_user(variable("XDG_CACHE_HOME"), variable("HOME"))).flatten()?;
    make_room(&folder, MOST_COMPILED);
    Some(folder)
}

/// As the XDG base directory specification has it: a path that is not absolute does not count.
fn cache_of_user(xdg: Option<String>, home: Option<String>) -> Option<PathBuf> {
    let absolute = |path: Option<String>| path.map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = absolute(xdg).or_else(|| absolute(home).map(|home| home.join(".cache")))?;
    Some(caches.join("muster/compiled"))
}

/// Deletes the oldest compiled code until there is no more than `most` bytes of it. What cannot be read or deleted is
/// left: another command may be doing the same.
fn make_room(folder: &Path, most: u64) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut kept: Vec<(SystemTime, u64, PathBuf)> = entries
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "cwasm" || end == "tmp"))
        .filter_map(|entry| {
            let about = entry.metadata().ok()?;
            Some((about.modified().ok()?, about.len(), entry.path()))
        })
        .collect();
    kept.sort();
    let mut total: u64 = kept.iter().map(|(_, size, _)| size).sum();
    for (_, size, path) in kept {
        if total <= most {
            return;
        }
        if fs::remove_file(path).is_ok() {
            total -= size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;

    fn folder(files: &[(&str, &str)]) -> TempDir {
        let folder = TempDir::new().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        folder
    }

    fn built(text: &str) -> Result<Vec<u8>, String> {
        let project = folder(&[("build", text), (LEFT, "of yesterday")]);
        let Toolchain::Script { script, left } = toolchain(project.path()).unwrap() else {
            panic!("no script")
        };
        run_script(&script, left)
            .map(|left| fs::read(left).unwrap())
            .map_err(|failure| failure.message().to_owned())
    }

    #[test]
    fn a_project_is_known_by_its_files() {
        let rust = folder(&[("Cargo.toml", ""), ("build", "")]);
        assert_eq!(toolchain(rust.path()).unwrap(), Toolchain::Cargo);
        let nothing = toolchain(folder(&[]).path()).unwrap_err();
        assert!(nothing.message().contains("either Cargo.toml or a script `build`"), "{}", nothing.message());
    }

    #[test]
    fn only_what_this_run_of_the_script_left_counts() {
        assert_eq!(built("#!/bin/sh\nprintf new > target/component.wasm\n").unwrap(), b"new");
        assert!(built("#!/bin/sh\n").unwrap_err().contains("made no target/component.wasm"));
        assert!(built("#!/bin/sh\nexit 3\n").unwrap_err().contains("exit status: 3"));
    }

    #[test]
    fn a_script_that_cannot_be_run_says_why() {
        assert!(built("#!/nowhere/bash\n").unwrap_err().contains("install bash"));
        let project = folder(&[("build", "#!/bin/sh\n")]);
        let script = project.path().join("build");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o644)).unwrap();
        let refused = run_script(&script, project.path().join(LEFT)).unwrap_err();
        assert!(refused.message().contains("chmod +x"), "{}", refused.message());
    }

    #[test]
    fn compiled_code_is_kept_for_the_user_and_of_projects_only() {
        let text = |text: &str| Some(text.to_owned());
        let of = |xdg, home| cache_of_user(xdg, home).map(|path| path.to_string_lossy().into_owned());
        assert_eq!(of(text("/c"), text("/home/a")).unwrap(), "/c/muster/compiled");
        assert_eq!(of(text("c"), text("/home/a")).unwrap(), "/home/a/.cache/muster/compiled");
        assert_eq!(of(None, None), None);
        let project = folder(&[("dist/x.wasm", "")]);
        assert_eq!(compiled(&project.path().join("dist/x.wasm")), None, "no manifest beside dist");
    }

    #[test]
    fn the_oldest_compiled_code_makes_room() {
        let cache = folder(&[("a.cwasm", "1234"), ("b.cwasm", "1234"), ("key", "1234")]);
        let old = fs::File::options().write(true).open(cache.path().join("b.cwasm")).unwrap();
        old.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        make_room(cache.path(), 8);
        assert!(cache.path().join("b.cwasm").exists(), "it fits");
        make_room(cache.path(), 7);
        let left = |name: &str| cache.path().join(name).exists();
        assert_eq!((left("a.cwasm"), left("b.cwasm"), left("key")), (true, false, true));
    }
}
