//! The walks of README.md and of the examples, as a newcomer would type them, against fresh nodes.
//!
//! Every block after a line `<!-- test:walk -->` is run by bash: those of README.md in the root of the repository,
//! with the node in `MUSTER`; those of an example in its folder. Paths of the built binary are those of this build.

use muster_tests::process::{Process, build_folder};
use muster_tests::{Clock, Node};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const MARK: &str = "<!-- test:walk -->";

/// How long a newcomer may have to wait for one block.
const DEADLINE: Duration = Duration::from_secs(120);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the root of the repository")
}

/// The marked blocks, in order.
fn blocks(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while lines.by_ref().any(|line| line.trim() == MARK) {
        let fence = lines.by_ref().find(|line| !line.trim().is_empty()).unwrap_or_default();
        assert!(fence.starts_with("```"), "no block after a mark, but {fence:?}");
        found.push(
            lines.by_ref().take_while(|line| !line.starts_with("```")).map(|l| format!("{l}\n")).collect(),
        );
    }
    found
}

#[test]
fn the_walk_of_the_readme_works() {
    let node = Node::start();
    let url = format!("http://127.0.0.1:{}/nacos", node.port());
    walk(&root().join("README.md"), &root(), &url);
}

#[test]
fn the_walk_of_the_three_nodes_works() {
    let example = root().join("examples/three-nodes");
    let folder = tempfile::tempdir().expect("a temporary folder");
    for file in ["run", "cluster.conf", "node-1.toml", "node-2.toml", "node-3.toml"] {
        std::fs::copy(example.join(file), folder.path().join(file)).expect("the example is complete");
    }
    let binary = build_folder().join("muster");
    let mut command = Command::new(folder.path().join("run"));
    let _ended = Ended(folder.path().join("data"));
    let mut nodes = Process::start(command.env("MUSTER", &binary), None);
    muster_tests::eventually(DEADLINE, || {
        let ready = nodes.log.text().matches("muster ready").count();
        muster_tests::wait::hold(ready == 3, || format!("{ready} are ready: {}", nodes.log.text()))
    });
    walk(&example.join("README.md"), folder.path(), &binary.to_string_lossy());
    nodes.terminate();
    nodes.wait(DEADLINE);
}

/// Ends what the script of the example has started, also when the test fails.
struct Ended(PathBuf);

impl Drop for Ended {
    fn drop(&mut self) {
        for node in 1..=3 {
            if let Ok(id) = std::fs::read_to_string(self.0.join(format!("{node}.pid"))) {
                // one that has ended already is no failure
                let _ = Command::new("kill").args(["-9", id.trim()]).output();
            }
        }
    }
}

/// Runs the marked blocks of `readme` in `folder`.
fn walk(readme: &Path, folder: &Path, muster: &str) {
    let text = std::fs::read_to_string(readme).expect("the README");
    let blocks = blocks(&text);
    assert!(!blocks.is_empty(), "{} has no {MARK}", readme.display());
    let binary = build_folder().join("muster");
    for block in blocks {
        // whatever the block started ends with it
        let script = format!("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{block}");
        let script = script.replace("target/release/muster", &binary.to_string_lossy());
        let mut command = Command::new("timeout");
        command.arg(DEADLINE.as_secs().to_string()).args(["bash", "-euo", "pipefail", "-c", &script]);
        command.current_dir(folder).env("MUSTER", muster);
        let clock = Clock::start();
        let mut process = Process::start(&mut command, None);
        let status = process.wait(DEADLINE + Duration::from_secs(5));
        muster_tests::wait::pause(Duration::from_millis(100));
        assert!(status.success(), "{status} after {:?}\n{block}\n{}", clock.elapsed(), process.log.text());
    }
}

#[test]
fn blocks_are_read_as_they_are_written() {
    let text = format!("a\n{MARK}\n\n```sh\nx\ny\n```\n```sh\nno\n```\n{MARK}\n```sh\nz\n```\n");
    assert_eq!(blocks(&text), ["x\ny\n", "z\n"]);
}
