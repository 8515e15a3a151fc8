//! Projects that `muster plugin new --lang` makes: each is built, passes its own tests and conforms, with the
//! toolchains that the build scripts of the examples have installed.

use super::built;
use muster_tests::process::{Process, build_folder, line_of};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// A build, and compiling 18 MB of Python, beside everything else that this machine does.
const DEADLINE: Duration = Duration::from_secs(300);

/// Runs a script to its end for somebody who has `muster` and the toolchains, and keeps compiled code in `folder`;
/// whether it went well, and what it said.
#[track_caller]
fn author(folder: &Path, script: &str) -> (bool, String) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = std::iter::once(build_folder()).chain(std::env::split_paths(&path));
    let mut bash = Command::new("bash");
    // one output, so that nothing comes after its last line
    bash.args(["-c", &format!("exec 2>&1\n(set -euo pipefail\n{script}\n)\necho \"ended with $?\"")])
        .current_dir(folder)
        .env("PATH", std::env::join_paths(own).expect("a path"))
        .env("MUSTER_TOOLCHAINS", built().with_file_name("toolchains"))
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .env_remove("CARGO_TARGET_DIR");
    let process = Process::start(&mut bash, Some(folder));
    let end = line_of(&process.log, "ended with ", DEADLINE);
    (end.trim_end() == "ended with 0", process.log.text())
}

fn is_a_project_that_works(language: &str) {
    let folder = TempDir::with_prefix("muster-project-").expect("a temporary folder");
    let (well, said) = author(
        folder.path(),
        &format!(
            "muster plugin new own-{language} --kind health-check --lang {language}
         cd own-{language}
         muster plugin build
         muster plugin replay . traces/*.trace
         muster plugin check ."
        ),
    );
    assert!(well, "{said}");
    for line in [
        format!("dist/own-{language}.wasm  own-{language}  "),
        "ok      traces/good-answer-in-pieces.trace  passed".into(),
        "ok      traces/refused.trace  failed-now".into(),
        format!("own-{language}: conforms"),
    ] {
        assert!(said.contains(&line), "no {line:?} in {said}");
    }
    let project = folder.path().join(format!("own-{language}"));
    assert!(!project.join("target/toolchains").exists(), "it used those that are there: {said}");
    let kept = folder.path().join("cache/muster/compiled");
    let compiled = kept
        .read_dir()
        .expect("made")
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "cwasm"));
    assert_eq!(compiled.count(), 1, "compiled once for three commands");

    // a verdict that is not as the trace has it fails the test of the project
    let trace = project.join("traces/refused.trace");
    let text = std::fs::read_to_string(&trace).expect("a trace").replace("failed-now", "failed");
    std::fs::write(&trace, text).expect("written");
    let (well, said) =
        author(folder.path(), &format!("muster plugin replay own-{language} {}", trace.display()));
    assert!(!well && said.contains("diverged at step 2"), "{said}");
}

#[test]
fn a_project_in_c_builds_and_passes_its_tests() {
    is_a_project_that_works("c");
}

#[test]
fn a_project_in_go_builds_and_passes_its_tests() {
    is_a_project_that_works("go");
}

#[test]
fn a_project_in_javascript_builds_and_passes_its_tests() {
    is_a_project_that_works("javascript");
}

#[test]
fn a_project_in_python_builds_and_passes_its_tests() {
    is_a_project_that_works("python");
}

/// The probe in Rust keeps to the traces that the projects in other languages are tested with.
#[test]
fn the_traces_hold_for_rust() {
    let folder = TempDir::with_prefix("muster-project-").expect("a temporary folder");
    let traces = super::root().join("examples/probes/traces");
    let probe = built().join("line-rust.wasm");
    let (well, said) = author(
        folder.path(),
        &format!("muster plugin replay {} {}/*.trace", probe.display(), traces.display()),
    );
    let traces: Vec<_> = traces.read_dir().expect("traces").collect();
    assert!(well, "{said}");
    assert_eq!(said.matches("ok      ").count(), traces.len(), "{said}");
}

#[test]
fn a_toolchain_that_is_missing_is_named_with_the_way_to_get_it() {
    let folder = TempDir::with_prefix("muster-project-").expect("a temporary folder");
    // a machine that has no more than the script itself needs
    let bin = folder.path().join("bin");
    std::fs::create_dir(&bin).expect("made");
    let path = std::env::var_os("PATH").unwrap_or_default();
    for program in ["bash", "dirname", "basename"] {
        let found =
            std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file());
        std::os::unix::fs::symlink(found.expect(program), bin.join(program)).expect("linked");
    }
    for (language, program, hint) in [
        ("c", "no clang", "package clang"),
        ("go", "no go", "https://go.dev/dl"),
        ("javascript", "no node", "nodejs and npm"),
        ("python", "no python3", "python3-venv"),
    ] {
        let script = format!(
            "muster plugin new {language} --kind health-check --lang {language}
             MUSTER=$(command -v muster)
             PATH=$PWD/bin \"$MUSTER\" plugin build {language}"
        );
        let (well, said) = author(folder.path(), &script);
        assert!(!well && said.contains(program) && said.contains(hint), "{said}");
        assert!(said.contains("the project does not build"), "{said}");
    }
}
