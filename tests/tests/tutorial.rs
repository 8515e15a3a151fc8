//! `plugins/TUTORIAL.md`, typed into an empty folder by somebody who has nothing but `muster`, cargo and the target: the
//! registry cannot be reached and nothing of it is kept.

use muster_tests::ports::free_port;
use muster_tests::process::{Process, build_folder};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const MARK: &str = "<!-- test:tutorial -->";

/// Three builds on a busy machine.
const DEADLINE: Duration = Duration::from_secs(540);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the root of the repository")
}

/// All marked blocks, as one script.
fn script(text: &str) -> String {
    let mut script = String::new();
    let mut lines = text.lines();
    while lines.by_ref().any(|line| line.trim() == MARK) {
        let fence = lines.by_ref().find(|line| !line.trim().is_empty()).unwrap_or_default();
        assert_eq!(fence, "```sh", "no block after a mark");
        for line in lines.by_ref().take_while(|line| !line.starts_with("```")) {
            script.push_str(line);
            script.push('\n');
        }
    }
    script
}

/// The toolchain of the repository, which has the target; outside of the repository another one may be the default.
fn toolchain() -> String {
    let text = std::fs::read_to_string(root().join("rust-toolchain.toml")).expect("rust-toolchain.toml");
    let line = text.lines().find_map(|line| line.trim().strip_prefix("channel")).expect("a channel");
    line.split('"').nth(1).expect("a quoted channel").to_owned()
}

/// A command in `folder` for someone with an empty cargo home and no network.
pub fn newcomer(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = std::iter::once(build_folder()).chain(std::env::split_paths(&path));
    command
        .current_dir(folder)
        .env("PATH", std::env::join_paths(own).expect("a path"))
        .env("CARGO_HOME", folder.join("cargo-home"))
        .env("CARGO_NET_OFFLINE", "true")
        .env("RUSTUP_TOOLCHAIN", toolchain())
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    command
}

/// Runs bash until its end; gives what it wrote.
#[track_caller]
fn bash(folder: &Path, script: &str, environment: &[(&str, String)]) -> String {
    let mut command = newcomer("bash", folder);
    // whatever was started ends with it
    let script = format!("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{script}");
    command
        .args(["-euo", "pipefail", "-c", &script])
        .envs(environment.iter().map(|(key, value)| (*key, value)));
    let mut process = Process::start(&mut command, Some(folder));
    let status = process.wait(DEADLINE);
    muster_tests::wait::pause(Duration::from_millis(100));
    assert!(status.success(), "{status}: {}", process.log.text());
    process.log.text()
}

#[test]
fn the_tutorial_works_from_an_empty_folder() {
    let folder = TempDir::with_prefix("muster-tutorial-").expect("a temporary folder");
    let text = std::fs::read_to_string(root().join("plugins/TUTORIAL.md")).expect("TUTORIAL.md");
    let (port, node) = (free_port(), free_port());
    let environment = [
        ("PORT", port.to_string()),
        ("MUSTER", format!("http://127.0.0.1:{node}/nacos")),
        ("MUSTER_HTTP__BIND", format!("127.0.0.1:{node}")),
    ];
    let said = bash(folder.path(), &script(&text), &environment);
    for line in [
        "test result: ok. 3 passed",
        "muster:plugin/health-check@0.1.1",
        "ping: conforms",
        "verdict   passed",
        "dial.write",
        "replay    the same build of ping did the same again",
        "nothing broke, and no dead target passed",
        "healthy, says your plugin",
        "unhealthy, says your plugin",
        "ping.wasm\n  package sha256:",
        "taken, it is signed by our team",
        "is not of these files",
        "refused, it was changed after it was signed",
    ] {
        assert!(said.contains(line), "no {line:?} in {said}");
    }
}

#[test]
fn the_other_kinds_build_pass_their_tests_and_conform() {
    let folder = TempDir::with_prefix("muster-kinds-").expect("a temporary folder");
    let script = r#"
        for kind in member-lookup push-filter; do
            muster plugin new "own-$kind" --kind $kind
            (cd "own-$kind" && cargo test && muster plugin build && muster plugin check .)
        done
        echo '[{"address":"10.0.0.1","port":80,"metadata":{"zone":"a"}},{"address":"10.0.0.2","port":80,"metadata":{"zone":"b"}}]' > list.json
        muster plugin record own-push-filter --instances list.json --label zone=b --out filter.trace
        muster plugin replay own-push-filter filter.trace
        ! muster plugin new own-push-filter --kind push-filter
    "#;
    let said = bash(folder.path(), script, &[]);
    for line in
        ["own-member-lookup: conforms", "own-push-filter: conforms", r#"{"only":[1]}"#, "is there already"]
    {
        assert!(said.contains(line), "no {line:?} in {said}");
    }
}

#[test]
fn a_missing_target_is_named_with_the_way_to_get_it() {
    let folder = TempDir::with_prefix("muster-target-").expect("a temporary folder");
    // a toolchain without the target
    let fake = folder.path().join("bin");
    std::fs::create_dir(&fake).expect("made");
    std::fs::write(fake.join("rustc"), "#!/bin/sh\necho /nowhere\n").expect("written");
    let script = r#"
        chmod +x bin/rustc
        muster plugin new probe --kind health-check
        ! PATH=$PWD/bin:$PATH muster plugin build probe
    "#;
    let said = bash(folder.path(), script, &[]);
    assert!(said.contains("rustup target add wasm32-wasip2"), "{said}");
}
