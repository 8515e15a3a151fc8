//! How many durable writes a second, for one writer and for many: `cargo run --release -p muster-raft
//! --example writes -- [DIRECTORY]`. Compare with the fsyncs a second of the same disk, which it prints first.
#![allow(clippy::print_stdout, reason = "its output is its purpose")]
#![allow(clippy::disallowed_methods, reason = "it measures time, with tasks of its own")]

#[path = "../tests/support/mod.rs"]
mod support;

use muster_core::persist::Change;
use muster_raft::{RaftOptions, Store};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::{options, register};
use tokio::sync::mpsc;

const RUN: Duration = Duration::from_secs(2);

fn fsyncs(directory: &Path) -> anyhow::Result<f64> {
    let mut file = tempfile::tempfile_in(directory)?;
    let start = Instant::now();
    let mut count = 0.0;
    while start.elapsed() < RUN {
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        count += 1.0;
    }
    Ok(count / start.elapsed().as_secs_f64())
}

async fn writes(directory: &Path, writers: u16) -> anyhow::Result<()> {
    let path = directory.join(format!("writes-{writers}.redb"));
    let (sender, mut committed) = mpsc::channel(1_024);
    tokio::spawn(async move { while committed.recv().await.is_some() {} });
    let (store, _) = Store::open(options(&path), sender).await?;
    let before = store.status().last_log;
    let start = Instant::now();
    let tasks: Vec<_> = (0..writers).map(|writer| tokio::spawn(one(store.clone(), writer, start))).collect();
    let (mut count, mut slowest) = (0, Duration::ZERO);
    for task in tasks {
        let (done, took) = task.await??;
        count += done;
        slowest = slowest.max(took);
    }
    let seconds = start.elapsed().as_secs_f64();
    let entries = store.status().last_log.unwrap_or(0) - before.unwrap_or(0);
    println!(
        "{writers:>5} writers: {:>8.0} writes/s in {:>6.0} entries/s, slowest {slowest:.1?}",
        f64::from(count) / seconds,
        entries as f64 / seconds
    );
    store.shutdown().await?;
    Ok(())
}

async fn one(store: Store, writer: u16, start: Instant) -> anyhow::Result<(u32, Duration)> {
    let (mut count, mut slowest) = (0, Duration::ZERO);
    while start.elapsed() < RUN {
        let began = Instant::now();
        store.propose(register("orders", &format!("10.0.{}.{}", writer / 250, writer % 250), 3306)).await?;
        slowest = slowest.max(began.elapsed());
        count += 1;
    }
    Ok((count, slowest))
}

/// Fills a store, kills it as far as the file is concerned, and opens it again.
async fn open(directory: &Path, instances: u32) -> anyhow::Result<()> {
    let path = directory.join("open.redb");
    let (sender, mut committed) = mpsc::channel(1_024);
    tokio::spawn(async move { while committed.recv().await.is_some() {} });
    let (store, _) = Store::open(options(&path), sender).await?;
    for part in (0..instances).collect::<Vec<_>>().chunks(4_000) {
        let ip = |number: &u32| format!("10.{}.{}.1", number / 250, number % 250);
        let proposals = part.iter().map(|number| store.propose(register("orders", &ip(number), 3306)));
        for answer in futures_util::future::join_all(proposals).await {
            answer?;
        }
    }
    let start = Instant::now();
    store.snapshot_now().await?;
    println!("{instances} rows: snapshot in {:.1?}", start.elapsed());
    let killed = directory.join("killed.redb");
    std::fs::copy(&path, &killed)?;
    store.shutdown().await?;
    for (how, path, verify) in
        [("closed", &path, true), ("closed, unverified", &path, false), ("killed", &killed, true)]
    {
        let start = Instant::now();
        let (sender, _committed) = mpsc::channel(1);
        let (store, rows): (_, Vec<Change>) =
            Store::open(RaftOptions { verify, ..options(path) }, sender).await?;
        let size = std::fs::metadata(path)?.len() >> 20;
        println!("{} rows, {size} MiB, {how}: opened in {:.1?}", rows.len(), start.elapsed());
        store.shutdown().await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let base = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = tempfile::tempdir_in(base)?;
    println!("{:.0} fsyncs/s of 4 KiB", fsyncs(directory.path())?);
    for writers in [1, 8, 64, 512, 2_000] {
        writes(directory.path(), writers).await?;
    }
    open(directory.path(), 50_000).await
}
