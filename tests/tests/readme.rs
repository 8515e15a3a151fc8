//! The walk of README.md, as a newcomer would type it, against a fresh node.
//!
//! Every block after a line `<!-- test:walk -->` is run by bash in the root of the repository; it
//! finds the node in `MUSTER`. Paths of the built binary are those of this build.

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
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    let blocks = blocks(&readme);
    assert!(!blocks.is_empty(), "README.md has no {MARK}");
    let node = Node::start();
    let binary = build_folder().join("muster");
    for block in blocks {
        // whatever the block started ends with it
        let script = format!("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{block}");
        let script = script.replace("target/release/muster", &binary.to_string_lossy());
        let mut command = Command::new("timeout");
        command.arg(DEADLINE.as_secs().to_string()).args(["bash", "-euo", "pipefail", "-c", &script]);
        command.current_dir(root()).env("MUSTER", format!("http://127.0.0.1:{}/nacos", node.port()));
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
