//! Writes the file that a later release must still be able to open: see `tests/fixtures/README.md`.
//!
//! `cargo run --release -p muster-raft --example fixture -- DIRECTORY`

#[path = "../tests/support/mod.rs"]
mod support;

use anyhow::Context;
use muster_raft::RaftOptions;
use std::path::PathBuf;
use support::{Node, one_of_each, options, register};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let directory = PathBuf::from(std::env::args().nth(1).context("which directory?")?);
    std::fs::create_dir_all(&directory)?;
    let path = directory.join("muster.redb");
    anyhow::ensure!(!path.exists(), "{} is there already, and fixtures do not change", path.display());
    let mut node = Node::open(RaftOptions { snapshot_after: 1_000, ..options(&path) }).await;
    for command in one_of_each() {
        node.store.propose(command).await?;
    }
    node.store.snapshot_now().await?;
    // after the snapshot, so that rows, snapshot and log all have something to say
    node.store.propose(register("after-the-snapshot", "2001:db8::1", 5432)).await?;
    let rows: Vec<_> = node.rows().clone().into_iter().collect();
    std::fs::write(directory.join("rows.json"), serde_json::to_string_pretty(&rows)? + "\n")?;
    // What a kill would leave: the last entries are in the log, but not yet in the rows.
    std::fs::copy(&path, directory.join("killed.redb"))?;
    node.shutdown().await;
    Ok(())
}
